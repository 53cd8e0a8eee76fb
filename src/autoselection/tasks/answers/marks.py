"""Where a text marks its answer: boxes, answer tags, clauses behind a cue in many languages, bold text."""

from __future__ import annotations

import re
from typing import Final

from autoselection.tasks.answers.plain import lines_of

_MOST_MARKS = 20
#: How far behind a cue an answer is looked for (characters).
_REACH = 400

#: Latin letters and digits: other scripts write no blank between a word and a letter or a number.
LATIN = "A-Za-z0-9_\u00c0-\u024f"


class Several:
    """Two answers at once."""


SEVERAL: Final = Several()

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|(?=\s*(?:\d|[A-Z]\b)))")
_TAG = re.compile(
    r"<\s*(answer|final[_ ]?answer|final|solution|result|response|ans)\b[^<>]*>(.*?)"
    r"(?:<\s*/\s*\1\s*>|(?=<\s*(?:answer|final[_ ]?answer)\b)|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_AFTER = rf"(?![{LATIN}'])"
#: Nouns that mean "answer", and the verbs behind them, by language.
_NOUNS = (
    (
        r"answer(?:\s+(?:option|choice|letter))?|(?:correct|right|best|final)\s+(?:option|choice|letter)"
        r"|my\s+(?:final\s+)?(?:choice|pick)",
        r"is|are|was|would\s+be|will\s+be|should\s+be|must\s+be|has\s+to\s+be|becomes|equals",
    ),
    (r"antwort(?:option|möglichkeit)?|ergebnis|(?:richtige|korrekte)\s+option", r"ist|lautet|wäre|muss"),
    (r"réponse|résultat|(?:bonne\s+)?option(?=\s+correcte)|bonne\s+option", r"est|sera|serait"),
    (r"respuesta|resultado|(?:opción|alternativa)(?=\s+correcta)", r"es|sería|será"),
    (r"resposta|(?:opção|alternativa)(?=\s+correta)", r"é|seria|será"),
    (r"risposta|risultato|opzione(?=\s+corretta)", r"è|sarebbe|sarà"),
    (r"antwoord", r"is"),
    (r"odpowied[źz]|odpověď|odpoveď", r"to(?:\s+(?:jest|je))?|je|jest|brzmi|zní"),
    (r"svar(?:et|en)?|vastaus", r"är|er|on"),
    (r"cevap|cevab[ıi]|yan[ıi]t", r"olarak"),
    (r"đáp\s+án|câu\s+trả\s+lời", r"là"),
    (r"jawaban(?:nya)?", r"adalah"),
    (r"răspuns(?:ul)?", r"este|e"),
    (r"válasz", r"az?"),
    (r"ответ(?:ом)?|відповідь|отговор|одговор|απάντηση", r"является|это|—|-(?=\s)|είναι|є|е"),
)
#: What heads a whole solution too: a mark only in front of a short rest of the line.
_HEADS = r"(?:ans|solution|lösung|solución|soluzione|correct|richtig|final)\s*:(?=[^\n]{1,25}$)"
_ADJECTIVES = (
    r"(?:\s+(?:correcta|correcte|correto|correta|corretta|exacte|exacta|finale?|final|juste|poprawna|benar|yang\s+benar"
    r"|đúng|corect))?"
)
_ASIDE = (
    r"(?:\s*\([^()\n]{0,40}\)|\s+(?:to|for|of|among|amongst|from|out\s+of|zu|auf|à|pour|de|a|para)\s[^.:;=\n]{0,60}?"
    r"|\s+that\s+(?:best\s+)?(?:fits|matches|satisfies|describes|explains|completes)\b[^.:;=\n]{0,60}?)?"
)
_LATIN_CUES = "|".join(
    rf"(?:{nouns}){_ADJECTIVES}{_AFTER}[\"'`]?{_ASIDE}\s*(?:(?<![{LATIN}])(?:{verbs}){_AFTER}\s*:?|:|=|→|->)"
    for nouns, verbs in _NOUNS
)
#: "A... no wait, B": a mark only in front of an answer and nothing else.
_CORRECTION = (
    r"(?:no,?\s+wait|wait,?\s+no|scratch\s+that|correction|i\s+mean|or\s+rather)\s*[,.:;-]*"
    r"(?=\s*(?:(?:it's|it\s+is|the\s+answer\s+is|option)\s+)?[\"'(*$]*(?:[A-Z]|-?[$€£]?\d[\d.,]*%?)[)\"'*]*\s*[.!]?\s*$)"
)
#: Scripts that write no blank behind a word.
_NOT = r"(?!\s*(?:是|为|は|은|는)?\s*(?:不|并非|並非|ではな|じゃな|아니))"
_JOINED_CUES = (
    r"(?:答案|答え|答(?=\s*:)|解答|回答|正解|정답|답|उत्तर|الجواب|الإجابة|ה?תשובה|คำตอบ)\s*"
    rf"(?:(?:应该|應該|应|應|就)?(?:是|为|為|选|選)|は|은|는|הוא|היא|คือ|هو|هي)?\s*[:=]?{_NOT}"
)
_CHOOSE = (
    r"(?<!不)(?<!不能)(?<!不应)(?<!不應)(?<!不该)(?<!不可)(?<!别)(?<!没)(?:选择|選擇|选|選)\s*(?:项|項)?\s*[:=]?"
    r"(?=\s*[\"'(\[]?[A-Za-z](?![A-Za-z]))"
)
#: An answer and nothing else in its line.
_ALONE = (
    r"[\"'(*$\[]*(?:[A-Za-z]|[-+]?[$€£]?\d[\d.,/]*(?:\s?%)?|yes|no|true|false)[)\"'\]*$]*[ \t]*[.!]?[)\"'\]*]*[ \t]*$"
)
#: Words that open a text which goes on to another answer.
_SECOND_THOUGHTS = (
    r"(?:wait|hmm|hold\s+on|actually|however|but|on\s+(?:second\s+thought|reflection)|correction|oops|sorry)\b"
)
#: A letter and its option, in a line that names no other letter so.
_OPTION = r"[(\[]?[A-Za-z][).:\]]+[ \t](?![^\n]*(?<![^\s(\[])[A-Z][)\]:.])[^\n]*$"
#: Labels that stand in front of other things too: an option that is looked at, a result on the way. At the beginning of a
#: line one is a mark in front of an answer that ends the text, and of an answer alone that begins it, its reasons below.
_LABEL = (
    r"(?:(?:my|the|final|correct|best|selected|chosen)[ \t]+){0,2}(?:option|choice|response|result|selection|selected|pick"
    r"|opción|opção|alternativa|auswahl|wahl|choix|elección|escolha|scelta)\s*:"
    r"|(?:我的|正确|正確|最终|最終)?(?:选项|選項|选择|選擇)\s*:|ans\b\.?[ \t]*:?"
)
_LABELS = (
    rf"^[ \t>*•#-]*(?:{_LABEL})(?=\s*(?:{_ALONE}|{_OPTION})\W*\Z)"
    rf"|\A[\s>*•#-]*(?:{_LABEL})(?=\s*{_ALONE}\s*\n\s*\n(?!\s*{_SECOND_THOUGHTS})(?!(?s:.*)^[ \t>*•#-]*(?:{_LABEL})))"
)
#: "The answer's B."
_SHORT_IS = r"answer's(?=\s+[\"'(*$\[]*(?-i:[A-Z\d$€£-]|(?:yes|no|true|false)\b))"
#: A heading has no answer; it is one if it is the last line, or holds an answer alone. Four hashes mark one anywhere.
_HASHES = rf"#{{4,}}(?=\s)|#{{2,3}}(?=[ \t]+(?:{_ALONE}|[^\n]*\S\s*\Z))"
#: "### Final Answer" as a line of its own: a mark only in front of a short line that stands alone.
_HEADING = (
    r"[# \t]*(?:(?:the|my|final|correct|short)[ \t]+){0,2}(?:answer|antwort|réponse|respuesta|resposta|risposta|antwoord|ответ)"
    r"(?:[ \t]+finale?)?[ \t]*\n(?=\s*[^\s#][^\n]{0,24}(?:\n\s*[\n#]|\s*\Z))"
)
_CUE = re.compile(
    rf"(?<![{LATIN}])(?:{_LATIN_CUES}|{_HEADS}|{_CORRECTION}|{_SHORT_IS})|{_LABELS}|^[ \t]*(?:{_HASHES})|^{_HEADING}|{_JOINED_CUES}|{_CHOOSE}",
    re.IGNORECASE | re.MULTILINE,
)
_CLAUSE_END = re.compile(r"(?:[.?;]|(?<!\d)!)(?=[\s\"'*)\]]|$)|[。\n]")
#: A dash that begins a line is a bullet, no minus, if a blank stands behind it.
_BULLET = re.compile(r"^\s*\n\s*[-•*]\s+")
_BOLD_SIGNS = re.compile(r"(?<![A-Za-z0-9)\]}])\*\*|\*\*(?![A-Za-z0-9(-])|(?<!\w)__|__(?!\w)")
_BOLD = re.compile(
    r"(?<![A-Za-z0-9)\]}])\*\*([^*\n]+?)\*\*|(?<!\w)__([^_\n]+?)__|<(?:b|strong)>([^<\n]+?)</", re.IGNORECASE
)
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|normal)?|math(?:rm|bf|it|sf|tt)|mbox|emph|underline|operatorname)\s*\{([^{}]*)\}"
)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:not sure|unable|sorry)|i (?:cannot|can't|can not|do not know|don't know|could not|couldn't)"
    r"|as an ai\b|(?:cannot|can't|can not) be (?:determined|answered)|not enough information|insufficient information"
    r"|unable to (?:answer|determine|say)|(?:impossible|hard) to (?:say|tell|determine))",
    re.IGNORECASE,
)


def boxed(text: str) -> list[str]:
    """Contents of the boxes, last first; a box that is never closed ends with the text."""
    contents = []
    for match in list(_BOX.finditer(text))[-_MOST_MARKS:]:
        if not match.group().endswith("{"):  # \boxed 5
            contents.append(re.match(r"\s*(\d+|[A-Z])", text[match.end() :]).group(1))  # type: ignore[union-attr]
            continue
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        contents.append(text[match.end() : end - (depth == 0)].strip(" $"))
    return contents[::-1]


def unwrapped(fragment: str) -> str:
    r"""The words of ``\text{…}`` and its like as plain words."""
    return _WRAPPER.sub(r"\1", fragment)


def gold_words(gold: str) -> str:
    r"""A gold answer of words as they are read in a text: ``$\text{Evelyn}$`` is Evelyn."""
    words = unwrapped(gold).strip()
    if words == gold.strip():
        return gold
    return words.strip("$ ") if re.fullmatch(r"\$[^$]*\$", words) else words


def tagged(text: str) -> list[str]:
    """Contents of ``<answer>…</answer>`` and its like, last first; a tag that is never closed ends with the text."""
    found = [match.group(2).strip() for match in _TAG.finditer(text)]
    return found[-_MOST_MARKS:][::-1]


def clauses(text: str) -> list[str]:
    """The clauses behind the cues, last first."""
    return [_CLAUSE_END.split(rest, maxsplit=1)[0].strip() for rest in _behind_cues(text)]


def clause_endings(text: str) -> list[str]:
    """The clause behind the last cue that has one, up to each sign in its line that may end it, shortest first."""
    for rest in _behind_cues(text):
        line = rest.partition("\n")[0]
        endings = [line[: end.start()].strip() for end in _CLAUSE_END.finditer(line)] + [line.strip()]
        if endings[0]:
            return endings
    return []


def _behind_cues(text: str) -> list[str]:
    """What stands behind the cues, last first; the answer may stand in the next line."""
    text = without_bold(text)
    found = list(_CUE.finditer(text))[-_MOST_MARKS:][::-1]
    rests = [unwrapped(text[cue.end() : cue.end() + _REACH]).lstrip(" \t:*\"'") for cue in found]
    return [_BULLET.sub("", rest).lstrip() for rest in rests]


def without_bold(text: str) -> str:
    """The text without its signs of bold."""
    return _BOLD_SIGNS.sub("", text)


def bold(text: str) -> list[str]:
    """Bold text of the last line, last first; headings ("Answer:") are none."""
    lines = lines_of(text)
    spans = [next(filter(None, groups)) for groups in _BOLD.findall(lines[-1])] if lines else []
    return [span.strip() for span in spans if not span.strip().endswith(":")][::-1]


def refuses(text: str) -> bool:
    """Whether the text says that it gives no answer."""
    return _REFUSAL.search(text) is not None
