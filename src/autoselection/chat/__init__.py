"""Conversations as text and tokens, by the chat template of a model."""

from __future__ import annotations

from autoselection.chat.encoder import ConversationEncoder, Encoded, Row
from autoselection.chat.form import TemplateInput
from autoselection.chat.kinds import ANSWER, CALL, NOT_TRAINED, REASONING
from autoselection.chat.options import CHAT_TEMPLATES, DATE, ChatOptions, ControlText
from autoselection.chat.template import ChatTemplate, TemplateBroken, check_template
from autoselection.chat.tokens import control_pattern
from autoselection.chat.writing import Turns
from autoselection.conversation import Conversation, Message

__all__ = [
    "ANSWER",
    "CALL",
    "CHAT_TEMPLATES",
    "DATE",
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
]
