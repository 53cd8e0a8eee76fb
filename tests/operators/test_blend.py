"""Blends of signals: against a plain one, their canonical form, their groups, and their moves in a search."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, tables_and_rows

from autoselection.errors import RecipeError, SignalError
from autoselection.operators import clamp_params, default_registry, encode_params, perturb_params, sample_params
from autoselection.operators.blend import effective_weights, rank_correlation, tied_groups
from autoselection.operators.blend_weights import MOST_TERMS, canonical_blend
from autoselection.operators.blends import flipped_blends, leading, moved_blend
from autoselection.operators.param import Param, Term, blend_of
from autoselection.recipes import Recipe, Step, materialize, why
from autoselection.search import Observation, SearchController
from autoselection.search.config import SearchConfig
from autoselection.search.proposer import EditProposer
from autoselection.search.scores import cut_scores
from autoselection.search.space import USUAL, RecipeSpace
from autoselection.signals.table import SignalTable

BLEND = default_registry().get("blend_filter")
SIGNALS = ("ifd", "reward", "ngram_entropy", "varentropy", "rsr", "n_tokens", "mona/a")

weights = st.dictionaries(
    st.sampled_from(SIGNALS), st.sampled_from([-3.0, -1.0, -0.25, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=MOST_TERMS
)
cuts = st.one_of(
    st.builds(lambda value: {"fraction": value / 100}, st.integers(5, 100)),
    st.builds(lambda value: {"top_k": value}, st.integers(1, 70)),
    st.builds(lambda value: {"threshold": value}, st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0])),
)


def recipe(**params) -> Recipe:
    return Recipe((Step("blend_filter", params),))


# Against a plain one


def plain_ranks(scores) -> list[float]:
    """Mid-ranks by counting."""
    known = [score for score in scores.tolist() if not math.isnan(score)]
    return [
        math.nan
        if math.isnan(score)
        else float(
            np.float32((sum(x < score for x in known) + (1 + sum(x == score for x in known)) / 2 - 0.5) / len(known))
        )
        for score in scores.tolist()
    ]


def plain_correlation(one, other) -> float:
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if not (math.isnan(a) or math.isnan(b))]
    if len(pairs) < 3 or len({a for a, _ in pairs}) == 1 or len({b for _, b in pairs}) == 1:
        return 0.0
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


def plain_scores(table, given) -> list[float]:
    """Blended scores row by row; groups found by joining pairs until nothing changes."""
    ranks = {name: plain_ranks(table.column(name)) for name in given}
    groups = {name: {name} for name in given}
    for one in given:
        for other in given:
            if one != other and abs(plain_correlation(ranks[one], ranks[other])) >= 0.9:
                joined = groups[one] | groups[other]
                groups |= dict.fromkeys(joined, joined)
    total = sum(abs(weight) for weight in given.values())
    parts = {name: weight / total / len(groups[name]) for name, weight in given.items()}
    whole = sum(abs(part) for part in parts.values())
    return [
        sum(
            abs(part) / whole * (ranks[name][row] if part > 0 else 1 - ranks[name][row]) for name, part in parts.items()
        )
        for row in range(table.n)
    ]


@settings(max_examples=150, deadline=None)
@given(
    case=tables_and_rows(),
    chosen=weights,
    cut=cuts,
    scope=st.sampled_from(["whole", "source"]),
    missing=st.sampled_from(["drop", "keep"]),
)
def test_equals_a_plain_blend(case, chosen, cut, scope, missing):
    table, rows = case
    # Canonical weights are rounded to units of 1/10,000: the plain blend is of those.
    scores = [
        round(score, 6) if not math.isnan(score) else score for score in plain_scores(table, chosen_units(chosen))
    ]
    outcome = apply(table, "blend_filter", {"weights": chosen, "scope": scope, "missing": missing, **cut}, rows)
    scored = [row for row in rows.tolist() if not math.isnan(scores[row])]
    unscored = sorted(set(rows.tolist()) - set(scored))
    assert outcome.missing == len(unscored)
    kept = outcome.rows.tolist()
    if missing == "keep":
        assert kept[len(kept) - len(unscored) :] == unscored
        kept = kept[: len(kept) - len(unscored)]
    assert set(kept) <= set(scored)
    assert [scores[row] for row in kept] == pytest.approx(sorted((scores[row] for row in kept), reverse=True), abs=2e-6)
    groups = [scored] if scope == "whole" else [[r for r in scored if table.source[r] == s] for s in range(4)]
    for group in groups:
        inside = [row for row in group if row in set(kept)]
        left = [row for row in group if row not in set(kept)]
        if "threshold" in cut:
            assert all(scores[row] >= cut["threshold"] - 2e-6 for row in inside)
            assert all(scores[row] <= cut["threshold"] + 2e-6 for row in left)
            continue
        size = (
            min(cut["top_k"], len(group)) if "top_k" in cut else math.ceil(Fraction(str(cut["fraction"])) * len(group))
        )
        assert len(inside) == size
        if inside and left:
            assert min(scores[row] for row in inside) >= max(scores[row] for row in left) - 2e-6


def chosen_units(chosen):
    found = canonical_blend(chosen)
    assert found is not None
    return found


def test_by_hand():
    table = SignalTable.from_arrays({"a": [1, 2, 3, 4], "b": [4, 1, 3, 2], "c": [1, 1, 1, 1]})
    # Ranks of a: 1/8, 3/8, 5/8, 7/8; of low b: 1/8, 7/8, 3/8, 5/8. 0.75 a + 0.25 low b: 1/8, 1/2, 9/16, 13/16.
    outcome = apply(table, "blend_filter", {"weights": {"a": 3, "b": -1}, "fraction": 1.0})
    assert outcome.rows.tolist() == [3, 2, 1, 0]
    assert apply(table, "blend_filter", {"weights": {"a": 3, "b": -1}, "threshold": 0.5625}).rows.tolist() == [3, 2]
    # A signal that never varies gives every row the same: ties go by row.
    assert apply(table, "blend_filter", {"weights": {"c": 1}, "top_k": 2}).rows.tolist() == [0, 1]
    assert apply(table, "blend_filter", {"weights": {"a": 1, "c": -5}, "top_k": 2}).rows.tolist() == [3, 2]


def test_one_signal_is_the_filter_of_that_signal():
    rng = np.random.default_rng(0)
    table = SignalTable.from_arrays({"ifd": np.where(rng.random(300) < 0.1, np.nan, rng.random(300).round(2))})
    for direction, weight in (("high", 2.0), ("low", -0.1)):
        own = apply(table, "ifd_filter", {"fraction": 0.3, "direction": direction})
        assert (
            apply(table, "blend_filter", {"weights": {"ifd": weight}, "fraction": 0.3}).rows.tolist()
            == own.rows.tolist()
        )


@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), chosen=weights, low=st.integers(5, 99), more=st.integers(1, 95))
def test_a_larger_fraction_keeps_all_that_a_smaller_one_keeps(case, chosen, low, more):
    table, rows = case
    small = apply(table, "blend_filter", {"weights": chosen, "fraction": low / 100}, rows).rows
    large = apply(table, "blend_filter", {"weights": chosen, "fraction": min(100, low + more) / 100}, rows).rows
    assert set(small.tolist()) <= set(large.tolist())


# Canonical form


@settings(max_examples=200, deadline=None)
@given(chosen=weights, factor=st.floats(1e-3, 1e3), data=st.data())
def test_scale_and_order_of_terms_do_not_matter(chosen, factor, data):
    other = dict(data.draw(st.permutations([(name, weight * factor) for name, weight in chosen.items()])))
    one, two = recipe(weights=chosen).canonical(), recipe(weights=other).canonical()
    assert one == two and one.hash == two.hash
    assert sum(abs(weight) for weight in one.steps[0].params["weights"].values()) == pytest.approx(1.0)
    assert one.canonical() == one
    assert recipe(weights={**chosen, "other": 0.0}).hash == one.hash if len(chosen) < MOST_TERMS else True
    turned = recipe(weights={name: -weight for name, weight in chosen.items()})
    assert turned.hash != one.hash


def test_yaml_brings_back_the_same_recipe(tmp_path):
    written = recipe(weights={"reward": 0.3, "ifd": -0.7}, fraction=0.4, scope="source")
    written.dump(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml").hash == written.hash
    assert written.describe() == "blend_filter(low ifd 70% + high reward 30%, best 40%, within source)"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"ifd": 0},
        {"ifd": float("nan")},
        {"ifd": True},
        {"ifd": "high"},
        {"": 1.0},
        ["ifd"],
        "ifd",
        dict.fromkeys("abcdefg", 1.0),
    ],
)
def test_what_is_no_blend_is_refused_in_one_sentence(wrong):
    message = "a mapping from one to 6 signal names to weights, below 0 where low scores are better"
    with pytest.raises(RecipeError, match=message) as error:
        recipe(weights=wrong).canonical()
    assert str(error.value).count(". ") == 0


def test_a_signal_that_the_pool_lacks_is_named():
    table = SignalTable.from_arrays({"ifd": [1.0, 2.0]})
    with pytest.raises(SignalError, match="rewards"):
        materialize(recipe(weights={"ifd": 1, "rewards": 1}), table)


# Signals that are nearly the same


def copies_table(n: int = 400) -> SignalTable:
    rng = np.random.default_rng(0)
    a, c = rng.random(n), rng.random(n)
    return SignalTable.from_arrays(
        {
            "a": a,
            "b": np.exp(3 * a) + 0.01 * rng.random(n),
            "a_turned": -a + 0.02 * rng.random(n),
            "c": c,
            "d": a + 0.9 * c,
        }
    )


def test_near_copies_count_once():
    table = copies_table()
    assert tied_groups(table, ["c", "b", "a", "a_turned", "d"]) == {"a": 0, "a_turned": 0, "b": 0, "c": 1, "d": 2}
    assert abs(rank_correlation(table, "a", "d")) < 0.9
    parts = effective_weights(table, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert parts == pytest.approx({"a": 0.25, "b": 0.25, "c": 0.5})
    assert effective_weights(table, {"a": 1.0, "a_turned": -1.0, "c": 1.0}) == pytest.approx(
        {"a": 0.25, "a_turned": -0.25, "c": 0.5}
    )
    alone = materialize(recipe(weights={"a": 1, "c": 1}, fraction=0.3), table).rows
    doubled = materialize(recipe(weights={"a": 1, "b": 1, "c": 1}, fraction=0.3), table).rows
    untied = np.argsort(-(2 * table["a"] + table["c"]))[:120]
    assert len(np.intersect1d(alone, doubled)) > 115 > len(np.intersect1d(alone, untied))


# Why


def test_why_tells_the_terms_and_what_is_missing():
    table = SignalTable.from_arrays({"a": [1, 2, 3, 4], "b": [4, 1, np.nan, 2]})
    fates = why(recipe(weights={"a": 3, "b": -1}, top_k=1), table, range(4), every_step=True)
    assert [fate.selected for fate in fates] == [False, False, False, True]
    said = fates[1].sentence
    assert "place 2 of 3 (highest first); the first 1 are kept" in said
    assert "75% × 0.375 for high a (2) + 25% × 0.833 for low b (1)" in said
    assert "it has no score in b, and such rows are dropped" in fates[2].sentence
    by_threshold = why(recipe(weights={"a": 3, "b": -1}, threshold=0.6), table, [0])[0]
    assert "is below 0.6; the blend is" in by_threshold.sentence


# In a search


def search_space(table, **changes) -> RecipeSpace:
    return RecipeSpace(table, default_registry(), SearchConfig(also=("blend_filter",), **changes))


def pool(n: int = 500) -> SignalTable:
    rng = np.random.default_rng(1)
    columns = {name: rng.random(n) for name in ("ifd", "ngram_entropy", "varentropy", "reward", "mona/t")}
    columns["helpful"] = columns["reward"] + 0.05 * rng.random(n)
    columns["n_tokens"] = rng.integers(5, 50, n).astype(float)
    return SignalTable.from_arrays(columns, source=["x"] * (n // 2) + ["y"] * (n - n // 2))


POOL = pool()


def test_what_is_blended_are_scores_that_filters_cut_by():
    assert blend_of(BLEND.space(POOL)).choices == (
        *("helpful", "ifd", "mona/t", "ngram_entropy", "reward", "varentropy"),
    )
    assert not BLEND.available(SignalTable.from_arrays({"ifd": [1, 2, 3], "n_tokens": [1, 2, 3]}))
    with pytest.raises(RecipeError, match="weights"):
        clamp_params(BLEND, {"weights": {"gone": 1.0}}, POOL)
    assert clamp_params(BLEND, {"weights": {"gone": 1.0, "ifd": -1.0}}, POOL)["weights"] == {"ifd": -1.0}


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.1, 0.4]))
def test_draws_and_moves_hold_one_signal_of_a_group(seed, scale):
    rng = np.random.default_rng(seed)
    groups = tied_groups(POOL, blend_of(BLEND.space(POOL)).choices)
    assert groups["reward"] == groups["helpful"]
    params = sample_params(BLEND, POOL, rng)
    for _ in range(5):
        used = [groups[name] for name in params["weights"]]
        assert len(set(used)) == len(used) and 1 <= len(used) <= MOST_TERMS
        assert clamp_params(BLEND, params, POOL) == params
        encoded = encode_params(BLEND, params, POOL)
        assert ((encoded >= 0) & (encoded <= 1)).all()
        changed = perturb_params(BLEND, params, POOL, rng, scale)
        assert changed != params
        params = changed


def test_every_kind_of_move_is_made():
    param, rng = blend_of(BLEND.space(POOL)), np.random.default_rng(0)
    start = {"ifd": -0.5, "reward": 0.3, "varentropy": 0.2}
    seen = set()
    for _ in range(400):
        after = moved_blend(param, start, rng, 0.2)
        assert after != start
        if len(after) == 4:
            seen.add("added")
        elif len(after) == 2:
            seen.add("dropped")
        elif any(after[name] * start[name] < 0 for name in after):
            seen.add("flipped")
        elif abs(after["ifd"]) < 0.5 and after["varentropy"] > 0.2 and 0.3 <= round(after["reward"], 2) <= 0.34:
            seen.add("towards equal")
        else:
            seen.add("reweighed")
    assert len(seen) == 5, seen


def test_ends_that_are_never_drawn_are_no_part_of_the_space():
    space = search_space(POOL, draws={"low_direction": 0.0, "low_direction_of": {}, "source_scope": 0.5})
    rng = np.random.default_rng(0)
    for _ in range(40):
        step = space.draw("blend_filter", rng, ratio=0.4)
        assert all(weight > 0 for weight in step.params["weights"].values())
        step = space.perturb(step, rng, 0.4)
        assert all(weight > 0 for weight in step.params["weights"].values())
        assert not any("weights" in change for change in space.flips(step))
    free = search_space(POOL)
    assert sum(list(change) == ["weights"] for change in free.flips(step)) == len(step.params["weights"])
    lows = dict(
        zip(blend_of(free.params("blend_filter")).choices, blend_of(free.params("blend_filter")).terms, strict=True)
    )
    assert lows["mona/t"].low == 0.1 and lows["ifd"].low == 0.4
    assert flipped_blends(blend_of(free.params("blend_filter")), {"unknown": 1.0}) == [{"unknown": -1.0}]


def test_starts_are_relevance_and_usual_effects():
    rng = np.random.default_rng(0)
    near = rng.random(300)
    columns = {"ifd": rng.random(300), "reward": near + 0.3 * rng.random(300), "mona/t": near, "mona/u": near}
    found = blend_of(search_space(SignalTable.from_arrays(columns)).params("blend_filter")).blends
    assert next(iter(found["relevance"])) == "reward" and found["relevance"]["reward"] > 0.8
    assert not any(name.startswith("mona/") for name in found["relevance"])
    assert found[USUAL]["ifd"] < 0
    without = search_space(SignalTable.from_arrays(columns), surrogate={"prior": False})
    assert USUAL not in blend_of(without.params("blend_filter")).blends


def test_known_blends_of_ends_that_are_never_drawn_are_not_begun_from():
    rng = np.random.default_rng(0)
    near = rng.random(300)
    table = SignalTable.from_arrays({"ifd": -near, "reward": -near + 0.9 * rng.random(300), "mona/t": near})
    space = search_space(table, draws={"low_direction": 0.0, "low_direction_of": {}, "source_scope": 0.5})
    param = blend_of(space.params("blend_filter"))
    assert max(param.blends["relevance"].values()) < 0
    for _ in range(30):
        step = space.draw("blend_filter", rng)
        assert all(weight > 0 for weight in step.params["weights"].values())


def test_a_blend_declares_a_term_for_each_choice():
    with pytest.raises(ValueError, match="has 2 choices and 1 terms: give one of each"):
        Param("weights", "blend", choices=("a", "b"), terms=(Term(0),))


def test_the_surrogate_sees_all_that_is_blended():
    without = search_space(POOL, operators=("blend_filter",))
    assert cut_scores(without).columns == blend_of(without.params("blend_filter")).choices
    assert cut_scores(without).unseen == ()


def test_the_largest_terms_are_one_a_group():
    param = blend_of(BLEND.space(POOL))
    assert leading(param, {"reward": 0.2, "helpful": -0.9, "ifd": 0.4, "gone": 5.0, "varentropy": 0.0}) == {
        "helpful": -0.9,
        "ifd": 0.4,
    }


def test_a_search_finds_a_blend_that_random_ones_do_not():
    """The score is the mean of a hidden blend, over subsets of a size that is given."""
    table = pool(800)
    hidden = -0.5 * table["ifd"] + 0.3 * table["reward"] + 0.2 * table["varentropy"]

    def score(rows: np.ndarray) -> float:
        return float(hidden[rows].mean()) - 0.5 * abs(math.log(len(rows) / 240))

    found, drawn = [], []
    for seed in range(4):
        config = SearchConfig(evaluations=12, operators=("blend_filter",), seed=seed, min_rows=100, proposals=60)
        controller = SearchController(table, config)
        said = []
        while candidates := controller.ask():
            for candidate in candidates:
                said.append(candidate.edit)
                controller.tell(Observation(candidate.id, score=score(candidate.rows)))
        assert controller.best is not None and controller.best.score is not None
        found.append(controller.best.score)
        rng = np.random.default_rng(seed)
        drawn.append(max(score(materialize(recipe(**sample_params(BLEND, table, rng)), table).rows) for _ in range(12)))
    assert np.mean(found) > np.mean(drawn) + 0.03, (found, drawn)


class Listening(EditProposer):
    """Notes what was asked for and made afresh."""

    def __init__(self, config: SearchConfig) -> None:
        super().__init__(config)
        self.effects: list[dict[str, float]] = []
        self.blends: list[dict[str, float]] = []

    def propose(self, request):
        found = super().propose(request)
        if request.generation == 0:
            self.effects.append(dict(request.effects))
            self.blends += [
                step.params["weights"]
                for each in found.recipes
                if each.made == "fresh recipe with a blend of what was learnt so far"
                for step in each.recipe.steps
                if step.operator == "blend_filter"
            ]
        return found


@pytest.mark.parametrize("also", [(), ("blend_filter",)])
def test_blends_begin_from_what_the_scores_show(also):
    """The score falls with one signal and rises with another: what is learnt has these signs, and blends follow it."""
    table = pool(800)
    hidden = table["reward"] - table["varentropy"]
    config = SearchConfig(evaluations=10, also=also, min_rows=100, proposals=60, surrogate={"prior": False})
    proposer = Listening(config)
    controller = SearchController(table, config, proposer=proposer)
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(Observation(candidate.id, score=float(hidden[candidate.rows].mean())))
    if not also:
        assert proposer.blends == [] and not any(proposer.effects)
        return
    last = proposer.effects[-1]
    assert set(last) >= {"reward", "varentropy", "ifd"}
    assert max(last["reward"], last["helpful"]) > 0 > last["varentropy"]
    assert len(proposer.blends) >= 4 * len(proposer.effects) // 2
    late = proposer.blends[len(proposer.blends) // 2 :]
    assert all(each.get("varentropy", -1.0) < 0 for each in late)
    assert sum("varentropy" in each or "reward" in each or "helpful" in each for each in late) == len(late)
