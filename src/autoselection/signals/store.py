"""The cache of signals: ``POOL_DIR/signals/<signal>/<key>/`` with ``meta.json`` and ``.npy`` files.

A key is a hash of everything a signal depends on (pool, name, version, parameters, model, targets), so nothing is ever
computed twice and nothing stale is ever read. Work is cut into shards of rows; each finished shard is one file, renamed
into place, and a killed run goes on at the first one missing. Shards that cannot be read are computed again and counted.
Every file carries a checksum, which is compared before it is used (see ``autoselection.files``).
``signals/current.json`` names the newest key of each signal, for the pool and for what it was before rows were appended.

A pool to which rows were appended begins with its parents' rows: what a parent's finished signal says of them is copied,
and only the rows behind them are computed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoselection import files
from autoselection.errors import SignalError
from autoselection.progress import console, progress
from autoselection.signals.shard_plan import ShardPlan
from autoselection.signals.store_files import UNREADABLE, ArrayFiles, read_shard, write_shard
from autoselection.signals.stored import FORMAT, Array, Shard, SignalSpec, StoredSignal, key_of

if TYPE_CHECKING:
    from autoselection.pool import Pool

Extra = Callable[[], Mapping[str, Array]]


@dataclass(frozen=True)
class Inherited:
    """What a parent pool's signal says of the rows that this pool begins with."""

    rows: int
    stored: StoredSignal

    @property
    def counts(self) -> Array:
        """Non-zeros of each row of a sparse signal."""
        return np.diff(self.stored.arrays["indptr"])


@dataclass(frozen=True)
class Computed:
    """What ``SignalStore.compute`` did for one signal.

    Attributes:
        inherited: rows that were copied from the pool as it was before rows were appended.
    """

    spec: SignalSpec
    key: str
    cached: bool
    seconds: float
    missing: Mapping[str, int]
    stats: Mapping[str, int]
    shards: int = 0
    shards_resumed: int = 0
    shards_damaged: int = 0
    inherited: int = 0


class SignalStore:
    """The signals of one pool directory.

    Args:
        parents: fingerprint and rows of the earlier states that the pool begins with.
    """

    def __init__(
        self, pool_dir: Path, pool_fingerprint: str, rows: int, parents: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.root = pool_dir / "signals"
        self.pool_fingerprint = pool_fingerprint
        self.rows = rows
        self.parents = tuple(parents)

    @classmethod
    def of(cls, pool: Pool) -> SignalStore:
        """The signals of ``pool``."""
        if isinstance(pool, (str, Path)):
            raise SignalError(f"Signals are those of a pool, not of its path: Pool.open({str(pool)!r}) opens it.")
        return cls(pool.path, pool.fingerprint, len(pool), pool.parents)

    def key(self, spec: SignalSpec) -> str:
        """The key of a signal of this pool."""
        return spec.key(self.pool_fingerprint)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store alone: a second process that scores the same pool waits and then finds all cached."""
        with ExitStack() as stack:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(files.locked(self.root / ".lock", wait=True))
            except OSError as error:
                raise SignalError(f"Signals cannot be written to {self.root}: {error.strerror}.") from error
            yield

    def current(self) -> dict[str, str]:
        """Newest key of each signal; empty if the pool was never scored as it is (or was, if opened as it was)."""
        return self._all_current().get(self.pool_fingerprint, {})

    def _all_current(self) -> dict[str, dict[str, str]]:
        """Newest keys by pool fingerprint."""
        path = self.root / "current.json"
        try:
            document, _ = files.read_sealed(path)
            found = {**document.get("former", {}), document["pool"]: document["signals"]}
            return {pool: {str(name): str(key) for name, key in keys.items()} for pool, keys in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SignalError(
                f"{path} is damaged ({error}): delete it and score the pool again; what is computed is found again."
            ) from error

    def set_current(self, keys: Mapping[str, str]) -> None:
        """Replace the newest keys."""
        former = self._all_current()
        former.pop(self.pool_fingerprint, None)
        document = {"format": FORMAT, "pool": self.pool_fingerprint, "signals": dict(sorted(keys.items()))}
        files.write_sealed(self.root / "current.json", document | ({"former": former} if former else {}))

    def has(self, name: str, key: str) -> bool:
        """Whether a finished signal is there, sound or not."""
        return (self._folder(name, key) / "meta.json").exists()

    def open(self, name: str, key: str) -> StoredSignal:
        """Open a finished signal, its checksums compared.

        Raises:
            SignalError: it is absent or damaged.
        """
        folder = self._folder(name, key)
        again = f"run `autoselection score {self.root.parent}` again, which computes the damaged part again."
        try:
            meta = self._read_meta(folder, name, key)
        except FileNotFoundError as error:
            raise SignalError(f"The signal '{name}' ({key}) is not in {self.root}: {again}") from error
        except (OSError, ValueError) as error:
            raise SignalError(f"{folder / 'meta.json'} is damaged ({error}): {again}") from error
        arrays: dict[str, Array] = {}
        for file, facts in meta["files"].items():
            path = folder / f"{file}.npy"
            try:
                if path.stat().st_size != facts["bytes"] or not files.is_sound(path, facts["blake2b"], self._stamps):
                    raise SignalError(f"{path} is damaged (not the size or content that was written): {again}")
                arrays[file] = np.load(path, mmap_mode="r", allow_pickle=False)
            except UNREADABLE as error:
                raise SignalError(f"{path} cannot be read ({error}): {again}") from error
        return StoredSignal(meta, arrays)

    def earlier(self, name: str, key: str, other: str) -> StoredSignal | None:
        """The signal under ``key`` if an earlier version computed it from what the one under ``other`` was computed from.

        That is an earlier version of this signal, or of one that it was made from.

        Raises:
            SignalError: one of them is damaged.
        """
        if key == other or not (self._folder(name, key) / "meta.json").exists():
            return None
        one, two = self.open(name, key), self.open(name, other)
        same = all(one.meta.get(field) == two.meta.get(field) for field in ("pool", "model", "targets"))
        before = one.meta["version"] < two.meta["version"] or self._made_from_earlier(one, two)
        return one if same and before else None

    def _made_from_earlier(self, one: StoredSignal, two: StoredSignal) -> bool:
        """Whether two results of one version differ by what they were made from, as earlier versions computed it."""
        made, now = one.meta["params"], two.meta["params"]
        if one.meta["version"] != two.meta["version"] or set(made) != set(now):
            return False
        other = {name for name in made if made[name] != now[name]}
        return bool(other) and all(
            isinstance(made[name], str)
            and isinstance(now[name], str)
            and self.has(name, now[name])
            and self.earlier(name, made[name], now[name]) is not None
            for name in other
        )

    def verify(self) -> int:
        """Read every finished signal again, even what was checked before; how many there are.

        Raises:
            SignalError: one is damaged.
        """
        metas = sorted(self.root.rglob("meta.json"))
        metas = [path for path in metas if "artefacts" not in path.relative_to(self.root).parts[:1]]
        for path in metas:
            name = path.parent.parent.relative_to(self.root).as_posix()
            stored = self.open(name, path.parent.name)
            for file, facts in stored.meta["files"].items():
                array = path.parent / f"{file}.npy"  # "loss/0" lies in a folder of its own
                if files.checksum(array) != facts["blake2b"]:
                    raise SignalError(f"{array} is damaged: run `autoselection score {self.root.parent}` again.")
        return len(metas)

    @property
    def _stamps(self) -> Path:
        return self.root / files.STAMPS_FILE

    def _read_meta(self, folder: Path, name: str, key: str) -> dict[str, Any]:
        """A signal's metadata.

        Raises:
            OSError, ValueError: it cannot be read, or is damaged.
        """
        meta, sealed = files.read_sealed(folder / "meta.json")
        shapes = {"params": dict, "missing": dict, "stats": dict, "files": dict, "rows": int}
        wrong = [field for field, kind in shapes.items() if not isinstance(meta.get(field), kind)]
        wrong += (
            [f"files.{file}" for file, facts in meta["files"].items() if not _are_facts(facts)] if not wrong else []
        )
        if wrong:
            raise ValueError(f"{wrong[0]} is missing or of a wrong kind")
        # Older versions wrote no checksum, but most of what the metadata says is in the key.
        said = ("pool", "name", "version", "params", "model", "targets")
        if not sealed and not set(meta) <= {*shapes, *said, "format"}:
            raise ValueError("its content was written by no version")
        if not sealed and (key_of([FORMAT, *map(meta.get, said)]), meta.get("name")) != (key, name):
            raise ValueError("it is that of another signal")
        return meta

    def compute(
        self,
        specs: Sequence[SignalSpec],
        work: Callable[[range, frozenset[str]], Mapping[str, Shard]],
        *,
        shard_rows: int,
        description: str,
        extra: Extra | Mapping[str, Extra] | None = None,
        at_once: bool = False,
    ) -> list[Computed]:
        """Make sure that the signals exist; compute the shards that are missing, several signals at once.

        Args:
            specs: signals that one piece of work yields together.
            work: given rows and the names still wanted for them, returns their shards.
            shard_rows: rows a shard; the first ones are smaller, so that one soon sees how long it takes.
            extra: arrays that belong to the signal but not to single rows; called once at the end. Of several signals,
                one such function each by the signal's name.
            at_once: all shards have ``shard_rows`` rows.
        """
        results: dict[str, Computed] = {}
        pending: list[SignalSpec] = []
        for spec in specs:
            stored = self._finished(spec)
            if stored is None:
                pending.append(spec)
            else:
                results[spec.name] = Computed(
                    spec, self.key(spec), True, 0.0, stored.meta["missing"], stored.meta["stats"]
                )
        for inherited, group in self._by_inheritance(pending):
            done = self._compute_group(group, inherited, work, ShardPlan(shard_rows, at_once), description, extra)
            results |= {computed.spec.name: computed for computed in done}
        return [results[spec.name] for spec in specs]

    def _by_inheritance(self, pending: Sequence[SignalSpec]) -> Iterator[tuple[dict[str, Inherited], list[SignalSpec]]]:
        """Signals that can be computed together: those of which the same number of rows is known already."""
        known = {spec.name: self._inherit(spec) for spec in pending}
        lengths = [found.rows if found else 0 for found in known.values()]
        for length in dict.fromkeys(lengths):
            group = [spec for spec, rows in zip(pending, lengths, strict=True) if rows == length]
            yield {spec.name: found for spec in group if (found := known[spec.name])}, group

    def _inherit(self, spec: SignalSpec) -> Inherited | None:
        """The longest sound result for the rows this pool begins with."""
        if not spec.rowwise:
            return None
        for fingerprint, rows in sorted(self.parents, key=lambda parent: -parent[1]):
            key = spec.key(fingerprint)
            if (self._folder(spec.name, key) / "meta.json").exists():
                try:
                    return Inherited(rows, self.open(spec.name, key))
                except SignalError as error:
                    _say(f"{error} An older result serves, or all rows are computed.")
        return None

    def _compute_group(
        self,
        specs: Sequence[SignalSpec],
        inherited: Mapping[str, Inherited],
        work: Callable[[range, frozenset[str]], Mapping[str, Shard]],
        plan: ShardPlan,
        description: str,
        extra: Extra | Mapping[str, Extra] | None,
    ) -> list[Computed]:
        started = time.monotonic()
        first = next((known.rows for known in inherited.values()), 0)
        spans = plan.spans(first, self.rows)
        resumed = dict.fromkeys((spec.name for spec in specs), 0)
        damaged = dict(resumed)
        with progress(description, self.rows - first) as advance:
            for span in spans:
                wanted = []
                for spec in specs:
                    state = self._shard_state(spec, span, plan)
                    resumed[spec.name] += state == "sound"
                    damaged[spec.name] += state == "damaged"
                    if state != "sound":
                        wanted.append(spec)
                if wanted:
                    shards = work(span, frozenset(spec.name for spec in wanted))
                    for spec in wanted:
                        write_shard(self._shard_path(spec, span, plan), shards[spec.name])
                advance(len(span), found=not wanted)
        common = extra() if callable(extra) else {}
        results = []
        for spec in specs:
            extras = extra[spec.name]() if isinstance(extra, Mapping) else common
            meta = self._finish(spec, inherited.get(spec.name), spans, plan, extras)
            results.append(
                Computed(
                    spec,
                    self.key(spec),
                    False,
                    time.monotonic() - started,
                    meta["missing"],
                    meta["stats"],
                    len(spans),
                    resumed[spec.name],
                    damaged[spec.name],
                    first,
                )
            )
        return results

    def _folder(self, name: str, key: str) -> Path:
        return self.root / name / key

    def _finished(self, spec: SignalSpec) -> StoredSignal | None:
        """The stored signal, or None if it is absent or damaged (which is reported, and what is left of it removed)."""
        folder = self._folder(spec.name, self.key(spec))
        if not (folder / "meta.json").exists():
            return None
        try:
            return self.open(spec.name, self.key(spec))
        except SignalError as error:
            _say(f"{str(error).partition(': run ')[0]}: the signal '{spec.name}' is computed again.")
            shutil.rmtree(folder)
            return None

    def _shard_path(self, spec: SignalSpec, span: range, plan: ShardPlan) -> Path:
        return self._folder(spec.name, self.key(spec)) / plan.folder / f"{span.start:010d}.npz"

    def _shard_state(self, spec: SignalSpec, span: range, plan: ShardPlan) -> str:
        path = self._shard_path(spec, span, plan)
        if not path.exists():
            return "absent"
        try:
            shard = read_shard(path)
            lengths = [len(shard.arrays["counts"])] if spec.sparse else [len(array) for array in shard.arrays.values()]
        except UNREADABLE:
            return "damaged"
        return "sound" if all(length == len(span) for length in lengths) else "damaged"

    def _finish(
        self,
        spec: SignalSpec,
        inherited: Inherited | None,
        spans: Sequence[range],
        plan: ShardPlan,
        extras: Mapping[str, Array],
    ) -> dict[str, Any]:
        """Join what was known and the shards into one file an array, write the metadata last, and drop the shards."""
        folder = self._folder(spec.name, self.key(spec))
        stats: dict[str, int] = {}
        missing: dict[str, int] = {}
        counts = np.zeros(self.rows, np.int64)
        with ArrayFiles(folder) as arrays:
            if inherited is not None:
                stats, missing = dict(inherited.stored.meta["stats"]), dict(inherited.stored.meta["missing"])
                for name, array in inherited.stored.arrays.items():
                    if name != "indptr" and name not in extras:
                        arrays.append(name, array)
                if spec.sparse:
                    counts[: inherited.rows] = inherited.counts
            for span in spans:
                shard = read_shard(self._shard_path(spec, span, plan))
                for name, count in shard.stats.items():
                    stats[name] = stats.get(name, 0) + count
                for name, array in shard.arrays.items():
                    if spec.sparse and name == "counts":
                        counts[span.start : span.stop] = array
                        continue
                    arrays.append(name, array)
                    if not spec.sparse and array.dtype.kind == "f":
                        missing[name] = missing.get(name, 0) + _rows_with_nan(array)
            if spec.sparse:
                indptr = np.zeros(self.rows + 1, np.int64)
                np.cumsum(counts, out=indptr[1:])
                extras = {**extras, "indptr": indptr}
                missing["rows"] = int((counts == 0).sum())
            for name, array in extras.items():
                arrays.append(name, array)
        meta = {
            "format": FORMAT,
            "name": spec.name,
            "version": spec.version,
            "params": spec.resolved(self.pool_fingerprint),
            "model": spec.model,
            "targets": spec.targets,
            "pool": self.pool_fingerprint,
            "rows": self.rows,
            "missing": missing,
            "stats": stats,
            "files": arrays.facts(),
        }
        files.write_sealed(folder / "meta.json", meta)
        for leftover in folder.glob("shards-*"):
            shutil.rmtree(leftover)
        return meta


def _are_facts(facts: Any) -> bool:
    return isinstance(facts, dict) and isinstance(facts.get("bytes"), int) and isinstance(facts.get("blake2b"), str)


def _say(sentence: str) -> None:
    console.say(sentence, style="yellow")


def _rows_with_nan(array: Array) -> int:
    return int(np.isnan(array).reshape(len(array), -1).any(axis=1).sum()) if len(array) else 0
