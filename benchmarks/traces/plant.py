"""Faults to plant in clean traces, by kind. Each function makes one fault of its kind, in one of many forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.traces.make import Call, Maker, Trace, Turn, filled
from benchmarks.traces.tools import Tool

_ANY = ({"nested": [1]}, [["x"]], 12345678901)


def _called(trace: Trace, rng: Random) -> tuple[Turn, Call]:
    turn = rng.choice([turn for turn in trace.turns if turn.calls])
    return turn, rng.choice(turn.calls)


def _tool(trace: Trace, name: str) -> Tool:
    return next(tool for tool in trace.tools if tool.name == name)


def arguments(maker: Maker) -> Trace:
    """Arguments that are no JSON, no object, or do not fit."""
    rng = maker.rng
    while True:
        trace = maker.trace(calls=True)
        trace.declare = True
        _, call = _called(trace, rng)
        tool = _tool(trace, call.name)
        text = json.dumps(call.arguments)
        form = rng.choice(["text", "required", "wrong", "wrong", "extra"])
        if form == "text":
            made = {
                "{json}": text,
                "{half}": text[: max(1, len(text) * 2 // 3)],
                "{quotes}": text.replace('"', "'") if call.arguments else "{'a': 1}",
                "{name}": call.name,
            }
            raw = rng.choice(maker.words.broken_arguments)
            if raw == "null" and not (tool.schema or {}).get("required"):
                continue  # no arguments, which fit
            for name, spelt in made.items():
                raw = raw.replace(name, spelt)
            call.raw = raw
        elif form == "required" and tool.schema and tool.schema.get("required"):
            del call.arguments[rng.choice(tool.schema["required"])]
        elif form == "wrong" and tool.wrong:
            name = rng.choice(list(tool.wrong))
            values: list[Any] = list(tool.wrong[name])
            if trace.layout in ("coder tags", "glm tags"):  # bare text: what only differs from text by its type is none
                kind = (tool.schema or {})["properties"][name].get("type")
                values = [
                    value
                    for value in values
                    if isinstance(value, (list, dict, float, int)) and not isinstance(value, bool)
                ]
                values = values if kind in ("integer", "number", "array") else []
            if not values:
                continue
            call.arguments[name] = rng.choice(values)
        elif form == "extra" and tool.schema is not None:
            call.arguments[rng.choice(["verbose", "callback", "city_name", "extra_info"])] = rng.choice(["x", 1, *_ANY])
        else:
            continue
        return trace


def undeclared(maker: Maker) -> Trace:
    """A tool that is not declared."""
    rng = maker.rng
    while True:
        trace = maker.trace(calls=True)
        trace.declare = True
        turn, call = _called(trace, rng)
        form = rng.randrange(4)
        if form == 0:
            call.name = rng.choice(maker.words.undeclared)
        elif form == 1:
            call.name = rng.choice(
                [call.name.title(), call.name.replace("_", "-"), call.name + "s", call.name.replace("_", "")]
            )
        elif form == 2 and len(trace.tools) > 1:
            trace.tools = [tool for tool in trace.tools if tool.name != call.name]
        else:
            other = rng.choice([tool for tool in maker.words.tools if tool not in trace.tools])
            call.name, call.arguments = other.name, other.arguments(rng)
        if call.name not in {tool.name for tool in trace.tools}:
            at = trace.turns.index(turn) + 1
            if at < len(trace.turns):
                trace.turns[at].results = [
                    (own.id, own.name, text)
                    for own, (_, _, text) in zip(turn.calls, trace.turns[at].results, strict=True)
                ]
            return trace


def unpaired(maker: Maker) -> Trace:
    """A call without a result, or a result without a call."""
    rng = maker.rng
    while True:
        trace = maker.trace(calls=True)
        at = rng.choice([i for i, turn in enumerate(trace.turns) if turn.role == "tool"])
        tool, ids = trace.turns[at], trace.layout == "typed"
        form = rng.choice(["no result", "one missing", "one more", "wrong id", "from nowhere", "twice"])
        if form == "no result":
            del trace.turns[at]
        elif form == "one missing" and len(tool.results) > 1:
            tool.results.pop(rng.randrange(len(tool.results)))
        elif form == "one more":
            tool.results.append((f"call_x{rng.randint(0, 99)}", tool.results[0][1], "ok"))
        elif form == "wrong id" and ids:
            n = rng.randrange(len(tool.results))
            tool.results[n] = (rng.choice(["call_0000", tool.results[n][0] + "x", "unknown"]), *tool.results[n][1:])
        elif form == "from nowhere":
            answers = [i for i, turn in enumerate(trace.turns) if turn.role == "assistant" and not turn.calls]
            i = rng.choice(answers)
            trace.turns[i + 1 : i + 1] = [
                Turn("tool", results=[("call_9", trace.tools[0].name, "ok")]),
                Turn("assistant", maker.answer()),
            ]
        elif form == "twice" and ids:
            tool.results.append(tool.results[0])
        else:
            continue
        return trace


def repeated(maker: Maker) -> Trace:
    """The same call again and again."""
    rng = maker.rng
    while True:
        trace = maker.trace(calls=True)
        at = rng.choice([i for i, turn in enumerate(trace.turns) if turn.role == "tool"])
        calls, results = trace.turns[at - 1].calls, trace.turns[at].results
        form = rng.choice(["again", "again", "in a circle", "failing", "beside"])
        times = rng.randint(1, 6)

        def again(
            n: int, text: str | None = None, calls: list[Call] = calls, results: list[tuple[str, str, str]] = results
        ) -> list[Turn]:
            made = [
                Call(c.name, dict(sorted(c.arguments.items(), reverse=bool(n % 2))), id=f"r{n}_{c.id}") for c in calls
            ]
            texts = [text if text is not None else old for _, _, old in results]
            return [Turn("assistant", "", thought=None, calls=made),
                    Turn("tool", results=[(c.id, c.name, t) for c, t in zip(made, texts, strict=True)])]  # fmt: skip

        if form == "again":
            trace.turns[at + 1 : at + 1] = [turn for n in range(times) for turn in again(n)]
        elif form == "failing":
            failure = rng.choice(maker.words.failures)
            for i in range(len(results)):
                results[i] = (*results[i][:2], failure.format(n=0))
            trace.turns[at + 1 : at + 1] = [turn for n in range(1, times + 1) for turn in again(n, failure.format(n=n))]
        elif form == "in a circle":
            call, text = maker.call(trace.tools, {c.name + json.dumps(c.arguments, sort_keys=True) for c in calls})
            other = [Turn("assistant", calls=[call]), Turn("tool", results=[(call.id, call.name, text)])]
            if {(c.name, str(c.arguments)) for c in calls} & {(call.name, str(call.arguments))}:
                continue
            trace.turns[at + 1 : at + 1] = other
            extra: list[Turn] = []
            for n in range(rng.randint(1, 4)):
                extra += again(n)
                own = Call(call.name, dict(call.arguments), id=f"o{n}")
                extra += [Turn("assistant", calls=[own]), Turn("tool", results=[(own.id, own.name, text)])]
            trace.turns[at + 3 : at + 3] = extra
        else:
            own = calls[-1]
            for n in range(times):
                copy = Call(own.name, dict(own.arguments), id=f"b{n}_{own.id}")
                calls.append(copy)
                results.append((copy.id, copy.name, results[len(calls) - 2 - n][2]))
        return trace


def _tags(maker: Maker) -> Trace:
    """A trace with reasoning between tags, opening and closing."""
    while True:
        trace = maker.trace(reasoning=True)
        if isinstance(trace.reasoning, tuple) and trace.reasoning[0]:
            return trace


def _without_answer(trace: Trace) -> Turn:
    return trace.turns[-1]


def reasoning(maker: Maker) -> Trace:
    """Reasoning that never closes, or ends without an answer."""
    rng = maker.rng
    form = rng.choice(["cut off", "not closed", "misspelt", "nothing", "earlier"])
    if form == "nothing":
        trace = maker.trace(reasoning=True)
        last = trace.turns[-1]
        last.thought, last.text = filled(rng, rng.choice(maker.words.halts)), rng.choice(maker.words.empty_ends)
        return trace
    trace = _tags(maker)
    last = trace.turns[-1]
    if form == "cut off":
        last.thought, last.text, last.open_thought = (
            (last.thought or "") + filled(rng, rng.choice(maker.words.halts)),
            "",
            True,
        )
    elif form == "not closed":
        last.open_thought, last.text = True, "\n\n" + last.text
    elif form == "misspelt":
        opened = trace.reasoning[1]
        forms = [
            opened.replace("/", ""),
            opened.replace("end_of", "begin_of"),
            "\n</thnk>\n",
            "\n<end>\n",
            "\n</ think>\n",
        ]
        last.close_as = rng.choice([form for form in forms if form != opened])
    else:
        turn = rng.choice([turn for turn in trace.turns if turn.role == "assistant"])
        turn.open_thought = True
        turn.calls = [] if turn is last else turn.calls
    return trace


def hidden(maker: Maker) -> Trace:
    """An answer that stands only inside the reasoning."""
    rng = maker.rng
    trace = maker.trace(reasoning=True)
    last = trace.turns[-1]
    last.thought = f"{last.thought}\n\n{filled(rng, rng.choice(maker.words.conclusions))}"
    last.text = rng.choice(maker.words.empty_ends)
    return trace


def refusal(maker: Maker) -> Trace:
    """A refusal or an error in place of the last answer."""
    rng = maker.rng
    trace = maker.trace()
    trace.turns[-1].text = rng.choice(maker.words.refusals if rng.random() < 0.6 else maker.words.errors)
    return trace


def last_turn(maker: Maker) -> Trace:
    """A last turn that is not the assistant's."""
    rng = maker.rng
    trace = maker.trace()
    if rng.random() < 0.6:
        trace.turns.pop()
    else:
        trace.turns.append(Turn("user", rng.choice(["Thanks!", "谢谢", maker.question()])))
    return trace


def order(maker: Maker) -> Trace:
    """Turns out of order."""
    rng = maker.rng
    while True:
        trace = maker.trace()
        turns = trace.turns
        form = rng.choice(["two answers", "two questions", "late system", "swapped", "tool first"])
        users = [i for i, turn in enumerate(turns) if turn.role == "user"]
        answers = [i for i, turn in enumerate(turns) if turn.role == "assistant" and not turn.calls]
        if form == "two answers":
            turns.insert(rng.choice(answers) + 1, Turn("assistant", maker.answer()))
        elif form == "two questions":
            turns.insert(rng.choice(users), Turn("user", maker.question()))
        elif form == "late system":
            turns.insert(rng.randint(users[0] + 1, len(turns) - 1), Turn("system", "Answer in one word from now on."))
        elif form == "swapped" and len(users) > 1:
            i = rng.choice([i for i in answers if i < len(turns) - 1])
            turns[i], turns[i + 1] = turns[i + 1], turns[i]
        elif form == "tool first" and trace.tools:
            turns.insert(users[0], Turn("tool", results=[("call_0", trace.tools[0].name, "ok")]))
        else:
            continue
        return trace


#: By the column that should count the fault.
PLANT: dict[str, Callable[[Maker], Trace]] = {
    "fault_arguments": arguments,
    "fault_undeclared_tool": undeclared,
    "fault_unpaired": unpaired,
    "fault_repeated_call": repeated,
    "fault_reasoning": reasoning,
    "fault_hidden_answer": hidden,
    "fault_refusal": refusal,
    "fault_last_turn": last_turn,
    "fault_turn_order": order,
}
