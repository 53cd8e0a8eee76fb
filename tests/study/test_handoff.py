"""A study's rows with a configuration for a trainer, and pushed to a hub."""

from __future__ import annotations

import json
import shlex
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.study.journals import write_unchecked
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import AutoSelectionError, ConfigError, StudyError
from autoselection.export import export_subset, push_dataset
from autoselection.pool import Pool, ingest
from autoselection.study import Study, handoff
from autoselection.study.handoff import exported_rows, hand_off

TRAINERS = ("trl", "llamafactory", "axolotl", "open-instruct")


@pytest.fixture
def study(finished_study: Study, tmp_path: Path) -> Study:
    return Study(Path(shutil.copytree(finished_study.path, tmp_path / "study")))


def options(script: Path) -> dict[str, list[str]]:
    """The options of the command in a script."""
    found: dict[str, list[str]] = {}
    words = shlex.split(script.read_text().splitlines()[-1])
    name = ""
    for word in words[3:]:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        else:
            found[name].append(word)
    return found


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_rows_and_the_studys_own_training_are_written(trainer: str, study: Study, tmp_path: Path) -> None:
    found = hand_off(study, trainer, tmp_path / "out")  # type: ignore[arg-type]
    rows = exported_rows(study)
    assert found.report.rows == len(rows) and study.config.name in found.config.read_text()
    if trainer == "open-instruct":
        given = options(found.config)
        written, batch = {name: value[0] for name, value in given.items()}, ("per_device_train_batch_size",)
        data = Path(given["dataset_mixer_list"][0])
    else:
        written = yaml.safe_load(found.config.read_text())
        batch = ("micro_batch_size",) if trainer == "axolotl" else ("per_device_train_batch_size",)
        data = (
            Path(written["dataset_dir" if trainer == "llamafactory" else "dataset_name"])
            if trainer != "axolotl"
            else Path(written["datasets"][0]["path"])
        )
    assert float(written["learning_rate"]) == study.config.evaluation.sft.learning_rate
    steps = {"open-instruct": "max_train_steps"}.get(trainer, "max_steps")
    assert int(written[steps]) == 4
    assert int(written[batch[0]]) * int(written["gradient_accumulation_steps"]) == 8
    length = {
        "trl": "max_length",
        "llamafactory": "cutoff_len",
        "axolotl": "sequence_len",
        "open-instruct": "max_seq_length",
    }
    assert int(written[length[trainer]]) == 128
    read = ingest(data, tmp_path / "read").pool
    assert list(read.row_ids()) == list(study.pool.row_ids(rows))


def test_trls_own_parser_takes_it_and_its_rows_load(study: Study, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from datasets import load_dataset
    from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser

    found = hand_off(study, "trl", tmp_path / "out")
    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig))
    script, training, model = parser.parse_args_and_config(["--config", str(found.config), "--use_cpu", "true"])
    assert training.max_steps == 4 and training.assistant_only_loss and training.warmup_steps == 1
    assert training.gradient_accumulation_steps * training.per_device_train_batch_size == 8
    assert model.model_name_or_path == study.config.model.path and not model.use_peft
    data = load_dataset(script.dataset_name, split=script.dataset_train_split, cache_dir=str(tmp_path / "cache"))
    assert len(data) == len(exported_rows(study)) and {"messages"} <= set(data.column_names)


def test_axolotls_own_schema_takes_it(study: Study, tmp_path: Path) -> None:
    pytest.importorskip("axolotl", reason="Axolotl is not installed.")
    from axolotl.utils.schemas.config import AxolotlInputConfig

    found = hand_off(study, "axolotl", tmp_path / "out")
    read = AxolotlInputConfig.model_validate(yaml.safe_load(found.config.read_text()))
    assert read.max_steps == 4 and set(yaml.safe_load(found.config.read_text())) <= set(AxolotlInputConfig.model_fields)


def test_adapters_templates_and_other_budgets_are_handed_on(study: Study, tmp_path: Path) -> None:
    config = study.path / "config.yaml"
    document = yaml.safe_load(config.read_text())
    document["model"]["chat_template"] = "plain"
    document["evaluation"]["sft"] |= {
        "method": "lora", "lora_r": 8, "lora_alpha": 12.0, "lora_target_modules": ["q_proj"], "max_steps": None, "max_tokens": 5000,
        "turns": "last",
    }  # fmt: skip
    config.write_text(yaml.safe_dump(document))
    changed = Study(study.path)
    steps = round(sum(r.steps for r in changed.best().results.values()) / len(changed.best().results))  # type: ignore[union-attr]
    for trainer in TRAINERS:
        found = hand_off(changed, trainer, tmp_path / trainer)  # type: ignore[arg-type]
        text = found.config.read_text()
        assert "q_proj" in text or trainer == "open-instruct"
        assert any("The study's budget is 5,000 tokens" in said for said in found.differs)
        assert ("only the last answer" in " ".join(found.differs)) == (trainer != "llamafactory")
        assert (tmp_path / trainer / "chat_template.jinja").read_text().startswith("{% if bos_token %}")
        assert str(steps) in text
        if trainer != "open-instruct":
            assert yaml.safe_load(text)["lora_rank" if trainer == "llamafactory" else "lora_r"] == 8


def test_what_a_trainer_kept_of_rows_handed_over_before_is_not_used_again(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, rows = [], exported_rows(study)
    for some in (len(rows), 3, 3):
        monkeypatch.setattr(handoff, "exported_rows", lambda _, some=some: rows[:some])
        found = hand_off(study, "axolotl", tmp_path / "out", overwrite=True)
        kept.append(yaml.safe_load(found.config.read_text())["dataset_prepared_path"])
        assert str(found.config.resolve()) in found.command
    assert kept[0] != kept[1] == kept[2]  # Axolotl knows prepared rows by the name of their file


def test_what_a_trainer_takes_as_a_whole_number_alone_is_said(study: Study, tmp_path: Path) -> None:
    config = study.path / "config.yaml"
    document = yaml.safe_load(config.read_text())
    document["evaluation"]["sft"] |= {"method": "lora", "lora_alpha": 0.4}
    config.write_text(yaml.safe_dump(document))
    for trainer in TRAINERS:
        found = hand_off(Study(study.path), trainer, tmp_path / trainer)  # type: ignore[arg-type]
        assert any("lora_alpha is 0.4" in said for said in found.differs) == (trainer != "open-instruct")


def test_what_cannot_be_handed_on_is_one_sentence(study: Study, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(ConfigError, match="is there already"):
        hand_off(study, "trl", tmp_path / "full")
    with pytest.raises(ConfigError, match="There is no trainer 'tlr': name trl"):
        hand_off(study, "tlr", tmp_path / "out")  # type: ignore[arg-type]
    (study.path / "best" / "ids.json").write_text('["nobody"]')
    with pytest.raises(StudyError, match="names rows that the pool has not"):
        hand_off(study, "trl", tmp_path / "out")
    (study.path / "best" / "ids.json").write_text("[" * 100_000)
    with pytest.raises(StudyError, match="cannot be read"):
        hand_off(study, "trl", tmp_path / "out")
    shutil.rmtree(study.path / "best")
    done = CliRunner().invoke(app, ["handoff", str(study.path), "--for", "trl", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, AutoSelectionError) and "has exported nothing yet" in str(done.exception)


@pytest.mark.parametrize("exported", ["found", "incumbent"])
def test_rows_that_the_study_does_not_export_are_not_handed_on(exported: str, study: Study, tmp_path: Path) -> None:
    """A list that was changed, and that of an earlier winner."""
    listed = study.path / "best" / "ids.json"
    verdict = study.journal.of("verdict")[-1]
    rows = study.rows(verdict["winner"]) if exported == "found" else np.arange(len(study.pool))
    listed.write_text(json.dumps([str(study.pool.ids[row]) for row in rows.tolist()]))
    events = [
        event | {"exported": exported} if event["event"] == "verdict" else event for event in study.journal.events
    ]
    write_unchecked(study.path / "journal.jsonl", events)
    study = Study(study.path)
    assert exported_rows(study).tolist() == rows.tolist()
    other = next(study.rows(trial.id) for trial in study.trials if trial.id != verdict["winner"])
    for wrong in (rows[1:], other, [*rows, rows[0]]):
        listed.write_text(json.dumps([str(study.pool.ids[int(row)]) for row in wrong]))
        with pytest.raises(StudyError, match="other rows than the study exports"):
            hand_off(study, "trl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as a push needs; everything else is not found."""

    asked: list[tuple[str, Any]]
    private: bool

    def do_GET(self) -> None:
        if self.path.startswith("/api/datasets/org/name/tree/main"):
            self._answer(200, [{"type": "file", "path": "data/train-old.parquet", "size": 1, "oid": "0123"}])
        elif self.path.partition("?")[0] == "/api/datasets/org/name":
            self._answer(200, {"id": "org/name", "private": self.private})
        else:
            self._answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        self.asked.append((path, lines))
        if path == "/api/repos/create":
            self._answer(200, {"url": "https://huggingface.co/datasets/org/name", "name": "org/name"})
        elif path.endswith("/preupload/main"):
            names = [file["path"] for file in lines[0]["files"]]
            self._answer(
                200, {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
            )
        elif path.endswith("/commit/main"):
            self._answer(
                200,
                {
                    "commitUrl": "https://huggingface.co/datasets/org/name/commit/0123abc",
                    "commitOid": "0123abc",
                    "hookOutput": "",
                },
            )
        elif path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        else:
            self._answer(404, {"error": "not found"})

    def _answer(self, code: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    Hub.asked, Hub.private = [], True
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", Hub.asked
        server.shutdown()


def test_a_dataset_folder_is_pushed_with_its_card(study: Study, hub: tuple[str, list[tuple[str, Any]]]) -> None:
    address, asked = hub
    folder = study.path / "best" / "hf_dataset"
    pushed = push_dataset(folder, "org/name", endpoint=address, token="hf_" + "x" * 20)
    assert pushed.commit == "0123abc" and pushed.url == f"{address}/datasets/org/name"
    made = next(lines[0] for path, lines in asked if path == "/api/repos/create")
    assert (
        made["name"] == "name"
        and made["organization"] == "org"
        and "private" in (made.get("visibility"), *(name for name in made if made[name] is True))
        and made["type"] == "dataset"
    )
    commit = next(lines for path, lines in asked if path == "/api/datasets/org/name/commit/main")
    sent = {line["value"]["path"] for line in commit if line["key"] == "file"}
    assert sent == set(pushed.files) and "README.md" in sent
    assert not [line for line in commit if line["key"] == "file" and not line["value"]["content"]]
    assert [line["value"]["path"] for line in commit if line["key"] == "deletedFile"] == ["data/train-old.parquet"]


def test_nobody_is_told_by_a_push_where_the_rows_lay(
    tmp_path: Path, hub: tuple[str, list[tuple[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = hub
    monkeypatch.chdir(tmp_path)
    Path("customer").mkdir()
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    Path("customer/rows.jsonl").write_text(json.dumps({"messages": turns, "topic": "x"}))
    ingest([tmp_path / "customer" / "rows.jsonl"], tmp_path / "pool")
    options: dict[str, Any] = {"endpoint": address, "token": "hf_" + "x" * 20}
    for columns, told in ((None, True), (("topic", "_line"), False), ((), False)):
        export_subset(Pool.open(tmp_path / "pool"), None, "train", columns=columns, overwrite=True)
        pushed = push_dataset("train", "org/name", **options)
        assert [str(tmp_path / "customer") in said for said in pushed.remarks] == [True] * told
        asked.clear()
        if told:
            with pytest.raises(ConfigError, match="--public: the column '_file'"):
                push_dataset("train", "org/name", private=False, **options)
            assert not asked
        else:
            assert push_dataset("train", "org/name", private=False, **options).remarks == ()
    ingest([Path("customer/rows.jsonl")], Path("relative"))
    export_subset(Pool.open(Path("relative")), None, "train", overwrite=True)
    assert push_dataset("train", "org/name", private=False, **options).remarks == ()


def test_a_data_set_that_is_public_already_is_told_no_places(
    tmp_path: Path, hub: tuple[str, list[tuple[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = hub
    monkeypatch.setattr(Hub, "private", False)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "q", "response": "a"}))
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    options: dict[str, Any] = {"endpoint": address, "token": "hf_" + "x" * 20}
    export_subset(Pool.open(tmp_path / "pool"), None, tmp_path / "train")
    with pytest.raises(ConfigError, match=r"^org/name is public: the column '_file' .* --columns none"):
        push_dataset(tmp_path / "train", "org/name", **options)
    assert [path for path, _ in asked] == ["/api/repos/create"]  # nothing was uploaded
    export_subset(Pool.open(tmp_path / "pool"), None, tmp_path / "train", columns=(), overwrite=True)
    pushed = push_dataset(tmp_path / "train", "org/name", **options)
    assert pushed.remarks == ("org/name is public, as it was before: everybody sees these rows.",)


def test_what_cannot_be_pushed_is_one_sentence(
    study: Study, tmp_path: Path, hub: tuple[str, list[tuple[str, Any]]]
) -> None:
    folder = study.path / "best" / "hf_dataset"
    for given, name, said in (
        (tmp_path, "org/name", "is no dataset folder with a card"),
        (folder, "name", "is no name of a data set"),
        (folder, "org/name", "could not be pushed to org/name"),
    ):
        with pytest.raises(ConfigError, match=said) as told:
            push_dataset(given, name, endpoint="http://127.0.0.1:9", token="hf_" + "x" * 20)
        assert "\n" not in str(told.value)
