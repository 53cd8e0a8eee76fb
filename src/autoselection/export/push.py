"""A dataset folder, with its card, as a data set of the Hugging Face hub."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoselection.errors import ConfigError, MissingExtraError

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Pushed:
    """What was pushed.

    Attributes:
        name: of the data set, owner and name.
        commit: by which the rows are read again: ``hf://datasets/NAME@COMMIT``.
        url: of its page.
        files: names of the files (sorted).
    """

    name: str
    commit: str
    url: str
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def push_dataset(
    folder: Path | str, name: str, *, private: bool = True, token: str | None = None, endpoint: str | None = None
) -> Pushed:
    """Push a dataset folder (``export_hf_dataset``, ``best/hf_dataset`` of a study) as one commit; data files of before are replaced.

    Args:
        name: ``org/name``; made if it is not there.
        private: of one that is made.
        token: to write with; None: the one of ``hf auth login`` or ``HF_TOKEN``.
        endpoint: of another hub.

    Raises:
        ConfigError: the folder is none, the name is no name, or the hub refuses or cannot be reached.
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
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "data", "Pushing to the hub") from error
    hub = HfApi(endpoint=endpoint, token=token)
    try:
        hub.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        done = hub.upload_folder(
            folder_path=folder,
            repo_id=name,
            repo_type="dataset",
            allow_patterns=["README.md", "data/*.parquet"],
            delete_patterns=["data/*.parquet"],
            commit_message="Subset selected with AutoSelection",
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:300].removesuffix(".")
        raise ConfigError(
            f"{folder} could not be pushed to {name} ({reason}): log in with `hf auth login`, and see that you may write there."
        ) from error
    return Pushed(name, str(done.oid), f"{hub.endpoint}/datasets/{name}", ("README.md", *files))
