"""The demo's study as benchmarks measure it: without its guards, which cost scoring time and decide nothing.

Tables that were made before the demo had guards stay comparable, and evaluations of then are known.
"""

from __future__ import annotations

from autoselection.config import StudyConfig, load_config
from autoselection.demo import config_path


def demo_study() -> StudyConfig:
    """The demo's configuration with the tasks that count."""
    return without_guards(load_config(config_path()))


def without_guards(config: StudyConfig) -> StudyConfig:
    """A configuration with the tasks that count."""
    return config.model_copy(update={"tasks": tuple(task for task in config.tasks if task.weight > 0)})
