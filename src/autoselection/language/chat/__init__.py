"""Conversations as text and tokens, by the chat template of a model."""

from __future__ import annotations

from autoselection.conversation import Conversation, Message
from autoselection.language.chat.encoder import ConversationEncoder, Encoded, Row
from autoselection.language.chat.form import TemplateInput
from autoselection.language.chat.kinds import ANSWER, CALL, LEFT_OUT, NOT_TRAINED, REASONING
from autoselection.language.chat.options import CHAT_TEMPLATES, DATE, ChatOptions, ControlText
from autoselection.language.chat.template import ChatTemplate, TemplateBroken, check_template
from autoselection.language.chat.tokens import control_pattern, control_tokens
from autoselection.language.chat.writing import Turns

__all__ = [
    "ANSWER",
    "CALL",
    "CHAT_TEMPLATES",
    "DATE",
    "LEFT_OUT",
    "NOT_TRAINED",
    "REASONING",
    "ChatOptions",
    "ChatTemplate",
    "ControlText",
    "Conversation",
    "ConversationEncoder",
    "Encoded",
    "Message",
    "Row",
    "TemplateBroken",
    "TemplateInput",
    "Turns",
    "check_template",
    "control_pattern",
    "control_tokens",
]
