"""The counts and hours in docs/reproduce.md are those of the dry run, and those of single operators in docs/compare.md the code's."""

import re
from functools import cache

import pytest
from pages import ROOT

from autoselection.config_text import key_tables
from autoselection.reproduce import dry_run, load_reproduction
from autoselection.reproduce.config import ReproductionConfig
from autoselection.search import SearchConfig
from autoselection.search.baselines import most_single_operators

PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
COMPARE = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
ALL_SINGLES = "single-operators:all on dev"


@cache
def estimated(name, *sections):
    folders = [] if name.startswith("tiny") else ["paths.root=/nowhere"]
    (model,) = dry_run(load_reproduction(name, folders), sections)["models"]
    return model["estimate"]


def trainings(name, *sections):
    return sum(count for found in estimated(name, *sections)["trainings"].values() for count in found.values())


def number(text):
    return float(text.replace(",", ""))


def test_the_keys_are_what_the_model_says():
    heading = "## All keys of a reproduction\n\n"
    written = key_tables(ReproductionConfig, 3)
    assert PAGE.partition(heading)[2] == written, f"write this below the heading anew:\n{written}"


@pytest.mark.parametrize("name", ["tiny", "tiny-rate", "tiny-epochs"])
def test_the_table_of_costs_is_the_dry_run(name):
    row = re.search(rf"(?m)^\| `{name}`(?:, main section)? \| ([\d,]+)[^|]*\| ([\d.]+) \|$", PAGE)
    assert row, name
    assert number(row[1]) == trainings(name, "main")
    assert number(row[2]) == pytest.approx(estimated(name, "main")["hours"]["main"], abs=0.051)


def test_the_sentence_about_tiny_counts_as_the_dry_run_does():
    said = re.search(
        r"([\d,]+) trainings of the small model \(([\d,]+) of them every single operator\) and (\d+) of the", PAGE
    )
    assert said
    small, singles, larger = (number(text) for text in said.groups())
    assert small == trainings("tiny", "main", "ablation")
    assert singles == estimated("tiny", "main")["trainings"]["main"][ALL_SINGLES]
    assert larger == trainings("tiny", "transfer")
    fewer = re.search(r"under `methods` they are ([\d,]+) fewer", PAGE)
    assert fewer and number(fewer[1]) == singles


def test_the_sentence_about_a_published_setting_counts_as_the_dry_run_does():
    said = re.search(r"about ([\d,]+) device hours for ([\d,]+) trainings with transfer", PAGE)
    assert said
    assert number(said[1]) == pytest.approx(estimated("qwen2.5-1.5b")["total_hours"], rel=0.02)
    assert number(said[2]) == trainings("qwen2.5-1.5b")


def test_the_number_of_single_operators_is_the_code_s():
    said = re.search(r"at most (\d+), which a dry run counts", COMPARE)
    sentence = re.search(r"(?s)The demo has (\d+), .*?\)\.", COMPARE)
    assert said and sentence
    lacking = [int(text) for text in re.findall(r"\((\d+) ", sentence[0])]
    assert int(sentence[1]) + sum(lacking) == int(said[1]) == most_single_operators(SearchConfig())
