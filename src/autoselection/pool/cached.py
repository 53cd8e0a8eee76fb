"""Pools of raw files that are used without ``ingest``: kept in the user's cache, one for each set of files.

``CACHE/pools/<name>-<digest>/``: ``pool/`` and ``files.json``, which tells what the files were like when they were read, and
by which rules they were. Files that changed since, and files that an older version read by other rules, are read again and
replace the pool, so that no second one is left behind. The cache is ``AUTOSELECTION_CACHE``, or else ``autoselection`` in
``XDG_CACHE_HOME`` or ``~/.cache``; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from autoselection.errors import PoolError
from autoselection.pool.addresses import address_of, hub_name, matching, shown, state_of
from autoselection.pool.ingest import IngestReport, ingest
from autoselection.pool.inputs import expand, is_description
from autoselection.pool.manifest import FORMAT_VERSION, MANIFEST_FILE, RULES
from autoselection.pool.pool import Pool

_FILES = "files.json"


def cache_folder() -> Path:
    """The folder of everything that can be made again."""
    own = os.environ.get("AUTOSELECTION_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "autoselection"


def cached_pool(files: Sequence[Path | str]) -> tuple[Pool, IngestReport | None]:
    """The pool of raw files, read now if it is not kept or if a file changed since.

    Returns:
        The pool, and what reading counted; None if it was there.

    Raises:
        PoolError: a file is missing or cannot be used, or the cache cannot be written.
    """
    paths = [Path(file) for file in files]
    for path in paths:
        if not path.exists() and address_of(path) is None and hub_name(path) is None and matching(path) == [path]:
            raise PoolError(f"{path} does not exist: name a pool, a study, or files to read as a pool.")
    resolved = [str(path.resolve()) if path.exists() else shown(path) for path in paths]
    digest = hashlib.blake2b("\0".join(resolved).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    folder = cache_folder() / "pools" / f"{_plain(paths[0].stem)}-{digest}"
    state = _state(paths)
    if _read(folder / _FILES) == state and (folder / "pool" / MANIFEST_FILE).is_file():
        return Pool.open(folder / "pool"), None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILES).unlink(missing_ok=True)
    except OSError as error:
        raise PoolError(
            f"{paths[0]} would be read into {folder}, which cannot be written ({error.strerror}): set AUTOSELECTION_CACHE "
            "to another folder, or make a pool with `autoselection ingest`."
        ) from error
    report = _ingest(paths, folder / "pool")
    if _state(paths) != state:
        raise PoolError(f"{paths[0]} changed while it was read: run the command again when it is complete.")
    (folder / _FILES).write_text(json.dumps(state) + "\n", encoding="utf-8")
    return Pool.open(folder / "pool"), report


def _ingest(paths: Sequence[Path], out: Path) -> IngestReport:
    """Read the files; what is refused leaves nothing, and names no place in the cache but one of the user's own."""
    try:
        return ingest(paths, out, overwrite=True)
    except PoolError as error:
        said = str(error).replace(f"{out} --overwrite", "POOL").replace(str(out), "POOL")
        own = " Then name POOL in place of the file." if said != str(error) else ""
        raise PoolError(f"{said}{own}") from error
    finally:
        if out.parent.is_dir() and not any(out.parent.iterdir()):
            out.parent.rmdir()


def _state(paths: Sequence[Path]) -> dict[str, object]:
    """All that the pool of these files depends on."""
    return {"rules": RULES, "format_version": FORMAT_VERSION, "files": _stats(paths)}


def _stats(paths: Sequence[Path]) -> list[list[str | int]]:
    """Path, size, change time and number of every file; of folders, of all files in them; of descriptions, what they name."""
    elsewhere = [path for path in paths if not path.exists() and (address_of(path) or hub_name(path))]
    others = [file for path in paths if path not in elsewhere for file in ([path] if path.exists() else matching(path))]
    places = [file for path in elsewhere for file in (matching(path) if hub_name(path) is None else [path])]
    named = [
        *others,
        *(given.path for path in others if path.is_file() and is_description(path) for given in expand(path, None)),
    ]
    files = [file for path in named for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    found = [(file, file.stat()) for file in files if file.is_file()]
    there: list[list[str | int]] = [[shown(path), state_of(path)] for path in places]
    return there + [
        [str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for file, stat in found
    ]


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent or torn: the files are read again
        return None


def _plain(name: str) -> str:
    kept = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name)
    return kept[:40].strip("-") or "pool"
