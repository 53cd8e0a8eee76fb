"""``benchmarks.mixtures``: odd tables, honest bookkeeping, and lines with the keys that others read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.mixtures import __main__ as command
from benchmarks.mixtures.methods import METHODS
from benchmarks.mixtures.replay import (
    Method,
    Outcome,
    OverspentError,
    Replay,
    Session,
    answered,
    judge,
    pick,
    with_complete_targets,
)

from autoselection.mixture import ScoreColumns, read_runs

KEYS = {"method", "mean_regret", "ci95", "rank_correlation", "decided", "right"}
CORE = "random,latin-hypercube,equal,doremi,regmix,mixing-law,ours-target,ours"
RULES = "proportional,tempered,unimax"


def table(
    path: Path, *, levels: tuple[int, ...] = (20, 8), duplicates: int = 0, missing: bool = False, sign: float = 1.0
) -> Path:
    """Runs at levels named m0, m1, …; accuracies or losses of two tasks."""
    rng = np.random.default_rng(0)
    lines = ["size;mix_a;mix_b;mix_c;acc1;acc2;note"]
    for level, count in enumerate(levels):
        shares = rng.dirichlet(np.ones(3), count)
        shares = np.concatenate([shares, shares[:duplicates]])
        for place, row in enumerate(shares):
            values = sign * np.log(row[:2] + 0.05) * (1 + level) + 0.01 * rng.standard_normal(2)
            cells = [
                f"m{level}",
                *(f"{share:.4f}" for share in row),
                *(f"{value:.4f}" for value in values),
                ["x", "y"][0],
            ]
            if missing and place % 5 == 1:
                cells[4] = "nan" if place % 2 else ""
            lines.append(";".join(cells))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def call(capsys: pytest.CaptureFixture[str], path: Path, *more: str, share: str = "mix_") -> list[dict[str, object]]:
    capsys.readouterr()
    command.main(["--table", str(path), "--share", share, "--score", "acc*", "--json", *more])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


TWO = ("--level", "size", "--target", "m1", "--cost", "m0=1,m1=10")


def test_every_core_method_has_a_line_with_its_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = call(
        capsys, table(tmp_path / "t.csv", levels=(20, 14)), *TWO, "--budget", "9", "--seeds", "2", "--methods", CORE
    )
    assert {str(line["method"]) for line in lines} == set(CORE.split(","))
    for line in lines:
        assert set(line) >= KEYS
        assert set(line["rank_correlation"]) == {"8", "9"}  # type: ignore[call-overload]
        assert line["mean_regret"] >= 0 and line["spent"] <= 9 + 1e-9  # type: ignore[operator]
    ours = next(line for line in lines if line["method"] == "ours")
    assert ours["rank_correlation"]["9"] > 0.5  # type: ignore[index]
    assert 0 <= ours["decided"] <= 1 and "vs_ours" not in ours  # type: ignore[operator]
    assert all("vs_ours" in line for line in lines if line is not ours)


@pytest.mark.parametrize(
    ("made", "options"),
    [
        ({"duplicates": 3, "missing": True}, (*TWO, "--budget", "4")),
        ({"levels": (12,)}, ("--budget", "5")),
        ({"levels": (12,), "sign": -1.0}, ("--budget", "40", "--minimise")),
        ({"levels": (10, 6, 4, 5)}, ("--level", "size", "--cost", "m0=1,m1=2,m2=4,m3=8", "--budget", "3")),
        ({"levels": (10, 6, 4)}, ("--level", "size", "--target", "m1", "--cost", "m0=1,m1=2,m2=4", "--budget", "3")),
    ],
    ids=["duplicates and gaps", "one level", "all bought, minimised", "four levels", "a target in the middle"],
)
def test_odd_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made: dict[str, object], options: tuple[str, ...]
) -> None:
    lines = call(capsys, table(tmp_path / "t.csv", **made), *options, "--seeds", "1", "--methods", CORE)  # type: ignore[arg-type]
    assert len(lines) == len(CORE.split(",")) and all(np.isfinite(float(str(line["mean_regret"]))) for line in lines)


def test_a_table_that_cannot_be_replayed_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in (
        (("--level", "size", "--cost", "m0=1"), "the level 'm1' of column 'size' has no cost"),
        (("--methods", "magic"), "Unknown method 'magic'"),
        (("--budget", "0"), "have to be 1 or more"),
    ):
        with pytest.raises(SystemExit, match=said):
            call(capsys, table(tmp_path / "t.csv"), *options)
    with pytest.raises(SystemExit, match="no column matches --share 'part_"):
        call(capsys, table(tmp_path / "t.csv"), share="part_")


def test_a_method_whose_package_is_missing_is_left_out_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command.KNOWN, "absent", Method("absent", METHODS[0].run, "no_such_package"))
    command.main(
        ["--table", str(table(tmp_path / "t.csv")), "--share", "mix_", "--score", "acc*", *TWO, "--methods", "absent"]
    )
    found = capsys.readouterr()
    assert found.out == "" and "absent is left out: it needs the package 'no_such_package'" in found.err


def test_finished_runs_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = table(tmp_path / "t.csv"), tmp_path / "kept"
    options = (*TWO, "--budget", "2", "--seeds", "2", "--methods", "random", "--folder", str(folder))
    first = call(capsys, path, *options)
    assert len(list(folder.iterdir())) == 2
    assert call(capsys, path, *options) == first


def _replay(tmp_path: Path, **made: object) -> Replay:
    path = table(tmp_path / "t.csv", **made)  # type: ignore[arg-type]
    return Replay(read_runs(path, ["mix_*"], [ScoreColumns("acc*", False)], "size", None, {"m0": 1, "m1": 10}))


def test_nobody_spends_more_than_the_budget(tmp_path: Path) -> None:
    session = Session(_replay(tmp_path), 1.0, 0)
    session.buy(int(session.replay.targets[0]))
    with pytest.raises(OverspentError):
        session.buy(int(session.replay.targets[1]))
    other = Session(session.replay, 2.0, 0)
    other.buy(0)
    with pytest.raises(OverspentError):
        other.buy(0)


def test_copies_of_a_mixture_are_one_candidate(tmp_path: Path) -> None:
    replay = _replay(tmp_path, duplicates=3)
    same = [place for place in range(len(replay.targets)) if replay.mixture[place] == replay.mixture[0]]
    assert len(same) == 2 and replay.truth[same[0]] == replay.truth[same[1]]
    assert replay.truth[same[0]] == pytest.approx(replay.objective[replay.targets[same]].mean())


def test_what_was_bought_is_no_longer_unseen_and_the_pick_knows_it(tmp_path: Path) -> None:
    replay = _replay(tmp_path)
    session = Session(replay, 3.0, 0)
    best = int(replay.targets[np.argmax(replay.truth)])
    session.buy(best)
    mean = replay.truth.copy()
    better = (mean[:, None] > mean) * 0.98 + 0.01
    mark = judge(session, Outcome(pick(session), mean, better))
    assert mark.regret == 0.0 and mark.rank_correlation == pytest.approx(1.0)
    assert mark.decided == 1.0 and mark.right == 1.0
    turned = judge(session, Outcome(int(replay.targets[np.argmin(replay.truth)]), -mean, better.T))
    assert turned.regret == pytest.approx(np.ptp(replay.truth)) and turned.rank_correlation == pytest.approx(-1.0)
    assert turned.right == 0.0


def test_pairs_are_answered_as_long_as_enough_are_expected_right() -> None:
    assert list(answered(np.array([0.99, 0.02, 0.9, 0.55, 0.5]), 0.95)) == [True, True, True, False, False]
    assert not answered(np.array([0.6, 0.5]), 0.95).any()


def test_columns_that_most_candidates_lack_are_left_out(tmp_path: Path) -> None:
    runs = _replay(tmp_path).runs
    scores = runs.scores.copy()
    scores[np.flatnonzero(runs.level == 1)[:5], 0] = np.nan
    kept, dropped = with_complete_targets(replace(runs, scores=scores))
    assert dropped == ("acc1",) and kept.columns == ("acc2",) and kept.scores.shape[1] == 1
    assert with_complete_targets(runs)[1] == ()


def test_scores_by_prefix_and_many_candidates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoselection.mixture.controller.MOST_COMPARED", 6)
    path = table(tmp_path / "t.csv", levels=(20, 30))
    capsys.readouterr()
    command.main(
        [
            "--table",
            str(path),
            "--share",
            "mix_*",
            "--score",
            "acc",
            "--json",
            *TWO,
            "--budget",
            "6",
            "--seeds",
            "1",
            "--methods",
            "ours",
        ]
    )
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert line["rank_correlation"]["6"] > 0.8 and line["mean_regret"] < 0.3


def named_losses(path: Path) -> Path:
    """Runs of three sources, two of which have a loss of their own; loss a is low where there is much of a."""
    rng = np.random.default_rng(1)
    lines = ["size,share/a,share/b,share/c,acc/a,acc/b"]
    for level, count in (("m0", 60), ("m1", 20)):
        for a, b, c in rng.dirichlet(np.ones(3), count):
            lines.append(f"{level},{a:.5f},{b:.5f},{c:.5f},{np.log(a + 0.02):.5f},{3 * np.log(b + 0.02):.5f}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def replay_of(path: Path, sizes: np.ndarray | None = None) -> Replay:
    runs = read_runs(
        path, ["share/*"], [ScoreColumns("acc/*", False)], "size", "m1", {"m0": 1.0, "m1": 10.0}, normalise=True
    )
    return Replay(runs, sizes)


def test_rules_buy_the_candidates_nearest_to_their_mixture(tmp_path: Path) -> None:
    replay = replay_of(named_losses(tmp_path / "t.csv"), np.array([90.0, 9.0, 1.0]))
    shares = replay.runs.shares[replay.targets]
    for name, point in (("equal", [1 / 3] * 3), ("proportional", [0.9, 0.09, 0.01]), ("unimax", [0.6, 0.36, 0.04])):
        session = Session(replay, 2, 0)
        command.KNOWN[name].run(session)
        nearest = np.argsort(((shares - np.array(point)) ** 2).sum(axis=1))[:2]
        assert session.bought == replay.targets[nearest].tolist()


def test_doremi_moves_to_the_source_whose_own_loss_lags_behind(tmp_path: Path) -> None:
    replay = replay_of(named_losses(tmp_path / "t.csv"))
    session = Session(replay, 4, 0)
    command.KNOWN["doremi"].run(session)
    cheap = [row for row in session.bought if row not in set(replay.targets.tolist())]
    # Half of the budget at a tenth of the price; the reference is the run nearest to the mean, then that nearest to equal shares.
    assert len(cheap) == 20 and session.spent == pytest.approx(4.0)
    shares = replay.runs.shares[cheap]
    assert np.abs(shares[1] - 1 / 3).max() < 0.15
    assert shares[-5:, 1].mean() > shares[1, 1]  # the losses of b differ three times as much


def test_sizes_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = named_losses(tmp_path / "t.csv")
    more = ("--level", "size", "--target", "m1", "--cost", "m0=1,m1=10", "--budget", "3", "--seeds", "1")
    with pytest.raises(SystemExit, match="the source 'share/c' has no size above 0"):
        call(capsys, path, *more, "--sizes", "a=3,share/b=2", share="share/")
    with pytest.raises(SystemExit, match="'a' is not SOURCE=SIZE"):
        call(capsys, path, *more, "--sizes", "a", share="share/")
    lines = call(capsys, path, *more, "--methods", f"{RULES},equal", "--sizes", "a=3,b=2,c=1", share="share/")
    assert [line["method"] for line in lines] == [*RULES.split(","), "equal"]
    assert not call(capsys, path, *more, "--methods", RULES, share="share/")
