from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.demo import model_dir
from autoselection.evaluation.answers import answers_match, extract_letter, extract_number, extract_text, extract_yes_no

sys.path.append(str(Path(__file__).parent))
from answer_cases import OPTIONS, agreement, cases, extracted, harness_answers, table, wanted

DOCS = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"


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


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.kind}: {case.text[:40]!r}")
def test_the_answer_of_a_text(case):
    assert extracted(case) == wanted(case)


def test_the_table_covers_what_models_write():
    topics = Counter((case.kind, case.topic) for case in cases())
    assert sum(topics.values()) >= 150
    assert min(topics.values()) >= 1
    for topic in ("boxed", "bold", "answer is", "several answers", "refusals"):
        assert {("number", topic), ("choice", topic), ("yes_no", topic)} <= set(topics)


def test_the_documented_agreement_with_the_harness_is_the_measured_one():
    assert table() in DOCS.read_text(encoding="utf-8")
    assert all(agreeing < total for _, _, agreeing, total in agreement())


def test_the_harness_reads_plain_texts_that_end_in_their_number_as_we_do():
    ends = [case for case in cases() if case.kind == "number" and case.text.split()[-1:] == [case.want]]
    plain = [case for case in ends if case.want.isdigit()]
    assert len(plain) >= 5
    assert harness_answers(plain, "gsm8k/gsm8k.yaml", "flexible-extract") == [case.want for case in plain]


@pytest.mark.parametrize(
    ("generated", "gold", "expected"),
    [
        ("50%", "0.5", True),
        ("0.5", "50%", True),
        ("50", "50%", True),
        ("50%", "5", False),
        ("1/2", "0.5", True),
        ("The answer is 1/3.", "0.333", False),
        ("So the answer is (B).", "(B)", True),
        ("B", "(C)", False),
        ("Yes, there is.", "Yes", True),
        ("There is no path.", "yes", False),
        ("So the answer is False.", "False", True),
        ("x is True", "True", False),
    ],
)
def test_the_gold_answer_says_how_to_read(generated, gold, expected):
    assert answers_match(generated, gold) is expected


def test_true_and_false_are_yes_and_no_if_the_task_says_so():
    assert answers_match("So x is True", "True", kind="yes_no")
    assert answers_match("There is no path", "False", kind="yes_no")
    assert not answers_match("I don't know", "False", kind="yes_no")


def test_options_are_known_by_their_words():
    assert answers_match("It is a hot dog.", "C", "ABCD", choices=OPTIONS)
    assert not answers_match("It is a hot dog.", "B", "ABCD", choices=OPTIONS)
    assert not answers_match("It is a hot dog.", "C", "ABCD")
    assert answers_match("A yes", "A", "AB", choices=("yes", "no"))


@pytest.mark.parametrize("task", ["addition", "boolean", "counting", "sorting"])
def test_the_demos_items_are_read_as_ever(task):
    """A reference is right for its own item and, for another item, exactly if that one has the same answer."""
    lines = (model_dir().parent / "tasks" / task / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    for item, other in zip(items, items[1:] + items[:1], strict=True):
        choices = item.get("choices", [])
        letters = "AB"[: len(choices)]
        answer = f"{item['answer']}. {choices['AB'.index(item['answer'])]}" if choices else item["answer"]
        reference = f"{item.get('rationale', '')}\n{answer}"
        assert answers_match(reference, item["answer"], letters, choices=choices)
        assert answers_match(reference, other["answer"], letters, choices=choices) == (
            item["answer"] == other["answer"]
        )


PIECES = st.lists(
    st.sampled_from(
        [
            "\\boxed{",
            "}",
            "**",
            "the answer is ",
            "not ",
            "A",
            "(B)",
            " ",
            "\n",
            "1/",
            "0",
            "12,",
            "٤",
            "½",
            "%",
            "yes ",
            "no",
            "e9",
            "\\frac{1}{0}",
        ]
    )
    | st.text(max_size=3),
    max_size=30,
).map("".join)


@given(PIECES)
def test_any_text_is_read_without_an_error_and_twice_alike(text):
    for read in (extract_number, extract_yes_no, extract_text, lambda text: extract_letter(text, "ABCD", OPTIONS)):
        assert read(text) == read(text)
    assert extract_letter(text, "ABCD", OPTIONS) in {None, *"ABCD"}
    assert extract_yes_no(text) in {None, "yes", "no"}


@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(["{}", "{:,}", "It is {:,}.", "The answer is {}.", "\\boxed{{{}}}", "#### {:,}"]),
)
def test_a_number_is_read_back(value, form):
    assert extract_number(form.format(value)) == value
