"""A dataset folder, with its card, as a data set of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow.parquet as pq

from autoselection.errors import ConfigError, MissingExtraError
from autoselection.pool.own_columns import FILE

_OF_THE_WEB = ("hf://", "http://", "https://")
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Pushed:
    """What was pushed.

    Attributes:
        name: of the data set, owner and name.
        commit: by which the rows are read again: ``hf://datasets/NAME@COMMIT``.
        url: of its page.
        files: names of the files (sorted).
        remarks: what else has to be known, in sentences.
    """

    name: str
    commit: str
    url: str
    files: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def push_dataset(
    folder: Path | str, name: str, *, private: bool = True, token: str | None = None, endpoint: str | None = None
) -> Pushed:
    """Push a dataset folder (``export_hf_dataset``, ``best/hf_dataset`` of a study) as one commit; data files of before are replaced.

    Args:
        name: ``org/name``; made if it is not there.
        private: of one that is made; one that is there stays as it is.
        token: to write with; None: the one of ``hf auth login`` or ``HF_TOKEN``.
        endpoint: of another hub.

    Raises:
        ConfigError: the folder is none, the name is no name, or the hub refuses or cannot be reached; or everybody would see
            where the rows were read on this machine.
        MissingExtraError: the hub's library is not installed.
    """
    folder = Path(folder)
    files = tuple(sorted(str(file.relative_to(folder)) for file in folder.glob("data/*.parquet")))
    if not (folder / "README.md").is_file() or not files:
        raise ConfigError(
            f"{folder} is no dataset folder with a card: write one with `autoselection apply RECIPE --pool POOL --out FOLDER`, or "
            "name best/hf_dataset of a study."
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(f"'{name}' is no name of a data set: expected owner and name, such as my-org/my-subset.")
    places = _places(folder / file for file in files)
    remarks = []
    said = mend = ""
    if places:
        told = f"{places[0]} and {len(places) - 1:,} more" if len(places) > 1 else places[0]
        said = f"the column '{FILE}' of {folder} tells where each row was read on this machine ({told})"
        mend = "write the folder again with --columns none, or the columns that are wanted"
        if not private:
            raise ConfigError(f"--public: {said}, and everybody would see it: {mend}.")
        remarks.append(f"{said[0].upper()}{said[1:]}. Before others see the data set, {mend}, and push it again.")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "data", "Pushing to the hub") from error
    hub = HfApi(endpoint=endpoint, token=token)
    try:
        hub.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        seen = private and not hub.dataset_info(name).private  # one that was there stays as it was
        if seen and places:
            raise ConfigError(
                f"{name} is public: {said}, and everybody would see it: {mend}, or make the data set private."
            )
        done = hub.upload_folder(
            folder_path=folder,
            repo_id=name,
            repo_type="dataset",
            allow_patterns=["README.md", "data/*.parquet"],
            delete_patterns=["data/*.parquet"],
            commit_message="Subset selected with AutoSelection",
        )
    except ConfigError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300].removesuffix(".")
        raise ConfigError(
            f"{folder} could not be pushed to {name} ({reason}): log in with `hf auth login`, and see that you may write there."
        ) from error
    if seen:
        remarks.append(f"{name} is public, as it was before: everybody sees these rows.")
    return Pushed(name, str(done.oid), f"{hub.endpoint}/datasets/{name}", ("README.md", *files), tuple(remarks))


def _places(files: Iterable[Path]) -> list[str]:
    """Folders and buckets that the rows' places name (sorted); not those that are relative, or on the web for everybody."""
    paths: set[str] = set()
    for file in files:
        if FILE in pq.read_schema(file).names:
            column = pq.read_table(file, columns=[FILE]).column(FILE)
            paths.update(str(path) for path in column.unique().to_pylist() if path is not None)
    own = {path for path in paths if not path.startswith(_OF_THE_WEB) and _is_absolute(path)}
    return sorted({path.replace("\\", "/").rpartition("/")[0] or "/" for path in own})


def _is_absolute(path: str) -> bool:
    return "://" in path or PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
