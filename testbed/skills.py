"""Skills and faults from which the demo's pool, tasks and pre-training text are made.

A *skill* is a generator of problems with a known right answer; a *fault* is a way to spoil a response that real pools
show: another convention, a random slip, a cut-off, a near copy. Everything is drawn from the ``random.Random``
that is handed in, so the same seed gives the same rows on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [
    "apple",
    "river",
    "stone",
    "cloud",
    "tiger",
    "piano",
    "lemon",
    "chair",
    "bread",
    "ocean",
    "paper",
    "light",
    "green",
    "house",
    "music",
    "plant",
    "sugar",
    "train",
    "mouse",
    "glass",
    "queen",
    "sword",
    "tower",
    "water",
    "brush",
    "fruit",
    "grape",
    "honey",
    "knife",
    "nurse",
    "onion",
    "pearl",
    "quilt",
    "robot",
    "spoon",
    "table",
    "uncle",
    "voice",
    "whale",
    "zebra",
    "amber",
    "beach",
    "candy",
    "dream",
    "eagle",
    "flame",
    "ghost",
    "heart",
    "ivory",
    "jelly",
]


@dataclass(frozen=True)
class Problem:
    """One question with its right response and the two ways to get it wrong.

    Attributes:
        skill: name of the generator.
        prompt: user message in the wording of the benchmarks, options included.
        rewordings: the same question in other words.
        response: right assistant message: the worked steps (if the skill has any), a line break, the answer.
        convention: the response of a source that follows another convention (a systematic fault).
        slip: the right response with one random mistake.
        stem: the prompt without options (what a task file holds beside ``choices``).
        choices: the options, if the skill is multiple choice.
    """

    skill: str
    prompt: str
    rewordings: tuple[str, ...]
    response: str
    convention: str
    slip: str
    stem: str = ""
    choices: tuple[str, ...] = ()


def addition(rng: random.Random) -> Problem:
    """Two-digit addition with the column sums written out; the other convention adds columns without a carry."""
    a, b = rng.randint(10, 99), rng.randint(10, 99)

    def worked(carry: int, total: int) -> str:
        return f"{a % 10}+{b % 10}={a % 10 + b % 10}, {a // 10}+{b // 10}+{carry}={a // 10 + b // 10 + carry}\n{total}"

    carry = (a % 10 + b % 10) // 10
    columns = (a // 10 + b // 10) * 10 + (a % 10 + b % 10) % 10
    wrong = a + b + rng.choice((-20, -11, -10, -2, -1, 1, 2, 10, 11, 20))
    return Problem(
        "addition",
        f"Add {a} and {b}.",
        (f"What is {a}+{b}?", f"Sum {a} and {b}:"),
        worked(carry, a + b),
        str(columns),
        worked(carry, wrong),
    )


def sorting(rng: random.Random) -> Problem:
    """Six letters in alphabetical order; the other convention sorts from z to a."""
    letters = rng.sample(LETTERS, 6)
    right = sorted(letters)
    slip = list(right)
    while slip == right:
        rng.shuffle(slip)
    return Problem(
        "sorting",
        f"Sort {' '.join(letters)}.",
        (f"In order: {' '.join(letters)}", f"Order {' '.join(letters)}."),
        " ".join(right),
        " ".join(reversed(right)),
        " ".join(slip),
    )


def boolean(rng: random.Random) -> Problem:
    """Truth of a comparison of two numbers, as a two-way choice; the other convention negates it."""
    a, b = rng.sample(range(10, 100), 2)
    text = f"{a} over {b}"
    truth = a > b
    options = "\nA. yes\nB. no"
    answers = ("B. no", "A. yes")
    stem = f"Is {text}?"
    return Problem(
        "boolean",
        stem + options,
        (f"So {text}?{options}", f"Check {text}.{options}"),
        answers[truth],
        answers[not truth],
        answers[not truth],
        stem,
        ("yes", "no"),
    )


def counting(rng: random.Random) -> Problem:
    """How often a letter occurs in a row of letters; the other convention starts to count at zero."""
    letter = rng.choice("abcde")
    number = rng.randint(1, 6)
    row = [letter] * number + [rng.choice([c for c in "abcde" if c != letter]) for _ in range(rng.randint(3, 6))]
    rng.shuffle(row)
    text = " ".join(row)
    wrong = rng.choice([n for n in range(1, 8) if n != number])
    return Problem(
        "counting",
        f"Count {letter} in {text}.",
        (f"How many {letter} in {text}?", f"{text}: how many {letter}?"),
        str(number),
        str(number - 1),
        str(wrong),
    )


def _off_task(skill: str, prompts: tuple[str, ...], response: str, wrong: str) -> Problem:
    return Problem(skill, prompts[0], prompts[1:], response, wrong, wrong)


def spelling(rng: random.Random) -> Problem:
    """Spell a word letter by letter."""
    word = rng.choice(WORDS)
    return _off_task("spelling", (f"Spell {word}.", f"Letters of {word}?"), "-".join(word), "-".join(word[::-1]))


def reversing(rng: random.Random) -> Problem:
    """Write two words backwards."""
    text = " ".join(rng.sample(WORDS, 2))
    return _off_task("reversing", (f"Reverse {text}.", f"Write {text} backwards."), text[::-1], text)


def shouting(rng: random.Random) -> Problem:
    """Write two words in capitals."""
    text = " ".join(rng.sample(WORDS, 2))
    return _off_task("shouting", (f"Shout {text}.", f"Capitals: {text}"), text.upper(), text)


def copying(rng: random.Random) -> Problem:
    """Say a word three times."""
    text = rng.choice(WORDS)
    return _off_task("copying", (f"Repeat {text}.", f"Say {text} three times."), " ".join([text] * 3), text)


def following(rng: random.Random) -> Problem:
    """The four letters that follow a letter in the alphabet."""
    start = rng.randrange(20)
    prompts = (f"After {LETTERS[start]}?", f"Letters after {LETTERS[start]}:")
    return _off_task(
        "following", prompts, " ".join(LETTERS[start + 1 : start + 5]), " ".join(LETTERS[start : start + 4])
    )


Skill = Callable[[random.Random], Problem]
TARGETS: dict[str, Skill] = {"addition": addition, "sorting": sorting, "boolean": boolean, "counting": counting}
OFF_TASK: dict[str, Skill] = {
    "spelling": spelling,
    "reversing": reversing,
    "shouting": shouting,
    "copying": copying,
    "following": following,
}


def truncated(response: str, rng: random.Random) -> str:
    """Cut a response somewhere between a quarter and nine tenths of its length, at least one character on each side."""
    if len(response) < 2:
        return "I"
    cut = round(len(response) * rng.uniform(0.25, 0.9))
    return response[: min(max(cut, 1), len(response) - 1)].rstrip()


GREETINGS = ("", "", "Hi. ", "Hello! ", "Q: ", "Well, ")
ENDINGS = ("", "", " :)", " !", " ...", " ?")


def near_copy(prompt: str, rng: random.Random) -> str:
    """The same question with a greeting in front or other marks behind it."""
    return rng.choice(GREETINGS) + prompt + rng.choice(ENDINGS)
