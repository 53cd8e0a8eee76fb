"""Settings of the signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from autoselection.errors import SignalError
from autoselection.signals.families import BUILTIN_SIGNALS
from autoselection.signals.registry import SignalRegistry, default_registry, signal_names
from autoselection.signals.settings import PassSettings
from autoselection.wording import suggestion

#: The signals of this package; ``signal_names()`` has those of installed plugins too.
SIGNALS: tuple[str, ...] = SignalRegistry(BUILTIN_SIGNALS).names()

#: Options that have a key of their own in this section, for they name models: key, signal, option.
OWN_KEYS = (
    ("spacy_model", "action_object_branching", "parser"),
    ("embedding_model", "embeddings", "model"),
    ("reward_model", "reward", "model"),
    ("reward_label", "reward", "label"),
    ("trajectory_models", "trajectory", "models"),
)


def _signals_by_name(schema: dict[str, Any]) -> None:
    """Let the schema of a list of signals name those that are installed."""
    for part in schema["anyOf"]:
        if part.get("type") == "array":
            part["items"] = {"type": "string", "enum": sorted(signal_names())}


class SignalsConfig(PassSettings):
    """How the rows of a pool are scored."""

    signals: tuple[str, ...] | None = Field(
        None,
        description=f"Signals to compute: {', '.join(SIGNALS)}, or one that an installed package registers. "
        "null: all that the given models, SAE and tasks allow.",
        json_schema_extra=_signals_by_name,
    )
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Options of single signals by name, those of plugins among them: {repetition: {n: 8}}; autoselection config --keys lists them.",
    )
    spacy_model: str = Field(
        "en_core_web_sm", description="spaCy model with tagger and parser, for action_object_branching."
    )
    token_kinds: bool = Field(
        False,
        description="Whether null in signals also stands for token_kinds: IFD, loss and varentropy of the answer's, the "
        "reasoning's and the calls' tokens each (columns such as ifd_reasoning). A list in signals names it instead.",
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
    trajectory_models: tuple[str, ...] = Field(
        (),
        description="Checkpoints (folders or hub ids), in the order of training, under which rows' losses are compared.",
    )
    embedding_model: str | None = Field(
        None,
        description="Folder or hub id of a sentence-transformers or static (model2vec) model; null: no embeddings.",
    )

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
        own = {option: getattr(self, key) for key, signal, option in OWN_KEYS if signal == name}
        return {**own, **self.options.get(name, {})}

    def made_options(self, name: str) -> Any:
        """The options of the signal ``name``, defaults included."""
        return default_registry().options(name, self.options_of(name))

    def all_options(self) -> dict[str, Mapping[str, Any]]:
        """The options of all signals that have any, by name."""
        return {name: self.options_of(name) for name in {*(signal for _, signal, _ in OWN_KEYS), *self.options}}

    def pass_settings(self) -> PassSettings:
        """How a model reads rows."""
        return PassSettings(**{name: getattr(self, name) for name in PassSettings.model_fields})

    def names_by_default(self, signal: str) -> bool:
        """Whether a signal that is only computed by name is computed without it."""
        named = bool(self.options.get("data_juicer", {}).get("filters"))
        return (signal == "token_kinds" and self.token_kinds) or (signal == "data_juicer" and named)
