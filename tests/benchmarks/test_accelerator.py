"""The script for a GPU machine: what it plans, how it keeps time, that what it measures is of the real shapes."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from benchmarks import accelerator, accelerator_search, packed
from benchmarks.stand_ins import SHAPES, drawn_rows, parse_shape, random_model
from benchmarks.throughput.names import OURS, PACKED, PLAIN
from benchmarks.throughput.operations import counted_weights

from autoselection import demo
from autoselection.config import load_config
from autoselection.ledger.journal import Journal, journal_tail

TINY = "2,64,128,4,2,256"


def options(*given: str) -> Namespace:
    found = accelerator._options(["--out", "out", *given])
    found.work = found.work or Path("elsewhere")
    return found


def test_shapes_are_those_of_the_published_models() -> None:
    for name, parameters, heads in (("smollm2-135m", 134_515_008, (9, 3)), ("qwen2.5-1.5b", 1_543_714_304, (12, 2))):
        model = random_model(SHAPES[name], "meta")
        assert counted_weights(model)["parameters"] == parameters
        assert (model.config.num_attention_heads, model.config.num_key_value_heads) == heads
    assert parse_shape("4,128,49152") == parse_shape("4,128,341,2,2,49152")
    for wrong in ("smollm", "1,2", "1,2,x"):
        with pytest.raises(ValueError, match=r"give smollm2-135m, qwen2\.5-1\.5b, windowed, or"):
            parse_shape(wrong)


def test_drawn_rows_are_as_long_as_real_ones() -> None:
    rows = drawn_rows(400)
    assert rows == drawn_rows(400)
    sizes = [[len(turn["content"]) for turn in row["messages"]] for row in rows]
    assert all(30 <= asked < 140 and 10 <= answered < 50 for asked, answered in sizes)
    assert len({row["source"] for row in rows}) == 20


def test_with_all_packages_all_steps_are_planned() -> None:
    steps, left_out = accelerator.planned(options(), frozenset())
    assert [step.name for step in steps] == ["packed", "small", "signals", "large", "search"]
    assert left_out == {}
    assert sum(step.share for step in steps) == pytest.approx(1.0)
    large = steps[3].command
    assert large[large.index("--shape") + 1] == "qwen2.5-1.5b" and OURS in large


def test_without_packages_what_can_be_measured_is() -> None:
    missing = frozenset({"trl", "datasets", "lm_eval", "math_verify", "pydantic", "polars"})
    steps, left_out = accelerator.planned(options(), missing)
    assert [step.name for step in steps] == ["packed", "small", "large"]
    assert left_out["search"] == ["datasets", "lm-eval", "math-verify", "polars", "pydantic", "trl"]
    assert left_out["signals"] == ["polars", "pydantic"]
    for step in steps[1:]:
        methods = step.command[step.command.index("--methods") + 1 :]
        assert set(methods) == {PLAIN, PACKED}
    assert accelerator.planned(options(), {"torch"})[0] == []
    # A pool file is read by the package.
    assert [step.name for step in accelerator.planned(options("--pool", "p.jsonl"), missing)[0]] == ["packed"]
    only, _ = accelerator.planned(options("--steps", "search"), frozenset())
    assert [step.name for step in only] == ["search"]


def test_what_is_needed_is_what_the_project_declares() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((accelerator.ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    def names(declared: list[str]) -> set[str]:
        return {each.split(">")[0] for each in declared}

    assert set(accelerator.CORE.values()) == names(project["dependencies"])
    assert set(accelerator.TRAIN.values()) == names(project["optional-dependencies"]["train"])


def test_time_that_a_step_leaves_goes_to_those_behind_it() -> None:
    steps, _ = accelerator.planned(options(), frozenset())
    left, given = 540.0, []
    for number in range(len(steps)):
        given.append(accelerator.allotted(steps, number, left))
        left -= given[-1]
    assert sum(given) == pytest.approx(540.0)
    assert accelerator.allotted(steps, 4, 500.0) == 500.0
    assert accelerator.allotted(steps, 4, 540.0 - sum(given[:4])) == pytest.approx(0.53 * 540)


def test_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("addition", "boolean"):
        for split in ("target", "dev"):
            file = tmp_path / "tasks" / name / f"{split}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(Path(demo.task_file(name, split)).read_bytes())
    (tmp_path / "tasks" / "test only").mkdir()  # what is read for test alone is no task of a search
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in drawn_rows(30)), "utf-8")
    (tmp_path / "model").symlink_to(demo.model_dir())
    found = accelerator._options(
        ["--out", "o", "--work", "w", "--pool", "pool.jsonl", "--model", "model", "--tasks", "tasks"]
    )
    assert (found.out, found.pool) == (tmp_path / "o", tmp_path / "pool.jsonl")
    for given in (["--pool", "pool.jsonl"], ["--pool", str(found.pool)]):
        words = ["--work", "w/search", "--model", "model", "--tasks", "tasks", "--workers", "2", *given]
        config = load_config(accelerator_search.prepare(accelerator_search._options(words)))
        assert [Path(file) for file in config.pool.files] == [tmp_path / "pool.jsonl"]
        assert [task.name for task in config.tasks] == ["addition", "boolean"]
        assert all(Path(task.dev).is_file() for task in config.tasks)
        assert (config.search.batch, config.executor.workers) == (2, 2)
        assert not config.final.enabled and config.incumbent.recipe == "none"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no folder with target\.jsonl and dev\.jsonl"):
        accelerator_search.task_files(tmp_path / "empty")


def test_lines_come_as_they_are_printed_and_what_is_cut_off_leaves_nothing_behind(tmp_path: Path) -> None:
    script = (
        "import json, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(json.dumps({'child': child.pid})); print('said'); print('{broken'); time.sleep(60)"
    )
    taken: list[dict[str, Any]] = []
    log = tmp_path / "log"
    started = time.monotonic()
    ended = accelerator.run(["-c", script], 10.0, log, taken.append)
    assert ended == "cut off after 10 s" and time.monotonic() - started < 50
    assert [list(line) for line in taken] == [["child"]]
    assert log.read_text("utf-8").split("\n")[:2] == ["said", "{broken"]
    assert not _runs(taken[0]["child"])
    assert accelerator.run(["-c", "raise SystemExit('no such thing')"], 30.0, log, taken.append) == "exit code 1"
    assert accelerator.last_line(log) == "no such thing"


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    for _ in range(50):
        try:
            os.kill(process, 0)
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


def test_where_nothing_can_be_measured_the_preflight_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accelerator, "missing_modules", lambda: accelerator.EVERYTHING)
    monkeypatch.chdir(tmp_path)
    assert accelerator.main(["--out", "out", "--device", "cpu"]) == 1
    preflight, end = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "torch" in preflight["missing"] and preflight["left_out"]["packed"] == ["numpy", "torch", "transformers"]
    assert "failure" in end
    assert len((tmp_path / "out" / "accelerator.jsonl").read_text("utf-8").splitlines()) == 2


def test_a_journal_is_read_on_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "study" / "journal.jsonl"
    tail = journal_tail(path)
    assert accelerator_search.new_events(tail) == []
    with Journal(path) as journal:
        journal.append("study", rows=200)
        assert [event["rows"] for event in accelerator_search.new_events(tail)] == [200]
        journal.append("evaluation", result={})
        with path.open("a") as file:
            file.write('{"seq": 2, "event": "torn')
        assert [event["event"] for event in accelerator_search.new_events(tail)] == ["evaluation"]
    assert accelerator_search.new_events(tail) == []


def test_a_search_that_is_cut_off_says_how_far_it_came() -> None:
    told = accelerator_search.Told(15)
    assert "failure" in told.last(10.0, finished=False)
    event = {"event": "study", "rows": 200, "signal_report": {"seconds": 30.0}}
    (line,) = told.lines(event, 40.0)
    assert (line["signals_s"], line["after_s"]) == (30.0, 40.0)
    result = {"seconds": {"total": 20.0}, "train_tokens": 1000, "settings": {}, "failure": None}
    for number in range(1, 4):
        (line,) = told.lines({"event": "evaluation", "result": result}, 40.0 + 20 * number)
        assert line["number"] == number and "failure" not in line
    assert list(told.lines({"event": "round"}, 100.0)) == []
    cut = told.last(110.0, finished=False)
    assert (cut["evaluations"], cut["projected_s"], cut["finished"]) == (3, 340.0, False)
    assert told.last(345.0, finished=True)["projected_s"] == 345.0


@pytest.mark.parametrize(("kind", "window"), [("llama", None), ("qwen2", None), ("mistral", 12)])
def test_packed_passes_are_compared_with_the_models_own(kind: str, window: int | None) -> None:
    lines = list(packed.compared(replace(parse_shape(TINY), kind=kind, window=window), "cpu", longest=40))
    assert [line["arithmetic"] for line in lines] == ["float32", "bfloat16 autocast", "bfloat16"]
    assert all(line["right"] and line["packable"] and line["packable_trained"] for line in lines)
    assert lines[0]["gradient_packed"] < 1e-5 < lines[1]["gradient_own"]


def test_a_wrong_backward_pass_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from autoselection.language import packed as passes

    own = passes._Taken.backward

    def wrong(context: Any, gradient: Any) -> Any:
        return (own(context, gradient)[0] * 1.1, None, None, None)

    monkeypatch.setattr(passes._Taken, "backward", staticmethod(wrong))
    line = next(iter(packed.compared(parse_shape(TINY), "cpu", longest=40)))
    assert line["logits_packed"] < 1e-4 < line["gradient_packed"]
    assert not line["right"]


def test_a_window_that_is_left_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from autoselection.language import packed as passes

    own = passes.Layout.attend

    def unwindowed(layout: Any, *tensors: Any, **how: Any) -> Any:
        return own(layout, *tensors, **{**how, "window": None})

    shape = parse_shape("windowed")
    assert shape.window is not None and shape.window < packed.LONGEST / 2
    monkeypatch.setattr(passes.Layout, "attend", unwindowed)
    line = next(iter(packed.compared(replace(parse_shape(TINY), kind=shape.kind, window=12), "cpu", longest=40)))
    assert not line["right"]


@pytest.mark.parametrize(("gradient", "right"), [(1.0, True), (1.5, False)])
def test_what_training_goes_by_is_told_beside_what_scoring_goes_by(
    gradient: float, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from autoselection.language import packed as passes
    from autoselection.language import packing

    def kernel(query: Any, key: Any, value: Any, ends: Any, key_ends: Any, *rest: Any) -> Any:
        """FlashAttention as it should be, with gradients that are so many times too large."""
        found = []
        for (start, end), (first, last) in zip(pairwise(ends.tolist()), pairwise(key_ends.tolist()), strict=True):
            q, k, v = (each.transpose(0, 1)[None] for each in (query[start:end], key[first:last], value[first:last]))
            seen = torch.ones(end - start, last - first, dtype=torch.bool).tril(last - first - (end - start))
            attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, seen, enable_gqa=True)
            found.append(attended[0].transpose(0, 1))
        together = torch.cat(found)
        return together.detach() + gradient * (together - together.detach())

    for module in (passes, packing):
        monkeypatch.setattr(module, "kernel_for", lambda query, value, dropout: kernel)
    lines = list(packed.compared(parse_shape(TINY), "cpu", longest=40))
    assert [(line["packable"], line["packable_trained"], line["right"]) for line in lines] == [(True, right, right)] * 3


@pytest.mark.slow
def test_all_steps_run_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ["--device", "cpu", "--small", TINY, "--large", "2,96,192,4,2,400", "--batch-size", "8", "--drawn", "200"]
    search = ["--workers", "1", "--rows", "120", "--evaluations", "2", "--tokens", "1500"]
    assert accelerator.main(["--out", "out", "--seconds", "240", *tiny, *search]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [json.loads(line) for line in (tmp_path / "out" / "accelerator.jsonl").read_text().splitlines()]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["accelerator.jsonl", "accelerator.log"]
    assert lines[0]["left_out"] == {} and lines[0]["device"] == "cpu"
    found = {(line["step"], line.get("part"), line.get("method")): line for line in lines if "failure" not in line}
    assert found["small", "training", OURS]["packed"] and found["large", "training", PACKED]["tokens_per_s"] > 0
    assert found["signals", "signals", OURS]["tokens_per_s"] > 0
    ends = [line for line in lines if line.get("stage") == "end"]
    assert ends[0]["evaluations"] >= 1
