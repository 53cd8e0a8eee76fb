import gzip

import pyarrow as pa
from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets.rows import read_rows

_ROWS = b'{"prompt": "q", "completion": "a"}\n'

TARGET = Target(
    "compressed",
    lambda data: read_rows(as_file(data, "rows.jsonl.gz")),
    (
        gzip.compress(_ROWS),
        gzip.compress(_ROWS) + bytes(64) + gzip.compress(_ROWS),
        pa.compress(_ROWS * 20, codec="zstd", asbytes=True),
        b"BZh91AY&SY",
        b"PK\x03\x04",
    ),
    (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", bytes(16)),
    share=0.5,
)
