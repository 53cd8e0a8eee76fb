"""Runs in trackio: one for the study, one a trial, in one group; in its local file, a Space, or on a server."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoselection.config import TrackingConfig
from autoselection.study.tracked import STUDY
from autoselection.tracking.runs import Run
from autoselection.tracking.trackers.base import TrackerError, plain_names, without_password

#: Longest wait for a server's answer (s).
_PATIENCE = 10.0
_DIGEST = "autoselection_digest"


def open_runs(config: TrackingConfig, folder: Path, key: str) -> TrackioRuns:
    """Its runs in the Space or on the server that ``config.uri`` names, or in its own file.

    Raises:
        TrackerError: the server does not answer, or nobody is logged in to the hub. trackio itself would go on in its local
            file then.
    """
    import trackio

    place = config.uri or os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
    remote: dict[str, Any] = {}
    if place is not None and "://" in place:
        _check_answers(place)
        remote = {"server_url": place}
    elif place is not None:
        _check_login(place)
        remote = {"space_id": place}
    where = str(trackio.utils.TRACKIO_DIR) if place is None else without_password(place)
    return TrackioRuns(trackio, remote, where, config.project, key)


def _check_answers(address: str) -> None:
    bare = without_password(address)
    try:
        with urllib.request.urlopen(bare, timeout=_PATIENCE):
            return
    except urllib.error.HTTPError:
        return  # it answers
    except (OSError, ValueError) as error:
        raise TrackerError(f"{bare} does not answer ({getattr(error, 'reason', error)})") from error


def _check_login(space: str) -> None:
    from huggingface_hub import HfApi

    try:
        HfApi().whoami()
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise TrackerError(f"the Space {space} cannot be written ({said}): log in with `hf auth login`") from error


class TrackioRuns:
    """See :class:`~autoselection.tracking.trackers.base.Tracker`."""

    def __init__(self, trackio: Any, remote: Mapping[str, Any], place: str, project: str, key: str) -> None:
        self._trackio, self._remote, self._project, self._key = trackio, remote, project, key
        self.where = f"{place}, project {project}"
        self._group = ""

    def open(self, study: Run, known: str | None) -> str:
        self._group = f"{study.name}-{self._key[:6]}"
        return self._name(study)

    def _name(self, run: Run) -> str:
        return f"{run.name} ({self._key[:6]})"

    def _begun(self, run: Run) -> Any:
        return self._trackio.init(
            project=self._project,
            name=self._name(run),
            group=self._group,
            config={
                **plain_names(run.parameters),
                **run.words,
                "job_type": "study" if run.key == STUDY else "trial",
                _DIGEST: run.digest,
            },
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
            **self._remote,
        )

    def send(self, trial: Run, known: str | None) -> str:
        run = self._begun(trial)
        done = _steps(run)
        try:
            if not done:
                run.log(plain_names(trial.numbers), step=0)
            if trial.final and (known is not None or done < 2):
                run.log(plain_names(trial.final), step=max(1, done))
        finally:
            run.finish()
        return str(run.name)

    def update(self, study: Run, points: int, files: Sequence[Path]) -> Sequence[str]:
        run = self._begun(study)
        try:
            done = _steps(run)
            for point in study.points[max(points, done - 1) :]:
                run.log(plain_names(point.numbers), step=point.step)
            if study.final and done <= len(study.points) + 1:
                run.log(plain_names(study.final), step=len(study.points) + 1)
            for file in files:
                run.log_artifact(file, name=f"{self._key}-{file.name}", type="report")
        finally:
            run.finish()
        return [file.name for file in files]

    def close(self) -> None:
        """Nothing is open."""


def _steps(run: Any) -> int:
    """Steps that a run has: of one that was sent before, noted or not, those that need not be sent."""
    return int(getattr(run, "_next_step", 0))
