"""Turns that a template rewrites, kinds of tokens, control tokens in row text, named templates and the date."""

from __future__ import annotations

import datetime
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.errors import EvaluationError
from autoselection.language.chat import ANSWER, CALL, REASONING, ChatOptions, Conversation, ConversationEncoder, Encoded
from autoselection.language.chat.form import Marker
from autoselection.language.chat.kinds import calls_in
from autoselection.language.chat.options import own_templates
from autoselection.language.models import load_tokenizer, save_tokenizer

#: As Qwen 3: a block of reasoning in the last answer, none in those before.
THINKING = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set r = m.reasoning_content or '' %}{% set c = m.content %}"
    "{% if '</think>' in c %}{% set r = c.split('</think>')[0].split('<think>')[-1].strip() %}"
    "{% set c = c.split('</think>')[-1].strip() %}{% endif %}{{ '<|im_start|>assistant\n' }}"
    "{% if loop.last %}{{ '<think>\n' + r + '\n</think>\n\n' }}{% endif %}{{ c }}"
    "{% for t in m.tool_calls or [] %}{{ '\n<tool_call>' + t.function|tojson + '</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LAST = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{{ '<|eos|>' if loop.last and m.role != 'user' else '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def said(role: str, content: str, **more: Any) -> Any:
    return {"role": role, "content": content, **more}


def make(folder: Path, template: str, **options: Any) -> ConversationEncoder:
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template
    return ConversationEncoder(tokenizer, **{"max_length": 1 << 20, **options})


def text(encoder: ConversationEncoder, encoded: Encoded, mask: list[bool] | None = None) -> str:
    kept = [
        token for token, here in zip(encoded.input_ids, mask or [True] * len(encoded.input_ids), strict=True) if here
    ]
    return "".join(encoder.tokenizer.convert_ids_to_tokens(kept))


def learnt(encoder: ConversationEncoder, encoded: Encoded) -> str:
    return text(encoder, encoded, encoded.response)


THREE = [
    said("user", "a?"), said("assistant", "A", reasoning_content="ra"),
    said("user", "b?"), said("assistant", "B", reasoning_content="rb"),
    said("user", "c?"), said("assistant", "C", reasoning_content="rc"),
]  # fmt: skip


def test_a_turn_that_is_rewritten_later_has_a_loss_only_in_its_own_sample(tiny_model_dir: Path) -> None:
    every = make(tiny_model_dir, THINKING)
    assert learnt(every, every.encode(THREE)) == "<think>\nrc\n</think>\n\nC<|im_end|>"
    assert every.encode(THREE).rewritten == 2
    each = make(tiny_model_dir, THINKING, turns="each")
    samples = each.samples(THREE)
    assert [learnt(each, sample) for sample in samples] == [
        f"<think>\n{r}\n</think>\n\n{c}<|im_end|>" for r, c in (("rc", "C"), ("rb", "B"), ("ra", "A"))
    ]
    for sample, turns in zip(samples, (6, 4, 2), strict=True):
        given = each.template_input(THREE[:turns])
        assert text(each, sample) == each.tokenizer.apply_chat_template(given.messages, tokenize=False)
    assert each.sample_batch([THREE, THREE[:2]]) == [samples, each.samples(THREE[:2])]


def test_each_is_one_sample_where_nothing_is_rewritten(tiny_tokenizer: Any) -> None:
    plain = [{"role": turn["role"], "content": turn["content"]} for turn in THREE]
    every, each = (ConversationEncoder(tiny_tokenizer, max_length=512, turns=turns) for turns in ("all", "each"))
    assert each.samples(plain) == [every.encode(plain)]
    assert learnt(each, each.samples(plain)[0]) == "A<|im_end|>B<|im_end|>C<|im_end|>"


def test_an_end_mark_that_only_the_last_turn_has_is_learnt_by_each(tiny_model_dir: Path) -> None:
    plain = [{"role": turn["role"], "content": turn["content"]} for turn in THREE]
    every, each = make(tiny_model_dir, LAST), make(tiny_model_dir, LAST, turns="each")
    assert learnt(every, every.encode(plain)) == "C<|eos|>"
    assert [learnt(each, sample) for sample in each.samples(plain)] == ["C<|eos|>", "B<|eos|>", "A<|eos|>"]


@settings(max_examples=60)
@given(data=st.data())
def test_each_learns_every_trained_turn_once_as_inference_would_produce_it(tiny_model_dir: Path, data: Any) -> None:
    template = data.draw(st.sampled_from([THINKING, LAST]))
    encoder = make(tiny_model_dir, template, turns="each")
    turns = []
    for number in range(data.draw(st.integers(1, 4))):
        more = data.draw(st.sampled_from([{}, {"reasoning_content": f"r{number}"}, {"weight": 0}]))
        turns += [
            said("user", f"q{number}?"),
            said("assistant", data.draw(st.sampled_from(["a b", "x\ny", " z "])), **more),
        ]
    found = "".join(sorted(learnt(encoder, sample) for sample in encoder.samples(turns)))
    wanted = []
    for place in range(1, len(turns), 2):
        if turns[place].get("weight") == 0:
            continue
        prompt = encoder.prompt(turns[:place])
        given = encoder.template_input(turns[: place + 1])
        whole = encoder.tokenizer.apply_chat_template(given.messages, tokenize=False)
        wanted.append(whole.removeprefix(prompt).rstrip("\n"))
    assert len(found) == len("".join(wanted))
    assert all(found.count(answer) >= wanted.count(answer) for answer in wanted)


def test_a_turn_of_weight_zero_is_context(tiny_tokenizer: Any) -> None:
    turns = [said("user", "a?"), said("assistant", "A", weight=0), said("user", "b?"), said("assistant", "B")]
    encoder = ConversationEncoder(tiny_tokenizer, max_length=512)
    encoded = encoder.encode(turns)
    assert learnt(encoder, encoded) == "B<|im_end|>"
    assert "assistant\nA<|im_end|>" in text(encoder, encoded)


def by_kind(encoder: ConversationEncoder, encoded: Encoded, kind: int) -> str:
    return text(encoder, encoded, [found == kind for found in encoded.kinds])


TOOLS = json.dumps(
    [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
)
CALLING = [
    said("user", "2+3?"),
    said("assistant", "see", reasoning_content="hm", tool_calls=[{"name": "add", "arguments": '{"a": 2}'}]),
]


@pytest.mark.parametrize(
    ("turns", "reasoning", "answer", "call"),
    [
        (CALLING, "<think>\nhm\n</think>\n\n", "see", '\n<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call><|im_end|>'),
        ([said("user", "?"), said("assistant", "<think>\nhm\n</think>\n\nB")], "<think>\nhm\n</think>\n\n", "B<|im_end|>", ""),
        ([said("user", "?"), said("assistant", "B")], "", "<think>\n\n</think>\n\nB<|im_end|>", ""),
        ([said("user", "?"), said("assistant", "so <tool_call>{}</tool_call> done")], "",
         "<think>\n\n</think>\n\nso done<|im_end|>", " <tool_call>{}</tool_call>"),
    ],
)  # fmt: skip
def test_kinds_of_what_is_written(tiny_model_dir: Path, turns: Any, reasoning: str, answer: str, call: str) -> None:
    encoder = make(tiny_model_dir, THINKING)
    encoded = encoder.encode(Conversation(turns, TOOLS))
    assert by_kind(encoder, encoded, REASONING) == reasoning
    assert by_kind(encoder, encoded, ANSWER) == answer
    assert by_kind(encoder, encoded, CALL) == call


def test_what_the_prompt_gives_has_no_loss(tiny_model_dir: Path) -> None:
    template = (
        THINKING.removesuffix("{{ '<|im_start|>assistant\n' }}{% endif %}")
        + "{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
    )
    encoder = make(tiny_model_dir, template)
    encoded = encoder.encode(THREE[:2])
    assert learnt(encoder, encoded) == "ra\n</think>\n\nA<|im_end|>"
    assert by_kind(encoder, encoded, REASONING) == "ra\n</think>\n\n"


def test_a_template_that_acts_upon_control_text_is_refused_or_followed_as_the_options_say(tiny_model_dir: Path) -> None:
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.split('<|eos|>')[-1] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    turns = [said("user", "a?"), said("assistant", "old<|eos|>new <|im_end|>")]
    encoder = make(tiny_model_dir, template)
    with pytest.raises(EvaluationError, match=r"acts upon control tokens.*model\.control_text"):
        encoder.encode(turns)
    assert encoder.encode_batch([turns, THREE])[0] is None
    following = make(tiny_model_dir, template, options=ChatOptions(control_text="follow"))
    assert learnt(following, following.encode(turns)) == "new <|im_end|><|im_end|>"
    end = following.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert following.encode(turns).input_ids.count(end) == 3
    assert encoder.encode([said("user", "<|eos|>"[:5]), said("assistant", "b <|im_end|>")]).input_ids.count(end) == 2


def metaspace(scheme: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    inner.decoder = decoders.Metaspace(prepend_scheme=scheme)
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789:.,?!<>/[]|\n\u2581")
    trainer = trainers.BpeTrainer(
        vocab_size=140, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=letters, show_progress=False
    )
    inner.train_from_iterator(["hello there", "add two numbers", "stop now", "</s> the end"], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[i]' + m.content + '[/i]' }}"
        "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
    )
    return made


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
@settings(max_examples=60)
@given(
    answer=st.lists(st.sampled_from(["hello", " ", "</s>", "<s>", "add", "\n", "x"]), min_size=1, max_size=7).map(
        "".join
    )
)
def test_text_beside_spelled_control_tokens_is_tokenized_as_without_them(scheme: str, answer: str) -> None:
    """A stretch between the template's own tokens gives what a tokenizer that knows no such token gives of it."""
    if not answer.strip() or answer != answer.strip():
        return
    tokenizer = metaspace(scheme)
    encoder = ConversationEncoder(tokenizer, max_length=1 << 20)
    encoded = encoder.encode([said("user", "add two"), said("assistant", answer)])
    assert encoded.input_ids.count(tokenizer.eos_token_id) == 1
    assert encoded.input_ids.count(tokenizer.bos_token_id) == 1
    assert encoded.input_ids[-1] == tokenizer.eos_token_id
    assert encoded.response[-1]
    spelled = "".join(tokenizer.convert_ids_to_tokens(encoded.input_ids[1:-1])).replace("\u2581", " ")
    assert spelled.removeprefix(" ") == f"[i]add two[/i]{answer}"
    # Letters that stand for the tokens' own ("</s>" as "</q>") are tokenized alike where nothing merges with them.
    other = answer.replace("</s>", "\ue000").replace("<s>", "\ue001")
    if other == answer:
        text_ids = tokenizer.apply_chat_template(
            [said("user", "add two"), said("assistant", answer)], return_dict=False
        )
        assert encoded.input_ids == text_ids


def test_one_bos_and_the_last_mark_of_a_closed_conversation(tiny_model_dir: Path) -> None:
    """Phi-3: what closes a conversation unless prompted is no part of the answer, nor of the header."""
    closed = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% else %}{{ '<|eos|>' }}{% endif %}"
    )
    encoder = make(tiny_model_dir, closed)
    encoded = encoder.encode(THREE[:2])
    assert learnt(encoder, encoded) == "A<|im_end|>"
    assert text(encoder, encoded, encoded.alone) == "<|im_start|>assistant\nA<|im_end|>"
    assert text(encoder, encoded).endswith("<|im_end|>\n<|eos|>")


def test_the_date_is_the_one_of_the_options(tiny_model_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "dated.jinja"
    file.write_text(
        "{{ strftime_now('%d %B %Y') + (date_string or '') }}{% for m in messages %}{{ m.content + '<|im_end|>' }}{% endfor %}"
    )
    usual = load_tokenizer(tiny_model_dir, str(file))
    assert usual.apply_chat_template(THREE[:1], tokenize=False).startswith("26 July 2024")  # whoever renders it
    options = ChatOptions(str(file), datetime.date(2031, 1, 2))
    tokenizer = load_tokenizer(tiny_model_dir, options)
    encoder = ConversationEncoder(tokenizer, max_length=512)
    assert text(encoder, encoder.encode(THREE[:2])).startswith("02 January 203102 Jan 2031a?")
    assert options.key(tiny_model_dir) != ChatOptions(str(file)).key(tiny_model_dir)
    save_tokenizer(tokenizer, tmp_path / "saved")
    assert own_templates(tmp_path / "saved")["default"] == file.read_text()


def with_templates(folder: Path, target: Path, **named: str) -> Path:
    import shutil

    shutil.copytree(folder, target)
    (target / "additional_chat_templates").mkdir()
    for name, template in named.items():
        (target / "additional_chat_templates" / f"{name}.jinja").write_text(template)
    return target


def test_named_templates_are_those_of_transformers(tiny_model_dir: Path, tmp_path: Path) -> None:
    own = "{% for m in messages %}{{ 'NAME ' + m.role + ': ' + m.content + '<|im_end|>' }}{% endfor %}"
    folder = with_templates(
        tiny_model_dir, tmp_path / "m", tool_use=own.replace("NAME", "use"), rag=own.replace("NAME", "rag")
    )
    plain = [said("user", "a"), said("assistant", "b")]
    with_tools = Conversation(plain, TOOLS)
    for template, beginnings in (
        (None, ("<|im_start|>", "use ")),
        ("rag", ("rag ", "rag ")),
        ("default", ("<|im_start|>",) * 2),
    ):
        encoder = ConversationEncoder(load_tokenizer(folder, template), max_length=512)
        for row, beginning in zip((plain, with_tools), beginnings, strict=True):
            assert text(encoder, encoder.encode(row)).startswith(beginning)
    assert set(own_templates(folder)) == {"default", "rag", "tool_use"}
    assert len({ChatOptions(template).key(folder) for template in (None, "rag", "default")}) == 3
    with pytest.raises(EvaluationError, match="'ragg' is neither a named template nor a file; did you mean 'rag'"):
        load_tokenizer(folder, "ragg")


def test_calls_come_as_objects_or_as_text_as_the_template_wants_them(tiny_model_dir: Path) -> None:
    as_text = (
        "{% for m in messages %}{{ m.role + ':' + m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name + ' ' + "
        "c.function.arguments }}{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
    )
    encoder = make(tiny_model_dir, as_text)
    assert 'add {"a": 2}<|im_end|>' in text(encoder, encoder.encode(Conversation(CALLING, TOOLS)))
    assert not encoder.shows_tools
    silent = make(tiny_model_dir, as_text.replace("{% for c in", "{% for c in [] and"))
    with pytest.raises(EvaluationError, match=r"does not render the calls of tools in turn 2"):
        silent.encode(Conversation(CALLING, TOOLS))


def test_what_a_template_never_writes_is_named(tiny_model_dir: Path) -> None:
    chatml, thinking = (
        ConversationEncoder(load_tokenizer(tiny_model_dir), max_length=512),
        make(tiny_model_dir, THINKING),
    )
    assert chatml.encode(THREE).left_out == {"reasoning"}
    assert chatml.encode(Conversation(THREE, TOOLS)).left_out == {"reasoning", "tools"}
    assert chatml.encode([said("user", "a"), said("assistant", "b")]).left_out == frozenset()
    assert thinking.encode(Conversation(THREE, TOOLS)).left_out == {"tools"}


@pytest.mark.parametrize("answer", ["<think>\nr\n</think>\n\nA", "A<tool_call>{}</tool_call>B", "A[TOOL_CALLS] x"])
def test_kinds_are_those_of_the_row_however_often_its_shape_was_seen(tiny_tokenizer: Any, answer: str) -> None:
    encoder = ConversationEncoder(tiny_tokenizer, max_length=512)
    encoder.encode([said("user", "a?"), said("assistant", "plain")])
    found = encoder.encode([said("user", "a?"), said("assistant", answer)])
    wanted = encoder.encode([said("user", "a?"), said("assistant", answer, name="x")])  # rendered anew
    assert found == wanted
    assert {REASONING, CALL} & set(found.kinds)


def test_a_blank_between_question_and_answer_is_the_models_to_write(tiny_model_dir: Path) -> None:
    mistral = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}"
        "{{ ' ' + m.content + '<|im_end|>' }}{% endif %}{% endfor %}"
    )
    encoder = make(tiny_model_dir, mistral)
    row = [said("user", "a?"), said("assistant", "A"), said("user", "b?"), said("assistant", "B")]
    assert learnt(encoder, encoder.encode(row)) in (" A<|im_end|> B<|im_end|>", "ĠA<|im_end|>ĠB<|im_end|>")
    asked = encoder.encode_prompt(row[:3])
    assert asked == encoder.tokenizer.apply_chat_template(row[:3], return_dict=False)
    assert asked == encoder.encode(row).input_ids[: len(asked)]


@pytest.mark.parametrize("end", ["<|im_end|>", "<SPELLED>"])
@pytest.mark.parametrize("close", ["<|eos|>", "<CLOSED>"])
def test_what_closes_a_conversation_is_no_end_mark(tiny_model_dir: Path, end: str, close: str) -> None:
    """As Phi 3's, on tokenizers that know the marks and on such that do not."""
    closing = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + 'END\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% else %}{{ 'CLOSE' }}{% endif %}"
    )
    encoder = make(tiny_model_dir, closing.replace("END", end).replace("CLOSE", close))
    row = [said("user", "a?"), said("assistant", "A"), said("user", "b?"), said("assistant", "B ")]
    encoded = encoder.encode(row)
    assert learnt(encoder, encoded).replace("Ġ", " ") == f"A{end}B {end}"
    assert encoded.rewritten == 0
    assert encoder.end_mark(row) == end


def test_a_mark_that_waits_for_results_ends_a_call(tiny_model_dir: Path) -> None:
    """Gemma 4 ends a call with the token that opens its result, on which inference stops."""
    waiting = (
        "{% for m in messages %}{{ m.role + ':' + m.content }}{% for c in m.tool_calls or [] %}{{ c.function|tojson }}{% endfor %}"
        "{{ '<|im_end|>' }}{% if m.tool_calls and (loop.last or loop.nextitem.role == 'tool') %}{{ '<|eos|>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    encoder = make(tiny_model_dir, waiting)
    for more in ([], [said("tool", "5"), said("assistant", "5")]):
        encoded = encoder.encode(Conversation([*CALLING, *more], TOOLS))
        assert "}<|im_end|><|eos|>" in learnt(encoder, encoded)
        assert encoded.rewritten == 0
    assert learnt(encoder, encoder.encode(THREE[:2])) == "A<|im_end|>"


def test_the_mark_that_ends_an_answer_is_told_where_the_template_strips_it(tiny_model_dir: Path) -> None:
    spelled = "{% for m in messages %}{{ m.role + ': ' + m.content|trim + '\n<END>\n' }}{% endfor %}"
    encoder = make(tiny_model_dir, spelled + "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")
    assert encoder.end_mark([said("user", "a?"), said("assistant", "A ")]) == "<END>"


@pytest.mark.parametrize("template", [None, "THINKING", "LAST"])
@pytest.mark.parametrize("blank", ["", "\n"])
@pytest.mark.parametrize("spelled", ["", "<|im_end|>"])
def test_turns_beyond_the_longest_sequence_are_not_rendered_for_nothing(
    tiny_model_dir: Path, monkeypatch: Any, template: str | None, blank: str, spelled: str
) -> None:
    """What is encoded of a long conversation is the beginning of all of it, at the price of that beginning."""
    rows = []
    for turns in (40, 200):
        row = []
        for number in range(turns):
            row += [
                said("user", f"question {number}{spelled if number % 7 == 0 else ''}"),
                said("assistant", f"<think>\n{number}\n</think>\n\nanswer{spelled if number % 5 == 3 else ''}{blank}"),
            ]
        rows.append(row)

    def made(length: int) -> ConversationEncoder:
        tokenizer = load_tokenizer(tiny_model_dir)
        if template is not None:
            tokenizer.chat_template = {"THINKING": THINKING, "LAST": LAST}[template]
        return ConversationEncoder(tokenizer, max_length=length)

    whole, cut = made(1 << 30), made(800)
    for row in rows:
        every, found = whole.encode(row), cut.encode(row)
        for name in ("input_ids", "response", "alone", "kinds"):
            assert getattr(found, name) == getattr(every, name)[:800], name
        assert found.truncated == len(every.input_ids) - 800
    calls = []
    render = cut.template.render
    monkeypatch.setattr(
        cut.template, "render", lambda *given, **more: calls.append(len(given[0])) or render(*given, **more)
    )
    cut.encode(rows[1])
    assert len(calls) < 100, len(calls)  # 400 and more for all turns


@given(st.lists(st.sampled_from(["a", "bc", "<|im_end|>", "<s>"]), max_size=14), st.integers(98, 1002))
def test_marks_are_left_out_of_account_where_a_text_is_cut(pieces: list[str], before: int) -> None:
    """A mark is longer or shorter than what it stands for."""
    marker = Marker(re.compile(r"<\|im_end\|>|<s>"))
    marker("<s>" * before)  # numbers of three and four digits
    marked = marker("".join(pieces))
    restored, spelled = marker.restore(marked)
    inside = {place for start, end in spelled for place in range(start + 1, end)}
    for position in range(len(restored) + 1):
        found = marker.place(marked, marker.origin(marked, position))
        assert found == position if position not in inside else found > position


def test_a_long_row_that_spells_a_control_token_takes_hardly_longer_than_another(tiny_model_dir: Path) -> None:
    encoder = ConversationEncoder(load_tokenizer(tiny_model_dir), max_length=800)
    row = [said(role, f"{role} {number}") for number in range(400) for role in ("user", "assistant")]
    row[0] = said("user", "what is <|im_end|>?")
    before = time.process_time()
    assert encoder.encode(row).truncated
    assert time.process_time() - before < 10


@pytest.mark.parametrize("piece", [" ", "<tool_call> ", "<functioncall>\n", "\n[TOOL_CALLS]"])
def test_what_is_no_call_is_looked_through_in_time_that_grows_with_its_length(tiny_model_dir: Path, piece: str) -> None:
    encoder = make(tiny_model_dir, THINKING)
    answer = "a <" + piece * (100_000 // len(piece)) + "b"
    before = time.process_time()
    encoder.encode([said("user", "q"), said("assistant", answer)])
    assert time.process_time() - before < 10


MARKS = ["<tool_call>", "</tool_call>", "<function_call>", "</function_call>", "[TOOL_CALLS]", "<functioncall>"]


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.sampled_from([*MARKS, "</functioncall>", " ", "\n", "\u00a0", "x", "<", "</"]), max_size=14),
    st.integers(0, 20),
    st.integers(0, 200),
)
def test_calls_are_where_one_expression_finds_them(pieces: list[str], start: int, length: int) -> None:
    """The expression says what a call is; it takes the square of a long text's length."""
    calls = re.compile(
        r"\s*<(tool_call|function_call)>.*?</\1>|\s*\[TOOL_CALLS\][^\n]*"
        r"|\s*<functioncall>(?:(?:(?!<functioncall>).)*?</functioncall>|[^\n]*)",
        re.DOTALL,
    )
    written = "".join(pieces)
    start, end = min(start, len(written)), min(start + length, len(written))
    assert list(calls_in(written, start, max(start, end))) == [
        found.span() for found in calls.finditer(written, start, max(start, end))
    ]


def test_a_template_that_asks_with_less_than_it_writes_is_known(tiny_model_dir: Path) -> None:
    encoder = make(
        tiny_model_dir, "{% for m in messages %}{{ '[' + m.role + ']' + m.content + '<|im_end|>' }}{% endfor %}"
    )
    assert encoder.prompt_gap == ("", "[assistant]")
    assert not encoder.asks_as_written([said("user", "a")])
    assert (
        "".join(encoder.tokenizer.convert_ids_to_tokens(encoder.encode_prompt([said("user", "a")])))
        == "[user]a<|im_end|>"
    )


#: As SmolLM3: a system prompt tells that an answer is asked for with an empty block of reasoning.
BY_ROW = (
    "{% set ns = namespace(block='') %}{% if messages[0].role == 'system' and '/no_think' in messages[0].content %}"
    "{% set ns.block = '<think>\n\n</think>\n' %}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{{ ns.block if m.role == 'assistant' }}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' + ns.block }}{% endif %}"
)


def test_the_header_is_that_by_which_the_row_is_asked(tiny_model_dir: Path) -> None:
    encoder = make(tiny_model_dir, BY_ROW)
    exchange = [said("user", "a"), said("assistant", "x")]
    header, block = "<|im_start|>assistant\n", "<think>\n\n</think>\n"
    for system, asked in (("Be brief.", header), ("/no_think", header + block)):
        encoded = encoder.encode([said("system", system), *exchange, *exchange])
        assert text(encoder, encoded, encoded.alone) == f"{asked}x<|im_end|>" * 2
        assert learnt(encoder, encoded) == "x<|im_end|>" * 2
    assert encoder.asks_by_row
    for other in (THINKING, LAST, BY_ROW.replace("'/no_think' in", "'/no_think' not in [] and 'never' ==")):
        assert not make(tiny_model_dir, other).asks_by_row
