"""A fault of a chat template names the file that holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoselection.demo import model_dir
from autoselection.errors import EvaluationError
from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import load_tokenizer


def _refusal(template: str) -> str:
    with pytest.raises(EvaluationError) as refused:
        ConversationEncoder(load_tokenizer(model_dir(), template), max_length=64)
    return str(refused.value)


def test_a_fault_names_the_jinja_file(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{% for m in messages %}{{ m.content ", encoding="utf-8")
    said = _refusal(str(file))
    assert f"The chat template of '{file}' cannot be used: " in said and str(model_dir()) not in said
