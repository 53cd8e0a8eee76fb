"""What one call of ``score_pool`` was given, and what signals share of it: the tokenizer, the model, the items of tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from autoselection.errors import SignalError
from autoselection.language.chat import ChatOptions, ConversationEncoder
from autoselection.language.chat.options import own_templates
from autoselection.language.chat.template import asks_by_row
from autoselection.language.models import (
    load_model,
    load_tokenizer,
    model_fingerprint,
    pick_device,
    pick_dtype,
    resolve_model,
)
from autoselection.signals.settings import PassSettings
from autoselection.system import keep_freed_memory
from autoselection.tasks import TaskConfig, TaskItem, load_items

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from autoselection.pool import Pool

T = TypeVar("T")


@dataclass(eq=False)
class Inputs:
    """What signals may be computed from.

    What is loaded is loaded at most once, when a signal asks for it, and let go when the last one that needs it is done.

    Attributes:
        pool: the rows; None where only what is possible is asked.
        settings: how a model reads rows: length, turns, batches, device, type of numbers.
        options: of each signal that has any, by its name.
        model: base model, folder or hub id.
        sae: SAE folder in sparsify format.
        tasks: benchmark tasks, for their target samples and for items to keep out of the pool.
        chat: the chat template, date and rule for control text by which rows are rendered.
        trust_remote_code: run Python code shipped with a model.
    """

    pool: Pool | None
    settings: PassSettings
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model: Path | str | None = None
    sae: Path | str | None = None
    tasks: Sequence[TaskConfig] = ()
    chat: ChatOptions = field(default_factory=ChatOptions)
    trust_remote_code: bool = False
    _kept: dict[Any, tuple[Any, Hashable]] = field(default_factory=dict, init=False, repr=False)

    def option(self, signal: str, name: str) -> Any:
        """An option of a signal as it was given, or None."""
        return self.options.get(signal, {}).get(name)

    def keep(self, key: Any, make: Callable[[], T], need: Hashable = None) -> T:
        """What ``make()`` returned the first time; signals of one call share it.

        Args:
            need: what it is made of, such as ``BASE_MODEL``: it is let go when no signal that needs that is left to compute.
                None: at the end of the call.
        """
        if key not in self._kept:
            self._kept[key] = make(), need
        found: T = self._kept[key][0]
        return found

    def let_go(self, needs: Collection[Hashable] | None = None) -> bool:
        """Drop what is kept for other needs than these (None: everything); whether there was any."""
        gone = [
            key for key, (_, need) in self._kept.items() if needs is None or (need is not None and need not in needs)
        ]
        for key in gone:
            del self._kept[key]
        return bool(gone)

    @property
    def base_model(self) -> Path | str:
        """The base model; SignalError if none was given."""
        if self.model is None:
            raise SignalError("This signal needs a model: give --model, or leave the signal out.")
        return self.model

    @cached_property
    def model_fingerprint(self) -> str:
        """Content of the base model, as of :meth:`fingerprint_of`."""
        return self.fingerprint_of(self.base_model)

    def fingerprint_of(self, model: Path | str) -> str:
        """Content of a model's configuration, weights and tokenizer, and of its code if that is run."""
        return model_fingerprint(model, code=self.trust_remote_code)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base model's tokenizer, with the chat template."""
        return load_tokenizer(self.base_model, self.chat, self.trust_remote_code)

    def load(self, path: Path | str) -> PreTrainedModel:
        """A model on the device, in evaluation mode; not kept."""
        settings = self.settings
        model = load_model(path, settings.device, settings.dtype, trust_remote_code=self.trust_remote_code)
        if model.device.type == "cpu":
            keep_freed_memory()
        return model

    def encoder(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> ConversationEncoder:
        """What cuts rows to the length that the settings and the model allow, and marks the turns to score."""
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        length = min(self.settings.max_length, longest or self.settings.max_length)
        return ConversationEncoder(tokenizer, max_length=length, turns=self.settings.turns)

    def template_key(self, model: Path | str) -> str:
        """By which chat template, date and rule for control text conversations are rendered for ``model``."""
        return self.chat.key(resolve_model(model))

    @cached_property
    def asks_by_row(self) -> bool:
        """Whether the header by which the base model is asked for an answer depends on the conversation.

        The tokenizer is loaded only where a template's text leaves it open.
        """
        folder = resolve_model(self.base_model)
        given = self.chat.text(folder)
        texts = own_templates(folder).values() if given is None else [given]
        return any(map(asks_by_row, texts)) and ConversationEncoder(self.tokenizer, max_length=1).asks_by_row

    def without_template(self) -> ChatOptions:
        """The date and the rule for control text, for a model that brings a template of its own."""
        return replace(self.chat, template=None)

    def pass_params(self, model: Path | str) -> dict[str, Any]:
        """What everything from a pass of ``model`` depends on besides it."""
        return {
            "max_length": self.settings.max_length,
            "template": self.template_key(model),
            "dtype": str(pick_dtype(pick_device(self.settings.device), self.settings.dtype)).removeprefix("torch."),
        }

    @cached_property
    def targets(self) -> Mapping[str, Sequence[TaskItem]]:
        """The target samples of each task that has any.

        Raises:
            SignalError: no task has any.
            ConfigError: a file of them is wrong.
        """
        aimed = [task for task in self.tasks if task.target is not None]
        return {task.name: load_items(task, "target") for task in aimed}

    @property
    def benchmarks(self) -> list[TaskConfig]:
        """Tasks with items to keep out of the pool: with ``--target`` the file of target samples stands for dev too."""
        return [task for task in self.tasks if task.dev is None or task.dev != task.target]

    @cached_property
    def items(self) -> Mapping[str, Sequence[TaskItem]]:
        """The dev and test items of the benchmarks, by ``task/split``.

        Raises:
            ConfigError: a file of them is wrong.
        """
        tasks = self.benchmarks
        items = {f"{task.name}/dev": load_items(task, "dev") for task in tasks}
        return items | {f"{task.name}/test": load_items(task, "test") for task in tasks if task.test or task.lm_eval}
