"""Mixtures of sources as a search draws and moves them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.operators import clamp_params, default_registry, encode_params, perturb_params, sample_params
from autoselection.operators.sampling import known_mixtures
from autoselection.operators.shares import DECIMALS, canonical, moved, shares_of
from autoselection.recipes import Recipe, materialize
from autoselection.search import Observation, SearchController
from autoselection.search.config import SearchConfig
from autoselection.signals.table import SignalTable

MIX = default_registry().get("source_mix")


def table(sizes: dict[str, int], relevant: str | None = None) -> SignalTable:
    names = [name for name, size in sizes.items() for _ in range(size)]
    rng = np.random.default_rng(0)
    columns = {"n_tokens": rng.integers(20, 60, len(names)).astype(float), "ifd": rng.random(len(names))}
    if relevant:
        columns["mona/task"] = rng.random(len(names)) * 0.1 + np.array([0.5 * (name == relevant) for name in names])
    return SignalTable.from_arrays(columns, source=names)


def weights_param(signals: SignalTable):
    return next(param for param in MIX.space(signals) if param.name == "weights")


POOL = table({"a": 200, "b": 100, "c": 60, "d": 40}, relevant="c")


def test_known_mixtures_are_size_equal_and_relevance():
    found = known_mixtures(POOL)
    assert found["size"] == pytest.approx((0.5, 0.25, 0.15, 0.1))
    assert found["equal"] == (0.25,) * 4
    assert sum(found["relevance"]) == pytest.approx(1.0)
    assert found["relevance"][2] > 0.3 > found["size"][2]
    assert "relevance" not in known_mixtures(table({"a": 5, "b": 5}))
    same = table({"a": 5, "b": 5})
    flat = SignalTable.from_arrays({"mona/t": np.ones(10)}, source=["a"] * 5 + ["b"] * 5)
    assert known_mixtures(flat)["relevance"] == known_mixtures(same)["size"]


def test_a_loss_that_overflowed_does_not_take_the_whole_mixture():
    drop = np.array([1.0] * 10 + [2.0] * 10)
    source = ["a"] * 10 + ["b"] * 10
    fine = known_mixtures(SignalTable.from_arrays({"loss_drop": drop}, source=source))["excess loss"]
    drop[0] = np.inf
    assert known_mixtures(SignalTable.from_arrays({"loss_drop": drop}, source=source))["excess loss"] == pytest.approx(
        fine
    )


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.1, 0.4]))
def test_draws_and_moves_are_canonical_mixtures_of_all_sources(seed, scale):
    rng = np.random.default_rng(seed)
    params = sample_params(MIX, POOL, rng)
    assert params["temperature"] is None
    for _ in range(4):
        weights = params["weights"]
        assert list(weights) == ["a", "b", "c", "d"]
        assert all(weight >= 0 and weight == round(weight, DECIMALS) for weight in weights.values())
        assert sum(weights.values()) == pytest.approx(1.0, abs=4e-4)
        assert clamp_params(MIX, params, POOL) == params
        found = materialize(_recipe(params), POOL)
        assert found.distinct >= 1
        changed = perturb_params(MIX, params, POOL, rng, scale)
        assert changed != params
        params = changed


def _recipe(params):
    from autoselection.recipes import Step

    return Recipe((Step("source_mix", params),))


def test_every_kind_of_move_is_made():
    param, rng = weights_param(POOL), np.random.default_rng(0)
    start = canonical(np.array([0.4, 0.3, 0.3, 0.0]), param.choices)
    seen = set()
    for _ in range(400):
        after = moved(param, start, rng, 0.2)
        assert after != start
        changed = [name for name in start if round(after[name] - start[name], 4) != 0]
        if after["d"] > 0 and start["d"] == 0:
            seen.add("restored or shifted to what was gone")
        if any(after[name] == 0 for name in "abc"):
            seen.add("dropped")
        if len(changed) == 2 and after["d"] == 0:
            seen.add("shifted")
        if len(changed) == 3:
            seen.add("scaled")
        if len(changed) == 4:
            seen.add("towards")
    assert len(seen) == 5, seen


@pytest.mark.parametrize("count", [400, 1000, 1001, 1500, 3000, 20_000, 150_000])
def test_however_many_sources_there_are_none_is_lost_by_rounding(count):
    names = [str(number) for number in range(count)]
    even = np.array(list(canonical(np.ones(count), names).values()))
    assert (even > 0).all() and even.sum() == pytest.approx(1.0)
    assert even.max() - even.min() == pytest.approx(
        0.0 if 10**6 % count == 0 else 10.0 ** -min(6, len(str(count - 1)) + 1)
    )
    half = np.array(list(canonical(np.arange(count) % 2 * 2.0 + 1.0, names).values()))
    assert (half > 0).all() and half[1::2].sum() == pytest.approx(0.75, rel=0.05)


def test_shares_of_up_to_a_thousand_sources_are_as_stored_recipes_have_them():
    found = canonical(np.array([0.9984, *[0.0006] * 2, 0.0004, *[0.0] * 996]), [str(number) for number in range(1000)])
    assert [weight for weight in found.values() if weight] == [0.9988, 0.0006, 0.0006]


def test_a_mixture_of_thousands_of_sources_is_drawn_moved_and_applied():
    many = table({f"site{number}": 2 for number in range(2500)})
    rng = np.random.default_rng(0)
    equal = {"weights": canonical(np.ones(2500), many.source_names), "total_samples": 2500}
    for params in (equal, sample_params(MIX, many, rng), perturb_params(MIX, equal, many, rng)):
        assert materialize(_recipe(params), many).distinct > 0
    assert len(np.unique(many.source[materialize(_recipe(equal), many).rows])) == 2500


def test_sizes_and_repeats_are_moved_and_may_be_unset():
    rng = np.random.default_rng(0)
    seen = [sample_params(MIX, POOL, rng)]
    for _ in range(300):
        seen.append(perturb_params(MIX, seen[-1], POOL, rng, 0.3))
    assert {params.get("max_repeats", 1) for params in seen} == {1, 2, 3, 4}
    assert any(params["fraction"] is None for params in seen) and any(params["fraction"] for params in seen)


def test_recipes_from_outside_are_brought_to_the_pool():
    given = {"weights": {"a": 3, "gone": 5, "c": 1}, "other": 1.0, "max_repeats": 60}
    found = clamp_params(MIX, given, POOL)
    assert found["weights"] == {"a": 0.75, "b": 0.0, "c": 0.25, "d": 0.0}
    assert found["max_repeats"] == 4
    assert shares_of({"gone": 1.0}, ["a", "b"]) is None
    assert clamp_params(MIX, {"weights": {"gone": 5}}, POOL)["temperature"] == 2.0


def test_shares_are_encoded_by_their_logarithms():
    even = encode_params(MIX, {"weights": dict.fromkeys("abcd", 0.25)}, POOL)
    one = encode_params(MIX, {"weights": {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}}, POOL)
    assert one[:4].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert len(set(even[:4].tolist())) == 1 and 0.5 < even[0] < 1.0


def test_a_mix_of_one_source_is_not_searched():
    one = table({"a": 100})
    assert not MIX.available(one)
    assert materialize(_recipe({"weights": {"a": 1.0}, "fraction": 0.5}), one).distinct == 50


def test_a_search_finds_a_mixture_that_random_ones_do_not():
    """The score falls with the distance of log shares from a mixture near none of the known ones."""
    target = np.array([0.08, 0.55, 0.07, 0.30])

    def score(rows: np.ndarray) -> float:
        shares = np.bincount(POOL.source[rows], minlength=4) / len(rows)
        return -float(np.abs(np.log(shares + 0.02) - np.log(target + 0.02)).mean())

    found, drawn = [], []
    for seed in range(4):
        config = SearchConfig(
            evaluations=16, operators=("source_mix",), seed=seed, min_rows=20, max_jaccard=1.0, proposals=60
        )
        controller = SearchController(POOL, config)
        while candidates := controller.ask():
            for candidate in candidates:
                controller.tell(Observation(candidate.id, score=score(candidate.rows)))
        assert controller.best is not None and controller.best.score is not None
        found.append(controller.best.score)
        rng = np.random.default_rng(seed)
        drawn.append(max(score(materialize(_recipe(sample_params(MIX, POOL, rng)), POOL).rows) for _ in range(16)))
    assert np.mean(found) > np.mean(drawn) + 0.05, (found, drawn)
