"""A trainer of one's own: plain PyTorch, on some of the weights only.

Training nothing but the scales of the normalisations moves a model little, and costs little; a subset that does not help
such a training seldom helps a full one. Register it in ``pyproject.toml``::

    [project.entry-points."autoselection.trainers"]
    partial = "autoselection_plugin_example.trainer:PartialTrainer"
"""

from __future__ import annotations

from pydantic import Field

from autoselection.errors import EvaluationError
from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.encoding import IGNORED
from autoselection.evaluation.runtime import TrainingFailure, seed_generators
from autoselection.evaluation.trainers.contract import Trained, Trainer, TrainingPlan
from autoselection.schema import StrictModel


class PartialOptions(StrictModel):
    """Trainer partial: some of the weights, by plain AdamW at a constant rate."""

    weights: tuple[str, ...] = Field(
        ("norm",), min_length=1, description="Weights whose names hold one of these words are trained."
    )


class PartialTrainer(Trainer):
    """Trains weights by name; one row a forward pass."""

    options = PartialOptions

    def __init__(self, config: SFTConfig, options: PartialOptions) -> None:
        self.config, self.own = config, options

    def check_settings(self) -> None:
        """Refuse what this trainer has no notion of."""
        if self.config.method != "full" or self.config.packing:
            raise ValueError("trainer partial trains weights themselves, row by row: leave method full and packing off")

    def train(self, plan: TrainingPlan) -> Trained:
        """Train in place, step by step of the schedule."""
        import torch

        model = plan.model
        assert model is not None  # in_process
        seed_generators(plan.seed)  # dropout
        chosen = []
        for name, weight in model.named_parameters():
            weight.requires_grad_(any(word in name for word in self.own.weights))
            chosen += [weight] if weight.requires_grad else []
        if not chosen:
            raise EvaluationError(
                f"evaluation.sft.partial.weights: no weight of the model is called {self.own.weights}."
            )
        optimiser = torch.optim.AdamW(chosen, self.config.learning_rate, weight_decay=self.config.weight_decay)
        losses: list[float] = []
        model.train()
        for start in range(0, len(plan.schedule.order), self.config.batch_size):
            positions = plan.schedule.order[start : start + self.config.batch_size]
            learnt = int(plan.subset.responses(positions).sum())
            total = 0.0
            for row in plan.subset.trainable(positions):
                ids = torch.tensor(row.input_ids[None], dtype=torch.long, device=plan.device)
                labels = torch.tensor(row.labels[1:], dtype=torch.long, device=plan.device)
                logits = model(ids).logits[0, :-1].float()
                summed = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
                (summed / learnt).backward()
                total += summed.item()
            losses.append(total / learnt)
            if not torch.isfinite(torch.tensor(total)):
                raise TrainingFailure(f"Training diverged in step {len(losses)}; lower evaluation.sft.learning_rate.")
            optimiser.step()
            optimiser.zero_grad()
        model.requires_grad_(True).eval()
        return Trained(model, losses, len(plan.schedule.order), sum(weight.numel() for weight in chosen))
