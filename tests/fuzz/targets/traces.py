from tests.fuzz.harness import Target

from autoselection.conversation import Conversation
from autoselection.signals.families.traces import FAULTS, contents, fault_counts


def read(data: bytes) -> None:
    """A trace: the first line declares tools, each further one is a turn, its first letter the role."""
    tools, *lines = data.decode("utf-8", "replace").split("\x1e")
    roles = {"s": "system", "u": "user", "t": "tool"}
    messages = [{"role": roles.get(line[:1], "assistant"), "content": line[1:]} for line in lines]
    typed = [
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": line,
            "tool_calls": [{"name": "f", "arguments": line}],
        }
        for line in lines[:2]
    ]
    row = Conversation([*messages, *typed], tools)  # type: ignore[list-item]
    found = fault_counts(row)
    assert len(found) == len(FAULTS) + 1 and min(found) >= 0
    assert min(number for number in contents(row) if number == number) >= 0


_TOOLS = b'[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a+$", "enum": ["a"]}, "b": {"$ref": "#/$defs/b"}}, "required": ["a"], "$defs": {"b": {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "integer", "minimum": 3}]}}}}}}]'

TARGET = Target(
    "traces",
    read,
    (
        _TOOLS + b'\x1euhello\x1ea<think>\nhm\n</think>\n<tool_call>\n{"name": "f", "arguments": {"a": "a", "b": [4, {"a": "a"}]}}\n</tool_call>\x1et5\x1eaDone.',
        _TOOLS + b"\x1euhello\x1ea<tool_call>\n<function=f>\n<parameter=a>\na\n</parameter>\n</function>\n</tool_call>\x1eu<tool_response>5</tool_response>\x1eaI'm sorry, but I can't.",
        b'\x1es<tools>\n{"name": "f"}\n</tools>\x1euhi\x1ea<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>\x1ea{"error": {"code": 429}}',
        b'[]\x1euhi\x1ea[TOOL_CALLS] [{"name": "f", "arguments": {}}]\x1et\x1eaAs an AI, I cannot. <functioncall> {"name": "f", "arguments": \'{}\'}',
    ),
    (
        b"<think>", b"</think>", b"<tool_call>", b"</tool_call>", b"<function=", b"<parameter=", b"</parameter>", b"</function>", b"<arg_key>", b"</arg_value>", b"[TOOL_CALLS]", b"<tool_response>",
        b"<tools>", b"</tools>", b"`", b"```\n", b"\n", b'"$ref": "#"', b'"type": "', b"NaN", b"1e999", b"{", b"}", b"[", b"\\ud800", b'"oneOf": ', b'"multipleOf": 0.1', b"\x1e", b"\x1ea", b"I cannot ", b"Error: ",
    ),
)  # fmt: skip
