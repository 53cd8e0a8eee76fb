"""Rows with an image, audio or video: by a column, by a part of a turn, or by a placeholder in a question.

A text about a picture that is not there teaches a model to invent. But code and talk about HTML are full of ``<video>``
and ``<image>``, so a tag counts as a placeholder only where it stands like one (before or behind the question, or on a
line of its own) and nothing says that it is talked about: no closing tag, no attributes, no code around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autoselection.pool.json_reader import Record
from autoselection.pool.row_kinds.base import SFT_ANYWAY, Folded, OtherRow

KINDS = {"image": "rows with an image", "video": "rows with a video", "audio": "rows with audio"}
PART_HINT = "nothing, for a text about what is not shown teaches invention"
HINT = f"{PART_HINT}; {SFT_ANYWAY}"

_COLUMN = re.compile(
    r"(?:(?P<image>images?|imgs?|pictures?|photos?|pil_image|image_list|pixel_values)|(?P<video>videos?)|"
    r"(?P<audio>audios?|speech|sound|wavs?))(?:_(?:paths?|urls?|files?|filenames?|file_names?|bytes|base64|data|list|[0-9]+))?"
)
_FILE = re.compile(
    r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif|mp4|mov|mkv|webm|avi|wav|mp3|flac|ogg|opus|m4a|npy)"
    r"(?:[?#]\S*)?[\"'\]\s]*\Z",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:https?|s3|gs)://|data:(?:image|audio|video)/", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{200,}={0,2}\s*")
#: Fields of the structures that hold pictures and sound.
_HOLDERS = frozenset(("bytes", "path", "url", "array", "sampling_rate", "base64", "data", "src", "filename"))


def media_columns(columns: Folded) -> tuple[tuple[str, str], ...]:
    """The columns (medium, name) that may hold media, by their folded names."""
    found = ((match.lastgroup, column) for name, column in columns.items() if (match := _COLUMN.fullmatch(name)))
    return tuple((medium, column) for medium, column in found if medium is not None)


def is_media(value: Any, depth: int = 3) -> bool:
    """Whether a value is a picture, sound or film, or a list of such: bytes, a path, an address, base64, a structure."""
    if isinstance(value, (bytes, bytearray)):
        return len(value) > 0
    if isinstance(value, str):
        return bool(_ADDRESS.match(value) or _FILE.search(value) or _BASE64.fullmatch(value))
    if isinstance(value, Mapping):
        return any(
            item is not None and item not in ("", [], b"") for key, item in value.items() if fold_key(key) in _HOLDERS
        )
    if isinstance(value, Sequence):
        return depth > 0 and any(is_media(item, depth - 1) for item in value)
    # objects of imaging libraries, which data sets decode to
    return hasattr(value, "tobytes") and not isinstance(value, (int, float))


def fold_key(key: Any) -> str:
    return str(key).casefold()


def media_of(record: Record, columns: Iterable[tuple[str, str]]) -> OtherRow | None:
    """What is reported of a row one of whose columns holds media."""
    for medium, column in columns:
        value = record[column]
        if value is not None and is_media(value):
            return OtherRow(KINDS[medium], [column], HINT)
    return None


#: Types of content parts.
_DATA = ("inlineData", "inline_data", "fileData", "file_data")
_PARTS = {
    **dict.fromkeys(("image", "image_url", "input_image", "image_file"), "image"),
    **dict.fromkeys(("audio", "input_audio", "audio_url"), "audio"),
    **dict.fromkeys(("video", "input_video", "video_url"), "video"),
}


def medium_of_part(part: Any) -> str | None:
    """The medium of a part of a turn's content; None if it is none."""
    if not isinstance(part, Mapping):
        return None
    kind = part.get("type")
    if isinstance(kind, str):
        return _PARTS.get(kind.strip().casefold())
    for key in _DATA:  # of Gemini's files
        mime = part[key].get("mimeType", part[key].get("mime_type")) if isinstance(part.get(key), Mapping) else None
        if isinstance(mime, str) and (medium := mime.partition("/")[0]) in KINDS:
            return medium
    return next((_PARTS[key] for key in part if key in _PARTS and part[key]), None)


def media_in_turns(turns: Any, column: str) -> OtherRow | None:
    """What is reported of a conversation with media in its turns: parts of contents, or fields such as ``images``."""
    if not isinstance(turns, list):
        return None
    for place, turn in enumerate(turns):
        if not isinstance(turn, Mapping):
            continue
        for key in ("content", "value", "parts"):
            content = turn.get(key)
            for number, part in enumerate(content if isinstance(content, list) else ()):
                medium = medium_of_part(part)
                if medium is not None:
                    return OtherRow(KINDS[medium], [f"{column}[{place}].{key}[{number}]"], PART_HINT)
        if len(turn) > 2:
            for key, value in turn.items():
                found = _COLUMN.fullmatch(fold_key(key)) if isinstance(key, str) else None
                if found and found.lastgroup and value and is_media(value):
                    return OtherRow(KINDS[found.lastgroup], [f"{column}[{place}].{key}"], HINT)
    return None


# -- Placeholders in text ---------------------------------------------------------------------------------------------

#: Placeholders that are no HTML: of Qwen, Phi, Llama, Gemma, InternVL, LLaVA and others.
_NUMBERED = r"<\|?(?:image|img|video|audio)[ _]?\d+\|?>"
_TOKEN = (
    r"<\|(?:vision_start|vision_end|(?:image|video|audio|vision|img)_pad|audio_bos|audio_eos|image|video|audio)\|>"
    r"|\[IMG(?:_BREAK|_END)?\]|<(?:image|video|audio)[_-]?(?:placeholder|token|soft_token|pad|here)>"
    r"|<(?:start|end)_of_image>|</?(?:img|vid|aud)_?context>|<speechhere>|<speech>|<sound>"
)
_TAG = r"<(?:image|video|audio)>"
_ANY = re.compile(f"{_NUMBERED}|{_TOKEN}|{_TAG}", re.IGNORECASE)
_RUN = rf"(?:(?:{_NUMBERED}|{_TOKEN}|{_TAG})[ \t]*)+"
_MEDIUM = (
    r"(?:pictures?|images?|photos?|frames?|figures?|views?|videos?|audios?|clips?|recordings?|screenshots?|charts?)"
)
_LABEL = rf"(?:{_MEDIUM}[ -]?\d*[ \t]*[:：][ \t]*)?"
_PLACES = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"^[ \t]*{_LABEL}{_RUN}$",  # alone on a line, perhaps with a label such as "Picture 1:"
        # in front, the question glued to it, or with a capital behind it
        rf"\A\s*{_LABEL}{_RUN}(?<![ \t])(?:(?=[^\s<`'\".,;:)])|[ \t]+(?=(?-i:[A-Z¿¡])|[^\x00-\u02ff]))",
        rf"(?:[.?!。？！]|\b{_MEDIUM}\s*[:：])[ \t]*{_RUN}\Z",  # behind the end of the question
    )
)
_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|\[IMG\][^\[\n]+\[/IMG\]", re.DOTALL | re.IGNORECASE)
#: Tags that are written about: closed, or with attributes.
_HTML = re.compile(
    r"</(?:image|video|audio|source)>|<(?:image|video|audio|source|img)\s+[a-z:-]+\s*(?:=|/?>)", re.IGNORECASE
)
_TALK = re.compile(
    r"\b(?:(?:this|that|these|those|above|following|called)\s+(?:html5?\s+|svg\s+|xml\s+)?(?:tags?|elements?)|"
    r"(?:the|this|that|these|those|an?|special|control|called)\s+(?:special\s+|control\s+)?(?:placeholders?|tokens?))\b",
    re.IGNORECASE,
)


def placeholder(texts: Sequence[str], answers: Sequence[str], media_file: bool) -> str | None:
    """A placeholder in the questions of a row that stands for a medium.

    Args:
        texts: what the user says, turn by turn.
        answers: what is answered, which may show that tags are written about.
        media_file: other rows of the file have media, so that a placeholder counts wherever it stands.

    Returns:
        The placeholder as it stands there, or None.
    """
    for text in texts:
        if ("<" not in text and "[IMG" not in text) or _ANY.search(text) is None or _HTML.search(text):
            continue
        plain = _CODE.sub(" ", text)
        found = _ANY.search(plain)
        if found is None:
            continue
        if media_file:
            return found[0]
        numbered = re.search(_NUMBERED, plain, re.IGNORECASE)
        places = (place for pattern in _PLACES if (place := pattern.search(plain)))
        standing = numbered or next((_ANY.search(place[0]) for place in places), None)
        if standing is None or _TALK.search(_ANY.sub(" ", plain)):
            continue
        if not (re.fullmatch(_TAG, standing[0], re.IGNORECASE) and any(map(_HTML.search, answers))):
            return standing[0]
    return None


def place_of(record: Record, text: str) -> str:
    """Where in a row a text stands: a column, or the content of a turn; "" if it is not found as it is."""
    for name, value in record.items():
        if isinstance(value, str) and text in value:
            return name
        for number, turn in enumerate(value if isinstance(value, list) else ()):
            for key in ("content", "value"):
                content = turn.get(key) if isinstance(turn, Mapping) else None
                if isinstance(content, str) and text in content:
                    return f"{name}[{number}].{key}"
    return ""


def medium_of_placeholder(text: str) -> str:
    """image, video or audio."""
    lowered = text.casefold()
    if "video" in lowered or "vid_" in lowered:
        return "video"
    return "audio" if re.search(r"audio|speech|sound|aud_", lowered) else "image"
