"""How far the signals of a pool are: what is finished, and what is being computed."""

from __future__ import annotations

from pathlib import Path

from autoselection.errors import SignalError
from autoselection.signals.shard_plan import ShardPlan
from autoselection.signals.store import SignalStore


def finished_signals(store: SignalStore) -> list[str]:
    """Names of the signals of the pool as it is that are there and whole, sorted."""
    found = []
    for meta in sorted(store.root.rglob("meta.json")):
        name, key = _name(meta.parent, store.root), meta.parent.name
        try:
            if store.open(name, key).meta.get("pool") == store.pool_fingerprint:
                found.append(name)
        except SignalError:  # something derived from signals, or damaged: not there
            continue
    return sorted(set(found))


def unfinished_signals(store: SignalStore) -> dict[str, int]:
    """Rows done of each signal that is being computed, or was when that was stopped, by name."""
    found: dict[str, int] = {}
    for folder in sorted(store.root.rglob("shards-*")):
        plan = ShardPlan.of(folder.name)
        starts = {int(path.stem) for path in folder.glob("[0-9]*.npz")}
        if plan is not None and starts and not (folder.parent / "meta.json").exists():
            done = sum(len(span) for span in plan.spans(min(starts), store.rows) if span.start in starts)
            name = _name(folder.parent, store.root)
            found[name] = max(found.get(name, 0), min(starts) + done)
    return found


def _name(folder: Path, root: Path) -> str:
    """The signal of the folder of one of its results."""
    return folder.parent.relative_to(root).as_posix()
