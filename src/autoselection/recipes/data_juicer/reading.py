"""Recipes of Data-Juicer in our words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoselection.documents import read_yaml
from autoselection.errors import RecipeError
from autoselection.recipes.data_juicer.packing import packed
from autoselection.recipes.data_juicer.vocabulary import (
    ENDS,
    GROUPS,
    LOWEST,
    PARAMETERS,
    PARTS,
    STATS,
    TECHNICAL,
    NoCounterpart,
    Unmapped,
    refuse,
)
from autoselection.recipes.recipe import Recipe, Step
from autoselection.signals.families.data_juicer import DataJuicerFilter
from autoselection.wording import clipped


@dataclass(frozen=True)
class ImportedRecipe:
    """A recipe of Data-Juicer in our words.

    Attributes:
        filters: statistics that its steps read, for ``signals.options.data_juicer.filters``.
        unmapped: operators that are left out.
        remarks: where the same operator decides a little differently here.
    """

    recipe: Recipe
    filters: tuple[DataJuicerFilter, ...]
    unmapped: tuple[Unmapped, ...]
    remarks: tuple[str, ...]

    def signal_options(self) -> dict[str, Any]:
        """The part of a configuration that has the statistics computed; empty without any."""
        if not self.filters:
            return {}
        told = [each.model_dump(mode="json", exclude_defaults=True) for each in self.filters]
        return {"signals": {"options": {"data_juicer": {"filters": told}}}}


def load_data_juicer(path: Path, *, partial: bool = False) -> ImportedRecipe:
    """Read a recipe of Data-Juicer; see :func:`from_data_juicer`."""
    try:
        document, _ = read_yaml(path, RecipeError)
    except OSError as error:
        raise RecipeError(f"{path}: the recipe of Data-Juicer cannot be read ({error.strerror}).") from None
    return from_data_juicer(document, name=path.stem, where=str(path), partial=partial)


def from_data_juicer(
    document: Any, *, name: str | None = None, where: str = "recipe of Data-Juicer", partial: bool = False
) -> ImportedRecipe:
    """A recipe of Data-Juicer in our words.

    Args:
        document: its configuration, of which ``process`` and ``text_keys`` count.
        partial: leave out what has no counterpart, instead of refusing.

    Raises:
        RecipeError: it is none, or an operator has no counterpart and ``partial`` is not given; names every one.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("process"), (list, tuple)):
        raise RecipeError(f"{where}: a recipe of Data-Juicer has a list called 'process'.")
    reading = _Reading(_first(document.get("text_keys", "text")))
    for place, entry in enumerate(document["process"], 1):
        operator, params = _entry(entry, f"{where}: process {place}")
        given = {key: value for key, value in params.items() if key not in TECHNICAL}
        try:
            reading.take(operator, given)
        except NoCounterpart as why:
            reading.unmapped.append(Unmapped(place, operator, str(why)))
    refuse(where, "no counterpart for {} of Data-Juicer's operators", reading.unmapped, partial)
    recipe = packed(reading.steps, name)
    return ImportedRecipe(
        recipe, tuple(reading.filters.values()), tuple(reading.unmapped), tuple(dict.fromkeys(reading.remarks))
    )


def _asked(one: DataJuicerFilter) -> str:
    """What a filter computes its statistic from, for people."""
    of = {"row": "of the text", "prompt": "of prompts", "response": "of responses"}[one.part]
    return ", ".join([of, *(f"{key} {clipped(repr(value))}" for key, value in sorted(one.params.items()))])


def _entry(entry: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, params),) = entry.items()
        params = {} if params is None else params
        if isinstance(name, str) and isinstance(params, Mapping) and all(isinstance(key, str) for key in params):
            return name, params
    raise RecipeError(f"{where}: expected an operator's name with its parameters, not {clipped(repr(entry))}.")


def _number(params: Mapping[str, Any], key: str) -> float | None:
    value = params.get(key)
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise NoCounterpart(f"its {key} is {clipped(repr(value))}, no number")
    try:
        number = None if value is None else float(value)
    except OverflowError:
        raise NoCounterpart(f"its {key} is too large a number") from None
    if number is not None and math.isnan(number):
        raise NoCounterpart(f"its {key} is not a number")
    return number


def _first(keys: Any) -> str:
    return str(keys[0]) if isinstance(keys, Sequence) and not isinstance(keys, str) and keys else str(keys or "text")


@dataclass
class _Reading:
    """Operators of Data-Juicer, one after the other."""

    text_key: str
    steps: list[Step] = field(default_factory=list)
    filters: dict[str, DataJuicerFilter] = field(default_factory=dict)
    unmapped: list[Unmapped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def take(self, name: str, params: dict[str, Any]) -> None:
        """Say one operator in our words."""
        others: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "document_deduplicator": self._exact,
            "document_minhash_deduplicator": self._similar,
            "ray_document_deduplicator": self._exact,  # the same on several machines
            "ray_bts_minhash_deduplicator": self._similar,
            "specified_field_filter": self._field,
            "specified_numeric_field_filter": self._numeric,
            "topk_specified_field_selector": self._top,
            "range_specified_field_selector": self._range,
        }
        if name in ENDS:
            self._filter(name, params)
        elif name in others:
            others[name](params)
        elif name == "random_selector":
            raise NoCounterpart("it draws from all rows alike, and truncate_samples draws as many from each source")
        else:
            group = name.rpartition("_")[2]
            raise NoCounterpart(GROUPS.get(group, "no operator here does what it does"))

    def _part(self, params: dict[str, Any]) -> str:
        key = str(params.pop("text_key", None) or self.text_key)
        if key not in PARTS:
            raise NoCounterpart(f"it reads the field '{clipped(key)}', and rows here have a prompt and a response")
        return PARTS[key]

    def _filter(self, name: str, params: dict[str, Any]) -> None:
        part = self._part(params)
        if not params.pop("min_closed_interval", True) or not params.pop("max_closed_interval", True):
            raise NoCounterpart("its range leaves out its ends, and a cut here keeps them")
        if params.pop("reversed_range", False):
            raise NoCounterpart("it keeps what lies outside of its range, and a cut here keeps one side")
        if name == "language_id_score_filter" and params.pop("lang", None):
            raise NoCounterpart(
                "it keeps languages by name, and signals are numbers (without lang it cuts by the score)"
            )
        ends = []
        for direction, end in zip(("high", "low"), ENDS[name], strict=True):
            if end is None:
                continue
            given = _number(params, end[0])
            params.pop(end[0], None)
            value = float(end[1]) if given is None else given
            if (direction == "high" and value > LOWEST) or (direction == "low" and value < 2**53):
                ends.append((direction, value))
        column = self._column(name, part, params)
        for direction, value in ends:
            self._cut(column, threshold=value, direction=direction)

    def _column(self, name: str, part: str, params: dict[str, Any]) -> str:
        """The column of a filter's statistic, which is noted."""
        plain = {key: value for key, value in params.items() if value not in (None, "", [], {})}
        for unknown in sorted(set(plain) - set(PARAMETERS.get(name, ()))):
            self.remarks.append(
                f"{name}: Data-Juicer 1.6.1 has no parameter '{clipped(unknown)}' of it; it is handed on as it is."
            )
        asked = DataJuicerFilter.model_validate({"filter": name, "part": part, "params": plain})
        labels = {each.label for each in self.filters.values()}
        if asked.statistics[0] not in self.filters and asked.label in labels:  # it computes another number of the same
            names = (f"{asked.label}.{number}" for number in range(2, 2 + len(labels)))
            asked = asked.model_copy(update={"name": next(name for name in names if name not in labels)})
        known = self.filters.setdefault(asked.statistics[0], asked)
        if known != asked:
            self.remarks.append(
                f"{name}: Data-Juicer computes {asked.statistics[0]} once, so that this filter cuts by what an earlier one computed "
                f"({_asked(known)}), not by its own ({_asked(asked)}); so does the recipe."
            )
        return known.columns[0]

    def _cut(self, column: str, **params: Any) -> None:
        self._step("score_filter", {"signal": column, **params, "missing": "drop"})

    def _exact(self, params: dict[str, Any]) -> None:
        for key in ("lowercase", "ignore_non_character"):
            if params.get(key):
                raise NoCounterpart(f"with {key} it takes more texts for equal than semantic_dedup does")
        part = self._part(params)
        self._step("semantic_dedup", {"strategy": "exact", "part": part})
        self.remarks.append(
            "document_deduplicator takes texts for equal whose characters are; semantic_dedup also those that differ in Unicode "
            "form, line ends, or blanks at the ends of lines."
        )

    def _similar(self, params: dict[str, Any]) -> None:
        part = self._part(params)
        if params.get("tokenization", "space") != "space" or params.get("ignore_pattern"):
            raise NoCounterpart("semantic_dedup compares n-grams of words, and this is another tokenization")
        if not params.get("lowercase", True):
            raise NoCounterpart("it tells capitals from small letters, and semantic_dedup does not")
        threshold, size = params.get("jaccard_threshold", 0.7), params.get("window_size", 5)
        chosen = {"strategy": "minhash", "jaccard_threshold": threshold, "ngram_size": size, "part": part}
        self._step("semantic_dedup", chosen)
        self.remarks.append(
            "document_minhash_deduplicator keeps one of all texts that are linked by similar ones, and estimates similarity by "
            "signatures; semantic_dedup drops a row that is similar to one kept before it, by the n-grams themselves."
        )

    def _step(self, operator: str, params: Mapping[str, Any]) -> None:
        step = Step(operator, params)
        try:
            step.canonical()
        except RecipeError as error:
            raise NoCounterpart(str(error).rstrip(".")) from None
        self.steps.append(step)

    def _field(self, params: dict[str, Any]) -> None:
        key, values = str(params.get("field_key", "")), params.get("target_value") or []
        if not key or not values:
            return  # it keeps everything
        if not isinstance(values, (list, tuple)):
            raise NoCounterpart(f"its target_value is {clipped(repr(values))}, no list")
        if key != "source":
            raise NoCounterpart(
                f"it reads the field '{clipped(key)}', and steps here read a row's source and its signals"
            )
        for value in values:
            if not isinstance(value, (str, int, float)) or isinstance(value, bool):
                raise NoCounterpart(f"its target_value has {clipped(repr(value))}, which is no name of a source")
        mode = "drop" if params.get("reversed_range") else "keep"
        self._step("source_filter", {"mode": mode, "sources": list(dict.fromkeys(map(str, values)))})

    def _statistic(self, params: dict[str, Any]) -> str:
        """The column of a statistic that was computed by a filter before."""
        key = str(params.get("field_key", ""))
        found = [
            column
            for asked in self.filters.values()
            for column in asked.columns
            if key == f"{STATS}{column.rpartition('/')[2]}"
        ]
        if not found:
            raise NoCounterpart(
                f"it reads the field '{clipped(key)}', which is no statistic of a filter before it ({STATS}NAME)"
            )
        return found[-1]

    def _numeric(self, params: dict[str, Any]) -> None:
        column = self._statistic(params)
        closed = all(params.get(f"{end}_closed_interval", True) for end in ("min", "max"))
        if params.get("reversed_range") or not closed:
            raise NoCounterpart("its range is not one that a cut here keeps")
        ends = {direction: _number(params, f"{end}_value") for direction, end in (("high", "min"), ("low", "max"))}
        for direction, value in ends.items():
            if value is not None and (value > -(2**53) if direction == "high" else value < 2**53):
                self._cut(column, threshold=value, direction=direction)

    def _top(self, params: dict[str, Any]) -> None:
        column, ratio, most = self._statistic(params), _number(params, "top_ratio"), _number(params, "topk")
        if ratio and most:
            raise NoCounterpart("it takes the smaller of top_ratio and topk, and a cut here has one of them")
        if not ratio and not most:
            return
        if most and not float(most).is_integer():
            raise NoCounterpart(f"its topk is {most:g}, no whole number")
        size = {"fraction": ratio} if ratio else {"top_k": int(most or 1)}
        self._cut(column, **size, direction="high" if params.get("reverse", True) else "low")
        if ratio:
            self.remarks.append("topk_specified_field_selector rounds top_ratio of the rows down, score_filter up.")

    def _range(self, params: dict[str, Any]) -> None:
        column = self._statistic(params)
        if params.get("lower_rank") is not None or params.get("upper_rank") is not None:
            raise NoCounterpart("it counts ranks, and a band here lies between quantiles")
        low, high = _number(params, "lower_percentile"), _number(params, "upper_percentile")
        if low is None or high is None:
            return
        self._cut(column, band_low=low, band_high=high)
        self.remarks.append("range_specified_field_selector rounds the ends of its band down, score_filter up.")
