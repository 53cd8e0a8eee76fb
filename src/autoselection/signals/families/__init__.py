"""The signals of this package, each with what it computes. A new one is a file here and a line below."""

from __future__ import annotations

from autoselection.signals.contract import Signal
from autoselection.signals.families.contamination import Contamination
from autoselection.signals.families.contamination_cosine import ContaminationCosine
from autoselection.signals.families.embeddings import Embeddings
from autoselection.signals.families.lm import LanguageModelSignal
from autoselection.signals.families.minhash import MinHash
from autoselection.signals.families.mona import Mona
from autoselection.signals.families.near_duplicates import NearDuplicatePairs
from autoselection.signals.families.repetition import Repetition
from autoselection.signals.families.reward import Reward
from autoselection.signals.families.sae import SaeFeatures
from autoselection.signals.families.syntax import ActionObjectBranching
from autoselection.signals.families.text import Lengths, NgramEntropy, Tokens
from autoselection.signals.families.text_hash import TextHash
from autoselection.signals.families.token_kinds import TokenKinds
from autoselection.signals.families.trace_signals import TraceFaults, Traces
from autoselection.signals.families.trajectory import CheckpointLoss, Trajectory

#: In the order in which they are shown, and computed where they cost alike.
BUILTIN_SIGNALS: tuple[type[Signal], ...] = (
    Tokens,
    Lengths,
    NgramEntropy,
    Repetition,
    ActionObjectBranching,
    TextHash,
    MinHash,
    TraceFaults,
    Traces,
    NearDuplicatePairs,
    Contamination,
    Embeddings,
    ContaminationCosine,
    LanguageModelSignal,
    TokenKinds,
    SaeFeatures,
    Mona,
    Reward,
    CheckpointLoss,
    Trajectory,
)
