"""The table of signals: everything that operators and state vectors may know of a pool's rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.errors import SignalError
from autoselection.signals.arrays import MinHashParams, SparseRows, unit_rows
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.pairs import NearDuplicates
from autoselection.signals.registry import default_registry
from autoselection.wording import suggestion

if TYPE_CHECKING:
    import polars

    from autoselection.pool import Pool

#: Sources that a notebook names, the largest where there are more.
_SHOWN_SOURCES = 50


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
        arrays: what signals of other packages yield besides columns, by name.
        pool: the pool, if the table was loaded from one.

    ``table["ifd"]`` is a column, ``len(table)`` the number of rows, ``"ifd" in table`` and ``list(table)`` are about names.

    >>> import autoselection as au
    >>> table = au.SignalTable.from_arrays({"ngram_entropy": [0.1, 0.9, 0.5, 0.7]})
    >>> "ngram_entropy" in table, float(table["ngram_entropy"].max())
    (True, 0.8999999761581421)
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
    arrays: Mapping[str, Any] = field(default_factory=dict)
    pool: Pool | None = None

    #: What signals yield besides columns and has an attribute of its own.
    ARRAYS: ClassVar = ("text_hash", "minhash", "minhash_params", "near_duplicates", "sae", "embeddings")

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
        if name in self.columns or name not in self.names:
            return self.column(name)
        return self.arrays[name] if name in self.arrays else getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def to_polars(self) -> polars.DataFrame:
        """The columns of scores as a data frame (missing ones null), behind each row's id, where there is a pool, and source."""
        import polars

        named: dict[str, Any] = {} if self.pool is None else {"id": self.pool.row_ids()}
        named["source"] = polars.Series(self.source_names, dtype=polars.String).gather(self.source)
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
        more = len(self.source_names) - _SHOWN_SOURCES
        sources = ", ".join(self.source_names if more <= 0 else self.largest_sources(_SHOWN_SOURCES))
        facts = {"rows": f"{self.n:,}", "sources": sources if more <= 0 else f"{sources} and {more:,} more"}
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

    def largest_sources(self, most: int) -> dict[str, int]:
        """Rows of the ``most`` sources that have most of them; of equally large ones the first by name."""
        sizes = np.bincount(self.source, minlength=len(self.source_names))
        return {self.source_names[code]: int(sizes[code]) for code in np.argsort(-sizes, kind="stable")[:most].tolist()}

    def why_unscored(self, need: str) -> Mapping[str, int]:
        """Rows of the pool without what operators call ``need``, by reason; empty if that was not counted."""
        if need == "mona" or need.startswith(MONA_PREFIX):
            need = "sae"  # relevance is that of a row's features
        return self.unscored.get(need, {})

    @property
    def names(self) -> tuple[str, ...]:
        """Everything the table holds: column names, then the other kinds that are present."""
        extra = ("text_hash", "minhash", "near_duplicates", "sae", "embeddings")
        held = (name for name in extra if getattr(self, name) is not None)
        return (*sorted(self.columns), *held, *sorted(self.arrays))

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
                f"The pool has no relevance scores for task '{task}' (tasks scored: {known}): {self.how_to_get('mona')}"
            )
        numbers = ", ".join(sorted(self.columns)) or "none"
        if name in self.names:
            raise SignalError(f"The signal '{name}' is not one number a row; this pool has as such: {numbers}.")
        signal = default_registry().signal_of_column(name)
        if signal is not None:
            raise SignalError(f"The pool has no signal '{name}': {self.how_to_get(signal)}")
        known = suggestion(name, self.names).replace("; known:", "; this pool has:") if self.names else ": it has none."
        raise SignalError(f"There is no signal called '{name}'{known}")

    def how_to_get(self, signal: str) -> str:
        """The sentence that tells which command computes a signal of this pool."""
        return default_registry().how_to_get(signal, None if self.pool is None else self.pool.path)

    def require_sae(self) -> SparseRows:
        """The SAE features; SignalError if they were not computed."""
        if self.sae is None:
            raise SignalError(f"The pool has no SAE features: {self.how_to_get('sae')}")
        return self.sae

    def require_embeddings(self) -> NDArray[Any]:
        """The sentence embeddings; SignalError if they were not computed."""
        if self.embeddings is None:
            raise SignalError(f"The pool has no embeddings: {self.how_to_get('embeddings')}")
        return self.embeddings

    def require_text_hash(self) -> NDArray[np.uint64]:
        """The hashes of the texts; SignalError if they were not computed."""
        if self.text_hash is None:
            raise SignalError(f"The pool has no text hashes: {self.how_to_get('text_hash')}")
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

        Raises:
            SignalError: a column is not one number a row, or its arrays differ in length.

        >>> import autoselection as au
        >>> table = au.SignalTable.from_arrays({"ngram_entropy": [0.1, 0.9, 0.5, 0.7]})
        >>> len(table), table.names
        (4, ('ngram_entropy',))
        """
        converted = {name: _scores(name, values) for name, values in (columns or {}).items()}
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


def _scores(name: str, values: Any) -> NDArray[np.float32]:
    """A column of scores, float32[rows].

    Raises:
        SignalError: it is something else.
    """
    try:
        found = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise SignalError(f"Signal '{name}' has values that are no numbers ({error}).") from error
    if found.ndim != 1:
        raise SignalError(f"Signal '{name}' has the shape {found.shape}: one number a row is expected.")
    return found
