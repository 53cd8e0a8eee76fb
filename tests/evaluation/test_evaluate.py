from __future__ import annotations

import errno
import gc
import json
import math
import os
import pickle
import random
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from test_sft import write_jsonl

from autoselection.compare.comparison import item_scores
from autoselection.errors import ConfigError, EvaluationError
from autoselection.evaluation import EvaluationResult, evaluate
from autoselection.evaluation.encoding import lost_rows
from autoselection.evaluation.engines.contract import Continuation, Question
from autoselection.evaluation.engines.transformers import TransformersEngine
from autoselection.evaluation.generation import Generation
from autoselection.evaluation.runtime import failure_of
from autoselection.language.models import context_length, load_model
from autoselection.pool import ingest
from autoselection.study.evidence import item_table
from autoselection.system import MACHINE_ERRNOS
from autoselection.tasks import LETTERS, TaskConfig, guessing_accuracy, load_items


def token_ids(tokenizer: Any, question: str, answer: str) -> tuple[list[int], list[int]]:
    """The chat template written out by hand; contents are characters, whatever they spell."""

    def plain(text: str) -> list[int]:
        return [tokenizer.convert_tokens_to_ids(character) for character in text]

    start, end = (tokenizer.convert_tokens_to_ids(mark) for mark in ("<|im_start|>", "<|im_end|>"))
    context = [start, *plain("user\n" + question), end, *plain("\n"), start, *plain("assistant\n")]
    return context, [*plain(answer), end]


def log_probabilities(model: Any, context: list[int], continuation: list[int]) -> tuple[np.ndarray, bool]:
    with torch.no_grad():
        logits = model(torch.tensor([context + continuation])).logits[0].double().log_softmax(-1)
    rows = logits[len(context) - 1 : -1]
    greedy = rows.argmax(-1).tolist() == continuation
    return rows[torch.arange(len(continuation)), torch.tensor(continuation)].numpy(), greedy


def test_base_model_nll_equals_a_plain_pytorch_computation(make_job, tiny_model_dir, tiny_tokenizer, sums):
    result = evaluate(make_job(rows=None))
    model = load_model(tiny_model_dir, "cpu", "float32")
    expected, per_byte = [], []
    for item in load_items(sums, "dev"):
        context, gold = token_ids(tiny_tokenizer, item.prompt, f"{item.rationale}\n{item.answer}")
        scores, _ = log_probabilities(model, context, gold)
        expected.append(-scores.mean())
        per_byte.append(-scores.sum() / (len(gold) - 1))
    assert result.items["sums"]["ids"] == [item.id for item in load_items(sums, "dev")]
    assert result.items["sums"]["nll"] == pytest.approx(expected, abs=1e-4)
    assert result.metrics["sums"]["nll"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert result.metrics["sums"]["nll_per_byte"] == pytest.approx(np.mean(per_byte), abs=1e-4)
    assert result.score == result.scores["sums"] == -result.metrics["sums"]["nll"]
    assert (result.steps, result.train_tokens, result.failure) == (0, 0, None)


def test_accuracy_is_the_likeliest_letter(make_job, tiny_model_dir, tiny_tokenizer, choices):
    task = choices.model_copy(update={"metric": "accuracy"})
    result = evaluate(make_job(rows=None, tasks=(task,)))
    model = load_model(tiny_model_dir, "cpu", "float32")
    right = []
    for item in load_items(task, "dev"):
        letters = LETTERS[: len(item.choices)]
        scores = []
        for letter in letters:
            context, continuation = token_ids(tiny_tokenizer, item.question(), letter)
            scores.append(log_probabilities(model, context, continuation[:1])[0][0])
        right.append(float(letters[int(np.argmax(scores))] == item.answer))
    assert result.items["choices"]["accuracy"] == right
    assert 0 < np.mean(right) < 1
    assert result.score == result.metrics["choices"]["accuracy"] == np.mean(right)


def test_a_blend_is_the_mean_of_two_losses_of_the_same_item(make_job, choices):
    found = evaluate(make_job(rows=None, tasks=(choices.model_copy(update={"metric": "blend"}),)))
    items = found.items["choices"]
    expected = (np.array(items["nll"]) - np.log(items["option_likelihood"])) / 2
    assert items["blend"] == pytest.approx(expected, abs=1e-4)
    assert found.score == pytest.approx(-expected.mean(), abs=1e-4)
    plain = evaluate(make_job(rows=None, tasks=(choices,)))
    assert "blend" not in plain.items["choices"] and plain.items["choices"]["nll"] == items["nll"]


def test_a_learnt_task_is_answered_word_for_word(make_job, tmp_path):
    item = {"id": "one", "prompt": "1+1=", "rationale": "1 plus 1", "answer": "2"}
    (tmp_path / "dev.jsonl").write_text(json.dumps(item) + "\n")
    task = TaskConfig(name="one", dev=tmp_path / "dev.jsonl", metric="exact_match")
    result = evaluate(
        make_job(rows=[1], sft={"max_steps": 40, "learning_rate": 3e-3}, tasks=(task,), full_metrics=True)
    )
    assert result.metrics["one"]["greedy_match"] == result.metrics["one"]["exact_match"] == 1.0
    assert result.train_loss[-1] < result.train_loss[0] / 3
    line = json.loads((tmp_path / "work" / "items" / "one" / "dev" / "items.jsonl").read_text())
    assert line["generated"] == "1 plus 1\n2"
    assert line["id"] == "one"


def test_a_prompt_longer_than_the_context_loses_its_beginning(make_job, tiny_model_dir, tiny_tokenizer, tmp_path):
    """The question stands at its end; 8 tokens of the model's 512 are for the answer, read off a plain greedy loop."""
    prompts = ["".join(np.random.default_rng(seed).choice(list("abcdefgh "), 700)) + "?" for seed in (0, 1)]
    lines = [json.dumps({"id": str(i), "prompt": prompt, "answer": "1"}) for i, prompt in enumerate([*prompts, "1+1="])]
    (tmp_path / "dev.jsonl").write_text("\n".join(lines))
    task = TaskConfig(name="long", dev=tmp_path / "dev.jsonl", metric="exact_match")
    result = evaluate(make_job(rows=None, tasks=(task,), config={"max_new_tokens": 8}))
    model, end = load_model(tiny_model_dir, "cpu", "float32"), tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    items = [json.loads(line) for line in (tmp_path / "work/items/long/dev/items.jsonl").read_text().splitlines()]
    for item, prompt in zip(items, [*prompts, "1+1="], strict=True):
        ids = token_ids(tiny_tokenizer, prompt, "")[0][-504:]
        width = len(ids)
        while len(ids) < width + 8 and ids[-1] != end:
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert item["generated"] == tiny_tokenizer.decode(ids[width:], skip_special_tokens=True)
    assert result.metrics["long"]["truncated"] == 2


def test_a_model_without_a_context_of_its_own_reads_whole_prompts(make_job, tiny_tokenizer):
    """Its configuration has no max_position_embeddings; lm-evaluation-harness would then cut to 2,048 tokens."""
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=len(tiny_tokenizer), hidden_size=16, n_layer=1, n_head=2)
    model = BloomForCausalLM(config).eval()
    seen: list[int] = []
    model.transformer.word_embeddings.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    job = make_job(rows=None)
    length = context_length(model.config)
    context = [5, 6, 7] * 1000
    with TransformersEngine(job.config).language_model(
        job, model, tiny_tokenizer, dtype=torch.float32, context_length=length
    ) as asked:
        asked.likelihoods([Continuation(context, [8])])
        assert max(seen) == len(context)
        seen.clear()
        asked.answers([Question(context, [], Generation(2))])
        assert max(seen) == len(context)


def test_batching_changes_no_score(make_job, sums, choices):
    tasks = (sums, choices)
    one = evaluate(make_job(rows=None, tasks=tasks, full_metrics=True, config={"batch_size": 1}))
    few = evaluate(make_job(rows=None, tasks=tasks, full_metrics=True, config={"batch_tokens": 300}))
    many = evaluate(make_job(rows=None, tasks=tasks, full_metrics=True))
    for name in ("sums", "choices"):
        for other in (few, many):
            assert other.items[name]["nll"] == pytest.approx(one.items[name]["nll"], abs=1e-5)
    assert one.items["choices"]["accuracy"] == many.items["choices"]["accuracy"]
    assert one.items["sums"]["exact_match"] == many.items["sums"]["exact_match"]


def test_the_search_scores_losses_and_options_and_finalists_generated_answers_too(make_job, sums, choices):
    search = evaluate(make_job(rows=None, tasks=(sums, choices)))
    final = evaluate(make_job(rows=None, tasks=(sums, choices), full_metrics=True))
    assert not any("exact_match" in found for found in search.metrics.values())
    assert "exact_match" in final.metrics["sums"] and "exact_match" not in final.metrics["choices"]
    assert not {"accuracy", "guessing"} & set(search.metrics["sums"])
    for found in (search, final):
        assert len(found.items["choices"]["accuracy"]) == len(found.items["choices"]["option_likelihood"]) == 12
        assert found.metrics["choices"]["guessing"] == guessing_accuracy(load_items(choices, "dev"))
    assert final.scores == search.scores
    assert final.score == pytest.approx((final.scores["sums"] + final.scores["choices"]) / 2)


def test_the_same_seed_gives_identical_scores_and_another_one_does_not(make_job):
    first, again, other = (evaluate(make_job(seed=seed, sft={"max_steps": 3})) for seed in (3, 3, 4))
    assert first.items == again.items
    assert first.train_loss == again.train_loss
    assert first.score != other.score


def test_training_is_counted(make_job):
    result = evaluate(make_job(rows=range(10), sft={"epochs": 2, "max_length": 50}))
    assert result.steps == 3
    assert result.train_rows == 2 * (10 - result.dropped_rows)
    assert result.truncated_rows == 2  # the two rows with a system prompt
    assert result.truncated_tokens > 10
    assert 0 < result.response_tokens < result.train_tokens
    assert result.train_tokens > 0
    assert result.settings["device"] == "cpu"
    assert result.settings["dtype"] == "float32"
    assert set(result.seconds) == {"load", "train", "eval", "total"}


def test_each_way_of_reading_rows_has_tokens_of_its_own(make_job):
    """Row 0, by characters: answers of 10 and 2 with their end marks are learnt from; else all but the first token."""

    def tokens(**sft: Any) -> tuple[int, int]:
        result = evaluate(make_job(rows=[0], sft={"epochs": 1, **sft}))
        return result.response_tokens, result.train_tokens

    answers, whole = tokens()
    assert answers == (10 + 1) + (2 + 1)
    assert tokens(turns="last") == (2 + 1, whole)
    assert tokens(completion_only=False) == (whole - 1, whole)
    assert tokens(max_length=whole - 5)[1] == whole - 5
    assert tokens() == (answers, whole)


def test_rows_are_cut_to_the_context_of_the_model_whatever_the_maximum_length(make_job, tmp_path):
    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y" * 700}]}
    ingest([write_jsonl(tmp_path / "long.jsonl", [row])], tmp_path / "long")
    result = evaluate(make_job(rows=[0], sft={"epochs": 1, "max_length": 4096}, pool_dir=tmp_path / "long"))
    assert (result.truncated_rows, result.train_tokens) == (1, 512)


def test_an_absurd_learning_rate_is_a_failure_and_not_a_crash(make_job):
    result = evaluate(make_job(sft={"max_steps": 8, "learning_rate": 1e30, "scheduler": "constant"}))
    assert result.failure is not None
    assert "diverged" in result.failure
    assert result.failure_kind == "training"
    assert math.isnan(result.score)
    assert result.seconds["total"] > 0


def test_a_subset_without_trainable_rows_is_a_failure(make_job):
    result = evaluate(make_job(rows=[1, 2], sft={"max_length": 8}))
    assert result.failure is not None
    assert result.failure == "No row of the subset can be trained on: 2 because their prompts fill the maximum length."
    assert result.dropped_rows == 2
    assert "Training drops 2 of 2 rows (100%)" in result.remarks[0]


def test_rows_dropped_and_cut_are_counted_by_reason_and_told_above_a_tenth(make_job, tmp_path):
    """Ten rows that fit and of each other kind as many as named."""

    def rows(long_prompts: int, long_answers: int) -> Path:
        fits = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
        prompt = {"messages": [{"role": "user", "content": "x" * 300}, {"role": "assistant", "content": "b"}]}
        answer = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "y" * 300}]}
        numbered = [fits] * 10 + [prompt] * long_prompts + [answer] * long_answers
        records = [
            {"messages": [{"role": "user", "content": f"{i} {m[0]['content']}"}, m[1]]}
            for i, m in enumerate(record["messages"] for record in numbered)
        ]
        folder = tmp_path / f"{long_prompts}-{long_answers}"
        folder.mkdir()
        ingest([write_jsonl(folder / "rows.jsonl", records)], folder / "pool")
        return folder / "pool"

    def trained(long_prompts: int, long_answers: int) -> Any:
        count = 10 + long_prompts + long_answers
        sft = {"max_length": 64, "epochs": 1.0}
        return evaluate(make_job(rows=range(count), pool_dir=rows(long_prompts, long_answers), sft=sft))

    both = trained(5, 3)
    assert both.failure is None
    assert (both.read_rows, both.dropped_rows, both.dropped, both.truncated_rows) == (18, 5, {"max_length": 5}, 8)
    assert both.train_rows == 13
    (said,) = both.remarks
    assert said == (
        "Training drops 5 of 18 rows (28%): 5 because their prompts fill the maximum length. "
        "Training cuts 3 of 18 rows (17%) to the maximum length. "
        "The maximum length is 64 tokens (evaluation.sft.max_length, or the model's context)."
    )
    assert EvaluationResult.from_dict(json.loads(json.dumps(both.to_dict()))).remarks == both.remarks
    few = trained(1, 0)
    assert (few.dropped, few.remarks) == ({"max_length": 1}, ())  # 1 of 11 is less than a tenth


@pytest.mark.parametrize(
    ("dropped", "truncated", "said"),
    [
        ({}, 0, []),
        ({"no_response": 10}, 0, []),
        ({"no_response": 11}, 0, ["Training drops 11 of 100 rows (11%): 11 because they have no response."]),
        ({"template": 8, "trainer": 4}, 0, [
            "Training drops 12 of 100 rows (12%): 8 because the chat template does not render their turns; 4 because the "
            "trainer cannot hold them."
        ]),
        ({}, 10, []),
        ({"max_length": 10}, 20, []),  # ten dropped and ten cut: each a tenth
    ],
)  # fmt: skip
def test_what_is_told_of_lost_rows(dropped, truncated, said):
    assert lost_rows(100, dropped, truncated, 64) == said


@pytest.mark.parametrize(
    ("unlearnt", "said"),
    [
        ({"answers": 40, "rows": 10, "tools": 10, "reasoning": 10}, []),
        ({"answers": 40, "rows": 11}, ["40 answers in 11 of 100 rows have no loss"]),
        ({"tools": 11}, ["11 of 100 rows declare tools that the chat template does not write"]),
        ({"text": 50}, ["50 of 100 rows hold text that the chat template cuts or changes"]),
        ({"reasoning": 50}, ["50 of 100 rows hold reasoning that the chat template does not write"]),
    ],
)
def test_what_is_told_of_what_is_not_learnt(unlearnt, said):
    told = lost_rows(100, {}, 0, 64, unlearnt)
    assert len(told) == len(said)
    assert all(sentence in told[0] for sentence in said)


def test_every_metric_keeps_the_items_it_is_the_mean_of(make_job, sums, choices):
    """Paired tests, the verdict and comparisons need them, whatever the search maximises."""
    for metric, task in (("nll", sums), ("nll_per_byte", sums), ("exact_match", sums), ("accuracy", choices),
                         ("option_likelihood", choices), ("blend", choices)):  # fmt: skip
        result = evaluate(make_job(rows=None, tasks=(task.model_copy(update={"metric": metric}),)))
        sign = -1 if metric in ("nll", "nll_per_byte", "blend") else 1
        values = np.array(result.items[task.name][metric])
        assert len(values) == 12
        assert sign * values.mean() == pytest.approx(result.score, abs=1e-5)
        table = item_table([result, result], [task.model_copy(update={"metric": metric})])
        assert table is not None
        assert table[task.name].tolist() == [(sign * values).tolist()] * 2
        found = item_scores([result], {task.name: metric})
        assert found is not None
        assert list(found[task.name].values()) == pytest.approx((sign * values).tolist())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *(
            (OSError(number, os.strerror(number)), "infrastructure")
            for number in sorted(MACHINE_ERRNOS - {errno.ENOMEM})
        ),
        (RuntimeError("can't start new thread"), "infrastructure"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "infrastructure"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "infrastructure"),
    ],
)
def test_machine_failures_are_told_apart(error, kind):
    described = failure_of(error)
    assert described is not None
    assert described[1] == kind


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape mismatch"),
        FileNotFoundError(errno.ENOENT, "x"),
        KeyError("x"),
        ImportError("no module named x"),
    ],
)
def test_mistakes_are_not_taken_for_failures(error):
    assert failure_of(error) is None


def test_a_task_without_the_split_is_refused_before_anything_is_loaded(make_job, choices, tmp_path):
    with pytest.raises(ConfigError, match="Task 'choices' has no test file"):
        evaluate(make_job(tasks=(choices,), split="test", model=str(tmp_path / "nowhere")))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(ConfigError, match="holds no items"):
        evaluate(make_job(tasks=(TaskConfig(name="empty", dev=empty),)))


def test_test_items_are_scored_only_when_asked(make_job):
    assert evaluate(make_job(rows=None)).metrics["sums"]["items"] == 12
    assert evaluate(make_job(rows=None, split="test")).metrics["sums"]["items"] == 5


def test_other_splits_and_empty_subsets_are_refused(make_job):
    with pytest.raises(ConfigError, match="'dev' or 'test', not 'target'"):
        make_job(split="target")
    with pytest.raises(ConfigError, match="at least one row"):
        make_job(rows=[])


def test_a_gold_answer_longer_than_the_context_is_refused(make_job, tmp_path):
    (tmp_path / "dev.jsonl").write_text(json.dumps({"id": "long", "prompt": "x", "answer": "y" * 600}) + "\n")
    with pytest.raises(ConfigError, match="Task 'long': a gold answer has 601 tokens"):
        evaluate(make_job(rows=None, tasks=(TaskConfig(name="long", dev=tmp_path / "dev.jsonl"),)))


def test_a_missing_model_is_named(make_job):
    with pytest.raises(EvaluationError, match="no/such/model"):
        evaluate(make_job(model="no/such/model"))


def test_a_kept_model_scores_the_same_when_loaded_again(make_job, tmp_path):
    kept = evaluate(make_job(sft={"method": "lora"}, config={"keep_model": True}))
    assert kept.model_dir == str(tmp_path / "work" / "model")
    assert (tmp_path / "work" / "model" / "model.safetensors").is_file()
    again = evaluate(make_job(rows=None, model=kept.model_dir))
    assert again.items["sums"]["nll"] == pytest.approx(kept.items["sums"]["nll"], abs=1e-5)


def test_a_kept_model_has_the_small_updates_of_adapters_in_half_precision(make_job, tiny_model_dir):
    sft = {"method": "lora", "learning_rate": 2e-5}
    kept = evaluate(make_job(sft=sft, config={"keep_model": True, "dtype": "bfloat16"}))
    found = load_file(Path(kept.model_dir) / "model.safetensors")
    before = load_model(tiny_model_dir, "cpu", "bfloat16").state_dict()
    adapted = [name for name in found if "proj" in name]
    assert len(adapted) == 14 and set(found) <= set(before)
    for name in adapted:
        assert (found[name] != before[name]).float().mean() > 0.9, name


def test_jobs_and_results_are_plain_data(make_job):
    job = make_job()
    copy = pickle.loads(pickle.dumps(job))
    assert (copy.rows == job.rows).all()
    for result in (evaluate(make_job(rows=None)), EvaluationResult.failed(job, "why", "infrastructure", 1.5)):
        pickle.dumps(result)
        text = json.dumps(result.to_dict(), allow_nan=False)
        back = EvaluationResult.from_dict(json.loads(text))
        assert back.to_dict() == result.to_dict()
        assert (back.score == result.score) or (math.isnan(back.score) and math.isnan(result.score))
    assert back.failure_kind == "infrastructure"


def test_the_callers_process_stays_as_it_was(make_job, monkeypatch, capfd):
    def refuse(*_: Any) -> None:
        raise AssertionError("an evaluation must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    states = (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        gc.get_freeze_count(),
    )
    evaluate(replace(make_job(), full_metrics=True))
    assert states == (
        random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads(),
        gc.get_freeze_count(),
    )  # fmt: skip
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


@pytest.mark.parametrize("method", ["full", "lora"])
def test_bfloat16_trains_and_scores_close_to_float32(make_job, method):
    sft = {"method": method, "max_steps": 4}
    exact = evaluate(make_job(sft=sft))
    rough = evaluate(make_job(sft=sft, config={"dtype": "bfloat16"}))
    assert rough.settings["dtype"] == "bfloat16"
    assert rough.score == pytest.approx(exact.score, abs=0.1)
    assert rough.score != exact.score


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_untrained_model_is_scored_in_the_arithmetic_of_trained_ones(make_job, method, tmp_path):
    sft = {"method": method, "max_steps": 1, "learning_rate": 1e-30}
    config = {"dtype": "bfloat16", "cache_dir": tmp_path / "cache"}
    still = evaluate(make_job(sft=sft, config=config))
    untrained = evaluate(make_job(rows=None, sft=sft, config=config))
    assert untrained.items == still.items
    assert untrained.settings["weights"] == still.settings["weights"] == ("float32" if method == "full" else "bfloat16")
    other = {"method": "lora" if method == "full" else "full"}
    assert evaluate(make_job(rows=None, sft=other, config=config)).settings["cached_tasks"] == []
    assert evaluate(make_job(rows=None, sft=sft, config=config)).settings["cached_tasks"] == ["sums"]
    assert "weights" not in evaluate(make_job(rows=None)).settings


def test_nothing_is_reported_to_the_hub(make_job, monkeypatch):
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("telemetry was sent")

    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", refuse)
    assert evaluate(make_job(sft={"max_steps": 1})).failure is None
