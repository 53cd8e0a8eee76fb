"""What a stored signal is: all that it depends on, its results by batches of rows, and the finished whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from autoselection.signals.arrays import SparseRows

FORMAT = 1

Array = NDArray[Any]


@dataclass(frozen=True)
class SignalSpec:
    """What a cached signal depends on besides the pool.

    Attributes:
        name: directory name, such as ``tokens`` or ``mona/gsm8k``.
        version: raised by us whenever the definition changes.
        params: JSON values that change the result.
        model: fingerprint of the model (and SAE) it was computed with.
        targets: fingerprint of the task's target items.
        sparse: the result is one sparse vector a row.
        uses: other signals of the same pool that it is computed from, by the name of the parameter that holds their key.
        rowwise: what it says of a row depends on nothing but this row (and the above). If not, nothing is taken over
            from before rows were appended to the pool.
    """

    name: str
    version: int
    params: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    targets: str | None = None
    sparse: bool = False
    uses: Mapping[str, SignalSpec] = field(default_factory=dict)
    rowwise: bool = True

    def resolved(self, pool_fingerprint: str) -> dict[str, Any]:
        """The parameters, with the keys of the signals it uses."""
        return {**self.params, **{name: used.key(pool_fingerprint) for name, used in self.uses.items()}}

    def key(self, pool_fingerprint: str) -> str:
        """16 hex digits."""
        params = self.resolved(pool_fingerprint)
        return key_of([FORMAT, pool_fingerprint, self.name, self.version, params, self.model, self.targets])


def key_of(parts: Sequence[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Shard:
    """Results for consecutive rows: aligned arrays (or ``counts``, ``indices``, ``values``), and counts to be summed."""

    arrays: Mapping[str, Array]
    stats: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredSignal:
    """A finished signal: its metadata and its memory-mapped arrays."""

    meta: Mapping[str, Any]
    arrays: Mapping[str, Array]

    def sparse(self) -> SparseRows:
        """The arrays of a sparse signal as rows."""
        arrays, d = self.arrays, int(self.meta["params"]["d"])
        return SparseRows(arrays["indptr"], arrays["indices"], arrays["values"], d, arrays.get("scale"))
