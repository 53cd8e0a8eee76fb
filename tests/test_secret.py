"""A key is blotted out in whatever form a server sends it back."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.secret import Secret

KEY = "sk-CANARY/7f3a+9b&1c=5d"


def around(text: str) -> str:
    return f"before {text} after"


FORMS = [
    KEY,
    KEY.upper(),
    KEY.lower(),
    f"Bearer {KEY}",
    quote(KEY),
    quote(KEY, safe=""),
    quote(KEY, safe="").lower(),
    html.escape(KEY),
    json.dumps(KEY),
    KEY.encode().hex(),
    "".join(f"\\u{ord(letter):04X}" for letter in KEY),
    "".join(f"%{ord(letter):02x}" for letter in KEY),
    "".join(f"&#{ord(letter)};" for letter in KEY),
    " ".join(KEY),
    KEY[:9] + "\n" + KEY[9:],
    KEY[:3] + "\u200b" + KEY[3:],
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_blotted_out(form: str) -> None:
    shown = Secret(KEY).hidden(around(form))
    assert "***" in shown and "CANARY" not in shown.upper() and KEY.encode().hex() not in shown
    assert not any(piece in shown.lower() for piece in ("\\u0043", "%43", "&#67;"))


@given(st.text(max_size=9), st.text(max_size=9), st.booleans())
def test_base64_of_any_text_around_the_key_does_not_give_it_away(before: str, after: str, for_urls: bool) -> None:
    encode = base64.urlsafe_b64encode if for_urls else base64.b64encode
    text = encode(f"{before}{KEY}{after}".encode()).decode()
    shown = Secret(KEY).hidden(text)
    assert "***" in shown and text not in shown
    kept = shown.split("***")
    recovered = b"".join(base64.b64decode(part[: len(part) // 4 * 4], b"-_" if for_urls else None) for part in kept[:1])
    assert KEY.encode()[:4] not in recovered


def test_texts_are_found_at_any_depth_and_the_rest_is_left() -> None:
    document = {"a": [KEY, {KEY: (1, f"x{KEY}")}], "n": 1.5, "none": None, "yes": True}
    assert Secret(KEY).hide(document) == {"a": ["***", {"***": (1, "x***")}], "n": 1.5, "none": None, "yes": True}


def test_a_placeholder_is_no_secret() -> None:
    assert Secret("EMPTY").hide({"EMPTY": "EMPTY"}) == {"EMPTY": "EMPTY"}
    assert Secret("").hidden("text") == "text"
