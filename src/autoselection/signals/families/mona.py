"""MONA: how much of a task's SAE features each row shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.arrays import SparseRows
from autoselection.signals.contract import Loaded, Rows, Signal
from autoselection.signals.families.sae import SAE, SaeFeatures, sae_info
from autoselection.signals.inputs import Inputs
from autoselection.signals.model_pass import BaseModelPass
from autoselection.signals.needs import BASE_MODEL, TARGETS
from autoselection.signals.stored import Shard, SignalSpec, StoredSignal
from autoselection.tasks import items_fingerprint

#: Entries of sparse rows read at once (their buffers stay in a processor's cache).
_ENTRIES = 1 << 17
MONA_PREFIX = "mona/"


class FeaturePass:
    """One pass over the stored features, for all tasks."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def run(self, rows: Rows, signals: Sequence[Mona]) -> Mapping[str, Shard]:
        vectors = np.stack([signal.vector(self._inputs) for signal in signals])
        scores = mona_matrix(rows.needed["sae"].sparse(), vectors, rows.span)
        counts = {"no_features": int(np.isnan(scores[0]).sum())}
        return {signal.name: Shard({"mona": column}, counts) for signal, column in zip(signals, scores, strict=True)}


class Mona(Signal):
    """Relevance of each row to one task; its vector is made when it is first used: a cached signal needs no model."""

    name = "mona"
    version = 2
    needs = (BASE_MODEL, SAE, TARGETS)
    made_from = ("sae",)
    column_prefixes = (MONA_PREFIX,)
    pass_group = FeaturePass
    shard_rows = 65_536
    cost = 7
    replaces_siblings = True

    def __init__(self, options: Any = None, task: str = "") -> None:
        super().__init__(options)
        self.task = task
        self.name = MONA_PREFIX + task
        self.columns = ("mona",)
        self._vector: NDArray[np.float64] | None = None

    @classmethod
    def instances(cls, options: Any, inputs: Inputs) -> Sequence[Mona]:
        return [cls(options, task) for task in inputs.targets]

    @classmethod
    def left_out(cls, inputs: Inputs) -> Mapping[str, str]:
        why = "the task has no target samples"
        return {MONA_PREFIX + task.name: why for task in inputs.tasks if task.target is None}

    @property
    def title(self) -> str:
        return f"MONA of {self.task}"

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        items = inputs.targets[self.task]
        return SignalSpec(
            self.name, self.version, {"samples": len(items)}, targets=items_fingerprint(items), uses=dict(needed)
        )

    def whole(self, rows: Rows) -> Mapping[str, Any]:
        return {"task_vector": self.vector(rows.inputs).astype(np.float32)}

    def vector(self, inputs: Inputs) -> NDArray[np.float64]:
        """The task's mean features, float64[d]."""
        if self._vector is None:
            self._vector = task_vector(self._features(inputs))
        return self._vector

    def _features(self, inputs: Inputs) -> SparseRows:
        """SAE features of target samples, rendered and encoded as the rows of the pool are."""
        items = inputs.targets[self.task]
        options = SaeFeatures.options_model(**inputs.options.get("sae", {}))
        signal = SaeFeatures.instances(options, inputs)[0]
        scorer = BaseModelPass(inputs).scorer()
        arrays = scorer.run([item.messages() for item in items], [signal])[signal.name].arrays
        indptr = np.zeros(len(items) + 1, np.int64)
        np.cumsum(arrays["counts"], out=indptr[1:])
        width = sae_info(inputs).num_latents
        return SparseRows(indptr, arrays["indices"], arrays["values"], width, arrays.get("scale"))

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        return Loaded({stored.meta["name"]: stored.arrays["mona"]})


def task_vector(features: SparseRows) -> NDArray[np.float64]:
    """Mean feature vector of a task's target samples, dense float64[d]."""
    total = np.bincount(features.indices, weights=features.floats().astype(np.float64), minlength=features.d)
    mean: NDArray[np.float64] = total / max(1, len(features))
    return mean


def mona_matrix(features: SparseRows, targets: NDArray[Any], rows: range | None = None) -> NDArray[np.float32]:
    """Generalized Jaccard similarity of each row with task vectors [T, d]: ``Σ min(a, v) / Σ max(a, v)``; float32[T, N].

    Only a row's active dimensions are touched: since min + max = a + v, ``Σ max = Σ a + Σ v − Σ min`` and ``Σ min`` runs
    over the active dimensions. A row without features is NaN. Blocks of rows keep what is held at once to a few
    megabytes. The terms are float32, each row's summed pairwise: within 1e-5 (relative) of the dense formula.
    """
    rows = range(len(features)) if rows is None else rows
    indptr = np.asarray(features.indptr[rows.start : rows.stop + 1])
    vectors = np.ascontiguousarray(targets, np.float32)
    totals = np.asarray(targets, np.float64).sum(axis=1)
    scores = np.full((len(vectors), len(rows)), np.nan, np.float32)
    start = 0
    while start < len(rows):
        stop = max(start + 1, int(np.searchsorted(indptr, indptr[start] + _ENTRIES, side="right")) - 1)
        bounds = indptr[start : stop + 1]
        filled = np.flatnonzero(np.diff(bounds))
        if len(filled):
            indices = np.asarray(features.indices[int(bounds[0]) : int(bounds[-1])])
            values = features.floats(rows.start + start, rows.start + stop)
            first = (bounds[:-1] - bounds[0])[filled]  # empty rows would repeat a neighbour's entry
            own = np.add.reduceat(values, first).astype(np.float64)
            shared_terms = np.empty_like(values)
            for score, vector, total in zip(scores, vectors, totals, strict=True):
                np.take(vector, indices, out=shared_terms, mode="clip")
                np.minimum(shared_terms, values, out=shared_terms)
                shared = np.add.reduceat(shared_terms, first).astype(np.float64)
                score[start + filled] = shared / (own + total - shared)
        start = stop
    return scores
