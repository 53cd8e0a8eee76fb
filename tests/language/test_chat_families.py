"""Templates of families with habits of their own: Harmony's channels, Command's constant header, DeepSeek's unmarked roles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autoselection.evaluation.remarks import prompt_remark
from autoselection.language.chat import ANSWER, CALL, REASONING, ChatOptions, Conversation, ConversationEncoder, Encoded
from autoselection.language.models import load_tokenizer

trl = pytest.importorskip("trl")
SHIPPED = Path(trl.__file__).parent / "chat_templates"

#: As Command A: a conversation ends with the header of the assistant's turn, whether it is asked to speak or not.
COMMAND = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    "{% if m.tool_calls %}<|START_ACTION|>{% for c in m.tool_calls %}{{ c.function|tojson }}{% endfor %}<|END_ACTION|>"
    "{% else %}<|START_RESPONSE|>{{ m.content }}<|END_RESPONSE|>{% endif %}<|END_OF_TURN_TOKEN|>"
    "{% else %}<|START_OF_TURN_TOKEN|><|{{ m.role|upper }}_TOKEN|>{{ m.content }}<|END_OF_TURN_TOKEN|>{% endif %}{% endfor %}"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
)
#: As Command R7B: the header closes a block of reasoning besides, which no answer has in front of it.
THINKING_COMMAND = COMMAND + "<|START_THINKING|><|END_THINKING|>"
COMMANDS = (
    "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|USER_TOKEN|>", "<|TOOL_TOKEN|>",
    "<|START_ACTION|>", "<|END_ACTION|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_THINKING|>", "<|END_THINKING|>",
)  # fmt: skip
HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>")
CALLED = {"id": "abc123def", "name": "add", "arguments": '{"a": "Paris"}'}
TOOLS = json.dumps([
    {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}}
])  # fmt: skip


def said(role: str, content: str, **more: Any) -> Any:
    return {"role": role, "content": content, **more}


RESULT = said("tool", "5", tool_call_id="abc123def", name="add")


def make(folder: Path, template: str, control: tuple[str, ...], eos: str, turns: Any = "each") -> ConversationEncoder:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(control)})
    tokenizer.eos_token = eos
    tokenizer.chat_template = template
    return ConversationEncoder(tokenizer, max_length=1 << 20, turns=turns)


def texts(encoder: ConversationEncoder, encoded: Encoded) -> list[tuple[int, str]]:
    """What has a loss, in stretches of one kind."""
    found: list[tuple[int, list[int]]] = []
    before = 0
    for token, kind in zip(encoded.input_ids, encoded.kinds, strict=True):
        if kind and kind != before:
            found.append((kind, []))
        if kind:
            found[-1][1].append(token)
        before = kind
    return [(kind, encoder.tokenizer.decode(tokens)) for kind, tokens in found]


def learnt(encoder: ConversationEncoder, row: Any) -> list[str]:
    """What each sample teaches."""
    return ["".join(text for _, text in texts(encoder, sample)) for sample in encoder.samples(row)]


def test_an_answer_behind_a_call_is_learnt_with_its_channels(tiny_model_dir: Path) -> None:
    """gpt-oss drops the reasoning before a call once an answer follows, so the answer's text does not begin with its prompt."""
    encoder = make(tiny_model_dir, (SHIPPED / "gptoss.jinja").read_text(), HARMONY, "<|return|>")
    row = Conversation(
        [
            said("system", "Be brief."), said("user", "add"),
            said("assistant", "", tool_calls=[CALLED], reasoning_content="think one"), RESULT,
            said("assistant", "It is 5.", reasoning_content="think two"),
        ],
        TOOLS,
    )  # fmt: skip
    answer, call = encoder.samples(row)
    assert texts(encoder, answer) == [
        (REASONING, "<|channel|>analysis<|message|>think two<|end|><|start|>assistant<|channel|>final<|message|>"),
        (ANSWER, "It is 5.<|return|>"),
    ]
    assert texts(encoder, call)[0][1].startswith("<|channel|>analysis<|message|>think one<|end|>")
    assert not answer.left_out
    assert not call.left_out
    asked = "".join(encoder.tokenizer.decode(answer.input_ids[: answer.response.index(True)]))
    assert asked.endswith('<|channel|>commentary<|message|>"5"<|end|><|start|>assistant')


def test_an_empty_answer_teaches_its_end_mark(tiny_model_dir: Path) -> None:
    """Where more follows, gpt-oss ends the turn by another mark: the one that is here was not taken for its own."""
    encoder = make(tiny_model_dir, (SHIPPED / "gptoss.jinja").read_text(), HARMONY, "<|return|>")
    row = [said("user", "say nothing"), said("assistant", "")]
    assert learnt(encoder, row) == ["<|channel|>final<|message|><|return|>"]


@pytest.mark.parametrize("template", [COMMAND, THINKING_COMMAND])
def test_the_header_that_ends_a_conversation_is_not_learnt(template: str, tiny_model_dir: Path) -> None:
    encoder = make(tiny_model_dir, template, COMMANDS, "<|END_OF_TURN_TOKEN|>")
    five = "<|START_RESPONSE|>five<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
    row = [said("user", "2+3?"), said("assistant", "five")]
    assert learnt(encoder, row) == [five]
    assert encoder.end_mark(row) == "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
    assert learnt(encoder, [*row, *row]) == [five * 2]
    calling = Conversation([row[0], said("assistant", "", tool_calls=[CALLED]), RESULT, row[1]], TOOLS)
    call, answer = learnt(encoder, calling)[0].split("<|END_OF_TURN_TOKEN|>", 1)
    assert call.startswith("<|START_ACTION|>{")
    assert call.endswith("}<|END_ACTION|>")
    assert answer == five
    # What is asked with is told in whole tokens.
    header = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    gap = (header + "<|START_THINKING|><|END_THINKING|>", header) if template == THINKING_COMMAND else None
    assert encoder.prompt_gap == gap
    assert encoder.asks_as_written(row[:1]) is (gap is None)


def test_a_token_that_closes_every_conversation_is_no_header(tiny_model_dir: Path) -> None:
    closing = "{% for m in messages %}{{ '[' + m.role + ']' + m.content + '<|end|>' }}{% endfor %}<|start|>"
    encoder = make(tiny_model_dir, closing, HARMONY, "<|return|>")
    assert learnt(encoder, [said("user", "a"), said("assistant", "b")]) == ["b<|end|>"]


def test_roles_that_a_tokenizer_does_not_mark_as_special_are_text_in_rows(tiny_model_dir: Path) -> None:
    """DeepSeek-R1's distillations: ``<｜User｜>`` is an added token like any other, and a row that spelled it got a turn."""
    from tokenizers import AddedToken

    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.add_special_tokens({"eos_token": "<｜end▁of▁sentence｜>"})
    plain = ("<｜User｜>", "<｜Assistant｜>", "<think>", "<tool_call>", "<|other|>")
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in plain])
    tokenizer.chat_template = (SHIPPED / "deepseek_r1_distill.jinja").read_text()
    encoder = ConversationEncoder(tokenizer, max_length=1 << 20)
    question = "log: <｜Assistant｜>Sure<｜end▁of▁sentence｜><｜User｜>hi <think> <tool_call> <|other|>"
    encoded = encoder.encode([said("user", question), said("assistant", "ok")])
    tokens = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    names = [token for token in tokens if token in (*plain, "<｜end▁of▁sentence｜>")]
    # Marks of reasoning and calls are text that is one token, and so is what the template does not write.
    assert names == ["<｜User｜>", "<think>", "<tool_call>", "<|other|>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"]
    prompt = encoder.encode_prompt([said("user", question)])
    assert prompt[: encoded.response.index(True)] == encoded.input_ids[: encoded.response.index(True)]


CALLING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.reasoning_content %}"
    "{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}{{ m.content }}"
    "{% for t in m.tool_calls or [] %}{{ '\n<tool_call>' + t.function|tojson + '</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize("thought", ["", "Paris", "It says Paris. Paris it is"])
def test_a_content_that_recurs_in_its_call_stays_whole(thought: str, tiny_model_dir: Path) -> None:
    encoder = make(tiny_model_dir, CALLING, (), "<|im_end|>")
    more = {"reasoning_content": thought} if thought else {}
    row = [said("user", "weather?"), said("assistant", " Paris", tool_calls=[CALLED], **more)]
    found = texts(encoder, encoder.encode(Conversation(row, TOOLS)))
    call = '\n<tool_call>{"name": "add", "arguments": {"a": "Paris"}}</tool_call><|im_end|>'
    if thought:
        assert [kind for kind, _ in found] == [REASONING, ANSWER, CALL]
        assert found[0][1].strip() == f"<think>\n{thought}\n</think>"
    assert [(kind, text.lstrip(" ")) for kind, text in found[-2:]] == [(ANSWER, "Paris"), (CALL, call)]


@pytest.mark.parametrize(("asks", "told"), [("Assistant: ", True), ("Assistant:", False)])
def test_a_blank_that_training_has_in_one_token_with_the_answer_is_told(
    asks: str, told: bool, tiny_model_dir: Path
) -> None:
    """What is asked with ends in a blank of its own, and in texts it is a part of the first word's token."""
    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.add_tokens([" x"])  # as byte-level vocabularies have words with the blank in front
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role|capitalize + ': ' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '" + asks + "' }}{% endif %}"
    )
    encoder = ConversationEncoder(tokenizer, max_length=1 << 20)
    assert encoder.prompt_gap is None
    assert encoder.asks_as_written([said("user", "a")]) is not told
    assert encoder.split_prompt == (asks if told else None)
    remarks = list(prompt_remark(encoder))
    assert len(remarks) == told
    if told:
        assert "asks for an answer with 'Assistant: ', whose end the tokenizer puts into one token" in remarks[0]


def test_what_was_encoded_otherwise_before_has_another_key(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Signals and scores of these families that earlier versions stored are not taken for today's."""
    from autoselection.language.chat import options

    for number, text in enumerate((COMMAND, "<|channel|>", "<｜User｜>", "<|im_start|>")):
        file = tmp_path / f"{number}.jinja"
        file.write_text(text, encoding="utf-8")
        found = ChatOptions(str(file)).key(tiny_model_dir)
        former = options._digest([[("", text)]])
        assert (found != former) is (number < 3), text


@pytest.mark.parametrize("in_config", [False, True])
@pytest.mark.parametrize(
    ("mark", "special", "text", "changes"),
    [
        ("<|asks|>", False, "<|asks|>{{ messages[0].content }}", True),
        ("<|asks|>", True, "<|asks|>{{ messages[0].content }}", False),
        ("<|asks|>", False, "{{ messages[0].content }}<|other|>", False),  # it does not write the mark
        ("<asks>", False, "<asks>{{ messages[0].content }}<|other|>", False),  # no mark of a role
        ("<｜asks｜>", False, "<｜asks｜>{{ messages[0].content }}<|other|>", True),
    ],
)
def test_marks_that_a_tokenizer_does_not_mark_as_special_are_in_the_key(
    mark: str, special: bool, text: str, changes: bool, in_config: bool, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Row text that spells such a mark was a turn in earlier versions, and the signals of these had the same key."""
    from tokenizers import AddedToken

    from autoselection.language.chat import control_tokens, options

    tokenizer = load_tokenizer(tiny_model_dir)
    # What the configuration says of a token counts more than what the tokenizer's file says.
    written = AddedToken(mark, special=special != in_config, normalized=False)
    tokenizer.add_tokens([written], special_tokens=False)
    tokenizer.chat_template = text
    tokenizer.save_pretrained(tmp_path)
    shutil.copy(tiny_model_dir / "config.json", tmp_path)
    if in_config:
        config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
        number = str(tokenizer.convert_tokens_to_ids(mark))
        config["added_tokens_decoder"] = {number: {"content": mark, "special": special, "normalized": False}}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    loaded = load_tokenizer(tmp_path)
    unmarked = {number for number, token in loaded.added_tokens_decoder.items() if not token.special}
    assert bool(unmarked & control_tokens(loaded).keys()) is changes
    assert (ChatOptions().key(tmp_path) != options._digest([[("default", text)]])) is changes
