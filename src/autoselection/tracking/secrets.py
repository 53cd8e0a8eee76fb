"""Keys that no tracker is told: those of language models, of the trackers themselves, and in addresses."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from autoselection.config import StudyConfig
from autoselection.documents import dump_yaml
from autoselection.secret import HIDDEN, SHORTEST, Secret
from autoselection.tracking.runs import Run

#: Environment variables that hold keys, by their names.
_HOLDS_KEY = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)

#: The same for what the query of an address holds.
_IN_QUERY = re.compile(rf"{_HOLDS_KEY.pattern}|SIG|AUTH", re.IGNORECASE)
#: An address, and its user and password. Paths that stand for addresses have one stroke left.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}(?=[^/])", re.IGNORECASE)
_LOGIN = re.compile(rf"({_ADDRESS.pattern})[^/\s@\"'<>]*@", re.IGNORECASE)

#: Shortest key of digits alone, or with blanks (characters): shorter ones are numbers and words of settings.
_LONG = 16


class Secrets:
    """All keys that this process knows, blotted out of what is sent.

    Args:
        uri: an address besides those of the configuration.
        environment: variables whose names say that they hold a key, those that the configuration names, and logins in addresses.
    """

    def __init__(
        self, config: StudyConfig, uri: str | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        settings = config.model_dump(mode="json")
        named = set(_named(settings))
        found = {value.strip() for name, value in environment.items() if _HOLDS_KEY.search(name) or name in named}
        keys = {key for key in found if _is_key(key)}
        short: set[str] = set()
        for address in (*_texts(settings), uri or "", *environment.values()):
            if _ADDRESS.match(address):
                for key in _keys_of(address):
                    (keys if _is_key(key) else short).add(key)
        self._keys = sorted(keys, key=len, reverse=True)
        self._secrets = [Secret(key) for key in self._keys]
        # Short ones are words of their own where they give something away; inside of others they are not meant.
        forms = {form for key in short for form in (*_forms(key), quote(key, safe=""))}
        words = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
        self._short = re.compile(rf"(?<!\w)(?:{words})(?!\w)" if words else r"(?!)")

    def text(self, text: str) -> str:
        """A text of moderate size without them, however they are written."""
        text = _LOGIN.sub(r"\1", text)
        for secret in self._secrets:
            text = secret.hidden(text)
        return self._short.sub(HIDDEN, text)

    def document(self, text: str) -> str:
        """A long document without them, as they are and as HTML and JSON write them."""
        text = _LOGIN.sub(r"\1", text)
        for key in self._keys:
            for form in _forms(key):
                text = text.replace(form, HIDDEN)
        return self._short.sub(HIDDEN, text)

    def configuration(self, config: StudyConfig) -> str:
        """A configuration as YAML without them, its addresses without user, password and query."""
        return self.text(dump_yaml(_bare(config.model_dump(mode="json"))))

    def run(self, run: Run) -> Run:
        """A run without them."""
        return replace(
            run,
            name=self.text(run.name),
            parameters={
                name: self.text(value) if isinstance(value, str) else value for name, value in run.parameters.items()
            },
            words={name: self.text(value) for name, value in run.words.items()},
        )


def _named(value: Any) -> Iterator[str]:
    """Environment variables that a configuration names for keys."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == "api_key_env" and isinstance(inner, str):
                yield inner
            yield from _named(inner)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a configuration."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _keys_of(address: str) -> Iterator[str]:
    """Keys in an address: its password, its user if it may be a token, and what its query calls a key or looks like one."""
    try:
        parts = urlsplit(_whole(address))
    except ValueError:  # no address
        return
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if password:
        yield from {password, parts.password or ""}
    if len(user) >= (_LONG if password else SHORTEST):
        yield from {user, parts.username or ""}
    for name, value in parse_qsl(parts.query):
        if _IN_QUERY.search(name) or _is_key(value):
            yield value


def _bare(value: Any) -> Any:
    """A configuration whose addresses have no user, password and query; a question mark in a pattern is no query."""
    if isinstance(value, str):
        if not _ADDRESS.match(value):
            return value
        head, mark, query = _whole(value).partition("?")
        return _LOGIN.sub(r"\1", head) + (mark + query if mark and "=" not in query else "")
    if isinstance(value, Mapping):
        return {name: _bare(inner) for name, inner in value.items()}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value


def _whole(address: str) -> str:
    """An address with both of its strokes."""
    return re.sub(r"^([^/]+:)/(?=[^/])", r"\1//", address)


def _forms(key: str) -> set[str]:
    """A key as it is, and as HTML and JSON write it."""
    return {key, html.escape(key), json.dumps(key)[1:-1]}


def _is_key(value: str) -> bool:
    """Not a number, a short word or a few, or files that are there: variables called so hold these, too. One in 64 random keys
    begins as a path does."""
    least = _LONG if value.isdigit() or " " in value else SHORTEST
    return len(value) >= least and not all(map(_is_file, value.split(os.pathsep)))


def _is_file(value: str) -> bool:
    if not value.startswith(("/", "./", "~")):
        return False
    try:
        return Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such home, no name of a file
        return False
