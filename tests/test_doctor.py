"""What ``autoselection doctor`` says of the installation is what the package says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoselection.doctor import examine
from autoselection.language.models import pick_device

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no reader of TOML")

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_package_of_every_extra_is_listed_with_what_it_is_for() -> None:
    listed = {package["name"]: package for package in examine()["packages"]}
    extras = {name for name in PROJECT["optional-dependencies"] if name not in ("bench", "dev", "docs")}
    assert {extra for package in listed.values() for extra in package["for"].split(", ")} == {"core", *extras}
    assert {"mcp", "vllm", "deepspeed", "duckdb", "math-verify"} <= set(listed)
    assert set(listed["plotly"]["for"].split(", ")) == {"report", "compare"}
    assert listed["numpy"]["version"] and listed["numpy"]["for"] == "core"
    assert not {"autoselection", "pytest", "botorch"} & set(listed)


def test_the_device_is_the_one_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for there, device in ((True, "mps"), (False, "cpu")):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there)
        found = examine()
        assert found["device"] == device == pick_device("auto")
        assert any("No GPU" in remark for remark in found["remarks"]) is (device == "cpu")
