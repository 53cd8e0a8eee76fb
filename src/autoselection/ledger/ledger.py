"""The only place that trains and scores: what is wanted is looked up, and made where it is not known."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationResult, evaluate
from autoselection.evaluation.remarks import remark_notes, version_notes
from autoselection.executors import Executor
from autoselection.ledger.account import Account, Name
from autoselection.ledger.journal import Journal
from autoselection.ledger.settings import arithmetics, mixed
from autoselection.ledger.wanted import Wanted, evaluation_job
from autoselection.progress import console, progress
from autoselection.tasks import overall
from autoselection.terminal import Text, styled


class Ledger:
    """Evaluations of one kind, under one configuration, on one pool.

    Args:
        pool: its directory.
        journal: open for writing.
        account: which lines of the journal tell of them.
        after: called when a result is in the journal.

    Attributes:
        made: evaluations that it added to the journal.
    """

    def __init__(
        self,
        config: StudyConfig,
        pool: Path,
        journal: Journal,
        executor: Executor,
        account: Account,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        self.config = config
        self.made = 0
        self._pool, self._journal, self._executor = pool, journal, executor
        self.account, self._after = account, after
        self._lost: dict[Name, str] = {}  # until the journal is opened again
        self._warned = False

    def find(self, wanted: Wanted) -> EvaluationResult | None:
        """The result, if it is known."""
        known = self.account.known().get(self.account.name(wanted))
        return None if known is None else self._scored(known)

    def _scored(self, known: EvaluationResult) -> EvaluationResult:
        """A result with the score that its tasks have by their present weights."""
        if known.failure is not None or not known.scores:
            return known
        return replace(known, score=overall(known.scores, self.config.tasks))

    def why_lost(self, wanted: Wanted) -> str | None:
        """What the machine lost and why, if it did."""
        return self._lost.get(self.account.name(wanted))

    def missing(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """What is neither known nor lost, each once."""
        known = self.account.known()
        by_name = {self.account.name(item): item for item in wanted}
        return [item for name, item in by_name.items() if name not in known and name not in self._lost]

    def evaluate(
        self, wanted: Sequence[Wanted], *, title: str | None = None, quiet: bool = False
    ) -> list[EvaluationResult]:
        """Results of what is wanted, in its order; what is not known is made, side by side, and journalled as it ends.

        A training that failed by its own fault is a result.

        Args:
            title: of a progress bar.
            quiet: say nothing of single results but their remarks.

        Raises:
            StudyError: the machine lost an evaluation for good; the others are done.
        """
        self.attempt(wanted, title=title, quiet=quiet)
        if any(self.why_lost(item) for item in wanted):
            raise self.loss()
        known = self.account.known()
        return [self._scored(known[self.account.name(item)]) for item in wanted]

    def attempt(self, wanted: Sequence[Wanted], *, title: str | None = None, quiet: bool = False) -> None:
        """The same for whoever goes on where the machine lost one.

        It is journalled as an interruption, see :meth:`why_lost`, and wanted again when the journal is opened again.
        """
        known, name = self.account.known(), self.account.name
        # Names may differ where contents are the same: one training does for all of them.
        made = {item.content: known[name(item)] for item in wanted if name(item) in known}
        groups: dict[Hashable, list[Wanted]] = {}
        for item in self.missing(wanted):
            same = made.get(item.content) or self.account.elsewhere(item)
            if same is not None:
                self._note(item, same)
            else:
                groups.setdefault(item.content, []).append(item)
        if groups:
            self._make(list(groups.values()), title, quiet)

    def _make(self, groups: Sequence[Sequence[Wanted]], title: str | None, quiet: bool) -> None:
        """Train and score once for each group of names."""
        account, firsts = self.account, [group[0] for group in groups]
        jobs = [
            evaluation_job(self.config, self._pool, item, account.work(item), keep_model=account.keeps(item))
            for item in firsts
        ]
        with progress(title, len(jobs)) if title else nullcontext() as advance:
            for index, result in self._executor.run(jobs):
                if advance is not None:
                    advance()
                for item in groups[index]:
                    self._take(item, result, quiet)
        if not self._warned:
            self._warn()

    def _warn(self) -> None:
        """Say, once, that evaluations of the journal were made in several ways."""
        warnings = [mixed(kinds)] if len(kinds := self.arithmetics) > 1 else []
        warnings += version_notes(self.account.known().values())
        for warning in warnings:
            console.say(warning, style="yellow")
        self._warned = bool(warnings)

    def _take(self, item: Wanted, result: EvaluationResult, quiet: bool) -> None:
        if result.failure_kind == "infrastructure":
            name = self.account.name(item)
            self._lost[name] = f"{item}: {result.failure}"
            told = {"key": name} if isinstance(name, str) else {"name": name[0], "seed": name[1]}
            self._journal.append("interruption", **told, reason=result.failure)
            return
        self._note(item, result)
        _say_remarks(item, result)
        if not quiet:
            console.say(f"{item.split}  {item}  ", *_shown(result), f"  {result.seconds['total']:.1f} s")

    def _note(self, item: Wanted, result: EvaluationResult) -> None:
        self._journal.append(self.account.event, **self.account.fields(item), result=result.to_dict())
        self.made += 1
        self._after()

    @property
    def remarks(self) -> list[str]:
        """What the evaluations in the journal remarked, by the rows of the subset."""
        sizes = {event["key"]: event["rows"] for event in self._journal.events if "key" in event and "rows" in event}
        return remark_notes(
            [(f"{sizes.get(name, result.train_rows):,} rows", result) for name, result in self.account.known().items()]
        )

    @property
    def arithmetics(self) -> list[str]:
        """Kinds of device and number that the evaluations in the journal were made with."""
        return arithmetics(result.settings for result in self.account.known().values())

    def loss(self) -> StudyError:
        """What to raise where evaluations were lost."""
        return StudyError(
            f"{len(self._lost)} evaluation(s) were lost to the machine, not to the recipe: {'; '.join(self._lost.values())}. "
            "Fix that and run the same command again; finished evaluations are kept."
        )


def evaluate_here(config: StudyConfig, pool: Path, wanted: Wanted, work: Path) -> EvaluationResult:
    """Train and score in this process, with all metrics; no journal knows of it.

    Raises:
        AutoSelectionError: see :func:`autoselection.evaluation.evaluate`.
    """
    result = evaluate(evaluation_job(config, pool, wanted, work, keep_model=True, full_metrics=True))
    _say_remarks(wanted, result)
    return result


def _say_remarks(wanted: Wanted, result: EvaluationResult) -> None:
    for remark in result.remarks:
        console.say(styled(str(wanted), "yellow"), f": {remark}")


def _shown(result: EvaluationResult) -> tuple[str | Text, ...]:
    if result.failure is not None:
        return styled("failed", "red"), f": {result.failure}"
    return (f"score {result.score:.4f}",)
