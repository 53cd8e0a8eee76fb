"""The table of signals: everything that operators and state vectors may know of a pool's rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.errors import SignalError
from autoselection.signals.kinds import KIND_COLUMNS
from autoselection.signals.pairs import NearDuplicates

if TYPE_CHECKING:
    import polars

    from autoselection.pool import Pool

#: Signals that are more than a function of a row's own text, in the order in which they are computed: ``score.py`` knows
#: how. All others are in ``registry.py``.
SPECIAL_SIGNALS = (
    "near_duplicates",
    "contamination",
    "embeddings",
    "contamination_cosine",
    "ifd",
    "loss",
    "varentropy",
    "rsr",
    "token_kinds",
    "sae",
    "mona",
    "reward",
    "trajectory",
)
#: Signals that come together from the two passes of a base model over each row.
LM_SIGNALS = ("ifd", "loss", "varentropy", "rsr", "token_kinds")
#: Arrays of a table that are not columns of scores.
TABLE_ARRAYS = frozenset({"text_hash", "minhash", "near_duplicates", "sae", "embeddings"})
#: Which signal (the name given to ``autoselection score --signals``) yields each column, if it is not in ``registry.py``.
SIGNAL_OF_COLUMN: Mapping[str, str] = MappingProxyType(
    {
        "ifd": "ifd",
        "loss": "loss",
        "varentropy": "varentropy",
        "rsr": "rsr",
        **dict.fromkeys(KIND_COLUMNS, "token_kinds"),
        "loss_conditional": "ifd",
        "loss_unconditional": "ifd",
        "contamination": "contamination",
        "contamination_cosine": "contamination_cosine",
        "reward": "reward",
        "loss_drop": "trajectory",
        "loss_slope": "trajectory",
    }
)
MONA_PREFIX = "mona/"
#: ``loss/0``, ``loss/1``, …: a row's loss under the checkpoints of a trajectory.
LOSS_PREFIX = "loss/"


def column_signal(column: str) -> str | None:
    """The signal of the model that yields ``column``, or None."""
    prefixes = {MONA_PREFIX: "mona", LOSS_PREFIX: "trajectory"}
    return SIGNAL_OF_COLUMN.get(column) or next((prefixes[p] for p in prefixes if column.startswith(p)), None)


def signal_of_column(column: str) -> str | None:
    """The signal, of this package or another, that yields ``column``; None if no signal does."""
    from autoselection.signals.registry import default_registry  # which knows this module

    return column_signal(column) or default_registry().signal_of_column(column)


def how_to_get(signal: str) -> str:
    """The sentence that tells which command computes ``signal``."""
    model = " --model MODEL"
    needs = {
        "contamination": " --config CONFIG",
        "contamination_cosine": " --config CONFIG --embedding-model MODEL",
        "embeddings": " --embedding-model MODEL",
        **dict.fromkeys(LM_SIGNALS, model),
        "sae": model + " --sae SAE",
        "mona": model + " --sae SAE",
        "reward": " --reward-model MODEL",
        "trajectory": " --trajectory-model FIRST --trajectory-model LAST",
    }
    return f"run `autoselection score POOL_DIR --signals {signal}{needs.get(signal, '')}` first."


@dataclass(frozen=True)
class MinHashParams:
    """How the signatures of a table were made: word n-grams of ``ngram_size``, ``num_perm`` permutations, ``seed``."""

    ngram_size: int = 5
    num_perm: int = 128
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Non-negative sparse vectors, one a row, in compressed sparse row form; the arrays may be memory-mapped.

    Row i holds ``values[indptr[i]:indptr[i+1]]`` at the dimensions ``indices[...]``, ascending and distinct.

    Attributes:
        indptr: int64[N+1].
        indices: int32[nnz].
        values: float32, float16 or uint8 [nnz], all > 0.
        d: width of the vectors.
        scale: float32[N] if the values are uint8: row i holds ``scale[i] * values``.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]
    d: int
    scale: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Non-zeros of each row, int64[N]."""
        return np.diff(self.indptr)

    def row(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Indices and values of one row."""
        span = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
        return self.indices[span], self.floats(i, i + 1)

    def floats(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """The values of rows ``start`` to ``stop`` (default: all) as float32."""
        stop = len(self) if stop is None else stop
        bounds = np.asarray(self.indptr[start : stop + 1])
        values: NDArray[np.float32] = np.asarray(self.values[int(bounds[0]) : int(bounds[-1])], np.float32)
        return values if self.scale is None else values * np.repeat(self.scale[start:stop], np.diff(bounds))

    def take(self, rows: NDArray[np.int64]) -> SparseRows:
        """The given rows, in the given order, in memory."""
        counts = self.counts[rows]
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        where = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], counts)
        scale = None if self.scale is None else self.scale[rows]
        return SparseRows(indptr, self.indices[where], self.values[where], self.d, scale)

    def to_scipy(self) -> Any:
        """The same rows as ``scipy.sparse.csr_matrix`` of shape (N, d), float32; indices share memory where they can."""
        return self._matrix(self.floats())

    def active(self) -> Any:
        """Where the rows are not zero, as ``scipy.sparse.csr_matrix`` of int8 ones; the values are not read."""
        return self._matrix(np.ones(len(self.indices), np.int8))

    def _matrix(self, data: NDArray[Any]) -> Any:
        from scipy.sparse import csr_matrix

        matrix = csr_matrix((len(self), self.d), dtype=data.dtype)
        matrix.data = data
        matrix.indices = np.asarray(self.indices)
        matrix.indptr = np.asarray(self.indptr)
        if matrix.indptr[-1] <= np.iinfo(np.int32).max:  # scipy wants both index arrays alike
            matrix.indptr = matrix.indptr.astype(np.int32)
        else:
            matrix.indices = matrix.indices.astype(np.int64)
        return matrix

    @classmethod
    def from_dense(cls, dense: NDArray[Any]) -> SparseRows:
        """Keep the positive entries of a dense (N, d) array."""
        dense = np.asarray(dense, np.float32)
        rows, columns = np.nonzero(dense > 0)
        indptr = np.zeros(len(dense) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=len(dense)), out=indptr[1:])
        return cls(indptr, columns.astype(np.int32), dense[rows, columns], int(dense.shape[1]))


@dataclass(frozen=True, eq=False, repr=False)
class SignalTable:
    """All signals of a pool, aligned with its rows.

    Attributes:
        n: rows of the pool.
        source: int32[N], index into ``source_names``.
        source_names: names of the sources, sorted.
        columns: float32[N] scores by name; NaN marks a row without a score.
        text_hash: uint64[N] hash of the row's text.
        minhash: uint32[N, num_perm] signatures made as ``minhash_params`` says.
        sae: mean feature activations of each row.
        embeddings: float16 or float32[N, width], unit rows; a row of NaN has no embedding. May be memory-mapped.
        texts: maps row indices to the rows' texts, for signatures with other parameters.
        parts: maps ``prompt`` or ``response`` and row indices to the texts of these turns, empty where there are none.
        keys: cache key of each signal the table was loaded from; empty for a table built from arrays.
        excluded: bool[N], rows that no recipe may select; None excludes nothing.
        near_duplicates: pairs of rows with similar wording.
        folder: where the signals are stored, and what is derived from them; None for a table built from arrays.
        unscored: by column (or ``sae``, ``embeddings``) the pool's rows without a score, by reason in words.
        pool: the pool, if the table was loaded from one.

    ``table["ifd"]`` is a column, ``len(table)`` the number of rows, ``"ifd" in table`` and ``list(table)`` are about names.
    """

    n: int
    source: NDArray[np.int32]
    source_names: tuple[str, ...]
    columns: Mapping[str, NDArray[np.float32]]
    text_hash: NDArray[np.uint64] | None = None
    minhash: NDArray[np.uint32] | None = None
    minhash_params: MinHashParams | None = None
    sae: SparseRows | None = None
    embeddings: NDArray[Any] | None = None
    texts: Callable[[NDArray[np.int64]], list[str]] | None = None
    parts: Callable[[str, NDArray[np.int64]], list[str]] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    excluded: NDArray[np.bool_] | None = None
    near_duplicates: NearDuplicates | None = None
    folder: Path | None = None
    unscored: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pool: Pool | None = None

    def __post_init__(self) -> None:
        arrays: dict[str, Any] = {**self.columns, "source": self.source}
        arrays |= {"text_hash": self.text_hash, "minhash": self.minhash, "sae": self.sae}
        arrays |= {"embeddings": self.embeddings, "near_duplicates": self.near_duplicates, "excluded": self.excluded}
        for name, array in arrays.items():
            if array is not None and len(array) != self.n:
                raise SignalError(
                    f"Signal '{name}' has {len(array)} rows but the pool has {self.n}: score the pool again."
                )

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, name: str) -> Any:
        """The scores called ``name``, or what else the table holds under it; errors as of :meth:`column`."""
        if not isinstance(name, str):
            raise SignalError(
                "Signals go by name: table['n_tokens'] is a column, table['n_tokens'][:3] its first scores."
            )
        return getattr(self, name) if name not in self.columns and name in self.names else self.column(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def to_polars(self) -> polars.DataFrame:
        """The columns of scores as a data frame (missing ones null), behind each row's id, where there is a pool, and source."""
        import polars

        named: dict[str, Any] = {} if self.pool is None else {"id": self.pool.row_ids()}
        named["source"] = np.asarray(self.source_names, np.str_)[self.source]
        return polars.DataFrame(
            {**named, **{name: self.columns[name] for name in sorted(self.columns)}}, nan_to_null=True
        )

    def __repr__(self) -> str:
        return notebook.line(
            "SignalTable", f"{notebook.counted(self.n, 'row')}:", ", ".join(self.names) or "no signals"
        )

    def _repr_html_(self) -> str:
        rows = []
        for name in sorted(self.columns):
            known = self.columns[name][~np.isnan(self.columns[name])]
            three = np.quantile(known, (0, 0.5, 1)).tolist() if len(known) else (None, None, None)
            rows.append((name, len(known), self.n - len(known), *three))
        facts = {"rows": f"{self.n:,}", "sources": ", ".join(self.source_names)}
        if others := [name for name in self.names if name not in self.columns]:
            facts["also"] = ", ".join(others)
        if self.excluded is not None:
            facts["rows that no recipe may select"] = f"{int(self.excluded.sum()):,}"
        headings = ("signal", "rows with a score", "without", "lowest", "median", "highest")
        return notebook.page("Signals", facts, notebook.table(headings, rows, what="signals", shown=100))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have a relevance score, sorted."""
        return tuple(sorted(name[len(MONA_PREFIX) :] for name in self.columns if name.startswith(MONA_PREFIX)))

    @cached_property
    def selectable(self) -> NDArray[np.int64]:
        """The rows a recipe starts from, in row order: all that are not excluded; read-only."""
        rows = np.arange(self.n, dtype=np.int64) if self.excluded is None else np.flatnonzero(~self.excluded)
        rows.flags.writeable = False
        return rows

    def why_unscored(self, need: str) -> Mapping[str, int]:
        """Rows of the pool without what operators call ``need``, by reason; empty if that was not counted."""
        if need == "mona" or need.startswith(MONA_PREFIX):
            need = "sae"  # relevance is that of a row's features
        return self.unscored.get(need, {})

    @property
    def names(self) -> tuple[str, ...]:
        """Everything the table holds: column names, then the other kinds that are present."""
        extra = ("text_hash", "minhash", "near_duplicates", "sae", "embeddings")
        return (*sorted(self.columns), *(name for name in extra if getattr(self, name) is not None))

    def column(self, name: str) -> NDArray[np.float32]:
        """The scores called ``name``.

        Raises:
            SignalError: the table has no such column; the message names the command that computes it.
        """
        if name in self.columns:
            return self.columns[name]
        if name.startswith(MONA_PREFIX):
            task = name[len(MONA_PREFIX) :]
            known = ", ".join(self.tasks) or "none"
            raise SignalError(
                f"The pool has no relevance scores for task '{task}' (tasks scored: {known}): {how_to_get('mona')}"
            )
        signal = signal_of_column(name)
        if signal is not None:
            raise SignalError(f"The pool has no signal '{name}': {how_to_get(signal)}")
        known = ", ".join(self.names) or "none"
        raise SignalError(f"There is no signal called '{name}'; this pool has: {known}.")

    def require_sae(self) -> SparseRows:
        """The SAE features; SignalError if they were not computed."""
        if self.sae is None:
            raise SignalError(f"The pool has no SAE features: {how_to_get('sae')}")
        return self.sae

    def require_embeddings(self) -> NDArray[Any]:
        """The sentence embeddings; SignalError if they were not computed."""
        if self.embeddings is None:
            raise SignalError(f"The pool has no embeddings: {how_to_get('embeddings')}")
        return self.embeddings

    def require_text_hash(self) -> NDArray[np.uint64]:
        """The hashes of the texts; SignalError if they were not computed."""
        if self.text_hash is None:
            raise SignalError(f"The pool has no text hashes: {how_to_get('text_hash')}")
        return self.text_hash

    def require_parts(self, part: str) -> Callable[[NDArray[np.int64]], list[str]]:
        """What maps row indices to the rows' prompts or responses; SignalError if the table was made without them."""
        if self.parts is None:
            raise SignalError(
                f"The table has no {part}s of its rows: load it from a pool, or give SignalTable.from_arrays the 'parts'."
            )
        parts = self.parts
        return lambda rows: parts(part, rows)

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits that identify the content: of the cache keys if loaded from a store, else of the arrays."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.n, self.source_names, self.minhash_params)).encode())
        digest.update(np.ascontiguousarray(self.source).tobytes())
        if self.excluded is not None:
            digest.update(b"excluded" + np.packbits(self.excluded).tobytes())
        if self.keys:
            digest.update(repr(sorted(self.keys.items())).encode())
            return digest.hexdigest()
        arrays: dict[str, Any] = {name: self.columns[name] for name in sorted(self.columns)}
        arrays |= {"text_hash": self.text_hash, "minhash": self.minhash, "embeddings": self.embeddings}
        if self.near_duplicates is not None:
            near = self.near_duplicates
            arrays |= {"near.node": near.node, "near.left": near.edges.left, "near.right": near.edges.right}
            arrays |= {"near.jaccard": near.edges.similarity}
        if self.sae is not None:
            arrays |= {"sae.indptr": self.sae.indptr, "sae.indices": self.sae.indices, "sae.values": self.sae.values}
            arrays["sae.scale"] = self.sae.scale
        for name, array in arrays.items():
            if array is not None:
                digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @classmethod
    def from_arrays(
        cls,
        columns: Mapping[str, Any] | None = None,
        *,
        n: int | None = None,
        source: Sequence[str] | NDArray[Any] | None = None,
        text_hash: NDArray[Any] | None = None,
        minhash: NDArray[Any] | None = None,
        minhash_params: MinHashParams | None = None,
        sae: SparseRows | NDArray[Any] | None = None,
        embeddings: NDArray[Any] | None = None,
        texts: Sequence[str] | Callable[[NDArray[np.int64]], list[str]] | None = None,
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> SignalTable:
        """Build a table from plain arrays: for tests, benchmarks and signals of one's own.

        Args:
            columns: scores by name; converted to float32.
            n: number of rows; taken from the first array if absent.
            source: source name of each row (default: one source called ``pool``).
            sae: sparse rows, or a dense (N, d) array whose positive entries are kept.
            embeddings: (N, width) array, scaled to unit rows.
            texts: the rows' texts, or a function from row indices to texts.
            parts: the rows' texts by part: ``prompt`` and ``response``.
        """
        converted = {name: np.asarray(values, np.float32) for name, values in (columns or {}).items()}
        if n is None:
            candidates: list[Any] = [*converted.values(), source, text_hash, minhash, sae, embeddings]
            candidates += [texts] if isinstance(texts, Sequence) else []
            candidates += list((parts or {}).values())
            sized = [len(item) for item in candidates if item is not None]
            if not sized:
                raise SignalError("A signal table needs at least one array or the number of rows n.")
            n = sized[0]
        names, codes = np.unique(
            np.asarray(["pool"] * n if source is None else source, dtype=np.str_), return_inverse=True
        )
        if minhash is not None and minhash_params is None:
            minhash_params = MinHashParams(num_perm=int(np.asarray(minhash).shape[1]))
        fetch: Callable[[NDArray[np.int64]], list[str]] | None
        if texts is None or callable(texts):
            fetch = texts
        else:
            stored = list(texts)

            def fetch(rows: NDArray[np.int64]) -> list[str]:
                return [stored[int(row)] for row in rows]

        return cls(
            n=n,
            source=codes.reshape(-1).astype(np.int32),
            source_names=tuple(str(name) for name in names),
            columns=converted,
            text_hash=None if text_hash is None else np.asarray(text_hash, np.uint64),
            minhash=None if minhash is None else np.asarray(minhash, np.uint32),
            minhash_params=minhash_params,
            sae=sae if sae is None or isinstance(sae, SparseRows) else SparseRows.from_dense(sae),
            embeddings=None if embeddings is None else unit_rows(np.asarray(embeddings, np.float32)),
            texts=fetch,
            parts=None if parts is None else lambda part, rows: [parts[part][row] for row in rows.tolist()],
        )


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """The rows of a dense array scaled to unit length, float32; rows of zeros become NaN: they have no direction."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, np.nan), np.float32)
