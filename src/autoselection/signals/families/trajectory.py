"""Loss trajectory: each row's loss under several checkpoints of one model, and how it falls.

Losses are ``loss_conditional`` of ``lm.py`` (nats a response token). Each checkpoint's losses are cached under its own
fingerprint: one more checkpoint costs one pass, and the order costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.language.models import model_fingerprint
from autoselection.signals.store import Computed, Shard, SignalSpec, SignalStore
from autoselection.signals.table import LOSS_PREFIX

if TYPE_CHECKING:
    from autoselection.pool import Pool
    from autoselection.signals.families.lm import LanguageModelScorer

_SHARD = 65_536


def trajectory_columns(losses: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """The columns of losses [C, N] of C ≥ 2 checkpoints, in the order of training.

    ``loss/0`` …; ``loss_drop``: first minus last; ``loss_slope``: least-squares slope a checkpoint (negative: the loss
    falls). A row without a loss under some checkpoint has neither of the last two.
    """
    values = np.asarray(losses, np.float64)
    step = np.arange(len(values)) - (len(values) - 1) / 2
    slope = step @ values / (step @ step)
    columns = {f"{LOSS_PREFIX}{i}": row for i, row in enumerate(values)}
    complete = ~np.isnan(values).any(axis=0)
    columns["loss_drop"] = np.where(complete, values[0] - values[-1], np.nan)
    columns["loss_slope"] = slope
    return {name: column.astype(np.float32) for name, column in columns.items()}


def score_trajectory(
    pool: Pool,
    store: SignalStore,
    models: tuple[str, ...],
    params: Sequence[dict[str, Any]],
    scorer: Callable[[Path | str], LanguageModelScorer],
    shard_rows: int,
) -> list[Computed]:
    """Compute the losses under each checkpoint that are not cached, and the columns drawn from them.

    Args:
        models: checkpoints, in the order of training.
        params: what the losses under each checkpoint depend on besides it.
        scorer: loads a checkpoint; called only if something has to be computed with it.

    Raises:
        SignalError: fewer than two checkpoints.
    """
    if len(models) < 2:
        raise SignalError(
            "The signal 'trajectory' compares at least two checkpoints: list them in signals.trajectory_models."
        )
    results = [
        _checkpoint(pool, store, model, own, scorer, shard_rows) for model, own in zip(models, params, strict=True)
    ]
    specs = [done.spec for done in results]
    uses = {f"checkpoint {i}": spec for i, spec in enumerate(specs)}
    losses = [store.open(spec.name, store.key(spec)).arrays["loss"] for spec in specs]

    def shard(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        part = np.stack([np.asarray(column[rows.start : rows.stop]) for column in losses])
        return {"trajectory": Shard(trajectory_columns(part))}

    spec = SignalSpec("trajectory", 2, uses=uses)
    results += store.compute([spec], shard, shard_rows=_SHARD, description="Loss trajectory")
    return results


def _checkpoint(
    pool: Pool,
    store: SignalStore,
    model: str,
    params: dict[str, Any],
    scorer: Callable[[Path | str], LanguageModelScorer],
    shard_rows: int,
) -> Computed:
    fingerprint = model_fingerprint(model)
    spec = SignalSpec(f"{LOSS_PREFIX}{fingerprint[:12]}", 2, params, model=fingerprint)
    loaded: list[LanguageModelScorer] = []  # freed with this call: one checkpoint is in memory at a time

    def shard(name: str, rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        if not loaded:
            loaded.append(scorer(model))
        return {name: loaded[0].conditional_loss(pool.conversations(rows))}

    work = partial(shard, spec.name)
    return store.compute([spec], work, shard_rows=shard_rows, description=f"Loss under {Path(model).name}")[0]
