"""Engines give the scores of the model in memory: a server of the tiny model, and the parts of vLLM that need no GPU."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoselection.errors import ConfigError, EvaluationError, MissingExtraError
from autoselection.evaluation import EvaluationConfig, evaluate
from autoselection.evaluation.engines.contract import Question
from autoselection.evaluation.engines.openai import CompletionsEndpoint, EndpointLM, EndpointOptions
from autoselection.evaluation.engines.vllm import (
    VllmLM,
    VllmOptions,
    engine_arguments,
    likelihood_of,
    sampling_arguments,
)
from autoselection.evaluation.generation import AnswerTexts, Generation
from autoselection.evaluation.harness import load_benchmarks, score
from autoselection.language.models import load_model


def until(text: str, stops: list[str]) -> tuple[str, bool]:
    """What a server gives back of a text, and whether a stop text ended it."""
    places = [text.index(stop) for stop in stops if stop in text]
    return (text[: min(places)], True) if places else (text, False)


@dataclass
class TinyServer:
    """A server of the tiny model with the routes the engine uses, and switches for what servers lack."""

    model: Any
    tokenizer: Any
    logprobs: bool = True
    busy: int = 0
    extra_token: bool = False
    url: str = ""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[str | None] = field(default_factory=list)
    adapters: dict[str, Any] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        with self.lock:
            self.requests.append((path, body))
            if self.busy:
                self.busy -= 1
                return 503, {"error": "busy"}
            route: Callable[[dict[str, Any]], tuple[int, Any]] | None = {
                "/v1/completions": self.completions, "/v1/chat/completions": self.chat,
                "/v1/load_lora_adapter": self.load, "/v1/unload_lora_adapter": self.unload,
            }.get(path)  # fmt: skip
            return route(body) if route else (404, {"error": "no such route"})

    def served(self, name: str) -> Any:
        return self.model if name == "tiny" else self.adapters[name]

    def completions(self, body: dict[str, Any]) -> tuple[int, Any]:
        if not self.logprobs:
            return 400, {"error": "logprobs are not supported"}
        ids = body["prompt"]
        with torch.no_grad():
            rows = self.served(body["model"])(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        values = [None, *(float(rows[i - 1, ids[i]]) for i in range(1, len(ids)))]
        tops = [None, *({"t": float(rows[i - 1].max())} for i in range(1, len(ids)))]
        values += [float(rows[-1].max())] * (1 + self.extra_token)
        tops += [{"t": float(rows[-1].max())}] * (1 + self.extra_token)
        return 200, {"choices": [{"logprobs": {"token_logprobs": values, "top_logprobs": tops}}]}

    def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        text = self.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        out = self.served(body["model"]).generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=body["max_tokens"], do_sample=False,
            eos_token_id=end, pad_token_id=end,
        )  # fmt: skip
        content = self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        content, stopped = until(content, body.get("stop") or [])
        reason = "stop" if stopped or end in out[0, ids.shape[1] :].tolist() else "length"
        return 200, {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": reason}]}

    def load(self, body: dict[str, Any]) -> tuple[int, Any]:
        from peft import PeftModel

        base = load_model(self.model.name_or_path, "cpu", "float32")
        self.adapters[body["lora_name"]] = PeftModel.from_pretrained(base, body["lora_path"]).eval()
        return 200, "Success"

    def unload(self, body: dict[str, Any]) -> tuple[int, Any]:
        del self.adapters[body["lora_name"]]
        return 200, "Success"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.server.FIRST_PAUSE", 0.0)


@pytest.fixture
def server(tiny_model_dir: Path, tiny_tokenizer: Any) -> Iterator[TinyServer]:
    model = load_model(tiny_model_dir, "cpu", "float32")
    tiny = TinyServer(model, tiny_tokenizer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            tiny.headers.append(self.headers.get("Authorization"))
            status, answer = tiny.answer(self.path, body)
            text = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    tiny.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    yield tiny
    http.shutdown()
    thread.join()
    http.server_close()


def served(server: TinyServer, **fields: Any) -> dict[str, Any]:
    endpoint = {"base_url": server.url, "model": "tiny", "retries": 2, **fields}
    return {"engine": "openai", "endpoint": EndpointOptions(**endpoint)}


def test_a_server_gives_the_scores_of_the_model_in_memory(make_job, server, sums, choices):
    tasks = (sums, choices)
    ours = evaluate(make_job(rows=None, tasks=tasks, full_metrics=True))
    theirs = evaluate(make_job(rows=None, tasks=tasks, full_metrics=True, config=served(server)))
    for name in ("sums", "choices"):
        assert theirs.items[name]["nll"] == pytest.approx(ours.items[name]["nll"], abs=1e-4)
        assert theirs.items[name]["greedy_match"] == ours.items[name]["greedy_match"]
    assert theirs.items["choices"]["accuracy"] == ours.items["choices"]["accuracy"]
    # The server renders texts, so the item that spells a control token reaches its model as that token.
    assert theirs.items["sums"]["exact_match"] == ours.items["sums"]["exact_match"]
    assert all(body["temperature"] == 0 for _, body in server.requests)
    assert [path for path, _ in server.requests].count("/v1/chat/completions") == 12


def test_without_likelihoods_only_generated_answers_are_scored(make_job, server, sums):
    server.logprobs = False
    task = sums.model_copy(update={"metric": "exact_match"})
    result = evaluate(make_job(rows=None, tasks=(task,), full_metrics=True, config=served(server)))
    assert set(result.metrics["sums"]) == {"items", "truncated", "exact_match", "at_limit"}
    with pytest.raises(EvaluationError, match=r"Task 'sums': metric 'nll' needs log-probabilities.*not available"):
        evaluate(make_job(rows=None, config=served(server)))


def test_a_busy_server_is_asked_again_and_a_dead_one_is_named(make_job, server):
    server.busy = 2
    assert evaluate(make_job(rows=None, config=served(server))).failure is None
    server.busy = 99
    with pytest.raises(EvaluationError, match=r"did not answer in 3 attempts \(status 503.*busy.*is the server up"):
        evaluate(make_job(rows=None, config=served(server)))
    with pytest.raises(EvaluationError, match="is the server up"):
        evaluate(make_job(rows=None, config=served(server, base_url="http://127.0.0.1:9/v1")))
    with pytest.raises(EvaluationError, match=r"needs evaluation\.endpoint\.base_url"):
        evaluate(make_job(rows=None, config=served(server, base_url=None)))


def test_another_models_tokens_are_noticed(server):
    server.extra_token = True
    with pytest.raises(EvaluationError, match="counts 4 tokens where the tokenizer counts 3"):
        CompletionsEndpoint(served(server)["endpoint"]).likelihoods([1, 2, 3])


def test_the_key_comes_from_the_environment(server, monkeypatch):
    endpoint = CompletionsEndpoint(EndpointOptions(base_url=server.url, model="tiny", api_key_env="TINY_KEY"))
    monkeypatch.delenv("TINY_KEY", raising=False)
    with pytest.raises(EvaluationError, match="variable TINY_KEY"):
        endpoint.likelihoods([1, 2])
    monkeypatch.setenv("TINY_KEY", "abc")
    endpoint.likelihoods([1, 2])
    assert server.headers == ["Bearer abc"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_neither_prompts_nor_the_key_elsewhere(server, monkeypatch, status):
    """POST with 302 becomes a GET with the same headers in the standard library: the key would go along."""

    class Redirects(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("Location", f"{server.url}/stolen")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    monkeypatch.setenv("TINY_KEY", "sk-a-secret-key")
    http = ThreadingHTTPServer(("127.0.0.1", 0), Redirects)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    endpoint = CompletionsEndpoint(
        EndpointOptions(base_url=f"http://127.0.0.1:{http.server_address[1]}/v1", model="tiny", api_key_env="TINY_KEY")
    )
    with pytest.raises(EvaluationError, match=r"sends on to .*/stolen; that is not followed"):
        endpoint.gives_likelihoods([1, 2])
    http.shutdown()
    http.server_close()
    assert server.requests == [] and server.headers == []


def test_the_key_is_blotted_out_of_answers_and_errors(monkeypatch):
    key = "sk-a-secret-key"

    class Echoes(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            good = body["messages"][0]["content"] == "good"
            choice = {"message": {"content": f"the key is {key}"}, "finish_reason": key}
            answer = json.dumps({"choices": [choice]} if good else {"error": f"bad key {key.upper()}"}).encode()
            self.send_response(200 if good else 401)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("TINY_KEY", key)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Echoes)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    endpoint = CompletionsEndpoint(
        EndpointOptions(base_url=f"http://127.0.0.1:{http.server_address[1]}/v1", model="tiny", api_key_env="TINY_KEY")
    )
    assert "***" in str(endpoint.chat([{"role": "user", "content": "good"}], Generation(5)))
    assert key not in str(endpoint.chat([{"role": "user", "content": "good"}], Generation(5)))
    with pytest.raises(EvaluationError, match=r"status 401.*bad key \*\*\*"):
        endpoint.chat([{"role": "user", "content": "bad"}], Generation(5))
    http.shutdown()
    http.server_close()


def test_a_trained_adapter_is_served_for_a_while(make_job, server):
    sft = {"method": "lora", "lora_r": 2, "learning_rate": 1e-2}
    ours = evaluate(make_job(sft=sft))
    theirs = evaluate(make_job(sft=sft, config=served(server, load_adapters=True)))
    assert theirs.items["sums"]["nll"] == pytest.approx(ours.items["sums"]["nll"], abs=1e-4)
    assert theirs.train_loss == ours.train_loss
    paths = [path for path, _ in server.requests]
    assert paths.index("/v1/load_lora_adapter") < paths.index("/v1/unload_lora_adapter") == len(paths) - 1
    assert server.adapters == {}


def test_what_a_server_cannot_score_is_refused_before_training(make_job, server):
    with pytest.raises(EvaluationError, match="load_adapters"):
        evaluate(make_job(config=served(server)))
    with pytest.raises(ConfigError, match=r"sft\.method 'lora'"):
        evaluate(make_job(config=served(server, load_adapters=True)))


# --- the cache and per-item files -------------------------------------------------------------------------------------


def test_each_thing_that_decides_a_score_makes_another_key(
    make_job, server, tmp_path, sums, choices, tiny_model_dir, pool_dir, monkeypatch
):
    """One field after the other: what was computed with another value is computed again."""
    import shutil

    from autoselection.evaluation.evaluate import _Run

    config = {"cache_dir": tmp_path / "cache"}
    items = tmp_path / "items.jsonl"
    lines = Path(sums.dev).read_text().splitlines()
    items.write_text("\n".join(lines[:4]) + "\n")
    target = tmp_path / "target.jsonl"
    target.write_text("\n".join(line.replace('"s', '"x').replace("3+3", "4+4") for line in lines[6:]) + "\n")
    task = sums.model_copy(update={"dev": items, "test": items, "target": target, "metric": "exact_match"})
    other_model = tmp_path / "other"
    shutil.copytree(tiny_model_dir, other_model)
    settings = json.loads((other_model / "tokenizer_config.json").read_text())
    (other_model / "tokenizer_config.json").write_text(json.dumps({**settings, "note": "another"}))

    def cached(**fields: Any) -> list[str]:
        extra = fields.pop("config", {})
        job = make_job(**{"rows": None, "tasks": (task,), "config": {**config, **extra}, **fields})
        return list(evaluate(job).settings["cached_tasks"])

    assert cached() == []
    assert cached(seed=9) == [task.name]  # nothing is trained or sampled
    changed = [
        {"config": {"dtype": "bfloat16"}},
        {"config": {"max_new_tokens": 5}},
        {"config": served(server)},
        {"split": "test"},
        {"full_metrics": True, "tasks": (task.model_copy(update={"metric": "nll"}),)},
        {"chat_template": "plain"},
        {"model": str(other_model)},
        {"rows": range(8)},
        {"tasks": (task.model_copy(update={"fewshot": 1}),)},
        {"tasks": (task.model_copy(update={"answer": "text"}),)},
        {"tasks": (task.model_copy(update={"dev_limit": 3}),)},
    ]
    for fields in changed:
        assert cached(**fields) == [], fields
    endpoint = served(server)["endpoint"]
    server.adapters["second"] = server.model
    assert cached(config={"engine": "openai", "endpoint": endpoint.model_copy(update={"model": "second"})}) == []
    items.write_text("\n".join(lines[:3]) + "\n" + lines[3].replace("3 plus 3", "three plus 3") + "\n")
    assert cached() == []
    # No machine has every device and engine: their parts of the key are looked at.
    benchmarks = load_benchmarks(
        (sums,), "dev", server.tokenizer, context_length=512, config=EvaluationConfig(), full_metrics=False,
        tokenizer_key=("key test",),
    )  # fmt: skip
    keys = []
    for device, engine in (
        ("cpu", "transformers"),
        ("cuda:0", "transformers"),
        ("cuda:1", "transformers"),
        ("cuda", "vllm"),
    ):
        run = _Run(make_job(rows=None, config={"engine": engine}), 0.0)
        run.costs["settings"] = {"device": device}
        keys.append(repr(run._cache_keys(None, benchmarks, torch.float32)))
    assert len(set(keys)) == 3
    assert keys[1] == keys[2]


def test_scores_are_computed_once_per_model_task_and_settings(make_job, tmp_path, sums, choices):
    config = {"cache_dir": tmp_path / "cache"}
    plain = evaluate(make_job(rows=None, tasks=(sums, choices), full_metrics=True))
    first = evaluate(make_job(rows=None, tasks=(sums, choices), full_metrics=True, config=config))
    again = evaluate(make_job(rows=None, tasks=(choices, sums), full_metrics=True, config=config))
    assert first.settings["cached_tasks"] == []
    assert again.settings["cached_tasks"] == ["choices", "sums"]
    assert dict(plain.items) == dict(first.items) == dict(again.items)
    assert dict(plain.metrics) == dict(first.metrics) == dict(again.metrics)
    assert list(again.items) == ["choices", "sums"]
    assert "cached_tasks" not in plain.settings
    other = [
        make_job(rows=None, tasks=(sums,), config=config),  # other kinds of requests
        make_job(rows=None, tasks=(sums,), full_metrics=True, config={**config, "max_new_tokens": 3}),
        make_job(rows=None, tasks=(sums,), full_metrics=True, split="test", config=config),
        make_job(tasks=(sums,), full_metrics=True, config=config),  # other weights
    ]
    for job in other:
        assert evaluate(job).settings["cached_tasks"] == []
    assert evaluate(other[-1]).settings["cached_tasks"] == ["sums"]  # the same training gives the same weights
    for path in (tmp_path / "cache").rglob("*.json"):
        path.write_text("{")
    with pytest.raises(EvaluationError, match="damaged: delete the file"):
        evaluate(make_job(rows=None, tasks=(sums, choices), full_metrics=True, config=config))


def test_every_items_values_are_kept_by_task_and_split(make_job, tmp_path, sums, choices):
    result = evaluate(make_job(rows=None, tasks=(sums, choices)))
    for task in ("sums", "choices"):
        path = tmp_path / "work" / "items" / task / "dev" / "items.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [line["id"] for line in lines] == result.items[task]["ids"]
        assert [line["nll"] for line in lines] == result.items[task]["nll"]
        assert all((line["task"], line["split"]) == (task, "dev") for line in lines)


@pytest.mark.slow
def test_compiled_likelihoods_are_those_of_the_plain_model(make_job, choices):
    plain = evaluate(make_job(rows=None, tasks=(choices,), full_metrics=True))
    compiled = evaluate(make_job(rows=None, tasks=(choices,), full_metrics=True, config={"compile": True}))
    assert compiled.items["choices"]["nll"] == pytest.approx(plain.items["choices"]["nll"], abs=1e-4)
    assert compiled.items["choices"]["accuracy"] == plain.items["choices"]["accuracy"]


# --- vLLM: what needs no GPU ------------------------------------------------------------------------------------------


class StandIn:
    """Answers ``LLM.generate`` as vLLM documents it, from the tiny model; not vLLM itself."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.asked: list[dict[str, Any]] = []

    def generate(
        self, prompts: list[dict[str, Any]], parameters: Any, *, use_tqdm: bool, lora_request: Any
    ) -> list[Any]:
        several = parameters if isinstance(parameters, list) else [parameters] * len(prompts)
        outputs = []
        for prompt, settings in zip(prompts, several, strict=True):
            self.asked.append({**settings, "lora_request": lora_request})
            ids = prompt["prompt_token_ids"]
            if "prompt_logprobs" in settings:
                with torch.no_grad():
                    rows = self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
                entries: list[Any] = [None]
                for position in range(1, len(ids)):
                    row = rows[position - 1]
                    shown = {int(row.argmax()), ids[position]}
                    entries.append({
                        token: SimpleNamespace(logprob=float(row[token]), rank=1 + int((row > row[token]).sum()))
                        for token in shown
                    })  # fmt: skip
                outputs.append(SimpleNamespace(prompt_logprobs=entries, outputs=[SimpleNamespace(text="x")]))
                continue
            tensor = torch.tensor([ids])
            made = self.model.generate(
                input_ids=tensor, attention_mask=torch.ones_like(tensor), max_new_tokens=settings["max_tokens"],
                do_sample=False, eos_token_id=settings["stop_token_ids"], pad_token_id=settings["stop_token_ids"][0],
            )  # fmt: skip
            text = self.tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True)
            text, stopped = until(text, settings["stop"] or [])
            ended = stopped or set(settings["stop_token_ids"]) & set(made[0, len(ids) :].tolist())
            answer = SimpleNamespace(
                text=text, token_ids=made[0, len(ids) :].tolist(), finish_reason="stop" if ended else "length"
            )
            outputs.append(SimpleNamespace(prompt_logprobs=None, outputs=[answer]))
        return outputs


def test_vllms_answers_become_the_same_scores(make_job, tiny_model_dir, tiny_tokenizer, sums, choices):
    ours = evaluate(make_job(rows=None, tasks=(sums, choices), full_metrics=True))
    benchmarks = load_benchmarks(
        (sums, choices), "dev", tiny_tokenizer, context_length=512, config=EvaluationConfig(), full_metrics=True,
        tokenizer_key=("vllm test",),
    )  # fmt: skip
    engine = StandIn(load_model(tiny_model_dir, "cpu", "float32"), tiny_tokenizer)
    scored = VllmLM(engine, dict, AnswerTexts(tiny_tokenizer), adapter="subset-1", context_length=512, seed=3)
    found = score(scored, benchmarks)
    for name in ("sums", "choices"):
        assert found[name].items["nll"] == pytest.approx(ours.items[name]["nll"], abs=1e-4)
        assert found[name].items["greedy_match"] == ours.items[name]["greedy_match"]
    assert found["choices"].items["accuracy"] == ours.items["choices"]["accuracy"]
    assert found["sums"].items["exact_match"] == ours.items["sums"]["exact_match"]
    assert all(
        call["lora_request"] == "subset-1" and call["temperature"] == 0.0 and call["seed"] == 3 for call in engine.asked
    )


def test_vllm_is_started_with_room_for_the_adapters():
    config = EvaluationConfig.model_validate({"engine": "vllm", "sft": {"method": "lora", "lora_r": 24}})
    base = {"context_length": 2048, "seed": 0, "trust_remote_code": False}
    with_adapters = engine_arguments(config, VllmOptions(), "folder", adapters=True, **base)
    assert (with_adapters["enable_lora"], with_adapters["max_lora_rank"], with_adapters["max_loras"]) == (True, 32, 1)
    assert (with_adapters["dtype"], with_adapters["max_model_len"]) == ("auto", 2048)
    assert "enable_lora" not in engine_arguments(config, VllmOptions(), "folder", adapters=False, **base)
    large = EvaluationConfig.model_validate({"sft": {"method": "lora", "lora_r": 700}})
    with pytest.raises(EvaluationError, match="up to rank 512, not 700"):
        engine_arguments(large, VllmOptions(), "folder", adapters=True, **base)


def test_vllms_sampling_is_greedy_and_reads_prompts_or_writes_answers():
    assert sampling_arguments(None, seed=1) == {
        "temperature": 0.0, "seed": 1, "max_tokens": 1, "prompt_logprobs": 1, "detokenize": False,
    }  # fmt: skip
    written = sampling_arguments(Generation(9, ("User:",), (2,)), seed=1)
    assert written == {"temperature": 0.0, "seed": 1, "max_tokens": 9, "stop_token_ids": [2], "stop": ["User:"]}
    sampled = sampling_arguments(Generation(9, temperature=0.7, top_p=0.9, top_k=20), seed=1)
    assert (sampled["temperature"], sampled["top_p"], sampled["top_k"]) == (0.7, 0.9, 20)


def test_a_missing_log_probability_is_an_error_and_not_zero():
    entry = SimpleNamespace(logprob=-0.5, rank=1)
    assert likelihood_of([None, {7: entry}, {8: SimpleNamespace(logprob=-1.0, rank=3)}], [5, 7, 8], 2) == (-1.5, False)
    assert likelihood_of([None, {7: entry}], [5, 7], 1) == (-0.5, True)
    with pytest.raises(EvaluationError, match="no log-probability"):
        likelihood_of([None, {6: entry}], [5, 7], 1)
    with pytest.raises(EvaluationError, match="no log-probability"):
        likelihood_of([None, {7: entry}], [5, 7], 2)


def test_vllm_that_is_not_installed_is_named(make_job):
    with pytest.raises(MissingExtraError, match=r"needs the package 'vllm'.*autoselection\[vllm\]"):
        evaluate(make_job(config={"engine": "vllm"}))


def _questions(count: int) -> list[Question]:
    """Longer and longer ones, told apart by how long their answers may be."""
    turns: Any = [{"role": "user", "content": "x"}]
    return [Question([0] * (1 + number), turns, Generation(10 + number)) for number in range(count)]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an interrupt does not end a wait")
def test_an_interrupt_does_not_wait_for_answers() -> None:
    asked: list[Any] = []
    over = threading.Event()

    def chat(*question: Any) -> tuple[str, bool]:
        asked.append(question)
        threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        over.wait(60)
        return "late", False

    endpoint: Any = SimpleNamespace(options=SimpleNamespace(concurrency=1), chat=chat)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        EndpointLM(endpoint, context_length=64, seed=0).answers(_questions(3))
    assert time.monotonic() - began < 30
    over.set()
    time.sleep(0.2)
    assert len(asked) == 1, "what was not asked yet is not asked any more"


def test_answers_come_in_the_order_of_the_questions_and_the_first_error_ends_them() -> None:
    def chat(messages: Any, generation: Any, seed: int) -> tuple[str, bool]:
        if generation.max_gen_toks == 18:
            raise EvaluationError("no answer")
        return str(generation.max_gen_toks), False

    endpoint: Any = SimpleNamespace(options=SimpleNamespace(concurrency=3), chat=chat)
    model = EndpointLM(endpoint, context_length=64, seed=0)
    assert model.answers(_questions(8)) == [(str(10 + number), False) for number in range(8)]
    assert model.answers([]) == []
    with pytest.raises(EvaluationError, match="no answer"):
        model.answers(_questions(20))
