"""Executors run evaluation jobs: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from autoselection.errors import ConfigError
from autoselection.executors.base import Executor, ExecutorConfig
from autoselection.executors.local import LocalExecutor
from autoselection.wording import suggestion

__all__ = ["Executor", "ExecutorConfig", "LocalExecutor", "make_executor"]


def make_executor(config: ExecutorConfig) -> Executor:
    """Return the executor a configuration names.

    Raises:
        ConfigError: unknown kind.
        MissingExtraError: Ray is asked for and not installed.
    """
    if config.kind == "local":
        return LocalExecutor(config)
    if config.kind == "ray":
        from autoselection.executors.ray import RayExecutor

        return RayExecutor(config)
    raise ConfigError(f"executor.kind: unknown executor '{config.kind}'{suggestion(config.kind, ['local', 'ray'])}")
