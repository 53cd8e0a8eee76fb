"""The skill file for coding agents."""

from __future__ import annotations

from importlib.resources import files


def skill_text() -> str:
    """What an agent has to know to use the tools well, as a ``SKILL.md``."""
    return files("autoselection.agents").joinpath("SKILL.md").read_text("utf-8")
