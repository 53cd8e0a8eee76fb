"""TRL trains on our tokens, our mask and our batches, and on nothing else."""

from __future__ import annotations

import copy
import inspect
import json
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from trl import SFTConfig as SFTArguments

from autoselection.errors import EvaluationError, MissingExtraError
from autoselection.evaluation import SFTConfig, memory
from autoselection.evaluation.encoding import EncodedSubset, RowCache
from autoselection.evaluation.engines.contract import Question
from autoselection.evaluation.engines.lm_eval_model import ConversationLM
from autoselection.evaluation.generation import Generation
from autoselection.evaluation.runtime import TrainingFailure, quiet_libraries
from autoselection.evaluation.schedule import TrainingSchedule, plan
from autoselection.evaluation.trainers import token_loss
from autoselection.evaluation.trainers.contract import TrainingPlan
from autoselection.evaluation.trainers.trl import TRLTrainer, micro_batch_tokens, training_arguments
from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import load_model
from autoselection.pool import Pool, ingest


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _quiet():
    with quiet_libraries():
        yield


def encode(
    pool_dir: Path,
    tokenizer: Any,
    rows: Any = None,
    max_length: int = 256,
    turns: Any = "all",
    completion_only: bool = True,
) -> EncodedSubset:
    pool = Pool.open(pool_dir)
    rows = np.arange(len(pool)) if rows is None else np.array(rows)
    encoder = ConversationEncoder(tokenizer, max_length=max_length, turns=turns)
    return RowCache().subset(pool, rows, encoder, completion_only)


def run(
    model_dir: Path, tokenizer: Any, subset: EncodedSubset, folder: Path, model: Any = None, seed: int = 0,
    dtype: torch.dtype = torch.float32, adapter_dir: Path | None = None, **sft: Any,
) -> SimpleNamespace:  # fmt: skip
    """Train as planned: the fields of ``Trained``, and the schedule."""
    model = model if model is not None else load_model(model_dir, "cpu", "float32")
    config = SFTConfig(**{"learning_rate": 1e-3, "batch_size": 8, **sft})
    schedule = plan(subset, config, seed)
    asked = TrainingPlan(
        base=str(model_dir), model=model, tokenizer=tokenizer, pool=None, subset=subset, schedule=schedule, seed=seed,
        device="cpu", dtype=dtype, max_length=256, work_dir=folder, adapter_dir=adapter_dir,
    )  # fmt: skip
    return SimpleNamespace(**vars(TRLTrainer(config).train(asked)), schedule=schedule)


def batches_of(model: Any) -> list[dict[str, torch.Tensor]]:
    """What reaches the model in padded training and, under ``trained``, the token each position is taught (-100: none).

    Read off the gradient of the logits: softmax minus one-hot, negative at the taught token alone.
    """
    seen: list[dict[str, torch.Tensor]] = []
    model.set_attn_implementation("eager")  # which is not packed

    def record(_module: Any, _args: Any, kwargs: dict[str, Any], outputs: Any) -> None:
        batch = {name: kwargs[name].clone() for name in ("input_ids", "attention_mask")}
        batch["trained"] = torch.full_like(batch["input_ids"], -100)
        positions = kwargs["logits_to_keep"]

        def read(gradient: torch.Tensor) -> None:
            taught = torch.where((gradient < 0).any(-1), gradient.argmin(-1), -100)
            assert ((gradient < 0).sum(-1) == (taught != -100)).all()
            assert (gradient[taught == -100] == 0).all()
            batch["trained"][:, positions + 1] = taught

        outputs.logits.register_hook(read)
        seen.append(batch)

    model.register_forward_hook(record, with_kwargs=True)
    return seen


def test_the_loss_is_on_response_tokens_only_token_by_token(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    model = load_model(tiny_model_dir, "cpu", "float32")
    seen = batches_of(model)
    run(
        tiny_model_dir,
        tiny_tokenizer,
        encode(pool_dir, tiny_tokenizer, [6, 1]),
        tmp_path,
        model,
        max_steps=1,
        batch_size=2,
    )
    (batch,) = seen
    end = "<|im_end|>"
    expected = [  # (text, trained?); row 6 has a system prompt and two turns
        [
            (f"<|im_start|>system\nAdd.{end}\n<|im_start|>user\n6+1={end}\n<|im_start|>assistant\n", False),
            (f"6 plus 1\n7{end}", True),
            (f"\n<|im_start|>user\nThanks{end}\n<|im_start|>assistant\n", False),
            (f"ok{end}", True),
            ("\n", False),
        ],
        [
            (f"<|im_start|>user\n1+1={end}\n<|im_start|>assistant\n", False),
            (f"1 plus 1\n2{end}", True),
            ("\n", False),
        ],
    ]
    for ids, labels, attention, pieces in zip(
        batch["input_ids"].tolist(), batch["trained"].tolist(), batch["attention_mask"].tolist(), expected, strict=True
    ):
        wanted_ids: list[int] = []
        wanted_labels: list[int] = []
        for text, trained in pieces:
            tokens = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
            wanted_ids += tokens
            wanted_labels += tokens if trained else [-100] * len(tokens)
        padding = len(ids) - len(wanted_ids)
        assert ids == wanted_ids + [tiny_tokenizer.pad_token_id] * padding
        assert labels == wanted_labels + [-100] * padding
        assert attention == [1] * len(wanted_ids) + [0] * padding


def test_control_words_in_row_text_stay_text(tiny_model_dir, tiny_tokenizer, tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": "say <|im_end|>"}, {"role": "assistant", "content": "a<|im_end|>b"}]},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]},
    ]
    ingest([write_jsonl(tmp_path / "rows.jsonl", rows)], tmp_path / "pool")
    model = load_model(tiny_model_dir, "cpu", "float32")
    seen = batches_of(model)
    run(
        tiny_model_dir,
        tiny_tokenizer,
        encode(tmp_path / "pool", tiny_tokenizer),
        tmp_path,
        model,
        max_steps=1,
        batch_size=2,
    )
    ids, labels = seen[0]["input_ids"], seen[0]["trained"]
    end = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (ids == end).sum(1).tolist() == [2, 2]  # one a turn
    assert (labels == end).sum(1).tolist() == [1, 1]
    trained = [token for token in labels[0].tolist() if token != -100]
    assert tiny_tokenizer.decode(trained[:-1]).replace(" ", "") == "a<|im_end|>b"


def plain_loop(model: Any, subset: EncodedSubset, order: Any, steps: int) -> list[float]:
    """Losses of steps of eight rows, in a loop that forms the mean over a batch's trained tokens row by row."""
    model.train()
    decayed = [p for name, p in model.named_parameters() if "norm" not in name]
    plain = [p for name, p in model.named_parameters() if "norm" in name]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}])
    losses = []
    for step in range(steps):
        rate = 0.0 if step == 0 else 0.5 * (1 + math.cos(math.pi * (step - 1) / (steps - 1)))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        total, count = torch.zeros(()), 0
        for position in order[8 * step : 8 * step + 8]:
            (row,) = subset.trainable(np.array([position]))
            logits = model(torch.tensor(row.input_ids[None].astype(np.int64))).logits[0, :-1]
            labels = torch.tensor(row.labels[1:].astype(np.int64))
            total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
            count += int((labels != -100).sum())
        loss = total / count
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return losses


@pytest.mark.parametrize("micro", [{}, {"micro_batch_size": 3}, {"micro_batch_tokens": 150}])
@pytest.mark.parametrize("completion_only", [True, False])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("loss_kwargs", [True, False])
def test_training_equals_a_plain_pytorch_loop_however_batches_are_split(
    loss_kwargs, packed, completion_only, micro, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    """Whether or not the model is one to which the Trainer tells the number of trained tokens."""
    subset = encode(pool_dir, tiny_tokenizer, completion_only=completion_only)
    model = load_model(tiny_model_dir, "cpu", "float32")
    model.accepts_loss_kwargs = loss_kwargs
    if not packed:
        model.set_attn_implementation("eager")
    sft = {"max_steps": 4, **micro, "weight_decay": 0.1, "warmup_ratio": 0.25}
    trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, **sft)
    assert trained.packed == packed
    assert trained.forward_passes > 4 or (packed and not micro)
    plain = load_model(tiny_model_dir, "cpu", "float32")
    assert trained.losses == pytest.approx(plain_loop(plain, subset, trained.schedule.order, 4), rel=1e-5)
    for (name, ours), theirs in zip(trained.model.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [0, 1, 7, 8])
def test_the_loss_of_many_tokens_is_the_whole_one_without_a_copy_of_the_logits(rows, dtype, monkeypatch):
    monkeypatch.setattr(token_loss, "_LOGITS", {"cpu": 3 * 50})  # three rows at a time
    generator = torch.Generator().manual_seed(0)
    drawn = (20 * torch.randn(rows, 50, generator=generator)).to(dtype)
    labels = torch.randint(50, (rows,), generator=generator)
    ours, theirs = (drawn.clone().requires_grad_() for _ in range(2))
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = token_loss.summed_cross_entropy(ours, labels)
    assert sum(kept) <= rows * 50 + 2 * rows
    whole = torch.nn.functional.cross_entropy(theirs.float(), labels, reduction="sum")
    (loss / 7).backward()
    (whole / 7).backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_that_begins_a_row_counts_too(packed, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    """The first row of a batch teaches from its second token on; no row teaches its first."""
    subset = encode(pool_dir, tiny_tokenizer, range(8))
    rows = subset.trainable(np.arange(8))
    for row in rows:
        row.labels[:] = row.input_ids
    model = load_model(tiny_model_dir, "cpu", "float32")
    if not packed:
        model.set_attn_implementation("eager")
    trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_steps=1)
    model = load_model(tiny_model_dir, "cpu", "float32")
    nll, count = 0.0, 0
    for row in rows:
        ids = torch.tensor(row.input_ids.astype(np.int64))
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1]
        nll += torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum").item()
        count += len(ids) - 1
    assert trained.losses == pytest.approx([nll / count], rel=1e-5)


def mixture_of_experts(vocabulary: int) -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    return MixtralForCausalLM(
        MixtralConfig(
            vocab_size=vocabulary, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, num_local_experts=4, max_position_embeddings=256, router_aux_loss_coef=0.5,
        )
    )  # fmt: skip


def as_of(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TRL tell of the balance of experts as an older version does."""
    from trl import SFTTrainer

    own = SFTTrainer.__init__

    def initialise(trainer: Any, *arguments: Any, **options: Any) -> None:
        own(trainer, *arguments, **options)
        config = trainer.model.config
        del trainer.router_aux_loss_coef
        if version == "1.0":  # only where the configuration asks for it
            trainer.aux_loss_enabled = config.output_router_logits = False
        else:  # with a coefficient of TRL's own
            config.router_aux_loss_coef = 0.001

    monkeypatch.setattr(SFTTrainer, "__init__", initialise)


@pytest.mark.parametrize("micro", [{}, {"micro_batch_size": 1}])
@pytest.mark.parametrize(("packed", "trl"), [(True, None), (False, None), (True, "1.0"), (True, "1.7")])
def test_the_load_of_experts_is_balanced_once_a_batch(
    packed, trl, micro, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path, monkeypatch
):
    if trl is not None:
        as_of(trl, monkeypatch)
    model = mixture_of_experts(len(tiny_tokenizer))
    if not packed:
        model.set_attn_implementation("eager")
    for layer in model.model.layers:
        torch.nn.init.normal_(layer.mlp.gate.weight)  # experts that differ: each pass has a balance of its own
    before = copy.deepcopy(model)
    subset = encode(pool_dir, tiny_tokenizer, [1, 2, 3, 4, 5, 7, 8, 9])  # of a length: one pass, if that is allowed
    trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_steps=1, **micro)
    assert (trained.packed, trained.forward_passes) == (packed, 8 if micro else 1)
    rows = subset.trainable(trained.schedule.order)
    counts = np.array([(row.labels[1:] != -100).sum() for row in rows])
    nll, balance, gates = 0.0, 0.0, []
    for row, count in zip(rows, counts, strict=True):
        with torch.no_grad():
            found = before(torch.tensor(row.input_ids[None].astype(np.int64)), output_router_logits=True)
        labels = torch.tensor(row.labels[1:].astype(np.int64))
        nll += torch.nn.functional.cross_entropy(found.logits[0, :-1], labels, reduction="sum").item()
        balance += float(found.aux_loss) * count / counts.sum()
        gates.append(found.router_logits)
    if not micro:
        together = tuple(torch.cat(layer) for layer in zip(*gates, strict=True))
        balance = float(load_balancing_loss_func(together, 4, 2))
    assert trained.losses == pytest.approx([nll / counts.sum() + 0.5 * balance], rel=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_training_leaves_the_models_settings_alone_and_it_answers_several_questions(
    method, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    """Two at once: answers of a model whose configuration asks for router logits break at the second token."""
    model = mixture_of_experts(len(tiny_tokenizer))
    model.config.use_cache = True
    before = model.config.to_dict(), model.generation_config.to_dict()
    subset = encode(pool_dir, tiny_tokenizer, range(8))
    targets = {"lora_target_modules": ["q_proj"]} if method == "lora" else {}
    trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_steps=1, method=method, **targets)
    assert (trained.model.config.to_dict(), trained.model.generation_config.to_dict()) == before
    engine = ConversationLM(trained.model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=False)
    contexts = [[5, 6, 7], [8, 9, 10, 11, 12]]
    settings = Generation(max_gen_toks=3)
    together = engine.answers([Question(context, [], settings) for context in contexts])
    assert together == [engine.answers([Question(context, [], settings)])[0] for context in contexts]


@pytest.mark.parametrize("rows", [range(48), range(3)])
def test_max_steps_are_exact_optimiser_steps_of_full_batches(rows, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    model = load_model(tiny_model_dir, "cpu", "float32")
    seen = batches_of(model)
    subset = encode(pool_dir, tiny_tokenizer, rows)
    trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_steps=5, micro_batch_size=4)
    assert trained.schedule.steps == len(trained.losses) == 5
    assert sum(len(batch["input_ids"]) for batch in seen) == 5 * 8
    assert max(len(batch["input_ids"]) for batch in seen) <= 4
    assert trained.forward_passes == len(seen)
    assert sum(int(batch["attention_mask"].sum()) for batch in seen) == trained.schedule.tokens


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
def test_a_training_of_one_step_trains(scheduler, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    """Warmup begins at a rate of 0: it may not be all there is."""
    before = load_model(tiny_model_dir, "cpu", "float32").state_dict()
    model = run(
        tiny_model_dir, tiny_tokenizer, encode(pool_dir, tiny_tokenizer), tmp_path, max_steps=1, scheduler=scheduler
    ).model
    moved = max(float((value - before[name]).abs().max()) for name, value in model.state_dict().items())
    assert moved == pytest.approx(1e-3, rel=0.05)  # Adam's first step is the learning rate, whatever the gradient


@pytest.mark.parametrize(
    ("ratio", "steps", "warmup"),
    [(0.1, 1, 0), (0.1, 2, 1), (0.1, 10, 1), (0.1, 11, 2), (0.0, 5, 0), (0.9, 3, 2), (0.95, 20, 19), (0.5, 0, 0)],
)
def test_a_step_at_least_is_left_to_the_full_rate(ratio, steps, warmup):
    config = SFTConfig(warmup_ratio=ratio)
    assert config.warmup_steps(steps) == config.optimisation(steps)["warmup_steps"] == warmup


def _added(sums: dict[str, torch.Tensor], name: str, gradient: torch.Tensor) -> None:
    sums[name] = sums.get(name, 0) + gradient


@pytest.mark.parametrize("packed", [True, False])
def test_the_loss_is_trls_own(packed, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path, monkeypatch):
    import datasets
    from trl import SFTTrainer

    subset = encode(pool_dir, tiny_tokenizer, range(8))
    models = [load_model(tiny_model_dir, "cpu", "float32") for _ in range(2)]
    if not packed:
        models[0].set_attn_implementation("eager")
    gradients: list[dict[str, torch.Tensor]] = [{}, {}]
    for model, taken in zip(models, gradients, strict=True):
        for name, parameter in model.named_parameters():
            parameter.register_hook(partial(_added, taken, name))
    trained = run(
        tiny_model_dir, tiny_tokenizer, subset, tmp_path, models[0], max_steps=1, batch_size=8, max_grad_norm=0
    )
    assert trained.packed == packed

    monkeypatch.setattr(SFTTrainer, "_send_telemetry", lambda self: None)
    config = SFTConfig(max_steps=1, batch_size=8)
    rows = [{"input_ids": row.input_ids, "labels": row.labels} for row in subset.trainable(np.arange(8))]
    theirs = SFTTrainer(
        model=models[1],
        args=training_arguments(config, trained.schedule, models[1], autocast=False, seed=0, work_dir=tmp_path),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny_tokenizer,
    )
    (batch,) = theirs.get_train_dataloader()
    loss = theirs.compute_loss(theirs.model, batch)
    loss.backward()
    assert trained.losses == pytest.approx([loss.item()], rel=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[1].items():
        assert torch.allclose(gradients[0][name], gradient, atol=1e-5 * float(gradient.abs().max())), name


def test_micro_batches_are_bounded_by_tokens(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    model = load_model(tiny_model_dir, "cpu", "float32")
    seen = batches_of(model)
    subset = encode(pool_dir, tiny_tokenizer)
    run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_steps=3, micro_batch_tokens=200)
    shapes = [tuple(batch["input_ids"].shape) for batch in seen]
    assert all(rows * length <= 200 or rows == 1 for rows, length in shapes)
    assert sum(rows for rows, _ in shapes) == 24
    # No column of padding alone: the micro-batch is as long as its longest row.
    assert all(int(batch["attention_mask"].sum(1).max()) == batch["input_ids"].shape[1] for batch in seen)


def test_micro_batches_shrink_with_the_model_and_grow_with_checkpointing(tiny_model_dir):
    model = load_model(tiny_model_dir, "cpu", "float32")
    assert micro_batch_tokens(model, torch.float32, False) == 2048
    model.config.update({"vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30})
    plain = micro_batch_tokens(model, torch.float32, False)
    assert 256 < plain < 2000
    assert plain < micro_batch_tokens(model, torch.float32, True)
    model.config.update({"hidden_size": 8192, "num_hidden_layers": 80})
    assert micro_batch_tokens(model, torch.float32, False) == 256


def test_micro_batches_fit_in_the_share_of_a_gpu_that_several_workers_have(tiny_model_dir, monkeypatch):
    config = load_model(tiny_model_dir, "cpu", "float32").config
    config.update({"vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28})
    model: Any = SimpleNamespace(config=config, device=torch.device("cuda"))
    monkeypatch.setattr(memory, "_sharers", 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 << 30))
    alone = micro_batch_tokens(model, torch.bfloat16, False)
    memory.share_gpu(2)
    assert micro_batch_tokens(model, torch.bfloat16, False) == alone // 2


def test_a_token_budget_trains_that_many_tokens(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    model = load_model(tiny_model_dir, "cpu", "float32")
    seen = batches_of(model)
    subset = encode(pool_dir, tiny_tokenizer, range(5))
    trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_tokens=1000)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in seen)
    assert tokens == trained.schedule.tokens
    assert 1000 <= tokens < 1000 + subset.lengths(np.arange(len(subset))).max()
    assert len(trained.losses) == trained.schedule.steps


def test_lora_trains_low_rank_updates_of_linear_layers_and_nothing_else(
    tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    before = load_model(tiny_model_dir, "cpu", "float32").state_dict()
    trained = run(
        tiny_model_dir, tiny_tokenizer, encode(pool_dir, tiny_tokenizer), tmp_path, method="lora", lora_r=2, max_steps=4,
        learning_rate=1e-2,
    )  # fmt: skip
    changed = 0
    for name, weight in trained.model.state_dict().items():
        update = weight - before[name]
        if "proj" in name:
            changed += 1
            assert 1 <= torch.linalg.matrix_rank(update, rtol=1e-3) <= 2, name
        else:
            assert (update == 0).all(), name
    assert changed == 14
    expected = sum(2 * sum(weight.shape) for name, weight in before.items() if "proj" in name)
    assert trained.trainable_parameters == expected


def test_adapters_have_the_scale_the_dropout_and_the_seed_that_are_asked_for(
    tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    """One step of Adam from B = 0 moves B by the learning rate, whatever the gradient: the update is alpha / r · B A."""
    name = "model.layers.0.mlp.up_proj.weight"
    before = load_model(tiny_model_dir, "cpu", "float32").state_dict()[name]

    def trained(steps: int = 1, seed: int = 0, **lora: Any) -> SimpleNamespace:
        settings = {"method": "lora", "lora_r": 2, "lora_alpha": 2, "lora_dropout": 0.0, "learning_rate": 1e-2, **lora}
        subset = encode(pool_dir, tiny_tokenizer, [1])  # one row: its order is the same for every seed
        return run(
            tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=steps, batch_size=1, warmup_ratio=0.0,
            scheduler="constant", seed=seed, **settings,
        )  # fmt: skip

    def update(**lora: Any) -> torch.Tensor:
        return trained(**lora).model.state_dict()[name] - before

    plain = update()
    assert plain.abs().max() > 1e-4
    torch.testing.assert_close(update(lora_alpha=8), 4 * plain, rtol=0.02, atol=1e-5)
    assert not torch.allclose(update(seed=1), plain, rtol=0.1, atol=1e-4), "each seed has adapters of its own"
    torch.testing.assert_close(update(), plain)
    steady, dropped = trained(4), trained(4, lora_dropout=0.9)
    assert steady.losses[0] == pytest.approx(dropped.losses[0]) and steady.losses[-1] < dropped.losses[-1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_small_steps_of_adapters_changed_is_scored_and_kept(
    dtype, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    """At the default rate, where a sum in half precision leaves most weights as they were."""
    name = str(dtype).removeprefix("torch.")
    subset = encode(pool_dir, tiny_tokenizer)
    trained = run(
        tiny_model_dir, tiny_tokenizer, subset, tmp_path, load_model(tiny_model_dir, "cpu", name), dtype=dtype,
        adapter_dir=tmp_path / "adapter", method="lora", max_steps=4, learning_rate=2e-5,
    )  # fmt: skip

    def exact() -> Any:
        return load_model(tiny_model_dir, "cpu", name).float()

    def logits(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(torch.arange(5, 45)[None]).logits.double()

    before = logits(exact())
    change = logits(PeftModel.from_pretrained(exact(), str(tmp_path / "adapter"))) - before
    held = copy.deepcopy(trained.model).float()
    vars(held).pop("forward", None)  # TRL's, which calls the original
    scored = logits(held) - before
    kept = logits(trained.merged() if trained.merged else trained.model) - before
    assert 0 < change.norm() < 0.01 * before.norm()
    for found in (scored, kept):
        assert (found - change).norm() < 0.01 * change.norm()


def test_gradient_checkpointing_changes_nothing_but_memory(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    subset = encode(pool_dir, tiny_tokenizer)
    plain = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=2)
    recomputed = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=2, gradient_checkpointing=True)
    assert recomputed.losses == pytest.approx(plain.losses, rel=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_frozen_embeddings_stay_and_everything_else_is_trained(
    checkpointing, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    subset = encode(pool_dir, tiny_tokenizer)
    before = load_model(tiny_model_dir, "cpu", "float32").state_dict()
    settings = {"max_steps": 3, "freeze_embeddings": True, "gradient_checkpointing": checkpointing}
    trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, **settings)
    after = trained.model.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "embed_tokens" in name or "lm_head" in name}
    assert trained.trainable_parameters == sum(v.numel() for name, v in before.items() if name not in same)
    free = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=3)
    assert free.losses[0] == pytest.approx(trained.losses[0], abs=1e-5) and free.losses[2] != trained.losses[2]


def test_embeddings_are_frozen_where_all_weights_are_trained_by_trl():
    with pytest.raises(ValidationError, match="freeze_embeddings is for method full"):
        SFTConfig(freeze_embeddings=True, method="lora")
    with pytest.raises(ValidationError, match="leave freeze_embeddings off"):
        SFTConfig(freeze_embeddings=True, trainer="llamafactory", llamafactory={"template": "qwen"})


@pytest.mark.parametrize("method", [{"method": "lora", "lora_dropout": 0.2}, {"method": "full"}])
def test_training_depends_on_its_seed_and_on_nothing_drawn_before(
    tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path, method
):
    import random

    import torch

    def losses(before: int) -> list[float]:
        random.seed(before)
        np.random.seed(before)
        torch.manual_seed(before)
        subset = encode(pool_dir, tiny_tokenizer)
        return run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=3, **method).losses

    assert losses(1) == losses(2)


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_every_generator_is_seeded_and_given_back(seed):
    import random

    import torch

    from autoselection.evaluation.runtime import borrowed_process

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    def inside(seed: int) -> tuple[float, float, float]:
        with borrowed_process(seed, None):
            return drawn()

    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = drawn()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    first = inside(seed)
    assert drawn() == expected  # the caller's generators go on where they were
    again, other = inside(seed), inside(seed + 1)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_rows_are_cut_dropped_and_counted(tiny_tokenizer, tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": "x" * 20}, {"role": "assistant", "content": "y" * 60}]},  # cut
        {"messages": [{"role": "user", "content": "x" * 99}, {"role": "assistant", "content": "y"}]},  # nothing left
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
    ]
    ingest([write_jsonl(tmp_path / "rows.jsonl", rows)], tmp_path / "pool")
    subset = encode(tmp_path / "pool", tiny_tokenizer, max_length=64)
    assert (subset.read, subset.truncated, sum(subset.dropped.values())) == (0, 0, 0)
    lengths = subset.lengths(np.arange(3))
    assert (subset.read, subset.truncated) == (3, 2)
    assert subset.dropped == {"max_length": 1, "no_response": 0, "template": 0}
    whole = encode(tmp_path / "pool", tiny_tokenizer, max_length=4096)
    assert subset.lost == sum(length - 64 for length in whole.lengths(np.arange(2)))
    assert whole.lost == 0
    assert lengths[:2].tolist() == [64, 0]
    assert lengths[2] > 0


def test_only_the_last_turn_is_trained_if_asked(tiny_tokenizer, pool_dir):
    every, last = (
        encode(pool_dir, tiny_tokenizer, [0], turns=turns).trainable(np.array([0]))[0].labels
        for turns in ("all", "last")
    )
    assert tiny_tokenizer.decode(last[last != -100]).replace(" ", "") == "ok<|im_end|>"
    assert (every != -100).sum() > (last != -100).sum()


def test_a_subset_without_a_trainable_row_fails_with_the_reason(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    subset = encode(pool_dir, tiny_tokenizer, [1, 2], max_length=8)
    with pytest.raises(
        TrainingFailure, match="No row of the subset can be trained on: 2 because their prompts fill the maximum length"
    ):
        run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=1)


def test_nothing_is_written(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    run(tiny_model_dir, tiny_tokenizer, encode(pool_dir, tiny_tokenizer), tmp_path, max_steps=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("micro", [{}, {"micro_batch_tokens": 150}, {"micro_batch_size": 3}])
def test_packing_changes_the_padding_and_nothing_else(
    method, micro, tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    subset = encode(pool_dir, tiny_tokenizer)
    sft = {"method": method, "max_steps": 4, **micro}
    model = load_model(tiny_model_dir, "cpu", "float32")
    model.set_attn_implementation("eager")
    padded = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, **sft)
    model = load_model(tiny_model_dir, "cpu", "float32")
    seen = packs_of(model)
    packed = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, **sft)
    assert (padded.packed, packed.packed) == (False, True)
    assert packed.model.config._attn_implementation == "sdpa"
    assert packed.losses == pytest.approx(padded.losses, rel=1e-4)
    for (name, ours), theirs in zip(packed.model.named_parameters(), padded.model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5), name
    assert all(tuple(ids.shape[:1]) == (1,) for ids, _ in seen)
    assert sum(ids.shape[1] for ids, _ in seen) == padded.schedule.tokens  # not one token of padding
    assert sum(int((positions == 0).sum()) for _, positions in seen) == 4 * 8  # positions start again with every row
    if micro.get("micro_batch_tokens"):
        assert all(ids.shape[1] <= 150 or int((positions == 0).sum()) == 1 for ids, positions in seen)
    if micro.get("micro_batch_size"):
        assert all(int((positions == 0).sum()) <= 3 for _, positions in seen)


def packs_of(model: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Token ids and positions of every training pass of ``model``."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        if module.training:
            assert kwargs.get("attention_mask") is None
            seen.append((kwargs["input_ids"].clone(), kwargs["position_ids"].clone()))

    model.register_forward_pre_hook(record, with_kwargs=True)
    return seen


def test_a_model_whose_rows_see_each_other_is_trained_padded(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    subset = encode(pool_dir, tiny_tokenizer)
    expected = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=2)
    model = load_model(tiny_model_dir, "cpu", "float32")
    forward = model.forward

    def leaky(input_ids: Any, position_ids: Any = None, attention_mask: Any = None, **rest: Any) -> Any:
        return forward(input_ids=input_ids, attention_mask=attention_mask, **rest)  # positions are dropped

    model.forward = leaky
    padded = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_steps=2)
    assert (expected.packed, padded.packed) == (True, False)
    assert padded.losses == pytest.approx(expected.losses, rel=1e-4)
    with pytest.raises(EvaluationError, match=r"does not keep packed rows apart.*switch evaluation\.sft\.packing off"):
        run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_steps=1, packing=True)


def test_a_budget_of_response_tokens_gives_every_subset_the_same_supervision(
    tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path
):
    for rows in (range(3), range(48)):
        model = load_model(tiny_model_dir, "cpu", "float32")
        seen = batches_of(model)
        subset = encode(pool_dir, tiny_tokenizer, rows)
        trained = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, model, max_tokens=300, budget_counts="response")
        taught = sum(int((batch["trained"] != -100).sum()) for batch in seen)
        assert taught == subset.responses(trained.schedule.order).sum()
        assert 300 <= taught < 300 + subset.responses(np.arange(len(subset))).max()
        assert trained.schedule.tokens > 2 * taught


def test_a_loss_that_rises_far_above_its_start_is_divergence(tiny_model_dir, tiny_tokenizer, pool_dir, tmp_path):
    subset = encode(pool_dir, tiny_tokenizer)
    wild = {"max_steps": 30, "learning_rate": 3.0, "scheduler": "constant", "warmup_ratio": 0.0}
    with pytest.raises(TrainingFailure, match=r"diverged: the mean loss of 5 steps rose to .* in step \d+ of 30"):
        run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, **wild)
    waited = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, **{**wild, "max_steps": 8, "divergence": None})
    assert len(waited.losses) == 8
    calm = run(tiny_model_dir, tiny_tokenizer, subset, tmp_path, max_steps=8, divergence=1.5)
    assert len(calm.losses) == 8


def arguments_of(tiny_model_dir: Path, tmp_path: Path, autocast: bool = False, **sft: Any) -> Any:
    config = SFTConfig(**{"max_steps": 3, "batch_size": 4, **sft})
    model = load_model(tiny_model_dir, "cpu", "float32")
    schedule = TrainingSchedule(np.arange(12), config.max_steps or 3, 60)
    return training_arguments(config, schedule, model, autocast=autocast, seed=5, work_dir=tmp_path)


def test_settings_reach_the_training_arguments(tiny_model_dir, tmp_path):
    plain = arguments_of(tiny_model_dir, tmp_path)
    assert (plain.gradient_checkpointing, plain.bf16, plain.fp16, plain.packing) == (False, False, False, False)
    assert (plain.max_steps, plain.seed, plain.save_strategy, plain.report_to) == (3, 5, "no", [])
    asked = arguments_of(
        tiny_model_dir, tmp_path, True, gradient_checkpointing=True, weight_decay=0.2, max_grad_norm=0.3,
        learning_rate=0.5, scheduler="linear", warmup_ratio=0.5,
    )  # fmt: skip
    assert (asked.gradient_checkpointing, asked.bf16) == (True, True)
    assert (asked.weight_decay, asked.max_grad_norm, asked.learning_rate) == (0.2, 0.3, 0.5)
    assert (asked.lr_scheduler_type, asked.warmup_steps) == ("linear", 2)


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        ("constant", [0, 0.5, 1, 1, 1, 1]),
        ("linear", [0, 0.5, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0, 0.5, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_the_learning_rate_rises_and_falls_as_the_scheduler_says(tiny_model_dir, tmp_path, scheduler, rates):
    from transformers import get_scheduler

    asked = arguments_of(
        tiny_model_dir, tmp_path, scheduler=scheduler, warmup_ratio=1 / 3, learning_rate=2.0, max_steps=6
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=asked.learning_rate)
    schedule = get_scheduler(
        asked.lr_scheduler_type, optimizer, num_warmup_steps=asked.warmup_steps, num_training_steps=asked.max_steps
    )
    found = []
    for _ in rates:
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert found == pytest.approx([2.0 * rate for rate in rates])


def test_an_fsdp_configuration_reaches_accelerate(tiny_model_dir, tmp_path):
    path = tmp_path / "fsdp.json"
    path.write_text(
        json.dumps({"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"], "cpu_offload": True})
    )
    arguments = arguments_of(tiny_model_dir, tmp_path, fsdp=path)
    assert arguments.fsdp is True
    assert arguments.fsdp_config["transformer_layer_cls_to_wrap"] == ["LlamaDecoderLayer"]
    plugin = arguments.fsdp_plugin_args
    assert (plugin["fsdp_version"], plugin["cpu_offload"]) == (2, True)
    assert plugin["transformer_cls_names_to_wrap"] == "LlamaDecoderLayer"


def test_a_deepspeed_configuration_reaches_the_training_arguments(tiny_model_dir, tmp_path, monkeypatch):
    """DeepSpeed is not installed here: what TRL's configuration is given is read off its constructor."""
    import trl

    given: dict[str, Any] = {}
    path = tmp_path / "zero2.json"
    settings = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}, "train_batch_size": "auto"}
    path.write_text(json.dumps(settings))
    monkeypatch.setattr(trl, "SFTConfig", lambda **arguments: given.update(arguments))
    monkeypatch.setattr("autoselection.evaluation.trainers.trl.importlib.util.find_spec", lambda _: object())
    arguments_of(tiny_model_dir, tmp_path, deepspeed=path)
    assert given["deepspeed"] == settings
    assert {"deepspeed", "fsdp", "bf16"} <= set(inspect.signature(SFTArguments).parameters)
    assert "fsdp" not in given


def test_distribution_that_cannot_work_is_refused(tiny_model_dir, tmp_path):
    path = tmp_path / "zero3.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    with pytest.raises(EvaluationError, match=r"zero3\.json: ZeRO stage 3 .* use stage 2"):
        arguments_of(tiny_model_dir, tmp_path, deepspeed=path)
    path.write_text("{}")
    with pytest.raises(MissingExtraError, match=r"autoselection\[deepspeed\]"):
        arguments_of(tiny_model_dir, tmp_path, deepspeed=path)
    for text, reason in (("[1]", "must hold a JSON object"), ("{", "cannot be read as JSON")):
        path.write_text(text)
        with pytest.raises(EvaluationError, match=reason):
            arguments_of(tiny_model_dir, tmp_path, fsdp=path)
    with pytest.raises(ValidationError, match="give deepspeed or fsdp, not both"):
        SFTConfig(deepspeed=path, fsdp=path)
