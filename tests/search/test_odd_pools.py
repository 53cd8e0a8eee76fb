"""Whole searches of pools that are odd in one way: they end, ask nothing twice, and say why a pool is too small."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_pool import make_pool

from autoselection.errors import ConfigError
from autoselection.operators import default_registry
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.baselines import latin_hypercube_recipes, random_recipes, single_operator_recipes
from autoselection.search.config import DrawConfig, FidelityConfig, RepeatConfig
from autoselection.signals.table import SignalTable

MORE = (
    "source_filter",
    "source_mix",
    "length_filter",
    "score_filter",
    "sample",
    "intersect",
    "subtract",
    "blend_filter",
)
MORE += ("cluster_balance", "diversity", "decontaminate", "varentropy_mix")


def searched(signals: SignalTable, config: SearchConfig, worth: np.ndarray) -> SearchController:
    """A whole search by the mean worth of the rows; every fifth evaluation fails."""
    controller = SearchController(signals, config)
    while candidates := controller.ask():
        for candidate in candidates:
            score = float(worth[candidate.rows].mean()) if candidate.number % 5 else None
            controller.tell(Observation(candidate.id, score))
    return controller


def with_sources(signals: SignalTable, count: int) -> SignalTable:
    names = tuple(f"s{i}" for i in range(count))
    return dataclasses.replace(signals, source=(np.arange(signals.n) % count).astype(np.int32), source_names=names)


@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize("operators", [None, ("source_filter", "truncate_samples", "ifd_filter", "union")])
def test_pools_of_one_two_and_three_sources_are_searched_with_every_seed(sources, operators):
    signals = with_sources(make_pool(1, n=240).signals, sources)
    if operators and sources == 1:
        operators = tuple(name for name in operators if name != "source_filter")
    worth = np.where(signals.source == 0, 1.0, 0.0) + np.random.default_rng(0).normal(size=signals.n)
    moved = 0
    for seed in range(6):
        config = SearchConfig(
            evaluations=8, seed=seed, proposals=16, min_rows=10, reseed={"patience": 2}, operators=operators
        )
        whole = searched(signals, config, worth)
        hashes = [candidate.subset_hash for candidate in whole.candidates]
        assert len(hashes) == len(set(hashes)) == 8
        moved += sum("sources [" in candidate.edit for candidate in whole.candidates)
        again = SearchController(signals, config)  # as a study that is resumed
        again.replay(trial.observation for trial in whole.history)
        assert [candidate.subset_hash for candidate in again.candidates] == hashes
    if operators and sources > 1:
        assert moved  # a named source was exchanged in an evaluated recipe


def odd_pools() -> dict[str, SignalTable]:
    rng, n = np.random.default_rng(0), 60
    two = {"source": np.array(["a", "b"])[np.arange(n) % 2]}
    excluded = np.arange(n) >= 5
    usual = SignalTable.from_arrays({"ifd": rng.random(n), "n_tokens": rng.integers(5, 50, n)}, **two)
    nothing, ones = np.full(n, np.nan), np.ones(n)
    pools = {
        "no signals": SignalTable.from_arrays(n=n, **two),
        "no signals, one source": SignalTable.from_arrays(n=n),
        "constant scores": SignalTable.from_arrays({"ifd": ones, "n_tokens": ones, "x": ones}, **two),
        "no score known": SignalTable.from_arrays({"ifd": nothing, "n_tokens": nothing, "x": nothing}, **two),
        "one score known": SignalTable.from_arrays({"ifd": np.where(np.arange(n) == 3, 1.0, np.nan)}, **two),
        "infinite scores": SignalTable.from_arrays({"ifd": np.where(np.arange(n) % 7, rng.random(n), np.inf)}, **two),
        "no tokens": SignalTable.from_arrays({"ifd": rng.random(n), "n_tokens": 0 * ones}, **two),
        "one text": SignalTable.from_arrays({"ifd": rng.random(n)}, text_hash=np.zeros(n, int), **two),
        "one task": SignalTable.from_arrays({"ifd": rng.random(n), "mona/a": rng.random(n)}, **two),
        "two scores, some infinite, some missing": SignalTable.from_arrays(
            {
                "ifd": np.where(np.arange(n) % 7, rng.random(n), np.inf),
                "x": np.where(np.arange(n) % 5, rng.random(n), np.nan),
                "y": np.where(np.arange(n) < 2, rng.random(n), np.nan),
                "mona/a": np.where(np.arange(n) % 3, rng.random(n), np.nan),
            },
            **two,
        ),
        "one task, constant": SignalTable.from_arrays({"ifd": rng.random(n), "mona/a": ones}, **two),
        "one cluster": SignalTable.from_arrays({"ifd": rng.random(n)}, sae=np.ones((n, 4)), embeddings=np.ones((n, 4))),
        "no direction": SignalTable.from_arrays(
            {"ifd": rng.random(n)}, sae=np.zeros((n, 4)), embeddings=np.zeros((n, 4))
        ),
        "a source a row": SignalTable.from_arrays({"ifd": rng.random(n)}, source=np.array([f"s{i}" for i in range(n)])),
        "all but five excluded": dataclasses.replace(usual, excluded=excluded),
        "a source wholly excluded": dataclasses.replace(usual, excluded=usual.source == 0),
    }
    for rows in (2, 3, 5, 20):
        columns = {"ifd": rng.random(rows), "n_tokens": np.arange(rows) + 1.0, "mona/a": rng.random(rows)}
        source = np.array(["a", "b"])[np.arange(rows) % 2]
        pools[f"{rows} rows"] = SignalTable.from_arrays(columns, source=source, text_hash=np.arange(rows) // 2)
    return pools


POOLS = odd_pools()
SETTINGS = {
    "default": {},
    "every operator": {"draws": DrawConfig(source_scope=0.3, task_scope=0.2, cluster_scope=0.2)},
    "short trainings": {"fidelity": FidelityConfig(level=0.3, warmup=3)},
    "repeats": {"repeats": RepeatConfig(enabled=True, after=2), "batch": 2, "surrogate": {"acquisition": "log_ei"}},
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("name", POOLS)
def test_odd_pools_are_searched_without_a_crash(name, kind):
    signals, extra = POOLS[name], dict(SETTINGS[kind])
    registry = default_registry()
    if kind == "every operator":
        extra["also"] = tuple(name for name in MORE if registry.get(name).available(signals))
    config = SearchConfig(evaluations=7, proposals=8, min_rows=1, reseed={"patience": 2}, **extra)
    controller = searched(signals, config, np.random.default_rng(0).normal(size=signals.n))
    full = [candidate for candidate in controller.candidates if candidate.origin not in ("repeat", "promotion")]
    assert full and len({candidate.subset_hash for candidate in full}) == len(full)
    assert all(np.isin(candidate.rows, signals.selectable).all() for candidate in full)
    assert all(len(candidate.recipe.steps) <= config.max_steps for candidate in full)
    assert len(full) == 7 or kind != "default" or controller.rounds[-1].stopped


@pytest.mark.parametrize("name", POOLS)
def test_baselines_of_odd_pools_are_valid_recipes(name):
    signals = POOLS[name]
    also = tuple(name for name in MORE if default_registry().get(name).available(signals))
    config = SearchConfig(min_rows=1, also=also)
    singles = single_operator_recipes(signals, config=config)
    drawn = random_recipes(signals, 3, config=config)
    spread = latin_hypercube_recipes(signals, 3, config=config)
    assert singles and len(spread) == 3
    assert len(drawn) == (2 if name == "one score known" else 3), "filters leave one row of those, whatever they keep"
    assert all(recipe.steps for recipe in (*singles, *drawn, *spread))


def test_random_recipes_are_as_many_as_asked_for_where_zones_are_out_of_reach():
    signals = make_pool(0, n=400).signals
    most_excluded = dataclasses.replace(signals, excluded=np.arange(signals.n) % 10 > 2)
    assert len(random_recipes(most_excluded, 9)) == 9
    nothing_small = random_recipes(signals, 9, config=SearchConfig(min_rows=220))
    assert len(nothing_small) == 9, "two of three zones hold no subset that large"
    cut = SearchConfig(operators=("source_filter",))
    assert len(random_recipes(signals, 4, config=cut)) == 4, "sources are left out whole, whatever the zone"


@pytest.mark.parametrize("max_steps", [1, 2])
def test_no_recipe_is_longer_than_asked_for(small, max_steps):
    reseeded = 0
    for seed in range(6):
        config = SearchConfig(
            evaluations=9, seed=seed, proposals=10, min_rows=10, reseed={"patience": 1}, max_steps=max_steps
        )
        controller = searched(small.signals, config, -np.arange(small.signals.n, dtype=float))
        reseeded += sum(candidate.origin == "reseed" for candidate in controller.candidates)
        assert max(len(candidate.recipe.steps) for candidate in controller.candidates) <= max_steps
    assert reseeded


@pytest.mark.parametrize("rows", [1, 2, 31, 63])
def test_a_pool_too_small_for_a_search_says_how_many_rows_it_needs(rows):
    with pytest.raises(ConfigError, match=rf"has {rows} rows? to select from, too few .* at least 64, twice .*32 rows"):
        SearchController(SignalTable.from_arrays({"ifd": np.arange(rows)}))


def test_the_least_size_follows_min_rows_and_excluded_rows_do_not_count():
    SearchController(SignalTable.from_arrays({"ifd": np.arange(64)}))
    ten = SignalTable.from_arrays({"ifd": np.arange(10)})
    SearchController(ten, SearchConfig(min_rows=9))
    with pytest.raises(ConfigError, match=r"at least 11, one more than search.min_rows \(10\)"):
        SearchController(ten, SearchConfig(min_rows=10))
    with pytest.raises(ConfigError, match="at least 2, one more"):
        SearchController(SignalTable.from_arrays({"ifd": [1.0]}), SearchConfig(min_rows=1))
    excluded = dataclasses.replace(SignalTable.from_arrays(n=100), excluded=np.arange(100) >= 63)
    with pytest.raises(ConfigError, match=r"has 63 rows to select from \(37 more are excluded\)"):
        SearchController(excluded)


@pytest.mark.parametrize(
    ("operator", "needs"),
    [
        ("score_filter", "a signal whose values differ"),
        ("source_filter", "a pool of at least two sources"),
        ("source_mix", "a pool of at least two sources"),
        ("blend_filter", "two signals at least that do not order the pool alike"),
        ("ifd_filter", "ifd, which"),
    ],
)
def test_an_operator_named_in_vain_says_what_it_needs(operator, needs):
    with pytest.raises(ConfigError, match=f"'{operator}' needs {needs}"):
        SearchController(SignalTable.from_arrays(n=100), SearchConfig(operators=(operator,)))


def test_the_whole_pool_without_excluded_rows_is_no_measure_of_what_may_be_proposed():
    signals = make_pool(0, n=400).signals
    signals = dataclasses.replace(signals, excluded=np.arange(signals.n) == 7)
    config = SearchConfig(evaluations=2, warmup=0, include_full=True, proposals=40, min_rows=10)
    controller = SearchController(signals, config)
    (whole,) = controller.ask()
    assert len(whole.rows) == signals.n - 1
    controller.tell(Observation(whole.id, 0.0))
    controller.ask()
    (decision,) = controller.rounds[-1].decisions
    assert not any("smallest subset" in problem for problem in decision.dropped), "nothing smaller was asked for"


def test_the_least_rows_of_a_subset_and_zones_are_shares_of_the_rows_to_select_from():
    signals = make_pool(0, n=8000).signals
    signals = dataclasses.replace(signals, excluded=np.arange(signals.n) >= 110)  # 2% of the pool are 160 rows
    controller = SearchController(signals, SearchConfig(evaluations=4, warmup=3, surrogate={"prior": False}))
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(Observation(candidate.id, float(candidate.number)))
    assert len(controller.candidates) == 4
    assert all(32 <= len(candidate.rows) < 110 for candidate in controller.candidates)
    probes = [made for done in controller.rounds for made in done.decisions if made.notes.get("zone")]
    assert len(probes) == 3 and not any("none came near" in probe.reason for probe in probes[:2])
