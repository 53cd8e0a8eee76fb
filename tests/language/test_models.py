from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from autoselection.errors import EvaluationError
from autoselection.language.models import (
    load_config,
    load_model,
    load_tokenizer,
    model_fingerprint,
    pick_device,
    pick_dtype,
    resolve_model,
)

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


def test_model_and_tokenizer_load_from_a_folder(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir, "cpu")
    tokenizer = load_tokenizer(tiny_model_dir)
    assert not model.training
    assert str(model.dtype) == "torch.float32"
    assert tokenizer.padding_side == "right"
    assert len(tokenizer) == model.config.vocab_size


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chatml", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"),
        ("plain", "<|bos|>User: hi\n\nAssistant: yo<|im_end|>\n\n"),
    ],
)
def test_named_templates(tiny_model_dir: Path, name: str, text: str) -> None:
    assert load_tokenizer(tiny_model_dir, name).apply_chat_template(CHAT, tokenize=False) == text


def test_template_from_a_file(tiny_model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("{% for m in messages %}{{ m.content }};{% endfor %}", encoding="utf-8")
    tokenizer = load_tokenizer(tiny_model_dir, str(tmp_path / "mine.jinja"))
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == "hi;yo;"


@pytest.mark.parametrize(
    ("template", "message"),
    [("chatm", "did you mean 'chatml'"), ("none/such.jinja", "there is no file none/such.jinja")],
)
def test_unknown_template(tiny_model_dir: Path, template: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        load_tokenizer(tiny_model_dir, template)


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "nowhere"])
def test_missing_model(path: str) -> None:
    with pytest.raises(EvaluationError, match="There is no model folder"):
        load_model(path)


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"holds no config\.json"):
        load_tokenizer(tmp_path)


def test_damaged_weights(tiny_model_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model_dir, broken)
    (broken / "model.safetensors").write_bytes(b"nonsense" * 10)
    with pytest.raises(EvaluationError, match="cannot be loaded"):
        load_model(broken)


@pytest.fixture
def changed(tiny_model_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """``changed(config keys)``: a copy of the tiny model with another config.json."""

    def copy(**config: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(tiny_model_dir, folder)
        written = json.loads((folder / "config.json").read_text()) | config
        (folder / "config.json").write_text(json.dumps(written))
        return folder

    return copy


@pytest.mark.parametrize("value", [0, -1, 2.5, "x", [1], True])
@pytest.mark.parametrize(
    "name", ["num_attention_heads", "num_key_value_heads", "hidden_size", "vocab_size", "head_dim"]
)
def test_impossible_sizes_are_named(changed: Callable[..., Path], name: str, value: Any) -> None:
    folder = changed(**{name: value})
    for load in (load_model, load_tokenizer, load_config):
        with pytest.raises(EvaluationError, match=rf"config\.json: {name} must be a whole number above 0, not "):
            load(folder)


@pytest.mark.parametrize(("name", "value"), [("num_hidden_layers", 10**9), ("vocab_size", 10**12)])
def test_sizes_beyond_any_model_are_refused_before_anything_is_built(
    changed: Callable[..., Path], name: str, value: int
) -> None:
    """The libraries made a list of a billion layers."""
    folder = changed(**{name: value})
    for load in (load_model, load_tokenizer, load_config):
        with pytest.raises(EvaluationError, match=rf"config\.json: {name} is {value}, and no model has more than"):
            load(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"num_attention_heads": 3},
        {"hidden_act": "nope"},
        {"rope_parameters": {"rope_type": "nope"}},
        {"rope_parameters": [1]},
        {"rms_norm_eps": "small"},
        {"model_type": None},
        {"dtype": "nope"},
        {"vocab_size": None},
        {"num_hidden_layers": 3},  # more than there are weights for: they would be drawn at random
        {"intermediate_size": 8},
    ],
)
def test_odd_configurations_are_one_sentence(changed: Callable[..., Path], config: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError, match=r"cannot be (used|loaded)"):
        load_model(changed(**config), "cpu")


@pytest.mark.parametrize("text", ["[1]", '{"a":', "7", "[" * 100_000, "\x00"])
def test_a_configuration_that_is_no_object_is_named(changed: Callable[..., Path], text: str) -> None:
    folder = changed()
    (folder / "config.json").write_text(text)
    for load in (load_model, load_tokenizer):
        with pytest.raises(EvaluationError, match=r"config\.json"):
            load(folder)


def test_weights_that_are_missing_or_of_another_shape_are_not_drawn_at_random(changed: Callable[..., Path]) -> None:
    from safetensors.numpy import load_file, save_file

    folder = changed()
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in sorted(weights) if "layers.0" in key)
    save_file(
        {key: value for key, value in weights.items() if key != name}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(EvaluationError, match=rf"1 of its weights are missing \({name}\)"):
        load_model(folder, "cpu")
    save_file({**weights, name: weights[name][:1]}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EvaluationError, match=rf"1 of its weights do not fit config\.json \({name}\)"):
        load_model(folder, "cpu")


@pytest.mark.parametrize("harmless", [True, False])
def test_pickled_weights_are_never_opened(changed: Callable[..., Path], harmless: bool) -> None:
    import pickle

    import torch

    folder = changed()
    (folder / "model.safetensors").unlink()
    if harmless:
        torch.save({"a": torch.zeros(2)}, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(print))
    with pytest.raises(EvaluationError, match=r"are pickled \(pytorch_model\.bin\)"):
        load_model(folder, "cpu")
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(EvaluationError, match="holds no weights"):
        load_model(folder, "cpu")


@pytest.mark.parametrize("keep", [0, 8, 100, -1])
def test_damaged_safetensors_are_one_sentence(changed: Callable[..., Path], keep: int) -> None:
    folder = changed()
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    if keep < 0:
        data[9] ^= 0xFF
    file.write_bytes(data[:keep] if keep >= 0 else data)
    with pytest.raises(EvaluationError, match="cannot be loaded"):
        load_model(folder, "cpu")


def test_a_folder_without_a_tokenizer_says_so(changed: Callable[..., Path]) -> None:
    """The library's own message ends in "from one of:" and names nothing."""
    folder = changed()
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(EvaluationError, match="holds no tokenizer"):
        load_tokenizer(folder)


def test_code_of_a_model_is_not_run_unless_asked(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own-code"
    shutil.copytree(tiny_model_dir, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "unheard-of"
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(EvaluationError, match="cannot be"):
        load_model(folder)


def test_padding_token_is_taken_from_the_vocabulary(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "no-pad"
    shutil.copytree(tiny_model_dir, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token == "<|pad|>"  # the reserved name, not the end mark that is to be learnt
    assert len(tokenizer) == len(load_tokenizer(tiny_model_dir))


def test_whatever_a_tokenizer_may_read_is_fetched_and_nothing_pickled(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    wanted = ["config.json", "model.safetensors", "tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "spm.model",
              "qwen.tiktoken", "tekken.json", "vocab-src.json", "bpe.codes", "dict.txt", "modeling_own.py",
              "additional_chat_templates/tool_use.jinja"]  # fmt: skip
    others = ["pytorch_model.bin", "vocab.pt", "training_args.bin", "model.onnx", "README.md", "tf_model.h5"]
    fetched: list[str] = []

    def snapshot_download(name: str, **patterns: Any) -> str:
        fetched.extend(filter_repo_objects([*wanted, *others], **patterns))
        return str(tiny_model_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve_model("owner/name") == tiny_model_dir
    assert fetched == wanted


def test_fingerprint_follows_weights_and_tokenizer(tiny_model_dir: Path, tmp_path: Path) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    shutil.copytree(tiny_model_dir, same)
    shutil.copytree(tiny_model_dir, other)
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    assert model_fingerprint(same) == model_fingerprint(tiny_model_dir)
    assert model_fingerprint(other) != model_fingerprint(tiny_model_dir)
    (same / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert model_fingerprint(same) != model_fingerprint(tiny_model_dir)


#: Fingerprints of these folders as earlier versions computed them: signals that took hours are found by them.
FORMER = {
    "SmolLM2": (
        ("config.json", "model.safetensors", "tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json"),
        "9a348a920035661932c069e0df5ed93e",
    ),
    "Llama": (("config.json", "model.safetensors", "tokenizer.json", "tokenizer.model"), "a09981db9ce2cad95d140a9c133139f2"),
    "T5": (("config.json", "model.safetensors", "tokenizer.json", "spiece.model"), "2bac3796197ba47ac3408a9a2a1a0a44"),
    "code": (("config.json", "model.safetensors", "tokenizer.json", "modeling.py", "qwen.tiktoken"), "2bac3796197ba47ac3408a9a2a1a0a44"),
}  # fmt: skip


def folder_of(path: Path, files: Sequence[str]) -> Path:
    path.mkdir()
    for name in files:
        (path / name).write_text(f"content of {name}")
    return path


@pytest.mark.parametrize("name", FORMER)
def test_fingerprints_stay_what_they_were(name: str, tmp_path: Path) -> None:
    files, former = FORMER[name]
    folder = folder_of(tmp_path / name, files)
    assert model_fingerprint(folder) == former
    assert (model_fingerprint(folder, code=True) == former) == (name in ("SmolLM2", "Llama"))


@pytest.mark.parametrize(
    ("besides", "changed", "code"),
    [
        ((), "spiece.model", False),
        ((), "sentencepiece.bpe.model", False),
        ((), "spm.model", False),
        ((), "vocab.txt", False),
        (("tokenizer.json",), "tekken.json", False),
        (("tokenizer.json",), "modeling_own.py", True),
        (("tokenizer.json",), "own.tiktoken", True),
    ],
)
def test_fingerprint_follows_whatever_is_loaded(
    besides: Sequence[str], changed: str, code: bool, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "model", ["config.json", "model.safetensors", *besides, changed])
    before = model_fingerprint(folder, code=code)
    (folder / changed).write_text("something else")
    assert model_fingerprint(folder, code=code) != before


def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for has in (True, False):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, has=has: has or including_emulation
        )
        assert pick_dtype("cuda:0") is (torch.bfloat16 if has else torch.float32)


def test_devices_and_dtypes() -> None:
    import torch

    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda", "mps")
    assert pick_dtype("cpu") is torch.float32
    assert pick_dtype("cpu", "bfloat16") is torch.bfloat16
    with pytest.raises(EvaluationError, match="not available here"):
        pick_device("tpu")
    with pytest.raises(EvaluationError, match="did you mean 'bfloat16'"):
        pick_dtype("cpu", "bfloat")
