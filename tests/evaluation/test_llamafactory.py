"""LLaMA-Factory as trainer: what is written for it, and how its command is run.

LLaMA-Factory itself is not installed here. The YAML is checked against its documented argument names and, for those it
inherits, against transformers' own class. The command in the second half is a STAND-IN of a few lines that trains
nothing: it tests starting, waiting, exit codes and the reading of results, not LLaMA-Factory.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import Seq2SeqTrainingArguments

from autoselection.errors import EvaluationError
from autoselection.evaluation import EvaluationConfig, SFTConfig, evaluate
from autoselection.evaluation.encoding import RowCache
from autoselection.evaluation.evaluate import check_machine
from autoselection.evaluation.runtime import MachineFailure, TrainingFailure, failure_of
from autoselection.evaluation.schedule import plan
from autoselection.evaluation.trainers.contract import make_trainer
from autoselection.evaluation.trainers.llamafactory import (
    LlamaFactoryTrainer,
    holdable,
    told_refused,
    write_training,
)
from autoselection.language.chat import ConversationEncoder
from autoselection.pool import Pool, ingest

#: Names of LLaMA-Factory's own arguments (its hparams: model, data and finetuning arguments, August 2026).
OWN = {
    "model_name_or_path", "trust_remote_code", "stage", "finetuning_type", "dataset", "dataset_dir", "template",
    "cutoff_len", "train_on_prompt", "mask_history", "disable_shuffling", "packing", "neat_packing",
    "disable_gradient_checkpointing", "plot_loss", "lora_rank", "lora_alpha", "lora_dropout", "lora_target",
}  # fmt: skip
INHERITED = {field.name for field in dataclasses.fields(Seq2SeqTrainingArguments)}


def sft_of(**fields: Any) -> SFTConfig:
    factory = {"template": "qwen", **fields.pop("llamafactory", {})}
    return SFTConfig(**{"trainer": "llamafactory", "llamafactory": factory, "batch_size": 8, **fields})


def written(
    pool_dir: Path, tokenizer: Any, folder: Path, config: SFTConfig, seed: int = 0, **more: Any
) -> tuple[dict[str, Any], list[dict[str, Any]], Any, Any]:
    """The YAML and the rows written for ``config``, and the encoded subset and schedule they come from."""
    pool = Pool.open(pool_dir)
    subset = RowCache().subset(pool, np.arange(len(pool)), ConversationEncoder(tokenizer, max_length=256), True)
    schedule = plan(subset, config, seed)
    settings = {"model": "base", "folder": folder, "seed": seed, "max_length": 256, "device": "cpu", "bf16": False}
    trainer = make_trainer(config)
    assert isinstance(trainer, LlamaFactoryTrainer)
    arguments = trainer.train_arguments(schedule, **{**settings, **more})
    path = write_training(pool, subset.pool_rows[schedule.order], folder, arguments)
    lines = (folder / "data" / "subset.jsonl").read_text(encoding="utf-8").splitlines()
    return yaml.safe_load(path.read_text(encoding="utf-8")), [json.loads(line) for line in lines], subset, schedule


def test_every_argument_is_one_that_llamafactory_documents(pool_dir, tiny_tokenizer, tmp_path):
    deepspeed = tmp_path / "zero.json"
    deepspeed.write_text("{}")
    configs = [
        sft_of(),
        sft_of(method="lora", lora_target_modules=("q_proj", "v_proj"), turns="last", scheduler="constant"),
        sft_of(deepspeed=deepspeed, llamafactory={"extra": {"neat_packing": True}}),
        sft_of(fsdp=deepspeed),
    ]
    for number, config in enumerate(configs):
        document, *_ = written(pool_dir, tiny_tokenizer, tmp_path / str(number), config)
        assert set(document) <= OWN | INHERITED, set(document) - OWN - INHERITED


def test_inherited_arguments_are_accepted_by_transformers(pool_dir, tiny_tokenizer, tmp_path):
    config = sft_of(epochs=2, scheduler="constant", warmup_ratio=0.2, weight_decay=0.1, micro_batch_size=2)
    document, rows, *_ = written(pool_dir, tiny_tokenizer, tmp_path / "run", config, seed=7)
    arguments = Seq2SeqTrainingArguments(**{name: value for name, value in document.items() if name in INHERITED})
    assert arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps == 8
    assert (arguments.seed, arguments.num_train_epochs, arguments.weight_decay) == (7, 1.0, 0.1)
    assert arguments.lr_scheduler_type == "constant_with_warmup"
    assert arguments.warmup_steps == -(-len(rows) // 8 * 2 // 10)
    assert arguments.logging_nan_inf_filter is False


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"method": "full"}, {"finetuning_type": "full"}),
        (
            {"method": "lora", "lora_r": 4, "lora_alpha": 8.0},
            {"finetuning_type": "lora", "lora_rank": 4, "lora_alpha": 8, "lora_target": "all"},
        ),
        ({"turns": "last"}, {"mask_history": True, "train_on_prompt": False}),
        ({"completion_only": False}, {"mask_history": False, "train_on_prompt": True}),
        ({"gradient_checkpointing": True}, {"disable_gradient_checkpointing": False}),
        ({"llamafactory": {"extra": {"cutoff_len": 99, "use_dora": True}}}, {"cutoff_len": 99, "use_dora": True}),
        (
            {"llamafactory": {"processes": 4}, "micro_batch_size": 2},
            {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1},
        ),
    ],
)
def test_settings_become_its_arguments(fields, expected, pool_dir, tiny_tokenizer, tmp_path):
    document, *_ = written(pool_dir, tiny_tokenizer, tmp_path / "run", sft_of(**fields))
    assert {name: document[name] for name in expected} == expected
    assert (document["template"], document["disable_shuffling"]) == ("qwen", True)


@pytest.mark.parametrize("budget", [{"epochs": 2}, {"max_steps": 13}, {"max_tokens": 3000}])
def test_the_data_are_the_schedule_row_by_row(budget, pool_dir, tiny_tokenizer, tmp_path):
    document, rows, subset, schedule = written(pool_dir, tiny_tokenizer, tmp_path / "run", sft_of(**budget), seed=3)
    ids = Pool.open(pool_dir).row_ids(subset.pool_rows[schedule.order])
    assert [row["id"] for row in rows] == list(ids)
    size = document["per_device_train_batch_size"] * document["gradient_accumulation_steps"]
    assert -(-len(rows) // size) == schedule.steps  # one pass over the file takes the steps of the schedule
    info = json.loads((tmp_path / "run" / "data" / "dataset_info.json").read_text())
    assert info["subset"]["file_name"] == "subset.jsonl"
    assert info["subset"]["formatting"] == "sharegpt"
    with_system = next(row for row in rows if row["id"] == "row6")
    assert with_system["system"] == "Add."
    assert [turn["from"] for turn in with_system["conversations"]] == ["human", "gpt", "human", "gpt"]


def test_rows_its_form_cannot_hold_are_found(tmp_path):
    rows = [
        [("user", "a"), ("assistant", "b")],
        [("system", "s"), ("user", "a"), ("assistant", "b")],
        [("user", "a"), ("user", "b"), ("assistant", "c")],
        [("user", "a"), ("assistant", "b"), ("user", "c")],
        [("assistant", "b"), ("user", "c"), ("assistant", "d")],
    ]
    records = [{"messages": [{"role": role, "content": text} for role, text in turns]} for turns in rows]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    ingest([source], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    found, reasons = holdable(pool, np.arange(len(pool)))
    expected = []
    for messages in pool.messages(np.arange(len(pool))):
        roles = [message["role"] for message in messages if message["role"] != "system"]
        expected.append(roles == ["user", "assistant"] * (len(roles) // 2))
    assert found.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    (sentence,) = told_refused(reasons, len(pool))
    assert sum(reasons.values()) == expected.count(False) and sentence.startswith(
        "LLaMA-Factory does not train on 2 of 4"
    )


def test_tools_and_calls_go_to_llamafactory_and_weights_are_refused_aloud(tiny_tokenizer, tmp_path):
    question = {"role": "user", "content": "q"}
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]}
    result, answer = {"role": "tool", "content": "5"}, {"role": "assistant", "content": "five"}
    tools = [{"type": "function", "function": {"name": "f"}}]
    records = [
        {"messages": [question, call, result, answer], "tools": tools},
        {"messages": [question, {**answer, "weight": 0}, question, answer]},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    kept, reasons = holdable(pool, np.arange(2))
    assert kept.tolist() == [True, False]
    assert told_refused(reasons, 2) == [
        "LLaMA-Factory does not train on 1 of 2 rows: 1 with answers of weight 0, which LLaMA-Factory would train on."
    ]
    write_training(pool, np.array([0, 0]), tmp_path / "run", {})
    first, second = [json.loads(line) for line in (tmp_path / "run" / "data" / "subset.jsonl").read_text().splitlines()]
    assert [turn["from"] for turn in first["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert json.loads(first["tools"]) == tools and first["conversations"] == second["conversations"]
    info = json.loads((tmp_path / "run" / "data" / "dataset_info.json").read_text())["subset"]
    assert info["columns"]["tools"] == "tools" and info["tags"]["function_tag"] == "function_call"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llamafactory": {"template": None}}, "needs llamafactory.template"),
        ({"packing": True}, "leave packing and group_by_length off"),
        ({"method": "lora", "lora_alpha": 0.4}, "takes a whole number from 1 for lora_alpha, not 0.4"),
        ({"method": "lora", "lora_alpha": 12.5}, "takes a whole number from 1 for lora_alpha, not 12.5"),
        ({"micro_batch_size": 3}, r"no multiple of micro_batch_size x processes \(3\)"),
    ],
)
def test_settings_it_cannot_follow_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        sft_of(**fields)


# From here on with the stand-in.

STAND_IN = '''#!{python}
"""A stand-in of llamafactory-cli: trains nothing, does what the file "does" beside it says."""
import json, os, shutil, signal, sys, time
from pathlib import Path
import yaml
here = Path(__file__).parent
assert sys.argv[1] == "train"
document = yaml.safe_load(Path(sys.argv[2]).read_text())
(here / "seen.json").write_text(json.dumps({{
    "yaml": document, "env": {{name: os.environ.get(name) for name in
    ("FORCE_TORCHRUN", "NPROC_PER_NODE", "HF_DATASETS_CACHE", "PYTHONPATH")}}, "pid": os.getpid()}}))
does = json.loads((here / "does.json").read_text())
print(does.get("says", "training"))
sys.stdout.flush()
if "sleep" in does:
    time.sleep(does["sleep"])
if "signal" in does:
    os.kill(os.getpid(), does["signal"])
if does.get("code"):
    sys.exit(does["code"])
output = Path(document["output_dir"])
if "leaves" in does:
    shutil.copytree(does["leaves"], output)
    losses = does.get("losses", [2.0, 1.0])
    history = [{{"step": step, "loss": loss}} for step, loss in enumerate(losses, 1)] + [{{"train_loss": 1.5}}]
    (output / "trainer_state.json").write_text(json.dumps({{"log_history": history}}))
    (output / "train_results.json").write_text(json.dumps({{"train_loss": 1.5}}))
'''


@pytest.fixture
def stand_in(tmp_path):
    """``stand_in(**does)``: the path of the stand-in, told what to do; ``.seen()`` is what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "llamafactory-cli"
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(0o755)

    def make(**does: Any) -> str:
        (folder / "does.json").write_text(json.dumps(does))
        return str(script)

    make.seen = lambda: json.loads((folder / "seen.json").read_text())  # type: ignore[attr-defined]
    return make


def job_of(make_job: Any, command: str, **fields: Any) -> Any:
    factory = {"template": "chatml", "command": command, **fields.pop("llamafactory", {})}
    return make_job(sft={"trainer": "llamafactory", "llamafactory": factory, **fields})


def test_a_missing_command_is_one_sentence_before_anything_is_loaded(make_job):
    with pytest.raises(EvaluationError, match=r"runs 'no-such-cli', which does not exist: install LLaMA-Factory"):
        evaluate(job_of(make_job, "no-such-cli"))


def test_deepspeed_is_its_own_matter(stand_in, tmp_path):
    """ZeRO 3 and the package are there where LLaMA-Factory is installed, not here."""
    zero = tmp_path / "zero.json"
    zero.write_text('{"zero_optimization": {"stage": 3}}')
    check_machine(EvaluationConfig(sft=sft_of(deepspeed=zero, llamafactory={"command": stand_in()})))
    with pytest.raises(EvaluationError, match=r"ZeRO stage 3 .* or evaluation\.sft\.trainer llamafactory"):
        check_machine(EvaluationConfig(sft=SFTConfig(deepspeed=zero)))


def test_the_model_it_leaves_is_scored(make_job, stand_in, tiny_model_dir, tmp_path):
    shifted = tmp_path / "shifted"
    shifted.mkdir()
    for file in tiny_model_dir.iterdir():
        if file.name != "model.safetensors":
            (shifted / file.name).write_bytes(file.read_bytes())
    weights = load_file(tiny_model_dir / "model.safetensors")
    save_file({name: value * 0.5 for name, value in weights.items()}, shifted / "model.safetensors", {"format": "pt"})
    result = evaluate(job_of(make_job, stand_in(leaves=str(shifted))))
    wanted = evaluate(make_job(rows=None, model=str(shifted)))
    assert result.failure is None
    assert result.items["sums"]["nll"] == pytest.approx(wanted.items["sums"]["nll"], abs=1e-6)
    assert (result.steps, result.train_loss, result.train_rows) == (2, (2.0, 1.0), 16)
    assert result.train_tokens > result.response_tokens > 0
    seen = stand_in.seen()
    assert seen["yaml"]["model_name_or_path"] == str(tiny_model_dir)
    assert seen["env"]["PYTHONPATH"] is None
    assert seen["env"]["HF_DATASETS_CACHE"].startswith(str(tmp_path))
    assert (seen["env"]["NPROC_PER_NODE"], seen["env"]["FORCE_TORCHRUN"]) == ("1", None)
    left = {path.name for path in (tmp_path / "work" / "llamafactory").iterdir()}
    assert left == {"train.yaml", "train.log"}  # neither weights nor data


def test_adapters_it_leaves_are_merged_and_scored(make_job, stand_in, tiny_model_dir, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model

    from autoselection.language.models import load_model

    adapted = get_peft_model(
        load_model(tiny_model_dir, "cpu", "float32"),
        LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]),
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    adapted.save_pretrained(str(tmp_path / "adapter"))
    count = sum(parameter.numel() for name, parameter in adapted.named_parameters() if "lora_" in name)
    adapted.merge_and_unload().save_pretrained(str(tmp_path / "merged"))
    for file in tiny_model_dir.glob("*token*"):
        (tmp_path / "merged" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "merged" / "chat_template.jinja").write_text((tiny_model_dir / "chat_template.jinja").read_text())
    result = evaluate(job_of(make_job, stand_in(leaves=str(tmp_path / "adapter")), method="lora", lora_r=2))
    wanted = evaluate(make_job(rows=None, model=str(tmp_path / "merged")))
    assert result.items["sums"]["nll"] == pytest.approx(wanted.items["sums"]["nll"], abs=1e-5)
    assert result.settings["trainable_parameters"] == count


@pytest.mark.parametrize(
    ("does", "kind", "reason"),
    [
        ({"losses": [2.0, float("nan")]}, "training", "loss is not finite in step 2 of 2"),
        ({"code": 1, "says": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."}, "training",
         "ran out of memory"),
        ({"code": 1, "says": "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.00 GiB "
          "of which 1.00 GiB is free. Process 7 has 50.00 GiB memory in use. Including non-PyTorch memory, this process "
          "has 28.00 GiB memory in use."}, "infrastructure", "memory taken by others"),
        ({"code": 1, "says": "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"},
         "training", "ran out of memory"),
        ({"code": 1, "says": "OSError: [Errno 28] No space left on device"}, "infrastructure", "No space left"),
        ({"code": 1, "says": "exitcode: -9, Signal 9 (SIGKILL) received by PID 5"}, "infrastructure", "SIGKILL"),
        ({"signal": int(signal.SIGKILL)}, "infrastructure", "ended by signal SIGKILL"),
        ({"code": 1, "says": "RuntimeError: Cannot find valid samples, check `data/README.md`"}, "training",
         "takes no row of the subset"),
        ({"sleep": 30, "llamafactory": {"timeout": 0.5}}, "training", r"longer than .*timeout \(0.5 s\)"),
    ],
)  # fmt: skip
def test_its_failures_are_told_apart(does, kind, reason, make_job, stand_in, tiny_model_dir):
    factory = does.pop("llamafactory", {})
    does = {**does, **({"leaves": str(tiny_model_dir)} if "losses" in does else {})}
    result = evaluate(job_of(make_job, stand_in(**does), llamafactory=factory))
    assert result.failure_kind == kind
    assert re.search(reason, result.failure or "")


@pytest.mark.parametrize(
    ("error", "kind"), [(OSError(errno.EMFILE, "Too many open files"), "infrastructure"), (ValueError("odd"), None)]
)
def test_adapters_that_the_machine_cannot_read_are_not_broken(
    error, kind, make_job, stand_in, tiny_model_dir, monkeypatch
):
    from peft import PeftModel

    def load(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(PeftModel, "from_pretrained", load)
    job = job_of(make_job, stand_in(leaves=str(tiny_model_dir)), method="lora")
    if kind is None:
        with pytest.raises(EvaluationError, match=r"adapters in .* cannot be loaded: odd"):
            evaluate(job)
        return
    assert evaluate(job).failure_kind == kind


def test_what_it_refuses_is_our_mistake_and_names_its_log(make_job, stand_in, tmp_path):
    command = stand_in(code=1, says="ValueError: Template chatty does not exist.")
    with pytest.raises(EvaluationError, match=r"exit code 1: ValueError: Template chatty .*train\.log"):
        evaluate(job_of(make_job, command))
    assert "chatty" in (tmp_path / "work" / "llamafactory" / "train.log").read_text()
    with pytest.raises(EvaluationError, match="left no readable result"):
        evaluate(job_of(make_job, stand_in()))


def test_many_processes_are_asked_of_torchrun(make_job, stand_in, tiny_model_dir):
    evaluate(job_of(make_job, stand_in(leaves=str(tiny_model_dir)), llamafactory={"processes": 2}))
    seen = stand_in.seen()
    assert (seen["env"]["NPROC_PER_NODE"], seen["env"]["FORCE_TORCHRUN"]) == ("2", "1")
    assert seen["yaml"]["gradient_accumulation_steps"] == 4


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told by Linux")
def test_it_does_not_outlive_the_process_that_started_it(stand_in, tmp_path):
    config = sft_of(llamafactory={"command": stand_in(sleep=60)})
    (tmp_path / "train.yaml").write_text("output_dir: x\n")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from autoselection.evaluation import SFTConfig\n"
        "from autoselection.evaluation.trainers.contract import make_trainer\n"
        "make_trainer(SFTConfig.model_validate_json(sys.argv[1])).run_training(Path(sys.argv[2]))\n"
    )
    # Not a fork of the test run: its threads hold locks, and an error would go on with the other tests.
    child = subprocess.Popen([sys.executable, "-c", script, config.model_dump_json(), str(tmp_path / "train.yaml")])
    try:
        seen = tmp_path / "bin" / "seen.json"
        deadline = time.monotonic() + 120
        while not (seen.exists() and seen.stat().st_size) and time.monotonic() < deadline:
            assert child.poll() is None
            time.sleep(0.05)
        started = stand_in.seen()["pid"]
    finally:
        child.kill()
        child.wait()

    def alive() -> bool:
        stat = Path(f"/proc/{started}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"

    deadline = time.monotonic() + 20
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive()


def test_a_lost_command_is_the_machines_failure():
    assert failure_of(MachineFailure("gone")) == ("gone", "infrastructure")
    assert failure_of(TrainingFailure("diverged")) == ("diverged", "training")
