"""One evaluation from start to end: load the model, train it on a subset, score it, count the cost."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoselection.activity import FILE as ACTIVITY
from autoselection.activity import activity, tell_losses, tell_stage
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.contract import adapter_folder, make_engine
from autoselection.evaluation.job import EvaluationJob, EvaluationResult
from autoselection.evaluation.memory import held_memory
from autoselection.evaluation.remarks import padding_remark, prompt_remark
from autoselection.evaluation.row_keys import ORDER
from autoselection.evaluation.runtime import (
    borrowed_process,
    failure_of,
    failures,
    quiet_libraries,
    require_packages,
)
from autoselection.evaluation.schedule import plan
from autoselection.evaluation.trainers.contract import TrainingPlan, make_trainer
from autoselection.language.chat import ChatOptions
from autoselection.system import keep_freed_memory, release_models
from autoselection.tasks import TaskConfig, load_items, overall, sign_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from autoselection.evaluation.harness import Benchmark, TaskScores


def evaluate(job: EvaluationJob) -> EvaluationResult:
    """Train the job's model on its rows and score it.

    Training that diverges and machines that give out (memory, disk) come back as a result with ``failure`` set; the
    caller's process, its random generators and its log settings stay as they were.

    Raises:
        ConfigError: a task has no usable file for the split.
        PoolError: the pool cannot be read.
        EvaluationError: the model or its chat template cannot be used.
        MissingExtraError: the ``train`` extra is not installed.
    """
    require_packages()
    check_machine(job.config, trains=job.rows is not None)
    started = time.perf_counter()
    for task in job.tasks:
        load_items(task, job.split)
    with (
        quiet_libraries(),
        borrowed_process(job.seed, job.config.threads),
        activity(job.work_dir / ACTIVITY, held_memory, **_about(job)),
    ):
        run = _Run(job, started)
        try:
            return run.result()
        except failures() as error:
            described = failure_of(error)
            if described is None:
                raise
            reason, kind = described
            return EvaluationResult.failed(job, reason, kind, time.perf_counter() - started, **run.costs)
        finally:
            run.release()


def check_machine(config: EvaluationConfig, *, trains: bool = True) -> None:
    """Refuse what the trainer or the engine cannot do here, before anything is loaded.

    Args:
        trains: whether subsets are trained here, not only the configured model scored.

    Raises:
        ConfigError, EvaluationError, MissingExtraError: a package, command, file, key or address is missing, or does not
            fit the others.
    """
    if trains:
        make_trainer(config.sft).check()
    make_engine(config).check(trains=trains)


def _about(job: EvaluationJob) -> dict[str, Any]:
    return {"split": job.split, "seed": job.seed, "rows": None if job.rows is None else len(job.rows)}


class _Run:
    """The state of one evaluation, so that a failure can tell what had been done."""

    def __init__(self, job: EvaluationJob, started: float) -> None:
        self.job = job
        self.started = started
        self.costs: dict[str, Any] = {}
        self.merged: Callable[[], PreTrainedModel] | None = None
        self.engine = make_engine(job.config)
        self.trainer = make_trainer(job.config.sft)

    def result(self) -> EvaluationResult:
        from autoselection.evaluation.harness import load_benchmarks
        from autoselection.language.chat import ConversationEncoder
        from autoselection.language.models import (
            load_model,
            load_tokenizer,
            model_fingerprint,
            pick_device,
            pick_dtype,
            resolve_model,
        )

        job = self.job
        job.work_dir.mkdir(parents=True, exist_ok=True)
        tell_stage("loading the model")
        device = pick_device(job.config.device)
        dtype = pick_dtype(device, job.config.dtype)
        if device == "cpu":
            keep_freed_memory()
        self.costs["settings"] = {"device": device, "dtype": str(dtype).removeprefix("torch.")}
        tokenizer = load_tokenizer(job.model, job.chat_template, job.trust_remote_code)
        chat = ChatOptions.of(job.chat_template)
        tokenizer_key = (model_fingerprint(job.model, code=job.trust_remote_code), chat.key(resolve_model(job.model)))
        # The untrained model is scored in the arithmetic of trained ones: floors and tables compare them.
        weights = "float32" if job.config.sft.method == "full" else _name(dtype)
        if self.engine.reads == "memory" and _name(dtype) != "float32":
            self.costs["settings"]["weights"] = weights
        # Loaded on the CPU first: there, running out of memory on the device is a failure and not a broken model.
        model: PreTrainedModel | None = None
        if self.trainer.in_process if job.rows is not None else self.engine.reads == "memory":
            model = load_model(job.model, "cpu", weights, trust_remote_code=job.trust_remote_code).to(device)
        context_length = _context_length(job, model)
        benchmarks = load_benchmarks(
            job.tasks,
            job.split,
            tokenizer,
            context_length=self.engine.context_length(context_length),
            config=job.config,
            full_metrics=job.full_metrics,
            tokenizer_key=tokenizer_key,
            likelihoods=self.engine.gives_likelihoods(tokenizer),
            share=job.items,
            seed=job.items_seed,
        )
        loaded = time.perf_counter()
        if job.rows is not None:
            model = self._train(model, tokenizer, device, dtype, tokenizer_key, context_length)
            release_models()  # moments, gradients and activations: scoring needs their room
        trained = time.perf_counter()
        tell_stage("scoring")
        scores = self._scores(model, tokenizer, benchmarks, dtype, context_length)
        encoder = ConversationEncoder(tokenizer, max_length=context_length)
        said = (*_remarks(benchmarks, scores), *prompt_remark(encoder))
        self.costs["remarks"] = (*self.costs.get("remarks", ()), *said)
        model_dir = self._save(model, tokenizer) if job.config.keep_model and model is not None else None
        _write_items(job.work_dir, job.split, benchmarks, scores)
        ended = time.perf_counter()
        values = {task.name: _search_score(task, scores[task.name].metrics) for task in job.tasks}
        return EvaluationResult(
            split=job.split,
            seed=job.seed,
            score=overall(values, job.tasks),
            scores=values,
            metrics={name: entry.metrics for name, entry in scores.items()},
            items={name: entry.items for name, entry in scores.items()},
            seconds={
                "load": loaded - self.started,
                "train": trained - loaded,
                "eval": ended - trained,
                "total": ended - self.started,
            },
            model_dir=model_dir,
            **self.costs,
        )

    def _scores(
        self,
        model: PreTrainedModel | None,
        tokenizer: Any,
        benchmarks: list[Benchmark],
        dtype: torch.dtype,
        context_length: int,
    ) -> dict[str, TaskScores]:
        """Scores of every task, from the cache as far as it has them."""
        from autoselection.evaluation.cache import ScoreCache
        from autoselection.evaluation.harness import score

        job = self.job
        cache = ScoreCache(job.config.cache_dir) if job.config.cache_dir is not None else None
        keys = {} if cache is None else self._cache_keys(model, benchmarks, dtype)
        known = {name: stored for name, key in keys.items() if cache and (stored := cache.get(key)) is not None}
        missing = [benchmark for benchmark in benchmarks if benchmark.config.name not in known]
        if cache is not None:
            self.costs["settings"]["cached_tasks"] = sorted(known)
        if not missing:
            return known
        with self.engine.language_model(job, model, tokenizer, dtype=dtype, context_length=context_length) as scored:
            found = score(scored, missing)
            self.costs["remarks"] = (*self.costs.get("remarks", ()), *getattr(scored, "remarks", ()))
        for name, scores in found.items():
            if cache is not None:
                cache.put(keys[name], scores)
        return {benchmark.config.name: (known | found)[benchmark.config.name] for benchmark in benchmarks}

    def _cache_keys(
        self, model: PreTrainedModel | None, benchmarks: list[Benchmark], dtype: torch.dtype
    ) -> dict[str, dict[str, Any]]:
        from autoselection.evaluation.cache import weights_fingerprint
        from autoselection.language.models import model_fingerprint

        job, config = self.job, self.job.config
        if job.rows is None or model is None:
            weights = model_fingerprint(job.model, code=job.trust_remote_code)
        else:  # the code is in the keys of the benchmarks, with the tokenizer
            weights = weights_fingerprint(model)
        settings = {
            "model": weights,
            "engine": config.engine,
            "served": self.engine.served(),
            "dtype": _name(dtype),
            "device": self.costs["settings"]["device"].split(":")[0],
        }
        held = self.costs["settings"].get("weights", _name(dtype))
        if job.rows is None and held != _name(dtype):  # the weights of a trained model are in its fingerprint
            settings["weights"] = held
        seeds = [{"seed": job.seed} if benchmark.generation.temperature > 0 else {} for benchmark in benchmarks]
        return {
            benchmark.config.name: {**settings, "benchmark": benchmark.key, **seed}
            for benchmark, seed in zip(benchmarks, seeds, strict=True)
        }

    def _train(
        self,
        model: PreTrainedModel | None,
        tokenizer: Any,
        device: str,
        dtype: torch.dtype,
        tokenizer_key: tuple[object, ...],
        context_length: int,
    ) -> PreTrainedModel:
        """Train on the job's rows; ``model`` is the base model, None if the trainer loads it."""
        from autoselection.evaluation.encoding import lost_rows, row_cache
        from autoselection.language.chat import ConversationEncoder
        from autoselection.pool import Pool

        job, sft = self.job, self.job.config.sft
        assert job.rows is not None and job.pool_dir is not None
        tell_stage("encoding rows")
        pool = Pool.open(job.pool_dir)
        wanted = np.asarray(job.rows, np.int64)
        kept, refusals = self.trainer.holdable(pool, wanted)
        rows = wanted[kept]
        max_length = min(sft.max_length, context_length)
        encoder = ConversationEncoder(tokenizer, max_length=max_length, turns=sft.turns)
        cache = row_cache((pool.fingerprint, *tokenizer_key, max_length, sft.turns, sft.completion_only))
        subset = cache.subset(pool, rows, encoder, sft.completion_only)
        try:
            schedule = plan(subset, sft, job.seed)
        finally:
            dropped = {**subset.dropped, "trainer": len(wanted) - len(rows)}
            read = subset.read + dropped["trainer"]
            self.costs.update(
                truncated_rows=subset.truncated,
                truncated_tokens=subset.lost,
                read_rows=read,
                dropped_rows=sum(dropped.values()),
                dropped={name: count for name, count in dropped.items() if count},
                remarks=(
                    *lost_rows(read, dropped, subset.truncated, max_length, subset.unlearnt, units=subset.units),
                    *refusals,
                ),
            )
        tell_stage("training", schedule.steps)
        trained = self.trainer.train(
            TrainingPlan(
                base=job.model,
                model=model,
                tokenizer=tokenizer,
                pool=pool,
                subset=subset,
                schedule=schedule,
                seed=job.seed,
                device=device,
                dtype=dtype,
                max_length=max_length,
                work_dir=job.work_dir,
                adapter_dir=adapter_folder(self.engine, job),
                trust_remote_code=job.trust_remote_code,
            )
        )
        self.merged = trained.merged
        tell_losses(trained.losses)
        tenth = max(1, len(trained.losses) // 10)
        ends = (trained.losses[:tenth], trained.losses[-tenth:]) if trained.losses else ()
        self.costs.update(
            steps=schedule.steps,
            train_tokens=schedule.tokens,
            response_tokens=int(subset.responses(schedule.order).sum()),
            train_rows=len(schedule.order),
            train_loss=tuple(float(np.mean(losses)) for losses in ends),
            settings={
                **self.costs["settings"],
                "order": ORDER,
                "forward_passes": trained.forward_passes,
                **({} if trained.packed is None else {"packed": trained.packed}),
                "trainable_parameters": trained.trainable_parameters,
            },
            remarks=(
                *self.costs["remarks"],
                *padding_remark("Training", device, trained.packed, trained.packing_problem),
            ),
        )
        return trained.model

    def _save(self, model: PreTrainedModel, tokenizer: Any) -> str:
        from autoselection.language.models import save_tokenizer

        folder = self.job.work_dir / "model"
        if self.merged is not None:
            model = self.merged()
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)
        return str(folder)

    def release(self) -> None:
        """Give back memory that the trainer's reference cycles hold, and disk that only this evaluation's engine needed."""
        shutil.rmtree(self.job.work_dir / "adapter", ignore_errors=True)
        if not self.job.config.keep_model and self.job.rows is not None:
            shutil.rmtree(self.job.work_dir / "model", ignore_errors=True)
        self.merged = None
        release_models()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _search_score(task: TaskConfig, metrics: Mapping[str, float]) -> float:
    return sign_of(task.metric) * metrics[task.metric]


def _remarks(benchmarks: list[Benchmark], scores: Mapping[str, TaskScores]) -> Iterator[str]:
    """What a reader has to know of how tasks were generated."""
    from autoselection.evaluation.generation import limited_remark

    for benchmark in benchmarks:
        name = benchmark.config.name
        yield from benchmark.remarks
        said = limited_remark(name, benchmark.generation.max_gen_toks, scores[name].metrics)
        if said is not None:
            yield said


def _context_length(job: EvaluationJob, model: PreTrainedModel | None) -> int:
    from autoselection.language.models import context_length, load_config

    return context_length(model.config if model is not None else load_config(job.model, job.trust_remote_code))


def _write_items(folder: Path, split: str, benchmarks: list[Benchmark], scores: Mapping[str, TaskScores]) -> None:
    """``items/TASK/SPLIT/items.jsonl``: one line an item, its values and, if it was generated, the answer."""
    for benchmark in benchmarks:
        found = scores[benchmark.config.name]
        path = folder / "items" / benchmark.config.name / split / "items.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            for index, identifier in enumerate(benchmark.ids):
                line = {"task": benchmark.config.name, "split": split, "id": identifier}
                line |= {name: values[index] for name, values in found.items.items() if name != "ids"}
                if found.generated:
                    line["generated"] = found.generated[index]
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
