"""What changed when a recipe was applied somewhere else, as tables."""

from __future__ import annotations

from autoselection.recipes import Transfer
from autoselection.terminal import Terminal


def print_transfer(changed: Transfer, console: Terminal) -> None:
    """Print the steps and the state vector side by side, and what that means for the rows."""
    before, after = changed.names
    lines = []
    for step in changed.steps:
        kept = [
            f"{rows_out:,} of {rows_in:,}" for rows_in, rows_out in zip(step["rows_in"], step["rows_out"], strict=True)
        ]
        lines.append((step["operator"], *kept, " / ".join(f"{count:,}" for count in step["missing"])))
    console.table("Rows each step kept", ("step", f"in {before}", f"in {after}", "without a score"), lines)
    lines = []
    for name, (old, new) in changed.state.items():
        change = "" if old is None or new is None else f"{new - old:+.4f}"
        lines.append((name, *("" if value is None else f"{value:.4f}" for value in (old, new)), change))
    console.table("State vector", ("", before, after, "change"), lines)
    for sentence in changed.sentences():
        console.say(f"- {sentence}")
