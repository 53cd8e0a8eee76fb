"""What a study will take: rows, tokens, seconds and memory of each stage, from a short measured sample of it.

A sample of the pool's rows is scored, and a small part of one training and scoring is made, on this machine with the study's
own settings. What was measured is scaled: signals by the characters of text, trainings by tokens, scoring by items. Dev
items alone are scored; test stays untouched. Nothing of the study itself is begun, and the pool's cache is only read.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.errors import AutoSelectionError, EvaluationError, PoolError
from autoselection.evaluation import EvaluationResult, evaluate
from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.memory import gpu_memory, system_memory
from autoselection.executors import ExecutorConfig
from autoselection.export import export_messages
from autoselection.ledger import Wanted, evaluation_job
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.progress import console
from autoselection.search import SearchController
from autoselection.search.levels import Level, lower_levels
from autoselection.signals import SignalTable, load_table, score_pool, stored_signals
from autoselection.signals.registry import default_registry as signal_registry
from autoselection.study.checks import estimate_training
from autoselection.study.levels import check_lower_models, lower_model, model_costs, with_costs
from autoselection.study.named_pools import is_study
from autoselection.study.prepare import check_inputs, scratch_pool
from autoselection.study.remaining import Remaining, Trainings, remaining
from autoselection.study.study import Study
from autoselection.tasks import TaskConfig, load_items

#: Rows of the pool that are scored to measure signals: first so many, then so many.
_FEW, _MANY = 16, 128
#: Training and scoring are measured for about so long each (s); at least two optimiser steps and some items a task.
_SECONDS = 5.0
_ITEMS = 8
#: How the stages of signals begin.
SIGNALS = "signals: "
#: Share of the pool that a subset keeps, where the search's first proposals cannot say it.
_SHARE = 0.35
#: How often memory is looked at (s).
_LOOK = 0.02


@dataclass(frozen=True)
class Stage:
    """One stage of a study.

    Attributes:
        name: what it is.
        runs: how often it is done: trainings with their scoring, or 1.
        rows: rows that one run reads, on average (count).
        tokens: tokens of all runs together; of signals those of the pool, of trainings those trained on.
        seconds: of all runs together, on one device.
        wall: the same with the configured workers at best.
        memory: largest memory of the process, or of the GPU, while the sample of it ran (bytes); None if it was not run.
        how: where the figures come from, in words.
    """

    name: str
    runs: int
    rows: int
    tokens: float
    seconds: float
    wall: float
    memory: int | None
    how: str


@dataclass(frozen=True)
class Estimate:
    """What a study will take.

    Attributes:
        rows: of the pool.
        row_tokens: tokens of a row as training sees it, on average.
        share: share of the pool's tokens that a subset has, on average.
        device: what the sample ran on.
        stages: in their order.
        assumptions: what is not measured or not in it, in sentences.
        measured: seconds that the sample took.
        price: of an hour of one device; None if none was given.
    """

    rows: int
    row_tokens: float
    share: float
    device: str
    stages: tuple[Stage, ...]
    assumptions: tuple[str, ...]
    measured: float
    price: float | None = None

    @property
    def seconds(self) -> float:
        """Of all stages, on one device."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def wall(self) -> float:
        """Of all stages, with the configured workers at best."""
        return sum(stage.wall for stage in self.stages)

    def cost(self, seconds: float) -> float | None:
        """What so many seconds of a device cost, in the unit of the price."""
        return None if self.price is None else seconds / 3600 * self.price

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **{name: getattr(self, name) for name in ("rows", "row_tokens", "share", "device", "measured", "price")},
            "stages": [{**asdict(stage), "cost": self.cost(stage.seconds)} for stage in self.stages],
            "seconds": self.seconds,
            "wall": self.wall,
            "cost": self.cost(self.seconds),
            "assumptions": list(self.assumptions),
        }


def training_tokens(sft: SFTConfig, rows: float, row_tokens: float) -> float:
    """Tokens that one training on so many rows goes through; rows longer than ``max_length`` count as cut."""
    row = min(row_tokens, sft.max_length)
    if sft.max_tokens is not None:
        return float(sft.max_tokens)
    if sft.max_steps is not None:
        return float(sft.max_steps * sft.batch_size * row)
    return sft.passes * rows * row


@dataclass(frozen=True)
class _Rates:
    """What one evaluation was measured to take.

    Attributes:
        load: seconds before training and scoring.
        once: seconds of a training whatever its length.
        token: seconds a token trained on.
        dev, test: seconds an item of dev, scored in its search metric, and of test, in all metrics; over all tasks.
        memory: bytes.
    """

    load: float
    once: float
    token: float
    dev: float
    test: float
    memory: int
    device: str


@dataclass(frozen=True)
class _Evaluation:
    """What one evaluation of the search takes: budget, rows of the subset, tokens of a row, dev items, and its rates."""

    sft: SFTConfig
    rows: float
    row_tokens: float
    items: float
    rates: _Rates

    @property
    def tokens(self) -> float:
        """Tokens trained on."""
        return training_tokens(self.sft, self.rows, self.row_tokens)

    @property
    def seconds(self) -> float:
        """On one device."""
        rates = self.rates
        return self.tokens * rates.token + rates.once + rates.load + self.items * rates.dev


def estimate_study(config: StudyConfig, *, out: Path | None = None, price: float | None = None) -> Estimate:
    """Measure a sample of a study and say what the whole will take, or what is left of it.

    Args:
        out: its folder; what lies there is not counted, if it was begun.
        price: of an hour of one device, in any money.

    Raises:
        ConfigError, PoolError, SignalError, EvaluationError: the study could not be run as it is configured; the sample of a
            training failed.
        StudyError: what lies in ``out`` is no study but something else, or damaged.
    """
    check_inputs(config)
    check_lower_models(config)
    started = time.perf_counter()
    study = Study(out.resolve()) if out is not None and is_study(out) else None
    with tempfile.TemporaryDirectory(prefix="autoselection-") as scratch:
        folder = Path(scratch)
        pool, reading = _pool(config, study, folder)
        sizes = np.array([len(text) for text in pool.texts()], np.float64)
        few = _sample_pool(pool, _spread(len(pool), _FEW), folder / "few")
        rows = np.unique(np.append(_spread(len(pool), _MANY), int(np.argmax(sizes))))
        many = _sample_pool(pool, rows, folder / "many")
        console.say(f"Measuring a training and its scoring on {len(many):,} rows, then signals on them.")
        training = estimate_training(config, pool)
        row_tokens = training.row_tokens
        rates = _measured_evaluation(config, many, row_tokens, folder / "work")
        stages = [
            Stage("reading the pool", 1, len(pool), 0.0, reading, reading, None, "was read" if reading else "is there")
        ]
        signals, table, scored = _signal_stages(config, pool, few, many, sizes, row_tokens)
        share, told = _share(config, table, len(pool))
        stages += signals
        whole = _Evaluation(config.evaluation.sft, share * len(pool), row_tokens, _items(config.tasks, "dev"), rates)
        lower = _lower_evaluations(config, pool, many, whole, folder)
        left = remaining(config, len(pool), study)
        stages += _evaluation_stages(config, left, share * len(pool), row_tokens, rates, lower)
    assumptions = [told, *scored, *training.sentences, *_cost_sentences(whole, lower), *_not_in_it(config)]
    assumptions += _memory_of_workers(config.executor, rates.memory)
    took = time.perf_counter() - started
    return Estimate(len(pool), row_tokens, share, rates.device, tuple(stages), tuple(assumptions), took, price)


def _pool(config: StudyConfig, study: Study | None, scratch: Path) -> tuple[Pool, float]:
    """The pool, and how long reading its files took (s), where that is left to do."""
    opening = [] if study is None else study.journal.of("study")
    if study is not None and opening:
        return Pool.open(config.pool.path or study.path / "pool", fingerprint=opening[0]["pool"]), 0.0
    begun = time.perf_counter()
    pool = scratch_pool(config, scratch)
    if config.pool.path is not None:
        return pool, 0.0
    reading = time.perf_counter() - begun
    if study is not None:
        with suppress(PoolError):  # none was made yet, or one of other rows
            return Pool.open(study.path / "pool", fingerprint=pool.fingerprint), reading
    return pool, reading


def _spread(rows: int, count: int) -> NDArray[np.int64]:
    """Rows spread evenly over a pool."""
    return np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64))


def _sample_pool(pool: Pool, rows: NDArray[np.int64], folder: Path) -> Pool:
    """Rows of the pool as a pool of their own."""
    folder.mkdir(parents=True)
    export_messages(pool, rows, folder / "rows.jsonl")
    return ingest([folder / "rows.jsonl"], folder / "pool", IngestConfig.model_validate({"assistant_opens": True})).pool


class _Peak:
    """The largest memory that this process, or the GPU, held while something ran."""

    bytes: int = 0


@contextmanager
def _peak() -> Iterator[_Peak]:
    found, done = _Peak(), threading.Event()
    on_gpu = _has_gpu()

    def look() -> None:
        while True:
            found.bytes = max(found.bytes, (gpu_memory() if on_gpu else system_memory()).own)
            if done.wait(_LOOK):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _measured_evaluation(config: StudyConfig, sample: Pool, row_tokens: float, work: Path) -> _Rates:
    """Train and score a little, three times: first so that all is loaded that is loaded once, then two steps, then for
    seconds. What the last two differ in is the time a token takes; the rest of the shorter one is that of every training.
    """
    sft = config.evaluation.sft
    step = int(sft.batch_size * min(row_tokens, sft.max_length))
    _evaluated(config, sample, step, _ITEMS, work / "0")
    first = _evaluated(config, sample, 2 * step, _ITEMS, work / "1")
    training, scoring = (max(first.seconds[part], 1e-3) for part in ("train", "eval"))
    most = max(4 * step, training_tokens(sft, len(sample), row_tokens))
    long = training > _SECONDS  # then what is done once a training hardly counts
    tokens = 2 * step if long else int(np.clip(first.train_tokens * _SECONDS / training, 4 * step, most))
    items = int(np.clip(_ITEMS * _SECONDS / scoring, _ITEMS, 10_000))
    with _peak() as memory:
        found = _evaluated(config, sample, tokens, items, work / "2")
    dev = found.seconds["eval"] / max(1, _scored(found))
    test = dev
    if config.final.enabled:
        whole = _evaluated(config, None, 0, min(items, _ITEMS), work / "3", full_metrics=True)
        test = max(dev, whole.seconds["eval"] / max(1, _scored(whole)))
    token = found.seconds["train"] / max(1, found.train_tokens)
    more = found.train_tokens - first.train_tokens
    if not long and more > 0 and found.seconds["train"] > training:
        token = (found.seconds["train"] - training) / more
    once = max(0.0, found.seconds["train"] - token * found.train_tokens)
    settings = found.settings
    return _Rates(
        found.seconds.get("load", 0.0),
        once,
        token,
        dev,
        test,
        memory.bytes,
        f"{settings['device']} in {settings['dtype']}",
    )


def _lower_evaluations(
    config: StudyConfig, pool: Pool, sample: Pool, whole: _Evaluation, folder: Path
) -> list[tuple[Level, _Evaluation]]:
    """Evaluations below a full one whose level is chosen by value per cost; those with other models are measured, too."""
    search = with_costs(config.search, [cost.to_dict() for cost in model_costs(config)])
    if not search.fidelity.by_value:
        return []
    found = []
    for level in lower_levels(search.fidelity):
        row_tokens, rates = whole.row_tokens, whole.rates
        if level.number is not None:
            console.say(f"Measuring a training of {level.model} and its scoring.")
            own = config.model_copy(update={"model": lower_model(config, level.number)})
            row_tokens = estimate_training(own, pool).row_tokens
            rates = _measured_evaluation(own, sample, row_tokens, folder / f"work-{level.number}")
        sft = whole.sft.shortened(level.training)
        found.append((level, _Evaluation(sft, whole.rows, row_tokens, level.items * whole.items, rates)))
    return found


def _cost_sentences(whole: _Evaluation, lower: Sequence[tuple[Level, _Evaluation]]) -> list[str]:
    """What evaluations below a full one are counted as, and what they take."""
    return [
        f"An evaluation at the level '{level.describe()}' is counted as {level.cost:.2g} of a full one; by the sample it takes "
        f"{evaluation.seconds / max(whole.seconds, 1e-9):.2g} of its time."
        for level, evaluation in lower
    ]


def _evaluated(
    config: StudyConfig, sample: Pool | None, tokens: int, items: int, work: Path, *, full_metrics: bool | None = None
) -> EvaluationResult:
    limited = [task.model_copy(update={"dev_limit": min(items, task.dev_limit or items)}) for task in config.tasks]
    evaluation = config.evaluation.model_copy(update={"cache_dir": None, "keep_model": False})
    config = config.model_copy(update={"tasks": tuple(limited), "evaluation": evaluation})
    rows = None if sample is None else np.arange(len(sample), dtype=np.int64)
    wanted = Wanted(rows, 0, "dev", tokens=tokens or None, name="sample")
    place = Path("nowhere") if sample is None else sample.path
    result = evaluate(evaluation_job(config, place, wanted, work, full_metrics=full_metrics))
    if result.failure is not None:
        raise EvaluationError(f"The sample of a training failed, as the study's would: {result.failure}")
    return result


def _scored(result: EvaluationResult) -> int:
    """Items that were scored."""
    return sum(int(metrics["items"]) for metrics in result.metrics.values())


def _signal_stages(
    config: StudyConfig, pool: Pool, few: Pool, many: Pool, sizes: NDArray[np.float64], row_tokens: float
) -> tuple[list[Stage], SignalTable, list[str]]:
    """The signals that the pool lacks, each scaled by the text; the sample's table; what has to be said of them."""
    options: dict[str, Any] = {
        "model": config.model.path,
        "sae": config.sae,
        "tasks": config.tasks,
        "chat_template": config.model.chat_options(),
        "trust_remote_code": config.model.trust_remote_code,
    }
    there = stored_signals(pool, config.signals, **options)
    # Once for what is loaded once (packages, models); on a copy, as the sample's own table would answer then.
    with tempfile.TemporaryDirectory(prefix="autoselection-") as copy:
        score_pool(Pool.open(shutil.copytree(few.path, Path(copy) / "pool")), config.signals, **options)
    small = {signal.name: signal.seconds for signal in score_pool(few, config.signals, **options).signals}
    with _peak() as memory:
        report = score_pool(many, config.signals, **options)
    texts = [float(sum(map(len, sample.texts()))) for sample in (few, many)]
    total = float(sizes.sum())
    took = {signal.name: signal.seconds for signal in report.signals}
    groups: dict[object, list[str]] = {}  # those of one pass take their seconds together
    for name in took:
        kind = signal_registry().kind_of_stored(name)
        alone = kind is None or kind.pass_group is None
        groups.setdefault(name if alone or kind is None else kind.pass_group, []).append(name)
    stages = []
    for names in groups.values():
        found = [name for name in names if name not in there]
        if not found:
            continue
        seconds, before = (max(of.get(name, 0.0) for name in names) for of in (took, small))
        rate = max(0.0, seconds - before) / max(1.0, texts[1] - texts[0])
        whole = max(0.0, seconds - rate * texts[1]) + rate * total
        label = f"{SIGNALS}{', '.join(found)}"
        stages.append(Stage(label, 1, len(pool), row_tokens * len(pool), whole, whole, memory.bytes, "scaled by text"))
    said = [f"Signals that the pool has already: {', '.join(sorted(there))}."] if there else []
    return stages, load_table(many), said


def _share(config: StudyConfig, table: SignalTable, rows: int) -> tuple[float, str]:
    """The share of the pool's tokens that subsets have: of the first proposals of the search, on the sample."""
    search = config.search
    scaled = max(1, min(table.n, round(search.minimum_rows(rows) * table.n / max(rows, 1))))
    try:
        controller = SearchController(table, search.model_copy(update={"min_rows": scaled}))
        asked = [candidate.rows for candidate in controller.ask()]
    except AutoSelectionError:
        asked = []
    if not asked:
        return _SHARE, f"Subsets are taken to have {_SHARE:.0%} of the pool's tokens: the sample is too small to tell."
    weights = np.nan_to_num(table.columns["n_tokens"]) if "n_tokens" in table.columns else np.ones(table.n)
    share = float(np.mean([weights[kept].sum() for kept in asked]) / max(1.0, float(weights.sum())))
    return share, (
        f"Subsets are taken to have {share:.0%} of the pool's tokens, as the search's first {len(asked)} proposals have on the "
        "sample; what it goes on to choose may be smaller or larger."
    )


def _evaluation_stages(
    config: StudyConfig,
    left: Remaining,
    part: float,
    row_tokens: float,
    rates: _Rates,
    lower: Sequence[tuple[Level, _Evaluation]] = (),
) -> list[Stage]:
    """Search, comparison with the incumbent and final table, as far as something is left of them.

    Args:
        part: rows of a subset of the search.
    """
    seeds, sft = len(config.evaluation.seeds), config.evaluation.sft
    items = {split: _items(config.tasks, split) for split in ("dev", "test")}

    def stage(name: str, split: str, trainings: Trainings, untrained: int = 0) -> Stage:
        sizes = [part if rows is None else float(rows) for rows in trainings]
        tokens = sum(training_tokens(sft, size, row_tokens) for size in sizes)
        runs = len(sizes) + untrained
        each = rates.load + items[split] * (rates.test if split == "test" else rates.dev)
        seconds = tokens * rates.token + len(sizes) * rates.once + runs * each
        workers = max(1, min(config.executor.workers, runs))
        mean = int(np.mean(sizes)) if sizes else 0
        return Stage(name, runs, mean, tokens, seconds, seconds / workers, rates.memory, "scaled by tokens and items")

    stages = [stage("references of guards and floors", "dev", (), int(left.references))]
    # Of each level, in full evaluations.
    below = config.search.fidelity.share * left.search / max(1, len(lower)) if lower else 0.0
    stages += [stage("search", "dev", (None,) * round((left.search - below * len(lower)) * seeds))]
    for level, evaluation in lower:
        runs = round(below / level.cost * seeds)
        seconds, workers = runs * evaluation.seconds, max(1, min(config.executor.workers, runs))
        name, tokens, memory = f"search, {level.describe()}", runs * evaluation.tokens, evaluation.rates.memory
        how = "scaled by tokens and items"
        stages.append(Stage(name, runs, int(part), tokens, seconds, seconds / workers, memory, how))
    stages.append(stage("comparison with the incumbent", "dev", left.comparison))
    stages.append(stage("final table", "test", left.final, left.untrained))
    return [found for found in stages if found.runs]


def _items(tasks: Sequence[TaskConfig], split: Any) -> int:
    """Items of a split, over all tasks that have it."""
    having = [task for task in tasks if getattr(task, split) is not None or task.lm_eval is not None]
    return sum(len(load_items(task, split)) for task in having)


def _memory_of_workers(executor: ExecutorConfig, memory: int) -> list[str]:
    """What several workers of this machine take together.

    Args:
        memory: of the sample (bytes).
    """
    if executor.workers == 1 or executor.kind != "local":
        return []
    on_gpu = _has_gpu()
    total = (gpu_memory() if on_gpu else system_memory()).total
    together = math.ceil(executor.workers / max(1, len(executor.devices))) if on_gpu else executor.workers
    return [memory_sentence(together, memory, total, "a GPU" if on_gpu else "this machine")]


def memory_sentence(workers: int, memory: int, total: int, where: str) -> str:
    """What workers take together of what there is.

    Args:
        workers: side by side in one memory (count).
        memory: what the sample took (bytes).
        total: all there is (bytes).
        where: whose memory it is.
    """
    each, together, there = (size / 2**30 for size in (memory, workers * memory, total))
    said = (
        f"Each worker takes the memory of a whole evaluation, at least the sample's {each:.1f} GiB: {workers} side by side "
        f"{together:.1f} GiB of the {there:.1f} GiB of {where}"
    )
    if together <= there:
        return f"{said}."
    return f"{said}, which is too much: lower executor.workers, or evaluation.sft.micro_batch_tokens and evaluation.batch_tokens."


def _not_in_it(config: StudyConfig) -> list[str]:
    said = [
        "Not in it: starting of workers, failed trainings, and the search's own decisions (seconds a round).",
        "Signals that compare rows with each other may take longer on the whole pool than the sample tells.",
    ]
    if config.search.fidelity.by_value:
        said.append(
            "As much of the search as may go into cheaper evaluations (search.fidelity.share) is taken to go there."
        )
    if config.executor.workers > 1:
        said.append(
            f"{config.executor.workers} workers share the cores, or devices, that there are: the wall time is at best."
        )
    if config.search.llm is not None:
        said.append("What the language model costs is bounded by search.llm.max_cost, and not in it.")
    return said
