"""How the rows of a pool are cut into shards."""

from __future__ import annotations

from dataclasses import dataclass

#: Rows of the first shard, unless all have fewer, or so many that a 32nd of them is more.
_FIRST_ROWS = 16


@dataclass(frozen=True)
class ShardPlan:
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
    def of(cls, folder: str) -> ShardPlan | None:
        """The plan of a folder of shards; None if it is none, or one of another version."""
        rows = folder.removeprefix("shards-").partition("-")[0]
        plans = [cls(int(rows)), cls(int(rows), at_once=True)] if rows.isdecimal() and int(rows) else []
        return next((plan for plan in plans if plan.folder == folder), None)

    def spans(self, start: int, end: int) -> list[range]:
        """The rows of each shard."""
        spans: list[range] = []
        size = self.first
        while start < end:
            spans.append(range(start, min(start + size, end)))
            start, size = start + size, min(2 * size, self.rows)
        return spans
