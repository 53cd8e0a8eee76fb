from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from autoselection.errors import EvaluationError
from autoselection.models import load_model, load_tokenizer, model_fingerprint, pick_device, pick_dtype

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


def test_code_of_a_model_is_not_run_unless_asked(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own-code"
    shutil.copytree(tiny_model_dir, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "unheard-of"
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(EvaluationError, match="cannot be loaded"):
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
