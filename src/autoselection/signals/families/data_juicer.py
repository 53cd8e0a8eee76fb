"""The statistics of Data-Juicer's filters as signals: computed by its own code, cached as ours are.

Data-Juicer (https://github.com/datajuicer/data-juicer) computes numbers of a text (``compute_stats``) and keeps texts whose
numbers lie in a range. Its package pins older versions of what this one uses, so it runs in a process of its own, and
in an environment of its own if you name one::

    signals:
      options:
        data_juicer:
          python: /path/dj/bin/python
          filters:
            - filter: alphanumeric_filter
            - filter: words_num_filter
              part: response
              params: {lang: en}

A column is called ``dj/LABEL/STATISTIC``, such as ``dj/alphanumeric/alnum_ratio``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from autoselection.errors import SignalError
from autoselection.schema import StrictModel
from autoselection.signals import data_juicer_process
from autoselection.signals.contract import Loaded, Rows, Signal
from autoselection.signals.inputs import Inputs
from autoselection.signals.needs import Need
from autoselection.signals.stored import Shard, SignalSpec, StoredSignal
from autoselection.wording import clipped

PREFIX = "dj/"
#: The number that each of Data-Juicer's text filters computes; of others ``stats`` names them.
STATISTICS: Mapping[str, str] = {
    "alphanumeric_filter": "alnum_ratio",
    "average_line_length_filter": "avg_line_length",
    "character_repetition_filter": "char_rep_ratio",
    "flagged_words_filter": "flagged_words_ratio",
    "language_id_score_filter": "lang_score",
    "llm_perplexity_filter": "llm_perplexity",
    "maximum_line_length_filter": "max_line_length",
    "perplexity_filter": "perplexity",
    "special_characters_filter": "special_char_ratio",
    "stopwords_filter": "stopwords_ratio",
    "text_action_filter": "num_action",
    "text_length_filter": "text_len",
    "token_num_filter": "num_token",
    "word_repetition_filter": "word_rep_ratio",
    "words_num_filter": "num_words",
}
#: A filter that computes another number with one of its parameters.
OTHER_STATISTICS: Mapping[str, tuple[str, str]] = {"alphanumeric_filter": ("tokenization", "alpha_token_ratio")}
#: At least one filter in the configuration.
FILTERS = Need(
    "no filter is named in signals.options.data_juicer.filters",
    "The signal '{signal}' is computed by filters of Data-Juicer: name them in signals.options.data_juicer.filters of a "
    "configuration (--config), or leave the signal out.",
    lambda inputs: bool(inputs.option("data_juicer", "filters")),
    "--config CONFIG",
    "the filters in signals.options.data_juicer.filters",
)
_LABEL = r"^[A-Za-z0-9_.-]+$"
_PACKAGE = "py-data-juicer"


class DataJuicerFilter(StrictModel):
    """One filter whose statistics are computed."""

    filter: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Data-Juicer's name of the filter.")
    part: Literal["row", "prompt", "response"] = Field(
        "row", description="What it reads: all turns, the user's or the assistant's."
    )
    params: dict[str, Any] = Field({}, description="Its parameters that change the statistic, such as lang.")
    stats: tuple[str, ...] = Field((), description="Its statistics, where it is not one of the usual text filters.")
    name: str | None = Field(None, pattern=_LABEL, description="Label of the columns (default: from filter and part).")

    @property
    def label(self) -> str:
        """Of the columns: ``name``, or the filter without its last word and, if it is not the row, the part."""
        short = self.filter.removesuffix("_filter")
        return self.name or (short if self.part == "row" else f"{short}.{self.part}")

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of its numbers."""
        other, number = OTHER_STATISTICS.get(self.filter, ("", ""))
        usual = number if other and self.params.get(other) else STATISTICS.get(self.filter, "")
        return self.stats or ((usual,) if usual else ())

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""
        return tuple(f"{PREFIX}{self.label}/{statistic}" for statistic in self.statistics)


class DataJuicerOptions(StrictModel):
    """Options of ``data_juicer``."""

    filters: tuple[DataJuicerFilter, ...] = Field(
        (), description="Filters of Data-Juicer whose statistics are computed."
    )
    python: str | None = Field(
        None, description="Python of the environment that has py-data-juicer (default: this one's)."
    )

    @field_validator("filters")
    @classmethod
    def _named(cls, filters: tuple[DataJuicerFilter, ...]) -> tuple[DataJuicerFilter, ...]:
        labels = [each.label for each in filters]
        for each in filters:
            if not each.statistics:
                raise ValueError(
                    f"{each.filter} is none of the filters whose statistics are known: name them with 'stats', as "
                    "Data-Juicer's StatsKeys calls them"
                )
            if labels.count(each.label) > 1:
                raise ValueError(f"two filters are called '{each.label}': give one of them a 'name'")
        return filters


class DataJuicer(Signal):
    """Statistics of one filter of Data-Juicer; texts without one are NaN, counted as ``no_statistic``."""

    name = "data_juicer"
    version = 1
    options_model = DataJuicerOptions
    column_prefixes = (PREFIX,)
    needs = (FILTERS,)
    by_default = False  # but where filters are named
    shard_rows = 4096
    cost = 4

    def __init__(self, options: Any = None, asked: DataJuicerFilter | None = None) -> None:
        super().__init__(options)
        self.asked = asked or DataJuicerFilter(filter="none", stats=("none",))
        self.name = f"data_juicer/{self.asked.label}"
        self.columns = self.asked.statistics
        self._process: _Process | None = None

    @classmethod
    def instances(cls, options: Any, inputs: Inputs) -> Sequence[DataJuicer]:
        return [cls(options, asked) for asked in options.filters]

    @property
    def title(self) -> str:
        return f"Data-Juicer's {self.asked.filter}"

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        asked = self.asked
        params = {"filter": asked.filter, "part": asked.part, "params": asked.params, "stats": list(asked.statistics)}
        python = self.options.python or sys.executable
        version = inputs.keep(("data_juicer", python), lambda: _Process(python, asked, {}).version)
        return SignalSpec(self.name, self.version, {**params, "data_juicer": version})

    def compute(self, rows: Rows) -> Shard:
        if self._process is None:
            opening = {"filter": self.asked.filter, "params": self.asked.params}
            self._process = _Process(self.options.python or sys.executable, self.asked, opening)
        texts = rows.texts if self.asked.part == "row" else rows.pool.parts(self.asked.part, np.asarray(rows.span))
        found = self._process.stats(texts)
        arrays = {
            name: np.array([stats.get(name, np.nan) for stats in found], np.float32) for name in self.asked.statistics
        }
        missing = sum(1 for stats in found if any(name not in stats for name in self.asked.statistics))
        return Shard(arrays, {"no_statistic": missing})

    def whole(self, rows: Rows) -> Mapping[str, Any]:
        self._process = None  # which ends it: one filter's process is there at a time
        return {}

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        label = str(stored.meta["name"]).partition("/")[2]
        return Loaded({f"{PREFIX}{label}/{name}": values for name, values in stored.arrays.items()})


class _Process:
    """Data-Juicer at work, in an environment of its own if one was named.

    Args:
        python: of the environment.
        asked: the filter, for messages.
        opening: the first line that the program reads: the filter, or nothing, to hear Data-Juicer's version alone.

    Attributes:
        version: Data-Juicer's.

    Raises:
        SignalError: there is no Data-Juicer, or no such filter.
    """

    def __init__(self, python: str, asked: DataJuicerFilter, opening: Mapping[str, Any]) -> None:
        self._asked, self._python = asked, python
        command = [python, str(Path(data_juicer_process.__file__))]
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise SignalError(
                f"signals.options.data_juicer.python: {python} cannot be run ({error.strerror or error})."
            ) from error
        weakref.finalize(self, _end, self._child)
        self.version = str(self._ask(opening)["ready"])

    def stats(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """The statistics of each text."""
        found: list[dict[str, float]] = self._ask({"texts": list(texts)})["stats"]
        return found

    def _ask(self, document: Mapping[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(document) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended without a word"}
        if "error" in answer:
            raise SignalError(self._why(str(answer["error"])))
        return answer

    def _why(self, error: str) -> str:
        if error.startswith("ModuleNotFoundError: No module named 'data_juicer"):
            return (
                f"Statistics of Data-Juicer's filters need the package '{_PACKAGE}', which {self._python} does not have: install it "
                f"into an environment of its own (python -m venv dj, dj/bin/pip install {_PACKAGE} aiohttp) and name dj/bin/python in "
                "signals.options.data_juicer.python."
            )
        if error.startswith("ModuleNotFoundError: No module named '"):
            lacking = error.split("'")[1].partition(".")[0]
            return (
                f"Data-Juicer's {self._asked.filter} needs the package '{clipped(lacking)}', which {self._python} does not have: install "
                f"it there ({self._python} -m pip install {clipped(lacking)})."
            )
        told = clipped(" ".join(error.split()), 300).rstrip(".")
        return f"Data-Juicer's {self._asked.filter} could not be computed with {self._asked.params}: {told}."


def _end(child: subprocess.Popen[str]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
    child.terminate()
    child.wait()
