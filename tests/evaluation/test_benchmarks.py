"""Public benchmark files become task files: same content, same splits, nothing twice, whatever the order of files."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.config import parse_config
from autoselection.errors import ConfigError
from autoselection.evaluation import evaluate
from autoselection.language.models import load_model
from autoselection.tasks import LETTERS, TaskConfig, TaskItem, load_items, solved_examples
from autoselection.tasks.answers import answers_match
from autoselection.tasks.convert import BENCHMARKS, convert
from autoselection.tasks.convert.convert import option_order

SHARED = Path(os.environ.get("AUTOSELECTION_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def jsonl(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def table(path: Path, rows: list[list[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def gsm8k(folder: Path, count: int = 30) -> list[str]:
    def row(i: int, kind: str) -> dict[str, str]:
        return {
            "question": f"{kind}: Ann has {i} pens and buys {i + 1}. How many?",
            "answer": f"She has {i}+{i + 1}=<<{i}+{i + 1}={2 * i + 1}>>{2 * i + 1} pens.\n#### {2 * i + 1:,}",
        }

    jsonl(folder / "train.jsonl", [row(i, "train") for i in range(count)])
    jsonl(folder / "test.jsonl", [row(500 + i, "test") for i in range(count)])
    return [str(folder)]


def gpqa(folder: Path, count: int = 12) -> list[str]:
    header = [
        "Record ID",
        "Question",
        "Correct Answer",
        "Incorrect Answer 1",
        "Incorrect Answer 2",
        "Incorrect Answer 3",
    ]
    rows = [
        [f"rec{i}", f"Made-up question {i}?", f"right {i}", f"wrong {i}", f"false {i}", f"bad {i}"]
        for i in range(count)
    ]
    rows.append(["recX", "Twice the same option?", "a", "a", "b", "c"])
    return [str(table(folder / "gpqa_main.csv", [header, *rows]))]


def bbh(folder: Path, count: int = 12) -> list[str]:
    for subtask in ("boolean_expressions", "navigate"):
        examples = [{"input": f"{subtask} {i} is", "target": ("True", "False")[i % 2]} for i in range(count)]
        (folder / "bbh").mkdir(parents=True, exist_ok=True)
        (folder / "bbh" / f"{subtask}.json").write_text(json.dumps({"canary": "x", "examples": examples}))
    prompts = folder / "cot-prompts"
    prompts.mkdir()
    (prompts / "navigate.txt").write_text(
        "a canary\n-----\nTell where one ends up.\n\nQ: Turn left.\nOptions:\n- Yes\n- No\nA: Let's think.\nSo the answer is No."
        "\n\nQ: Take no step.\nA: Let's think.\nSo the answer is Yes.\n"
    )
    return [str(folder)]


def mmlu(folder: Path, count: int = 12) -> list[str]:
    for split, size in (("dev", 3), ("val", count), ("test", count)):
        for subject in ("anatomy", "law"):
            rows = [[f"{subject} {split} {i}, which?", f"w{i}", "x, y", "z", '"q"', "ABCD"[i % 4]] for i in range(size)]
            table(folder / split / f"{subject}_{split}.csv", rows)
    return [str(folder)]


def graphwiz(folder: Path, count: int = 24) -> list[str]:
    rows = [
        {"index": i, "input_prompt": f"Is there a cycle in graph {i}?", "answer": f"### {('Yes', 'No')[i % 2]}"}
        for i in range(count)
    ]
    jsonl(folder / "cycle_test.json", rows)
    jsonl(folder / "flow_test.json", [{"input_prompt": "How much flows?", "answer": "### 14"}])
    trained = [
        {"query": f"Is graph {i} bipartite?", "answer": f"Colour it.\n### {('No', 'Yes')[i % 2]}.", "task": "bipartite"}
        for i in range(count)
    ]
    jsonl(folder / "train.json", trained)
    return [str(folder)]


def nlgraph(folder: Path, count: int = 24) -> list[str]:
    forms = {
        "connectivity": ("The answer is yes.", "The answer is no."),
        "cycle": ("Yes, there is a cycle.", "No, there is no cycle."),
        "hamilton": ("Yes, there is such a path: 0,1,2.",) * 2,
        "flow": ("The flow is 3.",) * 2,
    }
    for task, answers in forms.items():
        rows = {
            str(i): {"question": f"{task} of graph {i}?", "answer": answers[i % 2], "difficulty": "easy"}
            for i in range(count)
        }
        (folder / task).mkdir(parents=True)
        (folder / task / "main.json").write_text(json.dumps(rows))
        (folder / task / "test.json").write_text(json.dumps({key: rows[key] for key in list(rows)[:8]}))
    return [str(folder)]


def commonsenseqa(folder: Path, count: int = 24) -> list[str]:
    rows = [
        {"answerKey": "ABCDE"[i % 5], "id": f"id{i}", "question": {"stem": f"Where is thing {i}?", "question_concept": "thing",
         "choices": [{"label": label, "text": f"{label.lower()} place {i}"} for label in "ABCDE"]}}
        for i in range(count)
    ]  # fmt: skip
    return [str(jsonl(folder / "dev_rand_split.jsonl", rows))]


def arc(folder: Path, count: int = 24) -> list[str]:
    rows = [
        {"id": f"A{i}", "question": f"Which rock is {i}?", "answerKey": "1234"[i % 4],
         "choices": {"text": [f"r{i}", "s", "t", "u"], "label": list("1234")}}
        for i in range(count)
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(folder / "arc.parquet")
    return [str(folder / "arc.parquet")]


def svamp(folder: Path, count: int = 24) -> list[str]:
    rows = [
        {
            "ID": f"chal-{i}",
            "Body": f"There are {i} bees",
            "Question": "How many?",
            "Equation": "x",
            "Answer": float(i),
            "Type": "Sum",
        }
        for i in range(count)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SVAMP.json").write_text(json.dumps(rows))
    return [str(folder / "SVAMP.json")]


def generic(kind: str) -> Callable[[Path], list[str]]:
    def make(folder: Path, count: int = 24) -> list[str]:
        extra: Callable[[int], dict[str, Any]] = {
            "multiple_choice": lambda i: {"options": {"x": f"one {i}", "y": f"two {i}"}, "answer": "xy"[i % 2]},
            "number": lambda i: {"answer": i * 1000},
            "short_answer": lambda i: {"answer": f"word{i}"},
            "yes_no": lambda i: {"answer": i % 2 == 0},
        }[kind]
        return [str(jsonl(folder / "items.jsonl", [{"question": f"Q {i}?", **extra(i)} for i in range(count)]))]

    return make


MAKERS: dict[str, Callable[[Path], list[str]]] = {
    "gsm8k": gsm8k, "gpqa": gpqa, "bbh": bbh, "mmlu": mmlu, "graphwiz": graphwiz, "nlgraph": nlgraph,
    "commonsenseqa": commonsenseqa, "arc": arc, "svamp": svamp,
    **{kind: generic(kind) for kind in ("multiple_choice", "number", "short_answer", "yes_no")},
}  # fmt: skip


def task_of(report: Any) -> TaskConfig:
    return TaskConfig.model_validate(dict(report.config))


def test_every_format_has_a_test():
    assert set(MAKERS) == set(BENCHMARKS)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_a_benchmark_becomes_a_task(name, tmp_path):
    report = convert(name, MAKERS[name](tmp_path / "source"), tmp_path / "out", target=4, dev=6)
    task = task_of(report)
    items = {split: load_items(task, split) for split in ("dev", "test")}
    if "target" in report.config:
        items["target"] = load_items(task, "target")
    everything = [item for split in items.values() for item in split]
    assert report.items["dev"] == len(items["dev"]) > 0
    assert report.items["test"] == len(items["test"]) > 0
    assert len({item.id for item in everything}) == len({item.prompt for item in everything}) == len(everything)
    for item in everything:
        kind = "yes_no" if task.answer == "yes_no" else "auto"
        assert answers_match(
            item.reference(),
            item.answer,
            "".join(item.options() if item.choices else ()),
            choices=item.choices,
            kind=kind,
        )


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_splits_depend_on_content_and_seed_alone(name, tmp_path):
    sources = MAKERS[name](tmp_path / "source")
    first = convert(name, sources, tmp_path / "a", target=4, dev=6)
    for file in sorted((tmp_path / "source").rglob("*.jsonl")):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        file.write_text("".join(lines + lines[:2]), encoding="utf-8")
    again = convert(name, sources, tmp_path / "b", target=4, dev=6)
    other = convert(name, sources, tmp_path / "c", target=4, dev=6, seed=1)
    for split in ("dev", "test"):
        assert (tmp_path / "a" / f"{split}.jsonl").read_bytes() == (tmp_path / "b" / f"{split}.jsonl").read_bytes()
    assert (tmp_path / "a" / "test.jsonl").read_bytes() != (tmp_path / "c" / "test.jsonl").read_bytes()
    assert first.items == again.items == other.items
    assert again.duplicates >= first.duplicates


def test_gsm8k_keeps_its_test_split_and_loses_calculator_notes(tmp_path):
    convert("gsm8k", gsm8k(tmp_path), tmp_path / "out", target=5, dev=10)
    test = read(tmp_path / "out" / "test.jsonl")
    assert len(test) == 30
    assert all(item["prompt"].startswith("test") for item in test)
    assert {item["answer"] for item in test} == {str(2 * (500 + i) + 1) for i in range(30)}
    assert not any("<<" in item["rationale"] for item in test)
    assert all(item["prompt"].startswith("train") for item in read(tmp_path / "out" / "dev.jsonl"))


def test_gpqa_options_are_shuffled_by_id_and_its_questions_stay_out_of_git(tmp_path):
    report = convert("gpqa", gpqa(tmp_path, 40), tmp_path / "out", target=0, dev=10)
    assert report.unusable == {"two options are the same": 1}
    items = read(tmp_path / "out" / "dev.jsonl") + read(tmp_path / "out" / "test.jsonl")
    for item in items:
        assert item["choices"][LETTERS.index(item["answer"])].startswith("right")
    assert len({item["answer"] for item in items}) == 4
    # Known permutations: they may not change from one version or process to the next.
    assert [option_order(f"rec{i}", 4, 0) for i in range(3)] == ORDERS
    assert (tmp_path / "out" / ".gitignore").read_text().splitlines()[-1] == "*"


ORDERS = [[0, 1, 2, 3], [3, 1, 0, 2], [3, 2, 1, 0]]


def test_nlgraph_leaves_out_what_has_one_answer_and_says_so(tmp_path):
    report = convert("nlgraph", nlgraph(tmp_path), tmp_path / "out", target=0, dev=10)
    assert report.constant == {"hamilton": 24}
    assert report.unusable == {"the answer is not yes or no": 32}
    assert report.duplicates == 24  # test.json repeats a part of main.json
    tests = read(tmp_path / "out" / "test.jsonl")
    assert {item["subtask"] for item in tests} == {"connectivity", "cycle"}
    kept = convert("nlgraph", [str(tmp_path / "hamilton")], tmp_path / "all", target=0, dev=5, keep_constant=True)
    assert kept.most_common_answer == 1.0


def test_bbh_target_items_are_its_worked_examples(tmp_path):
    convert("bbh", bbh(tmp_path), tmp_path / "out", dev=6)
    target = read(tmp_path / "out" / "target.jsonl")
    assert sorted(item["answer"] for item in target) == ["No", "Yes"]
    assert all(item["subtask"] == "navigate" and item["rationale"].startswith("Let's think.") for item in target)


def test_mmlu_subjects_and_options_come_from_its_files(tmp_path):
    convert("mmlu", mmlu(tmp_path), tmp_path / "out", dev=100)
    assert len(read(tmp_path / "out" / "target.jsonl")) == 6
    dev = read(tmp_path / "out" / "dev.jsonl")
    assert len(dev) == 24
    item = next(entry for entry in dev if entry["prompt"] == "law val 3, which?")
    assert (item["choices"], item["answer"], item["subtask"]) == (["w3", "x, y", "z", '"q"'], "D", "law")


def test_mistakes_are_named(tmp_path):
    source = gsm8k(tmp_path / "source")
    with pytest.raises(ConfigError, match="no benchmark format 'gsm9k'; did you mean 'gsm8k'"):
        convert("gsm9k", source, tmp_path / "out")
    with pytest.raises(ConfigError, match="no such file or folder"):
        convert("gsm8k", [str(tmp_path / "nowhere.jsonl")], tmp_path / "out")
    with pytest.raises(ConfigError, match="'later' is no split"):
        convert("gsm8k", ["later=x.jsonl"], tmp_path / "out")
    with pytest.raises(ConfigError, match="60 records: no Body or body"):
        convert("svamp", source, tmp_path / "out")
    convert("gsm8k", source, tmp_path / "out")
    with pytest.raises(ConfigError, match="pass --overwrite"):
        convert("gsm8k", source, tmp_path / "out")
    convert("gsm8k", source, tmp_path / "out", overwrite=True)


def test_the_command_prints_a_report_and_what_to_configure(tmp_path):
    command = [
        "benchmark",
        "gsm8k",
        "--source",
        gsm8k(tmp_path)[0],
        "--out",
        str(tmp_path / "out"),
        "--dev",
        "5",
        "--json",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["items"] == {"target": 15, "dev": 5, "test": 30}
    study = {"pool": {"files": ["p.jsonl"]}, "model": {"path": "m"}, "tasks": [report["config"]]}
    assert parse_config(study, tmp_path).tasks[0].answer == "number"
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["sources"][0]["file"] == "test.jsonl"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The harness's data sets, cached in a folder of the test and never fetched."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)


@pytest.mark.parametrize("name", ["commonsenseqa", "gsm8k", "yes_no", "short_answer"])
def test_the_harness_reads_the_same_items_from_the_task_file(name, tmp_path, offline):
    from lm_eval.tasks import TaskManager

    report = convert(name, MAKERS[name](tmp_path / "source"), tmp_path / "out", target=4, dev=6)
    manager = TaskManager(include_path=str(tmp_path / "out"), include_defaults=False)
    (task,) = manager.load(f"autoselection_{name}")["tasks"].values()
    items = load_items(task_of(report), "test")
    documents = list(task.test_docs())
    assert [document["id"] for document in documents] == [item.id for item in items]
    for document, item in zip(documents, items, strict=True):
        assert task.doc_to_text(document).removesuffix("\nAnswer:") == item.question()
        gold = task.doc_to_target(document)
        assert (LETTERS[gold] if item.choices else str(gold)) == item.answer
    config = yaml.safe_load((tmp_path / "out" / f"autoselection_{name}.yaml").read_text())
    assert Path(config["dataset_kwargs"]["data_files"]["test"]).is_absolute()


@pytest.mark.parametrize("name", ["commonsenseqa", "number"])
def test_an_installed_task_is_scored_by_name(name, tmp_path, offline, make_job):
    """The converter's task file under its harness name gives the items, and the scores, of the files themselves."""
    report = convert(name, MAKERS[name](tmp_path / "source"), tmp_path / "out", target=4, dev=6, test=5)
    named = TaskConfig(name=name, lm_eval=f"autoselection_{name}", lm_eval_path=tmp_path / "out", fewshot=1)
    local = task_of(report).model_copy(update={"metric": "nll"})
    for split in ("target", "dev", "test"):
        ours, theirs = load_items(local, split), load_items(named, split)
        assert [item.answer for item in ours] == [item.answer for item in theirs]
        for item, other in zip(ours, theirs, strict=True):
            assert other.prompt.removesuffix("\nAnswer:") == item.question()
    result = evaluate(make_job(rows=None, tasks=(named,), full_metrics=True))
    scored = {"accuracy", "option_likelihood"} if name == "commonsenseqa" else {"exact_match"}
    assert scored <= set(result.metrics[name])


def test_an_installed_task_judges_by_its_own_filters(tmp_path, offline):
    from autoselection.tasks.harness import harness_verdict

    convert("number", generic("number")(tmp_path / "source"), tmp_path / "out", target=0, dev=6, test=5)
    named = TaskConfig(name="n", lm_eval="autoselection_number", lm_eval_path=tmp_path / "out")
    item = load_items(named, "dev")[0]
    assert harness_verdict(named, item.id, f"so it is {item.answer}") == 1.0
    # Its filter takes the last number whatever is marked; ours would take the marked one.
    assert harness_verdict(named, item.id, f"The answer is {item.answer}. I used 7 steps") == 0.0
    assert answers_match(f"The answer is {item.answer}. I used 7 steps", item.answer)


def test_a_single_scored_split_is_cut_in_two_without_overlap(tmp_path, offline):
    folder = tmp_path / "tasks"
    rows = [{"q": f"question {i}?", "a": str(i % 3)} for i in range(60)]
    data = jsonl(folder / "data.jsonl", [*rows, *rows[:5]])
    config = {
        "task": "only_test", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test", "output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}",
        "metric_list": [{"metric": "exact_match"}],
    }  # fmt: skip
    (folder / "only_test.yaml").write_text(yaml.safe_dump(config))
    task = TaskConfig(name="t", lm_eval="only_test", lm_eval_path=folder)
    dev, test = ({item.prompt for item in load_items(task, split)} for split in ("dev", "test"))
    assert len(dev | test) == 60
    assert not dev & test
    assert 10 <= len(dev) <= 30
    with pytest.raises(ConfigError, match="has no items for target"):
        load_items(task, "target")


@pytest.mark.slow
def test_an_unknown_installed_task_is_named(offline):
    with pytest.raises(ConfigError, match="lm-eval has no task 'gsm9k'; did you mean 'gsm8k'"):
        load_items(TaskConfig(name="t", lm_eval="gsm9k"), "dev")
    with pytest.raises(ConfigError, match="data of lm-eval's task 'gsm8k' cannot be loaded"):
        load_items(TaskConfig(name="t", lm_eval="gsm8k"), "dev")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one of 'dev'"),
        ({"dev": "a", "lm_eval": "b"}, "exactly one of 'dev'"),
        ({"lm_eval": "b", "test": "t"}, "brings its own test items"),
        ({"dev": "a", "fewshot": 2}, "'fewshot' takes solved items from 'target'"),
    ],
)
def test_tasks_that_contradict_themselves_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TaskConfig.model_validate({"name": "t", **fields})


def test_solved_examples_are_of_the_same_subtask_and_never_the_item_itself():
    examples = [TaskItem(f"e{i}", f"p{i}", "1", subtask="ab"[i % 2]) for i in range(6)]
    item = TaskItem("x", "p1", "1", subtask="b")
    assert [example.id for example in solved_examples(item, examples, 2)] == ["e3", "e5"]
    assert [example.id for example in solved_examples(item, examples, 3)] == ["e0", "e2", "e3"]
    assert [example.id for example in solved_examples(examples[0], examples, 2)] == ["e2", "e4"]


def test_subtasks_that_choose_examples_are_part_of_what_is_kept(make_job, tmp_path):
    """Scores are kept for the same files: other subtasks give an item other examples."""
    items = [{"id": str(i), "prompt": f"Is {i} odd?", "answer": ("no", "yes")[i % 2]} for i in range(8)]
    dev = jsonl(tmp_path / "dev.jsonl", items[4:])

    def scores(*subtasks: str) -> list[float]:
        target = [{**item, "id": f"t{item['id']}"} for item in items[:4]]
        files = {"target": target, "dev": items[4:]}
        for name, rows in files.items():
            given = zip(rows, subtasks, strict=True)
            jsonl(tmp_path / f"{name}.jsonl", [{**row, "subtask": subtask} for row, subtask in given])
        task = TaskConfig(name="odd", target=tmp_path / "target.jsonl", dev=dev, fewshot=1)
        return evaluate(make_job(rows=None, tasks=(task,))).items["odd"]["nll"]

    assert scores("a", "b", "a", "b") != scores("a", "a", "b", "b")


def test_few_shot_examples_are_earlier_turns(make_job, tiny_model_dir, tiny_tokenizer, tmp_path):
    """NLL and yes/no likelihoods behind two solved items, against a plain forward pass over a hand-written prompt."""
    target = [{"id": f"t{i}", "prompt": f"Is {i} odd?", "answer": ("no", "yes")[i % 2]} for i in range(2)]
    dev = [{"id": f"d{i}", "prompt": f"Is {i} odd?", "answer": ("no", "yes")[i % 2]} for i in range(5, 9)]
    task = TaskConfig(
        name="odd", target=jsonl(tmp_path / "target.jsonl", target), dev=jsonl(tmp_path / "dev.jsonl", dev),
        fewshot=2, answer="yes_no", metric="option_likelihood",
    )  # fmt: skip
    result = evaluate(make_job(rows=None, tasks=(task,)))
    model = load_model(tiny_model_dir, "cpu", "float32")

    def ids(text: str) -> list[int]:
        pieces = text.replace("\x01", "\x00<|im_start|>\x00").replace("\x02", "\x00<|im_end|>\x00").split("\x00")
        return [
            token
            for piece in pieces
            for token in (
                [tiny_tokenizer.convert_tokens_to_ids(piece)]
                if piece.startswith("<|im")
                else [tiny_tokenizer.convert_tokens_to_ids(character) for character in piece]
            )
        ]

    def likelihood(context: list[int], answer: list[int]) -> float:
        with torch.no_grad():
            rows = model(torch.tensor([context + answer])).logits[0].double().log_softmax(-1)[len(context) - 1 : -1]
        return float(rows[torch.arange(len(answer)), torch.tensor(answer)].sum())

    history = "".join(f"\x01user\n{item['prompt']}\x02\n\x01assistant\n{item['answer']}\x02\n" for item in target)
    for index, item in enumerate(dev):
        context = ids(f"{history}\x01user\n{item['prompt']}\x02\n\x01assistant\n")
        gold = ids(item["answer"] + "\x02")
        assert result.items["odd"]["nll"][index] == pytest.approx(-likelihood(context, gold) / len(gold), abs=1e-4)
        options = torch.tensor([likelihood(context, ids(word)) for word in ("yes", "no")])
        share = float(options.softmax(0)[("yes", "no").index(item["answer"])])
        assert result.items["odd"]["option_likelihood"][index] == pytest.approx(share, abs=1e-4)
    assert result.score == pytest.approx(result.metrics["odd"]["option_likelihood"])
    with pytest.raises(ConfigError, match="3 examples are asked for, but there are only 2 target items"):
        evaluate(make_job(rows=None, tasks=(task.model_copy(update={"fewshot": 3}),)))


def test_nll_per_byte_can_be_searched(make_job, sums):
    result = evaluate(make_job(rows=None, tasks=(sums.model_copy(update={"metric": "nll_per_byte"}),)))
    assert result.score == -result.metrics["sums"]["nll_per_byte"]


@pytest.mark.parametrize("name", ["gsm8k", "bbh", "mmlu", "commonsenseqa", "nlgraph"])
def test_gold_responses_of_the_real_benchmarks_are_read_as_their_answers(name):
    if not (SHARED / "benchmarks" / name).is_dir():
        pytest.skip("the shared benchmarks are not here")
    task = TaskConfig(
        name=name, dev=SHARED / "benchmarks" / name / "dev.jsonl", test=SHARED / "benchmarks" / name / "test.jsonl"
    )
    items = load_items(task, "dev") + load_items(task, "test")
    wrong = []
    for item in items:
        letters = "".join(item.options()) if item.choices else ""
        for text in (item.reference(), f"Let me think.\nThe answer is {item.answer}."):
            if not answers_match(text, item.answer, letters, choices=item.choices):
                wrong.append((item.id, text, item.answer))
    assert len(items) > 700
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("name", ["commonsenseqa", "gsm8k"])
def test_real_items_are_scored_as_a_plain_pytorch_computation_does(
    name, make_job, tiny_model_dir, tiny_tokenizer, tmp_path
):
    source = SHARED / "benchmarks" / name / "dev.jsonl"
    if not source.is_file():
        pytest.skip("the shared benchmarks are not here")
    roomy = tmp_path / "model"  # the tiny model with a context that holds every item
    shutil.copytree(tiny_model_dir, roomy)
    settings = json.loads((roomy / "config.json").read_text())
    (roomy / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 4096}))
    task = TaskConfig(name=name, dev=source)
    result = evaluate(
        make_job(rows=None, model=str(roomy), tasks=(task,), full_metrics=True, config={"max_new_tokens": 1})
    )
    model = load_model(roomy, "cpu", "float32")
    start, end = (tiny_tokenizer.convert_tokens_to_ids(mark) for mark in ("<|im_start|>", "<|im_end|>"))

    def plain(text: str) -> list[int]:
        return [tiny_tokenizer.convert_tokens_to_ids(character) for character in text]

    nll, right = [], []
    for item in load_items(task, "dev"):
        context = [start, *plain("user\n" + item.question()), end, *plain("\n"), start, *plain("assistant\n")]
        gold = [*plain(item.reference()), end]
        with torch.no_grad():
            rows = model(torch.tensor([context + gold])).logits[0].double().log_softmax(-1)[len(context) - 1 : -1]
        nll.append(-float(rows[torch.arange(len(gold)), torch.tensor(gold)].mean()))
        letters = [plain(letter)[0] for letter in item.options()]
        right.append(float(bool(item.choices) and LETTERS[int(rows[0][letters].argmax())] == item.answer))
    assert len(nll) == {"commonsenseqa": 400, "gsm8k": 300}[name]  # the whole dev set
    assert result.metrics[name]["nll"] == pytest.approx(sum(nll) / len(nll), abs=1e-4)
    assert result.items[name]["nll"] == pytest.approx(nll, abs=1e-4)
    if name == "commonsenseqa":
        assert result.items[name]["accuracy"] == right
        assert result.metrics[name]["accuracy"] == pytest.approx(sum(right) / len(right), abs=1e-4)
