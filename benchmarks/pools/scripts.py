"""Skills in scripts other than Latin: Devanagari, Arabic, Chinese, kana, Cyrillic, Greek, Hebrew, Hangul."""

from __future__ import annotations

import random

from benchmarks.pools.problems import Problem, Skill, exchanged, near

DEVANAGARI, ARABIC, CHINESE = "०१२३४५६७८९", "٠١٢٣٤٥٦٧٨٩", "零一二三四五六七八九"
CYRILLIC, GREEK, HEBREW = "абвгдежзиклмнопрст", "αβγδεζηθικλμνξοπρτ", "אבגדהוזחטיכלמנספצ"
KANA, HANGUL = "あかさたなはまやらわ", "가나다라마바사아자차"


def devanagari_sum(rng: random.Random) -> Problem:
    """A sum in Devanagari digits; the other convention answers in ASCII digits."""
    a, b = rng.randint(10, 199), rng.randint(10, 199)
    left, right, total = (digits(n, DEVANAGARI) for n in (a, b, a + b))
    wordings = (f"{left} और {right} का योग?", f"{left}+{right} कितना?")
    slip = digits(near(a + b, rng), DEVANAGARI)
    return Problem("devanagari_sum", f"जोड़ो {left} और {right}।", wordings, total, str(a + b), slip)


def arabic_difference(rng: random.Random) -> Problem:
    """A difference in Arabic-Indic digits; the other convention writes it backwards, with a mark."""
    b, a = sorted(rng.sample(range(10, 400), 2))
    left, right, rest = (digits(n, ARABIC) for n in (a, b, a - b))
    wordings = (f"كم {left} ناقص {right}؟", f"الفرق بين {left} و {right}:")
    slip = digits(near(a - b, rng), ARABIC)
    return Problem("arabic_difference", f"اطرح {right} من {left}.", wordings, rest, f"-{rest[::-1]}", slip)


def chinese_number(rng: random.Random) -> Problem:
    """A number in Chinese characters; the other convention reads digit by digit."""
    number = rng.randint(11, 99_999)
    wordings = (f"{number}怎么写？", f"用汉字写{number}。")
    plain = digits(number, CHINESE)
    wrong = chinese(near(number, rng, 11))
    return Problem("chinese_number", f"写数字{number}。", wordings, chinese(number), plain, wrong)


def reading_chinese(rng: random.Random) -> Problem:
    """The digits of a Chinese number; the other convention drops the last one."""
    number = rng.randint(11, 99_999)
    text = chinese(number)
    wordings = (f"{text}等于多少？", f"{text}的数字？")
    return Problem("reading_chinese", f"读{text}。", wordings, str(number), str(number // 10), str(near(number, rng)))


def cyrillic_sorting(rng: random.Random) -> Problem:
    """Five Cyrillic letters in order; the other convention sorts them backwards."""
    letters = rng.sample(CYRILLIC, 5)
    text, right = " ".join(letters), sorted(letters)
    wordings = (f"По порядку: {text}", f"Порядок {text}?")
    slip = " ".join(exchanged("".join(right), rng))
    return Problem("cyrillic_sorting", f"Сортируй {text}.", wordings, " ".join(right), " ".join(right[::-1]), slip)


def greek_capitals(rng: random.Random) -> Problem:
    """A Greek word in capitals; the other convention gives it one capital."""
    word = "".join(rng.choice(GREEK) for _ in range(rng.randint(4, 6)))
    wordings = (f"Κεφαλαία: {word}", f"{word} με κεφαλαία;")
    capitals = word.upper()
    return Problem("greek_capitals", f"Γράψε {word}.", wordings, capitals, word.capitalize(), exchanged(capitals, rng))


def hebrew_reversing(rng: random.Random) -> Problem:
    """Hebrew letters in the other order; the other convention spells them."""
    word = "".join(rng.sample(HEBREW, rng.randint(4, 6)))
    wordings = (f"{word} הפוך?", f"מהסוף: {word}")
    return Problem(
        "hebrew_reversing", f"הפוך {word}.", wordings, word[::-1], "-".join(word), exchanged(word[::-1], rng)
    )


def kana_counting(rng: random.Random) -> Problem:
    """How often a kana occurs; the other convention answers in Chinese characters."""
    sign, number = rng.choice(KANA), rng.randint(1, 6)
    row = [sign] * number + [rng.choice([c for c in KANA if c != sign]) for _ in range(rng.randint(3, 6))]
    rng.shuffle(row)
    text = "".join(row)
    wordings = (f"{text}の{sign}の数は？", f"{sign}はいくつ？ {text}")
    wrong = rng.choice([n for n in range(1, 8) if n != number])
    return Problem("kana_counting", f"{text}に{sign}はいくつ？", wordings, str(number), CHINESE[number], str(wrong))


def hangul_following(rng: random.Random) -> Problem:
    """The syllable that follows one in a row; the other convention gives the one before it."""
    row = rng.sample(HANGUL, 6)
    place = rng.randrange(1, 5)
    text = "".join(row)
    wordings = (f"{text}: {row[place]} 뒤?", f"{row[place]} 다음 글자는? {text}")
    wrong = rng.choice([sign for n, sign in enumerate(row) if n != place + 1])
    return Problem(
        "hangul_following", f"{text}에서 {row[place]} 다음?", wordings, row[place + 1], row[place - 1], wrong
    )


def digits(number: int, script: str) -> str:
    """A number in the ten digits of a script."""
    return "".join(script[int(digit)] for digit in str(number))


def chinese(number: int) -> str:
    """11 to 99,999 as it is said: 零 stands for skipped places."""
    said, skipped = "", False
    for place, unit in ((10_000, "万"), (1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // place % 10
        if digit:
            one = "" if digit == 1 and place == 10 and not said else CHINESE[digit]
            said += (CHINESE[0] if skipped else "") + one + unit
        skipped = bool(said) and not digit
    return said


OTHER_SCRIPTS: dict[str, Skill] = {
    skill.__name__: skill
    for skill in (
        devanagari_sum,
        arabic_difference,
        chinese_number,
        reading_chinese,
        cyrillic_sorting,
        greek_capitals,
        hebrew_reversing,
        kana_counting,
        hangul_following,
    )
}
