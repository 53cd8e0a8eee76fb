"""How answers are generated: one set of settings, from the task to every engine.

The settings of a task travel in its harness requests, so engines need no others; what an engine gives back is cut at the
stop texts here, and answers that end because there was no more room are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from autoselection.errors import ConfigError
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.registry import ENGINES
from autoselection.language.chat import control_tokens
from autoselection.tasks import TaskConfig
from autoselection.tasks.answers.plain import marks_reasoning
from autoselection.tasks.harness import TaskGeneration, harness_generation

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from transformers import PreTrainedTokenizerBase

#: Room for an answer longer than the longest gold one (tokens).
_SPARE_TOKENS = 16
#: The harness's longest answer where a task file names none (tokens).
_HARNESS_TOKENS = 256

#: Metric and item value: generated answers that ended because they may be no longer.
AT_LIMIT = "at_limit"
#: Share of them up to which there is no warning.
_LIMITED_SHARE = 0.01


@dataclass(frozen=True)
class Generation:
    """Settings of one task's generated answers.

    Attributes:
        max_gen_toks: longest answer (tokens).
        until: texts that end an answer; they are no part of it.
        stop_ids: tokens that end an answer.
        temperature: 0 is greedy decoding.
        top_p: share of the probability that is sampled from.
        top_k: likeliest tokens that are sampled from (count); None is all.
    """

    max_gen_toks: int
    until: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None

    def kwargs(self) -> dict[str, Any]:
        """As ``generation_kwargs`` of a harness task."""
        lists = {"until": list(self.until), "stop_ids": list(self.stop_ids)}
        return {**asdict(self), **lists, "do_sample": self.temperature > 0}

    @classmethod
    def of(cls, request: Instance) -> Generation:
        """The settings of a request."""
        given: Mapping[str, Any] = request.args[1]
        lists = {"until": tuple(given["until"]), "stop_ids": tuple(given["stop_ids"])}
        return cls(**{name: value for name, value in given.items() if name != "do_sample"} | lists)

    def cut(self, text: str) -> str:
        """``text`` up to the first of the stop texts."""
        return text[: min((text.find(stop) for stop in self.until if stop in text), default=len(text))]


class AnswerTexts:
    """Generated tokens as text: without control tokens, except those that mark reasoning (``[THINK]``, ``<|channel|>``).

    Without these, nothing would tell the reasoning from the answer.

    Attributes:
        marks: the control tokens that are kept.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        control = control_tokens(tokenizer)
        self.marks = frozenset(token for token in control.values() if marks_reasoning(token))
        self._dropped = {number for number, token in control.items() if token not in self.marks}
        self._tokenizer = tokenizer

    def __call__(self, tokens: Sequence[int], stop_ids: Sequence[int] = ()) -> str:
        """The text of ``tokens`` up to the first of ``stop_ids``."""
        end = next((place for place, token in enumerate(tokens) if token in stop_ids), len(tokens))
        kept = [token for token in tokens[:end] if token not in self._dropped]
        text: str = self._tokenizer.decode(kept)
        return text


class Limited:
    """What an engine remembers of its answers: those that ended at the limit, by task and item."""

    def __init__(self) -> None:
        self._found: set[tuple[str, str]] = set()

    def note(self, request: Instance, text: str, full: bool) -> str:
        """The answer cut at its stop texts; with ``full``, it ended because there was no more room."""
        answer = Generation.of(request).cut(text)
        if full and len(answer) == len(text):
            self._found.add(_name(request.task_name, request.doc["id"]))
        return answer

    def count(self, task: str, ids: Sequence[str]) -> list[float]:
        """1 for every item of ``ids`` whose answer to the harness's ``task`` ended at the limit, 0 for the others."""
        return [float(_name(task, item) in self._found) for item in ids]


def _name(task: str | None, item: Any) -> tuple[str, str]:
    return str(task), str(item)


def task_generation(
    task: TaskConfig,
    config: EvaluationConfig,
    tokenizer: PreTrainedTokenizerBase,
    ends: Set[int],
    stop_text: str,
    longest_gold: int,
    longest_prompt: int,
    context_length: int,
) -> tuple[Generation, list[str]]:
    """How a task's answers are generated: as its file says, within what the configuration and the model allow.

    Args:
        ends: control tokens that end gold answers.
        longest_gold: tokens of the longest gold answer.
        longest_prompt: tokens of the longest prompt.

    Returns:
        The settings, and what a reader has to know of them.

    Raises:
        ConfigError: the file asks for something that the engine does not do.
    """
    asked = harness_generation(task)
    own = 2 * longest_gold + _SPARE_TOKENS
    half = context_length // 2
    remarks = []
    if asked is None:
        limit = config.max_new_tokens or min(own, half)
        asked = TaskGeneration(limit, ())
    else:
        wanted = asked.max_gen_toks or max(own, _HARNESS_TOKENS)
        limit = config.max_new_tokens or min(wanted, max(half, context_length - longest_prompt))
        if asked.max_gen_toks is not None and limit < asked.max_gen_toks:
            why = "evaluation.max_new_tokens" if config.max_new_tokens else f"the model's context of {context_length:,}"
            remarks.append(
                f"Task '{task.name}': its file asks for answers of up to {asked.max_gen_toks:,} tokens, and {why} allows "
                f"{limit:,}."
            )
    if asked.top_k is not None and not ENGINES.get(config.engine).has_top_k:
        raise ConfigError(
            f"Task '{task.name}': its file samples with top_k, which evaluation.engine '{config.engine}' does not have: use "
            "another engine, or a task file without it (lm_eval_path)."
        )
    until = [*asked.until, *([stop_text] if stop_text else [])]
    # A stop text that is a control token never stands in decoded text: its token is looked for.
    control = {token: number for number, token in control_tokens(tokenizer).items()}
    special = {token: control[token] for token in until if token in control}
    eos = tokenizer.eos_token_id
    stops = {*ends, *special.values(), *([] if eos is None else [eos])}
    texts = tuple(dict.fromkeys(text for text in until if text not in special))
    generation = Generation(limit, texts, tuple(sorted(stops)), asked.temperature, asked.top_p, asked.top_k)
    return generation, remarks


def limited_remark(task: str, limit: int, metrics: Mapping[str, float]) -> str | None:
    """What to say of ``task``'s answers that ended at the limit (tokens); None where they are few (up to 1%)."""
    found, items = int(metrics.get(AT_LIMIT, 0)), int(metrics["items"])
    if found <= _LIMITED_SHARE * items:
        return None
    return (
        f"Task '{task}': {found:,} of {items:,} generated answers ({found / items:.0%}) ended at the limit of {limit:,} "
        "tokens and may be cut off: raise evaluation.max_new_tokens."
    )
