"""The document: all tables of a reproduction from what is on disk, for people (``paper.md``) and machines (``paper.json``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoselection import files
from autoselection.diagnose.correlation import Correlation, correlate
from autoselection.evaluation import EvaluationResult
from autoselection.ledger.settings import arithmetics
from autoselection.reproduce.config import ModelEntry, ReproductionConfig, plain, study_of, target_study, with_ood
from autoselection.reproduce.folder import keep_config
from autoselection.reproduce.markdown import paper_markdown
from autoselection.reproduce.results import Stored, check_plans, floors_of
from autoselection.reproduce.rows import AUTOSELECTION, Entry, first_rows
from autoselection.reproduce.tables import TableMetric, make_table
from autoselection.tasks import TaskConfig

#: What is shown of each task on test beside the score, where it was measured.
METRICS = ("nll", "accuracy", "exact_match", "greedy_match")
_TABLES: tuple[TableMetric, ...] = ("score", "right")


def write_paper(config: ReproductionConfig, out: Path) -> dict[str, Any]:
    """Write ``paper.md`` and ``paper.json`` from what exists; what is missing is named in both. Trains nothing.

    The configuration is kept beside them, so that what was searched can be read without it (:mod:`.folder`).

    Returns:
        The document of ``paper.json``.

    Raises:
        StudyError: what is there was scored on test by other settings.
    """
    document = paper_document(config, out)
    rows = document["rows"]
    head = json.dumps({**document, "rows": []}, ensure_ascii=False, allow_nan=False, indent=1)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    body = head.removesuffix('"rows": []\n}') + f'"rows": [\n{lines}\n]\n}}\n'
    keep_config(config, out)
    files.write_texts({out / "paper.json": body, out / "paper.md": paper_markdown(document)})
    return document


def paper_document(config: ReproductionConfig, out: Path) -> dict[str, Any]:
    """All tables as plain data.

    Keys: ``name``, ``config``, ``models`` (each with ``tables``, ``correlation``, ``missing``, ``costs``, …) and last ``rows``:
    one value a row (model, section, method, task, seed, split, metric, value).

    Raises:
        StudyError: what is there was scored on test by other settings.
    """
    models, rows = [], []
    for model in config.models:
        stored = Stored.read(config, study_of(config, model), out / model.name)
        check_plans(stored, out / model.name)
        part = _ModelPart(config, model, stored)
        models.append(part.document())
        rows += [{"model": model.name, **row} for row in part.values()]
    return {"name": config.name, "config": plain(config), "models": models, "rows": rows}


class _ModelPart:
    """One model's tables."""

    def __init__(self, config: ReproductionConfig, model: ModelEntry, stored: Stored) -> None:
        self.config = config
        self.model = model
        self.study = stored.study
        self.stored = stored
        self.settings = stored.digest(with_ood(self.study, config))
        self.main = stored.plan("main")
        self.ablation = stored.plan("ablation")
        self.targets: dict[str, tuple[list[Entry] | None, str]] = {}
        for target in model.transfer:
            rate = stored.choice.rate if stored.choice else None
            larger = with_ood(target_study(config, model, target, rate), config)
            self.targets[target.name] = stored.plan(f"transfer to {target.name}", larger), stored.digest(larger)

    def document(self) -> dict[str, Any]:
        tables: list[dict[str, Any]] = []
        for section, title, tasks, entries, settings in self._sections():
            for metric in _TABLES:
                table = make_table(
                    title, metric, tasks, entries, self.stored, settings, first_rows(self.config.named_first)
                )
                if metric == "score" or any(row.average for row in table.rows):
                    tables.append({"section": section, **table.to_dict()})
        return {
            "name": self.model.name,
            "base": self.study.model.path.rsplit("/", 1)[-1],
            "tables": tables,
            "correlation": self.correlation(),
            "learning_rate": self.stored.choice.to_dict() if self.stored.choice else None,
            "floors": floors_of(self.study),
            "chosen": self._chosen(),
            "missing": self._missing(tables),
            "test_touched": [
                {"what": event["what"], "reason": event["reason"]} for event in self.stored.of("test_access")
            ],
            "costs": self._costs(),
        }

    def _sections(self) -> Iterator[tuple[str, str, Sequence[TaskConfig], list[Entry], str]]:
        ood = [task.task() for task in self.config.ood]
        if self.main is not None:
            yield "main", "Main table", self.study.tasks, self.main, self.settings
            if ood:
                yield "ood", "Out of distribution", ood, self.main, self.settings
        if self.ablation is not None:
            whole = [entry for entry in self.main or [] if entry.row == AUTOSELECTION]
            yield "ablation", "Structural ablation", self.study.tasks, whole + self.ablation, self.settings
        for name, (entries, settings) in self.targets.items():
            if entries is not None:
                yield "transfer", f"Transfer to {name}", self.study.tasks, entries, settings

    def _missing(self, tables: Sequence[Mapping[str, Any]]) -> list[str]:
        """What is not there yet of the configuration's sections, a sentence each."""
        found, wanted = [], self.config.sections
        made = len(self.stored.of("evaluation"))
        for section, entries in (("main", self.main), ("ablation", self.ablation)):
            if entries is None and section in wanted:
                found.append(f"{section}: its searches have not ended ({made} evaluations of all sections so far).")
        found += [f"main has no row '{row}': {why}." for row, why in self.stored.left_out("main").items()]
        for name, (entries, _) in self.targets.items():
            if entries is None and "transfer" in wanted:
                found.append(f"transfer to {name}: nothing was trained.")
        if not self.config.ood and "ood" in wanted:
            found.append("ood: the configuration names no tasks out of distribution.")
        for table in tables:
            absent = [row["method"] for row in table["rows"] if row["missing"]]
            if absent and table["metric"] == "score":
                found.append(f"{table['title']}: test scores of {', '.join(absent)} are incomplete.")
        return found

    def _chosen(self) -> list[dict[str, Any]]:
        """What the rows are whose winners are one of a list, by replicate."""
        return [
            {"method": entry.row, "seed": entry.seed, "recipe": entry.chosen}
            for entry in self.main or []
            if entry.chosen
        ]

    def _costs(self) -> dict[str, Any]:
        events = self.stored.of("evaluation")
        seconds = [float(event["result"]["seconds"]["total"]) for event in events]
        found = arithmetics(event["result"].get("settings", {}) for event in events)
        return {"evaluations": len(events), "seconds": round(sum(seconds), 1), "arithmetics": found}

    def correlation(self) -> dict[str, Any]:
        """Dev against test over the subsets scored on both: rank correlations, for the average and for every task.

        ``all`` are all subsets; ``fixed`` those that no search chose by its dev score. Scores of a subset are means over
        its replicates.
        """
        groups: dict[str, list[Entry]] = {"all": [*(self.main or []), *(self.ablation or [])]}
        groups["fixed"] = [
            entry for entry in groups["all"] if entry.kind in ("full", "single", "default", "recipe", "random")
        ]
        return {name: self._correlated(entries) for name, entries in groups.items()}

    def _correlated(self, entries: Sequence[Entry]) -> dict[str, Any]:
        dev: dict[str, list[EvaluationResult]] = {}
        test: dict[str, list[EvaluationResult]] = {}
        seen = set()
        for entry in entries:
            if entry.subset is None or entry.kind == "base" or (entry.subset, entry.seed) in seen:
                continue
            seen.add((entry.subset, entry.seed))
            dev.setdefault(entry.subset, []).extend(self.stored.on_dev(entry))
            scored = [result for result in self.stored.on_test(entry, self.settings) if result and not result.failure]
            test.setdefault(entry.subset, []).extend(scored)
        both = [name for name in dev if dev[name] and test[name]]
        tasks = [task.name for task in self.study.tasks]
        pairs = np.array(
            [[[np.mean([r.scores[t] for r in found[name]]) for t in tasks] for name in both] for found in (dev, test)]
        ).reshape(2, len(both), len(tasks))
        average = correlate(pairs[0].mean(axis=1), pairs[1].mean(axis=1))
        return {
            "subsets": len(both),
            "average": average.to_dict(),
            "tasks": {task: _both(pairs, place).to_dict() for place, task in enumerate(tasks)},
        }

    def values(self) -> Iterator[dict[str, Any]]:
        """One value a row: scores and metrics by method, task, seed and split."""
        parts = [("main", self.main, self.settings), ("ablation", self.ablation, self.settings)]
        parts += [(f"transfer to {name}", entries, settings) for name, (entries, settings) in self.targets.items()]
        for section, entries, settings in parts:
            for entry in entries or []:
                known = {"section": section, "method": entry.row, "seed": entry.seed}
                done = [result for result in self.stored.on_test(entry, settings) if result and not result.failure]
                if done:
                    yield from _values({**known, "split": "test"}, done)
                if section in ("main", "ablation") and (scored := self.stored.on_dev(entry)):
                    yield from _values({**known, "split": "dev"}, scored, metrics=())


def _both(pairs: Any, place: int) -> Correlation:
    return correlate(pairs[0, :, place], pairs[1, :, place])


def _values(
    known: Mapping[str, Any], results: Sequence[EvaluationResult], metrics: Sequence[str] = METRICS
) -> Iterator[dict[str, Any]]:
    """Means over the training seeds of one replicate."""
    for task in results[0].scores:
        measured = {"score": [result.scores[task] for result in results]}
        for metric in metrics:
            if all(metric in result.metrics.get(task, {}) for result in results):
                measured[metric] = [float(result.metrics[task][metric]) for result in results]
        for metric, found in measured.items():
            order = {key: known[key] for key in ("section", "method")}
            rest = {"task": task, "seed": known["seed"], "split": known["split"], "metric": metric}
            yield {**order, **rest, "value": round(float(np.mean(found)), 6)}
