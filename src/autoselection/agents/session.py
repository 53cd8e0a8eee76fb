"""A study that an agent works with: its pool and signals, what may be proposed, and the evaluation that is under way."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from autoselection.activity import FILE as ACTIVITY
from autoselection.activity import announce
from autoselection.agents.dev_only import check_recipe, dev_study, without_hidden
from autoselection.agents.evaluation import ERROR, STARTING
from autoselection.agents.untrusted import meant, neutralised
from autoselection.documents import parse_yaml
from autoselection.errors import AutoSelectionError, RecipeError, StudyError
from autoselection.files import InUse
from autoselection.ledger import Journal
from autoselection.pool import Pool
from autoselection.recipes import Materialization, PrefixCache, Recipe, materialize
from autoselection.recipes.ready import ready_recipes
from autoselection.signals import PoolStats, SignalTable, pool_stats
from autoselection.study import Study, Trial
from autoselection.study.beginning import has_begun
from autoselection.study.kind import JOURNAL
from autoselection.study.named_pools import open_scored_pool
from autoselection.study.rounds import StudySearch
from autoselection.study.study import AGENT
from autoselection.system import module_command
from autoselection.terminal import obeyed, visible
from autoselection.watch import StudyFolder
from autoselection.wording import clipped, ended, suggestion

#: What the evaluating process writes, beside the journal.
LOG = "agent.log"
#: How long the end of an evaluating process is waited for, whose last result is in the journal already (s), and between two looks.
_END, _LOOK = 30.0, 0.2
#: Longest sentence about a refusal (characters).
_SENTENCE = 1_000

State = Literal["preparing", "running", "done", "failed", "stopped", "idle"]


@dataclass(frozen=True)
class Status:
    """What a study is at.

    Attributes:
        state: ``preparing`` pool, signals and floors; ``running`` an evaluation; ``done`` or ``failed``, of a trial that was asked
            about; ``stopped`` before it had a result; ``idle`` without anything under way.
        trial: that is or was evaluated.
        stage: what its process is at, in words.
        done, of: optimiser steps of the training under way; 0 outside of one.
        seconds: that the training is expected to take yet; None if unknown.
        why: why it stopped.
    """

    state: State
    trial: str | None = None
    stage: str = ""
    done: int = 0
    of: int = 0
    seconds: float | None = None
    why: str = ""

    @property
    def waits(self) -> bool:
        """Whether something is under way."""
        return self.state in ("preparing", "running")

    def sentence(self) -> str:
        """For people and progress bars."""
        step = f", step {self.done:,} of {self.of:,}" if self.of else ""
        return f"{self.trial or 'the study'}: {self.stage or self.state}{step}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without what is not known."""
        found: dict[str, Any] = {"state": self.state, "trial": self.trial, "stage": self.stage or None}
        if self.of:
            found["training"] = {"step": self.done, "of": self.of, "seconds_left": self.seconds}
        return {key: value for key, value in {**found, "why": self.why or None}.items() if value is not None}


class AgentSession:
    """One server's work with one study. Several threads may call it.

    Args:
        path: the study's folder.
        evaluations: most evaluations that agents may ask for in this study, all of them together; None: as many as the study's
            budget leaves.

    Raises:
        StudyError: there is no study.
    """

    def __init__(self, path: Path, evaluations: int | None = None) -> None:
        self.path = path
        self.limit = evaluations
        self._folder = StudyFolder(path)
        self._guard = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None
        self._looked: Counter[str] = Counter()
        self._unwritten: list[dict[str, Any]] = []  # refusals, until the journal is free
        self._cache = PrefixCache()
        self._begun = False

    # What there is

    @property
    def study(self) -> Study:
        """The study as it is now, without test."""
        return dev_study(self.path)

    @property
    def pool(self) -> Pool:
        """Its pool."""
        return self._place[0]

    @property
    def table(self) -> SignalTable:
        """Its signals, without those that have read test items."""
        return self._place[2]

    @cached_property
    def stats(self) -> PoolStats:
        """What is in the pool."""
        return pool_stats(self.pool, self.table)

    @cached_property
    def _place(self) -> tuple[Pool, SignalTable, SignalTable]:
        """The pool, the signals that the study began with, and what of them is shown."""
        self.check_begun()
        place = open_scored_pool(self.path)
        opening = self.study.journal.of("study")[0]
        if place.table.fingerprint != opening["signals"]:
            raise StudyError(
                f"{self.path}: the signals of the study changed since it was started: restore them, or start a new study."
            )
        return place.pool, place.table, without_hidden(place.table)

    def materialize(self, recipe: Recipe) -> Materialization:
        """What a recipe selects from the pool.

        Raises:
            RecipeError, SignalError: it is not valid on this pool, or reads what agents do not see.
        """
        check_recipe(recipe)
        with self._guard:
            return materialize(recipe, self.table, seed=self.study.config.search.seed, cache=self._cache)

    def note(self, tool: str) -> None:
        """Count a look; the journal tells of them with the next proposal."""
        with self._guard:
            self._looked[tool] += 1

    # Preparing

    @property
    def begun(self) -> bool:
        """Whether pool, signals and floors are there."""
        self._begun = self._begun or has_begun(self.study)
        return self._begun

    def meant(self, given: Any) -> Any:
        """What an agent gave, with the pool's own names for those of sources and rows that it saw written with escapes."""
        if not self.begun or "\\" not in str(given):
            return given
        return meant(given, self._escaped_names)

    @cached_property
    def _escaped_names(self) -> Mapping[str, str]:
        """Names of sources and ids of rows that are shown otherwise than they are, by how they are shown."""
        ids, sources = self.pool.ids, set(self.table.source_names)
        # What is obeyed cannot be printed: of a million ids, few become strings of Python.
        odd = ids.filter(pc.invert(pc.utf8_is_printable(ids))).to_pylist()
        shown = {visible(name, lines=True): name for name in sorted({*sources, *odd}) if obeyed(name)}
        taken = pc.is_in(pa.array(shown, pa.string()), value_set=ids).to_pylist()
        return {
            escaped: name
            for (escaped, name), is_id in zip(shown.items(), taken, strict=True)
            if not is_id and escaped not in sources
        }

    def check_begun(self) -> None:
        """See that pool, signals and floors are there.

        Raises:
            StudyError: they are not: preparing them is under way, or it stopped, with the reason.
        """
        if self.begun:
            return
        status = self.status()
        if status.state == "preparing":
            raise StudyError(
                f"The study is being prepared ({status.stage or 'starting'}): wait_for_evaluation waits for it, then ask again."
            )
        raise StudyError(
            f"The study could not be prepared{f' ({status.why.rstrip(chr(46))})' if status.why else ''}: mend that, and start the "
            "server again."
        )

    def prepare(self) -> None:
        """Begin the study in a process of its own, if it has not begun."""
        with self._guard:
            if not self.begun and self._folder.look().state != "running":
                announce(self.path / ACTIVITY, STARTING)
                self._start()

    # Proposing

    @property
    def trials(self) -> list[Trial]:
        """Trials that agents asked for."""
        return [trial for trial in self.study.all_trials() if trial.record["origin"] == "agent"]

    @property
    def left(self) -> float:
        """Evaluations that an agent may still ask for: what the study's budget leaves, and the limit of agents."""
        study = self.study
        left = study.config.search.evaluations - study.asked
        return max(0.0, left if self.limit is None else min(left, self.limit - len(self.trials)))

    def propose(
        self, given: Recipe | Mapping[str, Any] | str, reason: str, parent: str | None = None, client: str = ""
    ) -> tuple[str, bool]:
        """Journal a recipe as the next trial and start its evaluation. What is refused is journalled too: at once, or with the
        next proposal where another process holds the journal.

        Args:
            given: a recipe, or what :func:`read_recipe` takes.
            reason: why it is worth an evaluation.
            parent: the trial that it was made from.
            client: what the agent's program calls itself.

        Returns:
            The trial, and whether it is new; a recipe whose evaluation was interrupted goes on where it was.

        Raises:
            RecipeError, SignalError: it cannot be run on this pool, or reads what agents do not see.
            StudyError: the budget is spent, its rows are known, too few, or nearly known, or an evaluation is under way.
        """
        self.check_begun()
        with self._guard:
            told = {
                "client": clipped(visible(client)),
                "reason": reason,
                "parent": parent,
                "looked": dict(self._looked),
            }
            self._looked.clear()
            recipe: Recipe | None = None
            interrupted = ""
            try:
                recipe = given if isinstance(given, Recipe) else read_recipe(self.meant(given), self.study)
                subset = self.materialize(recipe).subset_hash
                self._wait_for_end()
                with self._held() as journal:
                    search = StudySearch(Study(self.path, journal), self._place[1])
                    search.replay()
                    pending = {candidate.subset_hash: candidate.id for candidate in search.pending}
                    if not pending:
                        candidate = self._take(search, recipe, told)
                    elif subset in pending:
                        self._looked.update(told["looked"])  # it was journalled before: they are told with the next
                    else:
                        interrupted = (
                            f"{next(iter(pending.values()))} was interrupted and has no result yet: its evaluation goes on now; wait "
                            "for it, then propose this again."
                        )
                        self._unwritten.append(_refusal(told, recipe, interrupted))
                        self._write_refused(journal)
                    announce(self.path / ACTIVITY, STARTING)  # before another server can take the journal
            except AutoSelectionError as refused:
                self._note_refused(_refusal(told, recipe, str(refused)))
                raise
            self._start()
        if interrupted:
            raise StudyError(interrupted)
        return (pending[subset], False) if pending else (candidate, True)

    def _take(self, search: StudySearch, recipe: Recipe, told: Mapping[str, Any]) -> str:
        """Journal a proposal that keeps the study's rules."""
        if self.limit is not None and len(self.trials) >= self.limit:
            raise StudyError(f"The {self.limit} evaluation(s) that agents may ask for in this study are spent.")
        candidate = search.propose(recipe, told["reason"], told["parent"])
        search.study.journal.append(AGENT, **told, recipe=candidate.recipe.to_dict(), trial=candidate.id, refused=None)
        return candidate.id

    def _note_refused(self, entry: dict[str, Any]) -> None:
        """Journal a refusal; while something runs, keep it for the next proposal: a process that starts finds the journal free."""
        self._unwritten.append(entry)
        if self.status().waits:
            return
        with suppress(StudyError), Journal(self.path / JOURNAL) as journal:
            self._write_refused(journal)

    def _write_refused(self, journal: Journal) -> None:
        while self._unwritten:
            journal.append(AGENT, **self._unwritten[0])
            del self._unwritten[0]

    # Evaluating

    @contextmanager
    def _held(self) -> Iterator[Journal]:
        """The journal, held, with what was refused before in it. A process whose last result is there already, such as one that an
        earlier server started, lets go of it within seconds.

        Raises:
            StudyError: another process holds it, or has just taken it over.
        """
        until = time.monotonic() + _END
        with ExitStack() as stack:
            journal = None
            while journal is None:
                try:
                    journal = stack.enter_context(Journal(self.path / JOURNAL))
                except StudyError as error:
                    if not isinstance(error.__cause__, InUse):
                        raise
                    if time.monotonic() > until:
                        raise StudyError(
                            "Another process works on this study: wait until it has ended, then propose this again."
                        ) from error
                    time.sleep(_LOOK)
                    self._check_nothing_runs()
            self._write_refused(journal)
            yield journal

    def _wait_for_end(self) -> None:
        """Let a process end whose trials all have results.

        Raises:
            StudyError: an evaluation is under way.
        """
        status = self.status()
        if self._child is not None and not status.waits:
            try:
                self._child.wait(_END)
            except subprocess.TimeoutExpired:
                status = Status("running", stage="ending")
        self._check_nothing_runs(status)

    def _check_nothing_runs(self, status: Status | None = None) -> None:
        status = status or self.status()
        if status.waits:
            raise StudyError(
                f"An evaluation is under way ({status.sentence()}): wait_for_evaluation waits for it; then propose the next."
            )

    def _start(self) -> None:
        """Start the process that evaluates what lacks a result; it goes on when this one ends."""
        command = module_command("autoselection.agents.evaluation", str(self.path))
        with (self.path / LOG).open("wb") as log:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def _alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def status(self, trial: str | None = None) -> Status:
        """What the study is at.

        Args:
            trial: that is asked about; None: the last one.

        Raises:
            StudyError: there is no such trial.
        """
        with self._guard:
            alive = self._alive  # before the look: what it journalled before its end is seen then
            look = self._folder.look()
        record = look.record
        if trial is not None and trial not in (known := [each.id for each in record.trials]):
            raise StudyError(
                f"There is no trial '{clipped(trial)}'{suggestion(trial, known) if known else ': there is none yet.'}"
            )
        pending = record.pending
        named = trial or (pending[0] if pending else record.trials[-1].id if record.trials else None)
        running = alive or look.state == "running"
        if (
            trial is None and not self.begun
        ):  # trials there may be: what a begun study was given changed, such as its budget
            if running:
                return Status("preparing", None, look.stage)
            log = self.path / LOG
            silent = f"its process ended without saying why; {log} has what it wrote." if log.exists() else ""
            return Status("stopped", why=self._error() or silent)
        if named is not None and named not in pending:
            if running and trial is None and not alive:  # a search
                return Status("running", None, look.stage)
            failed = next(each.failure for each in record.trials if each.id == named)
            return Status("failed", named, why=failed) if failed else Status("done", named)
        if running:
            worker = next((each for each in look.workers if each.alive and each.evaluation), None)
            stage = worker.stage if worker is not None else look.stage
            if named is None:
                return Status("idle")
            training = (0, 0, None) if worker is None else (worker.steps, worker.of, worker.remaining)
            return Status("running", named, stage, *training)
        return Status("idle") if named is None else Status("stopped", named, why=self._error())

    def _error(self) -> str:
        """Why the process ended early, by the last line of what it wrote; empty if that does not tell."""
        try:
            lines = (self.path / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        found = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        return ended(found[-1]) if found else ""


def _refusal(told: Mapping[str, Any], recipe: Recipe | None, why: str) -> dict[str, Any]:
    """What the journal holds of a refused proposal, which may hold anything: made harmless, or one that cannot be written would
    stand in the way of all that follow."""
    asked = None if recipe is None else recipe.to_dict()
    return dict(neutralised({**told, "recipe": asked, "trial": None, "refused": clipped(why, _SENTENCE)}))


def read_recipe(given: Mapping[str, Any] | str, study: Study) -> Recipe:
    """The recipe that an agent gave: the recipe itself, as an object or as YAML, the id of a trial, or the name of a ready recipe.

    No file is read, whatever it names.

    Raises:
        RecipeError: it is none of these, or not valid.
    """
    if not isinstance(given, str):
        return Recipe.from_dict(dict(given))
    word = given.strip()
    trial = next((trial for trial in study.all_trials() if trial.id == word), None)
    if trial is not None:
        return trial.recipe
    if word in ready_recipes():
        return ready_recipes()[word].recipe
    document, _ = parse_yaml(given, "recipe", RecipeError)
    if isinstance(document, str):
        raise RecipeError(
            f"'{clipped(word)}' is no trial of this study and no ready recipe: give the recipe itself, as an object with 'steps'; "
            "no file is read."
        )
    return Recipe.from_dict(document)
