from __future__ import annotations

import pytest

from autoselection.tasks import TaskItem, guessing_accuracy, knowledge


def item(answer: str, choices: int = 4) -> TaskItem:
    return TaskItem(str(id(answer)), "Which?", answer, tuple("abcdefgh"[:choices]))


def test_guessing_is_drawing_or_always_the_same_whichever_is_more() -> None:
    even = [item(letter) for letter in "ABCD"] * 5
    assert guessing_accuracy(even) == 0.25
    several = [item("A", 2), item("B", 2), item("C", 5), item("D", 8)]
    assert guessing_accuracy(several) == pytest.approx((1 / 2 + 1 / 2 + 1 / 5 + 1 / 8) / 4)
    assert guessing_accuracy([*even, *[item("B")] * 20]) == 25 / 40
    assert guessing_accuracy([TaskItem("1", "Is it?", "yes"), TaskItem("2", "Is it?", "no")]) == 0.5


def test_always_yes_is_one_answer_however_it_is_spelled() -> None:
    answers = ["Yes"] * 3 + ["yes"] * 2 + ["true"] + ["No"] * 2 + ["no", "False"]
    items = [TaskItem(str(place), "Is it?", answer) for place, answer in enumerate(answers)]
    assert guessing_accuracy(items) == 0.6


def test_always_the_last_option_is_one_answer_however_many_there_are() -> None:
    items = [item("C", 3), item("D", 4)] * 7 + [item("A", 3), item("A", 4), item("B", 4)] * 2
    assert guessing_accuracy(items) == 14 / 20
    assert guessing_accuracy([item("B", 3), item("B", 4)] * 3 + [item("A", 3)]) == 6 / 7  # from the first, too


def test_a_model_is_above_chance_when_its_interval_is() -> None:
    assert knowledge(0.25, 100, 0.2).at_chance and not knowledge(0.29, 100, 0.2).at_chance
    assert knowledge(0.12, 100, 0.2).at_chance  # worse than guessing knows no more
    assert not knowledge(0.25, 1000, 0.2).at_chance
    assert knowledge(0.29, 100, 0.2, models=15).at_chance  # the best of fifteen
    assert (
        "25.0% of 100 items right (95% interval 17.5% to 34.3%), guessing gets 20.0%"
        in knowledge(0.25, 100, 0.2).told()
    )
