"""Train a small k-sparse autoencoder on the pool with EleutherAI's ``sparsify``, eagerly and offline."""

from __future__ import annotations

import contextlib
import io
import json
import os
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

from autoselection.errors import MissingExtraError, SignalError
from autoselection.files import together, whole_file, write_text
from autoselection.language.chat import ChatOptions, ConversationEncoder
from autoselection.language.models import load_model, load_tokenizer
from autoselection.signals.families.sae import layer_hookpoint, sinks
from autoselection.signals.model_pass import capture

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from autoselection.pool import Pool


#: At most this share of the rows is held out to measure the result.
_HELD_OUT = 0.2


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
    chat_template: str | ChatOptions | None = None,
    trust_remote_code: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    overwrite: bool = False,
) -> SaeTraining:
    """Train a k-sparse autoencoder on the pool with ``sparsify``'s own trainer, eagerly and offline.

    The pool's conversations are rendered with the chat template, shuffled by ``seed`` and packed into contexts without
    padding; the pool is repeated (shuffled again) until ``max_tokens`` are reached. One more batch, of rows that are not
    trained on, is held out to measure the result (at most a fifth of the rows). States of attention sinks are left out. The checkpoint is ``out/cfg.json`` (with the hookpoint added) and ``out/sae.safetensors``.

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
        SignalError: a number is too small, ``out`` holds a checkpoint, the pool has too few rows, or the training diverged.
    """
    started = time.monotonic()
    # Of two tokens on, because the state of an attention sink is replaced by that of another token of its sequence.
    for name, value, least in (
        ("num_latents", num_latents, 1),
        ("expansion_factor", expansion_factor, 1),
        ("k", k, 1),
        ("max_tokens", max_tokens, 1),
        ("batch_size", batch_size, 1),
        ("context", context, 2),
    ):
        if value is not None and value < least:
            raise SignalError(f"Training an SAE: {name} must be at least {least}, not {value}.")
    out = Path(out)
    if (out / "sae.safetensors").exists() and not overwrite:
        raise SignalError(f"{out} already holds an SAE: name another folder, or pass --overwrite.")
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
        held_out, sequences = _packed(pool, encoder, context, steps * batch_size, batch_size, seed)
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
            trained = Path(work) / "sae" / hookpoint
            with _without_sinks(network, hookpoint):
                try:
                    with _quiet():
                        Trainer(config, [{"input_ids": row} for row in sequences], network).fit()
                finally:
                    torch.set_float32_matmul_precision(precision)
                coder = SparseCoder.load_from_disk(trained, device=str(network.device))
                fvu, dead = _quality(network, coder, hookpoint, held_out)
            if not np.isfinite(fvu):
                raise SignalError("The SAE training diverged (not a number): lower the learning rate.")
            document = json.loads((trained / "cfg.json").read_text(encoding="utf-8"))
            out.mkdir(parents=True, exist_ok=True)
            with together():
                with (
                    (trained / "sae.safetensors").open("rb") as weights,
                    whole_file(out / "sae.safetensors", "wb") as copy,
                ):
                    shutil.copyfileobj(weights, copy)
                write_text(out / "cfg.json", json.dumps({**document, "hookpoint": hookpoint}, indent=1) + "\n")
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


@contextlib.contextmanager
def _without_sinks(network: PreTrainedModel, hookpoint: str) -> Iterator[None]:
    """Inside, the state of an attention sink is that of another token of its sequence; nothing above reads it.

    A few of them would make up nearly all of the variance that the SAE is to explain.
    """
    import torch

    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        found, other = sinks(states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device))
        replaced = torch.where(found[..., None], states[torch.arange(len(states)), other][:, None], states)
        return (replaced, *output[1:]) if isinstance(output, tuple) else replaced

    handle = network.get_submodule(hookpoint).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _packed(
    pool: Pool, encoder: ConversationEncoder, context: int, count: int, held_out: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Sequences of ``context`` tokens of shuffled conversations: ``held_out`` to measure by, and ``count`` to train on.

    Rows that are held out are not trained on, however often the pool repeats. They are at most a fifth of the rows (and at
    least one): of a small pool fewer sequences are held out, or a shorter one.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(pool))
    most = max(1, int(_HELD_OUT * len(pool)))
    held: list[NDArray[np.int64]] = []
    have = used = 0
    for used, tokens in enumerate(_encoded(pool, encoder, order), 1):
        held.append(tokens)
        have += len(tokens)
        if have >= held_out * context or (have and used >= most):
            break
    length = max(1, min(context, have))
    measured = _cut(held, max(1, min(held_out, have // length)), length) if have else None

    pieces: list[NDArray[np.int64]] = []
    have = epoch = 0
    kept, rest = np.isin(np.arange(len(pool)), order[:used], invert=True), order[used:]
    while have < count * context and measured is not None:
        before = have
        for tokens in _encoded(pool, encoder, rest):
            pieces.append(tokens)
            have += len(tokens)
            if have >= count * context:
                break
        if have == before:
            break
        epoch += 1
        rest = np.random.default_rng([seed, epoch]).permutation(len(pool))
        rest = rest[kept[rest]]
    if measured is None or have < count * context:
        raise SignalError(
            "The pool holds too little text that the chat template can render, one row to measure by and others to train "
            "on: no SAE can be trained on it."
        )
    return measured, _cut(pieces, count, context)


def _cut(pieces: Sequence[NDArray[np.int64]], count: int, length: int) -> Tensor:
    """The first tokens as int64[count, length]."""
    import torch

    return torch.from_numpy(np.concatenate(pieces)[: count * length]).view(count, length)


def _encoded(pool: Pool, encoder: ConversationEncoder, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The tokens of rows, in order; of a row that the template refuses, none."""
    for start in range(0, len(rows), 1024):
        for encoded in encoder.encode_batch(pool.conversations(rows[start : start + 1024].tolist())):
            yield np.asarray([] if encoded is None else encoded.input_ids, np.int64)


def _quality(model: PreTrainedModel, coder: Any, hookpoint: str, sequences: Tensor) -> tuple[float, float]:
    """Unexplained variance and share of silent features on the given sequences."""
    import torch

    with torch.inference_mode(), capture(model, {hookpoint}) as captured:
        model.base_model(input_ids=sequences.to(model.device), use_cache=False)
        states = captured[hookpoint].flatten(0, 1).float()
        output = coder(states)
    active = torch.zeros(coder.num_latents, dtype=torch.bool, device=states.device)
    active[output.latent_indices[output.latent_acts > 0]] = True
    return float(output.fvu), 1.0 - float(active.float().mean())
