"""Special tokens of chat models that appear as plain text inside rows: found, counted, and stripped if asked.

Row text never turns into control tokens here or later (``chat.ConversationEncoder`` tokenizes contents as plain
text); but rows that spell them are usually debris of another model's template, so they are counted and shown.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from autoselection.conversation import Conversation, Message, ToolCall
from autoselection.pool.row_error import RowError
from autoselection.pool.tools import canonical_arguments, json_text, parsed_object
from autoselection.pool.values import is_blank

#: Control tokens of widely used model families. Names that are also common plain text (``<filename>``, ``<think>``)
#: are left out; the tokenizer's own list adds them where they matter.
KNOWN_SPECIAL_TOKENS: tuple[str, ...] = (
    # GPT-2, GPT-4, gpt-oss
    "<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|start|>", "<|end|>",
    "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>",
    # ChatML, Qwen, Phi
    "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    # Llama 3 and 4
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
    "<|python_tag|>", "<|finetune_right_pad_id|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|eom|>",
    # Llama 2, Mistral
    "<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]",
    # Gemma, T5, BERT
    "<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "[PAD]",
    "[CLS]", "[SEP]", "[MASK]", "[UNK]",
    # DeepSeek
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜User｜>", "<｜Assistant｜>",
    # Command R
    "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>",
    # StarCoder, SmolLM
    "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<empty_output>",
)  # fmt: skip


class SpecialTokenScanner:
    """Finds a fixed set of tokens in text; where two start at the same place, the longer one counts."""

    def __init__(self, tokens: Iterable[str]) -> None:
        words = sorted({token for token in tokens if token.strip()}, key=lambda token: (-len(token), token))
        self._pattern = re.compile("|".join(map(re.escape, words))) if words else None
        self._starts = tuple(sorted({word[0] for word in words}))

    def count(self, texts: Sequence[str]) -> Counter[str] | None:
        """Occurrences of each token in ``texts``; None if there are none (the fast, common case)."""
        if self._pattern is None:
            return None
        found: list[str] = []
        for text in texts:
            for start in self._starts:  # most texts have none of the few first characters, which is quickly seen
                if start in text:
                    found += self._pattern.findall(text)
                    break
        return Counter(found) if found else None

    def remove(self, text: str) -> str:
        """Remove every token, again and again: a removal may join its surroundings to a new one."""
        if self._pattern is None:
            return text
        while True:
            text, removed = self._pattern.subn("", text)
            if not removed:
                return text

    def strip(self, conversation: Conversation) -> Conversation:
        """The conversation without the tokens; system prompts that were nothing else are left out.

        Raises:
            RowError: another turn, or the name of a call, was nothing else.
        """
        messages: list[Message] = []
        for message in conversation.messages:
            text = self.remove(message["content"])
            stripped: Message = {**message, "content": text}
            if len(message) > 2:
                self._strip_fields(stripped)
            if not is_blank(text) or (message["role"] == "tool" and is_blank(message["content"])):
                messages.append(stripped)
            elif "tool_calls" in stripped or "reasoning_content" in stripped:
                messages.append({**stripped, "content": ""})
            elif message["role"] != "system":
                said = f"a turn ({message['role']}) has no text but special tokens"
                raise RowError(said, "nothing but special tokens")
        tools = conversation.tools
        return Conversation(messages, tools if tools is None else json_text(self._without(json.loads(tools))))

    def _strip_fields(self, message: Message) -> None:
        for name in ("reasoning_content", "name", "tool_call_id"):
            if name in message:
                message[name] = self.remove(message[name])
                if not message[name] or (name != "tool_call_id" and is_blank(message[name])):
                    del message[name]
        if "tool_calls" in message:
            message["tool_calls"] = [self._stripped_call(call) for call in message["tool_calls"]]

    def _stripped_call(self, call: ToolCall) -> ToolCall:
        name = self.remove(call["name"])
        if is_blank(name):
            raise RowError("the name of a call is nothing but special tokens", "nothing but special tokens")
        arguments = parsed_object(call["arguments"])
        text = (
            canonical_arguments(self.remove(call["arguments"]))
            if arguments is None
            else json_text(self._without(arguments))
        )
        identity = self.remove(call.get("id", ""))
        stripped: ToolCall = {"name": name, "arguments": text}
        return {"id": identity, **stripped} if identity else stripped

    def _without(self, value: Any) -> Any:
        """A JSON value whose texts lack the tokens: taken out of its JSON text, they could leave something else."""
        if isinstance(value, str):
            return self.remove(value)
        if isinstance(value, dict):
            return {self.remove(key): self._without(item) for key, item in value.items()}
        return [self._without(item) for item in value] if isinstance(value, list) else value


def texts_of(conversation: Conversation) -> list[str]:
    """All texts of a conversation that a template may write: what its turns say, think and call, and its tools."""
    texts = []
    for message in conversation.messages:
        texts.append(message["content"])
        if len(message) > 2:
            texts += [message[name] for name in ("reasoning_content", "name", "tool_call_id") if name in message]
            for call in message.get("tool_calls", ()):
                texts += call.values()  # type: ignore[arg-type]
    return texts if conversation.tools is None else [*texts, conversation.tools]
