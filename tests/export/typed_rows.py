"""Arbitrary conversations with all that rows hold: calls, results, reasoning, weights, names, tools and own columns."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from autoselection.conversation import Conversation


def shows_something(text: str) -> bool:
    """Turns of nothing visible are bad rows."""
    return any(letter.isalnum() for letter in text)


#: Text with everything that ends lines, quotes, cells, fields, thoughts and calls somewhere.
_PIECES = [*"a1,;\t\"'\\\r\n\u2028\x85\ufeff é漢={}[]<>/|", "<think>\n", "\n</think>\n\n", "<tool_call>", "</tool_call>",
           "\\u003c", "null", '{"name": "f"}', "<|im_end|>", "😀"]  # fmt: skip
texts = (
    st.lists(st.sampled_from(_PIECES), min_size=1, max_size=8).map("".join)
    | st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
).filter(shows_something)
names = st.sampled_from(["f", "get_weather", "x.y-z", "名", "a b"])

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["k", "é", "function", "type"]), inner, max_size=3)
    ),
    max_leaves=6,
)
#: Where they are JSON of an object, as it is written; else as they came.
arguments = st.dictionaries(st.sampled_from(["a", "city", "<b>", "k"]), values, max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False)
) | st.sampled_from(
    ["", "oops{", "[1, 2]", "3", "null", '"x"', '{"a":1,"a":2}', '{"a": NaN}', '{"a": 1', "{'a': 1}", '{"a": 1e999}']
)
calls = st.fixed_dictionaries(
    {"name": names, "arguments": arguments}, optional={"id": st.sampled_from(["c1", "call_2", "7"])}
).map(lambda call: {key: call[key] for key in ("id", "name", "arguments") if key in call})
schemas = st.fixed_dictionaries(
    {},
    optional={
        "description": texts,
        "parameters": st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={
                "properties": st.dictionaries(
                    st.sampled_from(["a", "city"]),
                    st.fixed_dictionaries(
                        {"type": st.sampled_from(["integer", "string"])},
                        optional={
                            "description": texts,
                            "enum": st.lists(texts, min_size=1, max_size=2),
                            "default": st.none() | texts,
                        },
                    ),
                ),
                "required": st.just(["a"]),
            },
        ),
        "strict": st.booleans(),
    },
)
tools = st.lists(st.tuples(names, schemas), min_size=1, max_size=3, unique_by=lambda tool: tool[0]).map(
    lambda found: json.dumps(
        [{"type": "function", "function": {"name": name, **schema}} for name, schema in found], ensure_ascii=False
    )
)


@st.composite
def answers(draw: st.DrawFn, plain: bool, trained: bool) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "assistant", "content": draw(texts)}
    if plain:
        return turn
    more = draw(st.sets(st.sampled_from(["reasoning", "calls", "silent", "name", "weight"])))
    if "reasoning" in more:
        turn["reasoning_content"] = draw(texts)
    if "calls" in more:
        turn["tool_calls"] = draw(st.lists(calls, min_size=1, max_size=3))
    if "silent" in more and len(turn) > 2:
        turn["content"] = ""
    if "name" in more:
        turn["name"] = draw(names)
    if "weight" in more and not trained:
        turn["weight"] = 0
    return turn


@st.composite
def results(draw: st.DrawFn) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "tool", "content": draw(texts | st.just("") | st.just('{"a": null}'))}
    return turn | draw(
        st.fixed_dictionaries({}, optional={"tool_call_id": st.sampled_from(["c1", "7"]), "name": names})
    )


@st.composite
def spoken(draw: st.DrawFn, role: str) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": role, "content": draw(texts)}
    return turn | ({"name": draw(names)} if draw(st.integers(0, 5)) == 0 else {})


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Plain ones, tool use with several results, turns out of order; at least one answer is learnt from."""
    plain = draw(st.integers(0, 2)) == 0
    turns = [draw(spoken("system"))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        turns.append(draw(spoken("user")))
        turns.append(draw(answers(plain, False)))
        if not plain:
            turns += draw(st.lists(results(), max_size=2))
    turns.append(draw(spoken("user")))
    turns.append(draw(answers(plain, True)))
    if draw(st.integers(0, 5)) == 0:
        turns.append(draw(spoken("user") | results() | answers(plain, False)))
    return Conversation(turns, draw(tools) if not plain and draw(st.booleans()) else None)


scalars = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
own_columns = st.dictionaries(
    st.sampled_from(["score", "tags", "Notes", "own_tools", "dropped_by"]),
    scalars | st.lists(st.integers(0, 9) | texts, max_size=3) | st.dictionaries(st.just("k"), values, max_size=1),
    max_size=3,
)
