"""Contamination against sets of word tuples."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.errors import ConfigError, SignalError
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, load_table, overlap, score_pool
from autoselection.signals.overlap import contamination, contamination_cosine, item_grams
from autoselection.tasks import TaskConfig, TaskItem


def split(text: str) -> list[str]:
    return re.findall(r"\w+|[-+*/=<>^%×÷]", text.lower())


def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    """The n-grams of an item; an item of five words or more, but fewer than n, is one n-gram."""
    words = split(text)
    if len(words) >= n:
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
    return {tuple(words)} if len(words) >= 5 else set()


def contains(text: str, gram: tuple[str, ...]) -> bool:
    words = split(text)
    return any(tuple(words[i : i + len(gram)]) == gram for i in range(len(words) - len(gram) + 1))


sentences = st.lists(st.sampled_from(["a", "B", "c", "d,", "-", "é"]), max_size=14).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(sentences, min_size=1, max_size=8),
    prompts=st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6),
    n=st.integers(5, 9),
)
def test_the_largest_share_of_an_items_n_grams(rows, prompts, n):
    items = {"x/dev": [], "y/test": []}
    for number, (prompt, answer) in enumerate(prompts):
        items[["x/dev", "y/test"][number % 2]].append(TaskItem(str(number), prompt, answer))
    shares, touched = contamination(rows, item_grams(items, n))
    for row, text in enumerate(rows):
        best = 0.0
        parts = {"x/dev": False, "y/test": False}
        for part, entries in items.items():
            for entry in entries:
                for version in (entry.prompt, f"{entry.prompt}\n{entry.answer}"):
                    grams = shingles(version, n)
                    held = [gram for gram in grams if contains(text, gram)]
                    if held:
                        best = max(best, len(held) / len(grams))
                        parts[part] = True
        assert shares[row] == pytest.approx(best)
        assert touched[row].tolist() == [parts["x/dev"], parts["y/test"]]


def test_arithmetic_signs_count_and_other_punctuation_does_not():
    items = {"t/dev": [TaskItem("1", "Please compute 17 + 25 right now.", "42")]}
    rows = ["please compute: 17 + 25, right now!", "Please compute 17 - 25 right now.", "17 + 25"]
    assert contamination(rows, item_grams(items))[0].tolist() == [1.0, 0.0, 0.0]


def test_an_item_with_its_answer_is_one_more_text_to_find():
    item = TaskItem("1", " ".join(f"p{i}" for i in range(13)), " ".join(f"a{i}" for i in range(13)))
    row = f"something before {item.prompt} a0 a1"
    shares, _ = contamination([row, f"p12 {item.answer}", item.answer], item_grams({"t/test": [item]}))
    assert shares.tolist() == [1.0, pytest.approx(2 / 14), pytest.approx(1 / 14)]


def test_a_template_of_many_items_tells_nothing():
    head = " ".join(f"the{i}" for i in range(20))
    items = {"t/dev": [TaskItem(str(i), f"{head} {i} {i + 1}", "x") for i in range(30)]}
    index = item_grams(items)
    assert index.stats["template_ngrams"] == 8  # the 13-grams of twenty words; later ones hold the item's number
    shares, _ = contamination([head, f"{head} 3 4"], index)
    assert shares[0] == 0 and shares[1] == 1


def test_a_batch_larger_than_is_held_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abc"), 30)) for _ in range(40)]
    items = item_grams({"t/dev": [TaskItem(str(i), text, "x") for i, text in enumerate(texts[:19])]}, 5)
    whole = contamination(texts, items)
    monkeypatch.setattr(overlap, "_PAIRS", 50)
    parts = contamination(texts, items)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])


def test_texts_without_words_share_nothing():
    items = item_grams({"t/dev": [TaskItem("1", "?", "!"), TaskItem("2", "\ud800 one two three four five", "six")]})
    assert items.stats["items_too_short"] == 1
    assert contamination(["", "...", "one two three four five six"], items)[0].tolist()[:2] == [0.0, 0.0]


def test_cosine_with_the_nearest_item():
    rows = np.array([[1.0, 0], [0.6, 0.8], [np.nan, np.nan]], np.float32)
    items = np.array([[0.0, 1.0], [0.8, 0.6], [np.nan, np.nan]], np.float32)
    found = contamination_cosine(rows, items, block=2)
    assert found[:2].tolist() == pytest.approx([0.8, 0.96]) and np.isnan(found[2])


@pytest.fixture
def small_pool(tmp_path):
    prompts = ["Name the three longest rivers of the northern part of this old continent today.", "Hello there."]
    raw = tmp_path / "pool.jsonl"
    lines = [{"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": "ok"}]} for p in prompts]
    raw.write_text("\n".join(json.dumps(line) for line in lines))
    ingest([raw], tmp_path / "pool")
    files = {}
    for name, prompt in (("dev", "What is the capital city of a far away country?"), ("test", prompts[0])):
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_text(json.dumps({"id": "1", "prompt": prompt, "answer": "yes"}))
    return Pool.open(tmp_path / "pool"), TaskConfig(name="geo", **files)


def test_score_pool_counts_rows_by_task_and_split_and_caches_by_items(small_pool, tmp_path):
    pool, task = small_pool
    report = score_pool(pool, SignalsConfig(), tasks=[task], signals=["contamination"])
    (signal,) = report.signals
    counts = {name: count for name, count in signal.stats.items() if name.startswith(overlap.STAT)}
    assert counts == {"overlap with any item": 1, "overlap with geo/dev": 0, "overlap with geo/test": 1}
    assert load_table(pool).column("contamination").tolist() == [1.0, 0.0]
    assert score_pool(pool, SignalsConfig(), tasks=[task], signals=["contamination"]).cached
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"id": "1", "prompt": "Hello there.", "answer": "one two three four"}))
    changed = score_pool(pool, SignalsConfig(), tasks=[task.model_copy(update={"test": other})])
    assert not {signal.name: signal for signal in changed.signals}["contamination"].cached
    assert load_table(pool).column("contamination").tolist() == [0.0, 0.0]


def test_without_benchmark_items_it_is_skipped_or_refused(small_pool, tmp_path):
    pool, task = small_pool
    assert score_pool(pool, SignalsConfig()).skipped["contamination"] == "no task with dev items was given"
    only_target = TaskConfig(name="geo", target=task.dev, dev=task.dev)
    with pytest.raises(SignalError, match="needs tasks with dev or test items"):
        score_pool(pool, SignalsConfig(), tasks=[only_target], signals=["contamination"])
    with pytest.raises(ConfigError, match="does not exist"):
        absent = task.model_copy(update={"test": tmp_path / "absent.jsonl"})
        score_pool(pool, SignalsConfig(), tasks=[absent], signals=["contamination"])
