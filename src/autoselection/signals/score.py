"""``score_pool``: compute what is not cached, what is needed first. ``load_table``: what is cached, as one table."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.language.chat import ChatOptions
from autoselection.signals.config import SignalsConfig
from autoselection.signals.contract import Loaded, Rows, Signal, loaded
from autoselection.signals.inputs import Inputs
from autoselection.signals.registry import SignalRegistry, checked, default_registry
from autoselection.signals.report import ScoreReport, SignalReport
from autoselection.signals.store import Computed, SignalStore
from autoselection.signals.stored import Shard, SignalSpec, StoredSignal
from autoselection.signals.table import SignalTable
from autoselection.signals.unscored import reasons
from autoselection.system import give_back_freed_memory, release_models
from autoselection.tasks import TaskConfig

if TYPE_CHECKING:
    from autoselection.pool import Pool


def score_pool(
    pool: Pool,
    config: SignalsConfig | None = None,
    *,
    model: Path | str | None = None,
    sae: Path | str | None = None,
    tasks: Sequence[TaskConfig] = (),
    signals: Sequence[str] | str | None = None,
    chat_template: str | ChatOptions | None = None,
    trust_remote_code: bool = False,
    registry: SignalRegistry | None = None,
) -> ScoreReport:
    """Compute the signals of a pool that are not cached, and make them the current ones.

    Signals that share a pass of a model (losses, varentropy, rsr, SAE features) are computed together. The relevance scores
    (MONA) of the given tasks replace those of other tasks as current ones; features of another SAE retire the scores made
    with the old ones. Of a pool to which rows were appended, only the new rows are scored.

    Args:
        config: settings; None: the defaults.
        model: base model; without it there are no language-model signals, and tokens are words and symbols.
        sae: SAE folder in sparsify format.
        tasks: tasks whose ``target`` samples give the task vectors; tasks without such a file have no MONA.
        signals: names to compute (or one), instead of ``config.signals``.
        registry: the signals that exist; None: the built-in ones and those of installed packages.

    Raises:
        SignalError: an unknown signal, one that needs a model, an SAE or tasks that were not given, an SAE that does
            not fit the model, or a pool that cannot be written to and lacks a signal.
        MissingExtraError: a signal asked for by name needs a package that is not installed.
        EvaluationError: the model cannot be loaded.

    >>> import autoselection as au
    >>> pool = au.ingest([{"prompt": "Hi", "response": "Hello there!"}], "scored").pool
    >>> report = score_pool(pool, signals=["lengths"])
    >>> au.load_table(pool)["n_response_words"].tolist()
    [2.0]
    """
    started = time.monotonic()
    config = SignalsConfig() if config is None else config
    registry = registry or default_registry()
    chat = ChatOptions.of(chat_template)
    inputs = Inputs(pool, config.pass_settings(), config.all_options(), model, sae, tasks, chat, trust_remote_code)
    wanted, skipped = _asked(registry, config, inputs, signals)
    store = SignalStore.of(pool)
    try:
        with ExitStack() as stack:
            try:
                stack.enter_context(store.locked())
            except SignalError:
                if not _is_scored(store, registry, _specs_of(registry, inputs, wanted)):
                    raise
            results = _Scoring(pool, store, inputs, registry).run(wanted)
            _make_current(store, registry, {done.spec.name: done.key for done in results})
    finally:
        if inputs.let_go():
            release_models()
        else:
            give_back_freed_memory()
    reports = tuple(SignalReport.of(done, pool.fingerprint, len(pool)) for done in results)
    return ScoreReport(len(pool), reports, skipped, time.monotonic() - started)


def stored_signals(
    pool: Pool,
    config: SignalsConfig | None = None,
    *,
    model: Path | str | None = None,
    sae: Path | str | None = None,
    tasks: Sequence[TaskConfig] = (),
    signals: Sequence[str] | str | None = None,
    chat_template: str | ChatOptions | None = None,
    trust_remote_code: bool = False,
    registry: SignalRegistry | None = None,
) -> frozenset[str]:
    """Of the signals that :func:`score_pool` would see to with these arguments, those that it would find, by their names in the
    store; nothing is computed. Errors as of :func:`score_pool`.
    """
    config = SignalsConfig() if config is None else config
    registry = registry or default_registry()
    chat = ChatOptions.of(chat_template)
    inputs = Inputs(pool, config.pass_settings(), config.all_options(), model, sae, tasks, chat, trust_remote_code)
    wanted, _ = _asked(registry, config, inputs, signals)
    store = SignalStore.of(pool)
    specs = _specs_of(registry, inputs, wanted)
    return frozenset(name for name, spec in specs.items() if store.has(name, store.key(spec)))


def _specs_of(
    registry: SignalRegistry, inputs: Inputs, wanted: Sequence[tuple[type[Signal], Sequence[Signal]]]
) -> dict[str, SignalSpec]:
    """What the signals are, by their names in the store."""
    specs: dict[str, SignalSpec] = {}
    for kind, instances in wanted:
        needed = {name: specs[_stored_name(registry, name, specs)] for name in kind.made_from}
        specs |= {signal.name: signal.spec(inputs, needed) for signal in instances}
    return specs


def _is_scored(store: SignalStore, registry: SignalRegistry, specs: Mapping[str, SignalSpec]) -> bool:
    """Whether the signals are stored, sound and the current ones, so that nothing is left to write."""
    keys = {name: store.key(spec) for name, spec in specs.items()}
    try:
        for name, key in keys.items():
            store.open(name, key)
    except SignalError:
        return False
    current = store.current()
    return _newest(current, registry, keys) == current


def obstacles(
    config: SignalsConfig,
    *,
    model: Path | str | None = None,
    sae: Path | str | None = None,
    tasks: Sequence[TaskConfig] = (),
) -> dict[str, str]:
    """The signals that cannot be computed from what is given, each with the reason: what is not given."""
    inputs = Inputs(None, config.pass_settings(), config.all_options(), model, sae, tasks)
    return default_registry().obstacles(inputs)


def _asked(
    registry: SignalRegistry, config: SignalsConfig, inputs: Inputs, signals: Sequence[str] | str | None
) -> tuple[list[tuple[type[Signal], list[Signal]]], dict[str, str]]:
    """The signals to see to, as of :func:`_wanted`, and those that cannot be had, with the reason.

    Args:
        signals: names (or one), instead of ``config.signals``.
    """
    named = (signals,) if isinstance(signals, str) else signals
    asked = named if named is not None else config.signals
    skipped: dict[str, str] = {}
    names = set(asked) if asked is not None else _possible(registry, config, inputs, skipped)
    return _wanted(registry, names, inputs, skipped), skipped


def _possible(registry: SignalRegistry, config: SignalsConfig, inputs: Inputs, skipped: dict[str, str]) -> set[str]:
    """All signals that can be computed and are by default; the others go to ``skipped``."""
    wanted = {name for name in registry.names() if registry.kind(name).by_default or config.names_by_default(name)}
    blocked = registry.obstacles(inputs)
    for name in registry.names():
        package = registry.kind(name).package
        if package is not None and importlib.util.find_spec(package[0]) is None:
            blocked[name] = f"{package[1]} is not installed: pip install 'autoselection[{package[2]}]'"
    skipped |= {name: why for name, why in blocked.items() if name in wanted}
    return wanted - set(skipped)


def _wanted(
    registry: SignalRegistry, names: set[str], inputs: Inputs, skipped: dict[str, str]
) -> list[tuple[type[Signal], list[Signal]]]:
    """The signals to compute by class, those first that others are made from.

    Raises:
        SignalError: one is unknown, or something that it needs was not given.
    """
    for name in sorted(names):
        for need in registry.needs(name):
            if not need.is_given(inputs):
                raise SignalError(need.demand.format(signal=name))
    found = []
    for kind in registry.ordered(names):
        options = registry.options(kind.name, inputs.options.get(kind.name))
        found.append((kind, list(kind.instances(options, inputs))))
        skipped |= kind.left_out(inputs)
    return found


class _Needed(Mapping[str, StoredSignal]):
    """Finished signals, opened when they are asked for; by the name in the cache or the one they are asked for by."""

    def __init__(self, store: SignalStore, registry: SignalRegistry, done: Mapping[str, Computed]) -> None:
        self._store, self._registry, self._done = store, registry, done
        self._open: dict[str, StoredSignal] = {}

    def __getitem__(self, name: str) -> StoredSignal:
        done = self._done[_stored_name(self._registry, name, self._done)]
        if done.spec.name not in self._open:
            self._open[done.spec.name] = self._store.open(done.spec.name, done.key)
        return self._open[done.spec.name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._done)

    def __len__(self) -> int:
        return len(self._done)


def _stored_name(registry: SignalRegistry, name: str, done: Mapping[str, Any]) -> str:
    return name if name in done else registry.kind(name).name


@dataclass
class _Scoring:
    """One call's way through the signals that are wanted, in their order."""

    pool: Pool
    store: SignalStore
    inputs: Inputs
    registry: SignalRegistry
    done: dict[str, Computed] = field(default_factory=dict)

    def run(self, wanted: Sequence[tuple[type[Signal], Sequence[Signal]]]) -> list[Computed]:
        """Compute signals; those that share a pass of a model together, when the first of them has its turn."""
        self.needed = _Needed(self.store, self.registry, self.done)
        for place, (kind, instances) in enumerate(wanted):
            if kind.pass_group is not None:
                sharing = [(other, found) for other, found in wanted if other.pass_group is kind.pass_group]
                ready = [one for other, found in sharing if self._is_ready(other) for one in found]
                self._compute([one for one in ready if one.name not in self.done], kind)
            else:
                for instance in instances:
                    self._compute([instance], kind)
            self._let_go(wanted[: place + 1], wanted[place + 1 :])
        return list(self.done.values())

    def _let_go(
        self,
        done: Sequence[tuple[type[Signal], Sequence[Signal]]],
        ahead: Sequence[tuple[type[Signal], Sequence[Signal]]],
    ) -> None:
        """Drop models and the like that no signal still to be computed needs, so that the next one's fits into memory."""
        left = [kind for kind, instances in ahead if any(one.name not in self.done for one in instances)]
        needs = {need for kind in left for need in (*kind.needs, *kind.may_use)}
        for kind, instances in done:
            if not needs & set(kind.needs):
                for one in instances:
                    one.release()
        if self.inputs.let_go(needs):
            release_models()

    def _compute(self, signals: Sequence[Signal], kind: type[Signal]) -> None:
        if not signals:
            return
        specs = [signal.spec(self.inputs, self._specs(type(signal))) for signal in signals]
        by_name = {signal.name: signal for signal in signals}
        whole = max(1, len(self.pool))
        rowwise = all(signal.rowwise for signal in signals)
        group = None if kind.pass_group is None else self.inputs.keep(kind.pass_group, lambda: self._group(kind))

        def rows(span: range) -> Rows:
            return Rows(span, self.inputs, signals[0].reads, self.needed)

        everything = rows(range(len(self.pool)))  # what a signal of all rows reads in ``compute`` serves ``whole`` too

        def shards(span: range, names: frozenset[str]) -> Mapping[str, Shard]:
            batch = rows(span) if rowwise else everything
            chosen = [signal for signal in signals if signal.name in names]
            found = {one.name: one.compute(batch) for one in chosen} if group is None else group.run(batch, chosen)
            return {
                name: shard if by_name[name].sparse else checked(by_name[name], shard, len(span))
                for name, shard in found.items()
            }

        for done in self.store.compute(
            specs,
            shards,
            shard_rows=signals[0].rows_at_once(self.inputs) if rowwise else whole,
            description=" and ".join(signal.title for signal in signals),
            extra={signal.name: partial(signal.whole, everything) for signal in signals},
            at_once=not rowwise,
        ):
            self.done[done.spec.name] = done

    def _is_ready(self, kind: type[Signal]) -> bool:
        """Whether all that a class of signals is made from is computed; if not, it has a turn of its own later."""
        return all(_stored_name(self.registry, name, self.done) in self.done for name in kind.made_from)

    def _group(self, kind: type[Signal]) -> Any:
        assert kind.pass_group is not None
        return kind.pass_group(self.inputs)

    def _specs(self, kind: type[Signal]) -> dict[str, SignalSpec]:
        return {name: self.done[_stored_name(self.registry, name, self.done)].spec for name in kind.made_from}


def _make_current(store: SignalStore, registry: SignalRegistry, new: Mapping[str, str]) -> None:
    """Make results the newest, by key."""
    current = store.current()
    newest = _newest(current, registry, new)
    if newest != current:
        store.set_current(newest)


def _newest(current: Mapping[str, str], registry: SignalRegistry, new: Mapping[str, str]) -> dict[str, str]:
    """The newest keys once ``new`` ones are; what was made from others than the newest ones retires."""
    kinds = {name: registry.kind_of_stored(name) for name in {**current, **new}}
    changed = {name for name, key in new.items() if current.get(name) != key}
    replaced = {kind for name in new if (kind := kinds[name]) is not None and kind.replaces_siblings}

    def stays(name: str) -> bool:
        kind = kinds[name]
        if kind is None:
            return True
        tied = kind.made_from if kind.retired_with is None else kind.retired_with
        return kind not in replaced and not changed & {registry.kind(other).name for other in tied}

    kept = {name: key for name, key in current.items() if stays(name)}
    return {**kept, **new}


def load_table(
    pool: Pool, *, keys: Mapping[str, str] | None = None, registry: SignalRegistry | None = None
) -> SignalTable:
    """The signals of a pool as one table; large ones stay memory-mapped.

    Args:
        keys: cache keys, as ``ScoreReport.keys`` gives them; None loads the current ones.
        registry: as in :func:`score_pool`.

    Raises:
        SignalError: a signal is absent or damaged. (A pool that was never scored gives a table without columns.)

    >>> import autoselection as au
    >>> pool = au.ingest([{"prompt": "Hi", "response": "Hello!"}], "loaded").pool
    >>> report = au.score_pool(pool, signals=["lengths"])
    >>> load_table(pool)["n_turns"].tolist()
    [2.0]
    """
    store = SignalStore.of(pool)
    registry = registry or default_registry()
    chosen = dict(keys) if keys is not None else store.current()
    columns: dict[str, NDArray[np.float32]] = {}
    arrays: dict[str, Any] = {}
    unscored: dict[str, Mapping[str, int]] = {}
    for name, key in sorted(chosen.items()):
        stored = store.open(name, key)
        kind = registry.kind_of_stored(name)
        found = loaded(name, stored) if kind is None else kind.load(stored)  # None: its package is not installed
        columns |= {column: np.array(array) for column, array in found.columns.items()}
        columns |= {alias: columns[column] for alias, column in found.aliases.items()}
        arrays |= found.arrays
        unscored |= _unscored(name, stored, found)
    own = {name: arrays.pop(name) for name in SignalTable.ARRAYS if name in arrays}
    return SignalTable(
        n=len(pool),
        source=np.asarray(pool.source_codes, np.int32),
        source_names=tuple(pool.source_names),
        columns=columns,
        texts=lambda rows: pool.texts(rows),
        parts=lambda part, rows: pool.parts(part, rows),
        keys={**chosen, "pool": pool.fingerprint},
        folder=store.root,
        unscored=unscored,
        arrays=arrays,
        pool=pool,
        **own,
    )


def _unscored(name: str, stored: StoredSignal, found: Loaded) -> dict[str, Mapping[str, int]]:
    """By what the table calls it the rows without a score, by reason; a sparse signal counts them as its ``rows``."""
    loaded_as = {id(array): called for called, array in {**found.columns, **found.arrays}.items()}
    why: dict[str, Mapping[str, int]] = {}
    for own, count in stored.meta["missing"].items():
        called = name if own == "rows" else loaded_as.get(id(stored.arrays.get(own)))
        if called is not None and (told := reasons(own, count, stored.meta["stats"])):
            why[called] = told
    return why | {alias: why[column] for alias, column in found.aliases.items() if column in why}
