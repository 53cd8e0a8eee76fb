"""What a template does with conversations of one shape: found out once, with marks in the place of their texts.

Most rows are questions and answers, and most templates write around these whatever they say. For such a row what the
marks showed is taken over, if the text that it gives is what the template writes of the row itself; else, and for rows
that are more, everything is rendered again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

from autoselection.errors import EvaluationError
from autoselection.language.chat.form import MARK, Form, TemplateInput, has_marks, mark
from autoselection.language.chat.kinds import kinds_of
from autoselection.language.chat.template import TOOL, TemplateBroken, sought
from autoselection.language.chat.writing import RenderedSample, Rendering, Turns, Writer, WrittenTurn
from autoselection.marks import may_be_marked

#: Shapes remembered; more are seldom seen.
_MOST_SHAPES = 2000
_Key = tuple[Any, ...]


@dataclass(frozen=True)
class _Anchor:
    """A place in a text with marks: characters outside marks before it, and marks before it."""

    characters: int
    marks: int


@dataclass(frozen=True)
class _Pattern:
    """A sample of the marked conversation: the texts between the marks, whose marks they are, and its written turns."""

    pieces: list[str]
    order: list[int]
    written: tuple[WrittenTurn, ...]
    anchors: Mapping[int, _Anchor]
    rewritten: int

    def text(self, contents: Sequence[str]) -> str:
        parts = [self.pieces[0]]
        for number, piece in zip(self.order, self.pieces[1:], strict=True):
            parts += [contents[number], piece]
        return "".join(parts)

    def sample(self, messages: Sequence[Form], text: str) -> RenderedSample:
        lengths = list(accumulate((len(messages[number]["content"]) for number in self.order), initial=0))
        places = {at: anchor.characters + lengths[anchor.marks] for at, anchor in self.anchors.items()}
        turns = (turn.shifted(places.__getitem__) for turn in self.written)
        written = tuple(_with_kinds(messages[turn.turn], text, turn) for turn in turns)
        return RenderedSample(text, written, rewritten=self.rewritten)


class Shapes:
    """The shapes of conversations, for one template.

    Args:
        writer: finds what has to be written.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.template = writer.template
        self._patterns: dict[_Key, list[_Pattern] | EvaluationError] = {}
        self._checked: dict[_Key, EvaluationError | None] = {}

    @cached_property
    def arguments_as_text(self) -> bool:
        """Whether the template wants the arguments of calls as JSON text, as some old ones do; most want objects."""
        for as_text in (False, True):
            arguments: Any = '{"k": "v"}' if as_text else {"k": "v"}
            call = {"type": "function", "id": "call00000", "function": {"name": "f", "arguments": arguments}}
            asked = {"role": "user", "content": "x"}
            called: Form = {"role": "assistant", "content": "", "tool_calls": [call]}
            text = self.template.render_or_none([asked, called], [TOOL])
            if text is not None and "{'k': 'v'}" not in text:  # an object printed by Python
                return as_text
        return False

    @cached_property
    def shows_tools(self) -> bool:
        """Whether the template writes the definitions of tools into the prompt."""
        tool = {"type": "function", "function": {**TOOL["function"], "name": mark(0)}}
        text = self.template.render_or_none([{"role": "user", "content": "x"}], [tool])
        return text is not None and mark(0) in text

    def sample(
        self, rendering: Rendering, trained: Sequence[int], turns: Turns, *, learn: bool = True
    ) -> list[RenderedSample] | None:
        """The samples of a row of plain texts; None if the template has to tell.

        Args:
            learn: find out what the template does with conversations of this shape, if that is not known.

        Raises:
            EvaluationError: the template refuses conversations of this shape.
        """
        given = rendering.given
        contents = [message["content"] for message in given.messages]
        if given.tools is not None or any(len(message) > 2 for message in given.messages):
            return None
        if any(not text or text[0].isspace() or text[-1].isspace() or has_marks(text) for text in contents):
            return None
        if self._telling is not None and any(map(self._telling.search, contents)):
            return None
        key = (tuple(message["role"] for message in given.messages), tuple(trained), turns)
        if not learn and key not in self._patterns:
            return None
        patterns = self._pattern(key, given)
        first = patterns[0].text(contents)
        if first != rendering.whole:
            return None
        texts = [first, *(pattern.text(contents) for pattern in patterns[1:])]
        return [pattern.sample(given.messages, text) for pattern, text in zip(patterns, texts, strict=True)]

    def check(self, given: TemplateInput) -> None:
        """See that the template leaves out nothing that conversations of this shape say.

        Reasoning may be left out of the turns before: what the model will be given does not have it either.

        Raises:
            EvaluationError: it leaves out a turn or its calls, or refuses conversations of this shape.
        """
        key = _shape(given)
        if key not in self._checked:
            if len(self._checked) >= _MOST_SHAPES:
                self._checked.clear()
            self._checked[key] = self._fault(given)
        if (error := self._checked[key]) is not None:
            raise error

    @cached_property
    def _telling(self) -> re.Pattern[str] | None:
        """Finds texts upon which the template may act: what it looks for in, cuts off or splits contents at."""
        words = {word for word in sought(self.template.text) if word.strip()}
        return re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True)))) if words else None

    def _pattern(self, key: _Key, given: TemplateInput) -> list[_Pattern]:
        if key not in self._patterns:
            if len(self._patterns) >= _MOST_SHAPES:
                self._patterns.clear()
            try:
                self._patterns[key] = self._new_pattern(given, *key[1:])
            except TemplateBroken:
                raise
            except EvaluationError as error:
                self._patterns[key] = error
        found = self._patterns[key]
        if isinstance(found, EvaluationError):
            raise found
        return found

    def _new_pattern(self, given: TemplateInput, trained: Sequence[int], turns: Turns) -> list[_Pattern]:
        self.check(given)
        marked = [{**message, "content": mark(number)} for number, message in enumerate(given.messages)]
        rendering = Rendering(self.template, TemplateInput(marked))
        return [_pattern_of(sample) for sample in self.writer.samples(rendering, trained, turns)]

    def _fault(self, given: TemplateInput) -> EvaluationError | None:
        marked = _marked(given, self.arguments_as_text)
        name = self.template.name
        try:
            text = self.template.render(marked.messages, marked.tools)
        except TemplateBroken:
            raise
        except EvaluationError as error:
            return error
        written = set(MARK.findall(text))
        for number, message in enumerate(marked.messages):
            turn = f"turn {number + 1} ({message['role']})"
            if not _marks_in(message["content"]) <= written:
                return EvaluationError(
                    f"The chat template of '{name}' does not render {turn}: convert the conversation or name another template."
                )
            if not _marks_in(json.dumps(message.get("tool_calls", []), ensure_ascii=False)) <= written:
                return EvaluationError(
                    f"The chat template of '{name}' does not render the calls of tools in {turn}: name another template."
                )
        return None


def _shape(given: TemplateInput) -> _Key:
    messages = tuple(
        (
            message["role"],
            bool(message["content"].strip()),
            "reasoning_content" in message,
            len(message.get("tool_calls", ())),
            *(name for name in ("tool_call_id", "name") if name in message),
            *("id" for call in message.get("tool_calls", ()) if "id" in call),
        )
        for message in given.messages
    )
    return (given.tools is not None, messages)


def _marked(given: TemplateInput, arguments_as_text: bool) -> TemplateInput:
    """The conversation with a mark in the place of every text that a template must not leave out."""
    messages: list[Form] = []
    waiting: list[str] = []
    calls = marks = 0
    for message in given.messages:
        form: Form = {"role": message["role"], "content": mark(marks) if message["content"].strip() else ""}
        marks += 1
        if "reasoning_content" in message:
            form["reasoning_content"] = "r"
        made: list[Form] = []
        for call in message.get("tool_calls", ()):
            arguments: Any = {"a": mark(marks)}
            function = {
                "name": f"f{mark(marks + 1)}",
                "arguments": json.dumps(arguments, ensure_ascii=False) if arguments_as_text else arguments,
            }
            made.append({"type": "function", "function": function})
            if "id" in call:
                made[-1]["id"] = f"call{calls:05d}"
                waiting.append(made[-1]["id"])
            calls += 1
            marks += 2
        if made:
            form["tool_calls"] = made
        if "tool_call_id" in message:
            form["tool_call_id"] = waiting.pop(0) if waiting else f"call{calls:05d}"
        if "name" in message:
            form["name"] = "f"
        messages.append(form)
    return TemplateInput(messages, None if given.tools is None else [TOOL])


def _marks_in(text: str) -> set[str]:
    return set(MARK.findall(text))


def _with_kinds(message: Form, text: str, turn: WrittenTurn) -> WrittenTurn:
    """The turn with the kinds of what its content holds: a mark in its place has no reasoning and no calls."""
    if not may_be_marked(message["content"]):
        return turn
    return replace(turn, parts=kinds_of(message, text, turn.start, turn.content, turn.content_end, turn.end))


def _pattern_of(sample: RenderedSample) -> _Pattern:
    found = list(MARK.finditer(sample.text))
    pieces = MARK.split(sample.text)
    ends = {at for turn in sample.written for at in (turn.header, turn.start, turn.content, turn.content_end, turn.end)}
    ends |= {end for turn in sample.written for end, _ in turn.parts}
    anchors = {}
    for at in ends:
        before = [item for item in found if item.end() <= at]
        anchors[at] = _Anchor(at - sum(len(item[0]) for item in before), len(before))
    return _Pattern(pieces[::2], [int(number) for number in pieces[1::2]], sample.written, anchors, sample.rewritten)
