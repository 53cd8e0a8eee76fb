"""Loss, IFD and varentropy by kind of token, and rows that are several samples, against a loop without batches."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_pass import score
from test_lm_signals import bigrams
from test_sae import write_sae

from autoselection.language.chat import Conversation, ConversationEncoder, Encoded
from autoselection.language.models import load_model, load_tokenizer
from autoselection.operators.columns import searched_columns
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.recipes import Recipe, Step, lacking_signals, materialize
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.signals.families.lm import LanguageModelSignal
from autoselection.signals.families.sae import SparseEncoder, read_sae_info
from autoselection.signals.families.token_kinds import KIND_COLUMNS
from autoselection.signals.model_pass import TOKEN_KINDS, PassReader

#: Writes reasoning and calls, and with ``HISTORY`` leaves the reasoning of earlier turns out, as Qwen3's template does.
TEMPLATE = (
    "{% set last = namespace(user=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set last.user = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.reasoning_content and (KEPT or loop.index0 > last.user) %}"
    "{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ '<tool_call>' + call.function.name }}{{ call.function.arguments | tojson }}{{ '</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
KEPT, HISTORY = TEMPLATE.replace("KEPT", "true"), TEMPLATE.replace("KEPT", "false")


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: str = "", reasoning: str | None = None, calls: Sequence[str] = ()) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [{"name": name, "arguments": "{}"} for name in calls]
    return message


BOS = 1
ROWS = [
    [user("ask"), said("answer", "because of it")],
    [user("look it up"), said(calls=["find"]), {"role": "tool", "content": "42"}, said("It is 42.")],
    [user("plain"), said("yes")],
    [user("both"), said("well", "hm", ["find", "get"])],
    [user("one"), said("first", "thinking long about it"), user("two"), said("second", "less")],
    [user("one"), {**said("shown only", "why"), "weight": 0}, user("two"), said("kept", "so")],
    [said("nobody asked", "really")],
    [user("nothing"), said("", None)],
]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Any:
    return load_model(tiny_model_dir, "cpu")


def encoder(folder: Path, template: str = KEPT, **options: Any) -> ConversationEncoder:
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template
    return ConversationEncoder(tokenizer, **{"max_length": 512, **options})


def slow(model: Any, samples: Sequence[Encoded], kind: int | None) -> tuple[float, float, float, float]:
    """Conditional and unconditional loss, varentropy and rank: means over the tokens of a kind in all samples."""
    found: list[tuple[float, float, float, float]] = []
    for sample in samples:
        alone = [i for i, kept in enumerate(sample.alone) if kept]
        lone_ids = [sample.input_ids[i] for i in alone]
        shift = int(
            sample.response[alone[0]]
        )  # nothing stands before the response: the beginning-of-sequence token does
        with torch.no_grad():
            whole = model(input_ids=torch.tensor([sample.input_ids])).logits[0].double().log_softmax(-1)
            part = model(input_ids=torch.tensor([[BOS] * shift + lone_ids])).logits[0]
        part = part.double().log_softmax(-1)
        for i, (scored, own) in enumerate(zip(sample.response, sample.kinds, strict=True)):
            if scored and kind in (None, own):
                token, before = sample.input_ids[i], whole[i - 1]
                entropy = -(before.exp() * before).sum()
                spread = float((before.exp() * (before + entropy) ** 2).sum())
                rank = 1 + sum(value > float(before[token]) for value in before.tolist())
                lone = -float(part[alone.index(i) + shift - 1, token])
                found.append((-float(before[token]), lone, spread, min(rank, 100)))
    return tuple(np.mean(found, axis=0)) if found else (math.nan,) * 4  # type: ignore[return-value]


def check(model: Any, subject: PassReader, rows: Sequence[Any]) -> dict[str, Any]:
    shard, _ = score(subject, rows, kinds=True)
    assert shard is not None and tuple(shard.arrays) == (*LanguageModelSignal.columns, *KIND_COLUMNS)
    found = shard.arrays
    for i, row in enumerate(rows):
        samples = subject.encoder.samples(row)
        for number, kind in enumerate((None, *TOKEN_KINDS)):
            loss, alone, spread, rank = slow(model, samples, number or None)
            end = "" if kind is None else f"_{kind}"
            expected = {f"varentropy{end}": spread}
            expected["loss_conditional" if kind is None else f"loss{end}"] = loss
            if kind is None:
                expected |= {"loss_unconditional": alone, "rsr": rank / loss}
            if row[0]["role"] == "user":
                expected[f"ifd{end}"] = loss / alone
            for name, value in expected.items():
                assert found[name][i] == pytest.approx(value, rel=2e-4, nan_ok=True), (i, name)
    return dict(shard.stats)


@pytest.mark.parametrize("batch_tokens", [1, 300])
@pytest.mark.parametrize("template", [KEPT, HISTORY], ids=["kept", "history"])
@pytest.mark.parametrize("turns", ["all", "last", "each"])
def test_scores_are_those_of_a_plain_loop(
    model: Any, tiny_model_dir: Path, turns: str, template: str, batch_tokens: int
) -> None:
    encodes = encoder(tiny_model_dir, template, turns=turns)
    stats = check(model, PassReader(model, encodes, batch_tokens=batch_tokens), ROWS[:-1])
    assert stats["turns_rewritten"] == (1 if (turns, template) == ("all", HISTORY) else 0)
    several = [i for i, row in enumerate(ROWS[:-1]) if len(encodes.samples(row)) > 1]
    assert several == ([4] if (turns, template) == ("each", HISTORY) else [])


words = st.text("abc de", min_size=1, max_size=8).filter(str.strip)
answers = st.builds(said, words, st.none() | words, st.lists(st.sampled_from(["find", "get"]), max_size=2).map(tuple))


@settings(max_examples=15)
@given(st.lists(st.lists(st.tuples(words, answers), min_size=1, max_size=3), min_size=1, max_size=4))
def test_any_rows_score_as_in_a_plain_loop(model: Any, tiny_model_dir: Path, turns: list[Any]) -> None:
    rows = [[message for asked, answer in row for message in (user(asked), answer)] for row in turns]
    check(model, PassReader(model, encoder(tiny_model_dir, HISTORY, turns="each"), batch_tokens=200), rows)


def test_golden_scores_by_kind(tiny_model_dir: Path) -> None:
    # Reasoning "<think>b</think>", answer "c" with its end mark; p(b | >) = 1/2 and p(<|im_end|> | c) = 1/8.
    encodes = encoder(tiny_model_dir)
    size = len(encodes.tokenizer)
    model = bigrams(encodes.tokenizer, {(">", "b"): 1 / 2, ("c", "<|im_end|>"): 1 / 8})
    found, _ = score(PassReader(model, encodes), [[user("a"), said("c", "b")]], kinds=True)  # type: ignore[arg-type]
    chance, other = (
        math.log(size),
        math.log(2 * (size - 1)),
    )  # a token after one that the table does not name, and after >
    reasoning, answer = (15 * chance + math.log(2)) / 16, (other + math.log(8)) / 2

    def spread(p: float) -> float:  # of a token with probability p, the others sharing the rest
        return p * (1 - p) * math.log(p * (size - 1) / (1 - p)) ** 2

    assert found is not None
    arrays = {name: float(values[0]) for name, values in found.arrays.items()}
    assert arrays["loss_reasoning"] == pytest.approx(reasoning) and arrays["loss_answer"] == pytest.approx(answer)
    assert arrays["varentropy_reasoning"] == pytest.approx(spread(1 / 2) / 16, rel=1e-5)
    assert arrays["varentropy_answer"] == pytest.approx((spread(1 / 2) + spread(1 / 8)) / 2, rel=1e-5)
    assert arrays["loss_conditional"] == pytest.approx((16 * reasoning + 2 * answer) / 18)
    # A model that sees one token back does not gain from a prompt.
    assert arrays["ifd_reasoning"] == pytest.approx(1) and arrays["ifd_answer"] == pytest.approx(1)
    assert math.isnan(arrays["loss_call"]) and math.isnan(arrays["ifd_call"]) and math.isnan(arrays["varentropy_call"])
    assert {name: found.stats[name] for name in ("no_answer", "no_reasoning", "no_call")} == {
        "no_answer": 0,
        "no_reasoning": 0,
        "no_call": 1,
    }


def test_features_of_several_samples_are_means_over_all_their_tokens(
    model: Any, tiny_model_dir: Path, tmp_path: Path
) -> None:
    info = read_sae_info(write_sae(tmp_path / "layers.0"))
    for kept in (1000, 3):
        subject = SparseEncoder(info, model, max_features=kept)
        encodes = encoder(tiny_model_dir, HISTORY, turns="each")
        rows = [ROWS[4], ROWS[2], ROWS[7]]
        for budget in (1, 4096):
            scorer = PassReader(model, encodes, batch_tokens=budget)
            for losses in (True, False):
                _, shard = score(scorer, rows, losses=losses, sae=subject)
                assert shard is not None
                ends = np.cumsum(shard.arrays["counts"])
                for i, row in enumerate(rows):
                    states: list[Any] = []
                    handle = model.model.layers[0].register_forward_hook(
                        lambda _m, _i, out, states=states: states.append(out[0] if isinstance(out, tuple) else out)
                    )
                    with torch.no_grad():
                        for sample in encodes.samples(row):
                            model(input_ids=torch.tensor([sample.input_ids]))
                        values, indices = subject.encode(torch.cat([state.reshape(-1, 32) for state in states]))
                    handle.remove()
                    dense = torch.zeros(len(values), 64).scatter_(1, indices, values).double().mean(0).numpy()
                    part = slice(ends[i] - shard.arrays["counts"][i], ends[i])
                    own = np.sort(np.argsort(-dense, kind="stable")[:kept])
                    own = own[dense[own] > 0]
                    assert shard.arrays["indices"][part].tolist() == own.tolist()
                    np.testing.assert_allclose(shard.arrays["values"][part], dense[own], rtol=1e-4)


def test_tools_are_a_prompt_where_the_template_shows_them(model: Any, tiny_model_dir: Path) -> None:
    shows = "{% if tools %}{{ tools | tojson }}{% endif %}" + KEPT
    tools = json.dumps([{"type": "function", "function": {"name": "find"}}])
    row = Conversation([said("hello")], tools)
    for template, prompted in ((shows, True), (KEPT, False)):
        found, _ = score(PassReader(model, encoder(tiny_model_dir, template)), [row])
        assert found is not None and np.isfinite(found.arrays["ifd"]).tolist() == [prompted]


def pool_of(folder: Path, rows: Sequence[Any]) -> Pool:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    ingest([file], folder / "pool", IngestConfig(assistant_opens=True))
    return Pool.open(folder / "pool")


def test_recipes_read_scores_by_kind_and_missing_ones_are_told(tiny_model_dir: Path, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [*ROWS[:-2], [said("unasked", "hm"), user("then"), said("asked")]])
    template = tmp_path / "template.jinja"
    template.write_text(KEPT)
    asked: dict[str, Any] = {"model": tiny_model_dir, "chat_template": str(template)}
    recipe = Recipe((Step("score_filter", {"signal": "ifd_reasoning", "fraction": 0.5, "direction": "low"}),))
    report = score_pool(pool, SignalsConfig(), signals=["ifd"], **asked)
    assert set(report.keys) == {"lm"}
    assert not set(KIND_COLUMNS) & set(load_table(pool).columns)
    assert lacking_signals(recipe, load_table(pool)) == ("token_kinds",)
    report = score_pool(pool, SignalsConfig(), signals=lacking_signals(recipe, load_table(pool)), **asked)
    assert set(report.keys) == {"token_kinds"}
    table = load_table(pool)
    assert set(KIND_COLUMNS) < set(table.columns) and "rsr" in table.columns
    scores = table.column("ifd_reasoning")
    assert np.isfinite(scores).tolist() == [True, False, False, True, True, True, False]
    kept = materialize(recipe, table)
    assert kept.rows.tolist() == np.argsort(scores)[:2].tolist()
    assert table.why_unscored("ifd_reasoning") == {"no reasoning in the response as the template writes it": 3}
    assert table.why_unscored("ifd_answer") == {"no prompt before the response": 1}
    assert table.why_unscored("loss_call") == {"no call of a tool in the response as the template writes it": 5}
    assert table.why_unscored("varentropy_answer") == {}
    searched = searched_columns(table)
    assert "ifd_reasoning" in searched and not {"loss_reasoning", "loss_answer", "loss_call", "rsr"} & set(searched)
    assert score_pool(pool, SignalsConfig(), signals=["token_kinds", "rsr"], **asked).cached


def test_scores_by_kind_are_computed_only_where_asked_for(tiny_model_dir: Path, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, ROWS[2:3])
    columns = {}
    for asked in (False, True):
        score_pool(pool, SignalsConfig(token_kinds=asked), model=tiny_model_dir)
        columns[asked] = set(load_table(pool).columns)
    assert columns[True] - columns[False] == set(KIND_COLUMNS)
    with pytest.raises(ValueError, match="name token_kinds in the list"):
        SignalsConfig(token_kinds=True, signals=("ifd",))
    assert SignalsConfig(token_kinds=True, signals=("token_kinds",)).token_kinds


def test_turns_without_a_weight_are_neither_scored_nor_no_prompt(model: Any, tiny_model_dir: Path) -> None:
    shown = {**said("text"), "weight": 0}
    rows = [[user("a"), shown, user("b"), said("")], [shown, user("b"), said("c")]]
    found, _ = score(PassReader(model, encoder(tiny_model_dir)), rows)
    assert found is not None and np.isfinite(found.arrays["ifd"]).tolist() == [False, True]
    assert (found.stats["empty_response"], found.stats["no_prompt"]) == (1, 0)


@pytest.mark.parametrize("signal", ["ifd", "tokens", "trajectory"])
def test_the_model_reads_the_tools_of_a_pool(tiny_model_dir: Path, tmp_path: Path, signal: str) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{% if tools %}{{ tools | tojson }}{% endif %}" + KEPT)
    tools = [{"type": "function", "function": {"name": "find", "description": "finds", "parameters": {}}}]
    file, scores = tmp_path / "rows.jsonl", []
    for declared in ({}, {"tools": tools}):
        file.write_text(json.dumps({"messages": ROWS[1], **declared}) + "\n")
        ingest([file], tmp_path / f"pool-{len(scores)}")
        pool = Pool.open(tmp_path / f"pool-{len(scores)}")
        config = SignalsConfig(trajectory_models=(str(tiny_model_dir),) * 2)
        score_pool(pool, config, model=tiny_model_dir, chat_template=str(template), signals=[signal])
        column = {"ifd": "loss_conditional", "tokens": "n_prompt_tokens", "trajectory": "loss/0"}[signal]
        scores.append(float(load_table(pool).column(column)[0]))
    assert scores[0] != pytest.approx(scores[1], rel=1e-3)
