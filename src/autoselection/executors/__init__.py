"""Executors run evaluation jobs: processes of this machine, a Ray cluster, and what other packages register."""

from __future__ import annotations

from autoselection.executors.contract import Executor, ExecutorConfig, make_executor
from autoselection.executors.local import LocalExecutor

__all__ = ["Executor", "ExecutorConfig", "LocalExecutor", "make_executor"]
