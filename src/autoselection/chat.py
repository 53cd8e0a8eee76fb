"""Conversations to token ids, with a mask of the response tokens.

Pool text is untrusted: a row that *contains* ``<|im_end|>`` must never *emit* the control token. Scaffolding
(role headers, end-of-turn marks) comes from the model's chat template and is tokenized with its special tokens;
message contents never are. Shared by the language-model signals and by training, so that both see the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autoselection.chat_template import TemplateBroken, check_template, render_template
from autoselection.errors import EvaluationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, Any]
Turns = Literal["all", "last"]

# Private-use characters cannot be produced by a chat template and are not in any tokenizer's special tokens.
# The blank around a mark (one no template writes) is gone where the template strips contents, as Llama 3's does.
_BLANK = "\u205f"
_MARK = _BLANK + "\ue0f0{}\ue0f1" + _BLANK
_MARK_PATTERN = re.compile(f"({_BLANK}?)\ue0f0(\\d+)\ue0f1({_BLANK}?)")


@dataclass(frozen=True)
class Encoded:
    """One conversation as tokens.

    Attributes:
        input_ids: token ids, length L.
        response: length-L mask; True where the token belongs to a trained assistant turn (with its end mark).
        truncated: number of tokens cut from the right to fit the maximum length.
        alone: length-L mask of the tokens that remain when the responses stand without their prompts: the
            beginning-of-sequence token if the template starts with it, the bare assistant header of each trained turn
            (``<|im_start|>assistant\\n``), and the response tokens.
    """

    input_ids: list[int]
    response: list[bool]
    truncated: int
    alone: list[bool] = field(default_factory=list)


def control_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """Return a pattern that finds the tokenizer's control tokens inside plain text, or None if it has none.

    Control tokens are those the tokenizer marks as special. Added words that are not (such as ``<think>``) are
    ordinary text that happens to be one token.
    """
    tokens = {str(token) for token in tokenizer.all_special_tokens}
    tokens |= {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    words = sorted((token for token in tokens if token.strip()), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words))) if words else None


@dataclass(frozen=True)
class _Scaffold:
    """The template's text around the contents, len(roles) + 1 pieces, and how it strips each content."""

    pieces: list[str]
    stripped: list[tuple[bool, bool]]

    def content(self, index: int, text: str) -> str:
        left, right = self.stripped[index]
        text = text.lstrip() if left else text
        return text.rstrip() if right else text


@dataclass(frozen=True)
class _Segment:
    text: str
    is_content: bool = False
    response: bool = False
    alone: bool = False


class ConversationEncoder:
    """Encode conversations with one tokenizer's chat template.

    Args:
        tokenizer: a fast tokenizer (offset mappings are needed) with a chat template.
        max_length: longest sequence kept, in tokens; longer rows are cut from the right and say so.
        turns: train on / score ``all`` assistant turns, or only the ``last``.

    Raises:
        EvaluationError: the tokenizer has no chat template or is not a fast tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int, turns: Turns = "all") -> None:
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
        if isinstance(tokenizer.chat_template, str):
            check_template(tokenizer.chat_template, tokenizer.name_or_path)
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.turns = turns
        self._control = control_pattern(tokenizer)
        self._shapes: dict[tuple[str, ...], _Scaffold | EvaluationError] = {}
        self._blanks: dict[tuple[str, ...], int] = {}
        self._generation_prompt: str | None = None

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        return render_template(self.tokenizer, messages, add_generation_prompt=add_generation_prompt)

    def _scaffold(self, roles: tuple[str, ...]) -> _Scaffold:
        """Return the template's text around the contents. Depends on the roles alone."""
        if roles not in self._shapes:
            try:
                self._shapes[roles] = self._new_scaffold(roles)
            except EvaluationError as error:
                self._shapes[roles] = error
        shape = self._shapes[roles]
        if isinstance(shape, EvaluationError):
            raise shape
        return shape

    def _new_scaffold(self, roles: tuple[str, ...]) -> _Scaffold:
        rendered = self._render([{"role": role, "content": _MARK.format(index)} for index, role in enumerate(roles)])
        found = _MARK_PATTERN.findall(rendered)
        if [int(number) for _, number, _ in found] != list(range(len(roles))):
            raise EvaluationError(
                f"The chat template of '{self.tokenizer.name_or_path}' does not render the roles {', '.join(roles)} in "
                "order; convert the conversation or name another template."
            )
        pieces = _MARK_PATTERN.sub("\ue0f0", rendered).split("\ue0f0")
        return _Scaffold(pieces, [(not left, not right) for left, _, right in found])

    def _header(self, before: str) -> int:
        """Length of the assistant header with which ``before``, the text in front of a response, ends."""
        if self._generation_prompt is None:
            asked = [{"role": "user", "content": "x"}]
            plain, prompted = self._render(asked), self._render(asked, add_generation_prompt=True)
            self._generation_prompt = prompted[len(plain) :] if prompted.startswith(plain) else ""
        # A template may go on after the header (an empty <think> block) or ask with more than it writes.
        whole = len(self._generation_prompt)
        for length in range(whole, min(whole, 4) - 1, -1):
            position = before.rfind(self._generation_prompt[:length]) if length else -1
            if position >= 0:
                return len(before) - position
        return 0

    def _segments(self, messages: Sequence[Message]) -> list[_Segment]:
        roles = tuple(message["role"] for message in messages)
        scaffold = self._scaffold(roles)
        assistants = [index for index, role in enumerate(roles) if role == "assistant"]
        scored = set(assistants if self.turns == "all" else assistants[-1:])
        segments: list[_Segment] = []
        start = 0  # of what is left of the current piece of scaffold
        bos = self.tokenizer.bos_token
        if bos and scaffold.pieces[0].startswith(bos):
            segments.append(_Segment(bos, alone=True))
            start = len(bos)
        for index, message in enumerate(messages):
            before, after = scaffold.pieces[index][start:], scaffold.pieces[index + 1]
            split = len(before) - (self._header(before) if index in scored else 0)
            segments.append(_Segment(before[:split]))
            segments.append(_Segment(before[split:], alone=True))
            content = scaffold.content(index, message["content"])
            segments.append(_Segment(content, True, index in scored, index in scored))
            # The end-of-turn mark right behind a response is part of it: the model has to learn to stop.
            start = self._end_mark(after) if index in scored else 0
            segments.append(_Segment(after[:start], False, True, True))
        segments.append(_Segment(scaffold.pieces[-1][start:]))
        return [segment for segment in segments if segment.text]

    def _end_mark(self, tail: str) -> int:
        """Length of the control token with which ``tail`` starts (0 if it starts with plain text).

        Blanks may come before the end-of-sequence token (Llama 2 writes `` </s>``).
        """
        eos = self.tokenizer.eos_token
        blank = len(tail) - len(tail.lstrip())
        if eos and tail.startswith(eos, blank):
            return blank + len(eos)
        match = None if self._control is None else self._control.match(tail)
        return match.end() if match else 0

    def prompt(self, messages: Sequence[Message]) -> str:
        """Render ``messages`` and the header that asks the assistant to speak, as text."""
        return self._render(messages, add_generation_prompt=True)

    def has_control_text(self, messages: Sequence[Message]) -> bool:
        """True if some content spells one of the tokenizer's control tokens."""
        return self._control is not None and any(self._control.search(message["content"]) for message in messages)

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Encode one conversation; L <= ``max_length``.

        Raises:
            EvaluationError: the chat template refuses the conversation's roles.
        """
        self._scaffold(tuple(message["role"] for message in messages))
        encoded = self.encode_batch([messages])[0]
        assert encoded is not None
        return encoded

    def encode_open(self, messages: Sequence[Message]) -> tuple[list[int], int]:
        """Token ids up to the last character of the last message, behind which nothing is written yet.

        Returns:
            The ids, and where those of the last message begin: a token that straddles its beginning is one of them.

        Raises:
            EvaluationError: the chat template refuses the conversation's roles.
        """
        segments = self._segments(messages)
        end = max((i + 1 for i, segment in enumerate(segments) if segment.is_content and segment.response), default=0)
        ids, response, _ = self._tokens(segments[:end], messages)
        return ids, response.index(True) if True in response else len(ids)

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of everything in front of the answer to ``messages``, whatever that will be.

        Blanks that the template writes between its generation prompt and an answer are the answer's to write.

        Raises:
            EvaluationError: the chat template refuses the conversation's roles.
        """
        asked = [*messages, {"role": "assistant", "content": "x"}]
        segments = self._segments(asked)
        end = max(i for i, segment in enumerate(segments) if segment.is_content)
        segments = segments[:end]
        blanks = self._blanks_of_answers(tuple(message["role"] for message in messages))
        if blanks and segments:
            last = segments.pop()
            segments.append(replace(last, text=last.text[: len(last.text) - min(blanks, len(last.text))]))
        return self._tokens(segments, asked)[0]

    def _blanks_of_answers(self, roles: tuple[str, ...]) -> int:
        """Blanks (count) by which the text in front of an answer is longer than the generation prompt."""
        if roles not in self._blanks:
            asked = [{"role": role, "content": "x"} for role in roles]
            pieces = [segment.text for segment in self._segments([*asked, {"role": "assistant", "content": "\ue0f2"}])]
            before, prompt = "".join(pieces).partition("\ue0f2")[0], self.prompt(asked)
            more = before[len(prompt) :] if before.startswith(prompt) else ""
            self._blanks[roles] = len(more) if more.isspace() else 0
        return self._blanks[roles]

    def _tokens(
        self, segments: Sequence[_Segment], messages: Sequence[Message]
    ) -> tuple[list[int], list[bool], list[bool]]:
        """Ids and masks of one conversation's segments; contents that spell control tokens are tokenized apart."""
        return self._encode_apart(segments) if self.has_control_text(messages) else self._encode_whole([segments])[0]

    def encode_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Encoded | None]:
        """Encode many conversations at once, which is several times faster; None where the template refuses one."""
        results: list[Encoded | None] = [None] * len(conversations)
        whole: list[int] = []
        whole_segments: list[list[_Segment]] = []
        for index, messages in enumerate(conversations):
            try:
                segments = self._segments(messages)
            except TemplateBroken:
                raise
            except EvaluationError:  # remembered by _scaffold; encode() raises it
                continue
            if self.has_control_text(messages):
                results[index] = self._cut(*self._encode_apart(segments))
            else:
                whole.append(index)
                whole_segments.append(segments)
        for index, encoded in zip(whole, self._encode_whole(whole_segments), strict=True):
            results[index] = self._cut(*encoded)
        return results

    def _cut(self, ids: list[int], response: list[bool], alone: list[bool]) -> Encoded:
        cut = max(0, len(ids) - self.max_length)
        return Encoded(ids[: self.max_length], response[: self.max_length], cut, alone[: self.max_length])

    def _encode_whole(self, batch: Sequence[Sequence[_Segment]]) -> list[tuple[list[int], list[bool], list[bool]]]:
        """Tokenize each rendered text at once, exactly as inference does, and read the masks off the offsets.

        A token that straddles a boundary belongs to the response if any of its characters does.
        """
        if not batch:
            return []
        texts = ["".join(segment.text for segment in segments) for segments in batch]
        # Not verbose: the library warns of texts longer than the model reads, which are cut and counted here.
        output = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [
            (list(ids), *_masks(segments, offsets))
            for segments, ids, offsets in zip(batch, output["input_ids"], output["offset_mapping"], strict=True)
        ]

    def _encode_apart(self, segments: Sequence[_Segment]) -> tuple[list[int], list[bool], list[bool]]:
        """Tokenize segment by segment, contents with ``split_special_tokens`` so that control words stay text."""
        ids: list[int] = []
        response: list[bool] = []
        alone: list[bool] = []
        for segment in segments:
            piece = self.tokenizer(
                segment.text, add_special_tokens=False, split_special_tokens=segment.is_content, verbose=False
            )["input_ids"]
            ids.extend(piece)
            response.extend([segment.response] * len(piece))
            alone.extend([segment.alone] * len(piece))
        return ids, response, alone


def _masks(segments: Sequence[_Segment], offsets: Any) -> tuple[list[bool], list[bool]]:
    """The response and alone masks of tokens with the given character offsets."""
    if not len(offsets):
        return [], []
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
    return response.tolist(), alone.tolist()
