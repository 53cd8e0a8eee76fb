"""Sentence embeddings of rows, by any sentence-transformers model or static (model2vec) embedding.

Only weights in safetensors format are read, and code shipped with a model runs only if the caller trusts it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.conversation import Message, turn_text
from autoselection.errors import MissingExtraError, SignalError
from autoselection.language.models import files_fingerprint, load_errors, one_line, pick_device
from autoselection.schema import StrictModel
from autoselection.signals.arrays import unit_rows
from autoselection.signals.contract import Loaded, Rows, Signal, prompt_of, response_of
from autoselection.signals.inputs import Inputs
from autoselection.signals.needs import Need, demand
from autoselection.signals.stored import Shard, StoredSignal
from autoselection.system import expanded

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

EmbeddingText = Literal["prompt", "response", "both"]

_TEXT_OF: Mapping[str, Callable[[Sequence[Message]], str]] = {
    "prompt": prompt_of,
    "response": response_of,
    "both": lambda messages: "\n".join(map(turn_text, messages)),
}
#: Files that decide what a model computes. Its other files (ONNX and the like) are neither fetched nor hashed.
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.py")
_OTHER_BACKENDS = ("onnx/*", "openvino/*")


class EmbeddingOptions(StrictModel):
    """Options of ``embeddings``."""

    model: str | None = Field(
        None,
        description="Folder or hub id of a sentence-transformers or static (model2vec) model; null: no embeddings.",
    )
    text: EmbeddingText = Field(
        "both", description="What is embedded: prompt (all turns but the assistant's), response, or both."
    )
    batch: int = Field(64, ge=1, description="Texts a forward pass of the model (count).")


def _folder(inputs: Inputs) -> Path:
    return inputs.keep("embedding folder", lambda: embedding_folder(str(inputs.option("embeddings", "model"))))


#: The model of sentence embeddings.
EMBEDDING_MODEL = Need(
    "no embedding model was given (signals.embedding_model)",
    demand("sentence embedding model", "--embedding-model"),
    lambda inputs: inputs.option("embeddings", "model") is not None,
    "--embedding-model MODEL",
    model=lambda inputs: embedding_fingerprint(_folder(inputs)),
)


class Embeddings(Signal):
    """One unit vector a row, float16. A row whose text is empty, or without direction, is NaN and counted."""

    name = "embeddings"
    arrays = ("embeddings",)
    options_model = EmbeddingOptions
    needs = (EMBEDDING_MODEL,)
    shard_rows = 2048
    cost = 2

    @property
    def params(self) -> Mapping[str, Any]:
        return {"text": self.options.text}

    def compute(self, rows: Rows) -> Shard:
        vectors, stats = embed_messages(rows.messages, rows.inputs)
        return Shard({"embeddings": vectors}, stats)

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        return Loaded(arrays={"embeddings": stored.arrays["embeddings"]})


def embed_messages(rows: Sequence[Sequence[Message]], inputs: Inputs) -> tuple[NDArray[np.float16], dict[str, int]]:
    """Unit vectors of conversations, float16[len(rows), width], and counts of those that have none or were cut."""
    options = EmbeddingOptions(**inputs.options["embeddings"])
    folder = _folder(inputs)
    settings = inputs.settings
    model = inputs.keep(
        "embedder", lambda: load_embedder(folder, settings.device, inputs.trust_remote_code), EMBEDDING_MODEL
    )
    texts = [_TEXT_OF[options.text](messages) for messages in rows]
    filled = [i for i, text in enumerate(texts) if text.strip()]
    chosen = [texts[i] for i in filled]
    vectors = np.full((len(rows), int(model.get_embedding_dimension() or 0)), np.nan, np.float32)
    if filled:
        found = model.encode(chosen, batch_size=options.batch, show_progress_bar=False, convert_to_numpy=True)
        vectors[filled] = unit_rows(found.astype(np.float32))
    no_direction = int(np.isnan(vectors[filled]).any(axis=1).sum())
    stats = {"empty": len(rows) - len(filled), "truncated": _truncated(chosen, model), "no_direction": no_direction}
    return vectors.astype(np.float16), stats


def _truncated(texts: Sequence[str], model: SentenceTransformer) -> int:
    """Texts of which the model sees only the beginning."""
    limit = model.max_seq_length
    if limit is None or math.isinf(limit):
        return 0
    # No tokenizer makes more tokens than there are bytes, its two end marks aside.
    long = [text for text in texts if len(text.encode("utf-8", "surrogatepass")) + 2 > limit]
    if not long:
        return 0
    tokens = model.tokenizer(long, truncation=False, padding=False, verbose=False)["input_ids"]
    return sum(len(ids) > limit for ids in tokens)


def embedding_folder(model: str) -> Path:
    """The local folder of an embedding model: the path itself, or the hub's snapshot (fetched if need be).

    Raises:
        SignalError: there is no such folder or hub model, or its weights are not in safetensors format.
        MissingExtraError: sentence-transformers is not installed.
    """
    _require()
    folder = expanded(model)
    if not folder.is_dir():
        folder = _fetch(model)
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise SignalError(
            f"The embedding model {folder} has neither modules.json nor config.json: name a folder saved by "
            "sentence-transformers or model2vec (signals.embedding_model)."
        )
    if not any(folder.rglob("*.safetensors")):
        raise SignalError(
            f"The embedding model {folder} has no weights in safetensors format, and others can run code when they "
            "are read: save it again with sentence-transformers."
        )
    for pickled in folder.rglob("pytorch_model.bin"):
        if not any(pickled.parent.glob("*.safetensors")):
            raise SignalError(f"The weights {pickled} are not in safetensors format: save the model again.")
    return folder


def _fetch(name: str) -> Path:
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise SignalError(
            f"There is no embedding model {name}: name a local folder or a hub id such as 'owner/name' "
            "(signals.embedding_model)."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES), ignore_patterns=list(_OTHER_BACKENDS)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SignalError(
            f"The embedding model '{name}' is neither a local folder nor available from the hub: {reason}"
        ) from error


def embedding_fingerprint(folder: Path) -> str:
    """32 hex digits that identify the model's modules, settings, weights and tokenizer."""
    others = {"onnx", "openvino"}
    files = {path for pattern in _FILES for path in folder.rglob(pattern) if path.is_file()}
    return files_fingerprint(sorted(path for path in files if not others & set(path.relative_to(folder).parts)))


def load_embedder(folder: Path, device: str = "auto", trust_remote_code: bool = False) -> SentenceTransformer:
    """Load an embedding model onto a device.

    Raises:
        SignalError: the library cannot load it.
        MissingExtraError: sentence-transformers is not installed.
    """
    _require()
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers.utils import logging

    place = pick_device(device)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar a model is noise beside our own
    try:
        if _is_model2vec(folder):
            return SentenceTransformer(modules=[StaticEmbedding.load(str(folder))], device=place)
        return SentenceTransformer(
            str(folder),
            device=place,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except load_errors() as error:
        raise SignalError(f"The embedding model {folder} cannot be loaded: {one_line(error)}") from error
    finally:
        if bars:
            logging.enable_progress_bar()


def _is_model2vec(folder: Path) -> bool:
    """A folder as model2vec writes it: static embeddings, with or without the library's list of modules."""
    if (folder / "modules.json").is_file():
        return False
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(config, dict) and config.get("model_type") == "model2vec"


def _require() -> None:
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "embed", "The signal 'embeddings'") from error
