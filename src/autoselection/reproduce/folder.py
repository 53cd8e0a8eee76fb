"""A reproduction's folder, to be read by others than the run: its configuration, and one model's part of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoselection import files
from autoselection.config import to_yaml
from autoselection.errors import StudyError
from autoselection.ledger import Journal
from autoselection.reproduce.config import ReproductionConfig, load_reproduction, study_of
from autoselection.reproduce.results import Stored, check_plans
from autoselection.study.kind import JOURNAL, reproduced_models
from autoselection.study.study import CONFIG, stored_config

FILE = "reproduction.yaml"
"""In the output folder: the configuration of what is there, with absolute paths."""

COMMAND = "autoselection reproduce paper CONFIG"


def keep_config(config: ReproductionConfig, out: Path) -> None:
    """Write what runs in a folder, so that the folder can be read without it."""
    files.write_text(out / FILE, to_yaml(config))


def check_folders(config: ReproductionConfig, out: Path) -> None:
    """See that what was scored on test in a folder, if anything, was fixed by this configuration.

    Raises:
        StudyError: it was not.
    """
    for model in config.models:
        folder = out / model.name
        check_plans(Stored.read(config, study_of(config, model), folder), folder)


@dataclass(frozen=True)
class Part:
    """One model's part of a reproduction, as it lies on disk.

    Attributes:
        folder: that of the model.
        journal: open for reading.
        stored: the same events with the configurations, the study's with the learning rate that was chosen.
    """

    folder: Path
    journal: Journal
    stored: Stored


def open_part(path: Path) -> Part:
    """The part in a folder: that of a model, or of a reproduction of one model.

    Raises:
        StudyError: it is neither, several models are there, or nothing tells yet what was to be run.
    """
    found = reproduced_models(path)
    if not found:
        raise StudyError(f"{path} holds no reproduction: '{COMMAND} --out {path}' starts one.")
    if len(found) > 1:
        raise StudyError(f"{path} holds several models: name one of {', '.join(map(str, found))}.")
    folder = found[0].resolve()
    out = folder.parent
    if not (out / FILE).is_file():
        raise StudyError(
            f"{out}: an earlier version ran here, which did not write down what ({FILE}): run '{COMMAND} --out {out} "
            "--report-only' with its configuration and overrides, which trains nothing."
        )
    if not (folder / CONFIG).is_file():
        raise StudyError(f"{folder}: nothing was trained yet.")
    journal = Journal(folder / JOURNAL)
    config, study = load_reproduction(str(out / FILE)), stored_config(folder, f"{COMMAND} --out {out}")
    return Part(folder, journal, Stored(config, study, journal.events))
