"""Where a recipe is applied: a pool, a study, or raw files; with the signals that the recipe needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoselection.config import PoolConfig, StudyConfig
from autoselection.errors import PoolError, SignalError
from autoselection.pool import Pool
from autoselection.pool.cached import cached_pool
from autoselection.progress import console
from autoselection.recipes import Recipe, ScoredPool, lacking_signals
from autoselection.signals import ScoreReport, SignalsConfig, SignalTable, load_table, score_pool
from autoselection.signals.registry import default_registry as signal_registry
from autoselection.signals.score import obstacles
from autoselection.study.kind import JOURNAL, no_study, reproduced_models
from autoselection.study.prepare import contaminated, without
from autoselection.study.study import Study
from autoselection.wording import command_line

#: What a study writes into its folder, besides its report.
_STUDY = (
    *(JOURNAL, "config.yaml", "llm.jsonl", "subsets", "pool", "work", "best", "found", "compute"),
    *("contamination.jsonl", "activity.json", "tracking.json", "tracking.log"),
)


@dataclass(frozen=True)
class NamedPool:
    """A pool and how it was named.

    Attributes:
        paths: what the user named.
        pool: the pool; of a study, as the study knows it.
        config: the configuration of the study, if it is one.
        keys: cache keys of the study's signals; None: the newest of the pool.
    """

    paths: tuple[Path, ...]
    pool: Pool
    config: StudyConfig | None = None
    keys: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """What the user calls it."""
        return ", ".join(map(str, self.paths))


def open_named_pool(paths: Sequence[Path] | Path) -> NamedPool:
    """The pool of a pool directory, of a study directory, or of raw files (kept in the cache, with a note).

    Raises:
        PoolError, StudyError: it is none of these, or damaged.
    """
    named = [paths] if isinstance(paths, Path) else list(paths)
    kinds = [_kind(path) for path in named]
    if len(named) > 1 and set(kinds) != {"files"}:
        other = named[next(i for i, kind in enumerate(kinds) if kind != "files")]
        raise PoolError(
            f"{other} is a {next(k for k in kinds if k != 'files')}: name it alone; only raw files go together."
        )
    if kinds[0] == "study":
        return _study(named[0])
    if kinds[0] == "pool":
        return NamedPool((named[0],), Pool.open(named[0]))
    if reproduced_models(named[0]):
        raise no_study(named[0])
    pool, report = cached_pool(named)
    named_pool = NamedPool(tuple(named), pool)
    if report is not None:
        skipped = f", {report.skipped:,} bad rows skipped" if report.skipped else ""
        console.say(
            f"Read {named_pool.name}: {report.rows:,} rows{skipped}. They are kept in {pool.path} until the file changes; "
            "`autoselection ingest` makes a pool of your own."
        )
    return named_pool


def own_files(path: Path) -> list[Path]:
    """What of a place nobody else may write: a raw file, a pool, or the files that a study is."""
    return [path / name for name in _STUDY] if _kind(path) == "study" else [path]


def is_study(path: Path) -> bool:
    """Whether a study lies there."""
    return (path / JOURNAL).exists()


def _kind(path: Path) -> str:
    if is_study(path):
        return "study"
    return "pool" if (path / "manifest.json").exists() else "files"


def _study(path: Path) -> NamedPool:
    study = Study(path.resolve())
    return NamedPool((path,), study.pool, study.config, begun_keys(study.journal.of("study")[0]))


def open_scored_pool(
    paths: Sequence[Path] | Path, recipe: Recipe | None = None, config: StudyConfig | None = None, named: str = "RECIPE"
) -> ScoredPool:
    """A pool, study or raw files with signals: those it has, and those that ``recipe`` needs.

    Signals of the rows' text are computed where they are lacking. Others are if ``config`` (or the study's own
    configuration) names what they need: a model, an SAE, tasks.

    Args:
        named: how the user named the recipe, for messages.

    Raises:
        PoolError, StudyError: see :func:`open_named_pool`.
        SignalError: a signal is damaged, or one is lacking and nothing says how to compute it: the message is the command.
    """
    named_pool = open_named_pool(paths)
    config = config or named_pool.config
    keys = named_pool.keys
    table = load_table(named_pool.pool, keys=keys)
    names = () if recipe is None else lacking_signals(recipe, table)
    if names:
        report = compute_signals(named_pool, names, config, named)
        table = load_table(named_pool.pool, keys=None if keys is None else {**keys, **report.keys})
    if named_pool.config is not None:
        table = _without_contaminated(table, named_pool.config.pool)
    return ScoredPool(named_pool.name, named_pool.pool, table)


def begun_table(folder: Path, config: StudyConfig, opening: Mapping[str, Any]) -> SignalTable:
    """The signals of a pool as a journal began with them: without rows and signals that came later.

    Args:
        folder: where the journal lies, and the pool if it was ingested for it.
        opening: its first event.

    Raises:
        PoolError, SignalError: the pool or a signal is gone, or damaged.
    """
    pool = Pool.open(config.pool.path or folder / "pool", fingerprint=opening["pool"])
    return _without_contaminated(load_table(pool, keys=begun_keys(opening)), config.pool)


def begun_keys(opening: Mapping[str, Any]) -> dict[str, str]:
    """Cache keys of the signals that a journal began with."""
    return {name: entry["key"] for name, entry in opening["signal_report"]["signals"].items()}


def _without_contaminated(table: SignalTable, config: PoolConfig) -> SignalTable:
    """The table without the rows that a study leaves out because they share text with benchmark items."""
    if config.on_contamination != "drop":
        return table
    dirty = contaminated(table, config.contamination_cosine)
    return without(table, dirty) if dirty.any() else table


def compute_signals(
    named_pool: NamedPool, names: Sequence[str], config: StudyConfig | None, recipe: str
) -> ScoreReport:
    """Compute the signals ``names`` that a recipe needs, as ``config`` says.

    Raises:
        SignalError: one of them needs what ``config`` does not name; the message is the command that computes it.
    """
    settings = SignalsConfig() if config is None else config.signals
    model = None if config is None else config.model.path
    sae = None if config is None else config.sae
    tasks = () if config is None else config.tasks
    blocked = obstacles(settings, model=model, sae=sae, tasks=tasks)
    impossible = [name for name in names if name in blocked]
    if impossible:
        raise SignalError(
            f"The recipe needs {', '.join(impossible)}, which {named_pool.name} does not have and which cannot be computed: "
            f"{blocked[impossible[0]]}. Run: {score_command(named_pool, recipe, impossible)}"
        )
    counted = " (by a pattern: no model is named)" if "tokens" in names and model is None else ""
    console.say(f"Computing what the recipe needs and the pool lacks: {', '.join(names)}{counted}.")
    report = score_pool(
        named_pool.pool,
        settings,
        model=model,
        sae=sae,
        tasks=tasks,
        signals=names,
        chat_template=None if config is None else config.model.chat_options(),
        trust_remote_code=False if config is None else config.model.trust_remote_code,
    )
    for sentence in report.remarks():
        console.say(sentence, style="yellow")
    return report


def score_command(named_pool: NamedPool, recipe: str, names: Sequence[str]) -> str:
    """The command that computes what a recipe needs of a pool."""
    command = command_line("autoselection", "score", *named_pool.paths, "--for", recipe)
    return f"{command} {needed_options(names)}".rstrip()


def needed_options(names: Sequence[str]) -> str:
    """The options of ``autoselection score`` that say what the signals ``names`` are computed from."""
    needs = (need for name in names for need in signal_registry().needs(name))
    return " ".join(dict.fromkeys(need.option for need in needs if need.option))
