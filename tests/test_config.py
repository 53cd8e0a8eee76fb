"""The configuration: one sentence for every mistake, with file, line and field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from autoselection.cli import _completion
from autoselection.config import StudyConfig, config_schema, load_config, parse_config, to_yaml
from autoselection.config_text import MAIN_KEYS, commented_yaml
from autoselection.errors import ConfigError, EvaluationError, PoolError, RecipeError, SignalError
from autoselection.export.llamafactory import name_problem
from autoselection.language.chat.options import chat_template_text
from autoselection.language.models import resolve_model
from autoselection.pool import Pool
from autoselection.pool.addresses import shown
from autoselection.recipes import Recipe
from autoselection.reproduce.checks import model_check, parameters_of
from autoselection.schema import Configured
from autoselection.search import SearchConfig
from autoselection.signals.families.sae import read_sae_info
from autoselection.tasks import TaskConfig
from autoselection.tasks.convert.sources import source_files
from autoselection.validation import nested_model

GOOD: dict[str, Any] = {
    "pool": {"files": ["pool.jsonl"]},
    "model": {"path": "base"},
    "tasks": [{"name": "addition", "dev": "dev.jsonl"}],
}


def _write(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _refused(folder: Path, document: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(_write(folder, document))
    return str(error.value)


def test_paths_are_relative_to_the_file_and_hub_ids_stay(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, GOOD))
    assert config.pool.files == (tmp_path / "pool.jsonl",)
    assert config.tasks[0].dev == tmp_path / "dev.jsonl"
    assert config.model.path == "base"
    (tmp_path / "base").mkdir()
    assert load_config(_write(tmp_path, GOOD)).model.path == str(tmp_path / "base")


def test_the_way_up_from_a_link_is_that_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/away")
    for name in ("rows.jsonl", "dev.jsonl", "base"):
        (tmp_path / "far" / name).write_text("")
    document = {
        "pool": {"files": ["link/../rows.jsonl", "far/away/../rows.jsonl"]},
        "model": {"path": "link/../base"},
        "tasks": [{"name": "addition", "dev": "./link/../dev.jsonl"}],
    }
    config = load_config(_write(tmp_path, document))
    for found in (*config.pool.files, config.tasks[0].dev, config.model.path):
        assert found is not None and Path(found).is_absolute() and Path(found).is_file()
    assert config.pool.files[1] == tmp_path / "far" / "rows.jsonl"


def test_a_file_in_utf16_is_the_same_configuration(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)
    as_written = load_config(path)
    path.write_bytes(path.read_text().encode("utf-16"))
    assert load_config(path) == as_written


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pool", {"path": "~no-such-user/x"}),
        ("pool", {"files": ["~no-such-user/x"]}),
        ("model", {"path": "~no-such-user/x", "chat_template": "~no-such-user/t.jinja"}),
        ("sae", "~no-such-user/x"),
        ("tasks", [{"name": "a", "dev": "~no-such-user/x", "test": "~no-such-user/y"}]),
        ("tasks", [{"name": "a", "lm_eval": "mine", "lm_eval_path": "~no-such-user/x"}]),
        ("final", {"recipes": ["~no-such-user/x.yaml"]}),
        ("incumbent", {"recipe": "~no-such-user/x.yaml"}),
        ("signals", {"embedding_model": "~no-such-user/x", "trajectory_models": ["~no-such-user/x"]}),
    ],
)
def test_a_tilde_before_no_user_is_part_of_a_name(tmp_path: Path, key: str, value: Any) -> None:
    text = to_yaml(load_config(_write(tmp_path, {**GOOD, key: value})))
    assert "~no-such-user/" in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", {"path": "x" * 400}),
        ("model", {"path": "m", "chat_template": "x" * 400}),
        ("signals", {"embedding_model": "x" * 400}),
        ("signals", {"reward_model": "x" * 400}),
        ("signals", {"trajectory_models": ["a", "x" * 400]}),
        ("search", {"fidelity": {"models": [{"path": "x" * 400}]}}),
    ],
)
def test_a_name_that_is_too_long_for_the_system_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"(path|chat_template|model|models): 'xxx.*…' cannot be a path here"):
        parse_config({**GOOD, key: value}, tmp_path)
    where = r"study\.yaml:\d+: (model|signals|search\.fidelity\.models\.0)\.\w+(\.1)?: 'xxx.*…' cannot be a path here"
    assert re.search(where, _refused(tmp_path, {**GOOD, key: value}))


def test_a_file_that_begins_with_a_tilde_is_found(tmp_path: Path) -> None:
    (tmp_path / "~$tickets.csv").write_text("prompt,completion\nq,a\n")
    config = load_config(_write(tmp_path, {**GOOD, "pool": {"files": ["~$tickets.csv"]}}))
    assert config.pool.files == (tmp_path / "~$tickets.csv",) and config.pool.files[0].is_file()


def test_a_home_of_no_user_is_a_missing_file_everywhere() -> None:
    with pytest.raises(EvaluationError, match="no model folder ~no-such-user/m"):
        resolve_model("~no-such-user/m")
    with pytest.raises(EvaluationError, match=r"no file ~no-such-user/t\.jinja"):
        chat_template_text("~no-such-user/t.jinja")
    with pytest.raises(SignalError, match="no SAE folder ~no-such-user/s"):
        read_sae_info("~no-such-user/s")
    with pytest.raises(ConfigError, match="no such file or folder"):
        source_files(["~no-such-user/q.csv"])
    assert model_check("a model", "~no-such-user/m").state == "missing" and parameters_of("~no-such-user/m") is None
    assert _completion.study("~no-such-user/") == []


def test_unknown_keys_are_refused_with_line_and_suggestion(tmp_path: Path) -> None:
    message = _refused(tmp_path, {**GOOD, "serach": {"evaluations": 3}})
    assert "study.yaml:9" in message and "'serach'" in message and "did you mean 'search'?" in message
    message = _refused(tmp_path, {**GOOD, "search": {"evaluation": 3}})
    assert "'search.evaluation'" in message and "did you mean 'evaluations'?" in message


@pytest.mark.parametrize(
    "section", [{"search": {"llm": "URL"}}, {"evaluation": {"engine": "openai", "endpoint": "URL"}}]
)
def test_a_password_in_an_address_is_not_repeated(tmp_path: Path, section: dict[str, Any]) -> None:
    for address in ("http://me:hunter2pass@host/v1", "ftp://me:hunter2pass@host", "http://me:hunter2pass@ho st/v1"):
        text = yaml.safe_dump({**GOOD, **section}).replace("URL", f"{{base_url: '{address}'}}")
        (tmp_path / "study.yaml").write_text(text)
        with pytest.raises(ConfigError, match="leave user, password and query out of the address") as caught:
            load_config(tmp_path / "study.yaml")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "search.llm.base_url=https://me:hunter2pass@host",
        "search.llm.api_key=hunter2pass",
        "search.llm.api_key.x.y=hunter2pass",
        "search.llm={api_key: hunter2pass}",
        "tasks.9=hunter2pass",
        "version.x=hunter2pass",
        "search..x=hunter2pass",
        "=hunter2pass",
        "pool={files: ['s3://me:hunter2pass@b/a.jsonl']}",
        "pool={files: 's3://me:hunter2pass@b/a.jsonl'}",
        "pool={path: 's3://me:hunter2@pass@b/a.jsonl'}",
    ],
)
def test_a_secret_from_the_command_line_is_not_repeated(tmp_path: Path, given: str) -> None:
    path = _write(tmp_path, {**GOOD, "version": 1})
    with pytest.raises(ConfigError, match=rf"^--set {re.escape(given.partition('=')[0])}: ") as caught:
        load_config(path, [given])
    assert "hunter2" not in str(caught.value) and "pass@" not in str(caught.value)


def test_users_and_passwords_of_raw_files_are_not_stored(tmp_path: Path) -> None:
    for address in ("s3://me:hunter2pass@b/a.jsonl", "https://hunter2@host/*.jsonl"):
        message = _refused(tmp_path, {**GOOD, "pool": {"files": ["rows.jsonl", address]}})
        assert "pool.files.1: leave user and password out of the address" in message and "hunter2" not in message
    kept = load_config(_write(tmp_path, {**GOOD, "pool": {"files": ["s3://b/a@b.jsonl", "org/name@main"]}}))
    assert [shown(file) for file in kept.pool.files] == ["s3://b/a@b.jsonl", "hf://datasets/org/name@main"]


def test_a_key_that_is_a_number_is_unknown_at_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)
    path.write_text(path.read_text() + "search:\n  evaluations: 3\n  12: 5\n")
    with pytest.raises(ConfigError, match=r"study\.yaml:11: unknown key 'search\.12'; known: "):
        load_config(path)


def test_a_missing_key_and_a_value_out_of_range_are_named(tmp_path: Path) -> None:
    assert "'model' is missing" in _refused(tmp_path, {k: v for k, v in GOOD.items() if k != "model"})
    message = _refused(tmp_path, {**GOOD, "search": {"evaluations": 0}})
    assert "search.evaluations" in message and "(got 0)" in message


@pytest.mark.parametrize("name", ["v1.", "x" * 101])
def test_a_study_has_no_name_that_its_export_would_refuse(name: str, tmp_path: Path) -> None:
    message = _refused(tmp_path, {**GOOD, "name": name})
    assert "study.yaml" in message and "no name for a dataset of LLaMA-Factory" in message
    assert load_config(_write(tmp_path, {**GOOD, "name": name, "export": {"sharegpt": False}})).name == name
    shorter = load_config(_write(tmp_path, {**GOOD, "name": name[:-1]})).name
    assert name_problem(shorter) is None and name_problem(name) is not None


def test_task_names_are_unique_and_a_pool_has_one_source(tmp_path: Path) -> None:
    twice = {**GOOD, "tasks": [GOOD["tasks"][0], GOOD["tasks"][0]]}
    assert "used twice" in _refused(tmp_path, twice)
    assert "exactly one" in _refused(tmp_path, {**GOOD, "pool": {"files": ["a"], "path": "b"}})


def test_a_missing_file_and_broken_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "nothing.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("pool: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(broken)


def test_any_key_can_be_overridden(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)
    config = load_config(path, ["search.evaluations=7", "evaluation.sft.max_steps=5", "tasks.0.dev_limit=3"])
    assert (config.search.evaluations, config.evaluation.sft.max_steps, config.tasks[0].dev_limit) == (7, 5, 3)
    with pytest.raises(ConfigError, match="key=value"):
        load_config(path, ["search"])
    with pytest.raises(ConfigError, match="did you mean"):
        load_config(path, ["search.evaluation=7"])


def test_a_value_from_the_command_line_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = _write(tmp_path, {**GOOD, "search": {"evaluations": 5}})
    for given, said in (
        ("search.evaluations=zero", "search.evaluations: expected a whole number (got 'zero')."),
        ("tasks.0.metrik=x", "unknown key 'tasks.0.metrik'; did you mean 'metric'?"),
        (
            "signals.signals=[repetitoin]",
            "signals.signals: there is no signal 'repetitoin'; did you mean 'repetition'?",
        ),
        ("executor={wokers: 2}", "unknown key 'executor.wokers'; did you mean 'workers'?"),
        (
            "search.operators=[ngram_entrpy]",
            "search.operators: unknown operator 'ngram_entrpy'; did you mean 'ngram_entropy'?",
        ),
    ):
        with pytest.raises(ConfigError) as refused:
            load_config(path, ["name=other", given])
        assert str(refused.value) == f"--set {given.partition('=')[0]}: {said}"
    with pytest.raises(ConfigError) as refused:
        load_config(path, ["executor={wokers: 2}", "executor.wrkers=3", "signals.options.lm.rank=3"])
    assert [line.partition(": ")[0] for line in str(refused.value).splitlines()] == [
        "--set signals.options.lm.rank",
        "--set executor",
    ]
    with pytest.raises(ConfigError, match=r"study\.yaml:\d+: search\.evaluations"):  # what is the file's keeps its line
        load_config(_write(tmp_path, {**GOOD, "search": {"evaluations": "zero"}}), ["search.seed=3"])


def test_the_short_template_has_the_main_keys_and_all_else_by_default(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(commented_yaml(GOOD, MAIN_KEYS))
    assert to_yaml(load_config(path)) == to_yaml(load_config(_write(tmp_path, GOOD)))
    document = yaml.safe_load(path.read_text())
    assert set(document["evaluation"]) == {"sft", "seeds"} and set(document["search"]) == {"evaluations"}
    lines = [line for line in path.read_text().splitlines() if line and not line.lstrip().startswith("#")]
    assert len(lines) < 30


def test_the_commented_template_is_the_schema_and_loads(tmp_path: Path) -> None:
    text = commented_yaml(GOOD)
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert to_yaml(load_config(path)) == to_yaml(load_config(_write(tmp_path, GOOD)))
    undocumented = [
        f"{name}.{key}"
        for name, model in config_schema()["$defs"].items()
        for key, field in model.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert undocumented == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sae={path: x}", r"sae: expected a path, found keys and values\."),
        ("sae=''", r"sae: a path cannot be empty \(got ''\)\."),
        ("pool.files=['']", r"pool\.files: a path cannot be empty"),
        ("tasks.0.dev=''", r"tasks\.0\.dev: a path cannot be empty \(got ''\)\."),
        ("model.path=''", r"model\.path: expected text of at least 1 character\(s\) \(got ''\)\."),
        ("tasks=[]", r"tasks: expected at least 1 in the list, found 0\."),
        ("final.seeds=[]", r"final\.seeds: expected at least 1 in the list, found 0\."),
        ("search=[]", r"search: expected keys and values, found a list\."),
        ("search.operators=3", r"search\.operators: expected a list \(got 3\)\."),
        ("search.evaluations=null", r"search\.evaluations: expected a whole number, found nothing\."),
        ("search.surrogate.kappa=-1", r"search\.surrogate\.kappa: expected at least 0 \(got -1\)\."),
        ("final.enabled=maybe", r"final\.enabled: expected true or false \(got 'maybe'\)\."),
        ("evaluation.sft.method=x", r"evaluation\.sft\.method: expected 'full' or 'lora' \(got 'x'\)\."),
    ],
)
def test_wrong_values_are_told_in_plain_words(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as told:
        load_config(_write(tmp_path, GOOD), [override])
    assert not re.search(r"pathlib|tuple|class|NoneType|instance|[Ii]nput should", str(told.value))


@pytest.mark.parametrize(
    ("text", "what"), [("", "nothing"), ("# nothing\n", "nothing"), ("[]", "a list"), ("3", "a number")]
)
def test_files_that_hold_no_configuration_say_what_they_hold(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"expected keys and values, found {what}"):
        load_config(file)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(PoolError, match=r"'rows' is missing; .*autoselection ingest FILE… --out .* --overwrite"):
        Pool.open(tmp_path)
    if what == "nothing":
        with pytest.raises(RecipeError, match="not nothing"):
            Recipe.load(file)


def test_a_metric_of_the_search_is_that_of_tasks_which_name_none(tmp_path: Path) -> None:
    tasks = [{"name": "a", "dev": "a.jsonl"}, {"name": "b", "dev": "b.jsonl", "metric": "exact_match"}]
    document = {"pool": {"path": "p"}, "model": {"path": "m"}, "tasks": tasks}
    assert [task.metric for task in parse_config(document, tmp_path).tasks] == ["nll", "exact_match"]
    config = parse_config({**document, "search": {"metric": "blend"}}, tmp_path)
    assert [task.metric for task in config.tasks] == ["blend", "exact_match"]
    # It stands in the tasks alone: what is written says what counts, and reads as the same.
    copy = yaml.safe_load(to_yaml(config))
    assert "metric" not in copy["search"] and parse_config(copy, tmp_path).tasks == config.tasks
    with pytest.raises(ConfigError, match=r"search\.metric: every task names a metric of its own"):
        parse_config({**copy, "search": {"metric": "accuracy"}}, tmp_path)
    with pytest.raises(ConfigError, match=r"search\.metric: expected 'nll'.*got 'loss'"):
        parse_config({**document, "search": {"metric": "loss"}}, tmp_path)
    made = StudyConfig(
        pool=config.pool,
        model=config.model,
        tasks=(TaskConfig(name="a", dev=Path("a")), TaskConfig(name="b", dev=Path("b"), metric="nll")),
        search=SearchConfig(metric="accuracy"),
    )
    assert [task.metric for task in made.tasks] == ["accuracy", "nll"]


def test_a_value_of_none_of_several_kinds_is_complained_of_once():
    from autoselection.schema import StrictModel
    from autoselection.validation import validate

    class Several(StrictModel):
        rows: tuple[str | int, ...]
        recipe: dict[str, Any] | str

    with pytest.raises(ConfigError) as error:
        validate(Several, {"rows": [None, "a", 1.5, 3], "recipe": [1]}, "call")
    assert str(error.value).splitlines() == [
        "call: rows.0: expected text or a whole number, found nothing.",
        "call: rows.2: expected text or a whole number (got 1.5).",
        "call: recipe: expected keys and values or text, found a list.",
    ]


def _keys(model: type[BaseModel], above: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    """Every key of the schema, lists by their first entry, with what it may be."""
    for name, field in model.model_fields.items():
        place = (*above, field.alias or name)
        yield place, field.annotation
        inner = nested_model(field.annotation)
        if inner is not None:
            yield from _keys(inner, (*place, 0) if "tuple" in str(field.annotation) else place)
    if issubclass(model, Configured):
        for name, options in model.sections().items():
            yield from _keys(options, (*above, name))


def _with(place: tuple[int | str, ...], value: Any) -> dict[str, Any]:
    """A configuration with a value at a key."""
    document: Any = {"pool": {"path": "p"}, "model": {"path": "m"}, "tasks": [{"name": "a", "dev": "d"}]}
    inside = document
    for part, following in pairwise(place):
        empty: Any = [{"name": "x", "path": "y"}] if following == 0 else {}
        inside = inside[part] if isinstance(inside, list) else inside.setdefault(part, empty)
    inside[place[-1]] = value
    return dict(document)


NUMBERS = [
    (place, "[" in str(kind).split("|")[0])
    for place, kind in _keys(StudyConfig)
    if any(word in str(kind) for word in ("int", "float"))
    and not any(w in str(kind) for w in ("Any", "Literal", "bool"))
]


SEEDS = [(place, "tuple" in str(kind)) for place, kind in _keys(StudyConfig) if place[-1] in ("seed", "seeds")]


@pytest.mark.parametrize(
    ("place", "several"), SEEDS, ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else ""
)
def test_a_seed_is_a_number_from_0(place: tuple[int | str, ...], several: bool) -> None:
    wrong = [[-1], [2**32], [0, 0], []] if several else [-1]
    for value in wrong:
        with pytest.raises(ConfigError, match=r"expected (different seeds|at least)") as caught:
            parse_config(_with(place, value), Path())
        assert "\n" not in str(caught.value)


def test_the_schema_has_its_seeds() -> None:
    assert {("final", "seeds"), ("evaluation", "seeds"), ("search", "seed")} <= {place for place, _ in SEEDS}


def test_the_schema_has_its_numbers() -> None:
    places = {place for place, _ in NUMBERS}
    assert (
        len(places) > 80
        and {("search", "evaluations"), ("search", "llm", "timeout"), ("evaluation", "seeds")} <= places
    )


@pytest.mark.parametrize(
    ("place", "several"), NUMBERS, ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else ""
)
def test_truth_is_no_number(place: tuple[int | str, ...], several: bool) -> None:
    """YAML reads yes, on and true as truth: ``contamination_limit: yes`` was a limit of 1."""
    for value in (True, False):
        with pytest.raises(ConfigError, match=r"expected (a|a whole) number \(got (True|False)\)"):
            parse_config(_with(place, [value] if several else value), Path())
