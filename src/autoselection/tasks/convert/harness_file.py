"""A task file of lm-evaluation-harness beside converted items, so that the harness alone scores the same items offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoselection.documents import dump_yaml
from autoselection.tasks import LETTERS
from autoselection.tasks.convert.formats import BenchmarkFormat

_OPTIONS = "{% for choice in choices %}\n{{ '" + LETTERS + "'[loop.index0] }}. {{ choice }}{% endfor %}"

#: How the harness takes an answer out of a generated text, by the kind of answer.
_FILTERS = {
    "number": [{"function": "regex", "group_select": -1, "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)"}],
    "yes_no": [{"function": "regex", "group_select": -1, "regex_pattern": r"(?i)\b(yes|no)\b"}],
    "text": [{"function": "regex", "group_select": -1, "regex_pattern": r"(?:.*answer is |^)(.+?)\.?\s*$"}],
}
_FILTERS["auto"] = _FILTERS["text"]


def harness_task(kind: BenchmarkFormat, out: Path, splits: Sequence[str], *, aliases: bool = False) -> dict[str, Any]:
    """The task ``autoselection_NAME`` over the JSONL files of ``splits`` in ``out`` (absolute paths).

    Args:
        aliases: items have several accepted answers; the harness then takes any of them.
    """
    files = {split: str((out / f"{split}.jsonl").resolve()) for split in splits}
    task: dict[str, Any] = {
        "task": f"autoselection_{kind.name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "validation_split": "dev",
        "test_split": "test",
    }
    if "target" in splits:
        task |= {"training_split": "target", "fewshot_split": "target"}
    if kind.answer == "choice":
        return task | {
            "output_type": "multiple_choice",
            "doc_to_text": "{{prompt}}" + _OPTIONS + "\nAnswer:",
            "doc_to_choice": "{{'" + LETTERS + "'[:choices|length]|list}}",
            "doc_to_target": "{{'" + LETTERS + "'.index(answer)}}",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1.0},
        }
    return task | {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{[answer] + (aliases or [])}}" if aliases else "{{answer}}",
        "generation_kwargs": {"until": ["</s>", "<|im_end|>"], "do_sample": False},
        "filter_list": [{"name": "extract", "filter": [*_FILTERS[kind.answer], {"function": "take_first"}]}],
        "metric_list": [
            {
                "metric": "exact_match",
                "aggregation": "mean",
                "higher_is_better": True,
                "ignore_case": True,
                "regexes_to_ignore": [",", "\\$", "\\.$"],
            }
        ],
        "metadata": {"version": 1.0},
    }


def harness_file(kind: BenchmarkFormat, out: Path, splits: Sequence[str], *, aliases: bool = False) -> tuple[Path, str]:
    """The task file and its text; ``lm_eval --include_path OUT --tasks autoselection_NAME`` runs it."""
    return out / f"autoselection_{kind.name}.yaml", dump_yaml(harness_task(kind, out, splits, aliases=aliases))
