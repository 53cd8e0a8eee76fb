"""Trainer, engine and executor keep their contracts; real trainings of the demo's model, a few seconds each."""

from __future__ import annotations

import pytest
from autoselection_plugin_example.engine import LoggedEngine, LoggedOptions
from autoselection_plugin_example.executor import FolderExecutor, FolderOptions
from autoselection_plugin_example.trainer import PartialOptions, PartialTrainer

from autoselection.testing import check_engine, check_executor, check_trainer


@pytest.mark.parametrize("weights", [("norm",), ("lm_head", "embed")])
def test_the_trainer_keeps_its_contract(weights):
    check_trainer(lambda config: PartialTrainer(config, PartialOptions(weights=weights)))


def test_the_engine_keeps_its_contract():
    check_engine(lambda config: LoggedEngine(config, LoggedOptions()))


def test_the_executor_keeps_its_contract():
    check_executor(lambda config: FolderExecutor(config, FolderOptions()))
