from __future__ import annotations

import contextlib
import io
import sys
import warnings

import pytest

from autoselection.compare.rounds import Lost, Rounds


def test_what_all_wait_for_is_evaluated_together() -> None:
    batches: list[list[str]] = []
    rounds: Rounds[str] = Rounds(batches.append)

    def body(name: str, count: int) -> None:
        for number in range(count):
            rounds.need([f"{name}{number}"])

    raised = rounds.run([lambda: body("a", 3), lambda: body("b", 1), lambda: body("c", 3)])
    assert raised == [None, None, None]
    assert [sorted(batch) for batch in batches] == [["a0", "b0", "c0"], ["a1", "c1"], ["a2", "c2"]]


def test_one_computes_at_a_time_and_standard_output_is_its_own() -> None:
    inside, most = 0, 0
    rounds: Rounds[int] = Rounds(lambda wanted: None)
    texts = [io.StringIO() for _ in range(4)]

    def body(number: int) -> None:
        nonlocal inside, most
        with contextlib.redirect_stdout(texts[number]):
            for _ in range(3 + number):
                inside += 1
                most = max(most, inside)
                print(number, end="")
                inside -= 1
                rounds.need([number])

    before = sys.stdout
    rounds.run([lambda n=n: body(n) for n in range(4)])
    assert most == 1 and sys.stdout is before
    assert [text.getvalue() for text in texts] == ["000", "1111", "22222", "333333"]


def test_the_filters_of_warnings_are_those_of_each_and_of_nobody_afterwards() -> None:
    seen: list[list[object]] = []
    rounds: Rounds[int] = Rounds(lambda wanted: seen.append(list(warnings.filters)))
    before = list(warnings.filters)

    def body(kind: type[Warning], count: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", kind)
            for number in range(count):
                rounds.need([number])
                assert warnings.filters[0][2] is kind

    assert rounds.run([lambda: body(UserWarning, 1), lambda: body(FutureWarning, 2)]) == [None, None]
    assert list(warnings.filters) == before and seen == [before, before]


def test_one_error_does_not_end_the_others() -> None:
    done = []
    rounds: Rounds[int] = Rounds(lambda wanted: None)

    def broken() -> None:
        rounds.need([1])
        raise ValueError("a bug of this method")

    def lost() -> None:
        try:
            raise Lost("the disk is full")
        except Exception:  # noqa: BLE001 - what a careless method does
            pytest.fail("a lost evaluation was swallowed")

    def fine() -> None:
        for number in range(3):
            rounds.need([number])
        done.append(True)

    raised = rounds.run([broken, lost, fine])
    assert isinstance(raised[0], ValueError) and isinstance(raised[1], Lost) and raised[2] is None and done == [True]


def test_an_error_of_the_evaluator_stops_all() -> None:
    def evaluate(wanted: list[int]) -> None:
        raise RuntimeError("no such model")

    rounds: Rounds[int] = Rounds(evaluate)
    ended = []

    def body() -> None:
        try:
            rounds.need([1])
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="no such model"):
        rounds.run([body, body])
