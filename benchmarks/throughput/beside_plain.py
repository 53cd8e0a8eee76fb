"""Our way beside a plain loop, on the same units of work (rows, questions): the lines of signals and scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.throughput.names import OURS, PLAIN
from benchmarks.throughput.timing import Seconds, clock, failure, freed, grown, memory, rate, since
from benchmarks.throughput.work import Work

#: What does so many units of work, from the first on.
Method = Callable[[int], Any]


@dataclass(frozen=True)
class _Done:
    """Runs of a method, all of ``size`` units; ``result`` and ``memory`` are the last one's."""

    size: int
    times: Sequence[Seconds]
    result: Any
    memory: dict[str, float]


def beside_plain(
    part: str,
    work: Work,
    methods: Mapping[str, Method],
    describe: Callable[[int], Mapping[str, Any]],
    difference: Callable[[Any, Any], float | None],
    *,
    most: int,
    repeats: int,
    seconds: float | None,
) -> Iterator[dict[str, Any]]:
    """The line of the plain loop, and then ours with its difference from that and the ratio of their rates.

    Args:
        methods: ours and the plain loop, by name.
        describe: what the line of so many units says of them; ``tokens`` are their tokens.
        difference: of our result from the plain loop's.
        most: units of work.
        repeats: runs of each method, which alternate, of all units.
        seconds: if given, each method in turn gets half of them, and as many units as fit. One that fails has a line that
            says why, and the other has its own all the same; without a plain loop, ours has no difference and no ratio.
    """
    done: dict[str, _Done] = {}
    if seconds is None:
        done = _alternating(work, methods, most, repeats)
    rates: dict[str, float] = {}
    for name in (PLAIN, OURS):
        failed = None
        if seconds is not None:
            try:
                done[name] = _in_time(work, methods[name], most, seconds / 2)
            except Exception as error:  # noqa: BLE001 - what one method cannot do must not cost the other its line
                failed = failure(part, name, error)
        if failed is not None:  # the error, and what its frames held, are gone
            yield failed
            continue
        found = done[name]
        described = dict(describe(found.size))
        line = rate(part, name, found.times, described.pop("tokens"), work) | described
        rates[name] = line["tokens_per_s"]
        if name == OURS and PLAIN in rates:
            line["difference"] = difference(found.result, done[PLAIN].result)
            line[f"ratio_to_{PLAIN}"] = rates[OURS] / rates[PLAIN]
        yield line | found.memory


def _alternating(work: Work, methods: Mapping[str, Method], most: int, repeats: int) -> dict[str, _Done]:
    for run in methods.values():
        run(2)
    times: dict[str, list[Seconds]] = {name: [] for name in methods}
    done: dict[str, _Done] = {}
    for _ in range(repeats):
        for name, run in methods.items():
            freed(work.device)
            started = clock(work.device)
            result = run(most)
            times[name].append(since(started, work.device))
            done[name] = _Done(most, times[name], result, memory(work.device))
    return done


def _in_time(work: Work, run: Method, most: int, seconds: float) -> _Done:
    freed(work.device)
    timed = grown(lambda count: lambda: run(count), seconds, most, lambda: clock(work.device))
    return _Done(timed.size, [timed.seconds], timed.result, memory(work.device))
