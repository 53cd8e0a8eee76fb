"""What is installed, which device is used, and what will be slow."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: What each optional package is for, in the order of use.
PACKAGES = (
    ("core", "numpy"),
    ("core", "polars"),
    ("core", "pyarrow"),
    ("core", "scikit-learn"),
    ("train", "torch"),
    ("train", "transformers"),
    ("train", "trl"),
    ("train", "peft"),
    ("train", "datasets"),
    ("train", "lm-eval"),
    ("sae", "eai-sparsify"),
    ("syntax", "spacy"),
    ("embed", "sentence-transformers"),
    ("ray", "ray"),
    ("compare", "optuna"),
    ("compare", "autocurate"),
    ("compare", "plotly"),
)


def examine() -> dict[str, Any]:
    """Look at this machine: ``python``, ``packages``, ``device``, ``cores``, ``remarks``."""
    packages = [{"for": purpose, "name": name, "version": _version(name)} for purpose, name in PACKAGES]
    installed = {package["name"] for package in packages if package["version"]}
    device, remarks = (
        _device() if "torch" in installed else (None, ["torch is missing: no model signals, no training."])
    )
    if {"trl", "lm-eval"} - installed:
        remarks.append("Subsets cannot be evaluated: pip install 'autoselection[train]'.")
    if "eai-sparsify" not in installed:
        remarks.append("No SAE can be trained: pip install 'autoselection[sae]' (reading one needs it too).")
    if "spacy" not in installed:
        remarks.append("action_object_branching cannot be computed: pip install 'autoselection[syntax]'.")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device,
        "packages": packages,
        "remarks": remarks,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device() -> tuple[str, list[str]]:
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return f"cuda ({torch.cuda.device_count()} x {name}, {memory:.0f} GiB)", [
            f"bf16 is {'' if torch.cuda.is_bf16_supported() else 'not '}supported by {name}."
        ]
    return "cpu", [
        "No GPU: model signals and training run on the CPU. A 135M-parameter model trains at 100-150 tokens/s on two "
        "cores, so keep pools to thousands of rows and evaluations to tens of thousands of tokens."
    ]
