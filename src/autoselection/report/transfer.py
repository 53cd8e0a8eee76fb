"""What changed when a recipe was applied somewhere else, as tables."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autoselection.recipes import Transfer


def print_transfer(changed: Transfer, console: Console) -> None:
    """Print the steps and the state vector side by side, and what that means for the rows."""
    before, after = changed.names
    steps = Table(title="Rows each step kept", title_justify="left")
    for heading in ("step", f"in {before}", f"in {after}", "without a score"):
        steps.add_column(escape(heading), overflow="fold")
    for step in changed.steps:
        kept = [
            f"{rows_out:,} of {rows_in:,}" for rows_in, rows_out in zip(step["rows_in"], step["rows_out"], strict=True)
        ]
        steps.add_row(step["operator"], *kept, " / ".join(f"{count:,}" for count in step["missing"]))
    console.print(steps)
    state = Table(title="State vector", title_justify="left")
    for heading in ("", before, after, "change"):
        state.add_column(escape(heading), overflow="fold")
    for name, (old, new) in changed.state.items():
        change = "" if old is None or new is None else f"{new - old:+.4f}"
        state.add_row(escape(name), *("" if value is None else f"{value:.4f}" for value in (old, new)), change)
    console.print(state)
    for sentence in changed.sentences():
        console.print(f"- {escape(sentence)}", highlight=False)
