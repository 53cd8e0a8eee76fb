"""Which engines exist: ours, and those that other packages register."""

from __future__ import annotations

from autoselection.plugins import Registry

ENGINES = Registry(
    "autoselection.engines",
    what="engine",
    contract="autoselection.evaluation.engines.contract:Engine",
    builtin={
        "transformers": "autoselection.evaluation.engines.transformers:TransformersEngine",
        "vllm": "autoselection.evaluation.engines.vllm:VllmEngine",
        "openai": "autoselection.evaluation.engines.openai:OpenAIEngine",
    },
    sections={"vllm": "vllm", "endpoint": "openai"},
)
