"""The Model Context Protocol: a study's tools over standard input and output.

Standard output carries the protocol alone. Whatever is wrong with a call is an answer of one sentence, and the server goes
on; what is a bug of ours is one too, with its traceback on standard error.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

import anyio
from anyio.to_thread import run_sync
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool

from autoselection._version import __version__
from autoselection.agents.tools import TOOLS, EvaluateArguments, Tool, WaitArguments
from autoselection.agents.untrusted import LONGEST, NOTE, answer_text, neutralised
from autoselection.documents import parse_json
from autoselection.errors import AutoSelectionError, ConfigError, StudyError
from autoselection.progress import console
from autoselection.schema import StrictModel
from autoselection.system import told
from autoselection.terminal import styled
from autoselection.validation import validate
from autoselection.wording import clipped, suggestion

if TYPE_CHECKING:
    from autoselection.agents.session import AgentSession

#: Between two looks at what is waited for (s).
_LOOK = 1.0
#: Largest arguments of a call (characters of JSON), and longest sentence about an error.
_ARGUMENTS, _SENTENCE = 100_000, 1_000

INSTRUCTIONS = (
    "Tools of one AutoSelection study: choose the subset of a pool of training rows that, trained on, scores highest on dev. Begin "
    "with study_overview; look at the pool; try recipes with materialize_recipe, which is free; spend the budget of evaluations "
    f"with evaluate_recipe on what you expect most of. Test scores are locked. {NOTE}"
)


class Opening:
    """The session of a server that answers at once, while the study is still being opened.

    Args:
        make: opens the study.

    Attributes:
        exit_code: of the command, should the study not open.
    """

    exit_code = 0

    def __init__(self, make: Callable[[], AgentSession]) -> None:
        self._make = make
        self._done = anyio.Event()
        self._session: AgentSession | None = None
        self._failed = ""

    async def open(self) -> None:
        """Open it; what is wrong is said on standard error, and by every call."""
        try:
            self._session = await run_sync(self._make)
        except AutoSelectionError as error:
            self._failed, self.exit_code = str(error), error.exit_code
        except (OSError, MemoryError) as error:
            what, help_ = told(error)
            self._failed, self.exit_code = f"{what}. {help_}.", StudyError.exit_code
        if self._failed:
            console.say(styled("error:", "red"), f" {self._failed}")
        self._done.set()

    async def session(self) -> AgentSession:
        """The session, as soon as there is one.

        Raises:
            StudyError: it could not be opened.
        """
        await self._done.wait()
        if self._session is None:
            raise StudyError(f"The study could not be opened: {self._failed}")
        return self._session


def make_server(opening: Opening) -> Server[Any]:
    """A server of one study's tools."""

    async def list_tools(context: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_listed(tool) for tool in TOOLS.values()])

    async def call_tool(context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        try:
            text = await _answered(opening, context, params.name, params.arguments or {})
        except AutoSelectionError as error:
            return _refused(str(error))
        except (OSError, MemoryError) as error:
            what, help_ = told(error)
            return _refused(f"{what}. {help_}.")
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            console.say(traceback.format_exc())
            return _refused("This call met a bug of AutoSelection; its standard error tells more.")
        return CallToolResult(content=[TextContent(type="text", text=text)])

    return Server(
        "autoselection",
        version=__version__,
        title="AutoSelection",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def serve(make: Callable[[], AgentSession]) -> int:
    """Answer over standard input and output until the client goes.

    Args:
        make: opens the study; called in a thread while the client is answered already.

    Returns:
        The exit code of the command: that of the error if the study could not be opened.
    """
    logging.basicConfig(level=logging.WARNING)  # the protocol's own log, on standard error
    return anyio.run(_serve, make)


async def _serve(make: Callable[[], AgentSession]) -> int:
    opening = Opening(make)
    server = make_server(opening)
    async with anyio.create_task_group() as tasks, stdio_server() as (read, write):
        tasks.start_soon(opening.open)
        await server.run(read, write, server.create_initialization_options())
        tasks.cancel_scope.cancel()
    return opening.exit_code


def _listed(tool: Tool) -> ListedTool:
    schema = tool.arguments.model_json_schema()
    schema.pop("description", None)
    return ListedTool(
        name=tool.name,
        description=tool.about,
        input_schema=schema,
        annotations=ToolAnnotations(
            read_only_hint=not tool.writes,
            destructive_hint=False,
            idempotent_hint=not tool.writes,
            open_world_hint=False,
        ),
    )


async def _answered(
    opening: Opening, context: ServerRequestContext[Any], name: str, arguments: Mapping[str, Any]
) -> str:
    tool = TOOLS.get(name)
    if tool is None:
        raise ConfigError(f"There is no tool '{clipped(name)}'{suggestion(name, TOOLS)}")
    asked = _arguments(tool, arguments)
    session = await opening.session()
    from autoselection.agents.answers import ANSWERS  # loaded with the session

    if isinstance(asked, EvaluateArguments):  # a proposal is an event of its own
        return answer_text(await _evaluate(session, context, asked), LONGEST)
    session.note(name)
    if isinstance(asked, WaitArguments):
        answer = await _wait(session, context, asked.trial, asked.seconds)
    else:
        answer = await run_sync(ANSWERS[name], session, asked)
    return answer_text(answer, getattr(asked, "characters", LONGEST))


def _arguments(tool: Tool, arguments: Mapping[str, Any]) -> StrictModel:
    """The arguments of a call, checked.

    Raises:
        ConfigError: they are wrong, or too large.
    """
    size = len(json.dumps(arguments))
    if size > _ARGUMENTS:
        raise ConfigError(f"The arguments have {size:,} characters, more than {_ARGUMENTS:,}.")
    given = dict(arguments)
    for key, value in given.items():  # some clients send lists and objects as text
        field = tool.arguments.model_fields.get(key)
        if field is None or not isinstance(value, str) or _is_text(field.annotation):
            continue
        if value.lstrip().startswith(("{", "[")):
            given[key] = _parsed(value, f"{tool.name}.{key}")
    return validate(tool.arguments, given, tool.name)


def _is_text(annotation: Any) -> bool:
    """Whether an argument is a text, or none, and nothing else."""
    return set(get_args(annotation) or [annotation]) <= {str, type(None)}


def _parsed(text: str, where: str) -> Any:
    """A list or object that came as text.

    Raises:
        ConfigError: it is JSON that the protocol's own reader would have refused, such as half a character.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text  # YAML in flow style, or what the model refuses
    return parse_json(text, where)


async def _evaluate(
    session: AgentSession, context: ServerRequestContext[Any], asked: EvaluateArguments
) -> dict[str, Any]:
    client = context.session.client_params
    name = "" if client is None else f"{client.client_info.name} {client.client_info.version}".strip()
    reason = " ".join(neutralised(asked.reason).split())
    trial, new = await run_sync(session.propose, asked.recipe, reason, asked.parent, name)
    answer = await _wait(session, context, trial, asked.wait_seconds)
    return answer if new else {**answer, "resumed": f"{trial} was interrupted before: it goes on and is not paid twice"}


async def _wait(
    session: AgentSession, context: ServerRequestContext[Any], trial: str | None, seconds: float
) -> dict[str, Any]:
    """Look until there is a result or the time is over; who asked for progress is told."""
    from autoselection.agents.answers import evaluated

    began = time.monotonic()
    while True:
        status = await run_sync(session.status, trial)
        passed = time.monotonic() - began
        if not status.waits or passed >= seconds:
            return await run_sync(evaluated, session, trial)
        await context.session.report_progress(passed, seconds, neutralised(status.sentence()))
        await anyio.sleep(min(_LOOK, seconds - passed))


def _refused(sentence: str) -> CallToolResult:
    shown = clipped(" ".join(str(neutralised(sentence, 4 * _SENTENCE)).split()), _SENTENCE)
    return CallToolResult(content=[TextContent(type="text", text=shown)], is_error=True)
