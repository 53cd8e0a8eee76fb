"""Rows that hold no answer to a question: recognized by their columns, if they have none that a conversation is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autoselection.pool.json_reader import Record
from autoselection.pool.row_kinds.base import Folded, OtherRow, is_text, present
from autoselection.pool.row_kinds.pairs import comparison, transcript

#: Columns that hold an answer or a conversation: a row that has one of them is left to the formats.
ANSWERS = (
    *("messages", "conversations", "conversation", "dialogue", "dialog", "dialogues", "dialogs", "chat", "turns", "message"),
    *("completion", "response", "output", "answer", "solution", "reply", "target", "assistant", "gpt", "bot", "sample"),
    *("generation", "generated_solution", "chosen", "data", "request", "trajectory", "contents"),
)  # fmt: skip
_TEXTS = ("text", "content", "raw_content", "document", "body", "page", "article", "markdown", "sentence")
_QUESTIONS = ("prompt", "question", "query", "problem", "instruction", "input", "messages", "conversations")
_LABELS = ("label", "labels", "class", "sentiment", "intent", "label_text", "stars", "target")
_VERIFIERS = (
    *("ground_truth", "reward_model", "verifier", "reward_fn", "verification_info", "tests", "test_cases", "unit_tests"),
    *("gold_answer", "gold_standard_solution", "final_answer", "reference_answer", "expected_answer"),
)  # fmt: skip
_LISTS = ("completions", "responses", "answers", "candidates", "outputs", "generations")
_ANCHORS = ("query", "anchor", "sentence1", "sentence_1", "premise", "question", "text1")
_POSITIVES = ("pos", "positive", "positives", "positive_passages", "positive_ctxs", "pos_docs")
_NEGATIVES = ("neg", "negative", "negatives", "negative_passages", "hard_negatives", "hard_negative", "negative_ctxs")
_SECONDS = ("sentence2", "sentence_2", "hypothesis", "text2")
OPTIONS = frozenset(("choices", "options"))
_STEPS = ("completions", "steps")
_ASKERS = frozenset(("system", "developer", "user", "human"))
#: What says something about a row and is no text of it.
_ABOUT = frozenset((
    *("id", "uuid", "index", "idx", "source", "data_source", "dataset", "category", "ability", "difficulty", "domain"),
    *("level", "topic", "subject", "split", "type", "language", "lang", "task", "tags", "extra_info", "license", "url"),
    *("system", "title", "name", "headline", "date", "timestamp", "path", "file_path", "repo_name", "author"),
))  # fmt: skip
#: Answers that stand alone.
_ALONE = ("completion", "response", "output", "generation")
#: Words from which on a further column of text is one that may be an answer, such as a summary (count).
_PROSE = 4
#: How a conversation looks that was written out as one text.
_RENDERED = (
    "### Human:",
    "### Instruction:",
    "<|im_start|>",
    "[INST]",
    "<|start_header_id|>",
    "<start_of_turn>",
    "USER:",
    "<|user|>",
    "<|start|>",
    "<|message|>",
)

#: Of a row and its columns by folded name: what is reported of it, if it is of this kind.
Check = Callable[[Record, Folded], "OtherRow | None"]


def _has_list(record: Record, columns: Folded, names: Sequence[str], kinds: Any) -> list[str]:
    return [
        column
        for column in present(record, columns, names)
        if isinstance(value := record[column], list) and value and all(isinstance(item, kinds) for item in value)
    ]


def stepwise(record: Record, columns: Folded) -> OtherRow | None:
    """Steps with a label each: data of process reward models."""
    steps = _has_list(record, columns, _STEPS, (str, dict))
    labels = _has_list(record, columns, ("labels", "label"), (bool, int, float))
    if steps and labels and len(record[steps[0]]) == len(record[labels[0]]):
        hint = (
            "the joined steps of rows whose labels are all true, in a column 'response'; wrong ones would be learnt too"
        )
        return OtherRow("stepwise labels", [steps[0], labels[0]], hint)
    return None


def several_answers(record: Record, columns: Folded) -> OtherRow | None:
    """Several answers to one prompt, ranked or not; or two that are compared."""
    if two := comparison(record, columns):
        hint = "the better answer of each row in a column 'response', or both as 'chosen' and 'rejected'"
        return OtherRow("comparisons of answers", two, hint)
    lists = [column for column in _has_list(record, columns, _LISTS, (str, dict, list)) if len(record[column]) > 1]
    questions = present(record, columns, _QUESTIONS)
    if lists and questions and "tools" not in columns:  # lists of calls are answers
        hint = "the answer to be learnt in a column 'response'"
        return OtherRow("several answers to a prompt", [questions[0], lists[0]], hint)
    return None


def embedding_pairs(record: Record, columns: Folded) -> OtherRow | None:
    """Texts that are near and far: data of embedding models."""
    anchors, near = present(record, columns, _ANCHORS), present(record, columns, _POSITIVES)
    far, second = present(record, columns, _NEGATIVES), present(record, columns, _SECONDS)
    hint = "nothing, for they teach what is similar and hold no answers"
    if near and (anchors or far):
        return OtherRow("embedding pairs", [*anchors[:1], near[0], *far[:1]], hint)
    if anchors and second:
        return OtherRow("sentence pairs", [anchors[0], second[0]], hint)
    return None


def multiple_choice(record: Record, columns: Folded) -> OtherRow | None:
    """Questions with options."""
    questions, options = (
        present(record, columns, ("question", "prompt", "query", "problem")),
        present(record, columns, sorted(OPTIONS)),
    )
    if not questions or not options or not isinstance(record[options[0]], (list, dict)):
        return None
    hint = "answers as text; or, to score subsets by them, `autoselection benchmark multiple_choice`"
    answers = present(record, columns, ("answer",))
    return OtherRow("questions with options", [questions[0], options[0], *answers], hint)


def no_answer(record: Record, columns: Folded) -> OtherRow | None:
    """A prompt without an answer, with or without what would judge one: data of reinforcement learning."""
    questions = [column for column in present(record, columns, _QUESTIONS) if not has_answer(record[column])]
    if not questions:
        return None
    judges = present(record, columns, _VERIFIERS)
    if judges:
        hint = "answers of a model, or whole answers in a column named with --map prompt=…,response=…"
        return OtherRow("prompts without answers", [questions[0], judges[0]], hint)
    if isinstance(record[questions[0]], list) and questions[0] != columns.get("prompt"):
        return None  # turns without an answer: the formats say so
    if _further(record, columns, questions[:1], lambda value: value is None or is_text(value)) or columns.keys() & set(
        ANSWERS
    ) - set(_QUESTIONS):
        return None
    return OtherRow("prompts without answers", questions[:1], "answers of a model")


def answer_alone(record: Record, columns: Folded) -> OtherRow | None:
    """An answer that no column asks for."""
    alone = [column for column in present(record, columns, _ALONE) if is_text(record[column])]
    if len(alone) != 1 or not columns.keys().isdisjoint((*_QUESTIONS, *_TEXTS, *CHATS)):
        return None
    if _further(record, columns, alone, is_text):
        return None
    return OtherRow("answers without a prompt", alone, "`--map prompt=…,response=…` with the column of the questions")


def _further(record: Record, columns: Folded, told: Sequence[str], is_one: Callable[[Any], bool]) -> list[str]:
    """The columns that may be texts of the row besides those that are told."""
    known = {columns[name] for name in columns if name in _ABOUT}
    return [name for name, value in record.items() if name not in (*known, *told) and is_one(value)]


def has_answer(value: Any) -> bool:
    """Whether turns hold an answer; text does not tell, other values are left to the formats."""
    if isinstance(value, str):
        return False
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        return True
    roles = [turn.get("role") or turn.get("from") for turn in value]
    return not all(isinstance(role, str) and role.casefold() in _ASKERS for role in roles)


def plain_text(record: Record, columns: Folded) -> OtherRow | None:
    """Text alone, or text with a class."""
    texts = [column for column in present(record, columns, _TEXTS) if is_text(record[column])]
    if not texts or present(record, columns, _QUESTIONS):
        return None
    column, text = texts[0], record[texts[0]]
    labels = present(record, columns, _LABELS)
    if _further(record, columns, [column, *labels], _is_prose):
        return None  # a summary, a translation: what the text is asked for
    if labels:
        example = f"--map prompt={column},response={labels[0]}"
        hint = (
            f"`{example}`, which teaches the labels as answers"
            if is_text(record[labels[0]])
            else "the labels' names as text, in a column named with --map prompt=…,response=…"
        )
        return OtherRow("texts with a class label", [column, labels[0]], hint)
    if transcript(text) or any(mark in text for mark in _RENDERED[:1]) or _looks_rendered(text):
        hint = (
            "the same as turns (messages with role and content), because the text does not show which parts are answers"
        )
        return OtherRow("conversations written out as one text", [column], hint)
    hint = "nothing, for there is no question and no answer; or two columns named with --map prompt=…,response=…"
    return OtherRow("pre-training text", [column], hint)


def _is_prose(value: Any) -> bool:
    return isinstance(value, str) and len(value.split(maxsplit=_PROSE)) >= _PROSE


def _looks_rendered(text: str) -> bool:
    head = text.lstrip()[:200]
    return any(mark in head for mark in _RENDERED)


_CHECKS: Sequence[Check] = (stepwise, several_answers, embedding_pairs, no_answer, plain_text)
#: Columns of whole conversations.
CHATS = ANSWERS[:10]
_STARTS = frozenset((*_ALONE, *_TEXTS, *_QUESTIONS, *_LISTS, *_STEPS, *_POSITIVES, *_ANCHORS))


def is_asked(columns: Folded) -> bool:
    """Whether a column may hold a question."""
    return not columns.keys().isdisjoint((*_QUESTIONS, *CHATS))


def may_be_other(columns: Folded) -> bool:
    """Whether rows with these columns could be of one of these kinds."""
    return not _STARTS.isdisjoint(columns)


def other_of(record: Record, columns: Folded) -> OtherRow | None:
    """What is reported of a row that has no answer; None if it may be a conversation, or shows nothing of its kind."""
    answers = present(record, columns, ANSWERS)
    if all(column == columns.get("answer") for column in answers) and (found := multiple_choice(record, columns)):
        return found
    if (found := answer_alone(record, columns)) is not None:
        return found
    if any(isinstance(record[column], str) or has_answer(record[column]) for column in answers):
        return None
    return next((found for check in _CHECKS if (found := check(record, columns)) is not None), None)
