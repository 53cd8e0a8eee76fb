"""CSV: stray quotes that swallow rows, cells that are meant to hold lines, delimiters, encodings."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, Pool, ingest

Write = Callable[..., Path]


def table(rows: list[list[str]], **settings: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", **settings).writerows(rows)
    return text.getvalue()


def plain(count: int) -> list[str]:
    return [f"question {i},answer {i}" for i in range(count)]


# Stray quotes


@pytest.mark.parametrize("span", [1, 2, 3, 9, 50])
@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ('question {},"answer {}', 'question {},answer {}"'),
        ('"question {},answer {}', 'question {},answer {}"'),
        ('"question {},answer {}', 'question {}",answer {}'),
        ('question {},"answer {}', 'question {}",answer {}'),
    ],
)
def test_two_stray_quotes_far_apart_are_refused_with_their_line(
    opened: str, closed: str, span: int, write: Write, tmp_path: Path
) -> None:
    lines = plain(100)
    lines[20] = opened.format(20, 20)
    lines[20 + span] = closed.format(20 + span, 20 + span)
    with pytest.raises(PoolError) as error:
        ingest([write("rows.csv", "\n".join(["prompt,completion", *lines]))], tmp_path / "pool")
    assert str(error.value).startswith(f"{tmp_path}/rows.csv:22: ")
    assert f"the lines 22 to {22 + span}" in str(error.value)
    assert "--quotes trust" in str(error.value)
    assert not (tmp_path / "pool").exists()


def test_a_swallowed_stretch_whose_last_line_is_cut_is_refused(write: Write, tmp_path: Path) -> None:
    lines = [f"q{i},a{i}" for i in range(10_000)]
    lines[5], lines[6000] = 'q5,"a5', 'a6000"'
    path = write("rows.csv", "\n".join(["prompt,completion", *lines]))
    with pytest.raises(PoolError, match="the lines 7 to 6,002"):
        ingest([path], tmp_path / "pool")
    assert ingest([path], tmp_path / "pool", IngestConfig(quotes="trust")).rows == 4005


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"question 20,answer 20', "is never closed, so that 81 lines would be lost"),
        ('question 20,"answer 20', "is never closed, so that 81 lines would be lost"),
    ],
)
def test_a_quote_that_is_never_closed_is_refused(line: str, message: str, write: Write, tmp_path: Path) -> None:
    lines = plain(101)
    lines[20] = line
    with pytest.raises(PoolError, match=rf"rows\.csv:22: .*{message}"):
        ingest([write("rows.csv", "\n".join(["prompt,completion", *lines]))], tmp_path / "pool")


def test_a_quote_that_ends_inside_the_next_quoted_cell_is_refused(write: Write, tmp_path: Path) -> None:
    lines = plain(40)
    lines[20] = '"question 20,answer 20'
    lines[25] = 'question 25,"one, two"'
    path = write("rows.csv", "\n".join(["prompt,completion", *lines]))
    with pytest.raises(PoolError, match=r"rows\.csv:22: .* swallows the lines up to 27, so that 6 lines would be lost"):
        ingest([path], tmp_path / "pool")
    report = ingest([path], tmp_path / "pool", IngestConfig(quotes="none"))
    assert (report.rows, report.skipped) == (39, 1)  # the row with a comma in its cell
    assert Pool.open(tmp_path / "pool").texts([20]) == ['"question 20\nanswer 20']


def test_a_swallowed_stretch_in_a_row_with_too_many_cells_is_refused(write: Write, tmp_path: Path) -> None:
    lines = plain(40)
    lines[20], lines[30] = 'question 20,"answer 20', 'question 30",answer 30'
    lines[30] += ",more"
    with pytest.raises(PoolError, match="look like rows of their own"):
        ingest([write("rows.csv", "\n".join(["prompt,completion", *lines]))], tmp_path / "pool")


def test_stray_quotes_among_rows_with_empty_cells_are_refused(write: Write, tmp_path: Path) -> None:
    lines = [f"do {i},,done {i}" for i in range(40)]
    lines[10], lines[17] = 'do 10,,"done 10', 'do 17,,done 17"'
    with pytest.raises(PoolError, match="the lines 12 to 19"):
        ingest([write("rows.csv", "\n".join(["instruction,input,output", *lines]))], tmp_path / "pool")


def test_a_quote_in_the_header_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"rows\.csv:1: .*header"):
        ingest([write("rows.csv", "\n".join(['prompt,"completion', *plain(9), 'question,answer"']))], tmp_path / "pool")


def test_quotes_inside_cells_are_text(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", 'prompt,completion\n5" disk,a\nsay "hi",b\n"12 inch" disk,c\nlast,d\n')
    report = ingest([path], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").texts() == ['5" disk\na', 'say "hi"\nb', "last\nd"]
    assert [(bad.line, bad.reason[:13]) for bad in report.bad] == [(4, "not valid CSV")]


# Cells that are meant to hold several lines

POEM = "Roses are red, violets are blue,\nsugar is sweet,\nand so are you, dear."
CODE = "def f(a, b):\n    return g(a,b)\n\nprint(f(1,2))"
TABLE = "name,age\nTom,5\nAnn,6\nEve,7\nBob,8"
LETTER = "Dear Sir,\nthank you, and goodbye,\nTom"
INTRODUCED = f"Here it is:\n{TABLE}"
CELLS = [
    POEM,
    CODE,
    TABLE,
    LETTER,
    INTRODUCED,
    'She said: "one, two"\nand left',
    "a\n\n\nb",
    "x\r\ny",
    "two\nlines,",
    '"\n"',
]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_cells_of_several_lines_are_read(quoting: int, delimiter: str, write: Write, tmp_path: Path) -> None:
    rows = [["prompt", "completion"], *([f"Question {i}: {cell}", cell] for i, cell in enumerate(CELLS))]
    rows += [["What about this one?", cell] for cell in CELLS]
    rows += [[f"{cell}\nWhat about this?", "Nothing."] for cell in CELLS]
    ingest([write("rows.csv", table(rows, quoting=quoting, delimiter=delimiter))], tmp_path / "pool")
    assert [[turn["content"] for turn in turns] for turns in Pool.open(tmp_path / "pool").messages()] == rows[1:]


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != INTRODUCED])
def test_the_only_cell_of_several_lines_is_read(cell: str, write: Write, tmp_path: Path) -> None:
    rows = [["prompt", "completion"], ["What is it?", "That."], ["Write it.", cell], [cell, "Read."], ["And?", "No."]]
    ingest([write("rows.csv", table(rows))], tmp_path / "pool")
    assert [[turn["content"] for turn in turns] for turns in Pool.open(tmp_path / "pool").messages()] == rows[1:]


def test_a_table_behind_a_sentence_is_no_swallowed_stretch_where_its_lines_are_unlike_the_rows(
    write: Write, tmp_path: Path
) -> None:
    rows = [["prompt", "completion"]]
    rows += [
        [f"Please tell me all you know about number {i}.", f"The number {i} is followed by {i + 1}."] for i in range(20)
    ]
    rows.insert(9, ["Please tell me who is how old as CSV.", INTRODUCED])
    ingest([write("rows.csv", table(rows))], tmp_path / "pool")
    assert len(Pool.open(tmp_path / "pool")) == 21


WORDS = st.lists(
    st.sampled_from(["a", "bee", ", ", '"', "\n", " ", ";", "|", "\t", ".", "\r\n", "- ", "é"]), min_size=1, max_size=20
).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_a_csv_writer_writes_is_read(
    cells: list[tuple[str, str]], delimiter: str, quoting: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With ``trust`` always; with ``check`` the same or, for text that looks like rows, a refusal, never other rows."""
    folder = tmp_path_factory.mktemp("csv")
    rows = [[f"Q {prompt} .", f"{completion} ."] for prompt, completion in cells]
    path = folder / "rows.csv"
    path.write_text(table([["prompt", "completion"], *rows], delimiter=delimiter, quoting=quoting), newline="")
    for quotes in ("trust", "check"):
        config = IngestConfig(quotes=quotes, delimiter=delimiter, on_bad_row="refuse")
        try:
            ingest([path], folder / quotes, config)
        except PoolError as error:
            assert quotes == "check"
            assert "look like rows of their own" in str(error)
        else:
            found = Pool.open(folder / quotes).messages()
            assert [[turn["content"] for turn in turns] for turns in found] == rows


# Delimiters


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "'|'")])
def test_other_delimiters_are_found_and_said(delimiter: str, name: str, write: Write, tmp_path: Path) -> None:
    rows = [["id", "prompt", "completion"], ["a", "one, two, three", "four"], ["b", "five, six", "seven"]]
    report = ingest([write("rows.csv", table(rows, delimiter=delimiter))], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").texts() == ["one, two, three\nfour", "five, six\nseven"]
    assert [f"separated by {name}: if that is wrong, give --delimiter" in note for note in report.notes] == [True]
    assert Pool.open(tmp_path / "pool").manifest.files[0].delimiter == delimiter


def test_a_comma_file_is_read_without_a_word(write: Write, tmp_path: Path) -> None:
    report = ingest([write("rows.csv", "prompt,completion\na;b;c,d\ne|f,g\n")], tmp_path / "pool")
    assert report.notes == ()
    assert Pool.open(tmp_path / "pool").texts() == ["a;b;c\nd", "e|f\ng"]


def test_a_tsv_with_commas_is_said(write: Write, tmp_path: Path) -> None:
    report = ingest([write("rows.tsv", "prompt,completion\na,b\n")], tmp_path / "pool")
    assert ["separated by comma" in note for note in report.notes] == [True]


def test_a_header_that_two_delimiters_fit_is_refused_until_one_is_named(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", "prompt;x|completion\na;b|c\nd;e|f\n")
    with pytest.raises(PoolError, match=r"rows\.csv:1: .* semicolon or '\|': say which with --delimiter"):
        ingest([path], tmp_path / "pool")
    for name in ("|", "pipe"):
        config = IngestConfig(delimiter=name, map={"prompt": "prompt;x", "response": "completion"})
        assert ingest([path], tmp_path / name.replace("|", "bar"), config).rows == 2
    assert Pool.open(tmp_path / "pipe").texts() == ["a;b\nc", "d;e\nf"]


@pytest.mark.parametrize("delimiter", ["", ",,", "\n", '"', "a", "é"])
def test_what_is_no_delimiter_is_refused(delimiter: str) -> None:
    with pytest.raises(ValueError, match="one character"):
        IngestConfig(delimiter=delimiter)


# Encodings

TEXT = "prompt,completion\nGröße im Café?,“Zwei” – naïve Façade\nnext,5 € Übermut\n"
ROWS = ["Größe im Café?\n“Zwei” – naïve Façade", "next\n5 € Übermut"]


@pytest.mark.parametrize(
    ("encoding", "seen", "note"),
    [
        ("utf-8", "utf-8", None),
        ("utf-8-sig", "utf-8", None),
        ("utf-16", "utf-16", "read as UTF-16"),
        ("utf-16-le", "utf-16-le", "read as UTF-16-LE"),
        ("utf-16-be", "utf-16-be", "read as UTF-16-BE"),
        ("utf-32", "utf-32", "read as UTF-32"),
        ("cp1252", "cp1252", "not UTF-8 and was read as Windows-1252 (line 2: 'Größe')"),
    ],
)
@pytest.mark.parametrize("crlf", [False, True])
def test_encodings_are_told_and_said(
    encoding: str, seen: str, note: str | None, crlf: bool, write: Write, tmp_path: Path
) -> None:
    text = TEXT.replace("\n", "\r\n") if crlf else TEXT
    report = ingest([write("rows.csv", text.encode(encoding))], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").texts() == ROWS
    assert (report.notes == ()) if note is None else (len(report.notes) == 1 and note in report.notes[0])
    assert Pool.open(tmp_path / "pool").manifest.files[0].encoding == (None if seen == "utf-8" else seen)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Привет мир, это вопрос"),
        ("iso-8859-7", "Καλημέρα κόσμε"),
        ("shift_jis", "こんにちは、世界"),
        ("gb18030", "你好世界"),
        ("euc-kr", "안녕하세요 세계"),
        ("cp1250", "Źdźbło trawy, zażółć gęślą jaźń"),
        ("cp437", "Größe für schöne Mädchen"),
        ("mac_roman", "Größe für schöne Mädchen, déjà vu"),
    ],
)
def test_encodings_that_cannot_be_told_are_refused_until_they_are_named(
    encoding: str, text: str, write: Write, tmp_path: Path
) -> None:
    path = write("rows.csv", f'prompt,completion\nfirst,one\n"{text}",two\n'.encode(encoding))
    with pytest.raises(PoolError, match=r"rows\.csv:3: the file is not UTF-8, .* name it with --encoding"):
        ingest([path], tmp_path / "pool")
    ingest([path], tmp_path / "pool", IngestConfig(encoding=encoding))
    assert Pool.open(tmp_path / "pool").texts([1]) == [f"{text}\ntwo"]


def test_a_wrong_encoding_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"rows\.csv: the bytes behind line 1 are not utf-16"):
        ingest([write("rows.csv", b"prompt,completion\nq,a")], tmp_path / "pool", IngestConfig(encoding="utf-16"))
    with pytest.raises(ValueError, match="no encoding of text"):
        IngestConfig(encoding="base64")
    with pytest.raises(ValueError, match="no encoding of text"):
        IngestConfig(encoding="nonsense")


def test_the_last_byte_of_a_long_file_counts(write: Write, tmp_path: Path) -> None:
    lines = ["prompt,completion", *("plain,text" for _ in range(200_000)), "caf\xe9,x", "\u00fcber,y"]
    report = ingest([write("rows.csv", "\n".join(lines).encode("cp1252"))], tmp_path / "pool")
    assert "(line 200002: 'café')" in report.notes[0]
    assert Pool.open(tmp_path / "pool").texts([200_000]) == ["café\nx"]


def test_quoted_words_that_end_in_a_sharp_s_are_windows_1252(write: Write, tmp_path: Path) -> None:
    text = "prompt;completion\nWie groß?;\u201egroß\u201c und \u201eSpaß\u201d \u2013 Übung\n"  # ß“ is a character of UTF-8 (N'Ko), too
    report = ingest([write("rows.csv", text.encode("cp1252"))], tmp_path / "pool")
    assert any("was read as Windows-1252" in note for note in report.notes)
    assert Pool.open(tmp_path / "pool").texts() == ["Wie groß?\n\u201egroß\u201c und \u201eSpaß\u201d \u2013 Übung"]


def test_json_lines_of_another_encoding_are_refused_with_its_name(write: Write, tmp_path: Path) -> None:
    line = '{"prompt": "q", "completion": "é"}\n'
    for name, encoding in (("a.jsonl", "utf-16"), ("b.json", "utf-16-be"), ("c.jsonl", "utf-32-le")):
        path = write(name, line.encode(encoding))
        with pytest.raises(
            PoolError, match=f"{name} is {encoding.upper()}, and JSON is UTF-8: .*--encoding {encoding}"
        ):
            ingest([path], tmp_path / "pool")
        ingest([path], tmp_path / name.replace(".", "-"), IngestConfig(encoding=encoding))
        assert Pool.open(tmp_path / name.replace(".", "-")).texts() == ["q\né"]
    latin = write("latin.jsonl", line.encode("latin-1"))
    ingest([latin], tmp_path / "latin", IngestConfig(encoding="latin-1"))
    assert Pool.open(tmp_path / "latin").texts() == ["q\né"]


# Lines


def test_lines_that_end_in_carriage_returns_alone(write: Write, tmp_path: Path) -> None:
    ingest([write("rows.csv", 'prompt,completion\rq,a\rr,"b\rc"\r')], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").texts() == ["q\na", "r\nb\rc"]


def test_lines_that_end_in_both_ways(write: Write, tmp_path: Path) -> None:
    ingest([write("rows.csv", "prompt,completion\r\nq,a\nr,b\r\n\r\n\ns,c")], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert (pool.texts(), pool.lines()) == (["q\na", "r\nb", "s\nc"], [2, 3, 6])


def test_a_file_without_a_header_is_told(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"'What is 2\+2\?', '4'.*header"):
        ingest([write("rows.csv", "What is 2+2?,4\nWhat is 2+3?,5\n")], tmp_path / "pool")


def test_empty_cells_too_many_at_the_end_are_passed_over(write: Write, tmp_path: Path) -> None:
    text = "prompt,completion\nq1,a1,\nq2,a2,,\nq3,a3,more\nq4\n"
    report = ingest([write("rows.csv", text)], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert [[turn["content"] for turn in row] for row in pool.messages()] == [["q1", "a1"], ["q2", "a2"]]
    assert report.skipped == 2
