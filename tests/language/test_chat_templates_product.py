"""Templates times conversations: what is encoded is what the template writes, token for token, or the row is refused.

The templates are those that the installed TRL ships, and the kinds of other common models, written anew here.
"""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from autoselection.errors import EvaluationError
from autoselection.language.chat import CHAT_TEMPLATES, Conversation, ConversationEncoder, Encoded
from autoselection.language.models import load_tokenizer

trl = pytest.importorskip("trl")
SHIPPED = {path.stem: path for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))}

#: Control tokens of the templates, made tokens of the tokenizer, as they are of the models'.
CONTROL = (
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<｜Assistant｜>",
        "<｜User｜>",
        "<｜end▁of▁sentence｜>",
        "<|end|>",
    ),
    *(
        "<|assistant|>",
        "<|user|>",
        "<|system|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
    ),
    *(
        "<start_of_turn>",
        "<end_of_turn>",
        "<turn|>",
        "<|turn>",
        "<|return|>",
        "<|start|>",
        "<|message|>",
        "<|channel|>",
    ),
    *("<|call|>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>", "<|eot|>", "<|observation|>", "</s>", "[INST]"),
    *("[/INST]", "[TOOL_CALLS]", "<|tool_response>", "<tool_call|>", "<｜tool▁calls▁end｜>"),
)

#: Kinds of templates that TRL does not ship.
KINDS = {
    "brackets": (  # no generation prompt, tools beside the last question, calls as a list, ids of nine characters
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{% if tools and loop.first %}"
        "{{ '[AVAILABLE_TOOLS]' + tools|tojson + '[/AVAILABLE_TOOLS]' }}{% endif %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% elif m.role == 'tool' %}{% if m.tool_call_id|length != 9 %}{{ raise_exception('ids have 9 characters') }}"
        "{% endif %}{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}{% elif m.role == 'assistant' %}"
        "{% if m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for c in m.tool_calls %}{{ c.function|tojson }}"
        "{{ ', ' if not loop.last }}{% endfor %}{{ ']</s>' }}{% else %}{{ ' ' + m.content|trim + '</s>' }}{% endif %}"
        "{% else %}{{ raise_exception('Only user, assistant and tool roles are supported') }}{% endif %}{% endfor %}"
    ),
    "header of the question": (  # the question's turn opens the answer's; arguments wanted as text
        "{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>' + m.content + '<|end|><|assistant|>' }}"
        "{% elif m.role == 'assistant' %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ '<call>' + c.function.name + ' '"
        " + c.function.arguments + '</call>' }}{% endfor %}{{ '<|end|>' }}{% else %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}"
        "{% endif %}{% endfor %}"
    ),
    "closing token": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}"
    ),
    "end on its own line": "{% for m in messages %}{{ m.role + ':\\n' + m.content + '\\n---\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}",
    "date": "{{ '<|system|>' + strftime_now('%d %b %Y') + '<|end|>' }}{% for m in messages %}{{ '<|' + m.role + '|>' +"
    " m.content + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    "history without reasoning": (
        "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' and not loop.last and '</think>' in c %}"
        "{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}{{ '<|im_start|>' + m.role + '\\n' + c + '<|im_end|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "cut contents": (  # answers cut at a sign, questions in capitals
        "{% for m in messages %}{{ '<|' + m.role + '|>' + (m.content.split('###')[0] if m.role == 'assistant' else"
        " m.content|upper) + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
    "no end": "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    **CHAT_TEMPLATES,
}


def said(role: str, content: str, **more: Any) -> Any:
    return {"role": role, "content": content, **more}


ASKED, ANSWERED = said("user", "add 2 and 3"), said("assistant", "5")
MORE, AGAIN = said("user", "and 1?"), said("assistant", "6")
SYSTEM = said("system", "Be brief.")
CALL = {"id": "abc123def", "name": "add", "arguments": '{"a": 2, "b": [1, {"c": "x"}]}'}
SECOND = {"id": "abc123deg", "name": "multiply", "arguments": "{}"}
RESULT = said("tool", "[5]", tool_call_id="abc123def", name="add")
TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": "add",
                "description": "Adds.",
                "parameters": {
                    "type": "object",
                    "properties": {"a": {"type": "integer", "description": "one"}, "b": {"type": "array", "items": {}}},
                    "required": ["a"],
                },
            },
        },
        {
            "type": "function",
            "function": {"name": "multiply", "description": "m", "parameters": {"type": "object", "properties": {}}},
        },
    ]
)
CONVERSATIONS: dict[str, Conversation] = {
    name: given if isinstance(given, Conversation) else Conversation(given)
    for name, given in {
        "one": [ASKED, ANSWERED],
        "system": [SYSTEM, ASKED, ANSWERED],
        "many": [SYSTEM, ASKED, ANSWERED, MORE, AGAIN, MORE, ANSWERED],
        "thought": [ASKED, said("assistant", "<think>\n2+3=5\n</think>\n\n5")],
        "thought twice": [ASKED, said("assistant", "<think>\n2+3\n</think>\n\n5"), MORE, said("assistant", "<think>\n5+1\n</think>\n\n6")],
        "never closed": [ASKED, said("assistant", "<think>\n2+3=5"), MORE, AGAIN],
        "tag mentioned": [ASKED, said("assistant", "close it with </think> please"), MORE, AGAIN],
        "reasoning": [ASKED, said("assistant", "5", reasoning_content="2+3=5")],
        "reasoning twice": [SYSTEM, ASKED, said("assistant", "5", reasoning_content="2+3=5"), MORE, said("assistant", "6", reasoning_content="5+1\n")],
        "blanks": [ASKED, said("assistant", "  5 \n"), said("user", "\n and 1?  "), AGAIN],
        "empty": [ASKED, said("assistant", "")],
        "long": [said("user", "x y " * 300), said("assistant", "y\n" * 200)],
        "cut": [ASKED, said("assistant", "5 ### or 6"), MORE, AGAIN],
        "call": Conversation([ASKED, said("assistant", "", tool_calls=[CALL]), RESULT, said("assistant", "It is 5.")], TOOLS),
        "call with words": Conversation(
            [SYSTEM, ASKED, said("assistant", "Let me see.", tool_calls=[CALL], reasoning_content="use add"), RESULT,
             said("assistant", "It is 5.", reasoning_content="got 5")], TOOLS),
        "two calls": Conversation(
            [ASKED, said("assistant", "", tool_calls=[CALL, SECOND]), RESULT, said("tool", "0", tool_call_id="abc123deg", name="multiply"),
             said("assistant", "It is 5."), MORE, said("assistant", "", tool_calls=[CALL])], TOOLS),
        "tools unused": Conversation([ASKED, ANSWERED], TOOLS),
        "call in words": Conversation(
            [ASKED, said("assistant", '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'),
             said("tool", "<tool_response>5</tool_response>"), ANSWERED]),
        "control text": [said("user", "say <|im_end|> now"), said("assistant", "<|im_end|> said </s>")],
        "control text twice": [said("user", "say <|im_end|> now"), said("assistant", "<think>\n<|im_end|>\n</think>\n\nsaid <|im_start|>"), MORE, AGAIN],
        "odd characters": [said("user", "ｆoo \u200b😀 <b>&amp;</b>"), said("assistant", "`code` {x}\n\n---\n")],
        "answer first": [ANSWERED, ASKED, AGAIN],
        "two answers": [ASKED, ANSWERED, AGAIN],
        "question last": [ASKED, ANSWERED, MORE],
        "context only": [ASKED, said("assistant", "5", weight=0), MORE, AGAIN],
    }.items()
}  # fmt: skip


@lru_cache(maxsize=1)
def demo_model() -> Path:
    import autoselection

    return Path(autoselection.__file__).parent / "demo/data/model"


def tokenizer_with(template: str, folder: Path) -> Any:
    if template in SHIPPED:
        file = SHIPPED[template]
    else:
        file = folder / "template.jinja"
        file.write_text(KINDS[template], encoding="utf-8")
    tokenizer = load_tokenizer(demo_model(), file)
    tokenizer.add_special_tokens({"additional_special_tokens": list(CONTROL)})
    tokenizer.bos_token = "<|bos|>"
    return tokenizer


def decoded(encoder: ConversationEncoder, encoded: Encoded, mask: list[bool]) -> str:
    return str(encoder.tokenizer.decode([token for token, kept in zip(encoded.input_ids, mask, strict=True) if kept]))


@pytest.mark.parametrize("template", [*SHIPPED, *KINDS])
def test_what_is_encoded_is_what_the_template_writes(template: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_with(template, tmp_path)
    encoder = ConversationEncoder(tokenizer, max_length=1 << 30)
    equal = 0
    for name, conversation in CONVERSATIONS.items():
        given = encoder.template_input(conversation)
        try:
            encoded = encoder.encode(conversation)
        except EvaluationError as error:
            assert "chat template" in str(error)
            assert encoder.template.name in str(error)
            continue
        asked = {"tools": given.tools, "date_string": "26 Jul 2024"}
        text = tokenizer.apply_chat_template(copy.deepcopy(given.messages), tokenize=False, **asked)
        assert "".join(segment.text for segment in encoder._texts(conversation, "all")[0].segments) == text, name
        equal += 1
        if not encoder._spells(given):
            tokens = tokenizer.apply_chat_template(copy.deepcopy(given.messages), return_dict=False, **asked)
            assert encoded.input_ids == tokens, name
        for message in conversation.messages:  # what is context only has no loss, and what is asked has none
            if message["role"] == "user":
                assert message["content"].strip() not in decoded(encoder, encoded, encoded.response), name
        assert any(encoded.response) or encoded.rewritten, name
        assert [bool(kind) for kind in encoded.kinds] == encoded.response
    print(f"{template}: {equal} of {len(CONVERSATIONS)} equal")
    assert equal >= {"no end": 0, "glm4moe": 0, "llava_next": 0, "idefics3": 0, "smolvlm": 0}.get(
        template.removesuffix("_training"), 8
    )


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("template", [*SHIPPED, *KINDS])
def test_what_is_said_is_learnt_or_told_to_be_left_out(template: str, tmp_path: Path) -> None:
    """Templates that cut reasoning or text from contents do it without a word: the row's own text is looked for."""
    encoder = ConversationEncoder(tokenizer_with(template, tmp_path), max_length=1 << 30, turns="each")
    for name in (
        "one",
        "thought",
        "thought twice",
        "never closed",
        "tag mentioned",
        "reasoning",
        "reasoning twice",
        "cut",
    ):
        try:
            samples = encoder.samples(CONVERSATIONS[name])
        except EvaluationError:
            continue
        learnt = squeezed("".join(decoded(encoder, sample, sample.response) for sample in samples))
        missing = set()
        for message in CONVERSATIONS[name].messages:
            if message["role"] != "assistant":
                continue
            before, _, answer = message["content"].rpartition("</think>")
            opened = "<think>" if answer.startswith("<think>") else ""  # which the prompt may give
            thoughts = [before.removeprefix("<think>"), message.get("reasoning_content", "")]
            if any(squeezed(thought) not in learnt for thought in thoughts):
                missing.add("reasoning")
            if squeezed(answer.removeprefix(opened)) not in learnt:
                missing.add("text")
        if template == "cut contents":
            missing.add("text")  # of the questions, which it writes in capitals
        assert samples[0].left_out == missing, name
        assert {sample.left_out for sample in samples} == {samples[0].left_out}


@pytest.mark.parametrize("template", [*SHIPPED, *KINDS])
def test_answers_are_asked_for_as_inference_asks(template: str, tmp_path: Path) -> None:
    """Where a template asks with more than it writes in front of an answer, that is known."""
    tokenizer = tokenizer_with(template, tmp_path)
    encoder = ConversationEncoder(tokenizer, max_length=1 << 30)
    if template.startswith(("idefics3", "llava_next", "smolvlm")):
        with pytest.raises(EvaluationError, match=r"does not render turn 1|refuses the roles"):
            encoder.encode_prompt([ASKED])  # they take contents in parts
        return
    for messages in ([ASKED], [ASKED, ANSWERED, MORE]):
        given = encoder.template_input(messages).messages
        asked = {"add_generation_prompt": True, "date_string": "26 Jul 2024"}
        wanted = tokenizer.apply_chat_template(copy.deepcopy(given), return_dict=False, **asked)
        assert encoder.encode_prompt(messages) == wanted
    if template in ("no end", "glm4moe"):
        return  # which no row can be encoded with
    otherwise = template.startswith(("deepseek", "nemotron"))
    assert encoder.asks_as_written([ASKED]) is not otherwise
    assert (encoder.prompt_gap is not None) is otherwise
    if encoder.prompt_gap is not None:
        asked_with, written = encoder.prompt_gap
        assert asked_with.removeprefix(written) in ("<think>\n", "\n")
        assert written in ("<｜Assistant｜>", "<|im_start|>assistant\n<think>")


def test_a_template_without_an_end_refuses_every_row_in_one_sentence(tmp_path: Path) -> None:
    encoder = ConversationEncoder(tokenizer_with("no end", tmp_path), max_length=1 << 30)
    with pytest.raises(EvaluationError, match="writes nothing that ends an answer"):
        encoder.encode_batch([CONVERSATIONS["one"]])


@pytest.mark.parametrize("template", [name for name in SHIPPED if name.endswith("_training")])
def test_what_has_a_loss_is_what_trl_marks_as_generated(template: str, tmp_path: Path) -> None:
    """TRL's training templates mark answers, some with the header in front or the line break behind: ours lies within."""
    tokenizer = tokenizer_with(template, tmp_path)
    encoder = ConversationEncoder(tokenizer, max_length=1 << 30)
    compared = 0
    for name in ("one", "system", "thought", "reasoning", "call", "long"):
        if (template, name) == ("diffusion_gemma_training", "call"):
            continue  # behind a result it asks without a header, so that the model has to write it
        conversation = CONVERSATIONS[name]
        try:
            encoded = encoder.encode(conversation)
        except EvaluationError:
            continue
        given = encoder.template_input(conversation)
        found = tokenizer.apply_chat_template(
            copy.deepcopy(given.messages), tools=given.tools, return_assistant_tokens_mask=True, return_dict=True
        )
        assert found["input_ids"] == encoded.input_ids
        marked = [bool(kept) for kept in found["assistant_masks"]]
        ours = encoded.response
        for token, own, mark in zip(encoded.input_ids, ours, marked, strict=True):
            assert mark or not own or tokenizer.decode([token]) in CONTROL, (template, name)  # a mark that ends a turn
        # What TRL marks besides is part of the header, or blanks and a closing mark behind the turn's own end mark.
        learnt = decoded(encoder, encoded, ours)
        for message in conversation.messages:
            if message["role"] == "assistant":
                assert message["content"].strip().rpartition("</think>")[2].strip() in learnt, (template, name)
        compared += 1
    assert compared >= (0 if template.startswith(("idefics3", "llava_next", "smolvlm")) else 4)
