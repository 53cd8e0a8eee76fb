"""What columns of unknown names may hold: the map that is proposed where a file's columns say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from autoselection.pool.json_reader import Record
from autoselection.pool.values import fold, is_blank, is_missing
from autoselection.wording import command_line

#: Columns of the answers that a question offers.
OPTIONS = ("choices", "options")
#: Words in names that speak for a prompt or a response, the best first: to propose a map, never to read by.
_PROMPT_WORDS = (
    "prompt",
    "question",
    "query",
    "instruction",
    "problem",
    "input",
    "user",
    "human",
    "request",
    "ask",
    "task",
    *("frage", "anweisung", "aufgabe", "eingabe", "pregunta", "instrucción", "pergunta", "domanda", "vraag", "pytanie"),
    *("вопрос", "soru", "问题", "質問", "질문", "سؤال"),
    "q",
)
_RESPONSE_WORDS = (
    *("response", "answer", "completion", "output", "solution", "reply", "assistant", "bot", "target", "chosen"),
    *("summary", "translation", "result", "label"),
    *("antwort", "ausgabe", "lösung", "respuesta", "réponse", "resposta", "risposta", "antwoord", "odpowiedź", "ответ"),
    *("cevap", "回答", "答案", "답변", "جواب", "a"),
)  # fmt: skip
_NO_TEXT = ("id", "uuid", "source", "url", "date", "split", "category", "lang", "language", "rejected")
#: What ends the name of a column that says something about a text, as ``problem_type`` does.
_NO_TEXT_ENDS = ("id", "uuid", "url", "type", "name")
#: What ends such names and those of texts, as ``generation_model`` and ``natural_language``: proposed only where nothing else is.
_ABOUT = (*_NO_TEXT, "model")
#: Columns of bare results, by which answers are judged: proposed as an answer only where nothing else is one.
_RESULTS = ("expected_answer", "final_answer", "gold_answer", "reference_answer", "ground_truth")
#: Numbers, dates and times: what a text cell may be, a column of texts not.
_NO_WORDS = re.compile(r"[\W\d_]*(?:\d[\W\d_]*[TZ][\W\d_]*)*|(?i:true|false|nan|none|null)")


def is_conversation(value: Any) -> bool:
    """Whether a value looks like a list of turns, also as text."""
    if isinstance(value, str):
        return value.lstrip().startswith(("[{", "[ {", "[\n")) and ('"' in value or "'" in value)
    if isinstance(value, dict):
        return {"role", "content"} <= set(value) or {"from", "value"} <= set(value)
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and bool({"role", "from"} & set(first))


def advice(records: Sequence[Record], columns: Sequence[str], path: Path, command: str) -> str:
    """What to do about a file whose columns say nothing."""
    lists = [name for name in columns if isinstance(records[0][name], list)] if len(records) == 1 else []
    if len(lists) == 1 and _is_list_of_rows(records[0][lists[0]]):
        return f"if the rows are in the field {lists[0]!r}, write that list alone to a file."
    if any(fold(column) in OPTIONS for column in columns):
        return (
            "these are questions with options, of which no conversation is made by itself: write the answer as text, or, to "
            "score subsets by them, use `autoselection benchmark multiple_choice`."
        )
    proposed = _proposal(records, columns)
    if proposed is None:
        header = " (does the file have a header line?)" if path.suffix.lower() in (".csv", ".tsv") else ""
        return f"rename the fields, or name them with --map prompt=…,response=…{header}."
    mapped = command_line(",".join(f"{role}={column}" for role, column in proposed.items()))
    preference = " (the preferred answers alone)" if "chosen" in map(fold, proposed.values()) else ""
    return (
        f"rename the fields, or name them (in a configuration: pool.ingest.map), for instance{preference}: "
        f"`{command} --map {mapped}`"
    )


def _is_list_of_rows(value: Any) -> bool:
    return bool(value) and all(isinstance(row, dict) for row in value) and not is_conversation(value)


def _proposal(records: Sequence[Record], columns: Sequence[str]) -> dict[str, str] | None:
    """The likeliest map of the columns, if there is one that would read the rows."""
    lists = [column for column in columns if any(is_conversation(record.get(column)) for record in records)]
    if lists:
        return {"messages": min(lists, key=lambda column: _rank(column, ("chosen", "message", "conversation")))}
    texts = [column for column in columns if _is_text(records, column) and _may_be_text(column)]
    texts = _if_two([column for column in texts if _words(column)[-1] not in _ABOUT]) or texts
    texts = _if_two([column for column in texts if fold(column) not in _RESULTS]) or texts
    prompt = _best(records, texts, _PROMPT_WORDS)
    response = _best(records, [column for column in texts if column != prompt], _RESPONSE_WORDS)
    others = [column for column in texts if column not in (prompt, response)]
    wanted = (prompt is None) + (response is None)
    longest = sorted(others, key=lambda column: -_mean_length(records, column))[:wanted]
    chosen = iter(column for column in others if column in longest)
    prompt = prompt or next(chosen, None)
    response = response or next(chosen, None)
    return {"prompt": prompt, "response": response} if prompt and response else None


def _if_two(columns: list[str]) -> list[str] | None:
    """Columns, if they are enough for a prompt and a response."""
    return columns if len(columns) > 1 else None


def _may_be_text(column: str) -> bool:
    """Whether a column's name does not say that it holds something else than a prompt or a response."""
    return fold(column) not in _NO_TEXT and _words(column)[-1] not in _NO_TEXT_ENDS


def _best(records: Sequence[Record], columns: Sequence[str], words: Sequence[str]) -> str | None:
    """The column whose name speaks most for a role; None if none does.

    Of several with the same word, that which has no other is taken, then the longest text.
    """

    def order(column: str) -> tuple[int, bool, float]:
        rank = _rank(column, words)
        return rank, fold(column) not in (words[rank], f"{words[rank]}s"), -_mean_length(records, column)

    return min((column for column in columns if _rank(column, words) < len(words)), key=order, default=None)


def _mean_length(records: Sequence[Record], column: str) -> float:
    texts = [value for record in records if isinstance(value := record.get(column), str)]
    return sum(map(len, texts)) / max(len(texts), 1)


def _words(column: str) -> list[str]:
    """The words of a column's name."""
    return re.split(r"[\W_]+", fold(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)))


def _rank(column: str, words: Sequence[str]) -> int:
    """Place of the first of ``words`` that the column's name holds; behind the last if none."""
    parts = _words(column)
    return next(
        (place for place, word in enumerate(words) if any(part in (word, f"{word}s") for part in parts)), len(words)
    )


def _is_text(records: Iterable[Record], column: str) -> bool:
    values = [record.get(column) for record in records]
    present = [value for value in values if not is_missing(value)]
    texts = sum(isinstance(value, str) and not is_blank(value) and not _NO_WORDS.fullmatch(value) for value in present)
    return texts > 0 and texts * 2 >= len(present)
