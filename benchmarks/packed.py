"""Whether packed passes give what the model gives, on a device: logits and gradients, in three arithmetics.

    python -m benchmarks.packed --device cuda [--shape smollm2-135m qwen2.5-1.5b] --json

Two layers of each shape (grouped heads, its sizes of heads and vocabulary) with random weights read drawn rows of 20 to 500
tokens, alone and packed, and some that go on from another. One shape has a window that is shorter than most rows. Errors are those beside the model's own passes of each row alone
in float32, relative to the largest logit, or to the norm of all gradients: ``own`` of the model's passes in the same
arithmetic, ``packed`` of packed ones. ``right`` says that packing adds no more than rounding does: ``packed`` is at most
twice ``own``, or 1e-4. ``packable`` and ``packable_trained`` are what scoring and training go by: their own
trial on a few tokens, of which the second should say no where ``right`` does. It needs PyTorch and transformers only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.stand_ins import SHAPES, Shape, parse_shape, random_model

ROWS, SHORTEST, LONGEST = 8, 20, 500


def compared(shape: Shape, device: str, longest: int = LONGEST) -> Iterator[dict[str, Any]]:
    """A line an arithmetic."""
    import torch

    model = random_model(replace(shape, layers=2), device).eval()
    draw = np.random.default_rng(0)
    rows = [draw.integers(shape.vocabulary, size=size) for size in draw.integers(SHORTEST, longest, size=ROWS)]
    after = draw.integers(shape.vocabulary, size=SHORTEST)  # goes on from the first row
    exact: dict[str, torch.Tensor] = {}
    for arithmetic in ("float32", "bfloat16 autocast", "bfloat16"):
        if arithmetic == "bfloat16":
            model = model.to(torch.bfloat16)
        found = {
            "own": _passes(model, rows, after, arithmetic, packed=False),
            "packed": _passes(model, rows, after, arithmetic, packed=True),
        }
        exact = exact or found["own"]
        line: dict[str, Any] = {"part": "packed", "arithmetic": arithmetic, **_packable(model, arithmetic)}
        right = True
        for what in ("logits", "shared", "gradient"):
            errors = {name: _error(what, values[what], exact[what]) for name, values in found.items()}
            line |= {f"{what}_{name}": error for name, error in errors.items()}
            right &= errors["packed"] <= max(2 * errors["own"], 1e-4)
        yield line | {"right": right}


def _packable(model: Any, arithmetic: str) -> dict[str, bool]:
    import torch

    from autoselection.language.packing import packable

    autocast = torch.bfloat16 if "autocast" in arithmetic else None
    return {
        "packable": packable(model, autocast),
        "packable_trained": packable(model, autocast, trained=True),
    }


def _passes(model: Any, rows: Sequence[Any], after: Any, arithmetic: str, packed: bool) -> dict[str, Any]:
    """Logits of all rows, of one that goes on from the first, and the gradient of all rows' mean loss; float32."""
    import torch

    from autoselection.language.packed import Layout, Segment, packed_attention

    device = model.device

    def given(ids: Any) -> dict[str, Any]:
        return {"input_ids": torch.from_numpy(ids).to(device)[None], "use_cache": False}

    autocast = torch.autocast(device.type, torch.bfloat16, enabled="autocast" in arithmetic)
    with packed_attention(model) if packed else nullcontext():
        model.zero_grad()
        with autocast:
            if packed:
                layout = Layout([Segment(row) for row in rows], device)
                logits = model(**layout.given(), use_cache=False).logits[0]
            else:
                logits = torch.cat([model(**given(row)).logits[0] for row in rows])
        ends = np.cumsum([len(row) for row in rows])
        kept = torch.from_numpy(np.setdiff1d(np.arange(ends[-1]), ends - 1)).to(device)
        targets = torch.from_numpy(np.concatenate([row[1:] for row in rows])).to(device)
        torch.nn.functional.cross_entropy(logits[kept].float(), targets).backward()
        gradient = torch.cat([each.grad.float().flatten() for each in model.parameters() if each.grad is not None])
        with torch.no_grad(), autocast:
            if packed:
                layout = Layout([Segment(rows[0]), Segment(after, parent=0)], device)
                shared = model(**layout.given(), use_cache=False).logits[0, -len(after) :]
            else:
                shared = model(**given(np.concatenate([rows[0], after]))).logits[0, -len(after) :]
    model.zero_grad()
    return {"logits": logits.detach().float(), "shared": shared.float(), "gradient": gradient}


def _error(what: str, found: Any, exact: Any) -> float:
    """The largest difference over the largest value; of gradients the norm of the difference over the norm."""
    if what == "gradient":
        return float((found - exact).norm() / exact.norm())
    return float((found - exact).abs().max() / exact.abs().max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lines; the exit code is 1 where no shape could be tried."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packed", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", nargs="+", default=list(SHAPES), help="names or numbers (benchmarks.stand_ins)")
    parser.add_argument("--longest", type=int, default=LONGEST, help="tokens of the longest row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    measured = 0
    for name in options.shape:
        try:
            for line in compared(parse_shape(name), options.device, options.longest):
                line = {**line, "shape": name}
                print(json.dumps(line) if options.json else line, flush=True)
                measured += 1
        except Exception as error:  # noqa: BLE001 - a shape that fails must not hide what the other shows
            print(
                json.dumps({"part": "packed", "shape": name, "failure": f"{type(error).__name__}: {error}"[:300]}),
                flush=True,
            )
    return 0 if measured else 1


if __name__ == "__main__":
    raise SystemExit(main())
