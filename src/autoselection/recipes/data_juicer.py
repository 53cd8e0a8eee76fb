"""Recipes of Data-Juicer in and out: of the operators that both have, and what cannot be said in the other's words, with why.

A range filter of Data-Juicer becomes one or two cuts (``score_filter``) by the filter's own statistic, which the signal
``data_juicer`` has Data-Juicer compute; operators that change texts, and selections that mean something else here, are named.

Data-Juicer computes a statistic of a row once: a second filter by the same one, with other parameters or of another text, cuts by
what the first computed. So it is read here, and what would not survive that is not written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoselection.documents import read_yaml
from autoselection.errors import ConfigError, RecipeError
from autoselection.recipes.recipe import MAX_STEPS, Recipe, Step
from autoselection.signals.families.data_juicer import (
    OTHER_STATISTICS,
    PREFIX,
    STATISTICS,
    DataJuicerFilter,
    DataJuicerOptions,
)
from autoselection.validation import validate
from autoselection.wording import clipped

_WORDS = ("lang", "tokenization", "use_words_aug", "words_aug_group_sizes", "words_aug_join_char")
#: Data-Juicer's range of each filter: names and defaults of its ends; None leaves one open.
_ENDS: Mapping[str, tuple[tuple[str, float] | None, tuple[str, float] | None]] = {
    "alphanumeric_filter": (("min_ratio", 0.25), ("max_ratio", math.inf)),
    "average_line_length_filter": (("min_len", 10), ("max_len", math.inf)),
    "character_repetition_filter": (("min_ratio", 0.0), ("max_ratio", 0.5)),
    "flagged_words_filter": (("min_ratio", 0.0), ("max_ratio", 0.045)),
    "language_id_score_filter": (("min_score", 0.8), None),
    "llm_perplexity_filter": (("min_score", 1.0), ("max_score", 100.0)),
    "maximum_line_length_filter": (("min_len", 10), ("max_len", math.inf)),
    "perplexity_filter": (("min_ppl", 0), ("max_ppl", 1500)),
    "special_characters_filter": (("min_ratio", 0.0), ("max_ratio", 0.25)),
    "stopwords_filter": (("min_ratio", 0.3), ("max_ratio", 1.0)),
    "text_action_filter": (("min_action_num", 1), None),
    "text_length_filter": (("min_len", 10), ("max_len", math.inf)),
    "token_num_filter": (("min_num", 10), ("max_num", math.inf)),
    "word_repetition_filter": (("min_ratio", 0.0), ("max_ratio", 0.5)),
    "words_num_filter": (("min_num", 10), ("max_num", math.inf)),
}
#: Other parameters that Data-Juicer 1.6.1 knows of these filters: they change the statistic.
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "alphanumeric_filter": ("tokenization",),
    "character_repetition_filter": ("rep_len",),
    "flagged_words_filter": (*_WORDS, "flagged_words_dir"),
    "language_id_score_filter": ("lang",),
    "llm_perplexity_filter": ("hf_model", "model_params", "query_template", "response_template"),
    "perplexity_filter": ("lang",),
    "stopwords_filter": (*_WORDS, "stopwords_dir"),
    "text_action_filter": ("lang",),
    "token_num_filter": ("hf_tokenizer",),
    "word_repetition_filter": ("lang", "tokenization", "rep_len"),
    "words_num_filter": ("lang", "tokenization"),
}
#: Statistics that cannot be below this: a lower end there cuts nothing.
_LOWEST = 0.0
#: What a text key of Data-Juicer means here.
_PARTS = {
    **dict.fromkeys(("text", "messages", "conversations"), "row"),
    **dict.fromkeys(("query", "instruction", "prompt", "input", "question"), "prompt"),
    **dict.fromkeys(("response", "output", "completion", "answer"), "response"),
}
_KEYS = {"row": "text", "prompt": "query", "response": "response"}
#: Parameters of every operator there that decide nothing about which rows stay.
_TECHNICAL = frozenset(
    [
        "accelerator",
        "num_proc",
        "cpu_required",
        "gpu_required",
        "mem_required",
        "turbo",
        "batch_size",
        "skip_op_error",
        "work_dir",
        "ray_execution_mode",
        "stats_export_path",
        "show_num",
        "num_cpus",
        "num_gpus",
        "memory",
        "runtime_env",
        "auto_op_parallelism",
        "index_key",
        "history_key",
        "system_key",
    ]
)
_STATS = "__dj__stats__."
_GROUPS = {
    "mapper": "it changes texts, and a recipe only selects rows",
    "aggregator": "it joins rows, and a recipe only selects them",
    "grouper": "it joins rows, and a recipe only selects them",
    "formatter": "it makes rows, and a recipe only selects them",
    "pipeline": "it makes or changes rows, and a recipe only selects them",
}


@dataclass(frozen=True)
class Unmapped:
    """What has no counterpart.

    Attributes:
        place: number of the operator or step, from 1.
        name: of the operator.
        why: in a clause.
    """

    place: int
    name: str
    why: str

    def sentence(self) -> str:
        """For people."""
        return f"{self.place}. {self.name}: {self.why}."


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
        given = {key: value for key, value in params.items() if key not in _TECHNICAL}
        try:
            reading.take(operator, given)
        except _NoCounterpart as why:
            reading.unmapped.append(Unmapped(place, operator, str(why)))
    _refuse(where, "no counterpart for {} of Data-Juicer's operators", reading.unmapped, partial)
    recipe = packed(reading.steps, name)
    return ImportedRecipe(
        recipe, tuple(reading.filters.values()), tuple(reading.unmapped), tuple(dict.fromkeys(reading.remarks))
    )


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


def _refuse(where: str, what: str, unmapped: Sequence[Unmapped], partial: bool) -> None:
    if unmapped and not partial:
        told = " ".join(each.sentence() for each in unmapped)
        raise RecipeError(f"{where}: {what.format(len(unmapped))} (--partial leaves out what has none): {told}")


def _asked(one: DataJuicerFilter) -> str:
    """What a filter computes its statistic from, for people."""
    of = {"row": "of the text", "prompt": "of prompts", "response": "of responses"}[one.part]
    return ", ".join([of, *(f"{key} {clipped(repr(value))}" for key, value in sorted(one.params.items()))])


class _NoCounterpart(Exception):
    """Why an operator cannot be said in the other's words."""


def _entry(entry: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, params),) = entry.items()
        if isinstance(name, str) and (params is None or isinstance(params, Mapping)):
            return name, params or {}
    raise RecipeError(f"{where}: expected an operator's name with its parameters, not {clipped(repr(entry))}.")


def _number(params: Mapping[str, Any], key: str) -> float | None:
    value = params.get(key)
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise _NoCounterpart(f"its {key} is {clipped(repr(value))}, no number")
    return None if value is None else float(value)


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
        if name in _ENDS:
            self._filter(name, params)
        elif name in others:
            others[name](params)
        elif name == "random_selector":
            raise _NoCounterpart("it draws from all rows alike, and truncate_samples draws as many from each source")
        else:
            group = name.rpartition("_")[2]
            raise _NoCounterpart(_GROUPS.get(group, "no operator here does what it does"))

    def _part(self, params: dict[str, Any]) -> str:
        key = str(params.pop("text_key", None) or self.text_key)
        if key not in _PARTS:
            raise _NoCounterpart(f"it reads the field '{clipped(key)}', and rows here have a prompt and a response")
        return _PARTS[key]

    def _filter(self, name: str, params: dict[str, Any]) -> None:
        part = self._part(params)
        if not params.pop("min_closed_interval", True) or not params.pop("max_closed_interval", True):
            raise _NoCounterpart("its range leaves out its ends, and a cut here keeps them")
        if params.pop("reversed_range", False):
            raise _NoCounterpart("it keeps what lies outside of its range, and a cut here keeps one side")
        if name == "language_id_score_filter" and params.pop("lang", None):
            raise _NoCounterpart(
                "it keeps languages by name, and signals are numbers (without lang it cuts by the score)"
            )
        ends = []
        for direction, end in zip(("high", "low"), _ENDS[name], strict=True):
            if end is None:
                continue
            given = _number(params, end[0])
            params.pop(end[0], None)
            value = float(end[1]) if given is None else given
            if (direction == "high" and value > _LOWEST) or (direction == "low" and value < 2**53):
                ends.append((direction, value))
        column = self._column(name, part, params)
        for direction, value in ends:
            self._cut(column, threshold=value, direction=direction)

    def _column(self, name: str, part: str, params: dict[str, Any]) -> str:
        """The column of a filter's statistic, which is noted."""
        plain = {key: value for key, value in params.items() if value not in (None, "", [], {})}
        for unknown in sorted(set(plain) - set(_PARAMETERS.get(name, ()))):
            self.remarks.append(
                f"{name}: Data-Juicer 1.6.1 has no parameter '{clipped(unknown)}' of it; it is handed on as it is."
            )
        asked = DataJuicerFilter.model_validate({"filter": name, "part": part, "params": plain})
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
                raise _NoCounterpart(f"with {key} it takes more texts for equal than semantic_dedup does")
        part = self._part(params)
        self.steps.append(Step("semantic_dedup", {"strategy": "exact", "part": part}))
        self.remarks.append(
            "document_deduplicator takes texts for equal whose characters are; semantic_dedup also those that differ in Unicode "
            "form, line ends, or blanks at the ends of lines."
        )

    def _similar(self, params: dict[str, Any]) -> None:
        part = self._part(params)
        if params.get("tokenization", "space") != "space" or params.get("ignore_pattern"):
            raise _NoCounterpart("semantic_dedup compares n-grams of words, and this is another tokenization")
        if not params.get("lowercase", True):
            raise _NoCounterpart("it tells capitals from small letters, and semantic_dedup does not")
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
            raise _NoCounterpart(str(error).rstrip(".")) from None
        self.steps.append(step)

    def _field(self, params: dict[str, Any]) -> None:
        key, values = str(params.get("field_key", "")), params.get("target_value") or []
        if not key or not values:
            return  # it keeps everything
        if not isinstance(values, (list, tuple)):
            raise _NoCounterpart(f"its target_value is {clipped(repr(values))}, no list")
        if key != "source":
            raise _NoCounterpart(
                f"it reads the field '{clipped(key)}', and steps here read a row's source and its signals"
            )
        mode = "drop" if params.get("reversed_range") else "keep"
        self.steps.append(Step("source_filter", {"mode": mode, "sources": [str(value) for value in values]}))

    def _statistic(self, params: dict[str, Any]) -> str:
        """The column of a statistic that was computed by a filter before."""
        key = str(params.get("field_key", ""))
        found = [
            column
            for asked in self.filters.values()
            for column in asked.columns
            if key == f"{_STATS}{column.rpartition('/')[2]}"
        ]
        if not found:
            raise _NoCounterpart(
                f"it reads the field '{clipped(key)}', which is no statistic of a filter before it ({_STATS}NAME)"
            )
        return found[-1]

    def _numeric(self, params: dict[str, Any]) -> None:
        column = self._statistic(params)
        closed = all(params.get(f"{end}_closed_interval", True) for end in ("min", "max"))
        if params.get("reversed_range") or not closed:
            raise _NoCounterpart("its range is not one that a cut here keeps")
        ends = {direction: _number(params, f"{end}_value") for direction, end in (("high", "min"), ("low", "max"))}
        for direction, value in ends.items():
            if value is not None and abs(value) < 2**53:
                self._cut(column, threshold=value, direction=direction)

    def _top(self, params: dict[str, Any]) -> None:
        column, ratio, most = self._statistic(params), _number(params, "top_ratio"), _number(params, "topk")
        if ratio and most:
            raise _NoCounterpart("it takes the smaller of top_ratio and topk, and a cut here has one of them")
        if not ratio and not most:
            return
        if most and not float(most).is_integer():
            raise _NoCounterpart(f"its topk is {most:g}, no whole number")
        size = {"fraction": ratio} if ratio else {"top_k": int(most or 1)}
        self._cut(column, **size, direction="high" if params.get("reverse", True) else "low")
        if ratio:
            self.remarks.append("topk_specified_field_selector rounds top_ratio of the rows down, score_filter up.")

    def _range(self, params: dict[str, Any]) -> None:
        column = self._statistic(params)
        if params.get("lower_rank") is not None or params.get("upper_rank") is not None:
            raise _NoCounterpart("it counts ranks, and a band here lies between quantiles")
        low, high = _number(params, "lower_percentile"), _number(params, "upper_percentile")
        if low is None or high is None:
            return
        self._cut(column, band_low=low, band_high=high)
        self.remarks.append("range_specified_field_selector rounds the ends of its band down, score_filter up.")


def packed(steps: Sequence[Step], name: str | None = None) -> Recipe:
    """A recipe of any number of steps: where they are more than a recipe has, cuts by thresholds go into recipes of their own.

    A cut by a threshold keeps the same rows wherever it stands, so that those of an inner recipe, run on the whole pool, can
    be brought in by ``intersect``.

    Raises:
        RecipeError: too many other steps are left.
    """
    library: dict[str, Recipe] = {}
    outer = list(steps)
    while len(outer) > MAX_STEPS:
        run = _longest_run(outer)
        if len(run) < 2:
            raise RecipeError(f"it takes {len(outer)} steps, and a recipe has at most {MAX_STEPS}: cut it in two.")
        inner = outer[run.start : run.stop][:MAX_STEPS]
        key = f"filters-{len(library) + 1}"
        library[key] = Recipe(tuple(inner), key)
        outer[run.start : run.start + len(inner)] = [Step("intersect", {"source_recipe": key})]
    return Recipe(tuple(outer), name, MappingProxyType(library))


def _longest_run(steps: Sequence[Step]) -> range:
    best, start = range(0), 0
    for place, step in enumerate([*steps, None]):
        if step is None or step.operator != "score_filter" or step.params.get("threshold") is None:
            best = max(best, range(start, place), key=len)
            start = place + 1
    return best


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
    for place, step in enumerate(_unpacked(recipe), 1):
        try:
            writing.take(step)
        except _NoCounterpart as why:
            unmapped.append(Unmapped(place, step.operator, str(why)))
    _refuse(where, "no counterpart in Data-Juicer for {} of the steps", unmapped, partial)
    return ExportedRecipe(
        {"project_name": recipe.name or "recipe", "process": writing.process},
        tuple(unmapped),
        tuple(dict.fromkeys(writing.remarks)),
    )


def _unpacked(recipe: Recipe) -> Iterable[Step]:
    """The steps, those of :func:`packed` recipes in their places."""
    for step in recipe.canonical().steps:
        inner = recipe.library.get(str(step.params.get("source_recipe"))) or recipe.canonical().library.get(
            str(step.params.get("source_recipe"))
        )
        cuts = [] if inner is None else list(inner.canonical().steps)
        if step.operator == "intersect" and cuts and len(_longest_run(cuts)) == len(cuts):
            yield from cuts
        else:
            yield step


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
            raise _NoCounterpart("no operator of Data-Juicer does what it does")

    def _add(self, name: str, params: Mapping[str, Any]) -> None:
        self.process.append({name: dict(params)})
        self.open_column = None

    def _deduplicator(self, params: Mapping[str, Any]) -> None:
        text = {} if params.get("part", "row") == "row" else {"text_key": _KEYS[params["part"]]}
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
            raise _NoCounterpart(f"Data-Juicer drops no duplicates by {params['strategy']}")

    def _cut(self, params: dict[str, Any]) -> None:
        column = str(params["signal"])
        asked = self.known.get(column) or _asked_by(column)
        name, statistic = asked.filter, asked.statistics[0]
        if name not in _ENDS:
            raise _NoCounterpart(f"Data-Juicer does not cut by the numbers of {name} with a lowest and a highest alone")
        if params.get("scope", "whole") != "whole":
            raise _NoCounterpart("Data-Juicer cuts the whole data set, not within a group")
        if params.get("missing") == "keep":
            raise _NoCounterpart("Data-Juicer gives every text a statistic, and keeps none for its lack")
        if self.computed.get(statistic, column) != column:
            raise _NoCounterpart(
                f"Data-Juicer computes {statistic} once, and an operator before has it computed as {self.computed[statistic]}"
            )
        direction = params.get("direction", "high")
        end = _ENDS[name][0 if direction == "high" else 1] if "threshold" in params else None
        if "threshold" in params and end is None:
            raise _NoCounterpart(f"{name} has no {'lower' if direction == 'high' else 'upper'} end")
        self._remember(asked, column, statistic, cuts=end is not None)
        if end is not None:
            self._end(asked, column, end[0], params["threshold"])
            return
        selected: dict[str, Any] = {"field_key": f"{_STATS}{statistic}"}
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
        if column not in self.known and (own := set(_PARAMETERS.get(asked.filter, ())) - set(asked.params)):
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
        raise _NoCounterpart(f"Data-Juicer does not know the signal '{column}'")
    if suffix not in ("", "prompt", "response"):
        raise _NoCounterpart(
            f"the filter's own parameters are in a configuration, under the label '{label}': --config names it"
        )
    params = {other: True} if number and statistic == number else {}
    return DataJuicerFilter.model_validate({"filter": name, "part": suffix or "row", "params": params})


def _open_range(name: str) -> dict[str, Any]:
    low, high = _ENDS[name]
    return ({} if low is None else {low[0]: 0}) | ({} if high is None else {high[0]: 2**53})


def _computed_from(asked: DataJuicerFilter) -> dict[str, Any]:
    return {**asked.params, **({} if asked.part == "row" else {"text_key": _KEYS[asked.part]})}
