"""The hours in README and docs/costs.md are those of the package's own cost model."""

import re
from pathlib import Path

import pytest
from pages import ROOT

from autoselection.config import StudyConfig, parse_config
from autoselection.reproduce import costs
from autoselection.reproduce.config import EstimateConfig, ModelEntry, ReproductionConfig

MODELS = {"1.2B": 1.24e9, "1.5B": 1.54e9, "3B": 3.09e9, "7B": 7.62e9}
ASSUMED = EstimateConfig()
SEARCHED, COMPARED_SMALL, COMPARED_FULL, FINAL_SMALL, FINAL_FULL, UNTRAINED = 15, 1, 2, 2, 1, 1


def study(**sft: int) -> StudyConfig:
    tasks = [
        {"name": name, "metric": metric, "dev": "dev.jsonl", "test": "test.jsonl", "dev_limit": 300, "test_limit": 1000}
        for name, metric in (("a", "accuracy"), ("b", "accuracy"), ("c", "exact_match"), ("d", "exact_match"))
    ]
    return parse_config(
        {"pool": {"path": "p"}, "model": {"path": "m"}, "tasks": tasks, "evaluation": {"sft": sft}}, Path("/absent")
    )


def hours(parameters: float, rows: int, **sft: int) -> float:
    """Of a whole study with the defaults."""
    settings, size = study(**sft), costs.Size(parameters, rows, 400.0, ())
    document = ReproductionConfig(name="x", models=(ModelEntry(name="x", study=Path("x.yaml")),), estimates=ASSUMED)
    rate = ASSUMED.peak_tflops * 1e12 * 3600

    def training(share: float) -> float:
        return 6 * parameters * costs.train_tokens(settings, size, share) / (rate * ASSUMED.training)

    def scoring(split: str) -> float:
        likelihoods, generation = costs.evaluation_flops(settings, document, size, split)
        return likelihoods / (rate * ASSUMED.training) + generation / (rate * ASSUMED.generation)

    small, full = training(ASSUMED.share), training(1.0)
    search = SEARCHED * (small + scoring("dev"))
    verdict = COMPARED_SMALL * small + COMPARED_FULL * full + (COMPARED_SMALL + COMPARED_FULL) * scoring("dev")
    final = FINAL_SMALL * small + FINAL_FULL * full + (FINAL_SMALL + FINAL_FULL + UNTRAINED) * scoring("test")
    signals = 4 * parameters * rows * 400 / (rate * ASSUMED.training)
    return search + verdict + final + signals


@pytest.mark.parametrize("page", ["README.md", "docs/costs.md"])
def test_the_hours_of_a_study_are_those_of_the_cost_model(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for model, parameters in MODELS.items():
        row = re.search(rf"(?m)^\| {re.escape(model)}[^|]*\|((?: [\d.]+ \|){{4}})$", text)
        assert row, model
        written = [float(cell) for cell in row[1].strip(" |").split("|")]
        found = [hours(parameters, rows) for rows in (10_000, 50_000, 90_000)]
        found.append(hours(parameters, 90_000, max_tokens=5_000_000))
        assert written == pytest.approx(found, rel=0.06)
