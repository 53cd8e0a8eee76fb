"""Runs for TensorBoard: a folder of events for the study and one for each trial, with what its HPARAMS tab reads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoselection.config import TrackingConfig
from autoselection.study.tracked import STUDY
from autoselection.system import expanded
from autoselection.tracking.runs import Run
from autoselection.tracking.trackers.base import TrackerError, plain_names

#: Longest part of a study's name in that of its folder (characters).
_NAME = 60


def open_runs(config: TrackingConfig, folder: Path, key: str) -> TensorboardRuns:
    """Its runs in the folder ``config.uri``, ``tensorboard/`` of the study's folder by default."""
    return TensorboardRuns(folder / expanded(config.uri or "tensorboard"), key)


class TensorboardRuns:
    """See :class:`~autoselection.tracking.trackers.base.Tracker`. A run that is sent again is written anew.

    A study has a folder of its own, ``NAME-KEY``, in the one that is named: others may write there, and keep things there.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key[:6]
        self.where = str(folder / f"*-{self._key}")
        self._own = folder / self._key

    def open(self, study: Run, known: str | None) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        # A study may be given another name; where its runs began they go on.
        there = sorted(path for path in self._folder.glob(f"*-{self._key}") if path.is_dir())
        name = study.name[:_NAME].replace("*", "_")
        self._own = there[0] if there else self._folder / f"{name}-{self._key}"
        return STUDY

    def send(self, trial: Run, known: str | None) -> str:
        when = trial.ended or trial.began
        self._write(trial, [(0, when, {**trial.numbers, **trial.final})])
        return trial.key

    def update(self, study: Run, points: int, files: Sequence[Path]) -> Sequence[str]:
        last = (len(study.points) + 1, study.ended or time.time(), study.final)
        told = [(point.step, point.time, point.numbers) for point in study.points]
        reports = {file.name: file.read_text(encoding="utf-8") for file in files if file.suffix == ".md"}
        self._write(study, [*told, last], reports)
        return list(reports)

    def _write(
        self,
        run: Run,
        told: Sequence[tuple[int, float, Mapping[str, float]]],
        texts: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = self._own / run.key
        _remove_events(folder)
        writer = EventFileWriter(str(folder))
        try:
            for summary in _parameters(run):
                writer.add_event(Event(wall_time=run.began, summary=summary))
            words = "\n\n".join(f"**{key}**: {value}" for key, value in {"name": run.name, **run.words}.items())
            for name, text in {"about": words, **texts}.items():
                writer.add_event(Event(wall_time=run.began, summary=Summary(value=[_text(name, text)])))
            for step, when, numbers in told:
                values = [Summary.Value(tag=name, simple_value=value) for name, value in plain_names(numbers).items()]
                if values:
                    writer.add_event(Event(wall_time=when, step=step, summary=Summary(value=values)))
        finally:
            writer.close()

    def close(self) -> None:
        """Nothing is open."""


def _remove_events(folder: Path) -> None:
    """Remove what was written of a run before.

    Raises:
        TrackerError: something else is there.
    """
    found = list(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        if path.is_dir() or not path.name.startswith("events.out.tfevents."):
            raise TrackerError(
                f"{folder} holds {path.name}, which is no event file: move it away, or name another folder (tracking.uri)"
            )
    for path in found:
        path.unlink()


def _text(tag: str, text: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

    about = SummaryMetadata.PluginData(plugin_name="text", content=TextPluginData(version=0).SerializeToString())
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
    return Summary.Value(tag=f"{tag}/text_summary", metadata=SummaryMetadata(plugin_data=about), tensor=tensor)


def _parameters(run: Run) -> list[Any]:
    """The events by which the HPARAMS tab knows a run's parameters."""
    from google.protobuf.struct_pb2 import Value
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    about = metadata.create_summary_metadata
    start = plugin_data_pb2.SessionStartInfo(group_name=run.key, start_time_secs=run.began)
    for name, value in plain_names(run.parameters).items():
        if isinstance(value, bool):
            found = Value(bool_value=value)
        elif isinstance(value, (int, float)):
            found = Value(number_value=value)
        else:
            found = Value(string_value=value)
        start.hparams[name].CopyFrom(found)
    end = plugin_data_pb2.SessionEndInfo(
        status="STATUS_FAILURE" if run.failed else "STATUS_SUCCESS" if run.ended else "STATUS_RUNNING",
        end_time_secs=run.ended or run.began,
    )
    told = (
        (metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)),
        (metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)),
    )
    return [
        Summary(value=[Summary.Value(tag=tag, metadata=about(data), tensor=metadata.NULL_TENSOR)]) for tag, data in told
    ]
