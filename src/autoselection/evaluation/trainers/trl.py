"""The trainer ``trl``: supervised fine-tuning by TRL's ``SFTTrainer`` on rows that are already tokens.

TRL receives ``input_ids`` and ``labels`` and prepares nothing: no template, no tokenizer, no end-of-sequence
token, no truncation of its own. The loss is the mean over the response tokens of a whole batch, however it is split
into micro-batches.

Weights are float32 unless LoRA runs in bfloat16; with bfloat16, full fine-tuning computes under autocast, because
updates of a small learning rate vanish in bfloat16 weights.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoselection.errors import EvaluationError, MissingExtraError
from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.memory import planned_gpu_bytes
from autoselection.evaluation.runtime import seed_generators
from autoselection.evaluation.schedule import TrainingSchedule
from autoselection.evaluation.trainers.adapters import scored_and_kept
from autoselection.evaluation.trainers.contract import Trained, Trainer, TrainingPlan
from autoselection.seeds import SEEDS_END

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel


#: Memory that the activations of one micro-batch may take where there is no GPU; on one, see ``planned_gpu_bytes``.
_ACTIVATION_BYTES = 2 << 30
_MICRO_TOKENS_RANGE = (256, 2048)
_GPU_MICRO_TOKENS_RANGE = (1024, 65_536)


class TRLTrainer(Trainer):
    """TRL in the worker process."""

    def __init__(self, config: SFTConfig) -> None:
        self.config = config

    def check(self) -> None:
        """See that the files for accelerate can be used."""
        distribution(self.config)

    def train(self, plan: TrainingPlan) -> Trained:
        """Fine-tune the model in place.

        Raises:
            TrainingFailure: a loss that is not finite or rises far above its start.
            EvaluationError: packing is insisted on and the model cannot be packed; a file of the settings is wrong, or a module that is to be adapted is not there.
        """
        assert plan.model is not None
        with own_settings(plan.model):
            return self._trained(plan, plan.model)

    def _trained(self, plan: TrainingPlan, model: PreTrainedModel) -> Trained:
        import torch

        from autoselection.evaluation.trainers.subset_trainer import SubsetTrainer
        from autoselection.language.packed import packed_attention
        from autoselection.language.packing import tried_packing

        config, schedule = self.config, plan.schedule
        if config.method == "lora":
            _check_targets(config.lora_target_modules, model)
        if config.freeze_embeddings:
            _freeze_embeddings(model)
        seed_generators(plan.seed)  # adapters are initialised before the trainer seeds anything
        autocast = plan.dtype == torch.bfloat16
        packing = tried_packing(model, plan.dtype if autocast else None, trained=True, longest=plan.max_length)
        if config.packing and not packing.possible:
            raise EvaluationError(
                f"The model '{model.name_or_path}' does not keep packed rows apart ({type(model).__name__}: {packing.problem}): "
                "switch evaluation.sft.packing off."
            )
        trainer = SubsetTrainer(
            model=model,
            arguments=training_arguments(
                config, schedule, model, autocast=autocast, seed=plan.seed, work_dir=plan.work_dir
            ),
            tokenizer=plan.tokenizer,
            subset=plan.subset,
            schedule=schedule,
            micro_rows=config.micro_batch_size,
            micro_tokens=config.micro_batch_tokens
            or micro_batch_tokens(model, plan.dtype, config.gradient_checkpointing),
            adapters=_adapters(config) if config.method == "lora" else None,
            packed=packing.possible,
            divergence=config.divergence,
        )
        trainable = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
        with packed_attention(model, flash=packing.flash) if packing.possible else nullcontext():
            trainer.train()
            trainer.watch()
        trained, merged = trainer.model.eval(), None
        if config.method == "lora":
            if plan.adapter_dir is not None:
                trained.save_pretrained(str(plan.adapter_dir))
            trained, merged = scored_and_kept(trained)
        return Trained(
            trained, trainer.losses, trainer.forward_passes, trainable, packing.possible, packing.problem, merged
        )


@contextmanager
def own_settings(model: PreTrainedModel) -> Iterator[None]:
    """Leave the model's configurations as they were: TRL and the Trainer write router logits, ``use_cache`` and tokens into them.

    Answers are written with what stands there, and a kept model is saved with it.
    """
    settings = (model.config, model.config.get_text_config(), model.generation_config)
    before = [(each, dict(vars(each))) for each in settings if each is not None]
    try:
        yield
    finally:
        for each, values in before:
            vars(each).clear()
            vars(each).update(values)


def _freeze_embeddings(model: PreTrainedModel) -> None:
    """No gradients for the tables that are as long as the vocabulary, on either end."""
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        if table is not None:
            table.requires_grad_(False)


def micro_batch_tokens(model: PreTrainedModel, dtype: torch.dtype, checkpointing: bool) -> int:
    """Tokens of a forward pass whose activations fit in memory, by a rule of thumb.

    A transformer layer keeps about 18 vectors of the hidden and 6 of the intermediate size per token for the backward
    pass; the head keeps four of the vocabulary's size, in float32. With checkpointing a layer keeps its input, and one
    layer at a time the rest.

    How a batch is cut changes nothing but rounding: each pass has its share of the batch's mean loss.
    """
    config = model.config.get_text_config()
    hidden = int(config.hidden_size)
    layers = int(config.num_hidden_layers)
    intermediate = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    layer = 18 * hidden + 6 * intermediate
    kept = layers * hidden + layer if checkpointing else layers * layer
    per_token = kept * dtype.itemsize + 16 * int(config.vocab_size)
    if model.device.type == "cuda":
        lowest, highest = _GPU_MICRO_TOKENS_RANGE
        memory = planned_gpu_bytes(model.device)
    else:
        lowest, highest = _MICRO_TOKENS_RANGE
        memory = _ACTIVATION_BYTES
    return min(max(memory // per_token, lowest), highest)


def training_arguments(
    config: SFTConfig, schedule: TrainingSchedule, model: PreTrainedModel, *, autocast: bool, seed: int, work_dir: Path
) -> Any:
    """TRL's configuration for one schedule: no preparation of rows, no logs, no checkpoints, nothing on disk."""
    from trl import SFTConfig as TRLConfig

    cpu = model.device.type == "cpu"
    return TRLConfig(
        **distribution(config),
        output_dir=str(work_dir),
        max_steps=schedule.steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=1,
        **config.optimisation(schedule.steps),
        optim="adamw_torch_fused",
        bf16=autocast,
        fp16=False,
        gradient_checkpointing=config.gradient_checkpointing,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_pin_memory=False,  # a batch holds rows; passes are pinned where they are made
        use_cpu=cpu,
        seed=seed % SEEDS_END,  # a repeat of a subset has seeds beyond those that can be given
        data_seed=seed % SEEDS_END,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def distribution(config: SFTConfig) -> dict[str, Any]:
    """Arguments for accelerate: the DeepSpeed or FSDP configuration, read and checked.

    Raises:
        EvaluationError: a file is missing or no JSON object, or asks for parameters cut into pieces (ZeRO 3).
        MissingExtraError: DeepSpeed is not installed.
    """
    if config.deepspeed is not None:
        settings = _json_object(config.deepspeed, "deepspeed")
        if int((settings.get("zero_optimization") or {}).get("stage", 0)) == 3:
            raise EvaluationError(
                f"{config.deepspeed}: ZeRO stage 3 cuts the parameters into pieces, and the trained model is scored in "
                "the same process: use stage 2 (with offload), or evaluation.sft.trainer llamafactory."
            )
        if importlib.util.find_spec("deepspeed") is None:
            raise MissingExtraError("deepspeed", "deepspeed", "evaluation.sft.deepspeed")
        return {"deepspeed": settings}
    if config.fsdp is not None:
        return {"fsdp": True, "fsdp_config": _json_object(config.fsdp, "fsdp")}
    return {}


def _json_object(path: Path, key: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"evaluation.sft.{key}: {path} cannot be read as JSON ({error}).") from error
    if not isinstance(document, dict):
        raise EvaluationError(f"evaluation.sft.{key}: {path} must hold a JSON object.")
    return document


def _adapters(config: SFTConfig) -> Any:
    from peft import LoraConfig

    modules = config.lora_target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
    )


def check_adapters(config: SFTConfig, model_config: PretrainedConfig, trust_remote_code: bool = False) -> None:
    """See that LoRA finds its modules in a model of this configuration; no weights are made.

    Raises:
        EvaluationError: a module of ``lora_target_modules`` is not there, or is none that takes adapters.
    """
    if config.method != "lora" or isinstance(config.lora_target_modules, str):
        return
    import torch
    from transformers import AutoModelForCausalLM

    from autoselection.language.models import load_errors, one_line

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(model_config, trust_remote_code=trust_remote_code)
    except load_errors() as error:
        raise EvaluationError(f"The model's configuration makes no model: {one_line(error)}") from error
    _check_targets(config.lora_target_modules, model)


def _check_targets(targets: Sequence[str] | str, model: PreTrainedModel) -> None:
    if isinstance(targets, str):
        return
    weighted = [
        name for name, module in model.named_modules() if not list(module.children()) and hasattr(module, "weight")
    ]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in weighted):
            known = sorted({name.rsplit(".", 1)[-1] for name in weighted if "norm" not in name.lower()})
            raise EvaluationError(
                f"evaluation.sft.lora_target_modules: the model has no layer '{target}' with weights; it has {', '.join(known)}."
            )
