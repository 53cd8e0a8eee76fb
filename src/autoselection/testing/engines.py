"""The contract of engines, checked against the demo's model, asked token by token (a few seconds)."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoselection.conversation import Message
from autoselection.demo import model_dir, task_file
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.contract import Continuation, Engine, LanguageModel, Question
from autoselection.evaluation.generation import AnswerTexts, Generation
from autoselection.evaluation.job import EvaluationJob
from autoselection.evaluation.runtime import quiet_libraries, require_packages
from autoselection.plugins import has_members
from autoselection.tasks import TaskConfig
from autoselection.testing.factories import made_by

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TEXTS = ("3+4=", "Sort: d a c b", "Is 7 over 5?", "Hello", "12+30=")
_ANSWERS = ("7", "a b c d", "yes", "Hello to you", "42")
_NEW_TOKENS = 6
#: What models' files say of generating, and no engine may follow: no token twice, and repeated ones hardly ever.
_HABITS = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1}


def check_engine(
    make: Callable[[EvaluationConfig], Engine], *, model: Path | str | None = None, tolerance: float = 1e-3
) -> None:
    """See that an engine keeps the contract of :mod:`autoselection.evaluation.engines.contract`.

    Args:
        make: the engine for settings: its class, with its options filled in if it has some. A server that it asks must
            hold the demo's model, or ``model``.
        model: a small model with a chat template; None is the demo's. An engine that is no server gets it with a
            ``generation_config.json`` that penalises repetition, as many models have one.
        tolerance: largest difference of log-probabilities from those of the model in float32 (nats).

    Raises:
        AssertionError: it does not; the sentence says where.
        MissingExtraError: the ``train`` extra is not installed.
    """
    require_packages()
    import torch

    from autoselection.language.models import context_length, load_model, load_tokenizer, resolve_model

    given = str(model_dir() if model is None else model)
    config = EvaluationConfig.model_validate({"device": "cpu"})
    engine = made_by(make, config)
    assert has_members(engine, Engine), f"{engine!r} lacks a member of Engine."
    engine.check(trains=False)
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), dev_limit=1)
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        path = given if engine.reads == "server" else _with_habits(resolve_model(given), Path(folder) / "habits")
        job = EvaluationJob(path, None, None, (task,), "dev", 0, config, Path(folder))
        tokenizer, reference = load_tokenizer(path), load_model(path, "cpu", "float32")
        length = context_length(reference.config)
        assert engine.context_length(length) <= length, "context_length is no longer than the model's own."
        loaded = load_model(path, "cpu", "float32") if engine.reads == "memory" else None
        likely = engine.gives_likelihoods(tokenizer)
        with engine.language_model(job, loaded, tokenizer, dtype=torch.float32, context_length=length) as asked:
            if likely:
                _check_likelihoods(asked, reference, _continuations(tokenizer), tolerance)
            _check_answers(asked, reference, tokenizer, _questions(tokenizer))


def _with_habits(model: Path, folder: Path) -> str:
    """A copy of a model's folder whose files ask for :data:`_HABITS`."""
    shutil.copytree(model, folder)
    file = folder / "generation_config.json"
    own = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.unlink(missing_ok=True)
    file.write_text(json.dumps({**own, **_HABITS}), encoding="utf-8")
    return str(folder)


def _prompt(tokenizer: Any, text: str) -> tuple[list[Message], list[int]]:
    from autoselection.language.chat import ConversationEncoder

    messages: list[Message] = [{"role": "user", "content": text}]
    encoder = ConversationEncoder(tokenizer, max_length=1 << 30, turns="last")
    return messages, encoder.encode_prompt(messages)


def _continuations(tokenizer: Any) -> list[Continuation]:
    answers = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in _ANSWERS]
    contexts = [_prompt(tokenizer, text)[1] for text in _TEXTS]
    # Two of one context, as of the options of an item.
    return [Continuation(*each) for each in (*zip(contexts, answers, strict=True), (contexts[0], answers[-1]))]


def _check_likelihoods(
    asked: LanguageModel, reference: PreTrainedModel, wanted: Sequence[Continuation], tolerance: float
) -> None:
    assert asked.likelihoods([]) == [], "Nothing asked is nothing answered."
    found = asked.likelihoods(wanted)
    assert len(found) == len(wanted), "There is one likelihood a continuation."
    for (value, greedy), each in zip(found, wanted, strict=True):
        exact, likeliest = _likelihood(reference, each)
        assert abs(value - exact) <= tolerance, (
            f"A continuation of {len(each.ids)} tokens has the log-probability {exact:.4f}, not {value:.4f}: that of all its "
            "tokens and of no others, in the order asked."
        )
        assert greedy == likeliest, "The flag says whether greedy decoding would write every token of the continuation."
    turned = asked.likelihoods(wanted[::-1])[::-1]
    assert all(abs(one[0] - two[0]) <= tolerance for one, two in zip(found, turned, strict=True)), (
        "Likelihoods depend on the order in which they are asked."
    )


def _likelihood(reference: PreTrainedModel, each: Continuation) -> tuple[float, bool]:
    import torch

    ids = torch.tensor([[*each.context, *each.ids]])
    with torch.inference_mode():
        rows = reference(ids).logits[0, len(each.context) - 1 : -1].float().log_softmax(-1)
    wanted = torch.tensor(each.ids)
    return float(rows[torch.arange(len(wanted)), wanted].sum()), bool((rows.argmax(-1) == wanted).all())


def _questions(tokenizer: Any) -> list[Question]:
    """Questions of two kinds: with and without a stop text; both end at the tokenizer's own end."""
    ends = (tokenizer.eos_token_id,)
    found = []
    for number, text in enumerate(_TEXTS):
        messages, context = _prompt(tokenizer, text)
        found.append(Question(context, messages, Generation(_NEW_TOKENS, ("e",) if number % 2 else (), ends)))
    return found


def _check_answers(
    asked: LanguageModel, reference: PreTrainedModel, tokenizer: Any, wanted: Sequence[Question]
) -> None:
    assert asked.answers([]) == [], "Nothing asked is nothing answered."
    found = asked.answers(wanted)
    assert len(found) == len(wanted), "There is one answer a question."
    for (text, full), each in zip(found, wanted, strict=True):
        exact, limited = _greedy(reference, tokenizer, each)
        cut = each.generation.cut(text)
        assert cut == each.generation.cut(exact), (
            f"The answer to {each.messages[0]['content']!r} is {exact!r}, not {text!r}: greedy decoding up to a stop token or "
            f"{each.generation.max_gen_toks} tokens, in the order asked."
        )
        if cut == text:
            assert full == limited, (
                f"Whether the answer {text!r} ended because it may be no longer is reported wrongly."
            )
    assert asked.answers(wanted) == found, "Greedy answers change from one time to the next."


def _greedy(reference: PreTrainedModel, tokenizer: Any, each: Question) -> tuple[str, bool]:
    import torch

    ids = list(each.context)
    ended = False
    while len(ids) < len(each.context) + each.generation.max_gen_toks and not ended:
        with torch.inference_mode():
            token = int(reference(torch.tensor([ids])).logits[0, -1].argmax())
        ended = token in each.generation.stop_ids
        ids += [] if ended else [token]
    return AnswerTexts(tokenizer)(ids[len(each.context) :]), not ended
