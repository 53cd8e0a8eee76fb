"""SAE features of rows.

Checkpoints are those of EleutherAI's ``sparsify``: a folder with ``cfg.json`` and ``sae.safetensors``. They are read and
applied here in plain PyTorch (top-k of ``relu(W (h − b_dec) + b_enc)``); only training needs the library.

Features of a row = activations averaged over the row's real tokens but attention sinks, the ``max_features`` largest kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.documents import parse_json
from autoselection.errors import SignalError
from autoselection.language.models import files_fingerprint
from autoselection.schema import StrictModel
from autoselection.signals.contract import Loaded
from autoselection.signals.inputs import Inputs
from autoselection.signals.model_pass import PassResult, PassSignal, PassText, StateReader
from autoselection.signals.needs import BASE_MODEL, Need, demand
from autoselection.signals.stored import Shard, SignalSpec, StoredSignal
from autoselection.system import expanded
from autoselection.wording import kind_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


SaeValues = Literal["float16", "uint8", "float32"]

SparseVector = tuple[NDArray[np.int32], NDArray[np.float32]]
#: Features of a text: indices, ascending; sums of the activations over its tokens, all > 0; number of tokens.
FeatureSums = tuple[NDArray[np.int32], NDArray[np.float32], int]

_HOOKPOINT = re.compile(r"^[A-Za-z_]+\.\d+(\.[A-Za-z_.]+)?$")

#: A state so many times longer than the median one of its row is an attention sink's. Other tokens reach 1.5 times the
#: median in SmolLM2-135M and 3 times in the demo's model; the first token of the former 140 times.
SINK_RATIO = 10.0
#: Largest width or number of features that is believed.
_MOST = 1 << 40
#: Largest block of activations held at once, in numbers (64 MB in float32).
_BLOCK = 1 << 24


@dataclass(frozen=True)
class SaeInfo:
    """What a checkpoint says of itself.

    Attributes:
        d_in: width of the hidden states it reads.
        num_latents: number of features.
        k: active features a token.
        hookpoint: module it reads (a name below the base model, such as ``layers.14``); None if the checkpoint does not say.
    """

    folder: Path
    d_in: int
    num_latents: int
    k: int
    activation: str
    hookpoint: str | None


def read_sae_info(path: Path | str) -> SaeInfo:
    """Read a checkpoint's configuration. ``path`` holds ``cfg.json``, or exactly one folder that does.

    Raises:
        SignalError: no checkpoint there, or one of a kind that cannot be used.
    """
    folder = expanded(path)
    if not folder.is_dir():
        raise SignalError(f"There is no SAE folder {folder}: name a folder with cfg.json and sae.safetensors.")
    if not (folder / "cfg.json").is_file():
        inner = sorted(child.parent for child in folder.glob("*/cfg.json"))
        if len(inner) != 1:
            layers = f"; name one of its layers: {', '.join(child.name for child in inner)}" if inner else ""
            raise SignalError(f"The SAE folder {folder} holds no cfg.json{layers}.")
        folder = inner[0]
    if not (folder / "sae.safetensors").is_file():
        raise SignalError(f"The SAE folder {folder} holds no sae.safetensors.")
    path = folder / "cfg.json"
    config = parse_json(path.read_bytes(), str(path), SignalError)
    if not isinstance(config, dict):
        raise SignalError(f"{path} must hold a JSON object of sparsify's settings, not {kind_of(config)}.")
    d_in, k = _count(config, "d_in", path), _count(config, "k", path)
    num_latents = (
        _count(config, "num_latents", path)
        if config.get("num_latents")
        else (d_in * _count(config, "expansion_factor", path))
    )
    activation, named = config.get("activation", "topk"), config.get("hookpoint")
    if named is not None and not isinstance(named, str):
        raise SignalError(f"{path}: hookpoint must be the name of a module, not {named!r:.40}.")
    if config.get("transcode"):
        raise SignalError(f"The SAE {folder} is a transcoder; AutoSelection needs an autoencoder of hidden states.")
    if activation not in ("topk", "groupmax"):
        raise SignalError(f"The SAE {folder} has the activation '{activation}'; known: topk, groupmax.")
    if not 1 <= k <= num_latents or (activation == "groupmax" and num_latents % k):
        raise SignalError(f"The SAE {folder} has k = {k} of {num_latents} features, which does not fit '{activation}'.")
    hookpoint = named or (folder.name if _HOOKPOINT.match(folder.name) else None)
    return SaeInfo(folder, d_in, num_latents, k, activation, hookpoint)


def _count(config: Mapping[str, Any], name: str, path: Path) -> int:
    value: Any = config.get(name)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise SignalError(
            f"{path} is not a sparsify configuration: {name} must be a whole number above 0, not {value!r:.40}."
        )
    return int(value)


def sae_fingerprint(info: SaeInfo) -> str:
    """32 hex digits that identify the checkpoint's content."""
    return files_fingerprint([info.folder / "cfg.json", info.folder / "sae.safetensors"])


def layer_hookpoint(model: PreTrainedModel, layer: int | None) -> str:
    """Name of a decoder layer below the base model; ``None`` is the last but one, negative numbers count from the end.

    Features are read from the layer's output (the residual stream), before the final norm.
    """
    from torch.nn import ModuleList

    count = int(model.config.get_text_config().num_hidden_layers)
    lists = [
        name
        for name, module in model.base_model.named_modules()
        if isinstance(module, ModuleList) and len(module) == count
    ]
    if not lists:
        raise SignalError(f"The layers of '{model.name_or_path}' cannot be found: its architecture is not supported.")
    index = max(0, count - 2) if layer is None else layer + count if layer < 0 else layer
    if not 0 <= index < count:
        raise SignalError(f"signals.options.sae.layer: {layer} is out of range; the model has layers 0 to {count - 1}.")
    return f"{lists[0]}.{index}"


class _Found:
    """Features of the texts of a block, where they were computed.

    Args:
        sums: of each text and feature in turn, float32[texts * width].
        tokens: of each text, int[texts].
        most: no more of the sums than this are above 0.
    """

    def __init__(self, sums: Tensor, tokens: Tensor, width: int, most: int) -> None:
        import torch

        # The places of what is active, at a size that is known here: ``nonzero`` would wait for the device to have counted.
        counted = (sums != 0).cumsum(0, dtype=torch.int32)
        wanted = torch.arange(1, most + 1, dtype=torch.int32, device=sums.device)
        places = torch.searchsorted(counted, wanted, out_int32=True)  # behind the last one the number of sums
        values = sums[places.clamp(max=len(sums) - 1)]
        self._numbers = torch.cat([tokens.int(), places, values.view(torch.int32)])
        self._texts, self._width = len(tokens), width

    @cached_property
    def features(self) -> list[FeatureSums]:
        """Of each text; fetched in one copy."""
        numbers: NDArray[np.int32] = self._numbers.cpu().numpy()
        tokens = numbers[: self._texts].tolist()
        places, values = numbers[self._texts :].reshape(2, -1)
        ends = np.searchsorted(places, np.arange(self._texts + 1) * self._width).tolist()
        return [
            (places[first:end] % self._width, values[first:end].view(np.float32), count)
            for first, end, count in zip(ends[:-1], ends[1:], tokens, strict=True)
        ]


@dataclass(frozen=True)
class TextFeatures:
    """Features of one text: the ``place``-th of a block."""

    block: _Found
    place: int

    def fetched(self) -> FeatureSums:
        """The features; the first of a block waits until the device has them."""
        return self.block.features[self.place]


class SparseEncoder:
    """An SAE's encoder on the model's device.

    Args:
        info: the checkpoint.
        model: the language model whose hidden states it reads.
        layer: layer to read; None takes it from the checkpoint, or else the last but one.
        max_features: non-zeros kept a row.

    Raises:
        SignalError: the widths differ, the weights are damaged, or the layer does not exist.
    """

    def __init__(self, info: SaeInfo, model: PreTrainedModel, *, layer: int | None = None, max_features: int = 256):
        from safetensors import SafetensorError, safe_open

        width = int(model.config.get_text_config().hidden_size)
        if info.d_in != width:
            raise SignalError(
                f"The SAE {info.folder} reads hidden states of width {info.d_in}, but the model "
                f"'{model.name_or_path}' has width {width}: use the SAE trained for this model, or train one with "
                "`autoselection sae train`."
            )
        self.info = info
        self.max_features = min(max_features, info.num_latents)
        self.hookpoint = layer_hookpoint(model, layer) if layer is not None or not info.hookpoint else info.hookpoint
        try:
            model.base_model.get_submodule(self.hookpoint)
        except AttributeError as error:
            raise SignalError(
                f"The SAE {info.folder} was trained on '{self.hookpoint}', which the model '{model.name_or_path}' "
                "does not have; set signals.options.sae.layer."
            ) from error
        path = info.folder / "sae.safetensors"
        device = str(model.device)
        try:
            with safe_open(str(path), framework="pt", device="cpu") as weights:
                self.weight = weights.get_tensor("encoder.weight").float().to(device)
                self.bias = weights.get_tensor("encoder.bias").float().to(device)
                self.b_dec = weights.get_tensor("b_dec").float().to(device)
        except (SafetensorError, OSError) as error:
            raise SignalError(f"{path} cannot be read: {error}.") from error
        shapes = {
            "encoder.weight": (self.weight, (info.num_latents, info.d_in)),
            "encoder.bias": (self.bias, (info.num_latents,)),
            "b_dec": (self.b_dec, (info.d_in,)),
        }
        for name, (tensor, expected) in shapes.items():
            if tuple(tensor.shape) != expected:
                raise SignalError(f"{path}: {name} has shape {tuple(tensor.shape)}, cfg.json says {expected}.")

    def encode(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Activations and indices of the k active features of each state: [M, d_in] → two [M, k]."""
        import torch

        active = torch.relu(torch.nn.functional.linear(states.float() - self.b_dec, self.weight, self.bias))
        if self.info.activation == "topk":
            values, indices = active.topk(self.info.k, dim=-1, sorted=False)
            return values, indices
        group = self.info.num_latents // self.info.k
        values, indices = active.view(len(active), self.info.k, group).max(dim=-1)
        return values, indices + torch.arange(0, self.info.num_latents, group, device=indices.device)

    def mean(self, texts: Sequence[FeatureSums]) -> SparseVector:
        """The features of a row from the sums over its texts (most have one): means over all tokens, the largest kept."""
        if not texts:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        indices, sums = texts[0][:2]
        if len(texts) > 1:
            indices, place = np.unique(np.concatenate([text[0] for text in texts]), return_inverse=True)
            sums = np.bincount(place, weights=np.concatenate([text[1] for text in texts])).astype(np.float32)
        if len(sums) > self.max_features:
            kept = np.sort(np.argpartition(-sums, self.max_features - 1)[: self.max_features])
            indices, sums = indices[kept], sums[kept]
        return indices, sums / np.float32(sum(text[2] for text in texts))

    def read(self, states: Tensor, mask: Tensor, texts: Sequence[PassText]) -> list[TextFeatures]:
        """The features of each text of a pass."""
        return self.sum_features(states, [len(text.ids) for text in texts])

    def sum_features(self, states: Tensor, lengths: Sequence[int]) -> list[TextFeatures]:
        """Sums of the features over the tokens of each right-padded sequence, [B, L, d_in]; a GPU is not waited for.

        Attention sinks are left out (:func:`sinks`): their features are the same in all rows and would outweigh all others,
        so that relevance would be a matter of length.
        """
        import torch

        from autoselection.language.packed import on_device

        width, device = self.info.num_latents, states.device
        sizes = np.asarray(lengths, np.int64)
        ends = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        places = np.nonzero(np.arange(states.shape[1]) < sizes[:, None])
        length, row, position = on_device([sizes, *places], device)
        sunk = sinks(states, torch.arange(states.shape[1], device=device) < length[:, None])[0]
        tokens = length - sunk.sum(1)
        found: list[TextFeatures] = []
        at_once = max(1, _BLOCK // width)  # sequences whose sums, and tokens whose activations, are held together
        for start in range(0, len(sizes), at_once):
            block = sizes[start : start + at_once]
            last = ends[start + len(block)]
            sums = torch.zeros(len(block) * width, device=device)
            for first in range(ends[start], last, at_once):
                part = slice(first, min(first + at_once, last))
                values, indices = self.encode(states[row[part], position[part]])
                values = values.masked_fill(sunk[row[part], position[part], None], 0)
                sums.index_add_(0, ((row[part, None] - start) * width + indices).flatten(), values.flatten())
            most = int(np.minimum(block * self.info.k, width).sum())
            made = _Found(sums, tokens[start : start + len(block)], width, most)
            found += [TextFeatures(made, place) for place in range(len(block))]
        return found


def sinks(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Attention sinks of each sequence, and a position that is none.

    Language models give some tokens, mostly the first, a state of enormous length that hardly depends on the text (Sun et
    al. 2024, "Massive Activations in Large Language Models").

    Args:
        states: hidden states, [B, L, d].
        mask: real tokens, [B, L].

    Returns:
        Bool [B, L], and int [B]: the position whose state has the median length.
    """
    import torch

    lengths = torch.linalg.vector_norm(states, dim=-1, dtype=torch.float32)
    median = lengths.masked_fill(~mask.bool(), torch.nan).nanmedian(dim=1)
    return mask.bool() & (lengths > SINK_RATIO * median.values[:, None]), median.indices


def stored_values(
    values: NDArray[np.float32], counts: NDArray[np.int64], kind: SaeValues
) -> tuple[dict[str, NDArray[Any]], int]:
    """Activations as they are stored, and in how many rows some do not fit.

    - float32: as they are.
    - float16: relative error 2⁻¹¹ from 6.1e-5 on (below, absolute error 3e-8). What is outside [6e-8, 65504] becomes the
      nearest bound.
    - uint8: a row's values are multiples of ``scale``, a 255th of its largest (absolute error half of that). What rounds
      to 0 becomes 1, so that an active feature stays active.
    """
    row = np.repeat(np.arange(len(counts)), counts)
    if kind == "float16":
        tiny, largest = float(np.finfo(np.float16).smallest_subnormal), float(np.finfo(np.float16).max)
        clipped = np.unique(row[(values < tiny) | (values > largest)])
        return {"values": np.clip(values, tiny, largest).astype(np.float16)}, len(clipped)
    if kind == "uint8":
        scale = np.zeros(len(counts), np.float32)
        np.maximum.at(scale, row, values / np.float32(255))
        raised = np.unique(row[values < scale[row] / 2])
        quantized = np.clip(np.rint(values / scale[row]), 1, 255).astype(np.uint8)
        return {"values": quantized, "scale": scale}, len(raised)
    return {"values": values}, 0


def sparse_shard(rows: Sequence[SparseVector], stats: dict[str, int], kind: SaeValues = "float32") -> Shard:
    """Join sparse vectors into a shard; ``kind`` is how their values are stored."""
    counts = np.asarray([len(indices) for indices, _ in rows], np.int64)
    indices = np.concatenate([np.zeros(0, np.int32), *(indices for indices, _ in rows)])
    values = np.concatenate([np.zeros(0, np.float32), *(values for _, values in rows)])
    stored, clipped = stored_values(values, counts, kind)
    stats = stats if kind == "float32" else {**stats, "values_clipped": clipped}
    return Shard({"counts": counts, "indices": indices, **stored}, stats)


def sae_info(inputs: Inputs) -> SaeInfo:
    """What the checkpoint says of itself; read once."""
    assert inputs.sae is not None
    path = inputs.sae
    return inputs.keep("sae info", lambda: read_sae_info(path))


#: The sparse autoencoder.
SAE = Need(
    "no SAE was given",
    demand("SAE folder", "--sae"),
    lambda inputs: inputs.sae is not None,
    "--sae SAE",
    model=lambda inputs: sae_fingerprint(sae_info(inputs)),
)


class SaeOptions(StrictModel):
    """Options of ``sae``."""

    layer: int | None = Field(
        None,
        description="Layer whose output the SAE reads (0 is the first; negative counts from the end). null: as the "
        "checkpoint says, else the last but one.",
    )
    max_features: int = Field(256, ge=1, description="Features kept a row (count).")
    values: SaeValues = Field(
        "float16",
        description="How the features' values are stored: float16, uint8 (255 steps up to the row's largest), float32.",
    )


class SaeFeatures(PassSignal):
    """The mean activations of an SAE over each row, the largest kept."""

    name = "sae"
    version = 4
    sparse = True
    options_model = SaeOptions
    needs = (BASE_MODEL, SAE)
    title = "SAE features"
    asked_as: ClassVar[Mapping[str, tuple[str, ...]]] = {"sae": ("sae",)}

    _encoder: SparseEncoder | None = None
    _info: SaeInfo

    @classmethod
    def instances(cls, options: Any, inputs: Inputs) -> Sequence[SaeFeatures]:
        def make() -> SaeFeatures:
            made = cls(options)
            made._info = sae_info(inputs)
            return made

        return [inputs.keep(cls, make, SAE)]

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        info, options = self._info, self.options
        params = {
            **inputs.pass_params(inputs.base_model),
            **({"turns": "each"} if inputs.settings.turns == "each" else {}),  # else all tokens of a row count
            "max_features": options.max_features,
            "values": options.values,
            "d": info.num_latents,
            "k": info.k,
            "layer": options.layer if options.layer is not None else info.hookpoint,
        }
        model = f"{inputs.model_fingerprint}+{sae_fingerprint(info)}"
        return SignalSpec(self.name, self.version, params, model=model, sparse=True)

    def state_reader(self, model: PreTrainedModel) -> StateReader:
        return self._encoder_of(model)

    def _encoder_of(self, model: PreTrainedModel) -> SparseEncoder:
        if self._encoder is None:
            options = self.options
            self._encoder = SparseEncoder(self._info, model, layer=options.layer, max_features=options.max_features)
        return self._encoder

    def release(self) -> None:
        self._encoder = None

    def finish(self, found: PassResult) -> Shard:
        assert self._encoder is not None
        rows = [self._encoder.mean([text.fetched() for text in texts]) for texts in found.states[self.name]]
        return sparse_shard(rows, dict(found.counts), self.options.values)

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        return Loaded(arrays={"sae": stored.sparse()})
