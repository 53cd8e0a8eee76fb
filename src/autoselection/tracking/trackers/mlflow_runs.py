"""Runs in MLflow: trials are nested in the study's run, which is found by a tag."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from autoselection.config import TrackingConfig
from autoselection.study.tracked import STUDY
from autoselection.tracking.runs import Run
from autoselection.tracking.trackers.base import plain_names, without_password

_KEY = "autoselection.key"
#: Addresses of MLflow's that are neither: without a colon, everything else is a folder to it.
_WORDS = ("databricks", "databricks-uc", "uc")
#: Most entries that one call takes.
_METRICS, _PARAMETERS = 1000, 100

Entry = TypeVar("Entry")


def open_runs(config: TrackingConfig, folder: Path, key: str) -> MlflowRuns:
    """Its runs at ``config.uri``, or where MLflow itself is set to."""
    # A server that does not answer is tried again later; by default a call lasts some minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import mlflow

    uri = _absolute(config.uri or str(mlflow.get_tracking_uri()))
    return MlflowRuns(mlflow, uri, config.project, key)


def _absolute(uri: str) -> str:
    """A file or folder named from the folder of the process, by its whole path: the same from everywhere."""
    scheme, separator, path = uri.partition(":///")
    if separator and scheme.startswith("sqlite") and not path.startswith("/"):
        return f"{scheme}:///{Path(path).resolve()}"
    if uri.startswith("file:") and not uri.startswith("file:/"):
        return Path(uri.removeprefix("file:")).resolve().as_uri()
    if not re.match(r"[a-zA-Z][\w+.-]*:", uri) and uri not in _WORDS:
        return str(Path(uri).expanduser().resolve())
    return uri


class MlflowRuns:
    """See :class:`~autoselection.tracking.trackers.base.Tracker`."""

    def __init__(self, mlflow: Any, uri: str, project: str, key: str) -> None:
        self._entities, self._key = mlflow.entities, key
        self._client = mlflow.MlflowClient(uri)
        self._project = project
        self.where = f"{without_password(uri)}, experiment {project}"
        self._experiment = ""
        self._parent = ""
        self._found: dict[str, str] = {}

    def open(self, study: Run, known: str | None) -> str:
        found = self._client.get_experiment_by_name(self._project)
        self._experiment = found.experiment_id if found else self._client.create_experiment(self._project)
        self._found = self._runs()
        self._parent = self._found.get(STUDY) or self._created(study, {})
        return self._parent

    def _runs(self) -> dict[str, str]:
        """Runs of this study, by their keys: those that were sent when nobody noted it are among them."""
        found: dict[str, str] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_KEY}` LIKE '{self._key}/%'", max_results=1000, page_token=token
            )
            found |= {run.data.tags[_KEY].partition("/")[2]: run.info.run_id for run in page}
            token = page.token
            if not token:
                return found

    def _created(self, run: Run, tags: Mapping[str, str]) -> str:
        made = self._client.create_run(
            self._experiment,
            start_time=int(run.began * 1000),
            run_name=run.name,
            tags={_KEY: f"{self._key}/{run.key}", **tags},
        )
        return str(made.info.run_id)

    def send(self, trial: Run, known: str | None) -> str:
        name = self._found.get(trial.key) or self._created(trial, {"mlflow.parentRunId": self._parent})
        self._found[trial.key] = name
        when = int((trial.ended or trial.began) * 1000)
        self._log(name, trial, [(0, when, trial.numbers), (0, when, trial.final)])
        status = "FAILED" if trial.failed else "FINISHED"
        self._client.set_terminated(name, status=status, end_time=when)
        return name

    def update(self, study: Run, points: int, files: Sequence[Path]) -> Sequence[str]:
        when = int((study.ended or study.began) * 1000)
        told = [(point.step, int(point.time * 1000), point.numbers) for point in study.points[points:]]
        self._log(self._parent, study, [*told, (0, when, study.final)])
        for file in files:
            self._client.log_artifact(self._parent, str(file))
        if study.ended is None:
            self._client.update_run(self._parent, status="RUNNING")
        else:
            status = "FAILED" if study.failed else "FINISHED"
            self._client.set_terminated(self._parent, status=status, end_time=when)
        return [file.name for file in files]

    def _log(self, name: str, run: Run, told: Sequence[tuple[int, int, Mapping[str, float]]]) -> None:
        """Parameters that it has not, words, and numbers: the same number at the same time is one to MLflow."""
        make = self._entities
        has = self._client.get_run(name).data.params
        parameters = [make.Param(key, str(value)) for key, value in plain_names(run.parameters).items()]
        for part in _parts([one for one in parameters if one.key not in has], _PARAMETERS):
            self._client.log_batch(name, params=part)
        tags = [make.RunTag(key, value) for key, value in plain_names(run.words).items()]
        note = make.RunTag("mlflow.note.content", "\n\n".join(f"{key}: {value}" for key, value in run.words.items()))
        self._client.log_batch(name, tags=[*tags, note])
        metrics = [
            make.Metric(key, value, when, step)
            for step, when, numbers in told
            for key, value in plain_names(numbers).items()
        ]
        for part in _parts(metrics, _METRICS):
            self._client.log_batch(name, metrics=part)

    def close(self) -> None:
        """Nothing is open."""


def _parts(entries: Sequence[Entry], most: int) -> Iterator[list[Entry]]:
    rest = iter(entries)
    while part := list(islice(rest, most)):
        yield part
