"""The search is worth its name: on a pool with known worth it beats random recipes under the same budget."""

from __future__ import annotations

import numpy as np
from synthetic_pool import make_pool

from autoselection.recipes import materialize
from autoselection.search import SearchConfig, SearchController, random_recipes

SEEDS = range(8)
BUDGET = 15


def test_fifteen_evaluations_beat_random_recipe_search():
    ours, random = [], []
    for seed in SEEDS:
        pool = make_pool(seed, n=600)
        config = SearchConfig(evaluations=BUDGET, seed=seed, proposals=32)
        ours.append(SearchController(pool.signals, config).run(lambda c, pool=pool: pool.score(c.rows)).score)
        recipes = random_recipes(pool.signals, BUDGET, seed)
        random.append(max(pool.score(materialize(recipe, pool.signals).rows) for recipe in recipes))
    gain = np.array(ours) - np.array(random)
    assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert (gain > 0).mean() >= 0.75
