"""What a skill makes: a question with its right answer and ways to get it wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VOWELS, CONSONANTS = "aeiou", "bcdfghklmnprstvz"


@dataclass(frozen=True)
class Call:
    """A call of a tool, as its turn holds it."""

    name: str
    arguments: dict[str, Any]

    def text(self) -> str:
        """As the chat template of the family's models writes it."""
        return f"{self.name}({json.dumps(self.arguments, ensure_ascii=False)})"

    def turn(self) -> dict[str, Any]:
        """As a turn of a row."""
        function = {"name": self.name, "arguments": json.dumps(self.arguments, ensure_ascii=False)}
        return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


@dataclass(frozen=True)
class Exchange:
    """How a row answers with a tool: the call (right, by another convention, with a slip), what the tool returns, and
    the final answer."""

    tools: tuple[dict[str, Any], ...]
    right: Call
    convention: Call
    slip: Call
    result: dict[str, Any]
    final: str


@dataclass(frozen=True)
class Problem:
    """One question with its right response and two ways to get it wrong.

    Attributes:
        skill: name of the generator.
        prompt: user message in the wording of the tasks, without options.
        rewordings: the same question in other words.
        response: right assistant message: the worked steps (if the skill has any), a line break, the answer.
        convention: the response of a source that follows another convention (a systematic fault).
        slip: the right response with one random mistake.
        choices: the options, if the skill is multiple choice; they stand below every wording.
        exchange: how the answer looks with a tool, if the skill calls one; then the texts above write the call.
    """

    skill: str
    prompt: str
    rewordings: tuple[str, ...]
    response: str
    convention: str
    slip: str
    choices: tuple[str, ...] = ()
    exchange: Exchange | None = None

    def asked(self, wording: str) -> str:
        """A wording with the options below it."""
        return "\n".join(
            [wording, *(f"{letter}. {choice}" for letter, choice in zip("ABCD", self.choices, strict=False))]
        )


Skill = Callable[[random.Random], Problem]


def made_up_word(rng: random.Random, syllables: int = 2) -> str:
    """Consonants and vowels in turn: there are more such words than any pool has rows."""
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(syllables)) + rng.choice(CONSONANTS)


def near(number: int, rng: random.Random, least: int = 0) -> int:
    """Another number close by."""
    return rng.choice(
        [n for n in (number - 10, number - 2, number - 1, number + 1, number + 2, number + 10) if n >= least]
    )


def exchanged(text: str, rng: random.Random) -> str:
    """Two neighbours that differ, swapped; the last character doubled where none differ."""
    places = [place for place in range(len(text) - 1) if text[place] != text[place + 1]]
    if not places:
        return text + text[-1:]
    place = rng.choice(places)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
