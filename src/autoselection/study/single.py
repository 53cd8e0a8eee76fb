"""One training and scoring outside of any study: the rows of a file, on the split that is asked for."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.activity import FILE as ACTIVITY
from autoselection.config import StudyConfig
from autoselection.errors import ConfigError, PoolError
from autoselection.evaluation import EvaluationResult
from autoselection.ledger import Wanted, evaluate_here
from autoselection.pool import Pool
from autoselection.pool.addresses import shown
from autoselection.study.prepare import scratch_pool
from autoselection.tasks import Split
from autoselection.wording import clipped

#: Folders that an evaluation writes anew, or removes, in the one that it works in.
_MADE = ("adapter", "llamafactory", "model")


def read_ids(path: Path) -> list[str]:
    """Read row ids: a JSON list of strings, JSON lines with an ``id``, or one id a line.

    Raises:
        ConfigError: the file is missing, empty or in none of these forms.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such subset file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, list):
        ids = document
    elif document is not None and not isinstance(document, dict):
        ids = [text.strip()]
    else:
        lines = [line for line in text.split("\n") if line.strip()]
        ids = [_id_of_line(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]
    if not ids or not all(isinstance(item, str) for item in ids):
        raise ConfigError(f"{path}: expected a non-empty list of row ids (strings).")
    return ids


def _id_of_line(line: str, where: str) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid JSON ({error}).") from error
    if not isinstance(record.get("id"), str):
        raise ConfigError(f"{where}: the object has no string 'id'.")
    return str(record["id"])


def _rows_of(ids: Sequence[str], pool: Pool, subset: Path, config: StudyConfig) -> NDArray[np.int64]:
    """Row numbers of the ids of a file, in their order.

    Raises:
        PoolError: an id stands twice, or no row has it; the file, the id and the pool are named.
    """
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        raise PoolError(
            f"{subset}: {len(twice):,} id(s) stand twice, the first is {clipped(twice[0])!r}; a subset holds every row at most once."
        )
    known = set(pool.ids.to_pylist())
    unknown = [name for name in ids if name not in known]
    if unknown:
        place = config.pool.path or ", ".join(map(shown, config.pool.files))
        raise PoolError(
            f"{subset}: {len(unknown):,} of {len(ids):,} ids are of no row of the pool ({place}), the first is "
            f"{clipped(unknown[0])!r}: name rows by the ids that a study's ids.json or 'autoselection materialize RECIPE --pool POOL --ids FILE' gives."
        )
    return pool.row_of(ids)


def evaluate_subset(
    config: StudyConfig, subset: Path, split: Split, seed: int, work_dir: Path | None = None
) -> EvaluationResult:
    """Train the configured model on the rows of ``subset`` (in that order) and score it on ``split``.

    Raises:
        ConfigError: the subset file or a task file is wrong, or ``work_dir`` holds what would be overwritten.
        PoolError: an id is not in the pool.
    """
    if work_dir is not None:
        _check_work_dir(work_dir)
    ids = read_ids(subset)
    with tempfile.TemporaryDirectory(prefix="autoselection-") as scratch:
        folder = Path(scratch)
        pool = scratch_pool(config, folder)
        rows = _rows_of(ids, pool, subset, config)
        wanted = Wanted(rows, seed, "test" if split == "test" else "dev", name=subset.name)
        return evaluate_here(config, pool.path, wanted, work_dir or folder / "work")


def _check_work_dir(folder: Path) -> None:
    """Refuse a folder that holds others' things by names of an evaluation's own; an earlier evaluation's may be written over.

    Raises:
        ConfigError: it does.
    """
    found = [name for name in _MADE if (folder / name).exists()]
    if found and not (folder / ACTIVITY).exists():
        raise ConfigError(
            f"{folder} holds {found[0]}/, which no evaluation wrote and this one would write over: choose another --work-dir."
        )
