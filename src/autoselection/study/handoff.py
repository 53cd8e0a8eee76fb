"""The rows of a study with a configuration that trains on them as the study did: for TRL, LLaMA-Factory, Axolotl, open-instruct.

The rows are those that the study exports: the winner's, or the incumbent's if it stays; a row that counts more than once stands there
as often. Hyper-parameters, budget, template and what has a loss are the study's own (``evaluation.sft``, ``model``). What a trainer
cannot do as the study did is said, and stands in the file as a comment.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection import files
from autoselection.documents import dump_yaml
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation.config import SFTConfig
from autoselection.export import ExportReport, check_not_read, export_subset
from autoselection.export.axolotl import dataset_entry
from autoselection.export.target import DATASET_NAME, FormatName
from autoselection.language.chat.options import chat_template_text
from autoselection.recipes import ordered_hash, subset_hash
from autoselection.study.dev_results import dev_results
from autoselection.study.incumbent import current_verdict
from autoselection.study.study import Study
from autoselection.study.trials import Trial
from autoselection.wording import command_line

TrainerName = Literal["trl", "llamafactory", "axolotl", "open-instruct"]

TEMPLATE = "chat_template.jinja"
#: Rows of a forward pass, where the study leaves it to the memory.
_ROWS_A_PASS = 4


@dataclass(frozen=True)
class Training:
    """What a configuration is made from.

    Attributes:
        sft: the study's training.
        model: folder or hub id of the base model.
        data: where the rows lie.
        rows: that are trained on, copies included (count).
        steps: optimiser steps of the study's own training of these rows; None if it made none.
        seed: of the training.
        template: file of the chat template; None for the model's own.
        code: run code shipped with the model.
        output: folder for the trained model.
    """

    sft: SFTConfig
    model: str
    data: Path
    rows: int
    steps: int | None
    seed: int
    template: Path | None
    code: bool
    output: Path

    @property
    def planned_steps(self) -> int:
        """Optimiser steps: as many as the study took, or as the budget asks for."""
        if self.sft.max_steps is not None:
            return self.sft.max_steps
        if self.steps is not None:
            return self.steps
        return math.ceil(self.epochs * self.rows / self.sft.batch_size)

    @property
    def epochs(self) -> float:
        """Passes over the rows, where the budget counts them."""
        return self.sft.passes

    @property
    def rows_a_pass(self) -> int:
        """Rows of a forward pass: the most that divide a batch evenly."""
        most = min(self.sft.batch_size, self.sft.micro_batch_size or _ROWS_A_PASS)
        return next(rows for rows in range(most, 0, -1) if self.sft.batch_size % rows == 0)

    @property
    def passes(self) -> int:
        """Forward passes of an optimiser step, on one device."""
        return self.sft.batch_size // self.rows_a_pass

    @property
    def modules(self) -> list[str] | str:
        """What gets adapters."""
        modules = self.sft.lora_target_modules
        return modules if isinstance(modules, str) else list(modules)


@dataclass(frozen=True)
class Handoff:
    """What was written.

    Attributes:
        command: that trains.
        differs: what the trainer does otherwise than the study, a sentence each.
        report: of the rows.
    """

    config: Path
    command: str
    differs: tuple[str, ...]
    report: ExportReport

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "config": str(self.config),
            "command": self.command,
            "differs": list(self.differs),
            "export": self.report.to_dict(),
        }


def hand_off(study: Study, trainer: TrainerName, out: Path | str, *, overwrite: bool = False) -> Handoff:
    """Write the study's rows into ``out``, and a configuration of ``trainer`` that trains on them.

    Raises:
        StudyError: the study exported nothing yet, or its export is damaged.
        ConfigError: there is no such trainer, or something is in ``out``.
    """
    if trainer not in _TRAINERS:
        raise ConfigError(f"There is no trainer '{trainer}': name {', '.join(_TRAINERS)}.")
    out = Path(out)
    form, make = _TRAINERS[trainer]
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise ConfigError(f"{out} is there already: name another folder, or pass --overwrite.")
    check_not_read({"--out": out}, [study.path], study.pool.manifest.files)
    rows = exported_rows(study)
    data = out / ("rows.jsonl" if form is None else "rows")
    report = export_subset(study.pool, rows, data, form or "messages", columns=(), overwrite=overwrite)
    training = _training(
        study, rows, report.path if form != "axolotl" else data / f"{DATASET_NAME}.jsonl", report.rows, out
    )
    name, text, command, differs = make(training)
    if report.left_out:
        differs = [*differs, report.sentences()[0]]
    head = f"The rows and the training of the study {study.config.name}: {', '.join(_told(training))}."
    files.write_text(out / name, _comments([head, f"Run: {command}", *differs]) + text)
    return Handoff(out / name, command.replace(name, command_line((out / name).resolve())), tuple(differs), report)


def exported_rows(study: Study) -> NDArray[np.int64]:
    """The rows that the study exports, in their order, with copies.

    Raises:
        StudyError: it exported nothing yet, or its list of ids is damaged, or other rows are to be exported by now.
    """
    listed = study.path / "best" / "ids.json"
    again = "`autoselection search` on the study writes it again"
    try:
        ids = files.parse_json(listed.read_bytes())
    except FileNotFoundError as error:
        raise StudyError(f"{study.path} has exported nothing yet: let the study end first.") from error
    except (OSError, ValueError) as error:
        raise StudyError(f"{listed} cannot be read ({error}): {again}.") from error
    places = {row_id: row for row, row_id in enumerate(study.pool.row_ids())}
    try:
        rows = np.array([places[row_id] for row_id in ids], dtype=np.int64)
    except (KeyError, TypeError) as error:
        raise StudyError(f"{listed} names rows that the pool has not ({error}): {again}.") from error
    if not _are_exported(study, rows):
        raise StudyError(
            f"{listed} holds other rows than the study exports: it was changed, or the search went on since; {again}."
        )
    return rows


def _are_exported(study: Study, rows: NDArray[np.int64]) -> bool:
    """Whether rows are those that the journal says are exported."""
    judged, best = current_verdict(study), study.best()
    if judged is not None and judged["exported"] == "incumbent":
        digest: str = study.journal.of("incumbent_plan")[-1]["incumbent_hash"]
        return subset_hash(rows) == digest
    return best is not None and ordered_hash(rows) == best.record["ordered_hash"]


def _training(study: Study, rows: NDArray[np.int64], data: Path, written: int, out: Path) -> Training:
    config = study.config
    template = None
    if config.model.chat_template is not None:
        text = _template(config.model.path, config.model.chat_template)
        if text is not None:
            template = out / TEMPLATE
            files.write_text(template, text)
    return Training(
        sft=config.evaluation.sft,
        model=config.model.path,
        data=data.resolve(),
        rows=written,
        steps=_steps(study, rows),
        seed=config.evaluation.seeds[0],
        template=None if template is None else template.resolve(),
        code=config.model.trust_remote_code,
        output=(out / "model").resolve(),
    )


def _template(model: str, name: str) -> str | None:
    from autoselection.language.chat.options import own_templates

    own = own_templates(Path(model)) if Path(model).is_dir() else {}
    return own[name] if name in own else chat_template_text(name, own)


def _steps(study: Study, rows: NDArray[np.int64]) -> int | None:
    """Optimiser steps that the study's own full training of these rows took."""
    digest = ordered_hash(rows)
    trials: list[Trial] = [trial for trial in study.trials if trial.record["ordered_hash"] == digest]
    results = [result for trial in trials for result in trial.results.values() if not result.failure]
    judged = current_verdict(study)
    if not results and judged is not None:
        plan = study.journal.of("incumbent_plan")[-1]
        results = [result for result in dev_results(study, plan["incumbent_hash"]).values() if not result.failure]
    return round(float(np.mean([result.steps for result in results]))) if results else None


def _told(training: Training) -> list[str]:
    sft = training.sft
    budget = f"{training.planned_steps:,} steps of {sft.batch_size} rows"
    return [f"{training.rows:,} rows", budget, f"learning rate {sft.learning_rate:g}", sft.method]


def _comments(sentences: list[str]) -> str:
    return "".join(f"# {sentence}\n" for sentence in sentences) + "\n"


def _differences(training: Training, *, last: bool, each: bool, prompts: bool) -> list[str]:
    """What the study does and this trainer cannot."""
    sft = training.sft
    found = []
    if sft.max_tokens is not None:
        found.append(
            f"The study's budget is {sft.max_tokens:,} tokens; this is {training.planned_steps:,} steps, as many as it took there."
        )
    if (sft.turns == "last" and not last) or (sft.turns == "each" and not each):
        told = (
            "only the last answer of a row has"
            if sft.turns == "last"
            else "each answer, behind the turns before it, has"
        )
        found.append(f"In the study {told} a loss (evaluation.sft.turns); here all answers have, in the whole row.")
    if not sft.completion_only and not prompts:
        found.append(
            "In the study prompts have a loss, too (evaluation.sft.completion_only: false); here only answers have."
        )
    if sft.freeze_embeddings:
        found.append(
            "The study leaves embeddings as they are (evaluation.sft.freeze_embeddings); here they are trained."
        )
    if sft.deepspeed is not None or sft.fsdp is not None:
        found.append(f"The study trained with {sft.deepspeed or sft.fsdp}: name it to this trainer, too.")
    return found


def _rounded_alpha(sft: SFTConfig) -> list[str]:
    """Of trainers that take whole numbers alone."""
    alpha = _whole_alpha(sft)
    if sft.method != "lora" or alpha == sft.lora_alpha:
        return []
    return [f"The study's lora_alpha is {sft.lora_alpha:g}; here it has to be whole: {alpha}."]


def _whole_alpha(sft: SFTConfig) -> int:
    return max(1, round(sft.lora_alpha))


def _trl(training: Training) -> tuple[str, str, str, list[str]]:
    sft = training.sft
    document: dict[str, Any] = {
        "model_name_or_path": training.model,
        "trust_remote_code": training.code,
        "dataset_name": str(training.data),
        "dataset_train_split": "train",
        "output_dir": str(training.output),
        **_budget(training, "num_train_epochs", "max_steps"),
        **_optimisation(training),
        "max_length": sft.max_length,
        "packing": False,
        "assistant_only_loss": sft.completion_only,
        "gradient_checkpointing": sft.gradient_checkpointing,
        "seed": training.seed,
        "data_seed": training.seed,
        "report_to": "none",
    }
    if training.template is not None:
        document["chat_template_path"] = str(training.template)
    if sft.method == "lora":
        document |= {
            "use_peft": True,
            "lora_r": sft.lora_r,
            "lora_alpha": _whole_alpha(sft),
            "lora_dropout": sft.lora_dropout,
            "lora_target_modules": training.modules,
        }
    differs = [*_differences(training, last=False, each=False, prompts=True), *_rounded_alpha(sft)]
    if sft.completion_only:
        differs.append(
            "assistant_only_loss needs a chat template that marks answers by {% generation %}; TRL knows those of many models, and "
            "refuses others."
        )
    return "trl.yaml", dump_yaml(document), "trl sft --config trl.yaml", differs


def _budget(training: Training, epochs: str, steps: str) -> dict[str, float | int]:
    counts_steps = training.sft.max_steps is not None or training.sft.max_tokens is not None
    return {steps: training.planned_steps} if counts_steps else {epochs: training.epochs}


def _optimisation(training: Training) -> dict[str, Any]:
    """Arguments that both TRL and LLaMA-Factory take from transformers."""
    return {
        "per_device_train_batch_size": training.rows_a_pass,
        "gradient_accumulation_steps": training.passes,
        **training.sft.optimisation(training.planned_steps),
    }


def _llamafactory(training: Training) -> tuple[str, str, str, list[str]]:
    sft = training.sft
    own: Any = getattr(sft, "llamafactory", None)
    document: dict[str, Any] = {
        "model_name_or_path": training.model,
        "trust_remote_code": training.code,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": sft.method,
        "dataset": DATASET_NAME,
        "dataset_dir": str(training.data),
        "cutoff_len": sft.max_length,
        "train_on_prompt": not sft.completion_only,
        "mask_history": sft.turns == "last" and sft.completion_only,
        "packing": False,
        "output_dir": str(training.output),
        **_budget(training, "num_train_epochs", "max_steps"),
        **_optimisation(training),
        "disable_gradient_checkpointing": not sft.gradient_checkpointing,
        "seed": training.seed,
        "data_seed": training.seed,
        "report_to": "none",
    }
    differs = [*_differences(training, last=True, each=False, prompts=True), *_rounded_alpha(sft)]
    if own is not None and own.template is not None:
        document["template"] = own.template
    else:
        differs.append(
            "No template is named: LLaMA-Factory then reads the model's own; if it has one for the model, name it as 'template'."
        )
    if training.template is not None:
        differs.append(
            f"The study's chat template is {training.template.name}: LLaMA-Factory has templates of its own; choose the same."
        )
    if sft.method == "lora":
        modules = training.modules
        document |= {
            "lora_rank": sft.lora_r,
            "lora_alpha": _whole_alpha(sft),
            "lora_dropout": sft.lora_dropout,
            "lora_target": "all" if isinstance(modules, str) else ",".join(modules),
        }
    return "llamafactory.yaml", dump_yaml(document), "llamafactory-cli train llamafactory.yaml", differs


def _axolotl(training: Training) -> tuple[str, str, str, list[str]]:
    sft = training.sft
    entry = dataset_entry(training.data)
    if sft.turns == "last":
        entry |= {"roles_to_train": ["assistant"], "train_on_eos": "last"}
    document: dict[str, Any] = {
        "base_model": training.model,
        "trust_remote_code": training.code,
        "chat_template": "tokenizer_default",
        "datasets": [entry],
        "train_on_inputs": not sft.completion_only,
        # Axolotl keeps rows that it prepared under the name of their file: a folder for these rows alone.
        "dataset_prepared_path": str(training.output.parent / "prepared" / files.checksum(training.data)[:16]),
        "output_dir": str(training.output),
        "sequence_len": sft.max_length,
        "sample_packing": False,
        **_budget(training, "num_epochs", "max_steps"),
        "micro_batch_size": training.rows_a_pass,
        "gradient_accumulation_steps": training.passes,
        "optimizer": "adamw_torch_fused",
        "learning_rate": sft.learning_rate,
        "lr_scheduler": sft.lr_scheduler_type,
        "warmup_steps": sft.warmup_steps(training.planned_steps),
        "weight_decay": sft.weight_decay,
        "max_grad_norm": sft.max_grad_norm,
        "gradient_checkpointing": sft.gradient_checkpointing,
        "bf16": "auto",
        "seed": training.seed,
        "val_set_size": 0,
    }
    if training.template is not None:
        document |= {"chat_template": "jinja", "chat_template_jinja": str(training.template)}
    if sft.method == "lora":
        modules = training.modules
        document |= {
            "adapter": "lora",
            "lora_r": sft.lora_r,
            "lora_alpha": _whole_alpha(sft),
            "lora_dropout": sft.lora_dropout,
            **({"lora_target_linear": True} if isinstance(modules, str) else {"lora_target_modules": modules}),
        }
    return (
        "axolotl.yaml",
        dump_yaml(document),
        "axolotl train axolotl.yaml",
        [*_differences(training, last=False, each=False, prompts=False), *_rounded_alpha(sft)],
    )


def _open_instruct(training: Training) -> tuple[str, str, str, list[str]]:
    sft = training.sft
    options: dict[str, Any] = {
        "model_name_or_path": training.model,
        "dataset_mixer_list": [str(training.data), "1.0"],
        "dataset_mixer_list_splits": "train",
        "max_seq_length": sft.max_length,
        "per_device_train_batch_size": training.rows_a_pass,
        "gradient_accumulation_steps": training.passes,
        "learning_rate": sft.learning_rate,
        "lr_scheduler_type": sft.lr_scheduler_type,
        "warmup_ratio": sft.warmup_ratio,
        "weight_decay": sft.weight_decay,
        "clip_grad_norm": sft.max_grad_norm or -1,
        "seed": training.seed,
        "output_dir": str(training.output),
        "do_not_randomize_output_dir": True,
        "push_to_hub": False,
        "try_launch_beaker_eval_jobs": False,
        "report_to": "none",
        **_whole_budget(training),
    }
    if sft.gradient_checkpointing:
        options["gradient_checkpointing"] = True
    if sft.method == "lora":
        options |= {
            "use_lora": True,
            "lora_rank": sft.lora_r,
            "lora_alpha": sft.lora_alpha,
            "lora_dropout": sft.lora_dropout,
        }
    differs = _differences(training, last=False, each=False, prompts=False)
    if sft.method == "lora" and training.modules != "all-linear":
        differs.append("open-instruct chooses the modules that get adapters itself.")
    if training.template is not None:
        differs.append(
            f"The study's chat template is {training.template.name}: open-instruct knows templates by name (--chat_template_name)."
        )
    command = "accelerate launch open_instruct/finetune.py " + " ".join(
        f"--{name} {' '.join(shlex.quote(str(one)) for one in (value if isinstance(value, list) else [value]))}"
        for name, value in options.items()
    )
    return (
        "open-instruct.sh",
        f"set -eu\n{command}\n",
        "sh open-instruct.sh, in a checkout of open-instruct",
        differs,
    )


def _whole_budget(training: Training) -> Mapping[str, int]:
    """Open-instruct counts whole epochs; others are steps."""
    budget = _budget(training, "num_train_epochs", "max_train_steps")
    epochs = budget.get("num_train_epochs")
    if epochs is None or float(epochs).is_integer():
        return {name: int(value) for name, value in budget.items()}
    return {"max_train_steps": training.planned_steps}


_Make = Callable[[Training], "tuple[str, str, str, list[str]]"]
_TRAINERS: Mapping[str, tuple[FormatName | None, _Make]] = {
    "trl": ("hf", _trl),
    "llamafactory": ("sharegpt", _llamafactory),
    "axolotl": ("axolotl", _axolotl),
    "open-instruct": (None, _open_instruct),
}
