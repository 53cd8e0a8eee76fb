"""Plots of a study, a pool and a recipe for notebooks: the figures of the pages, by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoselection import notebook
from autoselection.errors import ConfigError, MissingExtraError, SignalError, StudyError
from autoselection.pool import Pool
from autoselection.recipes import Recipe, rows_by_step
from autoselection.report.figures import bars, distributions
from autoselection.report.page import Figure, Page, Section, escaped, write_page
from autoselection.report.pool_page import signal_figure
from autoselection.report.selection_page import flow_figure
from autoselection.report.selection_view import bins_of, selection_flow, shares_in
from autoselection.report.study_page import full_evaluations, progress_figure, task_figure
from autoselection.report.study_view import today_scores, trial_views
from autoselection.signals import SignalTable, column_stats, load_table
from autoselection.study import Study
from autoselection.wording import suggestion


@dataclass(frozen=True, repr=False)
class Plot:
    """A plot that a notebook shows: drawn by Plotly (extra ``report``), or as a table of its numbers without it.

    Names of sources, tasks and trials in it are a stranger's: they are escaped, and stay text.

    Attributes:
        drawn: title, what it shows in a sentence, the numbers, and what Plotly is given.
    """

    drawn: Figure

    @property
    def figure(self) -> Any:
        """A ``plotly.graph_objects.Figure``, to be changed and saved as you like.

        Raises:
            MissingExtraError: Plotly is not installed.
        """
        try:
            from plotly.graph_objects import Figure as PlotlyFigure
        except ImportError:
            raise MissingExtraError("plotly", "report", "A plot") from None
        layout = {
            **escaped(self.drawn.layout),
            "height": self.drawn.height,
            "title": {"text": escaped(self.drawn.title)},
        }
        return PlotlyFigure(data=[escaped(trace) for trace in self.drawn.traces], layout=layout)

    def save(self, path: Path | str) -> Path:
        """Write it as an HTML file that fetches nothing.

        Raises:
            ConfigError: the name of the file says that it is something else, such as a picture.
        """
        if Path(path).suffix.lower() not in (".html", ".htm"):
            raise ConfigError(
                f"{path}: a plot is saved as HTML: name a file that ends in .html, or make a picture of its 'figure' with Plotly's "
                "own write_image."
            )
        page = Page(self.drawn.title, (Section(self.drawn.title, (self.drawn,)),))
        return write_page(page, Path(path))

    def __repr__(self) -> str:
        return notebook.line("Plot", f"{self.drawn.title}:", self.drawn.told)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What Jupyter shows; a table where nothing draws."""
        found = {"text/plain": repr(self), "text/html": self._table()}
        try:
            drawn = self.figure._repr_mimebundle_()
        except (MissingExtraError, ValueError):  # Plotly finds no way to draw: no IPython
            return found
        return {**found, **drawn}

    def _table(self) -> str:
        sheet = self.drawn.numbers
        return notebook.page(
            self.drawn.title, {"shows": self.drawn.told}, notebook.table(sheet.headings, sheet.rows, shown=30)
        )


def study_plot(study: Study, what: str = "scores") -> Plot:
    """See :meth:`Study.plot`."""
    if what not in ("scores", "tasks"):
        raise ConfigError(f"A study has no plot '{what}'{suggestion(what, ('scores', 'tasks'))}")
    trials = trial_views(study)
    if all(trial.score is None for trial in trials):
        raise StudyError(f"{study.path}: no trial has a score yet.")
    if what == "scores":
        return Plot(progress_figure(trials, study.best_rule))
    if not full_evaluations(trials):
        raise StudyError(f"{study.path}: no full evaluation has a score yet.")
    return Plot(task_figure(trials, today_scores(study)))


def pool_plot(pool: Pool, signal: str, by: str | None = None) -> Plot:
    """See :meth:`Pool.plot`."""
    if by not in (None, "source"):
        raise ConfigError(f"A pool is drawn as a whole, or by 'source', not by '{by}'.")
    table = load_table(pool)
    values = table.column(signal)
    found = column_stats(table, values)
    if not found.whole.quantiles:
        raise SignalError(f"No row of {pool.path} has the signal '{signal}'.")
    if by == "source":
        figure = signal_figure(signal, found)
        assert figure is not None  # a row has a value
        return Plot(figure)
    known = values[values == values].astype("float64")
    edges = bins_of(known)
    missing = f"; {found.whole.missing:,} have none" if found.whole.missing else ""
    told = f"Share of the rows with a value in each bin, {len(known):,} of {len(pool):,} rows{missing}."
    if not len(edges):
        rows = {"rows": {notebook.number(float(known[0])): float(len(known))}}
        return Plot(bars(signal, f"All rows have one value{missing}.", rows, x="rows", name=signal))
    return Plot(distributions(signal, told, edges, {"rows": shares_in(known, edges)}, x=signal))


def recipe_plot(recipe: Recipe, pool: Pool | SignalTable, seed: int = 0) -> Plot:
    """See :meth:`Recipe.plot`."""
    table = pool if isinstance(pool, SignalTable) else load_table(pool)
    canonical = recipe.canonical()
    found = selection_flow(canonical, rows_by_step(recipe, table, seed=seed), table)
    if found.steps:
        return Plot(flow_figure(found))
    rows = {name: float(count) for name, count in zip(found.sources, found.start.tolist(), strict=True)}
    told = "Rows of each source: the recipe has no steps, and selects them all."
    return Plot(bars("Rows by source", told, {"rows": rows}, x="rows", name="source"))
