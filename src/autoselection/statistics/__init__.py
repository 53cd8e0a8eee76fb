"""Statistics of scores measured item by item: pure functions of arrays; nothing here knows of pools or models.

Scores of one subset are a *table*: per task an array of shape ``(seeds, items)``, the same training seeds for every task,
higher is better. The score of a table is the mean over tasks of the mean over seeds and items, as everywhere else.
"""

from autoselection.statistics.agreement import (
    RankAgreement,
    Reliability,
    kendall_interval,
    rank_agreement,
    reliability,
    spearman_interval,
)
from autoselection.statistics.bootstrap import Interval, bootstrap_interval, table_score
from autoselection.statistics.compare import BaselineComparison, compare_all
from autoselection.statistics.compute import Curve, Multiplier, Payback, Reach, compute_multiplier, payback, reach
from autoselection.statistics.crossed import crossed_interval, crossed_test, independent_test
from autoselection.statistics.noise import (
    SHARED,
    SeedNoise,
    chance_correlation,
    difference_error,
    pooled_noise,
    shared_chance,
)
from autoselection.statistics.paired import mcnemar, sign_flip_test
from autoselection.statistics.power import Spread, detectable_by_design, detectable_difference, power, replicates_needed
from autoselection.statistics.selection import (
    Flattery,
    SelectionBias,
    best_probabilities,
    expected_maximum,
    selection_bias,
    selection_flattery,
    trial_noise,
)
from autoselection.statistics.shares import Share, share_interval
from autoselection.statistics.ties import all_alike, without_rounding
from autoselection.statistics.variance import VarianceComponents, crossed_components, table_components

__all__ = [
    "SHARED",
    "BaselineComparison",
    "Curve",
    "Flattery",
    "Interval",
    "Multiplier",
    "Payback",
    "RankAgreement",
    "Reach",
    "Reliability",
    "SeedNoise",
    "SelectionBias",
    "Share",
    "Spread",
    "VarianceComponents",
    "all_alike",
    "best_probabilities",
    "bootstrap_interval",
    "chance_correlation",
    "compare_all",
    "compute_multiplier",
    "crossed_components",
    "crossed_interval",
    "crossed_test",
    "detectable_by_design",
    "detectable_difference",
    "difference_error",
    "expected_maximum",
    "independent_test",
    "kendall_interval",
    "mcnemar",
    "payback",
    "pooled_noise",
    "power",
    "rank_agreement",
    "reach",
    "reliability",
    "replicates_needed",
    "selection_bias",
    "selection_flattery",
    "share_interval",
    "shared_chance",
    "sign_flip_test",
    "spearman_interval",
    "table_components",
    "table_score",
    "trial_noise",
    "without_rounding",
]
