"""Operations that a training needs, and which share of a device's peak its rate is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: TFLOP/s in bfloat16 by what the name of a device has in it; the first that fits.
PEAKS = {"H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "A100": 312.0}


def counted_weights(model: Any) -> dict[str, int]:
    """All parameters of a model, numbers of its output layer, and those that no product is made with: a table of its own."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings().weight.numel()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return {
        "parameters": parameters,
        "head": head,
        "looked_up": 0 if tied else model.get_input_embeddings().weight.numel(),
    }


def training_operations(
    parameters: int, head: int, looked_up: int, tokens: int, responses: int, frozen: bool = False
) -> float:
    """Operations that training needs: two a weight and token forward, and four backward.

    The head works on response tokens alone; frozen, it has no gradient of its own. Attention's products are not counted.
    """
    return 6.0 * (parameters - looked_up - head) * tokens + (4.0 if frozen else 6.0) * head * responses


def known_peak(device: str) -> float | None:
    """The peak of a GPU (TFLOP/s), by its name."""
    return next((peak for known, peak in PEAKS.items() if known in device), None)


def with_share(line: Mapping[str, Any], peak: float | None) -> dict[str, Any]:
    """The line with its share of the peak (TFLOP/s) in place of its operations."""
    found = {key: value for key, value in line.items() if key != "operations"}
    operations = line.get("operations")
    if peak and operations:
        found["mfu"] = operations / line["tokens"] * line["tokens_per_s"] / (peak * 1e12)
        if "step_tokens_per_s" in line:
            found["step_mfu"] = found["mfu"] * line["step_tokens_per_s"] / line["tokens_per_s"]
    return found
