"""The table: every cheap proxy beside the full evaluation, and what may be said of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection.diagnose.agreement import Agreement
from autoselection.diagnose.calibration import Calibration, calibrate
from autoselection.diagnose.correlation import MIN_TRIALS, RESAMPLES, Array, Correlation, Estimate, correlate
from autoselection.errors import ConfigError
from autoselection.files import write_text
from autoselection.markup import bullets, inline
from autoselection.markup import table as markdown_table
from autoselection.recipes.state import shown_numbers
from autoselection.signals import SignalTable

Kind = Literal["state", "size", "signal", "prediction", "left out", "fidelity", "test"]

LISTED = 12
"""Proxies named in the sentence that says which intervals exclude 0; the table marks them all."""

HEADINGS = ("proxy", "kind", "trials", "Spearman", "95%", "Kendall", "95%", "interval clear of 0")


@dataclass(frozen=True, eq=False)
class Proxy:
    """A cheap number that might tell a full evaluation's score.

    Attributes:
        name: shown in the table.
        kind: state, size, signal (mean of a column), prediction (made before the evaluation), left out (made afterwards
            without the trial), fidelity (a cheaper evaluation) or test.
        values: one a trial; NaN where there is none.
    """

    name: str
    kind: Kind
    values: Array


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions to be checked for calibration: mean and standard deviation of each trial, NaN where there is none."""

    name: str
    mu: Array
    sigma: Array


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    name: str
    kind: str
    correlation: Correlation

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"proxy": self.name, "kind": self.kind, **self.correlation.to_dict()}


@dataclass(frozen=True)
class Diagnosis:
    """How well cheap proxies tell the full evaluation.

    Attributes:
        subject: what was looked at, such as a study's folder.
        truth: what the proxies are compared with.
        trials: trials with a score.
        lines: the proxies, in a fixed order.
        calibrations: of predictions.
        notes: what was left out and why.
        seed: of the bootstrap.
        resamples: of the bootstrap (count).
        agreements: how the search metric ranks the same trials beside right answers.
    """

    subject: str
    truth: str
    trials: int
    lines: tuple[Line, ...]
    calibrations: tuple[Calibration, ...]
    notes: tuple[str, ...]
    seed: int
    resamples: int
    agreements: tuple[Agreement, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "subject": self.subject,
            "truth": self.truth,
            "trials": self.trials,
            "seed": self.seed,
            "resamples": self.resamples,
            "proxies": [line.to_dict() for line in self.lines],
            "calibration": [found.to_dict() for found in self.calibrations],
            "right_answers": [found.to_dict() for found in self.agreements],
            "findings": list(self.findings()),
            "notes": list(self.notes),
        }

    def right_answers(self) -> tuple[str, ...]:
        """In sentences: whether the search metric ranks recipes as right answers do, and where these are luck."""
        said = [each.sentence() for each in self.agreements]
        reasons = {each.reason for each in self.agreements}
        if len(said) > 1 and len(reasons) == 1 and all(each.verdict == "unknown" for each in self.agreements):
            trials = max(each.trials for each in self.agreements)
            said = [
                f"Whether the search metric ranks recipes as right answers do cannot be told from {trials} trials, on no task: "
                f"{self.agreements[0].reason}."
            ]
        return (*said, *(chance for each in self.agreements if (chance := each.chance_sentence())))

    def findings(self) -> tuple[str, ...]:
        """In sentences: which intervals exclude 0, how many would by chance, and what could not be said."""
        if self.trials < MIN_TRIALS:
            return (
                f"Too few trials: {self.trials} have a score, at least {MIN_TRIALS} are needed; no correlation is shown.",
            )
        said = []
        known = [line for line in self.lines if line.correlation.spearman is not None]
        clear = sorted(
            (line for line in known if line.correlation.excludes_zero),
            key=lambda line: -abs(line.correlation.spearman.value if line.correlation.spearman else 0.0),
        )
        if clear:
            listed = ", ".join(f"{line.name} {_number(line.correlation.spearman)}" for line in clear[:LISTED])
            listed += f" and {len(clear) - LISTED} weaker ones" if len(clear) > LISTED else ""
            said.append(f"Spearman's interval excludes 0 for {len(clear)} of {len(known)} proxies: {listed}.")
        elif known:
            said.append(
                f"Spearman's interval includes 0 for all {len(known)} proxies: none is shown to predict the score."
            )
        if len(known) > 1:
            said.append(
                f"Of {len(known)} proxies that predict nothing, about {max(1, round(0.05 * len(known)))} would exclude 0 by "
                "chance at 95%: read single ones accordingly."
            )
        missing: dict[str, list[str]] = {}
        for line in self.lines:
            if line.correlation.reason:
                missing.setdefault(line.correlation.reason, []).append(line.name)
        said += [f"Not correlated ({reason}): {', '.join(names)}." for reason, names in missing.items()]
        said += [_calibration_sentence(found) for found in self.calibrations]
        return tuple(said)

    def rows(self) -> list[tuple[str, ...]]:
        """The table's cells under :data:`HEADINGS`."""
        return [_cells(line) for line in self.lines]


def diagnose(
    subject: str,
    truth_name: str,
    proxies: Sequence[Proxy],
    truth: Array,
    predicted: Sequence[Predicted] = (),
    *,
    lines: Sequence[Line] = (),
    notes: Sequence[str] = (),
    agreements: Sequence[Agreement] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Diagnosis:
    """Correlate every proxy with the truth and check the calibration of predictions.

    Args:
        truth: score of the full evaluation of each trial, NaN where there is none.
        lines: further lines, correlated elsewhere.
    """
    made = [Line(p.name, p.kind, correlate(p.values, truth, seed=seed, resamples=resamples)) for p in proxies]
    calibrations = [calibrate(p.name, p.mu, p.sigma, truth, seed=seed, resamples=resamples) for p in predicted]
    return Diagnosis(
        subject=subject,
        truth=truth_name,
        trials=int(np.isfinite(truth).sum()),
        lines=(*made, *lines),
        calibrations=tuple(calibrations),
        notes=tuple(notes),
        seed=seed,
        resamples=resamples,
        agreements=tuple(agreements),
    )


def state_proxies(states: Sequence[Mapping[str, Any]]) -> list[Proxy]:
    """A proxy for every field of state vectors given as plain data (of many sources the largest, and all others as one); entries of a
    mapping are called ``field/key``."""
    flat = shown_numbers(states)
    names = list(dict.fromkeys(name for state in flat for name in state))
    return [
        Proxy(name, "state", np.array([_value(state.get(name)) for state in flat], np.float64))
        for name in names
        if name != "cumulative_cost_ratio"  # the trial's number, no property of its subset
    ]


def token_counts(table: SignalTable, subsets: Sequence[NDArray[np.int64]]) -> list[Proxy]:
    """Tokens of each subset, if the pool's are counted; rows that could not be counted have none."""
    if "n_tokens" not in table.columns:
        return []
    tokens = np.nan_to_num(table.column("n_tokens").astype(np.float64))
    return [Proxy("tokens", "size", np.array([tokens[rows].sum() for rows in subsets], np.float64))]


def signal_means(table: SignalTable, subsets: Sequence[NDArray[np.int64]]) -> list[Proxy]:
    """Mean of every column over the rows of each subset that have a value; NaN where none has."""
    made = []
    for name in sorted(table.columns):
        values = table.column(name).astype(np.float64)
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        with np.errstate(invalid="ignore"):
            means = [np.divide(filled[rows].sum(), known[rows].sum()) for rows in subsets]
        made.append(Proxy(f"mean {name}", "signal", np.array(means, np.float64)))
    return made


def _value(number: Any) -> float:
    return float("nan") if number is None else float(number)


def _number(found: Estimate | None) -> str:
    return "" if found is None else f"{found.value:+.2f}"


def _range(found: Estimate | None) -> str:
    return "" if found is None else f"[{found.low:+.2f}, {found.high:+.2f}]"


def _cells(line: Line) -> tuple[str, ...]:
    found = line.correlation
    said = found.reason if found.reason else "yes" if found.excludes_zero else "no"
    return (
        line.name,
        line.kind,
        str(found.trials),
        _number(found.spearman),
        _range(found.spearman),
        _number(found.kendall),
        _range(found.kendall),
        said,
    )


def _calibration_sentence(found: Calibration) -> str:
    if found.error is None or found.spread is None:
        return f"Calibration of {found.name}: {found.reason}."
    shares = ", ".join(
        f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}] within {level:.0%}"
        for level, share in found.covered.items()
    )
    return (
        f"Calibration of {found.name} over {found.trials} trials: {shares}; standardised error "
        f"{found.error.value:+.2f} {_range(found.error)} (0 is unbiased), its spread {found.spread.value:.2f} "
        f"[{found.spread.low:.2f}, {found.spread.high:.2f}] (1 is calibrated)."
    )


def markdown(diagnosis: Diagnosis) -> str:
    """The table and the sentences as Markdown."""
    lines = [f"# {inline(f'{diagnosis.subject}: cheap proxies beside {diagnosis.truth}')}", ""]
    lines += [*markdown_table(HEADINGS, diagnosis.rows()), ""]
    lines += bullets((*diagnosis.findings(), *diagnosis.right_answers(), *diagnosis.notes))
    return "\n".join(lines) + "\n"


def write_table(diagnosis: Diagnosis, path: Path) -> None:
    """Write the table as Markdown (``.md``) or CSV (``.csv``).

    Raises:
        ConfigError: another suffix, or no such folder.
    """
    if path.suffix not in (".md", ".csv"):
        raise ConfigError(f"{path}: tables are written as .md or .csv; name such a file.")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: the folder {path.parent} does not exist; make it, or name another file.")
    write_text(path, markdown(diagnosis) if path.suffix == ".md" else _csv(diagnosis))


def _csv(diagnosis: Diagnosis) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}{end}" for name in ("spearman", "kendall") for end in ("", "_low", "_high")]
    writer.writerow(["proxy", "kind", "trials", *columns, "excludes_zero", "reason"])
    for line in diagnosis.lines:
        found = line.correlation
        numbers: list[Any] = []
        for estimate in (found.spearman, found.kendall):
            numbers += ["", "", ""] if estimate is None else [estimate.value, estimate.low, estimate.high]
        writer.writerow([line.name, line.kind, found.trials, *numbers, found.excludes_zero, found.reason or ""])
    return text.getvalue()
