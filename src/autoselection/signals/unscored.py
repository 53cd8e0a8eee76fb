"""Why rows have no score: the counts that signals store of them, in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from autoselection.language.chat import LEFT_OUT
from autoselection.signals.families.token_kinds import KIND_COLUMNS
from autoselection.signals.model_pass import TOKEN_KINDS

_NO_PROMPT = "no prompt before the response"
_IN_RESPONSES: Mapping[str, str] = dict(zip(TOKEN_KINDS, ("answer", "reasoning", "call of a tool"), strict=True))
#: What each stored count of rows without a score says.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "response_cut_off": "the prompt fills the maximum length (signals.max_length, or the model's own limit)",
        "empty_response": "no response to score",
        "no_prompt": _NO_PROMPT,
        "refused_by_template": "refused by the chat template",
        "empty": "no text",
        "too_long": "longer than the limit of the parser (signals.options.action_object_branching.max_characters)",
        "failed": "the parser failed",
        "no_direction": "the embedding has no direction",
        "too_few_units": "fewer words and symbols than an n-gram has",
        "no_embedding": "no embedding of the row",
        "no_item_embedding": "no embedding of any benchmark item",
        "no_features": "no SAE features",
        "no_loss": "no loss under a checkpoint",
        **{
            f"no_{kind}": f"no {what} in the response as the template writes it" for kind, what in _IN_RESPONSES.items()
        },
        **{f"no_prompt_{kind}": _NO_PROMPT for kind in _IN_RESPONSES},
    }
)
#: Columns for which a row needs no prompt.
_WITHOUT_PROMPT = frozenset({"loss_conditional", "loss_unconditional", "varentropy", "loss", "rsr"})


def _not_of(column: str) -> frozenset[str]:
    """The reasons that do not apply to a column of the base model."""
    name, _, kind = column.rpartition("_")
    if column not in KIND_COLUMNS:
        return frozenset({"no_prompt"} if column in _WITHOUT_PROMPT else ())
    others = {reason for other in TOKEN_KINDS if other != kind for reason in (f"no_{other}", f"no_prompt_{other}")}
    return frozenset({"no_prompt", *others, *(() if name == "ifd" else (f"no_prompt_{kind}",))})


#: Counts of other things than rows without a score.
_OTHER = frozenset(
    {"truncated", "turns_rewritten", "values_clipped", "whole_logits", *(f"{name}_left_out" for name in LEFT_OUT)}
)
#: For a row of which no stored count says why.
UNKNOWN = "not scored"


def reasons(column: str, missing: int, stats: Mapping[str, Any]) -> dict[str, int]:
    """Rows without a score in ``column`` by reason, most frequent first; together they are ``missing`` (all of a pool).

    Args:
        stats: what the signal counted. A count that is not in :data:`REASONS`, as those of plugins, is named as it is,
            if all such counts together can be about missing rows. One called ``COLUMN:REASON`` is of that column alone.
    """
    if missing <= 0:
        return {}
    stats = {
        name.removeprefix(f"{column}:"): count
        for name, count in stats.items()
        if ":" not in name or name.startswith(f"{column}:")
    }
    left_out = _not_of(column)
    found = {
        said: int(stats[name]) for name, said in REASONS.items() if name not in left_out and int(stats.get(name, 0)) > 0
    }
    rest = missing - sum(found.values())
    named = {
        name.replace("_", " "): int(count)
        for name, count in stats.items()
        if name not in REASONS and name not in _OTHER and int(count) > 0
    }
    if named and sum(named.values()) <= rest:
        found |= named
        rest -= sum(named.values())
    if rest > 0:
        found[UNKNOWN] = rest
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
