"""Control tokens in generated answers: those that end an answer end it, those that mark reasoning are read."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoselection.evaluation import EvaluationConfig
from autoselection.evaluation.engines.lm_eval_model import ConversationLM
from autoselection.evaluation.engines.openai import CompletionsEndpoint, EndpointLM, EndpointOptions
from autoselection.evaluation.engines.vllm import VllmLM
from autoselection.evaluation.generation import AnswerTexts
from autoselection.evaluation.harness import Benchmark, load_benchmarks, score
from autoselection.language.models import load_model, load_tokenizer
from autoselection.tasks import TaskConfig

HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>")
_NUMBERS = count()


def tokenizer_with(folder: Path, *control: str) -> Any:
    """The tiny model's tokenizer with control tokens that have no name, as <end_of_turn> and <|eot_id|> have none."""
    from tokenizers import AddedToken

    tokenizer = load_tokenizer(folder)
    tokens = [AddedToken(token, special=True, normalized=False) for token in control]
    tokenizer.add_tokens(tokens, special_tokens=False)
    assert not set(control) & set(tokenizer.all_special_tokens)
    return tokenizer


def benchmark(tokenizer: Any, folder: Path, answer: str = "5", metric: str = "exact_match") -> Benchmark:
    file = folder / "items.jsonl"
    file.write_text(json.dumps({"id": "a", "prompt": "2+3?", "answer": answer}) + "\n")
    task = TaskConfig.model_validate({"name": "sums", "dev": str(file), "metric": metric})
    (found,) = load_benchmarks(
        [task], "dev", tokenizer, context_length=512, config=EvaluationConfig(), full_metrics=False,
        tokenizer_key=("marks", next(_NUMBERS)), likelihoods=metric != "exact_match",
    )  # fmt: skip
    return found


def test_answers_end_at_the_mark_of_a_turn_that_has_no_name(tiny_model_dir: Path, tmp_path: Path) -> None:
    """The mark was taken for text, which never stands in a decoded answer: every answer went on to the limit."""
    tokenizer = tokenizer_with(tiny_model_dir, "<end_of_turn>")
    named = benchmark(tokenizer, tmp_path)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<end_of_turn>")
    found = benchmark(tokenizer, tmp_path)
    mark = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert mark in found.generation.stop_ids
    assert found.generation.until == ()
    assert found.stop_text == ""
    assert "control tokens" in found.key  # earlier scores are of answers that did not end
    assert "control tokens" not in named.key
    assert "control tokens" not in benchmark(tokenizer, tmp_path, metric="nll").key


def test_a_stop_text_of_a_task_file_may_be_a_control_token_without_a_name(tiny_model_dir: Path, tmp_path: Path) -> None:
    from autoselection.evaluation.generation import task_generation
    from autoselection.tasks.harness import TaskGeneration

    tokenizer = tokenizer_with(tiny_model_dir, "<|eot_id|>")
    with pytest.MonkeyPatch.context() as patched:
        asked = TaskGeneration(9, ("<|eot_id|>", "Q:"))
        patched.setattr("autoselection.evaluation.generation.harness_generation", lambda task: asked)
        task = benchmark(tokenizer, tmp_path).config
        found, _ = task_generation(task, EvaluationConfig(), tokenizer, set(), "", 3, 9, 512)
    assert found.until == ("Q:",)
    assert tokenizer.convert_tokens_to_ids("<|eot_id|>") in found.stop_ids


class Written:
    """Stands for vLLM: the tokens of one text are the answer."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens

    def generate(self, prompts: list[Any], *_: Any, **__: Any) -> list[Any]:
        answer = SimpleNamespace(token_ids=self.tokens, finish_reason="stop")
        return [SimpleNamespace(outputs=[answer], prompt_logprobs=None) for _ in prompts]


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("<|channel|>final<|message|>5", "5", True),
        ("<|channel|>final<|message|>Paris", "Paris", True),
        ("<|channel|>final<|message|>B", "(B)", True),
        ("<|channel|>final<|message|>Yes", "yes", True),
        ("<|channel|>final <|constrain|>json<|message|>Paris", "Paris", True),
        ("<|channel|>analysis<|message|>6?<|end|><|start|>assistant<|channel|>final<|message|>5", "5", True),
        ("<|channel|>analysis<|message|>It is 5", "5", False),
        ("[THINK]2+3=5[/THINK]5", "5", True),
        ("[THINK]Paris is the capital of France.[/THINK]Paris", "Paris", True),
        ("[THINK]It could be 5", "5", False),
        ("<|START_THINKING|>2+3=6<|END_THINKING|><|START_RESPONSE|>5<|END_RESPONSE|>", "5", True),
        ("5<|im_start|>", "5", True),
        ("4<|END_RESPONSE|>5", "45", True),  # other control tokens are no text
    ],
)
def test_marks_of_reasoning_that_are_control_tokens_are_read(
    text: str, answer: str, right: bool, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Decoding took them out of answers: of ``[THINK]…[/THINK]5`` and of Harmony's ``final5`` nothing could be told."""
    tokenizer = tokenizer_with(
        tiny_model_dir, *HARMONY, "<|constrain|>", "[THINK]", "[/THINK]", "<|START_THINKING|>", "<|END_THINKING|>",
        "<|START_RESPONSE|>", "<|END_RESPONSE|>",
    )  # fmt: skip
    asked = benchmark(tokenizer, tmp_path, answer)
    assert "marks of reasoning" in asked.key
    tokens = tokenizer(text + "<|im_end|>and on", add_special_tokens=False)["input_ids"]
    in_memory = ConversationLM(
        load_model(tiny_model_dir, "cpu", "float32"),
        tokenizer,
        seed=0,
        batch_size=None,
        batch_tokens=None,
        autocast=False,
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ConversationLM, "_continued", lambda *_: [tokens])
        ours = score(in_memory, [asked])["sums"]
    vllm = VllmLM(Written(tokens), dict, AnswerTexts(tokenizer), adapter=None, context_length=512, seed=0)
    theirs = score(vllm, [asked])["sums"]
    assert ours.generated == theirs.generated
    assert ours.metrics["exact_match"] == theirs.metrics["exact_match"] == float(right)


def test_a_model_without_such_marks_keeps_its_scores(tiny_tokenizer: Any, tmp_path: Path) -> None:
    assert "marks of reasoning" not in benchmark(tiny_tokenizer, tmp_path).key


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("finalParis", "<|channel|>final<|message|>Paris"),
        ("final\\boxed{5}", "<|channel|>final<|message|>\\boxed{5}"),
        ("analysisIt is 5", "<|channel|>analysis<|message|>It is 5"),
        ("finally, 5", "finally, 5"),
        ("final answer: 5", "final answer: 5"),
        ("final: 5", "final: 5"),
        ("final5", "<|channel|>final<|message|>5"),
        ("final巴黎", "<|channel|>final<|message|>巴黎"),
        ("finalÉvry", "<|channel|>final<|message|>Évry"),
        ("final**5**", "<|channel|>final<|message|>**5**"),
        ("final-5", "<|channel|>final<|message|>-5"),
        ("finals are on Monday", "finals are on Monday"),
        ("finalized", "finalized"),
        ("finale", "finale"),
        ("finalement 5", "finalement 5"),
        ("final-year students", "final-year students"),
        ("final_answer = 5", "final_answer = 5"),
        ("final", "final"),
        ("analysis-driven work", "analysis-driven work"),
        ("analysis's end", "analysis's end"),
        ("analysis’ end", "analysis’ end"),
        ("analysis/42", "analysis/42"),
        ("5", "5"),
    ],
)
def test_what_a_server_leaves_of_a_channel_is_no_answer(
    text: str, read: str, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(CompletionsEndpoint, "chat", lambda *_: (text, False))
    endpoint = CompletionsEndpoint(EndpointOptions(base_url="http://127.0.0.1:1", model="m"))
    marks = AnswerTexts(tokenizer_with(tiny_model_dir, *HARMONY)).marks
    asked = benchmark(tokenizer_with(tiny_model_dir), tmp_path)
    for given, wanted in ((marks, read), (frozenset[str](), text)):
        model = EndpointLM(endpoint, context_length=512, seed=0, marks=given)
        assert score(model, [asked])["sums"].generated == [wanted]
