"""One evaluation, and the checks of a configuration, as short tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoselection.evaluation import EvaluationResult
from autoselection.terminal import Terminal, styled

#: Columns for measures of a task, by the metric's name; those that no task has are left out.
_MEASURES = {
    "accuracy": "right option",
    "guessing": "guessing gets",
    "exact_match": "right answer",
    "nll": "nll a token",
    "nll_per_byte": "nll a byte",
    "option_likelihood": "option likelihood",
    "blend": "blend of losses",
    "greedy_match": "greedy match",
}
_SHOWN = ("accuracy", "guessing", "exact_match", "nll")
_COUNTS = {"truncated": "cut to the context", "at_limit": "answers at the limit"}


def print_evaluation(result: EvaluationResult, title: str, console: Terminal, *, verbose: bool = False) -> None:
    """Print the scores by task, and what the training took.

    Args:
        verbose: all measures of a task, and the settings that were resolved.
    """
    if result.failure is None:
        _print_scores(result, title, console, verbose)
    console.table("Training", None, [line for line in _training(result) if line[1]])
    if verbose:
        console.table("Settings", None, [(name, str(value)) for name, value in result.settings.items()])


def _print_scores(result: EvaluationResult, title: str, console: Terminal, verbose: bool) -> None:
    tasks = result.metrics
    measures = [name for name in _MEASURES if verbose or name in _SHOWN]
    measures = [name for name in measures if any(name in found for found in tasks.values())]
    counts = [name for name in _COUNTS if any(found.get(name) for found in tasks.values())]
    headings = ["task", "score", "items", *(_MEASURES[name] for name in measures), *(_COUNTS[name] for name in counts)]
    lines = [
        [
            task,
            f"{result.scores[task]:.4f}",
            f"{int(found['items']):,}",
            *(_number(found.get(name)) for name in measures),
            *(f"{int(found.get(name) or 0):,}" for name in counts),
        ]
        for task, found in tasks.items()
    ]
    if len(tasks) > 1:
        lines.append(["all tasks, as they count", f"{result.score:.4f}", *[""] * (len(headings) - 2)])
    console.table(f"{title} (higher scores are better)", headings, lines, numbers=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _training(result: EvaluationResult) -> list[tuple[str, str]]:
    seconds = result.seconds
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in result.dropped.items() if count)
    lost = f"{result.dropped_rows:,} dropped ({dropped})" if dropped else "none dropped"
    cut = f"{result.truncated_rows:,} cut ({result.truncated_tokens:,} tokens)" if result.truncated_rows else "none cut"
    trained = f"{result.train_tokens:,}, {result.response_tokens:,} of them with a loss"
    times = [f"{name} {seconds[name]:.1f}" for name in ("load", "train", "eval", "total") if seconds.get(name)]
    arithmetic = " ".join(str(result.settings[name]) for name in ("device", "dtype") if result.settings.get(name))
    return [
        ("rows", f"{result.read_rows:,} read, {lost}, {cut}" if result.steps else "no training"),
        ("steps", f"{result.steps:,}" if result.steps else ""),
        ("tokens", trained if result.steps else ""),
        ("loss, first to last", " to ".join(f"{loss:.3f}" for loss in result.train_loss)),
        ("seconds", ", ".join(times)),
        ("arithmetic", arithmetic),
        ("model kept in", result.model_dir or ""),
    ]


def print_checks(checked: Mapping[str, Any], title: str, console: Terminal) -> None:
    """Print what ``doctor`` found of a configuration, a line each, and what stands in the way of a search."""
    lines = [("benchmarks", found) for found in checked["benchmarks"]] or [("benchmarks", "Nothing wrong was found.")]
    lines.append(("contamination", checked["contamination"]))
    lines += [("training", found) for found in checked["training"]]
    lines += [("dev items", found) for found in checked["items"]]
    lines += [("knowledge", found) for found in checked["chance"]]
    if checked["power"] is not None:
        lines.append(("final table", checked["power"]))
    if checked["language_model"] is not None:
        lines.append(("language model", checked["language_model"]))
    console.table(title, None, lines)
    for problem in checked["problems"]:
        console.say(styled("problem:", "red"), f" {problem}")
    if not checked["problems"]:
        console.say("Nothing stands in the way of a search.", style="green")
