"""Settings into models, and a model's complaints into sentences that name file, line and field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autoselection.errors import ConfigError
from autoselection.schema import UNKNOWN_NAME, Configured, HoldsSecret
from autoselection.wording import clipped, ended, kind_of, suggestion, without_login

Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], document: Mapping[str, Any], where: str, tree: yaml.Node | None = None) -> Model:
    """Build ``model`` from ``document``.

    Args:
        where: file (or other origin) named in the message.
        tree: the composed YAML document, for line numbers.

    Raises:
        ConfigError: one sentence a problem, with file, line and dotted field.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        details = _one_a_value(_own_problems(error.errors()), document)
        problems = [_sentence(model, detail, where, tree) for detail in details]
    raise ConfigError("\n".join(problems))


def problem_at(location: Sequence[int | str], why: str, where: str, tree: yaml.Node | None = None) -> str:
    """A complaint about the key at ``location``, with file and line."""
    return f"{_place(where, tree, location)}: {'.'.join(map(str, location))}: {why}"


class _Override(yaml.MappingNode):
    """Stands in a composed document for a value that the command line gave, and holds what further ones put into it."""

    def __init__(self, given: str) -> None:
        super().__init__("", [])
        self.given = given


def mark_override(tree: yaml.Node | None, key: Sequence[str], given: str) -> None:
    """Note in a composed document that the value at ``key`` is none of the file's, so that messages name ``given`` instead."""
    node = tree
    for number, word in enumerate(key, 1):
        new = _Override(given)
        if isinstance(node, yaml.SequenceNode):
            place = int(word)
            if number == len(key) or not isinstance(node.value[place], yaml.CollectionNode):
                node.value[place] = new
            node = node.value[place]
        elif isinstance(node, yaml.MappingNode):
            old = next((value for name, value in node.value if name.value == word), None)
            if number == len(key) or not isinstance(old, yaml.CollectionNode):
                others = [pair for pair in node.value if pair[0].value != word]
                node.value = [*others, (yaml.ScalarNode("", word), new)]
                old = new
            node = old


def _own_problems(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The complaints without those that follow from others: a list whose entries are wrong counts as too short."""
    inner = {detail["loc"][: len(detail["loc"]) - back] for detail in details for back in range(1, len(detail["loc"]))}
    return [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in inner)]


def _one_a_value(details: Sequence[ErrorDetails], document: Mapping[str, Any]) -> list[ErrorDetails]:
    """One complaint about a value that may be of several kinds and is of none: pydantic has one for each kind, with the name of
    the kind behind the place."""
    found: list[ErrorDetails] = []
    by_place: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in details:
        place = detail["loc"][:-1]
        names_a_key = detail["type"] in ("missing", "extra_forbidden") or _holds(document, detail["loc"])
        if not names_a_key and _holds(document, place):
            by_place.setdefault(place, []).append(detail)
            if len(by_place[place]) > 1:
                continue
        found.append(detail)
    for place, kinds in by_place.items():
        if len(kinds) > 1:
            expected = [reason_of(kind).removeprefix("expected ") for kind in kinds]
            merged = {**kinds[0], "type": _SEVERAL, "loc": place, "msg": f"expected {' or '.join(expected)}"}
            found[found.index(kinds[0])] = cast(ErrorDetails, merged)
    return found


def _holds(document: Any, place: Sequence[int | str]) -> bool:
    """Whether a document has something at ``place``."""
    for part in place:
        try:
            document = document[part]
        except (IndexError, KeyError, TypeError):
            return False
    return True


def _sentence(model: type[BaseModel], detail: ErrorDetails, where: str, tree: yaml.Node | None) -> str:
    location = detail["loc"]
    place = _place(where, tree, location)
    field = clipped(".".join(map(str, location)))
    if detail["type"] in ("extra_forbidden", "invalid_key"):
        parent = _model_at(model, location[:-1])
        known = (*parent.model_fields, *_sections(parent)) if parent else ()
        return f"{place}: unknown key '{field}'{suggestion(str(location[-1]), known)}"
    if detail["type"] == UNKNOWN_NAME:
        return f"{place}: {field}: {detail['msg']}"
    if detail["type"] == "missing":
        return f"{place}: key '{field}' is missing ({_description(model, location)})"
    shown = (
        f" (got {clipped(without_login(repr(detail['input'])))})"
        if isinstance(detail["input"], (str, int, float, bool))
        else ""
    )
    if isinstance(detail.get("ctx", {}).get("error"), HoldsSecret):
        shown = ""
    elif detail["type"].endswith("_type") and not shown:
        shown = f", found {kind_of(detail['input'])}"
    return ended(f"{place}: {field}{': ' if field else ''}{reason_of(detail)}{shown}")


#: Kind of complaint about a value that is of none of several kinds; like pydantic's kinds about one, it ends in ``_type``.
_SEVERAL = "several_type"

#: What is expected, in plain words, by pydantic's kind of complaint; fields in braces are of its context.
_EXPECTED = {
    "path_type": "expected a path",
    "too_short": "expected at least {min_length} in the list, found {actual_length}",
    "too_long": "expected at most {max_length} in the list, found {actual_length}",
    "string_type": "expected text",
    "string_too_short": "expected text of at least {min_length} character(s)",
    "string_too_long": "expected text of at most {max_length} character(s)",
    "string_pattern_mismatch": "expected text of the form {pattern}",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a number that is not infinite",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "greater_than": "expected more than {gt:g}",
    "greater_than_equal": "expected at least {ge:g}",
    "less_than": "expected less than {lt:g}",
    "less_than_equal": "expected at most {le:g}",
    "missing": "is missing",
    "extra_forbidden": "is unknown",
}


def reason_of(detail: ErrorDetails) -> str:
    """What a model complains of, without the words of its library."""
    if detail["type"] in _EXPECTED:
        return _EXPECTED[detail["type"]].format_map(detail.get("ctx", {}))
    message = detail["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}".removesuffix(".")


def _place(where: str, tree: yaml.Node | None, location: Sequence[int | str]) -> str:
    """File and line of the deepest part of ``location`` that stands in the file, or how the command line gave it."""
    node, place = tree, where
    for part in location:
        found = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    found = value
                    place = value.given if isinstance(value, _Override) else f"{where}:{key.start_mark.line + 1}"
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            place = found.given if isinstance(found, _Override) else f"{where}:{found.start_mark.line + 1}"
        if found is None:
            break
        node = found
    return place


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        if current is None or part not in current.model_fields:
            current = _sections(current).get(part)
            continue
        current = nested_model(current.model_fields[part].annotation)
    return current


def _sections(model: type[BaseModel] | None) -> Mapping[str, type[BaseModel]]:
    """Sections of options below a model, besides its fields."""
    return model.sections() if model is not None and issubclass(model, Configured) else {}


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as ``tuple[Model, ...]``, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = nested_model(argument)
        if found is not None:
            return found
    return None


def _description(model: type[BaseModel], location: Sequence[int | str]) -> str:
    parent = _model_at(model, location[:-1])
    field = parent.model_fields.get(str(location[-1])) if parent else None
    return (field.description if field and field.description else "required").rstrip(".")
