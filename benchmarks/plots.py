"""Figures and tables of ``benchmarks.search``'s JSON lines.

    python -m benchmarks.search --family synthetic --split heldout --json --out runs/synthetic.jsonl
    python -m benchmarks.plots runs/*.jsonl --out docs/results/search --table docs/results/search-tables.md

writes ``OUT-curves.svg`` (mean truth of the incumbent after each evaluation with its 95% interval, a panel a family),
``OUT-regret.svg`` (mean regret of every method with its interval) and, where there are variants ``ours:…``,
``OUT-ablations.svg``. Static images need Plotly with kaleido (extra ``bench``): kaleido 1 drives an installed Chrome or
Chromium, kaleido 0.2.1 with Plotly 5 brings its own.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.over_pools import ALL

OURS, VARIANT = "ours", "ours:"
#: Curves that are shown unless ``--methods`` says otherwise, as far as there are such lines.
SHOWN = ("ours", "published", "random", "random-top-k", "optuna-tpe", "botorch-mixed-gp", "bohb")
FORMATS = ("svg", "png")
#: Okabe & Ito's colours, told apart by people who see few of them; ours first.
COLOURS = ("#D55E00", "#0072B2", "#000000", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
GREY = "#7F7F7F"

Line = Mapping[str, Any]


def read_lines(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """All lines of the files, one a method, family, split and budget.

    Raises:
        ValueError: a file holds something else, or two lines tell different things of the same.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in paths:
        for number, text in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
                key = tuple(line[name] for name in ("family", "split", "budget", "method"))
                line["mean_regret"], line["ci95"], line["curve"], line["curve_ci95"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}:{number}: no line of benchmarks.search ({error!r}).") from error
            if found.setdefault(key, line) != line:
                raise ValueError(f"{path}:{number}: {' '.join(map(str, key))} stands there twice, with other figures.")
    if not found:
        raise ValueError("The files hold no lines.")
    for key, line in found.items():
        ours = found.get((*key[:3], OURS))
        if ours is not None and line is not ours and "vs_ours" not in line:
            line.update(_paired(ours, line))
    return list(found.values())


def _paired(ours: Line, line: Line) -> dict[str, Any]:
    """The difference to ours over the seeds that both have, for lines of separate calls."""
    seeds = min(len(ours.get("final", ())), len(line.get("final", ())))
    if not seeds:
        return {}
    import numpy as np

    from benchmarks.search import around

    difference = np.subtract(ours["final"][:seeds], line["final"][:seeds])
    return {"vs_ours": {"difference": float(difference.mean()), "ci95": around(difference)}}


def one_budget(lines: Sequence[Line], budget: int | None) -> dict[str, list[Line]]:
    """Lines by family, the lowest regret first, of ``budget`` or of the largest budget a family has; of a family of pools
    those over all pools."""
    families: dict[str, list[Line]] = {}
    for family in sorted({str(line["family"]) for line in lines}):
        own = [line for line in lines if line["family"] == family]
        wanted = budget if budget is not None else max(line["budget"] for line in own)
        chosen = [line for line in own if line["budget"] == wanted]
        if any(line["split"] == ALL for line in chosen):
            chosen = [line for line in chosen if line["split"] == ALL]
        if len({line["split"] for line in chosen}) > 1:
            raise ValueError(f"{family}: lines of several splits (--split of benchmarks.search); plot one at a time.")
        if chosen:
            families[family] = sorted(chosen, key=lambda line: line["mean_regret"])
    if not families:
        raise ValueError(f"No line has a budget of {budget}.")
    return families


# Figures


def curves_figure(families: Mapping[str, Sequence[Line]], methods: Sequence[str]) -> Any:
    """Mean truth of the incumbent by evaluation with 95% bands, a panel a family."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=len(families), subplot_titles=_titles(families), horizontal_spacing=0.09)
    colours = {name: COLOURS[min(place, len(COLOURS) - 1)] for place, name in enumerate(methods)}
    for column, lines in enumerate(families.values(), start=1):
        by_name = {line["method"]: line for line in lines}
        for name in reversed([name for name in methods if name in by_name]):  # the first lies on top
            x, mean, low, high = _curve(by_name[name])
            red, green, blue = (int(colours[name][at : at + 2], 16) for at in (1, 3, 5))
            figure.add_trace(
                go.Scatter(
                    x=[*x, *reversed(x)],
                    y=[*high, *reversed(low)],
                    fill="toself",
                    fillcolor=f"rgba({red},{green},{blue},0.13)",
                    line={"width": 0},
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=name,
                ),
                row=1,
                col=column,
            )
            known = any(trace.name == name for trace in figure.data)
            figure.add_trace(
                go.Scatter(
                    x=x,
                    y=mean,
                    name=name,
                    mode="lines+markers",
                    marker={"size": 4},
                    line={"color": colours[name], "width": 3 if name == OURS else 1.8},
                    legendgroup=name,
                    legendrank=1 + methods.index(name),
                    showlegend=not known,
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title_text="evaluations", row=1, col=column)
    figure.update_yaxes(title_text="mean truth of the incumbent", row=1, col=1)
    return _styled(figure, 440 * len(families) + 140, 400)


def regret_figure(families: Mapping[str, Sequence[Line]]) -> Any:
    """Mean regret with its 95% interval as points, the best method on top, a panel a family."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=len(families), subplot_titles=_titles(families), horizontal_spacing=0.2)
    for column, lines in enumerate(families.values(), start=1):
        for line in reversed(lines):
            name, mean = line["method"], line["mean_regret"]
            low, high = line["ci95"]
            figure.add_trace(
                go.Scatter(
                    x=[mean],
                    y=[name],
                    mode="markers",
                    marker={"size": 9 if name == OURS else 7, "color": COLOURS[0] if name == OURS else COLOURS[1]},
                    error_x={"type": "data", "array": [high - mean], "arrayminus": [mean - low], "thickness": 1.5},
                    showlegend=False,
                ),
                row=1,
                col=column,
            )
        for line in lines:
            if line["method"] == OURS:
                figure.add_vline(
                    line["mean_regret"], line={"color": GREY, "dash": "dot", "width": 1}, col=column, row=1
                )
        figure.update_xaxes(title_text="mean regret (lower is better)", row=1, col=column)
    height = 130 + 24 * max(len(lines) for lines in families.values())
    return _styled(figure, 460 * len(families) + 140, height)


def _titles(families: Mapping[str, Sequence[Line]]) -> list[str]:
    return [
        f"{family}, {lines[0]['split']}, {lines[0]['budget']} evaluations, {lines[0]['seeds']} seeds"
        for family, lines in families.items()
    ]


def _curve(line: Line) -> tuple[list[int], list[float], list[float], list[float]]:
    """Evaluations that have an incumbent, its mean truth and the interval's ends."""
    known = [at for at, value in enumerate(line["curve"]) if value is not None and line["curve_ci95"][at] is not None]
    low, high = ([line["curve_ci95"][at][end] for at in known] for end in (0, 1))
    return [at + 1 for at in known], [line["curve"][at] for at in known], low, high


def _styled(figure: Any, width: int, height: int) -> Any:
    axis = {"showline": True, "linecolor": "#444", "gridcolor": "#E5E5E5", "zeroline": False, "ticks": "outside"}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis, automargin=True)
    figure.update_annotations(font={"size": 13})
    figure.update_layout(
        template="none",
        width=width,
        height=height,
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
        font={"family": "Arial, Helvetica, sans-serif", "size": 12, "color": "#222"},
        paper_bgcolor="white",
        plot_bgcolor="white",
    )
    return figure


def write_figure(figure: Any, path: Path) -> None:
    """Write a static image.

    Raises:
        ValueError: Plotly finds no kaleido, or kaleido no browser.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.write_image(path, scale=1.5 if path.suffix == ".png" else 1)
    except (ImportError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path}: Plotly cannot write images here ({' '.join(str(error).split())[:200]}): install kaleido 1 with a "
            "Chrome or Chromium, or plotly==5.24.1 with kaleido==0.2.1."
        ) from error


# Tables


def markdown_tables(lines: Sequence[Line]) -> str:
    """A table for each family, split and budget, the lowest regret first; variants of ours apart."""
    parts: list[str] = []
    for family, split, budget in sorted({(line["family"], line["split"], line["budget"]) for line in lines}):
        own = [line for line in lines if (line["family"], line["split"], line["budget"]) == (family, split, budget)]
        own.sort(key=lambda line: line["mean_regret"])
        seeds = ", ".join(str(count) for count in sorted({line["seeds"] for line in own}))
        methods = [line for line in own if not line["method"].startswith(VARIANT)]
        variants = [line for line in own if line["method"].startswith(VARIANT) or line["method"] == OURS]
        parts.append(_table(f"{family}, {split}, {budget} evaluations, {seeds} seeds", methods))
        if len(variants) > 1:
            parts.append(_table(f"{family}, {split}, {budget} evaluations, {seeds} seeds: ablations", variants))
    return "\n".join(part for part in parts if part)


def _table(title: str, lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    headings = ("method", "mean regret", "95% interval", "best true", "to random-15", "to published-15")
    headings += ("ours better by (paired)", "95% interval", "s a round")
    rows = [f"### {title}", "", _row(headings), _row(["---", *["---:"] * (len(headings) - 1)])]
    for line in lines:
        against = line.get("vs_ours")
        name = f"**{line['method']}**" if line["method"] in (OURS, "ours:learnt") else line["method"]
        rows.append(
            _row(
                [
                    name,
                    _decimals(line["mean_regret"]),
                    _between(line["ci95"]),
                    _decimals(line["best_true"]),
                    *("never" if line[key] is None else str(line[key]) for key in TO_REACH),
                    _decimals(against["difference"], sign=True) if against else "",
                    _between(against["ci95"], sign=True) if against else "",
                    f"{line['seconds_per_round']:.2f}",
                ]
            )
        )
    return "\n".join([*rows, ""])


TO_REACH = ("evals_to_random15", "evals_to_published15")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _decimals(value: float, *, sign: bool = False) -> str:
    return "" if math.isnan(value) else f"{value:{'+' if sign else ''}.3f}"


def _between(ends: Sequence[float], *, sign: bool = False) -> str:
    return f"{_decimals(ends[0], sign=sign)} to {_decimals(ends[1], sign=sign)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="JSON lines of benchmarks.search (--json --out FILE)")
    parser.add_argument("--out", type=Path, help="where figures go: OUT-curves.svg, OUT-regret.svg, OUT-ablations.svg")
    parser.add_argument("--table", type=Path, help="write Markdown tables to this file")
    parser.add_argument("--methods", help=f"curves shown, comma-separated, ours first; default: {','.join(SHOWN)}")
    parser.add_argument("--budget", type=int, help="budget of the figures; default: the largest of each family")
    parser.add_argument("--format", choices=FORMATS, default="svg")
    options = parser.parse_args(arguments)
    if options.out is None and options.table is None:
        parser.error("nothing to write: give --out, --table or both")
    try:
        lines = read_lines(options.files)
        methods = options.methods.split(",") if options.methods else list(SHOWN)
        there = {line["method"] for line in lines}
        if options.methods and (absent := [name for name in methods if name not in there]):
            raise ValueError(f"No line of '{absent[0]}'; there are {', '.join(sorted(there))}.")
        if options.table is not None:
            options.table.parent.mkdir(parents=True, exist_ok=True)
            options.table.write_text(markdown_tables(lines), "utf-8")
            print(options.table)
        if options.out is not None:
            for name, figure in figures(one_budget(lines, options.budget), methods).items():
                path = options.out.with_name(f"{options.out.name}-{name}.{options.format}")
                write_figure(figure, path)
                print(path)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def figures(families: Mapping[str, Sequence[Line]], methods: Sequence[str]) -> dict[str, Any]:
    """The figures by the end of their file names."""
    plain, variants = {}, {}
    for family, lines in families.items():
        if own := [line for line in lines if not line["method"].startswith(VARIANT)]:
            plain[family] = own
        own = [line for line in lines if line["method"].startswith(VARIANT) or line["method"] == OURS]
        if len(own) > 1:
            variants[family] = own
    found = {"curves": curves_figure(families, methods)}
    if plain:
        found["regret"] = regret_figure(plain)
    if variants:
        found["ablations"] = regret_figure(variants)
    return found


if __name__ == "__main__":
    main()
