"""The bases of every configuration model: unknown keys are refused, instances are immutable."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from autoselection.plugins import Registry

#: Kind of complaint about a name that no class of a registry has; its message is a whole sentence.
UNKNOWN_NAME = "unknown_name"


class StrictModel(BaseModel):
    """Immutable pydantic model that refuses unknown keys, infinity and not-a-number."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


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
