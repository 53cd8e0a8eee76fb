from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets.rows import read_rows

TARGET = Target(
    "json_array",
    lambda data: read_rows(as_file(data, "rows.json")),
    (
        b'[{"prompt": "q", "completion": "a"},\n {"prompt": "q2", "completion": "a2", "meta": {"k": [1, null, true]}}]',
        b"\xef\xbb\xbf [\n]\n",
        b'{"prompt": "q", "completion": "a"}\n',
        b'{\n "data": []\n}',
    ),
    (b'"prompt"', b'"completion"', b"},{", b"],[", b"Infinity"),
)
