from __future__ import annotations

from pathlib import Path

import pytest

from autoselection.compare.ablations import ABLATIONS, ablated
from autoselection.config import to_yaml
from autoselection.errors import ConfigError
from autoselection.reproduce import ReproductionConfig, load_reproduction, package_configs, planned
from autoselection.reproduce.config import study_of, target_study, with_ood
from autoselection.reproduce.plan import RATES
from autoselection.reproduce.rows import fixed_rows
from autoselection.search import SearchConfig
from autoselection.search.baselines import most_single_operators


def _load(name: str, *overrides: str) -> ReproductionConfig:
    folders = () if name.startswith("tiny") else ("paths.root=/data",)
    return load_reproduction(name, (*folders, *overrides))


@pytest.mark.parametrize("name", package_configs())
def test_every_packaged_reproduction_and_its_studies_are_valid(name: str) -> None:
    config = _load(name)
    assert config.name == name and len(config.seeds) >= 5
    for model in config.models:
        study = study_of(config, model)
        assert len(study.tasks) == 4 and len(with_ood(study, config).tasks) == 6
        for target in model.transfer:
            assert target_study(config, model, target).model.path == target.model
    assert len(fixed_rows(config)) == 15


def test_the_published_settings_are_those_of_the_paper() -> None:
    assert {"tiny", "tiny-rate", "tiny-epochs", "qwen2.5-1.5b", "qwen2.5-3b", "llama-3.2-1b"} == set(package_configs())
    config = _load("qwen2.5-1.5b")
    study = study_of(config, config.models[0])
    sft = study.evaluation.sft
    assert (sft.method, sft.epochs, sft.learning_rate, sft.scheduler) == ("full", 3.0, 2e-5, "cosine")
    assert (sft.warmup_ratio, sft.batch_size, sft.max_length) == (0.1, 32, 2048)
    assert (config.budget, study.search.warmup, study.search.reseed.patience) == (15, 3, 4)
    assert [task.name for task in study.tasks] == ["gpqa", "gsm8k", "bbh", "mmlu"]
    assert [task.name for task in config.ood] == ["graphwiz", "nlgraph"]
    assert study.model.path == "/data/models/Qwen2.5-1.5B" and study.sae == Path("/data/sae/Qwen2.5-1.5B")


def test_tiny_at_a_chosen_rate_and_at_equal_epochs_differs_in_nothing_else() -> None:
    plain = _load("tiny")
    for name, epochs in (("tiny-rate", None), ("tiny-epochs", 3.0)):
        config = _load(name)
        for field in (
            "seeds",
            "final_seeds",
            "budget",
            "methods",
            "single_operators",
            "default",
            "ood",
            "fixed_on_dev",
        ):
            assert getattr(config, field) == getattr(plain, field), field
        ours, theirs = (study_of(each, each.models[0]) for each in (config, plain))
        assert len(config.learning_rates) == 4 and theirs.evaluation.sft.learning_rate in config.learning_rates
        assert ours.evaluation.sft.epochs == epochs
        sft = ours.evaluation.sft.model_copy(update={"epochs": None, "max_steps": theirs.evaluation.sft.max_steps})
        assert sft == theirs.evaluation.sft and ours.search == theirs.search and ours.tasks == theirs.tasks


def test_a_folder_without_a_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--set paths\.root=FOLDER"):
        load_reproduction("llama-3.2-1b")


def test_an_unknown_reproduction_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        load_reproduction("tinny")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=[1,1]", "different seeds"),
        ("methods=[random]", "'ours'"),
        ("ablations=[no-gpp]", "did you mean 'no-gp'"),
        ("budgets=3", "did you mean 'budget'"),
        ("first=[ful]", "did you mean 'full'"),
        ("first=[ours]", "no 'ours'"),
        ("first=[full,full]", "first: a name is used twice"),
        ("first=[full,bohb]", "first: 'bohb' is no row of the main table"),
        ("learning_rates=[1.0e-3]", "at least two different learning rates"),
        ("learning_rates=[1.0e-3,1.0e-3]", "at least two different learning rates"),
        ("learning_rates=[1.0e-3,0]", "at least two different learning rates"),
    ],
)
def test_mistakes_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _load("tiny", override)


def test_what_is_compared_first_is_a_row(tmp_path: Path) -> None:
    assert _load("tiny").named_first == ("random", "published")
    assert _load("tiny", "methods=[ours,random]").named_first == ("random",)
    alone = _load("tiny", "methods=[ours]")
    assert alone.named_first == ()
    (tmp_path / "kept.yaml").write_text(to_yaml(alone))  # as a folder keeps it
    assert load_reproduction(str(tmp_path / "kept.yaml")).named_first == ()


def test_the_chosen_learning_rate_goes_along_to_larger_models_that_do_not_set_their_own() -> None:
    config = _load("tiny")
    own, other = config.models[0].transfer[0], config.models[0].transfer[0].model_copy(update={"set": ()})
    assert target_study(config, config.models[0], own, 3e-5).evaluation.sft.learning_rate == 5e-4
    assert target_study(config, config.models[0], other, 3e-5).evaluation.sft.learning_rate == 3e-5
    assert target_study(config, config.models[0], other).evaluation.sft.learning_rate == 1e-3


def test_a_task_cannot_be_in_and_out_of_distribution() -> None:
    config = _load("tiny", "ood.0.name=sorting")
    with pytest.raises(ConfigError, match="sorting"):
        study_of(config, config.models[0])


def test_levels_that_a_comparison_does_not_have_are_refused() -> None:
    config = _load("tiny")
    priced = config.models[0].model_copy(
        update={"set": (*config.models[0].set, "search.fidelity={level: 0.2, cost: 0.5}")}
    )
    with pytest.raises(ConfigError, match=r"search\.fidelity\.cost: .*leave out 'cost'"):
        study_of(config, priced)


def test_unknown_folders_in_a_study_are_named(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("pool: {path: '${pools}/a'}\nmodel: {path: m}\ntasks: [{name: a, dev: d}]\n")
    config = _load("tiny", f"models.0.study={study}")
    with pytest.raises(ConfigError, match=r"\$\{pools\}"):
        study_of(config, config.models[0])


def test_trainings_are_counted() -> None:
    config = _load("tiny", "seeds=[0,1,2]", "budget=10", "final_seeds=[50,60]")
    study = study_of(config, config.models[0])
    counts = planned(config, config.models[0], study)
    singles = most_single_operators(study.search)
    assert counts["main"] == {
        RATES: 0,
        "searches on dev": 6 * 3 * 10,
        "single-operators:all on dev": singles * 3,
        "rows without a search on dev": 15 * 3,
        "test": (15 + 7 + 1) * 3 * 2,  # and random rows, as many as AutoSelection's winner has
    }
    more = _load("tiny", "seeds=[0,1,2]", "recipes=[high-ifd,semdedup]")
    counted = planned(more, more.models[0], study)["main"]
    assert counted["rows without a search on dev"] == 17 * 3 and counted["test"] == (17 + 7 + 1) * 3
    assert 107 <= singles <= 130, "the demo has 107 recipes of one step"
    rates = _load("tiny", "seeds=[0,1,2]", "learning_rates=[1.0e-3,1.0e-4]")
    assert planned(rates, rates.models[0], study)["main"][RATES] == 2 * 3
    assert counts["ablation"] == {"searches on dev": 7 * 3 * 10, "test": 7 * 3 * 2}
    assert counts["transfer"] == {"tiny-4x": 4 * 3 * 2, "smollm2-135m": 4 * 1 * 2}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_changes_a_study_s_own_search(name: str) -> None:
    own = SearchConfig(surrogate={"kappa": 2.5}, without=("score_filter",), warmup=5)
    changed = ablated(own, name)
    assert changed != own and changed.surrogate.kappa == 2.5 and "score_filter" in changed.without
