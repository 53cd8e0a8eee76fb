"""Folders for LLaMA-Factory: a file of ShareGPT rows, and its entry in ``dataset_info.json``.

Read by its versions 0.9.4 and 0.9.5: a system prompt and tools of their own, then turns in which asking (``human``,
``observation``) and answering (``gpt``, ``function_call``) alternate and the last is an answer. Other rows it skips.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autoselection.conversation import Conversation, Message
from autoselection.errors import ConfigError
from autoselection.export.containers import open_container
from autoselection.export.layouts import CannotHold, has_more
from autoselection.export.turns import (
    CALL_MARKS,
    FUNCTION_CALL,
    SHAREGPT_ROLES,
    messages_text,
    said_before_calls,
    sharegpt_turn,
)
from autoselection.export.written import ExportReport, Written, batches
from autoselection.files import write_text
from autoselection.pool.pool import Pool
from autoselection.pool.table import Rows
from autoselection.pool.turns import MESSAGES_KEY
from autoselection.wording import clipped

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DATASET_INFO = "dataset_info.json"
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": FUNCTION_CALL,
    "system_tag": "system",
}
_COLUMNS = {"messages": "conversations", "system": "system"}
#: How LLaMA-Factory itself joins the results of several calls where it reads OpenAI messages.
_RESULTS = "\n</tool_response>\n<tool_response>\n"


def llamafactory_row(conversation: Conversation) -> dict[str, Any]:
    """A row as LLaMA-Factory reads it: ``conversations``, ``system`` ("" without one) and ``tools`` ("" without).

    Turns that hold more than ``from`` and ``value`` can tell have ``messages``, which ingest reads and LLaMA-Factory does not.

    Raises:
        CannotHold: LLaMA-Factory would skip it, or train on something else.
    """
    messages = conversation.messages
    if any("weight" in message for message in messages):
        raise CannotHold("with answers of weight 0, which LLaMA-Factory would train on")
    if any(message.get("tool_calls") and CALL_MARKS[0] in said_before_calls(message) for message in messages):
        raise CannotHold(f"with {CALL_MARKS[0]} in the text before calls, where LLaMA-Factory would look for the calls")
    opens = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(_turns(messages[len(opens) :]))
    answers = [turn["from"] in (SHAREGPT_ROLES["assistant"], FUNCTION_CALL) for turn in turns]
    alternate = answers == [number % 2 == 1 for number in range(len(turns))] and len(turns) % 2 == 0
    if not alternate or any(turn["from"] == SHAREGPT_ROLES["system"] for turn in turns):
        raise CannotHold("that LLaMA-Factory skips: they do not alternate, or do not end with an answer")
    bare = [message for message in opens if len(message) == 2]
    return {
        "conversations": [*map(sharegpt_turn, opens[len(bare) :]), *turns],
        "system": "".join(message["content"] for message in bare),
        "tools": conversation.tools or "",
    }


def _turns(messages: Sequence[Message]) -> Iterator[dict[str, str]]:
    """The turns; results that follow each other are one, as LLaMA-Factory has no others."""
    for role, group in groupby(messages, key=lambda message: message["role"]):
        found = list(group)
        if role == "tool" and len(found) > 1:
            joined = _RESULTS.join(message["content"] for message in found)
            yield {"from": SHAREGPT_ROLES["tool"], "value": joined, MESSAGES_KEY: messages_text(found)}
        else:
            yield from map(sharegpt_turn, found)


def name_problem(name: str) -> str | None:
    """Why a data set there cannot be called so; None if it can."""
    if _NAME.fullmatch(name) and not name.endswith("."):
        return None
    return (
        f"{clipped(name)!r} is no name for a dataset of LLaMA-Factory: use up to 100 letters, digits, '.', '_' and '-', the first a "
        "letter or digit, the last no '.'"
    )


def export_sharegpt(pool: Pool, rows: Rows | None, directory: Path | str, name: str) -> ExportReport:
    """Write ``rows`` (all if None) as ``NAME.jsonl`` in ShareGPT form, and enter it in ``dataset_info.json``.

    The folder is a LLaMA-Factory ``dataset_dir``: train with ``dataset: NAME``. Rows that it would skip, or train on otherwise
    than they say, are left out and reported.

    Raises:
        ConfigError: ``name`` is no plain file name, or ``dataset_info.json`` is damaged or uses the name otherwise.
        PoolError: a row is not in the pool.
    """
    directory = Path(directory)
    if (problem := name_problem(name)) is not None:
        raise ConfigError(f"{problem}.")
    file_name = f"{name}.jsonl"
    info = _read_dataset_info(directory / _DATASET_INFO)
    present = info.get(name)
    if present is not None and (not isinstance(present, dict) or present.get("file_name") != file_name):
        raise ConfigError(
            f"{directory / _DATASET_INFO} already has a dataset '{name}' of another file; choose another name."
        )
    wanted = pool.check_rows(rows)
    tools, more = _looked_up(pool, wanted)
    found = Written()

    def convert(conversation: Conversation) -> dict[str, Any]:
        row = llamafactory_row(conversation)
        if more:  # the JSON reader that it uses takes the fields of a file from the first rows
            for turn in row["conversations"]:
                turn.setdefault(MESSAGES_KEY, "")
        return row if tools else {key: value for key, value in row.items() if key != "tools"}

    with open_container(directory / file_name, "jsonl", pa.schema([])) as write:
        for part in batches(wanted):
            write(list(found.records(pool, part, convert)))
    columns = {**_COLUMNS, "tools": "tools"} if tools else _COLUMNS
    info[name] = {"file_name": file_name, "formatting": "sharegpt", "columns": columns, "tags": _TAGS}
    write_text(directory / _DATASET_INFO, json.dumps(info, ensure_ascii=False, indent=2) + "\n")
    return found.report(directory)


def _looked_up(pool: Pool, rows: Any) -> tuple[bool, bool]:
    """Whether a row that fits declares tools, and whether one has turns with more than ``from`` and ``value``."""
    tools = more = False
    if pool.plain and not _has_tool_turns(pool):
        return tools, more
    for part in batches(rows):
        for conversation in pool.conversations(part):
            if conversation.tools is None and not has_more(conversation.messages) and more:
                continue
            try:
                row = llamafactory_row(conversation)
            except CannotHold:
                continue
            tools = tools or bool(row["tools"])
            more = more or has_more(row["conversations"])
        if tools and more:
            break
    return tools, more


def _has_tool_turns(pool: Pool) -> bool:
    """Whether a turn holds what a tool gave: of several that follow each other :func:`_turns` makes one, which has more."""
    chunks = pool.table.column("messages").chunks
    return any(pc.any(pc.equal(chunk.flatten().field("role"), "tool")).as_py() for chunk in chunks)


def _read_dataset_info(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); fix it or export into another folder.") from error
    if not isinstance(info, dict):
        raise ConfigError(f"{path} must hold a JSON object of datasets; fix it or export into another folder.")
    return info
