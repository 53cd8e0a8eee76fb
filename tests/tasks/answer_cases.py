"""The hand-written cases of ``answer_cases.jsonl``, and what lm-evaluation-harness's own filters make of them.

``number_cases.jsonl`` holds judgements (topic, generated, gold, right), ``letter_cases.jsonl`` letters (generated, the
letter or null, letters, options). Run as a script it prints the tables that ``docs/answers.md`` holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from autoselection.tasks.answers import (
    answers_match,
    extract_letter,
    extract_number,
    extract_text,
    extract_yes_no,
)

#: The options of every multiple-choice case.
OPTIONS = ("cat", "dog", "hot dog", "bird")
LETTERS = "ABCD"

#: Kind of case: (name in the table, the harness's task file, its filter).
FILTERS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "number": (
        ("gsm8k strict-match", "gsm8k/gsm8k.yaml", "strict-match"),
        ("gsm8k flexible-extract", "gsm8k/gsm8k.yaml", "flexible-extract"),
        ("gsm8k_cot strict-match", "gsm8k/gsm8k-cot.yaml", "strict-match"),
    ),
    "choice": (
        ("gpqa cot strict-match", "gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml", "strict-match"),
        ("gpqa cot flexible-extract", "gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml", "flexible-extract"),
    ),
    "yes_no": (
        ("bbh cot get-answer", "bbh/cot_fewshot/_cot_fewshot_template_yaml", "get-answer"),
        ("bbh navigate flexible-extract", "bbh/cot_zeroshot/navigate.yaml", "flexible-extract"),
    ),
    "text": (("bbh cot get-answer", "bbh/cot_fewshot/_cot_fewshot_template_yaml", "get-answer"),),
}


@dataclass(frozen=True)
class Case:
    """A generated text and the answer in it (None: there is none)."""

    kind: str
    topic: str
    text: str
    want: str | None


def cases() -> list[Case]:
    path = Path(__file__).with_suffix(".jsonl")
    return [Case(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def extracted(case: Case) -> Any:
    match case.kind:
        case "number":
            return extract_number(case.text)
        case "choice":
            return extract_letter(case.text, LETTERS, OPTIONS)
        case "yes_no":
            return extract_yes_no(case.text)
    return extract_text(case.text)


def wanted(case: Case) -> Any:
    return Fraction(case.want) if case.kind == "number" and case.want is not None else case.want


@cache
def _harness(path: str, name: str) -> tuple[Any, dict[str, Any]]:
    """A filter of an installed task file, and how its exact match compares strings."""
    import lm_eval.tasks
    from lm_eval.filters import build_filter_ensemble
    from lm_eval.tasks._yaml_loader import load_yaml

    task = load_yaml(Path(lm_eval.tasks.__file__).parent / path, resolve_func=False)
    (steps,) = (entry["filter"] for entry in task["filter_list"] if entry["name"] == name)
    components = [(step["function"], {k: v for k, v in step.items() if k != "function"} or None) for step in steps]
    (metric,) = (entry for entry in task["metric_list"] if entry["metric"] == "exact_match")
    known = ("regexes_to_ignore", "ignore_case", "ignore_punctuation")
    return build_filter_ensemble(name, components), {key: metric[key] for key in known if key in metric}


def harness_answers(own: Sequence[Case], path: str, name: str) -> list[str]:
    """What the harness's filter takes out of the texts (``[invalid]`` if nothing)."""
    from lm_eval.api.instance import Instance

    ensemble, _ = _harness(path, name)
    document = {"choices": list(OPTIONS)}
    instances = [Instance("generate_until", document, (case.text, {}), 0, resps=[case.text]) for case in own]
    ensemble.apply(instances)  # all at once: a filter builds a table of all characters every time
    return [str(instance.filtered_resps[name]) for instance in instances]


def _agrees(case: Case, answer: str, options: dict[str, Any]) -> bool:
    """Whether the harness gives the case's answer: right where there is one, nothing where there is none."""
    from lm_eval.api.metrics import exact_match_hf_evaluate

    if not case.want:
        return answer == "[invalid]"
    gold = f"({case.want})" if case.kind == "choice" else case.want
    return bool(exact_match_hf_evaluate([answer], [gold], **options)["exact_match"])


@cache
def agreement() -> list[tuple[str, str, int, int]]:
    """(kind, filter, cases on which it agrees with us, cases)."""
    rows = []
    for kind, filters in FILTERS.items():
        own = [case for case in cases() if case.kind == kind]
        for title, path, name in filters:
            _, options = _harness(path, name)
            answers = harness_answers(own, path, name)
            agreeing = sum(_agrees(case, answer, options) for case, answer in zip(own, answers, strict=True))
            rows.append((kind, title, agreeing, len(own)))
    return rows


def table() -> str:
    rows = [f"| {kind} | {title} | {agreeing} of {total} |" for kind, title, agreeing, total in agreement()]
    return "\n".join(["| kind | filter of lm-evaluation-harness | same answer |", "| --- | --- | --- |", *rows])


@dataclass(frozen=True)
class Judgement:
    """A generated text, a gold answer, and whether the text gives it."""

    topic: str
    generated: str
    gold: str
    right: bool


def judgements() -> list[Judgement]:
    """The cases of numbers."""
    lines = Path(__file__).with_name("number_cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [Judgement(*json.loads(line)) for line in lines]


def letter_cases() -> list[tuple[str, str | None, str, tuple[str, ...]]]:
    """(generated, letter, letters, options)."""
    lines = Path(__file__).with_name("letter_cases.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines:
        text, want, *more = json.loads(line)
        letters = more[0] if more else LETTERS
        options = more[1] if len(more) > 1 else ("Paris", "London", "Rome", "Berlin")[: len(letters)]
        found.append((text, want, letters, tuple(options)))
    return found


def by_math_verify(case: Judgement) -> bool:
    """What math-verify alone makes of a case, texts and all."""
    from math_verify import parse, verify

    return bool(verify(parse(f"${case.gold}$"), parse(case.generated)))


@cache
def mathematics_table() -> str:
    """How many cases of each topic our rules, with math-verify behind them, and math-verify alone judge rightly."""
    rows: dict[str, list[int]] = {}
    for case in judgements():
        counts = rows.setdefault(case.topic, [0, 0, 0])
        counts[0] += answers_match(case.generated, case.gold, kind="number") is case.right
        counts[1] += by_math_verify(case) is case.right
        counts[2] += 1
    lines = [f"| {topic} | {ours} | {theirs} | {total} |" for topic, (ours, theirs, total) in rows.items()]
    totals = [sum(counts[place] for counts in rows.values()) for place in range(3)]
    lines.append(f"| all | {totals[0]} | {totals[1]} | {totals[2]} |")
    return "\n".join(["| numbers | ours | math-verify alone | cases |", "| --- | --- | --- | --- |", *lines])


if __name__ == "__main__":
    print(table())
    print(mathematics_table())
