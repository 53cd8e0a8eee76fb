"""Chat templates come with models and are programs: rendered here within limits, and with sentences for what they do.

Transformers runs them in Jinja's sandbox, which keeps them from files and code but not from running for ever. So the
lines that a template executes are counted while it renders, and arithmetic that alone could fill the memory is refused.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from types import FrameType
from typing import TYPE_CHECKING, Any

from autoselection.errors import EvaluationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Lines of a template that one rendering may execute: a conversation of a thousand turns takes some ten thousand.
_MOST_LINES = 1_000_000
#: Processor time that one rendering may take (s); ordinary ones take a thousandth.
_MOST_SECONDS = 5.0
#: Largest number that may stand in a template, and what gives a text a huge width.
_MOST = 1_000_000
_WIDE = re.compile(r"[%:][-+ #0<>^=]*\d{6,}")

#: What Python raises inside a template that does something impossible with a conversation.
_RUNTIME = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)


class TemplateBroken(EvaluationError):
    """A template that renders nothing at all, or does not end: no row can be encoded."""


class _TooLong(Exception):
    """A template has executed more than it may."""


def check_template(text: str, name: str) -> None:
    """See that a template can be parsed and asks for nothing huge; its text alone is looked at.

    Raises:
        TemplateBroken: it has a syntax error, raises to a power or holds a huge number.
    """
    reason = _fault(text)
    if reason is not None:
        raise TemplateBroken(
            f"The chat template of '{name}' cannot be used: {reason}; mend it or name another template."
        )


@lru_cache(maxsize=64)
def _fault(text: str) -> str | None:
    import jinja2
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", _generation()])
    try:
        tree = environment.parse(text)
    except jinja2.TemplateSyntaxError as error:
        return f"{error.message} (line {error.lineno})"
    except RecursionError:
        return "it is nested too deeply"
    if next(tree.find_all(nodes.Pow), None) is not None:
        return "it raises a number to a power (**)"
    for constant in tree.find_all(nodes.Const):
        value = constant.value
        if (isinstance(value, (int, float)) and value > _MOST) or (isinstance(value, str) and _WIDE.search(value)):
            return f"it asks for something huge ({str(value)[:40]}, line {constant.lineno})"
    try:
        environment.compile(text)
    except jinja2.TemplateSyntaxError as error:  # an unknown filter, for example
        return f"{error.message} (line {error.lineno})"
    except (SyntaxError, RecursionError, MemoryError):  # the Python it becomes is refused
        return "it is nested too deeply, or asks for something huge"
    return None


@lru_cache(maxsize=1)
def _generation() -> Any:
    """Transformers' ``{% generation %}`` block, read as its contents."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return Generation


def render_template(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any], *, add_generation_prompt: bool = False
) -> str:
    """``messages`` as the tokenizer's chat template writes them.

    Raises:
        EvaluationError: the template refuses these messages.
        TemplateBroken: it can be used for no messages, or does not come to an end.
    """
    from jinja2 import TemplateError, TemplateSyntaxError

    # Templates that print today's date would give other tokens tomorrow; those of Llama 3 take it as an argument.
    fixed = {"tokenize": False, "add_generation_prompt": add_generation_prompt, "date_string": "26 Jul 2024"}
    name = tokenizer.name_or_path
    try:
        with _Limit():
            rendered = tokenizer.apply_chat_template([dict(message) for message in messages], **fixed)
    except TemplateSyntaxError as error:
        raise TemplateBroken(
            f"The chat template of '{name}' cannot be used: {error.message} (line {error.lineno})."
        ) from error
    except _TooLong as error:
        raise TemplateBroken(
            f"The chat template of '{name}' does not come to an end ({error}): mend it or name another template."
        ) from error
    except (TemplateError, *_RUNTIME) as error:
        roles = ", ".join(message["role"] for message in messages)
        why = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        raise EvaluationError(
            f"The chat template of '{name}' refuses the roles {roles}: {why}; convert the conversation or name another "
            "template."
        ) from error
    assert isinstance(rendered, str)
    return rendered


class _Limit:
    """While it is open, what templates execute in this thread is counted, and stopped beyond the limits."""

    def __enter__(self) -> None:
        self._lines = 0
        self._until = time.thread_time() + _MOST_SECONDS
        self._before = sys.gettrace()
        sys.settrace(self._called)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._look()  # of functions that a template calls, only the time is limited
        return self._line if frame.f_code.co_filename == "<template>" else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise _TooLong(f"more than {_MOST_LINES:,} steps for one conversation")
        self._look()
        return self._line

    def _look(self) -> None:
        if time.thread_time() > self._until:
            raise _TooLong(f"more than {_MOST_SECONDS:.0f} s for one conversation")
