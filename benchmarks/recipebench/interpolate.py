"""Scores of subsets that were never evaluated: a regression on what a subset holds, fitted on the table.

    python -m benchmarks.recipebench.interpolate --work runs/recipebench      # compare regressors by cross-validation

A subset is described by the shares of its rows in cells of the pool (source by IFD quartile, quartiles of every score,
nearest task, relevance), its size and how much of it is distinct. Outputs are the logarithms of the losses of all
tasks on dev (and test), fitted together. Folds of the cross-validation never split the runs of one subset.

Noise is taken from subsets trained with several seeds: covariance of the outputs' logarithms within a subset, and, if
the data show it, a spread that grows with the loss.

A subset unlike all of the table is not trusted: beyond the distance that 99% of the table's subsets have to their
nearest other one, its predicted log loss is raised by :data:`PENALTY` for every such distance, and it is
flagged. Trees cannot extrapolate and are constant in pieces; the blend with a Gaussian process (Matérn
over these features: it knows nothing of overlaps or recipes, which searches may model) smooths that.

The held-out part of the table (about 30%, by the subset's hash) is another table altogether: an interpolator is fitted
on one part only.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.recipes import subset_hash
from autoselection.signals.table import SignalTable

SPLITS = ("tune", "heldout", "all")
SHIPPED = Path(__file__).with_name("data") / "evaluations.jsonl.gz"
HELDOUT_OF_TEN = 3
FOLDS = 8
QUARTILES_OF = ("ifd", "varentropy", "ngram_entropy", "action_object_branching", "n_tokens")
TRUSTED = 0.99
"""Share of the table's subsets whose distance to the nearest other one counts as near."""

PENALTY = 0.15
"""Rise of the log loss for every trusted distance beyond the trusted one: about the error of the cross-validation."""

Rows = NDArray[np.int64]
Array = NDArray[np.float64]


class TableError(ValueError):
    """A table that cannot be interpolated."""


@dataclass(frozen=True, eq=False)
class Evaluations:
    """Rows of the table, one a training run.

    Attributes:
        subsets: row indices of each run's subset.
        seeds: of the runs.
        losses: (runs, outputs) losses, all > 0.
        outputs: names such as ``dev/addition``.
    """

    subsets: tuple[Rows, ...]
    seeds: NDArray[np.int64]
    losses: Array
    outputs: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.subsets)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Hash of each run's subset."""
        return tuple(subset_hash(rows) for rows in self.subsets)

    @property
    def digest(self) -> str:
        parts = sorted(
            f"{key}/{seed}/{np.round(loss, 6).tolist()}"
            for key, seed, loss in zip(self.keys, self.seeds, self.losses, strict=True)
        )
        return hashlib.blake2b("\n".join([*self.outputs, *parts]).encode(), digest_size=8).hexdigest()

    def take(self, keep: NDArray[np.bool_]) -> Evaluations:
        places = np.flatnonzero(keep)
        return Evaluations(
            tuple(self.subsets[i] for i in places), self.seeds[places], self.losses[places], self.outputs
        )

    def split(self, name: str) -> Evaluations:
        """The runs of a part: ``tune``, ``heldout``, or ``all``."""
        if name not in SPLITS:
            raise ValueError(f"unknown split '{name}'; known: {', '.join(SPLITS)}")
        if name == "all":
            return self
        held = np.array([is_held_out(key) for key in self.keys], bool)
        return self.take(held if name == "heldout" else ~held)


def is_held_out(key: str) -> bool:
    """Whether the subset with this hash belongs to the part that tuning never sees."""
    return int(hashlib.blake2b(key.encode(), digest_size=4).hexdigest(), 16) % 10 < HELDOUT_OF_TEN


def read_evaluations(path: Path, n: int) -> Evaluations:
    """Runs of a table, of its compact form (:mod:`benchmarks.recipebench.pack`) or of a build in progress.

    Failed runs and short trainings are left out. Runs without a test score are used only if none has one.

    Args:
        n: rows of the pool.

    Raises:
        ValueError: the file holds no run, or one for a pool of another size.
    """
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    masks: dict[str, str] = {}
    runs: list[dict[str, Any]] = []
    for line in data.rpartition(b"\n")[0].splitlines():  # without a last line that is being written
        record = json.loads(line)
        if "mask" in record and "failure" not in record:
            masks[record["key"].split("/")[0]] = record["mask"]
        if "dev" in record and record["key"].count("/") == 1:
            runs.append(record)
    if any("test" in run for run in runs):
        runs = [run for run in runs if "test" in run]
    if not runs:
        raise TableError(f"{path} holds no finished evaluation: run benchmarks.recipebench.build first.")
    splits = [name for name in ("dev", "test") if name in runs[0]]
    tasks = sorted(runs[0]["dev"])
    decoded: dict[str, Rows] = {}
    for key, mask in masks.items():
        bits = np.frombuffer(base64.b64decode(mask), np.uint8)
        if len(bits) != -(-n // 8):
            raise TableError(f"{path}: subset {key} is of another pool than this one of {n} rows.")
        decoded[key] = np.flatnonzero(np.unpackbits(bits)[:n]).astype(np.int64)
    return Evaluations(
        tuple(decoded[run["key"].split("/")[0]] for run in runs),
        np.array([int(run["key"].split("/")[1]) for run in runs]),
        np.array([[run[split][task] for split in splits for task in tasks] for run in runs], np.float64),
        tuple(f"{split}/{task}" for split in splits for task in tasks),
    )


class SubsetFeatures:
    """Numbers that describe a subset of one pool."""

    def __init__(self, table: SignalTable) -> None:
        n = table.n
        blocks: list[tuple[NDArray[np.int64], int]] = []
        sources = len(table.source_names)
        if "ifd" in table.columns:
            blocks.append((table.source.astype(np.int64) * 4 + _within(table.column("ifd"), table.source), sources * 4))
        else:
            blocks.append((table.source.astype(np.int64), sources))
        for name in QUARTILES_OF:
            if name in table.columns:
                blocks.append((_quartile(table.column(name)), 5))
        if table.tasks:
            relevance = np.stack([table.column(f"mona/{task}") for task in table.tasks], 1)
            blocks.append((relevance.argmax(1), len(table.tasks)))
            blocks.append((_quartile(relevance.max(1)), 5))
        self._cells = np.zeros((n, sum(width for _, width in blocks)), np.float32)
        start = 0
        for cell, width in blocks:
            self._cells[np.arange(n), start + cell] = 1.0
            start += width
        self._cells = self._cells[:, self._cells.any(axis=0)]
        self._texts = table.text_hash

    def __call__(self, subsets: Sequence[Rows]) -> Array:
        """One line of features a subset."""
        lines = []
        for rows in subsets:
            distinct = 1.0 if self._texts is None else len(np.unique(self._texts[rows])) / len(rows)
            lines.append(np.r_[self._cells[rows].mean(axis=0, dtype=np.float64), np.log(len(rows)), distinct])
        return np.array(lines)


def _quartile(values: NDArray[Any]) -> NDArray[np.int64]:
    """0 to 3 by rank over the pool; 4 for a row without a score."""
    known = np.isfinite(values)
    out = np.full(len(values), 4, np.int64)
    order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
    out[order] = np.arange(len(order)) * 4 // max(1, len(order))
    return out


def _within(values: NDArray[Any], source: NDArray[Any]) -> NDArray[np.int64]:
    """0 to 3 by rank within the row's source; rows without a score count as the lowest."""
    out = np.zeros(len(values), np.int64)
    for code in np.unique(source):
        rows = np.flatnonzero(source == code)
        order = rows[np.argsort(np.nan_to_num(values[rows], nan=-np.inf), kind="stable")]
        out[order] = np.arange(len(order)) * 4 // len(order)
    return out


class _Blend:
    """Mean of the predictions of two regressors."""

    def __init__(self, *models: Any) -> None:
        self.models = models

    def fit(self, x: Array, y: Array) -> _Blend:
        for model in self.models:
            model.fit(x, y)
        return self

    def predict(self, x: Array) -> Array:
        return np.asarray(np.mean([model.predict(x).reshape(len(x), -1) for model in self.models], axis=0))


def _trees() -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(300, min_samples_leaf=1, max_features=0.4, random_state=0)


def _process() -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kernel = ConstantKernel(1.0, (0.05, 50.0)) * Matern(8.0, (1.0, 100.0), nu=2.5) + WhiteKernel(0.05, (1e-3, 1.0))
    return make_pipeline(StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True, random_state=0))


def _boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor

    return MultiOutputRegressor(
        HistGradientBoostingRegressor(
            max_iter=200, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=5, random_state=0
        )
    )


REGRESSORS: dict[str, Callable[[], Any]] = {
    "extra trees": _trees,
    "gaussian process": _process,
    "boosting": _boosting,
    "boosting + process": lambda: _Blend(_boosting(), _process()),
    "all three": lambda: _Blend(_trees(), _boosting(), _process()),
}
CHOSEN = "boosting + process"


@dataclass(frozen=True)
class Quality:
    """How well runs of unseen subsets are predicted (mean dev score over tasks, the one a search sees)."""

    runs: int
    subsets: int
    spearman: float
    spearman_upper_half: float
    rmse_log: float
    rmse: float
    noise_log: float

    def to_dict(self) -> dict[str, float | None]:
        """Plain numbers; None for a noise that no repeated subset tells."""
        return {name: round(value, 4) if np.isfinite(value) else None for name, value in self.__dict__.items()}


@dataclass
class Interpolator:
    """Losses of any subset of the pool; see the module's docstring."""

    table: SignalTable
    evaluations: Evaluations
    regressor: str = CHOSEN
    penalty: float = PENALTY
    _known: dict[str, tuple[Array, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.features = SubsetFeatures(self.table)
        x, y = self._training()
        self._centre, self._spread = x.mean(axis=0), np.where(x.std(axis=0) > 1e-9, x.std(axis=0), 1.0)
        self._z = (x - self._centre) / self._spread
        self._model = REGRESSORS[self.regressor]().fit(x, y)
        self.reach = float(np.quantile(self._nearest(self._z, others=True), TRUSTED))
        self._noise = Noise.of(self.evaluations)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.evaluations.outputs

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(name.split("/", 1)[1] for name in self.outputs if name.startswith("dev/"))

    @property
    def has_test(self) -> bool:
        return any(name.startswith("test/") for name in self.outputs)

    def _training(self) -> tuple[Array, Array]:
        """One line a subset: features, and mean log loss over its seeds."""
        index: dict[str, list[int]] = {}
        for place, key in enumerate(self.evaluations.keys):
            index.setdefault(key, []).append(place)
        logs = np.log(self.evaluations.losses)
        y = np.array([logs[places].mean(axis=0) for places in index.values()])
        return self.features([self.evaluations.subsets[places[0]] for places in index.values()]), y

    def _nearest(self, z: Array, others: bool = False) -> Array:
        """Distance to the nearest subset of the table, root mean square over features."""
        square = ((z[:, None, :] - self._z[None, :, :]) ** 2).mean(axis=2)
        if others:
            np.fill_diagonal(square, np.inf)
        return np.asarray(np.sqrt(square.min(axis=1)))

    def log_losses(self, subsets: Sequence[Rows]) -> Array:
        """(subsets, outputs) expected log losses, raised where the table has nothing alike."""
        return np.array([values for values, _ in self._predict(subsets)]).reshape(len(subsets), len(self.outputs))

    def strangeness(self, subsets: Sequence[Rows]) -> Array:
        """Distance to the table beyond what is trusted, in units of that; 0 within."""
        return np.array([strange for _, strange in self._predict(subsets)])

    def _predict(self, subsets: Sequence[Rows]) -> list[tuple[Array, float]]:
        keys = [subset_hash(rows) for rows in subsets]
        fresh = {key: rows for key, rows in zip(keys, subsets, strict=True) if key not in self._known}
        if fresh:
            x = self.features([np.sort(rows) for rows in fresh.values()])
            strange = np.maximum(0.0, self._nearest((x - self._centre) / self._spread) / self.reach - 1.0)
            y = self._model.predict(x).reshape(len(x), -1) + self.penalty * strange[:, None]
            self._known.update(zip(fresh, zip(y, strange.tolist(), strict=True), strict=True))
        return [self._known[key] for key in keys]

    def scores(self, rows: Rows, split: str) -> dict[str, float]:
        """Expected score (minus loss) of each task on ``dev`` or ``test``."""
        losses = np.exp(self.log_losses([rows])[0])
        names = zip(self.outputs, losses.tolist(), strict=True)
        return {name.split("/", 1)[1]: -loss for name, loss in names if name.startswith(f"{split}/")}

    def mean_scores(self, subsets: Sequence[Rows], split: str) -> Array:
        """Expected mean score over tasks of many subsets."""
        columns = [place for place, name in enumerate(self.outputs) if name.startswith(f"{split}/")]
        return np.asarray(-np.exp(self.log_losses(subsets)[:, columns]).mean(axis=1))

    def draw(self, rows: Rows, rng: np.random.Generator, scale: float = 1.0) -> dict[str, float]:
        """Dev scores of one training run: expected ones with noise (``scale`` times the usual spread)."""
        places = [place for place, name in enumerate(self.outputs) if name.startswith("dev/")]
        expected = self.log_losses([rows])[0][places]
        noise = self._noise.draw(float(np.log(np.exp(expected).mean())), rng)[places] * scale
        losses = np.exp(expected + noise)
        return dict(zip(self.tasks, (-losses).tolist(), strict=True))

    @property
    def noise(self) -> Noise:
        return self._noise

    @property
    def digest(self) -> str:
        code = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=8).hexdigest()
        text = f"{self.evaluations.digest}/{self.regressor}/{code}/{self.table.fingerprint}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, eq=False)
class Noise:
    """Normal noise of the log losses of one run.

    Attributes:
        factor: square root of the covariance of the outputs, for a subset of average loss.
        centre: average logarithm of the mean dev loss.
        slope: how the logarithm of the spread grows with that of the loss; 0 unless the data show it.
        repeated: subsets with several seeds that it was taken from.
    """

    factor: Array
    centre: float
    slope: float
    repeated: int

    @classmethod
    def of(cls, evaluations: Evaluations) -> Noise:
        """From subsets with at least two runs.

        Raises:
            ValueError: there is none.
        """
        index: dict[str, list[int]] = {}
        for place, key in enumerate(evaluations.keys):
            index.setdefault(key, []).append(place)
        repeated = [places for places in index.values() if len(places) > 1]
        if not repeated:
            raise TableError(
                "the table has no subset with two seeds, so its noise is unknown: let benchmarks.recipebench.build go on."
            )
        logs = np.log(evaluations.losses)
        dev = [place for place, name in enumerate(evaluations.outputs) if name.startswith("dev/")]
        deviations = [logs[places] - logs[places].mean(axis=0) for places in repeated]
        levels = np.array([float(np.log(evaluations.losses[places][:, dev].mean())) for places in repeated])
        freedom = np.array([len(places) - 1 for places in repeated])
        spreads = np.array([float((d[:, dev].mean(axis=1) ** 2).sum()) for d in deviations]) / freedom
        slope = _noise_slope(levels, spreads, freedom)
        centre = float(np.average(levels, weights=freedom))
        scaled = [d / np.exp(slope * (level - centre)) for d, level in zip(deviations, levels, strict=True)]
        covariance = sum(d.T @ d for d in scaled) / freedom.sum()
        values, vectors = np.linalg.eigh(np.asarray(covariance))
        return cls(vectors * np.sqrt(np.maximum(values, 0.0)), centre, slope, len(repeated))

    def draw(self, level: float, rng: np.random.Generator) -> Array:
        """Noise of all outputs for a subset whose mean dev loss has the logarithm ``level``."""
        return np.asarray(self.factor @ rng.normal(size=self.factor.shape[1])) * self.spread(level)

    def spread(self, level: float) -> float:
        """Factor on the usual spread; kept within a factor of three."""
        return float(np.clip(np.exp(self.slope * (level - self.centre)), 1 / 3, 3))


def _noise_slope(levels: Array, variances: Array, freedom: NDArray[np.int64]) -> float:
    """Slope of log spread over log loss, by weighted least squares; 0 if it is within two standard errors of 0."""
    usable = variances > 0
    if usable.sum() < 30:
        return 0.0
    x, y, w = levels[usable], 0.5 * np.log(variances[usable]), freedom[usable].astype(float)
    x = x - np.average(x, weights=w)
    slope = float((w * x * y).sum() / (w * x * x).sum())
    rest = y - np.average(y, weights=w) - slope * x
    error = float(np.sqrt((w * rest**2).sum() / max(1, len(x) - 2) / (w * x * x).sum()))
    return slope if abs(slope) > 2 * error else 0.0


def cross_validate(
    table: SignalTable, evaluations: Evaluations, regressor: str = CHOSEN, folds: int = FOLDS
) -> Quality:
    """Predict every run from the runs of other subsets."""
    from scipy.stats import spearmanr

    x = SubsetFeatures(table)(evaluations.subsets)
    y = np.log(evaluations.losses)
    keys = np.array(evaluations.keys)
    unique = np.unique(keys)
    fold_of = dict(zip(unique, np.random.default_rng(0).permutation(len(unique)) % folds, strict=True))
    fold = np.array([fold_of[key] for key in keys])
    predicted = np.zeros_like(y)
    for number in range(folds):
        test = fold == number
        if test.any() and not test.all():
            predicted[test] = REGRESSORS[regressor]().fit(x[~test], y[~test]).predict(x[test]).reshape(test.sum(), -1)
    dev = [place for place, name in enumerate(evaluations.outputs) if name.startswith("dev/")]
    truth, guess = (np.exp(values[:, dev]).mean(axis=1) for values in (y, predicted))
    upper = truth <= np.median(truth)
    index: dict[str, list[int]] = {}
    for place, key in enumerate(evaluations.keys):
        index.setdefault(key, []).append(place)
    repeated = [np.log(truth[places]) for places in index.values() if len(places) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
    return Quality(
        runs=len(y),
        subsets=len(unique),
        spearman=float(spearmanr(truth, guess).statistic),
        spearman_upper_half=float(spearmanr(truth[upper], guess[upper]).statistic),
        rmse_log=float(np.sqrt(np.mean((np.log(truth) - np.log(guess)) ** 2))),
        rmse=float(np.sqrt(np.mean((truth - guess) ** 2))),
        noise_log=float(np.sqrt(within / freedom)) if freedom else float("nan"),
    )


def demo_table(work: Path) -> SignalTable:
    """The signals of the embedded demo's pool, computed into ``work`` once."""
    from autoselection.study.prepare import prepare
    from benchmarks.demo_study import demo_study

    return prepare(demo_study(), work).table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the pool and its signals")
    parser.add_argument(
        "--evaluations", type=Path, help="table (default: WORK/evaluations.jsonl, else the shipped one)"
    )
    parser.add_argument("--split", choices=SPLITS, default="all")
    parser.add_argument("--regressors", default=",".join(REGRESSORS))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    table = demo_table(options.work)
    path = options.evaluations or default_path(options.work)
    evaluations = read_evaluations(path, table.n).split(options.split)
    for name in options.regressors.split(","):
        line = {"regressor": name, "split": options.split, **cross_validate(table, evaluations, name).to_dict()}
        print(json.dumps(line), flush=True)


def default_path(work: Path) -> Path:
    """The table being built in a work folder if there is one, else the one in the repository."""
    built = work / "evaluations.jsonl"
    return built if built.is_file() else SHIPPED


if __name__ == "__main__":
    main()
