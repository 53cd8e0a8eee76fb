"""The picture of docs/mixtures.md: which source helps or hurts which score, of a table of runs.

    python -m benchmarks.mixtures.picture regmix.csv --out docs/images/mixture-effects.svg

Needs Plotly with kaleido (extra ``bench``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from autoselection.mixture import ScoreColumns, analyse, column_weights, parse_costs, read_runs
from autoselection.report.mixture import effects_figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    import plotly.graph_objects as go

    runs = read_runs(
        options.table,
        ["share/*"],
        [ScoreColumns("loss/*", True)],
        "model",
        "1B",
        parse_costs("1M=1,60M=20,1B=400"),
    )
    figure = effects_figure(analyse(runs, column_weights(runs, {}), following=0))
    drawn = go.Figure(list(figure.traces), {**figure.layout, "height": figure.height, "width": 860})
    drawn.update_layout(template="plotly_white", title=figure.title, margin={"l": 150, "b": 130})
    drawn.write_image(options.out)


if __name__ == "__main__":
    main()
