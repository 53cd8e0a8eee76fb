"""Tables of runs: what is read, and one sentence for whatever is wrong with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import losses, mixtures, two_levels, write

from autoselection.errors import ConfigError
from autoselection.mixture import Runs, ScoreColumns, parse_costs, read_runs

LOSS = [ScoreColumns("loss/*", True)]
HEAD = "model,share/a,share/b,loss/x\n"
GOOD = HEAD + "".join(f"s,0.{n},0.{10 - n},{n}.5\n" for n in range(1, 9))


def read(path: Path, **options: object) -> Runs:
    return read_runs(path, ["share/*"], LOSS, **options)  # type: ignore[arg-type]


def test_a_table_is_read_with_levels_by_cost_and_missing_scores(tmp_path: Path) -> None:
    shares, values, levels = two_levels(8, 3)
    values[0, 1] = np.nan
    runs = read(write(tmp_path / "runs.csv", shares, -values, levels), level="model", costs={"small": 1, "large": 9})
    assert runs.sources == ("share/web", "share/code", "share/maths", "share/books")
    assert runs.levels.names == ("small", "large") and runs.levels.costs == (1.0, 9.0)
    assert runs.shares == pytest.approx(shares, abs=1e-5)
    assert runs.values == pytest.approx(values, abs=1e-5, nan_ok=True)
    assert list(runs.lines[:3]) == [2, 3, 4] and list(runs.level) == list(levels)


def test_runs_dearer_than_the_target_are_left_out_and_counted(tmp_path: Path) -> None:
    shares, values, levels = two_levels(8, 3)
    path = write(tmp_path / "runs.csv", shares, -values, levels)
    runs = read(path, level="model", target="small", costs={"small": 1, "large": 9})
    assert len(runs.shares) == 8 and runs.levels.names == ("small",)
    assert runs.notices == ("3 of 11 runs are at a level dearer than the target and are left out.",)


def test_semicolons_quotes_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    text = GOOD.replace(",", ";").replace("share/a", '"share/a;c"')
    path.write_text("\ufeff" + text, encoding="utf-8")
    assert read(path).sources == ("share/a;c", "share/b")


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_a_character_that_ends_no_line_of_a_csv_file_may_stand_in_a_cell(tmp_path: Path, character: str) -> None:
    path = tmp_path / "runs.csv"
    note = f"one{character}two"
    rows = GOOD.replace("loss/x\n", f"loss/x,n{character}b\n").replace(".5\n", f".5,{note}\n")
    path.write_text(rows, encoding="utf-8", newline="")
    runs = read(path)
    assert list(runs.lines) == list(range(2, 10)) and runs.scores[:, 0] == pytest.approx(np.arange(1, 9) + 0.5)


def test_decimal_commas_and_percent_as_spreadsheets_write_them(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    expected = np.array([[n / 10, 1 - n / 10] for n in range(1, 9)])
    path.write_text(GOOD.replace(",", ";").replace(".", ","), encoding="utf-8")
    assert read(path).shares == pytest.approx(expected)
    assert read(path).scores[:, 0] == pytest.approx(np.arange(1, 9) + 0.5)
    percent = HEAD.replace(",", "\t") + "".join(f"s\t{n}0,0%\t{100 - 10 * n} %\t{n}\n" for n in range(1, 9))
    path.write_text(percent, encoding="utf-8")
    assert read(path).shares == pytest.approx(expected)
    # Two levels that cost the same are no riddle once one is named.
    path.write_text(GOOD + "t,0.5,0.5,1\n", encoding="utf-8")
    assert read(path, level="model", costs={"s": 2, "t": 2}, target="s").levels.names == ("t", "s")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "the file is empty"),
        ("   \n\n", {}, "the file is empty"),
        ("\ufeff", {}, "the file is empty"),
        ("\ufeff\n\u2028 ", {}, "the file is empty"),
        ("\x00\x01binary,\x02", {}, "zero bytes"),
        ("once upon a time\nthere was no table\n", {}, "no comma, semicolon or tab"),
        (HEAD, {}, "no run below it"),
        (GOOD.replace("share/b", "share/a"), {}, "names the column 'share/a' 2 times"),
        (GOOD.replace("share/", "part/"), {}, "no column matches --share 'share/*'"),
        (GOOD.replace("loss/", "score/"), {}, "no column matches --score 'loss/*'"),
        (GOOD.replace("0.1,0.9", "0.1,0.7"), {}, ":2: the shares (share/a to share/b) sum to 0.8, not to 1: divide"),
        (GOOD.replace("0.1,0.9", "-0.1,1.1"), {}, ":2: column 'share/a' is '-0.1', which is no share"),
        (GOOD.replace("0.2,0.8", "nan,0.8"), {}, ":3: column 'share/a' is 'nan', which is no share"),
        (GOOD.replace("0.2,0.8", ",1"), {}, ":3: column 'share/a' is empty: write 0"),
        (GOOD.replace("0.1,0.9", "0,0"), {"normalise": True}, ":2: all shares are 0"),
        (GOOD.replace("2.5", "NaN"), {}, ":3: column 'loss/x' is 'NaN', which is no number: leave the cell empty"),
        (GOOD.replace("2.5", "inf"), {}, ":3: column 'loss/x' is 'inf'"),
        (GOOD.replace("2.5", "2.5,9"), {}, ":3: 5 cells where the header has 4"),
        (HEAD + "s,0.1,0.9,1\ns,0.2,0.8,2\n", {}, "2 runs with a score: at least 5 are needed"),
        (HEAD + "".join(f"s,0.{n},0.{10 - n},3\n" for n in range(1, 9)), {}, "'loss/x' is constant"),
        (HEAD + 's,0.1,0.9,"3\n', {}, "not a CSV file"),
        (GOOD, {"level": "modle", "costs": {"s": 1}}, "no column 'modle' (--level); did you mean 'model'?"),
        (GOOD, {"level": "model"}, "the level 's' of column 'model' has no cost: add it to --cost"),
        (GOOD, {"level": "model", "costs": {"s": 1, "t": 2}}, "--cost names the unknown level 't'"),
        (GOOD, {"level": "model", "costs": {"s": 1}, "target": "S"}, "--target names the unknown level 'S'"),
        (GOOD.replace("s,0.1", ",0.1"), {"level": "model", "costs": {"s": 1}}, ":2: column 'model' is empty"),
        (GOOD, {"target": "s"}, "name the column of levels with --level"),
        (
            GOOD + "t,0.5,0.5,1\n",
            {"level": "model", "costs": {"s": 2, "t": 2}},
            "'s' and 't' cost the same, so neither",
        ),
        (HEAD + "".join(f"s,0.3,0.7,{n}\n" for n in range(9)), {}, "every run has the same mixture"),
    ],
)
def test_one_sentence_for_what_is_wrong(tmp_path: Path, text: str, options: dict[str, object], said: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read(path, **options)
    message = str(error.value)
    assert said in message and message.count("\n") == 0
    assert message.startswith((str(path), "--"))


def test_what_is_not_text_or_no_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(b"a,b\n1,\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"runs.csv:2: not UTF-8 text"):
        read(path)
    with pytest.raises(ConfigError, match="this is a folder"):
        read(tmp_path)


def test_messages_escape_what_a_terminal_would_obey(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(GOOD.replace("2.5", "\x1b[31mred"), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read(path)
    assert "\x1b" not in str(error.value) and "\\x1b[31mred" in str(error.value)


def test_a_column_cannot_be_share_and_score_nor_go_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigError, match="named by --share and by --score"):
        read_runs(path, ["share/*"], [ScoreColumns("share/a", True)])
    with pytest.raises(ConfigError, match="both ways"):
        read_runs(path, ["share/*"], [*LOSS, ScoreColumns("loss/x", False)])
    with pytest.raises(ConfigError, match="two sources or more"):
        read_runs(path, ["share/a"], LOSS)


def test_lenient_reading_counts_what_it_leaves_out(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.csv", mixtures(9), np.column_stack([losses(mixtures(9))[:, 0], np.full(9, 2.0)]))
    text = path.read_text(encoding="utf-8").splitlines()
    text[2] = "x" + text[2]
    text[3] = text[3].rpartition(",")[0].rpartition(",")[0] + ",nan,"
    path.write_text("\n".join(text), encoding="utf-8")
    runs = read(path, lenient=True, missing=frozenset({"", "nan"}))
    assert len(runs.shares) == 7 and runs.columns == ("loss/web",)
    assert [notice.split(":")[0] for notice in runs.notices] == [
        "1 of 9 runs have shares that cannot be used and are left out.",
        "1 of 9 runs have no score and are left out.",
        "The column 'loss/code' is constant, every run scores 2, so that there is nothing to learn from it",
    ]


def test_directions_and_costs() -> None:
    assert ScoreColumns.parse("loss/*:min") == ScoreColumns("loss/*", True)
    assert ScoreColumns.parse("acc:max") == ScoreColumns("acc", False) == ScoreColumns.parse("acc")
    assert parse_costs("1M=1, 60M=20,") == {"1M": 1.0, "60M": 20.0}
    for text in ("1M", "1M=0", "1M=x", "=3", "1M=inf", "1M=nan"):
        with pytest.raises(ConfigError, match="is not LEVEL=COST"):
            parse_costs(text)
    with pytest.raises(ConfigError, match="'a' stands there twice"):
        parse_costs("a=1,a=2")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.lists(
                st.sampled_from(["0.5", "1", "", "nan", '"', "x", "share/a", "loss/x", "1e400", "\x85"]), max_size=5
            )
        ).map(lambda rows: "\n".join(["share/a,share/b,loss/x", *(",".join(row) for row in rows)]).encode()),
    )
)
def test_whatever_the_bytes_there_is_a_table_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    try:
        runs = read(path)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(runs.shares).all()
