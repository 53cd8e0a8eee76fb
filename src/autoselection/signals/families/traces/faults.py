"""What is wrong with a row as a trace of tools and reasoning: one count a kind, and what the row consists of."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from autoselection.conversation import Conversation
from autoselection.signals.families.traces.markup import Call, says_something
from autoselection.signals.families.traces.refusal import composed, is_error, is_refusal
from autoselection.signals.families.traces.rows import Declared, Result, Turn, declared_by, turns_of
from autoselection.signals.families.traces.tool_schema import UncheckableError, canonical, spelled

#: The kinds of faults, by the column that counts each.
FAULTS = (
    "fault_arguments",
    "fault_undeclared_tool",
    "fault_unpaired",
    "fault_repeated_call",
    "fault_reasoning",
    "fault_hidden_answer",
    "fault_refusal",
    "fault_last_turn",
    "fault_turn_order",
)
#: Malformed declarations of tools: no fault of the trace, and not part of the total.
BAD_SCHEMAS = "bad_tool_schemas"

#: What a row consists of, by column.
CONTENTS = ("n_calls", "n_tool_results", "n_tools", "n_reasoning_characters", "reasoning_share")
#: The column that names the set of tools that a row calls, see :func:`set_of_tools`.
TOOL_NAMES = "tool_names"

#: A stretch of calls that were all made before, with the same results, is going round in circles from this length on.
_CIRCLE = 3
_AGAIN_AND_AGAIN = 5
#: What states an answer, in the last two sentences of reasoning.
_STATES_ANSWER = re.compile(
    r"\\(?:boxed|fbox)|<answer>|\banswer|\bfinal\b|\b(?:so|therefore|thus|hence|overall|in (?:conclusion|summary)|finally|in short)\b[^\n?]{0,120}?(?:\bis\b|\bare\b|=|\bequals?\b|\bgives?\b|\bget\b|\bhave\b)|"
    r"\b(?:the )?(?:result|solution|output|conclusion)\b[^\n.?]{0,20}?(?:\bis\b|[:=])|"
    r"antwort|lösung|ergebnis|réponse|respuesta|resposta|risposta|antwoord|odpowiedź|ответ|результат|答案|答え|回答|结果|結果|정답|답은|답:|الجواب|الإجابة|उत्तर|คำตอบ|cevap|đáp án|jawaban|=\s*\S{1,30}\s*$",
    re.IGNORECASE,
)
#: How a sentence begins that goes on thinking.
_GOES_ON = re.compile(
    r"(?:let me|let's|let us|wait|hmm+|hold on|first(?:ly)?\b|next\b|now\b|to (?:do|answer|solve|find|get|check|start)\b|i (?:need|should|must|have to|want|could|can|might|may|will (?:need|first|start|look|check|try|use|call)|am going to|wonder)\b|"
    r"i'll (?:need|first|start|look|check|try|use|call|think)\b|i'm not sure|not sure|maybe|perhaps|alternatively|but\b|however|actually|on the other hand|we (?:need|should|must|could|can|might|have to)\b|the (?:first|next) step|step \d|start(?:ing)? (?:by|with)|"
    r"\d+[.)]\s*$|[-*]\s*$|嗯|让我|我需要|我应该|我得|等等|不对|再|首先|接下来|然后|还需要|可能|ich (?:muss|sollte|müsste)|zuerst|als nächstes|moment|je dois|il faut|d'abord|debo|necesito|primero|espera|нужно|надо|сначала|подожди|まず|次に|うーん|待って|먼저|잠깐)",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s*(?=\S)|\n+")
_COMPLETE = re.compile(r"[.!。！)\]}\"'”*$`」]\s*$")
_FAILED = re.compile(
    r"error|exception|fail|timed? ?-?out|not found|denied|invalid|unavailable|unreachable|refused|aborted|expired|exhausted|\bhttp\S*\s[45]\d\d\b|错误|失败|erreur|fehler",
    re.IGNORECASE,
)
_VARYING = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{12,}\b|\d+", re.IGNORECASE)


def fault_counts(conversation: Conversation) -> tuple[int, ...]:
    """Faults of a row, one count for each of :data:`FAULTS`, and last :data:`BAD_SCHEMAS`."""
    turns = turns_of(conversation.messages)
    tools = declared_by(conversation)
    calls = [call for turn in turns for call in turn.calls]
    misfits, uncheckable = _misfits(calls, tools)
    unfinished, hidden = _reasoning(turns)
    return (
        misfits,
        _undeclared(calls, tools),
        _unpaired(turns, tools) if calls or any(turn.results for turn in turns) else 0,
        _repeated(turns) if len(calls) > 1 else 0,
        unfinished,
        hidden,
        _no_answer(turns),
        int(bool(turns) and turns[-1].role != "assistant"),
        _disorder(turns),
        tools.malformed + uncheckable,
    )


def _misfits(calls: Sequence[Call], tools: Declared) -> tuple[int, int]:
    """Calls whose arguments are no object or do not fit, and calls whose schema takes too many steps."""
    misfits = uncheckable = 0
    for call in calls:
        if call.arguments is None or call.name is None:
            misfits += 1
            continue
        schema = tools.schemas.get(call.name)
        if schema is None:
            continue
        try:
            misfits += not (schema.fits_loosely if call.loose else schema.fits)(call.arguments)
        except UncheckableError:
            uncheckable += 1
    return misfits, uncheckable


def _undeclared(calls: Sequence[Call], tools: Declared) -> int:
    if not tools.schemas or not tools.complete:
        return 0
    return sum(call.name is not None and call.name not in tools.schemas for call in calls)


def _unpaired(turns: Sequence[Turn], tools: Declared) -> int:
    """Calls without a result, and results without a call; one that names the wrong call counts once, not twice.

    Calls of the row's last turn are still to be answered. Results without ids answer the calls before them in order.
    """
    known = {call.name for turn in turns for call in turn.calls} | set(tools.schemas)
    answered = Counter(result.id for turn in turns for result in turn.results if result.id)
    faults, place = 0, 0
    while place < len(turns):
        calls = list(turns[place].calls)
        last = place == len(turns) - 1
        place += 1 if turns[place].role != "tool" else 0
        results: list[Result] = []
        while place < len(turns) and turns[place].role == "tool":
            results += turns[place].results
            place += 1
        if calls and last:
            break
        if calls or results:
            unanswered, orphans = _matched(calls, results, known)
            early = {result.id for result in results}
            late = sum(call.id is not None and call.id not in early and answered[call.id] > 0 for call in unanswered)
            faults += max(len(unanswered) - late, _without_late(orphans, turns, place))
    return faults


def _without_late(orphans: Sequence[Result], turns: Sequence[Turn], place: int) -> int:
    """Results whose call stands nowhere before them: others were answered late."""
    if not any(result.id for result in orphans):
        return len(orphans)
    known = Counter(call.id for turn in turns[:place] for call in turn.calls if call.id)
    given = Counter(result.id for turn in turns[:place] for result in turn.results if result.id)
    return sum(not result.id or given[result.id] > known[result.id] for result in orphans)


def _matched(
    calls: Sequence[Call], results: Sequence[Result], known: set[str | None]
) -> tuple[list[Call], list[Result]]:
    """The calls that no result answers, and the results that answer none."""
    open_calls, orphans, unnamed = list(calls), list[Result](), list[Result]()
    with_ids = any(call.id for call in calls)
    for result in results:
        if result.id and (with_ids or not calls):
            own = next((call for call in open_calls if call.id == result.id), None)
            if own is None:
                orphans.append(result)
            else:
                open_calls.remove(own)
        else:
            unnamed.append(result)
    for result in unnamed:
        named = [call for call in open_calls if call.name == result.name]
        if named:
            open_calls.remove(named[0])
        elif open_calls and (result.name is None or result.name not in known):
            del open_calls[0]
        else:
            orphans.append(result)
    if open_calls and len(results) == 1 and not orphans and not results[0].id and _holds_all(results[0].text, calls):
        open_calls = []
    return open_calls, orphans


def _holds_all(text: str, calls: Sequence[Call]) -> bool:
    """Whether one result is a list with an entry for each call, as some layouts write the results of parallel calls."""
    if not text.lstrip().startswith(("[", "{")):
        return False
    value = spelled(text)
    if isinstance(value, dict):
        return {call.name for call in calls} <= set(value)
    return isinstance(value, list) and len(value) >= len(calls)


def _repeated(turns: Sequence[Turn]) -> int:
    """Stretches in which the assistant makes calls that it made before and learns what it knew.

    Such a stretch counts if it begins with a round of calls that was just made (the same call twice in a row is the
    shortest), if it is of three calls or more, or if one of its calls was made five times. A call made again after the
    user spoke is not repeated; nor is polling: the same call until its result changes.
    """
    return sum(_circles(steps) for steps in _steps(turns))


#: A call, name and arguments, with its result.
Step = tuple[str, str]


def _steps(turns: Sequence[Turn]) -> list[list[Step]]:
    """The calls in order with their results, by user's turn; of a call without a result it is empty."""
    parts: list[list[Step]] = [[]]
    for i, turn in enumerate(turns):
        if turn.role == "user":
            parts.append([])
        elif turn.calls:
            following = list(takewhile(lambda later: later.role == "tool", turns[i + 1 :]))
            results = [result for later in following for result in later.results]
            for n, call in enumerate(turn.calls):
                own = next((result for result in results if result.id and result.id == call.id), None)
                own = own or (results[n] if n < len(results) else None)
                parts[-1].append((_identity(call), "" if own is None else _outcome(own.text)))
    return [steps for steps in parts if len(steps) > 1]


def _identity(call: Call) -> str:
    if call.arguments is not None:
        try:
            return f"{call.name} {canonical(call.arguments)}"
        except RecursionError:
            pass
    return f"{call.name} {call.text.strip()}"


def _outcome(text: str) -> str:
    text = composed(" ".join(text.split()))
    return _VARYING.sub("0", text) if _FAILED.search(text[:500]) else text  # times and numbers of requests differ


def _circles(steps: Sequence[Step]) -> int:
    latest = {call: result for call, result in steps if result}
    times: Counter[Step] = Counter()
    found = length = 0
    counted = False
    for i, step in enumerate(steps):
        call, result = step
        stale = times[step] > 0 and (not result or latest[call] == result)
        times[step] += 1
        length, counted = (length + 1, counted) if stale else (0, False)
        again = (
            list(steps[i + 1 - length : i + 1]) == list(steps[i + 1 - 2 * length : i + 1 - length]) if length else False
        )
        if length and not counted and (again or length >= _CIRCLE or times[step] >= _AGAIN_AND_AGAIN):
            found, counted = found + 1, True
    return found


def _reasoning(turns: Sequence[Turn]) -> tuple[int, int]:
    """Turns whose reasoning never closes or leads to nothing, and those whose answer stands only inside it.

    A turn with nothing but reasoning is one or the other: the second if the reasoning comes to an end.
    """
    unfinished = hidden = 0
    for i, turn in enumerate(turns):
        if turn.role != "assistant" or not (turn.said.reasoning or turn.said.unclosed):
            continue
        goes_on = i + 1 < len(turns) and turns[i + 1].role == "assistant"
        if turn.said.unclosed:
            unfinished += 1
        elif not turn.calls and not goes_on and not says_something(turn.said.visible):
            stated = _states_answer(turn.said.ending)
            hidden, unfinished = hidden + stated, unfinished + (not stated)
    return unfinished, hidden


def _states_answer(ending: str) -> bool:
    """Whether reasoning comes to an end: it does not break off or go on thinking, or states an answer at last."""
    ending = composed(ending)
    sentences = [sentence.strip() for sentence in _SENTENCES.split(ending.strip()) if sentence and sentence.strip(" .")]
    if not sentences or _GOES_ON.match(sentences[-1]):
        return False
    return _COMPLETE.search(ending) is not None or _STATES_ANSWER.search(" ".join(sentences[-2:])) is not None


def _no_answer(turns: Sequence[Turn]) -> int:
    """1 if the last turn is the assistant's and is a refusal, or an error saved as an answer."""
    if not turns or turns[-1].role != "assistant" or turns[-1].calls:
        return 0
    answer = turns[-1].said.visible.strip()
    asked = next((turn.said.visible for turn in reversed(turns) if turn.role == "user"), "")
    return int(bool(answer) and (is_refusal(answer, asked) or is_error(answer, asked)))


def _disorder(turns: Sequence[Turn]) -> int:
    """Places where turns are out of order.

    A system message behind another turn, a tool before anyone else, two turns of a user in a row, two of an assistant
    in a row (where the first made calls, it is their results that are missing, which is counted elsewhere).
    """
    faults, previous = 0, None
    for turn in turns:
        before = None if previous is None else previous.role
        if turn.role == "system":
            faults += before not in (None, "system")
        elif turn.role == "tool":
            faults += before in (None, "system")
        elif turn.role == before:
            faults += not (previous is not None and previous.calls)
        previous = turn
    return faults


def contents(conversation: Conversation) -> tuple[float, ...]:
    """What a row consists of: :data:`CONTENTS`, last :data:`TOOL_NAMES`; the share is NaN where nothing was written."""
    turns = turns_of(conversation.messages)
    answers = [turn for turn in turns if turn.role == "assistant"]
    reasoning = sum(turn.said.reasoning for turn in answers)
    written = sum(turn.written for turn in answers)
    names = [call.name for turn in answers for call in turn.calls if call.name is not None]
    return (
        sum(len(turn.calls) for turn in answers),
        sum(len(turn.results) for turn in turns),
        len(declared_by(conversation).schemas),
        reasoning,
        reasoning / written if written else math.nan,
        set_of_tools(names),
    )


def set_of_tools(names: Sequence[str]) -> int:
    """A number below 2²⁴ that stands for a set of tools, 0 for none: float32 holds it exactly.

    Two of n sets share a number with a chance of about n² / 2²⁵.
    """
    if not names:
        return 0
    text = json.dumps(sorted(set(names)))
    return 1 + int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % (2**24 - 2)


def tools_called(conversation: Conversation) -> tuple[str, ...]:
    """The names of the tools that a row calls, each once, sorted."""
    calls = (call.name for turn in turns_of(conversation.messages) for call in turn.calls)
    return tuple(sorted({name for name in calls if name is not None}))
