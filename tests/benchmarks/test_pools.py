from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from benchmarks.pools import build as building
from benchmarks.pools.build import Builder, Cell, Turn, trained_in
from benchmarks.pools.make import make_rows, records, reserved_prompts, task_items, write_pool
from benchmarks.pools.models import MODELS, study
from benchmarks.pools.pack import pack_cell, unpack_cell
from benchmarks.pools.scripts import chinese
from benchmarks.pools.skills import roman
from benchmarks.pools.specification import DEMANDS, MOST_FAULTS, NAMES, SKILLS, specification
from benchmarks.recipebench.build import Table
from benchmarks.recipebench.draw import Drawer
from benchmarks.recipebench.interpolate import read_evaluations
from benchmarks.worlds.synthetic import SyntheticWorld

from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import load_tokenizer
from autoselection.pool import Pool, ingest
from autoselection.tasks import load_items

CLEAN = [name for name, demand in DEMANDS.items() if demand.clean]


@pytest.mark.parametrize("name", ["elm", "hazel"])
def test_a_pool_is_its_seed(name, tmp_path):
    for folder in ("one", "two"):
        write_pool(specification(name), tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert Path("truth.csv.gz") in files and Path("pool.jsonl") in files
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


def test_specifications_keep_to_the_bounds_and_meet_the_demands():
    specs = {name: specification(name) for name in NAMES}
    assert len(NAMES) >= 8 and len(CLEAN) >= 2
    for spec in specs.values():
        assert 3 <= len(spec.targets) <= 5 and not set(spec.targets) & set(spec.off_target)
        assert 900 <= spec.rows <= 21_000
        assert len({source.name for source in spec.sources}) == len(spec.sources) <= 40
        faulty = sum(source.rows * sum(share for _, share in source.faults) for source in spec.sources) / spec.rows
        assert faulty <= MOST_FAULTS + 0.01
    assert len(specs["maple"].sources) == 1 and len(specs["oak"].sources) == 40
    assert len({spec.targets for spec in specs.values()}) == len(specs), "tasks differ"


@pytest.mark.parametrize("name", CLEAN)
def test_where_nothing_is_to_be_gained_all_rows_are_right_and_asked_once(name):
    spec = specification(name)
    rows = make_rows(spec, reserved_prompts(task_items(spec)))
    assert len(rows) == spec.rows and all(row.good for row in rows)
    assert len({row.messages[0]["content"] for row in rows}) == len(rows)
    assert {row.skill for row in rows} == set(spec.targets)


def test_faults_are_where_the_specification_has_them():
    spec = specification("ash")
    rows = make_rows(spec, reserved_prompts(task_items(spec)))
    counts = Counter(row.source for row in rows)
    for source in spec.sources:
        own = [row for row in rows if row.source == source.name]
        assert counts[source.name] == source.rows
        assert np.mean([not row.on_target for row in own]) == pytest.approx(source.off_target, abs=0.1)
        known = dict(source.faults)
        assert all(row.fault in known for row in own if row.fault)
        assert np.mean([bool(row.fault) for row in own]) <= sum(known.values()) + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_no_task_asks_what_another_split_asks(name):
    items = task_items(specification(name))
    for splits in items.values():
        prompts = [item["prompt"] for split in splits.values() for item in split]
        assert len(set(prompts)) == len(prompts)
        for split in splits.values():
            answers = Counter(item["answer"] for item in split if "choices" in item)
            assert not answers or max(answers.values()) - min(answers.values()) <= 2


@pytest.mark.parametrize("name", ["hazel", "larch", "elm"])
def test_ingest_reads_every_row_and_the_model_writes_it(name, tmp_path):
    spec = specification(name)
    rows = write_pool(spec, tmp_path / name)
    report = ingest([tmp_path / name / "pool.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert len(pool) == len(rows) and not report.skipped
    asked = {row.messages[0]["content"] for row in rows}
    for task in study(tmp_path, name, "narrow").tasks:
        for split in ("target", "dev", "test"):
            assert asked.isdisjoint(item.question() for item in load_items(task, split))
    tokenizer = load_tokenizer(MODELS["narrow"].path)
    encoder = ConversationEncoder(tokenizer, max_length=256)
    for conversation in pool.conversations(np.arange(0, len(rows), len(rows) // 60)):
        (sample,) = encoder.samples(conversation)
        assert tokenizer.unk_token_id not in sample.input_ids, "a character that the models do not know"
        assert any(sample.response)
    if name == "larch":
        calls = [row for row in rows if row.tools]
        assert len(calls) > 0.3 * len(rows)
        turns = pool.messages(np.array([next(number for number, row in enumerate(rows) if row.tools)]))[0]
        assert turns[1]["tool_calls"] and turns[2]["role"] == "tool"
    if name == "hazel":
        letters = {sign for row in rows for sign in row.messages[0]["content"] if sign.isalpha()}
        scripts = {unicodedata.name(sign).split()[0] for sign in letters}
        assert len(scripts & {"ARABIC", "CYRILLIC", "DEVANAGARI", "GREEK", "HANGUL", "HEBREW", "CJK", "HIRAGANA"}) >= 3


def test_a_call_is_written_as_its_task_asks_for_it():
    tokenizer = load_tokenizer(MODELS["wide"].path)
    spec = specification("larch")
    rows = [row for row in make_rows(spec, set()) if row.tools and not row.fault]
    messages = next(iter(records("larch", rows)))["messages"]
    call = messages[1]["tool_calls"][0]["function"]
    text = tokenizer.apply_chat_template(
        [
            messages[0],
            {"role": "assistant", "tool_calls": [{"function": {**call, "arguments": json.loads(call["arguments"])}}]},
        ],
        tools=list(rows[0].tools),
        tokenize=False,
    )
    assert f"<|assistant|>{call['name']}({call['arguments']})<|end|>" in text


@pytest.mark.parametrize("name", list(SKILLS))
def test_skills_have_one_right_answer_and_two_wrong_ones(name):
    one, two = ([SKILLS[name](random.Random(seed)) for seed in range(200)] for _ in range(2))
    assert one == two
    assert len({problem.prompt for problem in one}) > 150
    for problem in one:
        assert problem.skill == name and problem.response and problem.convention and problem.slip
        assert len({problem.prompt, *problem.rewordings}) == 3
    assert sum(problem.slip != problem.response for problem in one) > 190
    assert sum(problem.convention != problem.response for problem in one) > 80


def test_the_models_know_every_character_of_the_family():
    vocabulary = load_tokenizer(MODELS["wide"].path).get_vocab()
    assert vocabulary == load_tokenizer(MODELS["narrow"].path).get_vocab()
    for name, skill in SKILLS.items():
        for seed in range(30):
            problem = skill(random.Random(seed))
            texts = [problem.prompt, *problem.rewordings, problem.response, problem.convention, problem.slip]
            assert set("".join(texts)) <= set(vocabulary), name


def test_numerals():
    assert [roman(number) for number in (4, 49, 944, 3999)] == ["IV", "XLIX", "CMXLIV", "MMMCMXCIX"]
    assert roman(49, adding=True) == "XXXXVIIII"
    assert [chinese(number) for number in (11, 110, 1005, 10_050)] == ["十一", "一百一十", "一千零五", "一万零五十"]


# The build


class Inline:
    """An executor that works at once, and dies after some calls."""

    def __init__(self, most: int = 10**9) -> None:
        self.left = most

    def submit(self, work, job):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        future: Future[dict[str, object]] = Future()
        future.set_result(work(job))
        return future


@pytest.fixture(scope="module")
def world():
    return SyntheticWorld(4, n=300)


@pytest.fixture
def cell_in(world, monkeypatch):
    def evaluate(job):
        seed = job["seed"] + round(100 * job["fidelity"])
        losses = {task: float(np.exp(-score)) for task, score in world.observe(job["rows"], seed).items()}
        return {"dev": losses, "test": losses, "seconds": 0.1}

    def job_of(task, config, pool_dir, work):
        return {"rows": task.entry.rows, "seed": task.seed, "fidelity": task.fidelity}

    monkeypatch.setattr(building, "evaluate_both", evaluate)
    monkeypatch.setattr(building, "job_of", job_of)
    monkeypatch.setattr(
        building, "COUNTS", {"random rows": 2, "single": 4, "zones": 5, "hypercube": 3, "free": 4, "edits": 4}
    )

    def make(folder, name="p"):
        drawer = Drawer(world.table, building.COUNTS, 1, 30)
        full, short = (Table(folder / name / f"{kind}.jsonl") for kind in ("evaluations", "short"))
        return Cell(name, "m", None, folder, folder, drawer, full, short)  # type: ignore[arg-type]

    return make


def test_a_build_that_is_stopped_goes_on_to_the_same_table(cell_in, tmp_path):
    straight = cell_in(tmp_path / "straight")
    building.build([Turn(lambda: straight)], Builder(Inline(), 1, float("inf")))
    assert len(straight.full.records) > 25 and len(straight.short.records) > 12
    stopped = 0
    while True:
        cell = cell_in(tmp_path / "stopped")
        try:
            building.build([Turn(lambda cell=cell: cell)], Builder(Inline(7), 1, float("inf")))
            break
        except KeyboardInterrupt:
            stopped += 1
            with cell.full.lines.path.open("a") as file:
                file.write('{"key": "torn')
    assert stopped > 3
    for name in ("evaluations", "short"):
        one, two = ((tmp_path / kind / "p" / f"{name}.jsonl").read_bytes() for kind in ("straight", "stopped"))
        assert one == two


def test_cells_take_turns_and_time_ends_a_build_cleanly(cell_in, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "BLOCK", 5)
    cells = [cell_in(tmp_path, name) for name in ("a", "b", "c")]

    def turns():
        return [Turn(lambda cell=cell: cell, trained_in(tmp_path / cell.pool)) for cell in cells]

    with pytest.raises(KeyboardInterrupt):
        building.build(turns(), Builder(Inline(13), 1, float("inf")))
    assert [len(cell.full.records) for cell in cells] == [5, 5, 3]
    with pytest.raises(KeyboardInterrupt):
        building.build(turns(), Builder(Inline(4), 1, float("inf")))
    assert [len(cell.full.records) for cell in cells] == [7, 5, 5], "the least trained goes first"
    building.build(turns(), Builder(Inline(), 1, 0.0))
    assert [len(cell.full.records) for cell in cells] == [7, 5, 5]


def test_what_fails_outside_of_a_training_is_left_for_the_next_run(cell_in, tmp_path, monkeypatch):
    good = building.evaluate_both
    monkeypatch.setattr(building, "evaluate_both", lambda job: {"failure": "disk full", "kind": "infrastructure"})
    cell = cell_in(tmp_path)
    builder = Builder(Inline(), 1, float("inf"))
    building.build([Turn(lambda: cell)], builder)
    assert not cell.full.records and builder.failed
    monkeypatch.setattr(building, "evaluate_both", good)
    building.build([Turn(lambda: cell)], Builder(Inline(), 1, float("inf")))
    assert not cell.pending()


def test_packed_tables_hold_full_and_short_runs(cell_in, tmp_path):
    cell = cell_in(tmp_path / "built")
    building.build([Turn(lambda: cell)], Builder(Inline(), 1, float("inf")))
    packed = tmp_path / "p-m.jsonl.gz"
    counts = pack_cell(tmp_path / "built" / "p", packed)
    assert counts["runs"] == len(cell.full.records) + len(cell.short.records)
    assert pack_cell(tmp_path / "built" / "p", tmp_path / "again.gz") == counts
    assert packed.read_bytes() == (tmp_path / "again.gz").read_bytes()
    assert len(read_evaluations(packed, 300)) == len(cell.full.records)
    assert unpack_cell(packed, tmp_path / "new" / "p") == counts["runs"]
    again = cell_in(tmp_path / "new")
    assert again.full.records.keys() == cell.full.records.keys()
    assert again.short.records.keys() == cell.short.records.keys()
    assert not again.pending()
