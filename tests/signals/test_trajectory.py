from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.errors import SignalError
from autoselection.language.models import load_model, load_tokenizer
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, SignalStore, load_table, score_pool
from autoselection.signals.families.lm import LanguageModelSignal
from autoselection.signals.families.reward import Reward
from autoselection.signals.families.text import Tokens
from autoselection.signals.families.trajectory import Trajectory, trajectory_columns
from autoselection.signals.inputs import Inputs
from autoselection.signals.model_pass import PassReader
from autoselection.signals.settings import PassSettings


def test_columns_by_hand() -> None:
    # Losses 3, 2, 1.5: drop 1.5; slope (−1·3 + 0·2 + 1·1.5) / 2 = −0.75. Losses 1, 2, 6: drop −5, slope 2.5.
    nan = float("nan")
    found = trajectory_columns(np.array([[3.0, 1.0, 1.0], [2.0, 2.0, nan], [1.5, 6.0, 0.0]]))
    assert list(found) == ["loss/0", "loss/1", "loss/2", "loss_drop", "loss_slope"]
    np.testing.assert_allclose(found["loss_drop"], [1.5, -5.0, nan])
    np.testing.assert_allclose(found["loss_slope"], [-0.75, 2.5, nan])
    np.testing.assert_allclose(found["loss/1"], [2.0, 2.0, nan])


def test_slope_is_that_of_polyfit() -> None:
    losses = np.random.default_rng(0).random((5, 20))
    expected = np.polyfit(np.arange(5), losses, 1)[0]
    np.testing.assert_allclose(trajectory_columns(losses)["loss_slope"], expected, rtol=1e-5, atol=1e-6)


def checkpoint(folder: Path, tiny_model_dir: Path, factor: float) -> str:
    """The tiny model with sharper or blunter logits."""
    import torch

    model = load_model(tiny_model_dir, "cpu")
    with torch.no_grad():
        model.model.norm.weight.mul_(factor)
    model.save_pretrained(folder)
    load_tokenizer(tiny_model_dir).save_pretrained(folder)
    return str(folder)


def test_one_more_checkpoint_computes_only_itself(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        [{"role": "user", "content": f"Say {word}"}, {"role": "assistant", "content": word * 3}]
        for word in ("red", "cat", "home")
    ]
    rows += [[{"role": "user", "content": "x" * 600}, {"role": "assistant", "content": "cut off"}]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    folders = [str(tiny_model_dir), *(checkpoint(tmp_path / f"m{x}", tiny_model_dir, x) for x in (0.7, 0.4))]
    scored: list[int] = []
    plain = PassReader.run

    def counting(self: PassReader, conversations: Any, signals: Any) -> Any:
        scored.append(len(conversations))
        return plain(self, conversations, signals)

    monkeypatch.setattr(PassReader, "run", counting)

    def score(models: list[str]) -> dict[str, Any]:
        config = SignalsConfig(trajectory_models=tuple(models), device="cpu")
        report = score_pool(pool, config, signals=["trajectory"])
        table = load_table(pool)
        assert load_table(pool, keys=report.keys).names == table.names
        return {name: table.column(name) for name in table.names}

    first = score(folders[:2])
    assert (scored, sorted(first)) == ([4, 4], ["loss/0", "loss/1", "loss_drop", "loss_slope"])
    assert SignalStore.of(pool).verify() == 3
    second = score(folders)
    assert scored == [4, 4, 4]
    np.testing.assert_array_equal(first["loss/1"], second["loss/1"])
    np.testing.assert_allclose(second["loss_drop"], second["loss/0"] - second["loss/2"], rtol=1e-6)
    assert np.isnan(second["loss_slope"]).tolist() == [False, False, False, True]
    turned = score(folders[::-1])
    assert scored == [4, 4, 4]
    np.testing.assert_allclose(turned["loss_drop"], -second["loss_drop"])
    # The losses are those of the signal ``loss``.
    score_pool(pool, SignalsConfig(device="cpu"), model=folders[0], signals=["loss"])
    np.testing.assert_allclose(load_table(pool).column("loss"), second["loss/0"], rtol=1e-5)


def test_losses_of_other_settings_are_computed_anew(tmp_path: Path, tiny_model_dir: Path) -> None:
    turns = [("user", "Say red"), ("assistant", "red"), ("user", "Now say rain"), ("assistant", "rain or home")]
    line = {"messages": [{"role": role, "content": content} for role, content in turns]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(line) + "\n")
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    folders = (str(tiny_model_dir), checkpoint(tmp_path / "m", tiny_model_dir, 0.7))

    def drop(chat_template: str | None = None, **settings: Any) -> float:
        config = SignalsConfig(trajectory_models=folders, device="cpu", **settings)
        score_pool(pool, config, signals=["trajectory"], chat_template=chat_template)
        return float(load_table(pool).column("loss_drop")[0])

    first = drop()
    changed: list[dict[str, Any]] = [
        {"turns": "last"},
        {"max_length": 40},
        {"dtype": "bfloat16"},
        {"chat_template": "plain"},
    ]
    found = [drop(**settings) for settings in changed]
    assert len({first, *found}) == 5, "what was computed by other settings is not taken for these"
    assert drop() == first


def test_code_that_is_run_is_part_of_every_key(tmp_path: Path, tiny_model_dir: Path) -> None:
    """Of each signal that loads a model: the base model's, the classifier's, the checkpoints'."""
    pool = ingest([{"prompt": "q", "response": "a"}], tmp_path / "pool").pool
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    options = {"reward": {"model": str(folder)}, "trajectory": {"models": [str(folder), str(tiny_model_dir)]}}

    def keys(trusted: bool) -> dict[str, str]:
        inputs = Inputs(pool, PassSettings(), options, folder, trust_remote_code=trusted)
        found = {}
        for kind in (Tokens, LanguageModelSignal, Reward, Trajectory):
            asked = kind.options_model(**options.get(kind.name, {}))
            found[kind.name] = kind.instances(asked, inputs)[-1].spec(inputs, {}).key(pool.fingerprint)
        return found

    former = keys(False)
    assert keys(True) == former  # there is no code
    (folder / "modeling_own.py").write_text("ONE = 1\n")
    first = keys(True)
    (folder / "modeling_own.py").write_text("ONE = 2\n")
    second = keys(True)
    assert keys(False) == former
    assert all(len({former[name], first[name], second[name]}) == 3 for name in former)


def test_one_checkpoint_is_no_trajectory(tmp_path: Path, tiny_model_dir: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}) + "\n"
    )
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    config = SignalsConfig(trajectory_models=(str(tiny_model_dir),), device="cpu")
    with pytest.raises(SignalError, match="at least two checkpoints"):
        score_pool(Pool.open(tmp_path / "pool"), config, signals=["trajectory"])


def test_checkpoints_are_relative_to_the_configuration(tmp_path: Path) -> None:
    from autoselection.config import absolute

    (tmp_path / "first").mkdir()
    config = SignalsConfig(trajectory_models=("first", "owner/name"), reward_model="first")
    found = absolute(config, tmp_path)
    assert found.trajectory_models == (str(tmp_path / "first"), "owner/name")
    assert found.reward_model == str(tmp_path / "first")
