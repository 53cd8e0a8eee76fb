"""Our recipes in Data-Juicer's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoselection.documents import read_yaml
from autoselection.errors import ConfigError
from autoselection.recipes.data_juicer.packing import unpacked
from autoselection.recipes.data_juicer.vocabulary import ENDS, KEYS, PARAMETERS, STATS, NoCounterpart, Unmapped, refuse
from autoselection.recipes.recipe import Recipe, Step
from autoselection.signals.families.data_juicer import (
    OTHER_STATISTICS,
    PREFIX,
    STATISTICS,
    DataJuicerFilter,
    DataJuicerOptions,
)
from autoselection.validation import validate


@dataclass(frozen=True)
class ExportedRecipe:
    """A recipe in Data-Juicer's words.

    Attributes:
        document: its configuration: ``project_name`` and ``process``.
        unmapped, remarks: as of :class:`ImportedRecipe`.
    """

    document: Mapping[str, Any]
    unmapped: tuple[Unmapped, ...]
    remarks: tuple[str, ...]


def configured_filters(path: Path) -> tuple[DataJuicerFilter, ...]:
    """The filters whose statistics a configuration has computed: of a study's, or of one with ``signals`` alone.

    Raises:
        ConfigError: the file cannot be read, or the filters in it are none.
    """
    try:
        found, _ = read_yaml(path, ConfigError)
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read ({error.strerror}).") from None
    keys = ("signals", "options", "data_juicer")
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path} has no {'.'.join(keys)}, which names filters of Data-Juicer.")
    return validate(DataJuicerOptions, found, f"{path}: {'.'.join(keys)}").filters


def to_data_juicer(
    recipe: Recipe, *, filters: Sequence[DataJuicerFilter] = (), partial: bool = False, where: str = "recipe"
) -> ExportedRecipe:
    """A recipe in Data-Juicer's words.

    Args:
        filters: by which its statistics are computed (``signals.options.data_juicer.filters``): recipes do not know their
            parameters. Of others Data-Juicer's own parameters are taken, with a remark.
        partial: leave out what has no counterpart, instead of refusing.

    Raises:
        RecipeError: a step has no counterpart and ``partial`` is not given; names every one.
    """
    writing = _Writing({column: asked for asked in filters for column in asked.columns})
    unmapped: list[Unmapped] = []
    for place, step in enumerate(unpacked(recipe), 1):
        try:
            writing.take(step)
        except NoCounterpart as why:
            unmapped.append(Unmapped(place, step.operator, str(why)))
    refuse(where, "no counterpart in Data-Juicer for {} of the steps", unmapped, partial)
    return ExportedRecipe(
        {"project_name": recipe.name or "recipe", "process": writing.process},
        tuple(unmapped),
        tuple(dict.fromkeys(writing.remarks)),
    )


@dataclass
class _Writing:
    """Steps as operators of Data-Juicer, one after the other.

    Attributes:
        known: filters by the columns of their statistics.
        computed: columns by the statistics that operators before compute, under Data-Juicer's names.
        open_column: column of the last operator, if it is a range that may get its other end.
    """

    known: Mapping[str, DataJuicerFilter]
    process: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    computed: dict[str, str] = field(default_factory=dict)
    open_column: str | None = None

    def take(self, step: Step) -> None:
        """Say one step in Data-Juicer's words."""
        params = {key: value for key, value in step.params.items() if value is not None}
        if step.operator == "source_filter":
            chosen = {"field_key": "source", "target_value": list(params["sources"])}
            self._add("specified_field_filter", chosen | ({"reversed_range": True} if params["mode"] == "drop" else {}))
        elif step.operator == "semantic_dedup":
            self._deduplicator(params)
        elif step.operator == "score_filter":
            self._cut(params)
        else:
            raise NoCounterpart("no operator of Data-Juicer does what it does")

    def _add(self, name: str, params: Mapping[str, Any]) -> None:
        self.process.append({name: dict(params)})
        self.open_column = None

    def _deduplicator(self, params: Mapping[str, Any]) -> None:
        text = {} if params.get("part", "row") == "row" else {"text_key": KEYS[params["part"]]}
        if params["strategy"] == "exact":
            self.remarks.append("document_deduplicator takes only texts for equal whose characters are.")
            self._add("document_deduplicator", {"lowercase": False, "ignore_non_character": False, **text})
        elif params["strategy"] == "minhash":
            self.remarks.append("document_minhash_deduplicator keeps one of all texts that are linked by similar ones.")
            chosen = {
                "tokenization": "space",
                "window_size": params["ngram_size"],
                "jaccard_threshold": params["jaccard_threshold"],
                "lowercase": True,
            }
            self._add("document_minhash_deduplicator", {**chosen, **text})
        else:
            raise NoCounterpart(f"Data-Juicer drops no duplicates by {params['strategy']}")

    def _cut(self, params: dict[str, Any]) -> None:
        column = str(params["signal"])
        asked = self.known.get(column) or _asked_by(column)
        name, statistic = asked.filter, asked.statistics[0]
        if name not in ENDS:
            raise NoCounterpart(f"Data-Juicer does not cut by the numbers of {name} with a lowest and a highest alone")
        if params.get("scope", "whole") != "whole":
            raise NoCounterpart("Data-Juicer cuts the whole data set, not within a group")
        if params.get("missing") == "keep":
            raise NoCounterpart("Data-Juicer gives every text a statistic, and keeps none for its lack")
        if self.computed.get(statistic, column) != column:
            raise NoCounterpart(
                f"Data-Juicer computes {statistic} once, and an operator before has it computed as {self.computed[statistic]}"
            )
        direction = params.get("direction", "high")
        end = ENDS[name][0 if direction == "high" else 1] if "threshold" in params else None
        if "threshold" in params and end is None:
            raise NoCounterpart(f"{name} has no {'lower' if direction == 'high' else 'upper'} end")
        self._remember(asked, column, statistic, cuts=end is not None)
        if end is not None:
            self._end(asked, column, end[0], params["threshold"])
            return
        selected: dict[str, Any] = {"field_key": f"{STATS}{statistic}"}
        if "band_low" in params:
            selected |= {"lower_percentile": params["band_low"], "upper_percentile": params["band_high"]}
            self.remarks.append("range_specified_field_selector rounds the ends of its band down, score_filter up.")
            self._add("range_specified_field_selector", selected)
            return
        if "fraction" in params:
            self.remarks.append("topk_specified_field_selector rounds top_ratio of the rows down, score_filter up.")
        selected |= {"topk": params["top_k"]} if "top_k" in params else {"top_ratio": params["fraction"]}
        self._add("topk_specified_field_selector", {**selected, "reverse": direction == "high"})

    def _remember(self, asked: DataJuicerFilter, column: str, statistic: str, *, cuts: bool) -> None:
        """See to it that the statistic is computed, by an operator that cuts nothing unless the step itself does."""
        if column not in self.known and (own := set(PARAMETERS.get(asked.filter, ())) - set(asked.params)):
            self.remarks.append(
                f"{asked.filter} stands there with Data-Juicer's own {', '.join(sorted(own))}: --config names a configuration that "
                "has others (signals.options.data_juicer)."
            )
        if statistic not in self.computed and not cuts:
            self._add(asked.filter, {**_open_range(asked.filter), **_computed_from(asked)})
        self.computed[statistic] = column

    def _end(self, asked: DataJuicerFilter, column: str, end: str, value: float) -> None:
        if self.open_column == column and self.process[-1][asked.filter][end] == _open_range(asked.filter)[end]:
            self.process[-1][asked.filter][end] = value  # the other end of the same range
            return
        self._add(asked.filter, {**_open_range(asked.filter), end: value, **_computed_from(asked)})
        self.open_column = column


def _asked_by(column: str) -> DataJuicerFilter:
    """The filter whose statistic a column is, by its name alone."""
    label, _, statistic = column.removeprefix(PREFIX).rpartition("/")
    short, _, suffix = label.partition(".")
    name = f"{short}_filter"
    other, number = OTHER_STATISTICS.get(name, ("", ""))
    if not column.startswith(PREFIX) or statistic not in (STATISTICS.get(name), number):
        raise NoCounterpart(f"Data-Juicer does not know the signal '{column}'")
    if suffix not in ("", "prompt", "response"):
        raise NoCounterpart(
            f"the filter's own parameters are in a configuration, under the label '{label}': --config names it"
        )
    params = {other: True} if number and statistic == number else {}
    return DataJuicerFilter.model_validate({"filter": name, "part": suffix or "row", "params": params})


def _open_range(name: str) -> dict[str, Any]:
    low, high = ENDS[name]
    return ({} if low is None else {low[0]: 0}) | ({} if high is None else {high[0]: 2**53})


def _computed_from(asked: DataJuicerFilter) -> dict[str, Any]:
    return {**asked.params, **({} if asked.part == "row" else {"text_key": KEYS[asked.part]})}
