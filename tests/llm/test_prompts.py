"""Prompts are versioned files of the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from autoselection.llm.answers import ProposerAnswer, RankerAnswer, SummariserAnswer, WeighingProposerAnswer
from autoselection.llm.prompts import load_prompt

ROOT = Path(__file__).parents[2]

#: A prompt whose text changes gets a new version: earlier exchanges name the one they were made with.
KNOWN = {
    "proposer": (1, "640188e14b71fce1"),
    "ranker": (1, "01d55d3a3b6db659"),
    "repair": (1, "9de4c9d36f0d5fe1"),
    "summariser": (1, "d1c818a0ca0c785c"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_changed_text_has_a_new_version(name: str) -> None:
    prompt = load_prompt(name)
    assert (prompt.version, prompt.sha256) == KNOWN[name]


def test_every_prompt_is_known_and_in_the_wheel() -> None:
    names = {path.stem for path in (ROOT / "src/autoselection/llm/prompts").glob("*.md")}
    assert names == set(KNOWN)
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"autoselection/llm/prompts/{name}.md" for name in names} <= packed


def test_marks_are_filled_in() -> None:
    assert "up to 7 recipes" in load_prompt("proposer").fill(proposals=7, max_steps=3)
    with pytest.raises(KeyError):
        load_prompt("repair").fill()


def test_the_names_in_the_schemas_of_answers_stay() -> None:
    """They are part of what a server is sent, and so of the keys under which a study finds its exchanges again."""
    names = {"ProposerAnswer", "RecipeAnswer", "StepAnswer", "SummariserAnswer", "RankerAnswer", "Place"}
    schemas = [model.model_json_schema() for model in (ProposerAnswer, SummariserAnswer, RankerAnswer)]
    found = {name for schema in schemas for name in (schema["title"], *schema.get("$defs", ()))}
    assert found == names
    schema = WeighingProposerAnswer.model_json_schema()
    assert {schema["title"], *schema["$defs"]} == {
        "WeighingProposerAnswer",
        "WeighingRecipeAnswer",
        "WeighingStepAnswer",
    }
