"""What every worker process needs, imported once in the process that workers are forked from.

Imported there by name (:func:`multiprocessing.set_forkserver_preload`), and nowhere else. Importing PyTorch leaves the
devices alone, and a process forked afterwards may use them. Of the libraries above it that cannot be said: one that only asks
whether there is a GPU makes it unusable after a fork. They are imported where PyTorch was built for none.
"""

from __future__ import annotations

import torch

from autoselection.evaluation.runtime import quiet_libraries

if not any(getattr(torch.version, name, None) for name in ("cuda", "hip", "xpu")):
    with quiet_libraries():
        import peft  # noqa: F401
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401

        import autoselection.evaluation.lm_eval_classes
        import autoselection.evaluation.trainers.subset_trainer  # noqa: F401
