from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from autoselection.errors import ConfigError, MissingExtraError, SignalError
from autoselection.schema import StrictModel
from autoselection.signals import (
    SIGNALS,
    Shard,
    Signal,
    SignalRegistry,
    SignalsConfig,
    SignalTable,
    default_registry,
    signal_names,
)
from autoselection.signals import registry as registry_module
from autoselection.signals.registry import checked
from autoselection.validation import validate


class VowelOptions(StrictModel):
    letters: str = Field("aeiou", min_length=1)


class Vowels(Signal):
    """Vowels a text has; a plugin as one would write it."""

    name = "vowels"
    columns = ("n_vowels",)
    options_model = VowelOptions

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard({"n_vowels": np.asarray([len(row) for row in rows])})


class Other(Vowels):
    """A second plugin."""

    name, columns = "other", ("one",)


def point(name: str, target: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{target}", registry_module.ENTRY_POINT_GROUP)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """The entry points that are found; the cached registry is made anew before and after."""
    found: list[EntryPoint] = []
    monkeypatch.setattr("autoselection.plugins.entry_points", lambda group: found)
    default_registry.cache_clear()
    yield found
    default_registry.cache_clear()


def test_built_in_signals_come_first_and_are_signals(plugins: list[EntryPoint]) -> None:
    registry = SignalRegistry()
    assert registry.names()[0] == "tokens"
    assert all(issubclass(kind, Signal) for kind in registry.kinds())
    assert signal_names() == SIGNALS, "without plugins"
    plugins.append(point("vowels", "Vowels"))
    default_registry.cache_clear()
    assert signal_names() == (*SIGNALS, "vowels")


class NeedsAPackage(Vowels):
    """Its parameters cannot be asked for here."""

    name, columns = "needs_a_package", ("two",)

    @property
    def params(self) -> dict[str, Any]:
        raise MissingExtraError("nowhere", "syntax", "This signal")


def test_a_signal_is_known_without_the_package_it_needs() -> None:
    registry = SignalRegistry([NeedsAPackage])
    assert registry.names() == ("needs_a_package",)
    with pytest.raises(MissingExtraError):
        _ = registry.kind("needs_a_package")().params


def test_plugins_are_found_in_the_order_of_their_names(plugins: list[EntryPoint]) -> None:
    plugins += [point("vowels", "Vowels"), point("other", "Other")]
    assert default_registry().names()[-2:] == ("other", "vowels")
    assert default_registry().signal_of_column("n_vowels") == "vowels"
    assert SignalsConfig(signals=("vowels",)).signals == ("vowels",)
    with pytest.raises(SignalError, match="no signal 'n_vowels': run `autoselection score POOL_DIR --signals vowels`"):
        SignalTable.from_arrays(n=1).column("n_vowels")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("Nothing", r"The signal 'broken' \(.*:Nothing\) cannot be imported .*: fix or uninstall"),
        ("plain", "is no class of signals: derive it from autoselection.signals.Signal"),
        ("unrelated", "is no class of signals"),
        ("nameless", "is no class of signals: .* has no 'name'"),
        ("taken", "Two signals are called 'tokens'"),
        ("of_the_model", "Two signals are called 'ifd'"),
        ("column", "The signals 'lengths' and 'vowels2' both have a column 'n_turns'"),
        ("loss", "The signals 'varentropy' and 'vowels2' both have a column 'varentropy'"),
        ("path", "uses the name '../up': only letters"),
    ],
)
def test_broken_plugins_are_named(plugins: list[EntryPoint], target: str, message: str) -> None:
    plugins.append(point("broken", target))
    with pytest.raises(SignalError, match=message):
        default_registry()


def plain() -> object:
    return object()


unrelated = dict
nameless = type("Nameless", (Signal,), {})


def _renamed(**members: Any) -> Any:
    return type("Renamed", (Vowels,), {"name": "vowels2", **members})


taken = _renamed(name="tokens")
of_the_model = _renamed(name="ifd")
column = _renamed(columns=("n_turns",))
loss = _renamed(columns=("varentropy",))
path = _renamed(name="../up")


def test_options_are_checked_by_the_signal(plugins: list[EntryPoint]) -> None:
    plugins.append(point("vowels", "Vowels"))
    config = SignalsConfig(options={"vowels": {"letters": "ä"}})
    options = default_registry().options("vowels", config.options_of("vowels"))
    assert Vowels(options).params == {"letters": "ä"}
    for values, message in (
        ({"vowels": {"letters": ""}}, r"options.*signal 'vowels' are wrong: letters: expected text of at least 1"),
        ({"vowels": {"lettres": "a"}}, "'vowels' are wrong: lettres: is unknown; did you mean 'letters'"),
        ({"vowel": {}}, "no signal 'vowel'; did you mean 'vowels'"),
        ({"repetition": {"n": 0}}, "'repetition' are wrong: n: expected at least 1"),
        ({"ifd": {"n": 1}}, "'ifd' are wrong: n: is unknown"),
        ({"text_hash": {"n": 1}}, "'text_hash' are wrong: n: is unknown; it has no options"),
    ):
        with pytest.raises(ConfigError, match=message):
            validate(SignalsConfig, {"options": values}, "study.yaml")


def test_unknown_signals_get_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="signals: there is no signal 'lenghts'; did you mean 'lengths'"):
        validate(SignalsConfig, {"signals": ["lenghts"]}, "study.yaml")


def test_own_keys_are_the_options_of_built_in_signals() -> None:
    config = SignalsConfig(embedding_model="m", options={"embeddings": {"text": "prompt"}, "minhash": {"num_perm": 32}})
    assert config.options_of("embeddings") == {"model": "m", "text": "prompt"}
    assert config.made_options("embeddings").batch == 64
    assert config.made_options("minhash").model_dump() == {"ngram_size": 5, "num_perm": 32, "seed": 0}
    assert SignalsConfig(options={"embeddings": {"model": "other"}}).options_of("embeddings") == {"model": "other"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.ones(3)}, "returned the columns other but declares n_vowels"),
        ({"n_vowels": np.ones(2)}, r"shape \(2,\).*expected one number a row"),
        ({"n_vowels": np.ones((3, 2))}, r"shape \(3, 2\)"),
        ({"n_vowels": np.array(["a", "b", "c"])}, "type <U1"),
    ],
)
def test_results_that_do_not_fit_are_refused(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(SignalError, match=message):
        checked(Vowels(), Shard(arrays), 3)


def test_results_become_single_precision() -> None:
    shard = checked(Vowels(), Shard({"n_vowels": np.array([1, 2, 3])}, {"odd": 2}), 3)
    assert (shard.arrays["n_vowels"].dtype, shard.stats) == (np.float32, {"odd": 2})
