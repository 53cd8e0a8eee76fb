"""Which executors exist: ours, and those that other packages register."""

from __future__ import annotations

from autoselection.plugins import Registry

EXECUTORS = Registry(
    "autoselection.executors",
    what="executor",
    contract="autoselection.executors.contract:Executor",
    builtin={
        "local": "autoselection.executors.local:LocalExecutor",
        "ray": "autoselection.executors.ray:RayExecutor",
    },
)
