"""What a pool is made of: drawn from one distribution, with demands only where the family needs a pool of a kind.

Nothing here was chosen by how a pool turned out, and no pool is dropped or drawn again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.pools.calls import CALLS
from benchmarks.pools.faults import TEXT_FAULTS
from benchmarks.pools.problems import Skill
from benchmarks.pools.scripts import OTHER_SCRIPTS
from benchmarks.pools.skills import LATIN

SEED = 20_261_129
SKILLS: dict[str, Skill] = LATIN | OTHER_SCRIPTS | CALLS
MOST_SOURCES, LEAST_ROWS, MOST_ROWS = 40, 1_000, 20_000
MOST_FAULTS, MOST_OFF_TARGET, MOST_COPIED = 0.6, 0.5, 0.4
SOURCE_ROWS = 20
"""Smallest source."""


@dataclass(frozen=True)
class Demand:
    """What the family needs of a pool; everything else is drawn.

    Attributes:
        clean: no faults, all rows on target, no copies: the right answer is to keep everything.
        skills: where its target skills come from: ``calls`` takes at least two that call tools.
        sources: their number, or None.
    """

    clean: bool = False
    skills: Literal["latin", "scripts", "calls"] = "latin"
    sources: int | None = None


DEMANDS: dict[str, Demand] = {
    "ash": Demand(),
    "birch": Demand(),
    "cedar": Demand(),
    "elm": Demand(clean=True),
    "fir": Demand(clean=True),
    "hazel": Demand(skills="scripts"),
    "larch": Demand(skills="calls"),
    "maple": Demand(sources=1),
    "oak": Demand(sources=MOST_SOURCES),
    "pine": Demand(),
}
NAMES = tuple(DEMANDS)


@dataclass(frozen=True)
class Source:
    """One source: how many rows, which target skills, and which shares of its rows are what.

    Attributes:
        off_target: share of rows about skills that no task asks for.
        copied: share of rows that are near copies of another row of the source.
        faults: share of rows with each fault.
        rewording: share of questions not asked in the tasks' words.
    """

    name: str
    rows: int
    skills: tuple[str, ...]
    off_target: float
    copied: float
    faults: tuple[tuple[str, float], ...]
    rewording: float


@dataclass(frozen=True)
class Specification:
    """A pool: its name, its tasks (names of skills), the skills that are off target, and its sources."""

    name: str
    targets: tuple[str, ...]
    off_target: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def rows(self) -> int:
        return sum(source.rows for source in self.sources)

    @property
    def seed(self) -> str:
        """Of everything that is drawn for the pool."""
        return f"{SEED}/{self.name}"


def specification(name: str) -> Specification:
    """The specification of a pool of the family.

    Raises:
        KeyError: there is no such pool.
    """
    return draw(name, DEMANDS[name])


def draw(name: str, demand: Demand) -> Specification:
    """A specification from the family's distribution."""
    rng = random.Random(f"{SEED}/{name}/specification")
    targets, off_target = _skills(demand, rng)
    count = demand.sources or round(math.exp(rng.uniform(0.0, math.log(MOST_SOURCES))))
    rows = round(math.exp(rng.uniform(math.log(LEAST_ROWS), math.log(MOST_ROWS))))
    weights = [rng.gammavariate(1.0, 1.0) for _ in range(count)]
    sizes = [max(SOURCE_ROWS, round(rows * weight / sum(weights))) for weight in weights]
    # 0.3: a source is good or bad; 20: all are alike
    alike = math.exp(rng.uniform(math.log(0.3), math.log(20.0)))
    faulty = _shares(sizes, rng.uniform(0.0, MOST_FAULTS), alike, rng)
    off = _shares(sizes, rng.uniform(0.0, MOST_OFF_TARGET) * (rng.random() < 0.7), alike, rng)
    copied = _shares(sizes, rng.uniform(0.0, MOST_COPIED) * (rng.random() < 0.6), alike, rng)
    kinds = rng.sample(list(TEXT_FAULTS), rng.randint(1, 4))
    if demand.clean:
        faulty, off, copied = ([0.0] * count for _ in range(3))
    sources = []
    for number, size in enumerate(sizes):
        mixture = [rng.gammavariate(0.5, 1.0) for _ in kinds]
        faults = tuple(
            (kind, round(faulty[number] * part / sum(mixture), 4)) for kind, part in zip(kinds, mixture, strict=True)
        )
        own = rng.sample(targets, rng.randint(1, len(targets))) if count > 1 else targets
        sources.append(
            Source(
                name=f"{name}-{number + 1:02}",
                rows=size,
                skills=tuple(sorted(own)),
                off_target=round(off[number], 4),
                copied=round(copied[number], 4),
                faults=tuple(fault for fault in faults if fault[1] > 0),
                rewording=round(rng.uniform(0.1, 0.6), 4),
            )
        )
    return Specification(name, tuple(sorted(targets)), tuple(sorted(off_target)), tuple(sources))


def _skills(demand: Demand, rng: random.Random) -> tuple[list[str], list[str]]:
    """Three to five target skills and two to five others."""
    count = rng.randint(3, 5)
    names = list(OTHER_SCRIPTS if demand.skills == "scripts" else LATIN)
    targets = rng.sample(names, count)
    if demand.skills == "calls":
        called = rng.sample(list(CALLS), rng.randint(2, 3))
        targets = called + targets[: max(1, count - len(called))]
    rest = [name for name in [*LATIN, *(OTHER_SCRIPTS if demand.skills == "scripts" else ())] if name not in targets]
    return targets, rng.sample(rest, rng.randint(2, 5))


def _shares(sizes: Sequence[int], mean: float, alike: float, rng: random.Random) -> list[float]:
    """A share for each source: Beta-distributed around ``mean``, then scaled so that it is the mean over rows."""
    if mean <= 0.0:
        return [0.0] * len(sizes)
    drawn = [rng.betavariate(mean * alike + 0.01, (1 - mean) * alike + 0.01) + 1e-3 for _ in sizes]
    total = sum(sizes)
    for _ in range(50):
        factor = mean * total / sum(size * share for size, share in zip(sizes, drawn, strict=True))
        drawn = [min(0.98, share * factor) for share in drawn]
    return drawn
