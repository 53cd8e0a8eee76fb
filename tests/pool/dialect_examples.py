"""A row of every shape that is read, in small, and the conversation that it is: by hand, after the data sets' own pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str = "", *calls: tuple[str, str], **more: Any) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        turn["tool_calls"] = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {**turn, **more}


def tool(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": text, **more}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def function(name: str, description: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    own = {"name": name, "description": description}
    return {"type": "function", "function": own if parameters is None else {**own, "parameters": parameters}}


@dataclass(frozen=True)
class Example:
    """Attributes: row: as the data set has it; format: as the manifest names it; messages and tools: what it means;
    parquet: whether Parquet can hold it as it is (its own nesting is no struct of data)."""

    row: dict[str, Any]
    format: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None


RATE = {
    "name": "get_rate",
    "description": "Rate of two currencies",
    "parameters": {
        "type": "object",
        "properties": {"base": {"type": "string"}, "to": {"type": "string"}},
        "required": ["base", "to"],
    },
}
_GLAIVE_CHAT = (
    'USER: What is a dollar in yen?\n\n\nASSISTANT: <functioncall> {"name": "get_rate", "arguments": '
    '\'{"base": "USD", "to": "JPY"}\'} <|endoftext|>\n\n\nFUNCTION RESPONSE: {"rate": 150.5}\n\n\n'
    "ASSISTANT: A dollar is 150.5 yen. <|endoftext|>\n\n\nUSER: Thanks!\n\n\nASSISTANT: You're welcome. <|endoftext|>\n\n\n"
)
_GLAIVE_SYSTEM = "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n"
_GLAIVE_TURNS = [
    user("What is a dollar in yen?"),
    assistant("", ("get_rate", '{"base": "USD", "to": "JPY"}')),
    tool('{"rate": 150.5}'),
    assistant("A dollar is 150.5 yen."),
    user("Thanks!"),
    assistant("You're welcome."),
]
_TRAVEL = {
    "name": "book",
    "description": "Book a flight",
    "parameters": {"type": "object", "properties": {"to": {"type": "string"}}},
}

EXAMPLES: dict[str, Example] = {
    "glaive-v2": Example(
        {"system": _GLAIVE_SYSTEM + json.dumps(RATE, indent=4) + "\n", "chat": _GLAIVE_CHAT},
        "glaive",
        _GLAIVE_TURNS,
        [{"type": "function", "function": RATE}],
    ),
    "glaive-v2-without-functions": Example(
        {
            "system": "SYSTEM: You are a helpful assistant, with no access to external functions.\n",
            "chat": "USER: Hi\n\n\nASSISTANT: Hello. <|endoftext|>\n\n\n",
        },
        "glaive",
        [system("You are a helpful assistant, with no access to external functions."), user("Hi"), assistant("Hello.")],
    ),
    "glaive-v1": Example(
        {
            "sample": "SYSTEM: You are an helpful assistant who has access to the following functions to help the user, you can "
            "use the functions if needed-\n" + json.dumps(RATE) + "\nUSER: What is a dollar in yen?\nASSISTANT:  Sure, a moment. "
            '<functioncall> {"name": "get_rate", "arguments": \'{"base": "USD", "to": "JPY"}\'} <|endoftext|>\n'
            'FUNCTION RESPONSE: {"rate": 150.5}\nASSISTANT:  150.5 yen. <|endoftext|>\n'
        },
        "glaive",
        [
            user("What is a dollar in yen?"),
            assistant("Sure, a moment.", ("get_rate", '{"base": "USD", "to": "JPY"}')),
            tool('{"rate": 150.5}'),
            assistant("150.5 yen."),
        ],
        [{"type": "function", "function": RATE}],
    ),
    "xlam": Example(
        {
            "id": 7,
            "query": "Live giveaways for beta, and how many?",
            "answers": '[{"name": "giveaways", "arguments": {"type": "beta"}}, {"name": "count", "arguments": {}}]',
            "tools": json.dumps(
                [
                    {
                        "name": "giveaways",
                        "description": "Live giveaways",
                        "parameters": {
                            "type": {"description": "The kind.", "type": "str", "default": "game"},
                            "ids": {"description": "Numbers.", "type": "List[int], optional"},
                        },
                    },
                    {"name": "count", "description": "How many", "parameters": {"of": {"type": "str", "description": "What."}}},
                ]
            ),
        },
        "xlam",
        [user("Live giveaways for beta, and how many?"), assistant("", ("giveaways", '{"type": "beta"}'), ("count", "{}"))],
        [
            function(
                "giveaways",
                "Live giveaways",
                {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "description": "The kind.", "default": "game"},
                        "ids": {"type": "array", "items": {"type": "integer"}, "description": "Numbers."},
                    },
                    "required": [],
                },
            ),
            function(
                "count",
                "How many",
                {"type": "object", "properties": {"of": {"type": "string", "description": "What."}}, "required": ["of"]},
            ),
        ],
    ),
    "api-log": Example(
        {
            "request": {
                "model": "m",
                "messages": [{"role": "user", "content": "To Rome?"}],
                "tools": [{"type": "function", "function": _TRAVEL}],
            },
            "response": {
                "id": "r1",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "tool_calls",
                        "message": {
                            "role": "assistant",
                            "content": None,
                            "reasoning_content": "They want to fly.",
                            "tool_calls": [
                                {"id": "c1", "type": "function", "function": {"name": "book", "arguments": '{"to": "Rome"}'}}
                            ],
                        },
                    }
                ],
            },
        },
        "api-log",
        [
            user("To Rome?"),
            {
                **assistant("", reasoning_content="They want to fly."),
                "tool_calls": [{"id": "c1", "name": "book", "arguments": '{"to": "Rome"}'}],
            },
        ],
        [{"type": "function", "function": _TRAVEL}],
    ),
    "batch-joined": Example(
        {
            "custom_id": "a",
            "request": {"method": "POST", "body": {"messages": [{"role": "user", "content": "2+2?"}]}},
            "response": {"status_code": 200, "body": {"choices": [{"message": {"role": "assistant", "content": "4"}}]}},
        },
        "api-log",
        [user("2+2?"), assistant("4")],
    ),
    "ultrachat": Example(
        {"id": "0", "data": ["Why is the sky blue?", "Rayleigh.", "Who?", "A physicist."]},
        "ultrachat",
        [user("Why is the sky blue?"), assistant("Rayleigh."), user("Who?"), assistant("A physicist.")],
    ),
    "lima": Example(
        {"conversations": ["Why is the sky blue?", "Rayleigh."], "source": "stack"},
        "texts",
        [user("Why is the sky blue?"), assistant("Rayleigh.")],
    ),
    "ultrachat-200k": Example(
        {"prompt": "Why?", "prompt_id": "x", "messages": [user("Why?"), assistant("So.")]},
        "messages",
        [user("Why?"), assistant("So.")],
    ),
    "capybara": Example(
        {"source": "Airoboros", "conversation": [{"input": "One?", "output": "1"}, {"input": "Two?", "output": "2"}]},
        "turn-pairs",
        [user("One?"), assistant("1"), user("Two?"), assistant("2")],
    ),
    "nemotron": Example(
        {
            "input": [{"role": "user", "content": "Is 7 prime?"}],
            "output": "<think>\nNo divisor.\n</think>\n\nYes.",
            "category": "math",
            "reasoning": "on",
            "system_prompt": "detailed thinking on",
        },
        "input-output",
        [system("detailed thinking on"), user("Is 7 prime?"), assistant("<think>\nNo divisor.\n</think>\n\nYes.")],
    ),
    "nemotron-text": Example(
        {"input": "Is 7 prime?", "output": "Yes.", "reasoning": "off", "system_prompt": "detailed thinking off"},
        "input-output",
        [system("detailed thinking off"), user("Is 7 prime?"), assistant("Yes.")],
    ),
    "smoltalk2": Example(
        {
            "messages": [user("To Rome?"), assistant('<tool_call>\n{"name": "book", "arguments": {"to": "Rome"}}\n</tool_call>')],
            "chat_template_kwargs": {
                "custom_instructions": "Be brief.",
                "enable_thinking": False,
                "python_tools": [],
                "xml_tools": [json.dumps(_TRAVEL)],
            },
            "source": "xlam_traces_no_think",
        },
        "smoltalk",
        [
            system("Be brief."),
            user("To Rome?"),
            assistant('<tool_call>\n{"name": "book", "arguments": {"to": "Rome"}}\n</tool_call>'),
        ],
        [{"type": "function", "function": _TRAVEL}],
    ),
    "tulu-3": Example(
        {"id": "t1", "messages": [user("Hi"), assistant("Hello")], "source": "ai2-adapt-dev/flan", "dataset": "flan"},
        "messages",
        [user("Hi"), assistant("Hello")],
    ),
    "open-r1": Example(
        {
            "problem": "2+2?",
            "solution": "Four.",
            "answer": "4",
            "generations": ["<think>\nEasy.\n</think>\n\n4"],
            "messages": [user("2+2?"), assistant("<think>\nEasy.\n</think>\n\n4")],
        },
        "messages",
        [user("2+2?"), assistant("<think>\nEasy.\n</think>\n\n4")],
    ),
    "openthoughts": Example(
        {
            "system": "Think first.",
            "conversations": [
                {"from": "user", "value": "2+2?"},
                {
                    "from": "assistant",
                    "value": "<|begin_of_thought|>\n\nEasy.\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n4\n\n<|end_of_solution|>",
                },
            ],
        },
        "sharegpt",
        [
            system("Think first."),
            user("2+2?"),
            assistant(
                "<|begin_of_thought|>\n\nEasy.\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n4\n\n<|end_of_solution|>"
            ),
        ],
    ),
    "toolace": Example(
        {
            "system": "You are an expert in composing functions. Here is a list: [{\"name\": \"Trends\"}]",
            "conversations": [
                {"from": "user", "value": "Market trends?"},
                {"from": "assistant", "value": '[Trends(kind="US")]'},
                {"from": "tool", "value": '[{"name": "Trends", "results": []}]'},
                {"from": "assistant", "value": "None today."},
            ],
        },
        "sharegpt",
        [
            system("You are an expert in composing functions. Here is a list: [{\"name\": \"Trends\"}]"),
            user("Market trends?"),
            assistant('[Trends(kind="US")]'),
            tool('[{"name": "Trends", "results": []}]'),
            assistant("None today."),
        ],
    ),
    "apigen-mt": Example(
        {
            "conversations": [
                {"from": "human", "value": "To Rome?"},
                {"from": "function_call", "value": '{"name": "book", "arguments": {"to": "Rome"}}'},
                {"from": "observation", "value": '{"ok": true}'},
                {"from": "gpt", "value": "Booked."},
            ],
            "tools": json.dumps([_TRAVEL]),
            "system": "You are an agent.",
        },
        "sharegpt",
        [
            system("You are an agent."),
            user("To Rome?"),
            assistant("", ("book", '{"to": "Rome"}')),
            tool('{"ok": true}'),
            assistant("Booked."),
        ],
        [{"type": "function", "function": _TRAVEL}],
    ),
    "hermes": Example(
        {
            "id": "h1",
            "conversations": [
                {"from": "system", "value": "You are a function calling AI model. <tools> [] </tools>"},
                {"from": "human", "value": "To Rome?"},
                {"from": "gpt", "value": '<tool_call>\n{"arguments": {"to": "Rome"}, "name": "book"}\n</tool_call>'},
                {"from": "tool", "value": '<tool_response>\n{"ok": true}\n</tool_response>'},
                {"from": "gpt", "value": "Booked."},
            ],
            "category": "Travel",
        },
        "sharegpt",
        [
            system("You are a function calling AI model. <tools> [] </tools>"),
            user("To Rome?"),
            assistant('<tool_call>\n{"arguments": {"to": "Rome"}, "name": "book"}\n</tool_call>'),
            tool('<tool_response>\n{"ok": true}\n</tool_response>'),
            assistant("Booked."),
        ],
    ),
    "anthropic": Example(
        {
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "To Rome?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "They want to fly."},
                        {"type": "text", "text": "A moment."},
                        {"type": "tool_use", "id": "t1", "name": "book", "input": {"to": "Rome"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "ok"},
                        {"type": "text", "text": "And?"},
                    ],
                },
                {"role": "assistant", "content": "Booked."},
            ],
            "tools": [{"name": "book", "description": "Book a flight", "input_schema": _TRAVEL["parameters"]}],
        },
        "anthropic",
        [
            system("Be brief."),
            user("To Rome?"),
            {
                **assistant("A moment.", reasoning_content="They want to fly."),
                "tool_calls": [{"id": "t1", "name": "book", "arguments": '{"to": "Rome"}'}],
            },
            tool("ok", tool_call_id="t1"),
            user("And?"),
            assistant("Booked."),
        ],
        [{"type": "function", "function": _TRAVEL}],
    ),
    "anthropic-blocks": Example(
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "To Rome?"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "book", "input": {"to": "Rome"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "Booked."}]},
            ],
        },
        "anthropic",
        [
            user("To Rome?"),
            {**assistant(""), "tool_calls": [{"id": "t1", "name": "book", "arguments": '{"to": "Rome"}'}]},
            tool("ok", tool_call_id="t1"),
            assistant("Booked."),
        ],
    ),
    "xlam-structs": Example(
        {"query": "To Rome?", "answers": [{"name": "book", "arguments": {"to": "Rome"}}], "tools": [_TRAVEL]},
        "xlam",
        [user("To Rome?"), assistant("", ("book", '{"to": "Rome"}'))],
        [{"type": "function", "function": _TRAVEL}],
    ),
    "anthropic-log": Example(
        {
            "request": {"system": [{"type": "text", "text": "Be brief."}], "messages": [{"role": "user", "content": "2+2?"}]},
            "response": {
                "role": "assistant",
                "stop_reason": "end_turn",
                "content": [{"type": "thinking", "thinking": "Easy."}, {"type": "text", "text": "4"}],
            },
        },
        "api-log",
        [system("Be brief."), user("2+2?"), assistant("4", reasoning_content="Easy.")],
    ),
    "gemini": Example(
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "To "}, {"text": "Rome?"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "book", "args": {"to": "Rome"}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "book", "response": {"ok": True}}}]},
                {"role": "model", "parts": [{"text": "Booked."}]},
            ],
            "tools": [{"functionDeclarations": [_TRAVEL]}],
        },
        "gemini",
        [
            system("Be brief."),
            user("To Rome?"),
            assistant("", ("book", '{"to": "Rome"}')),
            tool('{"ok": true}', name="book"),
            assistant("Booked."),
        ],
        [{"type": "function", "function": _TRAVEL}],
    ),
    "medical-o1": Example(
        {"Question": "Why?", "Complex_CoT": "Hm.", "Response": "So."},
        "reasoned",
        [user("Why?"), assistant("So.", reasoning_content="Hm.")],
    ),
    "openthoughts-columns": Example(
        {"problem": "2+2?", "deepseek_reasoning": "Easy.", "deepseek_solution": "4", "ground_truth_solution": "4", "domain": "math"},
        "reasoned",
        [user("2+2?"), assistant("4", reasoning_content="Easy.")],
    ),
    "s1k": Example(
        {"question": "2+2?", "solution": "4", "thinking_trajectories": ["Easy."], "attempt": "It is 4.", "cot_type": "math"},
        "reasoned",
        [user("2+2?"), assistant("It is 4.", reasoning_content="Easy.")],
    ),
    "r1-distillate": Example(
        {"input": "2+2?", "reasoning_content": "Easy.", "content": "4", "repo_name": "math", "score": 9},
        "reasoned",
        [user("2+2?"), assistant("4", reasoning_content="Easy.")],
    ),
    "prompt-reasoning-response": Example(
        {"prompt": "2+2?", "reasoning_content": "Easy.", "response": "4"},
        "prompt-completion",
        [user("2+2?"), assistant("4", reasoning_content="Easy.")],
    ),
    "openorca": Example(
        {"id": "o", "system_prompt": "Be brief.", "question": "2+2?", "response": "4"},
        "prompt-completion",
        [system("Be brief."), user("2+2?"), assistant("4")],
    ),
    "openai-legacy": Example(
        {
            "messages": [
                user("To Rome?"),
                {"role": "assistant", "content": None, "function_call": {"name": "book", "arguments": '{"to": "Rome"}'}},
                {"role": "function", "name": "book", "content": "ok"},
                assistant("Booked."),
            ],
            "functions": [_TRAVEL],
        },
        "messages",
        [user("To Rome?"), assistant("", ("book", '{"to": "Rome"}')), tool("ok", name="book"), assistant("Booked.")],
        [{"type": "function", "function": _TRAVEL}],
    ),
    "openai-weights": Example(
        {
            "messages": [
                user("2+2?"),
                {"role": "assistant", "content": "5", "weight": 0, "reasoning_content": "Guess."},
                user("No."),
                {"role": "assistant", "content": "4", "weight": 1},
            ]
        },
        "messages",
        [user("2+2?"), assistant("5", reasoning_content="Guess.", weight=0), user("No."), assistant("4")],
    ),
    "alpaca": Example(
        {"instruction": "Add.", "input": "2+2", "output": "4"}, "alpaca", [user("Add.\n2+2"), assistant("4")]
    ),
    "prompt-completion": Example(
        {"prompt": "2+2?", "completion": "4"}, "prompt-completion", [user("2+2?"), assistant("4")]
    ),
    "query-response": Example(
        {"query": "2+2?", "response": "4"}, "prompt-completion", [user("2+2?"), assistant("4")]
    ),
    "lmsys": Example(
        {"conversation_id": "c", "model": "m", "conversation": [user("2+2?"), assistant("4")], "turn": 1},
        "messages",
        [user("2+2?"), assistant("4")],
    ),
}  # fmt: skip

#: Rows of known shapes that are refused, and what the sentence must say.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "oasst-flat": (
        {
            "message_id": "m",
            "parent_id": None,
            "text": "Why?",
            "role": "prompter",
            "lang": "en",
            "message_tree_id": "t",
        },
        "trees of messages",
    ),
    "oasst-trees": (
        {
            "message_tree_id": "t",
            "prompt": {"text": "Why?", "role": "prompter", "replies": [{"text": "So.", "replies": []}]},
        },
        "trees of messages",
    ),
    "batch-output": (
        {
            "id": "b",
            "custom_id": "a",
            "response": {"body": {"choices": [{"message": {"role": "assistant", "content": "4"}}]}},
        },
        "answers of a batch without the questions",
    ),
    "batch-input": (
        {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": "q"}]},
        },
        "requests of a batch without their answers",
    ),
}
