"""The one place where tokenizers and language models are loaded.

``path`` is a local folder or a hub id. Hub ids go through the hub's own cache, so ``HF_HUB_OFFLINE=1`` works once a
model was fetched. Every failure of the libraries becomes an ``EvaluationError`` of one sentence.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autoselection.errors import EvaluationError, MissingExtraError
from autoselection.language.chat.options import ChatOptions
from autoselection.system import expanded, machine_error
from autoselection.wording import kind_of, suggestion

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DType = Literal["auto", "float32", "bfloat16", "float16"]

# Names under which vocabularies reserve a padding token; looked up, never added (the embedding matrix stays as it is).
_PAD_NAMES = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|padding|>", "<unused0>")

_MODEL_FILES = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "chat_template.json",
)
#: Files of which a tokenizer has at least one.
_VOCABULARIES = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "tekken.json")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
#: Settings that must be whole numbers above 0 where a model has them.
_COUNTS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
           "intermediate_size", "head_dim", "max_position_embeddings")  # fmt: skip
#: Beyond any model: the libraries would make lists of as many layers, or tables of as many rows, before they see the weights.
_MOST_LAYERS, _MOST_OF_A_SIZE = 10_000, 100_000_000
#: Further files of tokenizers by which studies know theirs.
_MORE_TOKENIZER_FILES = (
    "spiece.model",
    "sentencepiece.bpe.model",
    "*.tiktoken",
    "additional_chat_templates/*.jinja",
)
#: Further files that hold a vocabulary where there is no ``tokenizer.json``, or where code of the model's own reads them.
_OTHER_VOCABULARIES = ("*.model", "*.spm", "*.tiktoken", "*vocab*", "*.bpe", "bpe.codes", "dict.txt")
#: The vocabulary that transformers prefers to ``tokenizer.json`` where mistral-common is installed.
_TEKKEN = "tekken.json"
#: What is fetched of a model on the hub: whatever its tokenizer, and code of its own, may read.
_FETCHED = (*_MODEL_FILES, *_TOKENIZER_FILES, *_MORE_TOKENIZER_FILES, *_OTHER_VOCABULARIES, _TEKKEN, "*.py")
_WHOLE_FILE = 64 << 20
_SAMPLE = 64 << 10
_SAMPLES = 256


def _require(purpose: str) -> None:
    """Fail with the install hint if torch or transformers is missing."""
    for package in ("torch", "transformers"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError(package, "train", purpose) from error


def load_errors() -> tuple[type[BaseException], ...]:
    """What the libraries raise where a folder's files are damaged, odd or of another kind."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    wrong = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, AssertionError)
    return (*wrong, ImportError, RuntimeError, SafetensorError, StrictDataclassError)


class LoadFailure(EvaluationError):
    """The machine gave out (memory, disk, file handles) while something was loaded that may be as it should."""


def cannot_load(sentence: str, error: BaseException, files: Iterable[Path] = ()) -> EvaluationError:
    """What to raise for a library's error: a :class:`LoadFailure` where it is the machine's.

    Args:
        files: what was to be opened; safetensors says of every file that it cannot open that it is not there.
    """
    if machine_error(error) is None and isinstance(error, FileNotFoundError):
        error = _refusal(files) or error
    return (EvaluationError if machine_error(error) is None else LoadFailure)(sentence)


def _refusal(files: Iterable[Path]) -> OSError | None:
    """Why the system does not open one of the files; None if it does."""
    try:
        for file in files:
            file.open("rb").close()
    except OSError as error:
        return error
    return None


def one_line(error: BaseException) -> str:
    """A library's error as part of a sentence, up to 240 characters; bare values are shown with their kind."""
    text = " ".join(str(error).split())
    if isinstance(error, (KeyError, IndexError, TypeError, ArithmeticError, AssertionError)) or not text:
        text = f"{type(error).__name__} {text}".strip()
    return text if len(text) <= 240 else text[:237] + "…"


def pick_device(device: str = "auto") -> str:
    """Resolve ``auto`` to cuda, mps or cpu, in this order of preference.

    Raises:
        EvaluationError: the device asked for by name is not there.
    """
    _require("Running a language model")
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    kind = device.split(":")[0]
    if not available.get(kind, False):
        have = ", ".join(name for name, there in available.items() if there)
        raise EvaluationError(f"Device '{device}' is not available here (available: {have}); set device to 'auto'.")
    return device


def pick_dtype(device: str, dtype: str = "auto") -> torch.dtype:
    """Resolve ``auto``: bfloat16 on a CUDA device that computes in it, float32 everywhere else."""
    _require("Running a language model")
    import torch

    if dtype == "auto":
        bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if bf16 else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in known:
        raise EvaluationError(f"There is no dtype '{dtype}'{suggestion(dtype, [*known, 'auto'])}")
    return known[dtype]


def resolve_model(path: Path | str) -> Path:
    """The local folder of a model: the path itself, or the hub's cached snapshot (fetched if need be).

    Raises:
        EvaluationError: no such folder, and the hub has (or lets us fetch) no model of that name.
    """
    local = expanded(path)
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise EvaluationError(
                f"The folder {local} holds no config.json: name a folder saved by transformers' save_pretrained."
            )
        return local
    name = str(path)
    if local.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise EvaluationError(f"There is no model folder {name}: name a local folder or a hub id such as 'owner/name'.")
    _require("Fetching a model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FETCHED), ignore_patterns=list(_PICKLED)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise cannot_load(
            f"The model '{name}' is neither a local folder nor available from the hub: {one_line(error)}", error
        ) from error


def model_fingerprint(path: Path | str, *, code: bool = False) -> str:
    """32 hex digits that identify a model's configuration, weights and tokenizer, and with ``code`` its Python files.

    Cached signals hang on it, so a file that no version hashed before is hashed only where it decides what is loaded:
    vocabularies of other names where there is no ``tokenizer.json``, or where the model's own code may read them. Chat
    templates in folders of their own are in the keys of chat options.

    Files up to 64 MB are hashed whole; of larger weight files the size and 256 blocks of 64 KB spread evenly over the
    file (first and last block included) are hashed, so that a 15 GB model takes a moment.
    """
    folder = resolve_model(path)
    files = _matching(folder, (*_MODEL_FILES, "*.bin", *_TOKENIZER_FILES))
    read = code or not (folder / "tokenizer.json").is_file()
    more = (_TEKKEN, *(_OTHER_VOCABULARIES if read else ()), *(("*.py",) if code else ()))
    return files_fingerprint([*sorted(files), *sorted(_matching(folder, more) - files)])


def _matching(folder: Path, patterns: Sequence[str]) -> set[Path]:
    return {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}


def model_parts(path: Path | str, *, code: bool = False) -> dict[str, str]:
    """Fingerprints of a model's parts: ``model`` (configuration and weights), ``tokenizer``, and with ``code`` its Python
    files, as ``model code``. Large files are sampled as in :func:`model_fingerprint`.
    """
    folder = resolve_model(path)
    parts = {
        "model": (*_MODEL_FILES, "*.bin"),
        "tokenizer": (*_TOKENIZER_FILES, *_MORE_TOKENIZER_FILES),
        **({"model code": ("*.py",)} if code else {}),
    }
    return {name: files_fingerprint(sorted(_matching(folder, patterns))) for name, patterns in parts.items()}


def files_fingerprint(files: Sequence[Path]) -> str:
    """32 hex digits that identify files by name, size and content (sampled as in ``model_fingerprint``)."""
    return _fingerprint(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=64)
def _fingerprint(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file, size, _ in stamps:
        digest.update(f"{file.name}:{size}\0".encode())
        with file.open("rb") as stream:
            if size <= _WHOLE_FILE:
                digest.update(stream.read())
                continue
            for block in range(_SAMPLES):
                stream.seek((size - _SAMPLE) * block // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def load_tokenizer(
    path: Path | str, chat_template: str | Path | ChatOptions | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, ready for right-padded batches.

    A tokenizer without a padding token gets one that its vocabulary already holds: a reserved name such as ``<pad>``,
    else the unknown token, else the end-of-sequence token. The vocabulary never grows, so the model's embeddings need
    no resizing; with the last choice, code that masks padding must use the attention mask and not the token id.

    Args:
        path: model folder or hub id.
        chat_template: which template is put in the place of the tokenizer's own ones, see
            :class:`~autoselection.language.chat.ChatOptions`; encoders of this tokenizer heed the rest of the options.
        trust_remote_code: run Python code shipped with the model; off unless asked for.
    """
    _require("Tokenizing with a model's tokenizer")
    from transformers import AutoTokenizer

    options = ChatOptions.of(chat_template)
    folder = resolve_model(path)
    template = options.text(folder)
    _check_config(folder / "config.json")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=trust_remote_code
        )
    except load_errors() as error:
        damaged = machine_error(error) is None
        if damaged and not trust_remote_code and not any(file for name in _VOCABULARIES for file in folder.glob(name)):
            raise EvaluationError(
                f"The model folder {path} holds no tokenizer (no tokenizer.json, for example): copy the files of the "
                "tokenizer that the model was trained with into it."
            ) from error
        raise cannot_load(f"The tokenizer of '{path}' cannot be loaded: {one_line(error)}", error) from error
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.chat_options = options
    _fix_date(tokenizer, options)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        vocabulary = tokenizer.get_vocab()
        candidates = (*_PAD_NAMES, tokenizer.unk_token, tokenizer.eos_token)
        pad = next((token for token in candidates if token is not None and token in vocabulary), None)
        if pad is None:
            raise EvaluationError(
                f"The tokenizer of '{path}' has no padding, unknown or end-of-sequence token: set pad_token in its "
                "tokenizer_config.json."
            )
        tokenizer.pad_token = pad
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer of :func:`load_tokenizer` with the chat template that it came with or was given."""
    fixed = tokenizer.chat_template
    tokenizer.chat_template = getattr(tokenizer, "own_chat_template", fixed)
    try:
        tokenizer.save_pretrained(str(folder))
    finally:
        tokenizer.chat_template = fixed


def _fix_date(tokenizer: PreTrainedTokenizerBase, options: ChatOptions) -> None:
    """Let the templates tell one date for ever; one that cannot be read is refused where it is used."""
    from jinja2 import TemplateError

    from autoselection.language.chat.template import with_date

    own = tokenizer.own_chat_template = tokenizer.chat_template
    try:
        if isinstance(own, dict):
            tokenizer.chat_template = {name: with_date(text, options.date) for name, text in own.items()}
        elif own:
            tokenizer.chat_template = with_date(own, options.date)
    except (TemplateError, RecursionError):
        return


def load_model(
    path: Path | str,
    device: str = "auto",
    dtype: str = "auto",
    *,
    trust_remote_code: bool = False,
    attn_implementation: str | None = None,
) -> PreTrainedModel:
    """Load a causal language model onto a device, in evaluation mode.

    Args:
        path: model folder or hub id.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto (see ``pick_dtype``), float32, bfloat16 or float16.
        trust_remote_code: run Python code shipped with the model; off unless asked for.
        attn_implementation: passed on to transformers; its default if None.
    """
    _require("Running a language model")
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    place = pick_device(device)
    folder = resolve_model(path)
    check_model_files(path)
    load_config(path, trust_remote_code)
    options: dict[str, Any] = {
        "dtype": pick_dtype(place, dtype),
        "trust_remote_code": trust_remote_code,
        "use_safetensors": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # reported below, in a sentence
    }
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # a bar a model is noise beside our own
    logging.set_verbosity_error()
    try:
        model: PreTrainedModel
        model, facts = AutoModelForCausalLM.from_pretrained(str(folder), **options)
        model.to(place)
    except load_errors() as error:
        hint = "" if trust_remote_code or "trust_remote_code" not in str(error) else " (it ships its own code)"
        sentence = f"The model '{path}' cannot be loaded{hint}: {one_line(error)}"
        raise cannot_load(sentence, error, folder.glob("*.safetensors")) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    odd = {"are missing": facts["missing_keys"], "do not fit config.json": [key[0] for key in facts["mismatched_keys"]]}
    for what, keys in odd.items():
        if keys:  # transformers would draw them at random
            named = ", ".join(sorted(map(str, keys))[:3])
            raise EvaluationError(
                f"The model '{path}' cannot be used: {len(keys):,} of its weights {what} ({named}): fetch or save it again."
            )
    model.eval()
    return model


def load_config(path: Path | str, trust_remote_code: bool = False) -> PretrainedConfig:
    """A model's configuration.

    Raises:
        EvaluationError: it cannot be read, or a size in it is not above 0.
    """
    _require("Reading a model's configuration")
    from transformers import AutoConfig

    folder = resolve_model(path)
    _check_config(folder / "config.json")
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    except load_errors() as error:
        raise cannot_load(
            f"The configuration of the model '{path}' cannot be used: {one_line(error)}", error
        ) from error
    return config


def _check_config(file: Path) -> None:
    """Refuse a configuration that is no JSON object or holds sizes that the libraries would divide by, or worse."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise cannot_load(f"{file} cannot be read as JSON: {one_line(error)}", error) from error
    if not isinstance(written, dict):
        raise EvaluationError(f"{file} must hold a JSON object, not {kind_of(written)}.")
    for name in _COUNTS:
        value = written.get(name, 1)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise EvaluationError(f"{file}: {name} must be a whole number above 0, not {value!r:.40}.")
        most = _MOST_LAYERS if name == "num_hidden_layers" else _MOST_OF_A_SIZE
        if value is not None and value > most and name != "max_position_embeddings":
            raise EvaluationError(f"{file}: {name} is {value!r:.40}, and no model has more than {most:,}: fix it.")


def parameter_count(path: Path | str) -> int:
    """Parameters of a model (count), from the headers of its weight files; weights that are shared are stored once.

    Raises:
        EvaluationError: there is no such model, or a header cannot be read.
    """
    check_model_files(path)
    total = 0
    for file in sorted(resolve_model(path).glob("*.safetensors")):
        try:
            with file.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                if length > _WHOLE_FILE:
                    raise ValueError("its header is too long")
                header = json.loads(stream.read(length))
            total += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise cannot_load(f"{file}: the header of the weights cannot be read: {one_line(error)}", error) from error
    return total


def context_length(config: PretrainedConfig) -> int:
    """Tokens that a model can read at once; very many where its configuration does not say."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or 1 << 20)


def check_model_files(path: Path | str) -> None:
    """Refuse a model without weights in safetensors; they are not read.

    Raises:
        EvaluationError: there is no such model, or its weights are pickled or not there.
    """
    folder = resolve_model(path)
    if any(folder.glob("*.safetensors")):
        return
    pickled = next((file.name for pattern in _PICKLED for file in sorted(folder.glob(pattern))), None)
    if pickled is not None:
        raise EvaluationError(
            f"The weights of '{path}' are pickled ({pickled}), and a pickle can run code when it is opened: save the model "
            "again in safetensors (save_pretrained of a recent transformers does)."
        )
    raise EvaluationError(f"The model folder {path} holds no weights (*.safetensors): fetch or save it again.")
