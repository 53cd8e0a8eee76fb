"""The signals of the language model: losses, SAE features and relevance, from as few forward passes as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.language.chat import ChatOptions, ConversationEncoder
from autoselection.language.models import (
    load_model,
    load_tokenizer,
    model_fingerprint,
    pick_device,
    pick_dtype,
    resolve_model,
)
from autoselection.signals.config import SignalsConfig
from autoselection.signals.families import sae, text
from autoselection.signals.families.trajectory import score_trajectory
from autoselection.signals.kinds import KIND_COLUMNS, TOKEN_KINDS
from autoselection.signals.store import Computed, Shard, SignalSpec, SignalStore
from autoselection.signals.table import LM_SIGNALS, MONA_PREFIX, SparseRows
from autoselection.tasks import TaskItem, items_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from autoselection.pool import Pool
    from autoselection.signals.families.lm import LanguageModelScorer

#: Version of each signal, raised whenever its definition changes, and of all when the encoder gives other tokens.
VERSIONS = {"tokens": 2, "lm": 2, "token_kinds": 1, "sae": 4, "mona": 2}
_MONA_SHARD = 65_536
_TOKENS_SHARD = 4096


def _by_signal(losses: Shard) -> dict[str, Shard]:
    """A shard of losses as those of the signals ``lm`` and, if it has their columns, ``token_kinds``."""
    of_kinds = {name: array for name, array in losses.arrays.items() if name in KIND_COLUMNS}
    rest = {name: array for name, array in losses.arrays.items() if name not in of_kinds}
    stats = {name: count for name, count in losses.stats.items() if name.removeprefix("no_prompt_") not in TOKEN_KINDS}
    stats = {name: count for name, count in stats.items() if name.removeprefix("no_") not in TOKEN_KINDS}
    found = {"lm": Shard(rest, stats)}
    return found | ({"token_kinds": Shard(of_kinds, losses.stats)} if of_kinds else {})


def given(signal: str, value: Path | str | None, what: str, option: str) -> Path | str:
    """``value``, which ``signal`` needs; SignalError if it was not given."""
    if value is None:
        raise SignalError(f"The signal '{signal}' needs a {what}: give {option}, or leave the signal out.")
    return value


@dataclass
class ModelSignals:
    """What one call of ``score_pool`` asks of the base model, which is loaded at most once, and only if needed."""

    pool: Pool
    store: SignalStore
    config: SignalsConfig
    model_path: Path | str | None
    chat_template: str | ChatOptions | None
    trust_remote_code: bool
    sae_info: sae.SaeInfo | None = None
    _tokenizer: PreTrainedTokenizerBase | None = field(default=None, init=False)
    _model: PreTrainedModel | None = field(default=None, init=False)
    _scorers: dict[bool, LanguageModelScorer] = field(default_factory=dict, init=False)

    def tokens(self) -> list[Computed]:
        """Token counts by the model's tokenizer."""
        path = self._path("tokens")
        params = {"tokenizer": "model", "template": self._template_key(path)}
        spec = SignalSpec("tokens", VERSIONS["tokens"], params, model=model_fingerprint(path))

        def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
            encoder = ConversationEncoder(self._load_tokenizer(), max_length=1 << 30, turns="all")
            return {"tokens": Shard(*text.count_model_tokens(self.pool.conversations(rows), encoder))}

        return self.store.compute([spec], shard, shard_rows=_TOKENS_SHARD, description="Token counts")

    def passes(self, names: set[str]) -> list[Computed]:
        """Losses, varentropy, rsr and SAE features, those of ``names``, from the same passes."""
        specs: list[SignalSpec] = []
        asked = [name for name in LM_SIGNALS if name in names]
        if set(asked) - {"token_kinds"}:
            specs.append(self._lm_spec("lm", asked[0]))
        if "token_kinds" in names:
            specs.append(self._lm_spec("token_kinds", "token_kinds"))
        if names & {"sae", "mona"}:
            specs.append(self._sae_spec())
        if not specs:
            return []

        def shard(rows: range, wanted: frozenset[str]) -> dict[str, Shard]:
            scorer = self._scorer("sae" in wanted)
            losses, features = scorer.score(
                self.pool.conversations(rows),
                losses=bool(wanted & {"lm", "token_kinds"}),
                features="sae" in wanted,
                kinds="token_kinds" in wanted,
            )
            found = {"sae": features} if features is not None else {}
            return found if losses is None else found | _by_signal(losses)

        titles = {"lm": "IFD, varentropy, rsr", "token_kinds": "the same by kind of token", "sae": "SAE features"}
        what = " and ".join(titles[spec.name] for spec in specs)
        return self.store.compute(specs, shard, shard_rows=self.config.shard_rows, description=what)

    def trajectory(self) -> list[Computed]:
        """Losses under the checkpoints of ``signals.trajectory_models``."""
        models, shard_rows = self.config.trajectory_models, self.config.shard_rows
        params = [{**self._pass_params(model), "turns": self.config.turns} for model in models]
        return score_trajectory(self.pool, self.store, models, params, self._checkpoint_scorer, shard_rows)

    def _checkpoint_scorer(self, path: Path | str) -> LanguageModelScorer:
        from autoselection.signals.families.lm import LanguageModelScorer

        config = self.config
        model = load_model(path, config.device, config.dtype, trust_remote_code=self.trust_remote_code)
        tokenizer = load_tokenizer(path, self.chat_template, self.trust_remote_code)
        encoder = ConversationEncoder(tokenizer, max_length=self._length(model), turns=config.turns)
        return LanguageModelScorer(model, encoder, batch_tokens=config.batch_tokens)

    def _length(self, model: PreTrainedModel) -> int:
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        return min(self.config.max_length, longest or self.config.max_length)

    def mona(self, targets: Mapping[str, Sequence[TaskItem]], parent: Computed) -> list[Computed]:
        """Relevance to each task of ``targets``, from the SAE features of ``parent``."""
        features = self.store.open("sae", parent.key).sparse()
        specs = [
            SignalSpec(
                MONA_PREFIX + task,
                VERSIONS["mona"],
                {"samples": len(items)},
                targets=items_fingerprint(items),
                uses={"sae": parent.spec},
            )
            for task, items in targets.items()
        ]
        vectors: dict[str, NDArray[np.float64]] = {}  # made on first use: a cached signal needs no model

        def vector(name: str) -> NDArray[np.float64]:
            if name not in vectors:
                vectors[name] = sae.task_vector(self._target_features(targets[name[len(MONA_PREFIX) :]]))
            return vectors[name]

        def shard(rows: range, wanted: frozenset[str]) -> dict[str, Shard]:
            names = sorted(wanted)
            scores = sae.mona_matrix(features, np.stack([vector(name) for name in names]), rows)
            return {name: Shard({"mona": column}) for name, column in zip(names, scores, strict=True)}

        def stored_vector(name: str) -> Mapping[str, NDArray[np.float32]]:
            return {"task_vector": vector(name).astype(np.float32)}

        extras = {spec.name: partial(stored_vector, spec.name) for spec in specs}
        return self.store.compute(
            specs, shard, shard_rows=_MONA_SHARD, description=f"MONA of {', '.join(targets)}", extra=extras
        )

    def _target_features(self, items: Sequence[TaskItem]) -> SparseRows:
        """SAE features of target samples, rendered and encoded as the rows of the pool are."""
        _, shard = self._scorer(True).score([item.messages() for item in items], losses=False, features=True)
        assert shard is not None
        indptr = np.zeros(len(items) + 1, np.int64)
        np.cumsum(shard.arrays["counts"], out=indptr[1:])
        arrays = shard.arrays
        return SparseRows(indptr, arrays["indices"], arrays["values"], self._sae().num_latents, arrays.get("scale"))

    def _lm_spec(self, name: str, signal: str) -> SignalSpec:
        params = {**self._pass_params(self._path(signal)), "turns": self.config.turns}
        if name == "lm":
            params["max_rank"] = self.config.rsr_max_rank
        return SignalSpec(name, VERSIONS[name], params, model=model_fingerprint(self._path(signal)))

    def _sae_spec(self) -> SignalSpec:
        info = self._sae()
        params = {
            **self._pass_params(self._path("sae")),
            **({"turns": "each"} if self.config.turns == "each" else {}),  # else all tokens of the conversation count
            "max_features": self.config.max_features,
            "values": self.config.sae_values,
            "d": info.num_latents,
            "k": info.k,
            "layer": self.config.sae_layer if self.config.sae_layer is not None else info.hookpoint,
        }
        both = f"{model_fingerprint(self._path('sae'))}+{sae.sae_fingerprint(info)}"
        return SignalSpec("sae", VERSIONS["sae"], params, model=both, sparse=True)

    def _pass_params(self, model: Path | str) -> dict[str, Any]:
        """What all signals from a pass of ``model`` depend on besides it."""
        return {
            "max_length": self.config.max_length,
            "template": self._template_key(model),
            "dtype": str(pick_dtype(pick_device(self.config.device), self.config.dtype)).removeprefix("torch."),
        }

    def _template_key(self, model: Path | str) -> str:
        """By which chat template, date and rule for control text conversations are rendered for ``model``."""
        return ChatOptions.of(self.chat_template).key(resolve_model(model))

    def _path(self, signal: str) -> Path | str:
        return given(signal, self.model_path, "model", "--model")

    def _sae(self) -> sae.SaeInfo:
        assert self.sae_info is not None
        return self.sae_info

    def _load_tokenizer(self) -> PreTrainedTokenizerBase:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._path("tokens"), self.chat_template, self.trust_remote_code)
        return self._tokenizer

    def _load_model(self) -> PreTrainedModel:
        if self._model is None:
            config = self.config
            self._model = load_model(
                self._path("ifd"), config.device, config.dtype, trust_remote_code=self.trust_remote_code
            )
        return self._model

    def _scorer(self, with_sae: bool) -> LanguageModelScorer:
        from autoselection.signals.families.lm import LanguageModelScorer

        if with_sae not in self._scorers:
            config, model = self.config, self._load_model()
            encoder = ConversationEncoder(self._load_tokenizer(), max_length=self._length(model), turns=config.turns)
            features = None
            if with_sae:
                features = sae.SparseEncoder(
                    self._sae(), model, layer=config.sae_layer, max_features=config.max_features
                )
            self._scorers[with_sae] = LanguageModelScorer(
                model,
                encoder,
                batch_tokens=config.batch_tokens,
                sae=features,
                sae_values=config.sae_values,
                max_rank=config.rsr_max_rank,
            )
        return self._scorers[with_sae]
