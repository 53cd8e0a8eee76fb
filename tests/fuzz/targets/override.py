from pathlib import Path

import yaml
from tests.fuzz.harness import Target, as_file

from autoselection.config import load_config

_CONFIG = yaml.safe_dump(
    {"pool": {"path": "p"}, "model": {"path": "m"}, "tasks": [{"name": "t", "dev": "d"}], "evaluation": None}
).encode()


def override(data: bytes) -> None:
    """``--set`` with any words, as the command line hands them over."""
    path: Path = as_file(_CONFIG, "overridden.yaml")
    load_config(path, data.decode("utf-8", "surrogateescape").split("\n"))


TARGET = Target(
    "override",
    override,
    (
        b"search.evaluations=10",
        b"tasks.0.name=x",
        b"tasks=[{name: a, dev: b}]\nevaluation.sft.learning_rate=1.0e-4",
        b"pool={path: q}\nname=2001-01-01",
        b"evaluation.device=cpu",
    ),
    (b".", b"=", b"tasks", b"tasks.0.", b"tasks.-1", b"=[", b"={", b"search.", b"evaluation.sft.", b"name="),
    share=0.3,
)
