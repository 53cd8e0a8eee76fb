"""The example's two questions with replicates are asked by one protocol, and its README leaves the numbers to the files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoselection.reproduce import ReproductionConfig, load_reproduction
from autoselection.reproduce.config import study_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "smollm2"


@pytest.fixture(scope="module")
def pair() -> tuple[ReproductionConfig, ReproductionConfig]:
    real, second = (load_reproduction(str(EXAMPLE / f"reproduce-{name}.yaml")) for name in ("real", "second"))
    return real, second


@pytest.mark.parametrize(
    "field", ["seeds", "final_seeds", "first", "budget", "methods", "single_operators", "default", "fixed_on_dev"]
)
def test_both_settings_have_one_protocol(pair: tuple[ReproductionConfig, ReproductionConfig], field: str) -> None:
    real, second = pair
    assert getattr(second, field) == getattr(real, field)
    assert len(real.seeds) == 5 and real.named_first == ("full", "random-rows")


def test_both_settings_train_and_search_alike(pair: tuple[ReproductionConfig, ReproductionConfig]) -> None:
    real, second = (study_of(config, config.models[0]) for config in pair)
    assert second.evaluation.sft == real.evaluation.sft
    assert second.search.min_rows == real.search.min_rows


def test_the_page_names_no_number_that_a_file_has() -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert not re.findall(r"(?i)\b(?:\d+|two|three|four|five|eight) (?:replicates|trainings)\b", text)
