from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets.rows import read_rows

TARGET = Target(
    "csv",
    lambda data: read_rows(as_file(data, "rows.csv")),
    (
        b'prompt,completion\nq,a\n"two\nlines","with ""quotes"", and more"\n\nonly one\n',
        b'prompt;completion\r\nq;a\r\nq2;"a;2"\r\n',
        b"prompt\tcompletion\nq\ta\n",
        "question|answer\nGr\u00f6\u00dfe?|caf\u00e9\n".encode("latin-1"),
        "prompt,completion\nq,a\n".encode("utf-16"),
        "prompt,completion\nq,\u00e9\n".encode("utf-16-le"),
    ),
    (b'"\n"', b'","', b'"a\nb,c\nd,e"', b"\xe9", b"\x93", b"\n\n"),
)
