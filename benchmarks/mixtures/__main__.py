"""Methods that choose a mixture of sources, replayed on a table of real runs.

    python -m benchmarks.mixtures --table regmix.csv --share share/ --score 'loss/*' --minimise --level model --target 1B \
        --cost 1M=1,60M=20,1B=400 --budget 30 --seeds 10 --json

The candidates are the table's runs at the target. A method buys runs of any level that it uses, at their costs, up to a
budget in runs at the target (target-equivalents), and picks a candidate by what it saw or predicts. The objective is the
mean of the score columns. A method is run once for each budget of 8, 15 and 30 that is not above ``--budget``, and for
``--budget`` itself.

One JSON line a method:

* ``mean_regret``, ``ci95``: objective of the best candidate minus that of the pick, in units of the scores, after
  ``--budget``; mean over seeds and Student's interval.
* ``rank_correlation``: for each budget, Spearman's correlation of predicted and true objective over the candidates that the
  method did not buy, mean over seeds; null for a method that predicts nothing.
* ``decided``, ``right``: of the pairs of candidates that it did not buy, the share it answers (the surest, as many as it
  expects to be right in 95%) and the share of the answers that are right; null for a method that does not say how sure it is.
* ``regret_after``, ``decided_after``, ``right_after``: the same for each budget; ``vs_ours``: its regret minus that of ``ours``
  on the same seeds for each budget, with Student's interval; positive: ours is better. ``spent``, ``seconds``: means after ``--budget``.

With ``--folder`` finished runs are kept, and a second call goes on where the first was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import autoselection
from autoselection.errors import AutoSelectionError, ConfigError
from autoselection.mixture.runs import Runs, ScoreColumns, parse_costs, read_runs
from autoselection.terminal import visible
from benchmarks.mixtures.methods import METHODS
from benchmarks.mixtures.optimisers import OPTIMISERS
from benchmarks.mixtures.replay import Method, Replay, Session, judge, with_complete_targets
from benchmarks.over_pools import interval

BUDGETS = (8, 15, 30)
KNOWN: dict[str, Method] = {method.name: method for method in (*METHODS[:2], *OPTIMISERS, *METHODS[2:])}
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "inf", "-inf"})
OURS = "ours"
CODE = ("inputs", "process", "link", "model", "value", "space", "controller")
"""Modules of the package that decide: kept runs are of the same code."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        runs = _read(options)
    except (AutoSelectionError, OSError) as error:
        raise SystemExit(str(error)) from None
    for notice in runs.notices:
        print(notice, file=sys.stderr)
    runs, dropped = with_complete_targets(runs)
    for name in dropped:
        print(
            f"The column '{visible(name)}' is missing in too many runs at the target and is left out.", file=sys.stderr
        )
    replay = Replay(runs, _sizes(options.sizes, runs))
    if len(replay.targets) < 3:
        raise SystemExit(f"{runs.path}: fewer than three runs at the level '{runs.levels.names[-1]}' have every score.")
    budgets = sorted({*(budget for budget in BUDGETS if budget < options.budget), options.budget})
    found: dict[str, dict[float, list[dict[str, Any]]]] = {}
    names = options.methods or [name for name, method in KNOWN.items() if replay.sizes is not None or not method.sizes]
    for name in sorted(names, key=lambda name: name != OURS):  # ours first: the others are compared with it
        method = KNOWN[name]
        if method.needs and importlib.util.find_spec(method.needs) is None:
            print(
                f"{name} is left out: it needs the package '{method.needs}' (pip install 'autoselection[bench]').",
                file=sys.stderr,
            )
            continue
        if method.sizes and replay.sizes is None:
            print(f"{name} is left out: it goes by the sizes of the sources (--sizes).", file=sys.stderr)
            continue
        found[name] = {
            budget: [_run(replay, method, budget, seed, options.folder) for seed in range(options.seeds)]
            for budget in budgets
        }
        line = _line(name, found, budgets)
        print(json.dumps(line) if options.json else _text(line), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.mixtures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--share", required=True, help="prefix, or pattern, of the columns of shares")
    parser.add_argument("--score", required=True, help="comma-separated columns, prefixes or patterns")
    parser.add_argument("--minimise", action="store_true", help="lower scores are better")
    parser.add_argument("--level", help="column of levels")
    parser.add_argument("--target", help="level that is decided for (default: the dearest)")
    parser.add_argument("--cost", help="LEVEL=COST,…")
    parser.add_argument("--sizes", help="SOURCE=SIZE,… of every source: rules that go by sizes are compared too")
    parser.add_argument("--budget", type=float, default=30, help="in runs at the target")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", type=lambda text: text.split(","), help=", ".join(KNOWN))
    parser.add_argument("--folder", type=Path, help="where finished runs are kept")
    parser.add_argument("--json", action="store_true")
    return parser


def _read(options: argparse.Namespace) -> Runs:
    for name in options.methods or ():
        if name not in KNOWN:
            raise SystemExit(f"Unknown method '{name}'; known: {', '.join(KNOWN)}.")
    if options.budget < 1 or options.seeds < 1:
        raise SystemExit("--budget and --seeds have to be 1 or more.")
    scores = [ScoreColumns.parse(text) for text in (text.strip() for text in options.score.split(",")) if text]
    scores = [ScoreColumns(each.pattern, each.minimise or options.minimise) for each in scores]
    try:
        return _table(options, scores)
    except ConfigError as error:
        # What names no column may be what several begin with.
        prefixes = [each if "*" in each.pattern else replace(each, pattern=f"{each.pattern}*") for each in scores]
        if prefixes == scores or "--score" not in str(error):
            raise
        return _table(options, prefixes)


def _sizes(text: str | None, runs: Runs) -> np.ndarray | None:
    """How much there is of every source, by its name with or without what all begin with."""
    if text is None:
        return None
    given: dict[str, float] = {}
    for entry in text.split(","):
        name, _, value = entry.partition("=")
        try:
            given[name.strip()] = float(value)
        except ValueError:
            raise SystemExit(f"--sizes: '{visible(entry)}' is not SOURCE=SIZE, such as web=120.") from None
    own = [given.get(name, given.get(name.rsplit("/", 1)[-1], -1.0)) for name in runs.sources]
    if min(own) <= 0:
        missing = runs.sources[int(np.argmin(own))]
        raise SystemExit(f"--sizes: the source '{visible(missing)}' has no size above 0.")
    return np.array(own)


def _table(options: argparse.Namespace, scores: Sequence[ScoreColumns]) -> Runs:
    return read_runs(
        options.table,
        [options.share if "*" in options.share else f"{options.share}*"],
        scores,
        options.level,
        options.target,
        parse_costs(options.cost) if options.cost else None,
        normalise=True,
        missing=MISSING,
        lenient=True,
    )


def _run(replay: Replay, method: Method, budget: float, seed: int, folder: Path | None) -> dict[str, Any]:
    path = None if folder is None else folder / f"{_digest(replay, method)}-{budget:g}-{seed}.json"
    if path is not None and path.exists():
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept
    session = Session(replay, budget, seed)
    started = time.perf_counter()
    outcome = method.run(session)
    found = {
        "method": method.name,
        **asdict(judge(session, outcome)),
        "spent": session.spent,
        "seconds": time.perf_counter() - started,
    }
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    return found


def _digest(replay: Replay, method: Method) -> str:
    """Of the table, the method and the code that decides."""
    package = Path(autoselection.__file__).parent / "mixture"
    own = Path(method.run.__code__.co_filename)
    found = hashlib.blake2b(digest_size=8)
    ours = [package / f"{name}.py" for name in (CODE if method.name.startswith(OURS) else CODE[:1])]
    fits = package.parent / "search" / "mixture_fits.py", package.parent / "operators" / "mixing_rules.py"
    for path in (*ours, *fits, own, own.with_name("replay.py")):
        found.update(path.read_bytes())
    runs = replay.runs
    for array in (runs.shares, runs.scores, runs.level, np.array([]) if replay.sizes is None else replay.sizes):
        found.update(array.tobytes())
    found.update(repr((method.name, runs.levels, runs.minimise.tolist())).encode())
    return found.hexdigest()


def _line(name: str, found: dict[str, dict[float, list[dict[str, Any]]]], budgets: Sequence[float]) -> dict[str, Any]:
    runs = found[name]
    last = budgets[-1]

    def after(key: str) -> dict[str, float | None]:
        return {f"{budget:g}": _mean([run[key] for run in runs[budget]]) for budget in budgets}

    regrets = [run["regret"] for run in runs[last]]
    line: dict[str, Any] = {
        "method": name,
        "mean_regret": _mean(regrets),
        "ci95": interval(np.array(regrets)),
        "rank_correlation": after("rank_correlation"),
        "decided": after("decided")[f"{last:g}"],
        "right": after("right")[f"{last:g}"],
        "budget": last,
        "seeds": len(regrets),
        "regret_after": after("regret"),
        "decided_after": after("decided"),
        "right_after": after("right"),
        "spent": _mean([run["spent"] for run in runs[last]]),
        "seconds": _mean([run["seconds"] for run in runs[last]]),
    }
    if name != OURS and OURS in found:
        line["vs_ours"] = {}
        for budget in budgets:
            pairs = zip(runs[budget], found[OURS][budget], strict=True)
            differences = [mine["regret"] - best["regret"] for mine, best in pairs]
            line["vs_ours"][f"{budget:g}"] = {"difference": _mean(differences), "ci95": interval(np.array(differences))}
    return line


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _text(line: dict[str, Any]) -> str:
    regret = ", ".join(f"{budget}: {value:.4f}" for budget, value in line["regret_after"].items())
    rank = ", ".join(
        f"{budget}: {value:.3f}" for budget, value in line["rank_correlation"].items() if value is not None
    )
    said = "" if line["decided"] is None else f"; answers {line['decided']:.0%}"
    said += "" if line["right"] is None else f", {line['right']:.0%} right"
    return f"{line['method']}: regret {regret}" + (f"; rank correlation {rank}" if rank else "") + said


if __name__ == "__main__":
    main()
