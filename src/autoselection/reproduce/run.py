"""Runs the sections: searches on dev, then the plan of what is scored, then test. Started again, it goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autoselection import files
from autoselection.compare.floors import compared_floors
from autoselection.compare.method import Method
from autoselection.compare.rounds import Rounds
from autoselection.compare.searches import open_sessions, run_sessions
from autoselection.compare.session import Session, standing
from autoselection.config import StudyConfig, to_yaml
from autoselection.errors import ConfigError, EvaluationError, StudyError
from autoselection.executors import make_executor
from autoselection.language.models import resolve_model
from autoselection.ledger import UNTRAINED, Journal, Ledger, Wanted, keyed_account
from autoselection.progress import console
from autoselection.reproduce.config import (
    ModelEntry,
    ReproductionConfig,
    TransferTarget,
    checked_sections,
    study_of,
    target_study,
    with_ood,
)
from autoselection.reproduce.folder import check_folders, keep_config
from autoselection.reproduce.learning_rate import choose_rate, with_rate
from autoselection.reproduce.paper import write_paper
from autoselection.reproduce.plan import RATES, planned
from autoselection.reproduce.results import PLAN, other_settings, plan_settings, test_seeds
from autoselection.reproduce.rows import (
    AUTOSELECTION,
    BASE,
    METHOD_NAMES,
    RANDOM_ROWS,
    TRANSFERRED,
    Entry,
    FixedRow,
    Kind,
    Rows,
    ablation_rows,
    fixed_rows,
    keep_rows,
    lacking,
    random_rows,
    realized,
    search_rows,
    single_operator_of,
    stored_rows,
)
from autoselection.study.kind import JOURNAL, check_kind
from autoselection.study.opening import prepare_journalled
from autoselection.study.prepare import Prepared
from autoselection.study.study import CONFIG, check_folder
from autoselection.tasks import load_items
from autoselection.terminal import styled


def run_reproduction(config: ReproductionConfig, out: Path, sections: Sequence[str] = ()) -> dict[str, Any]:
    """Run the sections of a reproduction for every model, or go on with them, in the folder ``out``.

    An evaluation (subset, training seed, settings) is made once, whoever asks for it, and kept as it ends. What a section
    scores on test is fixed by dev scores and journalled before the first test item is read. After every section
    ``paper.md`` and ``paper.json`` are written from what exists.

    Args:
        sections: of these (default: those of the configuration); ``ood`` is scored with ``main``, ``transfer`` needs it.

    Returns:
        The document of ``paper.json``.

    Raises:
        ConfigError: a section is unknown, or the model of a transfer is missing.
        StudyError: test was scored by other settings in this folder, or evaluations were lost to the machine.
    """
    chosen = checked_sections(config, sections)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for model in config.models:  # what is wrong is reported before hours of work
        for target in model.transfer:
            target_study(config, model, target)
        if "transfer" in chosen:
            available_targets(model)
    check_folders(config, out)
    keep_config(config, out)
    document: dict[str, Any] = {}
    for model in config.models:
        document = _run_model(config, model, out, chosen)
    return document


def available_targets(model: ModelEntry) -> list[TransferTarget]:
    """Targets whose model is there; optional ones that are not are left out with a notice.

    Raises:
        ConfigError: the model of a target that is not optional is missing.
    """
    found = []
    for target in model.transfer:
        try:
            resolve_model(target.model)
        except EvaluationError as error:
            hint = f" {target.hint[:1].upper()}{target.hint[1:]}." if target.hint else ""
            if not target.optional:
                raise ConfigError(f"Transfer to {target.name}: {error}{hint}") from error
            console.say(f"Transfer to {target.name} is left out, as its model does not exist.{hint}")
            continue
        found.append(target)
    return found


def _run_model(config: ReproductionConfig, model: ModelEntry, out: Path, sections: Sequence[str]) -> dict[str, Any]:
    study = study_of(config, model)
    for task in config.ood:
        load_items(task.task(), "test")
    folder = out / model.name
    check_folder(folder, "reproduction")
    with Journal(folder / JOURNAL) as journal, closing(make_executor(study.executor)) as executor:
        check_kind(journal, "reproduction")
        prepared = prepare_journalled(study, folder, journal, "reproduction")

        def ledger_of(settings: StudyConfig) -> Ledger:
            account = keyed_account(settings, prepared.pool.fingerprint, journal, folder)
            return Ledger(settings, prepared.pool.path, journal, executor, account)

        choice = choose_rate(config, study, np.asarray(prepared.table.selectable, np.int64), journal, ledger_of)
        rate = None if choice is None else choice.rate
        study = study if rate is None else with_rate(study, rate)
        files.write_text(folder / CONFIG, to_yaml(study))
        runner = _Runner(config, model, study, prepared, journal, ledger_of, folder, rate)
        document: dict[str, Any] = {}
        for section in sections:
            if section == "main":
                runner.main()
            elif section == "ablation":
                runner.ablation()
            elif section == "transfer":
                for target in available_targets(model):
                    runner.transfer(target)
            document = write_paper(config, out)
    return document


@dataclass
class _Runner:
    """One model's pool, evaluations and journal.

    Attributes:
        ledger_of: evaluations by the settings of a study.
        rate: learning rate chosen for full data; None: that of the study.
    """

    config: ReproductionConfig
    model: ModelEntry
    study: StudyConfig
    prepared: Prepared
    journal: Journal
    ledger_of: Callable[[StudyConfig], Ledger]
    folder: Path
    rate: float | None = None
    dev: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.dev = self.ledger_of(self.study)

    @property
    def _subsets(self) -> Path:
        return self.folder / "subsets"

    def main(self) -> None:
        """The main table (and, in the same pass over test, the one out of distribution)."""
        if (entries := self._planned("main", self.dev)) is None:
            fixed, left_out = self._fixed()
            counts = self._counts("main")
            if self.config.fixed_on_dev:
                self._evaluate(
                    self.dev,
                    "main, dev",
                    [wanted for _, rows in fixed for seed, own in rows.items() for wanted in self._on_dev(own, seed)],
                    sum(counts.values()) - counts[RATES] - counts["rows without a search on dev"],
                )
            searched = self._search("main", search_rows(self.config))
            entries = [Entry(BASE, "base", seed, UNTRAINED, 0) for seed in self.config.seeds]
            for row, rows in fixed:
                for seed, own in rows.items():
                    name = keep_rows(self._subsets, own)
                    entries.append(Entry(row.name, row.kind, seed, name, len(own), self._dev_score(own, seed)))
            winners = self._winners(searched, "search")
            entries += [*winners, *self._of_their_size(winners)]
            entries.sort(key=_place)  # stable: replicates and operators stay in their order
            self._plan("main", self.dev, entries, left_out=left_out)
        self._score(self.ledger_of(with_ood(self.study, self.config)), "main, test", entries, self.config.seeds)

    def ablation(self) -> None:
        """Searches with a part taken away; the whole one is that of the main table."""
        if (entries := self._planned("ablation", self.dev)) is None:
            searched = self._search("ablation", ablation_rows(self.config, self.study.search))
            entries = self._winners(searched, "ablation")
            self._plan("ablation", self.dev, entries)
        self._score(self.ledger_of(with_ood(self.study, self.config)), "ablation, test", entries, self.config.seeds)

    def transfer(self, target: TransferTarget) -> None:
        """What the main table found, trained into a larger model: the same rows, no signal of the larger one needed."""
        entries = self._planned("main", self.dev)
        if entries is None:
            raise StudyError(
                f"{self.folder}: transfer uses what the main table found; run the section main first "
                "(--sections main,transfer)."
            )
        label = f"transfer to {target.name}"
        ledger = self.ledger_of(with_ood(target_study(self.config, self.model, target, self.rate), self.config))
        seeds = self.config.seeds[: target.seeds]
        kept = [entry for entry in entries if transferred(entry) and entry.seed in seeds]
        if self._planned(label, ledger) is None:
            self._plan(label, ledger, kept)
        self._score(ledger, label, kept, seeds)

    def _fixed(self) -> tuple[list[tuple[FixedRow, dict[int, Rows]]], dict[str, str]]:
        """Rows without a search with their subsets by replicate, and those that the pool lacks signals for."""
        table = self.prepared.table
        found, left_out = [], {}
        for row in fixed_rows(self.config):
            if missing := lacking(row, table):
                left_out[row.name] = f"the pool has no {', '.join(missing)}"
                console.say(styled("Left out", "yellow"), f": {row.name}: {left_out[row.name]}.")
                continue
            found.append((row, {seed: realized(row, table, seed) for seed in self.config.seeds}))
        return found, left_out

    def _on_dev(self, rows: Rows, seed: int) -> list[Wanted]:
        return [Wanted(rows, base + seed, "dev") for base in self.study.evaluation.seeds]

    def _dev_score(self, rows: Rows, seed: int) -> float | None:
        results = [self.dev.find(wanted) for wanted in self._on_dev(rows, seed)]
        scores = [math.nan if result is None or result.failure else result.score for result in results]
        return float(np.mean(scores)) if all(map(math.isfinite, scores)) else None

    def _search(self, section: str, methods: Mapping[str, Method]) -> dict[tuple[str, int], Session]:
        """Let every method spend its budget in every replicate; sessions by (row, replicate)."""
        sessions: dict[tuple[str, int], Session] = {}
        passes, on_test = len(self.study.evaluation.seeds), self._counts(section)["test"]

        def evaluate(wanted: list[Wanted]) -> None:
            left = sum(int(session.left) for session in sessions.values()) * passes - len(wanted)
            self._attempt(self.dev, f"{section}, search", wanted, max(0, left) + on_test)

        rounds: Rounds[Wanted] = Rounds(evaluate)
        listed = list(methods.values())
        seeds = {seed: seed for seed in self.config.seeds}
        floors = compared_floors(self.study, self.prepared.table, self.dev, self.folder)
        sessions |= open_sessions(self.prepared.table, self.dev, rounds, listed, self.config.budget, seeds, floors)
        run_sessions(self.dev, rounds, sessions, listed)
        names = {method.name: row for row, method in methods.items()}
        return {(names[name], seed): session for (name, seed), session in sessions.items()}

    def _winners(self, searched: Mapping[tuple[str, int], Session], kind: Kind) -> list[Entry]:
        entries = []
        for (row, seed), session in searched.items():
            pick = standing(session.log, session.floors)
            if pick is None:
                entries.append(Entry(row, kind, seed, None, 0))
                continue
            name = keep_rows(self._subsets, pick.rows)
            seen = pick.seen if math.isfinite(pick.seen) else None
            chosen = None
            if row in SINGLES:
                chosen = single_operator_of(pick.rows, self.prepared.table, self.study.search, seed)
            entries.append(Entry(row, kind, seed, name, len(pick.rows), seen, chosen))
            ids = self.prepared.pool.row_ids(pick.rows)
            path = self.folder / "winners" / f"{row.replace(' ', '-')}-seed{seed}.json"
            files.write_text(path, json.dumps(list(map(str, ids))) + "\n")
        return entries

    def _of_their_size(self, winners: Sequence[Entry]) -> list[Entry]:
        """Random rows, as many as AutoSelection's winner has in the same replicate."""
        entries = []
        for winner in winners:
            if winner.row == AUTOSELECTION and winner.subset is not None:
                rows = random_rows(self.prepared.table, winner.rows, winner.seed)
                entries.append(Entry(RANDOM_ROWS, "random", winner.seed, keep_rows(self._subsets, rows), len(rows)))
        return entries

    def _planned(self, section: str, ledger: Ledger) -> list[Entry] | None:
        """What a section scores on test, if that is fixed already.

        Raises:
            StudyError: it was fixed by other settings.
        """
        settings = plan_settings(self.config, self.study, section, ledger.account.settings)
        for event in self.journal.of(PLAN):
            if event["section"] == section:
                if event["settings"] != settings:
                    raise other_settings(section, self.folder)
                return [Entry(**entry) for entry in event["entries"]]
        return None

    def _plan(self, section: str, ledger: Ledger, entries: Sequence[Entry], **notes: Any) -> None:
        settings = plan_settings(self.config, self.study, section, ledger.account.settings)
        listed = [entry.to_dict() for entry in entries]
        self.journal.append(PLAN, section=section, settings=settings, entries=listed, **notes)

    def _score(self, ledger: Ledger, label: str, entries: Sequence[Entry], seeds: Iterable[int]) -> None:
        """Score planned entries on test, with the final seeds; a subset of several rows is trained once."""
        wanted = []
        for entry in entries:
            if entry.subset is not None and entry.seed in set(seeds):
                rows = stored_rows(self._subsets, entry.subset)
                wanted += [Wanted(rows, seed, "test") for seed in test_seeds(self.config, entry)]
        self._evaluate(ledger, label, wanted)

    def _evaluate(self, ledger: Ledger, label: str, wanted: Sequence[Wanted], later: int = 0) -> None:
        """Evaluate what is missing; a lost evaluation stops everything when the others are done."""
        self._attempt(ledger, label, wanted, later)
        ledger.evaluate(wanted)

    def _attempt(self, ledger: Ledger, label: str, wanted: Sequence[Wanted], later: int) -> None:
        """Evaluate what is missing and say how much is left."""
        missing = len(ledger.missing(wanted))
        if missing:
            done = sum(event["event"] == "evaluation" for event in self.journal.events)
            console.say(
                styled(label, "bold"),
                f": {missing} trainings now",
                f", then at most {later} more in this section" if later else "",
                f"; {done} made so far",
            )
        started = time.monotonic()
        ledger.attempt(wanted)
        if missing:
            each = (time.monotonic() - started) / missing
            after = f"; at most {later * each / 60:.0f} min more at this pace" if later else ""
            console.say(f"{label}: {each:.1f} s a training{after}")

    def _counts(self, section: str) -> Mapping[str, int]:
        return planned(self.config, self.model, self.study)[section]


SINGLES = {METHOD_NAMES[name] for name in ("single-operators", "single-operators:all")}
"""Rows whose winners are recipes of one step."""
_ORDER: tuple[Kind, ...] = ("base", "full", "random", "search", "single", "default", "recipe", "ablation")


def _place(entry: Entry) -> int:
    """Place in the main table: AutoSelection comes last."""
    return len(_ORDER) if entry.row == AUTOSELECTION else _ORDER.index(entry.kind)


def transferred(entry: Entry) -> bool:
    """Whether a row of the main table is one of the transfer table."""
    return entry.kind in ("base", "full", "default") or entry.row in {METHOD_NAMES[name] for name in TRANSFERRED}
