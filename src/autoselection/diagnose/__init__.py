"""Which cheap numbers tell the score of a full evaluation, and how surely."""

from autoselection.diagnose.agreement import Agreement, agreement_warnings, agreements, agreements_of
from autoselection.diagnose.calibration import Calibration, calibrate
from autoselection.diagnose.correlation import MIN_TRIALS, Correlation, Estimate, correlate, rank_correlations
from autoselection.diagnose.diagnosis import (
    HEADINGS,
    Diagnosis,
    Line,
    Predicted,
    Proxy,
    diagnose,
    markdown,
    signal_means,
    state_proxies,
    token_counts,
    write_table,
)
from autoselection.diagnose.pairs import PairAnswer, PairTest, study_pairs, which_is_better
from autoselection.diagnose.study import diagnose_study
from autoselection.diagnose.whatif import WhatIf, parse_weights, what_if

__all__ = [
    "HEADINGS",
    "MIN_TRIALS",
    "Agreement",
    "Calibration",
    "Correlation",
    "Diagnosis",
    "Estimate",
    "Line",
    "PairAnswer",
    "PairTest",
    "Predicted",
    "Proxy",
    "WhatIf",
    "agreement_warnings",
    "agreements",
    "agreements_of",
    "calibrate",
    "correlate",
    "diagnose",
    "diagnose_study",
    "markdown",
    "parse_weights",
    "rank_correlations",
    "signal_means",
    "state_proxies",
    "study_pairs",
    "token_counts",
    "what_if",
    "which_is_better",
    "write_table",
]
