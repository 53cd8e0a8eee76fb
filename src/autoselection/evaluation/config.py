"""Settings of one evaluation: supervised fine-tuning and scoring."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from autoselection.evaluation.engines.registry import ENGINES
from autoselection.evaluation.trainers.registry import TRAINERS
from autoselection.schema import Configured, Seeds

DEFAULT_EPOCHS = 3.0


class SFTConfig(Configured):
    """Supervised fine-tuning on the response tokens of a subset.

    Exactly one budget decides the length of training; without any, it is three epochs. ``max_steps`` and
    ``max_tokens`` cost the same whatever the size of the subset, so that a comparison of subsets is one of rows.
    """

    registry = TRAINERS
    chosen_by = "trainer"

    trainer: str = Field(
        "trl",
        description="What trains: TRL in the worker process (trl), LLaMA-Factory by its own command (llamafactory), or a "
        "trainer that another package registers.",
    )
    method: Literal["full", "lora"] = Field("full", description="Train all weights (full) or low-rank adapters (lora).")
    lora_r: int = Field(16, ge=1, le=1024, description="Rank of the LoRA adapters.")
    lora_alpha: float = Field(32.0, gt=0.0, description="LoRA scale; adapters count alpha / r times.")
    lora_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout in front of the LoRA adapters (share).")
    lora_target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear",
        description="Names of the modules that get adapters; 'all-linear' is every linear layer but the head.",
    )
    epochs: float | None = Field(
        None, gt=0.0, description="Budget: passes over the subset (3 if no budget is given; fractions are allowed)."
    )
    max_steps: int | None = Field(
        None, ge=1, description="Budget: optimiser steps of batch_size rows, whatever the size of the subset (count)."
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Budget: trained tokens, whatever the size of the subset (count); rows are taken in training order, "
        "small subsets repeatedly, until their tokens reach it.",
    )
    budget_counts: Literal["all", "response"] = Field(
        "all",
        description="Tokens that max_tokens counts: all of a row, prompts included (the same compute for every subset), "
        "or only those with a loss (response: the same supervision).",
    )
    learning_rate: float = Field(2e-5, gt=0.0, description="Peak learning rate of AdamW.")
    scheduler: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="Learning rate after warmup: to zero along a cosine or a line, or constant."
    )
    warmup_ratio: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="Share of the steps in which the rate rises linearly; the last step is never one of them.",
    )
    batch_size: int = Field(32, ge=1, description="Rows an optimiser step sees (count).")
    micro_batch_size: int | None = Field(
        None, ge=1, description="Most rows a forward pass sees (count); null: as many as micro_batch_tokens allows."
    )
    micro_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Most tokens a forward pass sees, padding included (count; at least one row); null fits the "
        "activations in about 2 GiB, or a quarter of a GPU's memory, which workers on one GPU share. Decides memory and speed; "
        "the result is the same up to rounding.",
    )
    max_length: int = Field(2048, ge=8, description="Longest row trained on (tokens); longer ones are cut and counted.")
    group_by_length: bool = Field(
        False,
        description="Make up batches from rows of similar length: less padding, but batches are no longer random.",
    )
    packing: bool = Field(
        False,
        description="Insist on passes without padding: a model that does not keep packed rows apart is refused. Without, rows "
        "are packed wherever the model allows it, and padded elsewhere. Decides memory and speed, not the result.",
    )
    weight_decay: float = Field(0.0, ge=0.0, description="Decoupled weight decay of AdamW.")
    max_grad_norm: float = Field(1.0, ge=0.0, description="Gradients are scaled down to this norm; 0 switches it off.")
    turns: Literal["all", "last", "each"] = Field(
        "all",
        description="Which answers have a loss: all that stand in the rendered conversation as the model would have to "
        "write them; only the last; or each, where a chat template rewrites earlier turns in samples of their own.",
    )
    completion_only: bool = Field(True, description="Loss on response tokens only; false also trains on the prompts.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: far less memory, about 30% slower."
    )
    freeze_embeddings: bool = Field(
        False,
        description="Full fine-tuning leaves the token embeddings and the output layer as they are: faster and smaller where "
        "the vocabulary is large beside the model, and another training, so scores change.",
    )
    divergence: float | None = Field(
        3.0,
        gt=1.0,
        description="Training fails as diverged when the mean loss of five steps exceeds so many times the larger of the "
        "first step's loss and that of a uniform guess; null waits for a loss that is not finite.",
    )
    deepspeed: Path | None = Field(
        None, description="DeepSpeed configuration (JSON file), passed to accelerate; needs the package deepspeed."
    )
    fsdp: Path | None = Field(
        None, description="FSDP configuration (JSON file, as transformers' fsdp_config), passed to accelerate."
    )

    def shortened(self, fidelity: float) -> SFTConfig:
        """The same training with ``fidelity`` (in (0, 1]) of its budget; the learning rate decays over what is left.

        Raises:
            ValueError: the fidelity is not in (0, 1].
        """
        if not 0.0 < fidelity <= 1.0:
            raise ValueError(f"fidelity must be in (0, 1], not {fidelity}")
        if self.max_steps is not None:
            budget: dict[str, float] = {"max_steps": max(1, round(self.max_steps * fidelity))}
        elif self.max_tokens is not None:
            budget = {"max_tokens": max(1, round(self.max_tokens * fidelity))}
        else:
            budget = {"epochs": self.passes * fidelity}
        return self.model_copy(update=budget)

    @property
    def passes(self) -> float:
        """Passes over the subset, where the budget counts them."""
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    @property
    def lr_scheduler_type(self) -> str:
        """The scheduler by transformers' name."""
        return "constant_with_warmup" if self.scheduler == "constant" else self.scheduler

    def warmup_steps(self, steps: int) -> int:
        """Of so many optimiser steps, those in which the learning rate rises; it begins at 0, so one step at least is not of them."""
        return max(0, min(math.ceil(self.warmup_ratio * steps), steps - 1))

    def optimisation(self, steps: int) -> dict[str, Any]:
        """Arguments of transformers' ``TrainingArguments``, which TRL and LLaMA-Factory take too, for so many optimiser steps."""
        return {
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": self.lr_scheduler_type,
            "warmup_steps": self.warmup_steps(steps),
            "weight_decay": self.weight_decay,
            "max_grad_norm": self.max_grad_norm,
        }

    @model_validator(mode="after")
    def _one_budget(self) -> SFTConfig:
        budgets = [name for name in ("epochs", "max_steps", "max_tokens") if getattr(self, name) is not None]
        if len(budgets) > 1:
            raise ValueError(
                f"give exactly one budget, not {' and '.join(budgets)}: leave the other out, or set it to null "
                f"(--set evaluation.sft.{budgets[0]}=null)"
            )
        if self.deepspeed is not None and self.fsdp is not None:
            raise ValueError("give deepspeed or fsdp, not both")
        if self.freeze_embeddings and self.method == "lora":
            raise ValueError("freeze_embeddings is for method full: adapters leave the embeddings as they are anyway")
        return self

    @model_validator(mode="after")
    def _trainer_can_follow(self) -> SFTConfig:
        self.registry.make(self).check_settings()
        return self


class EvaluationConfig(Configured):
    """How one subset is trained on and scored."""

    registry = ENGINES
    chosen_by = "engine"

    sft: SFTConfig = Field(default_factory=lambda: SFTConfig.model_validate({}), description="Supervised fine-tuning.")
    seeds: Seeds = Field((0,), description="Training seeds of every evaluation; scores are averaged over them.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where evaluations run; auto prefers an accelerator. CUDA_VISIBLE_DEVICES picks the GPU."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Arithmetic: auto is bfloat16 on a GPU that has it and float32 elsewhere. With bfloat16, full "
        "fine-tuning keeps float32 weights and computes under autocast; LoRA loads the base model in bfloat16.",
    )
    engine: str = Field(
        "transformers",
        description="What scores a model: the model in memory (transformers), vLLM with native LoRA (extra vllm), a server "
        "that speaks OpenAI's protocol (openai, extra llm), or an engine that another package registers.",
    )
    exact_match: bool = Field(
        False,
        description="Generate the answers of tasks without choices in every evaluation, not only for the final table: "
        "'autoselection diagnose' then tells whether the search metric goes with right answers. Decides no score.",
    )
    max_new_tokens: int | None = Field(
        None,
        ge=1,
        description="Longest generated answer (tokens); null is what a task file of lm-evaluation-harness says (its default "
        "is 256), else twice the task's longest gold answer plus 16.",
    )
    batch_size: int | None = Field(None, ge=1, description="Sequences scored at once (count); null: by batch_tokens.")
    batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens scored at once (count). null: 2,048 in packed passes (32,768 on a GPU), 16,384 in padded ones, and no "
        "more than whose logits fit into 1 GiB (8 GiB on a GPU), so that a large vocabulary has shorter passes; one sequence alone may "
        "have more.",
    )
    compile: bool = Field(
        False,
        description="Compile the forward pass of likelihoods (engine transformers). Every evaluation compiles again, and its passes "
        "are padded instead of packed, prompts read once for every option: measured twice as slow. For models that cannot be packed.",
    )
    threads: int | None = Field(
        None, ge=1, description="PyTorch threads of an evaluation (count); null leaves PyTorch's choice."
    )
    cache_dir: Path | None = Field(
        None,
        description="Folder of scores already computed, by model or adapter, task and settings; null keeps none.",
    )
    keep_model: bool = Field(
        False, description="Save every fine-tuned model (safetensors, tokenizer) in the evaluation's folder."
    )
    keep_best: int | None = Field(
        None,
        ge=1,
        description="With keep_model, a study keeps the models of its so many best trials and of the final winner, and "
        "removes the others (count); null keeps all.",
    )
