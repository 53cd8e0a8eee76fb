"""What a study would fail at after hours is refused before a signal is computed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from autoselection import doctor
from autoselection.config import load_config
from autoselection.demo import model_dir
from autoselection.doctor import examine, examine_config
from autoselection.errors import AutoSelectionError, ConfigError, PoolError, StudyError
from autoselection.language import flash
from autoselection.ledger.journal import Journal
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.study import Study
from autoselection.study.checks import check_setup, estimate_training
from autoselection.study.prepare import prepare
from autoselection.study.run import run_study
from autoselection.tasks import TaskItem, few_items, guessing_accuracy, some_items


@pytest.fixture
def fresh(study_config: Path, raw_pool: Path, tmp_path: Path) -> Any:
    """``fresh(*overrides)``: the small study on raw files, nothing of which is read or scored yet."""

    def make(*overrides: str) -> Any:
        document = yaml.safe_load(study_config.read_text())
        document["pool"] = {"files": [str(raw_pool)]}
        file = tmp_path / "fresh.yaml"
        file.write_text(yaml.safe_dump(document))
        return load_config(file, overrides)

    return make


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation.device=cuda"], "Device 'cuda' is not available here"),
        (["signals.device=cuda:3"], "Device 'cuda:3' is not available here"),
        (["evaluation.device=mps"], "Device 'mps' is not available here"),
        (["evaluation.engine=vllm"], "needs the package 'vllm'"),
        (["executor.kind=ray", "evaluation.sft.deepspeed=nowhere.json"], r"needs the package|cannot be read"),
        (["evaluation.engine=openai"], r"needs evaluation\.endpoint\.base_url"),
        (
            ["evaluation.engine=openai", "evaluation.endpoint.base_url=http://127.0.0.1:9/v1",
             "evaluation.endpoint.model=m", "evaluation.endpoint.api_key_env=NO_SUCH_KEY_HERE"],
            "variable NO_SUCH_KEY_HERE",
        ),
        (
            ["evaluation.engine=openai", "evaluation.endpoint.base_url=http://127.0.0.1:9/v1",
             "evaluation.endpoint.model=m"],
            "load_adapters",
        ),
        (
            ["evaluation.engine=openai", "evaluation.endpoint.base_url=http://127.0.0.1:9/v1",
             "evaluation.endpoint.model=m", "evaluation.endpoint.load_adapters=true", "evaluation.sft.method=lora",
             "evaluation.endpoint.retries=0"],
            "is the server up",
        ),
        (["evaluation.sft.fsdp=nowhere.json"], "cannot be read as JSON"),
        (
            ["evaluation.sft.trainer=llamafactory", "evaluation.sft.llamafactory.template=qwen",
             "evaluation.sft.llamafactory.command=no-such-command"],
            "no-such-command",
        ),
        (["evaluation.sft.method=lora", "evaluation.sft.lora_target_modules=[q_proj, querry]"],
         r"no layer 'querry' with weights; it has .*q_proj"),
        (["evaluation.sft.method=lora", "evaluation.sft.lora_target_modules=[mlp]"], "no layer 'mlp' with weights"),
        (["model.path=./nowhere"], r"nowhere"),
        (["model.chat_template=nowhere.jinja"], r"there is no file .*nowhere\.jinja"),
        (["model.chat_template=chatmll"], "did you mean"),
        (["incumbent.recipe=nowhere.yaml"], "nowhere"),
        (["final.recipes=[nowhere.yaml]"], "nowhere"),
        (["search.initial=[nowhere.yaml]"], "nowhere"),
        (["search.warm_start=[nowhere]"], r"search\.warm_start: .*nowhere holds no study"),
        (["sae=nowhere"], "no SAE folder"),
        (["signals.embedding_model=./nowhere"], "no embedding model"),
        (["signals.reward_model=./nowhere"], "no model folder"),
        (["signals.trajectory_models=[./nowhere]"], "no model folder"),
        (["tasks.0.dev=nowhere.jsonl"], r"the dev file .*nowhere\.jsonl does not exist"),
        (["tasks.0.test=nowhere.jsonl"], r"the test file .*nowhere\.jsonl does not exist"),
        (["tasks.0.fewshot=500"], "500 examples are asked for"),
        (["search.llm.model=m", "search.llm.api_key_env=NO_SUCH_KEY_HERE"], "NO_SUCH_KEY_HERE"),
    ],
)  # fmt: skip
def test_refused_before_anything_is_computed(fresh, tmp_path, overrides, message, monkeypatch):
    def computed(*_: Any, **__: Any) -> None:
        raise AssertionError("the pool was read, or a signal computed")

    for name in ("ingest", "score_pool"):
        monkeypatch.setattr(f"autoselection.study.prepare.{name}", computed)
    with pytest.raises(AutoSelectionError, match=message):
        run_study(fresh(*overrides), tmp_path / "study")
    assert not (tmp_path / "study" / "pool").exists()


def test_a_template_or_model_that_cannot_be_used_is_refused_early(fresh, tiny_model_dir, tmp_path):
    import shutil

    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for m in messages %}{{ m.content }}")
    with pytest.raises(AutoSelectionError, match="Unexpected end of template"):
        check_setup(fresh(f"model.chat_template={broken}"))
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model_dir, bare)
    (bare / "model.safetensors").unlink()
    with pytest.raises(AutoSelectionError, match="holds no weights"):
        check_setup(fresh(f"model.path={bare}"))
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    (bare / "model.safetensors").touch()
    with pytest.raises(AutoSelectionError, match="has no chat template"):
        check_setup(fresh(f"model.path={bare}"))
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"id": "a", "prompt": "p", "answer": "word " * 4000}) + "\n")
    with pytest.raises(ConfigError, match="more than the model's context"):
        check_setup(fresh(f"tasks.0.dev={long}", "tasks.0.dev_limit=null"))


def test_what_is_usable_is_not_refused(fresh):
    check_setup(fresh())
    check_setup(fresh("evaluation.sft.method=lora", "evaluation.sft.lora_target_modules=[q_proj, v_proj]"))


def test_a_task_without_dev_says_what_to_give(fresh):
    with pytest.raises(ConfigError, match=r"no dev items to guide the search"):
        fresh("tasks.0.dev=null")


def test_doctor_foretells_what_training_and_signals_lose(fresh, tmp_path):
    """Half of the rows have prompts that fill the length, and a tenth are cut."""
    rows = []
    for index in range(200):
        prompt = f"{index} " + ("word " * 300 if index % 2 else "hi")
        answer = "word " * 300 if index % 10 == 0 else "yes"
        rows.append({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]})
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = fresh(f"pool.files=[{source}]", "evaluation.sft.max_length=64", "signals.max_length=64")
    ingest([source], tmp_path / "pool")
    found = estimate_training(config, Pool.open(tmp_path / "pool"))
    assert (found.rows, found.dropped, found.truncated, found.no_ifd) == (200, {"max_length": 100}, 120, 100)
    assert found.sentences[0].startswith(
        "Training drops 100 of 200 rows (50%): 100 because their prompts fill the maximum length."
    )
    assert found.sentences[1].startswith("100 of 200 rows (50%) will have no IFD: their prompts fill the 64 tokens")
    told = examine_config(config)
    assert told["training"] == list(found.sentences)
    fine = examine_config(fresh(f"pool.files=[{source}]", "evaluation.device=cuda"))
    assert "Device 'cuda' is not available here" in fine["problems"][0]
    assert "One training seed a row" in told["power"]


def test_doctor_says_what_the_final_seeds_can_find(fresh, tmp_path):
    source = tmp_path / "rows.jsonl"
    row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}
    source.write_text("".join(json.dumps({**row, "id": str(index)}) + "\n" for index in range(40)))
    said = [
        examine_config(fresh(f"pool.files=[{source}]", *more))["power"]
        for more in (["final.seeds=[0, 1, 2]"], ["final.seeds=[0, 1, 2, 3, 4]"], ["final.enabled=false"])
    ]
    # Three pairs: 80% power of Student's t test with two degrees of freedom (tables of the non-central t).
    assert said[0].startswith("3 training seeds a row: the final table finds a difference of 3.3 standard deviations")
    assert "a difference of 1.7 standard deviations" in said[1] and said[2] is None


@pytest.mark.parametrize(("turns", "lost"), [("all", 0), ("last", 40)])
def test_doctor_counts_the_turns_that_the_signals_read(fresh, tmp_path, turns, lost):
    """The first answer stands in the first 64 tokens of every row, the last one behind them."""
    chat = [("user", "hi"), ("assistant", "yes"), ("user", "word " * 300), ("assistant", "no")]
    row = {"messages": [{"role": role, "content": content} for role, content in chat]}
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps({**row, "id": str(index)}) + "\n" for index in range(40)))
    config = fresh(f"pool.files=[{source}]", "signals.max_length=64", f"signals.turns={turns}")
    ingest([source], tmp_path / "pool")
    assert estimate_training(config, Pool.open(tmp_path / "pool")).no_ifd == lost


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "search.operators=[ifd_filtr]",
            r"--set search\.operators: search\.operators: unknown operator 'ifd_filtr'.*'ifd_filter'",
        ),
        ("search.also=[sampel]", r"search\.also: unknown operator 'sampel'.*'sample'"),
        ("search.without=[ifd]", r"search\.without: unknown operator 'ifd'"),
        ("search.draws={low_direction_of: {mona: 0.1}}", r"search\.draws\.low_direction_of: unknown operator 'mona'"),
        ("search.operators=[]", r"search\.operators: no operator is left"),
        ("search.operators=[union, intersect]", r"search\.operators: no operator is left"),
    ],
)
def test_operators_that_no_search_can_use_are_refused_with_the_configuration(
    fresh: Any, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fresh(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["search.also=[diversity]", "signals.signals=[tokens, ngram_entropy]"],
            r"search\.also: 'diversity' needs .*signals\.signals leaves out 'embeddings'",
        ),
        (
            ["search.operators=[mona_filter]", "sae=null", "signals.signals=null"],
            r"'mona' cannot be computed, as no SAE",
        ),
    ],
)
def test_operators_whose_signals_a_study_will_not_have_are_refused_before_any_signal(
    fresh: Any, tmp_path: Path, overrides: list[str], message: str
) -> None:
    config = fresh(*overrides)
    for look in (examine_config, lambda config: run_study(config, tmp_path / "study")):
        with pytest.raises(ConfigError, match=message):
            look(config)
    assert not (tmp_path / "study" / "pool").exists()


def test_an_operator_may_be_searched_where_the_study_has_what_stands_in_for_its_signal(fresh: Any) -> None:
    config = fresh("search.also=[diversity]")
    assert "sae" in config.signals.signals and "embeddings" not in config.signals.signals
    check_setup(config)


def test_settings_may_change_while_nothing_is_decided(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run ends after its signals: another configuration goes on in the same folder; after a trial it may not."""
    from autoselection.study import run

    out = tmp_path / "study"
    with monkeypatch.context() as patched:
        patched.setattr(run, "_search", lambda *_: (_ for _ in ()).throw(StudyError("The search ends here.")))
        with pytest.raises(StudyError, match="ends here"):
            run_study(load_config(study_config, ["search.seed=3"]), out)
        with pytest.raises(StudyError, match="ends here"):
            run_study(load_config(study_config, ["search.seed=4"]), out)
    study = Study(out)
    assert study.config.search.seed == 4
    assert [event["event"] for event in study.journal.events] == ["study", "contamination"]
    with Journal(out / "journal.jsonl") as journal:
        journal.append("round", round={})
    with pytest.raises(StudyError, match=r"other settings \(search\.seed\)"):
        run_study(load_config(study_config, ["search.seed=5"]), out)


def test_messages_about_reading_name_the_key_as_well_as_the_option(
    fresh: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.csv"
    file.write_bytes(b"prompt;completion\n" + "wie viel für zwölf?;zwölf Äpfel\n".encode("cp1252") * 3)
    for key in ("encoding", "delimiter"):
        ingest([file], tmp_path / key)
        said = " ".join(capsys.readouterr().err.split())
        assert f"give --{key} (in a configuration: pool.ingest.{key})" in said
    file.write_text("prompt;completion\na;\nb;c\n")
    with pytest.raises(PoolError, match=r"--on-bad-row refuse \(in a configuration: pool\.ingest\.on_bad_row\)"):
        ingest([file], tmp_path / "strict", IngestConfig(on_bad_row="refuse"))


def test_a_study_whose_files_hold_another_pool_now_names_no_option_of_another_command(
    fresh: Any, raw_pool: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_bytes(raw_pool.read_bytes())
    config = fresh(f"pool.files=[{own}]")
    first = prepare(config, tmp_path)
    own.write_bytes(b"".join(raw_pool.read_bytes().splitlines(keepends=True)[7:]))
    with pytest.raises(StudyError, match=r"another pool than its files \(pool\.files\).*choose another --out\.$"):
        prepare(config, tmp_path, {"pool": first.pool.fingerprint, "signal_report": {"signals": {}}})
    assert len(prepare(config, tmp_path).pool) == len(first.pool) - 7, "nothing decided: the files count"


def test_doctor_tells_of_a_template_that_asks_otherwise_than_it_writes(
    fresh: Any, scored_pool: Path, tmp_path: Path
) -> None:
    pool = Pool.open(scored_pool)
    file = tmp_path / "thinking.jinja"
    file.write_text(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: <think>' }}{% endif %}"
    )
    (said,) = (
        found for found in estimate_training(fresh(f"model.chat_template={file}"), pool).sentences if "asks" in found
    )
    assert said.startswith(
        "The chat template asks for an answer with 'assistant: <think>', and writes 'assistant: ' in front"
    )
    assert not any("asks" in found for found in estimate_training(fresh(), pool).sentences)


def test_doctor_foretells_that_few_rows_of_a_subset_decide_its_score(fresh: Any, scored_pool: Path) -> None:
    pool = Pool.open(scored_pool)
    said = estimate_training(fresh(), pool).sentences
    assert any("A training sees 32 rows (4 steps of 8" in sentence and "has 400" in sentence for sentence in said)
    enough = estimate_training(fresh("evaluation.sft.max_steps=40"), pool).sentences
    assert not any("A training sees" in sentence for sentence in enough)


def test_doctor_says_where_the_models_to_try_things_on_are() -> None:
    (said,) = [remark for remark in examine()["remarks"] if "autoselection demo" in remark]
    assert (Path(said.split(" are in ")[1].rstrip(".")) / model_dir().name).is_dir()


@pytest.mark.parametrize(
    ("kernel", "capability", "said"),
    [
        (True, (9, 0), "use FlashAttention"),
        (True, (7, 5), "padded blocks.*capability 8.0 is needed, this GPU has 7.5"),
        (False, (9, 0), "padded blocks.*no varlen_attn that takes a scale and a window"),
    ],
)
def test_doctor_says_which_attention_a_gpu_has(
    monkeypatch: pytest.MonkeyPatch, kernel: bool, capability: tuple[int, int], said: str
) -> None:
    card = SimpleNamespace(total_memory=80 * 2**30)
    for name, value in {
        "is_available": True, "get_device_name": "Card", "device_count": 1, "get_device_properties": card,
        "get_device_capability": capability,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(flash, "varlen_kernel", lambda: print if kernel else None)
    emulated = capability < (8, 0)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
    )
    found = examine()
    assert found["device"] == "cuda (1 x Card, 80 GiB)"
    assert f"bf16 is {'not ' if emulated else ''}supported by Card." in found["remarks"]
    (about,) = [remark for remark in found["remarks"] if "acked passes" in remark]
    assert re.search(said, about)


def test_doctor_says_whether_the_untrained_model_is_at_chance(fresh: Any, tmp_path: Path) -> None:
    told = examine_config(fresh())["chance"]
    assert told[0].startswith("On 'boolean' the untrained model is above chance: ") and len(told) == 1
    assert examine_config(fresh(), quick=True)["chance"] == []
    items = [
        {"id": str(i), "prompt": f"Which of these? {i}", "choices": ["t", "u", "v", "w"], "answer": "ABCD"[i % 4]}
        for i in range(40)
    ]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    places = [f"tasks.1.{split}={tmp_path / 'dev.jsonl'}" for split in ("dev", "test", "target")]
    guessed = fresh("benchmarks_check=warn", "tasks.1.dev_limit=40", *places)
    (said,) = examine_config(guessed)["chance"]
    assert said.startswith("On 'boolean' the untrained model is at chance: ") and "of 40 items right" in said
    assert "guessing gets 25.0%. Until a training lifts it above that, right answers there are luck" in said


def test_doctor_draws_the_items_it_asks_from_all_that_are_scored(
    fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file in the order of its subtasks the first ones are another task."""
    items = [
        {
            "id": str(i),
            "prompt": f"Which? {i}",
            "choices": ["t", "u", "v", "w"],
            "answer": "A" if i < 20 else "BCD"[i % 3],
        }
        for i in range(80)
    ]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    places = [f"tasks.1.{split}={tmp_path / 'dev.jsonl'}" for split in ("dev", "test", "target")]
    monkeypatch.setattr(doctor, "ASKED", 20)
    (said,) = examine_config(fresh("benchmarks_check=warn", "tasks.1.dev_limit=60", *places))["chance"]
    drawn = some_items(
        [TaskItem(item["id"], "", item["answer"], ("",) * 4) for item in items[:60]], "boolean", 1 / 3, 0
    )
    assert "of 20 items right" in said and f"guessing gets {guessing_accuracy(drawn):.1%}" in said
    assert guessing_accuracy(drawn) < 1


def test_doctor_warns_of_a_search_by_right_answers_that_the_model_never_writes(fresh: Any, tmp_path: Path) -> None:
    """And says which tasks have so few dev items that other items would order recipes otherwise."""
    items = [{"id": str(i), "prompt": f"What is the capital of land {i}?", "answer": f"Paris {i}"} for i in range(30)]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    places = [f"tasks.0.{split}={tmp_path / 'dev.jsonl'}" for split in ("dev", "test", "target")]
    common = (
        "benchmarks_check=warn",
        "evaluation.max_new_tokens=8",
        "tasks.0.dev_limit=30",
        "tasks.1.weight=0",
        *places,
    )
    blind = examine_config(fresh("tasks.0.metric=exact_match", *common))
    (said,) = [sentence for sentence in blind["chance"] if "exact_match" in sentence]
    assert said.startswith(
        "On 'addition' the untrained model gets 0 of 30 written answers right, and exact_match is what"
    )
    assert blind["items"] == [f"'addition' {few_items(30)}"]  # the other one is a guard
    assert not any("exact_match" in sentence for sentence in examine_config(fresh(*common))["chance"])


def test_a_study_says_which_rows_its_signals_read_in_part(
    fresh: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(fresh("signals.max_length=12"), tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert "are longer than signals.max_length (12 tokens) or the model's own limit: " in said
