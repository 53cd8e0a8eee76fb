"""``score_pool``: compute what is not cached. ``load_table``: what is cached, as one table."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.language.chat import ChatOptions
from autoselection.language.models import model_fingerprint
from autoselection.signals.config import SIGNALS, SignalsConfig
from autoselection.signals.contract import Signal
from autoselection.signals.families import contamination as overlap
from autoselection.signals.families import near_duplicates as near
from autoselection.signals.families import sae as sae_signal
from autoselection.signals.families import syntax
from autoselection.signals.missing import reasons
from autoselection.signals.model_pass import ModelSignals, given
from autoselection.signals.pairs import Edges, NearDuplicates
from autoselection.signals.registry import checked, default_registry, signal_names
from autoselection.signals.report import ScoreReport, SignalReport
from autoselection.signals.store import Computed, Shard, SignalSpec, SignalStore, StoredSignal
from autoselection.signals.table import LM_SIGNALS, LOSS_PREFIX, MONA_PREFIX, MinHashParams, SignalTable
from autoselection.tasks import TaskConfig, TaskItem, items_fingerprint, load_items
from autoselection.wording import suggestion

if TYPE_CHECKING:
    from autoselection.pool import Pool

#: Rows compared with the benchmarks' items between two saves.
_CONTAMINATION_SHARD = 16_384

#: Signals that take long, and come after all others: the cheap ones are there while one waits, or gives up waiting.
_COSTLY = {syntax.SIGNAL: 1, "embeddings": 2, "contamination_cosine": 3}

#: Signals that are made of another one, which is computed first.
_MADE_OF = {"near_duplicates": "minhash", "contamination_cosine": "embeddings"}

__all__ = ["SIGNALS", "ScoreReport", "SignalReport", "SignalsConfig", "load_table", "score_pool"]


def score_pool(
    pool: Pool,
    config: SignalsConfig | None = None,
    *,
    model: Path | str | None = None,
    sae: Path | str | None = None,
    tasks: Sequence[TaskConfig] = (),
    signals: Sequence[str] | None = None,
    chat_template: str | ChatOptions | None = None,
    trust_remote_code: bool = False,
) -> ScoreReport:
    """Compute the signals of a pool that are not cached, and make them the current ones.

    Losses, varentropy, rsr and SAE features come from the same two forward passes a row. The relevance scores (MONA) of the
    given tasks replace those of other tasks as current ones; features of another SAE retire the scores made with the
    old ones. Of a pool to which rows were appended, only the new rows are scored.

    Args:
        config: how; the defaults are the signals of the rows' text, and those that ``model`` and ``sae`` give.
        model: base model; without it there are no language-model signals, and tokens are words and symbols.
        sae: SAE folder in sparsify format.
        tasks: tasks whose ``target`` samples give the task vectors; tasks without such a file have no MONA.
        signals: names to compute, instead of ``config.signals``.

    Raises:
        SignalError: an unknown signal, one that needs a model, an SAE or tasks that were not given, or an SAE that does
            not fit the model.
        MissingExtraError: a signal asked for by name needs a package that is not installed.
        EvaluationError: the model cannot be loaded.
    """
    started = time.monotonic()
    config = config or SignalsConfig()
    store = SignalStore.of(pool)
    skipped: dict[str, str] = {}
    names = _choose(signals if signals is not None else config.signals, config, model, sae, tasks, skipped)
    names |= {_MADE_OF[name] for name in names & set(_MADE_OF)}
    by_model = ModelSignals(pool, store, config, model, chat_template, trust_remote_code)
    if names & {"sae", "mona"}:
        by_model.sae_info = sae_signal.read_sae_info(given("sae", sae, "SAE folder", "--sae"))
    targets = _targets(tasks, skipped) if "mona" in names else {}
    results: list[Computed] = []
    with store.locked():
        for name in sorted(signal_names(), key=lambda name: _COSTLY.get(name, 0)):
            if name not in names:
                continue
            if name == "tokens" and model is not None:
                results += by_model.tokens()
            elif name == "near_duplicates":
                signatures = next(done for done in results if done.spec.name == "minhash")
                results += _pair_up(pool, store, config, signatures)
            elif name == "contamination":
                results += _contaminate(pool, store, config, _items(_benchmarks(tasks), name))
            elif name == "embeddings":
                results += _compute(pool, store, *_embedder(config, trust_remote_code))
            elif name == "contamination_cosine":
                embedded = next(done for done in results if done.spec.name == "embeddings")
                items = _items(_benchmarks(tasks), name)
                results += _compare(pool, store, embedded, items, _embedder(config, trust_remote_code)[0])
            elif name in default_registry().names():
                signal = default_registry().make(name, config.options_of(name))
                results += _compute(pool, store, signal)
        if "reward" in names:
            results += _reward(pool, store, config, ChatOptions.of(chat_template), trust_remote_code)
        results += by_model.passes(names)
        if "trajectory" in names:
            results += by_model.trajectory()
        if targets:
            features = next(done for done in results if done.spec.name == "sae")
            results += by_model.mona(targets, features)
        _make_current(store, results)
    reports = tuple(SignalReport.of(done, pool.fingerprint, len(pool)) for done in results)
    return ScoreReport(len(pool), reports, skipped, time.monotonic() - started)


def _choose(
    asked: Sequence[str] | None,
    config: SignalsConfig,
    model: Path | str | None,
    sae: Path | str | None,
    tasks: Sequence[TaskConfig],
    skipped: dict[str, str],
) -> set[str]:
    """The signals to compute: those asked for, or all that are possible (the others go to ``skipped``)."""
    known = signal_names()
    if asked is not None:
        for name in asked:
            if name not in known:
                raise SignalError(f"There is no signal '{name}'{suggestion(name, known)}")
        return set(asked)
    skipped |= obstacles(config, model=model, sae=sae, tasks=tasks)
    if importlib.util.find_spec("spacy") is None:
        skipped[syntax.SIGNAL] = "spaCy is not installed: pip install 'autoselection[syntax]'"
    wanted = set(known) if config.token_kinds else set(known) - {"token_kinds"}
    for name in set(skipped) - wanted:
        del skipped[name]
    return wanted - set(skipped)


def obstacles(
    config: SignalsConfig,
    *,
    model: Path | str | None = None,
    sae: Path | str | None = None,
    tasks: Sequence[TaskConfig] = (),
) -> dict[str, str]:
    """The signals that cannot be computed from what is given, each with the reason: what is not given."""
    found: list[tuple[bool, tuple[str, ...], str]] = [
        (model is None, (*LM_SIGNALS, "sae", "mona"), "no model was given"),
        (sae is None, ("sae", "mona"), "no SAE was given"),
        (all(task.target is None for task in tasks), ("mona",), "no task has target samples"),
        (not _benchmarks(tasks), ("contamination", "contamination_cosine"), "no task with dev items was given"),
        (
            config.embedding_model is None,
            ("embeddings", "contamination_cosine"),
            "no embedding model was given (signals.embedding_model)",
        ),
        (config.reward_model is None, ("reward",), "no classifier was given (signals.reward_model)"),
        (not config.trajectory_models, ("trajectory",), "no checkpoints were given (signals.trajectory_models)"),
    ]
    blocked: dict[str, str] = {}
    for applies, which, reason in found:
        if applies:
            blocked |= {name: reason for name in which if name not in blocked}
    return blocked


def _targets(tasks: Sequence[TaskConfig], skipped: dict[str, str]) -> dict[str, list[TaskItem]]:
    """The target samples of each task that has any; the others are noted in ``skipped``."""
    aimed = [task for task in tasks if task.target is not None]
    if not aimed:
        raise SignalError("The signal 'mona' needs tasks with target samples: set tasks[].target to a JSONL file.")
    skipped |= {MONA_PREFIX + task.name: "the task has no target samples" for task in tasks if task.target is None}
    return {task.name: load_items(task, "target") for task in aimed}


def _compute(pool: Pool, store: SignalStore, signal: Signal, fingerprint: str | None = None) -> list[Computed]:
    """Compute a signal of the rows' own text, if it is not cached; ``fingerprint`` is that of the model it uses."""
    spec = SignalSpec(signal.name, signal.version, signal.params, model=fingerprint)

    def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        read: Mapping[str, Callable[[range], Sequence[Any]]] = {
            "messages": pool.messages,
            "texts": pool.texts,
            "conversations": pool.conversations,
        }
        batch = read[signal.reads](rows)
        return {signal.name: checked(signal, signal.compute(batch), len(rows))}

    described = signal.name.replace("_", " ").capitalize()
    return store.compute([spec], shard, shard_rows=signal.shard_rows, description=described)


def _embedder(config: SignalsConfig, trust_remote_code: bool) -> tuple[Signal, str]:
    """The signal of sentence embeddings as configured, and the fingerprint of its model."""
    from autoselection.signals.families.embeddings import Embeddings, embedding_fingerprint, embedding_folder

    name = given("embeddings", config.embedding_model, "sentence embedding model", "--embedding-model")
    folder = embedding_folder(str(name))
    signal = Embeddings(
        folder, config.embedding_text, config.embedding_batch, config.device, trust_remote_code=trust_remote_code
    )
    return signal, embedding_fingerprint(folder)


def _pair_up(pool: Pool, store: SignalStore, config: SignalsConfig, signatures: Computed) -> list[Computed]:
    """All near duplicates, from the signatures of the pool."""
    recall, ngram_size = config.minhash_recall, int(signatures.spec.params["ngram_size"])

    @cache
    def found() -> NearDuplicates:
        stored = store.open("minhash", signatures.key).arrays["minhash"]
        return near.near_duplicates(stored, pool.texts, ngram_size, recall=recall)

    def nodes(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        return {"near_duplicates": Shard({"node": found().node[rows.start : rows.stop]}, found().stats)}

    def pairs() -> dict[str, NDArray[Any]]:
        edges = found().edges
        return {"left": edges.left, "right": edges.right, "jaccard": edges.similarity}

    params = {**signatures.spec.params, "recall": recall, "floor": near.JACCARD_FLOOR}
    spec = SignalSpec("near_duplicates", near.VERSION, params, rowwise=False)
    whole = max(1, len(pool))
    return store.compute([spec], nodes, shard_rows=whole, description="Near duplicates", extra=pairs, at_once=True)


def _near_duplicates(stored: StoredSignal) -> NearDuplicates:
    params, arrays = stored.meta["params"], stored.arrays
    edges = Edges(arrays["left"], arrays["right"], arrays["jaccard"])
    nodes = len(arrays["node"]) - stored.meta["stats"]["rows_equal_to_an_earlier_one"]
    recall = 1.0 if nodes <= near.ALL_PAIRS else params["recall"]
    return NearDuplicates(
        arrays["node"], edges, params["ngram_size"], params["floor"], recall, True, stored.meta["stats"]
    )


def _benchmarks(tasks: Sequence[TaskConfig]) -> list[TaskConfig]:
    """Tasks with items to keep out of the pool: with ``--target`` the file of target samples stands for dev too."""
    return [task for task in tasks if task.dev is None or task.dev != task.target]


def _items(tasks: Sequence[TaskConfig], signal: str) -> dict[str, list[TaskItem]]:
    """The dev and test items of the tasks, by ``task/split``."""
    if not tasks:
        raise SignalError(f"The signal '{signal}' needs tasks with dev or test items: name a configuration.")
    items = {f"{task.name}/dev": load_items(task, "dev") for task in tasks}
    return items | {f"{task.name}/test": load_items(task, "test") for task in tasks if task.test or task.lm_eval}


def _fingerprint(items: Mapping[str, Sequence[TaskItem]]) -> str:
    text = "".join(f"{part}:{items_fingerprint(items[part])};" for part in sorted(items))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _compare(
    pool: Pool, store: SignalStore, embedded: Computed, items: Mapping[str, Sequence[TaskItem]], embedder: Signal
) -> list[Computed]:
    """The highest cosine of each row's embedding with that of a benchmark item, prompt and gold answer as a row."""
    name = "contamination_cosine"
    vectors: list[NDArray[Any]] = []  # made on first use: a cached signal needs no model

    def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        if not vectors:
            turns = [item.messages() for part in sorted(items) for item in items[part]]
            vectors.append(np.asarray(embedder.compute(turns).arrays["embeddings"]))
        own = store.open("embeddings", embedded.key).arrays["embeddings"][rows.start : rows.stop]
        return {name: Shard({name: overlap.contamination_cosine(own, vectors[0])})}

    spec = SignalSpec(name, 1, {"embeddings": embedded.spec.key("")}, targets=_fingerprint(items))
    return store.compute([spec], shard, shard_rows=_CONTAMINATION_SHARD, description="Similarity to benchmark items")


def _contaminate(
    pool: Pool, store: SignalStore, config: SignalsConfig, items: Mapping[str, Sequence[TaskItem]]
) -> list[Computed]:
    """How much of a benchmark item's text each row contains."""
    index: list[overlap.ItemGrams] = []  # made on first use: a cached signal needs none

    def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        if not index:
            index.append(overlap.item_grams(items, config.contamination_ngram))
        shares, touched = overlap.contamination(pool.texts(rows), index[0])
        stats = {overlap.STAT + part: int(touched[:, code].sum()) for code, part in enumerate(index[0].parts)}
        stats[overlap.ANY_STAT] = int(np.count_nonzero(shares))
        if rows.start == 0:  # counts of the items, not of rows
            stats |= index[0].stats
        return {"contamination": Shard({"contamination": shares}, stats)}

    spec = SignalSpec("contamination", 2, {"n": config.contamination_ngram}, targets=_fingerprint(items))
    return store.compute([spec], shard, shard_rows=_CONTAMINATION_SHARD, description="Contamination")


def _reward(
    pool: Pool, store: SignalStore, config: SignalsConfig, chat: ChatOptions, trust_remote_code: bool
) -> list[Computed]:
    from autoselection.signals.families.reward import Reward

    path = given("reward", config.reward_model, "sequence classifier", "--reward-model")
    signal = Reward(
        path,
        config.reward_label,
        config.reward_score,
        config.reward_text,
        config.max_length,
        config.batch_tokens,
        config.device,
        config.dtype,
        trust_remote_code,
        replace(chat, template=None),  # the classifier has a template of its own
    )
    return _compute(pool, store, signal, model_fingerprint(path))


def _make_current(store: SignalStore, results: Sequence[Computed]) -> None:
    current = store.current()
    new = {done.spec.name: done.key for done in results}
    relevance = any(name.startswith(MONA_PREFIX) for name in new)
    retired = relevance or ("sae" in new and new["sae"] != current.get("sae"))
    kept = {name: key for name, key in current.items() if not (retired and name.startswith(MONA_PREFIX))}
    if new.get("embeddings", current.get("embeddings")) != current.get("embeddings"):
        kept.pop("contamination_cosine", None)
    store.set_current({**kept, **new})


def load_table(pool: Pool, *, keys: Mapping[str, str] | None = None) -> SignalTable:
    """The signals of a pool as one table; large ones stay memory-mapped.

    Args:
        keys: cache keys, as ``ScoreReport.keys`` gives them; None loads the current ones.

    Raises:
        SignalError: a signal is absent or damaged. (A pool that was never scored gives a table without columns.)
    """
    store = SignalStore.of(pool)
    chosen = dict(keys) if keys is not None else store.current()
    columns: dict[str, NDArray[np.float32]] = {}
    extra: dict[str, Any] = {}
    unscored: dict[str, Mapping[str, int]] = {}
    for name, key in sorted(chosen.items()):
        stored = store.open(name, key)
        unscored |= _unscored(name, stored)
        if name == "sae":
            extra["sae"] = stored.sparse()
        elif name.startswith(MONA_PREFIX):
            columns[name] = np.array(stored.arrays["mona"])
        elif name.startswith(LOSS_PREFIX):
            continue  # one checkpoint's losses; the columns are those of the trajectory
        elif name in ("text_hash", "embeddings"):
            extra[name] = stored.arrays[name]
        elif name == "minhash":
            params = stored.meta["params"]
            extra["minhash"] = stored.arrays["minhash"]
            extra["minhash_params"] = MinHashParams(params["ngram_size"], params["num_perm"], params["seed"])
        elif name == "near_duplicates":
            extra[name] = _near_duplicates(stored)
        else:
            columns |= {column: np.array(array) for column, array in stored.arrays.items()}
    if "loss_conditional" in columns:
        columns["loss"] = columns["loss_conditional"]
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
        pool=pool,
        **extra,
    )


def _unscored(name: str, stored: StoredSignal) -> dict[str, Mapping[str, int]]:
    """By column the rows without a score, by reason; a sparse signal counts them as its ``rows``."""
    counted = {name if column == "rows" else column: count for column, count in stored.meta["missing"].items()}
    found = {column: reasons(column, count, stored.meta["stats"]) for column, count in counted.items()}
    if "loss_conditional" in found:
        found["loss"] = found["loss_conditional"]
    return {column: why for column, why in found.items() if why}
