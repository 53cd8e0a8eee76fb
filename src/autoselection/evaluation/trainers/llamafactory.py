"""The trainer ``llamafactory``: its YAML, its data, its command, and the model it leaves.

It runs as a command of its own (its requirements differ from ours: install it in another environment and name its
``llamafactory-cli``). To keep the meaning of a budget, the rows are written in our order of training, repetitions
included, and trained on once, unshuffled: the same rows in the same steps as the trainer ``trl``. What stays
LLaMA-Factory's own is the chat template (``llamafactory.template``) and with it the tokens; token budgets are counted
with ours.

Argument names are those of LLaMA-Factory's documentation (``hparams`` and ``examples/`` of its repository).
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from autoselection.errors import EvaluationError
from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.memory import asked_bytes, blame, told_memory
from autoselection.evaluation.runtime import MachineFailure, TrainingFailure
from autoselection.evaluation.schedule import TrainingSchedule
from autoselection.evaluation.trainers.adapters import scored_and_kept
from autoselection.evaluation.trainers.contract import Trained, Trainer, TrainingPlan
from autoselection.export import CannotHold, export_sharegpt, llamafactory_row
from autoselection.language.models import cannot_load, load_model, one_line, resolve_model
from autoselection.pool import Pool
from autoselection.schema import StrictModel
from autoselection.seeds import SEEDS_END
from autoselection.system import MEMORY_WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DATASET = "subset"
_LOG = "train.log"
_TAIL_BYTES = 64 << 10
_MACHINE = re.compile(
    r"no space left on device|disk quota exceeded|input/output error|SIGKILL|NCCL error", re.IGNORECASE
)
_NO_ROWS = re.compile(r"cannot find (valid|sufficient) samples", re.IGNORECASE)


@dataclass(frozen=True)
class LlamaFactoryRun:
    """What a training by LLaMA-Factory left.

    Attributes:
        output: its output folder: a model, or LoRA adapters.
        losses: the logged loss of every step.
    """

    output: Path
    losses: list[float]


class LlamaFactoryOptions(StrictModel):
    """Trainer llamafactory: LLaMA-Factory, installed in an environment of its own."""

    command: str = Field("llamafactory-cli", description="The command, by name or path.")
    template: str | None = Field(
        None, description="LLaMA-Factory's name for the model's chat template (qwen, llama3, …); required."
    )
    processes: int = Field(1, ge=1, description="Processes (GPUs) of one training (count); above 1 by torchrun.")
    timeout: float | None = Field(None, gt=0.0, description="Longest training (s); null waits.")
    extra: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="Further arguments for its YAML, as they are; they win over ours."
    )


class LlamaFactoryTrainer(Trainer):
    """LLaMA-Factory by its own command."""

    options = LlamaFactoryOptions
    in_process = False

    def __init__(self, config: SFTConfig, options: LlamaFactoryOptions) -> None:
        self.config, self.own = config, options

    def check_settings(self) -> None:
        """Refuse what it cannot follow."""
        config = self.config
        if self.own.template is None:
            raise ValueError("trainer llamafactory needs llamafactory.template, its name for the chat template")
        if config.turns == "each":
            raise ValueError("trainer llamafactory renders conversations itself: turns can be all or last, not each")
        if config.packing or config.group_by_length:
            raise ValueError(
                "trainer llamafactory makes up its own batches: leave packing and group_by_length off "
                "(its own packing is llamafactory.extra: {neat_packing: true}, with other steps)"
            )
        if config.freeze_embeddings:
            raise ValueError("trainer llamafactory trains all weights: leave freeze_embeddings off")
        if config.method == "lora" and (config.lora_alpha < 1 or config.lora_alpha % 1):
            raise ValueError(
                f"trainer llamafactory takes a whole number from 1 for lora_alpha, not {config.lora_alpha:g}"
            )
        passes = self._rows_a_pass()
        if config.batch_size % passes:
            raise ValueError(
                f"trainer llamafactory: batch_size {config.batch_size} is no multiple of micro_batch_size x processes "
                f"({passes})"
            )

    def _rows_a_pass(self) -> int:
        return self.own.processes * (self.config.micro_batch_size or 1)

    def check(self) -> None:
        """See that its command is there."""
        find_command(self.own.command)

    def holdable(self, pool: Pool, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Sequence[str]]:
        """Which rows it can train on as they are."""
        kept, reasons = holdable(pool, rows)
        return kept, told_refused(reasons, len(rows))

    def train(self, plan: TrainingPlan) -> Trained:
        """Train on the rows of the schedule, in its order, and load what it leaves."""
        folder = plan.work_dir.resolve() / "llamafactory"
        dtype = str(plan.dtype).removeprefix("torch.")
        arguments = self.train_arguments(
            plan.schedule,
            model=resolve_model(plan.base).resolve(),
            folder=folder,
            seed=plan.seed,
            max_length=plan.max_length,
            device=plan.device,
            bf16=dtype == "bfloat16",
            trust_remote_code=plan.trust_remote_code,
        )
        yaml_file = write_training(plan.pool, plan.subset.pool_rows[plan.schedule.order], folder, arguments)
        try:
            run = self.run_training(yaml_file)
            model, trainable, merged = load_trained(
                run,
                self.config,
                base=plan.base,
                dtype="float32" if self.config.method == "full" else dtype,
                device=plan.device,
                trust_remote_code=plan.trust_remote_code,
            )
            if plan.adapter_dir is not None:
                shutil.copytree(run.output, plan.adapter_dir, dirs_exist_ok=True)
        finally:
            remove_bulk(folder)
        passes = plan.schedule.steps * int(arguments["gradient_accumulation_steps"])
        return Trained(model, run.losses, passes, trainable, merged=merged)

    def train_arguments(
        self,
        schedule: TrainingSchedule,
        *,
        model: Path | str,
        folder: Path,
        seed: int,
        max_length: int,
        device: str,
        bf16: bool,
        trust_remote_code: bool = False,
    ) -> dict[str, Any]:
        """The document of ``train.yaml``; ``llamafactory.extra`` wins over everything else."""
        config, own = self.config, self.own
        passes = self._rows_a_pass()
        arguments: dict[str, Any] = {
            "model_name_or_path": str(model),
            "trust_remote_code": trust_remote_code,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": config.method,
            "dataset": DATASET,
            "dataset_dir": str(folder / "data"),
            "template": own.template,
            "cutoff_len": max_length,
            "train_on_prompt": not config.completion_only,
            "mask_history": config.turns == "last" and config.completion_only,
            "disable_shuffling": True,
            "packing": False,
            "output_dir": str(folder / "output"),
            "per_device_train_batch_size": config.micro_batch_size or 1,
            "gradient_accumulation_steps": config.batch_size // passes,
            "num_train_epochs": 1.0,
            **config.optimisation(schedule.steps),
            "disable_gradient_checkpointing": not config.gradient_checkpointing,
            "bf16": bf16,
            "use_cpu": device == "cpu",
            "seed": seed % SEEDS_END,
            "data_seed": seed % SEEDS_END,
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "save_strategy": "no",
            "report_to": "none",
            "plot_loss": False,
        }
        if config.method == "lora":
            modules = config.lora_target_modules
            arguments |= {
                "lora_rank": config.lora_r,
                "lora_alpha": int(config.lora_alpha),
                "lora_dropout": config.lora_dropout,
                "lora_target": "all" if modules == "all-linear" else ",".join(modules),
            }
        if config.deepspeed is not None:
            arguments["deepspeed"] = str(config.deepspeed)
        if config.fsdp is not None:
            arguments |= {"fsdp": "full_shard auto_wrap", "fsdp_config": str(config.fsdp)}
        return arguments | dict(own.extra)

    def run_training(self, yaml_file: Path) -> LlamaFactoryRun:
        """Run ``llamafactory-cli train`` on a YAML file and read what it left.

        Raises:
            TrainingFailure: it ran out of memory, took no row, or its loss is not finite.
            MachineFailure: the machine ended it.
            EvaluationError: it is not installed, or it refuses what it is asked (its log is named).
        """
        own = self.own
        command = find_command(own.command)
        folder = yaml_file.parent
        log = folder / _LOG
        with log.open("wb") as output:
            process = subprocess.Popen(
                [command, "train", str(yaml_file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=self._environment(folder),
                preexec_fn=_end_with_parent,
            )
            try:
                code = process.wait(own.timeout)
            except subprocess.TimeoutExpired:
                raise TrainingFailure(
                    f"LLaMA-Factory trained longer than evaluation.sft.llamafactory.timeout ({own.timeout:g} s)."
                ) from None
            finally:
                if process.poll() is None:
                    _stop(process)
        if code != 0:
            _explain(code, log)
        return _read(folder / "output", log)

    def _environment(self, folder: Path) -> dict[str, str]:
        # PYTHONPATH is of this environment, not of LLaMA-Factory's; its cache of data must not outlive the training.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["HF_DATASETS_CACHE"] = str(folder / "cache")
        if self.own.processes > 1 or self.config.deepspeed is not None or self.config.fsdp is not None:
            environment["FORCE_TORCHRUN"] = "1"
        # It starts a process for every GPU it sees unless it is told how many; the batch size counts on this number.
        environment["NPROC_PER_NODE"] = str(self.own.processes)
        return environment


def find_command(command: str) -> str:
    """The path of LLaMA-Factory's command.

    Raises:
        EvaluationError: it is not installed.
    """
    found = shutil.which(command)
    if found is None:
        raise EvaluationError(
            f"evaluation.sft.trainer 'llamafactory' runs '{command}', which does not exist: install LLaMA-Factory (in an "
            "environment of its own: pip install llamafactory) and name its llamafactory-cli in "
            "evaluation.sft.llamafactory.command."
        )
    return found


def holdable(pool: Pool, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which rows LLaMA-Factory can train on as they are, and why not the others: reason and count, the most frequent first."""
    reasons: Counter[str] = Counter()
    kept = np.ones(len(rows), bool)
    for number, conversation in enumerate(pool.conversations(rows)):
        try:
            llamafactory_row(conversation)
        except CannotHold as problem:
            kept[number] = False
            reasons[str(problem)] += 1
    return kept, dict(reasons.most_common())


def told_refused(reasons: Mapping[str, int], rows: int) -> list[str]:
    """What to say of rows that LLaMA-Factory cannot train on: a sentence, none if there are none."""
    if not reasons:
        return []
    why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return [f"LLaMA-Factory does not train on {sum(reasons.values()):,} of {rows:,} rows: {why}."]


def write_training(pool: Pool, rows: NDArray[np.int64], folder: Path, arguments: Mapping[str, Any]) -> Path:
    """Write ``data/`` (rows in order, ``dataset_info.json``) and ``train.yaml`` into an empty ``folder``.

    Returns:
        The YAML file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report = export_sharegpt(pool, rows, folder / "data", DATASET)
    assert not report.left_out, "rows that the form cannot hold are left out before"
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(dict(arguments), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _end_with_parent() -> None:
    """In the child: be ended when the worker is (Linux), so that no training outlives a killed study."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def _explain(code: int, log: Path) -> None:
    text = _tail(log)
    ended = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    if MEMORY_WORDS.search(text):
        line = next(line.strip() for line in reversed(text.splitlines()) if MEMORY_WORDS.search(line))
        use = told_memory(line)
        if use is not None and blame(use, asked_bytes(line)) == "infrastructure":
            raise MachineFailure(f"LLaMA-Factory ran out of memory taken by others: {line[:300]}")
        raise TrainingFailure(
            f"LLaMA-Factory ran out of memory ({line[:200]}); lower evaluation.sft.micro_batch_size, or switch "
            "evaluation.sft.gradient_checkpointing on, with which a study can go on (a lower max_length is for a new one)."
        )
    if code < 0 or _MACHINE.search(text):
        raise MachineFailure(f"LLaMA-Factory was ended {ended}: {_last_line(text)}")
    if _NO_ROWS.search(text):
        raise TrainingFailure(f"LLaMA-Factory takes no row of the subset: {_last_line(text)}")
    raise EvaluationError(f"LLaMA-Factory ended {ended}: {_last_line(text)} (whole output: {log}).")


def _read(output: Path, log: Path) -> LlamaFactoryRun:
    """The logged losses and the folder of the model.

    ``trainer_state.json`` and ``train_results.json`` are what the Trainer inside writes.
    """
    try:
        state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
        results = json.loads((output / "train_results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise cannot_load(
            f"LLaMA-Factory ended well and left no readable result in {output} ({error}): is its version older than "
            f"0.9? Last line: {_last_line(_tail(log))}",
            error,
        ) from error
    losses = [float(entry["loss"]) for entry in state.get("log_history", []) if "loss" in entry]
    wrong = next((step for step, loss in enumerate(losses, start=1) if not math.isfinite(loss)), None)
    if wrong is not None or not math.isfinite(float(results.get("train_loss", 0.0))):
        where = f" in step {wrong} of {len(losses)}" if wrong else ""
        raise TrainingFailure(
            f"Training diverged: LLaMA-Factory's loss is not finite{where}; lower evaluation.sft.learning_rate."
        )
    return LlamaFactoryRun(output, losses)


def load_trained(
    run: LlamaFactoryRun, config: SFTConfig, *, base: str, dtype: str, device: str, trust_remote_code: bool
) -> tuple[PreTrainedModel, int, Callable[[], PreTrainedModel] | None]:
    """The trained model, how many of its parameters were trained, and what merges it for keeping (see ``Trained``)."""
    if config.method == "full":
        model = load_model(run.output, device, dtype, trust_remote_code=trust_remote_code)
        return model, sum(parameter.numel() for parameter in model.parameters()), None
    from peft import PeftModel

    model = load_model(base, device, dtype, trust_remote_code=trust_remote_code)
    try:
        adapted = PeftModel.from_pretrained(model, str(run.output))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        sentence = f"LLaMA-Factory's adapters in {run.output} cannot be loaded: {one_line(error)}"
        raise cannot_load(sentence, error, run.output.glob("*.safetensors")) from error
    trained = sum(parameter.numel() for name, parameter in adapted.named_parameters() if "lora_" in name)
    scored, merged = scored_and_kept(adapted)
    return scored, trained, merged


def remove_bulk(folder: Path) -> None:
    """Remove data, cache and weights; the YAML and the log stay."""
    for name in ("data", "cache", "output"):
        shutil.rmtree(folder / name, ignore_errors=True)
