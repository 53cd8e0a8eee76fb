from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_pass import score
from refused_writes import read_only

from autoselection import files
from autoselection.errors import EvaluationError, MissingExtraError, SignalError
from autoselection.language.models import load_model, load_tokenizer
from autoselection.pool import Pool, ingest
from autoselection.signals import SIGNALS, SignalsConfig, load_table, score_pool, train_sae
from autoselection.signals.families import sae_training
from autoselection.signals.families.lm import LanguageModelSignal
from autoselection.signals.model_pass import PassReader
from autoselection.signals.store import SignalStore
from autoselection.tasks import TaskConfig

WORDS = ["red", "cat", "runs", "home", "and", "sings", "loud", "songs", "of", "rain"]
CONFIG = SignalsConfig(shard_rows=8, max_length=200, spacy_model="en_core_web_sm")
QUICK = ["tokens", "ngram_entropy", "text_hash", "minhash"]


@pytest.fixture(scope="module")
def raw_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for i in range(30):
        words = " ".join(rng.choice(WORDS, size=3 + i % 5))
        rows.append(
            {
                "source": "ab"[i % 2],
                "messages": [
                    {"role": "user", "content": f"Say {words}"},
                    {"role": "assistant", "content": words},
                ],
            }
        )
    rows[9]["messages"] = [dict(message) for message in rows[8]["messages"]]
    rows[9]["messages"][0]["content"] += " "  # blanks at the end of a line do not count
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest([folder / "rows.jsonl"], folder / "pool")
    return folder / "pool"


@pytest.fixture
def pool(raw_pool: Path, tmp_path: Path) -> Pool:
    shutil.copytree(raw_pool, tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


@pytest.fixture(scope="module")
def sae_dir(raw_pool: Path, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sparsify")
    out = tmp_path_factory.mktemp("sae") / "sae"
    trained = train_sae(
        Pool.open(raw_pool), tiny_model_dir, out, num_latents=64, k=4, max_tokens=4096, context=32, batch_size=8, seed=1
    )
    assert (trained.steps, trained.tokens, trained.hookpoint, trained.d_in) == (16, 4096, "layers.0", 32)
    assert 0 < trained.fvu < 1
    json.dumps(trained.to_dict())
    return out


def task(folder: Path, name: str, items: int = 3) -> TaskConfig:
    lines = [{"id": str(i), "prompt": f"Say {WORDS[i]}", "answer": WORDS[i] * 2} for i in range(items)]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return TaskConfig(name=name, dev=path, target=path)


def test_signals_without_a_model(pool: Pool) -> None:
    report = score_pool(pool, CONFIG)
    text = {"lengths", "repetition", "action_object_branching", "trace_faults", "traces"}
    assert set(report.keys) == {*QUICK, "near_duplicates", *text}
    assert set(report.skipped) == {
        "contamination",
        "contamination_cosine",
        "embeddings",
        "ifd",
        "loss",
        "varentropy",
        "rsr",
        "sae",
        "mona",
        "reward",
        "trajectory",
    }
    table = load_table(pool)
    assert table.source_names == ("a", "b")
    assert table.column("ngram_entropy").shape == (30,)
    assert (table.column("action_object_branching") > 0).any()
    assert table.column("n_response_tokens")[4] == 7
    assert table.text_hash is not None
    assert table.text_hash[8] == table.text_hash[9]
    assert table.minhash is not None
    assert table.minhash.shape == (30, 128)
    assert table.texts is not None
    assert table.texts(np.array([3])) == pool.texts([3])
    json.dumps(report.to_dict())


def test_near_duplicates_are_found_once_and_memory_mapped(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    report = score_pool(pool, CONFIG, signals=["near_duplicates"])
    assert set(report.keys) == {"minhash", "near_duplicates"}
    found = load_table(pool).near_duplicates
    assert found is not None and len(found) == 30
    assert isinstance(found.edges.left, np.memmap)
    assert found.node[9] == 8, "the same words in capitals"
    assert found.ngram_size == 5 and found.recall == 1.0 and found.exact
    assert found.stats["pairs"] == len(found.edges) == report.signals[1].stats["pairs"]
    again = score_pool(pool, CONFIG, signals=["near_duplicates"])
    assert again.cached and again.keys == report.keys
    other = score_pool(
        pool, CONFIG.model_copy(update={"options": {"near_duplicates": {"recall": 0.99}}}), signals=["near_duplicates"]
    )
    assert other.keys["minhash"] == report.keys["minhash"]
    assert other.keys["near_duplicates"] != report.keys["near_duplicates"]


def test_contamination_follows_the_subtasks_of_items(tmp_path: Path) -> None:
    """Five items of one subtask share their head, which is a template of the subtask and not of the whole task."""
    head = "Draw up the whole table of truth values for the argument below and then say whether it holds or not:"
    draws = np.random.default_rng(0)
    own = [" ".join(f"word{draw}" for draw in draws.integers(0, 10_000, 20)) for _ in range(405)]
    items = [{"id": str(i), "prompt": f"{head} {text}" if i < 5 else text, "answer": "x"} for i, text in enumerate(own)]
    turns = [{"role": "user", "content": head}, {"role": "assistant", "content": "It holds."}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    dev, found = tmp_path / "dev.jsonl", []
    tasks = [TaskConfig(name="mixed", dev=dev, metric="exact_match")]
    for subtasks in (["all"] * 405, ["logic" if i < 5 else f"s{i % 40}" for i in range(405)]):
        given = zip(items, subtasks, strict=True)
        dev.write_text("".join(json.dumps({**item, "subtask": subtask}) + "\n" for item, subtask in given))
        report = score_pool(Pool.open(tmp_path / "pool"), CONFIG, tasks=tasks, signals=["contamination"])
        assert not report.cached
        found.append(float(load_table(Pool.open(tmp_path / "pool"), keys=report.keys).column("contamination")[0]))
    assert found[0] > 0.2 and found[1] == 0.0


def test_a_run_killed_while_the_pairs_are_written_goes_on(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        score_pool(pool, CONFIG, signals=["minhash"])
        patch.setattr(SignalStore, "_finish", kill)
        with pytest.raises(KeyboardInterrupt):
            score_pool(pool, CONFIG, signals=["near_duplicates"])
    report = score_pool(pool, CONFIG, signals=["near_duplicates"])
    assert report.signals[1].shards_resumed == 1
    found = load_table(pool).near_duplicates
    assert found is not None and len(found.edges) == report.signals[1].stats["pairs"]


def test_whole_table_with_model_sae_and_tasks(pool: Pool, tiny_model_dir: Path, sae_dir: Path, tmp_path: Path) -> None:
    tasks = [task(tmp_path, "maths"), task(tmp_path, "art", 2)]
    report = score_pool(pool, CONFIG, model=tiny_model_dir, sae=sae_dir, tasks=tasks)
    assert set(report.skipped) == {"contamination", "contamination_cosine", "embeddings", "reward", "trajectory"}
    by_name = {signal.name: signal for signal in report.signals}
    assert by_name["lm"].missing == dict.fromkeys(LanguageModelSignal.columns, 0)
    assert by_name["lm"].stats["empty_response"] == 0
    assert by_name["sae"].missing == {"rows": 0}
    assert by_name["tokens"].params["tokenizer"] == "model"
    table = load_table(pool, keys=report.keys)
    assert table.tasks == ("art", "maths")
    features = table.require_sae()
    assert features.d == 64
    dense = features.to_scipy().toarray().astype(np.float64)
    vector = np.load(pool.path / "signals" / "mona/maths" / report.keys["mona/maths"] / "task_vector.npy")
    expected = np.minimum(dense, vector).sum(1) / np.maximum(dense, vector).sum(1)
    np.testing.assert_allclose(table.column("mona/maths"), expected, rtol=1e-5)
    np.testing.assert_array_equal(table.column("loss"), table.column("loss_conditional"))
    # The table's losses are those of one pass over all rows.
    from autoselection.language.chat import ConversationEncoder

    model, tokenizer = load_model(tiny_model_dir, "cpu"), load_tokenizer(tiny_model_dir)
    scorer = PassReader(model, ConversationEncoder(tokenizer, max_length=200), batch_tokens=4096)
    shard, _ = score(scorer, pool.messages())
    assert shard is not None
    np.testing.assert_allclose(table.column("ifd"), shard.arrays["ifd"], rtol=2e-5)


def test_nothing_is_computed_twice(pool: Pool, tiny_model_dir: Path, sae_dir: Path, tmp_path: Path) -> None:
    tasks = [task(tmp_path, "maths")]
    options: dict[str, Any] = {"model": tiny_model_dir, "sae": sae_dir, "tasks": tasks}
    first = score_pool(pool, CONFIG, **options)
    files = {path: path.stat().st_mtime_ns for path in (pool.path / "signals").rglob("*.npy")}
    second = score_pool(pool, CONFIG, **options)
    assert not first.cached
    assert second.cached
    assert second.keys == first.keys
    assert load_table(pool).fingerprint == load_table(pool, keys=first.keys).fingerprint
    assert files == {path: path.stat().st_mtime_ns for path in (pool.path / "signals").rglob("*.npy")}


def test_a_pool_on_a_read_only_mount_is_opened_and_its_signals_are_found(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = score_pool(pool, CONFIG, signals=["lengths"]).keys
    (pool.path / files.STAMPS_FILE).unlink(missing_ok=True)
    monkeypatch.setattr(files, "_RESTED", -10.0)  # as long after it was written
    files._good.clear()
    with read_only(pool.path):
        there = Pool.open(pool.path)
        assert score_pool(there, CONFIG, signals=["lengths"]).keys == right
        assert "n_response_words" in load_table(there).columns
        with pytest.raises(SignalError, match="cannot be written"):
            score_pool(there, CONFIG, signals=["ngram_entropy"])
    assert not (pool.path / files.STAMPS_FILE).exists()


def test_a_killed_run_loses_one_shard(
    pool: Pool, tiny_model_dir: Path, sae_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["ifd", "sae"]
    whole = score_pool(pool, CONFIG, model=tiny_model_dir, sae=sae_dir, signals=names)
    expected = load_table(pool, keys=whole.keys)
    ifd, features = expected.column("ifd").copy(), expected.require_sae().to_scipy().toarray().copy()
    shutil.rmtree(pool.path / "signals")
    run = PassReader.run
    rows: list[int] = []

    def stopping(self: PassReader, conversations: Any, *signals: Any) -> Any:
        if len(rows) == 2:
            rows.append(0)
            raise KeyboardInterrupt
        rows.append(len(conversations))
        return run(self, conversations, *signals)

    monkeypatch.setattr(PassReader, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        score_pool(pool, CONFIG, model=tiny_model_dir, sae=sae_dir, signals=names)
    rows[:] = [9, 9, 9]
    report = score_pool(pool, CONFIG, model=tiny_model_dir, sae=sae_dir, signals=names)
    assert rows[3:] == [8, 6]  # shards of 8 rows: two were there
    assert [signal.shards_resumed for signal in report.signals] == [2, 2]
    np.testing.assert_array_equal(load_table(pool).column("ifd"), ifd)
    np.testing.assert_array_equal(load_table(pool).require_sae().to_scipy().toarray(), features)


def test_changed_settings_change_only_what_depends_on_them(pool: Pool, tiny_model_dir: Path) -> None:
    first = score_pool(pool, CONFIG, model=tiny_model_dir, signals=[*QUICK, "ifd"])
    changed = CONFIG.model_copy(update={"options": {"ngram_entropy": {"n": 2}}, "turns": "last", "batch_tokens": 64})
    second = score_pool(pool, changed, model=tiny_model_dir, signals=[*QUICK, "ifd"])
    same = {name for name in first.keys if first.keys[name] == second.keys[name]}
    assert same == {"tokens", "text_hash", "minhash"}
    third = score_pool(pool, CONFIG, model=tiny_model_dir, signals=QUICK, chat_template="plain")
    assert third.keys["tokens"] != first.keys["tokens"]


@pytest.mark.parametrize(
    ("settings", "computed_anew"),
    [
        ({"dtype": "bfloat16"}, {"lm", "sae"}),
        ({"max_length": 50}, {"lm", "sae"}),
        ({"chat_template": "plain"}, {"lm", "sae"}),
        ({"turns": "last"}, {"lm"}),
        ({"options": {"sae": {"max_features": 8}}}, {"sae"}),
        ({"options": {"sae": {"values": "uint8"}}}, {"sae"}),
        ({"options": {"sae": {"layer": 1}}}, {"sae"}),
        ({"batch_tokens": 64}, set()),
    ],
    ids=lambda value: "-".join(sorted(map(str, value))),
)
def test_what_the_model_says_depends_on_how_it_is_asked(
    pool: Pool, tiny_model_dir: Path, sae_dir: Path, settings: dict[str, Any], computed_anew: set[str]
) -> None:
    template = settings.get("chat_template")
    changed = CONFIG.model_copy(update={name: value for name, value in settings.items() if name != "chat_template"})
    options: dict[str, Any] = {"model": tiny_model_dir, "sae": sae_dir, "signals": ["ifd", "sae"]}
    first = score_pool(pool, CONFIG, **options).keys
    second = score_pool(pool, changed, chat_template=template, **options).keys
    assert {name for name in first if first[name] != second[name]} == computed_anew


def test_relevance_scores_follow_the_tasks(pool: Pool, tiny_model_dir: Path, sae_dir: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": tiny_model_dir, "sae": sae_dir, "signals": ["mona"]}
    score_pool(pool, CONFIG, tasks=[task(tmp_path, "maths"), task(tmp_path, "art")], **options)
    assert load_table(pool).tasks == ("art", "maths")
    score_pool(pool, CONFIG, tasks=[task(tmp_path, "maths")], **options)
    assert load_table(pool).tasks == ("maths",)
    other = CONFIG.model_copy(update={"options": {"sae": {"max_features": 8}}})
    score_pool(pool, other, model=tiny_model_dir, sae=sae_dir, signals=["sae"])
    assert load_table(pool).tasks == ()
    untargeted = TaskConfig(name="open", dev=tmp_path / "art.jsonl")
    report = score_pool(pool, CONFIG, tasks=[task(tmp_path, "maths"), untargeted], **options)
    assert report.skipped == {"mona/open": "the task has no target samples"}


def test_long_rows_are_counted_as_truncated(pool: Pool, tiny_model_dir: Path) -> None:
    short = CONFIG.model_copy(update={"max_length": 50})
    (report,) = score_pool(pool, short, model=tiny_model_dir, signals=["ifd"]).signals
    assert report.stats["truncated"] > 0
    assert report.missing["ifd"] == report.stats["response_cut_off"] == np.isnan(load_table(pool).column("ifd")).sum()


def test_tokens_are_those_of_whole_rows_however_short_the_model_reads(
    pool: Pool, tiny_model_dir: Path, tiny_tokenizer: Any
) -> None:
    whole = [tiny_tokenizer.apply_chat_template(list(row), tokenize=False) for row in pool.messages(range(len(pool)))]
    lengths = [len(tiny_tokenizer(text, add_special_tokens=False)["input_ids"]) for text in whole]
    assert max(lengths) > 50
    score_pool(pool, CONFIG.model_copy(update={"max_length": 50}), model=tiny_model_dir, signals=["tokens"])
    np.testing.assert_array_equal(load_table(pool).column("n_tokens"), lengths)


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (["ifdd"], "no signal 'ifdd'; did you mean 'ifd'"),
        (["varentropy"], "'varentropy' needs a model: give --model"),
        (["sae"], "'sae' needs a model: give --model"),
    ],
)
def test_what_is_missing_is_named(pool: Pool, signals: list[str], message: str) -> None:
    with pytest.raises(SignalError, match=message):
        score_pool(pool, CONFIG, signals=signals)


def test_sae_of_another_model_is_refused(pool: Pool, tiny_model_dir: Path, sae_dir: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(sae_dir, wrong)
    config = json.loads((wrong / "cfg.json").read_text())
    (wrong / "cfg.json").write_text(json.dumps({**config, "d_in": 48}))
    with pytest.raises(SignalError, match=r"width 48.*has width 32"):
        score_pool(pool, CONFIG, model=tiny_model_dir, sae=wrong, signals=["sae"])


def test_mona_needs_tasks_and_models_must_exist(pool: Pool, tiny_model_dir: Path, sae_dir: Path) -> None:
    with pytest.raises(SignalError, match="'mona' needs tasks"):
        score_pool(pool, CONFIG, model=tiny_model_dir, sae=sae_dir, signals=["mona"])
    with pytest.raises(EvaluationError, match="no model folder"):
        score_pool(pool, CONFIG, model="nowhere", signals=["ifd"])


def test_missing_parser_is_an_error_when_asked_for_and_a_note_otherwise(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "spacy" else find(name, *rest))
    with pytest.raises(MissingExtraError, match=r"autoselection\[syntax\]"):
        score_pool(pool, CONFIG, signals=["action_object_branching"])
    report = score_pool(pool, CONFIG)
    assert "spaCy is not installed" in report.skipped["action_object_branching"]


def test_pool_that_was_never_scored(pool: Pool) -> None:
    table = load_table(pool)
    assert (table.n, table.names) == (30, ())
    with pytest.raises(SignalError, match="run `autoselection score"):
        table.column("ifd")


def test_every_signal_name_is_known_to_the_configuration() -> None:
    assert SignalsConfig(signals=SIGNALS).signals == SIGNALS


def test_training_an_sae_is_repeatable_and_keeps_what_is_there(
    raw_pool: Path, tiny_model_dir: Path, sae_dir: Path, tmp_path: Path
) -> None:
    import torch

    pool = Pool.open(raw_pool)
    options: dict[str, Any] = {"num_latents": 64, "k": 4, "max_tokens": 4096, "context": 32, "batch_size": 8}
    state = torch.random.get_rng_state()
    train_sae(pool, tiny_model_dir, tmp_path / "again", seed=1, **options)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (tmp_path / "again" / "sae.safetensors").read_bytes() == (sae_dir / "sae.safetensors").read_bytes()
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["cfg.json", "sae.safetensors"]
    with pytest.raises(SignalError, match="already holds an SAE"):
        train_sae(pool, tiny_model_dir, tmp_path / "again", **options)
    with pytest.raises(SignalError, match="do not fit"):
        train_sae(pool, tiny_model_dir, tmp_path / "other", **{**options, "k": 65})
    (tmp_path / "half" / "cfg.json").mkdir(parents=True)  # cannot be written: then there are no weights either
    with pytest.raises(OSError, match="cfg"):
        train_sae(pool, tiny_model_dir, tmp_path / "half", seed=1, **options)
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["cfg.json"]


@pytest.mark.parametrize(("rows", "held"), [(40, 4), (400, 4), (5, 1)], ids=["repeated", "enough", "few"])
def test_rows_that_measure_an_sae_are_not_trained_on(
    rows: int, held: int, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row says its own number, again and again; four fill the held-out batch, a fifth of the rows at most."""
    import sparsify

    numbers = [f"[{number}]" for number in range(rows)]
    records = [{"prompt": number * 5, "response": number * 5} for number in numbers]
    pool = ingest(records, tmp_path / "numbers").pool
    read: dict[str, set[str]] = {"trained": set(), "measured": set()}
    tokenizer = load_tokenizer(tiny_model_dir)

    def names(sequences: Any) -> set[str]:
        texts = [tokenizer.decode(row) for row in sequences]
        return {number for number in numbers if any(number in text for text in texts)}

    class Trainer(sparsify.Trainer):
        def __init__(self, config: Any, dataset: Any, model: Any) -> None:
            read["trained"] = names([row["input_ids"] for row in dataset])
            super().__init__(config, dataset, model)

    def quality(model: Any, coder: Any, hookpoint: str, sequences: Any) -> tuple[float, float]:
        read["measured"] = names(sequences)
        return 0.5, 0.0

    monkeypatch.setattr(sparsify, "Trainer", Trainer)
    monkeypatch.setattr(sae_training, "_quality", quality)
    options: dict[str, Any] = {"num_latents": 64, "k": 4, "context": 64, "batch_size": 2}
    train_sae(pool, tiny_model_dir, tmp_path / "sae", max_tokens=2 * 64 * 60, **options)
    assert 1 <= len(read["measured"]) <= held
    assert read["trained"] and not read["trained"] & read["measured"]


def test_an_sae_needs_rows_beside_those_that_measure_it(tiny_model_dir: Path, tmp_path: Path) -> None:
    pool = ingest([{"prompt": "one", "response": "row"}], tmp_path / "one").pool
    with pytest.raises(SignalError, match="too little text that the chat template can render"):
        train_sae(pool, tiny_model_dir, tmp_path / "sae", num_latents=64, k=4, max_tokens=64, context=8, batch_size=2)


def with_sinks(network: Any, layer: int) -> Any:
    """The model with a state of enormous length at the first token of every sequence, as large models have."""

    def hook(_module: Any, _inputs: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        states = states.clone()
        states[:, 0] *= 1000
        return (states, *output[1:]) if isinstance(output, tuple) else states

    network.base_model.layers[layer].register_forward_hook(hook)
    return network


def test_an_sae_is_not_trained_on_attention_sinks(
    raw_pool: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file

    options: dict[str, Any] = {"num_latents": 64, "k": 4, "max_tokens": 4096, "context": 32, "batch_size": 8}
    pool = Pool.open(raw_pool)
    train_sae(pool, tiny_model_dir, tmp_path / "plain", **options)
    monkeypatch.setattr(sae_training, "load_model", lambda *args, **named: with_sinks(load_model(*args, **named), 0))
    trained = train_sae(pool, tiny_model_dir, tmp_path / "sinks", **options)
    assert trained.fvu > 0.01  # sinks alone would be explained by one direction: nearly nothing would be left
    centre, usual = (
        np.linalg.norm(load_file(tmp_path / name / "sae.safetensors")["b_dec"]) for name in ("sinks", "plain")
    )
    assert centre < 2 * usual
