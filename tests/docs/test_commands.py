"""Every ``autoselection ...`` line on a page is one that the program takes."""

import re
import shlex

import pytest
import typer
from pages import PAGES, ROOT, code_blocks, prose

from autoselection.cli import app

PROGRAM = typer.main.get_command(app)
REFUSED = typer.BadParameter.__mro__[1]  # any error of usage: no such option, a value missing


def written(text: str) -> list[str]:
    """Commands in blocks of code, lines joined where they go on, and in inline code."""
    blocks = "\n".join(
        block.replace("\\\n", " ") for language, block in code_blocks(text) if language in ("", "sh", "bash")
    )
    lines = [line.strip() for line in blocks.splitlines()] + re.findall(r"`([^`\n]+)`", prose(text))
    return [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?autoselection\s", line)]


def fault(line: str) -> str | None:
    """What the program would not take of a line; placeholders such as POOL and FILE… count as values."""
    words = shlex.split(line, comments=True)[1:]
    command, name = PROGRAM, "autoselection"
    while commands := getattr(command, "commands", None):
        if not words or words[0].startswith("-"):
            break
        if words[0] not in commands:
            return f"no command '{words[0]}'"
        command, name = commands[words[0]], words.pop(0)
    if not words:
        return None  # the bare name of a command, as in a sentence
    try:
        command.make_parser(command.context_class(command, info_name=name)).parse_args(args=words)
    except REFUSED as problem:
        return problem.message
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_parses(page):
    lines = written(page.read_text(encoding="utf-8"))
    wrong = {line: why for line in lines if (why := fault(line))}
    assert not wrong


@pytest.mark.parametrize(
    "line", ["autoselection seek x", "autoselection apply x --poool y", "autoselection apply x --pool"]
)
def test_a_line_that_the_program_does_not_take_is_found(line):
    assert fault(line)
