"""Studies in trackers: real local MLflow, trackio, W&B offline and TensorBoard."""

from __future__ import annotations

import errno
import html
import importlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.journals import write_unchecked
from tests.study.small_study import evaluate_here, small_document
from typer.testing import CliRunner

from autoselection import files
from autoselection.cli import app
from autoselection.config import StudyConfig, TrackingConfig, load_config, parse_config, to_yaml
from autoselection.errors import AutoSelectionError, ConfigError, MissingExtraError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.report import write_report
from autoselection.study import Study, read_events, run_study, tracked
from autoselection.tracking import track_study
from autoselection.tracking.runs import trial_runs
from autoselection.tracking.secrets import Secrets
from autoselection.tracking.trackers import open_tracker

EMPTY = "http://127.0.0.1:9"  # nothing listens there


def has(package: str) -> Any:
    """Skips a test where a tracker is not installed."""
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"The extra '{package}' is not installed.")


@dataclass(frozen=True)
class Found:
    """A run as its tracker gives it back."""

    parameters: dict[str, Any]
    numbers: dict[str, float]
    study: bool
    grouped: str | None


def in_mlflow(place: Path) -> dict[str, Found]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{place}/ml.db")
    experiment = client.get_experiment_by_name("autoselection")
    found: dict[str, Found] = {}
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.data.tags["autoselection.key"].partition("/")[2] for run in runs}
    assert len(set(names.values())) == len(names), "a run twice"
    for run in runs:
        parent = run.data.tags.get("mlflow.parentRunId")
        found[names[run.info.run_id]] = Found(
            run.data.params, run.data.metrics, parent is None, names.get(parent or "")
        )
    return found


def in_trackio(place: Path) -> dict[str, Found]:
    from trackio.sqlite_storage import SQLiteStorage

    found: dict[str, Found] = {}
    for record in SQLiteStorage.get_run_records("autoselection"):
        config = SQLiteStorage.get_run_config("autoselection", record["name"], run_id=record["id"])
        logs = SQLiteStorage.get_logs("autoselection", record["name"], run_id=record["id"])
        steps = [entry["step"] for entry in logs]
        assert len(set(steps)) == len(steps), "a step twice"
        numbers = {name: value for entry in logs for name, value in entry.items() if isinstance(value, float)}
        study = config["job_type"] == "study"
        key = "study" if study else record["name"].partition(" ")[0]
        assert key not in found, "a run twice"
        found[key] = Found(config, numbers, study, None if study else config.get("_Group"))
    return found


def in_tensorboard(place: Path) -> dict[str, Found]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    found: dict[str, Found] = {}
    (own,) = (place / "tb").iterdir()
    for folder in sorted(own.iterdir()):
        events = EventAccumulator(str(folder))
        events.Reload()
        numbers = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        parameters = {name: value.string_value or value.number_value for name, value in start.hparams.items()}
        found[folder.name] = Found(parameters, numbers, folder.name == "study", None)
    return found


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records in a file of W&B: behind its head of 7 bytes, a log of LevelDB's form in blocks of 32 KiB."""
    block, place, parts = 2**15, 7, b""
    while place + 7 <= len(data):
        left = block - place % block
        if left < 7:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def in_wandb(place: Path) -> dict[str, Found]:
    """Offline runs, read from the files that `wandb sync` uploads; those that are not written to their end are called ''."""
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2

    found: dict[str, Found] = {}
    for file in sorted(place.glob("**/*.wandb")):
        parameters: dict[str, Any] = {}
        numbers: dict[str, float] = {}
        group, kind, key, whole = None, "", "", False
        for data in wandb_records(file.read_bytes()):
            try:
                record = wandb_internal_pb2.Record.FromString(data)
            except DecodeError:  # half a record: it is being written
                break
            whole = whole or record.HasField("exit")
            if record.HasField("run"):
                group, kind, key = record.run.run_group, record.run.job_type, record.run.run_id.partition("-")[2]
                parameters |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            for item in record.summary.update:
                value = json.loads(item.value_json)
                numbers |= {item.key or "/".join(item.nested_key): value} if isinstance(value, (int, float)) else {}
        key = key if whole else ""
        assert not key or key not in found, "a run twice"
        found[key] = Found(parameters, numbers, kind == "study", None if kind == "study" else group)
    return found


@dataclass(frozen=True)
class Local:
    """A tracker on this machine."""

    uri: Callable[[Path], str | None]
    read: Callable[[Path], dict[str, Found]]
    files: tuple[str, ...] = ("report.md", "config.yaml", "report.html", "recipe.yaml", "recipe.lock.yaml")


TRACKERS = {
    "mlflow": Local(lambda place: f"sqlite:///{place}/ml.db", in_mlflow),
    "trackio": Local(lambda place: None, in_trackio),
    "tensorboard": Local(lambda place: str(place / "tb"), in_tensorboard, ("report.md",)),
    "wandb": Local(lambda place: "offline", in_wandb),
}


@pytest.fixture
def study(finished_study: Study, tmp_path: Path) -> Study:
    """A copy of a finished study."""
    return Study(Path(shutil.copytree(finished_study.path, tmp_path / "study")))


@pytest.fixture(scope="session")
def new_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A database of MLflow with nothing in it: making one takes MLflow long."""
    if importlib.util.find_spec("mlflow") is None:
        return None
    import mlflow

    file = tmp_path_factory.mktemp("mlflow") / "ml.db"
    mlflow.MlflowClient(f"sqlite:///{file}").get_experiment_by_name("autoselection")
    return file


@pytest.fixture
def place(new_mlflow: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where trackers write; no other settings of theirs count."""
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    if new_mlflow is not None:
        for name in ("ml", "mlFalse", "mlTrue"):
            shutil.copy(new_mlflow, tmp_path / f"{name}.db")
    if importlib.util.find_spec("trackio"):
        for module in ("trackio.utils", "trackio.sqlite_storage", "trackio.cas"):
            found = importlib.import_module(module)
            if hasattr(found, "TRACKIO_DIR"):
                monkeypatch.setattr(found, "TRACKIO_DIR", tmp_path / "trackio")
    yield tmp_path


@pytest.mark.parametrize("name", [pytest.param(name, marks=has(name)) for name in TRACKERS])
def test_a_study_and_each_of_its_trials_are_runs(name: str, study: Study, place: Path) -> None:
    local = TRACKERS[name]
    config = TrackingConfig(to=name, uri=local.uri(place))
    sent = track_study(study, config)
    trials = [trial.id for trial in study.all_trials()]
    assert [*sent.sent] == [*trials, "study"] and sorted(sent.files) == sorted(local.files)
    again = track_study(study, config)
    assert again.sent == () and again.there == len(trials) + 1
    (study.path / "tracking.json").unlink()  # killed between sending and noting
    if name != "wandb":  # offline, its next file is for the same run: its server tells by the name
        track_study(study, config)

    found = local.read(place)
    for _ in range(
        240
    ):  # a process of W&B's writes its files, and may not be at their end when a run has been finished
        if "" in found or len(found) <= len(trials):
            time.sleep(0.25)
            found = local.read(place)
    assert sorted(found) == sorted([*trials, "study"])
    best = study.best()
    assert best is not None
    run = found[best.id]
    assert run.parameters["recipe_hash"] == best.record["recipe_hash"]
    assert run.parameters["stage"] in ("warmup", "edit", "fresh", "reseed", "repeat", "starting point")
    assert int(run.parameters["rows"]) == best.size
    assert run.parameters["step_1"] == best.recipe.steps[0].operator
    numbers = run.numbers
    assert numbers["score"] == pytest.approx(best.score)
    for task, score in best.tasks.items():
        assert numbers[f"score/{task}"] == numbers[f"seed_0/score/{task}"] == pytest.approx(score, rel=1e-5)
    assert numbers["cost/tokens"] == sum(result.train_tokens for result in best.results.values())
    assert numbers["cost/seconds"] == pytest.approx(best.seconds, rel=1e-5)
    assert numbers["state/retain_ratio"] == pytest.approx(best.record["state"]["retain_ratio"], rel=1e-5)
    winner = next(iter(study.final_results()[f"winner ({best.id})"].values()))
    assert numbers["test/score"] == pytest.approx(winner.score, rel=1e-5)
    told = found["study"]
    assert told.study and not run.study
    assert told.numbers["best/score"] == pytest.approx(best.score, rel=1e-5)
    assert told.numbers[f"test/winner _{best.id}_/score"] == pytest.approx(winner.score, rel=1e-5)
    if name != "tensorboard":  # there, one folder holds them all
        assert run.grouped


@has("tensorboard")
def test_tensorboard_removes_nothing_but_its_own_events(study: Study, place: Path) -> None:
    mine = place / "t001"
    mine.mkdir()
    (mine / "weights").write_text("precious")
    config = TrackingConfig(to="tensorboard", uri=str(place))  # where the study itself lies, in study/
    before = sorted(study.path.rglob("*"))
    track_study(study, config)
    assert [path for path in before if not path.exists()] == [] and (mine / "weights").read_text() == "precious"
    (first,) = place.glob("small-*")

    events = read_events(study.path / "journal.jsonl")
    events[0]["time"] += 1.0  # another study
    other = Path(shutil.copytree(study.path, place / "other"))
    write_unchecked(other / "journal.jsonl", events)
    (other / "tracking.json").unlink()
    track_study(Study(other), config)
    folders = sorted(place.glob("small-*"))
    runs = sorted([*(trial.id for trial in study.all_trials()), "study"])
    assert len(folders) == 2 and all(sorted(run.name for run in own.iterdir()) == runs for own in folders)

    (first / "t002" / "notes.txt").write_text("mine")
    (study.path / "tracking.json").unlink()
    with pytest.raises(StudyError, match=r"t002 holds notes\.txt, which is no event file: move it away"):
        track_study(study, config)
    assert (first / "t002" / "notes.txt").read_text() == "mine"


def test_of_many_sources_the_same_few_are_sent_of_every_trial(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.recipes.state.SHOWN_SOURCES", 1)
    shares = [{name for name in run.numbers if "source_share" in name} for run in trial_runs(study)]
    named = len(study.all_trials()[0].record["state"]["source_share"])
    assert named > 2 and all(found == shares[0] for found in shares)
    assert len(shares[0]) == 2 and f"state/source_share/{named - 1} other sources" in shares[0]


NAMED = {
    "知乎": 0.25,
    "微博": 0.5,
    "百度": 0.125,
    "हिन्दी": 0.75,
    "a(b": 0.0625,
    "a[b": 0.375,
    **{"x" * 260 + end: 0.5 for end in "yz"},
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=has(name)) for name in TRACKERS])
def test_no_number_is_lost_by_the_name_of_its_source(name: str, study: Study, place: Path) -> None:
    file = study.path / "journal.jsonl"
    events = read_events(file)
    first = next(event for event in events if event["event"] == "trial")["trial"]
    first["state"]["source_share"] = NAMED
    write_unchecked(file, events)
    local = TRACKERS[name]
    track_study(Study(study.path), TrackingConfig(to=name, uri=local.uri(place)))
    for _ in range(240):
        if first["id"] in (found := local.read(place)) and "" not in found:
            break
        time.sleep(0.25)
    told = {key: value for key, value in found[first["id"]].numbers.items() if key.startswith("state/source_share/")}
    assert sorted(told.values()) == sorted(NAMED.values())
    assert told["state/source_share/知乎"] == 0.25 and max(map(len, told)) <= 250


@has("mlflow")
def test_no_row_of_the_pool_is_sent_unless_asked(study: Study, place: Path) -> None:
    import mlflow

    best = study.best()
    assert best is not None
    rows = study.rows(best.id)
    said = [message["content"] for row in study.pool.conversations(rows) for message in row.messages]
    texts = {
        text for text in said if len(text) > 15 and text.isascii() and html.escape(text) == text and "\n" not in text
    }
    sent: dict[bool, bool] = {}
    for asked in (False, True):
        uri = f"sqlite:///{place}/ml{asked}.db"
        track_study(study, TrackingConfig(to="mlflow", uri=uri, texts=asked))
        client = mlflow.MlflowClient(uri)
        (run,) = client.search_runs(["1"], "attributes.run_name = 'small'")
        folder = client.download_artifacts(run.info.run_id, "", str(place))
        page = (Path(folder) / "report.html").read_text()
        assert "The recipe" in page
        sent[asked] = any(text in page or text in (Path(folder) / "report.md").read_text() for text in texts)
    assert sent == {False: False, True: True}


def test_what_counts_as_a_key(tmp_path: Path) -> None:
    keys = {
        "AWS_SECRET_ACCESS_KEY": "/wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
        "DB_PASSWORD": "correct horse battery staple",
        "NUMBER_TOKEN": "12345678901234567890",
        "HOME_KEY": "~wJalrXUtnFEMI",
    }
    (tmp_path / "key.json").touch()
    others = {
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"),
        "MAX_TOKENS": "1000000000",
        "KEYBOARD": "us intl x",
        "API_KEY": "EMPTY",
    }
    config = StudyConfig.model_construct()
    secrets = Secrets(config, None, {**keys, **others})
    text = "failed: " + " and ".join([*keys.values(), *others.values()])
    for shown in (secrets.text(text), secrets.document(text)):
        assert not any(key in shown for key in keys.values()) and all(other in shown for other in others.values())


@pytest.mark.parametrize(
    ("address", "keys", "shown"),
    [
        ("https://admin:hunter2@ml.example/x", ["hunter2"], "https://ml.example/x"),
        ("https://admin:12345678@ml.example/x", ["12345678"], "https://ml.example/x"),
        ("https://admin:ab@ml.example/x", ["ab"], "https://ml.example/x"),
        ("https://ghp_tokentokentoken@ml.example/x", ["ghp_tokentokentoken"], "https://ml.example/x"),
        ("https://x:y@ml.example/x", [], "https://ml.example/x"),
        ("postgresql://u:p%40ss@h/db", ["p@ss", "p%40ss"], "postgresql://h/db"),
        ("https://h/rows.jsonl?token=abc&part=3", ["abc"], "https://h/rows.jsonl"),
        ("https://h/rows.jsonl?X-Amz-Signature=abcdef0123", ["abcdef0123"], "https://h/rows.jsonl"),
        ("s3://h/rows-?.jsonl", [], "s3://h/rows-?.jsonl"),
    ],
)
@pytest.mark.parametrize("where", ["uri", "tracking", "files", "environment"])
def test_logins_in_addresses_are_keys_of_any_length(
    where: str, address: str, keys: list[str], shown: str, tmp_path: Path
) -> None:
    document = small_document({"files": [address]} if where == "files" else {"path": "pool"})
    if where == "tracking":
        document["tracking"] = {"to": "mlflow", "uri": address}
    if where == "files" and "@" in address:
        with pytest.raises(ConfigError, match=r"pool\.files.*leave user and password out"):
            parse_config(document, tmp_path)
        return
    config = parse_config(document, tmp_path)
    environment = {"HTTPS_PROXY": address} if where == "environment" else {}
    secrets = Secrets(config, address if where == "uri" else None, environment)
    for told in (secrets.text, secrets.document):
        quoted = ", ".join(f"'{key}'" for key in keys)
        said = told(f"{quoted} at {address}, xabx and abcabc")
        assert said.startswith(", ".join("'***'" for _ in keys) + " at ") and not any(f"{key}@" in said for key in keys)
        assert said.endswith(", xabx and abcabc")  # no part of a word
    if where in ("tracking", "files"):
        written = secrets.configuration(config)
        assert shown in written and parse_config(yaml.safe_load(written), tmp_path).tasks == config.tasks
        assert not any(re.search(rf"\b{re.escape(key)}\b", written) for key in keys)


def test_a_path_in_an_address_is_no_login(tmp_path: Path) -> None:
    document = small_document({"path": "pool"}) | {"tracking": {"to": "mlflow", "uri": "sqlite:////home/a@b/ml.db"}}
    config = parse_config(document, tmp_path)
    assert "uri: sqlite:////home/a@b/ml.db" in Secrets(config, None, {}).configuration(config)


@has("mlflow")
def test_keys_are_blotted_out(study: Study, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-4f9b1d77aa03c2"
    monkeypatch.setenv("SOME_SERVICE_API_KEY", key)
    text = (study.path / "config.yaml").read_text()
    text = re.sub(r"^name: .*$", f"name: {key}", text, flags=re.MULTILINE).rpartition("# checksum")[0]
    text = re.sub(
        r"^(tracking:\n)  to: null\n  uri: null",
        r"\1  to: wandb\n  uri: https://me:hunter2@w.example",
        text,
        flags=re.MULTILINE,
    )
    assert "hunter2" in text
    (study.path / "config.yaml").write_text(text)
    track_study(Study(study.path), TrackingConfig(to="mlflow", uri=f"sqlite:///{place}/ml.db"))
    assert Secrets(study.config).text(f"a {key} b") == "a *** b"
    written = [file for file in place.rglob("*") if file.is_file() and study.path not in file.parents]
    assert any(file.name == "ml.db" for file in written) and any(file.name == "report.html" for file in written)
    for hidden in (key, "hunter2"):
        assert [file for file in written if hidden.encode() in file.read_bytes()] == []


@has("mlflow")
@pytest.mark.parametrize("uri", ["sqlite:///ml.db", "mlruns", "./mlruns", "file:mlruns", "file:./mlruns"])
@pytest.mark.parametrize("given", ["uri", "MLFLOW_TRACKING_URI"])
def test_a_place_of_mlflow_is_the_same_from_everywhere(
    given: str, uri: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    if given != "uri":
        monkeypatch.setenv(given, uri)
    tracker = open_tracker(TrackingConfig(to="mlflow", uri=uri if given == "uri" else None), place, "k")
    assert tracker.where.startswith(("sqlite:////", "/", "file:///")) and str(place) in tracker.where


@has("mlflow")
def test_a_study_is_tracked_while_it_runs_and_goes_on(
    scored_pool: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = small_document({"path": str(scored_pool)})
    document["tracking"] = {"to": "mlflow", "uri": f"sqlite:///{place}/ml.db"}
    (place / "study.yaml").write_text(yaml.safe_dump(document))
    config = load_config(place / "study.yaml")
    made: list[EvaluationJob] = []

    def stop_at_the_third(job: EvaluationJob) -> EvaluationResult | None:
        made.append(job)
        if len(made) == 3:
            raise StudyError("the machine goes down")
        return None

    evaluate_here(monkeypatch, stop_at_the_third)
    with pytest.raises(StudyError, match="goes down"):
        run_study(config, place / "study")
    study = run_study(config, place / "study")
    found = in_mlflow(place)
    assert sorted(found) == sorted([*(trial.id for trial in study.all_trials()), "study"])
    (told,) = tracked.read_told(study.path)
    assert told.complete and told.problem is None and told.missing(study) == []
    assert tracked.tracking_notes(study) == []
    assert "Tracking" not in capsys.readouterr().err


@has("mlflow")
def test_a_server_that_is_down_is_told_and_told_of_later(
    scored_pool: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = small_document({"path": str(scored_pool)})
    document["tracking"] = {"to": "mlflow", "uri": EMPTY.replace("//", "//me:geheim123@")}
    document["incumbent"] = {"recipe": "none"}
    document["final"] = {"enabled": False}
    document["search"] |= {"evaluations": 2, "warmup": 2}
    (place / "study.yaml").write_text(yaml.safe_dump(document))
    evaluate_here(monkeypatch)
    study = run_study(load_config(place / "study.yaml"), place / "study")
    assert study.finished and study.best() is not None
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "MLflow at http://127.0.0.1:9, experiment autoselection lacks 2 of 2 trials (t001, t002) and the study's end"
        in said
    )
    assert "sends what is missing" in said and "geheim123" not in said + (study.path / "tracking.json").read_text()
    write_report(study)
    assert "lacks 2 of 2 trials" in (study.path / "report.md").read_text()
    sent = CliRunner().invoke(app, ["track", str(study.path), "--uri", f"sqlite:///{place}/ml.db", "--json"])
    assert sent.exit_code == 0 and json.loads(sent.stdout)["sent"] == ["t001", "t002", "study"]
    assert tracked.tracking_notes(study) == []


@has("mlflow")
def test_a_server_that_hangs_costs_no_more_than_the_wait(
    scored_pool: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracked, "PATIENCE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        document = small_document({"path": str(scored_pool)})
        document["tracking"] = {"to": "mlflow", "uri": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        document |= {"incumbent": {"recipe": "none"}, "final": {"enabled": False}}
        document["search"] |= {"evaluations": 2, "warmup": 2}
        (place / "study.yaml").write_text(yaml.safe_dump(document))
        evaluate_here(monkeypatch)
        study = run_study(load_config(place / "study.yaml"), place / "study")
    assert study.finished
    assert "Nothing of the study was sent to MLflow" in " ".join(capsys.readouterr().err.split())


RUN = {"digest": "d", "run": "r"}
ENTRY = {
    "study": "s",
    "to": "mlflow",
    "where": "w",
    "sent": {"t001": RUN},
    "problem": None,
    "complete": False,
    "time": 1.5,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        '{"tracked": 3}',
        *(
            json.dumps({"version": 1, "tracked": [entry]})
            for entry in (
                3,
                ENTRY | {"sent": []},
                ENTRY | {"sent": {"a": 1}},
                ENTRY | {"sent": {"a": RUN | {"run": 3}}},
                ENTRY | {"more": 1},
                ENTRY | {"to": "nobody"},
                *(ENTRY | {name: [] for name in (wrong,)} for wrong in ENTRY),
            )
        ),
    ],
)
def test_a_file_of_another_form_tells_nothing_and_stops_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / tracked.FILE).write_text(text)
    assert tracked.read_told(tmp_path) == []
    (tmp_path / tracked.FILE).write_text(json.dumps({"version": 1, "tracked": [ENTRY]}))
    assert [one.sent["t001"].run for one in tracked.read_told(tmp_path)] == ["r"]


@pytest.mark.parametrize("fails", ["log", "process"])
def test_a_tracker_that_cannot_be_started_is_told_of_and_costs_the_study_nothing(
    fails: str, tracked_study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    study = tracked_study
    if fails == "log":
        (study.path / tracked.LOG).mkdir()
    else:
        monkeypatch.setattr(tracked.subprocess, "Popen", refuse)
    with tracked.tracking(study) as found:
        found.look()
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("TensorBoard: ") and "autoselection track" in said
    assert ("this is a folder" if fails == "log" else "no more threads or processes") in said


@pytest.fixture
def tracked_study(tmp_path: Path) -> Study:
    """A study that is about to begin, tracked by TensorBoard."""
    config = small_document({"path": str(tmp_path / "pool")}) | {"tracking": {"to": "tensorboard"}}
    return Study.create_or_open(parse_config(config, tmp_path), tmp_path / "study")


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the process that tracks a study one that does nothing."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    monkeypatch.setattr(tracked, "module_command", lambda *_: command)


def test_what_went_wrong_in_an_earlier_run_is_not_told_as_of_today(
    tracked_study: Study, no_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = tracked.Told("s", "tensorboard", "w", problem="the disk was full.")
    tracked.note_told(tracked_study.path, problem)
    with tracked.tracking(tracked_study) as found:
        found.look()
        assert capsys.readouterr().err == ""
        tracked.note_told(tracked_study.path, problem)  # again today
        found.look()
        assert "TensorBoard: the disk was full; the study goes on." in capsys.readouterr().err


def test_a_process_that_tracks_the_study_already_is_told_of(
    tracked_study: Study, no_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with files.locked(tracked_study.path / tracked.LOCK, wait=False), tracked.tracking(tracked_study):
        said = " ".join(capsys.readouterr().err.split())
        assert said.startswith("TensorBoard: another process tracks the study")
    with tracked.tracking(tracked_study):
        assert capsys.readouterr().err == ""


def test_a_process_whose_study_was_stopped_ends_whatever_it_hangs_at(tmp_path: Path) -> None:
    code = (
        "import time; from autoselection.tracking import track; track._LAST = 0.2; "
        "track.follow_study = lambda *_: time.sleep(600); track.main(['study'])"
    )
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, timeout=300, cwd=tmp_path)
    assert done.returncode == 1


@has("tensorboard")
def test_nothing_of_the_working_directory_is_run_by_the_process_that_tracks(
    study: Study, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("secrets", "datasets", "json", "autoselection"):
        (place / f"{name}.py").write_text("import pathlib\npathlib.Path('run').touch()\n")
    (place / "of_the_user").mkdir()
    (place / "of_the_user" / "sitecustomize.py").write_text("import pathlib\npathlib.Path('asked').touch()\n")
    monkeypatch.setenv("PYTHONPATH", str(place / "of_the_user"), prepend=os.pathsep)
    monkeypatch.setattr(tracked, "PATIENCE", 300.0)
    study.config = study.config.model_copy(update={"tracking": TrackingConfig(to="tensorboard")})
    (study.path / "config.yaml").write_text(to_yaml(study.config))
    with tracked.tracking(study):
        pass
    assert not (place / "run").exists() and (place / "asked").exists()
    (told,) = tracked.read_told(study.path)
    assert told.complete


def test_a_name_alone_is_enough(scored_pool: Path) -> None:
    document = small_document({"path": str(scored_pool)})
    short = StudyConfig.model_validate({**document, "tracking": "trackio"}).tracking
    assert short == StudyConfig.model_validate({**document, "tracking": {"to": "trackio"}}).tracking
    assert StudyConfig.model_validate({**document, "tracking": None}).tracking.to is None


def test_a_wrong_name_is_one_sentence(tmp_path: Path) -> None:
    document = small_document({"path": "pool"})
    for given in ("mlfow", {"to": "mlfow"}, {"to": "mlflow", "url": "x"}):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({**document, "tracking": given}))
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path / "study.yaml")
        assert "tracking" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_stops_before_anything_begins(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'autoselection\[wandb\]'"):
        run_study(load_config(study_config, ["tracking=wandb"]), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "its configuration names no tracker: name one with --to mlflow"),
        (["--to", "mlfow"], "to"),
        pytest.param(["--to", "mlflow", "--uri", EMPTY], "could not be sent to MLflow: ", marks=has("mlflow")),
        pytest.param(
            ["--to", "tensorboard", "--uri", "config.yaml/tb"],
            "a part of this path is a file",
            marks=has("tensorboard"),
        ),
        pytest.param(["--to", "wandb"], "nobody is logged in: run `wandb login`", marks=has("wandb")),
        pytest.param(["--to", "trackio", "--uri", EMPTY], f"{EMPTY} does not answer", marks=has("trackio")),
    ],
)
def test_what_cannot_be_tracked_is_one_sentence(options: list[str], said: str, study: Study, place: Path) -> None:
    done = CliRunner().invoke(app, ["track", str(study.path), *options])
    assert isinstance(done.exception, AutoSelectionError) and said in str(done.exception)
    assert "\n" not in str(done.exception)
