"""Which trainers exist: ours, and those that other packages register."""

from __future__ import annotations

from autoselection.plugins import Registry

TRAINERS = Registry(
    "autoselection.trainers",
    what="trainer",
    contract="autoselection.evaluation.trainers.contract:Trainer",
    builtin={
        "trl": "autoselection.evaluation.trainers.trl:TRLTrainer",
        "llamafactory": "autoselection.evaluation.trainers.llamafactory:LlamaFactoryTrainer",
    },
    sections={"llamafactory": "llamafactory"},
)
