"""SAE features of rows, and MONA: how much of a task's features a row shares.

Checkpoints are those of EleutherAI's ``sparsify``: a folder with ``cfg.json`` and ``sae.safetensors``. They are read and
applied here in plain PyTorch (top-k of ``relu(W (h − b_dec) + b_enc)``); only training needs the library.

Features of a row = activations averaged over the row's real tokens, the ``max_features`` largest kept.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.chat import ConversationEncoder
from autoselection.errors import MissingExtraError, SignalError
from autoselection.models import files_fingerprint, load_model, load_tokenizer
from autoselection.signals.table import SparseRows

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from autoselection.pool import Pool

_HOOKPOINT = re.compile(r"^[A-Za-z_]+\.\d+(\.[A-Za-z_.]+)?$")

#: Largest block of activations held at once, in numbers (64 MB in float32).
_BLOCK = 1 << 24


@dataclass(frozen=True)
class SaeInfo:
    """What a checkpoint says of itself.

    Attributes:
        d_in: width of the hidden states it reads.
        num_latents: number of features.
        k: active features a token.
        hookpoint: module it reads (a name below the base model, such as ``layers.14``); None if not told.
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
    folder = Path(path).expanduser()
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
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
        d_in, k = int(config["d_in"]), int(config["k"])
        num_latents = int(config.get("num_latents") or 0) or d_in * int(config["expansion_factor"])
    except (ValueError, KeyError, TypeError) as error:
        raise SignalError(f"{folder / 'cfg.json'} is not a sparsify configuration ({error!r}).") from error
    activation = str(config.get("activation", "topk"))
    if config.get("transcode"):
        raise SignalError(f"The SAE {folder} is a transcoder; AutoSelection needs an autoencoder of hidden states.")
    if activation not in ("topk", "groupmax"):
        raise SignalError(f"The SAE {folder} has the activation '{activation}'; known: topk, groupmax.")
    if not 1 <= k <= num_latents or (activation == "groupmax" and num_latents % k):
        raise SignalError(f"The SAE {folder} has k = {k} of {num_latents} features, which does not fit '{activation}'.")
    hookpoint = config.get("hookpoint") or (folder.name if _HOOKPOINT.match(folder.name) else None)
    return SaeInfo(folder, d_in, num_latents, k, activation, hookpoint)


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
        raise SignalError(f"signals.sae_layer: {layer} is out of range; the model has layers 0 to {count - 1}.")
    return f"{lists[0]}.{index}"


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
                "does not have; set signals.sae_layer."
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
        expected = (info.num_latents, info.d_in)
        if tuple(self.weight.shape) != expected:
            raise SignalError(f"{path}: encoder.weight has shape {tuple(self.weight.shape)}, cfg.json says {expected}.")

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

    def mean_features(self, states: Tensor, mask: Tensor) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Features of each sequence of a batch: [B, L, d_in] and its padding mask → B sparse vectors."""
        import torch

        width = self.info.num_latents
        lengths = mask.sum(1)
        found: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []
        rows_at_once = max(1, _BLOCK // width)
        tokens_at_once = max(1, _BLOCK // width)
        for start in range(0, len(states), rows_at_once):
            block = mask[start : start + rows_at_once].bool()
            row, position = block.nonzero(as_tuple=True)
            sums = torch.zeros(len(block) * width, device=states.device)
            for first in range(0, len(row), tokens_at_once):
                part = slice(first, first + tokens_at_once)
                values, indices = self.encode(states[start + row[part], position[part]])
                sums.index_add_(0, (row[part, None] * width + indices).flatten(), values.flatten())
            means = sums.view(len(block), width) / lengths[start : start + rows_at_once, None].clamp_min(1)
            top, index = means.topk(self.max_features, dim=-1)
            for kept, where in zip(top.cpu().numpy(), index.cpu().numpy(), strict=True):
                positive = kept > 0
                order = np.argsort(where[positive], kind="stable")
                found.append((where[positive][order].astype(np.int32), kept[positive][order].astype(np.float32)))
        return found


def task_vector(features: SparseRows) -> NDArray[np.float64]:
    """Mean feature vector of a task's target samples, dense float64[d]."""
    total = np.bincount(features.indices, weights=features.values.astype(np.float64), minlength=features.d)
    mean: NDArray[np.float64] = total / max(1, len(features))
    return mean


def mona_scores(features: SparseRows, target: NDArray[np.float64], rows: range | None = None) -> NDArray[np.float32]:
    """Generalized Jaccard similarity of each row with a task vector: ``Σ min(a, v) / Σ max(a, v)``.

    Only a row's active dimensions are touched: since min + max = a + v, ``Σ max = Σ a + Σ v − Σ min`` and
    ``Σ min`` runs over the active dimensions. A row without features is NaN.
    """
    rows = range(len(features)) if rows is None else rows
    bounds = np.asarray(features.indptr[rows.start : rows.stop + 1])
    span = slice(int(bounds[0]), int(bounds[-1]))
    values = np.asarray(features.values[span], np.float64)
    row = np.repeat(np.arange(len(rows)), np.diff(bounds))
    shared = np.bincount(row, weights=np.minimum(values, target[features.indices[span]]), minlength=len(rows))
    own = np.bincount(row, weights=values, minlength=len(rows))
    scores = np.full(len(rows), np.nan)
    np.divide(shared, own + target.sum() - shared, out=scores, where=np.diff(bounds) > 0)
    return scores.astype(np.float32)


@dataclass(frozen=True)
class SaeTraining:
    """What ``train_sae`` did.

    Attributes:
        fvu: share of the variance of held-out hidden states that the SAE leaves unexplained.
        dead: share of features never active on the held-out states.
    """

    folder: str
    hookpoint: str
    d_in: int
    num_latents: int
    k: int
    tokens: int
    steps: int
    fvu: float
    dead: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def train_sae(
    pool: Pool,
    model: Path | str,
    out: Path,
    *,
    num_latents: int | None = None,
    expansion_factor: int = 32,
    k: int = 32,
    layer: int | None = None,
    max_tokens: int = 1_000_000,
    context: int = 128,
    batch_size: int = 8,
    learning_rate: float | None = None,
    seed: int = 0,
    chat_template: str | None = None,
    trust_remote_code: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    overwrite: bool = False,
) -> SaeTraining:
    """Train a k-sparse autoencoder on the pool with ``sparsify``'s own trainer, eagerly and offline.

    The pool's conversations are rendered with the chat template, shuffled by ``seed`` and packed into contexts without
    padding; the pool is repeated (shuffled anew) until ``max_tokens`` are reached. One more batch is held out to measure
    the result. The checkpoint is ``out/cfg.json`` (with the hookpoint added) and ``out/sae.safetensors``.

    Args:
        num_latents: number of features; None: ``expansion_factor`` times the model's width.
        k: active features a token.
        layer: layer read; None: the last but one.
        max_tokens: training tokens, rounded down to whole batches (at least one).
        context: tokens a sequence.
        batch_size: sequences a step.
        learning_rate: None: sparsify's rule, ``0.005 / sqrt(num_latents / 16384)``, but at most 0.005: above it a third
            of the features of a narrow SAE died.
        overwrite: replace a checkpoint that is already in ``out``.

    Raises:
        MissingExtraError: sparsify is not installed.
        SignalError: ``out`` holds a checkpoint, the pool is too small for one batch, or the training diverged.
    """
    started = time.monotonic()
    out = Path(out)
    if (out / "sae.safetensors").exists() and not overwrite:
        raise SignalError(f"{out} already holds an SAE: name another folder, or delete it first.")
    os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
    with _quiet():
        try:
            from sparsify import SparseCoder, SparseCoderConfig, TrainConfig, Trainer
        except ImportError as error:
            raise MissingExtraError("eai-sparsify", "sae", "Training an SAE") from error
    import torch

    with torch.random.fork_rng():
        tokenizer = load_tokenizer(model, chat_template, trust_remote_code)
        network = load_model(model, device, dtype, trust_remote_code=trust_remote_code)
        hookpoint = layer_hookpoint(network, layer)
        network = _up_to(network, hookpoint)
        width = int(network.config.get_text_config().hidden_size)
        features = num_latents or expansion_factor * width
        if not 1 <= k <= features:
            raise SignalError(f"k = {k} active features do not fit into {features} features.")
        steps = max(1, max_tokens // (context * batch_size))
        encoder = ConversationEncoder(tokenizer, max_length=1 << 30)
        sequences = _packed(pool, encoder, context, (steps + 1) * batch_size, seed)
        held_out, sequences = sequences[:batch_size], sequences[batch_size:]
        config = TrainConfig(
            SparseCoderConfig(num_latents=features, expansion_factor=expansion_factor, k=k),
            batch_size=batch_size,
            lr=learning_rate or 5e-3 / max(1.0, (features / 2**14) ** 0.5),
            hookpoints=[hookpoint],
            init_seeds=[seed],
            save_every=1 << 40,
            log_to_wandb=False,
            run_name="sae",
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        precision = torch.get_float32_matmul_precision()
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".sae-") as work:
            config.save_dir = work
            try:
                with _quiet():
                    Trainer(config, [{"input_ids": row} for row in sequences], network).fit()
            finally:
                torch.set_float32_matmul_precision(precision)
            trained = Path(work) / "sae" / hookpoint
            coder = SparseCoder.load_from_disk(trained, device=str(network.device))
            fvu, dead = _quality(network, coder, hookpoint, held_out)
            if not np.isfinite(fvu):
                raise SignalError("The SAE training diverged (not a number): lower the learning rate.")
            document = json.loads((trained / "cfg.json").read_text(encoding="utf-8"))
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(trained / "sae.safetensors", out / ".sae.safetensors")
            (out / ".sae.safetensors").replace(out / "sae.safetensors")
            text = json.dumps({**document, "hookpoint": hookpoint}, indent=1)
            (out / "cfg.json").write_text(text + "\n", encoding="utf-8")
        tokens = steps * batch_size * context
        seconds = time.monotonic() - started
        return SaeTraining(str(out), hookpoint, width, features, k, tokens, steps, fvu, dead, seconds)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what sparsify prints (stdout is for results); its progress bar stays where somebody can watch it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as stack:
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


def _up_to(network: PreTrainedModel, hookpoint: str) -> PreTrainedModel:
    """The model without its head and without the layers above ``hookpoint``: nothing reads what they compute."""
    trunk: PreTrainedModel = network.base_model
    parent, _, index = hookpoint.rpartition(".")
    if index.isdigit():
        layers = trunk.get_submodule(parent)
        del layers[int(index) + 1 :]
    return trunk


def _packed(pool: Pool, encoder: ConversationEncoder, context: int, count: int, seed: int) -> Tensor:
    """``count`` sequences of ``context`` tokens, packed from shuffled conversations; the pool repeats as needed."""
    import torch

    need = count * context
    pieces: list[NDArray[np.int64]] = []
    have = 0
    for tokens in _token_stream(pool, encoder, seed):
        pieces.append(np.asarray(tokens, np.int64))
        have += len(tokens)
        if have >= need:
            break
    else:
        raise SignalError("The pool holds no text that the chat template can render: no SAE can be trained on it.")
    return torch.from_numpy(np.concatenate(pieces)[:need]).view(count, context)


def _token_stream(pool: Pool, encoder: ConversationEncoder, seed: int) -> Iterator[list[int]]:
    epoch = 0
    while True:
        found = 0
        order = np.random.default_rng([seed, epoch]).permutation(len(pool))
        for start in range(0, len(order), 1024):
            rows: Sequence[int] = order[start : start + 1024].tolist()
            for encoded in encoder.encode_batch(pool.messages(rows)):
                if encoded is not None and encoded.input_ids:
                    found += len(encoded.input_ids)
                    yield encoded.input_ids
        if not found:
            return
        epoch += 1


def _quality(model: PreTrainedModel, coder: Any, hookpoint: str, sequences: Tensor) -> tuple[float, float]:
    """Unexplained variance and share of silent features on the given sequences."""
    import torch

    from autoselection.signals.lm import capture

    with torch.inference_mode(), capture(model, hookpoint) as captured:
        model.base_model(input_ids=sequences.to(model.device), use_cache=False)
        states = captured["states"].flatten(0, 1).float()
        output = coder(states)
    active = torch.zeros(coder.num_latents, dtype=torch.bool, device=states.device)
    active[output.latent_indices[output.latent_acts > 0]] = True
    return float(output.fvu), 1.0 - float(active.float().mean())
