"""Reasoning, calls and results that stand as tags inside contents, apart from text that only talks about such tags.

Known are the marks of ``autoselection.marks`` (in ``<tool_call>`` JSON, or Qwen3-Coder's and GLM's tags),
``<tool_response>`` and its kin, ``<tools>`` in a system message. A tag inside a code block or inline code is text.
"""

from __future__ import annotations

import bisect
import json
import re
import sys
import unicodedata
from dataclasses import dataclass
from typing import Any

from autoselection.marks import (
    CALL_TAGS,
    CLOSINGS,
    GLAIVE_CALL,
    MISTRAL_CALLS,
    OPENINGS,
    REASONING,
    closing_of,
    may_be_marked,
    openings_of,
)

_OPENS = re.compile(OPENINGS, re.IGNORECASE)
_CLOSES = {tag.lower(): re.compile(re.escape(tag), re.IGNORECASE) for tag in REASONING.values()}
_ANY_CLOSE = re.compile(CLOSINGS, re.IGNORECASE)
#: Words behind a tag that make it the subject of a sentence.
_TALK = re.compile(
    r"[ \t]*(?:(?:is|are|was|were|tags?|blocks?|elements?|markers?|tokens?|sections?|and|or|should|must|means|marks|opens|starts|wraps)\b|[,;:)=]|</)"
)
#: Tags and marks of ends that are only wrapping around an answer that is not there.
_WRAPPING = re.compile(
    r"</?(?:answer|solution|output|response|final)>|<\|[a-z_]{1,30}\|>|</?s>|<eos>|<(?:end|start)_of_turn>|<｜[^｜]{1,40}｜>|\[/?INST\]",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*$", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)(`{1,2})(?!`)([^\n]*?[^`\n])\1(?!`)")

#: The plural only wraps, see ``calls_in``.
_CALL = re.compile(rf"<({'|'.join(CALL_TAGS)}|tool_calls|{GLAIVE_CALL.strip('<>')})>|{re.escape(MISTRAL_CALLS)}")
_RESULT_OPEN = re.compile(
    r"<(tool_response|function_response|tool_result|tool_results|tool_output|observation)>|\[TOOL_RESULTS\]"
)
_FUNCTION = re.compile(r"\s*<function=([^>\n]*)>\s*")
_FUNCTION_END = re.compile(r"</function>\s*")
_PARAMETER = re.compile(r"<parameter=([^>\n]*)>\n?(.*?)\n?</parameter>\s*(?=<parameter=|</function>)", re.DOTALL)
_GLM = re.compile(r"\s*([^\s<>{}\[\]\"']+)\s*(?=<arg_key>|</tool_call>)")
_GLM_ARGUMENT = re.compile(
    r"<arg_key>\s*([^<]*?)\s*</arg_key>\s*<arg_value>\n?(.*?)\n?</arg_value>\s*(?=<arg_key>|</tool_call>)", re.DOTALL
)
#: Glaive writes arguments as JSON text between single quotes.
_GLAIVE = re.compile(
    r"""\{\s*["']name["']\s*:\s*["']([^"']+)["']\s*,\s*["']arguments["']\s*:\s*'(.*)'\s*\}""", re.DOTALL
)
_MISTRAL = re.compile(r"\s*([\w.\-]+)(?:\[CALL_ID\]\w+)?\s*(?:\[ARGS\])?\s*(?=\{)")
_LONGEST_TALK = 4_000
#: Tags of a turn that open no call that can be read, after which no more are looked at: each costs a pass over the turn.
_MOST_UNREADABLE = 50


@dataclass(frozen=True)
class Call:
    """One call: its name, and its arguments if they are those of a function, else None.

    Attributes:
        name: None where there is none.
        arguments: the object; None where the text is not JSON of one.
        text: the arguments as they were written.
        loose: the values are bare text between tags, and may be read as JSON or as text.
        id: by which its result names it.
    """

    name: str | None
    arguments: dict[str, Any] | None
    text: str
    loose: bool = False
    id: str | None = None


@dataclass(frozen=True)
class Said:
    """A content apart.

    Attributes:
        visible: the text outside reasoning.
        reasoning: characters of reasoning, tags left out.
        ending: the last characters of the reasoning.
        unclosed: whether a block of reasoning never closes.
    """

    visible: str
    reasoning: int = 0
    ending: str = ""
    unclosed: bool = False


class Code:
    """Where a text's code stands; found when first asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans: list[tuple[int, int]] | None = None

    def holds(self, place: int) -> bool:
        """Whether the character at ``place`` is part of a code block or of inline code."""
        if self._spans is None:
            self._spans = _code_spans(self._text)
        return _inside(place, self._spans)


def _inside(place: int, spans: list[tuple[int, int]]) -> bool:
    """Whether one of the spans, which are sorted and do not overlap, holds ``place``."""
    at = bisect.bisect_right(spans, (place, sys.maxsize)) - 1
    return at >= 0 and place < spans[at][1]


def _code_spans(text: str) -> list[tuple[int, int]]:
    if "`" not in text and "~~~" not in text:
        return []
    blocks: list[tuple[int, int]] = []
    opened: tuple[int, str] | None = None
    for fence in _FENCE.finditer(text):
        mark = fence.group(1)
        if opened is None:
            opened = fence.start(), mark
        elif mark[0] == opened[1][0] and len(mark) >= len(opened[1]) and fence.group().strip() == mark:
            blocks.append((opened[0], fence.end()))
            opened = None
    if opened is not None:
        blocks.append((opened[0], len(text)))
    inline = [code.span() for code in _INLINE.finditer(text) if not _inside(code.start(), blocks)]
    return sorted(blocks + inline)


def json_object(text: str) -> dict[str, Any] | None:
    """The object that strict JSON text spells, else None."""
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def said(content: str) -> Said:
    """Reasoning and visible text of an assistant's content.

    An opening tag counts at the start of the content or of a line. A closing one that nothing opened ends reasoning that the
    template opens, if it stands at the end of a line.
    """
    if not may_be_marked(content) or not (_OPENS.search(content) or _ANY_CLOSE.search(content)):
        return Said(content)
    visible: list[str] = []
    length, place, ending = 0, 0, ""
    code = Code(content)
    first = _next_open(content, 0, code)
    closing = _lone_close(content, len(content) if first is None else first.start(), code)
    if closing is not None:
        length, place, ending = closing.start(), closing.end(), content[: closing.start()]
        code = Code(" " * place + content[place:])
    while (opening := _next_open(content, place, code)) is not None:
        visible.append(content[place : opening.start()])
        close = _close(content, opening)
        if close is None:
            rest = content[opening.end() :]
            return Said("".join(visible), length + len(rest), rest[-600:], unclosed=True)
        ending = content[opening.end() : close.start()]
        length += len(ending)
        place = close.end()
        code = Code(" " * place + content[place:])  # code that reasoning leaves open ends with it
    visible.append(content[place:])
    return Said("".join(visible), length, ending[-600:])


def _next_open(content: str, place: int, code: Code) -> re.Match[str] | None:
    for tag in _OPENS.finditer(content, place):
        before = content[place : tag.start()]
        if before.strip() and before[before.rfind("\n") + 1 :].strip():
            continue
        if not _TALK.match(content, tag.end()) and not code.holds(tag.start()):
            return tag
    return None


def _close(content: str, opening: re.Match[str]) -> re.Match[str] | None:
    for tag in _CLOSES[closing_of(opening.group())].finditer(content, opening.end()):
        quoted = content[tag.start() - 1] == "`" and content[tag.end() : tag.end() + 1] == "`"
        if not quoted:
            return tag
    return None


def _lone_close(content: str, limit: int, code: Code) -> re.Match[str] | None:
    for tag in _ANY_CLOSE.finditer(content, 0, limit):
        if content[tag.end() : tag.end() + 1] not in ("", "\n", "\r"):
            continue
        before = content[: tag.start()].lower()
        opened = any(opening in before for opening in openings_of(tag.group()))
        alone = tag.start() == 0 or content[tag.start() - 1] == "\n"  # then code before it was left open
        if not opened and (alone or not code.holds(tag.start())):
            return tag
    return None


def says_something(visible: str) -> bool:
    """Whether anything but wrapping, punctuation and marks of layout is left."""
    return any(
        letter.isalnum() or letter in "<>=+^$%|" or (letter > "\x7f" and unicodedata.category(letter)[0] == "S")
        for letter in _WRAPPING.sub("", visible)
    )


def calls_in(visible: str) -> list[Call]:
    """The calls that stand as tags in an assistant's visible text, in order; malformed ones have no arguments."""
    if "<tool_call" not in visible and "<function" not in visible and "[TOOL_CALLS]" not in visible:
        return []
    code, found, place, unreadable = Code(visible), list[Call](), 0, 0
    while unreadable < _MOST_UNREADABLE and (tag := _CALL.search(visible, place)) is not None:
        place = tag.end()
        if tag.group(1) == "tool_calls" or code.holds(tag.start()):  # the plural only wraps
            continue
        new, place = _call_at(visible, tag)
        unreadable += not new or new[0].arguments is None
        found += new
    return found


def _call_at(visible: str, tag: re.Match[str]) -> tuple[list[Call], int]:
    """The calls of one tag, and where to go on."""
    name, start = tag.group(1), tag.end()
    if name is None:
        named = _MISTRAL.match(visible, start)
        if named is not None:
            value, stop = _value_at(visible, named.end())
            text = visible[named.end() : stop]
            return [Call(named.group(1), value if isinstance(value, dict) else None, text)], stop
    value, stop = _value_at(visible, start)
    close = f"</{name}>"
    if value is not None:
        closed = name is None or name == "functioncall" or visible.startswith(close, _behind_blanks(visible, stop))
        calls = _calls_of(value)
        return (calls if closed else [Call(call.name, None, call.text) for call in calls]), stop
    tagged = _tagged_call(visible, start)
    at_line_start = not visible[visible.rfind("\n", 0, tag.start()) + 1 : tag.start()].strip()
    if tagged is not None and not (tagged[0].arguments or at_line_start or visible.startswith("<function=", start)):
        tagged = None  # a sentence about the two tags
    if tagged is not None and visible.startswith(close, tagged[1]):
        return [tagged[0]], tagged[1]
    end = visible.find(close, start) if name else -1
    following = _CALL.search(visible, start)
    if end >= 0 and following is not None and following.start() < end:
        end = -1
    stop = end if end >= 0 else (following.start() if following else len(visible))
    body = visible[start:stop]
    if tagged is not None and tagged[0].arguments:
        return [Call(tagged[0].name, None, body)], stop
    if name == "functioncall" and (glaive := _GLAIVE.match(body.strip())):
        return [Call(glaive.group(1), json_object(glaive.group(2)), glaive.group(2))], stop
    meant = body.lstrip()[:1] in ("{", "[") or body.lstrip().startswith("<function=")
    if meant or (end >= 0 and at_line_start and body.strip() and len(body) < _LONGEST_TALK):
        named = re.search(r"""["']name["']\s*:\s*["']([^"']{1,200})["']""", body)
        return [Call(named.group(1) if named else None, None, body.strip())], stop
    return [], stop


def _behind_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _value_at(text: str, place: int) -> tuple[Any, int]:
    """The JSON object or list that starts at ``place``, and where it ends; None if there is none."""
    place = _behind_blanks(text, place)
    if text[place : place + 1] not in ("{", "["):
        return None, place
    try:
        return _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):
        return None, place


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _calls_of(value: Any) -> list[Call]:
    if isinstance(value, list):
        return [call for one in value for call in _calls_of(one)] if value else [Call(None, None, "[]")]
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        return [Call(None, None, str(value))]
    name = value.get("name")
    written: Any = next((value[key] for key in ("arguments", "parameters", "args") if key in value), {})
    if isinstance(written, str):
        arguments, text = json_object(written) if written.strip() else {}, written
    else:
        arguments = written if isinstance(written, dict) else {} if written is None else None
        text = json.dumps(written, ensure_ascii=False)
    return [Call(name if isinstance(name, str) and name else None, arguments, text)]


def _tagged_call(text: str, place: int) -> tuple[Call, int] | None:
    """Qwen3-Coder's ``<function=…><parameter=…>`` or GLM's ``name<arg_key>…<arg_value>…`` at ``place``, and its end.

    A value ends where the next one, or the call, goes on: it may hold tags itself.
    """
    head = _FUNCTION.match(text, place)
    argument, names = _PARAMETER, head is not None
    if head is None:
        head, argument = _GLM.match(text, place), _GLM_ARGUMENT
    if head is None:
        return None
    arguments: dict[str, Any] = {}
    stop = head.end()
    while (pair := argument.match(text, stop)) is not None:
        arguments[pair.group(1).strip()] = pair.group(2)
        stop = pair.end()
    if names:
        end = _FUNCTION_END.match(text, stop)
        if end is None:
            return Call(head.group(1).strip() or None, None, text[head.end() : stop]), stop
        stop = end.end()
    return Call(head.group(1).strip() or None, arguments, text[head.end() : stop], loose=True), stop


def results_in(content: str) -> list[str] | None:
    """The results of tools that a turn consists of, if it begins with the tag of one; else None."""
    start = content.lstrip()
    if not start.startswith(("<", "[")) or _RESULT_OPEN.match(start) is None:
        return None
    parts = _RESULT_OPEN.split(start)
    return [part for part in parts[2::2] if part is not None]


def tools_in(system: str) -> str | None:
    """The JSON text of the tools that a system message declares between ``<tools>`` tags; None without any."""
    if "<tools>" not in system:
        return None
    body, end = None, 0
    while body is None and (start := system.find("<tools>", end)) >= 0:
        end = system.find("</tools>", start)
        if end < 0:
            return None
        inside = system[start + len("<tools>") : end].strip()
        body = inside if inside[:1] in ("{", "[") else None
    if body is None or body[0] == "[":
        return body
    return "[" + ",".join(line for line in body.splitlines() if line.strip()) + "]"
