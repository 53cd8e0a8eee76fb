"""Templates are programs of strangers: whatever they do, there is a conversation or a sentence, and soon."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from autoselection.errors import EvaluationError
from autoselection.language.chat import CHAT_TEMPLATES, ConversationEncoder, TemplateBroken, check_template

LOOP = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.fixture
def encoder_with(tiny_model_dir: Any) -> Any:
    from autoselection.language.models import load_tokenizer

    def make(template: str) -> ConversationEncoder:
        tokenizer = load_tokenizer(tiny_model_dir)
        tokenizer.chat_template = template
        return ConversationEncoder(tokenizer, max_length=100)

    return make


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.content }}", r"Unexpected end of template.*\(line 1\)"),
        (LOOP + "\n{{ 'x'", r"\(line 3\)"),
        (LOOP + "{{ messages|nope }}", "No filter named 'nope'"),
        (LOOP + "{% endif %}", "endif"),
        (LOOP + "{{ 9**9**9 }}", "power"),
        (LOOP + "{{ 'x' * 99999999999 }}", "something huge"),
        (LOOP + "{{ '%0999999999d' % 1 }}", "something huge"),
        (LOOP + "{{ 'x'|center(999999999) }}", "something huge"),
        ("{% for m in messages %}" * 21 + LOOP + "{% endfor %}" * 21, "nested too deeply"),
        (LOOP + "{{ ('a' * 100000 * 60000)|length }}", "multiplies by something other than a number up to 1,000"),
        (LOOP + "{{ 'a' * 100 * 100 }}", "multiplies by something other"),
        (LOOP + "{{ 'a' * messages|length }}", "multiplies by something other"),
        (LOOP + "{{ ([[1]] * 99)|sum(start=[]) }}", "adds up something other than numbers"),
        (LOOP + "{{ 'x' }}" * 30000, "at most 200,000 are read"),
        ("{% if 1 %}" * 3000 + LOOP + "{% endif %}" * 3000, "nested too deeply"),
    ],
)
def test_a_template_that_can_never_be_used_is_refused_at_once(encoder_with, template, message):
    """Such a template used to make every row's score missing, without a word."""
    with pytest.raises(TemplateBroken, match=message):
        encoder_with(template)


@pytest.mark.parametrize(
    "template",
    [
        LOOP + "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        LOOP + "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for m in messages %}" * 8 + "{% for a in range(9) %}" * 9 + "{% endfor %}" * 17 + LOOP,
    ],
)
def test_a_template_without_end_ends_with_a_sentence(encoder_with, template, monkeypatch):
    if "macro" in template:
        monkeypatch.setattr("autoselection.language.chat.template._MOST_STEPS", 100_000)  # calls take longer
    started = time.process_time()
    with pytest.raises(TemplateBroken, match=r"does not come to an end \(more than"):
        encoder_with(template).encode_batch([CHAT])
    assert time.process_time() - started < 30  # minutes to years without the limit


DOUBLED = "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(40) %}{% set ns.x = ns.x OP ns.x %}{% endfor %}"


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux")
@pytest.mark.parametrize(
    "template", [DOUBLED.replace("OP", "~"), DOUBLED.replace("OP", "+"), "{{ range(99999)|join('a'.ljust(999999)) }}"]
)
def test_a_template_cannot_fill_the_memory(encoder_with, template):
    import resource

    encoder, before = encoder_with(LOOP + template), resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(TemplateBroken, match="asks for more than 1 GiB of memory"):
        encoder.encode_batch([CHAT])
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_numbers_of_ordinary_templates_multiply():
    check_template(LOOP + "{{ '=' * 40 }}{{ 2 * messages|length }}{{ -1 * 3 }}{{ [1, 2]|sum }}", "x")


@pytest.mark.parametrize(
    "fault",
    [
        "{% for a in range(999999) %}{% endfor %}",  # the sandbox's own limit
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 1 // 0 }}",
        "{{ 1 + messages[0].role }}",
        "{{ a.b.c }}",
        "{{ messages[9].role }}",
        "{{ raise_exception('only users') }}",
    ],
)
def test_what_fails_for_these_messages_is_a_refusal(encoder_with, fault):
    encoder = encoder_with("{% if messages|length > 1 %}" + fault + "{% endif %}" + LOOP)
    assert encoder.encode_batch([CHAT, CHAT[:1]])[0] is None
    with pytest.raises(EvaluationError, match="refuses the roles user, assistant"):
        encoder.encode(CHAT)
    assert encoder.encode_batch([CHAT[:1]])[0] is not None


def test_what_is_only_tried_may_be_refused_but_not_broken(encoder_with):
    """A conversation that is rendered to learn about a template: a refusal is an answer, a loop without end is none."""
    refusing = encoder_with("{% if tools %}{{ raise_exception('no tools') }}{% endif %}" + LOOP)
    assert refusing.template.render_or_none(CHAT, [{}]) is None
    assert refusing.template.render_or_none(CHAT) == refusing.template.render(CHAT)
    assert not refusing.shows_tools and refusing.encode_batch([CHAT])[0] is not None
    endless = encoder_with("{% for a in range(99999 if tools else 0) %}" * 2 + "{% endfor %}" * 2 + LOOP)
    with pytest.raises(TemplateBroken, match="does not come to an end"):
        endless.template.render_or_none(CHAT, [{}])
    with pytest.raises(TemplateBroken, match="does not come to an end"):
        _ = endless.shows_tools


def test_long_conversations_and_published_statements_are_within_the_limits(encoder_with):
    long = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"turn {i}"} for i in range(4000)]
    template = encoder_with(LOOP).template
    assert template.render(long) == "".join(f"{m['role']}: {m['content']}<|im_end|>\n" for m in long)
    for template in (*CHAT_TEMPLATES.values(), "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
                     "{% if loop.first %}{% continue %}{% endif %}{% endfor %}{{ messages|tojson }}"):  # fmt: skip
        check_template(template, "x")


def test_a_trace_function_of_others_stays(encoder_with):
    import sys

    def mine(*_: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(mine)
    try:
        encoder_with(LOOP).encode(CHAT)
        assert sys.gettrace() is mine
    finally:
        sys.settrace(before)


def test_a_conversation_that_takes_too_much_memory_is_left_out_and_the_template_is_not_blamed(
    encoder_with, monkeypatch
):
    encoder = encoder_with(LOOP)
    render = encoder.template.render

    def limited(messages: Any, *given: Any, **more: Any) -> str:
        if sum(len(message["content"]) for message in messages) > 1_000:
            raise MemoryError
        return render(messages, *given, **more)

    monkeypatch.setattr(encoder.template, "render", limited)
    huge = [{"role": "user", "content": "a" * 6_000}, CHAT[1]]
    first, refused, last = encoder.encode_batch([CHAT, huge, CHAT])
    assert refused is None
    assert first == last == encoder.encode(CHAT)
    with pytest.raises(EvaluationError, match=r"conversation of 2 turns \(6,001 characters\) takes more than") as error:
        encoder.encode(huge)
    assert not isinstance(error.value, TemplateBroken)


def test_a_row_pays_for_its_own_memory_not_for_that_of_the_rows_before(encoder_with, monkeypatch):
    encoder, calls = encoder_with(LOOP), []
    wanted = encoder.encode_batch([CHAT] * 3)
    render = encoder.template.render

    def full_once(*given: Any, **more: Any) -> str:
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        return render(*given, **more)

    monkeypatch.setattr(encoder.template, "render", full_once)
    assert encoder.encode_batch([CHAT] * 3) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux")
def test_memory_grows_with_the_length_of_a_conversation_not_with_its_square(tiny_model_dir, monkeypatch):
    """Every turn is rendered up to; all these texts at once were 80 MB here, and more than the limit for long traces."""
    from autoselection.language.models import load_tokenizer

    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.chat_template = LOOP
    encoder = ConversationEncoder(tokenizer, max_length=100, turns="each")
    encoder.encode(CHAT)
    monkeypatch.setattr("autoselection.language.chat.template.MOST_MEMORY", 40 << 20)
    exchange = [{"role": "user", "content": "😀" + "dump " * 550}, {"role": "assistant", "content": "b\n"}]
    (found,) = encoder.sample_batch([exchange * 120])
    assert found is not None and found[0].truncated > 300_000


def test_a_conversation_that_takes_too_long_is_left_out(encoder_with, monkeypatch):
    monkeypatch.setattr("autoselection.language.chat.template._MOST_STEPS", 1_000)
    encoder = encoder_with(LOOP)
    long = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"turn {i}"} for i in range(2_000)]
    refused, fine = encoder.encode_batch([long, CHAT])
    assert refused is None and fine is not None
    with pytest.raises(
        EvaluationError, match=r"takes more than 1,000 steps for one conversation of 2,000 turns"
    ) as error:
        encoder.encode(long)
    assert not isinstance(error.value, TemplateBroken)
