"""The real 55,614-row pool, if it is at hand (``AUTOSELECTION_SHARED_DATA`` names the folder)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoselection.pool import Pool

DATA = Path(os.environ.get("AUTOSELECTION_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILE = DATA / "pool" / "pool.jsonl.gz"

CODE = """
import json, resource, sys
from autoselection.pool import ingest
report = ingest([sys.argv[1]], sys.argv[2])
print(json.dumps({**report.to_dict(), "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not FILE.is_file(), reason="the shared pool is not here")
def test_real_pool_is_read_whole_within_a_gigabyte(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(FILE), str(tmp_path / "pool")]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert (report["rows"], report["skipped"], report["format"]) == (55_614, 0, "messages")
    assert report["rss"] < 1_000_000  # KiB
    Pool.open(tmp_path / "pool").verify()
