"""Which cheap numbers tell a full evaluation, over RecipeBench's table of real trainings.

    python -m benchmarks.recipebench.proxies            # a table; --json: one JSON document

The same table as ``autoselection diagnose`` prints of a study, by the same functions, but of recipes that cover the space
instead of those that one search chose. A trial is a subset; its truth is the mean dev score (minus loss) over tasks and
training seeds. Beside the state fields, rows and tokens:

* ``signal`` lines: the mean of every column of the pool over the subset's rows (IFD, MONA by task, ...);
* ``left out`` lines: the search's surrogate fitted on 8, 15 or 30 random other subsets. Each of the draws resamples the
  subsets that it predicts, and the interval is that of single draws: what one search would have, not the mean's error;
* ``test`` lines: the same training's score on test, and another seed's score on dev (the best that any proxy can do).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoselection.diagnose import (
    Calibration,
    Correlation,
    Diagnosis,
    Estimate,
    Line,
    Proxy,
    diagnose,
    signal_means,
    state_proxies,
    token_counts,
)
from autoselection.diagnose.calibration import calibrate
from autoselection.diagnose.correlation import RESAMPLES, interval, rank_correlations
from autoselection.progress import progress
from autoselection.recipes import Recipe, state_vectors
from autoselection.search import SearchConfig, SearchController
from autoselection.signals.table import SignalTable
from benchmarks.recipebench.interpolate import (
    SPLITS,
    Array,
    Evaluations,
    Rows,
    default_path,
    demo_table,
    read_evaluations,
)

TRAINED_ON = (8, 15, 30)
DRAWS = 150


def by_subset(evaluations: Evaluations) -> dict[str, list[int]]:
    """Places of the runs of each subset."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(evaluations.keys):
        places.setdefault(key, []).append(place)
    return places


def mean_score(evaluations: Evaluations, split: str) -> Array:
    """Mean score over tasks of every run (minus loss); NaN without that split."""
    columns = [place for place, name in enumerate(evaluations.outputs) if name.startswith(f"{split}/")]
    if not columns:
        return np.full(len(evaluations), np.nan)
    return np.asarray(-evaluations.losses[:, columns].mean(axis=1))


def surrogate_lines(
    table: SignalTable, subsets: Sequence[Rows], truth: Array, draws: int, seed: int
) -> tuple[list[Line], list[Calibration]]:
    """The search's surrogate on subsets that it was not fitted on, for several sizes of what it was fitted on."""
    config = SearchConfig()
    if config.surrogate.features in ("encoding", "both"):
        raise SystemExit("The table's random subsets have no recipe: a surrogate of recipe encodings cannot see them.")
    predictions = SearchController(table, config).predictions
    points = predictions.inputs.points([Recipe()] * len(subsets), subsets)
    lines, calibrations = [], []
    with progress("Surrogate", draws * len(TRAINED_ON)) as advance:
        for size in TRAINED_ON:
            rhos, taus, fits = [], [], []
            for draw in range(draws):
                rng = np.random.default_rng([seed, size, draw])
                order = rng.permutation(len(subsets))
                train, rest = order[:size], np.sort(order[size:])
                found = predictions.elsewhere(
                    [points[place] for place in train], truth[train], [points[place] for place in rest]
                )
                mu = np.array([prediction.mu for prediction in found])
                sigma = np.array([prediction.sigma for prediction in found])
                counts = rng.multinomial(len(rest), np.full(len(rest), 1 / len(rest)), size=1).astype(np.float64)
                rho, tau = rank_correlations(mu, truth[rest], counts)
                rhos.append(rho[0])
                taus.append(tau[0])
                fits.append(calibrate("", mu, sigma, truth[rest], resamples=2))
                advance()
            name = f"surrogate fitted on {size} others: mu"
            found_line = Correlation(len(subsets) - size, _over(rhos), _over(taus))
            lines.append(Line(name, "left out", found_line))
            calibrations.append(
                Calibration(
                    name.removesuffix(": mu"),
                    len(subsets) - size,
                    {level: _over([fit.covered[level].value for fit in fits]) for level in fits[0].covered},
                    _over([fit.error.value for fit in fits if fit.error]),
                    _over([fit.spread.value for fit in fits if fit.spread]),
                )
            )
    return lines, calibrations


def _over(values: Sequence[float]) -> Estimate:
    """Mean over draws with the 95% range of single draws."""
    return interval(float(np.mean(values)), np.asarray(values, np.float64))


def diagnose_table(
    table: SignalTable,
    evaluations: Evaluations,
    *,
    split: str = "all",
    draws: int = DRAWS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Diagnosis:
    """The table of proxies over the subsets of a table of evaluations."""
    groups = by_subset(evaluations)
    subsets = [evaluations.subsets[places[0]] for places in groups.values()]
    dev, test = mean_score(evaluations, "dev"), mean_score(evaluations, "test")
    truth = np.array([dev[places].mean() for places in groups.values()])
    proxies = state_proxies([state.to_dict() for state in state_vectors(subsets, table)])
    proxies.append(Proxy("rows", "size", np.array([len(rows) for rows in subsets], np.float64)))
    proxies += token_counts(table, subsets)
    proxies += signal_means(table, subsets)
    proxies.append(Proxy("test score", "test", np.array([test[places].mean() for places in groups.values()])))
    lines, calibrations = surrogate_lines(table, subsets, truth, draws, seed)
    repeated = [places for places in groups.values() if len(places) > 1]
    again = np.array([dev[places[1]] for places in repeated])
    first = np.array([dev[places[0]] for places in repeated])
    pair = diagnose(
        "", "", [Proxy("dev score with another seed", "test", again)], first, seed=seed, resamples=resamples
    )
    found = diagnose(
        f"RecipeBench ({split})",
        "mean dev score",
        proxies,
        truth,
        lines=[*lines, *pair.lines],
        notes=[
            f"{len(evaluations)} trainings of {len(subsets)} subsets, {len(repeated)} of them with two or more seeds.",
            f"Surrogates: mean over {draws} draws of what they are fitted on, with the 95% range of single draws.",
        ],
        seed=seed,
        resamples=resamples,
    )
    return Diagnosis(**{**vars(found), "calibrations": tuple(calibrations)})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work = Path(tempfile.gettempdir()) / "autoselection-search-benchmark" / "demo"
    parser.add_argument("--work", type=Path, default=work, help="folder of the demo's pool and signals")
    parser.add_argument(
        "--evaluations", type=Path, help="table (default: WORK/evaluations.jsonl, else the shipped one)"
    )
    parser.add_argument("--split", choices=SPLITS, default="all")
    parser.add_argument("--draws", type=int, default=DRAWS, help="draws of what the surrogates are fitted on")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap and of the draws")
    parser.add_argument("--table", type=Path, help="also write the table to this .md or .csv file")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args(arguments)
    from rich.console import Console

    from autoselection.diagnose import write_table
    from autoselection.report import print_diagnosis

    table = demo_table(options.work)
    evaluations = read_evaluations(options.evaluations or default_path(options.work), table.n).split(options.split)
    found = diagnose_table(table, evaluations, split=options.split, draws=options.draws, seed=options.seed)
    if options.table:
        write_table(found, options.table)
    if options.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
    else:
        print_diagnosis(found, Console(width=180))


if __name__ == "__main__":
    main()
