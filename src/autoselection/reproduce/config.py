"""What a reproduction of the paper's tables is made of: models, tasks, seeds, sections. One YAML document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from autoselection.compare.ablations import ABLATIONS
from autoselection.compare.method import check_levels
from autoselection.compare.methods import METHODS
from autoselection.config import StudyConfig, absolute, load_config, read_document, substituted
from autoselection.errors import ConfigError
from autoselection.recipes import is_ready_name
from autoselection.schema import Seeds, StrictModel
from autoselection.system import expanded
from autoselection.tasks import Answer, Metric, TaskConfig
from autoselection.validation import validate
from autoselection.wording import suggestion

Section = Literal["main", "ood", "ablation", "transfer"]
SECTIONS: tuple[Section, ...] = ("main", "ood", "ablation", "transfer")
PUBLISHED_SINGLES = (
    "truncate_samples",
    "mona_filter",
    "ifd_filter",
    "ngram_entropy",
    "action_object_branching",
    "varentropy_filter",
    "semantic_dedup",
    "semdedup",
)
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class OodTask(StrictModel):
    """A task out of the target tasks' distribution: no part of any choice, scored on test only."""

    name: str = Field(pattern=NAME, description="Short name, used in every table.")
    test: Path = Field(description="JSONL of its items.")
    metric: Metric = Field("nll", description="As tasks[].metric of a study.")
    answer: Answer = Field("auto", description="As tasks[].answer of a study.")
    test_limit: int | None = Field(None, ge=1, description="Use only the first items (count).")

    def task(self) -> TaskConfig:
        """As an evaluation takes it; its dev file, which a task needs, is the same and never read."""
        return TaskConfig(**self.model_dump(), dev=self.test, dev_limit=self.test_limit)


class TransferTarget(StrictModel):
    """A larger model that is trained on what was found for a smaller one."""

    name: str = Field(pattern=NAME, description="Name shown in the table.")
    model: str = Field(description="Folder of the model, or a hub id.")
    parameters: float | None = Field(
        None, gt=0, description="Its size, for estimates while its files are missing (count)."
    )
    set: tuple[str, ...] = Field(
        (), description="Overrides of the study for this model, such as model.chat_template=x."
    )
    seeds: int | None = Field(None, ge=1, description="Use only the first so many seeds (count); null: all.")
    optional: bool = Field(False, description="Leave this target out, with a notice, while its folder is missing.")
    hint: str = Field("", description="How to get the model; ends the sentence that says it is missing.")


class ModelEntry(StrictModel):
    """A base model: a study configuration and what is changed in it."""

    name: str = Field(pattern=NAME, description="Name shown in tables; names its folder.")
    study: Path = Field(description="Study configuration: pool, tasks, signals, search, evaluation, executor.")
    set: tuple[str, ...] = Field((), description="Overrides of its keys, such as model.path=${root}/base.")
    parameters: float | None = Field(
        None, gt=0, description="Its size, for estimates while its files are missing (count)."
    )
    transfer: tuple[TransferTarget, ...] = Field((), description="Larger models for which its winners are used.")


class EstimateConfig(StrictModel):
    """What the dry run assumes where it cannot look."""

    rows: int = Field(90_000, ge=1, description="Rows of the pool, where its files are missing (count).")
    row_tokens: float | None = Field(
        None, gt=0, description="Tokens of a row (count); null: a quarter of its bytes, or 400 where files are missing."
    )
    share: float = Field(0.35, gt=0, le=1, description="Share of the pool in a searched subset, on average.")
    item_tokens: float = Field(400.0, gt=0, description="Tokens of a benchmark item with its prompt (count).")
    generated_tokens: float = Field(300.0, gt=0, description="Tokens of a generated answer (count).")
    items: int = Field(1000, ge=1, description="Items of a task and split whose file is missing (count).")
    peak_tflops: float = Field(989.0, gt=0, description="Peak of one device in the arithmetic used (TFLOP/s).")
    training: float = Field(0.35, gt=0, le=1, description="Share of the peak that training and scoring reach.")
    generation: float = Field(0.03, gt=0, le=1, description="Share of the peak that generation reaches.")


FIRST = ("random", "published")
"""Random recipe search, then the published loop: what a search has to beat before anything else is said of it."""
FIRST_ROWS = ("full", "random-rows")
"""Rows besides those of search methods that can be compared with first."""


class ReproductionConfig(StrictModel):
    """A reproduction of the paper's tables."""

    version: int = Field(1, ge=1, le=1, description="Version of this schema.")
    name: str = Field(pattern=NAME, description="Name shown in the document.")
    paths: dict[str, Path | None] = Field(
        default_factory=dict,
        description="Folders that ${NAME} stands for here and in the studies, relative to the working directory; null "
        "ones have to be given: --set paths.root=FOLDER.",
    )
    models: tuple[ModelEntry, ...] = Field(min_length=1, description="Base models, each with a study of its own.")
    ood: tuple[OodTask, ...] = Field((), description="Tasks out of distribution.")
    seeds: Seeds = Field(
        (0, 1, 2, 3, 4),
        description="Replicates: each is a seed of the methods and, added to evaluation.seeds, of the trainings they see.",
    )
    final_seeds: Seeds = Field(
        (100,),
        description="Training seeds of the models scored on test, each raised by the replicate's; other ones than the "
        "search saw, so that luck in training is not chosen.",
    )
    budget: int = Field(15, ge=1, description="Evaluations of every search (count).")
    sections: tuple[Section, ...] = Field(SECTIONS, min_length=1, description="What is run unless --sections names it.")
    methods: tuple[str, ...] = Field(
        ("random", "random-top-k", "published", "published:wide", "single-operators", "ours"),
        description="Search methods of the main table, as 'autoselection compare' knows them; 'ours' is AutoSelection. "
        "'single-operators:all' takes as many evaluations as there are recipes of one step.",
    )
    first: tuple[str, ...] | None = Field(
        None,
        description="What AutoSelection is compared with first on test, in this order: full (data), random-rows (as many as its winner has) "
        "or one of methods. Each needs no correction for the others; where one is not significant, nothing after it is claimed. "
        "Null: random, then published, as far as methods has them; empty: all comparisons are one family.",
    )
    learning_rates: tuple[float, ...] = Field(
        (),
        description="Learning rates tried on full data, on dev and in every replicate, before anything else is trained; "
        "the best is that of all trainings. Empty: evaluation.sft.learning_rate of the study.",
    )
    single_operators: tuple[str, ...] = Field(
        PUBLISHED_SINGLES,
        description="Operators that are rows by themselves, with their defaults; low and high end where they have one. Empty: none.",
    )
    default: str = Field(
        "quality-top-half", description="The fixed public default: a recipe file, or the name of a ready recipe."
    )
    recipes: tuple[str, ...] = Field(
        (), description="Further fixed recipes that are rows: recipe files, or names of ready recipes."
    )
    fixed_on_dev: bool = Field(
        True, description="Score rows that need no search on dev too: for the correlation of dev and test."
    )
    ablations: tuple[str, ...] = Field(tuple(ABLATIONS), description="Parts taken away: " + ", ".join(ABLATIONS) + ".")
    estimates: EstimateConfig = Field(default_factory=EstimateConfig, description="Assumptions of the dry run.")

    @field_validator("learning_rates")
    @classmethod
    def _several_rates(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value and (len(set(value)) < max(2, len(value)) or not all(0 < rate < float("inf") for rate in value)):
            raise ValueError(
                "name at least two different learning rates above 0, or none (evaluation.sft.learning_rate)"
            )
        return value

    @model_validator(mode="after")
    def _names_fit(self) -> ReproductionConfig:
        for names, what in (
            ([model.name for model in self.models], "models"),
            ([task.name for task in self.ood], "ood"),
            (list(self.methods), "methods"),
            (list(self.first or ()), "first"),
            (list(self.ablations), "ablations"),
            ([self.default, *self.recipes], "default and recipes"),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{what}: a name is used twice")
        before = [name for name in (*FIRST_ROWS, *METHODS) if name != "ours"]
        chosen = [(m, METHODS) for m in self.methods] + [(a, ABLATIONS) for a in self.ablations]
        for name, known in [*chosen, *((name, before) for name in self.first or ())]:
            if name not in known:
                raise ValueError(f"there is no '{name}'{suggestion(name, known)}")
        for name in self.first or ():
            if name not in (*FIRST_ROWS, *self.methods):
                raise ValueError(f"first: '{name}' is no row of the main table: add it to methods, or leave it out")
        if "ours" not in self.methods:
            raise ValueError("methods: 'ours' is what the others are compared with")
        return self

    @property
    def named_first(self) -> tuple[str, ...]:
        """What is compared first: as :attr:`first` says, or what a search has to beat, as far as it is there."""
        return tuple(name for name in FIRST if name in self.methods) if self.first is None else self.first

    def folders(self) -> dict[str, str]:
        """What ``${NAME}`` stands for, as absolute paths.

        Raises:
            ConfigError: one has no value.
        """
        missing = [name for name, path in self.paths.items() if path is None]
        if missing:
            raise ConfigError(f"{self.name}: paths.{missing[0]} has no value: pass --set paths.{missing[0]}=FOLDER.")
        return {name: str(expanded(path).absolute()) for name, path in self.paths.items() if path is not None}


def package_configs() -> tuple[str, ...]:
    """Names of the reproductions that come with the package."""
    folder = files("autoselection.reproduce") / "configs"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_reproduction(source: str, overrides: Sequence[str] = ()) -> ReproductionConfig:
    """Read a reproduction: a file, or one of :func:`package_configs`; relative paths are relative to the file.

    Raises:
        ConfigError: there is neither, or it does not fit the schema.
    """
    path = Path(source)
    if not path.is_file():
        if source not in package_configs():
            raise ConfigError(f"{source}: no such file or reproduction{suggestion(source, package_configs())}")
        path = Path(str(files("autoselection.reproduce") / "configs" / f"{source}.yaml"))
    document, tree = read_document(path, overrides)
    folders = validate(ReproductionConfig, document, str(path), tree).folders()
    config = validate(ReproductionConfig, substituted(document, folders, str(path)), str(path), tree)
    base = path.resolve().parent
    default, *recipes = (
        name if is_ready_name(name) else str(base / expanded(name)) for name in (config.default, *config.recipes)
    )
    paths = {name: Path(folder) for name, folder in folders.items()}
    config = config.model_copy(update={"default": default, "recipes": tuple(recipes), "paths": paths})
    return absolute(config, base)


def study_of(config: ReproductionConfig, model: ModelEntry, overrides: Sequence[str] = ()) -> StudyConfig:
    """The study configuration of one of the models. A guard that is listed as out of distribution too is scored as that alone, on
    test.

    Raises:
        ConfigError: its file is missing or wrong, its search has levels that a comparison does not have, or a task has the name of
            one out of distribution.
    """
    study = load_config(model.study, (*model.set, *overrides), config.folders())
    try:
        check_levels(study.search)
    except ConfigError as error:
        raise ConfigError(f"{model.study}: {error}") from error
    listed = {task.name for task in config.ood}
    tasks = tuple(task for task in study.tasks if task.weight > 0 or task.name not in listed)
    study = study.model_copy(update={"tasks": tasks})
    taken = {task.name for task in study.tasks} & listed
    if taken:
        raise ConfigError(f"{model.study}: the task '{min(taken)}' is also listed as out of distribution (ood).")
    return study


def target_study(
    config: ReproductionConfig, model: ModelEntry, target: TransferTarget, rate: float | None = None
) -> StudyConfig:
    """The study configuration with a larger model in place of the model.

    Args:
        rate: learning rate chosen for the model (see :attr:`ReproductionConfig.learning_rates`), which the target's own
            overrides replace.
    """
    chosen = () if rate is None else (f"evaluation.sft.learning_rate={rate:.17e}",)
    return study_of(config, model, (f"model.path={target.model}", *chosen, *target.set))


def with_ood(study: StudyConfig, config: ReproductionConfig) -> StudyConfig:
    """The study as it is scored on test: the tasks out of distribution are scored in the same pass."""
    return study.model_copy(update={"tasks": (*study.tasks, *(task.task() for task in config.ood))})


_TOLD = {
    "seeds",
    "final_seeds",
    "budget",
    "methods",
    "learning_rates",
    "single_operators",
    "fixed_on_dev",
    "ablations",
}


def plain(config: ReproductionConfig) -> Mapping[str, Any]:
    """What readers of the tables have to know, as plain data without paths of this machine."""
    told = config.model_dump(mode="json", include=_TOLD)
    overrides = {model.name: [text for text in model.set if "/" not in text] for model in config.models}
    recipes = [Path(recipe).stem for recipe in config.recipes]
    return {
        **told,
        "first": list(config.named_first),
        "default": Path(config.default).stem,
        "recipes": recipes,
        "ood": [task.name for task in config.ood],
        "set": overrides,
    }


def checked_sections(config: ReproductionConfig, sections: Sequence[str]) -> list[str]:
    """The sections to run, in their order.

    Raises:
        ConfigError: one is unknown.
    """
    for name in sections:
        if name not in SECTIONS:
            raise ConfigError(f"There is no section '{name}'{suggestion(name, SECTIONS)}")
    wanted = sections or config.sections
    return [name for name in SECTIONS if name in wanted]
