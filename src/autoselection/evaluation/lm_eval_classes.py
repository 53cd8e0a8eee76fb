"""Classes of lm-evaluation-harness around ours: a task, and a model. Imports the harness: imported when scoring starts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask

from autoselection.evaluation.engines.contract import Continuation, LanguageModel, Question
from autoselection.evaluation.generation import Generation, Limited


class LocalTask(ConfigurableTask):  # type: ignore[misc]
    """A harness task whose documents carry their token ids; contexts are taken as they are, without few-shot examples."""

    def build_all_requests(self, *, limit: int | None = None, **_: Any) -> None:
        """Make the requests of every document."""
        instances: list[Instance] = []
        for index, document in self.doc_iterator(limit=limit):
            made = self.construct_requests(
                doc=document, ctx=document["context"], metadata=(self.config["task"], index, self.config.repeats)
            )
            instances.extend(made if isinstance(made, list) else [made])
        self._instances = instances


class AskedModel(LM):  # type: ignore[misc]
    """An engine's model as one of the harness.

    Texts are never tokenized here: the harness would strip the white space that ends a chat prompt and score it as a
    part of the answer, and it would turn control words inside item text into control tokens.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.limited = Limited()
        self._model = model

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-probability of every continuation, and whether greedy decoding would write it."""
        return self._model.likelihoods(
            [
                Continuation(request.doc["context_ids"], request.doc["continuations"][request.idx])
                for request in requests
            ]
        )

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[float]:
        """Not used: no task here asks for the likelihood of whole texts."""
        raise NotImplementedError

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[str]:
        """Answers to the documents' conversations, cut at the stop texts."""
        answers = self._model.answers(
            [
                Question(request.doc["context_ids"], json.loads(request.doc["messages"]), Generation.of(request))
                for request in requests
            ]
        )
        return [self.limited.note(request, text, full) for request, (text, full) in zip(requests, answers, strict=True)]
