"""What a model has to write at each of its turns, found in the text that the chat template writes.

At an assistant's turn the model is prompted with ``P``: the turns before and the generation prompt, as the template
writes them. The conversation up to and with the turn is ``F``. What the model has to write is ``F`` behind ``P``, with
the mark that ends the turn. Where a template writes a turn otherwise once more turns follow (reasoning is cut from
history), the text of the whole conversation does not hold what had to be written then: see :meth:`Writer.samples`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from autoselection.errors import EvaluationError
from autoselection.language.chat.form import Form, TemplateInput
from autoselection.language.chat.kinds import content_of, has_answer, kinds_of, left_out_of
from autoselection.language.chat.template import TOOL, ChatTemplate, TemplateBroken, asks_by_row, sought

Turns = Literal["all", "last", "each"]

_FILLERS = ("\ue0f2", "\ue0f3")
_BLANK = re.compile(r"\s*")
_TAG = re.compile(r"<[^<>\s]{1,60}>|\[/?[A-Z_]{1,30}\]")


@dataclass(frozen=True)
class WrittenTurn:
    """What one turn has to write, as places (characters) in a rendered text.

    Attributes:
        turn: index of the message.
        header: where the assistant's header begins, behind which is ``start``.
        start: where the model begins to write.
        content: where what the user sees begins; ``start`` if there is nothing but calls.
        content_end: where that ends.
        end: behind the end mark.
        parts: pieces of ``start`` to ``end`` with their kinds, in order: (end of the piece, kind).
        left_out: what the message says and the template does not write: ``reasoning``, ``text``.
    """

    turn: int
    header: int
    start: int
    content: int
    content_end: int
    end: int
    parts: tuple[tuple[int, int], ...] = ()
    left_out: frozenset[str] = frozenset()

    def shifted(self, place: object) -> WrittenTurn:
        """The same in another text: ``place`` maps characters."""
        assert callable(place)
        names = ("header", "start", "content", "content_end", "end")
        parts = tuple((place(end), kind) for end, kind in self.parts)
        return replace(self, parts=parts, **{name: place(getattr(self, name)) for name in names})


@dataclass(frozen=True)
class RenderedSample:
    """A rendered text and the turns in it that have a loss.

    Attributes:
        left_out: what the row says and the template does not write: ``reasoning`` of a turn that is trained, ``text`` of
            any turn. All samples of a row have the same.
        rewritten: turns that should have a loss and stand in none of the row's samples; 0 in all samples but the first.
    """

    text: str
    written: tuple[WrittenTurn, ...]
    left_out: frozenset[str] = frozenset()
    rewritten: int = 0


class Rendering:
    """One conversation, rendered up to each of its turns when that is asked for.

    Only the whole and what was asked for last are kept: the texts up to every turn of a long conversation are its
    square.
    """

    def __init__(self, template: ChatTemplate, given: TemplateInput) -> None:
        self.given = given
        self._template = template
        self._last = 0, ""

    def __len__(self) -> int:
        return len(self.given.messages)

    def text(self, count: int) -> str:
        """The first ``count`` messages."""
        if count == len(self):
            return self.whole
        if count != self._last[0]:
            self._last = count, self._template.render(self.given.messages[:count], self.given.tools)
        return self._last[1]

    @cached_property
    def whole(self) -> str:
        """All messages."""
        return self._template.render(self.given.messages, self.given.tools)

    def before(self, count: int) -> str | None:
        """The first ``count`` messages without being asked to go on; None if the template refuses these alone."""
        return self._template.render_or_none(self.given.messages[:count], self.given.tools)

    @property
    def asked(self) -> str:
        """All messages, and the assistant asked to speak."""
        return self._template.render(self.given.messages, self.given.tools, add_generation_prompt=True)

    def prompt(self, count: int) -> str | None:
        """The first ``count`` messages, and the assistant asked to speak; None if inference could not ask so."""
        return self._template.render_or_none(self.given.messages[:count], self.given.tools, add_generation_prompt=True)

    def followed(self, count: int) -> str | None:
        """The first ``count`` messages and what comes behind them: results of the calls of the last, or a user's turn.

        None if the template refuses what comes behind.
        """
        last = self.given.messages[count - 1]
        results: list[Form] = []
        for call in last.get("tool_calls", ()):
            results.append({"role": "tool", "name": call["function"]["name"], "content": "x"})
            if "id" in call:
                results[-1]["tool_call_id"] = call["id"]
        behind = results or [{"role": "user", "content": "x"}]
        return self._template.render_or_none([*self.given.messages[:count], *behind], self.given.tools)

    def with_content(self, count: int, content: str) -> str:
        """The first ``count`` messages, the last of which says ``content``."""
        messages = self.given.messages[:count]
        return self._template.render([*messages[:-1], {**messages[-1], "content": content}], self.given.tools)


class Writer:
    """Finds what has to be written, for one tokenizer's template.

    Args:
        template: the template.
        control: finds the tokenizer's control tokens in a text; None if it has none.
    """

    def __init__(self, template: ChatTemplate, control: re.Pattern[str] | None) -> None:
        self.template = template
        self._control = control
        self._run = None if control is None else re.compile(rf"(?:(?:{control.pattern})\s*)+\Z")
        #: Control tokens at the end of a turn, with whether it calls tools → how many of them are its end mark.
        self._kept: dict[tuple[str, bool], int] = {}

    @cached_property
    def generation_prompt(self) -> str:
        """What asks the assistant to speak; "" if the template has nothing for it."""
        asked = [{"role": "user", "content": "x"}]
        plain = self.template.render(asked)
        prompted = self.template.render(asked, add_generation_prompt=True)
        return prompted[self._whole(prompted, _common(plain, prompted)) :] or self._constant_prompt

    @cached_property
    def _constant_prompt(self) -> str:
        """What asks the assistant to speak if that ends every conversation, be it asked for or not (Command A); "" if none is.

        It stands behind a question, behind an answer's end mark, and, or its beginning, in front of an answer.
        """
        asked = {"role": "user", "content": "x"}
        prompted = self.template.render([asked], add_generation_prompt=True)
        tail, kept = self._tails[0]
        header = tail[kept:].strip()
        if not header or not prompted.endswith(header) or prompted != self.template.render([asked]):
            return ""
        answered = self.template.render([asked, {"role": "assistant", "content": _FILLERS[0]}])
        return header if self._whole(prompted, _common(prompted, answered)) > len(prompted) - len(header) else ""

    @cached_property
    def _asks_without(self) -> bool:
        """Whether a template without a generation prompt writes nothing but blanks between a question and an answer
        (Mistral). If it writes more, it cannot ask at all.
        """
        asked = [{"role": "user", "content": "x"}]
        text = self.template.render([*asked, {"role": "assistant", "content": _FILLERS[0]}])
        prompt = self.template.render(asked, add_generation_prompt=True)
        return text.startswith(prompt) and not text[len(prompt) :].partition(_FILLERS[0])[0].strip()

    @cached_property
    def prompt_gap(self) -> tuple[str, str] | None:
        """What inference gives behind a question, and what is written there in front of an answer, from where the header
        begins; None if that is the same, or the template takes no bare question.
        """
        asked = {"role": "user", "content": "x"}
        rendering = Rendering(self.template, TemplateInput([asked, {"role": "assistant", "content": _FILLERS[0]}]))
        try:
            written = self.written(rendering, 1)
            prompt = self.template.render([asked], add_generation_prompt=True)
        except TemplateBroken:
            raise
        except EvaluationError:
            return None
        before = rendering.whole[: written.start]
        begin = min(written.header, self._whole(prompt, _common(prompt, before)))
        return None if prompt == before else (prompt[begin:], before[begin:])

    def samples(
        self, rendering: Rendering, trained: Sequence[int], turns: Turns, reach: int | None = None
    ) -> list[RenderedSample]:
        """The texts to train on, and what has a loss in them.

        The first is the whole conversation. With ``all`` it is the only one, and a turn has a loss where it stands
        there as the model would have had to write it. With ``each`` further samples follow, the conversation up to a
        turn each, as few as it takes, until every turn has a loss once. With ``last`` only the last turn has one.

        Args:
            trained: indices of the assistant's messages that are learnt from.
            reach: characters of the whole conversation that are kept, if not all are: turns behind them are not looked
                for. Not for ``each``.

        Raises:
            EvaluationError: the template refuses the conversation, or a turn cannot be followed.
        """
        whole = rendering.whole
        found: dict[int, WrittenTurn] = {}
        here: list[int] = []
        elsewhere: dict[int, bytes] = {}
        for turn in trained[-1:] if turns == "last" else trained:
            found[turn] = self.written(rendering, turn)
            text, start, end = rendering.text(turn + 1), found[turn].start, found[turn].end
            if reach is not None and start >= reach and text[:start] == whole[:start]:
                del found[turn]  # it would stand behind what is kept, and so would all later ones
                break
            if text[:end] == whole[:end]:
                here.append(turn)
            else:  # it does not stand there as where it was the last
                elsewhere[turn] = _digest(text[:end]) if turns == "each" else b""
        left_out = _left_out(rendering.given.messages, whole, found)
        rewritten = 0 if turns == "each" else len(elsewhere)
        samples = [RenderedSample(whole, tuple(found[turn] for turn in here), left_out, rewritten)]
        while turns == "each" and elsewhere:
            text = rendering.text(max(elsewhere) + 1)
            here = [turn for turn, beginning in elsewhere.items() if beginning == _digest(text[: found[turn].end])]
            samples.append(RenderedSample(text, tuple(found[turn] for turn in here), left_out))
            elsewhere = {turn: beginning for turn, beginning in elsewhere.items() if turn not in here}
        return samples

    def written(self, rendering: Rendering, turn: int) -> WrittenTurn:
        """What the model has to write at a turn, as places in ``rendering.text(turn + 1)``.

        Raises:
            EvaluationError: it cannot be found.
            TemplateBroken: the template writes nothing that ends a turn.
        """
        assert self._tails, "a template that ends no turn is refused"
        text = rendering.text(turn + 1)
        message = rendering.given.messages[turn]
        header, start = self._start(rendering, turn, text)
        end, behind = self._end(rendering, turn, text, start)
        content, content_end = self._content(rendering, turn, text, start, behind)
        parts = kinds_of(message, text, start, content, content_end, end)
        left_out = left_out_of(message, text[header:behind])
        return WrittenTurn(turn, header, start, content, content_end, end, parts, left_out)

    def _content(self, rendering: Rendering, turn: int, text: str, start: int, behind: int) -> tuple[int, int]:
        """Where the content of a turn stands in what it writes; that may recur in the reasoning and in the calls."""
        message = rendering.given.messages[turn]
        content = message["content"].strip()
        if content and message.get("tool_calls") and text.find(content, start) != text.rfind(content, start, behind):
            try:
                place = self._content_start(rendering, turn, text)
            except EvaluationError:
                place = -1
            blank = _BLANK.match(text, max(place, 0))
            assert blank is not None
            if place >= start and text.startswith(content, blank.end()):
                return blank.end(), blank.end() + len(content)
            reasoning = message.get("reasoning_content", "").strip()
            place = text.find(content, max(start, text.find(reasoning, start) + len(reasoning)), behind)
            if place >= 0:
                return place, place + len(content)
        return content_of(message, text, start, behind)

    def _start(self, rendering: Rendering, turn: int, text: str) -> tuple[int, int]:
        """Where the header and what the model writes begin."""
        asked = self.generation_prompt
        prompt = ""
        if turn and (asked or self._asks_without):
            prompt = rendering.prompt(turn) or ""
        if asked and prompt.endswith(asked):
            header = len(prompt) - len(asked)
            if text.startswith(prompt):
                return header, len(prompt)
            common = self._whole(prompt, _common(prompt, text))
            if common > header:  # the template asks with more than it writes
                return header, common
            place = self._behind_the_question(rendering, turn, text, prompt)
            if place is not None:
                return place - len(asked), place
        elif prompt and text.startswith(prompt):
            return self._own_header(rendering, turn, prompt) if self.asks_by_row else len(prompt), len(prompt)
        start = self._content_start(rendering, turn, text)
        position = text.rfind(asked, 0, start) if asked else -1
        return (position if position >= 0 and not text[position + len(asked) : start].strip() else start), start

    @cached_property
    def asks_by_row(self) -> bool:
        """Whether some conversation is asked with another header than a bare question is: one of which a turn holds what the
        template looks for in contents (SmolLM3's ``/no_think``).
        """
        if not self.generation_prompt or not asks_by_row(self.template.text):
            return False
        words = sorted(sought(self.template.text))
        asked = [[{"role": "user", "content": word}] for word in words]
        asked += [[{"role": "system", "content": word}, {"role": "user", "content": "x"}] for word in words]
        for messages in asked:
            prompt = self.template.render_or_none(messages, add_generation_prompt=True)
            if prompt is not None and not prompt.endswith(self.generation_prompt):
                before = self.template.render_or_none(messages)
                if before is not None and before != prompt:
                    return True
        return False

    def _own_header(self, rendering: Rendering, turn: int, prompt: str) -> int:
        """Where the header begins by which this conversation is asked: what its prompt has behind the turns before."""
        before = rendering.before(turn)
        return len(prompt) if before is None else self._whole(prompt, _common(before, prompt))

    def _behind_the_question(self, rendering: Rendering, turn: int, text: str, prompt: str) -> int | None:
        """Where the end of the prompt stands in a text that rewrites earlier turns: behind the last message and its header.

        gpt-oss drops the reasoning before a call as soon as a final message stands behind it. None if it is not to be found.
        """
        before = rendering.before(turn - 1)
        if before is None:
            return None
        own = prompt[self._whole(prompt, _common(before, prompt)) :]
        content = rendering.given.messages[turn]["content"].strip()
        end = self._content_start(rendering, turn, text) if content else len(text)
        place = text.rfind(own, 0, end)
        return None if place < 0 else place + len(own)

    def _content_start(self, rendering: Rendering, turn: int, text: str) -> int:
        """Where the content of a turn begins, found by what changes with it."""
        if rendering.given.messages[turn]["content"].strip():
            one, other = (rendering.with_content(turn + 1, filler) for filler in _FILLERS)
            start = _common(one, other)
            if _FILLERS[0] in one and text.startswith(one[:start]):
                return start
        raise EvaluationError(
            f"The chat template of '{self.template.name}' does not show where turn {turn + 1} (assistant) begins: convert "
            "the conversation or name another template."
        )

    def _end(self, rendering: Rendering, turn: int, text: str, start: int) -> tuple[int, int]:
        """Where the end mark of the turn ends, and where the control tokens at the end of the text begin."""
        tail, kept = self._tails[0]
        if tail[kept:].strip() and text.endswith(tail, start):  # the conversation is closed behind the end mark
            return len(text) - len(tail) + kept, len(text) - len(tail)
        run = None if self._run is None else self._run.search(text, start)
        if run is not None:
            assert self._control is not None
            written = text.rstrip().removesuffix(self._constant_prompt)
            tokens = list(self._control.finditer(written, run.start()))
            if len(tokens) == 1:
                return tokens[0].end(), run.start()
            key = run[0], "tool_calls" in rendering.given.messages[turn]
            if tokens and key not in self._kept:
                self._kept[key] = self._of_the_turn(rendering, turn, text, [token.end() for token in tokens])
            if tokens:
                end = tokens[self._kept[key] - 1].end()
                # Where more follows the end mark may be another, which is why this one seems to be no part of the turn.
                return max(end, len(text) - len(tail) + kept) if text.endswith(tail, start) else end, run.start()
        for tail, kept in self._tails:
            if text.endswith(tail):
                return len(text) - len(tail) + kept, len(text) - len(tail)
        raise EvaluationError(
            f"The chat template of '{self.template.name}' does not show where turn {turn + 1} (assistant) ends: convert "
            "the conversation or name another template."
        )

    def _of_the_turn(self, rendering: Rendering, turn: int, text: str, ends: Sequence[int]) -> int:
        """How many of the control tokens at the end belong to the turn, not to the end of the conversation (Phi-3)."""
        followed = rendering.followed(turn + 1)
        if followed is None:
            return len(ends)
        common = _common(text, followed)
        return sum(end <= common for end in ends) or 1

    @cached_property
    def _tails(self) -> list[tuple[str, int]]:
        """What stands behind an answer, and behind a call, and how much of it is the end mark: that may be spelled.

        Raises:
            TemplateBroken: nothing stands behind an answer.
        """
        asked = {"role": "user", "content": "x"}
        answered = [asked, {"role": "assistant", "content": _FILLERS[0]}]
        answer = self.template.render(answered).rpartition(_FILLERS[0])[2]
        if not answer.strip():
            raise TemplateBroken(
                f"The chat template of '{self.template.name}' writes nothing that ends an answer, so a model could not "
                "learn to stop: name another template (model.chat_template: chatml, plain or a Jinja file)."
            )
        tails = [(answer, self._kept_of(answer, answered))]
        called = []
        for name, value in (("f", 1), ("g", "g")):
            call = {"type": "function", "id": "call00000", "function": {"name": name, "arguments": {name: value}}}
            messages: list[dict[str, Any]] = [asked, {"role": "assistant", "content": "", "tool_calls": [call]}]
            written = self.template.render_or_none(messages, [TOOL])
            if written is None:  # it knows no such calls
                return tails
            called.append(written[::-1])
        one, other = called
        tail = one[: _common(one, other)][::-1]
        return [*tails, (tail, len(tail.rstrip()))] if tail.strip() and _FILLERS[0] not in tail else tails

    def _kept_of(self, tail: str, answered: Sequence[Form]) -> int:
        """How much of what stands behind an answer is written whether or not the conversation goes on; all if nothing is."""
        more = self.template.render_or_none([*answered, {"role": "user", "content": "x"}])
        eos = self.template.tokenizer.eos_token
        most = len(tail.rstrip())
        if eos and eos in tail:  # a model writes nothing behind it
            most = tail.index(eos) + len(eos)
        if more is None:
            return most
        common = self._whole(tail, _common(tail, more.rpartition(_FILLERS[0])[2]))
        return min(len(tail[:common].rstrip()), most) or most

    def _whole(self, text: str, position: int) -> int:
        """``position``, or where the token or tag begins within which it falls."""
        patterns = [_TAG] if self._control is None else [self._control, _TAG]
        for pattern in patterns:
            for found in pattern.finditer(text, max(0, position - 80)):
                if found.start() < position < found.end():
                    return found.start()
        return position


def _digest(text: str) -> bytes:
    """What stands for a long text where it is compared with others."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _left_out(messages: Sequence[Form], whole: str, found: Mapping[int, WrittenTurn]) -> frozenset[str]:
    """What the template does not write of the turns in ``found``, and of the texts of the others.

    Those may do without their reasoning, which templates cut from history. Results of tools are written in many ways.
    """
    missing = {name for turn in found.values() for name in turn.left_out}
    if "text" not in missing:
        others = (message for turn, message in enumerate(messages) if turn not in found and message["role"] != "tool")
        if not all(has_answer(whole, message) for message in others):
            missing.add("text")
    return frozenset(missing)


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
