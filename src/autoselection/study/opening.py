"""How a journal begins: what it is of, with which pool and signals, and what the contamination guard found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.ledger import Journal
from autoselection.study.kind import Kind
from autoselection.study.prepare import Prepared, prepare
from autoselection.study.settings import SETTINGS, recorded_settings


def prepare_journalled(
    config: StudyConfig, folder: Path, journal: Journal, kind: Kind, identity: Mapping[str, str] | None = None
) -> Prepared:
    """Pool and signals in ``folder``, as the journal opened with them, or newly opened; contamination reported once.

    Args:
        kind: what the journal is of, see :mod:`autoselection.study.kind`.
        identity: what the opening event notes of model and tasks, see :mod:`autoselection.study.identity`.

    Raises:
        StudyError: the pool or its signals are not those that the journal opened with.
    """
    opening = journal.of("study")
    prepared = prepare(config, folder, opening[0] if opening else None)
    if opening:
        check_opening(journal, prepared)
    else:
        journal.append(
            "study",
            kind=kind,
            **_fingerprints(prepared),
            **({} if identity is None else {"identity": dict(identity)}),
            **({SETTINGS: recorded_settings(config)} if kind == "study" else {}),
            rows=len(prepared.pool),
            evaluations=config.search.evaluations,
            ingest_report=prepared.ingest.to_dict() if prepared.ingest else None,
            signal_report=prepared.score.to_dict(),
        )
    if not journal.of("contamination"):
        journal.append("contamination", **prepared.contamination.to_dict())
    return prepared


def check_opening(journal: Journal, prepared: Prepared) -> None:
    """See that the pool and its signals are those that a journal opened with.

    Raises:
        StudyError: one of them changed.
    """
    for key, value in _fingerprints(prepared).items():
        begun = journal.of("study")[0][key]
        if begun != value:
            raise StudyError(
                f"The {key} of the study changed since it was started (was {begun[:12]}, is {value[:12]}): "
                "restore it, or start a new study in another folder."
            )


def _fingerprints(prepared: Prepared) -> dict[str, str]:
    return {"pool": prepared.pool.fingerprint, "signals": prepared.table.fingerprint}
