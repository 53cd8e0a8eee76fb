from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import ConfigError
from autoselection.reproduce import dry_run, load_reproduction
from autoselection.reproduce.checks import parameters_of

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "src/autoselection/reproduce/configs/recipes/ifd-top-half.yaml"


def test_the_embedded_setting_lacks_only_the_larger_sibling(tmp_path: Path) -> None:
    found = dry_run(load_reproduction("tiny", [f"paths.root={tmp_path}"]))
    assert found["missing"] == [f"tiny: transfer to tiny-4x: {tmp_path}/tiny-4x"]
    states = {check["what"]: check["state"] for check in found["models"][0]["checks"]}
    assert states["transfer to smollm2-135m"] == "optional" and states["base model"] == "found"
    notes = {check["where"]: check["note"] for check in found["models"][0]["checks"] if check["what"] == "package"}
    assert notes == dict.fromkeys(("torch", "transformers", "trl", "lm_eval"), "extra train")
    estimate = found["models"][0]["estimate"]
    assert estimate["trainings"]["transfer"] == {"tiny-4x": 20}
    assert estimate["sizes"]["tiny"]["rows"] == 3700 and estimate["sizes"]["tiny"]["parameters"] == 817_024
    assert 5 < estimate["total_hours"] < 15


def test_only_the_sections_that_would_run_are_estimated() -> None:
    config = load_reproduction("tiny")
    found = [dry_run(config, sections) for sections in ((), ("main",))]
    assert len(found[0]["missing"]) == 1 and found[1]["missing"] == [], "the larger sibling is for transfer only"
    every, main = (document["models"][0]["estimate"] for document in found)
    assert set(every["hours"]) == {"main", "ablation", "transfer", "signals"}
    assert set(main["hours"]) == {"main", "signals"} and set(main["trainings"]) == {"main"}
    assert main["hours"]["main"] == every["hours"]["main"] and main["total_hours"] < every["total_hours"]
    with pytest.raises(ConfigError, match="There is no section 'mian'"):
        dry_run(config, ["mian"])


def test_parameters_are_counted_from_headers(tmp_path: Path) -> None:
    for number, shapes in enumerate(([[3, 4], [5]], [[2, 2, 2]])):
        tensors = {f"t{place}": {"dtype": "BF16", "shape": shape} for place, shape in enumerate(shapes)}
        header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
        (tmp_path / f"model-{number}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"weights")
    assert parameters_of(str(tmp_path)) == 12 + 5 + 8
    assert parameters_of("no/such/folder") is None


def test_a_published_setting_lists_what_is_missing_and_costs() -> None:
    result = CliRunner().invoke(
        app, ["reproduce", "paper", "qwen2.5-1.5b", "--dry-run", "--json", "--set", "paths.root=/nowhere"]
    )
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert "qwen2.5-1.5b: SAE: /nowhere/sae/Qwen2.5-1.5B" in found["missing"]
    assert any("nlgraph" in sentence for sentence in found["missing"])
    notes = {check["where"]: check["note"] for check in found["models"][0]["checks"] if check["what"] == "package"}
    assert (notes["torch"], notes["vllm"]) == ("extra train", "extra vllm")
    estimate = found["models"][0]["estimate"]
    # One full training: 6 · 1.54e9 · 3 epochs · 90,000 rows · 400 tokens at 989e12 · 0.35 a second is 0.8 hours.
    assert 50 < estimate["hours"]["main"] < 500
    assert set(estimate["sizes"]["qwen2.5-1.5b"]["assumed"]) == {"parameters", "rows", "tokens a row"}
    assert estimate["disk_gb"]["checkpoints_at_a_time"] == pytest.approx(6.16)


def test_everything_there_is_exit_code_zero(reproduction_file: Path) -> None:
    result = CliRunner().invoke(app, ["reproduce", "paper", str(reproduction_file), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "device hours" in result.stdout


def test_a_model_whose_files_are_missing_is_listed_and_has_no_estimate(tmp_path: Path) -> None:
    """An example in an empty checkout: what is missing is said, not that a size is."""
    examples = tmp_path / "examples" / "smollm2"
    shutil.copytree(ROOT / "examples" / "smollm2", examples)
    options = [
        "reproduce",
        "paper",
        str(examples / "reproduce-second.yaml"),
        "--dry-run",
        "--set",
        f"default={DEFAULT}",
    ]
    printed = CliRunner().invoke(app, options)
    assert printed.exit_code == 2, printed.output
    assert "smollm2-135m: no estimate, as the size of smollm2-135m is unknown" in " ".join(printed.stdout.split())
    result = CliRunner().invoke(app, [*options, "--json"])
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    folder = tmp_path / "runs" / "smollm2-second"
    assert f"smollm2-135m: base model: {folder / 'model'}" in found["missing"]
    assert any(str(folder / "pool") in sentence for sentence in found["missing"])
    (model,) = found["models"]
    assert model["estimate"] is None and "set parameters beside its name" in model["no_estimate"]


def test_a_larger_model_without_files_or_size_takes_the_estimate_away(tmp_path: Path) -> None:
    config = load_reproduction("tiny", [f"paths.root={tmp_path}", "models.0.transfer.0.parameters=null"])
    (model,) = dry_run(config)["models"]
    assert model["estimate"] is None and "the size of tiny-4x is unknown" in model["no_estimate"]
    (main,) = dry_run(config, ["main"])["models"]
    assert main["estimate"]["sizes"].keys() == {"tiny"} and main["no_estimate"] is None


def test_a_size_that_nothing_tells_is_refused() -> None:
    """A model from a hub has no files that could be missing."""
    base = "models.0.set=[model.path=someone/base]"
    config = load_reproduction("llama-3.2-1b", ["paths.root=/nowhere", "models.0.parameters=null", base])
    with pytest.raises(ConfigError, match=r"size of llama-3\.2-1b"):
        dry_run(config)


def test_a_run_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match="--out"):
        CliRunner().invoke(app, ["reproduce", "paper", "tiny"], catch_exceptions=False)
