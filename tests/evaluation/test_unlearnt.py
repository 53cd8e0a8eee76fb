"""A training tells what it does not learn of its rows, and learns it with ``turns: each``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoselection.demo import model_dir, task_file
from autoselection.evaluation import EvaluationConfig, EvaluationJob, EvaluationResult, evaluate
from autoselection.pool import ingest
from autoselection.tasks import TaskConfig

#: Reasoning is written in the last answer alone.
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.reasoning_content and loop.last %}"
    "{{ '{' + m.reasoning_content + '} ' }}{% endif %}{{ m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reasoning")
    turns = [
        {"role": "user", "content": "Add 1 and 2."},
        {"role": "assistant", "content": "3", "reasoning_content": "one more"},
        {"role": "user", "content": "And 1?"},
        {"role": "assistant", "content": "4", "reasoning_content": "one more"},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps({"id": str(i), "messages": turns}) + "\n" for i in range(6)))
    (folder / "template.jinja").write_text(TEMPLATE)
    ingest([folder / "rows.jsonl"], folder / "pool")
    return folder


def trained(folder: Path, work: Path, template: str | None, turns: str) -> EvaluationResult:
    sft = {"max_steps": 1, "batch_size": 4, "max_length": 200, "turns": turns}
    return evaluate(
        EvaluationJob(
            model=str(model_dir()),
            pool_dir=folder / "pool",
            rows=np.arange(6),
            tasks=(TaskConfig(name="counting", dev=task_file("counting", "dev"), dev_limit=2),),
            split="dev",
            seed=0,
            config=EvaluationConfig.model_validate({"threads": 1, "device": "cpu", "sft": sft}),
            work_dir=work,
            chat_template=template,
        )
    )


def test_answers_without_a_loss_are_told_and_learnt_by_each(pool: Path, tmp_path: Path) -> None:
    template = str(pool / "template.jinja")
    every = trained(pool, tmp_path / "all", template, "all")
    assert every.failure is None
    assert "6 answers in 6 of 6 rows have no loss" in " ".join(every.remarks)
    each = trained(pool, tmp_path / "each", template, "each")
    assert each.failure is None and not each.remarks
    assert each.read_rows == 12  # samples
    assert each.response_tokens == 4 * len("{one more} 3>")


def test_reasoning_that_the_template_never_writes_is_told(pool: Path, tmp_path: Path) -> None:
    own = trained(pool, tmp_path / "own", None, "all")
    assert "6 of 6 rows hold reasoning that the chat template does not write" in " ".join(own.remarks)


def test_a_template_that_asks_otherwise_than_it_writes_is_told_once(pool: Path, tmp_path: Path) -> None:
    file = tmp_path / "thinking.jinja"
    file.write_text(TEMPLATE.replace("{{ '<|assistant|>' }}", "{{ '<|assistant|><think>' }}"))
    found = trained(pool, tmp_path / "work", str(file), "last")
    said = [remark for remark in found.remarks if "asks for an answer with '<|assistant|><think>'" in remark]
    assert len(said) == 1 and "writes '<|assistant|>' in front of one" in said[0]
    fine = trained(pool, tmp_path / "fine", str(pool / "template.jinja"), "last")
    assert not any("asks for an answer" in remark for remark in fine.remarks)
