"""Rows that lie elsewhere: addresses that fsspec reads (``s3://``, ``https://``, ``memory://`` …) and data sets of a hub.

Paths stand for addresses: ``Path("s3://bucket/a.jsonl")`` lost a stroke, and gets it back here. Files are copied for the time of the
reading; data sets of a hub are streamed. User and password in an address are used and never shown.
"""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoselection.errors import MissingExtraError, PoolError
from autoselection.pool.columnar import BATCH_ROWS, ColumnarRows
from autoselection.pool.memory import MemoryRows
from autoselection.pool.readers import choose_split
from autoselection.pool.suffixes import COMPRESSIONS, CONTAINERS
from autoselection.wording import without_login

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<rest>.*)", re.DOTALL)
#: A data set of the hub: owner, name, and if need be a configuration of it and a revision.
_HUB = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_HUB_PREFIX = "hf://datasets/"
_MAGIC = re.compile(r"[*?\[]")
_MEGABYTE = 2**20


def address_of(path: Path | str) -> str | None:
    """The address that a path stands for, with user and password; None for a path of this machine."""
    found = _ADDRESS.fullmatch(str(path))
    if found is None:
        return None
    root = "/" if found["scheme"] in ("file", "local") else ""
    return f"{found['scheme']}://{root}{found['rest']}"


def shown(path: Path | str) -> str:
    """A path as the user wrote it: an address with its strokes, and without user and password."""
    address = address_of(path)
    return str(path) if address is None else without_login(address)


def has_login(path: Path | str) -> bool:
    """Whether a path is an address with a user or a password."""
    address = address_of(path)
    return address is not None and without_login(address) != address


def hub_name(path: Path | str) -> re.Match[str] | None:
    """A data set of the hub: ``hf://datasets/org/name`` (of a longer address, a file is meant), or ``org/name``."""
    address = address_of(path)
    name = str(path) if address is None else address.removeprefix(_HUB_PREFIX)
    if address is not None and not address.startswith(_HUB_PREFIX):
        return None
    suffix = Path(name.partition("@")[0]).suffix.lower()
    if address is None and suffix in {*CONTAINERS, *COMPRESSIONS, ".yml", ".yaml"}:
        return None
    return _HUB.fullmatch(name)


def absolute_place(path: Path, base: Path) -> Path | None:
    """A path that is no place under ``base``: an address, or the name of a data set that does not lie there; else None."""
    if address_of(path) is not None:
        return path
    if not path.is_absolute() and not (base / path).exists() and hub_name(path) is not None:
        return Path(_HUB_PREFIX + str(path))
    return None


def matching(path: Path) -> list[Path]:
    """The files that a pattern matches, here or elsewhere, in the order of their names; a path without a pattern is itself.

    Raises:
        PoolError: none does, or the place cannot be read.
    """
    if not _MAGIC.search(str(path)):
        return [path]
    address = address_of(path)
    if address is None:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute ones too
        found = [file for file in found if file.is_file() or file.suffix == ".lance"]
    else:
        filesystem, inside = _filesystem(address)
        with _reading(address):
            names = sorted(filesystem.glob(inside))
        found = [Path(_with_host(filesystem.unstrip_protocol(name), address)) for name in names]
    if not found:
        raise PoolError(f"The pattern {shown(path)} matches no file.")
    return found


def _with_host(found: str, asked: str) -> str:
    """A file as the file system names it, with the user and password that were given."""
    login = re.match(r"[^:]+://([^/]*@)", asked)
    return found if login is None or "@" in found else found.replace("://", f"://{login[1]}", 1)


def _filesystem(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        MissingExtraError: the package for it is not installed.
        PoolError: there is none.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("fsspec", "data", f"Reading {shown(address)}") from error
    try:
        filesystem, inside = url_to_fs(address)
    except ImportError as error:
        package = re.search(r"[Ii]nstall (\w+)", str(error))
        raise MissingExtraError(package[1] if package else "fsspec", None, f"Reading {shown(address)}") from error
    except Exception as error:
        raise _unread(address, error) from error
    return filesystem, str(inside)


@contextmanager
def _reading(address: str) -> Iterator[None]:
    """Whatever a file system raises, said in a sentence: each of its kinds has errors of its own."""
    try:
        yield
    except Exception as error:
        raise _unread(address, error) from error


def _unread(address: str, error: Exception) -> PoolError:
    if isinstance(error, FileNotFoundError):
        return PoolError(f"There is no {shown(address)}.")
    login = re.match(r"[^:]+://([^/]*)@", address)
    reason = " ".join(str(error).split()) or type(error).__name__
    for word in login[1].split(":") if login else ():
        reason = reason.replace(word, "***") if len(word) > 2 else reason
    return PoolError(
        f"{shown(address)} cannot be read ({reason[:300].removesuffix('.')}): is the address right, and can it be reached?"
    )


def check_no_folder(path: Path) -> None:
    """Refuse a folder that lies elsewhere.

    Raises:
        PoolError: it is one, or the place cannot be read.
        MissingExtraError: the package for its file system is not installed.
    """
    address = address_of(path)
    assert address is not None
    filesystem, inside = _filesystem(address)
    with _reading(address):
        folder = filesystem.isdir(inside) and not filesystem.isfile(inside)
    if folder:
        raise PoolError(f"{shown(path)} is a folder: name its files, or a pattern such as {shown(path)}/*.parquet.")


def fetched(path: Path, folder: Path) -> Path:
    """A copy of a file that lies elsewhere, in ``folder``.

    Raises:
        PoolError: there is none, it is a folder, or it cannot be read.
        MissingExtraError: the package for its file system is not installed.
    """
    check_no_folder(path)
    address = address_of(path)
    assert address is not None
    filesystem, inside = _filesystem(address)
    copy = folder / f"{len(list(folder.iterdir())):06d}" / path.name
    copy.parent.mkdir()
    with _reading(address), filesystem.open(inside, "rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, _MEGABYTE)
    return copy


def state_of(path: Path) -> str:
    """What changes when a file elsewhere, or a data set of the hub, changes.

    Raises:
        PoolError: it cannot be read.
    """
    named = hub_name(path)
    if named is not None:
        return _commit(named, path)
    address = address_of(path)
    assert address is not None
    filesystem, inside = _filesystem(address)
    with _reading(address):
        return str(filesystem.ukey(inside))


class HubRows(MemoryRows):
    """A split of a data set of the hub, streamed; has what :class:`~autoselection.pool.readers.Reader` has."""

    def __init__(self, path: Path, split: str | None) -> None:
        named = hub_name(path)
        assert named is not None
        self.source = named["name"].rpartition("/")[2]
        revision = _commit(named, path)
        self.path = Path(f"{_HUB_PREFIX}{named['name']}{':' + named['config'] if named['config'] else ''}@{revision}")
        super().__init__(
            ColumnarRows(streamed(named["name"], named["config"], revision, split, self.path), 0, self.path)
        )


def streamed(name: str, config: str | None, revision: str | None, split: str | None, path: Path) -> Iterator[Any]:
    """The rows of a data set as record batches, from the hub, or from a folder of this machine.

    Args:
        name: of the data set, or a folder with its files.
        path: what messages call it.

    Raises:
        MissingExtraError: the library ``datasets`` is not installed.
        PoolError: there is none, it has several splits or configurations and none is named, or it cannot be read.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "data", f"Reading {shown(path)}") from error
    try:
        data = datasets.load_dataset(name, config, revision=revision, streaming=True)
        if isinstance(data, datasets.IterableDatasetDict):
            data = data[choose_split(path, list(data), split)]
        for table in data.with_format("arrow").iter(batch_size=BATCH_ROWS):
            yield from table.to_batches()
    except PoolError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if "onfig" in reason and "missing" in reason:
            raise PoolError(
                f"{shown(path)} has several configurations: name one, as org/name:CONFIG ({reason[:300]})."
            ) from error
        raise _unread(str(address_of(path) or path), error) from error


def _commit(named: re.Match[str], path: Path) -> str:
    """The commit that a data set of the hub is at, by which it is read: what is read then can be read again.

    Raises:
        MissingExtraError: the hub's library is not installed.
        PoolError: there is none, or the hub cannot be reached.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "data", f"Reading {shown(path)}") from error
    try:
        return str(HfApi().dataset_info(named["name"], revision=named["revision"], timeout=30).sha)
    except Exception as error:
        reason = " ".join(str(error).split())[:300].removesuffix(".")
        raise PoolError(
            f"{shown(path)} is no file or folder here, and no data set that the hub gives us ({reason}): mend the path, or log in "
            "and check the connection."
        ) from error
