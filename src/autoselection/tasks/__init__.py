"""Benchmark tasks: their items, how files become items, how answers are read, and what is wrong with a task."""

from __future__ import annotations

from autoselection.tasks.floors import REFERENCES, Floor, mean_of_repeats, merit, missed_by, shortfall
from autoselection.tasks.guessing import Knowledge, few_items, guessing_accuracy, knowledge
from autoselection.tasks.items import (
    LETTERS,
    OPTION_METRICS,
    TASK_NAME,
    Answer,
    Metric,
    Split,
    TaskConfig,
    TaskItem,
    has_options,
    items_fingerprint,
    sign_of,
    solved_examples,
)
from autoselection.tasks.load import load_items, some_items
from autoselection.tasks.objective import factors, labels, overall, weighed

__all__ = [
    "LETTERS",
    "OPTION_METRICS",
    "REFERENCES",
    "TASK_NAME",
    "Answer",
    "Floor",
    "Knowledge",
    "Metric",
    "Split",
    "TaskConfig",
    "TaskItem",
    "factors",
    "few_items",
    "guessing_accuracy",
    "has_options",
    "items_fingerprint",
    "knowledge",
    "labels",
    "load_items",
    "mean_of_repeats",
    "merit",
    "missed_by",
    "overall",
    "shortfall",
    "sign_of",
    "solved_examples",
    "some_items",
    "weighed",
]
