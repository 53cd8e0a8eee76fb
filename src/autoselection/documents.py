"""The one reader of YAML and JSON that people write: configurations, recipes, values of ``--set``.

What is read is untrusted. Size, depth and the number of values that aliases stand for are limited before anything is
built, so that 600 bytes cannot become gigabytes; a key twice, a number that no computer holds, infinity and not-a-number are
refused; dates stay text; every refusal is a sentence with the line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from autoselection.errors import AutoSelectionError, ConfigError
from autoselection.terminal import obeyed, visible
from autoselection.wording import clipped

#: Largest document that is read (bytes).
MAX_BYTES = 2**20
#: Deepest nesting of lists and mappings (levels).
MAX_DEPTH = 40
#: Most values, with every alias counted as what it stands for (count).
MAX_VALUES = 100_000
#: The same of recipes and locks, which this package writes itself: they may name hundreds of thousands of sources.
MAX_OWN_BYTES, MAX_OWN_VALUES = 2**26, 1_000_000
#: Whole numbers lie between minus this and this.
MAX_NUMBER = 2**63 - 1

_PREFIX = "tag:yaml.org,2002:"
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")
_SAID = {f"{_PREFIX}int": "a whole number", f"{_PREFIX}float": "a number", f"{_PREFIX}bool": "true or false"}
_UNKNOWN_TAG = re.compile(r"constructor for the tag ('[^']*')")
_LONGEST_NUMBER = 60  # characters; minutes as "1:30:00…" of any length are read as one number else
# 017 is 15 and 1:30 is 90 in YAML 1.1, and text in YAML 1.2: who wrote it meant something else.
_OTHER_BASES = re.compile(r"[-+]?(?:0[0-7_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")
# 1e-3 is a number in JSON and in YAML 1.2, and text in YAML 1.1. Not so many digits that a checksum could be one.
_POWER_OF_TEN = re.compile(r"[-+]?(?:[0-9]{1,9}|[0-9]+\.[0-9]*|\.[0-9]+)[eE][-+]?[0-9]{1,3}\Z")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_PROBLEM = 200


class _RefusedYaml(yaml.MarkedYAMLError):
    """A document that is YAML, but none that is read."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with limits, without numbers in eights and sixties, without dates, binaries and sets, and without keys that stand twice."""

    yaml_constructors = {  # noqa: RUF012 - PyYAML's way
        **{f"{_PREFIX}{tag}": yaml.SafeLoader.yaml_constructors[f"{_PREFIX}{tag}"] for tag in _TAGS},
        None: yaml.SafeLoader.yaml_constructors[None],
    }
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [entry for entry in entries if entry[0] not in (f"{_PREFIX}timestamp", f"{_PREFIX}value")]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str, most: int = MAX_VALUES) -> None:
        super().__init__(text)
        self._most = most
        self._depth = 0
        self._count = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, counting how deep it lies and how many values it stands for."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedYaml(f"it is nested deeper than {MAX_DEPTH} levels", mark)
        self._count += 1
        if self._count > self._most:  # before the rest is read, which takes its time
            raise _RefusedYaml(f"it holds more than {self._most:,} values", mark)
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and id(node) not in self._sizes:
            if self._open(node):
                raise _RefusedYaml("an alias stands inside of what it stands for", mark)
            self._sizes[id(node)] = 1 + sum(self._sizes.get(id(child), 1) for child in _children(node))
            self._check_size(self._sizes[id(node)], mark)
        if alias and isinstance(node, yaml.CollectionNode):
            # Each place gets lists and mappings of its own: what is set in one (--set) must not change in the others.
            size = self._sizes[id(node)]
            self._count += size
            self._check_size(self._count, mark)
            node = _copied(node)
            self._sizes[id(node)] = size
        return node

    def _check_size(self, values: int, mark: Any) -> None:
        if values > self._most:
            raise _RefusedYaml(f"lists and aliases stand for more than {self._most:,} values here", mark)

    def scan_flow_scalar_non_spaces(self, double: bool, start_mark: Any) -> list[str]:
        """Read text in quotes; PyYAML lets escapes of no character through to ``chr``."""
        try:
            return super().scan_flow_scalar_non_spaces(double, start_mark)
        except (ValueError, OverflowError):
            raise _RefusedYaml("an escape in quotes stands for no character", start_mark) from None

    def scan_yaml_directive_number(self, start_mark: Any) -> int:
        """Read half of the version in ``%YAML``; PyYAML lets a number through that ``int`` refuses."""
        try:
            number: int = super().scan_yaml_directive_number(start_mark)
        except ValueError:
            raise _RefusedYaml("the version of YAML is too long a number", start_mark) from None
        return number

    def _open(self, node: yaml.Node) -> bool:
        """Whether an alias led to a list or mapping that is still being composed: only those have no end yet."""
        return isinstance(node, yaml.CollectionNode) and node.end_mark is None

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping and see that its keys are words, and that none stands twice (before other mappings are merged into it)."""
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _RefusedYaml("a key must be a word, not a list or mapping", key.start_mark)
            merge = key.tag == f"{_PREFIX}merge"
            value = "<<" if merge else self.construct_object(key)
            if value is None or isinstance(value, bool):
                read_as = "nothing" if value is None else str(value).lower()
                raise _RefusedYaml(
                    f"the key '{clipped(key.value)}' is read as {read_as} by YAML: put it in quotes if it is meant",
                    key.start_mark,
                )
            if value in seen:
                raise _RefusedYaml(f"the key '{clipped(key.value)}' stands twice", key.start_mark)
            seen.add(value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; numbers and texts that cannot be used are refused."""
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        number = node.tag in (f"{_PREFIX}int", f"{_PREFIX}float")
        if number and len(node.value) > _LONGEST_NUMBER:
            raise _RefusedYaml(f"the number '{clipped(node.value)}' is too long", node.start_mark)
        if number and _OTHER_BASES.fullmatch(node.value):
            raise _RefusedYaml(
                f"'{clipped(node.value)}' is a number in eights or sixties for YAML: put text in quotes, write numbers as "
                "10 or 0.5",
                node.start_mark,
            )
        try:
            value = super().construct_object(node, deep)
            return _number(value) if number else _text(value) if isinstance(value, str) else value
        except (ValueError, KeyError, IndexError) as error:
            said = (
                str(error)
                if isinstance(error, _UnusableYaml)
                else f"'{clipped(node.value)}' cannot be read as {_SAID.get(node.tag, 'what its tag says')}"
            )
            raise _RefusedYaml(said, node.start_mark) from None


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts text in quotes that :class:`_Loader` would read as a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(f"{_PREFIX}float", _POWER_OF_TEN, list("-+.0123456789"))


class _UnusableYaml(ValueError):
    """A value that is not read, with the reason."""


def read_yaml(
    path: Path, error: type[AutoSelectionError] = ConfigError, *, own: bool = False
) -> tuple[Any, yaml.Node | None]:
    """A YAML file, or JSON if its name ends in ``.json``, and its composed tree for the line numbers of messages.

    Args:
        error: class of the errors raised.
        own: it is of a kind that this package writes, and may be as large as those.

    Raises:
        AutoSelectionError: ``error``: it is not one document that can be used.
        OSError: the file cannot be read.
    """
    text = read_text(path, error, own=own)
    if path.suffix.lower() == ".json":
        return parse_json(text, str(path), error, own=own), None
    return parse_yaml(text, str(path), error, own=own)


def read_text(path: Path, error: type[AutoSelectionError] = ConfigError, *, own: bool = False) -> str:
    """The text of a file that people write: UTF-8, or UTF-16 with its mark; ``own`` as of :func:`read_yaml`.

    Raises:
        AutoSelectionError: ``error``: it is neither, or too large.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        return _decoded(stream.read((MAX_OWN_BYTES if own else MAX_BYTES) + 1), str(path), error, own)


def parse_yaml(
    content: bytes | str, where: str, error: type[AutoSelectionError] = ConfigError, *, own: bool = False
) -> tuple[Any, yaml.Node | None]:
    """A YAML document and its composed tree; see :func:`read_yaml`."""
    text = _decoded(content, where, error, own)
    try:
        loader = _Loader(text, MAX_OWN_VALUES if own else MAX_VALUES)
        try:
            node = loader.get_single_node()
            return (None if node is None else loader.construct_document(node)), node
        finally:
            loader.dispose()
    except ReaderError as problem:
        line = text.count("\n", 0, problem.position) + 1
        raise error(f"{where}:{line}: not valid YAML: the character {_code(problem)} is not allowed.") from None
    except _RefusedYaml as problem:
        raise error(f"{where}:{_line(problem)}: {problem.problem}.") from None
    except ConstructorError as problem:
        said = str(problem.problem)
        if (tag := _UNKNOWN_TAG.search(said)) is not None:
            said = f"the tag {tag[1].replace(_PREFIX, '!!')} is not read; give plain text, numbers, lists or mappings"
        raise error(f"{where}:{_line(problem)}: {clipped(said, _LONGEST_PROBLEM)}.") from None
    except yaml.MarkedYAMLError as problem:
        said = clipped(" ".join(str(problem.problem or problem.context).split()), _LONGEST_PROBLEM)
        raise error(f"{where}:{_line(problem)}: not valid YAML: {said}.") from None


def parse_json(
    content: bytes | str, where: str, error: type[AutoSelectionError] = ConfigError, *, own: bool = False
) -> Any:
    """A JSON document under the same limits; see :func:`read_yaml`."""
    text = _decoded(content, where, error, own)
    try:
        document = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_int=lambda word: _number(int(word)) if len(word) <= _LONGEST_NUMBER else _refuse_number(word),
            parse_float=lambda word: _number(float(word)),
            parse_constant=_refuse_number,
        )
        for value in _values(document):
            if isinstance(value, str):
                _text(value)
        return document
    except RecursionError:
        raise error(f"{where}: it is nested deeper than {MAX_DEPTH} levels.") from None
    except json.JSONDecodeError as problem:
        raise error(f"{where}:{problem.lineno}: not valid JSON: {problem.msg}.") from None
    except _UnusableYaml as problem:
        raise error(f"{where}: {problem}.") from None


def check_yaml(path: Path, error: type[AutoSelectionError] = ConfigError) -> None:
    """See that a YAML file that another library will read keeps within the limits; its tags are that library's affair.

    Raises:
        AutoSelectionError: ``error``: it does not, or is not YAML.
        OSError: the file cannot be read.
    """

    class Composer(_Loader):
        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            return node.value

    text = read_text(path, error)
    try:
        Composer(text).get_single_node()
    except ReaderError as problem:
        raise error(f"{path}: not valid YAML: the character {_code(problem)} is not allowed.") from None
    except yaml.MarkedYAMLError as problem:
        said = clipped(" ".join(str(problem.problem or problem.context).split()), _LONGEST_PROBLEM)
        raise error(f"{path}:{_line(problem)}: {said}.") from None


def check_texts(document: Any, where: str, error: type[AutoSelectionError] = ConfigError) -> None:
    """See that plain data that no reader here has read can be written: that no text in it, keys too, holds half a character.

    Raises:
        AutoSelectionError: ``error``: one does, or the data is nested too deeply.
    """
    try:
        for value in _values(document):
            if isinstance(value, str) and not value.isascii():
                value.encode()
    except UnicodeEncodeError as problem:
        raise error(f"{where}: '{visible(clipped(str(problem.object)))}' holds half a character.") from None
    except _UnusableYaml as problem:
        raise error(f"{where}: {problem}.") from None


def dump_yaml(document: Any, **options: Any) -> str:
    """A document as YAML in the order of its keys; what a terminal would obey is written as an escape."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **options)
    if obeyed(text):
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=False, **options)
    return text


def _decoded(content: bytes | str, where: str, error: type[AutoSelectionError], own: bool = False) -> str:
    most = MAX_OWN_BYTES if own else MAX_BYTES
    if len(content) > most:
        raise error(f"{where}: larger than {most // 2**20} MiB: is this the right file?")
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        byte = content[problem.start]
        raise error(f"{where}:{line}: not UTF-8 text (byte 0x{byte:02x}): save the file as UTF-8.") from None


def _code(problem: ReaderError) -> str:
    return f"U+{problem.character:04X}" if isinstance(problem.character, int) else repr(problem.character)


def _line(problem: yaml.MarkedYAMLError) -> int:
    mark = problem.problem_mark or problem.context_mark
    return int(mark.line) + 1 if mark is not None else 1


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _copied(node: yaml.Node) -> yaml.Node:
    """The node with lists and mappings of its own; single values, which nothing changes, are shared."""
    if isinstance(node, yaml.MappingNode):
        pairs = [(key, _copied(value)) for key, value in node.value]
        return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark, node.flow_style)
    if isinstance(node, yaml.SequenceNode):
        entries = [_copied(entry) for entry in node.value]
        return yaml.SequenceNode(node.tag, entries, node.start_mark, node.end_mark, node.flow_style)
    return node


def _number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise _UnusableYaml("infinity and not-a-number are not allowed, nor numbers too large to be held")
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise _UnusableYaml(f"the number {clipped(str(value))} is too large")
    return value


def _refuse_number(word: str) -> Any:
    raise _UnusableYaml(f"the number {clipped(word)} is not allowed")


def _text(value: str) -> str:
    """The text with pairs of escapes (as JSON writes characters beyond U+FFFF) as the characters they mean."""
    if "\0" in value:
        raise _UnusableYaml("text must not hold the character U+0000")
    if value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value):
        return value
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _UnusableYaml(f"'{visible(clipped(value))}' holds half a character") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _UnusableYaml(f"the key '{clipped(key)}' stands twice")
        found[_text(key)] = value
    return found


def _values(document: Any) -> Iterator[Any]:
    """Every value of plain data, keys too, level by level; refuses what is nested too deeply."""
    level = [document]
    for _ in range(MAX_DEPTH):
        yield from level
        level = [child for value in level for child in _inner(value)]
        if not level:
            return
    raise _UnusableYaml(f"it is nested deeper than {MAX_DEPTH} levels")


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return (*value, *value.values())
    return value if isinstance(value, (list, tuple)) else ()
