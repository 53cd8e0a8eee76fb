"""Clean synthetic traces, and how a trace is written down: typed fields, or one of the layouts with tags."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from autoselection.conversation import Conversation, Message
from benchmarks.traces.surfaces import USUAL, Surfaces
from benchmarks.traces.tools import PEOPLE, TOOLS, WORDS, Arguments, Tool

#: Layouts in which calls and tools are fields of the row.
TYPED = ("typed", "typed without ids")


@dataclass
class Call:
    """A call of a trace; ``raw`` stands in place of its arguments where they are no object."""

    name: str
    arguments: Arguments
    raw: str | None = None
    id: str = ""


@dataclass
class Turn:
    """One turn; a tool's holds the results of the turn before, each with the number of its call there."""

    role: str
    text: str = ""
    thought: str | None = None
    calls: list[Call] = field(default_factory=list)
    results: list[tuple[str, str, str]] = field(default_factory=list)  # (id, name, text)
    open_thought: bool = False
    close_as: str | None = None


@dataclass
class Trace:
    """A trace before it is written down."""

    turns: list[Turn]
    tools: list[Tool]
    layout: str
    reasoning: Any
    odd: str | None = None
    declare: bool = True


def filled(rng: Random, text: str) -> str:
    """A phrase with its words drawn."""
    while "{word}" in text or "{person}" in text:
        text = text.replace("{word}", rng.choice(WORDS), 1).replace("{person}", rng.choice(PEOPLE), 1)
    return text.replace("{{", "{").replace("}}", "}")


def _id(rng: Random, n: int) -> str:
    return rng.choice([f"call_{n}", f"call_{rng.getrandbits(64):x}", f"{rng.getrandbits(40):09x}"[:9] + str(n)])


class Maker:
    """Draws clean traces."""

    def __init__(self, rng: Random, words: Surfaces = USUAL) -> None:
        self.rng, self.words, self.count = rng, words, 0

    def thought(self) -> str:
        """Reasoning of one to three paragraphs."""
        return filled(self.rng, "\n\n".join(self.rng.choices(self.words.thoughts, k=self.rng.randint(1, 3))))

    def answer(self) -> str:
        """A clean answer."""
        return filled(self.rng, self.rng.choice(self.words.answers))

    def question(self) -> str:
        """A clean question."""
        return filled(self.rng, self.rng.choice(self.words.questions))

    def call(self, tools: Sequence[Tool], used: set[str]) -> tuple[Call, str]:
        """A call that was not made before in its round, and its result."""
        rng = self.rng
        for _ in range(50):
            tool = rng.choice(tools)
            arguments = tool.arguments(rng)
            key = tool.name + json.dumps(arguments, sort_keys=True)
            if key not in used:
                break
        used.add(key)
        self.count += 1
        return Call(tool.name, arguments, id=_id(rng, self.count)), tool.result(rng, arguments)

    def round(self, trace: Trace, steps: int) -> None:
        """A question, some steps of calls, an answer."""
        rng, used = self.rng, set[str]()
        trace.turns.append(Turn("user", self.question()))
        for _ in range(steps):
            made = [self.call(trace.tools, used) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
            if len({call.name + str(call.arguments) for call, _ in made}) < len(made):
                made = made[:1]
            turn = Turn(
                "assistant", rng.choice(["", "", "Let me check.", "Ich sehe nach."]), calls=[call for call, _ in made]
            )
            turn.thought = self.thought() if trace.reasoning and rng.random() < 0.6 else None
            trace.turns.append(turn)
            trace.turns.append(Turn("tool", results=[(call.id, call.name, text) for call, text in made]))
        trace.turns.append(Turn("assistant", self.answer(), thought=self.thought() if trace.reasoning else None))

    def plain(self, rounds: int) -> Trace:
        """A conversation without tools, with or without reasoning."""
        rng = self.rng
        trace = Trace([], [], "typed", rng.choice(self.words.reasoning))
        if rng.random() < 0.4:
            trace.turns.append(Turn("system", "You are a helpful assistant. Think in <think></think> tags."))
        for _ in range(rounds):
            self.round(trace, 0)
        return trace

    def trace(self, *, calls: bool | None = None, reasoning: bool | None = None) -> Trace:
        """A clean trace: with calls or without (None: either), with reasoning or without."""
        rng = self.rng
        with_calls = rng.random() < 0.8 if calls is None else calls
        if with_calls:
            layout = rng.choices(list(self.words.layouts), list(self.words.layouts.values()))[0]
            tools = rng.sample(list(self.words.tools), rng.randint(1, min(8, len(self.words.tools) - 2)))
            if not any(tool.schema and tool.schema.get("required") for tool in tools):  # else calls are equal by chance
                tools.append(
                    rng.choice([tool for tool in self.words.tools if tool.schema and tool.schema.get("required")])
                )
            trace = Trace([], tools, layout, rng.choice(self.words.reasoning))
            trace.declare = rng.random() < 0.93
            if rng.random() < 0.5:
                trace.turns.append(Turn("system", f"You are an assistant. Today is {rng.randint(1, 28)} May."))
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                self.round(trace, rng.choice([0, 1, 1, 2, 3, 4]))
            if not any(turn.calls for turn in trace.turns):
                self.round(trace, 1)
        else:
            trace = self.plain(rng.choice([1, 1, 2, 3]))
        if reasoning is not None:
            trace.reasoning = (
                (rng.choice(self.words.reasoning[1:]) if trace.reasoning is None else trace.reasoning)
                if reasoning
                else None
            )
            for turn in trace.turns:
                if turn.role == "assistant":
                    turn.thought = (turn.thought or self.thought()) if reasoning else None
        return trace


def _polling(maker: Maker, trace: Trace) -> None:
    """The same call until its result changes."""
    tool = next(tool for tool in TOOLS if tool.name == "get_order_status")
    trace.tools = [*(own for own in trace.tools if own is not tool), tool]
    arguments = tool.arguments(maker.rng)
    trace.turns.append(Turn("user", "Tell me when it has shipped."))
    texts = [f"{n}%" for n in range(maker.rng.randint(3, 12))]
    if maker.rng.random() < 0.4:
        texts = ["processing"] * maker.rng.randint(2, 6) + ["shipped"]
    for n, text in enumerate(texts):
        call = Call(tool.name, dict(arguments), id=f"poll_{n}")
        trace.turns += [Turn("assistant", calls=[call]), Turn("tool", results=[(call.id, call.name, text)])]
    trace.turns.append(Turn("assistant", maker.answer()))


def _asked_again(maker: Maker, trace: Trace) -> None:
    """The user asks the same later, and gets the same."""
    call, text = maker.call(trace.tools, set())
    for n in range(maker.rng.randint(2, 4)):
        own = Call(call.name, dict(call.arguments), id=f"again_{n}")
        trace.turns += [Turn("user", "And now?"), Turn("assistant", calls=[own])]
        trace.turns += [Turn("tool", results=[(own.id, own.name, text)]), Turn("assistant", maker.answer())]


def _ends_with_call(maker: Maker, trace: Trace) -> None:
    """A sample of a single step: the call is the answer."""
    made = [maker.call(trace.tools, set()) for _ in range(maker.rng.randint(1, 2))]
    if len(made) == 2 and made[0][0].name == made[1][0].name:
        made = made[:1]
    trace.turns += [Turn("user", maker.question()), Turn("assistant", calls=[call for call, _ in made])]


def _tool_failed(maker: Maker, trace: Trace) -> None:
    """A call fails, is mended, and works."""
    call, text = maker.call(trace.tools, set())
    retry = Call(call.name, dict(call.arguments), id="retry")
    trace.turns += [Turn("user", maker.question()), Turn("assistant", calls=[call])]
    trace.turns += [
        Turn("tool", results=[(call.id, call.name, "Error: timeout after 30 s")]),
        Turn("assistant", "Once more.", calls=[retry]),
    ]
    trace.turns += [Turn("tool", results=[(retry.id, retry.name, text or "ok")]), Turn("assistant", maker.answer())]


def _assistant_opens(maker: Maker, trace: Trace) -> None:
    start = 1 if trace.turns[0].role == "system" else 0
    trace.turns.insert(start, Turn("assistant", "Hello! How can I help you today?"))


def _two_system_messages(maker: Maker, trace: Trace) -> None:
    trace.turns = [
        Turn("system", "Be brief."),
        Turn("system", "Never apologise."),
        *(t for t in trace.turns if t.role != "system"),
    ]


_ODD: dict[str, Callable[[Maker, Trace], None]] = {
    "polling": _polling,
    "asked again": _asked_again,
    "ends with a call": _ends_with_call,
    "a call fails, then works": _tool_failed,
    "the assistant opens": _assistant_opens,
    "two system messages": _two_system_messages,
}


def odd_kinds(words: Surfaces) -> tuple[str, ...]:
    """In what ways clean traces look odd."""
    return (*_ODD, *words.odd_answers)


def odd(maker: Maker, kind: str) -> Trace:
    """A clean trace that looks like a faulty one."""
    if kind in _ODD:
        trace = maker.trace(calls=True)
        _ODD[kind](maker, trace)
    else:
        trace = maker.trace()
        asked, said = maker.rng.choice(maker.words.odd_answers[kind])
        trace.turns += [
            Turn("user", asked),
            Turn("assistant", said, thought=maker.thought() if trace.reasoning else None),
        ]
    trace.odd = kind
    return trace


def written(trace: Trace, rng: Random) -> Conversation:
    """The trace as a row."""
    messages: list[Message] = []
    tags = trace.layout not in TYPED
    for turn in trace.turns:
        if turn.role == "assistant":
            messages.append(_assistant(turn, trace, rng))
        elif turn.role == "tool":
            messages += _results(turn, trace)
        else:
            messages.append({"role": turn.role, "content": turn.text})
    tools = [tool.declaration() for tool in trace.tools] if trace.tools and trace.declare else None
    if tools is not None and tags and rng.random() < 0.7:
        listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        text = f"You may call functions within <tools></tools> tags:\n<tools>\n{listed}\n</tools>\nAnswer with <tool_call></tool_call>."
        messages = [{"role": "system", "content": text}, *messages] if messages[0]["role"] != "system" else [
            {"role": "system", "content": messages[0]["content"] + "\n\n" + text}, *messages[1:]]  # fmt: skip
        tools = None
    return Conversation(messages, None if tools is None else json.dumps(tools, ensure_ascii=False))


def _assistant(turn: Turn, trace: Trace, rng: Random) -> Message:
    content = turn.text
    typed = trace.layout in TYPED
    if turn.calls and not typed:
        content = "\n".join(
            [*([content] if content else []), *(_tagged(call, trace.layout, rng) for call in turn.calls)]
        )
    message: Message = {"role": "assistant", "content": content}
    if turn.thought is not None and trace.reasoning is not None:
        if trace.reasoning == "typed":
            message["reasoning_content"] = turn.thought
        else:
            start, stop = trace.reasoning
            stop = "" if turn.open_thought else (turn.close_as if turn.close_as is not None else stop)
            message["content"] = start + turn.thought + stop + content
    if turn.calls and typed:
        calls = []
        for call in turn.calls:
            text = call.raw if call.raw is not None else json.dumps(call.arguments, ensure_ascii=False)
            calls.append({"name": call.name, "arguments": text} | ({"id": call.id} if trace.layout == "typed" else {}))
        message["tool_calls"] = calls  # type: ignore[typeddict-item]
    return message


def _tagged(call: Call, layout: str, rng: Random) -> str:
    def bare(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    if call.raw is None and layout == "coder tags":
        inner = "".join(f"<parameter={name}>\n{bare(value)}\n</parameter>\n" for name, value in call.arguments.items())
        return f"<tool_call>\n<function={call.name}>\n{inner}</function>\n</tool_call>"
    if call.raw is None and layout == "glm tags":
        inner = "".join(
            f"\n<arg_key>{name}</arg_key>\n<arg_value>{bare(value)}</arg_value>"
            for name, value in call.arguments.items()
        )
        return f"<tool_call>{call.name}{inner}\n</tool_call>"
    arguments = call.raw if call.raw is not None else json.dumps(call.arguments, ensure_ascii=rng.random() < 0.3)
    parts = [f'"name": "{call.name}"', f'"arguments": {arguments}']
    rng.shuffle(parts)
    start, stop = _CALLS.get(layout, ("<tool_call>\n", "\n</tool_call>"))
    return start + "{" + ", ".join(parts) + "}" + stop


#: How calls and results stand in layouts that only some surfaces have.
_CALLS = {"function_call tags": ("<function_call>", "</function_call>"), "mistral": ("[TOOL_CALLS] [", "]")}
_RESULTS = {
    "function_call tags": ("<function_response>\n", "\n</function_response>"),
    "mistral": ("[TOOL_RESULTS] ", "[/TOOL_RESULTS]"),
}


def _results(turn: Turn, trace: Trace) -> list[Message]:
    found: list[Message] = []
    if trace.layout == "results in the user's turn":
        return [
            {
                "role": "user",
                "content": "\n".join(f"<tool_response>\n{text}\n</tool_response>" for _, _, text in turn.results),
            }
        ]
    for own, name, text in turn.results:
        message: Message = {"role": "tool", "content": text}
        if trace.layout == "typed":
            message["tool_call_id"] = own
            if len(name) % 2:
                message["name"] = name
        elif trace.layout != "typed without ids":
            start, stop = _RESULTS.get(trace.layout, ("<tool_response>\n", "\n</tool_response>"))
            message["content"] = start + text + stop
        found.append(message)
    return found
