"""Conversations to token ids, with a mask of the tokens that have a loss.

What is encoded is what the model's chat template writes of the real conversation, tools included. Pool text is
untrusted: a row that *contains* ``<|im_end|>`` must never *emit* the control token. Control tokens come from the
template alone; those that row text spells are tokenized as text. Shared by the language-model signals, training and
scoring, so that all see the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from autoselection.conversation import Conversation, Message, turn_text
from autoselection.errors import EvaluationError
from autoselection.language.chat.form import (
    Marker,
    TemplateInput,
    as_conversation,
    changed,
    has_marks,
    template_input,
    texts_of,
)
from autoselection.language.chat.kinds import NOT_TRAINED
from autoselection.language.chat.options import ChatOptions
from autoselection.language.chat.shapes import Shapes
from autoselection.language.chat.template import (
    MOST_MEMORY,
    ChatTemplate,
    TemplateBroken,
    check_template,
    lifted_memory,
    limited_memory,
)
from autoselection.language.chat.tokens import Offsets, Span, TextTokenizer, control_pattern
from autoselection.language.chat.writing import RenderedSample, Rendering, Turns, Writer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = Conversation | Sequence[Message]

#: Trained turns above which it is looked how many of them the longest sequence holds at all: each is rendered up to, and
#: conversations as long as that seldom have the shape of another one.
_MANY_TURNS = 32
#: Characters a token of the longest sequence above which a text is taken for longer than that.
_LONG_TEXT = 4


@dataclass(frozen=True)
class Encoded:
    """One text as tokens.

    Attributes:
        input_ids: token ids, length L.
        response: length-L mask; True where the token has a loss: what the model has to write at a trained turn, with
            its end mark.
        truncated: number of tokens cut from the right to fit the maximum length.
        alone: length-L mask of the tokens that remain when the responses stand without their prompts: the
            beginning-of-sequence token if the template starts with it, the bare assistant header of each trained turn
            (``<|im_start|>assistant\n``), and the response tokens.
        kinds: kind of each token: 0 without a loss, 1 answer, 2 reasoning, 3 call of a tool; length L.
        rewritten: trained turns without a loss here, since the template writes them differently once more turns follow.
        left_out: what the row has and the template does not write, by name: definitions of ``tools``, ``reasoning`` of a
            trained turn, other ``text``. The same in all samples of a row.
    """

    input_ids: list[int]
    response: list[bool]
    truncated: int
    alone: list[bool] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    rewritten: int = 0
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Segment:
    """A piece of a rendered text."""

    text: str
    response: bool = False
    alone: bool = False
    kind: int = NOT_TRAINED


@dataclass(frozen=True)
class _SegmentedText:
    """A text to tokenize: its pieces in order, and the control tokens in it that are text."""

    segments: list[_Segment]
    spelled: list[Span]
    rewritten: int = 0
    left_out: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


class ConversationEncoder:
    """Encode conversations with one tokenizer's chat template.

    Args:
        tokenizer: a fast tokenizer (offset mappings are needed) with a chat template.
        max_length: longest sequence kept, in tokens; longer rows are cut from the right and say so.
        turns: which assistant turns have a loss: ``all`` that stand in the conversation as the model would have to write
            them, only the ``last``, or ``each`` in the samples that inference would produce.
        options: the date that the template takes for today, and ``control_text``: what happens to a row whose text
            spells a control token that the template acts upon, so that what it writes cannot be separated from the row's
            text: ``refuse`` it, or ``follow`` the template, which makes control tokens of it. By default those by which
            the tokenizer was loaded.

    Raises:
        EvaluationError: the tokenizer has no chat template or is not a fast tokenizer.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        turns: Turns = "all",
        options: ChatOptions | None = None,
    ) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise EvaluationError(
                f"The tokenizer of '{tokenizer.name_or_path}' has no chat template: set 'chat_template' in the "
                "configuration to a Jinja file or to one of the named templates (chatml, plain)."
            )
        if not tokenizer.is_fast:
            raise EvaluationError(
                f"The tokenizer of '{tokenizer.name_or_path}' is not a fast tokenizer; convert it with "
                "transformers' AutoTokenizer(use_fast=True) and save it."
            )
        self.tokenizer = tokenizer
        options = options or getattr(tokenizer, "chat_options", None) or ChatOptions()
        self.template = ChatTemplate(tokenizer, options.date)
        check_template(self.template.text, self.template.name)
        self.max_length = max_length
        self.turns = turns
        self.control_text = options.control_text
        self._control = control_pattern(tokenizer)
        self._plain = self._tooled = Shapes(Writer(self.template, self._control))
        other = ChatTemplate(tokenizer, options.date, with_tools=True)
        if other.text != self.template.text:
            check_template(other.text, other.name)
            self._tooled = Shapes(Writer(other, self._control))
        self._tokenizer = TextTokenizer(tokenizer)

    def template_input(self, row: Row) -> TemplateInput:
        """What the chat template is given for a row: the arguments of ``apply_chat_template``."""
        return self._given(as_conversation(row))[0]

    @property
    def shows_tools(self) -> bool:
        """Whether the template writes the definitions of a row's tools."""
        return self._tooled.shows_tools

    def prompt(self, messages: Sequence[Message]) -> str:
        """Render ``messages`` and the header that asks the assistant to speak, as text."""
        given, shapes = self._given(as_conversation(messages))
        with self._one_row(messages):
            return shapes.template.render(given.messages, given.tools, add_generation_prompt=True)

    def encode(self, row: Row) -> Encoded:
        """Encode one conversation as a whole; L <= ``max_length``.

        Raises:
            EvaluationError: the chat template refuses the conversation, or cannot be followed.
        """
        return self._encoded([self._texts(row, self._turns_of_the_whole)[0]])[0]

    def samples(self, row: Row) -> list[Encoded]:
        """What is trained on of one conversation: one sample, or with ``each`` as many as it takes.

        Raises:
            EvaluationError: the chat template refuses the conversation, or cannot be followed.
        """
        return self._encoded(self._texts(row, self.turns))

    def encode_batch(self, rows: Sequence[Row]) -> list[Encoded | None]:
        """Encode many conversations as wholes, which is several times faster; None where the template refuses one."""
        batch = self._batch(rows, self._turns_of_the_whole, 1)
        return [None if found is None else found[0] for found in batch]

    def sample_batch(self, rows: Sequence[Row]) -> list[list[Encoded] | None]:
        """:meth:`samples` of many conversations; None where the template refuses one."""
        return self._batch(rows, self.turns, None)

    def encode_open(self, messages: Sequence[Message]) -> tuple[list[int], int]:
        """Token ids up to the last character of the last message, behind which nothing is written yet.

        Returns:
            The ids, and where those of the last message begin: a token that straddles its beginning is one of them.

        Raises:
            EvaluationError: the chat template refuses the conversation.
        """
        with self._one_row(messages):
            sample, spelled = self._samples(as_conversation(messages), "last")[0]
        last = sample.written[-1]
        ids, offsets = self._tokens(
            [(sample.text[: last.content_end], [s for s in spelled if s[1] <= last.content_end])]
        )[0]
        segments = [_Segment(sample.text[: last.content]), _Segment(sample.text[last.content : last.content_end], True)]
        response = _masks(segments, offsets)[0]
        return ids, response.index(True) if True in response else len(ids)

    def end_mark(self, messages: Sequence[Message]) -> str:
        """The mark by which a model ends the last of ``messages``, as text.

        Raises:
            EvaluationError: the chat template refuses the conversation.
        """
        with self._one_row(messages):
            sample, _ = self._samples(as_conversation(messages), "last")[0]
        last = sample.written[-1]
        return sample.text[last.content_end : last.end].strip()

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of what a model is given to answer ``messages``: those of ``apply_chat_template`` with
        ``add_generation_prompt=True``.

        Raises:
            EvaluationError: the chat template refuses the conversation, or leaves something of it out.
        """
        with self._one_row(messages):
            asked = self._asked(messages)
        return self._tokens([asked])[0][0]

    def asks_as_written(self, messages: Sequence[Message]) -> bool:
        """Whether what :meth:`encode_prompt` gives is what the template writes in front of an answer to ``messages``: as text and
        as tokens, since a prompt that ends with a blank has other ones than where an answer's first word takes in the blank.

        Raises:
            EvaluationError: the chat template refuses the conversation.
        """
        with self._one_row(messages):
            sample, spelled = self._samples(as_conversation(_answered(messages)), "last")[0]
            asked = self._asked(messages)
        if asked[0] != sample.text[: sample.written[-1].start]:
            return False
        (prompt, _), (ids, offsets) = self._tokens([asked, (sample.text, spelled)])
        response = _masks(self._pieces(sample), offsets)[0]
        return prompt == ids[: response.index(True)]

    @property
    def asks_by_row(self) -> bool:
        """Whether the header by which an answer is asked for depends on the conversation."""
        with self._one_row(()):
            return self._plain.writer.asks_by_row or self._tooled.writer.asks_by_row

    @property
    def prompt_gap(self) -> tuple[str, str] | None:
        """What a model is given behind a question, and what the template writes there in front of an answer, as texts.

        None if that is the same, as with most templates.
        """
        with self._one_row(()):
            return self._plain.writer.prompt_gap

    @property
    def split_prompt(self) -> str | None:
        """What asks for an answer, where it has other tokens alone than in front of one though the text is the same; else None."""
        if self.prompt_gap is not None:
            return None
        try:
            merged = not self.asks_as_written([{"role": "user", "content": "x"}])
        except TemplateBroken:
            raise
        except EvaluationError:  # the template takes no bare question
            return None
        return self._plain.writer.generation_prompt if merged else None

    def _given(self, row: Conversation) -> tuple[TemplateInput, Shapes]:
        """What the template is given for a row, and what is known of that template."""
        shapes = self._shapes_of(row)
        return template_input(row, arguments_as_text=shapes.arguments_as_text), shapes

    def _shapes_of(self, row: Conversation) -> Shapes:
        """What is known of the template that writes a row: some tokenizers have another one for rows with tools."""
        return self._plain if row.tools is None else self._tooled

    @property
    def _turns_of_the_whole(self) -> Turns:
        """Which turns have a loss where a conversation stays one sample."""
        return "all" if self.turns == "each" else self.turns

    def _spells(self, given: TemplateInput) -> bool:
        """Whether some text of the row spells one of the tokenizer's control tokens."""
        return self._control is not None and any(map(self._control.search, texts_of(given)))

    @contextmanager
    def _one_row(self, messages: Sequence[Message]) -> Iterator[None]:
        """One conversation is encoded: within the limit of memory, with a sentence where that does not do."""
        try:
            with limited_memory():
                yield
        except MemoryError as error:
            characters = sum(len(turn_text(message)) for message in messages)
            raise EvaluationError(
                f"A conversation of {len(messages):,} turns ({characters:,} characters) takes more than "
                f"{MOST_MEMORY >> 30} GiB of memory in the chat template of '{self.template.name}': shorten it."
            ) from error

    def _texts(self, row: Row, turns: Turns) -> list[_SegmentedText]:
        with self._one_row(as_conversation(row).messages):
            return self._rendered(as_conversation(row), turns)

    def _rendered_or_none(self, row: Row, turns: Turns, most: int | None) -> list[_SegmentedText] | None:
        """The first ``most`` texts of a row; None if the template refuses it, which encode() raises."""
        try:
            return self._rendered(as_conversation(row), turns)[:most]
        except TemplateBroken:
            raise
        except EvaluationError:
            return None

    def _rendered(self, row: Conversation, turns: Turns) -> list[_SegmentedText]:
        tools = frozenset({"tools"} if row.tools is not None and not self._tooled.shows_tools else ())
        return [
            _SegmentedText(self._pieces(sample), spelled, sample.rewritten, sample.left_out | tools)
            for sample, spelled in self._samples(row, turns)
        ]

    def _samples(self, row: Conversation, turns: Turns) -> list[tuple[RenderedSample, list[Span]]]:
        """Texts with what has a loss in them, and the control tokens that are text."""
        given, shapes = self._given(row)
        trained = _trained(row, turns)
        spells = self._spells(given)
        if not spells:
            rendering = Rendering(shapes.template, given)
            reach = self._reach(rendering, trained, turns)
            samples = shapes.sample(rendering, trained, turns, learn=reach is None)
            if samples is None:
                shapes.check(given)
                samples = shapes.writer.samples(rendering, trained, turns, reach)
            return [(sample, []) for sample in samples]
        return self._marked_samples(given, shapes, trained, turns)

    def _asked(self, messages: Sequence[Message]) -> tuple[str, list[Span]]:
        """What asks for an answer to ``messages``, and the control tokens in it that are text."""
        given, shapes = self._given(as_conversation(messages))
        shapes.check(self._given(as_conversation(_answered(messages)))[0])
        text = Rendering(shapes.template, given).asked
        if not self._spells(given):
            return text, []
        marker, marked = self._marked(given)
        found, spelled = marker.restore(Rendering(shapes.template, marked).asked)
        if found == text:
            return found, spelled
        self._refuse_conflict(shapes)
        return text, []

    def _reach(
        self, rendering: Rendering, trained: Sequence[int], turns: Turns, marker: Marker | None = None
    ) -> int | None:
        """How many characters of a conversation with many turns the longest sequence holds; None if that is all of it, or nearly so.

        Args:
            marker: what restores the text, of which the longest sequence is, if it has marks.
        """
        if turns != "all" or len(trained) <= _MANY_TURNS:
            return None
        text, spelled = (rendering.whole, []) if marker is None else marker.restore(rendering.whole)
        if len(text) <= _LONG_TEXT * self.max_length:
            return None
        with lifted_memory():
            ids, offsets = self._tokens([(text, spelled)])[0]
        if len(ids) <= self.max_length:
            return None
        reach = int(offsets[self.max_length - 1][1])
        return reach if marker is None else marker.origin(rendering.whole, reach)

    def _marked_samples(
        self, given: TemplateInput, shapes: Shapes, trained: Sequence[int], turns: Turns
    ) -> list[tuple[RenderedSample, list[Span]]]:
        """The same where row text spells control tokens: rendered with marks in their places."""
        shapes.check(given)
        real = Rendering(shapes.template, given)
        marker, marked = self._marked(given)
        rendering = Rendering(shapes.template, marked)
        samples = shapes.writer.samples(rendering, trained, turns, self._reach(rendering, trained, turns, marker))
        found = []
        for sample in samples:
            text, spelled = marker.restore(sample.text)
            if text != real.text(_count(sample, len(given.messages), samples)):
                return self._conflict(real, shapes, trained, turns)
            written = tuple(turn.shifted(lambda at, of=sample.text: marker.place(of, at)) for turn in sample.written)
            found.append((replace(sample, text=text, written=written), spelled))
        return found

    def _marked(self, given: TemplateInput) -> tuple[Marker, TemplateInput]:
        """What a template is given with marks in the places of control tokens that row text spells."""
        assert self._control is not None
        if any(map(has_marks, texts_of(given))):
            raise EvaluationError(
                "A row that spells control tokens also holds the private characters U+E0F0 or U+E0F1; remove them."
            )
        marker = Marker(self._control)
        return marker, changed(given, marker)

    def _conflict(
        self, real: Rendering, shapes: Shapes, trained: Sequence[int], turns: Turns
    ) -> list[tuple[RenderedSample, list[Span]]]:
        """The template acts upon control tokens in the row's text."""
        self._refuse_conflict(shapes)
        samples = shapes.writer.samples(real, trained, turns, self._reach(real, trained, turns))
        return [(sample, []) for sample in samples]

    def _refuse_conflict(self, shapes: Shapes) -> None:
        """Refuse a row upon whose control tokens the template acts, unless the template is to be followed."""
        if self.control_text == "refuse":
            raise EvaluationError(
                f"The chat template of '{self.template.name}' acts upon control tokens that the row's text spells, so what "
                "it writes cannot be separated from the row: remove them (ingest --special-tokens strip), or set "
                "model.control_text to follow."
            )

    def _pieces(self, sample: RenderedSample) -> list[_Segment]:
        """A sample's text in pieces by what they are."""
        text = sample.text
        pieces: list[_Segment] = []
        done = 0
        bos = self.tokenizer.bos_token
        if bos and text.startswith(bos):
            pieces.append(_Segment(bos, alone=True))
            done = len(bos)
        for turn in sample.written:
            header = max(turn.header, done)
            pieces += [_Segment(text[done:header]), _Segment(text[header : turn.start], alone=True)]
            done = max(turn.start, done)
            for end, kind in turn.parts:
                pieces.append(_Segment(text[done:end], True, True, kind))
                done = end
        pieces.append(_Segment(text[done:]))
        return [piece for piece in pieces if piece.text]

    def _batch(self, rows: Sequence[Row], turns: Turns, most: int | None) -> list[list[Encoded] | None]:
        texts: list[list[_SegmentedText] | None] = []
        while (begun := len(texts)) < len(rows):
            with suppress(MemoryError), limited_memory():
                for row in rows[begun:]:
                    texts.append(self._rendered_or_none(row, turns, most))
            if len(texts) == begun:  # the row had all of the memory to itself; others did not, and are tried again
                texts.append(None)
        encoded = iter(self._encoded([text for found in texts if found is not None for text in found]))
        return [None if found is None else [next(encoded) for _ in found] for found in texts]

    def _encoded(self, texts: Sequence[_SegmentedText]) -> list[Encoded]:
        found = self._tokens([(text.text, text.spelled) for text in texts])
        results = []
        for text, (ids, offsets) in zip(texts, found, strict=True):
            response, alone, kinds = _masks(text.segments, offsets)
            end = self.max_length
            results.append(
                Encoded(
                    ids[:end], response[:end], max(0, len(ids) - end), alone[:end], kinds[:end], text.rewritten,
                    text.left_out,
                )
            )  # fmt: skip
        return results

    def _tokens(self, texts: Sequence[tuple[str, Sequence[Span]]]) -> list[tuple[list[int], Offsets]]:
        """Ids and offsets; texts without spelled control tokens are tokenized at once."""
        whole = iter(self._tokenizer.tokens([text for text, spelled in texts if not spelled]))
        return [self._tokenizer.tokens_with_text(text, spelled) if spelled else next(whole) for text, spelled in texts]


def _answered(messages: Sequence[Message]) -> list[Message]:
    """``messages`` with an answer."""
    return [*messages, {"role": "assistant", "content": "x"}]


def _trained(row: Conversation, turns: Turns) -> list[int]:
    """The assistant's messages that have a loss."""
    spoken = [number for number, message in enumerate(row.messages) if message["role"] == "assistant"]
    chosen = spoken[-1:] if turns == "last" else spoken
    return [number for number in chosen if row.messages[number].get("weight", 1)]


def _count(sample: RenderedSample, messages: int, samples: Sequence[RenderedSample]) -> int:
    """How many messages a sample has: the first is the whole conversation, the others end with their last turn."""
    return messages if sample is samples[0] else sample.written[-1].turn + 1


def _masks(segments: Sequence[_Segment], offsets: Offsets) -> tuple[list[bool], list[bool], list[int]]:
    """The response and alone masks of tokens with the given character offsets, and their kinds.

    A token that straddles a boundary belongs to the response if any of its characters does.
    """
    if not len(offsets):
        return [], [], []
    starts = np.cumsum([0] + [len(segment.text) for segment in segments[:-1]])
    span = np.asarray(offsets, np.int64)
    # Some tokenizers trim blanks from offsets, which leaves a blank token with no width at the blank's end.
    empty = span[:, 0] == span[:, 1]
    last_character = np.maximum(span[:, 1] - 1, 0)
    first = np.searchsorted(starts, np.where(empty, last_character, span[:, 0]), side="right") - 1
    last = np.searchsorted(starts, last_character, side="right") - 1
    responses = np.cumsum([0] + [segment.response for segment in segments])
    response = responses[last + 1] > responses[first]
    alone = response | np.asarray([segment.alone for segment in segments])[last]
    kind = np.asarray([segment.kind for segment in segments])
    kinds = np.where(response, np.where(kind[last] > 0, kind[last], kind[first]), NOT_TRAINED)
    return response.tolist(), alone.tolist(), kinds.tolist()
