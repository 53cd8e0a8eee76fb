from __future__ import annotations

import pytest

from autoselection.evaluation.answers import answers_match


@pytest.mark.parametrize(
    ("generated", "gold", "expected"),
    [
        ("3+4=7\n12", "12", True),
        ("The total is $1,234.50.", "1234.5", True),
        ("5-3", "3", True),
        ("x=-3", "-3", True),
        ("x=3", "-3", False),
        ("12 apples, then 13", "12", False),
        ("no number", "0", False),
        ("#### 18", "18", True),
    ],
)
def test_a_number_is_the_last_one_of_the_text(generated, gold, expected):
    assert answers_match(generated, gold) is expected


@pytest.mark.parametrize(
    ("generated", "gold", "expected"),
    [
        ("first a, then b\nabc", "abc", True),
        ("  True. ", "true", True),
        ("not true", "true", False),
        ("a  b", "a b", True),
        ("abc\n", "abd", False),
        ("", "abc", False),
        ("why\nx\ny", "x\ny", True),
    ],
)
def test_text_is_the_last_lines_without_case_spaces_and_full_stop(generated, gold, expected):
    assert answers_match(generated, gold) is expected


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        ("B. a dog", True),
        ("(B)", True),
        ("because of A.\nB. a dog", True),
        ("First I thought the answer is A. The answer is (B), a dog.", True),
        ("A. a cat", False),
        ("Bees", False),
        ("", False),
    ],
)
def test_a_choice_is_the_letter_the_text_names(generated, expected):
    assert answers_match(generated, "B", "ABC") is expected
