"""What a signal is: values computed once per pool and cached under the content of all that they depend on.

A signal is a class in a file of its own: what it is called, which columns it yields, what it needs, its options, and how
it is computed and loaded. ``score_pool`` does the rest: the order, the cache, shards, what a kill left, appended rows.

Contract:

- it is deterministic; ``version`` is raised whenever it computes something else;
- with ``rowwise`` (the default) what it says of a row depends on nothing but this row and what the signal needs: rows come
  in batches of any size, and rows appended to a pool are scored without the others;
- it returns one value a row and column; a row that cannot be scored is NaN, counted by name in the shard's ``stats``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

from autoselection.conversation import Conversation, Message, turn_text
from autoselection.schema import StrictModel
from autoselection.signals.inputs import Inputs
from autoselection.signals.needs import Need
from autoselection.signals.stored import Shard, SignalSpec, StoredSignal

Reads = Literal["messages", "texts", "conversations"]


class NoOptions(StrictModel):
    """The options of a signal that has none."""


class Rows(Sequence[Any]):
    """A batch of consecutive rows. As a sequence it is in the form that the signal ``reads``.

    Attributes:
        span: the row numbers.
        pool: all rows.
        inputs: what else was given: model, tokenizer, tasks.
        needed: the finished signals that this one is made from, by the names in ``made_from``.
    """

    def __init__(self, span: range, inputs: Inputs, reads: Reads, needed: Mapping[str, StoredSignal]) -> None:
        assert inputs.pool is not None
        self.span, self.inputs, self.needed = span, inputs, needed
        self.pool, self._reads = inputs.pool, reads

    @cached_property
    def texts(self) -> list[str]:
        """The texts of each row's turns, joined by line feeds."""
        return self.pool.texts(self.span)

    @cached_property
    def messages(self) -> list[list[Message]]:
        """Each row's turns."""
        return self.pool.messages(self.span)

    @cached_property
    def conversations(self) -> list[Conversation]:
        """Each row's turns, with the tools that it declares."""
        return self.pool.conversations(self.span)

    @property
    def _form(self) -> list[Any]:
        form: list[Any] = getattr(self, self._reads)
        return form

    def __len__(self) -> int:
        return len(self.span)

    def __getitem__(self, index: Any) -> Any:
        return self._form[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._form)


@dataclass(frozen=True)
class Loaded:
    """What a table gets of a stored signal.

    Attributes:
        columns: float32[N] scores by name.
        arrays: anything else, by name: ``table.arrays[name]``; ``sae``, ``embeddings``, ``minhash``, ``minhash_params``,
            ``text_hash`` and ``near_duplicates`` are attributes of the table.
        aliases: further names of columns.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


class PassGroup(Protocol):
    """A forward or backward pass of a model that several signals share: each takes of it what it wants."""

    def __init__(self, inputs: Inputs) -> None: ...

    def run(self, rows: Rows, signals: Sequence[Any]) -> Mapping[str, Shard]:
        """The shards of all ``signals`` for these rows, by name."""
        ...


class Signal:
    """The base of signals: subclass it, in a package of your own too, and register the class as an entry point.

    Attributes:
        name: what the cache calls it, and ``autoselection score --signals``: letters, digits, ``_``, ``-`` and ``.``.
        version: raised whenever the definition changes.
        columns: arrays of a shard with one number a row, by which steps of a recipe find them.
        arrays: arrays of a shard of any other shape or type, with one entry a row.
        options_model: pydantic model of its options, which users set under ``signals.options.NAME``.
        reads: the form in which ``compute`` gets rows: ``messages``, ``texts``, or ``conversations``, which have tools.
        needs: what has to be given besides the rows.
        may_use: what it reads if it is given, and does without.
        made_from: names of signals that are computed first; ``compute`` finds them in ``rows.needed``.
        rowwise: a row's values do not depend on other rows. If not, ``compute`` gets all rows of the pool at once.
        pass_group: the pass of a model that it shares with others; such a signal has no ``compute`` (see ``model_pass``).
        sparse: it yields one sparse vector a row: the arrays ``counts``, ``indices``, ``values``.
        shard_rows: rows computed between two saves; a kill loses at most these.
        asked_as: names by which it is asked for, each with its columns, if they are others than ``name``.
        column_prefixes: how columns begin whose full names depend on what is given, such as ``mona/``.
        cost: signals of a higher one are computed later: the cheap ones are there while one waits.
        by_default: it is computed where no signals are named.
        package: module that it imports, what that is called, and the extra of this package that installs it.
        retired_with: signals whose newest result it must be made from; with another one it is no longer current.
        replaces_siblings: results of other instances (``mona/a``) stop being current when one is computed (``mona/b``).
    """

    name: str
    version: int = 1
    columns: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    options_model: ClassVar[type[StrictModel]] = NoOptions
    reads: Reads = "messages"
    needs: ClassVar[tuple[Need, ...]] = ()
    may_use: ClassVar[tuple[Need, ...]] = ()
    made_from: ClassVar[tuple[str, ...]] = ()
    rowwise: bool = True
    pass_group: ClassVar[type[PassGroup] | None] = None
    sparse: bool = False
    shard_rows: int = 16_384
    asked_as: ClassVar[Mapping[str, tuple[str, ...]] | None] = None
    column_prefixes: ClassVar[tuple[str, ...]] = ()
    cost: ClassVar[int] = 0
    by_default: ClassVar[bool] = True
    package: ClassVar[tuple[str, str, str] | None] = None
    retired_with: ClassVar[tuple[str, ...] | None] = None
    replaces_siblings: ClassVar[bool] = False

    options: Any = NoOptions()

    def __init__(self, options: StrictModel | None = None) -> None:
        self.options = self.options_model() if options is None else options

    @property
    def title(self) -> str:
        """What the progress bar calls it."""
        return self.name.replace("_", " ").capitalize()

    @property
    def params(self) -> Mapping[str, Any]:
        """JSON values that change the result: the options, unless said otherwise."""
        found: Mapping[str, Any] = self.options.model_dump(mode="json")
        return found

    @classmethod
    def instances(cls, options: Any, inputs: Inputs) -> Sequence[Signal]:
        """The signals that ``inputs`` give rise to, in the order in which they are computed: one, or one a task."""
        return [cls(options)]

    @classmethod
    def left_out(cls, inputs: Inputs) -> Mapping[str, str]:
        """Instances that ``inputs`` name and that cannot be computed, with the reason."""
        return {}

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        """All that the result depends on besides the pool: its cache key is a hash of it.

        Args:
            needed: the same of the signals in ``made_from``.
        """
        models = [fingerprint for need in self.needs if (fingerprint := need.model(inputs)) is not None]
        targets = [fingerprint for need in self.needs if (fingerprint := need.targets(inputs)) is not None]
        return SignalSpec(
            self.name,
            self.version,
            self.params,
            model="+".join(models) or None,
            targets="+".join(targets) or None,
            sparse=self.sparse,
            uses={name: needed[name] for name in self.made_from},
            rowwise=self.rowwise,
        )

    def rows_at_once(self, inputs: Inputs) -> int:
        """Rows computed between two saves."""
        return self.shard_rows

    def compute(self, rows: Any) -> Shard:
        """Score a batch of rows: a :class:`Rows`, which is a sequence in the form that ``reads`` names.

        Returns:
            Arrays by column name, each with one value a row, and counts of what could not be scored.
        """
        raise NotImplementedError(f"the signal '{self.name}' has neither 'compute' nor a 'pass_group'")

    def whole(self, rows: Rows) -> Mapping[str, Any]:
        """Arrays that belong to the signal but not to single rows; asked for once, after the last batch.

        Args:
            rows: all rows of the pool.
        """
        return {}

    def release(self) -> None:
        """Let go of models and other large things that it holds: no signal with one of its ``needs`` is left to compute."""

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        """What the table gets: numbers with one value a row become columns, what else is stored ``arrays``."""
        return loaded(cls.name, stored, cls.columns)


def loaded(name: str, stored: StoredSignal, columns: Sequence[str] = ()) -> Loaded:
    """What a table gets of a stored signal of which no more is known than what is stored.

    Args:
        columns: names of the arrays that are columns; none: all that are numbers, one a row. Those of sparse vectors, of
            which there may by chance be one a row, are not.
    """
    rows, sparse = stored.meta["rows"], "indptr" in stored.arrays
    found = {
        each: array
        for each, array in stored.arrays.items()
        if array.shape == (rows,) and (each in columns if columns else not sparse and array.dtype.kind in "biuf")
    }
    rest = {each: array for each, array in stored.arrays.items() if each not in found}
    return Loaded(found, {name: rest} if rest else {})


def prompt_of(messages: Sequence[Message]) -> str:
    """The texts of all turns but the assistant's, joined by line feeds."""
    return "\n".join(turn_text(message) for message in messages if message["role"] != "assistant")


def response_of(messages: Sequence[Message]) -> str:
    """The texts of the assistant's turns (with their reasoning and calls), joined by line feeds."""
    return "\n".join(turn_text(message) for message in messages if message["role"] == "assistant")
