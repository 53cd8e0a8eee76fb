"""Which columns of a signal table are worth cutting by in a search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.derived.memory import kept_with
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.families.traces import BAD_SCHEMAS, CONTENTS, FAULTS, TOOL_NAMES
from autoselection.signals.model_pass import TOKEN_KINDS
from autoselection.signals.table import SignalTable

#: Columns that count something of a row, in the order in which the first one present is the default.
LENGTHS = (
    "n_response_tokens",
    "n_prompt_tokens",
    "n_tokens",
    "n_response_words",
    "n_prompt_words",
    "n_response_characters",
    "n_prompt_characters",
    "n_turns",
)
#: Not searched by ``score_filter``: columns that have an operator of their own, the losses that IFD is made of, so that
#: no cut is searched twice, and repetition and those of traces, which every pool has and which seldom decide.
OWNED = frozenset(
    {
        "ifd",
        "loss",
        "loss_conditional",
        "loss_unconditional",
        "varentropy",
        "ngram_entropy",
        "action_object_branching",
        "repetition",
        "rsr",
        *CONTENTS,
        *(f"loss_{kind}" for kind in TOKEN_KINDS),
        *LENGTHS,
    }
)


#: Of the owned columns, those that have a filter of their own.
_FILTERED = frozenset({"ifd", "varentropy", "ngram_entropy", "action_object_branching", "rsr"})
_NEVER = frozenset({"trace_faults", *FAULTS, BAD_SCHEMAS, TOOL_NAMES})


def searched_columns(signals: SignalTable, *, owned: bool = False) -> tuple[str, ...]:
    """Columns that a search may name, sorted: those with two different scores at least.

    Without those that are matters of hygiene, not of taste: contamination and faults of traces; and without what is
    only the name of a group.

    Args:
        owned: also those that have an operator of their own.
    """

    def build() -> tuple[str, ...]:
        return tuple(
            name
            for name in sorted(signals.columns)
            if not (name.startswith("contamination") or name in _NEVER) and _varies(signals.columns[name])
        )

    found = kept_with(signals, "columns that vary", build)
    return found if owned else tuple(name for name in found if name not in OWNED and not name.startswith(MONA_PREFIX))


def _varies(values: NDArray[np.float32]) -> bool:
    known = values[~np.isnan(values)]
    return bool(len(known) and known.min() < known.max())


def blended_columns(signals: SignalTable) -> tuple[str, ...]:
    """Columns that a search may blend, sorted: those that its score filters cut by, relevance for every task among them, but
    neither lengths nor the losses that others are made of."""
    return tuple(name for name in searched_columns(signals, owned=True) if name not in OWNED or name in _FILTERED)
