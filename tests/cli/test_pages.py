"""Options that write pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from command_line import Outcome


def test_materialize_and_pool_stats_write_pages_beside_their_tables(
    command: Callable[..., Outcome], pool: Path, tmp_path: Path
) -> None:
    assert command("score", pool, "--signals", "lengths,ngram_entropy,text_hash").code == 0
    selection, stats = tmp_path / "selection.html", tmp_path / "stats.html"
    shown = command("materialize", "text-only", "--pool", pool, "--html", selection)
    assert shown.code == 0 and "rows out" in shown.out
    text = selection.read_text("utf-8")
    assert "From pool to subset" in text and "What each step kept and dropped" in text
    assert command("pool", "stats", pool, "--html", stats, "--json").code == 0
    assert "Rows by source" in stats.read_text("utf-8")


def test_a_page_does_not_replace_what_is_read(command: Callable[..., Outcome], rows: Path) -> None:
    before = rows.read_bytes()
    for words in (("materialize", "text-only", "--pool", rows), ("pool", "stats", rows)):
        refused = command(*words, "--html", rows)
        assert refused.code == 2 and "--html" in refused.err
    assert rows.read_bytes() == before
