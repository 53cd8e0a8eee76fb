"""What is installed, which device is used, and what will be slow."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autoselection.config import StudyConfig
    from autoselection.tasks import TaskConfig

from autoselection.demo import data_dir
from autoselection.errors import AutoSelectionError
from autoselection.llm import endpoint_remark
from autoselection.statistics import detectable_by_design

#: Most dev items of a task that the untrained model is asked (count): its accuracy is then known to five points.
ASKED = 400

#: Most dev items of a task that the untrained model writes answers to (count): generating takes many passes.
WRITTEN = 40

#: Share of right written answers that has to be possible (95%) for exact_match to be worth searching by.
HARDLY_ANY = 0.15

#: Packages whose absence gets a sentence.
_TOLD = ("torch", "transformers", "trl", "lm-eval", "eai-sparsify", "spacy")
#: Extras for working on the package itself.
_FOR_DEVELOPERS = frozenset({"bench", "dev", "docs"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([^'"]+)['"]""")


def packages() -> dict[str, list[str]]:
    """What this package says of itself to use: for each package the extras that bring it, ``core`` where all do."""
    found: dict[str, list[str]] = {}
    try:
        required = requires("autoselection") or []
    except PackageNotFoundError:  # run from its source, without being installed
        return found
    for each in required:
        name, extra = _NAME.match(each), _EXTRA.search(each)
        purpose = extra[1] if extra else "core"
        if name and name[0] != "autoselection" and purpose not in _FOR_DEVELOPERS:
            found.setdefault(name[0], []).append(purpose)
    return found


def examine() -> dict[str, Any]:
    """Look at this machine: ``python``, ``packages``, ``device``, ``cores``, ``remarks``."""
    listed = [
        {"for": ", ".join(purposes), "name": name, "version": _version(name)} for name, purposes in packages().items()
    ]
    installed = {name for name in _TOLD if _version(name)}
    device, remarks = (
        _device() if "torch" in installed else (None, ["torch is missing: no model signals, no training."])
    )
    if device is not None and device.startswith("cuda") and "transformers" in installed:
        remarks.append(_attention())
    if {"trl", "lm-eval"} - installed:
        remarks.append("Subsets cannot be evaluated: pip install 'autoselection[train]'.")
    if "eai-sparsify" not in installed:
        remarks.append(
            "No SAE can be trained: pip install 'autoselection[sae]' (one that is there is read without it)."
        )
    if "spacy" not in installed:
        remarks.append("action_object_branching cannot be computed: pip install 'autoselection[syntax]'.")
    if not listed:
        remarks.append("Packages are not listed: autoselection is run from its source, without being installed.")
    remarks.append(f"A tiny model, pool and tasks to try things on (autoselection demo) are in {data_dir()}.")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device,
        "packages": listed,
        "remarks": remarks,
    }


def examine_config(config: StudyConfig, *, quick: bool = False) -> dict[str, Any]:
    """Look at a study's benchmarks and at what its pool shares with them, before anything is trained.

    Args:
        quick: do not load the model.

    Returns:
        ``benchmarks``, ``contamination``, ``training`` (which rows training and signals will lose, estimated from a
        sample), ``items`` (of which tasks there are few), ``power`` (what the final table's seeds can find; None without a
        final table), ``chance`` (whether the untrained model knows more of each task than guessing, and gets anything right
        where ``exact_match`` is the metric) and ``language_model`` (sentences; whether its endpoint
        answers, None without ``search.llm``) and ``problems``: why a search would refuse to start.

    Raises:
        ConfigError, PoolError: a task file or the pool cannot be read.
    """
    from autoselection.signals import load_table, score_pool
    from autoselection.study.checks import check_setup, estimate_training
    from autoselection.study.prepare import (
        check_inputs,
        list_contamination,
        measure_contamination,
        refusal,
        scratch_pool,
    )
    from autoselection.tasks.check import check_benchmarks

    check_inputs(config)
    problems = []
    try:
        check_setup(config)
    except AutoSelectionError as error:
        problems.append(str(error))
    usable = not problems
    findings = [finding.sentence for finding in check_benchmarks(config.tasks, test=config.final.enabled)]
    if findings and config.benchmarks_check != "warn":
        problems.append("The benchmarks cannot be trusted (benchmarks_check).")
    with tempfile.TemporaryDirectory(prefix="autoselection-") as scratch:
        pool = scratch_pool(config, Path(scratch))
        names = ["contamination"]
        if config.signals.embedding_model is not None:
            names += ["embeddings", "contamination_cosine"]
        score = score_pool(pool, config.signals, tasks=config.tasks, signals=names)
        table = load_table(pool, keys=score.keys)
        found, dirty = measure_contamination(table, score, config)
        why = refusal(found, int(dirty.sum()), len(pool), config)
        if why is not None:
            problems.append(f"{why} {list_contamination(pool, table, dirty, config)}")
        training = estimate_training(config, pool).sentences if usable else ("Not estimated: see the problems.",)
        chance = (
            [*_chance(config, Path(scratch)), *_right_answers(config, Path(scratch))] if usable and not quick else []
        )
    said = found.sentence(len(pool)) or "No row of the pool shares text with a benchmark item."
    llm = config.search.llm
    return {
        "benchmarks": findings,
        "contamination": said,
        "training": list(training) or ["Training and signals lose at most a tenth of the rows."],
        "items": _few(config),
        "power": _power(len(config.final.seeds)) if config.final.enabled else None,
        "chance": chance,
        "language_model": endpoint_remark(llm) if llm is not None else None,
        "problems": problems,
    }


def _chance(config: StudyConfig, scratch: Path) -> list[str]:
    """Whether the untrained model knows more than guessing, of every task with options.

    Nothing is said where evaluations run on a cluster: this machine may not hold the model.
    """
    from autoselection.executors import make_executor
    from autoselection.tasks import has_options, knowledge, load_items

    asked = [
        task.model_copy(update={"metric": "accuracy"})
        for task in config.tasks
        if has_options(task, load_items(task, "dev"))
    ]
    if not asked or not make_executor(config.executor).local:
        return []
    metrics, said = _untrained(config, asked, ASKED, scratch)
    for name, found in metrics.items():
        known = knowledge(found["accuracy"], int(found["items"]), found["guessing"])
        if known.at_chance:
            said.append(
                f"On '{name}' the untrained model is at chance: {known.told()}. Until a training lifts it above that, right answers "
                "there are luck and tell no recipes apart, and a lower loss means that gold answers look more familiar, not that "
                "the model knows them."
            )
        else:
            said.append(f"On '{name}' the untrained model is above chance: {known.told()}.")
    return said


def _right_answers(config: StudyConfig, scratch: Path) -> list[str]:
    """Whether the untrained model gets anything right of the tasks whose metric is ``exact_match``: while no recipe changes
    that, all of them score the same."""
    from autoselection.executors import make_executor
    from autoselection.statistics import share_interval

    asked = [task for task in config.tasks if task.metric == "exact_match" and (task.weight or task.floor is not None)]
    if not asked or not make_executor(config.executor).local:
        return []
    metrics, said = _untrained(config, asked, WRITTEN, scratch)
    for name, found in metrics.items():
        items = int(found["items"])
        share = share_interval(found["exact_match"], items)
        right = f"{round(found['exact_match'] * items)} of {items} written answers"
        if share.high < HARDLY_ANY:
            said.append(
                f"On '{name}' the untrained model gets {right} right, and exact_match is what the search maximises there: recipes "
                "that do not change that all score the same, so that the search is blind. Leave out its metric (or name nll), which "
                "tells small differences before answers are right."
            )
        else:
            said.append(f"On '{name}' the untrained model gets {right} right.")
    return said


def _untrained(
    config: StudyConfig, tasks: list[TaskConfig], most: int, scratch: Path
) -> tuple[Mapping[str, Mapping[str, float]], list[str]]:
    """Scores of the untrained model on dev by task and metric, or why there are none.

    Args:
        most: items of a task that are scored (count), drawn from all of its dev: the first ones may be of one subtask.
    """
    from autoselection.evaluation import evaluate
    from autoselection.ledger.wanted import Wanted, evaluation_job
    from autoselection.tasks import load_items

    together: dict[float, list[TaskConfig]] = {}
    for task in tasks:
        scored = task.model_copy(update={"weight": 1.0})  # a guard may stand alone here
        together.setdefault(min(1.0, most / len(load_items(task, "dev"))), []).append(scored)
    metrics: dict[str, Mapping[str, float]] = {}
    for share, alike in together.items():
        own = config.model_copy(update={"tasks": tuple(alike)})
        job = evaluation_job(
            own, scratch, Wanted(None, 0, "dev", items=share), scratch / "untrained", full_metrics=False
        )
        try:
            result = evaluate(job)
        except AutoSelectionError as error:
            return {}, [f"Not known, the untrained model cannot be scored: {error}"]
        if result.failure is not None:
            return {}, [f"Not known, the untrained model could not be scored: {result.failure}"]
        metrics |= result.metrics
    return {task.name: metrics[task.name] for task in tasks}, []


def _few(config: StudyConfig) -> list[str]:
    """Tasks that decide something and have few dev items."""
    from autoselection.tasks import few_items, load_items

    counts = {task.name: len(load_items(task, "dev")) for task in config.tasks if task.weight or task.floor is not None}
    return [f"'{name}' {said}" for name, count in counts.items() if (said := few_items(count)) is not None]


def _power(seeds: int) -> str:
    """What so many training seeds a row can find, before anything is measured."""
    found = detectable_by_design(seeds, paired=True)
    if found is None:
        return "One training seed a row: the final table can say what other items would show, not other trainings (final.seeds)."
    return (
        f"{seeds} training seeds a row: the final table finds a difference of {found:.1f} standard deviations (of a difference "
        "of two trainings, by chance in training) with 80% power; smaller ones take more seeds (final.seeds)."
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device() -> tuple[str, list[str]]:
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return f"cuda ({torch.cuda.device_count()} x {name}, {memory:.0f} GiB)", [
            f"bf16 is {'' if torch.cuda.is_bf16_supported(including_emulation=False) else 'not '}supported by {name}."
        ]
    if torch.backends.mps.is_available():
        return "mps", ["Model signals and training run on the GPU of this chip (mps)."]
    return "cpu", [
        "No GPU: model signals and training run on the CPU. A 135M-parameter model trains at 150-250 tokens/s on a core "
        "with bfloat16 arithmetic, so keep pools to thousands of rows and evaluations to tens of thousands of tokens."
    ]


def _attention() -> str:
    """Which attention packed passes have on the first GPU."""
    import torch

    from autoselection.language.flash import FLASH_CAPABILITY, varlen_kernel

    capability = torch.cuda.get_device_capability(0)
    lacks = []
    if varlen_kernel() is None:
        lacks.append(f"PyTorch {torch.__version__} has no varlen_attn that takes a scale and a window (update it)")
    if capability < FLASH_CAPABILITY:
        needed, has = (".".join(map(str, each)) for each in (FLASH_CAPABILITY, capability))
        lacks.append(f"compute capability {needed} is needed, this GPU has {has}")
    if lacks:
        return f"Packed passes compute attention in padded blocks, not by FlashAttention: {'; '.join(lacks)}."
    return "Packed passes use FlashAttention (varlen_attn) in half precision."
