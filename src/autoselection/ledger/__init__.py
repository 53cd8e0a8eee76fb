"""Every evaluation that was ever wanted, by content: known ones come from a journal, the others are made once."""

from autoselection.ledger.account import Account, Name, keyed_account, stored_account
from autoselection.ledger.journal import Journal, decisions, read_events
from autoselection.ledger.ledger import Ledger, evaluate_here
from autoselection.ledger.wanted import UNTRAINED, Wanted, evaluation_job

__all__ = [
    "UNTRAINED",
    "Account",
    "Journal",
    "Ledger",
    "Name",
    "Wanted",
    "decisions",
    "evaluate_here",
    "evaluation_job",
    "keyed_account",
    "read_events",
    "stored_account",
]
