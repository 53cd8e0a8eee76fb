"""A study's folder under attack: damaged subsets and configurations, other models and tasks, other folders, two runs at once."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.journals import write_unchecked
from tests.study.test_cli import run
from tests.study.test_incumbent import scored

from autoselection.config import StudyConfig, load_config, parse_config
from autoselection.demo import model_dir, sae_dir, task_file
from autoselection.errors import SignalError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.study import Journal, Study, read_events, run_study
from autoselection.study.compute import measure_compute
from autoselection.study.identity import study_identity

Ends = Callable[[Callable[[EvaluationJob], EvaluationResult | None]], None]


@pytest.fixture(scope="module")
def own_files(study_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study's configuration, with a model, SAE, template and tasks of its own, and signals of texts alone."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(model_dir(), folder / "model")
    shutil.copytree(sae_dir(), folder / "sae")
    shutil.copy(folder / "model" / "chat_template.jinja", folder / "template.jinja")
    document = yaml.safe_load(study_config.read_text())
    for split in ("target", "dev", "test"):
        shutil.copy(task_file("addition", split), folder / f"{split}.jsonl")
    document["tasks"] = [
        {"name": "addition", "dev_limit": 12, "test_limit": 12}
        | {split: f"{split}.jsonl" for split in ("target", "dev", "test")}
    ]
    document |= {
        "model": {"path": "model", "chat_template": "template.jinja"},
        "sae": "sae",
        "signals": {"signals": ["ngram_entropy", "text_hash", "repetition"]},
        "search": {**document["search"], "evaluations": 3, "batch": 1},
        "final": {"enabled": False},
        "incumbent": {"recipe": "none"},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    return folder


@pytest.fixture
def own(own_files: Path, tmp_path: Path) -> Path:
    """A copy of these, to be changed."""
    shutil.copytree(own_files, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def config(own: Path, ends: Ends) -> StudyConfig:
    ends(lambda job: scored(job, 0.0))
    return load_config(own / "study.yaml")


def interrupted(config: StudyConfig, out: Path, lines: int) -> Path:
    """A study that was killed after so many events."""
    study = run_study(config, out)
    content = study.journal.path.read_bytes().splitlines(keepends=True)
    study.journal.path.write_bytes(b"".join(content[:lines]))
    return out


def flip(path: Path, seed: int = 0) -> None:
    content, draw = bytearray(path.read_bytes()), random.Random(seed)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def weights(own: Path) -> None:
    path = own / "model" / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-4000] + bytes(4000))


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(own: Path) -> None:
        text = (own / name).read_text()
        assert old in text
        (own / name).write_text(text.replace(old, new, 1))

    return change


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights": (weights, "model"),
    "model configuration": (edited("model/config.json", "{", "{ "), "model"),
    "tokenizer": (edited("model/tokenizer.json", "{", "{ "), "tokenizer"),
    "chat template": (edited("template.jinja", "{", "X{"), "chat template"),
    "SAE": (edited("sae/cfg.json", "{", "{ "), "SAE"),
    "dev items": (edited("dev.jsonl", '"answer":"', '"answer":"1'), "task addition/dev"),
    "target items": (edited("target.jsonl", '"answer":"', '"answer":"1'), "task addition/target"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_study_is_about_may_not_change(change: str, config: StudyConfig, own: Path, tmp_path: Path) -> None:
    out = interrupted(config, tmp_path / "study", 7)
    before = (out / "journal.jsonl").read_bytes()
    how, named = CHANGES[change]
    how(own)
    with pytest.raises(StudyError, match=rf"these changed: {named}\."):
        run_study(config, out)
    assert (out / "journal.jsonl").read_bytes() == before, "nothing was evaluated"


def test_every_part_is_noted_and_spaces_between_items_are_none(config: StudyConfig, own: Path, tmp_path: Path) -> None:
    parts = {"model", "tokenizer", "chat template", "SAE", "task addition/dev", "task addition/target"}
    assert set(study_identity(config)) == parts
    out = interrupted(config, tmp_path / "study", 7)
    assert set(read_events(out / "journal.jsonl")[0]["identity"]) == parts
    edited("dev.jsonl", '"answer":"', '"answer":   "')(own)
    assert run_study(config, out).journal.of("finished")
    final = config.model_copy(update={"final": config.final.model_copy(update={"enabled": True, "base": False})})
    study = run_study(final, out)
    assert [set(event["parts"]) for event in study.journal.of("identity")] == [{"task addition/test"}]
    edited("test.jsonl", '"answer":"', '"answer":"1')(own)
    with pytest.raises(StudyError, match="addition/test"):
        run_study(final, out)
    weights(own)
    with pytest.raises(StudyError, match="these changed"):
        measure_compute(out, [0.5, 1.0])


@pytest.mark.parametrize("fewshot", [0, 1])
def test_subtasks_are_a_part_of_their_own_where_they_choose_few_shot_examples(fewshot: int, tmp_path: Path) -> None:
    def parts(**changed: str) -> dict[str, str]:
        for split in ("dev", "target"):
            own = {"subtask": subtask} if (subtask := changed.get(split, "sums")) else {}
            items = [{"id": f"{split}{n}", "prompt": f"{n} + {n}?", "answer": str(2 * n), **own} for n in range(3)]
            (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        task = {"name": "quiz", "fewshot": fewshot, **{split: f"{split}.jsonl" for split in ("dev", "target")}}
        document = {"pool": {"path": "pool"}, "model": {"path": str(model_dir())}, "tasks": [task]}
        return study_identity(parse_config({**document, "final": {"enabled": False}}, tmp_path))

    before = parts()
    assert {name for name in before if name.startswith("subtasks")} == (
        {"subtasks of quiz/dev", "subtasks of quiz/target"} if fewshot else set()
    )
    for other in ("products", ""):
        after = parts(target=other)
        differing = {name for name in before if before[name] != after[name]}
        assert differing == ({"subtasks of quiz/target"} if fewshot else set())


def test_an_old_study_goes_on_and_is_compared_from_then_on(
    config: StudyConfig, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = interrupted(config, tmp_path / "study", 7)
    opening, *rest = read_events(out / "journal.jsonl")
    old = [{key: value for key, value in opening.items() if key not in ("identity", "kind")}, *rest]
    write_unchecked(out / "journal.jsonl", old)
    assert run_study(config, out).journal.of("finished")
    assert capsys.readouterr().err.count("did not record the contents of its model") == 1
    run_study(config, out)
    assert "did not record" not in capsys.readouterr().err
    weights(own)
    with pytest.raises(StudyError, match="changed: model"):
        run_study(config, out)


def test_a_damaged_subset_is_never_exported_and_the_search_mends_it(
    config: StudyConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = run_study(config, tmp_path / "study")
    best = study.best()
    assert best is not None
    ids, path = (study.path / "best" / "ids.json").read_bytes(), study.path / "subsets" / f"{best.id}.npy"
    sound, right = path.read_bytes(), study.rows(best.id).tolist()
    for seed in range(200):
        flip(path, seed)
        try:
            assert study.rows(best.id).tolist() == right, "read in silence"
        except StudyError as error:
            assert str(path) in str(error)
        path.write_bytes(sound)
    for damage in (
        lambda: flip(path, 1),
        path.unlink,
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(sound[:-8]),
    ):
        damage()
        again = run_study(config, study.path)
        assert "written again" in capsys.readouterr().err
        assert again.rows(best.id).tolist() == right and (study.path / "best" / "ids.json").read_bytes() == ids


def test_rows_in_another_order_are_other_rows(config: StudyConfig, tmp_path: Path) -> None:
    study = run_study(config, tmp_path / "study")
    trial = study.trials[0]
    study.save_rows(trial.id, study.rows(trial.id)[::-1].copy())
    with pytest.raises(StudyError, match="other rows than were evaluated"):
        study.rows(trial.id)


def test_a_changed_configuration_in_the_folder_is_noticed(config: StudyConfig, tmp_path: Path) -> None:
    study = run_study(config, tmp_path / "study")
    path = study.path / "config.yaml"
    sound = path.read_text()
    path.write_text(sound.replace("learning_rate: 0.001", "learning_rate: 0.003"))
    with pytest.raises(StudyError, match="was changed since it was written"):
        Study(study.path)
    for text in ("{", "a: [", "\0", ""):
        path.write_text(text)
        with pytest.raises(StudyError, match=r"config\.yaml (cannot be read|is damaged)"):
            Study(study.path)
    path.unlink()
    with pytest.raises(StudyError, match=r"config\.yaml cannot be read"):
        Study(study.path)
    assert run_study(config, study.path).journal.of("finished") and path.read_text() == sound


def test_a_folder_of_something_else_is_refused(config: StudyConfig, own: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("dear")
    for command in (
        ("search", own / "study.yaml"),
        ("compare", own / "study.yaml", "--methods", "random", "--budget", 1),
    ):
        code, _, message = run(*command, "--out", mine)
        assert code == 7 and "other things in it (thesis.tex)" in message
        assert [path.name for path in mine.iterdir()] == ["thesis.tex"]
        code, _, message = run(*command, "--out", mine / "thesis.tex")
        assert code == 7 and "is a file" in message
    study = run_study(config, tmp_path / "study")
    before = study.journal.path.read_bytes()
    code, _, message = run("compare", own / "study.yaml", "--methods", "random", "--budget", 1, "--out", study.path)
    assert code == 7 and "holds a study, no comparison" in message and study.journal.path.read_bytes() == before
    with Journal(tmp_path / "compared" / "journal.jsonl") as journal:
        journal.append("study", kind="comparison", pool="p", signals="s")
    with pytest.raises(StudyError, match="holds a comparison, no study"):
        run_study(config, tmp_path / "compared")


def _hold(path: str, ready: Any, done: Any) -> None:
    with Journal(Path(path)):
        ready.set()
        done.wait(60)


def test_a_refused_run_changes_nothing(config: StudyConfig, tmp_path: Path) -> None:
    study = run_study(config, tmp_path / "study")
    before = {path: path.read_bytes() for path in study.path.rglob("*") if path.is_file()}
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(study.journal.path), ready, done))
    process.start()
    try:
        assert ready.wait(60)
        free = config.model_copy(update={"export": config.export.model_copy(update={"messages": False})})
        with pytest.raises(StudyError, match="another process"):
            run_study(free, study.path)
    finally:
        done.set()
        process.join()
    assert {path: path.read_bytes() for path in study.path.rglob("*") if path.is_file()} == before


def test_settings_are_compared_with_those_of_the_journal_where_the_configuration_is_lost(
    config: StudyConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_study(config, tmp_path / "study").path
    stored = path / "config.yaml"
    sft = config.evaluation.sft.model_copy(update={"learning_rate": 0.5})
    other = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"sft": sft})})
    stored.unlink()
    with pytest.raises(StudyError, match=r"started with other settings \(evaluation\.sft\.learning_rate\)"):
        run_study(other, path)
    assert not stored.exists()
    # Where files lie is nothing that decides: their contents are compared.
    moved = {name: Path(shutil.copy(getattr(config.tasks[0], name), tmp_path)) for name in ("dev", "target")}
    elsewhere = config.model_copy(update={"tasks": (config.tasks[0].model_copy(update=moved),), "name": "other"})
    assert run_study(elsewhere, path).finished and stored.exists()
    events = read_events(path / "journal.jsonl")
    del events[0]["settings"]
    write_unchecked(path / "journal.jsonl", events)
    stored.unlink()
    capsys.readouterr()
    assert run_study(config, path).finished
    assert "whether these are the settings that the study was started with is not checked" in said(capsys)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_settings_of_a_study_without_an_event_may_still_change(config: StudyConfig, tmp_path: Path) -> None:
    broken = config.model_copy(update={"sae": tmp_path / "nowhere"})
    with pytest.raises(SignalError, match="SAE"):
        run_study(broken, tmp_path / "study")
    assert run_study(config, tmp_path / "study").journal.of("finished")
    assert json.loads((tmp_path / "study" / "best" / "ids.json").read_text())


def test_a_study_made_with_a_package_that_is_gone_says_so(config: StudyConfig, tmp_path: Path) -> None:
    study = run_study(config, tmp_path / "study")
    path = study.path / "config.yaml"
    body = yaml.safe_load(path.read_text())
    body["evaluation"]["sft"]["trainer"] = "partial"
    body["signals"]["options"] = {"code_share": {"fence": "~~~"}}
    path.write_text(yaml.safe_dump(body))
    with pytest.raises(StudyError) as caught:
        Study(study.path)
    told = str(caught.value)
    assert "evaluation.sft.trainer: there is no trainer 'partial'" in told
    assert "signals.options: there is no signal 'code_share'" in told
    assert "a package that registers what is unknown may not be installed any more: install it again" in told
