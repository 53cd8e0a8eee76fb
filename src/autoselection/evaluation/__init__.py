"""Fine-tune on a subset (TRL), score it on benchmarks (lm-evaluation-harness), and report what it cost.

``evaluate(job)`` is the whole of it. Nothing heavy is imported until it is called.
"""

from __future__ import annotations

from autoselection.evaluation.config import EvaluationConfig, SFTConfig
from autoselection.evaluation.evaluate import evaluate
from autoselection.evaluation.job import EvaluationJob, EvaluationResult

__all__ = ["EvaluationConfig", "EvaluationJob", "EvaluationResult", "SFTConfig", "evaluate"]
