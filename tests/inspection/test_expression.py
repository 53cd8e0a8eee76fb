"""Conditions on rows: what they hold for, and what is said of one that cannot be read."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from autoselection.errors import ConfigError
from autoselection.inspection import Condition

NAN = np.nan


class Table:
    """Five rows."""

    columns: ClassVar = {
        "ifd": np.array([0.1, 0.3, 0.5, NAN, 0.3], np.float32),
        "reward": np.array([1.0, 0.3, -2.0, 0.0, NAN]),
        "mona/gsm8k": np.array([0.0, 1.0, 0.0, 1.0, 0.0]),
        "own-name": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        "source": np.array(["a", "b", "a", "c", None], object),
        "level": np.array(["1", "2", "10", "x", None], object),
        "text": np.array(["It's fine", "STRASSE", "straße", "", None], object),
    }

    def column(self, name):
        if name not in self.columns:
            raise LookupError(f"there is no column or signal '{name}'; did you mean 'ifd'?")
        return self.columns[name]


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("ifd < 0.3", [0]),
        ("ifd<=0.3", [0, 1, 4]),  # 0.3 as the scores have it, in single precision
        ("ifd = 0.3", [1, 4]),
        ("ifd == 0.3", [1, 4]),
        ("ifd != 0.3", [0, 2]),
        ("not ifd = 0.3", [0, 2, 3]),
        ("ifd is missing", [3]),
        ("source IS NOT MISSING", [0, 1, 2, 3]),
        ("reward > -2.5 AND reward<.5", [1, 2, 3]),
        ("reward >= -2e0 and reward < +1", [1, 2, 3]),
        ("ifd < reward", [0]),
        ("source = 'a' or source = \"c\"", [0, 2, 3]),
        ("source in ('a', 'c')", [0, 2, 3]),
        ("source not in ('a', 'c')", [1]),
        ("ifd in (0.1, 0.5)", [0, 2]),
        ("level > 1", [1, 2]),  # numbers written as text
        ("level = '10'", [2]),
        ("level in (1, 10)", [0, 2]),
        ("text contains 'strasse'", [1, 2]),
        ("text not contains 'strasse'", [0, 3]),
        ("text contains 'it''s'", [0]),
        ('text contains "it\'s"', [0]),
        ("`mona/gsm8k` = 1", [1, 3]),
        ("mona/gsm8k = true", [1, 3]),
        ("own-name>3", [3, 4]),
        ("ifd<0.3 or ifd>0.3 and source='a'", [0, 2]),  # "and" binds closer
        ("(ifd<0.3 or ifd>0.3) and source='a'", [0, 2]),
        ("not (ifd<0.3 or ifd>0.3)", [1, 3, 4]),
        ("not not ifd<0.3", [0]),
    ],
)
def test_a_condition_holds_for_rows(condition, rows):
    assert np.flatnonzero(Condition(condition).holds(Table())).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "place", "said"),
    [
        ("", 1, "expected a column, 'not' or '(', and the condition ends"),
        ("ifd", 4, "expected a comparison (<, <=, >, >=, =, !=), 'in', 'contains' or 'is', and the condition ends"),
        ("ifd <", 6, "expected a number, a text in quotes or a column, and the condition ends"),
        ("ifd < < 3", 7, "expected a number, a text in quotes or a column, and there is <"),
        ("ifd < 0.3 source = 'a'", 11, "expected 'and', 'or' or the end, and there is source"),
        ("(ifd < 0.3", 11, "expected ')', and the condition ends"),
        ("ifd < 0.3)", 10, "expected 'and', 'or' or the end, and there is )"),
        ("ifd in 3", 8, "expected '(', and there is 3"),
        ("ifd in (3; 4)", 10, "';' cannot stand there"),
        ("ifd in (3 4)", 11, "expected ',' or ')', and there is 4"),
        ("ifd is empty", 8, "expected 'missing', and there is empty"),
        ("text contains 3", 15, "expected a text in quotes, and there is 3"),
        ("text not < 3", 10, "expected 'in' or 'contains', and there is <"),
        ("source = 'a", 10, "the quote ' is never closed"),
        ("3abc < 4", 1, "'3abc' cannot stand there"),
        ("ifd < 0.3 and idf > 2", 15, "there is no column or signal 'idf'; did you mean 'ifd'?"),
        ("source = a", 10, "a text stands in quotes, and as a column there is no column or signal 'a'"),
        ("source < 3", 10, "the column holds text: write the value in quotes"),
        ("ifd = 'low'", 7, "the column holds numbers: write the value without quotes"),
        ("ifd < source", 7, "a column of text is compared with one of numbers"),
        ("ifd contains 'x'", 1, "'ifd' holds numbers, and only text contains something"),
        ("not " * 51 + "ifd < 1", 201, "more than 50 parentheses and 'not' stand in one another"),
        ("__import__('os').system('true')", 17, "cannot stand there"),
    ],
)
def test_a_fault_is_one_sentence_with_its_place(condition, place, said):
    with pytest.raises(ConfigError) as raised:
        Condition(condition).holds(Table())
    assert str(raised.value).startswith(f"condition, character {place} (at ▸ in ")
    assert said in str(raised.value) and str(raised.value)[-1] in ".?" and "\n" not in str(raised.value)


def test_a_condition_of_a_megabyte_is_refused():
    with pytest.raises(ConfigError, match="at most 10,000 characters, this one has 1,000,000"):
        Condition("x" * 1_000_000)
