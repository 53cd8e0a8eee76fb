"""What a row is like: its duplicates in the pool, and the target items of the tasks that are nearest to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoselection.segmentation import units
from autoselection.signals import SignalTable
from autoselection.signals.derived.cosine_pairs import unit_vectors
from autoselection.tasks.items import TaskItem

#: How two rows are alike: the same text, n-grams in common (Jaccard), SAE features or sentence embeddings (cosine).
Likeness: TypeAlias = Literal["text", "wording", "features", "meaning"]
#: Similarities from which on rows are listed as duplicates.
FROM: Mapping[Likeness, float] = {"wording": 0.5, "features": 0.9, "meaning": 0.9}


@dataclass(frozen=True)
class Relative:
    """A row of the pool that is like another.

    Attributes:
        row: its number.
        likeness: how it is alike.
        similarity: from 0 to 1; of wording without the pool's near duplicates it is estimated by signatures.
    """

    row: int
    likeness: Likeness
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class NearItem:
    """A target item of a task.

    Attributes:
        task: its task.
        id: its id.
        prompt: its question.
        similarity: cosine of TF-IDF weights of the words of row and item, 0 to 1.
    """

    task: str
    id: str
    prompt: str
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def relatives(signals: SignalTable, row: int, most: int = 5) -> list[Relative]:
    """The rows most like a row, by every likeness that the pool has a signal for; at most so many each, the most similar
    first, ties by row. Rows that no recipe may select are none: they are like dev or test items."""
    found = [Relative(other, "text", 1.0) for other in _same_text(signals, row)[:most]]
    for likeness, similarity in _similarities(signals, row).items():
        similarity[row] = -1.0
        if signals.excluded is not None:
            similarity[signals.excluded] = -1.0
        order = np.argsort(-similarity, kind="stable")[:most].tolist()
        found += [
            Relative(other, likeness, float(similarity[other]))
            for other in order
            if similarity[other] >= FROM[likeness] - 1e-6
        ]
    return found


def _same_text(signals: SignalTable, row: int) -> list[int]:
    if signals.text_hash is None:
        return []
    same = signals.text_hash == signals.text_hash[row]
    same[row] = False
    if signals.excluded is not None:
        same &= ~signals.excluded
    return np.flatnonzero(same).tolist()


def _similarities(signals: SignalTable, row: int) -> dict[Likeness, NDArray[np.float64]]:
    """The similarity of every row of the pool with one, by likeness; 0 where it is not known."""
    found: dict[Likeness, NDArray[np.float64]] = {}
    if signals.near_duplicates is not None:
        near = signals.near_duplicates
        edges, own = near.edges, near.node[row]
        of_node = np.zeros(signals.n)
        for one, two in ((edges.left, edges.right), (edges.right, edges.left)):
            touching = np.flatnonzero(one == own)
            of_node[two[touching]] = edges.similarity[touching]
        of_node[own] = 1.0
        found["wording"] = of_node[near.node]
    elif signals.minhash is not None:
        found["wording"] = (signals.minhash == signals.minhash[row]).mean(axis=1)
    if signals.sae is not None:
        unit = unit_vectors(signals, "sae")
        found["features"] = np.asarray((unit @ unit[row].T).todense(), np.float64).reshape(-1)
    if signals.embeddings is not None:
        vectors = np.asarray(signals.embeddings, np.float32)
        found["meaning"] = np.nan_to_num((vectors @ vectors[row]).astype(np.float64))
    return found


def nearest_items(text: str, targets: Mapping[str, Sequence[TaskItem]], most: int = 3) -> list[NearItem]:
    """The target items whose words a text shares most, at most so many of each task, the most similar first.

    A word weighs ``(1 + ln count) · (1 + ln((1 + items) / (1 + items that have it)))``, items of all tasks counted.
    Items that share no word are left out.
    """
    words = {
        name: [Counter(units(f"{item.question()}\n{item.answer}")) for item in items] for name, items in targets.items()
    }
    total = sum(map(len, words.values()))
    frequency = Counter(word for bags in words.values() for bag in bags for word in bag)
    own = _weighted(Counter(units(text)), frequency, total)
    found = []
    for name, items in targets.items():
        near = [
            NearItem(name, item.id, item.prompt, _cosine(own, _weighted(bag, frequency, total)))
            for item, bag in zip(items, words[name], strict=True)
        ]
        near = [each for each in near if each.similarity > 0]
        found += sorted(near, key=lambda each: -each.similarity)[:most]
    return found


def _weighted(bag: Counter[str], frequency: Counter[str], total: int) -> dict[str, float]:
    weights = {
        word: (1 + math.log(count)) * (1 + math.log((1 + total) / (1 + frequency[word]))) for word, count in bag.items()
    }
    norm = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {word: weight / norm for word, weight in weights.items()}


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    small, large = (one, other) if len(one) <= len(other) else (other, one)
    return sum(weight * large[word] for word, weight in small.items() if word in large)
