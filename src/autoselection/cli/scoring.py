"""The command ``score``: which signals, computed from what; options without any effect are refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from autoselection.cli import _completion
from autoselection.cli._common import DATA, ChatTemplate, Json, PoolPlace, Set, Verbose, app, emit, output, warn, words
from autoselection.errors import ConfigError, SignalError

if TYPE_CHECKING:
    from autoselection.tasks import TaskConfig

#: An option that is part of what another one gives.
_GIVES = {"--reward-label": "--reward-model"}


@app.command(rich_help_panel=DATA, epilog="Example: autoselection score pool --model models/base")
def score(
    places: PoolPlace,
    model: Annotated[Optional[str], typer.Option(help="Base model folder or hub id.")] = None,  # noqa: UP045
    chat_template: ChatTemplate = None,
    sae: Annotated[Optional[Path], typer.Option(help="SAE in sparsify format.")] = None,  # noqa: UP045
    signals: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Comma-separated signals (default: all possible).", autocompletion=_completion.signals),
    ] = None,
    recipe: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--for",
            metavar="RECIPE",
            help="Only the signals that this recipe (file or ready name) reads.",
            autocompletion=_completion.recipe,
        ),
    ] = None,
    embedding_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Sentence-transformers or static embedding model, folder or hub id."),
    ] = None,
    reward_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Sequence classifier that judges rows, folder or hub id."),
    ] = None,
    reward_label: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The classifier's label whose score is the reward (none: a regression head)."),
    ] = None,
    trajectory_model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Checkpoint for the loss trajectory (repeatable, in the order of training)."),
    ] = None,
    target: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="TASK=FILE", help="Target samples of a task, for MONA (repeatable)."),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Study configuration whose model, SAE, tasks and signal settings are used.",
            autocompletion=_completion.config,
        ),
    ] = None,
    overrides: Set = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Compute and cache the signals of a pool; of a study, with its model, SAE and tasks."""
    from autoselection.config import load_config
    from autoselection.language.chat import ChatOptions
    from autoselection.recipes import check_columns, load_recipe, recipe_signals
    from autoselection.report import print_scores
    from autoselection.signals import SignalsConfig, load_table, score_pool
    from autoselection.signals.families.sae import read_sae_info
    from autoselection.signals.score import obstacles
    from autoselection.study.named_pools import needed_options, open_named_pool

    if overrides and config is None:
        raise ConfigError("--set overrides keys of a configuration: name one with --config.")
    loaded = None if recipe is None else load_recipe(recipe)
    named = _named_signals(signals, None if loaded is None else recipe_signals(loaded), recipe)
    targets = _target_tasks(target or ())
    if sae is not None:
        read_sae_info(sae)  # a missing folder is reported first
    study = None if config is None else load_config(config, overrides or ())
    source = open_named_pool(places)
    study = study or source.config
    given = {
        "--model": model,
        "--chat-template": chat_template,
        "--sae": sae,
        "--target": target,
        "--embedding-model": embedding_model,
        "--reward-model": reward_model,
        "--reward-label": reward_label,
        "--trajectory-model": trajectory_model,
    }
    changes = {
        "embedding_model": embedding_model,
        "reward_model": reward_model,
        "reward_label": reward_label,
        "trajectory_models": tuple(trajectory_model) if trajectory_model else None,
    }
    settings = study.signals if study else SignalsConfig()
    settings = settings.model_copy(update={name: value for name, value in changes.items() if value is not None})
    named = list(settings.signals) if named is None and settings.signals is not None else named
    model = model or (study.model.path if study else None)
    sae = sae or (study.sae if study else None)
    tasks = _joined(study.tasks if study else (), targets)
    chat = study.model.chat_options() if study else ChatOptions()
    if chat_template is not None:
        chat = replace(chat, template=chat_template)
    blocked = obstacles(settings, model=model, sae=sae, tasks=tasks)
    for name in named or ():
        if name in blocked:
            options = needed_options([name])
            raise SignalError(
                f"The signal '{name}' cannot be computed: {blocked[name]}; give {options}, or leave it out."
            )
    warn(_effects({option for option, value in given.items() if value is not None}, named, blocked))
    report = score_pool(
        source.pool,
        settings,
        model=model,
        sae=sae,
        tasks=tasks,
        signals=named,
        chat_template=chat,
        trust_remote_code=study.model.trust_remote_code if study else False,
    )
    if loaded is not None:
        check_columns(loaded, load_table(source.pool))
    if as_json:
        emit(report.to_dict(), True, "")
    else:
        print_scores(report, source.name, output, verbose=verbose)
    warn(report.remarks())


def _named_signals(signals: str | None, read: Sequence[str] | None, recipe: Path | None) -> list[str] | None:
    """The signals that were asked for; None for all that are possible.

    Args:
        read: those that the recipe reads, if one is given.

    Raises:
        ConfigError, SignalError: none is named, or one does not exist.
    """
    from autoselection.signals.registry import signal_names
    from autoselection.wording import suggestion

    if read is not None:
        if signals is not None:
            raise ConfigError("--signals and --for both say which signals to compute: give one of them.")
        if not read:
            raise ConfigError(f"--for {recipe}: the recipe reads no signal, so there is nothing to compute.")
        return list(read)
    if signals is None:
        return None
    named = words(signals)
    if not named:
        raise ConfigError(
            "--signals names no signal: give names with commas between them, such as tokens,ngram_entropy."
        )
    for name in named:
        if name not in signal_names():
            raise SignalError(f"There is no signal '{name}'{suggestion(name, signal_names())}")
    return named


def _target_tasks(texts: Sequence[str]) -> list[TaskConfig]:
    """The tasks of ``--target``, each with its samples read once.

    Raises:
        ConfigError: another form, a task named twice, or a file that is missing, wrong or without items.
    """
    from autoselection.tasks import TaskConfig, load_items
    from autoselection.validation import validate

    tasks: dict[str, TaskConfig] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or not name or not path:
            raise ConfigError(f"--target {text}: expected TASK=FILE.")
        if name in tasks:
            raise ConfigError(f"--target {text}: the task '{name}' was given before; one file holds all its samples.")
        tasks[name] = validate(TaskConfig, {"name": name, "target": path, "dev": path}, f"--target {text}")
        load_items(tasks[name], "target")
    return list(tasks.values())


def _joined(own: Sequence[TaskConfig], targets: Sequence[TaskConfig]) -> tuple[TaskConfig, ...]:
    both = {task.name for task in own} & {task.name for task in targets}
    if both:
        raise ConfigError(
            f"--target {min(both)}=…: the configuration has a task of this name; give the target another name, or change "
            "the configuration's."
        )
    return (*own, *targets)


def _effects(given: Collection[str], named: Sequence[str] | None, blocked: Mapping[str, str]) -> list[str]:
    """A sentence about a model that nothing reads.

    Args:
        given: options that were given.
        named: the signals asked for; None: all that are not ``blocked``, by name with the reason.

    Raises:
        ConfigError: another option would have no effect.
    """
    from autoselection.signals import default_registry

    registry = default_registry()
    said = []
    for option in sorted(given):
        uses = registry.rendered() if option == "--chat-template" else registry.users(_GIVES.get(option, option))
        if named is None:
            stopped = [name for name in uses if name in blocked]
            if len(stopped) == len(uses):
                raise ConfigError(f"{option} has no effect: it is for {_list(uses)}, and {blocked[min(stopped)]}.")
        elif not uses & set(named):
            problem = f"{option} has no effect: it is for {_list(uses)}, and the signals asked for are {_list(named)}"
            if option != "--model":
                raise ConfigError(f"{problem}; leave it out, or ask for one of these.")
            said.append(f"{problem}.")
    return said


def _list(names: Collection[Any]) -> str:
    return ", ".join(sorted(map(str, names)))
