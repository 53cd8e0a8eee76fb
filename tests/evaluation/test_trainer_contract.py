"""Our trainers keep the contract of trainers, and what breaks it is told."""

from __future__ import annotations

from typing import Any

import pytest

from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.trainers.contract import Trained, TrainingPlan
from autoselection.evaluation.trainers.trl import TRLTrainer
from autoselection.testing import check_trainer


@pytest.mark.parametrize("settings", [{}, {"method": "lora", "lora_r": 2}], ids=["full", "lora"])
def test_trl_keeps_the_contract(settings: dict[str, Any]) -> None:
    check_trainer(TRLTrainer, settings=settings)


class Lazy(TRLTrainer):
    """Takes its steps and forgets one."""

    def train(self, plan: TrainingPlan) -> Trained:
        found = super().train(plan)
        return Trained(found.model, found.losses[1:], found.forward_passes, found.trainable_parameters)


class Idle(TRLTrainer):
    """Gives back what it was given."""

    def train(self, plan: TrainingPlan) -> Trained:
        assert plan.model is not None
        return Trained(plan.model.eval(), [1.0] * plan.schedule.steps, plan.schedule.steps, 1)


class Forgetful(TRLTrainer):
    """Trains and returns nothing."""

    def train(self, plan: TrainingPlan) -> Trained:
        return None  # type: ignore[return-value]


class WithOptions(TRLTrainer):
    """Has options, which are not filled in where the class itself is checked."""

    def __init__(self, config: SFTConfig, options: object) -> None:
        super().__init__(config)


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        (Lazy, "There are 2 losses of 3 steps"),
        (Idle, "changed nothing"),
        (Forgetful, r"Forgetful.train\(\) returned a NoneType"),
        (
            WithOptions,
            r"WithOptions cannot be called with the settings alone \(missing .* 'options'\): fill in the options",
        ),
    ],
)
def test_a_trainer_that_breaks_it_is_told_so(trainer: type[TRLTrainer], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_trainer(trainer)
