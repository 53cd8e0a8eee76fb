"""Signals of traces of tool calls and reasoning: what is wrong with them, and what they consist of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoselection.signals.contract import Reads, Signal
from autoselection.signals.families import traces
from autoselection.signals.stored import Shard


class TraceFaults(Signal):
    """What is wrong with traces of tool calls and reasoning: a count for each kind of fault, and all of them together."""

    name = "trace_faults"
    columns = ("trace_faults", *traces.FAULTS, traces.BAD_SCHEMAS)
    version = 3
    reads: Reads = "conversations"

    def compute(self, rows: Sequence[Any]) -> Shard:
        found = np.full((len(rows), len(self.columns)), np.nan, np.float32)
        for i, row in enumerate(rows):
            if row.messages:
                *counts, bad_schemas = traces.fault_counts(row)
                found[i] = (sum(counts), *counts, bad_schemas)
        empty = sum(not row.messages for row in rows)
        return Shard(dict(zip(self.columns, found.T.copy(), strict=True)), {"empty": empty})


class Traces(Signal):
    """What traces consist of: calls, results, declared tools, and how much of what the assistant wrote is reasoning."""

    name = "traces"
    columns = (*traces.CONTENTS, traces.TOOL_NAMES)
    version = 3
    reads: Reads = "conversations"

    def compute(self, rows: Sequence[Any]) -> Shard:
        found = np.asarray([traces.contents(row) for row in rows], np.float32).reshape(len(rows), len(self.columns))
        silent = int(np.isnan(found[:, traces.CONTENTS.index("reasoning_share")]).sum())
        return Shard(dict(zip(self.columns, found.T.copy(), strict=True)), {"empty_response": silent})
