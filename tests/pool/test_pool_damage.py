"""What is damaged is found before it is used: checksums of tables and manifest, old pools, what the stamps believe."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoselection import files
from autoselection.cli import app
from autoselection.errors import PoolError
from autoselection.pool import Pool, ingest

Write = Callable[..., Path]

#: Flips bits of one file of a pool and reads it back; a segmentation fault ends the process, which the test would see.
FLIPS = """
import random, sys
from pathlib import Path
from autoselection.errors import AutoSelectionError
from autoselection.pool import Pool

def content():
    pool = Pool.open(sys.argv[1])
    return pool.messages(), pool.metas(), pool.row_ids(), pool.sources(), pool.manifest

draw, right = random.Random(int(sys.argv[3])), content()
path = Path(sys.argv[1]) / sys.argv[2]
sound = path.read_bytes()
found = {"detected": 0, "harmless": 0}
for _ in range(int(sys.argv[4])):
    flipped = bytearray(sound)
    flipped[draw.randrange(len(sound))] ^= 1 << draw.randrange(8)
    path.write_bytes(flipped)
    try:
        assert content() == right, "read in silence"
        found["harmless"] += 1
    except AutoSelectionError as error:
        assert "damaged" in str(error) or "layout version" in str(error), error
        found["detected"] += 1
print(found["detected"], found["harmless"])
"""


@pytest.fixture
def pool(write: Write, tmp_path: Path) -> Pool:
    """Thirty rows of two sources, ten of them appended."""
    rows = [{"prompt": f"q{i}", "completion": "a" * (1 + i % 7), "source": "ab"[i % 2], "extra": i} for i in range(30)]
    ingest([write("rows.jsonl", rows[:20])], tmp_path / "pool")
    ingest([write("more.jsonl", rows[20:])], tmp_path / "pool", append=True)
    return Pool.open(tmp_path / "pool")


@pytest.mark.parametrize("file", ["pool.arrow", "pool-0001.arrow", "manifest.json"])
def test_no_flipped_bit_is_read_in_silence(pool: Pool, file: str) -> None:
    command = [sys.executable, "-c", FLIPS, str(pool.path), file, "7", "200"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    detected, harmless = map(int, run.stdout.split())
    # Blanks between the manifest's fields, and the case of an escape's digits, carry nothing.
    assert detected + harmless == 200 and (harmless == 0 or file == "manifest.json") and detected > 100


def without_checksums(path: Path) -> dict[str, Any]:
    """Rewrite a pool's manifest as older versions wrote it."""
    document: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    del document["checksum"]
    for table in document["tables"]:
        del table["blake2b"]
    (path / "manifest.json").write_text(json.dumps(document))
    return document


def test_an_old_pool_is_compared_with_its_fingerprint_once(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    document = without_checksums(pool.path)
    assert Pool.open(pool.path).row_ids() == pool.row_ids()
    assert "made by an older version, without checksums" in capsys.readouterr().err
    assert Pool.open(pool.path).row_ids() == pool.row_ids()
    assert "older version" not in capsys.readouterr().err
    table = pool.path / "pool.arrow"
    sound = table.read_bytes()
    table.write_bytes(sound.replace(b"q7", b"Q7"))
    with pytest.raises(PoolError, match=r"pool\.arrow does not have its checksum"):
        Pool.open(pool.path)
    (pool.path / files.STAMPS_FILE).unlink()  # what was noted is gone: the fingerprint tells
    with pytest.raises(PoolError, match="do not match its fingerprint"):
        Pool.open(pool.path)
    table.write_bytes(sound)
    (pool.path / "manifest.json").write_text(json.dumps(document | {"fingerprint": "0" * 32}))
    with pytest.raises(PoolError, match="do not match its fingerprint"):
        Pool.open(pool.path)


def test_an_append_gives_an_old_pool_checksums(pool: Pool, write: Write) -> None:
    without_checksums(pool.path)
    ingest([write("last.jsonl", [{"prompt": "new", "completion": "row"}])], pool.path, append=True)
    assert all(record.blake2b for record in Pool.open(pool.path).manifest.tables)
    assert Pool.open(pool.path, fingerprint=pool.fingerprint).messages() == pool.messages()


def test_a_damaged_pool_is_ingested_again_and_keeps_what_was_computed_from_it(pool: Pool, tmp_path: Path) -> None:
    (pool.path / "signals" / "computed").write_text("dear")
    right = pool.messages()
    table = pool.path / "pool.arrow"
    table.write_bytes(table.read_bytes().replace(b"q7", b"Q7"))
    with pytest.raises(PoolError, match="--overwrite") as caught:
        Pool.open(pool.path)
    assert str(tmp_path / "rows.jsonl") in str(caught.value)
    ingest([tmp_path / "rows.jsonl", tmp_path / "more.jsonl"], pool.path, overwrite=True)
    assert Pool.open(pool.path).messages() == right
    assert (pool.path / "signals" / "computed").read_text() == "dear"
    ingest([tmp_path / "rows.jsonl"], pool.path, overwrite=True)
    assert not (pool.path / "signals" / "computed").exists(), "another pool has nothing of the old one's"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_file_is_read_again_only_if_it_changed(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    table, read = pool.path / "pool.arrow", []
    checksum = files.checksum

    def counted(path: Path) -> str:
        read.append(path.name)
        return checksum(path)

    monkeypatch.setattr(files, "checksum", counted)
    written = max(path.stat().st_ctime for path in pool.path.glob("*.arrow"))
    time.sleep(max(0.0, written + files._RESTED + 0.1 - time.time()))
    Pool.open(pool.path)
    assert sorted(read) == ["pool-0001.arrow", "pool.arrow"]
    Pool.open(pool.path)
    files._good.clear()  # another process
    Pool.open(pool.path)
    assert len(read) == 2
    old = table.stat()
    sound = table.read_bytes()
    with table.open("r+b") as stream:  # the same size, inode and time of change, as a restored backup may have
        stream.write(sound.replace(b"q7", b"Q7"))
    os.utime(table, ns=(old.st_atime_ns, old.st_mtime_ns))
    with pytest.raises(PoolError, match="does not have its checksum"):
        Pool.open(pool.path)


@pytest.mark.parametrize("stamps", [b"", b"[1, 2]", b"{", b"[" * 100_000, b'{"pool.arrow": 3}', b"\xff\xfe"])
def test_a_damaged_stamp_file_only_costs_a_check(pool: Pool, stamps: bytes) -> None:
    (pool.path / files.STAMPS_FILE).write_bytes(stamps)
    assert Pool.open(pool.path).messages() == pool.messages()
    table = pool.path / "pool.arrow"
    flipped = bytearray(table.read_bytes())
    flipped[random.Random(0).randrange(len(flipped))] ^= 4
    table.write_bytes(flipped)
    with pytest.raises(PoolError, match="does not have its checksum"):
        Pool.open(pool.path)


def test_a_manifest_of_a_wrong_shape_is_one_sentence(pool: Pool) -> None:
    for content in (b"[]", b"3", b"[" * 100_000, b'{"rows": ' + b"9" * 5000 + b"}", b"\xff\xfe{}", b"{}"):
        (pool.path / "manifest.json").write_bytes(content)
        with pytest.raises(PoolError, match=r"manifest of the pool .* is damaged"):
            Pool.open(pool.path)


def test_the_command_reads_everything_anew(pool: Pool) -> None:
    run = CliRunner().invoke(app, ["pool", "verify", str(pool.path), "--json"])
    assert run.exit_code == 0 and json.loads(run.stdout) == {"rows": 30, "signals": 0}
