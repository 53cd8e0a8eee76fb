"""Which study a server is for: one that lies there, or one that a configuration begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoselection.agents.session import AgentSession
from autoselection.config import load_config, to_yaml
from autoselection.errors import ConfigError, StudyError
from autoselection.files import InUse
from autoselection.llm import check_settings
from autoselection.study import Study
from autoselection.study.named_pools import is_study


def open_session(
    place: Path, out: Path | None = None, overrides: Sequence[str] = (), evaluations: int | None = None
) -> AgentSession:
    """A session with the study that a user named, which is prepared if it has not begun; errors as of :func:`study_folder`.

    Args:
        evaluations: see :class:`AgentSession`.
    """
    import autoselection.agents.answers  # noqa: F401 - what takes long to load, before the first call

    session = AgentSession(study_folder(place, out, overrides), evaluations)
    session.prepare()
    return session


def study_folder(place: Path, out: Path | None, overrides: Sequence[str] = ()) -> Path:
    """The folder of the study that a user named; a configuration's is created in ``out`` if there is none.

    Raises:
        ConfigError: it is neither a study nor a configuration, or ``out`` is missing or not wanted.
        StudyError: the study in ``out`` has other settings, or a process runs it with settings that differ in anything.
    """
    if is_study(place):
        if out is not None or overrides:
            raise ConfigError(f"{place} is a study: --out and --set are for a configuration.")
        return place.resolve()
    if place.is_dir():
        raise ConfigError(f"{place} is a folder without a study; name a study directory or a configuration file.")
    if out is None:
        raise ConfigError(f"{place}: name the study directory with --out.")
    config = load_config(place, overrides)
    check_settings(config.search.llm)
    folder = out.resolve()
    try:
        return Study.create_or_open(config, folder).path
    except StudyError as error:
        if not isinstance(error.__cause__, InUse) or not is_study(folder):
            raise
        # An evaluation outlives the server that started it, and several servers start at once: there is nothing to change then.
        if to_yaml(Study(folder).config) != to_yaml(config):
            raise StudyError(
                f"The study in {folder} is being run by another process, and not by the configuration {place} as it is now: wait for "
                "it or stop it first, or name the study alone."
            ) from error
        return folder
