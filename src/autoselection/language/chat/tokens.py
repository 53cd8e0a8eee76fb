"""Rendered text as tokens: the template's control tokens are tokens, those that row text spells are text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autoselection.errors import EvaluationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Offsets = Sequence[tuple[int, int]]
Span = tuple[int, int]

#: One of these stands for a control token that is text; rows that hold all of them do not happen.
_STAND_INS = ("\ue0f4", "\ue0f5", "\U000fe0f4", "\U000fe0f5")


#: How tokens are spelled that stand for roles and turns.
ROLE_MARK = re.compile(r"<\|[^<>|\s]+\|>|<｜[^<>｜\s]+｜>")


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The tokenizer's control tokens by id: those it marks as special, whether they have a name (``eos_token``) or not.

    Of other added tokens, those spelled ``<｜…｜>`` or ``<|…|>`` that stand in its chat template: DeepSeek-R1's distillations
    do not mark their ``<｜User｜>`` as special. All others (such as ``<think>``) are ordinary text that happens to be one token.
    """
    templates = tokenizer.chat_template or ""
    written = "".join(templates.values()) if isinstance(templates, dict) else str(templates)
    found = dict(zip(tokenizer.all_special_ids, map(str, tokenizer.all_special_tokens), strict=True))
    for number, token in tokenizer.added_tokens_decoder.items():
        text = str(token)
        if token.special or (ROLE_MARK.fullmatch(text) and text in written):
            found[number] = text
    return found


def control_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """Return a pattern that finds the tokenizer's control tokens inside plain text, or None if it has none."""
    tokens = set(control_tokens(tokenizer).values())
    words = sorted((token for token in tokens if token.strip()), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words))) if words else None


class TextTokenizer:
    """Tokenizes rendered conversations as inference does.

    Args:
        tokenizer: a fast tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def tokens(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        """Ids and character offsets of each text; every control token in it is one."""
        if not texts:
            return []
        # Not verbose: the library warns of texts longer than the model reads, which are cut and counted here.
        output = self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(zip(map(list, output["input_ids"]), output["offset_mapping"], strict=True))

    def tokens_with_text(self, text: str, spelled: Sequence[Span]) -> tuple[list[int], Offsets]:
        """Ids and offsets of a text in which the control tokens at ``spelled`` are plain text.

        Tokenizers treat the stretches between control tokens one by one, and some put a blank in front of each. So the
        stretches are found first, with a stand-in for what is spelled, and those that hold one are tokenized again, as
        a whole and behind such a token.
        """
        stand_in = next((mark for mark in _STAND_INS if mark not in text), None)
        if stand_in is None:
            raise EvaluationError("a text holds the private characters U+E0F4, U+E0F5, U+FE0F4 and U+FE0F5")
        with_tokens, as_text = self._copies
        shortened, places = _shortened(text, spelled, stand_in)
        found = with_tokens.encode(shortened, add_special_tokens=False)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        known, known_at = found.ids, found.offsets  # each makes a list of all tokens when it is asked for
        stretches = _stretches(shortened, known, known_at, self._special)
        for start, end, first, last in stretches:
            if stand_in not in shortened[start:end]:
                ids += known[first:last]
                offsets += [(places[left], places[right]) for left, right in known_at[first:last]]
                continue
            base = places[start]
            # At the very beginning of a text some tokenizers do otherwise than behind a token.
            before = "" if start == 0 else stand_in
            again = as_text.encode(before + text[base : places[end]], add_special_tokens=False)
            skip = len(before)
            ids += again.ids[skip:]
            offsets += [(base + left - skip, base + right - skip) for left, right in again.offsets[skip:]]
        return ids, offsets

    @cached_property
    def _special(self) -> dict[int, str]:
        return control_tokens(self.tokenizer)

    @cached_property
    def _unmarked(self) -> list[str]:
        """Control tokens that the tokenizer does not mark as special."""
        decoder = self.tokenizer.added_tokens_decoder
        return [text for number, text in self._special.items() if number in decoder and not decoder[number].special]

    @cached_property
    def _copies(self) -> tuple[Any, Any]:
        """The tokenizer with stand-ins for tokens; and one that takes control tokens for text."""
        from tokenizers import AddedToken, Tokenizer

        copies = []
        for text_only in (False, True):
            copy = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
            copy.no_truncation()
            copy.no_padding()
            copy.add_tokens([AddedToken(mark, normalized=False, special=False) for mark in _STAND_INS])
            # Tokens of these names become special: only such can be taken for text.
            copy.add_special_tokens([AddedToken(text, normalized=False) for text in self._unmarked])
            copy.encode_special_tokens = text_only
            copies.append(copy)
        return copies[0], copies[1]


def _shortened(text: str, spelled: Sequence[Span], stand_in: str) -> tuple[str, list[int]]:
    """The text with one character for each spelled token, and where in ``text`` each of its characters (and its end) is."""
    pieces: list[str] = []
    places: list[int] = []
    done = 0
    for start, end in spelled:
        pieces += [text[done:start], stand_in]
        places += [*range(done, start), start]
        done = end
    pieces.append(text[done:])
    return "".join(pieces), [*places, *range(done, len(text) + 1)]


def _stretches(
    text: str, ids: Sequence[int], offsets: Offsets, special: Mapping[int, str]
) -> list[tuple[int, int, int, int]]:
    """Stretches of a text between control tokens, and the tokens themselves: characters from, to, tokens from, to."""
    found: list[tuple[int, int, int, int]] = []
    character = first = 0
    for number, token in enumerate(ids):
        left, right = offsets[number]
        # Some special tokens (the unknown one) stand for text, too.
        if token not in special or text[left:right].strip() != special[token].strip():
            continue
        found += [(character, left, first, number), (left, right, number, number + 1)]
        character, first = right, number + 1
    found.append((character, len(text), first, len(ids)))
    return [stretch for stretch in found if stretch[1] > stretch[0] or stretch[3] > stretch[2]]
