"""What a folder with a journal holds: a study, a comparison or a reproduction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

from autoselection.errors import StudyError
from autoselection.ledger.journal import Journal

Kind = Literal["study", "comparison", "reproduction"]

JOURNAL = "journal.jsonl"


def check_kind(journal: Journal, kind: Kind) -> None:
    """Refuse to go on with the journal of something else, whose events would be taken for one's own.

    Raises:
        StudyError: it is of another kind.
    """
    if (found := _kind_of(journal, kind)) != kind:
        raise StudyError(f"{journal.path.parent} holds a {found}, no {kind}: choose another --out.")


def check_study(journal: Journal) -> None:
    """Refuse to read what is no study as one.

    Raises:
        StudyError: the journal is of a comparison or a reproduction.
    """
    if (found := _kind_of(journal, "study")) != "study":
        raise _other(f"{journal.path.parent} holds a {found}", found == "reproduction")


def _kind_of(journal: Journal, expected: Kind) -> Kind:
    if not journal.events:
        return expected
    found: Kind | None = (journal.of("study") or [{}])[0].get("kind")
    if found is not None:
        return found
    # Of an older version: a study has trials, the others note settings.
    if (expected == "study") == (not journal.of("settings")):
        return expected
    return "comparison" if expected == "study" else "study"


def no_study(path: Path) -> StudyError:
    """What to raise of a folder without a journal of its own, which may hold the models of a reproduction."""
    if parts := reproduced_models(path):
        return _other(f"{path} holds a reproduction ({', '.join(part.name for part in parts)})", True)
    return StudyError(f"{path}: no study there; 'autoselection search CONFIG.yaml --out {path}' starts one.")


def _other(found: str, reproduction: bool) -> StudyError:
    readers = "; 'autoselection diagnose' and 'autoselection compute' read a reproduction, too" if reproduction else ""
    return StudyError(f"{found}, no study: name the directory of a study{readers}.")


def reproduced_models(path: Path) -> list[Path]:
    """Folders of the models of a reproduction: the folder itself, if it is one's, else those directly below it."""
    if folder_kind(path) == "reproduction":
        return [path]
    if (path / JOURNAL).exists() or not path.is_dir():
        return []
    return sorted(below for below in path.iterdir() if folder_kind(below) == "reproduction")


def folder_kind(path: Path) -> Kind | None:
    """What the first line of a folder's journal says it is of; None without one, or where an older version wrote it."""
    try:
        with (path / JOURNAL).open("rb") as stream:
            found = json.loads(stream.readline())["kind"]
    except (OSError, ValueError, KeyError, TypeError):  # whoever reads the journal says what is wrong with it
        return None
    return found if found in get_args(Kind) else None
