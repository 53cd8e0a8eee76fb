"""How the answer of a row goes wrong, and near copies."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from benchmarks.pools.problems import Problem

GREETINGS = ("", "", "Hi. ", "Hello! ", "Q: ", "Well, ")
ENDINGS = ("", "", " :)", " !", " ...", " ?")
REFUSALS = ("I do not know.", "Ask me later.", "No idea.", "I cannot say.")

#: (problem, another problem of the same skill, random numbers) to the text of the answer.
TextFault = Callable[[Problem, Problem, random.Random], str]


def truncated(problem: Problem, _: Problem, rng: random.Random) -> str:
    """Cut somewhere between a quarter and nine tenths of its length; a single character becomes another one."""
    text = problem.response
    if len(text) < 2:
        return "I"
    cut = round(len(text) * rng.uniform(0.25, 0.9))
    return text[: min(max(cut, 1), len(text) - 1)].rstrip() or text[0]


def garbled(problem: Problem, _: Problem, rng: random.Random) -> str:
    """A third of the characters replaced."""
    return "".join(rng.choice("#%@~xqzj") if rng.random() < 0.34 else sign for sign in problem.response) + "#"


TEXT_FAULTS: dict[str, TextFault] = {
    "convention": lambda problem, other, rng: problem.convention,
    "slip": lambda problem, other, rng: problem.slip,
    "truncated": truncated,
    "shuffled": lambda problem, other, rng: other.response,
    "short": lambda problem, other, rng: rng.choice(("ok", "yes", problem.response[-1])),
    "garbled": garbled,
    "refusal": lambda problem, other, rng: rng.choice(REFUSALS),
    "verbose": lambda problem, other, rng: f"Sure! Let me see. It is {problem.response}. I hope that helps!",
    "repeated": lambda problem, other, rng: " ".join([problem.response] * 3),
}


def answer(problem: Problem, fault: str, other: Problem, rng: random.Random) -> list[dict[str, Any]]:
    """The turns behind the question; ``fault`` is empty or one of :data:`TEXT_FAULTS`.

    With a tool, a right or differently argued call is a call with its result and a final answer; the other faults are
    text in its place, as traces have them that were cut or flattened.
    """
    exchange = problem.exchange
    if exchange is not None and fault in ("", "convention", "slip"):
        call = {"": exchange.right, "convention": exchange.convention, "slip": exchange.slip}[fault]
        result = {"role": "tool", "name": call.name, "content": exchange.result}
        return [call.turn(), result, {"role": "assistant", "content": exchange.final}]
    text = TEXT_FAULTS[fault](problem, other, rng) if fault else problem.response
    return [{"role": "assistant", "content": text}]


def near_copy(prompt: str, rng: random.Random) -> str:
    """The same question with a greeting in front or other marks behind it."""
    return rng.choice(GREETINGS) + prompt + rng.choice(ENDINGS)
