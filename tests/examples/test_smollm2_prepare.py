"""``examples/smollm2/prepare.py``: questions held out of a pool that has them in other words, too."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from autoselection.demo import model_dir
from autoselection.signals.families.contamination import contamination, item_grams
from autoselection.tasks import TaskItem

ROOT = Path(__file__).parents[2]
THINGS = ("apples", "birds", "chairs", "doors", "eggs", "forks", "goats", "hats")
HELD_OUT = len(THINGS) - 1
OTHERS = 12
LONGEST = 1500
LETTER = "Dear friend, " + " ".join(f"on day {number} it rained" for number in range(40)) + ". "


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smollm2_prepare", ROOT / "examples" / "smollm2" / "prepare.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _question(thing: str) -> str:
    return (
        f"Old Mr {thing.title()} has 6 of his {thing} in the yard behind the mill and puts 4 more {thing} beside the wall of his "
        f"{thing} house every morning before lunch . How many {thing} has he got now ?"
    )


def _nearly(text: str) -> str:
    """Two words changed, so that no thirteen in a row are the same."""
    words = text.split()
    words[12] = words[25] = "small"
    return " ".join(words)


def _row(source: str, *turns: tuple[str, str]) -> dict[str, Any]:
    return {"source": source, "messages": [{"role": role, "content": content} for role, content in turns]}


def _rows() -> Iterator[dict[str, Any]]:
    for number, thing in enumerate(THINGS):
        asked = _question(thing)
        system = [("system", "You answer sums.")] if number % 2 else []
        yield _row("sums", *system, ("user", asked), ("assistant", f"{10 + number}. That is all"))
        # The same question in other letters, spaces and punctuation; in a longer text; nearly alike.
        other = asked.replace(" .", ".").replace(" ?", "").upper()
        yield _row("sums" if number == 1 else "other", ("user", other), ("assistant", f"{10 + number}"))
        yield _row(
            "other", ("user", f"{LETTER}{asked} Now put all of this into French, please."), ("assistant", "Voilà.")
        )
        yield _row("other", ("user", _nearly(asked)), ("assistant", "eleven"))
    yield _row("sums", ("user", "How many words has this one ? " + "word " * 2000), ("assistant", "too many"))
    yield _row("sums", ("user", "What is asked here and never answered by anybody at all ?"))
    yield _row("sums", ("assistant", "Shall I begin with the first of all these sums today ?"), ("user", "Yes"))
    for number in range(OTHERS):
        yield _row("other", ("user", f"Name {number} rivers"), ("assistant", "Rhine, Nile"))


@pytest.fixture
def prepared(script: ModuleType, tmp_path: Path) -> tuple[Path, Any]:
    """Runs the script on the pool of :func:`_rows`, with everything that is eligible drawn."""
    pool = tmp_path / "POOL.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    words = ["--pool-file", pool, "--model", model_dir(), "--out", tmp_path / "out", "--hold-out", "sums"]
    words += ["--questions", HELD_OUT, "--max-tokens", LONGEST, "--minimum-per-source", 1]

    def call(rows: int, *more: Any) -> int:
        code: int = script.main([str(word) for word in (*words, "--rows", rows, *more)])
        return code

    return tmp_path / "out", call


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_held_out_question_is_left_in_the_pool_in_whatever_letters(prepared: tuple[Path, Any]) -> None:
    out, prepare = prepared
    assert prepare(2) == 0
    eligible = {
        name: entry["eligible"]
        for name, entry in json.loads((out / "prepared.json").read_text())["pool"]["sources"].items()
    }
    assert prepare(sum(eligible.values())) == 0
    held_out, pool = _lines(out / "held-out" / "sums.jsonl"), _lines(out / "pool.jsonl")
    assert len(held_out) == HELD_OUT, "one that stands there twice is drawn once, and another in its place"
    (left,) = [thing for thing in THINGS if not any(thing in item["question"].lower() for item in held_out)]
    told = ["\n".join(message["content"] for message in row["messages"]) for row in pool]
    items = [TaskItem(str(number), item["question"], item["answer"]) for number, item in enumerate(held_out)]
    shares, _ = contamination(told, item_grams({"sums/test": items}))
    assert shares.max() == 0
    about = [text.lower() for text in told if "has he got now" in text.lower()]
    assert len(about) == 4 and all(f"mr {left}" in text for text in about), (
        "in other words neither; what is not held out stays"
    )
    assert sum("rivers" in text for text in told) == OTHERS


def test_questions_and_answers_are_those_of_users_and_replies(prepared: tuple[Path, Any]) -> None:
    out, prepare = prepared
    assert prepare(2) == 0
    for item in _lines(out / "held-out" / "sums.jsonl"):
        (number,) = [
            place for place, thing in enumerate(THINGS) if f"Mr {thing.title()}".lower() in item["question"].lower()
        ]
        assert item["answer"] == str(10 + number), "neither a system message, nor a reply to nothing"
    assert "word word" not in (out / "held-out" / "sums.jsonl").read_text(), "a row too long for the pool"


def test_the_same_seed_draws_the_same_and_another_one_other_questions(prepared: tuple[Path, Any]) -> None:
    out, prepare = prepared
    drawn = []
    for seed in (0, 0, 1, 2):
        assert prepare(2, "--seed", seed) == 0
        drawn.append((out / "held-out" / "sums.jsonl").read_bytes())
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


@pytest.mark.parametrize(("source", "questions"), [("sums", 9), ("nowhere", 1)])
def test_too_few_questions_are_one_sentence(
    prepared: tuple[Path, Any], capsys: pytest.CaptureFixture[str], source: str, questions: int
) -> None:
    _, prepare = prepared
    assert prepare(2, "--hold-out", source, "--questions", questions) != 0
    said = capsys.readouterr().err.splitlines()[-1]  # libraries may have warned before
    assert said.startswith(f"error: --hold-out {source}: has ") and "lower --questions" in said
