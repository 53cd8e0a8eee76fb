"""Studies: a folder, a crash-safe journal, and the loop that fills it."""

from autoselection.ledger.journal import Journal, decisions, read_events
from autoselection.study.run import run_study, summary
from autoselection.study.single import evaluate_subset
from autoselection.study.study import Study
from autoselection.study.trials import Trial, Trials

__all__ = ["Journal", "Study", "Trial", "Trials", "decisions", "evaluate_subset", "read_events", "run_study", "summary"]
