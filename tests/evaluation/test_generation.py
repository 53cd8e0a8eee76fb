"""Answers are generated as a harness task's file says, in every engine, and those that end at the limit are counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from test_engines import StandIn, TinyServer, served, server  # noqa: F401 - a fixture

from autoselection.errors import ConfigError
from autoselection.evaluation import EvaluationConfig, evaluate
from autoselection.evaluation.engines import lm_eval_model
from autoselection.evaluation.engines.contract import Continuation, Question
from autoselection.evaluation.engines.lm_eval_model import ConversationLM
from autoselection.evaluation.engines.vllm import VllmLM
from autoselection.evaluation.generation import AnswerTexts, Generation, Limited, limited_remark
from autoselection.evaluation.harness import check_items, load_benchmarks, score
from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import load_model, load_tokenizer
from autoselection.tasks import TaskConfig, harness, load_items
from autoselection.tasks.harness import harness_generation

ITEMS = 6


@pytest.fixture
def task_file(tmp_path: Path) -> Any:
    """``task_file(generation_kwargs, **fields)``: a task of generated answers, read by a regular expression."""
    numbers = iter(range(100))

    def write(settings: dict[str, Any] | None, **fields: Any) -> TaskConfig:
        folder = tmp_path / f"task{next(numbers)}"
        folder.mkdir()
        lines = [f'{{"question": "{n} plus {n}?", "answer": "{n + n}"}}\n' for n in range(ITEMS)]
        (folder / "items.jsonl").write_text("".join(lines))
        name = f"own_{folder.name}"
        document = {
            "task": name, "dataset_path": "json", "validation_split": "validation", "test_split": "test", "output_type": "generate_until",
            "dataset_kwargs": {"data_files": dict.fromkeys(("validation", "test"), str(folder / "items.jsonl"))},
            "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1.0}, **({} if settings is None else {"generation_kwargs": settings}), **fields,
        }  # fmt: skip
        (folder / "task.yaml").write_text(yaml.safe_dump(document))
        return TaskConfig(name="own", lm_eval=name, lm_eval_path=folder, metric="exact_match")

    return write


def greedy(model: Any, tokenizer: Any, question: str, new_tokens: int) -> tuple[str, bool]:
    """What greedy decoding writes, one forward pass a token: (text, whether the end token came)."""
    import torch

    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    start = len(ids)
    for _ in range(new_tokens):
        with torch.no_grad():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token == end:
            return tokenizer.decode(ids[start:], skip_special_tokens=True), True
        ids.append(token)
    return tokenizer.decode(ids[start:], skip_special_tokens=True), False


def questions(task: TaskConfig) -> list[str]:
    from autoselection.tasks import load_items

    return [item.prompt for item in load_items(task, "dev")]


def scored_by_vllm(task: TaskConfig, model_dir: Path, tokenizer: Any) -> tuple[Any, StandIn]:
    benchmarks = load_benchmarks(
        (task,), "dev", tokenizer, context_length=512, config=EvaluationConfig(), full_metrics=False,
        tokenizer_key=("generation test",),
    )  # fmt: skip
    engine = StandIn(load_model(model_dir, "cpu", "float32"), tokenizer)
    return score(VllmLM(engine, dict, AnswerTexts(tokenizer), adapter=None, context_length=512, seed=0), benchmarks)[
        "own"
    ], engine


@pytest.mark.parametrize("name", ["max_gen_toks", "max_new_tokens", "max_tokens"])
def test_length_and_stop_texts_of_the_task_file_hold_in_every_engine(
    task_file, make_job, server: TinyServer, tiny_model_dir, tiny_tokenizer, name  # noqa: F811
):  # fmt: skip
    model = load_model(tiny_model_dir, "cpu", "float32")
    plain = task_file({"until": [], "do_sample": False, name: 7})
    expected = [greedy(model, tiny_tokenizer, question, 7) for question in questions(plain)]
    limited = sum(not ended for _, ended in expected)
    assert limited  # the tiny model does not stop by itself
    # A stop text from the middle of what the model writes: found by hand, cut off by every engine.
    stop = expected[0][0][2:4]
    assert stop
    stopped = task_file({"until": [stop, "never written"], name: 7})
    for task, stops in ((plain, []), (stopped, [stop])):
        texts = [text.split(stops[0])[0] if stops else text for text, _ in expected]
        full = [float(not ended and not (stops and stops[0] in text)) for text, ended in expected]
        ours = evaluate(make_job(rows=None, tasks=(task,), config={"batch_size": 4}))
        theirs = evaluate(make_job(rows=None, tasks=(task,), config=served(server)))
        in_vllm, engine = scored_by_vllm(task, tiny_model_dir, tiny_tokenizer)
        assert ours.items["own"]["at_limit"] == theirs.items["own"]["at_limit"] == full
        assert ours.metrics["own"]["at_limit"] == theirs.metrics["own"]["at_limit"] == sum(full)
        assert in_vllm.items["at_limit"] == full
        assert in_vllm.generated == texts
        assert [call["max_tokens"] for call in engine.asked if "prompt_logprobs" not in call] == [7] * len(texts)
        bodies = [body for path, body in server.requests if path.endswith("/chat/completions")]
        assert all(body["max_tokens"] == 7 and (body.get("stop") or [])[:1] == stops for body in bodies)
        server.requests.clear()
        written = [
            line
            for line in (Path(make_job().work_dir) / "items/own/dev/items.jsonl").read_text().split("\n")
            if line
        ]  # fmt: skip
        assert len(written) == len(texts)
    assert stop not in "".join(texts)


def test_what_the_models_own_files_say_of_generating_is_left_alone(
    task_file, make_job, tiny_model_dir: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """Qwen2.5-Instruct penalises repetition; greedy answers would not be those that greedy_match is about."""
    task = task_file({"until": [], "do_sample": False, "max_gen_toks": 7})
    expected = [
        greedy(load_model(tiny_model_dir, "cpu", "float32"), tiny_tokenizer, asked, 7) for asked in questions(task)
    ]
    never = tiny_tokenizer(expected[0][0], add_special_tokens=False)["input_ids"][0]
    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    own = {
        "repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "min_new_tokens": 7, "suppress_tokens": [never],
        "do_sample": True, "temperature": 5.0, "max_length": 9, "eos_token_id": never,
    }  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(own))
    evaluate(make_job(rows=None, tasks=(task,), model=str(folder), work_dir=tmp_path / "work"))
    lines = (tmp_path / "work" / "items/own/dev/items.jsonl").read_text().splitlines()
    assert [json.loads(line)["generated"] for line in lines] == [text for text, _ in expected]
    model = load_model(folder, "cpu", "float32")
    engine = ConversationLM(model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=False)
    engine.answers([Question([5, 6], [], Generation(3, (), (never,)))])
    assert model.generation_config.repetition_penalty == 9.0  # a kept model is saved with its own


def test_a_device_is_waited_for_once_a_token_whatever_the_answers(
    tiny_model_dir: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model = load_model(tiny_model_dir, "cpu", "float32")
    engine = ConversationLM(model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=False)
    contexts = [tiny_tokenizer(f"{n} plus {n}?", add_special_tokens=False)["input_ids"] for n in range(5)]
    ends = (tiny_tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    free = [text for text, _ in engine.answers([Question(ids, [], Generation(6, (), ends)) for ids in contexts])]
    stop = free[0][2:4]
    asked = [Question(ids, [], Generation(6, (stop, "never written"), ends)) for ids in contexts]
    alone = [engine.answers([question])[0][0] for question in asked]
    fetched: list[str] = []
    for name in ("tolist", "nonzero"):
        own = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, name=name, own=own: (fetched.append(name), own(self))[1])
    together = [text for text, _ in engine.answers(asked)]
    assert fetched == ["tolist"] * (6 + 2)  # after each token, and the answers: the first tokens, then the others
    assert together == alone
    assert len(together[0]) < len(free[0]) and free[-1] == together[-1]


@pytest.mark.parametrize("recurrent", [False, True])
def test_answers_that_have_ended_leave_their_batch_and_change_no_other(
    recurrent: bool, tiny_model_dir: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny_model_dir, "cpu", "float32")
    engine = ConversationLM(model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=False)
    contexts = [tiny_tokenizer(f"{n} plus {n + 3}?", add_special_tokens=False)["input_ids"] for n in range(8)]
    free = [text for text, _ in engine.answers([Question(ids, [], Generation(40, (), ())) for ids in contexts])]
    stops = (free[0][3:6], free[1][10:13])
    end = tiny_tokenizer(free[2], add_special_tokens=False)["input_ids"][20]
    asked = [Question(ids, [], Generation(40, stops, (end,))) for ids in contexts]
    alone = [engine.answers([question])[0] for question in asked]
    assert len({len(text) for text, _ in alone}) >= 3
    monkeypatch.setattr(lm_eval_model, "_FIRST_TOKENS", 2)
    if recurrent:  # states of a model without keys and values: rows stay
        monkeypatch.setattr(lm_eval_model, "_has_rows", lambda cache: False)
    sizes: list[int] = []
    generate = model.generate
    monkeypatch.setattr(
        model, "generate", lambda **given: (sizes.append(len(given["input_ids"])), generate(**given))[1]
    )
    assert engine.answers(asked) == alone
    assert sizes == [8, 8] if recurrent else (sizes[0] == 8 and sizes == sorted(sizes, reverse=True) and sizes[-1] < 8)


def test_a_cpu_answers_as_many_questions_together_as_memory_allows(
    tiny_model_dir: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny_model_dir, "cpu", "float32")
    config = model.config
    each = 8 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim  # float32, keys and values
    sizes: list[int] = []
    generate = model.generate
    monkeypatch.setattr(
        model, "generate", lambda **given: (sizes.append(len(given["input_ids"])), generate(**given))[1]
    )
    asked = [Question([5, 6, 7, 8], [], Generation(4, (), ())) for _ in range(30)]
    for kept, rows, most in (
        (30 * 8 * each, None, [30]),
        (10 * 8 * each, None, [10, 10, 10]),
        (1, None, [2] * 15),
        (30 * 8 * each, 16, [16, 14]),
    ):
        monkeypatch.setattr(lm_eval_model, "_KEPT_BYTES", kept)
        engine = ConversationLM(model, tiny_tokenizer, seed=0, batch_size=rows, batch_tokens=4, autocast=False)
        sizes.clear()
        engine.answers(asked)
        assert sizes == [size for size in most for _ in range(2)]  # the first tokens, then the others


def test_sampled_answers_stay_in_their_batch(
    tiny_model_dir: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny_model_dir, "cpu", "float32")
    engine = ConversationLM(model, tiny_tokenizer, seed=3, batch_size=None, batch_tokens=None, autocast=False)
    asked = [Question([5 + n, 6], [], Generation(40, (), (7,), temperature=1.5)) for n in range(6)]
    whole = engine.answers(asked)
    monkeypatch.setattr(lm_eval_model, "_FIRST_TOKENS", 2)
    assert engine.answers(asked) == whole


@pytest.mark.parametrize("what", ["answers", "likelihoods"])
def test_weights_are_cast_once_for_all_passes(what: str, tiny_model_dir: Path, tiny_tokenizer: Any) -> None:
    import torch
    from torch.profiler import profile

    model = load_model(tiny_model_dir, "cpu", "float32")
    weights = {tuple(each.weight.shape) for each in model.modules() if isinstance(each, torch.nn.Linear)}
    linear = sum(isinstance(each, torch.nn.Linear) for each in model.modules())
    engine = ConversationLM(model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=16, autocast=True)
    with profile(record_shapes=True) as told:
        if what == "answers":
            engine.answers([Question([5, 6, 7], [], Generation(6, (), ()))])
        else:
            engine.likelihoods([Continuation([5, n], [7, 8, 9, 10, 11, 12]) for n in range(20)])
    passes = sum(event.name == "aten::embedding" for event in told.events())
    cast = [
        event for event in told.events() if event.name == "aten::_to_copy" and tuple(event.input_shapes[0]) in weights
    ]
    assert passes >= 6 and len(cast) == linear


def test_answers_at_the_limit_are_told_above_one_in_a_hundred(task_file, make_job):
    cut = evaluate(make_job(rows=None, tasks=(task_file({"until": [], "max_gen_toks": 1}),)))
    count = int(cut.metrics["own"]["at_limit"])
    assert count > 0
    items = int(cut.metrics["own"]["items"])
    assert cut.remarks == (
        f"Task 'own': {count} of {items} generated answers ({count / items:.0%}) ended at the limit of 1 tokens and may be "
        "cut off: raise evaluation.max_new_tokens.",
    )
    silent = evaluate(make_job(rows=None, tasks=(task_file({"until": ["a", "e", "i", "o", "u", " ", "1", "2"]}),)))
    assert silent.metrics["own"]["at_limit"] <= cut.metrics["own"]["at_limit"]


@pytest.mark.parametrize(("found", "items", "told"), [(1, 100, False), (2, 100, True), (0, 3, False), (1, 3, True)])
def test_up_to_one_answer_in_a_hundred_at_the_limit_goes_unsaid(found, items, told):
    said = limited_remark("t", 20, {"items": items, "at_limit": found})
    assert (said is not None) == told
    if said is not None:
        assert f"{found} of {items} generated answers" in said


def test_a_task_file_without_a_length_gets_the_harness_default(task_file, tiny_tokenizer):
    """22 tokens (twice the gold answer and 16) would cut a worked answer whose gold is a number."""
    for settings in ({"until": ["Q:"]}, None):
        task = task_file(settings)
        (benchmark,) = load_benchmarks(
            [task], "dev", tiny_tokenizer, context_length=4096, config=EvaluationConfig(), full_metrics=False,
            tokenizer_key=("default length",),
        )  # fmt: skip
        assert benchmark.generation.max_gen_toks == 256
        assert benchmark.generation.until == (("Q:",) if settings else ("\n\n",))  # the harness's own default
        assert benchmark.remarks == ()


def test_a_length_that_does_not_fit_is_said(task_file, tiny_tokenizer):
    task = task_file({"until": [], "max_gen_toks": 2000})
    load: dict[str, Any] = {"full_metrics": False, "tokenizer_key": ("too long",)}
    (small,) = load_benchmarks([task], "dev", tiny_tokenizer, context_length=512, config=EvaluationConfig(), **load)
    prompt = max(len(d["context_ids"]) for d in small.tasks["exact_match"].test_docs())
    assert small.generation.max_gen_toks == 512 - prompt
    assert small.remarks == (
        f"Task 'own': its file asks for answers of up to 2,000 tokens, and the model's context of 512 allows {512 - prompt}.",
    )
    assert small.truncated == 0
    config = EvaluationConfig(max_new_tokens=9)
    (configured,) = load_benchmarks([task], "dev", tiny_tokenizer, context_length=4096, config=config, **load)
    assert configured.generation.max_gen_toks == 9
    assert "evaluation.max_new_tokens allows 9" in configured.remarks[0]


def test_tasks_kept_from_the_evaluation_before_are_not_those_of_other_settings(task_file, tiny_tokenizer):
    task = task_file({"until": [], "max_gen_toks": 50})
    load: dict[str, Any] = {"full_metrics": False, "tokenizer_key": ("kept",)}

    def kept(tokens: int | None, context: int) -> tuple[str, int]:
        config = EvaluationConfig(max_new_tokens=tokens)
        (found,) = load_benchmarks([task], "dev", tiny_tokenizer, context_length=context, config=config, **load)
        return found.key, found.generation.max_gen_toks

    found = [kept(5, 512), kept(9, 512), kept(None, 512), kept(None, 4096)]
    assert [limit for _, limit in found] == [5, 9, 50, 50]
    assert len({key for key, _ in found}) == 4, "stored scores of one are not those of another"
    assert kept(5, 512) == found[0]


def test_sampling_is_seeded_and_reaches_every_engine(task_file, make_job, server: TinyServer, tmp_path):  # noqa: F811
    task = task_file({"until": [], "do_sample": True, "temperature": 3.0, "top_p": 0.9, "max_gen_toks": 12})

    def answers(seed: int, folder: str) -> list[str]:
        job = make_job(rows=None, tasks=(task,), seed=seed, work_dir=tmp_path / folder)
        evaluate(job)
        lines = (tmp_path / folder / "items/own/dev/items.jsonl").read_text().splitlines()
        return [json.loads(line)["generated"] for line in lines]

    first, again, other = answers(1, "a"), answers(1, "b"), answers(2, "c")
    assert first == again != other
    evaluate(make_job(rows=None, tasks=(task,), seed=7, config=served(server)))
    bodies = [body for path, body in server.requests if path.endswith("/chat/completions")]
    assert bodies
    assert all((body["temperature"], body["top_p"], body["seed"]) == (3.0, 0.9, 7) for body in bodies)


def test_stored_scores_of_sampled_answers_are_of_their_seed(task_file, make_job, tmp_path):
    def cached(seed: int, **settings: Any) -> list[str]:
        task = task_file({"until": [], "max_gen_toks": 3, **settings})
        config = {"cache_dir": tmp_path / "cache"}
        evaluate(make_job(rows=None, tasks=(task,), config=config))
        found = evaluate(make_job(rows=None, tasks=(task,), seed=seed, config=config)).settings["cached_tasks"]
        assert isinstance(found, list)
        return found

    assert cached(1, do_sample=False) == ["own"]
    assert cached(1, do_sample=True, temperature=2.0) == []
    assert cached(0, do_sample=True, temperature=2.0) == ["own"]


def test_cold_or_narrow_sampling_is_greedy_and_hot_sampling_is_not(task_file, make_job, tmp_path):
    def answers(**settings: Any) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        task = task_file({"until": [], "max_gen_toks": 8, **settings})
        evaluate(make_job(rows=None, tasks=(task,), work_dir=folder))
        lines = (folder / "items/own/dev/items.jsonl").read_text().splitlines()
        return [json.loads(line)["generated"] for line in lines]

    greedy = answers(do_sample=False)
    assert answers(do_sample=True, temperature=1e-3) == greedy
    assert answers(do_sample=True, temperature=9.0, top_k=1) == greedy
    assert answers(do_sample=True, temperature=9.0, top_p=1e-6) == greedy
    assert answers(do_sample=True, temperature=9.0) != greedy


@pytest.mark.parametrize(
    ("settings", "temperature"),
    [
        ({"do_sample": False, "temperature": 0.7}, 0.0),
        ({"temperature": 0.7}, 0.7),
        ({"do_sample": True}, 1.0),
        ({"temperature": 0.0}, 0.0),
    ],
)
def test_sampling_is_read_as_the_harness_reads_it(task_file, settings, temperature):
    found = harness_generation(task_file({"until": "stop", "num_beams": 1, **settings}))
    assert found is not None
    assert (found.temperature, found.until, found.max_gen_toks) == (temperature, ("stop",), None)


@pytest.mark.parametrize(
    ("settings", "fields", "message"),
    [
        ({"num_beams": 4}, {}, r"sets generation_kwargs\.num_beams \(4\), which is not done here"),
        ({"repetition_penalty": 1.2}, {}, r"generation_kwargs\.repetition_penalty"),
        ({"max_gen_toks": "many"}, {}, "cannot be read"),
        ({"max_gen_toks": 0}, {}, "must be 1 or more"),
        ({"do_sample": True, "temperature": -1.0}, {}, "temperature below 0"),
        ({"do_sample": True, "temperature": 0.2}, {"repeats": 8}, r"asks for 8 answers an item \(repeats\)"),
    ],
)
def test_what_cannot_be_honoured_is_refused(task_file, make_job, settings, fields, message):
    task = task_file({"until": [], **settings}, **fields)
    with pytest.raises(ConfigError, match=message):
        evaluate(make_job(rows=None, tasks=(task,)))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"metric": "bleu"}, "'bleu', which gives no number per item"),
        ({"metric": "chrf", "aggregation": "chrf"}, "'chrf', which gives no number per item"),
        ({"metric": "exact_match", "higher_is_better": False}, "'exact_match', of which less is better"),
    ],
)
def test_a_metric_that_is_no_score_is_refused_before_anything_is_trained(task_file, tiny_tokenizer, metric, message):
    task = task_file(None, metric_list=[metric])
    with pytest.raises(
        ConfigError, match=f"task file of lm-eval's '{task.lm_eval}' judges answers by {message}: write"
    ):
        check_items(task, "dev", tiny_tokenizer, context_length=256, config=EvaluationConfig())


def test_own_functions_that_judge_are_tried_and_their_documents_made_once(task_file, tiny_tokenizer):
    task = task_file(None)
    (task.lm_eval_path / "utils.py").write_text(
        "calls = []\n"
        "def documents(dataset):\n    calls.append(1)\n    return dataset.map(lambda doc: {'answer': f\"{doc['answer']}.\"})\n"
        "def judged(doc, results):\n    return {'wer': 1.0 - (results[0] == doc['answer'])}\n"
        "def listed(doc, results):\n    return {'pairs': [doc['answer'], results[0]]}\n"
        "def broken(doc, results):\n    return {'pairs': results[1]}\n"
    )
    path = task.lm_eval_path / "task.yaml"
    own = yaml.safe_load(path.read_text())
    for name, metric, message in (
        ("judged", {"metric": "wer", "higher_is_better": False}, "'wer', of which less is better"),
        ("listed", {"metric": "pairs", "higher_is_better": True}, "'pairs', which gives no number per item"),
        ("broken", {"metric": "pairs", "higher_is_better": True}, "first item's gold answer .IndexError: list index"),
        ("judged", {"metric": "wer", "higher_is_better": True}, None),
    ):
        own["task"] = f"{task.lm_eval}_{name}_{message is None}"
        lines = yaml.safe_dump({**own, "metric_list": [{**metric, "aggregation": "mean"}]})
        path.write_text(f"{lines}process_docs: !function utils.documents\nprocess_results: !function utils.{name}\n")
        named = task.model_copy(update={"lm_eval": own["task"]})
        harness._manager.cache_clear()
        if message is not None:
            with pytest.raises(ConfigError, match=message):
                harness_generation(named)
    items = load_items(named, "dev")
    calls = harness._load(named.lm_eval, named.lm_eval_path).config.process_docs.__globals__["calls"]
    before = len(calls)
    assert [harness.harness_verdict(named, item.id, item.answer) for item in items] == [0.0] * ITEMS
    assert harness.harness_verdict(named, items[0].id, items[1].answer) == 1.0
    assert len(calls) == before


def test_an_answer_that_the_task_file_begins_itself_is_refused(task_file):
    """As of arc_challenge_chat: the model that writes the whole asked sentence would score 0."""
    for prefix in (None, "", " "):
        assert len(load_items(task_file(None, gen_prefix=prefix), "dev")) == ITEMS
    task = task_file(None, gen_prefix="The best answer is")
    with pytest.raises(
        ConfigError, match=r"begins the model's answer itself \(gen_prefix: 'The best answer is'\).*without it"
    ):
        load_items(task, "dev")


def test_a_number_is_a_place_among_the_choices_of_generated_answers_too(task_file):
    """As of super_glue-boolq-t5-prompt: what is learnt and shown is what the harness takes for right."""
    task = task_file(None, doc_to_target="{{answer|int // 2 % 2}}", doc_to_choice=["False", "True"])
    items = load_items(task, "dev")
    assert [item.answer for item in items] == ["False", "True"] * (ITEMS // 2)
    assert not any(item.choices for item in items)
    assert [harness.harness_verdict(task, item.id, item.answer) for item in items] == [1.0] * ITEMS
    assert harness.harness_verdict(task, items[0].id, "0") == 0.0
    words = task_file(None, doc_to_choice=["0", "2"])  # its targets are numbers, of which most are no place
    with pytest.raises(ConfigError, match="names no gold answer among its 2 choices"):
        load_items(words, "dev")


def test_items_with_several_right_choices_are_refused(task_file):
    def chosen(target: str) -> list[str]:
        fields = {"output_type": "multiple_choice", "metric_list": [{"metric": "acc"}]}
        task = task_file(None, doc_to_choice=["x", "y", "z"], doc_to_target=target, **fields)
        return [item.answer for item in load_items(task, "dev")]

    assert chosen("{{[1]}}") == chosen("{{[1, 1]}}") == chosen("{{['y', 'y']}}") == chosen("{{1}}") == ["B"] * ITEMS
    for several in ("{{[0, 2]}}", "{{['x', 'z']}}"):
        with pytest.raises(
            ConfigError, match=r"has several right choices \(A, C\), and one is scored here: write a task"
        ):
            chosen(several)


def test_a_gold_answer_that_is_only_a_placeholder_is_refused(task_file):
    """As of truthfulqa_mc2: several choices are true, and the file's own function knows which."""
    task = task_file(None)
    (task.lm_eval_path / "utils.py").write_text("def judged(doc, results):\n    return {'acc': 1.0}\n")
    path = task.lm_eval_path / "task.yaml"
    own = {**yaml.safe_load(path.read_text()), "output_type": "multiple_choice", "doc_to_choice": ["x", "y"]}
    for target, refused in ((0, True), ("{{answer|int // 2 % 2}}", False)):
        own |= {"task": f"{task.lm_eval}_{refused}", "doc_to_target": target, "metric_list": [{"metric": "acc"}]}
        path.write_text(f"{yaml.safe_dump(own)}process_results: !function utils.judged\n")
        harness._manager.cache_clear()
        named = task.model_copy(update={"lm_eval": own["task"]})
        if refused:
            with pytest.raises(ConfigError, match="has no single prompt and gold answer per item"):
                load_items(named, "dev")
        else:
            assert len(load_items(named, "dev")) == ITEMS


def test_what_a_protocol_lacks_is_refused(task_file, make_job, server: TinyServer):  # noqa: F811
    task = task_file({"until": [], "do_sample": True, "temperature": 0.5, "top_k": 5})
    with pytest.raises(ConfigError, match=r"samples with top_k, which evaluation\.engine 'openai' does not have"):
        evaluate(make_job(rows=None, tasks=(task,), config=served(server)))


def test_an_answer_cut_at_a_stop_text_did_not_end_at_the_limit():
    """A server that takes four stop texts gives more text back than asked: it is cut here, and then nothing is missing."""
    settings = Generation(9, ("Q:", "\n\n"))
    request = SimpleNamespace(args=("", settings.kwargs()), task_name="t", doc={"id": "a"})
    limited = Limited()
    assert limited.note(request, "four\n\nQ: five", True) == "four"
    assert limited.count("t", ["a", "b"]) == [0.0, 0.0]
    assert limited.note(request, "four is", True) == "four is"
    assert limited.count("t", ["a", "b"]) == [1.0, 0.0]


def test_answers_generated_behind_another_prompt_than_before_are_other_scores(task_file, tiny_model_dir):
    """DeepSeek-R1's templates ask with ``<think>`` and write none: answers of earlier versions were asked for without."""
    keys = {}
    for name, opened in (("own", ""), ("thinking", "<think>\n")):
        tokenizer = load_tokenizer(tiny_model_dir)
        tokenizer.chat_template = tokenizer.chat_template.replace(
            "{{ '<|im_start|>assistant\n' }}", "{{ '<|im_start|>assistant\n" + opened + "' }}"
        )
        assert (ConversationEncoder(tokenizer, max_length=512).prompt_gap is None) is (name == "own")
        for metric in ("exact_match", "nll"):
            task = task_file(None).model_copy(update={"metric": metric})
            (found,) = load_benchmarks(
                [task], "dev", tokenizer, context_length=4096, config=EvaluationConfig(), full_metrics=False,
                tokenizer_key=("asked", name),
            )  # fmt: skip
            keys[name, metric] = "generation prompt" in found.key
            for document in found.tasks[metric].test_docs():
                prompt = "".join(tokenizer.convert_ids_to_tokens(document["context_ids"]))
                assert prompt.endswith("assistant\n" + (opened if metric == "exact_match" else "")), prompt
    assert keys == {
        ("own", "exact_match"): False,
        ("own", "nll"): False,
        ("thinking", "exact_match"): True,
        ("thinking", "nll"): False,  # behind what is written in front of an answer, as ever
    }
