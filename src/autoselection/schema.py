"""The bases of every configuration model: unknown keys are refused, instances are immutable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from autoselection.plugins import Registry
from autoselection.seeds import check_seeds

#: Kind of complaint about a name that no class of a registry has; its message is a whole sentence.
UNKNOWN_NAME = "unknown_name"


class HoldsSecret(ValueError):
    """A value is refused that may hold a password: messages do not repeat it."""


class StrictModel(BaseModel):
    """Immutable pydantic model that refuses unknown keys, infinity and not-a-number, and truth values for numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, given: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, on and true as truth, which pydantic would take for the number 1."""
        wanted = _number_wanted(cls, info.field_name or "")
        if wanted is not None and (places := list(_truths(given))):
            details = [InitErrorDetails(type=wanted, loc=place, input=value) for place, value in places]
            raise ValidationError.from_exception_data(cls.__name__, details)
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _a_path_is_not_empty(cls, given: Any, info: ValidationInfo) -> Any:
        """An empty text, as of a variable that is not set, would be the folder that the file lies in."""
        texts = given if isinstance(given, (list, tuple)) else (given,)
        if any(isinstance(text, str) and not text for text in texts) and _holds_paths(cls, info.field_name or ""):
            raise ValueError("a path cannot be empty")
        return given


@lru_cache(maxsize=4096)
def _holds_paths(model: type[BaseModel], field: str) -> bool:
    return field in model.model_fields and Path in _kinds(model.model_fields[field].annotation)


@lru_cache(maxsize=4096)
def _number_wanted(model: type[BaseModel], field: str) -> Literal["int_type", "float_type"] | None:
    """The complaint about a truth value in a field of numbers; None where it may hold truth, or models that see to theirs."""
    kinds = set(_kinds(model.model_fields[field].annotation)) if field in model.model_fields else set()
    if not kinds & {int, float} or kinds & {bool, Any, object} or any(issubclass(kind, BaseModel) for kind in kinds):
        return None
    return "float_type" if float in kinds else "int_type"


def _kinds(annotation: Any) -> Iterator[Any]:
    """The classes inside an annotation such as ``tuple[int, ...] | None``."""
    if get_origin(annotation) is Literal:
        return
    if inner := get_args(annotation):
        for each in inner:
            yield from _kinds(each)
    elif isinstance(annotation, type) or annotation is Any:
        yield annotation


def _truths(value: Any, place: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], bool]]:
    """Truth values in a value of a document, with where they stand in it."""
    if isinstance(value, bool):
        yield place, value
    elif isinstance(value, (list, tuple)):
        for number, entry in enumerate(value):
            yield from _truths(entry, (*place, number))
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _truths(entry, (*place, key))


def _checked(seeds: tuple[int, ...]) -> tuple[int, ...]:
    check_seeds(seeds)
    return seeds


#: Seeds of trainings, one at least, none twice.
Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_checked)]


class Configured(StrictModel):
    """A configuration that names a class of a registry, and holds the options of these classes in sections.

    A section that is unknown, or holds what its class does not take, is refused like any other key.
    """

    model_config = ConfigDict(extra="allow")

    registry: ClassVar[Registry]
    #: The key that names the class.
    chosen_by: ClassVar[str]

    @classmethod
    def sections(cls) -> dict[str, type[StrictModel]]:
        """The options by section, of every class that has some, those of other packages included."""
        names = (name for name in cls.registry.names() if name not in cls.registry.standing.values())
        found = {section: cls.registry.options(section) for section in (*cls.registry.standing, *names)}
        return {section: options for section, options in found.items() if options is not None}

    @model_validator(mode="after")
    def _read_sections(self) -> Configured:
        given = self.model_extra
        assert given is not None
        name = getattr(self, self.chosen_by)
        if name not in self.registry.names():
            why = PydanticCustomError(UNKNOWN_NAME, "{why}", {"why": self.registry.unknown(name)})
            raise self._wrong(self.chosen_by, why, name)
        read: dict[str, Any] = {}
        for section in (*self.registry.standing, *(key for key in given if key not in self.registry.standing)):
            value, options = given.get(section, {}), self.registry.options(section)
            if options is None:
                raise self._wrong(section, "extra_forbidden", value)
            read[section] = getattr(_one_section(section, options).model_validate({section: value}), section)
        given.clear()
        given.update(read)
        return self

    def _wrong(self, key: str, what: PydanticCustomError | str, value: object) -> ValidationError:
        detail = InitErrorDetails(type=what, loc=(key,), input=value)
        return ValidationError.from_exception_data(type(self).__name__, [detail])

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(core_schema)
        schema = handler.resolve_ref_schema(found)
        sections = {name: handler(options.__pydantic_core_schema__) for name, options in cls.sections().items()}
        schema["properties"] = {**schema.get("properties", {}), **sections}
        schema["properties"][cls.chosen_by] = {**schema["properties"][cls.chosen_by], "enum": [*cls.registry.names()]}
        schema["additionalProperties"] = False
        return found


@lru_cache(maxsize=64)
def _one_section(section: str, options: type[StrictModel]) -> type[BaseModel]:
    """A model of nothing but the section: its complaints are shown with the section's name."""
    return create_model("Section", **{section: (options, ...)})  # type: ignore[call-overload, no-any-return]
