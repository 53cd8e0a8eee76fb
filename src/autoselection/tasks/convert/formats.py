"""What one record of each benchmark says: prompt, gold answer, options, rationale.

Every parser raises ``Unusable`` with a short reason for a record that cannot become an item; reasons are counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoselection.tasks import LETTERS, Answer, Metric
from autoselection.tasks.answers import extract_text, extract_yes_no, gold_yes_no
from autoselection.tasks.answers.plain import plain
from autoselection.tasks.convert.golds import (
    FURTHER,
    BeyondOptions,
    Form,
    MissingField,
    Unusable,
    accepted,
    number,
    texts_in,
)
from autoselection.tasks.convert.sources import SourceFile


@dataclass(frozen=True)
class ItemDraft:
    """An item before it has an id.

    Attributes:
        right: index of the right option where there are ``choices``.
        numbered: the source names the right option by its place.
        aliases: further right answers.
        form: how a number was spelled.
        raw: its spelling.
    """

    prompt: str
    answer: str = ""
    choices: tuple[str, ...] = ()
    right: int = -1
    numbered: bool = False
    rationale: str | None = None
    subtask: str | None = None
    source_id: str | None = None
    aliases: tuple[str, ...] = ()
    form: Form = "clear"
    raw: str = ""


Parser = Callable[[Any, SourceFile], ItemDraft]


@dataclass(frozen=True)
class BenchmarkFormat:
    """How a benchmark is published and how it is scored.

    Attributes:
        files: what its public files are called and hold, for people.
        answer: how a generated answer is read.
        metric: the metric that its scores are usually told in; where it has options, the one suggested for the search.
        labels: splits of its files that are meant for another of ours.
        shuffle: options come with the right one first and are shuffled by a seed per item.
        private: its authors ask that its questions stay out of public repositories.
    """

    name: str
    files: str
    parse: Parser
    answer: Answer
    metric: Metric
    labels: Mapping[str, str]
    shuffle: bool = False
    private: bool = False


def _object(record: Any) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise Unusable("not an object")
    return record


def _text(record: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    raise MissingField(f"no {' or '.join(names)}")


def _with_number(draft: ItemDraft, value: Any) -> ItemDraft:
    """The draft with a number, or several accepted ones, as its answer."""
    raw = accepted(value) if isinstance(value, (list, Mapping)) else (value,)
    read = [number(one) for one in raw]
    forms = [form for _, form in read]
    telling: tuple[Form, ...] = ("decimal comma", "ambiguous")
    form: Form = next((form for form in telling if form in forms), "clear")
    answers = list(dict.fromkeys(text for text, _ in read))
    shown = next((str(one) for one, (_, own) in zip(raw, read, strict=True) if own == form), "")
    return replace(draft, answer=answers[0], aliases=tuple(answers[1:]), form=form, raw=shown)


def _yes_no(text: str, read: Callable[[str], str | None] = gold_yes_no) -> str:
    found = read(text)
    if found is None:
        raise Unusable("the answer is not yes or no", text)
    return found


def _gsm8k(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    worked, separator, result = _text(entry, "answer").rpartition("####")
    if not separator:
        raise Unusable("no '####' in the answer")
    # <<48/2=24>> are notes for a calculator
    rationale = re.sub(r"<<[^<>]*>>", "", worked).strip()
    return _with_number(ItemDraft(_text(entry, "question"), rationale=rationale or None), result)


def _choice(
    prompt: str,
    choices: Sequence[str],
    right: int,
    *,
    named: Any = None,
    subtask: str | None = None,
    source_id: Any = None,
) -> ItemDraft:
    if not prompt:
        raise MissingField("no question")
    if not all(choice is None or isinstance(choice, (str, int, float)) for choice in choices):
        raise Unusable("an option is neither text nor a number")
    options = tuple("" if choice is None else str(choice).strip() for choice in choices)
    if not options:
        raise MissingField("no choices")
    if len(options) < 2 or not all(options):
        raise Unusable("fewer than two options, or an empty one")
    if len(set(options)) < len(options):
        raise Unusable("two options are the same")
    if len(options) > len(LETTERS):
        raise Unusable(f"more than {len(LETTERS)} options")
    if not 0 <= right < len(options):
        raise Unusable("the answer is none of the options", named)
    name = None if source_id is None else str(source_id)
    return ItemDraft(prompt, choices=options, right=right, subtask=subtask, source_id=name)


def _mmlu(record: Any, file: SourceFile) -> ItemDraft:
    if isinstance(record, list):
        if len(record) < 4:
            raise Unusable("a row with fewer than four cells")
        prompt, *choices, letter = (str(cell).strip() for cell in record)
        return _choice(prompt, choices, _letter(letter), named=letter, subtask=file.topic)
    entry = _object(record)
    right = entry.get("answer", entry.get("target"))
    draft = _chosen(_text(entry, "question", "input"), _listed(entry.get("choices") or _lettered(entry)), right)
    return replace(draft, subtask=str(entry.get("subject") or file.topic))


def _chosen(prompt: str, choices: Any, answer: Any) -> ItemDraft:
    """An item of options in any form, its right one named in any way."""
    labels, texts = _labels_and_texts(choices)
    if isinstance(answer, list):
        if len(answer) != 1:
            raise Unusable("several right options, or none")
        answer = answer[0]
    right = _position(answer, texts, labels)
    numbered = _labelled_as(answer, labels) is None and _place(answer) == right
    if numbered and right == len(texts) > 1:
        raise BeyondOptions("the answer is none of the options", answer)
    return replace(_choice(prompt, texts, right, named=answer), numbered=numbered)


def _labels_and_texts(choices: Any) -> tuple[Sequence[str], Sequence[Any]]:
    """Options with their labels: ``{"label": […], "text": […]}``, a list of such pairs, an object by label, or a plain list."""
    if isinstance(choices, Mapping) and isinstance(choices.get("text"), list):
        labels, texts = choices.get("label") or [], choices["text"]
        if not isinstance(labels, list) or (labels and len(labels) != len(texts)):
            raise Unusable("not as many labels as options")
    elif isinstance(choices, Mapping):
        labels, texts = list(choices), list(choices.values())
    elif (
        isinstance(choices, list)
        and choices
        and all(isinstance(choice, Mapping) and "text" in choice for choice in choices)
    ):
        labels, texts = [choice.get("label") for choice in choices], [choice["text"] for choice in choices]
    elif isinstance(choices, list):
        labels, texts = [], choices
    else:
        raise MissingField("no choices")
    return [] if None in labels else [str(label).strip() for label in labels], texts


def _place(answer: Any) -> int | None:
    """The whole number that an answer is, or is written as; of a table in which some rows have none, a float."""
    if isinstance(answer, bool):
        return None
    if isinstance(answer, float):
        return int(answer) if answer.is_integer() else None
    if isinstance(answer, int):
        return answer
    text = re.sub(r"\.0+$", "", str(answer).strip())
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_PLACE else None


#: A number of more digits names no option.
_LONGEST_PLACE = 4


def _bare(name: Any) -> str:
    """A letter or label without its case, its width, brackets and full stop: ``(b)`` is B."""
    return plain(str(name)).strip("()[].: ").upper()


def _letter(name: str) -> int:
    """The place of an option that a letter names; -1 if it is none."""
    letter = _bare(name)
    return LETTERS.index(letter) if len(letter) == 1 and letter in LETTERS else -1


def _labelled_as(answer: Any, labels: Sequence[str]) -> int | None:
    """The place of the label that an answer is, spelled in any way; None if it is none."""
    number = _place(answer)
    for names in (str(answer).strip(), "" if number is None else str(number)):
        if names and names in labels:
            return list(labels).index(names)
    own, bare = _bare(answer), [_bare(label) for label in labels]
    return bare.index(own) if own and bare.count(own) == 1 else None


_BY_LABEL = 'give the options labels ({"A": …, "B": …}) and name the right one by its label, written just so'


def _position(answer: Any, choices: Sequence[Any], labels: Sequence[str] = ()) -> int:
    """Index of the right option: given as a label, an index, a letter, or the option's own text; -1 if it is none.

    Numbers are texts too: among the options 2, 3, 4 and 5, the answer 2 may be the first one or the third. Only a label that
    is written just so goes before the texts.
    """
    if isinstance(answer, bool) or answer is None:
        return -1
    number, text = _place(answer), str(answer).strip()
    exact = text if number is None or isinstance(answer, str) else str(number)
    if exact in labels:
        return list(labels).index(exact)
    place = _labelled_as(answer, labels)
    if place is None:
        place = _letter(text) if number is None else number
    said = [
        index
        for index, choice in enumerate(choices)
        if str(choice).strip() == text or (number is not None and _place(choice) == number)
    ]
    if not said:
        return place
    if 0 <= place < len(choices) and place not in said:
        remedy = "name the right option by its letter" if number is not None else _BY_LABEL
        raise Unusable("the answer could be an option's text or its place", answer, remedy)
    return place if place in said else said[0]


def _bbh(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    if "worked" in entry:
        answer = extract_text(entry["worked"])
        found = re.search(re.escape(answer), entry["worked"], re.IGNORECASE) if answer else None
        if found is None:
            raise Unusable("a worked example without an answer")
        written = re.findall(re.escape(answer), entry["worked"], re.IGNORECASE)[-1]
        return ItemDraft(entry["question"], written, rationale=entry["worked"], subtask=file.topic)
    return ItemDraft(_text(entry, "input"), _text(entry, "target"), subtask=file.topic)


_GPQA_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _gpqa(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    choices = [_text(entry, name) for name in ("Correct Answer", *_GPQA_WRONG)]
    subtask = entry.get("High-level domain") or entry.get("Subdomain")
    return _choice(
        _text(entry, "Question"), choices, 0, subtask=subtask or None, source_id=entry.get("Record ID") or None
    )


def _nlgraph(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    answer = _text(entry, "answer")
    # whole sentences: "There is a path."
    return ItemDraft(_text(entry, "question"), _yes_no(answer, extract_yes_no), rationale=answer, subtask=file.topic)


def _graphwiz(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    worked, _, answer = _text(entry, "answer").rpartition("###")
    if not re.fullmatch(r"(?:yes|no)\b.{0,3}", answer.strip(), re.IGNORECASE | re.DOTALL):
        raise Unusable("the answer is not yes or no")
    task = entry.get("task")
    return ItemDraft(
        _text(entry, "input_prompt", "query"),
        _yes_no(answer, extract_yes_no),
        rationale=worked.strip() or None,
        subtask=task if isinstance(task, str) and task else file.topic,
    )


def _labelled(record: Any, file: SourceFile) -> ItemDraft:
    """CommonsenseQA and ARC: a stem, labelled choices, ``answerKey``; as published, or as data sets hold them."""
    entry = _object(record)
    question = entry.get("question")
    stem, choices = question, entry.get("choices")
    if isinstance(question, Mapping):
        stem, choices = question.get("stem"), question.get("choices")
    labels, texts = _labels_and_texts(choices)
    if not labels:
        raise MissingField("no labelled choices")
    if not isinstance(stem, str) or not stem.strip():
        raise MissingField("no question")
    key = entry.get("answerKey")
    if not key:
        raise MissingField("no answerKey (an unlabelled test file)")
    right = _labelled_as(key, labels)
    return _choice(stem.strip(), texts, -1 if right is None else right, named=key, source_id=entry.get("id"))


def _svamp(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    body, question = _text(entry, "Body", "body"), _text(entry, "Question", "question")
    prompt = f"{body}{'' if body.endswith(('.', '?', '!')) else '.'} {question}"
    subtask = entry.get("Type") or entry.get("type")
    draft = ItemDraft(
        prompt,
        subtask=str(subtask) if subtask else None,
        source_id=str(entry["ID"]) if entry.get("ID") else None,
    )
    return _with_number(draft, entry.get("Answer", entry.get("answer", "")))


_QUESTION = ("question", "prompt", "input", "query")
#: What a question is about, where it stands in a column of its own.
_PASSAGE = ("passage", "context", "article")


def _asked(entry: Mapping[str, Any]) -> str:
    """The question, behind the passage that it is about."""
    question = _text(entry, *_QUESTION)
    for name in _PASSAGE:
        passage = entry.get(name)
        if isinstance(passage, str):  # a cell of a table may hold a list
            passage = [] if passage.strip() == "[]" else texts_in(passage) or passage
        if isinstance(passage, list) and all(isinstance(part, str) for part in passage):
            passage = "\n".join(passage)
        if isinstance(passage, (list, Mapping)) and passage:
            raise Unusable(f"the {name} is neither text nor a list of texts")
        if isinstance(passage, str) and passage.strip():
            return question if passage.strip() in question else f"{passage.strip()}\n\n{question}"
    return question


def _answer(entry: Mapping[str, Any]) -> Any:
    for name in ("answer", "answers", "target", "targets", "label", "output"):
        if entry.get(name) is not None:
            return entry[name]
    raise MissingField("no answer or target")


def _answers(entry: Mapping[str, Any]) -> Any:
    """The answer, with the further ones that other fields hold."""
    further = [entry[field] for field in FURTHER if entry.get(field)]
    return [_answer(entry), *further] if further else _answer(entry)


def _common(entry: Mapping[str, Any], answer: str) -> ItemDraft:
    named = {name: entry.get(name) for name in ("rationale", "subtask", "id")}
    return ItemDraft(
        _asked(entry),
        answer,
        rationale=str(named["rationale"]) if named["rationale"] else None,
        subtask=str(named["subtask"]) if named["subtask"] else None,
        source_id=str(named["id"]) if named["id"] is not None else None,
    )


def _listed(choices: Any) -> Any:
    """Options that a cell of a table holds as JSON."""
    if not isinstance(choices, str):
        return choices
    try:
        return json.loads(choices)
    except (ValueError, RecursionError):
        raise Unusable(
            "the choices are text, not a JSON list",
            remedy='write the choices as a JSON list (["x", "y"]), or each in a column of its own (A, B, …)',
        ) from None


def _lettered(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Options in columns of their own: A, B, C, … (empty ones at the end are none)."""
    cells = [entry.get(letter, entry.get(letter.lower())) for letter in LETTERS]
    count = max((place for place, cell in enumerate(cells, start=1) if cell not in (None, "")), default=0)
    return {letter: "" if cell is None else cell for letter, cell in zip(LETTERS[:count], cells, strict=False)}


def _multiple_choice(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    choices = _listed(entry.get("choices") or entry.get("options") or _lettered(entry))
    common = _common(entry, "")
    draft = _chosen(common.prompt, choices, _answer(entry))
    return replace(draft, subtask=common.subtask, source_id=common.source_id, rationale=common.rationale)


def _number(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    return _with_number(_common(entry, ""), _answers(entry))


def _short_answer(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    answer, *aliases = accepted(_answers(entry))
    return replace(_common(entry, answer), aliases=tuple(aliases))


def _yes_no_item(record: Any, file: SourceFile) -> ItemDraft:
    entry = _object(record)
    said = {_yes_no(answer) for answer in accepted(_answers(entry))}
    if len(said) > 1:
        raise Unusable("the answer is yes and no")
    return _common(entry, said.pop())


_NONE: Mapping[str, str] = {}

BENCHMARKS: dict[str, BenchmarkFormat] = {
    entry.name: entry
    for entry in (
        BenchmarkFormat("gpqa", "gpqa_main.csv or another of its CSV files", _gpqa, "choice", "accuracy", _NONE, shuffle=True, private=True),
        BenchmarkFormat("gsm8k", "train.jsonl and test.jsonl: question, answer with ####", _gsm8k, "number", "exact_match", _NONE),
        BenchmarkFormat("bbh", "the folder bbh/ (JSON files of input, target) and cot-prompts/ for worked target items", _bbh, "auto", "exact_match", _NONE),
        BenchmarkFormat("mmlu", "the folder data/ (dev, val, test: headless CSV), or data-set rows", _mmlu, "choice", "accuracy", {"dev": "target", "validation": "dev"}),
        BenchmarkFormat("graphwiz", "JSON lines: input_prompt or query, answer ending in '### Yes'", _graphwiz, "yes_no", "exact_match", _NONE),
        BenchmarkFormat("nlgraph", "TASK/{main,train,test}.json: numbered objects of question, answer", _nlgraph, "yes_no", "exact_match", _NONE),
        BenchmarkFormat("commonsenseqa", "JSON lines: question.stem, question.choices, answerKey, or data-set rows", _labelled, "choice", "accuracy", _NONE),
        BenchmarkFormat("arc", "JSON lines as CommonsenseQA's, labels A-D or 1-4", _labelled, "choice", "accuracy", _NONE),
        BenchmarkFormat("svamp", "SVAMP.json: Body, Question, Answer", _svamp, "number", "exact_match", _NONE),
        BenchmarkFormat("multiple_choice", "question, choices (list or labelled; in tables JSON, or columns A, B, …), answer (label, index or text)", _multiple_choice, "choice", "accuracy", _NONE),
        BenchmarkFormat("number", "question, answer: a number", _number, "number", "exact_match", _NONE),
        BenchmarkFormat("short_answer", "question, answer: a word or phrase", _short_answer, "text", "exact_match", _NONE),
        BenchmarkFormat("yes_no", "question, answer: yes, no, true or false", _yes_no_item, "yes_no", "exact_match", _NONE),
    )
}  # fmt: skip
