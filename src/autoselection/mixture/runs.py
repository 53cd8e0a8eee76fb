"""A table of runs: mixtures that were trained on, at which level, and what they scored.

A row is a run. Columns of shares (of sources, summing to one), columns of scores, and perhaps one that names the level: the
size of the model, or anything else that makes some runs cheap and others dear. Whatever is wrong with the table is said in
one sentence with file, line and column; texts of the table are a stranger's and are shown escaped.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError
from autoselection.terminal import visible
from autoselection.wording import clipped, named_numbers, suggestion

Array = NDArray[np.float64]

TOLERANCE = 0.01
"""How far the shares of a run may be from summing to one: tables round them."""
SAME_MIXTURE = 1e-9
"""How far a share may differ between runs of the same mixture: dividing by the sum rounds."""
FEWEST_RUNS = 5
"""Runs with a score in a column, without which nothing can be said of it."""
MAX_BYTES = 2**28
ONLY_LEVEL = "all runs"
"""Name of the level of a table without a column of levels."""
MISSING = frozenset({""})
"""Cells that say that a run has no such score."""
_DELIMITERS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+(?:[eE][+-]?\d+)?\s*%?)")
"""A number as spreadsheets write it where the comma is the decimal point; their files have semicolons or tabs between cells."""


@dataclass(frozen=True)
class ScoreColumns:
    """Score columns by pattern: ``loss/*:min``.

    Attributes:
        pattern: name, or pattern of names, of columns.
        minimise: whether lower is better.
    """

    pattern: str
    minimise: bool

    @classmethod
    def parse(cls, text: str) -> ScoreColumns:
        """From ``PATTERN``, ``PATTERN:max`` (the same) or ``PATTERN:min``."""
        for ending, minimise in ((":min", True), (":max", False)):
            if text.endswith(ending):
                return cls(text.removesuffix(ending), minimise)
        return cls(text, False)


@dataclass(frozen=True)
class Levels:
    """Levels by cost.

    Attributes:
        names: the cheapest first, the target last.
        costs: of one run, in any unit, in the same order.

    Raises:
        ConfigError: there is no level, a name stands twice, or a cost is missing or not above 0.
    """

    names: tuple[str, ...]
    costs: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ConfigError(f"Levels need one name or more, each once, not {list(self.names)}.")
        if len(self.costs) != len(self.names):
            raise ConfigError(f"{len(self.costs)} costs for {len(self.names)} levels: give each level one.")
        for name, cost in zip(self.names, self.costs, strict=True):
            if not 0 < cost < float("inf"):
                raise ConfigError(f"The level '{name}' costs {cost}: a number above 0 is expected.")

    @property
    def target(self) -> int:
        return len(self.names) - 1


@dataclass(frozen=True, eq=False)
class Runs:
    """A table of runs.

    Attributes:
        path: of the file.
        sources: column names of the shares, shape (sources,).
        columns: names of the score columns.
        minimise: of which lower is better, bool[columns].
        levels: levels of the runs.
        shares: shape (runs, sources), every row summing to one.
        scores: as in the table, NaN where missing, shape (runs, columns).
        level: level of each run, shape (runs,).
        lines: line of each run in the file, shape (runs,).
        notices: what was left out, and why.
    """

    path: Path
    sources: tuple[str, ...]
    columns: tuple[str, ...]
    minimise: NDArray[np.bool_]
    levels: Levels
    shares: Array
    scores: Array
    level: NDArray[np.int64]
    lines: NDArray[np.int64]
    notices: tuple[str, ...] = ()

    @property
    def values(self) -> Array:
        """Scores with the sign that makes higher better."""
        return np.where(self.minimise, -self.scores, self.scores)

    def of(self, mixture: Array) -> NDArray[np.bool_]:
        """Which runs have a mixture, bool[runs]."""
        return np.asarray(np.abs(self.shares - mixture).max(axis=1) <= SAME_MIXTURE)

    def at(self, rows: NDArray[np.int64]) -> Runs:
        """The same table with some of its runs."""
        return replace(
            self, shares=self.shares[rows], scores=self.scores[rows], level=self.level[rows], lines=self.lines[rows]
        )


def parse_costs(text: str) -> dict[str, float]:
    """Costs of levels, from ``1M=1,60M=20,1B=400``.

    Raises:
        ConfigError: something else stands there, a level twice, or a cost that is no positive number.
    """
    return named_numbers(text, "--cost", "LEVEL=COST", "1M=1,60M=20,1B=400", zero=False)


def read_runs(
    path: Path,
    share: Sequence[str],
    score: Sequence[ScoreColumns],
    level: str | None = None,
    target: str | None = None,
    costs: Mapping[str, float] | None = None,
    *,
    normalise: bool = False,
    missing: frozenset[str] = MISSING,
    lenient: bool = False,
) -> Runs:
    """Read a table of runs from a CSV file (comma, semicolon or tab).

    Args:
        path: of the file.
        share: names or patterns of the columns of shares.
        score: columns of scores.
        level: name of the column of levels; None: all runs are alike.
        target: level that is decided for; None: the dearest. Runs at dearer ones are left out.
        costs: cost of a run at each level.
        normalise: divide the shares of each run by their sum, whatever it is.
        missing: cells, in lower case, that say that a run has no such score.
        lenient: leave out, and count, runs and columns that cannot be used instead of raising.

    Numbers may end in a percent sign, and have decimal commas where cells are separated by something else.

    Raises:
        ConfigError: the table cannot be used, or what is asked for is not in it.
    """
    header, rows = _cells(path)
    places = {name: place for place, name in enumerate(header)}
    sources = _matching(header, share, "--share", path)
    wanted: dict[str, bool] = {}
    for columns in score:
        for name in _matching(header, [columns.pattern], "--score", path):
            if name in sources:
                raise ConfigError(f"{path}: the column '{_shown(name)}' is named by --share and by --score.")
            if wanted.setdefault(name, columns.minimise) != columns.minimise:
                raise ConfigError(f"{path}: --score asks for '{_shown(name)}' both ways, :min and :max.")
    if len(sources) < 2:
        raise ConfigError(
            f"{path}: --share names one column, '{_shown(sources[0])}': a mixture needs two sources or more."
        )
    if not rows:
        raise ConfigError(f"{path}: there is a header and no run below it.")
    names = _level_names(path, rows, places, level)
    levels = _levels(path, [name for _, name in names], level, target, costs)
    dropped: Counter[str] = Counter()
    kept: list[tuple[int, int, list[float], list[float]]] = []
    for (line, cells), (_, name) in zip(rows, names, strict=True):
        if name not in levels.names:
            dropped["are at a level dearer than the target"] += 1
            continue
        try:
            shares = _shares(path, line, cells, sources, places, normalise)
        except ConfigError:
            if not lenient:
                raise
            dropped["have shares that cannot be used"] += 1
            continue
        scores = [_score(path, line, cells[places[column]], column, missing, lenient) for column in wanted]
        if all(map(math.isnan, scores)):
            dropped["have no score"] += 1
            continue
        kept.append((line, levels.names.index(name), shares, scores))
    if len(kept) < FEWEST_RUNS:
        raise ConfigError(
            f"{path}: {len(kept)} {'run' if len(kept) == 1 else 'runs'} with a score: at least {FEWEST_RUNS} are needed to "
            "learn anything from them."
        )
    runs = Runs(
        path,
        tuple(sources),
        tuple(wanted),
        np.array(list(wanted.values())),
        levels,
        np.array([shares for _, _, shares, _ in kept]),
        np.array([scores for *_, scores in kept]),
        np.array([place for _, place, _, _ in kept]),
        np.array([line for line, *_ in kept]),
        tuple(f"{count} of {len(rows)} runs {why} and are left out." for why, count in dropped.items()),
    )
    if float(np.ptp(runs.shares, axis=0).max()) <= SAME_MIXTURE:
        raise ConfigError(
            f"{path}: every run has the same mixture, so that nothing can be learnt about mixing: runs have to differ in their shares."
        )
    return _with_usable_columns(runs, lenient)


def _shown(text: str) -> str:
    return visible(clipped(text))


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and every row that is not empty with its line."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise ConfigError(f"{path}: this is a folder, not a table of runs.") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES // 2**20} MiB: is this a table of runs?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: not UTF-8 text, so not a CSV file that can be read: save it as UTF-8."
        ) from None
    if not text.strip():
        raise ConfigError(f"{path}: the file is empty.")
    if "\0" in text:
        raise ConfigError(f"{path}: it holds zero bytes, so it is not a CSV file.")
    first = re.split("[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    if first.count(delimiter) == 0:
        raise ConfigError(
            f"{path}: the first line has no comma, semicolon or tab, so this is not a CSV file with a header of columns."
        )
    # Lines end in CR and LF alone: what else str.splitlines takes for an end, such as U+2028, may stand in a cell.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    header: list[str] = []
    begins = 1
    try:
        for cells in reader:
            line, begins = begins, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
                continue
            if len(cells) != len(header):
                raise ConfigError(f"{path}:{line}: {len(cells)} cells where the header has {len(header)}.")
            rows.append((line, cells if delimiter == "," else [_with_point(cell) for cell in cells]))
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: not a CSV file: {error}.") from None
    for name, count in Counter(header).items():
        if count > 1 and name:
            raise ConfigError(
                f"{path}: the header names the column '{_shown(name)}' {count} times: rename all but one."
            )
    return header, rows


def _with_point(cell: str) -> str:
    """A number with a decimal comma, with a point; any other cell as it is."""
    number = _DECIMAL_COMMA.fullmatch(cell)
    return f"{number[1]}.{number[2]}" if number else cell


def _matching(header: Sequence[str], patterns: Sequence[str], option: str, path: Path) -> list[str]:
    """Columns that a pattern matches or names, in the order of the header."""
    found: set[str] = set()
    for pattern in patterns:
        here = {name for name in header if name and (name == pattern or fnmatchcase(name, pattern))}
        if not here:
            raise ConfigError(
                f"{path}: no column matches {option} '{_shown(pattern)}'{suggestion(visible(pattern), _few(header))}"
            )
        found |= here
    return [name for name in header if name in found]


def _few(names: Sequence[str], count: int = 12) -> list[str]:
    """Some names to list in a message."""
    return [_shown(name) for name in names if name][:count]


def _level_names(
    path: Path, rows: Sequence[tuple[int, list[str]]], places: Mapping[str, int], level: str | None
) -> list[tuple[int, str]]:
    if level is None:
        return [(line, ONLY_LEVEL) for line, _ in rows]
    if level not in places:
        raise ConfigError(
            f"{path}: there is no column '{_shown(level)}' (--level){suggestion(visible(level), _few(list(places)))}"
        )
    found = [(line, cells[places[level]]) for line, cells in rows]
    for line, name in found:
        if not name:
            raise ConfigError(f"{path}:{line}: column '{_shown(level)}' is empty: every run needs its level.")
    return found


def _levels(
    path: Path, names: Sequence[str], level: str | None, target: str | None, costs: Mapping[str, float] | None
) -> Levels:
    if level is None:
        if target is not None or costs:
            raise ConfigError("--target and --cost speak of levels: name the column of levels with --level.")
        return Levels((ONLY_LEVEL,), (1.0,))
    known = dict.fromkeys(names)
    costs = costs or {}
    for name in costs:
        if name not in known:
            raise ConfigError(
                f"{path}: --cost names the unknown level '{_shown(name)}'{suggestion(visible(name), _few(list(known)))}"
            )
    for name in known:
        if name not in costs:
            raise ConfigError(
                f"{path}: the level '{_shown(name)}' of column '{_shown(level)}' has no cost: add it to --cost, as "
                f"'{_shown(name)}=1'."
            )
    if target is not None and target not in known:
        raise ConfigError(
            f"{path}: --target names the unknown level '{_shown(target)}'{suggestion(visible(target), _few(list(known)))}"
        )
    ordered = sorted(known, key=lambda name: (costs[name], name))
    if target is None and len(ordered) > 1 and costs[ordered[-1]] == costs[ordered[-2]]:
        raise ConfigError(
            f"{path}: the levels '{_shown(ordered[-2])}' and '{_shown(ordered[-1])}' cost the same, so neither is the dearest: "
            "name with --target the one that is decided for."
        )
    chosen = ordered[-1] if target is None else target
    ordered = [name for name in ordered if name != chosen and costs[name] <= costs[chosen]] + [chosen]
    return Levels(tuple(ordered), tuple(float(costs[name]) for name in ordered))


def _number(text: str) -> float | None:
    """The number in a cell, of percent the hundredth part; None where there is none."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _shares(
    path: Path, line: int, cells: Sequence[str], sources: Sequence[str], places: Mapping[str, int], normalise: bool
) -> list[float]:
    found = []
    for name in sources:
        text = cells[places[name]]
        value = _number(text)
        if value is None or not math.isfinite(value) or value < 0:
            what = (
                "empty: write 0 for a source that is not in the mixture"
                if not text
                else (f"'{_shown(text)}', which is no share: a number from 0 to 1 is expected")
            )
            raise ConfigError(f"{path}:{line}: column '{_shown(name)}' is {what}.")
        found.append(value)
    total = sum(found)
    if total <= 0:
        raise ConfigError(f"{path}:{line}: all shares are 0.")
    if abs(total - 1) > TOLERANCE and not normalise:
        raise ConfigError(
            f"{path}:{line}: the shares ({_shown(sources[0])} to {_shown(sources[-1])}) sum to {total:.4g}, not to 1: divide "
            "each by their sum, or pass --normalise to have it done for every run."
        )
    return [value / total for value in found]


def _score(path: Path, line: int, text: str, column: str, missing: frozenset[str], lenient: bool) -> float:
    if text.lower() in missing:
        return math.nan
    value = _number(text)
    if value is None or not math.isfinite(value):
        if lenient:
            return math.nan
        raise ConfigError(
            f"{path}:{line}: column '{_shown(column)}' is '{_shown(text)}', which is no number: leave the cell empty if the "
            "run has no such score."
        )
    return value


def _with_usable_columns(runs: Runs, lenient: bool) -> Runs:
    """Without columns that hold nothing to learn from, or an error that says which one it is."""
    usable = []
    for place, name in enumerate(runs.columns):
        scores = runs.scores[:, place]
        known = scores[np.isfinite(scores)]
        if len(known) < FEWEST_RUNS:
            why = f"has {len(known)} scores, and at least {FEWEST_RUNS} are needed"
        elif np.ptp(known) <= 1e-12 * max(1.0, float(np.abs(known).max())):
            why = f"is constant, every run scores {known[0]:g}, so that there is nothing to learn from it"
        else:
            usable.append(place)
            continue
        if not lenient:
            raise ConfigError(f"{runs.path}: the column '{_shown(name)}' {why}: leave it out of --score.")
        runs = replace(runs, notices=(*runs.notices, f"The column '{_shown(name)}' {why}: it is left out."))
    if not usable:
        raise ConfigError(f"{runs.path}: none of the score columns can be used: {runs.notices[-1]}")
    if len(usable) < len(runs.columns):
        runs = replace(
            runs,
            columns=tuple(runs.columns[place] for place in usable),
            minimise=runs.minimise[usable],
            scores=runs.scores[:, usable],
        )
        runs = runs.at(np.flatnonzero(np.isfinite(runs.scores).any(axis=1)))
    return runs
