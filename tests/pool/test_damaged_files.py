"""What is no data, or only half of it: one sentence that says what, where, and what to do."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from autoselection.errors import MissingExtraError, PoolError
from autoselection.pool import IngestConfig, Pool, ingest

Write = Callable[..., Path]

ROW = b'{"prompt": "q", "completion": "a"}\n'
MANY = b"".join(json.dumps({"prompt": f"q{i * i}", "completion": "a"}).encode() + b"\n" for i in range(3000))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", ROW[:20], r":1: not valid JSON: Unterminated string starting at column 17; the file ends here"),
        (
            "x.json",
            b"[\n" + ROW + b"," + ROW[:10],
            r":3: the file ends in the middle of the JSON array, behind 1 whole",
        ),
        ("x.jsonl", ROW.strip() + ROW, r"Extra data at column 35 \(one object a line is expected\)"),
        ("x.json", b'{\n "data": []\n}', "one JSON object over several lines: .* write that list alone"),
        ("x.jsonl", b'{\n "prompt": "q"\n}\n', "one JSON object over several lines"),
        (
            "x.json",
            b'{"data": [{"prompt": "q", "completion": "a"}]}',
            "rows are in the field 'data', write that list alone",
        ),
        (
            "x.jsonl",
            '{"prompt": "é", "completion": "x"}\n'.encode("latin-1"),
            "if the file has another encoding, give --enc",
        ),
        ("x.jsonl", b"", r"x\.jsonl holds no readable row: it is empty"),
        ("x.csv", b"", r"x\.csv holds no readable row: it is empty"),
        ("x.csv", b"prompt,completion\n", r"x\.csv holds no readable row\."),
        ("x.parquet", b"", "0 bytes; it seems damaged or cut off: get it again"),
        (
            "x.jsonl.gz",
            gzip.compress(MANY, mtime=0)[:-100],
            "ended before .*; it seems damaged or cut off: get it again",
        ),
        ("x.jsonl.gz", flipped(gzip.compress(MANY, mtime=0)), "seems damaged or cut off: get it again"),
        ("x.jsonl.gz", gzip.compress(ROW, mtime=0) + b"more", "what follows its gzip data is something else"),
        ("x.jsonl.zst", pa.compress(MANY, codec="zstd", asbytes=True)[:-50], "seems damaged or cut off: get it again"),
        ("x.jsonl.bz2", bz2.compress(ROW), r"unpack it first \(bunzip2 .*x\.jsonl\.bz2\)"),
        ("x.jsonl", bz2.compress(ROW), r"packed by bzip2, which is not read: unpack it first"),
        ("x.csv.zip", b"PK\x03\x04", r"unpack it first \(unzip .*x\.csv\.zip\)"),
        (
            "x.jsonl",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 5\n",
            "pointer of Git LFS, .* git lfs pull",
        ),
        ("x.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "pointer of Git LFS"),
        ("x.csv", b"\n<!DOCTYPE html><html>", "is a web page, not data"),
        ("x.jsonl.gz", b"<html>Not found</html>", "is a web page, not data"),
        ("x.xls", b"\xd0\xcf", r"only \.xlsx is read"),
        ("x.xlsx", b"PK\x03\x04nonsense", r"cannot be read as an Excel workbook \(.*\): save it again"),
        ("x", ROW, "Cannot tell what .* from its suffix ''"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else None,
)
def test_the_sentence(name: str, content: bytes, message: str, write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=message) as error:
        ingest([write(name, content)], tmp_path / "pool")
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pool").exists()


def test_a_column_name_that_is_no_text_is_damage(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prompt": ["q"], "completion": ["a"]}), tmp_path / "x.parquet", compression="none")
    damaged = (tmp_path / "x.parquet").read_bytes().replace(b"prompt", b"pr\xe5mpt")
    (tmp_path / "x.parquet").write_bytes(damaged)
    with pytest.raises(PoolError, match=r"x\.parquet cannot be read: .*seems damaged or cut off"):
        ingest([tmp_path / "x.parquet"], tmp_path / "pool")


def test_the_whole_rows_of_a_half_written_file_are_kept(write: Write, tmp_path: Path) -> None:
    report = ingest([write("x.jsonl", MANY[:-20])], tmp_path / "pool")
    assert (report.rows, report.skipped, report.bad[0].line) == (2999, 1, 3000)
    assert "in the middle of a row (half-written?)" in report.bad[0].reason
    report = ingest([write("y.jsonl", ROW + b"{]\n")], tmp_path / "other")
    assert "half-written" not in report.bad[0].reason


@pytest.mark.parametrize("padding", [1, 512, 100_000])
def test_zeros_behind_gzip_members_are_padding(padding: int, write: Write, tmp_path: Path) -> None:
    zeros = bytes(padding)
    path = write("x.jsonl.gz", gzip.compress(ROW) + zeros + gzip.compress(ROW * 2) + zeros)
    assert ingest([path], tmp_path / "pool").rows == 3


def test_a_name_that_promises_gzip_may_hold_text(write: Write, tmp_path: Path) -> None:
    assert ingest([write("x.jsonl.gz", ROW)], tmp_path / "pool").rows == 1


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"a": 2}]', '[\n{"a": 1},\n{"a": 2}\n]\n', '\ufeff [ {"a": 1}, {"a": 2} ]']
)
def test_an_array_in_a_file_named_jsonl_is_read(text: str, write: Write, tmp_path: Path) -> None:
    rows = text.replace('"a": 1', '"prompt": "q", "completion": "a"').replace(
        '"a": 2', '"prompt": "r", "completion": "b"'
    )
    assert ingest([write("x.jsonl", rows)], tmp_path / "pool").rows == 2
    assert Pool.open(tmp_path / "pool").texts() == ["q\na", "r\nb"]


def test_lists_on_lines_are_rows_of_json_lines(write: Write, tmp_path: Path) -> None:
    report = ingest([write("x.jsonl", b"[1]\n" + ROW + b"[2]\n")], tmp_path / "pool")
    assert [(bad.line, bad.reason) for bad in report.bad] == [(1, "not a JSON object"), (3, "not a JSON object")]


def test_folders_without_data_say_so(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(PoolError, match="there is no file in it that can be read"):
        ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    (tmp_path / "rows.jsonl" / "a b.jsonl").write_bytes(ROW)
    with pytest.raises(PoolError, match=r"give the files in it by name: '.*/rows\.jsonl/a b\.jsonl'\."):
        ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")


# Missing values


def test_nan_in_an_optional_column_means_missing(tmp_path: Path, write: Write) -> None:
    import pyarrow.parquet as pq

    nan = float("nan")
    row = {"instruction": ["Say hi", "Say ho"], "output": ["hi", "ho"], "id": ["a", "b"]}
    for name in ("input", "system", "history", "source", "context"):
        table = pa.table({**row, name: pa.array([nan, float("inf")])})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        report = ingest([tmp_path / f"{name}.parquet"], tmp_path / name)
        assert (report.rows, report.skipped) == (2, 0), report.bad
        assert Pool.open(tmp_path / name).texts() == ["Say hi\nhi", "Say ho\nho"]
    lines = b'{"instruction": "Say hi", "input": NaN, "output": "hi", "id": Infinity, "n": -Infinity}\n'
    ingest([write("x.jsonl", lines)], tmp_path / "json")
    pool = Pool.open(tmp_path / "json")
    assert (pool.texts(), pool.metas()) == (["Say hi\nhi"], [{}])


INVISIBLE = {
    "zero-width space": "\u200b",
    "joiners": "\u200c\u200d",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\xad\xad",
    "variation selectors": "\ufe0f\U000e0100",
    "bidirectional marks": "\u200e\u200f\u202a\u202c\u2066\u2069\u061c",
    "no-break spaces": "\xa0\u202f\u2007",
    "ideographic space": "\u3000",
    "line separators": "\u2028\u2029\x85",
    "fillers": "\u3164\u115f\u1160\uffa0",
    "blank Braille": "\u2800",
    "grapheme joiner": "\u034f",
    "tags": "\U000e0001\U000e0041",
    "mixed": " \u200b\n\ufeff\t\u2060 ",
    "controls": "\x00\x07",
}


@pytest.mark.parametrize("kind", INVISIBLE)
def test_texts_that_show_nothing_are_empty(kind: str, write: Write, tmp_path: Path) -> None:
    text = INVISIBLE[kind]
    rows = [
        {"prompt": "q", "completion": text},
        {"prompt": text, "completion": "a"},
        {"prompt": "q", "completion": f"{text}a{text}"},
    ]
    report = ingest([write("x.jsonl", rows)], tmp_path / "pool")
    assert [bad.line for bad in report.bad] == [1, 2]
    assert Pool.open(tmp_path / "pool").texts() == [f"q\n{text}a{text}"]


@pytest.mark.parametrize("text", ["\u0301", "🙂", "。", "न", "\u0604", ".", "\u00b7"])
def test_texts_that_show_something_are_not(text: str, write: Write, tmp_path: Path) -> None:
    assert ingest([write("x.jsonl", [{"prompt": "q", "completion": text}])], tmp_path / "pool").rows == 1


def test_conversations_that_the_assistant_opens_are_taken_if_asked_for(write: Write, tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    path = write("x.jsonl", [{"messages": turns}, {"messages": turns[2:]}])
    report = ingest([path], tmp_path / "pool")
    assert report.rows == 1
    (fault,) = report.faults
    assert fault.rows == 1 and "opens with an answer that nobody asked for" in fault.first.reason
    assert ingest([path], tmp_path / "all", IngestConfig(assistant_opens=True)).rows == 2


# Workbooks


def workbook(path: Path, sheets: dict[str, list[list[str | int | None]]]) -> Path:
    """A minimal workbook."""

    def cell(value: str | int | None) -> str:
        if value is None:
            return "<c/>"
        if isinstance(value, int):
            return f"<c><v>{value}</v></c>"
        return f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'

    office = "http://schemas.openxmlformats.org"
    main, relation = f"{office}/spreadsheetml/2006/main", f"{office}/officeDocument/2006/relationships"
    names = "".join(f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(sheets, 1))
    targets = "".join(
        f'<Relationship Id="r{i}" Type="{relation}/worksheet" Target="worksheets/s{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = "".join(
        f'<Override PartName="/xl/worksheets/s{i}.xml" ContentType="{kind}.worksheet+xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    packages = f"{office}/package/2006"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{packages}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
            f'ContentType="{kind}.sheet.main+xml"/>{parts}</Types>',
        )
        book.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{packages}/relationships"><Relationship Id="r1" Type="{relation}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{packages}/relationships">{targets}</Relationships>'
        )
        book.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{relation}"><sheets>{names}</sheets></workbook>'
        )
        for i, rows in enumerate(sheets.values(), 1):
            lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            book.writestr(
                f"xl/worksheets/s{i}.xml", f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>'
            )
    return path


SHEET: list[list[str | int | None]] = [
    ["Frage", "Antwort", "Nr"],
    ["What is 2+2?", 4, 1],
    [None, None, None],
    ["two\nlines, and more", "007", 2],
    ["no answer", None, 3],
]


@pytest.mark.parametrize("package", ["fastexcel", "openpyxl"])
def test_workbooks_are_read_by_either_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(package)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found(name) if name == package else None)
    path = workbook(tmp_path / "x.xlsx", {"Data": SHEET, "Empty": []})
    report = ingest([path], tmp_path / "pool", IngestConfig(map={"prompt": "frage", "response": "antwort", "id": "nr"}))
    pool = Pool.open(tmp_path / "pool")
    assert pool.texts() == ["What is 2+2?\n4", "two\nlines, and more\n007"]
    assert (pool.row_ids(), pool.lines(), pool.sources()) == (["1", "2"], [2, 4], ["x", "x"])
    assert [(bad.line, bad.reason) for bad in report.bad] == [(5, "field 'Antwort' is missing or empty")]


def test_a_sheet_is_chosen_by_split(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    sheets = {"One": SHEET, "Two": [["prompt", "completion"], ["q", "a"]]}
    path = workbook(tmp_path / "x.xlsx", sheets)
    with pytest.raises(PoolError, match="has several sheets: name one of One, Two with --split"):
        ingest([path], tmp_path / "pool")
    assert ingest([path], tmp_path / "pool", IngestConfig(split="Two")).rows == 1


def test_without_a_package_that_reads_workbooks_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "x.xlsx", {"Data": SHEET})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs the package 'openpyxl': install it with pip install openpyxl"):
        ingest([path], tmp_path / "pool")


@pytest.mark.parametrize("package", ["fastexcel", "openpyxl"])
@pytest.mark.parametrize("place", ["ZZZ9999999", "XFD1048576", "A99999999", "ZZZZZZ1"])
def test_a_cell_far_outside_is_refused_or_passed_over(
    package: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fastexcel by itself would end the process."""
    pytest.importorskip(package)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found(name) if name == package else None)
    path = workbook(tmp_path / "x.xlsx", {"Data": [["prompt", "completion"], ["q", "a"]]})
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    row, cell = re.sub("[A-Z]", "", place), f'<c r="{place}"><v>1</v></c>'
    sheet = parts["xl/worksheets/s1.xml"].replace(b"</sheetData>", f'<row r="{row}">{cell}</row></sheetData>'.encode())
    with zipfile.ZipFile(path, "w") as book:
        for name, data in parts.items():
            book.writestr(name, sheet if name.endswith("s1.xml") else data)
    try:
        assert ingest([path], tmp_path / "pool").rows == 1
    except PoolError as error:
        assert "x.xlsx" in str(error)


# The list of skipped rows


def listed(pool: Path) -> int:
    entries = [json.loads(line) for line in (pool / "skipped.jsonl").read_text().splitlines()]
    return sum(entry.get("rows", 1) for entry in entries)


def test_the_list_of_skipped_rows_is_about_as_small_as_the_input(write: Write, tmp_path: Path) -> None:
    path = write("x.jsonl", ROW + b"{\n" * 100_000)
    report = ingest([path], tmp_path / "pool")
    assert report.skipped == 100_000
    assert (tmp_path / "pool" / "skipped.jsonl").stat().st_size < 2 * path.stat().st_size
    assert listed(tmp_path / "pool") == 100_000
    more = write("y.jsonl", ROW.replace(b"q", b"r") + b"{\n" * 50_000)
    assert ingest([more], tmp_path / "pool", append=True).skipped == 150_000
    assert listed(tmp_path / "pool") == 150_000
    last = write("z.jsonl", ROW.replace(b"q", b"s") + b"{\n")
    ingest([last], tmp_path / "pool", append=True)
    assert listed(tmp_path / "pool") == 150_001


def test_long_reasons_are_cut(write: Write, tmp_path: Path) -> None:
    name = "x" * 5000
    rows = ROW + json.dumps({"prompt": "q", name: "a"}).encode() + b"\n"
    ingest([write("x.jsonl", rows)], tmp_path / "pool")
    assert max(map(len, (tmp_path / "pool" / "skipped.jsonl").read_text().splitlines())) < 600
