"""Writing a package that adds to AutoSelection: what is changed, its entry point, and tests that pass as they are."""

from __future__ import annotations

import builtins
import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, get_args

from autoselection.errors import ConfigError
from autoselection.evaluation.trainers.registry import TRAINERS
from autoselection.files import whole_folder, write_text
from autoselection.inspection.columns import BUILT_IN
from autoselection.operators import default_registry as operator_registry
from autoselection.signals.registry import default_registry as signal_registry
from autoselection.wording import clipped

PluginKind = Literal["operator", "signal", "trainer"]
KINDS: tuple[PluginKind, ...] = get_args(PluginKind)

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 40
#: How it is used once it is installed.
_USAGE = {
    "operator": "In a recipe:\n\n```yaml\nversion: 1\nsteps:\n  - operator: ${name}\n    params: {most: 256}\n```",
    "signal": "On a pool:\n\n```sh\nautoselection score POOL --signals ${name}\n```",
    "trainer": "In a configuration:\n\n```yaml\nevaluation:\n  sft:\n    trainer: ${name}\n```",
}
#: Where the files of a template lie in the package; the names may hold the plugin's.
_FILES = {
    "common/pyproject.toml": "pyproject.toml",
    "common/README.md": "README.md",
    "common/__init__.py": "src/${package}/__init__.py",
    "${kind}/module.py": "src/${package}/${name}.py",
    "${kind}/test.py": "tests/test_${name}.py",
}


def write_plugin(kind: PluginKind, name: str, out: Path | None = None) -> Path:
    """Write a package with one operator, signal or trainer.

    Args:
        name: of what is added; the package is ``autoselection_NAME``, the project ``autoselection-NAME``.
        out: its folder (default: the project's name, here), which must not be there yet.

    Returns:
        The folder.

    Raises:
        ConfigError: the name cannot be used or is taken, or the folder is there.
    """
    check_name(kind, name)
    project = f"autoselection-{name.replace('_', '-')}"
    folder = Path(project) if out is None else out
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} exists, and nothing is overwritten: name another folder with --out.")
    words = {
        "kind": kind,
        "name": name,
        "package": f"autoselection_{name}",
        "project": project,
        "class_name": _class_name(name),
        "requirement": "autoselection[train]" if kind == "trainer" else "autoselection",
    }
    words["usage"] = Template(_USAGE[kind]).substitute(words)
    templates = files("autoselection.scaffold") / "templates"
    with whole_folder(folder) as part:
        for source, place in _FILES.items():
            text = templates.joinpath(f"{Template(source).substitute(words)}.tmpl").read_text("utf-8")
            write_text(part / Template(place).substitute(words), Template(text).substitute(words))
    return folder


def check_name(kind: PluginKind, name: str) -> None:
    """See that something new may have a name.

    Raises:
        ConfigError: it is no plain word, a word of Python's, taken, or would hide what is called so or be hidden by it.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"'{clipped(name)}' cannot be the name of {_a(kind)}: use up to {_LONGEST} small letters, digits and '_', a letter first, "
            "such as short_rows."
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise ConfigError(f"'{name}' is a word of Python's: choose another name.")
    if _class_name(name) in {*_imported(kind), *dir(builtins)}:
        raise ConfigError(
            f"The class of '{name}' would be {_class_name(name)}, a name that the package uses: choose another name."
        )
    if kind == "signal" and name in BUILT_IN:
        raise ConfigError(f"Every row has a column '{name}', which the signal would hide behind: choose another name.")
    if name in _taken(kind):
        raise ConfigError(f"There is {_a(kind)} called '{name}' already: choose another name.")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _imported(kind: PluginKind) -> frozenset[str]:
    """The names that the module of a plugin and its tests import."""
    templates = files("autoselection.scaffold") / "templates" / kind
    text = "".join(templates.joinpath(f"{name}.py.tmpl").read_text("utf-8") for name in ("module", "test"))
    return frozenset(re.findall(r"\w+", " ".join(re.findall(r"^(?:from [\w.]+ )?import (.+)$", text, re.MULTILINE))))


def _a(kind: PluginKind) -> str:
    return f"an {kind}" if kind == "operator" else f"a {kind}"


def _taken(kind: PluginKind) -> frozenset[str]:
    if kind == "operator":
        return frozenset(operator_registry().names())
    if kind == "trainer":
        return frozenset({*TRAINERS.names(), *TRAINERS.standing, "sft"})
    registry = signal_registry()
    return frozenset({*registry.names(), *(column for known in registry.kinds() for column in known.columns)})
