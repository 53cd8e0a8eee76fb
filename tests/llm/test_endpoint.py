"""One question over real HTTP: what the endpoint does wrong is bounded, repeated if that helps, and told."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import pytest
from chat_server import KEY, Behaviour, Serve
from pydantic import ValidationError
from searches import settings

from autoselection.errors import ConfigError, MissingExtraError
from autoselection.evaluation.engines.openai import CompletionsEndpoint, EndpointOptions
from autoselection.llm import endpoint_remark
from autoselection.llm.answers import ProposerAnswer, SummariserAnswer
from autoselection.llm.endpoint import Endpoint, Given
from autoselection.llm.exchanges import ExchangeLog
from autoselection.llm.prompts import load_prompt
from autoselection.llm.role_conversation import RoleConversation, RoleFailed
from autoselection.search import LLMConfig

MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]


def ask(llm: LLMConfig) -> Given:
    endpoint = Endpoint(llm)
    return endpoint.ask(endpoint.request(MESSAGES, ProposerAnswer))


def test_an_answer_with_its_usage(serve: Serve) -> None:
    server = serve(lambda request, number: "hi there")
    given = ask(settings(server))
    assert (given.answer, given.error, given.attempts, given.finish) == ("hi there", None, 1, "stop")
    assert (given.usage.input, given.usage.output, given.usage.estimated) == (100, 50, False)
    assert server.requests[0]["messages"] == MESSAGES
    assert server.authorizations == [f"Bearer {KEY}"]


def test_what_is_asked_of_the_server_follows_the_settings(serve: Serve) -> None:
    server = serve(lambda request, number: "x")
    ask(
        settings(
            server,
            answer_format="json_schema",
            temperature=0.3,
            max_tokens=77,
            max_tokens_field="max_completion_tokens",
            extra={"seed": 3, "chat_template_kwargs": {"enable_thinking": False}},
        )
    )
    sent = server.requests[0]
    assert sent["max_completion_tokens"] == 77 and "max_tokens" not in sent
    assert sent["temperature"] == 0.3 and sent["seed"] == 3
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["recipes"]
    ask(settings(server))
    assert not {"temperature", "response_format", "seed"} & set(server.requests[1])


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_trouble_is_waited_out(serve: Serve, status: int) -> None:
    server = serve(lambda request, number: Behaviour("busy", status=status) if number < 2 else "fine")
    given = ask(settings(server))
    assert (given.answer, given.attempts, len(server.requests)) == ("fine", 3, 3)


def test_waits_double_and_the_servers_wish_counts(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.server.FIRST_PAUSE", 0.1)
    server = serve(lambda request, number: Behaviour("busy", status=429) if number < 2 else "fine")
    assert ask(settings(server)).seconds >= 0.1 + 0.2
    server = serve(lambda request, number: "fine" if number else Behaviour(status=429, headers={"retry-after": "1"}))
    assert 1.0 <= ask(settings(server)).seconds < 4.0


def test_lasting_trouble_ends_after_the_repeats(serve: Serve) -> None:
    server = serve(lambda request, number: Behaviour("out of order", status=500))
    given = ask(settings(server))
    assert given.answer is None and given.unreachable and len(server.requests) == 3
    assert given.error is not None and "status 500" in given.error and "after 3 attempts" in given.error
    assert given.usage.input == 0


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_wrong_request_is_not_repeated_and_the_key_not_told(serve: Serve, status: int) -> None:
    server = serve(lambda request, number: Behaviour(f"Incorrect API key provided: {KEY}", status=status))
    given = ask(settings(server))
    assert len(server.requests) == 1
    assert given.error is not None and str(status) in given.error and KEY not in given.error and "***" in given.error


def test_a_slow_server_is_left_in_time_and_paid_for(serve: Serve) -> None:
    server = serve(lambda request, number: Behaviour("late", delay=10.0))
    started = time.monotonic()
    given = ask(settings(server, timeout=0.3, retries=1))
    assert time.monotonic() - started < 8.0
    assert given.answer is None and given.attempts == 2
    assert given.error is not None and "no answer within 0.3 s" in given.error
    assert given.usage.estimated and given.usage.output == 2 * 2048, "an answer that got lost may have been charged"


def test_a_trickle_of_bytes_is_slow_too(serve: Serve) -> None:
    server = serve(lambda request, number: Behaviour("drip", trickle=0.05))
    started = time.monotonic()
    given = ask(settings(server, timeout=0.5, retries=0))
    assert given.answer is None and time.monotonic() - started < 8.0  # all of it would take longer
    server.answer = lambda request, number: "well again"
    endpoint = Endpoint(settings(server, timeout=1.5, retries=1))
    server.answer = lambda request, number: Behaviour("drip", trickle=0.05) if number == 1 else "well again"
    assert endpoint.ask(endpoint.request(MESSAGES, ProposerAnswer)).answer == "well again"


def test_a_dropped_connection_and_no_server(serve: Serve) -> None:
    server = serve(lambda request, number: Behaviour(drop=True) if number == 0 else "back")
    assert ask(settings(server)).answer == "back"
    server.close()
    given = ask(settings(server, retries=1))
    assert given.answer is None and given.error is not None and "no connection" in given.error


@pytest.mark.parametrize(
    "body",
    [b"<html>gateway</html>", b"", b'{"choices": []}', b'{"choices": [{"message"', b"[" * 100_000, b'{"a": "\xff"}'],
)
def test_a_body_that_is_no_completion(serve: Serve, body: bytes) -> None:
    given = ask(settings(serve(lambda request, number: Behaviour(body=body))))
    assert given.answer is None and given.attempts == 1 and given.error == "the server's answer is no chat completion"


def test_an_enormous_answer_is_not_read_to_its_end(serve: Serve) -> None:
    server = serve(lambda request, number: Behaviour("x" * 40_000_000))
    given = ask(settings(server))
    assert given.answer is None and given.error is not None and "longer than 1 MiB" in given.error


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"prompt_tokens": -(10**9), "completion_tokens": 1}, {"prompt_tokens": "0", "completion_tokens": 0}, 7],
)
def test_tokens_are_guessed_if_the_server_tells_none_or_nonsense(serve: Serve, usage: object) -> None:
    given = ask(settings(serve(lambda request, number: Behaviour("some words", usage=usage))))
    assert given.usage.estimated and given.usage.input > 0 and given.usage.output > 0


def test_model_and_address_come_from_the_environment_too(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda request, number: "x")
    for name in ("OPENAI_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="OPENAI_MODEL"):
        Endpoint(LLMConfig())
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        Endpoint(LLMConfig(model="m"))
    with pytest.raises(ConfigError, match="NO_SUCH_KEY is not set"):
        Endpoint(LLMConfig(model="m", base_url=server.url, api_key_env="NO_SUCH_KEY"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-own-key")
    assert ask(LLMConfig(model="m", base_url=server.url)).answer == "x"
    assert server.authorizations == ["Bearer none"], "OpenAI's key goes to nobody else unasked"
    server.requests.clear()
    monkeypatch.setenv("OPENAI_MODEL", "from-outside")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert ask(LLMConfig()).answer == "x"
    assert server.requests[0]["model"] == "from-outside"


@pytest.mark.parametrize(
    "address", ["http://me:secret@host/v1", "https://host/v1?key=secret", "host:80", "file:///etc"]
)
def test_an_address_holds_no_secret(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        LLMConfig(model="m", base_url=address)


def test_the_missing_package_is_named(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"autoselection\[llm\]"):
        Endpoint(settings(serve(lambda request, number: "x")))


def test_money_needs_prices() -> None:
    with pytest.raises(ValueError, match="input_price"):
        LLMConfig(model="m", max_cost=1.0)


def test_the_doctor_tries_the_endpoint(serve: Serve) -> None:
    server = serve(lambda request, number: "x")
    assert "has the model 'tester'" in endpoint_remark(settings(server))
    assert "does not list the model 'other'" in endpoint_remark(settings(server, model="other"))
    assert not server.requests, "nothing is generated, nothing is paid"
    server.close()
    assert "does not answer" in endpoint_remark(settings(server))


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><html>",
        b"",
        b'"<html>"',
        b"[]",
        b"null",
        b'{"data": ["a"]}',
        b'{"data": [null]}',
        b'{"data": [{"id": 5}]}',
    ],
)
def test_the_doctor_tells_what_is_no_list_of_models(serve: Serve, body: bytes) -> None:
    server = serve(lambda request, number: "x")
    server.listing = body
    assert "answers, but with no list of models: is /v1 missing" in endpoint_remark(settings(server))
    server.listing = b'{"data": [' + b" " * (2 << 20) + b"]}"
    assert "does not answer (the answer is longer than 1 MiB)" in endpoint_remark(settings(server))


@pytest.mark.parametrize("key", ["sk-abc\u2026def-1234", "sk-abc\u00a0def-1234", "sk-abc def-1234", "sk-abc\ndef-1234"])
def test_a_key_that_no_request_can_carry_is_named_by_its_variable(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    server = serve(lambda request, number: "x")
    monkeypatch.setenv("TEST_LLM_KEY", key)
    with pytest.raises(ConfigError, match="variable TEST_LLM_KEY holds a character that no key has") as caught:
        Endpoint(settings(server))
    assert key not in str(caught.value) and "TEST_LLM_KEY" in endpoint_remark(settings(server))
    options = EndpointOptions(base_url=server.url, model="m", api_key_env="TEST_LLM_KEY")
    with pytest.raises(ConfigError, match="variable TEST_LLM_KEY holds a character"):
        CompletionsEndpoint(options).server


def test_a_key_from_a_file_comes_without_its_line_feed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda request, number: "x")
    monkeypatch.setenv("TEST_LLM_KEY", f" {KEY}\n")
    assert ask(settings(server)).answer == "x" and server.authorizations == [f"Bearer {KEY}"]


@pytest.mark.parametrize(
    "address",
    ["http://h:80a/v1", "http://h:99999/v1", "http://[::1/v1", "http://ho st/v1", "http://h\n/", "http://my..host/v1"],
)
@pytest.mark.parametrize("settings_of", [partial(LLMConfig, model="m"), partial(EndpointOptions, model="m")])
def test_an_address_that_is_none_is_refused_with_the_settings(settings_of: Any, address: str) -> None:
    with pytest.raises(ValidationError, match="base_url"):
        settings_of(base_url=address)
    with pytest.raises(ValidationError, match="less than or equal to 86400"):
        settings_of(base_url="http://h/v1", timeout=1e10)


@pytest.mark.parametrize(
    "address", ["http://user:hunter2pass@h/v1", "http://h/v1?key=hunter2pass", "http://h:80a/hunter2pass"]
)
def test_an_address_of_the_environment_is_held_to_the_same(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigError, match="variable OPENAI_BASE_URL holds no address") as caught:
        Endpoint(LLMConfig(model="m"))
    assert "hunter2" not in str(caught.value) + endpoint_remark(LLMConfig(model="m"))


def test_what_got_lost_is_repeated_as_often_as_the_budget_holds(serve: Serve) -> None:
    server = serve(lambda request, number: Behaviour("late", delay=2.0))
    for most, attempts in ((3_000, 1), (5_000, 2), (None, 4)):
        server.requests.clear()
        llm = settings(server, timeout=0.2, retries=3, max_tokens=2_000, max_total_tokens=most)
        conversation, prompt = RoleConversation(Endpoint(llm), ExchangeLog(None)), load_prompt("summariser")
        with pytest.raises(RoleFailed, match="no answer within") as caught:
            conversation.consult(1, "summariser", prompt, MESSAGES, SummariserAnswer, str)
        (record,) = conversation.log.records
        assert len(server.requests) == record["attempts"] == attempts
        assert most is None or record["usage"]["input"] + record["usage"]["output"] <= most
        assert ("the budget may hold no repeat" in str(caught.value)) == (attempts < 4)


def test_a_key_in_any_part_of_an_answer_is_not_kept(serve: Serve) -> None:
    server = serve(lambda request, number: Behaviour(f"say {KEY.upper()}", finish=f"x{KEY}"))
    given = ask(settings(server))
    assert given.answer == "say ***" and given.finish == "x***"
    server.models = [f"model-{KEY}"]
    assert Endpoint(settings(server)).models()[1] == ["model-***"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(serve: Serve, status: int) -> None:
    other = serve(lambda request, number: "stolen")
    server = serve(lambda request, number: Behaviour("", status=status, headers={"location": f"{other.url}/x"}))
    given = ask(settings(server))
    assert given.answer is None and given.error is not None
    assert f"status {status}: it sends on to {other.url}/x" in given.error and "search.llm.base_url" in given.error
    assert other.requests == [] and len(server.requests) == 1
