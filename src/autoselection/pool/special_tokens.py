"""Special tokens of chat models that appear as plain text inside rows: found, counted, and stripped if asked.

Row text never turns into control tokens here or later (``chat.ConversationEncoder`` tokenizes contents as plain
text); but rows that spell them are usually debris of another model's template, so they are counted and shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

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
