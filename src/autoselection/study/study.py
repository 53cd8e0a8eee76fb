"""A study on disk: its folder, its configuration, and its journal read back as trials.

``STUDY_DIR/``: ``config.yaml`` (resolved), ``journal.jsonl``, ``subsets/tNNN.npy`` (ordered row indices),
``pool/`` (if the study ingested raw files), ``best/`` (exports), ``found/`` (those of the search's winner where the
incumbent stays), ``report.md`` and ``report.html`` (written by the command line).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection import files, former_keys, notebook
from autoselection.config import SEAL, StudyConfig, parse_config, to_yaml
from autoselection.documents import read_yaml
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.ledger.journal import SUBSETS, Journal
from autoselection.pool import Pool, Subset
from autoselection.progress import console
from autoselection.recipes import ordered_hash
from autoselection.study.identity import check_identity
from autoselection.study.kind import JOURNAL, check_study, no_study
from autoselection.study.settings import SETTINGS, changed_settings, parse_recorded
from autoselection.study.trials import Trial, Trials, as_one
from autoselection.tasks import merit, shortfall

CONFIG = "config.yaml"

#: Events of the journal: an evaluation that floors and guards are measured from, what the floors came to, and what an agent
#: asked to be evaluated, taken or refused.
REFERENCE, FLOORS, AGENT = "reference", "floors", "agent"
#: Event of the journal: what evaluations with other models are counted as (:mod:`autoselection.study.levels`).
LEVELS = "levels"


class Study:
    """A study directory.

    Attributes:
        stored_evaluations: ``search.evaluations`` of the configuration that lay there when the study was opened to run.

    Raises:
        StudyError: the directory holds no study but something else, one of another configuration, or a damaged one.
    """

    def __init__(self, path: Path | str, journal: Journal | None = None) -> None:
        path = Path(path)
        if not (path / JOURNAL).exists():
            raise no_study(path)
        self.path = path
        self.journal = Journal(path / JOURNAL) if journal is None else journal
        check_study(self.journal)
        self.config = stored_config(path)
        self.stored_evaluations = self.config.search.evaluations

    @classmethod
    def create_or_open(
        cls,
        config: StudyConfig,
        path: Path,
        journal: Journal | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> Study:
        """Open the study in ``path``, or create it; a study of other settings is refused, naming them.

        Args:
            journal: that of the study, if its lock is held already; else it is held while the folder is changed.
            identity: what the study is about now, to be compared with what it was about, see ``study_identity``.
        """
        if journal is None:
            check_folder(path, "study")
            with Journal(path / JOURNAL) as own:
                evaluations = cls.create_or_open(config, path, own).stored_evaluations
            study = cls(path)
            study.stored_evaluations = evaluations
            return study
        stored = path / CONFIG
        evaluations = config.search.evaluations
        if journal.events and stored.exists():
            study = cls(path, journal)
            evaluations = study.config.search.evaluations
            _check_settings(path, changed_settings(study.config, config))
            study.check_budget(config.search.evaluations)
        elif opening := journal.of("study"):
            _check_recorded(opening[0].get(SETTINGS), config, path)
        if identity is not None:
            check_identity(journal, identity)
        text = to_yaml(config)
        files.write_text(stored, f"{text}{SEAL}{_text_checksum(text)}\n")
        (path / JOURNAL).touch()
        study = cls(path, journal)
        study.stored_evaluations = evaluations
        return study

    def check_budget(self, evaluations: int) -> None:
        """See that the search may be given that many evaluations.

        Raises:
            StudyError: more are spent.
        """
        spent = self.asked
        if evaluations != self.config.search.evaluations and evaluations < spent - 1e-9:
            raise StudyError(
                f"{self.path}: the search has spent {spent:g} of {self.config.search.evaluations} evaluations already, so "
                f"search.evaluations cannot be {evaluations}: give {math.ceil(spent - 1e-9)} or more."
            )

    @property
    def asked(self) -> float:
        """Evaluations that were asked for, in full ones: what the search's budget has paid."""
        return sum(trial.fidelity for trial in self.all_trials())

    @property
    def spent(self) -> float:
        """Evaluations that are made, in full ones: those of trials that have all their seeds' results, or failed."""
        return sum(trial.fidelity for trial in self.all_trials() if self.is_done(trial))

    def is_done(self, trial: Trial) -> bool:
        """Whether a trial has the results of all its seeds, or failed."""
        return bool(trial.failure) or len(trial.results) >= len(self.config.evaluation.seeds)

    @property
    def trials(self) -> Trials:
        """Full evaluations, in the order in which they were asked."""
        return Trials(self._full(math.inf))

    @property
    def pool(self) -> Pool:
        """The pool, as the study knows it: without rows that were appended since.

        Raises:
            StudyError: the study has not opened it yet.
            PoolError: it is not there any more, or damaged.
        """
        opening = self.journal.of("study")
        if not opening:
            raise StudyError(f"{self.path}: the study has not opened its pool yet; run it first.")
        return Pool.open(self.config.pool.path or self.path / "pool", fingerprint=opening[0]["pool"])

    def subset(self, trial: str | Trial) -> Subset:
        """The rows of a trial (or of the one with this id), in the order of their training.

        Raises:
            StudyError: there is no such trial, or its rows are damaged.
        """
        trial_id = trial.id if isinstance(trial, Trial) else trial
        self.all_trials()[trial_id]
        return Subset(self.pool, self.rows(trial_id))

    def plot(self, what: str = "scores") -> Any:
        """Draw the study: its ``scores`` over the evaluations, or its ``tasks`` by trial.

        Returns:
            An :class:`autoselection.report.plots.Plot`, which a notebook shows.

        Raises:
            ConfigError: ``what`` is something else.
            StudyError: no trial has a score yet.
        """
        return notebook.drawn("study_plot", self, what)

    def __repr__(self) -> str:
        return notebook.line("Study", f"{self.path}: {self._told()}")

    def _repr_html_(self) -> str:
        best = self.best()
        facts = {"evaluations": f"{self.spent:g} of {self.config.search.evaluations}"}
        if best is not None:
            facts |= {
                "best": f"{best.id}, dev score {best.score:.4f}, {notebook.counted(best.size, 'row')}",
                "recipe": best.recipe.describe(),
            }
        return notebook.page(f"Study {self.path}: {self._told()}", facts, self.trials.table())

    def _told(self) -> str:
        best = self.best()
        state = "finished" if self.finished else "not finished"
        found = "" if best is None else f", the best {best.score:.4f} ({best.id})"
        return f"{state}, {self.spent:g} of {notebook.counted(self.config.search.evaluations, 'evaluation')}{found}"

    def _full(self, before: float) -> list[Trial]:
        return [trial for trial in self.all_trials(before) if trial.fidelity == 1.0]

    @property
    def finished(self) -> bool:
        """Whether everything the configuration asked for is done, and the search was not given another budget since."""
        last = [event["event"] for event in self.journal.events if event["event"] in ("finished", "budget")]
        return last[-1:] == ["finished"]

    def all_trials(self, before: float = math.inf) -> Trials:
        """Trials in the order in which they were asked, short trainings among them.

        Args:
            before: number of a journal event; results from then on are left out.
        """
        results: dict[str, dict[int, EvaluationResult]] = {}
        for event in self.journal.of("evaluation"):
            if event["seq"] >= before:
                break
            results.setdefault(event["trial"], {})[event["seed"]] = EvaluationResult.from_dict(event["result"])
        return Trials(
            Trial(event["trial"]["id"], event["trial"], results.get(event["trial"]["id"], {}))
            for event in self.journal.of("trial")
        )

    def subsets(self, before: float = math.inf) -> list[Trial]:
        """Full evaluations, one a subset: its first one that did not fail, with the results of its repeats too.

        Args:
            before: number of a journal event; results from then on are left out.
        """
        groups: dict[str, list[Trial]] = {}
        for trial in self._full(before):
            groups.setdefault(trial.record["subset_hash"], []).append(trial)
        return [as_one(group) for group in groups.values()]

    @property
    def floors(self) -> dict[str, float]:
        """Lowest dev score of each task that has a floor; empty before they are measured."""
        events = self.journal.of(FLOORS)
        return dict(events[-1]["values"]) if events else {}

    def contenders(self, before: float = math.inf) -> list[Trial]:
        """The subsets that the best is chosen from: those with a score that meet every floor; all, while none does.

        Args:
            before: number of a journal event; results from then on are left out.
        """
        scored, floors = [trial for trial in self.subsets(before) if trial.score is not None], self.floors
        return [trial for trial in scored if shortfall(trial.tasks, floors) == 0] or scored

    def merit(self, trial: Trial) -> tuple[float, float]:
        """What is the larger the better a scored trial is: minus what it misses floors by, then its score."""
        return merit(trial.score or 0.0, trial.tasks, self.floors)

    def best(self) -> Trial | None:
        """The subset with the best dev score, the mean of its repeats (ties: the later one), of those that meet every floor;
        the one that misses them least, while none does: that which the search takes for the best."""
        return max(reversed(self.contenders()), key=self.merit, default=None)

    def leaders(self, trials: Iterable[Trial]) -> list[Trial | None]:
        """The best after each of some trials, by what these had shown until then (:meth:`best` is that after all): a repeat
        may lower it. None before there is one."""
        floors = self.floors
        groups: dict[str, list[Trial]] = {}
        places: dict[str, int] = {}  # of two as good the later one leads
        scored: dict[str, tuple[tuple[float, float], int, Trial]] = {}
        leader: str | None = None
        found: list[Trial | None] = []
        for trial in trials:
            if trial.fidelity == 1.0:
                subset = trial.record["subset_hash"]
                groups.setdefault(subset, []).append(trial)
                places.setdefault(subset, len(places))
                one = as_one(groups[subset])
                if one.score is not None:
                    now, before = (merit(one.score, one.tasks, floors), places[subset], one), scored.get(subset)
                    scored[subset] = now
                    if subset == leader and before is not None and now[:2] < before[:2]:
                        leader = max(scored, key=lambda key: scored[key][:2])  # another one may be better now
                    elif leader is None or now[:2] > scored[leader][:2]:
                        leader = subset
            found.append(None if leader is None else scored[leader][2])
        return found

    @property
    def best_rule(self) -> str:
        """What the best is, in words: with floors it is another one than that with the best score."""
        best, floors = self.best(), self.floors
        if not floors:
            return "best"
        met = best is not None and shortfall(best.tasks, floors) == 0
        return "best of what meets the floors" if met else "misses the floors least: no trial meets them"

    def rows(self, trial_id: str) -> NDArray[np.int64]:
        """Ordered row indices of a trial's subset.

        Raises:
            StudyError: the file is missing, or holds other rows than the journal tells of.
        """
        path = self.path / SUBSETS / f"{trial_id}.npy"
        again = "restore it from a copy, or run 'autoselection search' on the study again, which writes it again"
        try:
            rows = files.read_rows(path)
        except ValueError as error:
            raise StudyError(f"{path} cannot be read ({error}): {again}.") from error
        record = next(event["trial"] for event in self.journal.of("trial") if event["trial"]["id"] == trial_id)
        if ordered_hash(rows) != record["ordered_hash"]:
            raise StudyError(f"{path} is damaged: it holds other rows than were evaluated: {again}.")
        return rows

    def save_rows(self, trial_id: str, rows: NDArray[np.int64]) -> None:
        """Write a trial's subset; the same trial writes the same file again."""
        files.write_array(self.path / SUBSETS / f"{trial_id}.npy", rows)

    def final_results(self) -> dict[str, dict[int, EvaluationResult]]:
        """Test results by row of the last final plan and seed, in the planned order.

        Results of an earlier plan count where this one asks for the same rows and seed.
        """
        plans = self.journal.of("final_plan")
        hashes = [{entry["name"]: entry["subset_hash"] for entry in plan["entries"]} for plan in plans]
        table: dict[str, dict[int, EvaluationResult]] = {name: {} for name in hashes[-1]} if plans else {}
        for event in self.journal.of("test"):
            name, seed = event["name"], event["seed"]
            if name not in table or hashes[event.get("plan", 1) - 1][name] != hashes[-1][name]:
                continue
            if seed in plans[-1]["seeds"] or hashes[-1][name] is None:
                table[name][seed] = EvaluationResult.from_dict(event["result"])
        return table


def check_folder(path: Path, what: str) -> None:
    """Refuse a folder that holds other things than one that was begun here.

    Args:
        what: what is to be written there, such as "study".

    Raises:
        StudyError: it is a file, or holds something else.
    """
    if path.exists() and not path.is_dir():
        raise StudyError(f"{path} is a file; choose another --out.")
    if not path.is_dir() or (path / JOURNAL).exists():
        return
    # Hidden files and a configuration are what is left of a run that ended before its first event.
    others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(".") and entry.name != CONFIG)
    if others:
        raise StudyError(f"{path} is a folder with other things in it ({others[0]}), no {what}; choose another --out.")


def stored_config(path: Path, command: str = "autoselection search CONFIG.yaml") -> StudyConfig:
    """The configuration in the folder of a study, or of a model of a reproduction.

    Args:
        command: what wrote it there.

    Raises:
        StudyError: it is missing, cannot be read, was changed since it was written, names what is not installed, or needs
            an earlier version.
    """
    file = path / CONFIG
    mend = f"restore it from a copy, or run '{command}' on the folder again without that file"
    try:
        text, seal, checksum = file.read_text(encoding="utf-8").rpartition(SEAL)
        if seal and checksum.strip() != _text_checksum(text):
            raise StudyError(
                f"{file} was changed since it was written: {mend}; or remove its last line if it is right."
            )
        document, _ = read_yaml(file)
        if not isinstance(document, dict):
            raise StudyError(f"{file} is damaged, it holds no keys and values: {mend}.")
        document = former_keys.updated(document, str(file))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise StudyError(f"{file} cannot be read ({error}): {mend}.") from error
    try:
        return parse_config(document, path)
    except ConfigError as error:
        problems = "; ".join(line.removeprefix("configuration: ").rstrip(".") for line in str(error).splitlines())
        raise StudyError(
            f"{file} cannot be used here ({problems}): a package that registers what is unknown may not be installed any "
            f"more: install it again; if none is missing, {mend}."
        ) from error


def _check_settings(path: Path, changed: Sequence[str]) -> None:
    if changed:
        raise StudyError(
            f"{path}: the study was started with other settings ({', '.join(changed)}); "
            "restore them, or name another --out directory."
        )


def _check_recorded(recorded: str | None, config: StudyConfig, path: Path) -> None:
    """Compare settings with those that the journal of a study without ``config.yaml`` began with.

    Args:
        recorded: None in a journal of an older version, of which nothing can be known.

    Raises:
        StudyError: others decide its evaluations.
    """
    if recorded is None:
        console.say(
            f"{path / CONFIG} is missing, and an older version wrote the journal without the settings: whether these are the "
            "settings that the study was started with is not checked.",
            style="yellow",
        )
        return
    try:
        begun = parse_recorded(recorded, f"the settings in {path / JOURNAL}", path)
    except ConfigError as error:
        raise StudyError(
            f"{path / CONFIG} is missing, and the settings that the journal began with cannot be used here "
            f"({' '.join(str(error).split()).rstrip('.')}): restore {CONFIG} from a copy, or install what is named."
        ) from error
    _check_settings(path, changed_settings(begun, config, places=False))


def _text_checksum(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
