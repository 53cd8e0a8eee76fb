"""Sequences that begin alike, as segments that go on from each other."""

from __future__ import annotations

from collections.abc import Sequence

from autoselection.language.packed import Segment


def shared_segments(sequences: Sequence[Sequence[int]], *, least: int = 4) -> tuple[list[Segment], list[list[int]]]:
    """Segments of sequences that share their beginnings.

    Args:
        sequences: token ids, none empty.
        least: shorter common beginnings are not shared.

    Returns:
        The segments, parents first; and of each sequence the segments that make it up, in order.
    """
    order = sorted(range(len(sequences)), key=lambda i: list(sequences[i]))
    segments: list[Segment] = []
    made: list[list[int]] = [[] for _ in sequences]

    def split(start: int, end: int, depth: int, parents: list[int]) -> None:
        """Sequences ``order[start:end]``, which have ``depth`` tokens in common that ``parents`` hold."""
        while start < end:
            first = sequences[order[start]]
            if len(first) == depth:  # nothing of it is left
                made[order[start]] = parents
                start += 1
                continue
            stop, common = start + 1, len(first)
            while stop < end:
                alike = min(common, shared_tokens(first, sequences[order[stop]], depth))
                if alike - depth < least and alike < common:
                    break
                common = alike
                stop += 1
            segments.append(Segment(first[depth:common], parents[-1] if parents else -1))
            chain = [*parents, len(segments) - 1]
            split(start, stop, common, chain)
            start = stop

    split(0, len(order), 0, [])
    return segments, made


def shared_tokens(one: Sequence[int], other: Sequence[int], start: int = 0) -> int:
    """How many tokens two sequences begin with in common; they are known to agree up to ``start``."""
    end = min(len(one), len(other))
    while start < end and one[start] == other[start]:
        start += 1
    return start
