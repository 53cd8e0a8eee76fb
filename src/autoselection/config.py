"""The one configuration file: a YAML document, one schema, every key documented, unknown keys refused."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from autoselection import former_keys
from autoselection.documents import MAX_DEPTH, dump_yaml, parse_yaml, read_text, read_yaml
from autoselection.errors import ConfigError
from autoselection.evaluation import EvaluationConfig
from autoselection.executors import ExecutorConfig
from autoselection.export.llamafactory import name_problem
from autoselection.language.chat.options import DATE, ChatOptions, ControlText
from autoselection.operators import default_registry
from autoselection.pool import IngestConfig
from autoselection.pool.addresses import absolute_place, has_login
from autoselection.recipes import is_ready_name
from autoselection.schema import HoldsSecret, Seeds, StrictModel
from autoselection.search import SearchConfig
from autoselection.search.config import LowerModelConfig
from autoselection.search.pareto import NO_TASKS
from autoselection.search.space import operator_problems
from autoselection.signals import SignalsConfig
from autoselection.system import expanded
from autoselection.tasks import Metric, TaskConfig
from autoselection.validation import mark_override, problem_at, validate
from autoselection.wording import clipped, kind_of, suggestion

SCHEMA_VERSION = 1


#: Why an address with a user or a password cannot stand in a configuration.
NO_LOGIN = "leave user and password out of the address, because configurations are shown and stored"


def _without_login(path: Path) -> Path:
    if has_login(path):
        raise HoldsSecret(f"{NO_LOGIN}; the package that reads it has settings of its own for them")
    return path


#: A path or address that is written down.
StoredPlace = Annotated[Path, AfterValidator(_without_login)]


class PoolConfig(StrictModel):
    """Where the pool comes from: a directory made by ``autoselection ingest``, or raw files."""

    path: StoredPlace | None = Field(None, description="Pool directory made by 'autoselection ingest'.")
    files: tuple[StoredPlace, ...] = Field(
        (),
        description="Raw files (JSONL, CSV, Parquet, …), patterns, addresses (s3://…) or data sets of the hub (org/name), read once "
        "into the study's own pool directory.",
    )
    ingest: IngestConfig = Field(default_factory=IngestConfig, description="How raw files are read.")
    on_contamination: Literal["warn", "accept", "drop", "refuse"] = Field(
        "warn",
        description="Rows that share text with dev or test items: warn (counted and reported; above contamination_limit "
        "the study does not start), accept (reported, however many), drop (no recipe may select them, baselines "
        "neither), or refuse (a single one and the study does not start).",
    )
    contamination_limit: float = Field(
        0.02, ge=0, le=1, description="Share of the rows up to which on_contamination: warn lets a study start."
    )
    contamination_cosine: float | None = Field(
        None,
        gt=0,
        le=1,
        description="A row whose embedding has at least this cosine with an item's counts as contaminated too (needs "
        "signals.embedding_model); null: only counted at 0.95, because what is alike depends on model and task.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> PoolConfig:
        if (self.path is None) == (not self.files):
            raise ValueError("give exactly one of 'path' (a pool directory) and 'files' (raw files)")
        return self


class ModelConfig(StrictModel):
    """The base model."""

    path: str = Field(
        min_length=1, description="Folder of a Hugging Face causal language model (safetensors), or a hub id."
    )
    chat_template: str | None = Field(
        None,
        description="Named template (chatml, plain, or one of the model's own: default, tool_use, rag, …) or Jinja file; "
        "null uses the model's own.",
    )
    template_date: datetime.date = Field(
        DATE,
        description="The date that chat templates get when they ask for today's, so that no score changes over night.",
    )
    control_text: ControlText = Field(
        "refuse",
        description="A row whose text spells a control token that the chat template acts upon is left out (refuse), or "
        "what the template makes of it counts (follow). Other control tokens in row text are always plain text.",
    )
    trust_remote_code: bool = Field(False, description="Run code shipped with the model. Leave off unless you know it.")

    def chat_options(self) -> ChatOptions:
        """How conversations are rendered."""
        return ChatOptions(self.chat_template, self.template_date, self.control_text)


class FinalConfig(StrictModel):
    """What is scored on the test split, once, after the search. Fixed before test is touched."""

    enabled: bool = Field(True, description="Score finalists and baselines on test when the search has ended.")
    seeds: Seeds = Field((0,), description="Training seeds of every row of the final table.")
    base: bool = Field(True, description="Score the base model without training.")
    full: bool = Field(True, description="Score training on the full pool.")
    random: bool = Field(True, description="Score a random subset of the winner's size.")
    single_operators: int = Field(
        0, ge=0, description="Single-operator recipes to score, the first ones in catalog order (count)."
    )
    recipes: tuple[Path, ...] = Field(
        (), description="Further recipes to score as baselines: YAML files or names of ready recipes."
    )
    rescore: str | None = Field(
        None,
        min_length=1,
        description="Why test is scored again, by another plan (other seeds or baselines) than the one fixed before it "
        "was touched; without a reason the study refuses. Recorded in the journal and shown in the report.",
    )

    @field_validator("rescore")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("it says nothing: give a reason")
        return value


#: Values of ``incumbent.recipe`` that name no recipe.
NO_RECIPE = ("full", "none")


class IncumbentConfig(StrictModel):
    """What is used today. The search's winner replaces it only if it is better on dev beyond noise."""

    recipe: str = Field(
        "full",
        min_length=1,
        description="full (the whole pool), a recipe (YAML file or the name of a ready one), or none (the winner is "
        "exported without a comparison).",
    )
    fresh_seeds: int = Field(
        1,
        ge=0,
        description="Winner and incumbent are trained with so many seeds more than the search used, and scored on dev, "
        "before they are compared: how good the winner looked by chance in training does not count in these (count).",
    )


class ExportConfig(StrictModel):
    """What is written for the winner, or for the incumbent if it stays."""

    messages: bool = Field(True, description="JSONL in the messages format.")
    sharegpt: bool = Field(True, description="ShareGPT JSON with a LLaMA-Factory dataset_info.json.")
    hf_dataset: bool = Field(True, description="Hugging Face dataset folder with a dataset card.")


#: What studies can be tracked by.
TrackerName = Literal["mlflow", "wandb", "trackio", "tensorboard"]


class TrackingConfig(StrictModel):
    """Where trials are recorded besides the study's folder. ``tracking: mlflow`` is short for ``tracking: {to: mlflow}``."""

    to: TrackerName | None = Field(
        None,
        description="mlflow, wandb, trackio or tensorboard: one run a trial, inside or beside one for the study; null: none. "
        "'tracking: mlflow' says the same. A tracker that fails neither stops nor slows the study.",
    )
    uri: str | None = Field(
        None,
        min_length=1,
        description="MLflow: its tracking URI; W&B: address of its server, or offline; trackio: a Space (org/name) or the "
        "address of a server; TensorBoard: a folder, from the study's on. null: what the tracker itself is set to.",
    )
    project: str = Field(
        "autoselection",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Project of W&B and trackio, experiment of MLflow.",
    )
    texts: bool = Field(
        False, description="The report that is sent shows rows of the pool; by default it has none of their text."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"to": given} if isinstance(given, str) or given is None else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        own = handler.resolve_ref_schema(handler(core_schema))
        names = [*get_args(TrackerName), None]
        return {"anyOf": [{"enum": names}, own], "description": own.get("description", "")}


class StudyConfig(StrictModel):
    """A whole study: pool, model, tasks, signals, search, evaluation and what happens at the end."""

    version: int = Field(SCHEMA_VERSION, ge=1, le=SCHEMA_VERSION, description="Version of this schema.")
    name: str = Field("study", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name shown in tables and cards.")
    pool: PoolConfig = Field(description="The rows that subsets are selected from.")
    model: ModelConfig = Field(description="The base model that is fine-tuned.")
    sae: Path | None = Field(
        None,
        description="Sparse autoencoder of the model in sparsify format (cfg.json, sae.safetensors), from which the relevance of "
        "rows to the tasks (MONA) is computed; null: without.",
    )
    tasks: tuple[TaskConfig, ...] = Field(
        min_length=1, description="What the model is to be good at: one entry a benchmark."
    )
    benchmarks_check: Literal["refuse", "warn"] = Field(
        "refuse",
        description="Repeated items, items shared by target, dev and test, one answer for all items, ids used for two "
        "items: refuse (the study does not start) or warn (named in the journal and the report).",
    )
    signals: SignalsConfig = Field(default_factory=SignalsConfig, description="How signals are computed.")
    search: SearchConfig = Field(default_factory=SearchConfig, description="The search for the best subset.")
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="Fine-tuning and scoring of one subset."
    )
    executor: ExecutorConfig = Field(default_factory=ExecutorConfig, description="Where evaluations run.")
    incumbent: IncumbentConfig = Field(
        default_factory=IncumbentConfig, description="What the winner has to beat on dev to be exported."
    )
    final: FinalConfig = Field(default_factory=FinalConfig, description="What is scored on test, once, at the end.")
    export: ExportConfig = Field(default_factory=ExportConfig, description="Files written for what is exported.")
    tracking: TrackingConfig = Field(
        default_factory=lambda: TrackingConfig(to=None),
        description="Where trials are recorded besides the study's folder.",
    )

    @model_validator(mode="before")
    @classmethod
    def _search_metric_is_that_of_tasks(cls, document: Any) -> Any:
        """``search.metric`` is written into the tasks, which is where it counts, and nowhere else: a copy of the configuration
        has the tasks' own.
        """
        if not isinstance(document, Mapping):
            return document
        search, tasks = document.get("search"), document.get("tasks")
        metric = search.get("metric") if isinstance(search, Mapping) else getattr(search, "metric", None)
        if metric is None or metric not in get_args(Metric) or not isinstance(tasks, (list, tuple)):
            return document
        filled = [_with_metric(task, metric) for task in tasks]
        if all(new is old for new, old in zip(filled, tasks, strict=True)):
            raise ValueError(
                "search.metric: every task names a metric of its own (tasks[].metric), so this one decides nothing; leave one of "
                "both out"
            )
        return {**document, "tasks": filled}

    @model_validator(mode="after")
    def _the_winner_can_be_exported(self) -> StudyConfig:
        """The export is the last act of a study: what it would refuse is refused before the first."""
        if self.export.sharegpt and (problem := name_problem(self.name)) is not None:
            raise ValueError(f"name: {problem}; or switch that export off (export.sharegpt: false)")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> StudyConfig:
        names = [task.name for task in self.tasks]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"tasks: the name '{repeated[0]}' is used twice; task names must be unique")
        if not any(task.weight for task in self.tasks):
            raise ValueError("tasks: every task has weight 0; give a weight above 0 to what the model is to be good at")
        return self


def pareto_problems(config: StudyConfig) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Objectives of a trade-off that there are none of, with why."""
    known = [*(task.name for task in config.tasks), *NO_TASKS]
    for place, name in enumerate(config.search.pareto):
        if name not in known:
            yield ("search", "pareto", place), f"there is no task '{name}'{suggestion(name, known)}"


def _with_metric(task: Any, metric: str) -> Any:
    """A task's settings with this metric, unless they have one (or are none: that is told elsewhere)."""
    if isinstance(task, TaskConfig):
        return task if "metric" in task.model_fields_set else task.model_copy(update={"metric": metric})
    return {**task, "metric": metric} if isinstance(task, Mapping) and "metric" not in task else task


#: Settings that name a local path or else something without a path: a model of the hub, a built-in template.
_LOCAL_OR_NAMED: Mapping[type[BaseModel], tuple[str, ...]] = {
    ModelConfig: ("path", "chat_template"),
    LowerModelConfig: ("path", "chat_template"),
    SignalsConfig: ("embedding_model", "reward_model", "trajectory_models"),
}

#: Begins the last line of the copy of its configuration that a study keeps, with the checksum of the lines before it.
SEAL = "# checksum of the lines above; remove this line if you change them: "

Model = TypeVar("Model", bound=BaseModel)
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def load_config(path: Path, overrides: Sequence[str] = (), paths: Mapping[str, str] | None = None) -> StudyConfig:
    """Read a configuration file; relative paths are relative to it.

    Args:
        path: the YAML file.
        overrides: ``dotted.key=value`` strings; the value is parsed as YAML.
        paths: what ``${NAME}`` stands for in the file and the overrides; None leaves such words as they are.

    Raises:
        ConfigError: the file is missing, not YAML, or does not fit the schema (file, line and field are named).
        StudyError: it is a study's copy, and needs an earlier version.
    """
    document, tree = read_document(path, overrides)
    if paths is not None:
        document = substituted(document, paths, str(path))
    if SEAL in read_text(path):
        document = former_keys.updated(document, str(path))
    _refuse(former_keys.problems(document), path, tree)
    config = validate(StudyConfig, document, str(path), tree)
    wrong = operator_problems(config.search, default_registry())
    _refuse(((("search", *key), why) for key, why in wrong), path, tree)
    base = path.resolve().parent
    _refuse((*floor_problems(config), *pareto_problems(config), *_place_problems(config, base)), path, tree)
    return absolute(config, base)


def floor_problems(config: StudyConfig) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Keys of floors that nothing will tell the value of, with why."""
    for place, task in enumerate(config.tasks):
        floor = task.lowest
        if floor is not None and floor.reference == "incumbent" and config.incumbent.recipe == "none":
            yield (
                ("tasks", place, "floor"),
                "it is measured from the incumbent, and incumbent.recipe is none: name what is used today there, or measure it "
                "from base.",
            )


def _refuse(problems: Iterable[tuple[Sequence[int | str], str]], path: Path, tree: yaml.Node | None) -> None:
    if told := [problem_at(key, why, str(path), tree) for key, why in problems]:
        raise ConfigError("\n".join(told))


def read_document(path: Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], yaml.Node | None]:
    """A YAML file with overrides applied, and its composed tree (for the line numbers of messages).

    Raises:
        ConfigError: the file is missing, not YAML, not a mapping, or an override does not fit it.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file; 'autoselection init' writes a commented one.")
    document, tree = read_yaml(path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected keys and values, found {kind_of(document)}.")
    for override in overrides:
        _apply_override(document, override)
        mark_override(tree, override.partition("=")[0].split("."), f"--set {_key_of(override)}")
    return document, tree


def substituted(value: Any, paths: Mapping[str, str], where: str) -> Any:
    """Replace every ``${NAME}`` inside the strings of a document.

    Raises:
        ConfigError: a name is not in ``paths``.
    """
    if isinstance(value, str):

        def path_of(found: re.Match[str]) -> str:
            if found[1] not in paths:
                raise ConfigError(f"{where}: nothing says what ${{{found[1]}}} stands for{suggestion(found[1], paths)}")
            return paths[found[1]]

        return _VARIABLE.sub(path_of, value)
    if isinstance(value, Mapping):
        return {key: substituted(item, paths, where) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, paths, where) for item in value]
    return value


def parse_config(document: Mapping[str, Any], base: Path) -> StudyConfig:
    """Validate a configuration given as a mapping; relative paths are relative to ``base``."""
    return absolute(validate(StudyConfig, dict(document), "configuration", None), base.resolve())


def _apply_override(document: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {_key_of(override)}: expected key=value, for example search.evaluations=10.")
    parsed, _ = parse_yaml(value, f"--set {_key_of(override)}")
    *parents, last = key.split(".")
    if len(parents) >= MAX_DEPTH or not all(key.split(".")):
        raise ConfigError(f"--set {_key_of(override)}: this is no key; write it as search.evaluations.")
    node: Any = document
    for parent in parents:
        if isinstance(node, dict) and node.get(parent) is None:  # an absent section, or one with nothing in it
            node[parent] = {}
        node = node[_place(override, node, parent)]
        if not isinstance(node, (dict, list)):
            raise ConfigError(f"--set {_key_of(override)}: '{clipped(parent)}' is not a section.")
    node[_place(override, node, last)] = parsed


def _key_of(override: str) -> str:
    """What of an override messages repeat: its value may hold a key or a password."""
    return clipped(override.partition("=")[0])


def _place(override: str, node: dict[str, Any] | list[Any], word: str) -> Any:
    """Where ``word`` leads in a section, or as a position in a list."""
    if isinstance(node, dict):
        return word
    if not (word.isascii() and word.isdigit() and len(word) < 10) or int(word) >= len(node):
        raise ConfigError(
            f"--set {_key_of(override)}: '{clipped(word)}' is not an index of the list (it has {len(node)} entries, "
            "counted from 0)."
        )
    return int(word)


def absolute(config: Model, base: Path) -> Model:
    """Make every relative path absolute; a model name that is not a folder, and does not begin like a path, stays a hub id."""
    changes: dict[str, Any] = {}
    for name, value in config:  # sections of options among them
        if isinstance(config, PoolConfig) and name == "files":
            changed: Any = tuple(absolute_place(item, base) or _absolute_value(item, base) for item in value)
            changed = value if changed == value else changed
        elif isinstance(config, (SearchConfig, FinalConfig)) and name in ("initial", "recipes"):
            changed = tuple(item if is_ready_name(item) else _absolute_value(item, base) for item in value)
            changed = value if changed == value else changed
        elif isinstance(config, IncumbentConfig) and name == "recipe":
            named = value in NO_RECIPE or is_ready_name(value)
            changed = value if named else str(_absolute_value(Path(value), base))
        else:
            changed = _absolute_value(value, base)
        if name in _LOCAL_OR_NAMED.get(type(config), ()) and isinstance(value, (str, tuple)):
            given = (value,) if isinstance(value, str) else value
            found = tuple(_local(item, base, name) for item in given)
            changed = value if found == given else found[0] if isinstance(value, str) else found
        if changed is not value:
            changes[name] = changed
    return config.model_copy(update=changes) if changes else config


def _place_problems(
    config: BaseModel, base: Path, place: tuple[int | str, ...] = ()
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Names of models and templates that can be neither looked for as a path nor meant as a name, with why."""
    for name, value in config:
        entries = value if isinstance(value, tuple) else (value,)
        for number, entry in enumerate(entries):
            here = (*place, name) if entries is not value else (*place, name, number)
            if isinstance(entry, BaseModel):
                yield from _place_problems(entry, base, here)
            elif isinstance(entry, str) and name in _LOCAL_OR_NAMED.get(type(config), ()):
                try:
                    _local(entry, base, name)
                except ConfigError as error:
                    yield here, str(error).removeprefix(f"{name}: ")


def _local(value: str, base: Path, key: str) -> str:
    local = base / expanded(value)
    try:
        return str(_tidied(local)) if local.exists() or value.startswith((".", "~")) else value
    except OSError as error:  # a name that no file can have, or a folder that may not be looked into
        raise ConfigError(f"{key}: '{clipped(value)}' cannot be a path here ({error.strerror}).") from error


def _tidied(path: Path) -> Path:
    """A path without ``.`` and ``..``, unless a folder before ``..`` is a link: the way up from there is another one."""
    shorter = os.path.normpath(path)
    return Path(shorter) if os.path.realpath(shorter) == os.path.realpath(path) else path


def _absolute_value(value: Any, base: Path) -> Any:
    if isinstance(value, Path):
        return _tidied(base / expanded(value))
    if isinstance(value, BaseModel):
        return absolute(value, base)
    if isinstance(value, tuple) and value:
        items = tuple(_absolute_value(item, base) for item in value)
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def config_schema() -> dict[str, Any]:
    """JSON schema of the configuration."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyConfig.model_json_schema()}


def to_yaml(config: StrictModel) -> str:
    """A configuration with every key, as YAML without comments."""
    return dump_yaml(config.model_dump(mode="json"))
