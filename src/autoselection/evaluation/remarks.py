"""What evaluations remarked, put together for a reader of many of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from autoselection.evaluation.generation import AT_LIMIT
from autoselection.evaluation.job import EvaluationResult

if TYPE_CHECKING:
    from autoselection.language.chat import ConversationEncoder


def orders_note(results: Iterable[EvaluationResult]) -> str | None:
    """What to bear in mind where some trainings took rows in the order of an earlier version; None if none or all did."""
    trained = [result for result in results if "trainable_parameters" in result.settings]
    former = sum("order" not in result.settings for result in trained)
    if former in (0, len(trained)):
        return None
    return (
        f"{former:,} of {len(trained):,} trainings are of an earlier version, which shuffled the rows of each subset anew: "
        "beside later ones, which take shared rows in a shared order, their scores have more luck in them."
    )


def weights_note(results: Iterable[EvaluationResult]) -> str | None:
    """What to bear in mind where some scores in bfloat16 are as an earlier version made them; None if none or all are."""
    rounded = [result.settings for result in results if result.settings.get("dtype") == "bfloat16"]
    held = {settings["weights"] for settings in rounded if "weights" in settings}
    if not held:
        return None
    full = held == {"float32"}
    affected = [settings for settings in rounded if ("trainable_parameters" in settings) != full]
    former = sum("weights" not in settings for settings in affected)
    if not former:
        return None
    if full:
        return (
            f"{former:,} of {len(affected):,} scores of the untrained model are of an earlier version, which held its weights in bfloat16: beside "
            "those of trained models, whose weights are float32, they have a rounding of their own."
        )
    return (
        f"{former:,} of {len(affected):,} trainings are of an earlier version, which merged LoRA adapters in bfloat16 before "
        "scoring: of a small update most was rounded away, so compare only trainings of one version."
    )


def version_notes(results: Iterable[EvaluationResult]) -> list[str]:
    """What to bear in mind where some evaluations are of an earlier version that made them otherwise."""
    found = list(results)
    return [note for note in (orders_note(found), weights_note(found)) if note]


def padding_remark(what: str, device: str, packed: bool | None, problem: str | None) -> Iterator[str]:
    """What to say of passes on a GPU that were padded, or packed without FlashAttention: memory and time go into that unseen.

    Args:
        what: whose passes they were, at the beginning of a sentence.
        packed: whether they were packed; None if nobody says.
        problem: what packing, or FlashAttention, failed at (a clause).
    """
    if not device.startswith("cuda"):
        return
    why = f" ({problem})" if problem else ""
    if packed is False:
        yield (
            f"{what} padded its passes: this model was not packed{why}. Scores are right, and memory and time are spent on padding."
        )
    elif packed and problem:
        yield f"{what} packed its passes without FlashAttention{why}. Scores are right, and attention takes more memory and time."


def prompt_remark(encoder: ConversationEncoder) -> Iterator[str]:
    """What to say of a chat template that asks for an answer otherwise than it writes one."""
    if (gap := encoder.prompt_gap) is not None:
        asked, written = (repr(text) if text else "nothing" for text in gap)
        yield (
            f"The chat template asks for an answer with {asked}, and writes {written} in front of one: answers are generated "
            "behind the first, as in use; training, likelihoods and signals have the second. A Jinja file in which both are the "
            "same closes the gap (model.chat_template)."
        )
    elif (asked_with := encoder.split_prompt) is not None:
        yield (
            f"The chat template asks for an answer with {asked_with!r}, whose end the tokenizer puts into one token with an answer's "
            "first word: answers are generated behind tokens that training, likelihoods and signals never have there. A Jinja file "
            "that asks without the blank at the end closes the gap (model.chat_template)."
        )


def remark_notes(results: Sequence[tuple[str, EvaluationResult]]) -> list[str]:
    """What evaluations remarked, alike remarks once; and answers that ended at the limit, by task, where there are any."""
    alike: dict[str, list[tuple[str, str]]] = {}
    limited: dict[str, tuple[int, int, str, str]] = {}
    for name, result in results:
        for remark in result.remarks:
            alike.setdefault(re.sub(r"\d[\d.,]*", "", remark), []).append((name, remark))
        for task, metrics in result.metrics.items():
            count = int(metrics.get(AT_LIMIT, 0))
            if count and count > limited.get(task, (0,))[0]:
                limited[task] = (count, int(metrics["items"]), result.split, name)
    notes = version_notes(result for _, result in results)
    for told in alike.values():
        others = len({name for name, _ in told}) - 1
        more = f" (The same, with other numbers, for {others:,} more.)" if others else ""
        notes.append(f"{told[0][0]}: {told[0][1]}{more}")
    if limited:
        most = "; ".join(
            f"{task} {count:,} of {items:,} ({split}, {name})" for task, (count, items, split, name) in limited.items()
        )
        notes.append(f"Generated answers that ended at the limit of their length, at most: {most}.")
    return notes
