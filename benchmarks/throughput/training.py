"""Rates of training, by method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.throughput.names import FROZEN, OURS, PACKED, PLAIN
from benchmarks.throughput.operations import counted_weights, training_operations
from benchmarks.throughput.timing import Seconds, clock, freed, grown, memory, rate, since
from benchmarks.throughput.trainers import TRAINERS
from benchmarks.throughput.work import Ran, Work


def training(work: Work, repeats: int, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A line a trainer, when all have run."""
    found: dict[str, list[Seconds]] = {name: [] for name in methods}
    ran: dict[str, Ran] = {}
    held: dict[str, dict[str, float]] = {}
    parameters: dict[str, int] = {}
    for _ in range(repeats):
        for name in methods:
            freed(work.device)
            model = work.model()
            parameters = counted_weights(model)
            started = clock(work.device)
            ran[name] = TRAINERS[name](work, model)
            found[name].append(since(started, work.device))
            held[name] = memory(work.device)
            del model
    for name in methods:
        line = _trained_line(name, found[name], ran[name], work, parameters) | held[name]
        if name == OURS and PLAIN in ran:
            line["difference"] = _difference(ran[OURS].losses, ran[PLAIN].losses)
        for other in methods:
            if other != name and name == OURS:
                line[f"ratio_to_{other}"] = (
                    line["tokens_per_s"] / rate("", "", found[other], work.tokens, work)["tokens_per_s"]
                )
        yield line


def training_for(work: Work, seconds: float, name: str, first: dict[str, float]) -> Iterator[dict[str, Any]]:
    """One trainer, with as many steps as fit; ``first`` keeps first losses by method."""
    parameters: dict[str, int] = {}

    def make(steps: int) -> Callable[[], Ran]:
        freed(work.device)
        model = work.model()
        parameters.update(counted_weights(model))
        return lambda: TRAINERS[name](work.steps(steps), model)

    timed = grown(make, seconds, 1000, lambda: clock(work.device))
    did = work.steps(timed.size)
    line = _trained_line(name, [timed.seconds], timed.result, did, parameters) | memory(work.device)
    if timed.unit is not None:
        line["step_tokens_per_s"] = did.tokens / timed.size / timed.unit
    first[name] = line["first_loss"]
    pair = {PLAIN: OURS, OURS: PLAIN, PACKED: PLAIN}.get(name)
    if pair in first:
        line[f"difference_from_{pair}"] = _difference([first[name]], [first[pair]])
    yield line


def _trained_line(
    name: str, times: Sequence[Seconds], ran: Ran, work: Work, parameters: Mapping[str, int]
) -> dict[str, Any]:
    operations = training_operations(**parameters, tokens=work.tokens, responses=work.responses, frozen=name == FROZEN)
    return rate("training", name, times, work.tokens, work) | {
        "responses": work.responses,
        "steps": len(work.batches),
        "passes": ran.passes,
        **({} if ran.packed is None else {"packed": ran.packed}),
        "first_loss": ran.losses[0],
        "parameters": parameters["parameters"],
        "operations": operations,
    }


def _difference(ones: Sequence[float], others: Sequence[float]) -> float:
    """The largest relative difference."""
    return max(abs(one - other) / abs(other) for one, other in zip(ones, others, strict=True))
