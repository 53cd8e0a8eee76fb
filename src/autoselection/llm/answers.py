"""What a model's answer must look like, and how it is read: never trusted, always checked."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr, ValidationError

MAX_REASON = 200
"""Characters of a model's reason that enter the journal."""
MAX_SUMMARY = 1500
"""Characters of a model's summary that are kept."""


class AnswerError(ValueError):
    """An answer that cannot be used; the sentence goes back to the model."""


class _Lenient(BaseModel):
    """Further keys are ignored: models like to add some."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Text = Annotated[StrictStr, Field(max_length=100)]
# Bounded: a whole number of 400 digits would not fit the arithmetic that clips it.
Whole = Annotated[StrictInt, Field(ge=-(10**15), le=10**15)]
Number = Annotated[FiniteFloat, Field(strict=True)]
Names = Annotated[list[Text], Field(max_length=1000)]
Value = StrictBool | Whole | Number | Text | Names | None
Weights = Annotated[dict[Text, Number], Field(max_length=1000)]


# Names of classes and fields are never changed: they stand in the schema that a server may be sent, and so in the keys under
# which a study finds its exchanges again.


class StepAnswer(_Lenient):
    operator: Text
    params: Annotated[dict[Text, Value], Field(max_length=40)] = Field(default_factory=dict)


class RecipeAnswer(_Lenient):
    steps: list[StepAnswer] = Field(min_length=1, max_length=6)
    reason: str = ""


class ProposerAnswer(_Lenient):
    recipes: list[RecipeAnswer] = Field(min_length=1, max_length=64)


# The same for spaces with weights of sources: further classes, so that the schemas of all other studies stay.


class WeighingStepAnswer(_Lenient):
    operator: Text
    params: Annotated[dict[Text, Value | Weights], Field(max_length=40)] = Field(default_factory=dict)


class WeighingRecipeAnswer(_Lenient):
    steps: list[WeighingStepAnswer] = Field(min_length=1, max_length=6)
    reason: str = ""


class WeighingProposerAnswer(_Lenient):
    recipes: list[WeighingRecipeAnswer] = Field(min_length=1, max_length=64)


class ProposedRecipes(_Lenient):
    """What a proposer's answer is read as, whatever it was asked for: each recipe is read by itself, so that an odd one leaves the
    others."""

    recipes: list[Any] = Field(min_length=1, max_length=64)


class SummariserAnswer(_Lenient):
    summary: str = Field(min_length=1)


class Place(_Lenient):
    option: StrictInt
    reason: str = ""


class RankerAnswer(_Lenient):
    ranking: list[Place] = Field(min_length=1, max_length=200)


Answer = TypeVar("Answer", bound=_Lenient)


def read_answer(model: type[Answer], text: str) -> Answer:
    """The answer in ``text``; prose or a code fence around the JSON object is passed over.

    Raises:
        AnswerError: there is no JSON object, or it is not of the form asked for.
    """
    text = text.rsplit("</think>", 1)[-1]  # models that think aloud
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise AnswerError("it holds no JSON object.")
    try:
        return model.model_validate_json(text[start : end + 1])
    except ValidationError as error:
        raise _not_of_form(error) from None


def read_proposed(value: Any) -> WeighingRecipeAnswer:
    """One recipe of an answer.

    Raises:
        AnswerError: it is not of the form asked for.
    """
    try:
        return WeighingRecipeAnswer.model_validate(value)
    except ValidationError as error:
        raise _not_of_form(error) from None


def _not_of_form(error: ValidationError) -> AnswerError:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return AnswerError("; ".join(_problem(detail) for detail in details[:5]) + ".")


def _problem(detail: Any) -> str:
    """What pydantic found, without echoing the answer."""
    place = ".".join(str(part) for part in detail["loc"])
    return printable(f"{place}: {detail['msg']}" if place else detail["msg"], 300)


def printable(text: str, length: int = MAX_REASON) -> str:
    """One line of printable characters, without those that mean something to Markdown or a terminal, clipped."""
    kept = "".join(" " if c in "<>|`[]\\" or not c.isprintable() else c for c in text[: 8 * length])
    line = " ".join(kept.split())
    return line if len(line) <= length else line[: length - 1] + "…"
