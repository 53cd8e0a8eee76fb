"""Numbers on the command line: seeds from 0, prices and budgets that are finite, wherever one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from command_line import Outcome

from autoselection.cli import app
from autoselection.errors import SignalError
from autoselection.pool import Pool
from autoselection.signals import train_sae


def _options(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every option of the program, with its command's name."""
    for inner, found in getattr(command, "commands", {}).items():
        yield from _options(found, f"{name} {inner}".strip())
    for option in command.params:
        yield name, option


SEED = [(name, option) for name, option in _options(typer.main.get_command(app)) if "--seed" in option.opts]


def test_the_program_has_its_seeds() -> None:
    assert {"diagnose", "evaluate", "benchmark", "sae train", "pool show", "apply"} <= {name for name, _ in SEED}


@pytest.mark.parametrize(("name", "option"), SEED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_seed_is_not_below_0(name: str, option: Any) -> None:
    assert (option.min, option.max) == (0, 2**32 - 1)


def test_a_wrong_seed_is_told_in_a_sentence(command: Callable[..., Outcome]) -> None:
    found = command("diagnose", "no-study", "--seed=-1")
    assert found.code == 2 and "Invalid value for '--seed'" in found.err


@pytest.mark.parametrize("option", ["features", "k", "tokens", "batch-size", "context"])
@pytest.mark.parametrize("number", [0, -3])
def test_an_sae_is_not_trained_on_nothing(command: Callable[..., Outcome], option: str, number: int) -> None:
    found = command("sae", "train", "no-pool", "--model", "m", "--out", "s", f"--{option}={number}")
    assert found.code == 2 and f"Invalid value for '--{option}'" in found.err
    name = {"features": "num_latents", "tokens": "max_tokens"}.get(option, option.replace("-", "_"))
    with pytest.raises(SignalError, match=rf"{name} must be at least [12], not {number}\."):
        train_sae(cast(Pool, None), "m", Path("s"), **{name: number})


@pytest.mark.parametrize("price", ["inf", "nan", "1e300", "-1"])
@pytest.mark.parametrize("asked", [("report", "no-study"), ("search", "no.yaml", "--dry-run")])
def test_a_price_is_one_that_can_be_reckoned_with(
    command: Callable[..., Outcome], asked: tuple[str, ...], price: str
) -> None:
    found = command(*asked, f"--price={price}")
    assert found.code == 2 and "Invalid value for '--price'" in found.err


@pytest.mark.parametrize("budgets", ["inf", "0.5,nan", "1e999"])
def test_budgets_are_finite(command: Callable[..., Outcome], budgets: str) -> None:
    found = command("compute", "no-study", f"--budgets={budgets}")
    assert found.code == 2 and f"--budgets {budgets}: expected numbers with commas between them" in found.err


@pytest.mark.parametrize("seeds", ["-1", "1,1", ",", str(2**32)])
def test_seeds_are_different_numbers_from_0(command: Callable[..., Outcome], seeds: str) -> None:
    found = command("compute", "no-study", "--budgets", "0.5,1", f"--seeds={seeds}")
    assert found.code == 2 and f"--seeds {seeds}: expected different seeds from 0 to 4294967295" in found.err
