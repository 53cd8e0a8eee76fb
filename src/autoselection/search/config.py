"""Settings of the search. The defaults look at more edits than the published loop and rank them by what they did to
the pool; :func:`published_settings` gives the published loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from autoselection.errors import ConfigError
from autoselection.recipes import MAX_STEPS
from autoselection.schema import StrictModel
from autoselection.search.llm_config import LLMConfig
from autoselection.search.pareto import MOST
from autoselection.tasks.items import Metric

if TYPE_CHECKING:
    from autoselection.signals import SignalTable

SMALLEST_SUBSET = 32
"""Rows of the smallest subset worth an evaluation, where ``min_rows`` does not say."""
EDIT_KINDS = ("add", "drop", "swap", "reorder", "reparametrise", "flip", "union", "cross")


def _operators_by_name(schema: dict[str, Any]) -> None:
    """Let a schema of a list of operators name those that are installed."""
    from autoselection.operators import default_registry

    for part in (schema, *schema.get("anyOf", ())):
        if part.get("type") == "array":
            part["items"] = {"type": "string", "enum": [*default_registry().names()]}


class ZoneConfig(StrictModel):
    """A range of retention (share of the pool's rows) that a warmup probe aims at."""

    name: str = Field(description="Name shown in the report.")
    low: float = Field(gt=0, le=1, description="Lowest target retention (share of rows).")
    high: float = Field(gt=0, le=1, description="Highest target retention (share of rows).")

    @model_validator(mode="after")
    def _ordered(self) -> ZoneConfig:
        if self.low > self.high:
            raise ValueError(f"zone '{self.name}': low ({self.low}) is above high ({self.high})")
        return self


PUBLISHED_ZONES = (
    ZoneConfig(name="moderate", low=0.60, high=0.70),
    ZoneConfig(name="aggressive", low=0.30, high=0.50),
    ZoneConfig(name="exploratory", low=0.05, high=0.15),
)


class DrawConfig(StrictModel):
    """How direction and scope of score filters are drawn. The published loop keeps the high end of the whole subset."""

    low_direction: float = Field(0.4, ge=0, le=1, description="Probability that a filter keeps the low end.")
    low_direction_of: dict[str, float] = Field(
        default_factory=lambda: {"mona_filter": 0.1}, description="The same for single operators, by name."
    )
    source_scope: float = Field(
        0.5, ge=0, le=1, description="Probability that a filter cuts within each source, not over the whole subset."
    )
    task_scope: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that it cuts among the rows nearest to each task (by MONA), where the pool allows it.",
    )
    cluster_scope: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that it cuts within each cluster of the embeddings, where the pool allows it.",
    )

    @field_validator("low_direction_of")
    @classmethod
    def _probabilities(cls, value: dict[str, float]) -> dict[str, float]:
        for name, probability in value.items():
            if not 0 <= probability <= 1:
                raise ValueError(f"the probability for '{name}' must be in [0, 1], not {probability}")
        return value

    @model_validator(mode="after")
    def _scopes_fit(self) -> DrawConfig:
        total = self.source_scope + self.task_scope + self.cluster_scope
        if total > 1 + 1e-9:
            raise ValueError(f"source_scope, task_scope and cluster_scope add up to {total:g}: they must not exceed 1")
        return self


class EditConfig(StrictModel):
    """How local edits of the parent are drawn."""

    weights: dict[str, float] = Field(
        default_factory=lambda: {
            "add": 3.0,
            "drop": 1.0,
            "swap": 2.0,
            "reorder": 1.0,
            "reparametrise": 3.0,
            "flip": 2.0,
            "union": 1.0,
            "cross": 1.0,
        },
        description="Relative frequency of each kind of edit: " + ", ".join(EDIT_KINDS) + "; 0 switches a kind off.",
    )
    second_edit: float = Field(
        0.3, ge=0, le=1, description="Probability that a proposal is edited once more; 0 in the published loop."
    )
    credit: float = Field(
        0.5,
        ge=0,
        description="How strongly operator credit steers which operators are added (0: not at all).",
    )

    @field_validator("weights")
    @classmethod
    def _known_kinds(cls, value: dict[str, float]) -> dict[str, float]:
        for kind, weight in value.items():
            if kind not in EDIT_KINDS:
                raise ValueError(f"unknown kind of edit '{kind}'; known: {', '.join(EDIT_KINDS)}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of '{kind}' must be a finite number >= 0, not {weight}")
        if not any(value.values()):
            raise ValueError("at least one kind of edit needs a weight above 0")
        return value


class SurrogateConfig(StrictModel):
    """The Gaussian process that ranks proposals before anything is trained."""

    features: Literal["realized", "state", "subset", "encoding", "both"] = Field(
        "realized",
        description="What it sees: realized = state vector and overlap of subsets; state or subset = one of them; "
        "encoding = the recipe's parameters (published); both = encoding and realized.",
    )
    robust: bool = Field(
        True,
        description="Compress scores far from the median, so that one bad recipe does not hide differences among good "
        "ones (not used with features: encoding).",
    )
    prior: bool | Path = Field(
        True,
        description="Usual effects of a subset's features on its score, learnt on other pools: true = those that come with "
        "the package, false = none, or a file that `python -m benchmarks.prior` wrote (not used with features: encoding).",
    )
    acquisition: Literal["log_ei", "ucb"] = Field(
        "log_ei",
        description="How proposals are ranked: log_ei = expected improvement, ucb = mu + kappa * sigma (published).",
    )
    kappa: float = Field(
        3.0, ge=0, description="Weight of uncertainty where acquisition is ucb; 1 in the published loop."
    )


class LowerModelConfig(StrictModel):
    """Another model, whose trainings tell something of the target's."""

    path: str = Field(
        min_length=1,
        description="Folder of another causal language model (safetensors), or a hub id: cheaper than model.path.",
    )
    cost: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Cost of an evaluation with it (share of a full one); null: its number of parameters over the target's, times "
        "'level'.",
    )
    level: float = Field(1.0, gt=0, le=1, description="Training budget of an evaluation with it (share of a full one).")
    items: float = Field(1.0, gt=0, le=1, description="Share of each task's dev items that it is scored on.")
    chat_template: str | None = Field(
        None, description="Its chat template, as of model.chat_template; null: what that says, or else the model's own."
    )


class FidelityConfig(StrictModel):
    """Cheaper evaluations first: recipes get one, and the most promising are then evaluated in full.

    A cheaper evaluation costs its share of a full one. Only full ones are compared for the best, so that
    a cheap one can waste money but never win; how far cheap scores can be trusted is learnt from the recipes that
    have both.
    """

    level: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Training budget of a short training (share of a full one, such as 0.11); null: full ones only.",
    )
    items: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of each task's dev items that a short training is scored on, or, without 'level', a full training "
        "before its recipe is scored on all; null: all items.",
    )
    cost: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Cost of such an evaluation (share of a full one); null: 'level', or without it (1 + items) / 2, as if scoring "
        "took as long as training.",
    )
    models: tuple[LowerModelConfig, ...] = Field(
        (),
        max_length=3,
        description="Other models that recipes are tried on first, such as smaller ones of the target's family.",
    )
    warmup: int = Field(
        9,
        ge=1,
        description="Probes at the cheapest level before anything else (count): both halves of scores, one more where a score was begun, then "
        "as those of search.warmup. With 'items' or 'models' only where a third of 'share' pays for all of them; else as many probes as it pays "
        "for, but no fewer than search.warmup.",
    )
    share: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Share of the budget that goes into short trainings, once those probes are done; with 'items' or 'models' the "
        "most that goes into cheaper evaluations.",
    )

    @model_validator(mode="after")
    def _costs_something(self) -> FidelityConfig:
        if self.cost is not None and self.level is None and self.items is None:
            raise ValueError("cost is that of a cheaper evaluation of the target model: give 'level' or 'items', too")
        return self

    @property
    def by_value(self) -> bool:
        """Whether the level of every evaluation is chosen by its value per cost."""
        return bool(self.models) or self.items is not None

    @property
    def target_cost(self) -> float:
        """Cost of a cheaper evaluation of the target model, in full ones; 1 where there is none."""
        if self.cost is not None:
            return self.cost
        if self.level is not None:
            return self.level
        return 1.0 if self.items is None else (1.0 + self.items) / 2.0


class RepeatConfig(StrictModel):
    """Second trainings of the leaders, with other seeds, where they are worth more than a new recipe."""

    enabled: bool = Field(
        False,
        description="Train a leader again when that is expected to improve the final choice more than a new recipe.",
    )
    after: int = Field(5, ge=2, description="Full evaluations before the first repeat (count).")
    most: int = Field(3, ge=2, description="Most full evaluations of one subset (count).")


class ReseedConfig(StrictModel):
    """A new trajectory after stagnation."""

    enabled: bool = Field(True, description="Start a new trajectory after 'patience' evaluations without a new best.")
    patience: int = Field(4, ge=1, description="Evaluations without a new best before a reseed (count).")


class SearchConfig(StrictModel):
    """The search controller: budget, warmup, proposals, ranking, restart."""

    evaluations: int = Field(
        15,
        ge=1,
        description="Evaluations to spend (count): one trains on a subset and scores it on dev. Failed ones count, short ones by "
        "their share.",
    )
    metric: Metric | None = Field(
        None,
        exclude=True,
        description="What is maximised on every task that names no metric of its own (tasks[].metric): nll, nll_per_byte, accuracy, "
        "option_likelihood, blend or exact_match; null: nll.",
    )
    batch: int = Field(1, ge=1, description="Candidates asked at once, for evaluations side by side (count).")
    seed: int = Field(0, ge=0, description="Seed of every random decision of the search.")
    warmup: int = Field(
        3,
        ge=0,
        description="Probes before edits start (count): random recipes, each the most promising of 'proposals' by usual effects and "
        "the scores so far.",
    )
    include_full: bool = Field(False, description="Evaluate the whole pool first; counts as an evaluation.")
    initial: tuple[Path, ...] = Field(
        (),
        description="Recipes evaluated first, such as the one used today: YAML files or names of ready recipes (see "
        "'autoselection recipes'); they count as evaluations. With warmup: 0 edits start from them.",
    )
    warm_start: tuple[Path, ...] = Field(
        (),
        description="Directories of earlier studies, on this pool or another: their best recipes that are valid here are "
        "evaluated first and count as evaluations; the surrogate learns from their scores (docs/search.md#earlier-studies).",
    )
    warm_start_probes: int = Field(3, ge=1, description="Most recipes taken from the studies of warm_start (count).")
    operators: tuple[str, ...] | None = Field(
        None,
        description="Operators to search over, by name; null: all whose signals the pool has.",
        json_schema_extra=_operators_by_name,
    )
    also: tuple[str, ...] = Field(
        (),
        description="Operators to search over besides the default ones, by name, such as length_filter, cluster_balance, "
        "intersect, subtract, diversity, sample, source_mix or blend_filter.",
        json_schema_extra=_operators_by_name,
    )
    without: tuple[str, ...] = Field(
        (), description="Operators to leave out of the search, by name.", json_schema_extra=_operators_by_name
    )
    published_operators: bool = Field(False, description="Search over the operators of the published space only.")
    max_steps: int = Field(
        5,
        ge=1,
        le=MAX_STEPS,
        description=f"Most steps of a proposed recipe (count, up to {MAX_STEPS}, as many as a recipe may have).",
    )
    min_rows: int | None = Field(
        None,
        ge=1,
        description="Smallest subset worth an evaluation (rows); null: 2% of the rows to select from, at least 32 and at most 500.",
    )
    max_jaccard: float = Field(
        0.98,
        gt=0,
        le=1,
        description="A subset whose token-weighted Jaccard with an evaluated one is above this is not evaluated.",
    )
    proposals: int = Field(
        160, ge=1, description="Recipes materialized and ranked for a candidate (count); 5 in the published loop."
    )
    parents: int = Field(
        4,
        ge=1,
        description="Evaluated recipes that edits start from, the most promising first (count); 1, the best by its "
        "score, in the published loop.",
    )
    fresh: float = Field(
        0.25, ge=0, le=1, description="Share of the proposals that are new random recipes; 0 in the published loop."
    )
    generations: int = Field(
        2,
        ge=1,
        description="Rounds of edits in which proposals are made: from the second on the leading proposals themselves "
        "are edited (count); 1 in the published loop.",
    )
    zones: tuple[ZoneConfig, ...] = Field(
        PUBLISHED_ZONES, min_length=1, description="Retention zones that random recipes aim at in turn."
    )
    draws: DrawConfig = Field(default_factory=DrawConfig, description="Direction and scope of drawn filters.")
    edits: EditConfig = Field(default_factory=EditConfig, description="Local edits of the best recipe.")
    surrogate: SurrogateConfig = Field(default_factory=SurrogateConfig, description="Ranking of proposals.")
    pareto: tuple[str, ...] = Field(
        (),
        max_length=MOST,
        description="What is traded off, 2 to 4 of: names of tasks, score (their weighted mean), rows or tokens of the subset (fewer is "
        "better). Proposals are then ranked by what they are expected to add to the front of the best trade-offs, which the report "
        "shows; the winner stays the trial with the best score. Empty: the score alone counts.",
    )
    reseed: ReseedConfig = Field(default_factory=ReseedConfig, description="Restart after stagnation.")
    fidelity: FidelityConfig = Field(
        default_factory=lambda: FidelityConfig.model_validate({}), description="Cheaper evaluations before full ones."
    )
    repeats: RepeatConfig = Field(
        default_factory=lambda: RepeatConfig.model_validate({}), description="Second trainings of the leaders."
    )
    llm: LLMConfig | None = Field(
        None,
        description="A language model that proposes, summarises or ranks beside the rules (docs/llm.md); null: none.",
    )

    @field_validator("pareto")
    @classmethod
    def _several(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) == 1 or len(set(value)) < len(value):
            raise ValueError("a trade-off is between two objectives or more, each named once")
        return value

    def check_pool_size(self, rows: int, excluded: int = 0) -> None:
        """See that a pool is large enough for a search to leave something out.

        Args:
            rows: rows of the pool that a recipe may select.
            excluded: rows that none may select, said in the message.

        Raises:
            ConfigError: it is not; the message names the least number of rows.
        """
        least = 2 * SMALLEST_SUBSET if self.min_rows is None else self.min_rows + 1
        if rows >= least:
            return
        left = f" ({excluded:,} more are excluded)" if excluded else ""
        if self.min_rows is None:
            why = f"twice the smallest subset that is worth an evaluation ({SMALLEST_SUBSET} rows)"
            how = "add rows, or set search.min_rows to evaluate smaller subsets"
        else:
            why = f"one more than search.min_rows ({self.min_rows:,}), so that something can be left out"
            how = "add rows, or lower search.min_rows"
        raise ConfigError(
            f"The pool has {rows:,} row{'s' * (rows != 1)} to select from{left}, too few for a search: it needs at least "
            f"{least:,}, {why}; {how}."
        )

    def minimum_rows(self, selectable: int) -> int:
        """Smallest subset worth an evaluation for a pool with that many rows to select from."""
        if self.min_rows is not None:
            return self.min_rows
        return min(selectable, max(SMALLEST_SUBSET, min(500, round(0.02 * selectable))))

    def least_rows(self, signals: SignalTable) -> int:
        """:meth:`minimum_rows` of the pool that these signals are of."""
        return self.minimum_rows(len(signals.selectable))


def published_settings(*, wide: bool = False, **changes: Any) -> SearchConfig:
    """The published loop: five proposals, high end of the whole subset, Gaussian process over the recipe encoding.

    Args:
        wide: in the space of this package's search: all its operators, both ends of a score, scopes, and an edit that turns
            them round. What is left of the difference to that search is the search.
        changes: fields of :class:`SearchConfig` that replace the published values.
    """
    narrow: Mapping[str, Any] = {
        "draws": DrawConfig(
            low_direction=0.0, low_direction_of={}, source_scope=0.0, task_scope=0.0, cluster_scope=0.0
        ),
        "published_operators": True,
    }
    kinds = ("add", "drop", "swap", "reorder", "reparametrise", "union", *(("flip",) if wide else ()))
    settings: Mapping[str, Any] = {
        "proposals": 5,
        "parents": 1,
        "fresh": 0.0,
        "generations": 1,
        "edits": EditConfig(weights=dict.fromkeys(kinds, 1.0), second_edit=0.0, credit=0.0),
        "surrogate": SurrogateConfig(features="encoding", robust=False, acquisition="ucb", kappa=1.0),
        "max_jaccard": 1.0,
        **({} if wide else narrow),
        **changes,
    }
    return SearchConfig(**settings)
