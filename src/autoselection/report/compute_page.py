"""The page of compute curves: how much training the winner saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.report.figures import Series, lines
from autoselection.report.page import Figure, Page, Section, Sentences, write_page


def write_compute_page(document: Mapping[str, Any], path: Path) -> Path:
    """Write the curves of :func:`~autoselection.study.compute.measure_compute` as an HTML page."""
    return write_page(compute_page(document), path)


def compute_page(document: Mapping[str, Any]) -> Page:
    """The page of compute curves, from the document of ``compute.json``."""
    said = (*document["sentences"], *(f"Failed: {failed}." for failed in document["failed"]))
    section = Section("What it saves", (Sentences(said, listed=True), curve_figure(document)))
    return Page(
        "Compute curves",
        (section,),
        f"Scored on {document['split']}, {_many(document['replicates'], 'replicate') + ', ' if 'replicates' in document else ''}"
        f"{_many(document['seeds'], 'training seed')}.",
    )


def _many(things: Sequence[int], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def curve_figure(document: Mapping[str, Any]) -> Figure:
    """Score over trained tokens of each arm, mean over its units (seeds, or searches), with the standard deviation over them."""
    series = []
    for arm, curve in document["curves"].items():
        scores = np.array(curve["scores"], np.float64)
        mean = scores.mean(axis=0)
        spread = scores.std(axis=0, ddof=1) if len(scores) > 1 else None
        ends = ((), ()) if spread is None else ((mean - spread).tolist(), (mean + spread).tolist())
        series.append(Series(arm, curve["tokens"], mean.tolist(), low=ends[0], high=ends[1]))
    units = document["units"]
    about = f"mean of the {units} and one standard deviation" if len(scores) > 1 else "no repetition"
    told = f"Score after whole trainings of several lengths ({about}), for the winner's rows, all rows and random rows."
    return lines(
        "Score over training tokens", told, series, x="trained tokens", y="score (higher is better)", logarithmic=True
    )
