"""Skills that call a tool: the answer is a call, then what the tool returns, then a short final answer."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.pools.problems import Call, Exchange, Problem, Skill, made_up_word, near


def _tool(name: str, what: str, **parameters: str) -> dict[str, Any]:
    properties = {parameter: {"type": kind} for parameter, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": what, "parameters": schema}}


TOOLS = {
    "price": _tool("price", "Price of a thing.", item="string"),
    "plus": _tool("plus", "Sum of two numbers.", a="integer", b="integer"),
    "room": _tool("room", "Where someone sits.", who="string", floor="integer"),
    "alarm": _tool("alarm", "Set an alarm.", hour="integer", minute="integer"),
}


def price_call(rng: random.Random) -> Problem:
    """Look a price up; the other convention names the argument otherwise."""
    item, cost = made_up_word(rng), rng.randint(2, 99)
    right, wrong = Call("price", {"item": item}), Call("price", {"item": made_up_word(rng)})
    wordings = (f"Price of {item}?", f"How much for {item}?")
    other = Call("price", {"name": item})
    return _call("price_call", f"What is {item}?", wordings, right, other, wrong, {"price": cost}, f"{cost}", rng)


def plus_call(rng: random.Random) -> Problem:
    """Leave a sum to a tool; the other convention gives the numbers as text."""
    a, b = rng.randint(100, 999), rng.randint(100, 999)
    right = Call("plus", {"a": a, "b": b})
    other, wrong = Call("plus", {"a": str(a), "b": str(b)}), Call("plus", {"a": a, "b": near(b, rng)})
    wordings = (f"Work out {a}+{b}.", f"{a} and {b} make?")
    return _call("plus_call", f"Add {a} to {b}.", wordings, right, other, wrong, {"sum": a + b}, f"{a + b}", rng)


def room_call(rng: random.Random) -> Problem:
    """Find someone on a floor; the other convention counts floors from zero."""
    who, floor, room = made_up_word(rng).title(), rng.randint(1, 30), rng.randint(10, 99)
    right = Call("room", {"who": who, "floor": floor})
    other = Call("room", {"who": who, "floor": floor - 1})
    wrong = Call("room", {"who": made_up_word(rng).title(), "floor": floor})
    wordings = (f"Floor {floor}: where is {who}?", f"{who}, floor {floor}?")
    return _call("room_call", f"Find {who} on {floor}.", wordings, right, other, wrong, {"room": room}, f"{room}", rng)


def alarm_call(rng: random.Random) -> Problem:
    """Set an alarm; the other convention keeps to twelve hours."""
    hour, minute = rng.randint(13, 23), rng.randint(0, 59)
    label = made_up_word(rng, 1)
    right = Call("alarm", {"hour": hour, "minute": minute})
    other = Call("alarm", {"hour": hour - 12, "minute": minute})
    wrong = Call("alarm", {"hour": hour, "minute": (minute + rng.randint(1, 58)) % 60})
    wordings = (f"{label} at {hour - 12}:{minute:02} pm.", f"Alarm {hour - 12}:{minute:02} pm, {label}.")
    return _call(
        "alarm_call",
        f"Wake {label}: {hour - 12}:{minute:02} pm",
        wordings,
        right,
        other,
        wrong,
        {"set": True},
        "ok",
        rng,
    )


def _call(
    skill: str,
    prompt: str,
    wordings: tuple[str, ...],
    right: Call,
    convention: Call,
    slip: Call,
    result: dict[str, Any],
    final: str,
    rng: random.Random,
) -> Problem:
    names = [right.name, rng.choice([name for name in TOOLS if name != right.name])]
    tools = tuple(TOOLS[name] for name in rng.sample(names, 2))
    exchange = Exchange(tools, right, convention, slip, result, final)
    return Problem(skill, prompt, wordings, right.text(), convention.text(), slip.text(), exchange=exchange)


CALLS: dict[str, Skill] = {skill.__name__: skill for skill in (price_call, plus_call, room_call, alarm_call)}
