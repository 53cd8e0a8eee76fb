"""A winner that is no better than the incumbent is seldom called better, once its flattery is taken off."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.statistics import compare_all, pooled_noise, selection_flattery

TRIALS, ITEMS, CHANCE = 15, 200, 0.05


def called_better(searches: int, bad: int, *, corrected: bool) -> float:
    """Share of searches whose best trial passes for better than the first one, which is as good as any but ``bad``."""
    rng = np.random.default_rng(0)
    quality = np.r_[np.zeros(TRIALS - bad), np.full(bad, -0.6)]
    calls = 0
    for search in range(searches):
        suits = rng.normal(0, 1, ITEMS) + rng.normal(0, 0.5, (TRIALS, ITEMS))

        def train(trial: int, suits: np.ndarray = suits) -> np.ndarray:
            return quality[trial] + suits[trial] + rng.normal(0, CHANCE) + rng.normal(0, 0.3, ITEMS)

        scores = np.stack([train(trial) for trial in range(TRIALS)])
        best = int(scores.mean(axis=1).argmax())
        ours, theirs = (np.stack([scores[trial], train(trial)]) for trial in (best, 0))
        # Six more trials were trained twice: chance in training is known well enough for a small gap to be significant.
        again = [[scores[trial].mean(), train(trial).mean()] for trial in range(1, 7)]
        groups = [*(table.mean(axis=1) for table in (ours, theirs)), *again]
        noise = pooled_noise([dict(enumerate(group)) for group in groups])
        if corrected:
            spread = float(np.sqrt(noise.variance))
            found = selection_flattery([[score[None]] for score in scores], spread, draws=500, seed=search)
            ours -= np.array([[found.items + found.training], [found.items]])
        (comparison,) = compare_all("best", {"incumbent": ({"task": ours}, {"task": theirs})}, draws=50, noise=noise)
        calls += comparison.significant and comparison.difference.estimate > 0
    return calls / searches


@pytest.mark.slow
@pytest.mark.parametrize("bad", [0, 5])
def test_a_winner_by_chance_is_seldom_called_better(bad: int) -> None:
    assert called_better(120, bad, corrected=False) > 0.05
    assert called_better(120, bad, corrected=True) < 0.05


@pytest.mark.parametrize(("trials", "bad"), [(2, 0), (4, 2), (4, 0)])
def test_a_rival_that_was_passed_over_is_flattered_less_than_others(trials: int, bad: int) -> None:
    """What is taken off is what the best of a few trials is ahead of an equally good one that was not chosen."""
    rng = np.random.default_rng(trials + bad)
    quality = np.r_[np.zeros(trials - bad), np.full(bad, -0.6)]
    ahead, taken = [], []
    for run in range(150):
        scores = quality[:, None] + rng.normal(0, 0.5, (trials, ITEMS))
        best = int(scores.mean(axis=1).argmax())
        if best:  # the first one is the incumbent
            ahead.append(scores[best].mean() - scores[0].mean())
            tables = [[score[None]] for score in scores]
            taken.append(selection_flattery(tables, rival=0, draws=300, seed=run).items)
    assert 0.97 * np.mean(ahead) < np.mean(taken) < 1.45 * np.mean(ahead)
