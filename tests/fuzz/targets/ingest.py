from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets import csv, jsonl

from autoselection.pool import Pool, ingest


def _parse(data: bytes) -> None:
    """The whole way, to a pool that opens and is what its manifest says."""
    path = as_file(data, "rows.jsonl" if data[:1] in b"{[" else "rows.csv")
    pool = path.with_name("pool")
    report = ingest([path], pool, overwrite=True)
    opened = Pool.open(pool)
    opened.verify()
    assert report.rows == len(opened.messages())


TARGET = Target("ingest", _parse, jsonl.TARGET.seeds + csv.TARGET.seeds, jsonl.TARGET.words, share=0.03)
