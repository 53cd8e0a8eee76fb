"""Columns that can be read in several ways: which reading is the whole one, and what to say where none is surely meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from autoselection.conversation import Message
from autoselection.pool.json_reader import Record
from autoselection.pool.turns import ROLES, holds_turns, is_turn
from autoselection.pool.values import fold, is_blank, is_missing, peeked, transposed
from autoselection.wording import command_line

#: Longer columns beside ``answer`` that are the response itself, or what leads to the answer.
_RESPONSES = ("solution", "response", "completion", "output", "generated_solution")
_REASONS = ("rationale", "explanation")
#: Columns of preferences, which are known as such: who takes the rows all the same has decided.
_SIDES = ("chosen", "rejected")
#: Names of columns of what a model wrote, such as ``r1_generation``.
_GENERATED = re.compile(r"(?:.*_)?generation|generated_(?:solution|response|answer|text|output|completion)")
#: Names of columns of reasoning that nothing reads by itself.
_REASONINGS = ("reasoning", "thinking", "thought", "thoughts", "chain_of_thought", "cot", "reasoning_trace")
#: Words from which on a text is one that was thought, and no setting such as ``on`` (count).
_PROSE = 4
#: Words from which on a text works a result out, and no longer says what made it or when (count).
_WORKING = 20
_TURNS = ("messages", "sharegpt")
#: Columns that may hold the answer to turns that end with a question.
_CONTINUING = ("response", "completion", "answer", "output")
#: Share of the first rows with such a column whose turns must end with a question, so that it is the answer: of a row whose
#: turns hold answers already, and of one whose turns hold none.
_NEARLY_ALL, _MOST = 0.9, 0.5

Messages = Sequence[Message]


def answer_beside(row: Mapping[str, Any], turns: Any, unanswered: Mapping[str, float]) -> str | None:
    """The field of a row that answers its turns, where these end with a question or a result; None if there is none.

    Args:
        row: by the names that ``formats`` reads.
        turns: the row's turns, as it holds them.
        unanswered: see :func:`unanswered_shares`; a field that it does not have is the answer.
    """
    filled = _may_answer(row)
    roles = _roles(turns) if filled else []
    if not _is_unanswered(roles):
        return None
    least = _NEARLY_ALL if _holds_answers(roles) else _MOST
    return next((name for name in filled if unanswered.get(name, 1.0) >= least), None)


def unanswered_shares(rows: Sequence[tuple[Mapping[str, Any], Any]]) -> dict[str, float]:
    """For each field that may be an answer: the share of the rows having it whose turns end with a question or a result.

    Turns that end with their answer show that the field is something else, such as a label.

    Args:
        rows: a file's first rows by the names that ``formats`` reads, each with its turns.
    """
    ends: dict[str, list[bool]] = {}
    for row, turns in rows:
        roles = _roles(turns)
        for name in _may_answer(row) if roles else ():
            ends.setdefault(name, []).append(_is_unanswered(roles))
    return {name: sum(found) / len(found) for name, found in ends.items()}


def unread_answer(
    rows: Sequence[tuple[Mapping[str, Any], Any]], unanswered: Mapping[str, float], names: Mapping[str, str]
) -> str | None:
    """A remark on a column that stays one beside turns that end with what the user says.

    Args:
        rows, unanswered: see :func:`unanswered_shares`.
        names: from the names that ``formats`` reads to those of the file, where they differ.
    """
    for row, turns in rows:
        if _is_unanswered(_roles(turns)) and (filled := _may_answer(row)) and not answer_beside(row, turns, unanswered):
            return (
                f"some of its turns end with what the user says; the column {names.get(filled[0], filled[0])!r} beside them stays a "
                "column, as turns with answers of their own have it too"
            )
    return None


def _may_answer(row: Mapping[str, Any]) -> list[str]:
    """The fields of a row that may hold the answer to its turns."""
    return [name for name in _CONTINUING if completion_of(row.get(name)) is not None]


def _holds_answers(roles: Sequence[str | None]) -> bool:
    """Whether turns may be whole although they end with the user's: who has an answer may but say thanks."""
    return roles[-1] == "user" and "assistant" in roles


def _is_unanswered(roles: Sequence[str | None]) -> bool:
    return bool(roles) and roles[-1] in ("user", "tool")


def _roles(turns: Any) -> list[str | None]:
    """The roles of turns as a row holds them; none of anything else."""
    turns = peeked(turns)
    turns = transposed(turns) if isinstance(turns, dict) else turns
    return list(map(_role, turns)) if isinstance(turns, list) else []


def completion_of(value: Any) -> Any:
    """An answer as ``formats`` reads a completion: a text, or turns that an assistant begins; None if it is neither."""
    given = peeked(value)
    if is_turn(given):
        given = [given]
    if holds_turns(given):
        return given if _role(given[0]) == "assistant" else None
    return value if isinstance(value, str) and not is_blank(value) else None


def _role(turn: Any) -> str | None:
    role = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
    return ROLES.get(role.strip().lower()) if isinstance(role, str) else None


def turns_first(names: Collection[str]) -> list[str]:
    """Names of formats, those of whole conversations in front of those of a pair of texts."""
    order = {**dict.fromkeys(_TURNS, 0), "alpaca": 2, "prompt-completion": 2}
    return sorted(names, key=lambda name: (order.get(name, 1), _TURNS.index(name) if name in _TURNS else 0, name))


def whole_reading(
    records: Sequence[Record], known: Collection[str], read: Callable[[str, Record], Messages | None]
) -> str | None:
    """The format of turns whose conversations all other formats only begin, in every row; None if there is none.

    Args:
        records: a file's first rows.
        known: the formats that they fit.
        read: a row's messages as a format reads it; None if it cannot.
    """
    rows = [{name: read(name, record) for name in known} for record in records]
    for name in (name for name in _TURNS if name in known):
        if any(row[name] is not None for row in rows) and all(_is_whole(row, name) for row in rows):
            return name
    return None


def _is_whole(row: Mapping[str, Messages | None], name: str) -> bool:
    whole = row[name]
    others = [_said(other) for key, other in row.items() if key != name and other is not None]
    return not others if whole is None else all(other == _said(whole)[: len(other)] for other in others)


def _said(messages: Messages) -> list[tuple[str, str]]:
    """What users and assistants say: system prompts stand in one of two readings only."""
    return [(turn["role"], turn["content"].strip()) for turn in messages if turn["role"] != "system"]


def rival_of(records: Sequence[Record], columns: Mapping[str, str]) -> tuple[str, str, str] | None:
    """What the user has to choose between, where a likelier response stands beside that which would be read.

    That is a longer text beside ``answer``, what a model generated to work out the response, or turns in a column of any
    name that ask the same.

    Args:
        records: a file's first rows.
        columns: what they are read from, by role.

    Returns:
        What is there, and two arguments of ``--map``, the likelier first; None where nothing is in doubt.
    """
    answer = columns.get("response")
    if answer is None:
        return None
    asked = [columns[role] for role in ("prompt", "input") if role in columns]
    named = {fold(column): column for record in records for column in record if column not in columns.values()}
    bare = as_map(columns)
    for name, held in named.items():
        if name not in _SIDES and _has_other_turns(records, held, asked, answer):
            said = f"turns in the column {held!r}, which answer otherwise than {answer!r}"
            return said, as_map({"messages": held}), bare
    likely = (*_RESPONSES, *_REASONS) if fold(answer) == "answer" else ()
    for name in (*likely, *filter(_GENERATED.fullmatch, named)):
        column = named.get(name)
        if column is None or not _is_longer(records, column, answer):
            continue
        if name in likely or _works_out(records, column, answer):
            likelier = {**columns, "reasoning" if name in _REASONS else "response": column}
            why = "" if _is_prose(records, answer) else ", which may be a bare result"
            said = f"the column {column!r} with longer text beside {answer!r}{why}"
            return said, as_map(likelier), bare
    return None


def _has_other_turns(records: Sequence[Record], column: str, asked: Sequence[str], response: str) -> bool:
    """Whether a column holds, in most rows, turns that ask what a pair asks and answer it otherwise, or go on.

    Examples and earlier turns ask something else; a turn that has the response besides the question asks to judge it.

    Args:
        asked: the columns of the pair's prompt.
        response: that of its response.
    """
    other = 0
    for record in records:
        turns = peeked(record.get(column))
        texts = [text for name in asked if (text := _plain(record.get(name)))]
        if not holds_turns(turns) or not texts:
            continue
        given = _plain(record.get(response))
        said = [(_role(turn), _plain([turn])) for turn in turns]
        asks = [role == "user" and _asks(text, texts, given) for role, text in said]
        answers = [text for role, text in said if role == "assistant"]
        behind = said[asks.index(True) + 1 :] if any(asks) else []
        other += any(role == "assistant" for role, _ in behind) and answers != [given]
    return 2 * other > len(records)


def _asks(text: str, asked: Sequence[str], response: str) -> bool:
    """Whether a turn holds all texts of a prompt, and not the response besides."""
    if not all(part in text for part in asked):
        return False
    for part in asked:
        text = text.replace(part, "", 1)
    return not response or response not in text


def _plain(value: Any) -> str:
    """A text or a number as text, whatever its white space; of turns the last one's; nothing of anything else."""
    turns = peeked(value)
    if holds_turns(turns):
        value = turns[-1].get("content", turns[-1].get("value"))
    return " ".join(str(value).split()) if isinstance(value, (str, int, float)) and not is_missing(value) else ""


def _works_out(records: Sequence[Record], column: str, result: str) -> bool:
    """Whether a column holds, in most rows with a result, text that leads to it: that has it, or is long beside a bare one."""
    found = [(_plain(record.get(column)), given) for record in records if (given := _plain(record.get(result)))]
    works = 0
    for text, given in found:
        words, bare = len(text.split()), len(given.split()) < _PROSE
        works += words >= _PROSE and (given in text or (bare and words >= _WORKING))
    return 2 * works > len(found)


def _is_longer(records: Sequence[Record], column: str, than: str) -> bool:
    """Whether a column holds longer text than another in most rows that have something in the other."""
    answered = [record for record in records if _length(record.get(than))]
    longer = sum(_length(record.get(column)) > _length(record[than]) for record in answered)
    return 2 * longer > len(answered)


def _length(value: Any) -> int:
    if isinstance(value, (int, float)):
        value = str(value)
    return len(value) if isinstance(value, str) and not is_blank(value) else 0


def unread_reasoning(records: Sequence[Record], columns: Mapping[str, str], command: str) -> str | None:
    """A remark on a column that may hold what was thought before the answers, and is not read as that.

    Args:
        records: a file's first rows.
        columns: what they are read from, by role; "reasoning" among them says that it is read.
        command: what reads the file without a map.
    """
    if "response" not in columns or "reasoning" in columns:
        return None
    named = {fold(column): column for record in records for column in record}
    for name in _REASONINGS:
        column = named.get(name)
        if column is None or column in columns.values():
            continue
        if _is_prose(records, column):
            return (
                f"its column {column!r} holds text that stays a column; to read it as what was thought before the answers, name the "
                f"columns (in a configuration: pool.ingest.map): `{command} --map {as_map({**columns, 'reasoning': column})}`"
            )
    return None


def _is_prose(records: Sequence[Record], column: str) -> bool:
    """Whether a column holds text of several words in most rows."""
    texts = [value for record in records if isinstance(value := record.get(column), str)]
    return 2 * sum(len(text.split(maxsplit=_PROSE)) >= _PROSE for text in texts) > len(records)


def as_map(columns: Mapping[str, str]) -> str:
    """The argument of ``--map`` that names these columns, by role."""
    return command_line(",".join(f"{role}={column}" for role, column in columns.items()))
