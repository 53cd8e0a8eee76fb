"""Skills in Latin letters and ASCII digits."""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks.pools.problems import Problem, Skill, exchanged, made_up_word, near

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMERALS = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)


def addition(rng: random.Random) -> Problem:
    """Addition with the sums of ones and tens written out; the other convention forgets the carry."""
    a, b = rng.randint(10, 299), rng.randint(10, 299)
    carry = (a % 10 + b % 10) // 10

    def worked(total: int) -> str:
        return f"{a % 10}+{b % 10}={a % 10 + b % 10}, {a // 10}+{b // 10}+{carry}={a // 10 + b // 10 + carry}\n{total}"

    columns = (a // 10 + b // 10) * 10 + (a % 10 + b % 10) % 10
    wordings = (f"What is {a}+{b}?", f"Sum {a} and {b}:")
    return Problem("addition", f"Add {a} and {b}.", wordings, worked(a + b), str(columns), worked(near(a + b, rng)))


def subtraction(rng: random.Random) -> Problem:
    """The smaller of two numbers from the larger; the other convention takes digits apart without a borrow."""
    b, a = sorted(rng.sample(range(10, 300), 2))
    digits = "".join(str(abs(int(x) - int(y))) for x, y in zip(f"{a:03}", f"{b:03}", strict=True)).lstrip("0") or "0"
    wordings = (f"What is {a}-{b}?", f"{a} less {b}:")
    wrong = str(a + b) if digits == str(a - b) else digits
    return Problem("subtraction", f"Take {b} from {a}.", wordings, str(a - b), wrong, str(near(a - b, rng)))


def remainder(rng: random.Random) -> Problem:
    """Rest of a division; the other convention answers with the quotient."""
    a, b = rng.randint(20, 9999), rng.randint(3, 9)
    wordings = (f"Rest of {a} by {b}?", f"{a} modulo {b}:")
    wrong = rng.choice([n for n in range(b) if n != a % b])
    return Problem("remainder", f"{a} mod {b}?", wordings, str(a % b), str(a // b), str(wrong))


def largest(rng: random.Random) -> Problem:
    """The largest of three numbers; the other convention names the smallest."""
    numbers = rng.sample(range(10, 400), 3)
    text = " ".join(map(str, numbers))
    low, middle, high = sorted(numbers)
    return Problem(
        "largest", f"Largest of {text}?", (f"Max: {text}", f"{text}: the largest?"), str(high), str(low), str(middle)
    )


def over(rng: random.Random) -> Problem:
    """Whether a number is over another, as a choice; the other convention negates."""
    a, b = rng.sample(range(10, 300), 2)
    return _choice(
        "over", f"Is {a} over {b}?", (f"So {a} over {b}?", f"Check {a} over {b}."), ("yes", "no"), int(a < b)
    )


def parity(rng: random.Random) -> Problem:
    """Even or odd, as a choice; the other convention negates."""
    a = rng.randint(100, 99999)
    return _choice("parity", f"Is {a} even or odd?", (f"Parity of {a}?", f"{a} is:"), ("even", "odd"), a % 2)


def kind(rng: random.Random) -> Problem:
    """What a character in a code is, as a choice of three; the other convention takes the next option."""
    code = [rng.choice(LETTERS), rng.choice("0123456789"), rng.choice(LETTERS.upper())]
    right = rng.randrange(3)
    names = ("small", "digit", "capital")
    text = "".join(rng.sample(code, 3)) + code[right] + made_up_word(rng, 1)
    return _choice("kind", f"What is sign 4 of {text}?", (f"Sign 4 in {text}:", f"{text}, sign 4?"), names, right)


def sorting(rng: random.Random) -> Problem:
    """Six letters in alphabetical order; the other convention sorts from z to a."""
    letters = rng.sample(LETTERS, 6)
    right, text = sorted(letters), " ".join(letters)
    wordings = (f"In order: {text}", f"Order {text}.")
    return _spaced("sorting", f"Sort {text}.", wordings, right, right[::-1], rng)


def unique(rng: random.Random) -> Problem:
    """Letters without repeats, in order of first sight; the other convention keeps the last of each."""
    row = [rng.choice(LETTERS[:6]) for _ in range(7)]
    text = " ".join(row)
    last = list(dict.fromkeys(row[::-1]))[::-1]
    wordings = (f"Each once: {text}", f"Drop repeats of {text}.")
    return _spaced("unique", f"Without repeats: {text}", wordings, list(dict.fromkeys(row)), last, rng)


def counting(rng: random.Random) -> Problem:
    """How often a letter occurs in a row; the other convention starts to count at zero."""
    letter, number = rng.choice("abcde"), rng.randint(1, 6)
    row = [letter] * number + [rng.choice([c for c in "abcde" if c != letter]) for _ in range(rng.randint(3, 6))]
    rng.shuffle(row)
    text = " ".join(row)
    wrong = rng.choice([n for n in range(1, 8) if n != number])
    wordings = (f"How many {letter} in {text}?", f"{text}: how many {letter}?")
    return Problem("counting", f"Count {letter} in {text}.", wordings, str(number), str(number - 1), str(wrong))


def length(rng: random.Random) -> Problem:
    """Length of a word; the other convention counts its vowels."""
    word = made_up_word(rng, rng.randint(1, 4)) + rng.choice(("", "a", "o"))
    vowels = sum(letter in "aeiou" for letter in word)
    wordings = (f"Letters in {word}?", f"How long is {word}?")
    return Problem(
        "length", f"Length of {word}?", wordings, str(len(word)), str(vowels), str(len(word) + rng.choice((-1, 1)))
    )


def reversing(rng: random.Random) -> Problem:
    """A word backwards; the other convention swaps its ends only."""
    word = made_up_word(rng, rng.randint(2, 3))
    wrong = word[-1] + word[1:-1] + word[0]
    return _text(
        "reversing", f"Reverse {word}.", (f"{word} backwards:", f"Turn {word} around."), word[::-1], wrong, rng
    )


def spelling(rng: random.Random) -> Problem:
    """A word letter by letter; the other convention spells syllables."""
    word = made_up_word(rng, rng.randint(2, 3))
    pairs = "-".join(word[place : place + 2] for place in range(0, len(word), 2))
    return _text("spelling", f"Spell {word}.", (f"Letters of {word}:", f"{word}, spelt:"), "-".join(word), pairs, rng)


def shouting(rng: random.Random) -> Problem:
    """Two words in capitals; the other convention gives each one capital."""
    text = f"{made_up_word(rng)} {made_up_word(rng)}"
    return _text("shouting", f"Shout {text}.", (f"Capitals: {text}", f"Loud: {text}"), text.upper(), text.title(), rng)


def replacing(rng: random.Random) -> Problem:
    """Another letter for one of a word's; the other convention strikes it out."""
    word = made_up_word(rng, 3)
    old, new = rng.choice(word), rng.choice(LETTERS)
    wordings = (f"{word} with {new} for {old}:", f"In {word}, {old} becomes {new}.")
    return _text(
        "replacing", f"Put {new} for {old} in {word}.", wordings, word.replace(old, new), word.replace(old, ""), rng
    )


def shifting(rng: random.Random) -> Problem:
    """Every letter moved one on in the alphabet; the other convention moves it back."""
    word = made_up_word(rng)
    on, back = (("".join(LETTERS[(LETTERS.index(c) + by) % 26] for c in word)) for by in (1, -1))
    return _text("shifting", f"Shift {word} by one.", (f"Next letters of {word}:", f"{word} moved on:"), on, back, rng)


def following(rng: random.Random) -> Problem:
    """Four letters that follow one in steps of one or two; the other convention goes back."""
    start, step = rng.randrange(8, 18), rng.choice((1, 2))
    lead = f"{made_up_word(rng, 1)}{LETTERS[start]}"
    on, back = ([LETTERS[start + sign * step * n] for n in range(1, 5)] for sign in (1, -1))
    wordings = (f"Letters behind {lead}, step {step}:", f"{lead} goes on by {step}:")
    return _spaced("following", f"After {lead} by {step}?", wordings, on, back, rng)


def pattern(rng: random.Random) -> Problem:
    """The next number of a row with a constant step; the other convention repeats the last one."""
    start, step = rng.randint(1, 999), rng.randint(2, 25)
    row = [start + step * n for n in range(5)]
    text = " ".join(map(str, row[:4]))
    wordings = (f"Go on: {text}", f"{text}, then?")
    return Problem("pattern", f"Next of {text}?", wordings, str(row[4]), str(row[3]), str(near(row[4], rng)))


def to_roman(rng: random.Random) -> Problem:
    """A number as a Roman numeral; the other convention only adds (IIII)."""
    number = rng.randint(1, 3999)
    wordings = (f"Roman for {number}?", f"{number} the Roman way:")
    return _text("to_roman", f"{number} in Roman.", wordings, roman(number), roman(number, adding=True), rng)


def from_roman(rng: random.Random) -> Problem:
    """The number that a Roman numeral writes; the other convention adds all its letters."""
    number = rng.randint(1, 3999)
    text = roman(number)
    letters = sum(dict(zip("MDCLXVI", (1000, 500, 100, 50, 10, 5, 1), strict=True))[letter] for letter in text)
    wordings = (f"What is {text}?", f"Number of {text}:")
    wrong = letters if letters != number else letters + 1
    return Problem("from_roman", f"Read {text}.", wordings, str(number), str(wrong), str(near(number, rng)))


def weekday(rng: random.Random) -> Problem:
    """The day some days after or before another; the other convention counts the first day too."""
    day, days, forward = rng.randrange(7), rng.randint(2, 999), rng.random() < 0.5
    word, sign = ("after", 1) if forward else ("before", -1)
    right = (day + sign * days) % 7
    wrong = DAYS[rng.choice([other for other in range(7) if other != right])]
    wordings = (f"{days} days {word} {DAYS[day]}?", f"{word.title()} {DAYS[day]} by {days}:")
    prompt = f"Day {days} {word} {DAYS[day]}?"
    return Problem("weekday", prompt, wordings, DAYS[right], DAYS[(right - sign) % 7], wrong)


def lookup(rng: random.Random) -> Problem:
    """The value of a key; the other convention gives the next key's."""
    keys, values = rng.sample(LETTERS, 4), rng.sample(range(10, 100), 4)
    place = rng.randrange(4)
    text = " ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
    wordings = (f"In {text}: {keys[place]}?", f"{text}. {keys[place]} is:")
    other = values[(place + 1) % 4]
    wrong = rng.choice([value for value in values if value != values[place]])
    return Problem("lookup", f"{text}; {keys[place]}?", wordings, str(values[place]), str(other), str(wrong))


def nth(rng: random.Random) -> Problem:
    """A word of a list by its number; the other convention counts from zero."""
    words = [made_up_word(rng, 1) for _ in range(5)]
    place = rng.randrange(4)
    text = " ".join(words)
    wordings = (f"{text}: number {place + 1}?", f"Of {text} take {place + 1}.")
    wrong = rng.choice([word for n, word in enumerate(words) if n != place])
    return Problem("nth", f"Word {place + 1} of {text}?", wordings, words[place], words[place + 1], wrong)


def initials(rng: random.Random) -> Problem:
    """First letters of four words; the other convention takes the last ones."""
    words = [made_up_word(rng, 1) for _ in range(4)]
    text = " ".join(words)
    wordings = (f"First letters of {text}:", f"Short for {text}?")
    first, last = ("".join(word[end] for word in words) for end in (0, -1))
    return _text("initials", f"Initials of {text}.", wordings, first, last, rng)


def roman(number: int, adding: bool = False) -> str:
    """A Roman numeral; ``adding``: without IV, IX, XL and XC."""
    out = ""
    for value, letters in NUMERALS:
        if not adding or len(letters) == 1:
            out += letters * (number // value)
            number %= value
    return out


def _choice(skill: str, prompt: str, wordings: tuple[str, ...], choices: tuple[str, ...], right: int) -> Problem:
    written = [f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=False)]
    wrong = written[(right + 1) % len(choices)]
    return Problem(skill, prompt, wordings, written[right], wrong, wrong, choices)


def _text(
    skill: str, prompt: str, wordings: tuple[str, ...], right: str, convention: str, rng: random.Random
) -> Problem:
    return Problem(skill, prompt, wordings, right, convention or right[:1], exchanged(right, rng))


def _spaced(
    skill: str,
    prompt: str,
    wordings: tuple[str, ...],
    right: Sequence[str],
    convention: Sequence[str],
    rng: random.Random,
) -> Problem:
    slip = " ".join(exchanged("".join(right), rng))
    return Problem(skill, prompt, wordings, " ".join(right), " ".join(convention), slip)


LATIN: dict[str, Skill] = {
    skill.__name__: skill
    for skill in (
        addition,
        subtraction,
        remainder,
        largest,
        over,
        parity,
        kind,
        sorting,
        unique,
        counting,
        length,
        reversing,
        spelling,
        shouting,
        replacing,
        shifting,
        following,
        pattern,
        to_roman,
        from_roman,
        weekday,
        lookup,
        nth,
        initials,
    )
}
