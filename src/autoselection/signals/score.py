"""``score_pool``: compute what is not cached. ``load_table``: what is cached, as one table."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.chat import ConversationEncoder, Turns
from autoselection.errors import SignalError
from autoselection.models import (
    DType,
    chat_template_text,
    load_model,
    load_tokenizer,
    model_fingerprint,
    pick_device,
    pick_dtype,
)
from autoselection.schema import StrictModel, suggestion
from autoselection.signals import duplicates, near, sae, shingles, syntax, text
from autoselection.signals.edges import Edges, NearDuplicates
from autoselection.signals.store import Computed, Shard, SignalSpec, SignalStore, StoredSignal
from autoselection.signals.table import MONA_PREFIX, MinHashParams, SignalTable, SparseRows
from autoselection.tasks import TaskConfig, TaskItem, items_fingerprint, load_items

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from autoselection.pool import Pool
    from autoselection.signals.lm import LanguageModelScorer

SignalName = Literal[
    "tokens",
    "ngram_entropy",
    "action_object_branching",
    "text_hash",
    "minhash",
    "near_duplicates",
    "ifd",
    "varentropy",
    "sae",
    "mona",
]
SIGNALS: tuple[SignalName, ...] = get_args(SignalName)

#: Rows a shard of the signals that need no model.
_TEXT_SHARD = 16_384
_PARSE_SHARD = 1_024
_MONA_SHARD = 65_536


class SignalsConfig(StrictModel):
    """How the rows of a pool are scored."""

    signals: tuple[SignalName, ...] | None = Field(
        None,
        description="Signals to compute: tokens, ngram_entropy, action_object_branching, text_hash, minhash, "
        "near_duplicates, ifd, varentropy, sae, mona. null: all that the given model, SAE and tasks allow.",
    )
    ngram: int = Field(1, ge=1, le=10, description="Length of the n-grams of ngram_entropy (words).")
    spacy_model: str = Field(
        "en_core_web_sm", description="spaCy model with tagger and parser, for action_object_branching."
    )
    spacy_max_characters: int = Field(
        100_000, ge=1, description="Longer texts are not parsed and have no score (characters)."
    )
    max_length: int = Field(
        2048, ge=2, description="Longer rows are cut from the right for the model, whose own limit holds too (tokens)."
    )
    turns: Turns = Field("all", description="Score all assistant turns of a conversation, or only the last.")
    batch_tokens: int = Field(8192, ge=1, description="Size of a batch of forward passes, padding included (tokens).")
    shard_rows: int = Field(
        512, ge=1, description="Rows computed between two saves in the passes of the model; a kill loses at most these."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    dtype: DType = Field("auto", description="auto (bfloat16 on CUDA, else float32), float32, bfloat16 or float16.")
    sae_layer: int | None = Field(
        None,
        description="Layer whose output the SAE reads (0 is the first; negative counts from the end). null: as the "
        "checkpoint says, else the last but one.",
    )
    max_features: int = Field(256, ge=1, description="SAE features kept a row (count).")
    minhash_ngram: int = Field(5, ge=1, le=20, description="Length of the n-grams of MinHash signatures (words).")
    minhash_permutations: int = Field(128, ge=16, le=1024, description="Length of MinHash signatures (numbers).")
    minhash_seed: int = Field(0, ge=0, description="Seed of the MinHash permutations.")
    minhash_recall: float = Field(
        near.DEFAULT_RECALL,
        ge=0.5,
        le=0.9999,
        description="Share of the near duplicates with a Jaccard similarity of 0.5 that are found (of more similar "
        "ones: more, 0.9999 at 0.7 with the default); a higher share takes longer.",
    )

    @property
    def minhash(self) -> MinHashParams:
        """The signature parameters."""
        return MinHashParams(self.minhash_ngram, self.minhash_permutations, self.minhash_seed)


@dataclass(frozen=True)
class SignalReport:
    """What happened to one signal.

    Attributes:
        name: signal, as in the store (``lm`` holds ifd, varentropy and the two losses).
        cached: it was there already.
        missing: rows without a score, by column.
        stats: what was counted on the way: truncated, refused_by_template, empty_response, …
        shards_resumed: shards left over by an earlier run that was stopped.
        shards_damaged: shards that could not be read and were computed again.
    """

    name: str
    key: str
    cached: bool
    seconds: float
    rows: int
    missing: Mapping[str, int]
    stats: Mapping[str, int]
    params: Mapping[str, Any]
    shards_resumed: int
    shards_damaged: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "key": self.key,
            "cached": self.cached,
            "seconds": round(self.seconds, 3),
            "rows": self.rows,
            "missing": dict(self.missing),
            "stats": dict(self.stats),
            "params": dict(self.params),
            "shards_resumed": self.shards_resumed,
            "shards_damaged": self.shards_damaged,
        }


@dataclass(frozen=True)
class ScoreReport:
    """What ``score_pool`` did.

    Attributes:
        signals: one report a signal.
        skipped: signals that were not asked for by name and could not be computed, with the reason.
    """

    rows: int
    signals: tuple[SignalReport, ...]
    skipped: Mapping[str, str]
    seconds: float

    @property
    def keys(self) -> dict[str, str]:
        """Cache key of each signal, for ``load_table``."""
        return {signal.name: signal.key for signal in self.signals}

    @property
    def cached(self) -> bool:
        """Nothing had to be computed."""
        return all(signal.cached for signal in self.signals)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rows": self.rows,
            "cached": self.cached,
            "seconds": round(self.seconds, 3),
            "signals": {signal.name: signal.to_dict() for signal in self.signals},
            "skipped": dict(self.skipped),
        }


def score_pool(
    pool: Pool,
    config: SignalsConfig,
    *,
    model: Path | str | None = None,
    sae: Path | str | None = None,
    tasks: Sequence[TaskConfig] = (),
    signals: Sequence[str] | None = None,
    chat_template: str | None = None,
    trust_remote_code: bool = False,
) -> ScoreReport:
    """Compute the signals of a pool that are not cached, and make them the current ones.

    Losses, varentropy and SAE features come from the same two forward passes a row. The relevance scores (MONA) of the
    given tasks replace those of other tasks as current ones; features of another SAE retire the scores made with the
    old ones.

    Args:
        model: base model; without it there are no language-model signals, and tokens are counted by a pattern.
        sae: SAE folder in sparsify format.
        tasks: tasks whose ``target`` samples give the task vectors; tasks without such a file have no MONA.
        signals: names to compute, instead of ``config.signals``.

    Raises:
        SignalError: an unknown signal, one that needs a model, an SAE or tasks that were not given, or an SAE that does
            not fit the model.
        MissingExtraError: a signal asked for by name needs a package that is not installed.
        EvaluationError: the model cannot be loaded.
    """
    return _Scoring(pool, config, model, sae, tasks, chat_template, trust_remote_code).run(signals)


class _Scoring:
    """One call of ``score_pool``: loads the model at most once, and only if something has to be computed."""

    def __init__(
        self,
        pool: Pool,
        config: SignalsConfig,
        model: Path | str | None,
        sae_path: Path | str | None,
        tasks: Sequence[TaskConfig],
        chat_template: str | None,
        trust_remote_code: bool,
    ) -> None:
        self.pool = pool
        self.config = config
        self.model_path = model
        self.tasks = [task for task in tasks if task.target is not None]
        self.untargeted = [task.name for task in tasks if task.target is None]
        self.chat_template = chat_template
        self.trust_remote_code = trust_remote_code
        self.sae_path = sae_path
        self.store = SignalStore(pool.path, pool.fingerprint, len(pool))
        self.skipped: dict[str, str] = {}
        self.results: list[Computed] = []
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._model: PreTrainedModel | None = None
        self._scorers: dict[bool, LanguageModelScorer] = {}

    def run(self, signals: Sequence[str] | None) -> ScoreReport:
        started = time.monotonic()
        names = self._choose(signals)
        if "sae" in names or "mona" in names:
            self.sae_info = sae.read_sae_info(self._given("sae", self.sae_path))
        targets = self._targets() if "mona" in names else {}
        with self.store.locked():
            self._score_text(names)
            self._score_model(names)
            self._score_mona(targets)
            self._make_current()
        reports = tuple(
            SignalReport(
                done.spec.name,
                done.key,
                done.cached,
                done.seconds,
                len(self.pool),
                done.missing,
                done.stats,
                done.spec.params,
                done.shards_resumed,
                done.shards_damaged,
            )
            for done in self.results
        )
        return ScoreReport(len(self.pool), reports, self.skipped, time.monotonic() - started)

    def _choose(self, signals: Sequence[str] | None) -> set[str]:
        """The signals to compute: those asked for, each with what it needs; or all that are possible."""
        asked = signals if signals is not None else self.config.signals
        if asked is not None:
            for name in asked:
                if name not in SIGNALS:
                    raise SignalError(f"There is no signal '{name}'{suggestion(name, SIGNALS)}")
            return set(asked)
        names: set[str] = set(SIGNALS)
        if self.model_path is None:
            self._skip(names, ("ifd", "varentropy", "sae", "mona"), "no model was given")
        if self.sae_path is None:
            self._skip(names, ("sae", "mona"), "no SAE was given")
        if not self.tasks:
            self._skip(names, ("mona",), "no task has target samples")
        if importlib.util.find_spec("spacy") is None:
            self._skip(names, (syntax.SIGNAL,), "spaCy is not installed: pip install 'autoselection[syntax]'")
        return names

    def _skip(self, names: set[str], which: Sequence[str], reason: str) -> None:
        for name in which:
            if name in names:
                names.discard(name)
                self.skipped[name] = reason

    @staticmethod
    def _given(signal: str, value: Path | str | None, what: str = "SAE folder", option: str = "--sae") -> Path | str:
        if value is None:
            raise SignalError(f"The signal '{signal}' needs a {what}: give {option}, or leave the signal out.")
        return value

    def _targets(self) -> dict[str, list[TaskItem]]:
        if not self.tasks:
            raise SignalError("The signal 'mona' needs tasks with target samples: set tasks[].target to a JSONL file.")
        for name in self.untargeted:
            self.skipped[MONA_PREFIX + name] = "the task has no target samples"
        return {task.name: load_items(task, "target") for task in self.tasks}

    # Signals of the text alone ---------------------------------------------------------------------------------------

    def _score_text(self, names: set[str]) -> None:
        config = self.config
        if "tokens" in names:
            self._score_tokens()
        if "ngram_entropy" in names:
            self._compute_texts(
                SignalSpec("ngram_entropy", 1, {"n": config.ngram}),
                lambda texts: Shard({"ngram_entropy": text.ngram_entropy(texts, config.ngram)}),
                "N-gram entropy",
            )
        if "text_hash" in names:
            self._compute_texts(
                SignalSpec("text_hash", 1),
                lambda texts: Shard({"text_hash": duplicates.text_hashes(texts)}),
                "Text hashes",
            )
        if names & {"minhash", "near_duplicates"}:
            self._score_duplicates("near_duplicates" in names)
        if syntax.SIGNAL in names:
            package, version = syntax.find_parser(config.spacy_model)
            limit = config.spacy_max_characters

            def parse(texts: list[str]) -> Shard:
                parser = syntax.load_parser(package)
                scores, stats = syntax.action_object_branching(texts, parser, max_characters=limit)
                return Shard({syntax.SIGNAL: scores}, stats)

            spec = SignalSpec(syntax.SIGNAL, 1, {"parser": f"{package}-{version}", "max_characters": limit})
            self._compute_texts(spec, parse, "Action–object branching", _PARSE_SHARD)

    def _compute_texts(self, spec: SignalSpec, work: Any, description: str, shard_rows: int = _TEXT_SHARD) -> None:
        def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
            return {spec.name: work(self.pool.texts(rows))}

        self.results += self.store.compute([spec], shard, shard_rows=shard_rows, description=description)

    def _score_duplicates(self, with_pairs: bool) -> None:
        params, recall = self.config.minhash, self.config.minhash_recall
        facts: dict[str, Any] = {"ngram_size": params.ngram_size, "num_perm": params.num_perm, "seed": params.seed}
        signatures = SignalSpec("minhash", 2, {**facts, "shingles": shingles.VERSION})
        self._compute_texts(
            signatures,
            lambda texts: Shard({"minhash": duplicates.minhash_signatures(texts, params)}),
            "MinHash signatures",
        )
        if not with_pairs:
            return
        facts |= {"shingles": shingles.VERSION, "recall": recall, "floor": near.JACCARD_FLOOR}

        @cache
        def found() -> NearDuplicates:
            stored = self.store.open("minhash", self.store.key(signatures)).arrays["minhash"]
            return near.near_duplicates(stored, self.pool.texts, params.ngram_size, recall=recall)

        def nodes(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
            return {"near_duplicates": Shard({"node": found().node[rows.start : rows.stop]}, found().stats)}

        def pairs() -> dict[str, NDArray[Any]]:
            edges = found().edges
            return {"left": edges.left, "right": edges.right, "jaccard": edges.similarity}

        spec = SignalSpec("near_duplicates", near.VERSION, facts)
        whole = max(1, len(self.pool))
        self.results += self.store.compute([spec], nodes, shard_rows=whole, description="Near duplicates", extra=pairs)

    def _score_tokens(self) -> None:
        if self.model_path is None:
            spec = SignalSpec("tokens", 1, {"tokenizer": "pattern", "pattern": text.TOKEN_PATTERN.pattern})
        else:
            params = {"tokenizer": "model", "template": self._template_digest()}
            spec = SignalSpec("tokens", 1, params, model=model_fingerprint(self.model_path))

        def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
            if self.model_path is None:
                return {"tokens": Shard(text.count_tokens(self.pool.messages(rows)))}
            encoder = ConversationEncoder(self._load_tokenizer(), max_length=1 << 30, turns="all")
            arrays, stats = text.count_model_tokens(self.pool.messages(rows), encoder)
            return {"tokens": Shard(arrays, stats)}

        self.results += self.store.compute([spec], shard, shard_rows=4096, description="Token counts")

    # Signals of the model --------------------------------------------------------------------------------------------

    def _template_digest(self) -> str:
        if self.chat_template is None:
            return "the model's own"
        return hashlib.blake2b(chat_template_text(self.chat_template).encode(), digest_size=8).hexdigest()

    def _load_tokenizer(self) -> PreTrainedTokenizerBase:
        if self._tokenizer is None:
            path = self._given("tokens", self.model_path, "model", "--model")
            self._tokenizer = load_tokenizer(path, self.chat_template, self.trust_remote_code)
        return self._tokenizer

    def _scorer(self, with_sae: bool) -> LanguageModelScorer:
        from autoselection.signals.lm import LanguageModelScorer

        if with_sae not in self._scorers:
            path = self._given("ifd", self.model_path, "model", "--model")
            if self._model is None:
                self._model = load_model(
                    path, self.config.device, self.config.dtype, trust_remote_code=self.trust_remote_code
                )
            longest = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
            length = min(self.config.max_length, longest or self.config.max_length)
            encoder = ConversationEncoder(self._load_tokenizer(), max_length=length, turns=self.config.turns)
            features = None
            if with_sae:
                features = sae.SparseEncoder(
                    self.sae_info, self._model, layer=self.config.sae_layer, max_features=self.config.max_features
                )
            self._scorers[with_sae] = LanguageModelScorer(
                self._model, encoder, batch_tokens=self.config.batch_tokens, sae=features
            )
        return self._scorers[with_sae]

    def _pass_params(self) -> dict[str, Any]:
        """What both kinds of signals from the conditional pass depend on besides the model."""
        return {
            "max_length": self.config.max_length,
            "template": self._template_digest(),
            "dtype": str(pick_dtype(pick_device(self.config.device), self.config.dtype)).removeprefix("torch."),
        }

    def _score_model(self, names: set[str]) -> None:
        specs: list[SignalSpec] = []
        if names & {"ifd", "varentropy"}:
            path = self._given("ifd" if "ifd" in names else "varentropy", self.model_path, "model", "--model")
            params = {**self._pass_params(), "turns": self.config.turns}
            specs.append(SignalSpec("lm", 1, params, model=model_fingerprint(path)))
        if names & {"sae", "mona"}:
            path = self._given("sae", self.model_path, "model", "--model")
            params = {
                **self._pass_params(),
                "max_features": self.config.max_features,
                "d": self.sae_info.num_latents,
                "k": self.sae_info.k,
                "layer": self.config.sae_layer if self.config.sae_layer is not None else self.sae_info.hookpoint,
            }
            both = f"{model_fingerprint(path)}+{sae.sae_fingerprint(self.sae_info)}"
            specs.append(SignalSpec("sae", 1, params, model=both, sparse=True))
        if not specs:
            return

        def shard(rows: range, wanted: frozenset[str]) -> dict[str, Shard]:
            scorer = self._scorer("sae" in wanted)
            losses, features = scorer.score(self.pool.messages(rows), losses="lm" in wanted, features="sae" in wanted)
            found = {"lm": losses, "sae": features}
            return {name: result for name, result in found.items() if result is not None}

        what = " and ".join({"lm": "IFD, varentropy", "sae": "SAE features"}[spec.name] for spec in specs)
        self.results += self.store.compute(specs, shard, shard_rows=self.config.shard_rows, description=what)

    def _score_mona(self, targets: Mapping[str, list[TaskItem]]) -> None:
        if not targets:
            return
        parent = next(done for done in self.results if done.spec.name == "sae")
        features = self.store.open("sae", parent.key).sparse()
        for task, items in targets.items():
            self._score_task(task, items, features, parent.key)

    def _score_task(self, task: str, items: Sequence[TaskItem], features: SparseRows, parent: str) -> None:
        name = MONA_PREFIX + task
        params = {"sae": parent, "samples": len(items)}
        spec = SignalSpec(name, 1, params, targets=items_fingerprint(items))
        vectors: list[NDArray[np.float64]] = []  # made on first use: a cached signal needs no model

        def vector() -> NDArray[np.float64]:
            if not vectors:
                vectors.append(sae.task_vector(self._target_features(items)))
            return vectors[0]

        def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
            return {name: Shard({"mona": sae.mona_scores(features, vector(), rows)})}

        self.results += self.store.compute(
            [spec],
            shard,
            shard_rows=_MONA_SHARD,
            description=f"MONA of {task}",
            extra=lambda: {"task_vector": vector().astype(np.float32)},
        )

    def _target_features(self, items: Sequence[TaskItem]) -> SparseRows:
        """SAE features of target samples, rendered and encoded as the rows of the pool are."""
        scorer = self._scorer(True)
        _, shard = scorer.score([item.messages() for item in items], losses=False, features=True)
        assert shard is not None
        indptr = np.zeros(len(items) + 1, np.int64)
        np.cumsum(shard.arrays["counts"], out=indptr[1:])
        return SparseRows(indptr, shard.arrays["indices"], shard.arrays["values"], self.sae_info.num_latents)

    # -----------------------------------------------------------------------------------------------------------------

    def _make_current(self) -> None:
        current = self.store.current()
        new = {done.spec.name: done.key for done in self.results}
        relevance = {name for name in new if name.startswith(MONA_PREFIX)}
        retired = bool(relevance) or ("sae" in new and new["sae"] != current.get("sae"))
        kept = {name: key for name, key in current.items() if not (retired and name.startswith(MONA_PREFIX))}
        self.store.set_current({**kept, **new})


def load_table(pool: Pool, *, keys: Mapping[str, str] | None = None) -> SignalTable:
    """The signals of a pool as one table; large ones stay memory-mapped.

    Args:
        keys: cache keys, as ``ScoreReport.keys`` gives them; None loads the current ones.

    Raises:
        SignalError: a signal is absent or damaged. (A pool that was never scored gives a table without columns.)
    """
    store = SignalStore(pool.path, pool.fingerprint, len(pool))
    chosen = dict(keys) if keys is not None else store.current()
    columns: dict[str, NDArray[np.float32]] = {}
    extra: dict[str, Any] = {}
    for name, key in sorted(chosen.items()):
        stored = store.open(name, key)
        if name == "sae":
            extra["sae"] = stored.sparse()
        elif name.startswith(MONA_PREFIX):
            columns[name] = np.array(stored.arrays["mona"])
        elif name == "text_hash":
            extra["text_hash"] = stored.arrays["text_hash"]
        elif name == "minhash":
            params = stored.meta["params"]
            extra["minhash"] = stored.arrays["minhash"]
            extra["minhash_params"] = MinHashParams(params["ngram_size"], params["num_perm"], params["seed"])
        elif name == "near_duplicates":
            extra["near_duplicates"] = _near_duplicates(stored)
        else:
            columns |= {column: np.array(array) for column, array in stored.arrays.items()}
    return SignalTable(
        n=len(pool),
        source=np.asarray(pool.source_codes, np.int32),
        source_names=tuple(pool.source_names),
        columns=columns,
        texts=lambda rows: pool.texts(rows),
        keys={**chosen, "pool": pool.fingerprint},
        folder=store.root,
        **extra,
    )


def _near_duplicates(stored: StoredSignal) -> NearDuplicates:
    params, arrays = stored.meta["params"], stored.arrays
    edges = Edges(arrays["left"], arrays["right"], arrays["jaccard"])
    nodes = len(arrays["node"]) - stored.meta["stats"]["rows_equal_to_an_earlier_one"]
    recall = 1.0 if nodes <= near.ALL_PAIRS else params["recall"]
    return NearDuplicates(
        arrays["node"], edges, params["ngram_size"], params["floor"], recall, True, stored.meta["stats"]
    )
