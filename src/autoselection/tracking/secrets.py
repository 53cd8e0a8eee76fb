"""Keys that no tracker is told: those of language models and of the trackers themselves."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from autoselection.config import StudyConfig
from autoselection.secret import HIDDEN, SHORTEST, Secret
from autoselection.tracking.runs import Run

#: Environment variables that hold keys, by their names.
_HOLDS_KEY = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)

#: Shortest key of digits alone, or with blanks (characters): shorter ones are numbers and words of settings.
_LONG = 16


class Secrets:
    """All keys that this process knows, blotted out of what is sent.

    Args:
        uri: an address; its password, and what its query holds, are keys.
        environment: variables whose names say that they hold a key, and those that the configuration names.
    """

    def __init__(
        self, config: StudyConfig, uri: str | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        named = set(_named(config.model_dump(mode="json")))
        found = {value.strip() for name, value in environment.items() if _HOLDS_KEY.search(name) or name in named}
        parts = urlsplit(uri or "")
        found |= {parts.password or "", *(value for _, value in parse_qsl(parts.query))}
        self._keys = sorted((key for key in found if _is_key(key)), key=len, reverse=True)
        self._secrets = [Secret(key) for key in self._keys]

    def text(self, text: str) -> str:
        """A text of moderate size without them, however they are written."""
        for secret in self._secrets:
            text = secret.hidden(text)
        return text

    def document(self, text: str) -> str:
        """A long document without them, as they are and as HTML and JSON write them."""
        for key in self._keys:
            for form in {key, html.escape(key), json.dumps(key)[1:-1]}:
                text = text.replace(form, HIDDEN)
        return text

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
