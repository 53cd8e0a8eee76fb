"""What the searched operators cut by is what the surrogate is shown, whoever wrote them; what is not is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from autoselection.operators import BaseOperator, Context, OperatorRegistry, Outcome, Param, Rows, builtin_operators
from autoselection.search import SearchConfig, SearchController
from autoselection.search.features import SubsetFeatures
from autoselection.search.scores import cut_scores
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

CUT = (
    Param("share", "float", 0.5, low=0.05, high=1.0, searched=True, role="strength", help="share"),
    Param("side", "choice", "high", choices=("high", "low"), searched=True, role="end", help="which end"),
)


class Half(BaseOperator):
    """A filter of a plugin, which says or does not say what it cuts by."""

    family, summary, order = "own", "a half", "as given"

    def __init__(self, name: str, by: tuple[str, ...] = (), column: Param | None = None) -> None:
        self.name, self._by = name, by
        self.params = CUT if column is None else (*CUT, column)

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (*self._by, *super().needs(params))

    def available(self, signals: SignalTable) -> bool:
        return True

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        return Outcome(rows[: max(1, len(rows) // 2)])


def table(n: int = 300, **more: Any) -> SignalTable:
    rng = np.random.default_rng(4)
    names = ("ifd", "varentropy", "n_response_tokens", "n_turns", "reward", "toxicity", "mona/a", "mona/b")
    columns = {name: rng.random(n) for name in names} | {"flat": np.ones(n)}
    return SignalTable.from_arrays(columns, **{"source": rng.choice(["x", "y"], n), **more})


def space(*operators: Half, also: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> RecipeSpace:
    registry = OperatorRegistry([*builtin_operators(), *operators])
    also = (*also, *(operator.name for operator in operators))
    return RecipeSpace(table(), registry, SearchConfig(also=also, without=without))


def test_relevance_for_every_task_and_the_columns_of_filters_are_seen():
    found = cut_scores(space(without=("score_filter",)))
    assert found.columns == ("ifd", "mona/a", "mona/b", "varentropy") and found.unseen == ()


def test_every_column_that_a_parameter_may_name_is_seen():
    found = cut_scores(space(also=("score_filter", "length_filter")))
    assert found.columns == (
        *("ifd", "mona/a", "mona/b", "n_response_tokens", "n_turns", "reward", "toxicity"),
        "varentropy",
    )


def test_the_column_of_another_packages_filter_is_seen_however_it_declares_it():
    by_role = Half("by_role", column=Param("by", "choice", "reward", choices=("reward", "n_turns"), role="column"))
    by_needs = Half("by_needs", ("toxicity", "sae"))
    found = cut_scores(space(by_role, by_needs, without=("score_filter",)))
    assert {"reward", "n_turns", "toxicity"} <= set(found.columns) and found.unseen == ()


def test_what_cannot_be_seen_is_said_once_with_the_operator():
    found = cut_scores(space(Half("silent"), Half("flat_cut", ("flat",)), Half("absent", ("nowhere", "reward"))))
    assert "reward" in found.columns
    silent, flat, absent = sorted(
        found.unseen, key=lambda said: ["silent", "flat_cut", "absent"].index(said.split()[6])
    )
    assert "what silent cuts by: the operator declares no column" in silent
    assert "what flat_cut cuts by in flat: the pool has no such column with two different scores." in flat
    assert "what absent cuts by in nowhere:" in absent


def test_the_first_round_remembers_what_is_not_seen_but_not_for_the_published_surrogate():
    registry = OperatorRegistry([*builtin_operators(), Half("silent")])
    for features, expected in (("realized", 1), ("encoding", 0)):
        config = SearchConfig(also=("silent",), surrogate={"features": features}, batch=1)
        controller = SearchController(table(), config, registry)
        controller.run(lambda candidate: float(len(candidate.rows)))
        assert [len(round.to_dict()["unseen"]) for round in controller.rounds][:2] == [expected, 0]


def test_a_pool_of_one_source_has_no_feature_twice():
    names = SubsetFeatures(table(source=["one"] * 300), ("ifd", "mona/a")).names
    assert "log_kept" in names and not any("source" in name for name in names)


def test_tasks_that_are_the_sources_and_tasks_without_rows_are_left_out():
    rng = np.random.default_rng(0)
    source = np.array(["x", "y", "z"])[np.arange(300) % 3]
    relevance = {f"mona/{name}": np.where(source == name, 0.9, 0.1) for name in "xy"}
    relevance["mona/never"] = np.zeros(300)
    signals = SignalTable.from_arrays({"ifd": rng.random(300), **relevance}, source=source)
    names = SubsetFeatures(signals, ("ifd",)).names
    assert [name for name in names if name.startswith("log_kept/")] == [
        *(f"log_kept/source/{name}" for name in "xyz"),
        "log_kept/task/x",  # with z, whose relevance for x and y is the same
    ]


def test_scores_that_order_the_rows_alike_are_one_feature_whichever_way_round():
    rng = np.random.default_rng(1)
    ifd = rng.random(300)
    signals = SignalTable.from_arrays({"ifd": ifd, "log_ifd": np.log(ifd), "ease": -ifd, "other": rng.random(300)})
    names = SubsetFeatures(signals, ("ifd", "log_ifd", "ease", "other")).names
    assert [name for name in names if name.startswith("mean/")] == ["mean/ifd", "mean/other"]


@pytest.mark.parametrize(("rows", "share"), [(range(10), 1.0), (range(10, 20), 0.5)])
def test_distinct_texts_and_the_group_that_lost_most(rows, share):
    text = np.array([*range(10), *(np.arange(10) // 2 + 10)], np.uint64)
    signals = SignalTable.from_arrays({"ifd": np.arange(20)}, source=["a"] * 15 + ["b"] * 5, text_hash=text)
    features = SubsetFeatures(signals, ("ifd",))
    found = dict(zip(features.names, features.many([np.array(rows)])[0], strict=True))
    assert found["log_distinct"] == pytest.approx(np.log(share))
    kept = [found["log_kept/source/a"], found["log_kept/source/b"]]
    assert found["least_kept/source"] == pytest.approx(min(kept) - found["log_kept"])
