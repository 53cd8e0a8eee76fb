"""Our engines keep the contract of engines, and what breaks it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from test_engines import TinyServer, server  # noqa: F401

from autoselection.evaluation.engines import lm_eval_model
from autoselection.evaluation.engines.contract import Continuation, LanguageModel, Question
from autoselection.evaluation.engines.openai import EndpointOptions, OpenAIEngine
from autoselection.evaluation.engines.transformers import TransformersEngine
from autoselection.testing import check_engine


def test_the_model_in_memory_keeps_the_contract() -> None:
    check_engine(TransformersEngine)


def test_a_server_keeps_the_contract(server: TinyServer, tiny_model_dir: Path) -> None:  # noqa: F811
    options = EndpointOptions(base_url=server.url, model="tiny")
    check_engine(lambda config: OpenAIEngine(config, options), model=tiny_model_dir)


def test_an_engine_that_follows_the_models_own_habits_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm_eval_model, "_without_own_habits", lambda _: nullcontext())
    with pytest.raises(AssertionError, match="greedy decoding up to a stop token"):
        check_engine(TransformersEngine)


class Careless:
    """A model whose answers come sorted, and whose likelihoods lack the last token."""

    def __init__(self, model: LanguageModel, fault: str) -> None:
        self.model, self.fault = model, fault

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        cut = [Continuation(each.context, each.ids[:-1] or each.ids) for each in asked]
        return self.model.likelihoods(cut if self.fault == "short" else asked)

    def answers(self, asked: Sequence[Question]) -> list[tuple[str, bool]]:
        found = self.model.answers(asked)
        return sorted(found) if self.fault == "sorted" else [(text, not full) for text, full in found]


@pytest.mark.parametrize(
    ("fault", "told"), [("short", "that of all its"), ("sorted", "in the order asked"), ("flag", "reported wrongly")]
)
def test_an_engine_that_breaks_it_is_told_so(fault: str, told: str) -> None:
    class Broken(TransformersEngine):
        @contextmanager
        def language_model(self, *given: Any, **more: Any) -> Iterator[Any]:
            with super().language_model(*given, **more) as model:
                yield Careless(model, fault)

    with pytest.raises(AssertionError, match=told):
        check_engine(Broken)
