"""The manifest of a pool directory: counts, provenance, fingerprint, checksums, and the states before rows were appended."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from autoselection import files
from autoselection.errors import PoolError
from autoselection.schema import StrictModel
from autoselection.validation import reason_of

#: Stands for a file's path where rows were in memory.
IN_MEMORY = "<rows>"
#: Layout of pool directories. 2 added to the rows of 1 what tool calls and reasoning need; 1 is read and extended.
FORMAT_VERSION = 2
#: Version of the rules by which ingest reads files: raised when the same file gives other rows or sources.
RULES = 6
TABLE_FILE = "pool.arrow"
MANIFEST_FILE = "manifest.json"
SKIPPED_FILE = "skipped.jsonl"
SIGNALS_FOLDER = "signals"


class FileRecord(StrictModel):
    """One input file and what came of it."""

    path: str = Field(description="Path as it was given to ingest; <rows> for rows in memory.")
    bytes: int = Field(description="Size on disk (bytes).")
    format: str = Field(description="Row format read: messages, sharegpt, alpaca or prompt-completion.")
    rows: int = Field(description="Rows taken into the pool (count).")
    skipped: int = Field(description="Rows skipped (count).")
    source: str | None = Field(None, description="Source of its rows that name none; older pools do not tell.")
    encoding: str | None = Field(None, description="Encoding, if it is text and not UTF-8.")
    delimiter: str | None = Field(None, description="What separates its cells, if not what its suffix says.")


class SpecialTokenRecord(StrictModel):
    """Special tokens of chat models that were found inside row text."""

    handling: str = Field(description="What was done with them: keep, strip or refuse.")
    rows: int = Field(description="Rows that had at least one (count).")
    counts: dict[str, int] = Field(description="Occurrences of each token found.")


class TableRecord(StrictModel):
    """One table file of a pool."""

    file: str = Field(pattern=r"^pool(-\d{4,})?\.arrow$", description="File name in the pool directory.")
    bytes: int = Field(description="Size on disk (bytes).")
    blake2b: str | None = Field(None, description="Checksum of the file (32 hex digits); older pools have none.")


class PoolState(StrictModel):
    """What is in a pool at one time, and where it came from."""

    rows: int = Field(description="Rows of the pool (count).")
    skipped: int = Field(description="Rows of the input that were skipped, see skipped.jsonl (count).")
    format: str = Field(description="Row format of the input, or 'mixed'.")
    fingerprint: str = Field(description="Content hash of all rows in order (32 hex digits).")
    files: tuple[FileRecord, ...] = Field(description="The input files, in order.")
    sources: dict[str, int] = Field(description="Rows of each source, by name.")
    special_tokens: SpecialTokenRecord
    ignored: dict[str, int] = Field(description="Parts of turns that were not kept, by field name (count).")


class PoolManifest(PoolState):
    """The state of a pool directory, its table files, and its states before rows were appended."""

    format_version: int = Field(description="Version of the pool directory's layout.")
    table_bytes: int = Field(description="Size of all table files (bytes).")
    tables: tuple[TableRecord, ...] = Field(
        (), description="The table files, in order; in pools of older versions none is named where there is only one."
    )
    rules: int = Field(1, description="Version of the rules by which files become rows.")
    parents: tuple[PoolState, ...] = Field(
        (), description="The states before each append, oldest first; the pool begins with their rows."
    )

    @property
    def table_files(self) -> tuple[TableRecord, ...]:
        """The table files, in order; the pool's rows are theirs."""
        return self.tables or (TableRecord(file=TABLE_FILE, bytes=self.table_bytes),)

    def at(self, fingerprint: str) -> PoolManifest | None:
        """The manifest as it was when the pool had ``fingerprint`` (but for the table files); None if it never had."""
        if fingerprint == self.fingerprint:
            return self
        for number, state in enumerate(self.parents):
            if state.fingerprint == fingerprint:
                former = {name: getattr(state, name) for name in PoolState.model_fields}
                return self.model_copy(update={**former, "parents": self.parents[:number]})
        return None

    def state(self) -> PoolState:
        """The state alone, to be kept as a parent."""
        return PoolState(**{name: getattr(self, name) for name in PoolState.model_fields})


def write_manifest(folder: Path, manifest: PoolManifest) -> None:
    """Write a pool's manifest with the checksum of its content."""
    document = manifest.model_dump(mode="json", exclude_defaults=True)
    files.write_text(folder / MANIFEST_FILE, json.dumps(files.seal(document), ensure_ascii=False, indent=2) + "\n")


#: How a pool that cannot be read is made again.
_ANEW = "restore the pool from a copy, or make it again: autoselection ingest FILE… --out {path} --overwrite"


def read_manifest(path: Path) -> PoolManifest:
    """The manifest of a pool directory; its table files are not looked at.

    Raises:
        PoolError: there is none, or it is damaged.
    """
    manifest_path = path / MANIFEST_FILE
    if not manifest_path.is_file():
        what = "does not exist" if not path.exists() else f"is no pool: it has no {MANIFEST_FILE}"
        raise PoolError(f"The pool {path} {what}; make one with `autoselection ingest FILE… --out {path}`.")
    try:
        document = files.parse_json(manifest_path.read_bytes())
        version = document.get("format_version") if isinstance(document, dict) else None
        if isinstance(version, int) and not 1 <= version <= FORMAT_VERSION:
            raise PoolError(
                f"The pool {path} has layout version {version}, this program reads 1 to {FORMAT_VERSION}; "
                + _ANEW.format(path=path)
            )
        return PoolManifest.model_validate(files.unsealed(document)[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise PoolError(
            f"The manifest of the pool {path} is damaged: '{where}' {reason_of(first)}; {_ANEW.format(path=path)}"
        ) from error
    except (ValueError, OSError) as error:
        raise PoolError(f"The manifest of the pool {path} is damaged ({error}); {_ANEW.format(path=path)}") from error
