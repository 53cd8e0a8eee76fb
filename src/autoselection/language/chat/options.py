"""Which chat template is used, and how: what signals, training and scoring of one study have in common."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from autoselection.errors import EvaluationError
from autoselection.language.chat.tokens import ROLE_MARK
from autoselection.system import expanded
from autoselection.wording import suggestion

ControlText = Literal["refuse", "follow"]

#: What templates take for today, unless the configuration tells another date.
DATE = datetime.date(2024, 7, 26)

#: Chat templates for base models that come without one. Both end a response with a mark that can be learnt:
#: ``chatml`` spells <|im_end|> (a control token only if the tokenizer knows it), ``plain`` uses the tokenizer's own
#: end-of-sequence token.
CHAT_TEMPLATES: dict[str, str] = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "plain": (
        "{% if bos_token %}{{ bos_token }}{% endif %}"
        "{% for message in messages %}"
        "{% if message['role'] == 'assistant' %}"
        "{{ 'Assistant: ' + message['content'] + (eos_token or '') + '\n\n' }}"
        "{% else %}"
        "{{ message['role'] | capitalize + ': ' + message['content'] + '\n\n' }}"
        "{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
    ),
}


@dataclass(frozen=True)
class ChatOptions:
    """Choice of a chat template.

    Attributes:
        template: one of the model's own by name (``default``, ``rag``, ``tool_use``, …), a named template (``chatml``,
            ``plain``) or a Jinja file; None is the model's own: of several ``tool_use`` for rows with tools, else
            ``default``.
        date: what the template takes for today.
        control_text: see :class:`~autoselection.language.chat.ConversationEncoder`.
    """

    template: str | None = None
    date: datetime.date = DATE
    control_text: ControlText = "refuse"

    @classmethod
    def of(cls, given: str | Path | ChatOptions | None) -> ChatOptions:
        """Options as they are; a name or a file alone is the template."""
        if isinstance(given, ChatOptions):
            return given
        return cls(None if given is None else str(given))

    def text(self, folder: Path | None = None) -> str | None:
        """The Jinja text of the template asked for by name or file; None for the model's own.

        Args:
            folder: of the model, whose own templates may be meant.

        Raises:
            EvaluationError: it is neither a known name nor a readable file.
        """
        if self.template is None:
            return None
        own = {} if folder is None else own_templates(folder)
        return own[self.template] if self.template in own else chat_template_text(self.template, own)

    def key(self, folder: Path) -> str:
        """16 hex digits that change with whatever the options make of a conversation.

        Args:
            folder: of the model.
        """
        given = self.text(folder)
        texts = own_templates(folder) if given is None else {"": given}
        return _digest([sorted(texts.items()), *self.besides(), *_later_rules("".join(texts.values()), folder)])

    def besides(self) -> list[str]:
        """What differs from the usual besides the template."""
        usual = ChatOptions()
        names = [name for name in ("date", "control_text") if getattr(self, name) != getattr(usual, name)]
        return [f"{name}: {getattr(self, name)}" for name in names]


#: What changed for marks of roles that a tokenizer does not mark as special, see ``control_tokens``.
_ROLES_ARE_TEXT = "marks of roles in row text are text"
#: What templates write whose conversations earlier versions encoded otherwise, and what has changed since.
_LATER_RULES = {
    "<|START_OF_TURN_TOKEN|>": "the header behind an answer is none of its tokens",  # Command A and R7B
    "<|channel|>": "answers behind calls begin with their channel",  # gpt-oss
    "｜>": _ROLES_ARE_TEXT,  # DeepSeek
}


def _later_rules(text: str, folder: Path) -> list[str]:
    found = [rule for mark, rule in _LATER_RULES.items() if mark in text]
    if (
        _ROLES_ARE_TEXT not in found
        and ROLE_MARK.search(text)
        and any(mark in text for mark in _unmarked_roles(folder))
    ):
        found.append(_ROLES_ARE_TEXT)
    return found


def _unmarked_roles(folder: Path) -> set[str]:
    """The added tokens spelled as marks of roles that a model's tokenizer does not mark as special."""
    config, vocabulary = folder / "tokenizer_config.json", folder / "tokenizer.json"
    special = dict(_added_tokens(vocabulary, vocabulary.stat().st_mtime_ns)) if vocabulary.is_file() else {}
    written = _json(config) if config.is_file() else None
    added = written.get("added_tokens_decoder") if isinstance(written, dict) else None
    special |= _special_by_text(added.values()) if isinstance(added, dict) else {}  # it has the last word
    return {text for text, is_special in special.items() if not is_special and ROLE_MARK.fullmatch(text)}


@lru_cache(maxsize=8)
def _added_tokens(vocabulary: Path, changed: int) -> dict[str, bool]:
    """The added tokens of a ``tokenizer.json``, which may be large, and whether each is special.

    Args:
        changed: when the file was changed last (ns).
    """
    written = _json(vocabulary)
    added = written.get("added_tokens") if isinstance(written, dict) else None
    return _special_by_text(added if isinstance(added, list) else ())


def _special_by_text(tokens: Iterable[Any]) -> dict[str, bool]:
    return {
        token["content"]: token.get("special") is True
        for token in tokens
        if isinstance(token, dict) and isinstance(token.get("content"), str)
    }


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest()


def own_templates(folder: Path) -> dict[str, str]:
    """The chat templates in a model's folder by name, ``default`` among them; as transformers reads them.

    Raises:
        EvaluationError: a file cannot be read.
    """
    found: dict[str, str] = {}
    config = folder / "tokenizer_config.json"
    old = folder / "chat_template.json"
    for path in (config, old):
        if path.is_file():
            written = _json(path)
            templates = written.get("chat_template") if isinstance(written, dict) else None
            if isinstance(templates, str):
                found["default"] = templates
            elif isinstance(templates, list):
                found |= {
                    item["name"]: item["template"]
                    for item in templates
                    if isinstance(item, dict)
                    and isinstance(item.get("name"), str)
                    and isinstance(item.get("template"), str)
                }
    files = {"default": folder / "chat_template.jinja"}
    files |= {path.stem: path for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    if any(path.is_file() for path in files.values()):  # they take the place of what the configuration holds
        found = {name: read_template(path) for name, path in files.items() if path.is_file()}
    return found


def chat_template_text(chat_template: str | Path, own: dict[str, str] | None = None) -> str:
    """The Jinja text of a named template (chatml, plain) or of a template file.

    Args:
        own: the model's own templates, for the message.

    Raises:
        EvaluationError: neither a known name nor a readable file.
    """
    name = str(chat_template)
    if name in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[name]
    file = expanded(name)
    if file.is_file():
        return read_template(file)
    if file.suffix or "/" in name:
        raise EvaluationError(f"chat_template: there is no file {name}; name a Jinja file, or chatml or plain.")
    known = {**CHAT_TEMPLATES, **(own or {})}
    raise EvaluationError(f"chat_template: '{name}' is neither a named template nor a file{suggestion(name, known)}")


def read_template(file: Path) -> str:
    """The text of a template file.

    Raises:
        EvaluationError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise EvaluationError(f"The chat template {file} cannot be read: {reason}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise EvaluationError(f"{path} cannot be read as JSON: {reason}") from error
