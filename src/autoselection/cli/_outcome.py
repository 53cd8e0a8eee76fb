"""How a command ends: done, or one sentence and an exit code, whatever stopped it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

import typer

from autoselection.errors import AutoSelectionError
from autoselection.progress import console
from autoselection.system import told, unmasked
from autoselection.terminal import document_written, prepare_streams, styled, write_json
from autoselection.wording import clipped

#: Longest line of a message: it may quote an id or a name of a megabyte (characters).
_LONGEST_LINE = 2_000

#: What a shell sets when it asks for completions.
COMPLETE = "_AUTOSELECTION_COMPLETE"

INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143

#: Exit code of a system's error, by command; of all others it is that of a study.
_SYSTEM_CODES = {
    **dict.fromkeys(("init", "config", "doctor", "mixture"), 2),
    **dict.fromkeys(("ingest", "pool"), 3),
    **dict.fromkeys(("score", "sae"), 4),
    **dict.fromkeys(("recipes", "materialize", "apply", "explain", "diff"), 5),
    **dict.fromkeys(("evaluate", "benchmark"), 6),
}
_STUDY_CODE = 7
#: Options that say where a command writes, for errors that name no file.
_PLACES = ("--out", "--ids", "--report", "--dropped", "--table", "--work-dir")

# Typer brings its own copy of Click, older ones use the package.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_ClickException: type[Exception] = _UsageError.__mro__[1]


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): what an interrupt cleans up is cleaned up."""


class _Told(Exception):
    """A failure as it is shown."""

    def __init__(self, code: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint
        self.message = "\n".join(clipped(line, _LONGEST_LINE) for line in message.splitlines())


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code.

    Errors of ours, of usage and of the system are shown as a sentence on standard error, with ``--json`` also as a document on
    standard output. Any other exception is a bug, and raised.
    """
    prepare_streams()
    if COMPLETE in os.environ:  # a shell asks what may stand next
        typer.main.get_command(app)(prog_name="autoselection")
    options = list(arguments)
    if "--" in options:
        options = options[: options.index("--")]
    as_json = "--json" in options
    if as_json:
        sys.excepthook = _bug
    try:
        with _ending_on_sigterm():
            return _invoke(app, list(arguments))
    except _Told as failure:
        return _tell(failure, as_json)
    except KeyboardInterrupt as stop:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the next one ends what is being closed, without a traceback
        code, word = (TERMINATED, "terminated") if isinstance(stop, Terminated) else (INTERRUPTED, "interrupted")
        return _tell(_Told(code, word, "run the same command again to go on"), as_json)
    except BrokenPipeError as error:
        if not _pipe_is_closed():
            return _tell(_of_system(error, _STUDY_CODE, None), as_json)
        _give_up_streams()
        return CLOSED_PIPE
    except SystemExit as end:  # Rich makes it of a closed pipe where Typer prints a help with it
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _give_up_streams()
        return CLOSED_PIPE


def _invoke(app: typer.Typer, arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    context: Any = None
    try:
        # Not the command's own main(): it makes exits of interrupts and of closed pipes before they come here.
        with command.make_context("autoselection", arguments) as context:
            code = _exit_code(command, context)
        _flush()  # here, where a full disk or a closed pipe can still be reported
        return code
    except typer.Exit as end:  # --help and --version
        _flush()
        return end.exit_code
    except AutoSelectionError as error:
        raise _Told(error.exit_code, str(error), error.hint) from error
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return 2
        raise _usage(error, _command_of(command, arguments)) from error
    except BrokenPipeError:
        raise
    except _system_errors() as error:
        if (interrupt := _interrupt_behind(error)) is not None:
            raise type(interrupt) from error
        system = unmasked(error) if isinstance(error, (RuntimeError, ImportError)) else error
        if system is None:
            raise
        name = context.invoked_subcommand if context is not None else None
        raise _of_system(system, _SYSTEM_CODES.get(name or "", _STUDY_CODE), _place(arguments)) from error


def _exit_code(command: Any, context: Any) -> int:
    try:
        command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _system_errors() -> tuple[type[BaseException], ...]:
    """Errors of the system, and the exceptions in which Python and loaded libraries may wrap them."""
    wrapped = (
        getattr(sys.modules.get(module), name, None)
        for module, name in (
            ("pyarrow", "ArrowInvalid"),
            ("polars.exceptions", "ComputeError"),
            ("safetensors", "SafetensorError"),
        )
    )
    return (OSError, MemoryError, RuntimeError, ImportError, *(found for found in wrapped if found is not None))


def _interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an error came of: modules in C that are being loaded make an ImportError of it."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__cause__ or behind.__context__
    return behind


def _place(arguments: Sequence[str]) -> str | None:
    for number, word in enumerate(arguments):
        option, separator, value = word.partition("=")
        if option in _PLACES:
            return value if separator else next(iter(arguments[number + 1 :]), None)
    return None


def _of_system(error: BaseException, code: int, place: str | None) -> _Told:
    message, hint = told(error, place)
    return _Told(code, f"{message}.", f"{hint}.")


def _command_of(command: Any, arguments: Sequence[str]) -> str:
    """The command that the words name, as its help is asked for: an error while they are parsed may not say it."""
    words = ["autoselection"]
    for word in arguments:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        words.append(word)
    return " ".join(words)


def _usage(error: Exception, named: str) -> _Told:
    """A wrong option or argument, and where the right ones are listed."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else named
    message: str = error.format_message()  # type: ignore[attr-defined]
    message = message.replace("Value error, ", "", 1)  # pydantic's own words for what a validator of ours says
    message = message if message.rstrip().endswith((".", "!", "?", ")")) else f"{message.rstrip()}."
    return _Told(getattr(error, "exit_code", 2), message, f"'{command} --help' lists what may be given.")


def _tell(failure: _Told, as_json: bool) -> int:
    with contextlib.suppress(OSError):  # the terminal itself may be what failed
        first, *others = failure.message.splitlines() or [""]
        if failure.code in (INTERRUPTED, TERMINATED):
            console.say(styled(first, "yellow"), f": {failure.hint}")
        else:
            more = f" {failure.hint}" if failure.hint and failure.hint not in failure.message else ""
            console.say(styled("error:", "red"), f" {first}", "" if others else more)
        for line in others:
            console.say(line)
    if as_json and not document_written():
        try:
            write_json({"error": {"code": failure.code, "message": failure.message, "hint": failure.hint}})
            _flush()
        except OSError:
            _give_up_streams()
    else:
        _close_output()
    return failure.code


def _bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A mistake of ours under ``--json``: a document on standard output beside the traceback."""
    sys.__excepthook__(kind, error, trace)
    if not document_written():
        message = f"{kind.__name__}: {error}"
        hint = "This is a mistake in AutoSelection: please report it with the traceback on standard error."
        write_json({"error": {"code": 1, "message": message, "hint": hint}})


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as an interrupt does, so that workers and temporary files do not stay behind."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _flush() -> None:
    for stream, name in ((sys.stdout, "standard output"), (sys.stderr, "standard error")):
        if stream is not None:
            try:
                stream.flush()
            except OSError as error:
                error.filename = name
                raise


def _close_output() -> None:
    """Write what is left; a full disk or a closed pipe must not end the interpreter with another error."""
    try:
        _flush()
    except OSError:
        _give_up_streams()


def _pipe_is_closed() -> bool:
    """Whether nobody reads standard output or error any more."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0)) or sys.stdout is None


def _give_up_streams() -> None:
    """Send what could not be written, and what the interpreter writes at its end, nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.flush()
                    continue
                os.dup2(nowhere, stream.fileno())
