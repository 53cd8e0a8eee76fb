"""Settings of the signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from autoselection.errors import SignalError
from autoselection.signals.families import BUILTIN_SIGNALS
from autoselection.signals.families.embeddings import EmbeddingText
from autoselection.signals.families.near_duplicates import DEFAULT_RECALL
from autoselection.signals.families.reward import RewardScore, RewardText
from autoselection.signals.families.sae import SaeValues
from autoselection.signals.registry import SignalRegistry, default_registry, signal_names
from autoselection.signals.settings import PassSettings
from autoselection.wording import suggestion

#: The signals of this package; ``signal_names()`` has those of installed plugins too.
SIGNALS: tuple[str, ...] = SignalRegistry(BUILTIN_SIGNALS).names()

#: Options of signals that have a key of their own in this section: key, signal, option.
_OWN_KEYS = (
    ("ngram", "ngram_entropy", "n"),
    ("spacy_model", "action_object_branching", "parser"),
    ("spacy_max_characters", "action_object_branching", "max_characters"),
    ("rsr_max_rank", "lm", "max_rank"),
    ("sae_layer", "sae", "layer"),
    ("max_features", "sae", "max_features"),
    ("sae_values", "sae", "values"),
    ("reward_model", "reward", "model"),
    ("reward_label", "reward", "label"),
    ("reward_score", "reward", "score"),
    ("reward_text", "reward", "text"),
    ("trajectory_models", "trajectory", "models"),
    ("minhash_ngram", "minhash", "ngram_size"),
    ("minhash_permutations", "minhash", "num_perm"),
    ("minhash_seed", "minhash", "seed"),
    ("minhash_recall", "near_duplicates", "recall"),
    ("contamination_ngram", "contamination", "n"),
    ("embedding_model", "embeddings", "model"),
    ("embedding_text", "embeddings", "text"),
    ("embedding_batch", "embeddings", "batch"),
)


class SignalsConfig(PassSettings):
    """How the rows of a pool are scored."""

    signals: tuple[str, ...] | None = Field(
        None,
        description=f"Signals to compute: {', '.join(SIGNALS)}, or one that an installed package registers. "
        "null: all that the given models, SAE and tasks allow.",
    )
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Options of single signals by name, those of plugins among them: {repetition: {n: 8}}.",
    )
    ngram: int = Field(1, ge=1, le=10, description="Length of the n-grams of ngram_entropy (words and symbols).")
    spacy_model: str = Field(
        "en_core_web_sm", description="spaCy model with tagger and parser, for action_object_branching."
    )
    spacy_max_characters: int = Field(
        100_000, ge=1, description="Longer texts are not parsed and have no score (characters)."
    )
    rsr_max_rank: int | None = Field(
        100,
        ge=1,
        description="In rsr, the mean rank of a response's tokens over their loss, ranks above this count as this; null: "
        "all count as they are.",
    )
    token_kinds: bool = Field(
        False,
        description="Whether null in signals also stands for token_kinds: IFD, loss and varentropy of the answer's, the "
        "reasoning's and the calls' tokens each (columns such as ifd_reasoning). A list in signals names it instead.",
    )
    sae_layer: int | None = Field(
        None,
        description="Layer whose output the SAE reads (0 is the first; negative counts from the end). null: as the "
        "checkpoint says, else the last but one.",
    )
    max_features: int = Field(256, ge=1, description="SAE features kept a row (count).")
    sae_values: SaeValues = Field(
        "float16",
        description="How the features' values are stored: float16, uint8 (255 steps up to the row's largest), float32.",
    )
    reward_model: str | None = Field(
        None,
        description="Folder or hub id of a sequence classifier that judges rows (regression head, or see reward_label); "
        "null: no rewards.",
    )
    reward_label: str | None = Field(
        None,
        description="Label of the classifier whose score is the reward (name or number); null: the only logit of a "
        "regression head.",
    )
    reward_score: RewardScore = Field(
        "logit", description="Score of reward_label: its logit, or its probability among all labels."
    )
    reward_text: RewardText = Field(
        "chat",
        description="What the classifier reads: chat (its own chat template; without one like both), both (prompt, line "
        "feed, response), pair (prompt and response as two segments), response.",
    )
    trajectory_models: tuple[str, ...] = Field(
        (),
        description="Checkpoints (folders or hub ids), in the order of training, under which rows' losses are compared.",
    )
    minhash_ngram: int = Field(
        5, ge=1, le=20, description="Length of the n-grams of MinHash signatures (words and symbols)."
    )
    minhash_permutations: int = Field(128, ge=16, le=1024, description="Length of MinHash signatures (numbers).")
    minhash_seed: int = Field(0, ge=0, description="Seed of the MinHash permutations.")
    minhash_recall: float = Field(
        DEFAULT_RECALL,
        ge=0.5,
        le=0.9999,
        description="Share of the near duplicates with a Jaccard similarity of 0.5 that are found (of more similar "
        "ones: more, 0.9999 at 0.7 with the default); a higher share takes longer.",
    )
    contamination_ngram: int = Field(
        13,
        ge=5,
        le=50,
        description="Length of the n-grams by which rows are compared with dev and test items (words; in scripts without "
        "spaces 1.5 characters in Chinese and Japanese or 3 in Thai and the like stand for one).",
    )
    embedding_model: str | None = Field(
        None,
        description="Folder or hub id of a sentence-transformers or static (model2vec) model; null: no embeddings.",
    )
    embedding_text: EmbeddingText = Field(
        "both", description="What is embedded: prompt (all turns but the assistant's), response, or both."
    )
    embedding_batch: int = Field(64, ge=1, description="Texts a forward pass of the embedding model (count).")

    @field_validator("signals")
    @classmethod
    def _signals_exist(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in SIGNALS and name not in signal_names():
                raise ValueError(f"there is no signal '{name}'{suggestion(name, signal_names())}".rstrip("."))
        return names

    @field_validator("options")
    @classmethod
    def _options_fit(cls, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, values in options.items():
            try:
                default_registry().options(name, values)
            except SignalError as error:
                raise ValueError(str(error).rstrip(".")) from error
        return options

    @model_validator(mode="after")
    def _kinds_are_computed(self) -> SignalsConfig:
        if self.token_kinds and self.signals is not None and "token_kinds" not in self.signals:
            raise ValueError("token_kinds: true is for signals: null; name token_kinds in the list of signals instead")
        return self

    def options_of(self, name: str) -> Mapping[str, Any]:
        """The options of the signal ``name``: its own keys of this section, then ``options``."""
        own = {option: getattr(self, key) for key, signal, option in _OWN_KEYS if signal == name}
        return {**own, **self.options.get(name, {})}

    def all_options(self) -> dict[str, Mapping[str, Any]]:
        """The options of all signals that have any, by name."""
        return {name: self.options_of(name) for name in {*(signal for _, signal, _ in _OWN_KEYS), *self.options}}

    def pass_settings(self) -> PassSettings:
        """How a model reads rows."""
        return PassSettings(**{name: getattr(self, name) for name in PassSettings.model_fields})

    def names_by_default(self, signal: str) -> bool:
        """Whether a signal that is only computed by name is computed without it."""
        return signal == "token_kinds" and self.token_kinds
