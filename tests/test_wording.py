"""Words that messages share."""

from __future__ import annotations

import shlex
import time

import pytest

from autoselection.wording import command_line, suggestion


def test_a_wrong_name_among_few_gets_the_closest_or_all_of_them() -> None:
    assert suggestion("levl", ["level", "row"]) == "; did you mean 'level'?"
    assert suggestion("xyz", ["b", "a"]) == "; known: a, b."


def test_a_wrong_name_among_very_many_gets_a_short_answer_soon() -> None:
    names = [f"https://example.org/{number}/page{'x' * 300 * (number % 2)}" for number in range(200_000)]
    began = time.process_time()
    listed = suggestion("web", names)
    meant = suggestion("https://example.org/12344/pagx", names)
    assert time.process_time() - began < 10, "comparing with each of them takes some minutes"
    assert listed.endswith(" and 199,960 more.") and len(listed) < 5000
    assert meant == "; did you mean 'https://example.org/12344/page'?"


def test_a_command_is_quoted_for_the_shell_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("autoselection", "report", "C:\\my study\\it's", "map=a b", "plain")
    with monkeypatch.context() as on_windows:
        on_windows.setattr("autoselection.wording.os.name", "nt")
        shown = command_line(*words)
    assert shown == 'autoselection report "C:\\my study\\it\'s" "map=a b" plain'
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("autoselection.wording.os.name", "posix")
        shown = command_line(*words)
    assert shlex.split(shown) == list(words)
