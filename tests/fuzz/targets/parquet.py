import pyarrow as pa
import pyarrow.parquet as pq
from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets.rows import read_rows


def _parquet(**columns: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="none")
    data: bytes = sink.getvalue().to_pybytes()
    return data


TARGET = Target(
    "parquet",
    lambda data: read_rows(as_file(data, "rows.parquet")),
    (
        _parquet(prompt=["q", "r"], completion=["a", None], n=[1.5, float("nan")]),
        _parquet(messages=[[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]]),
        _parquet(prompt=["q"], completion=["a"]).replace(b"prompt", b"pr\xe5mpt"),
        pa.compress(_parquet(prompt=["q"], completion=["a"]), codec="gzip", asbytes=True),
    ),
    (b"PAR1",),
    share=0.25,
)
