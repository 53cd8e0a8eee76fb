"""Modules by the names that they had in earlier versions."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from autoselection.former_modules import FORMER, name_of_today


@pytest.mark.parametrize("former", FORMER)
def test_a_former_name_gives_the_module_of_today_and_a_warning(former: str) -> None:
    code = (
        "import importlib, sys, warnings\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    found = importlib.import_module(sys.argv[1])\n"
        "assert found is importlib.import_module(sys.argv[2]), found\n"
        "assert found.__name__ == found.__spec__.name == sys.argv[2], found.__spec__\n"
        "(one,) = [w for w in said if w.category is DeprecationWarning and 'is now autoselection.' in str(w.message)]\n"
        "assert str(one.message) == f'{sys.argv[1]} is now {sys.argv[2]}: import it by that name.', one.message\n"
    )
    names = [f"autoselection.{former}", f"autoselection.{FORMER[former]}"]
    subprocess.run([sys.executable, "-c", code, *names], check=True)


def test_what_lies_in_a_package_moved_with_it() -> None:
    with pytest.warns(DeprecationWarning, match="is now autoselection.language.chat.encoder"):
        from autoselection.chat.encoder import ConversationEncoder  # type: ignore[import-not-found]
    from autoselection.language.chat import ConversationEncoder as today

    assert ConversationEncoder is today


@pytest.mark.parametrize(
    "name", ["autoselection.nowhere", "autoselection.chat.nowhere", "autoselection.chatty", "chat"]
)
def test_other_names_are_no_modules(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
    assert name_of_today("autoselection.chatty") is None and name_of_today("chat") is None
