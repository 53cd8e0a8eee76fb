"""What a model gets right that knows nothing of a task, whether one knows more, and what so many items can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autoselection.statistics import Share, share_interval
from autoselection.tasks.items import TaskItem

FEW_ITEMS = 100
"""Dev items of a task below which other items would order recipes otherwise too often (count)."""


def few_items(items: int) -> str | None:
    """What is to be known of so few dev items, behind the name of what has them; None where they are enough.

    >>> few_items(20)
    'has 20 dev items, which are few: one of them is 5.0 points, and with others a share of right answers may differ by 20 points (half of a 95% interval). A hundred and more tell recipes apart.'
    """
    if items >= FEW_ITEMS:
        return None
    found = share_interval(0.5, items)
    return (
        f"has {items} dev items, which are few: one of them is {100 / items:.1f} points, and with others a share of right answers "
        f"may differ by {50 * (found.high - found.low):.0f} points (half of a 95% interval). A hundred and more tell recipes apart."
    )


def guessing_accuracy(items: Sequence[TaskItem]) -> float:
    """Expected share of right options of who draws one at random, or always takes the option in the same place, counted from the
    first or from the last, whichever is more.

    Small trained models often end up saying one letter, or the last option, whatever is asked, so that counts as knowing nothing
    too. "Yes", "yes" and "true" are one place.

    Args:
        items: at least one, all with options.
    """
    options = [item.options() for item in items]
    places = [found.index(item.answer) for found, item in zip(options, items, strict=True)]
    last = [place - len(found) for place, found in zip(places, options, strict=True)]
    drawn = sum(1.0 / len(found) for found in options) / len(items)
    return max(drawn, *(Counter(taken).most_common(1)[0][1] / len(items) for taken in (places, last)))


@dataclass(frozen=True)
class Knowledge:
    """Whether an accuracy is above that of guessing.

    Attributes:
        share: of right options, with its 95% interval over items, corrected for the models looked at.
        items: count.
        guessing: see :func:`guessing_accuracy`.
        models: models of which this is the most accurate one (count).
    """

    share: Share
    items: int
    guessing: float
    models: int = 1

    @property
    def at_chance(self) -> bool:
        """Whether the interval does not lie above what guessing gets."""
        return self.share.low <= self.guessing

    def told(self) -> str:
        """The figures in words."""
        found = self.share
        return (
            f"{found.value:.1%} of {self.items:,} items right (95% interval {found.low:.1%} to {found.high:.1%}), guessing gets "
            f"{self.guessing:.1%}"
        )


def knowledge(accuracy: float, items: int, guessing: float, *, models: int = 1) -> Knowledge:
    """Compare an accuracy with guessing.

    Args:
        accuracy: share of right options; of the most accurate of ``models`` models.
        models: the interval is as wide as it takes to hold for all of them at once (Šidák).
    """
    return Knowledge(share_interval(accuracy, items, level=0.95 ** (1.0 / models)), items, guessing, models)
