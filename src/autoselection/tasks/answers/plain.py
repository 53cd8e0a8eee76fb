"""Text as it is read: without reasoning, with the digits, signs, brackets and blanks of all scripts as their ASCII twins."""

from __future__ import annotations

import re
import unicodedata

from autoselection.marks import CLOSINGS, OPENINGS, REASONING, REASONING_OF_ANSWERS, any_of

#: An answer stands at the end; what is before is not read (characters), so that no text takes long.
_LONGEST_TEXT = 20_000

# --- reasoning --------------------------------------------------------------------------------------------------------

_NAMES = any_of(
    (*(mark.strip("<>") for mark in REASONING if mark.startswith("<") and mark[1].isalpha()), *REASONING_OF_ANSWERS)
)
_OPENED = re.compile(
    rf"{OPENINGS}|<\s*(?:{_NAMES})\b[^<>]*>|\[\s*(?:{_NAMES})\s*\]|◁\s*think\s*▷"
    r"|<\|channel\|>\s*(?:analysis|commentary)\b|<\|channel>\s*thought\b",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    rf"{CLOSINGS}|<\s*/\s*(?:{_NAMES})\s*>|<unused95>|\[\s*/\s*(?:{_NAMES})\s*\]|◁\s*/\s*think\s*▷"
    r"|<\|channel\|>\s*final\b(?:[^<>]{0,40}<\|message\|>)?|(?<=\S)assistantfinal(?=\S)|<channel\|>"
    r"|\bhere(?:'s| is) my response:",
    re.IGNORECASE,
)
#: Control tokens that say whether what follows is reasoning only together with the word behind them.
_CHANNELS = ("<|channel|>", "<|message|>", "<|channel>")


def marks_reasoning(token: str) -> bool:
    """Whether a token is one of the marks by which :func:`visible` tells reasoning from the rest."""
    return token in _CHANNELS or _OPENED.fullmatch(token) is not None or _CLOSED.fullmatch(token) is not None


def visible(text: str) -> str:
    """What stands behind the reasoning of ``text``; nothing if reasoning was begun and never ended.

    Read are the tags of published models: ``<think>``, ``[THINK]``, ``<|begin_of_thought|>``, ``◁think▷``, the channels
    of Harmony (their marks may be stripped: ``analysis…assistantfinal…``). Where the template has opened the block, the
    closing tag alone is in the text.
    """
    end = 0
    for closed in _CLOSED.finditer(text):
        end = closed.end()
    rest = text[end:]
    return "" if _OPENED.search(rest) else rest


# --- characters -------------------------------------------------------------------------------------------------------

_OTHERS = {
    **dict.fromkeys("−‒–﹣－‐‑", "-"),
    **dict.fromkeys("’‘ʼ`´", "'"),
    **dict.fromkeys("“”„«»「」『』", '"'),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", ""),
    **dict.fromkeys("【〔", "["),
    **dict.fromkeys("】〕", "]"),
    "×": "x",
    "⁄": "/",
    "∕": "/",
    "，": ",",
    "،": ",",
    "．": ".",
    "٫": ".",
    "٬": ",",
    "٪": "%",
    "∶": ":",
    "∗": "*",
    "≈": "=",
    "∞": "\\infty ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "±": "\\pm ",
}
_TRANSLATION = {ord(key): value for key, value in _OTHERS.items()}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_ROOT = re.compile(r"√\s*(\d+|\([^()]{1,40}\))")
_PI = re.compile(r"(?<![\u0370-\u03ff])π(?![\u0370-\u03ff])")  # no letter of a Greek word
_BLANKS = re.compile(r"\s{3,}")
_DASH = re.compile(r"(?<=\d)\s?[—―]\s?(?=\d)")
_BLANK = re.compile(r"[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:([\u00a0\u202f\u2009'_])\d{3})(?:\1\d{3})*(?!\1?\d)")


def plain(text: str) -> str:
    """ASCII digits, signs, brackets and blanks for those of other scripts; composed accents; no long runs of blanks."""
    text = text[-_LONGEST_TEXT:]
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = _SUPERSCRIPT.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
        text = _PI.sub(lambda _: "\\pi ", text)
        text = _ROOT.sub(lambda root: "\\sqrt{" + root.group(1).strip("()") + "}", text)
        text = "".join(map(_plain_character, text.translate(_TRANSLATION)))
    elif "`" in text:
        text = text.replace("`", "'")
    if any(mark in text for mark in "'_\u00a0\u202f\u2009"):
        text = _GROUPED.sub(lambda number: number.group().replace(number.group(1), ""), text)
    text = _BLANK.sub(" ", _DASH.sub("-", text))
    return _BLANKS.sub(lambda run: "\n\n" if "\n" in run.group() else " ", text)


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if "\uff01" <= character <= "\uff5e":  # full-width forms
        return chr(ord(character) - 0xFEE0)
    decomposed = unicodedata.normalize("NFKD", character)
    if len(decomposed) > 1 and "⁄" in decomposed:  # ½ is 1⁄2
        return " " + decomposed.replace("⁄", "/")
    # mathematical alphabets, circled letters; never what only looks alike (a Cyrillic letter)
    return decomposed if len(decomposed) == 1 and decomposed.isascii() else character


def lines_of(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line for line in text.strip().split("\n") if line.strip()]


_SPACES = re.compile(r"\s+")


def normalised(line: str) -> str:
    """A short answer without letter case, runs of blanks and its full stop."""
    return _SPACES.sub(" ", plain(line).strip()).rstrip(".。").casefold()
