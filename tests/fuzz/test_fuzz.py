"""A short run of every fuzz target, and of the harness itself."""

from __future__ import annotations

import time

import pytest
from tests.fuzz import harness
from tests.fuzz.harness import Target, attack, make_input, run, targets

from autoselection.errors import PoolError

TARGETS = targets()


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_any_input_gives_a_value_or_one_of_our_errors(target: Target) -> None:
    failures = run(target, range(round(300 * min(target.share, 1.0))), seed=1, stop_after=1)
    assert not failures, str(failures[0])


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_every_seed_is_taken(target: Target) -> None:
    for data in target.seeds:
        assert attack(target, data) is None


def _parse(data: bytes) -> None:
    if b"\xff" in data:
        raise KeyError("a bug")
    if b"\x00" in data:
        raise PoolError("One sentence.")


def test_the_harness_finds_a_bug_shortens_its_input_and_repeats_it() -> None:
    target = Target("probe", _parse, (b"some text that is not short at all",))
    failures = run(target, range(2000), seed=0, stop_after=1)
    assert failures
    assert failures[0].data == b"\xff"
    assert "KeyError: 'a bug'" in failures[0].what
    assert b"\xff" in make_input(target, 0, failures[0].number)
    assert run(target, range(failures[0].number), seed=0) == []


def test_the_harness_finds_what_never_ends_and_errors_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LIMIT_SECONDS", 0.1)

    def sleeps(_data: bytes) -> None:
        time.sleep(30)

    def silent(_data: bytes) -> None:
        raise PoolError("")

    assert "allowed are" in (attack(Target("slow", sleeps, (b"",)), b"") or "")
    assert attack(Target("silent", silent, (b"",)), b"") == "PoolError without a sentence"
