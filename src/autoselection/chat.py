"""Conversations to token ids, with a mask of the response tokens.

Pool text is untrusted: a row that *contains* ``<|im_end|>`` must never *emit* the control token. Scaffolding
(role headers, end-of-turn marks) comes from the model's chat template and is tokenized with its special tokens;
message contents never are. Shared by the language-model signals and by training, so that both see the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autoselection.errors import EvaluationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, str]
Turns = Literal["all", "last"]

# Private-use characters cannot be produced by a chat template and are not in any tokenizer's special tokens.
_MARK = "\ue0f0{}\ue0f1"
_MARK_PATTERN = re.compile("\ue0f0(\\d+)\ue0f1")


@dataclass(frozen=True)
class Encoded:
    """One conversation as tokens.

    Attributes:
        input_ids: token ids, length L.
        response: length-L mask; True where the token belongs to a trained assistant turn (with its end mark).
        truncated: number of tokens cut from the right to fit the maximum length.
    """

    input_ids: list[int]
    response: list[bool]
    truncated: int


def control_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """Return a pattern that finds the tokenizer's special tokens inside plain text, or None if it has none."""
    tokens = {str(token) for token in tokenizer.all_special_tokens}
    tokens |= {str(token) for token in tokenizer.get_added_vocab()}
    words = sorted((token for token in tokens if token.strip()), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words))) if words else None


@dataclass(frozen=True)
class _Segment:
    text: str
    is_content: bool
    response: bool


class ConversationEncoder:
    """Encode conversations with one tokenizer's chat template.

    Args:
        tokenizer: a fast tokenizer (offset mappings are needed) with a chat template.
        max_length: longest sequence kept, in tokens; longer rows are cut from the right and say so.
        turns: train on / score ``all`` assistant turns, or only the ``last``.

    Raises:
        EvaluationError: the tokenizer has no chat template or is not a fast tokenizer.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, max_length: int, turns: Turns = "all"
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
        self.max_length = max_length
        self.turns = turns
        self._control = control_pattern(tokenizer)
        self._shapes: dict[tuple[str, ...], list[str]] = {}

    def _scaffold(self, roles: tuple[str, ...]) -> list[str]:
        """Return the template's text around the contents: len(roles) + 1 pieces. Depends on the roles alone."""
        if roles not in self._shapes:
            marked = [
                {"role": role, "content": _MARK.format(index)} for index, role in enumerate(roles)
            ]
            rendered = self.tokenizer.apply_chat_template(marked, tokenize=False)
            assert isinstance(rendered, str)
            found = [int(number) for number in _MARK_PATTERN.findall(rendered)]
            if found != list(range(len(roles))):
                raise EvaluationError(
                    f"The chat template of '{self.tokenizer.name_or_path}' does not render the roles "
                    f"{', '.join(roles)} in order; convert the conversation or name another template."
                )
            self._shapes[roles] = _MARK_PATTERN.sub("\ue0f0", rendered).split("\ue0f0")
        return self._shapes[roles]

    def _segments(self, messages: Sequence[Message]) -> list[_Segment]:
        roles = tuple(message["role"] for message in messages)
        scaffold = self._scaffold(roles)
        assistants = [index for index, role in enumerate(roles) if role == "assistant"]
        scored = set(assistants if self.turns == "all" else assistants[-1:])
        segments = [_Segment(scaffold[0], False, False)]
        for index, message in enumerate(messages):
            segments.append(_Segment(message["content"], True, index in scored))
            tail = scaffold[index + 1]
            # The end-of-turn mark right behind a response is part of it: the model has to learn to stop.
            end = self._end_mark(tail) if index in scored else 0
            if end:
                segments.append(_Segment(tail[:end], False, True))
            segments.append(_Segment(tail[end:], False, False))
        return [segment for segment in segments if segment.text]

    def _end_mark(self, tail: str) -> int:
        """Length of the special token with which ``tail`` starts (0 if it starts with plain text)."""
        if self._control is None:
            return 0
        match = self._control.match(tail)
        return match.end() if match else 0

    def prompt(self, messages: Sequence[Message]) -> str:
        """Render ``messages`` and the header that asks the assistant to speak, as text."""
        rendered = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
        assert isinstance(rendered, str)
        return rendered

    def has_control_text(self, messages: Sequence[Message]) -> bool:
        """True if some content spells one of the tokenizer's special tokens."""
        return self._control is not None and any(
            self._control.search(message["content"]) for message in messages
        )

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Encode one conversation; L <= ``max_length``."""
        segments = self._segments(messages)
        encode = self._encode_apart if self.has_control_text(messages) else self._encode_whole
        ids, mask = encode(segments)
        cut = max(0, len(ids) - self.max_length)
        return Encoded(ids[: self.max_length], mask[: self.max_length], cut)

    def _encode_whole(self, segments: Sequence[_Segment]) -> tuple[list[int], list[bool]]:
        """Tokenize the rendered text at once, exactly as inference does, and read the mask off the offsets."""
        text = "".join(segment.text for segment in segments)
        output = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans: list[tuple[int, int]] = []
        position = 0
        for segment in segments:
            if segment.response:
                spans.append((position, position + len(segment.text)))
            position += len(segment.text)
        mask = []
        cursor = 0
        for start, end in output["offset_mapping"]:
            while cursor < len(spans) and spans[cursor][1] <= start:
                cursor += 1
            mask.append(cursor < len(spans) and end > spans[cursor][0] and end > start)
        return list(output["input_ids"]), mask

    def _encode_apart(self, segments: Sequence[_Segment]) -> tuple[list[int], list[bool]]:
        """Tokenize segment by segment, contents with ``split_special_tokens`` so that control words stay text."""
        ids: list[int] = []
        mask: list[bool] = []
        for segment in segments:
            piece = self.tokenizer(
                segment.text, add_special_tokens=False, split_special_tokens=segment.is_content
            )["input_ids"]
            ids.extend(piece)
            mask.extend([segment.response] * len(piece))
        return ids, mask
