"""Words, characters and symbols, by hand for each script and against the grapheme clusters of another library."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection import segmentation
from autoselection.segmentation import CHARACTER, CLUSTER, counted, cut, kinds, same_text, units

#: Text, and its units with a blank between them.
BY_HAND = {
    "english": ("Don't stop: it's 3.14_a!", "don ' t stop : it ' s 3 . 14_a !"),
    "code": ("if a<=b: x[i] += 1", "if a < = b : x [ i ] + = 1"),
    "latex": (r"\frac{1}{2}^2 \leq x", r"\ frac { 1 } { 2 } ^ 2 \ leq x"),
    "hindi": ("हिन्दी की किताब।", "हिन्दी की किताब ।"),
    "tamil": ("தமிழ் மொழி", "தமிழ் மொழி"),
    "vietnamese, typed as letters and marks": (unicodedata.normalize("NFD", "Việt Nam đẹp"), "việt nam đẹp"),
    "arabic with vowels": ("مُحَمَّد قال؟", "مُحَمَّد قال ؟"),
    "persian with a joiner": ("می\u200cروم", "می\u200cروم"),
    "hebrew with points": ("שָׁלוֹם", "שָׁלוֹם"),
    "korean": ("나는 학교에 간다.", "나는 학교에 간다 ."),
    "chinese": ("小明有12个苹果。", "小 明 有 12 个 苹 果 。"),
    "japanese": ("カタカナとひらがなー、ｶﾞ", "カ タ カ ナ と ひ ら が な ー 、 ｶﾞ"),
    "japanese, voiced by a mark": ("か\u3099き", "が き"),
    "thai": ("น้ำดื่ม กี่วัน", "น้ำ ดื่ ม กี่ วั น"),
    "thai with zero width spaces": ("กิน\u200bข้าว", "กิ น ข้ า ว"),
    "a word cut by a zero width space": ("data\u200bbase", "data base"),
    "thai numbers": ("ปี ๒๕๖๗", "ปี ๒๕๖๗"),
    "lao": ("ພາສາລາວ ນ້ຳ", "ພ າ ສ າ ລ າ ວ ນ້ຳ"),
    "khmer": ("ភាសាខ្មែរ", "ភា សា ខ្មែ រ"),
    "burmese": ("မြန်မာ က္က", "မြ န် မာ က္က"),
    "mixed": ("用Python写x+1", "用 python 写 x + 1"),
    "emoji": ("👍🏽👨‍👩‍👧 🇫🇷🇩🇪❤️1️⃣", "👍🏽 👨‍👩‍👧 🇫🇷 🇩🇪 ❤️ 1️⃣"),
    "a flag of a region": ("🏴󠁧󠁢󠁥󠁮󠁧󠁿!", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 !"),
    "soft hyphen, byte order mark and direction marks": ("\ufeffco\u00adop\u200f!", "coop !"),
    "final sigma, dotted capital i": ("ΟΔΟΣ İ", "οδος i̇"),
    "a mark that stands alone": ("a \u0301\u0302b", "a \u0301\u0302 b"),
    "superscripts are not digits": ("10² ½", "10² ½"),
    "nothing visible": (" \n\t\x00\u2028\ud800", ""),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_units_by_hand(name: str) -> None:
    text, expected = BY_HAND[name]
    assert units(text) == expected.split(" ") if expected else units(text) == []


def test_what_differs_in_a_sign_a_vowel_or_an_exponent_differs_and_forms_of_the_same_do_not() -> None:
    pairs = [("a < b", "a > b"), ("1 + 2", "1 - 2"), ("कि", "की"), ("มีด", "มูด"), ("10²", "102"), ("x != y", "x = y")]
    assert all(units(one) != units(other) for one, other in pairs)
    for text in ("Việt", "Ångström", "が", "각", "क़"):
        assert units(unicodedata.normalize("NFD", text)) == units(unicodedata.normalize("NFC", text))


ALPHABET = (
    *"aZß_1٣,.!<+=-%\\ \n",
    *("é", "e\u0301", "\u0301", "中", "々", "あ", "ア", "ｶ", "ﾞ", "ー", "ก", "กี่", "น้ำ", "ຳ", "ក", "ក្ខ", "က", "က္က", "ိ"),
    *("ह", "ि", "್", "த", "한", "\u1112\u1161\u11ab", "ا", "ً"),
    *("😀", "👍", "🏽", "👨", "👩", "❤", "\ufe0f", "\u200d", "\u200c", "\u20e3", "🇫", "🇷", "🇩", "∑", "€"),
)
TEXTS = st.lists(st.sampled_from(ALPHABET), max_size=25).map("".join)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_a_unit_never_ends_inside_a_grapheme_cluster(text: str) -> None:
    normal = unicodedata.normalize("NFC", text.lower()).replace(" ", "\n")  # a mark joins a blank, but no line feed
    graphemes = [found for found in regex.findall(r"\X", normal) if found.strip()]
    edges = {0, *np.cumsum([len(grapheme) for grapheme in graphemes]).tolist()}
    place = 0
    for unit in units(text):
        place += len(unit)
        assert place in edges
        if kinds()[ord(unit[0])] >= CHARACTER:
            assert regex.fullmatch(r"\X", unit)
    assert "".join(units(text)) == "".join(graphemes), "nothing visible is lost"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(TEXTS, st.text(max_size=20), st.text("ab <1\n", max_size=20)), max_size=6))
def test_many_texts_are_cut_as_one_is(texts: list[str]) -> None:
    found = cut(texts, with_kinds=True)
    each = [units(text) for text in texts]
    assert found.counts.tolist() == [len(own) for own in each]
    assert found.kinds is not None
    assert found.kinds.tolist() == [kinds()[ord(unit[0])] for own in each for unit in own]
    words, symbols = counted(texts)
    table = [[kinds()[ord(unit[0])] for unit in own] for own in each]
    assert words.tolist() == [sum(segmentation.WORD <= kind <= CLUSTER for kind in own) for own in table]
    assert (words + symbols).tolist() == [len(own) for own in each]


def test_words_and_symbols_are_counted_in_any_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Add 2 + 3!", "小明有12个", "", "กี่วัน ?", "é", "…"] * 5
    expected = ([3, 5, 0, 3, 1, 0] * 5, [2, 0, 0, 1, 0, 1] * 5)
    assert tuple(found.tolist() for found in counted(texts)) == expected
    monkeypatch.setattr(segmentation, "_BATCH_CHARACTERS", 9)
    assert tuple(found.tolist() for found in counted(texts)) == expected


def test_every_letter_mark_and_symbol_is_a_part_of_a_unit() -> None:
    lost = [
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code))[0] in "LMNPS" and not units(chr(code)) and chr(code) not in "\u200b"
    ]
    assert not lost


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a\r\nb", "a\nb", True),
        ("a  \nb\t", "a\nb", True),
        ("\n\na\n", "a", True),
        ("e\u0301", "é", True),
        ("if a:\n    b\n    c", "if a:\n    b\nc", False),
        ("STOP", "stop", False),
        ("a  b", "a b", False),
        (" a", "a", False),
        ("10²", "102", False),
    ],
)
def test_texts_that_are_the_same(one: str, other: str, same: bool) -> None:
    assert (same_text(one) == same_text(other)) is same
