"""A key that must not be stored or shown, whatever a server makes of it."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

#: Shorter keys, such as ``EMPTY``, are placeholders: nothing to hide, and hiding them would garble texts.
SHORTEST = 8
HIDDEN = "***"
# What may stand between the letters of a key that is broken over lines, or broken on purpose.
_BETWEEN = r"[\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]*"

# How JSON, Python, URLs and HTML may write any letter.
_ESCAPES = ("\\u{:04x}", "\\x{:02x}", "%{:02x}", "&#{:d};", "&#x{:x};")


class Secret:
    """A key, and how to blot it out of values: as it is, in other letters (upper, lower), broken over lines, and as
    URLs, HTML, JSON, Base64 and hexadecimal numbers write it.
    """

    def __init__(self, key: str) -> None:
        self._pattern: re.Pattern[str] | None = None
        if len(key) >= SHORTEST:
            spaced = _BETWEEN.join(map(re.escape, key))
            forms = {quote(key, safe=""), quote(key), quote_plus(key), html.escape(key), json.dumps(key)[1:-1]}
            forms |= {key.encode().hex(), *_base64(key)}
            forms |= {"".join(form.format(ord(letter)) for letter in key) for form in _ESCAPES}
            longest_first = sorted(forms, key=len, reverse=True)
            self._pattern = re.compile("|".join([spaced, *map(re.escape, longest_first)]), re.IGNORECASE)

    def hide(self, value: Any) -> Any:
        """The value with the key blotted out of every text in it, keys of mappings included."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(HIDDEN, value)
        if isinstance(value, Mapping):
            return {self.hide(name): self.hide(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.hide(item) for item in value)
        return value

    def hidden(self, text: str) -> str:
        """:meth:`hide` of a text."""
        return str(self.hide(text))


def _base64(key: str) -> set[str]:
    """What every Base64 text that holds the key holds, wherever in it the key begins."""
    forms = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(b"\0" * before + key.encode()).decode().rstrip("=")
            start, whole = -(-before * 8 // 6), (before + len(key.encode())) * 8 // 6
            forms.add(text[start:whole])
    return forms
