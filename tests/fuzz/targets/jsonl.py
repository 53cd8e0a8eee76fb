from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets.rows import read_rows

TARGET = Target(
    "jsonl",
    lambda data: read_rows(as_file(data, "rows.jsonl")),
    (
        b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n' * 2,
        b'\xef\xbb\xbf{"prompt": "q", "completion": "a", "n": 1.5e3}\r\n\r\n{"prompt": "q", "completion": null}\n',
        '{"instruction": "\u00e9", "input": NaN, "output": "\U0001f642", "history": [["q", "a"]]}\n'.encode(),
        b'[{"prompt": "q", "completion": "a"}]',
    ),
    (
        b'"messages"',
        b'"role"',
        b'"content"',
        b'"conversations"',
        b'"from"',
        b'"value"',
        b'"prompt": "x",',
        b'"id": 7, ',
    ),
)
