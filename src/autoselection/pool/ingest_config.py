"""How files become a pool: the settings of ingest."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field, create_model, field_validator

from autoselection.pool.columns import ColumnRole, LayoutRequest, check_map
from autoselection.pool.csv_reader import Quotes
from autoselection.pool.readers import ReadOptions
from autoselection.pool.row_kinds import RowsFrom
from autoselection.pool.special_tokens import KNOWN_SPECIAL_TOKENS
from autoselection.pool.tags import Parsed
from autoselection.schema import StrictModel

FormatName = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt-completion",
    "glaive", "xlam", "api-log", "anthropic", "gemini", "ultrachat", "texts", "turn-pairs", "input-output",
    "reasoned", "smoltalk",
]  # fmt: skip

_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


_FROM = {
    "from": (
        RowsFrom,
        Field(
            default="auto",
            description="What rows are taken for: auto separates conversations from rows of other kinds (preference pairs, answers "
            "labelled bad, rows with an image, audio or video, text without a question), which are left out and counted; sft "
            "takes every row as a conversation; preference:chosen takes the chosen side of preference pairs; kto:true leaves out "
            "answers labelled false.",
        ),
    )
}
if TYPE_CHECKING:
    _Told = StrictModel
else:  # a name that a class body cannot have
    _Told = create_model("_Told", __base__=StrictModel, **_FROM)


class IngestConfig(_Told):
    """How files become a pool."""

    format: FormatName = Field(
        default="auto",
        description="Row format of every file; auto recognizes it by the fields of each file's first rows.",
    )
    map: dict[ColumnRole, str] = Field(
        default_factory=dict,
        description="Own column names, whatever their case: prompt and response (also input, reasoning, history), or messages; also "
        "system, tools, source and id. Files that have none of these columns are read as if there were no map.",
    )
    parse: tuple[Parsed, ...] = Field(
        default=(),
        description="What is parsed from marked-up texts into fields of their own: think (reasoning), tool_calls (calls, results "
        "and declared tools). What cannot be restored from its fields stays text and is counted.",
    )
    on_bad_row: Literal["skip", "refuse"] = Field(
        default="skip",
        description="What a row that cannot be used does: it is skipped and counted, or ends the ingest.",
    )
    assistant_opens: bool = Field(
        default=False,
        description="Take conversations that the assistant opens; by default they are bad rows.",
    )
    special_tokens: Literal["keep", "strip", "refuse"] = Field(
        default="keep",
        description="Special tokens of chat models inside row text: kept as plain text, removed, or the row is bad. "
        "They are counted in any case and never become control tokens.",
    )
    special_token_list: tuple[str, ...] = Field(
        default=KNOWN_SPECIAL_TOKENS,
        description="The special tokens searched for; the base model's own are added to them.",
    )
    id_field: str = Field(
        default="id", min_length=1, description="Field with the row's id (text or whole number), if any."
    )
    source_field: str = Field(default="source", min_length=1, description="Field that names the row's source, if any.")
    source: str | None = Field(
        default=None,
        min_length=1,
        description="Source of rows that name none; by default their file's name without suffixes and shard numbers, "
        "with its folders as far as needed to tell files apart.",
    )
    sources: dict[str, str] = Field(
        default_factory=dict,
        description="Sources by name, each with a pattern of its files' paths (such as 'math/*.jsonl'), whatever their "
        "rows say.",
    )
    split: str | None = Field(
        default=None, description="Split to take from a Hugging Face dataset, or sheet of a workbook, that has several."
    )
    encoding: str | None = Field(
        default=None,
        description="Encoding of text files, such as cp1252 or utf-16; by default it is recognized in each file.",
    )
    delimiter: str | None = Field(
        default=None,
        description="What separates the cells of CSV files (a character, or tab); by default it is read from each file's header.",
    )
    quotes: Quotes = Field(
        default="check",
        description="Quotes in CSV files: check (a file in which a stray quote seems to have made one row of many is "
        "refused), trust, or none (they are plain characters).",
    )
    keep_meta: bool = Field(default=True, description="Keep a row's other fields as JSON metadata.")

    @field_validator("map")
    @classmethod
    def _usable_map(cls, value: dict[ColumnRole, str]) -> dict[ColumnRole, str]:
        check_map(value)
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            known = codecs.lookup(value)
            "".encode(known.name)
        except LookupError as error:
            raise ValueError(
                f"{value!r} is no encoding of text that Python knows, such as utf-8, utf-16 or cp1252"
            ) from error
        return known.name

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = _NAMED_DELIMITERS.get(value.lower(), value)
        if len(value) != 1 or value in '"\r\n\0' or not value.isascii() or value.isalnum():
            raise ValueError("a delimiter is one character such as , ; | or tab")
        return value

    @property
    def rows_from(self) -> RowsFrom:
        """What rows are taken for: the key ``from``, whose name Python reserves."""
        return cast(RowsFrom, getattr(self, "from"))

    def mapped_texts(self) -> tuple[str, ...]:
        """The columns of texts that the user named."""
        return tuple(column for role, column in self.map.items() if role not in ("id", "source"))

    def read_options(self) -> ReadOptions:
        """What readers need to know."""
        return ReadOptions(self.split, self.encoding, self.delimiter, self.quotes)

    def layout_request(self) -> LayoutRequest:
        """What the user said about columns."""
        return LayoutRequest(
            self.format, {str(role): column for role, column in self.map.items()}, self.id_field, self.source_field
        )
