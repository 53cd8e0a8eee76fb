"""Every built-in signal, and those of the example plugin, keep the contract that plugins are tested by."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection import demo
from autoselection.errors import SignalError
from autoselection.pool import Pool, ingest
from autoselection.signals import (
    PassSignal,
    Rows,
    Shard,
    Signal,
    SignalRegistry,
    SignalsConfig,
    load_table,
    score_pool,
)
from autoselection.signals.families import BUILTIN_SIGNALS
from autoselection.tasks import TaskConfig
from autoselection.testing import check_signal

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "plugin" / "src"
#: Options of signals that need some; those whose models are not at hand have tests of their own.
OPTIONS: dict[str, Any] = {"trajectory": {"models": [str(demo.model_dir())] * 2}}
ELSEWHERE = {"embeddings", "contamination_cosine", "reward", "action_object_branching", "loss", "data_juicer"}


def given(kind: type[Signal]) -> dict[str, Any]:
    """What a signal needs, from the demo."""
    names = [kind.name if kind.asked_as is None else next(iter(kind.asked_as), kind.name)]
    registry = SignalRegistry()
    needs = [need.option for name in names if name in registry.names() for need in registry.needs(name)]
    needs += [need.option for need in kind.needs]
    tasks = [
        TaskConfig(name=task, dev=demo.task_file(task, "dev"), target=demo.task_file(task, "target"), target_limit=3)
        for task in demo.TASKS[:2]
    ]
    found: dict[str, Any] = {"model": demo.model_dir()} if "--model MODEL" in needs else {}
    found |= {"sae": demo.sae_dir()} if "--sae SAE" in needs else {}
    return found | ({"tasks": tasks} if {"--target TASK=FILE", "--config CONFIG"} & set(needs) else {})


@pytest.mark.parametrize(
    "kind", [kind for kind in BUILTIN_SIGNALS if kind.name not in ELSEWHERE], ids=lambda kind: kind.name
)
def test_a_built_in_signal_keeps_the_contract(kind: type[Signal]) -> None:
    check_signal(kind, options=OPTIONS.get(kind.name), **given(kind))


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a signal of the example plugin."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield lambda name: importlib.import_module(f"autoselection_plugin_example.signals.{name}")
    for name in [name for name in sys.modules if name.startswith("autoselection_plugin_example")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("code_share", "CodeShare"),
        ("confidence", "Confidence"),
        ("same_prompt", "SamePrompt"),
        ("repeated_characters", "RepeatedCharacters"),
    ],
)
def test_the_example_plugin_keeps_the_contract(example: Any, module: str, name: str) -> None:
    kind = getattr(example(module), name)
    check_signal(kind, **given(kind))


def test_a_signal_of_another_package_shares_the_pass_of_the_base_model(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scored together with losses and SAE features, it costs no pass of its own, and says what it says alone."""
    from autoselection.signals.model_pass import PassReader

    confidence = example("confidence").Confidence
    registry = SignalRegistry()
    registry.register(confidence)
    turns = [
        [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"{n} it is"}] for n in range(6)
    ]
    pools = [Pool.open(ingest([{"messages": t} for t in turns], tmp_path / name).path) for name in ("both", "alone")]
    batches: list[list[str]] = []
    run = PassReader.run

    def counting(self: Any, rows: Any, signals: Any) -> Any:
        batches.append(sorted(signal.name for signal in signals))
        return run(self, rows, signals)

    monkeypatch.setattr(PassReader, "run", counting)
    options: dict[str, Any] = {"model": demo.model_dir(), "sae": demo.sae_dir(), "registry": registry}
    config = SignalsConfig(device="cpu")
    report = score_pool(pools[0], config, signals=["ifd", "sae", "confidence"], **options)
    assert batches == [["confidence", "lm", "sae"]]
    both = load_table(pools[0], keys=report.keys, registry=registry)
    score_pool(pools[1], config, signals=["confidence"], **options)
    alone = load_table(pools[1], registry=registry)
    np.testing.assert_array_equal(both.column("confidence"), alone.column("confidence"))
    assert ((both.column("confidence") > 0) & (both.column("confidence") <= 1)).all()
    # By hand: the mean probability of the likeliest token before each token of the response.
    import torch

    from autoselection.language.chat import ConversationEncoder
    from autoselection.language.models import load_model, load_tokenizer

    model, tokenizer = load_model(demo.model_dir(), "cpu"), load_tokenizer(demo.model_dir())
    encoded = ConversationEncoder(tokenizer, max_length=512).encode(turns[0])
    with torch.no_grad():
        probabilities = model(input_ids=torch.tensor([encoded.input_ids])).logits[0].softmax(-1).amax(-1)
    places = [place - 1 for place, scored in enumerate(encoded.response) if scored]
    assert both.column("confidence")[0] == pytest.approx(float(probabilities[places].mean()), rel=1e-4)


def test_pairs_and_what_is_made_from_other_signals_are_in_the_table(example: Any, tmp_path: Path) -> None:
    registry = SignalRegistry()
    for module, name in (("same_prompt", "SamePrompt"), ("repeated_characters", "RepeatedCharacters")):
        registry.register(getattr(example(module), name))
    rows = [("a", "x"), ("b", "y" * 40), ("a", "z"), ("c", "w"), ("a", "v")]
    records = [{"prompt": prompt, "response": response} for prompt, response in rows]
    pool = Pool.open(ingest(records, tmp_path / "pool").path)
    report = score_pool(pool, signals=["same_prompt", "repeated_characters"], registry=registry)
    assert set(report.keys) == {"same_prompt", "repetition", "lengths", "repeated_characters"}
    table = load_table(pool, registry=registry)
    assert table["n_same_prompt"].tolist() == [2, 0, 2, 0, 2]
    pairs = table.arrays["same_prompt"]
    assert list(zip(pairs["left"].tolist(), pairs["right"].tolist(), strict=True)) == [(0, 2), (2, 4)]
    np.testing.assert_allclose(
        table["repeated_characters"], table["repetition"] * table["n_response_characters"], rtol=1e-6
    )
    ingest([{"prompt": "b", "response": "once more"}], tmp_path / "pool", append=True)
    grown = Pool.open(tmp_path / "pool")
    after = score_pool(grown, signals=["same_prompt", "repeated_characters"], registry=registry)
    assert {signal.name: signal.inherited for signal in after.signals}["same_prompt"] == 0
    assert load_table(grown, registry=registry)["n_same_prompt"].tolist() == [2, 1, 2, 0, 2, 1]


class Base(Signal):
    name = "fine"
    columns = ("value",)

    def compute(self, rows: Rows) -> Shard:
        return Shard({"value": np.asarray([len(messages) for messages in rows], np.float32)})


class Position(Base):
    """Depends on the other rows."""

    def compute(self, rows: Rows) -> Shard:
        return Shard({"value": np.arange(len(rows), dtype=np.float32)})


class Uncounted(Base):
    """Has rows without a score that it does not count right."""

    def compute(self, rows: Rows) -> Shard:
        values = np.where(np.asarray(rows.texts) == rows.texts[0], 1, np.nan).astype(np.float32)
        return Shard({"value": values}, {"empty_response": len(rows) + 1})


class Unexplained(Base):
    """Has rows without a score and does not say why."""

    def compute(self, rows: Rows) -> Shard:
        return Shard({"value": np.where(np.arange(len(rows)) == 0, np.nan, 1).astype(np.float32)})


class Beside(Base):
    """An array that depends on the rows beside a row."""

    columns = ()
    arrays = ("turns",)

    def compute(self, rows: Rows) -> Shard:
        turns = np.asarray([len(messages) for messages in rows])
        return Shard({"turns": np.stack([turns, np.full(len(rows), len(rows.texts[0]))], axis=1)})


class BesideSparse(Base):
    """Sparse vectors that depend on the rows beside a row."""

    columns = ()
    sparse = True

    def compute(self, rows: Rows) -> Shard:
        counts = np.ones(len(rows), np.int64)
        indices = np.full(len(rows), len(rows.texts[0]), np.int32)
        return Shard({"counts": counts, "indices": indices, "values": np.ones(len(rows), np.float32)})


class Unstable(Base):
    """Says something else each time."""

    draws = np.random.default_rng(0)

    def compute(self, rows: Rows) -> Shard:
        return Shard({"value": self.draws.random(len(rows)).astype(np.float32)})


class Wide(Base):
    def compute(self, rows: Rows) -> Shard:
        return Shard({"value": np.zeros((len(rows), 2), np.float32)})


class Unnamed(Base):
    version = 0


class Bare(Base):
    def compute(self, rows: Rows) -> Any:
        return np.zeros(len(rows))


class Silent(Base):
    def compute(self, rows: Rows) -> Shard:
        return Shard({"value": np.full(len(rows), np.nan, np.float32)}, {"empty_response": len(rows)})


class Endless(Base):
    def compute(self, rows: Rows) -> Shard:
        return Shard({"value": np.full(len(rows), np.inf, np.float32)})


class Spelled(Base):
    columns: Any = "value"


class Needy(Base):
    needs: Any = ("BASE_MODEL",)


class Optional(Base):
    options_model: Any = dict


class MadeFromBase(Base):
    name = "twice"
    columns = ("twice",)
    made_from = ("fine",)

    def compute(self, rows: Rows) -> Shard:
        return Shard({"twice": 2 * rows.needed["fine"].arrays["value"][rows.span.start : rows.span.stop]})


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Position, AssertionError, "'fine' breaks a rule: a row's value does not depend on the others"),
        (Uncounted, AssertionError, "the 9 rows without 'value' are counted"),
        (
            Unexplained,
            AssertionError,
            r"the 1 rows without 'value' are counted by reason in the shard's 'stats' \(0 are",
        ),
        (Beside, AssertionError, "a row's value does not depend on the others .*, but 'turns' of row"),
        (BesideSparse, AssertionError, "a row's value does not depend on the others .*, but 'the vectors of fine"),
        (Unstable, AssertionError, "it computes the same each time, but 'value' of row"),
        (Wide, SignalError, r"returned an array of shape \(11, 2\)"),
        (Unnamed, AssertionError, "'version' is a whole number"),
        (Bare, SignalError, "'fine' returned ndarray where a Shard of arrays by column was expected"),
        (Silent, AssertionError, "some row has a score"),
        (Endless, AssertionError, "'value' is finite"),
        (Spelled, SignalError, "'columns' must be a tuple of names, not 'value'"),
        (Needy, SignalError, "'needs' must be a tuple of needs"),
        (Optional, SignalError, "'options_model' must be a pydantic model"),
    ],
)
def test_a_broken_signal_is_found_out(kind: type[Signal], error: type[Exception], message: str) -> None:
    check_signal(Base)
    with pytest.raises(error, match=message):
        check_signal(kind)


def test_a_signal_is_made_from_another_one_of_its_package() -> None:
    check_signal(MadeFromBase, others=[Base])
    with pytest.raises(SignalError, match="There is no signal 'fine'"):
        check_signal(MadeFromBase)


def test_one_signal_may_be_asked_for_by_its_name(tmp_path: Path) -> None:
    pool = Pool.open(ingest([{"prompt": "a", "response": "b"}], tmp_path / "pool").path)
    assert set(score_pool(pool, signals="lengths").keys) == {"lengths"}


class Late(Base):
    name, columns, cost = "late", ("late",), 9

    def compute(self, rows: Rows) -> Shard:
        return Shard({"late": np.arange(rows.span.start, rows.span.stop)})


class MadeFromLate(PassSignal):
    """Shares the pass of signals that cost less than what it is made from."""

    name, columns, made_from = "made_from_late", ("made_from_late",), ("late",)

    def finish(self, found: Any) -> Shard:
        return Shard({"made_from_late": np.ones(len(found), np.float32)}, dict(found.counts))


def test_a_signal_of_the_shared_pass_waits_for_what_it_is_made_from(tmp_path: Path) -> None:
    registry = SignalRegistry()
    registry.register(Late)
    registry.register(MadeFromLate)
    pool = Pool.open(ingest([{"prompt": "Say a", "response": "a b"}], tmp_path / "pool").path)
    given = {"model": demo.model_dir(), "registry": registry}
    report = score_pool(pool, SignalsConfig(device="cpu"), signals=["ifd", "made_from_late"], **given)
    assert set(report.keys) == {"lm", "late", "made_from_late"}
