"""An engine of one's own: another engine's, with every question and answer written down.

Register it in ``pyproject.toml``::

    [project.entry-points."autoselection.engines"]
    logged = "autoselection_plugin_example.engine:LoggedEngine"
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.contract import Continuation, LanguageModel, Question
from autoselection.evaluation.engines.transformers import TransformersEngine
from autoselection.evaluation.job import EvaluationJob
from autoselection.schema import StrictModel


class LoggedOptions(StrictModel):
    """Engine logged: the model in memory; questions and answers are kept."""

    file: str = Field("answers.jsonl", pattern=r"^[\w.-]+$", description="Name of the file in the evaluation's folder.")


class LoggedEngine(TransformersEngine):
    """The engine ``transformers`` with a log of what it is asked to write."""

    options = LoggedOptions

    def __init__(self, config: EvaluationConfig, options: LoggedOptions) -> None:
        super().__init__(config)
        self.own = options

    @contextmanager
    def language_model(self, job: EvaluationJob, *given: Any, **more: Any) -> Iterator[LanguageModel]:
        """The model in memory, behind a log."""
        with super().language_model(job, *given, **more) as model:
            yield _Logged(model, job.work_dir / self.own.file)


class _Logged:
    def __init__(self, model: LanguageModel, path: Path) -> None:
        self._model, self._path = model, path

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        return self._model.likelihoods(asked)

    def answers(self, asked: Sequence[Question]) -> list[tuple[str, bool]]:
        found = self._model.answers(asked)
        with self._path.open("a", encoding="utf-8") as file:
            for question, (answer, cut_off) in zip(asked, found, strict=True):
                line = {"messages": question.messages, "answer": answer, "cut_off": cut_off}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return found
