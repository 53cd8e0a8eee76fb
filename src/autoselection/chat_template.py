"""Chat templates come with models and are programs: rendered here within limits, and with sentences for what they do.

Transformers runs them in Jinja's sandbox, which keeps them from files and code but not from running for ever. So the
lines that a template executes are counted while it renders, the memory that it may take is limited where the system can
(Linux), and arithmetic that alone could fill the memory is refused.
"""

from __future__ import annotations

import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from autoselection.errors import EvaluationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Lines of a template that one rendering may execute: a conversation of a thousand turns takes some ten thousand.
_MOST_LINES = 1_000_000
#: Processor time that one rendering may take (s); ordinary ones take a thousandth.
_MOST_SECONDS = 5.0
#: Memory that one rendering may take on top of what the process has (bytes).
_MOST_MEMORY = 1 << 30
#: Longest template (characters): those of released models have up to 30,000.
_LONGEST = 200_000
#: Largest number that may stand in a template, largest that may multiply there, and what gives a text a huge width.
_MOST = 1_000_000
_MOST_TIMES = 1_000
_WIDE = re.compile(r"[%:][-+ #0<>^=]*\d{6,}")

#: What Python raises inside a template that does something impossible with a conversation.
_RUNTIME = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


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
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(text) > _LONGEST:
        return f"it has {len(text):,} characters, and at most {_LONGEST:,} are read"
    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", _generation()])
    try:
        with _limited_memory(), _Limit():
            return _fault_within_limits(environment, text)
    except jinja2.TemplateSyntaxError as error:  # an unknown filter, too
        return f"{error.message} (line {error.lineno})"
    except (SyntaxError, RecursionError, MemoryError, _TooLong):  # the Python it becomes is refused
        return "it is nested too deeply, or asks for something huge"


def _fault_within_limits(environment: Any, text: str) -> str | None:
    from jinja2 import nodes

    tree = environment.parse(text)
    if next(tree.find_all(nodes.Pow), None) is not None:
        return "it raises a number to a power (**)"
    for constant in tree.find_all(nodes.Const):
        value = constant.value
        if (isinstance(value, (int, float)) and value > _MOST) or (isinstance(value, str) and _WIDE.search(value)):
            return f"it asks for something huge ({str(value)[:40]}, line {constant.lineno})"
    # One operation cannot be stopped while it runs, so those that make much of little are not begun.
    for product in tree.find_all(nodes.Mul):
        if _grows(product) > _MOST_TIMES:
            return f"it multiplies by something other than a number up to {_MOST_TIMES:,} (line {product.lineno})"
    for applied in tree.find_all(nodes.Filter):
        if applied.name == "sum" and (len(applied.args) > 1 or any(word.key == "start" for word in applied.kwargs)):
            return f"it adds up something other than numbers (line {applied.lineno})"
    environment.compile(text)  # which computes what is constant
    return None


def _grows(node: Any) -> float:
    """By how much a product of a text or number and of numbers written in the template grows what it multiplies."""
    from jinja2 import nodes

    if isinstance(node, nodes.Const) and isinstance(node.value, (int, float)):
        return abs(float(node.value))
    if isinstance(node, (nodes.Neg, nodes.Pos)):
        return _grows(node.node)
    if not isinstance(node, nodes.Mul):
        return 1.0
    factors = [node.left, node.right]
    return math.prod(map(_grows, factors)) if any(map(_is_number, factors)) else math.inf


def _is_number(node: Any) -> bool:
    from jinja2 import nodes

    if isinstance(node, (nodes.Neg, nodes.Pos)):
        return _is_number(node.node)
    if isinstance(node, nodes.Mul):
        return _is_number(node.left) and _is_number(node.right)
    return isinstance(node, nodes.Const) and isinstance(node.value, (int, float))


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
        with _limited_memory(), _Limit():
            rendered = tokenizer.apply_chat_template([dict(message) for message in messages], **fixed)
    except TemplateSyntaxError as error:
        raise TemplateBroken(
            f"The chat template of '{name}' cannot be used: {error.message} (line {error.lineno})."
        ) from error
    except _TooLong as error:
        raise TemplateBroken(
            f"The chat template of '{name}' does not come to an end ({error}): mend it or name another template."
        ) from error
    except MemoryError as error:
        raise TemplateBroken(
            f"The chat template of '{name}' asks for more than {_MOST_MEMORY >> 30} GiB of memory for one conversation: mend "
            "it or name another template."
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


_memory_lock = threading.RLock()


@contextmanager
def _limited_memory() -> Iterator[None]:
    """Let the process grow by :data:`_MOST_MEMORY` and no further, where the system tells its size and keeps limits.

    A text can be doubled forty times within forty lines, and one operation cannot be stopped from outside.
    """
    pages = Path("/proc/self/statm")
    if not pages.exists():
        yield
        return
    import resource

    with _memory_lock:  # two threads would take each other's limit for the one to go back to
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = int(pages.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + _MOST_MEMORY
        if soft != resource.RLIM_INFINITY and soft <= most:
            yield
            return
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


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
