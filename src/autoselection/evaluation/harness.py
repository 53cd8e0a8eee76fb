"""Benchmarks by lm-evaluation-harness, on our own offline tasks made from local JSONL items.

What is scored:

- **nll**: the gold response of an item (``TaskItem.reference()``: the rationale, if there is one, and the answer) in
  the model's chat template. The scored tokens are exactly those that training would learn from, so the end-of-turn
  token is among them: a model that does not stop has not answered. An item's value is the mean over its tokens, a
  task's the mean over its items. The same request tells whether greedy decoding writes the gold response, token for
  token (``greedy_match``).
- **accuracy** (items with choices): the option whose *letter* is likeliest as the first thing the model says. Letters
  of one token need one forward pass; where one merges with what stands before it, every option is asked from where the
  options' tokens part, so that all are asked the same characters. ``option_likelihood`` is the right letter's share of
  the letters' probability. Items whose answer is yes or no are asked the same of these two words, where a task wants it.
  A pass over the prompts tells it, so every evaluation does: a loss alone does not say whether answers get right.
- **blend** (the same items): the mean of an item's nll and of minus the logarithm of the right option's share. Both are
  losses in nats, so one evaluation tells it, without the others.
- **exact_match**: the answer, generated behind the generation prompt until the end-of-turn token, holds the gold answer (see
  ``answers``). Likelihoods are those behind what the template writes in front of an answer, as in training. A task of
  the harness is generated as its file says (length, stop texts, sampling). Answers that end at the limit are counted.
  Generating costs many passes, so it is done where it is the metric or asked for.

Few-shot examples are earlier turns of the conversation.

The harness drives requests and aggregation; prompts and answers reach the model as the token ids of
:class:`~autoselection.language.chat.ConversationEncoder`, the same as in training. Nothing is downloaded and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError, EvaluationError
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.contract import LanguageModel, make_engine
from autoselection.evaluation.generation import AT_LIMIT, AnswerTexts, Generation, Limited, task_generation
from autoselection.evaluation.job import EvaluationSplit, rounded
from autoselection.evaluation.runtime import TrainingFailure
from autoselection.language.chat import ConversationEncoder, Message, control_tokens
from autoselection.tasks import (
    LETTERS,
    TaskConfig,
    TaskItem,
    guessing_accuracy,
    has_options,
    items_fingerprint,
    load_items,
    solved_examples,
    some_items,
)
from autoselection.tasks.answers import answers_match
from autoselection.tasks.harness import harness_settings, harness_verdict, has_own_verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Benchmark:
    """One task's items, encoded for one tokenizer and chat template.

    Attributes:
        tasks: harness tasks by kind: ``nll``, ``accuracy`` and ``exact_match``, as far as asked for and possible.
        key: what the scores depend on besides the model: the items and examples, their encoding, the kinds.
        ids: ids of the items.
        generation: how answers are generated.
        remarks: what a reader has to know: settings that do not fit the model.
        stop_text: text that ends an answer where the template has no end token.
        truncated: items longer than the model's context (their prompts lose their beginning).
        guessing: accuracy of who knows nothing, see :func:`~autoselection.tasks.guessing_accuracy`; None without options.
    """

    config: TaskConfig
    tasks: Mapping[str, Any]
    ids: tuple[str, ...]
    truncated: int
    generation: Generation
    remarks: tuple[str, ...]
    stop_text: str
    guessing: float | None
    key: str


@dataclass(frozen=True)
class TaskScores:
    """One task's metrics, the values of its items, and the generated answers (empty if none were asked for)."""

    metrics: dict[str, float]
    items: dict[str, list[Any]]
    generated: list[str]


def load_benchmarks(
    tasks: Sequence[TaskConfig],
    split: EvaluationSplit,
    tokenizer: PreTrainedTokenizerBase,
    *,
    context_length: int,
    config: EvaluationConfig,
    full_metrics: bool,
    tokenizer_key: tuple[object, ...],
    likelihoods: bool = True,
    share: float = 1.0,
    seed: int = 0,
) -> list[Benchmark]:
    """Read and encode one split of every task; the encoded tasks are kept for the next evaluation of this process.

    Args:
        full_metrics: generate answers of tasks without choices, too.
        likelihoods: whether the engine gives them; without, only generated answers are scored.
        share, seed: of each task's items, and of their choice; see :func:`~autoselection.tasks.some_items`.

    Raises:
        ConfigError: a task has no usable file for the split.
        EvaluationError: a task's metric is not available from the engine.
    """
    if not likelihoods:
        check_metrics(tasks, config)
    benchmarks = []
    for task in tasks:
        items = some_items(load_items(task, split), task.name, share, seed)
        choices = all(item.choices for item in items)
        examples = load_items(task, "target") if task.fewshot else []
        kinds = ["nll"]
        if has_options(task, items):
            kinds.append("accuracy")
        if task.metric == "exact_match" or (full_metrics and not choices):
            kinds.append("exact_match")
        kinds = kinds if likelihoods else ["exact_match"]
        shots = bool(task.fewshot)
        key = (
            *tokenizer_key, task.model_dump_json(exclude={"weight", "floor"}), split, context_length, config.max_new_tokens, tuple(kinds),
            items_fingerprint(items, subtasks=shots), tuple(item.id for item in items),
            items_fingerprint(examples, subtasks=shots), harness_settings(task),
        )  # fmt: skip
        if key not in _BENCHMARKS:
            while len(_BENCHMARKS) >= _MAX_BENCHMARKS:
                _BENCHMARKS.pop(next(iter(_BENCHMARKS)))
            encoder = ConversationEncoder(tokenizer, max_length=1 << 30, turns="last")
            made = _benchmark(task, items, examples, kinds, encoder, context_length, config)
            _BENCHMARKS[key] = replace(made, key=repr((*key, made.key) if made.key else key))
        benchmarks.append(_BENCHMARKS[key])
    return benchmarks


def check_items(
    task: TaskConfig,
    split: EvaluationSplit,
    tokenizer: PreTrainedTokenizerBase,
    *,
    context_length: int,
    config: EvaluationConfig,
) -> None:
    """See that a split can be asked: examples are enough, gold answers fit the model, and answers can be generated so.

    Raises:
        ConfigError: one of these is not so, or the split has no usable file.
        EvaluationError: the chat template leaves no answer to score.
    """
    items = load_items(task, split)
    examples = load_items(task, "target") if task.fewshot else []
    encoder = ConversationEncoder(tokenizer, max_length=1 << 30, turns="last")
    _, _, longest = _encoded(task, items, examples, encoder, context_length)
    task_generation(task, config, tokenizer, set(), "", longest, 0, context_length)


#: In the keys of scores whose answers are generated behind something else than the template writes in front of an answer:
#: earlier versions took the latter.
_ASKED_OTHERWISE = "generation prompt"
#: In those of answers that end at a control token without a name: earlier versions went on behind it.
_ENDS_OTHERWISE = "control tokens"
#: In those of models that mark their reasoning by control tokens: earlier versions did not see these.
_READ_OTHERWISE = "marks of reasoning"
_MAX_BENCHMARKS = 64
_BENCHMARKS: dict[tuple[object, ...], Benchmark] = {}


def check_metrics(tasks: Sequence[TaskConfig], config: EvaluationConfig) -> None:
    """Refuse tasks that are scored by likelihoods, of an engine that gives none.

    Raises:
        EvaluationError: there is such a task.
    """
    for task in tasks:
        if task.metric != "exact_match":
            raise EvaluationError(
                f"Task '{task.name}': metric '{task.metric}' needs log-probabilities of prompts, which evaluation.engine "
                f"'{config.engine}' does not give here (nll, nll_per_byte, greedy_match, accuracy, option_likelihood and blend are "
                "not available from it): set tasks[].metric to exact_match, or use another server or engine."
            )


def check_asked(config: EvaluationConfig, tasks: Sequence[TaskConfig], tokenizer: PreTrainedTokenizerBase) -> None:
    """Ask the engine (a server, if it is one) for what the tasks' metrics need of it.

    Raises:
        EvaluationError: it does not answer, or gives no log-probabilities and a metric needs them.
    """
    if any(task.metric != "exact_match" for task in tasks) and not make_engine(config).gives_likelihoods(tokenizer):
        check_metrics(tasks, config)


def score(language_model: LanguageModel, benchmarks: Sequence[Benchmark]) -> dict[str, TaskScores]:
    """Score an engine's model on encoded tasks.

    Raises:
        TrainingFailure: a gold answer has no finite likelihood.
    """
    from lm_eval.evaluator import evaluate

    from autoselection.evaluation.lm_eval_classes import AskedModel

    asked = AskedModel(language_model)
    harness_tasks = {
        f"{benchmark.config.name}/{kind}": task for benchmark in benchmarks for kind, task in benchmark.tasks.items()
    }
    output = evaluate(asked, {"tasks": harness_tasks, "groups": {}}, bootstrap_iters=0, log_samples=True)
    return {benchmark.config.name: _scores(benchmark, output, asked.limited) for benchmark in benchmarks}


def _scores(benchmark: Benchmark, output: Mapping[str, Any], limited: Limited) -> TaskScores:
    name = benchmark.config.name
    metrics: dict[str, float] = {"items": len(benchmark.ids), "truncated": benchmark.truncated}
    items: dict[str, list[Any]] = {"ids": list(benchmark.ids)}
    generated: list[str] = []
    losses: list[NDArray[np.float64]] = []
    for kind, names in _METRICS.items():
        if kind not in benchmark.tasks:
            continue
        samples = sorted(output["samples"][f"{name}/{kind}"], key=lambda sample: sample["doc_id"])
        for metric in names:
            values = np.array([sample[_HARNESS_NAMES.get(metric, metric)] for sample in samples], np.float64)
            if not np.isfinite(values).all():
                raise TrainingFailure(
                    f"The model gives {int((~np.isfinite(values)).sum())} of {len(values)} gold answers of task "
                    f"'{name}' no finite likelihood; training diverged: lower evaluation.sft.learning_rate."
                )
            metrics[metric] = float(values.mean())
            if metric in ("nll", "option_likelihood"):
                losses.append(values if metric == "nll" else -np.log(np.maximum(values, _LEAST_SHARE)))
            if metric != "nll_per_byte" or benchmark.config.metric == metric:
                items[metric] = rounded(values)
        if kind == "accuracy" and benchmark.guessing is not None:
            metrics["guessing"] = benchmark.guessing
        if kind == "exact_match":
            generated = [sample["filtered_resps"][0] for sample in samples]
            items[AT_LIMIT] = limited.count(f"{name}/{kind}", benchmark.ids)
            metrics[AT_LIMIT] = sum(items[AT_LIMIT])
    if benchmark.config.metric == "blend":
        values = np.mean(losses, axis=0)
        metrics["blend"], items["blend"] = float(values.mean()), rounded(values)
    return TaskScores(metrics, items, generated)


#: Of the options' probability, below which it counts as this much: a share too small for a number is no infinite loss.
_LEAST_SHARE = 1e-12
_METRICS = {
    "nll": ("nll", "nll_per_byte", "greedy_match"),
    "accuracy": ("accuracy", "option_likelihood"),
    "exact_match": ("exact_match",),
}
_HARNESS_NAMES = {"accuracy": "acc"}


def _benchmark(
    task: TaskConfig,
    items: Sequence[TaskItem],
    examples: Sequence[TaskItem],
    kinds: Sequence[str],
    encoder: ConversationEncoder,
    context_length: int,
    config: EvaluationConfig,
) -> Benchmark:
    shots, encoded, longest = _encoded(task, items, examples, encoder, context_length)
    control = control_tokens(encoder.tokenizer)
    ends = {gold[-1] for _, gold in encoded if gold[-1] in control}
    stop_text = "" if ends else _text_after_answer(items[0], encoder)
    asked = [[*turns, _asked(item)] for item, turns in zip(items, shots, strict=True)] if "exact_match" in kinds else []
    prompts = [encoder.encode_prompt(messages) for messages in asked]
    changes = [] if all(encoder.asks_as_written(messages) for messages in asked) else [_ASKED_OTHERWISE]
    generation, remarks = task_generation(
        task, config, encoder.tokenizer, ends, stop_text, longest, max(map(len, prompts), default=0), context_length
    )
    if asked and not set(encoder.tokenizer.all_special_ids).issuperset(generation.stop_ids):
        changes.append(_ENDS_OTHERWISE)
    if asked and AnswerTexts(encoder.tokenizer).marks:
        changes.append(_READ_OTHERWISE)
    makers = {
        "nll": partial(_nll_task, task, items, encoded),
        "accuracy": partial(_accuracy_task, task, items, encoder, shots),
        "exact_match": partial(_exact_match_task, task, items, prompts, shots, generation),
    }
    cut = [len(context) + len(gold) > context_length + 1 for context, gold in encoded]
    for index, prompt in enumerate(prompts):
        cut[index] = cut[index] or len(prompt) + generation.max_gen_toks > context_length
    return Benchmark(
        task,
        {kind: makers[kind]() for kind in kinds},
        tuple(item.id for item in items),
        sum(cut),
        generation,
        tuple(remarks) if prompts else (),
        stop_text,
        guessing_accuracy(items) if "accuracy" in kinds else None,
        "; ".join(changes),
    )


Turns = Sequence[Message]


def _encoded(
    task: TaskConfig,
    items: Sequence[TaskItem],
    examples: Sequence[TaskItem],
    encoder: ConversationEncoder,
    context_length: int,
) -> tuple[list[Turns], list[tuple[list[int], list[int]]], int]:
    """Of every item the examples in front of it, its context and gold answer as tokens; and the longest answer's length."""
    shots: list[Turns] = [_shots(item, examples, task) for item in items]
    encoded = [
        _encode(item, item.reference(), encoder, task.name, turns) for item, turns in zip(items, shots, strict=True)
    ]
    longest = max(len(gold) for _, gold in encoded)
    if longest >= context_length:
        raise ConfigError(
            f"Task '{task.name}': a gold answer has {longest} tokens, more than the model's context of "
            f"{context_length} leaves room for; shorten it."
        )
    return shots, encoded, longest


def _shots(item: TaskItem, examples: Sequence[TaskItem], task: TaskConfig) -> Turns:
    """The solved examples in front of an item, as turns of the conversation."""
    if not task.fewshot:
        return []
    chosen = solved_examples(item, examples, task.fewshot)
    if len(chosen) < task.fewshot:
        raise ConfigError(
            f"Task '{task.name}': {task.fewshot} examples are asked for, but there are only {len(chosen)} target items for "
            f"item '{item.id}'; lower tasks[].fewshot or raise target_limit."
        )
    return [turn for example in chosen for turn in example.messages()]


def _encode(
    item: TaskItem, answer: str, encoder: ConversationEncoder, task: str, shots: Turns = ()
) -> tuple[list[int], list[int]]:
    """Token ids of the context and of ``answer`` with its end-of-turn token; what follows them is left out."""
    encoded = encoder.encode([*shots, _asked(item), {"role": "assistant", "content": answer}])
    positions = np.flatnonzero(encoded.response)
    if len(positions) == 0 or positions[0] == 0:
        raise _no_answer(item, task)
    first, last = int(positions[0]), int(positions[-1]) + 1
    return encoded.input_ids[:first], encoded.input_ids[first:last]


def _encode_options(
    item: TaskItem, encoder: ConversationEncoder, task: str, shots: Turns
) -> tuple[list[int], list[list[int]]]:
    """Token ids of what all options go on from, and of each option from there to its own last character.

    A tokenizer may merge an option with what stands before it. Its likelihood alone would then be that of other
    characters than the others'; so all go on from the last token that they have in common.
    """
    asked = [*shots, _asked(item)]
    found = [encoder.encode_open([*asked, {"role": "assistant", "content": option}]) for option in item.options()]
    common = min(first for _, first in found)
    while any(ids[:common] != found[0][0][:common] for ids, _ in found):
        common -= 1
    if common == 0 or any(len(ids) == common for ids, _ in found):
        raise _no_answer(item, task)
    return found[0][0][:common], [ids[common:] for ids, _ in found]


def _asked(item: TaskItem) -> Message:
    return {"role": "user", "content": item.question()}


def _no_answer(item: TaskItem, task: str) -> EvaluationError:
    return EvaluationError(
        f"Task '{task}', item '{item.id}': the chat template leaves no answer to score behind a prompt; "
        "name another chat_template."
    )


def _text_after_answer(item: TaskItem, encoder: ConversationEncoder) -> str:
    """What the template writes behind an answer: the only stop sign of a template without an end token."""
    return encoder.end_mark(item.messages())


def _task(name: str, documents: list[dict[str, Any]], **config: Any) -> Any:
    from datasets import Dataset

    from autoselection.evaluation.lm_eval_classes import LocalTask

    dataset = {"items": Dataset.from_list(documents)}
    return LocalTask(
        config={
            "task": name,
            "custom_dataset": lambda **_: dataset,
            "test_split": "items",
            "num_fewshot": 0,
            "doc_to_text": "context",
            "target_delimiter": "",
            **config,
        }
    )


def _metric(name: str, higher_is_better: bool = True) -> dict[str, Any]:
    return {"metric": name, "aggregation": "mean", "higher_is_better": higher_is_better}


def _nll_task(task: TaskConfig, items: Sequence[TaskItem], encoded: Sequence[tuple[list[int], list[int]]]) -> Any:
    documents = [
        {
            "id": item.id,
            "context": item.question(),
            "gold": item.reference(),
            "context_ids": context,
            "continuations": [gold],
            "tokens": len(gold),
            "bytes": len(item.reference().encode()),
        }
        for item, (context, gold) in zip(items, encoded, strict=True)
    ]
    return _task(
        f"{task.name}/nll",
        documents,
        output_type="loglikelihood",
        doc_to_target="gold",
        process_results=_nll_of,
        metric_list=[_metric("nll", False), _metric("nll_per_byte", False), _metric("greedy_match")],
    )


def _nll_of(document: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    likelihood, greedy = results[0]
    return {
        "nll": -likelihood / document["tokens"],
        "nll_per_byte": -likelihood / document["bytes"],
        "greedy_match": float(greedy),
    }


def _accuracy_task(
    task: TaskConfig, items: Sequence[TaskItem], encoder: ConversationEncoder, shots: Sequence[Turns]
) -> Any:
    documents = []
    for item, turns in zip(items, shots, strict=True):
        letters = list(item.options())
        context, continuations = _encode_options(item, encoder, task.name, turns)
        documents.append(
            {
                "id": item.id,
                "context": item.question(),
                "letters": letters,
                "label": letters.index(item.answer),
                "context_ids": context,
                "continuations": continuations,
            }
        )
    return _task(
        f"{task.name}/accuracy",
        documents,
        output_type="multiple_choice",
        doc_to_choice="letters",
        doc_to_target="label",
        process_results=_accuracy_of,
        metric_list=[_metric("acc"), _metric("option_likelihood")],
    )


def _accuracy_of(document: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Whether the likeliest option is the right one (the first of equals), and the right one's share of probability."""
    likelihoods = np.array([likelihood for likelihood, _ in results], np.float64)
    shares = np.exp(likelihoods - likelihoods.max())
    return {
        "acc": float(int(np.argmax(likelihoods)) == document["label"]),
        "option_likelihood": float(shares[document["label"]] / shares.sum()),
    }


def _exact_match_task(
    task: TaskConfig,
    items: Sequence[TaskItem],
    prompts: Sequence[list[int]],
    shots: Sequence[Turns],
    generation: Generation,
) -> Any:
    documents = [
        {
            "id": item.id,
            "context": item.question(),
            "gold": item.answer,
            "accepted": list(item.accepted()),
            "letters": LETTERS[: len(item.choices)],
            "choices": [] if item.options_in_prompt else list(item.choices),
            "kind": task.answer,
            "context_ids": context,
            "messages": json.dumps([*turns, _asked(item)]),
        }
        for item, context, turns in zip(items, prompts, shots, strict=True)
    ]
    own = partial(_verdict_of, task) if has_own_verdict(task) else _exact_match_of
    return _task(
        f"{task.name}/exact_match",
        documents,
        output_type="generate_until",
        doc_to_target="gold",
        generation_kwargs=generation.kwargs(),
        process_results=own,
        metric_list=[_metric("exact_match")],
    )


def _exact_match_of(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    right = answers_match(
        results[0], document["accepted"], document["letters"], choices=document["choices"], kind=document["kind"]
    )
    return {"exact_match": float(right)}


def _verdict_of(task: TaskConfig, document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    return {"exact_match": harness_verdict(task, document["id"], results[0])}
