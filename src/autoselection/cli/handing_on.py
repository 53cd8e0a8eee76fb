"""Commands that hand rows on: handoff, push."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from autoselection.cli import _completion
from autoselection.cli._common import RECIPES, Json, app, emit, output, warn


class TrainedBy(str, Enum):
    """Trainers that a study is handed to."""

    trl = "trl"
    llamafactory = "llamafactory"
    axolotl = "axolotl"
    open_instruct = "open-instruct"


@app.command(rich_help_panel=RECIPES, epilog="Example: autoselection handoff study --for trl --out train")
def handoff(
    study_dir: Annotated[Path, typer.Argument(help="Study directory, finished.", autocompletion=_completion.study)],
    trainer: Annotated[TrainedBy, typer.Option("--for", help="The trainer.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the rows and the configuration.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier one.")] = False,
    as_json: Json = False,
) -> None:
    """Write a study's rows, and a configuration that trains on them with the study's own hyper-parameters."""
    from autoselection.study import Study
    from autoselection.study.handoff import hand_off

    found = hand_off(Study(study_dir.resolve()), trainer.value, out, overwrite=overwrite)
    if as_json:
        emit(found.to_dict(), True, "")
        return
    output.say(f"Wrote {found.report.rows:,} rows and {found.config}. Train: {found.command}")
    warn(found.differs)


@app.command(rich_help_panel=RECIPES, epilog="Example: autoselection push study/best/hf_dataset my-org/my-subset")
def push(
    folder: Annotated[Path, typer.Argument(help="Dataset folder with a card, as apply and studies write it.")],
    name: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Data set of the hub; made if it is not there.")],
    public: Annotated[bool, typer.Option("--public", help="One that is made is for everybody to see.")] = False,
    as_json: Json = False,
) -> None:
    """Push a dataset folder to the Hugging Face hub, with its card."""
    from autoselection.export import push_dataset

    found = push_dataset(folder, name, private=not public)
    if as_json:
        emit(found.to_dict(), True, "")
        warn(found.remarks)
        return
    output.say(
        f"Pushed {len(found.files):,} files to {found.url}; `hf://datasets/{found.name}@{found.commit}` reads them again."
    )
    warn(found.remarks)
