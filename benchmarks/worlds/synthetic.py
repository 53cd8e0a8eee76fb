"""A family of pools with a known best subset, drawn by seed.

Every row has hidden properties: a task (or none), a gain (what it teaches, 0 for most), harm (wrong or of another
convention), and a group of near copies. A subset S is scored a task by

    s_t(S) = φ_t(C_t) · (1 - h_t)² · min(1, p_t / p*_t)^½ - w · W(S)

with C_t the gain of its distinct groups as a share of all there is (near copies count once), φ_t a saturating curve,
h_t the harm in the rows of that task it has, p_t the task's share of S beside its share p*_t of the best subset, and
W(S) the share of rows that teach nothing: wrong, off every task, or copies. Every factor is at most 1 and W at least
0, so no score exceeds 1; the subset of the one best row of every group with gain and no harm reaches 1 in every task.
So the optimum is known, and ``truth`` is scaled to be 0 for the whole pool and 1 at the optimum.

What a method sees are signals that follow gain and harm more or less: how closely, and in which direction, is drawn
for each world, and in some worlds for each source of it. Worlds whose whole pool leaves nothing to gain, or where
random halves are better than everything, are redrawn. Reachable: the best that a long search with the truth in hand
found with recipes of this package (``reachable.json``; made by ``python -m benchmarks.worlds.reach``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.table import SignalTable
from benchmarks.worlds.base import Rows, noise_generator

VERSION = 1
ROWS = 1500
TASKS = ("amber", "basalt", "cedar", "dune")
REACHABLE = Path(__file__).with_name("reachable.json")
NOISE = 0.03
"""Standard deviation of one run's mean score, on a scale where the whole pool is 0 and the optimum is 1."""
_DIMENSIONS, _PERMUTATIONS = 96, 128

HELDOUT_FROM = 100_000
"""Seeds of the worlds that tuning never sees."""

Array = NDArray[np.float64]


def world_seed(split: str, place: int) -> int:
    """Seed of the world at that place of a split."""
    return place + (HELDOUT_FROM if split == "heldout" else 0)


@dataclass(frozen=True, eq=False)
class Hidden:
    """What no method sees. ``task`` is len(TASKS) for rows of no task."""

    task: NDArray[np.int64]
    source: NDArray[np.int64]
    group: NDArray[np.int64]
    gain: Array
    harm: Array
    curve: Array
    waste: float


class SyntheticWorld:
    """One pool of the family; see the module's docstring.

    Args:
        noise: factor on the spread of scores around their truth.
    """

    def __init__(self, seed: int, n: int = ROWS, noise: float = 1.0) -> None:
        self.seed = seed
        self.noise = noise
        self.min_rows = max(32, round(0.02 * n))
        for attempt in range(1000):
            rng = np.random.default_rng([seed, n, attempt, VERSION])
            self.hidden = _draw_hidden(rng, n)
            if self._worth_searching(rng):
                break
        self.table = _signals(self.hidden, rng)

    # Scores

    @cached_property
    def best_rows(self) -> Rows:
        """The rows that reach the optimum."""
        useful = np.flatnonzero((self.hidden.gain > 0) & (self.hidden.harm == 0))
        order = np.lexsort((useful, -self.hidden.gain[useful], self.hidden.group[useful]))
        ordered = useful[order]
        first = np.r_[True, np.diff(self.hidden.group[ordered]) > 0]
        return np.sort(ordered[first])

    @cached_property
    def _best(self) -> tuple[Array, Array]:
        """Gain of each task that the best rows hold, and their share of the rows."""
        task = self.hidden.task[self.best_rows]
        gains = np.bincount(task, self.hidden.gain[self.best_rows], minlength=len(TASKS))[: len(TASKS)]
        shares = np.bincount(task, minlength=len(TASKS))[: len(TASKS)] / len(self.best_rows)
        return gains, shares

    def raw(self, rows: Rows) -> Array:
        """Scores of the tasks as in the formula, at most 1."""
        hidden = self.hidden
        rows = np.asarray(rows, np.int64)
        task, gain, harm = hidden.task[rows], hidden.gain[rows], hidden.harm[rows]
        count = len(TASKS)
        order = np.lexsort((-gain, hidden.group[rows]))
        groups = hidden.group[rows][order]
        first = np.zeros(len(rows), bool)
        first[order] = np.r_[True, groups[1:] != groups[:-1]]
        teaches = first & (gain > 0) & (harm == 0)
        gains = np.bincount(task[teaches], gain[teaches], minlength=count + 1)[:count]
        members = np.bincount(task, minlength=count + 1)[:count]
        harms = np.bincount(task, harm, minlength=count + 1)[:count] / np.maximum(members, 1)
        all_gains, best_shares = self._best
        covered = gains / all_gains
        curve = (1 - np.exp(-hidden.curve * covered)) / (1 - np.exp(-hidden.curve))
        balance = np.sqrt(np.minimum(1.0, members / len(rows) / best_shares))
        wasted = 1.0 - teaches.sum() / len(rows)
        return np.asarray(curve * (1 - harms) ** 2 * balance - hidden.waste * wasted)

    @cached_property
    def _everything(self) -> float:
        return float(self.raw(np.arange(len(self.hidden.task))).mean())

    def truth_of_tasks(self, rows: Rows) -> dict[str, float]:
        scaled = (self.raw(rows) - self._everything) / (1.0 - self._everything)
        return dict(zip(TASKS, scaled.tolist(), strict=True))

    def truth(self, rows: Rows) -> float:
        return float(np.mean(list(self.truth_of_tasks(rows).values())))

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        """The truth of the rows (of a random ``fidelity`` of them) plus normal noise, larger for cheaper runs."""
        rng = noise_generator(rows, seed, f"synthetic {self.seed} {fidelity:.4f}")
        rows = np.sort(np.asarray(rows, np.int64))
        if fidelity < 1:
            rows = rows[rng.random(len(rows)) < max(fidelity, 8 / len(rows))] if len(rows) > 8 else rows
            rows = rows if len(rows) else np.zeros(1, np.int64)
        scores = self.truth_of_tasks(rows)
        # Half of the variance is common to the tasks (the run's luck), half is each task's own (its few items).
        spread = self.noise * NOISE / np.sqrt(fidelity)
        common = spread * np.sqrt(0.5) * rng.normal()
        own = spread * np.sqrt(0.5 * len(TASKS)) * rng.normal(size=len(TASKS))
        return {task: score + common + float(own[place]) for place, (task, score) in enumerate(scores.items())}

    @property
    def optimum(self) -> float:
        return 1.0

    @cached_property
    def reachable(self) -> float:
        """Best known of recipes; the optimum for a world whose long search is not stored."""
        key = f"{VERSION}/{len(self.hidden.task)}/{self.seed}"
        stored = json.loads(REACHABLE.read_text("utf-8")) if REACHABLE.is_file() else {}
        return float(stored[key]["truth"]) if key in stored else self.optimum

    def _worth_searching(self, rng: np.random.Generator) -> bool:
        """Every task has something to teach, the whole pool leaves much to gain, and a random half is no better."""
        for cached in ("best_rows", "_best", "_everything"):
            self.__dict__.pop(cached, None)
        n = len(self.hidden.task)
        useful = np.bincount(self.hidden.task[self.best_rows], minlength=len(TASKS))
        if useful[: len(TASKS)].min() < 25 or self._everything > 0.6:
            return False
        halves = [float(self.raw(rng.choice(n, n // 2, replace=False)).mean()) for _ in range(12)]
        return float(np.mean(halves)) < self._everything - 0.005


def _draw_hidden(rng: np.random.Generator, n: int) -> Hidden:
    """Sources with a character each: how many of their rows are of a task, right, wrong, or copies."""
    count = int(rng.integers(4, 9))
    size = rng.dirichlet(np.full(count, 3.0))
    source = rng.choice(count, n, p=size)
    mix = rng.dirichlet(np.full(len(TASKS), 0.6), count)  # most sources serve one or two tasks
    off = np.where(rng.random(count) < 0.25, rng.uniform(0.6, 0.95, count), rng.uniform(0.0, 0.2, count))
    right = rng.beta(0.9, 0.9, count)
    copied = np.where(rng.random(count) < 0.35, rng.uniform(0.4, 0.8, count), rng.uniform(0.0, 0.1, count))
    task = np.array([rng.choice(len(TASKS), p=mix[s]) for s in source])  # a draw a row, once a world
    task = np.where(rng.random(n) < off[source], len(TASKS), task)
    is_right = (rng.random(n) < right[source]) & (task < len(TASKS))
    gain = np.where(is_right, rng.gamma(2.0, 0.5, n), 0.0)
    wrong = (task < len(TASKS)) & ~is_right
    harm = np.where(wrong, rng.uniform(0.2, 1.0, n), 0.0)
    group = np.arange(n)
    for s in range(count):
        members = np.flatnonzero((source == s) & (rng.random(n) < copied[s]))
        for t in range(len(TASKS) + 1):
            alike = members[task[members] == t]
            if len(alike) > 3:
                heads = alike[: max(1, len(alike) // int(rng.integers(3, 9)))]
                copies = alike[len(heads) :]
                head = heads[rng.integers(len(heads), size=len(copies))]
                group[copies], harm[copies] = head, harm[head]  # a copy is as right or wrong as its original
                gain[copies] = gain[head] * np.where(gain[head] > 0, rng.uniform(0.9, 1.0, len(copies)), 0.0)
    curve = np.exp(rng.uniform(np.log(3.0), np.log(20.0), len(TASKS)))
    return Hidden(task, source, group, gain, harm, curve, float(rng.uniform(0.1, 0.5)))


def _signals(hidden: Hidden, rng: np.random.Generator) -> SignalTable:
    n = len(hidden.task)
    merit = _standard(hidden.gain - 1.5 * hidden.harm)
    on_task = hidden.task < len(TASKS)
    sources = int(hidden.source.max()) + 1
    columns: dict[str, Array] = {}
    flips = rng.random() < 0.35  # in such a world the useful end of a score differs by source
    for name, strength in (("ifd", 1.5), ("varentropy", 1.1), ("ngram_entropy", 0.7), ("action_object_branching", 0.7)):
        direction = rng.choice([-1.0, 1.0]) * np.ones(sources)
        if flips:
            direction = rng.choice([-1.0, 1.0], sources)
        slope = direction * strength * rng.uniform(0.2, 1.0) * rng.uniform(0.6, 1.0, sources)
        level = rng.normal(0.0, rng.uniform(0.0, 1.2), sources)  # sources differ for no reason
        noise = rng.normal(0.0, 0.7, n)[hidden.group] + rng.normal(0.0, 0.3, n)  # copies score alike
        columns[name] = slope[hidden.source] * merit + level[hidden.source] + noise
    columns["action_object_branching"][rng.random(n) < 0.05] = np.nan
    columns["ifd"] = np.exp(0.25 * columns["ifd"] - 0.4)
    columns["ngram_entropy"] += 4.0
    tokens = np.exp(3.6 + 0.4 * rng.normal(size=n) + 0.3 * rng.normal(size=sources)[hidden.source])
    columns["n_tokens"] = np.clip(np.rint(tokens), 6, 400)
    sharpness = rng.uniform(0.8, 3.0)
    for place, task in enumerate(TASKS):
        related = sharpness * (hidden.task == place) + 0.3 * rng.uniform(-1, 1) * merit * on_task
        columns[f"mona/{task}"] = 1.0 / (1.0 + np.exp(-(related - 1.0 + rng.normal(size=n)[hidden.group])))
    names = np.array([f"source{s}" for s in range(sources)])
    return SignalTable.from_arrays(
        columns,
        source=names[hidden.source],
        text_hash=_exact_groups(hidden.group, rng),
        minhash=_signatures(hidden.group, rng),
        sae=_features(hidden, rng),
    )


def _exact_groups(group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint64]:
    """Half of the copies are exact."""
    n = len(group)
    return np.where(rng.random(n) < 0.5, group, np.arange(n)).astype(np.uint64)


def _signatures(group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint32]:
    """MinHash signatures: two copies agree in about 0.85² of the positions."""
    n = len(group)
    base = rng.integers(0, 2**32, (n, _PERMUTATIONS), dtype=np.uint32)
    own = rng.integers(0, 2**32, (n, _PERMUTATIONS), dtype=np.uint32)
    return np.where(rng.random((n, _PERMUTATIONS)) < 0.85, base[group], own)


def _features(hidden: Hidden, rng: np.random.Generator) -> NDArray[np.float32]:
    """Sparse features: some for the task, some for the source, some of the text itself (alike for copies)."""
    n = len(hidden.task)
    per_task = rng.integers(0, _DIMENSIONS, (len(TASKS) + 1, 6))
    per_source = rng.integers(0, _DIMENSIONS, (int(hidden.source.max()) + 1, 4))
    per_text = rng.integers(0, _DIMENSIONS, (n, 5))[hidden.group]
    dense = np.zeros((n, _DIMENSIONS), np.float32)
    rows = np.arange(n)[:, None]
    for picked in (per_task[hidden.task], per_source[hidden.source], per_text):
        weight = rng.gamma(2.0, 0.5, picked.shape) * (rng.random(picked.shape) < 0.7)
        dense[rows, picked] += weight.astype(np.float32)
    return dense


def _standard(values: Array) -> Array:
    return (values - values.mean()) / max(1e-9, float(values.std()))
