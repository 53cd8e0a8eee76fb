"""Chat templates come with models and are programs: rendered here within limits, and with sentences for what they do.

Transformers runs them in Jinja's sandbox, which keeps them from files and code but not from running for ever. So the
steps that a template takes are counted while it renders, the memory that it may take is limited where the system can
(Linux), and arithmetic that alone could fill the memory is refused.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from autoselection.errors import EvaluationError
from autoselection.language.chat.options import DATE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Steps (turns of a loop, calls of a macro) that one rendering may take: a thousand turns take some ten thousand.
_MOST_STEPS = 1_000_000
_STEP = "autoselection_step"
#: Processor time that one rendering may take (s); ordinary ones take a thousandth.
_MOST_SECONDS = 5.0
#: Memory that encoding one conversation may take on top of what the process has (bytes).
MOST_MEMORY = 1 << 30
#: Longest template (characters): those of released models have up to 30,000.
_LONGEST = 200_000
#: Largest number that may stand in a template, largest that may multiply there, and what gives a text a huge width.
_MOST = 1_000_000
_MOST_TIMES = 1_000
_WIDE = re.compile(r"[%:][-+ #0<>^=]*\d{6,}")

#: Methods by which templates look into contents.
_STRING_METHODS = frozenset(
    (
        *("split", "rsplit", "partition", "rpartition", "startswith", "endswith", "replace", "find", "rfind", "index"),
        *("count", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix"),
    )
)

#: What Python raises inside a template that does something impossible with a conversation.
_RUNTIME = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


class TemplateBroken(EvaluationError):
    """A template that renders nothing at all, or does not end: no row can be encoded."""


class _RenderingTooLong(Exception):
    """A template has executed more than it may."""


def check_template(text: str, name: str) -> None:
    """See that a template can be parsed and asks for nothing huge; its text alone is looked at.

    Raises:
        TemplateBroken: it has a syntax error, raises to a power or holds a huge number.
    """
    reason = _fault(text)
    if reason is not None:
        raise TemplateBroken(
            f"The chat template of '{name}' cannot be used: {reason}; fix it or name another template."
        )


@lru_cache(maxsize=64)
def _fault(text: str) -> str | None:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(text) > _LONGEST:
        return f"it has {len(text):,} characters, and at most {_LONGEST:,} are read"
    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", _generation()])
    try:
        with limited_memory(), _Limit():
            return _fault_within_limits(environment, text)
    except jinja2.TemplateSyntaxError as error:  # an unknown filter, too
        return f"{str(error.message).rstrip('.')} (line {error.lineno})"
    except (SyntaxError, RecursionError, MemoryError, _RenderingTooLong):  # the Python it becomes is refused
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


class ChatTemplate:
    """A tokenizer's chat template, rendered as ``tokenizer.apply_chat_template`` renders it.

    The same program is run in the same sandbox with the same variables, but counts its steps; and whatever way it asks for
    the date of today, it gets the same one: what is cached and trained must not change over night.

    Args:
        tokenizer: its ``chat_template`` may be a text or several by name.
        date: what the template takes for today.
        with_tools: of several templates, take the one for conversations that declare tools.

    Attributes:
        text: the program.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, date: datetime.date = DATE, *, with_tools: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.date = date
        try:
            self.text: str = tokenizer.get_chat_template(None, [TOOL] if with_tools else None)
        except ValueError as error:
            raise EvaluationError(
                f"The tokenizer of '{self.name}' has several chat templates and none is its default: name one of them "
                f"(model.chat_template): {', '.join(sorted(tokenizer.chat_template))}."
            ) from error
        self._steps = _Steps()
        self._prepared = False
        self._program: Any = None

    @property
    def name(self) -> str:
        """What messages call it: the Jinja file that was named, else the model."""
        given = getattr(getattr(self.tokenizer, "chat_options", None), "template", None)
        return given if given is not None and Path(given).is_file() else str(self.tokenizer.name_or_path)

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Any = None, *, add_generation_prompt: bool = False
    ) -> str:
        """``messages`` as the template writes them.

        Args:
            messages: as ``apply_chat_template`` takes them.
            tools: list of tool definitions, or None.

        Raises:
            EvaluationError: the template refuses these messages, or takes too long for them.
            MemoryError: they take more memory than one conversation may, see :func:`limited_memory`.
            TemplateBroken: it can be used for no messages, or does not come to an end.
        """
        from jinja2 import TemplateError

        if not self._prepared:
            self._prepare()
        try:
            with limited_memory():
                return self._rendered(messages, tools, add_generation_prompt)
        except _RenderingTooLong as error:
            raise EvaluationError(
                f"The chat template of '{self.name}' takes {error} of {len(messages):,} turns: shorten it."
            ) from error
        except (TemplateError, *_RUNTIME) as error:
            roles = ", ".join(message["role"] for message in messages)
            why = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
            raise EvaluationError(
                f"The chat template of '{self.name}' refuses the roles {roles}: {why}; convert the conversation or name "
                "another template."
            ) from error

    def render_or_none(
        self, messages: Sequence[Mapping[str, Any]], tools: Any = None, *, add_generation_prompt: bool = False
    ) -> str | None:
        """:meth:`render`; None if the template refuses these messages.

        Raises:
            MemoryError: they take more memory than one conversation may.
            TemplateBroken: it can be used for no messages, or does not come to an end.
        """
        try:
            return self.render(messages, tools, add_generation_prompt=add_generation_prompt)
        except TemplateBroken:
            raise
        except EvaluationError:
            return None

    def _rendered(self, messages: Sequence[Mapping[str, Any]], tools: Any, prompt: bool) -> str:
        if not messages:
            raise ValueError("there is no message")
        if self._program is None:
            with _Limit():
                return self._by_library(messages, tools, prompt)
        return self._run(self._program, messages, tools, prompt)

    def _prepare(self) -> None:
        """Compile the template, and see that it comes to an end for the smallest conversations: if not, it never will.

        Whatever takes too much later is a conversation that is too large.

        Raises:
            TemplateBroken: it can be used for no messages, or does not come to an end.
        """
        from jinja2 import TemplateError, TemplateSyntaxError

        try:
            with limited_memory():
                self._program = self._compile()
                for messages, tools in _PROBES:
                    try:
                        self._rendered(messages, tools, True)
                    except (TemplateError, *_RUNTIME):  # it does not take such a conversation
                        continue
        except TemplateSyntaxError as error:
            raise TemplateBroken(
                f"The chat template of '{self.name}' cannot be used: {str(error.message).rstrip('.')} (line {error.lineno})."
            ) from error
        except _RenderingTooLong as error:
            raise TemplateBroken(
                f"The chat template of '{self.name}' does not come to an end ({error}): fix it or name another template."
            ) from error
        except MemoryError as error:
            raise TemplateBroken(
                f"The chat template of '{self.name}' asks for more than {MOST_MEMORY >> 30} GiB of memory for one "
                "conversation: fix it or name another template."
            ) from error
        self._prepared = True

    def _run(self, program: Any, messages: Sequence[Mapping[str, Any]], tools: Any, prompt: bool) -> str:
        self._steps.begin()
        rendered = program.render(
            messages=_with_reasoning_names(messages),
            tools=tools,
            documents=None,
            add_generation_prompt=prompt,
            **self._variables(),
        )
        assert isinstance(rendered, str)
        return rendered

    def _variables(self) -> dict[str, Any]:
        # Llama 3's templates take the date as an argument.
        return {**self.tokenizer.special_tokens_map, "date_string": f"{self.date:%d %b %Y}"}

    def _by_library(self, messages: Sequence[Mapping[str, Any]], tools: Any, prompt: bool) -> str:
        rendered = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tools=tools,
            chat_template=self.text,
            tokenize=False,
            add_generation_prompt=prompt,
            date_string=f"{self.date:%d %b %Y}",
        )
        assert isinstance(rendered, str)
        return rendered

    def _compile(self) -> Any:
        """The template compiled with its steps counted; None where only the library can render as it does itself."""
        from jinja2 import TemplateError
        from transformers import PreTrainedTokenizerBase as Base

        if type(self.tokenizer).apply_chat_template is not Base.apply_chat_template:
            return None
        program = _counted(self.text, self._steps, self.date)
        if "strftime_now" in self.text:  # the library's own would tell today's date
            return program
        for messages, tools in _PROBES:
            try:
                with _Limit():
                    theirs = self._by_library(messages, tools, True)
            except (TemplateError, *_RUNTIME):  # it does not take such a conversation
                continue
            if self._run(program, messages, tools, True) != theirs:
                return None
        return program


_CALL = {"type": "function", "id": "call00001", "function": {"name": "f", "arguments": {"a": 1}}}
#: The plainest definition of a tool.
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
#: Conversations by which rendering is compared with the library's, and which take next to nothing.
_PROBES: tuple[tuple[list[dict[str, Any]], Any], ...] = (
    ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}], None),
    (
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "reasoning_content": "r", "tool_calls": [_CALL]},
            {"role": "tool", "name": "f", "content": "2", "tool_call_id": "call00001"},
        ],
        [TOOL],
    ),
    (
        [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        None,
    ),
)


def _with_reasoning_names(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Reasoning under the names that templates read it by, as transformers does."""
    return [
        {"thinking": message["reasoning_content"], **message} if "reasoning_content" in message else dict(message)
        for message in messages
    ]


def _counted(text: str, steps: _Steps, date: datetime.date) -> Any:
    """The compiled template, which tells ``steps`` whenever a loop goes round or a macro is called."""
    from jinja2 import Template, nodes
    from jinja2.environment import Environment
    from transformers.utils.chat_template_utils import _compile_jinja_template

    environment: Environment = _compile_jinja_template(text).environment
    tree = environment.parse(text)
    blocks: list[Any] = [*tree.find_all(nodes.For), *tree.find_all(nodes.Macro)]
    for block in blocks:
        call = nodes.Call(nodes.Name(_STEP, "load"), [], [], None, None)
        block.body.insert(0, nodes.ExprStmt(call).set_lineno(block.lineno))
    own = {
        _STEP: steps.count,
        "range": steps.range,
        "strftime_now": lambda form: datetime.datetime(date.year, date.month, date.day).strftime(form),
    }
    return Template.from_code(environment, environment.compile(tree), environment.make_globals(own))


def with_date(text: str, date: datetime.date) -> str:
    """The template with ``date`` in the place of today's, for whoever renders it (``strftime_now``).

    A template that asks for the date in a form which only it makes up stays as it is.
    """
    if "strftime_now" not in text:
        return text
    from jinja2 import nodes
    from transformers.utils.chat_template_utils import _compile_jinja_template

    tree = _compile_jinja_template(text).environment.parse(text)
    asked = [call for call in tree.find_all(nodes.Call) if isinstance(call.node, nodes.Name)]
    forms = [call.args[0] if call.args else None for call in asked if call.node.name == "strftime_now"]
    told: dict[str, str] = {}
    for form in forms:
        if not isinstance(form, nodes.Const) or not isinstance(form.value, str):
            return text
        told[form.value] = date.strftime(form.value)
    # A line break right behind a block is not written, so that of the template itself must not stand there.
    behind = "\n" if text.startswith("\n") else ""
    return f"{{% set strftime_now = {json.dumps(told)}.get %}}{behind}{text}"


def sought(text: str) -> set[str]:
    """Texts that a template looks for in other texts, or splits or cuts them at."""
    from jinja2 import nodes
    from transformers.utils.chat_template_utils import _compile_jinja_template

    tree = _compile_jinja_template(text).environment.parse(text)
    found: set[str] = set()
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and call.node.attr in _STRING_METHODS:
            found |= {constant.value for part in call.args for constant in _constants(part)}
    for applied in tree.find_all(nodes.Filter):
        if applied.name in ("replace", "trim", "split", "indent"):
            found |= {constant.value for part in applied.args for constant in _constants(part)}
    for compared in tree.find_all(nodes.Compare):
        if any(operand.op in ("in", "notin") for operand in compared.ops):
            found |= {constant.value for constant in _constants(compared.expr)}
    return found


def _constants(node: Any) -> list[Any]:
    from jinja2 import nodes

    every = [node] if isinstance(node, nodes.Const) else list(node.find_all(nodes.Const))
    return [constant for constant in every if isinstance(constant.value, str)]


def asks_by_row(text: str) -> bool:
    """Whether what a template asks for an answer with may differ between conversations, as far as its text tells.

    It may where what is written for ``add_generation_prompt`` depends on messages, or on what the template sets.
    """
    import jinja2
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if "add_generation_prompt" not in text or _fault(text) is not None:
        return False
    tree = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", _generation()]).parse(text)
    names = list(tree.find_all(nodes.Name))
    by_row = {"messages", "tools", *(name.name for name in names if name.ctx == "store")}
    by_row |= {reference.name for reference in tree.find_all(nodes.NSRef)}

    def looks_at(part: jinja2.nodes.Node) -> set[str]:
        found = [part] if isinstance(part, nodes.Name) else list(part.find_all(nodes.Name))
        return {name.name for name in found if name.ctx == "load"}

    asking = [block for block in tree.find_all(nodes.If) if "add_generation_prompt" in looks_at(block.test)]
    return any(looks_at(part) & by_row for block in asking for part in block.body)


class _Steps:
    """Counts what a template does, and stops it beyond the limits."""

    def begin(self) -> None:
        """A rendering starts."""
        self._done = 0
        self._until = time.thread_time() + _MOST_SECONDS

    def count(self) -> str:
        """One step more."""
        self._more(1)
        return ""

    def range(self, *bounds: int) -> Any:
        """Numbers, as the sandbox gives them."""
        from jinja2.sandbox import safe_range

        numbers = safe_range(*bounds)
        self._more(len(numbers) >> 6)  # what goes over them without a loop of the template's
        return numbers

    def _more(self, steps: int) -> None:
        before, self._done = self._done, self._done + steps
        if self._done > _MOST_STEPS:
            raise _RenderingTooLong(f"more than {_MOST_STEPS:,} steps for one conversation")
        if before >> 4 != self._done >> 4 and time.thread_time() > self._until:
            raise _RenderingTooLong(f"more than {_MOST_SECONDS:.0f} s for one conversation")


_memory_lock = threading.RLock()


_memory_limited = threading.local()


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let the process grow by :data:`MOST_MEMORY` and no further, where the system tells its size and keeps limits.

    A text can be doubled forty times within forty lines, and one operation cannot be stopped from outside. Around many
    renderings it is cheaper than around each: within, further limits are not set.
    """
    pages = Path("/proc/self/statm")
    if getattr(_memory_limited, "now", False) or not pages.exists():
        yield
        return
    import resource

    with _memory_lock:  # two threads would take each other's limit for the one to go back to
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = int(pages.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + MOST_MEMORY
        if soft != resource.RLIM_INFINITY and soft <= most:
            yield
            return
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        _memory_limited.now = True
        _memory_limited.limits = (most, hard), (soft, hard)
        try:
            yield
        finally:
            _memory_limited.now = False
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def lifted_memory() -> Iterator[None]:
    """Within :func:`limited_memory`: what is no template is not limited. A tokenizer without memory ends the process."""
    if not getattr(_memory_limited, "now", False):
        yield
        return
    import resource

    limited, before = _memory_limited.limits
    resource.setrlimit(resource.RLIMIT_AS, before)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limited)


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
        if self._lines > _MOST_STEPS:
            raise _RenderingTooLong(f"more than {_MOST_STEPS:,} steps for one conversation")
        self._look()
        return self._line

    def _look(self) -> None:
        if time.thread_time() > self._until:
            raise _RenderingTooLong(f"more than {_MOST_SECONDS:.0f} s for one conversation")
