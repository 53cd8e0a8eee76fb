"""How the rows of a pool are cut into shards, and how far the signals of a pool are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoselection.errors import SignalError

if TYPE_CHECKING:
    from autoselection.signals.store import SignalStore

#: Rows of the first shard, unless all have fewer, or so many that a 32nd of them is more.
_FIRST_ROWS = 16


@dataclass(frozen=True)
class Cut:
    """How rows are cut into shards: ``rows`` each but for the first, which double from a 32nd of that, or from 16."""

    rows: int
    at_once: bool = False

    @property
    def first(self) -> int:
        """Rows of the first shard."""
        return self.rows if self.at_once else min(self.rows, max(_FIRST_ROWS, self.rows // 32))

    @property
    def folder(self) -> str:
        """Name of the folder of shards cut so."""
        return f"shards-{self.rows}" if self.first == self.rows else f"shards-{self.rows}-{self.first}"

    @classmethod
    def of(cls, folder: str) -> Cut | None:
        """The cut of a folder of shards; None if it is none, or one of another version."""
        rows = folder.removeprefix("shards-").partition("-")[0]
        cuts = [cls(int(rows)), cls(int(rows), at_once=True)] if rows.isdecimal() and int(rows) else []
        return next((cut for cut in cuts if cut.folder == folder), None)

    def spans(self, start: int, end: int) -> list[range]:
        """The rows of each shard."""
        spans: list[range] = []
        size = self.first
        while start < end:
            spans.append(range(start, min(start + size, end)))
            start, size = start + size, min(2 * size, self.rows)
        return spans


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
        cut = Cut.of(folder.name)
        starts = {int(path.stem) for path in folder.glob("[0-9]*.npz")}
        if cut is not None and starts and not (folder.parent / "meta.json").exists():
            done = sum(len(span) for span in cut.spans(min(starts), store.rows) if span.start in starts)
            name = _name(folder.parent, store.root)
            found[name] = max(found.get(name, 0), min(starts) + done)
    return found


def _name(folder: Path, root: Path) -> str:
    """The signal of the folder of one of its results."""
    return folder.parent.relative_to(root).as_posix()
