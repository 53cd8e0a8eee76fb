"""Runs in Weights & Biases: one for the study, one a trial, in one group; online or offline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoselection.config import TrackingConfig
from autoselection.study.tracked import STUDY
from autoselection.tracking.runs import Run
from autoselection.tracking.trackers.base import TrackerError, plain_names, without_password

_OFFLINE = "offline"
#: Longest wait for an answer of the server (s).
_PATIENCE = 30.0


def open_runs(config: TrackingConfig, folder: Path, key: str) -> WandbRuns:
    """Its runs on the server that ``config.uri`` names, or in ``wandb/`` of the study's folder.

    Raises:
        TrackerError: nobody is logged in.
    """
    import wandb

    offline = config.uri == _OFFLINE or os.environ.get("WANDB_MODE") in (_OFFLINE, "dryrun")
    server = None if offline else config.uri or os.environ.get("WANDB_BASE_URL")
    if not offline:
        _check_login(wandb, server)
    place = str(Path(os.environ.get("WANDB_DIR") or folder).resolve() / "wandb")
    where = place if offline else without_password(server or "https://api.wandb.ai")
    settings = wandb.Settings(
        mode=_OFFLINE if offline else "online",
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        init_timeout=_PATIENCE,
        root_dir=str(Path(place).parent),
        **({} if server is None else {"base_url": server}),
    )
    return WandbRuns(wandb, settings, f"{where}, project {config.project}", config.project, key, offline)


def _check_login(wandb: Any, server: str | None) -> None:
    """Refuse what would ask for a key where nobody can answer."""
    found = os.environ.get("WANDB_API_KEY")
    if not found:
        try:
            found = wandb.login(prompt=False, host=server)
        except Exception as error:
            raise TrackerError(f"it did not let us in ({' '.join(str(error).split())[:200]})") from error
    if not found:
        raise TrackerError(
            "nobody is logged in: run `wandb login`, set WANDB_API_KEY, or track offline (tracking.uri: offline)"
        )


class WandbRuns:
    """See :class:`~autoselection.tracking.trackers.base.Tracker`."""

    def __init__(self, wandb: Any, settings: Any, where: str, project: str, key: str, offline: bool) -> None:
        self._wandb, self._settings, self._project, self._key = wandb, settings, project, key
        self.where = where
        self._offline = offline
        self._group = ""
        self._study: Any = None

    def open(self, study: Run, known: str | None) -> str:
        self._group = f"{study.name}-{self._key[:6]}"
        self._study = self._begun(study)
        return str(self._study.id)

    def _begun(self, run: Run) -> Any:
        return self._wandb.init(
            project=self._project,
            id=f"{self._key}-{run.key}",
            name=run.name,
            group=self._group,
            job_type="study" if run.key == STUDY else "trial",
            config=plain_names(run.parameters),
            notes=_note(run.words),
            resume="allow",
            reinit="create_new",
            settings=self._settings,
        )

    def send(self, trial: Run, known: str | None) -> str:
        if known is not None and self._offline:  # a second file of one run would take the place of the first
            return known
        run = self._begun(trial)
        run.summary.update(plain_names({**trial.numbers, **trial.final}) | dict(trial.words))
        run.finish(exit_code=int(trial.failed))
        return str(run.id)

    def update(self, study: Run, points: int, files: Sequence[Path]) -> Sequence[str]:
        for point in study.points[points:]:
            self._study.log(plain_names(point.numbers), step=point.step)
        self._study.summary.update(plain_names(study.final) | dict(study.words))
        self._study.notes = _note(study.words)
        if files:
            artifact = self._wandb.Artifact(f"report-{self._key}", type="report")
            for file in files:
                artifact.add_file(str(file))
            self._study.log_artifact(artifact)
        return [file.name for file in files]

    def close(self) -> None:
        if self._study is not None:
            self._study.finish()


def _note(words: Mapping[str, str]) -> str:
    return "\n\n".join(f"{key}: {value}" for key, value in words.items())
