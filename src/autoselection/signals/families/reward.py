"""Reward of each row: what a Hugging Face sequence classifier says of its conversation.

The score is the only logit of a regression head (reward models), or one label's logit or probability (quality
classifiers). A classifier made for chats brings a chat template, which renders the conversation as for the language
model: text of a row never becomes a control token. One without a template reads the prompt and the response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.conversation import Conversation, Message
from autoselection.errors import SignalError
from autoselection.language.chat import ChatOptions, ConversationEncoder, Encoded, Row
from autoselection.language.chat.form import as_conversation
from autoselection.language.models import (
    load_errors,
    load_tokenizer,
    one_line,
    pick_device,
    pick_dtype,
    resolve_model,
)
from autoselection.schema import StrictModel
from autoselection.signals.contract import Reads, Rows, Signal, prompt_of, response_of
from autoselection.signals.inputs import Inputs
from autoselection.signals.model_pass import default_batch_tokens, token_batches
from autoselection.signals.needs import Need, demand
from autoselection.signals.stored import Shard, SignalSpec

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


RewardScore = Literal["logit", "probability"]
RewardText = Literal["chat", "both", "pair", "response"]


@dataclass(frozen=True)
class _Input:
    """What the classifier reads of a row.

    Attributes:
        ids: token ids.
        types: 1 for tokens of the second segment of a pair.
        truncated: whether the row was cut.
        answered: whether any token of a response is left.
    """

    ids: list[int]
    types: list[int]
    truncated: bool
    answered: bool


@dataclass(frozen=True)
class Classifier:
    """Judges conversations, one score each.

    A row without a response, of whose responses nothing is left where it is cut, or that the template refuses is NaN and
    counted.

    Args:
        model_path: folder or hub id of a sequence classifier with safetensors weights.
        label: name or number of the label that is scored; None: the only logit of a regression head.
        score: ``logit``, or ``probability`` (softmax; sigmoid for a single logit or a multi-label classifier).
        text: ``chat`` (the classifier's chat template; without one as ``both``), ``both`` (prompt, line feed, response),
            ``pair`` (two segments) or ``response``.
        max_length: longer inputs are cut (tokens); the limits of the model and its tokenizer hold too.
        batch_tokens: padded tokens a batch; None: by device.
        trust_remote_code: run Python code shipped with the model; off unless asked for.
        chat: the date and the rule for control text by which the chat template renders.
    """

    model_path: Path | str
    label: str | None = None
    score: RewardScore = "logit"
    text: RewardText = "chat"
    max_length: int = 2048
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    chat: ChatOptions = field(default_factory=ChatOptions)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The classifier, on its device."""
        return load_classifier(self.model_path, self.device, self.dtype, self.trust_remote_code)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The classifier's tokenizer."""
        return load_tokenizer(self.model_path, self.chat, self.trust_remote_code)

    @cached_property
    def _own_padding(self) -> int | None:
        """The padding id that the model came with (read before ``_padding`` sets one)."""
        own = self.model.config.get_text_config().pad_token_id
        return None if own is None else int(own)

    @cached_property
    def limit(self) -> int:
        """Longest input (tokens)."""
        own = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return min(self.max_length, int(own or self.max_length), int(self.tokenizer.model_max_length))

    @cached_property
    def label_index(self) -> int:
        """Which logit is read.

        Raises:
            SignalError: there is no such label, or none was chosen among several.
        """
        names = {int(index): str(name) for index, name in self.model.config.id2label.items()}
        known = ", ".join(names.values())
        if self.label is None:
            if len(names) > 1:
                raise SignalError(
                    f"The classifier '{self.model_path}' has several labels ({known}): set signals.reward_label."
                )
            return 0
        for index, name in names.items():
            if self.label in (name, str(index)):
                return index
        raise SignalError(
            f"The classifier '{self.model_path}' has no label '{self.label}' (signals.reward_label); it has: {known}."
        )

    def judge(self, rows: Sequence[Row]) -> Shard:
        """One score a row, as a shard."""
        import torch

        answered = [i for i, row in enumerate(rows) if response_of(as_conversation(row).messages).strip()]
        inputs = self._inputs([rows[i] for i in answered])
        read = [(i, item) for i, item in zip(answered, inputs, strict=True) if item is not None]
        known = [(i, item) for i, item in read if item.answered]
        rewards = np.full(len(rows), np.nan, np.float32)
        budget = self.batch_tokens or default_batch_tokens(str(self.model.device))
        with torch.inference_mode():
            for batch in token_batches([len(item.ids) for _, item in known], budget):
                rewards[[known[j][0] for j in batch]] = self._forward([known[j][1] for j in batch])
        stats = {
            "empty_response": len(rows) - len(answered),
            "refused_by_template": len(answered) - len(read),
            "response_cut_off": len(read) - len(known),
            "truncated": sum(item.truncated for _, item in read),
        }
        return Shard({"reward": rewards}, stats)

    def _inputs(self, rows: Sequence[Row]) -> list[_Input | None]:
        """What is read of each row; None where the template refuses it."""
        if not rows:
            return []
        if self.text == "chat" and self.tokenizer.chat_template:
            encoder = ConversationEncoder(self.tokenizer, max_length=self.limit)
            return [None if item is None else _chat_input(item) for item in encoder.encode_batch([*map(_read, rows)])]
        if not self.tokenizer.is_fast:
            raise SignalError(
                f"The tokenizer of the classifier '{self.model_path}' is not a fast tokenizer; convert it with transformers' "
                "AutoTokenizer(use_fast=True) and save it."
            )
        responses = [response_of(as_conversation(row).messages) for row in rows]
        prompts = [prompt_of(as_conversation(row).messages) for row in rows]
        joined = ["\n".join(filter(None, pair)) for pair in zip(prompts, responses, strict=True)]
        texts = {"pair": (prompts, responses), "response": (responses,)}.get(self.text, (joined,))
        # Control words in the text stay text; the special tokens around it are the tokenizer's own.
        output = self.tokenizer(*texts, truncation=True, max_length=self.limit, split_special_tokens=True)
        found: list[_Input | None] = []
        for *_, text, response, encoding in zip(*texts, responses, output.encodings, strict=True):
            begin, segment = len(text) - len(response.lstrip()), len(texts) - 1
            ends = [end for (_, end), of in zip(encoding.offsets, encoding.sequence_ids, strict=True) if of == segment]
            truncated = bool(encoding.overflowing)
            answered = not truncated or max(ends, default=0) > begin
            found.append(_Input(encoding.ids, encoding.type_ids, truncated, answered))
        return found

    def _forward(self, batch: Sequence[_Input]) -> NDArray[np.float32]:
        import torch

        model = self.model
        lengths = torch.as_tensor([len(item.ids) for item in batch])
        width = int(lengths.max())
        tokens = torch.full((len(batch), width), self._padding(batch))
        types = torch.zeros_like(tokens)
        for i, item in enumerate(batch):
            tokens[i, : len(item.ids)] = torch.as_tensor(item.ids)
            types[i, : len(item.ids)] = torch.as_tensor(item.types)
        mask = (torch.arange(width) < lengths[:, None]).long()
        given: dict[str, Tensor] = {"input_ids": tokens.to(model.device), "attention_mask": mask.to(model.device)}
        if "token_type_ids" in self.tokenizer.model_input_names:
            given["token_type_ids"] = types.to(model.device)
        logits = model(**given).logits.float()
        if self.score == "probability":
            several = logits.shape[1] > 1 and model.config.problem_type != "multi_label_classification"
            logits = logits.softmax(-1) if several else logits.sigmoid()
        scores: NDArray[np.float32] = logits[:, self.label_index].cpu().numpy()
        return scores

    def _padding(self, batch: Sequence[_Input]) -> int:
        """The id to pad with, known to the model.

        A decoder reads its score at the last token that is not padding, by its id. If its configuration names no
        padding, an id is taken that the batch does not hold, so that the row's own last token is found.
        """
        if self._own_padding is not None:
            return self._own_padding
        config = self.model.config.get_text_config()
        used = {token for item in batch for token in item.ids}
        free = next((token for token in range(int(config.vocab_size)) if token not in used), None)
        if free is None:
            raise SignalError(
                f"The classifier '{self.model_path}' has no pad_token_id and a batch uses its whole vocabulary: set "
                "pad_token_id in its config.json."
            )
        self.model.config.pad_token_id = config.pad_token_id = free
        return free


def _read(row: Row) -> Conversation:
    """A row as a classifier reads it: what is trained of it does not matter."""
    conversation = as_conversation(row)
    messages = [{name: value for name, value in turn.items() if name != "weight"} for turn in conversation.messages]
    return replace(conversation, messages=cast("list[Message]", messages))


def _chat_input(item: Encoded) -> _Input:
    answered = not item.truncated or any(item.response)
    return _Input(item.input_ids, [0] * len(item.input_ids), item.truncated > 0, answered)


def load_classifier(
    path: Path | str, device: str = "auto", dtype: str = "auto", trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a sequence classifier onto a device, in evaluation mode.

    Raises:
        SignalError: it cannot be loaded, or the folder holds no trained classification head.
    """
    place = pick_device(device)
    folder = resolve_model(path)
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, facts = AutoModelForSequenceClassification.from_pretrained(
            str(folder),
            dtype=pick_dtype(place, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
        model.to(place)
    except load_errors() as error:
        raise SignalError(f"The classifier '{path}' cannot be loaded: {one_line(error)}") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    if facts["missing_keys"]:
        raise SignalError(
            f"'{path}' is no trained sequence classifier (without weights: {', '.join(sorted(facts['missing_keys']))}): "
            "name one in signals.reward_model."
        )
    classifier: PreTrainedModel = model.eval()
    return classifier


#: The sequence classifier.
REWARD_MODEL = Need(
    "no classifier was given (signals.reward_model)",
    demand("sequence classifier", "--reward-model"),
    lambda inputs: inputs.option("reward", "model") is not None,
    "--reward-model MODEL",
    model=lambda inputs: inputs.fingerprint_of(inputs.option("reward", "model")),
)


class RewardOptions(StrictModel):
    """Options of ``reward``."""

    model: str | None = Field(
        None,
        description="Folder or hub id of a sequence classifier that judges rows (regression head, or see label); "
        "null: no rewards.",
    )
    label: str | None = Field(
        None,
        description="Label of the classifier whose score is the reward (name or number); null: the only logit of a "
        "regression head.",
    )
    score: RewardScore = Field(
        "logit", description="Score of the label: its logit, or its probability among all labels."
    )
    text: RewardText = Field(
        "chat",
        description="What the classifier reads: chat (its own chat template; without one like both), both (prompt, line "
        "feed, response), pair (prompt and response as two segments), response.",
    )


class Reward(Signal):
    """What a sequence classifier says of each row's conversation."""

    name = "reward"
    columns = ("reward",)
    version = 3
    options_model = RewardOptions
    reads: Reads = "conversations"
    needs = (REWARD_MODEL,)
    shard_rows = 512
    cost = 4

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        options, settings = self.options, inputs.settings
        dtype = str(pick_dtype(pick_device(settings.device), settings.dtype)).removeprefix("torch.")
        params = {"label": options.label, "score": options.score, "text": options.text}
        if options.text == "chat":
            params["chat"] = inputs.without_template().key(resolve_model(options.model))
        params = {**params, "max_length": settings.max_length, "dtype": dtype}
        return SignalSpec(self.name, self.version, params, model=inputs.fingerprint_of(options.model))

    def compute(self, rows: Rows) -> Shard:
        classifier = rows.inputs.keep("classifier", lambda: self._classifier(rows.inputs), REWARD_MODEL)
        return classifier.judge(rows.conversations)

    def _classifier(self, inputs: Inputs) -> Classifier:
        options, settings = self.options, inputs.settings
        return Classifier(
            options.model,
            options.label,
            options.score,
            options.text,
            settings.max_length,
            settings.batch_tokens,
            settings.device,
            settings.dtype,
            inputs.trust_remote_code,
            inputs.without_template(),  # the classifier has a template of its own
        )
