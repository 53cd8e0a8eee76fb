"""IFD and varentropy against a loop without batches and padding, in double precision."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_pass import host_waits, score
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from autoselection.language import packed
from autoselection.language.chat import ChatOptions, ConversationEncoder
from autoselection.language.models import load_model, load_tokenizer
from autoselection.signals import ScoreReport, SignalReport, model_pass, unread_parts
from autoselection.signals.families.lm import LanguageModelOptions, LanguageModelSignal, token_ranks, token_scores
from autoselection.signals.inputs import Inputs
from autoselection.signals.model_pass import PassReader, token_batches
from autoselection.signals.settings import PassSettings

HEADER = "<|im_start|>assistant\n"


def chat(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


ROWS = [
    chat("Add 2 and 3", "It is 5."),
    chat("Say a long thing", "abcdefghij klmnop " * 6),
    chat("?", "!"),
    chat("Sort b a c", "a b c"),
]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Any:
    return load_model(tiny_model_dir, "cpu")


def scorer(model: Any, tokenizer: Any, *, batch_tokens: int = 4096, **options: Any) -> PassReader:
    encoder = ConversationEncoder(tokenizer, **{"max_length": 512, **options})
    return PassReader(model, encoder, batch_tokens=batch_tokens)


def columns(
    subject: PassReader, rows: list[list[dict[str, str]]], **options: Any
) -> tuple[dict[str, Any], dict[str, int]]:
    shard, _ = score(subject, rows, **options)
    assert shard is not None
    return dict(shard.arrays), dict(shard.stats)


def slow_scores(model: Any, tokenizer: Any, text: str, response_spans: list[str]) -> tuple[float, float]:
    """Mean loss and varentropy of the response tokens, one token at a time. The spans occur in this order in text."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    starts = np.cumsum([0] + [len(token) for token in tokens])
    scored = []
    cursor = 0
    for span in response_spans:
        begin = text.index(span, cursor)
        cursor = begin + len(span)
        scored += [i for i in range(len(tokens)) if begin <= starts[i] < cursor]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    losses, spreads = [], []
    for i in scored:
        row = logits[i - 1]
        log_p = (row - torch.logsumexp(row, 0)).tolist()
        entropy = -sum(math.exp(value) * value for value in log_p)
        losses.append(-log_p[ids[i]])
        spreads.append(sum(math.exp(value) * (value + entropy) ** 2 for value in log_p))
    return sum(losses) / len(losses), sum(spreads) / len(spreads)


def test_scores_are_those_of_the_plain_loop(model: Any, tiny_tokenizer: Any) -> None:
    found, stats = columns(scorer(model, tiny_tokenizer, batch_tokens=200), ROWS)
    for i, row in enumerate(ROWS):
        response = row[1]["content"] + "<|im_end|>"
        prompt = f"<|im_start|>user\n{row[0]['content']}<|im_end|>\n"
        conditional, varentropy = slow_scores(model, tiny_tokenizer, prompt + HEADER + response + "\n", [response])
        alone, _ = slow_scores(model, tiny_tokenizer, HEADER + response, [response])
        assert found["loss_conditional"][i] == pytest.approx(conditional, rel=1e-5)
        assert found["loss_unconditional"][i] == pytest.approx(alone, rel=1e-5)
        assert found["ifd"][i] == pytest.approx(conditional / alone, rel=1e-5)
        assert found["varentropy"][i] == pytest.approx(varentropy, rel=1e-4)
    assert stats == {
        "refused_by_template": 0,
        "truncated": 0,
        "turns_rewritten": 0,
        "tools_left_out": 0,
        "reasoning_left_out": 0,
        "text_left_out": 0,
        "empty_response": 0,
        "response_cut_off": 0,
        "no_prompt": 0,
    }


@pytest.mark.parametrize("turns", ["all", "last"])
def test_conversations_of_several_turns(model: Any, tiny_tokenizer: Any, turns: str) -> None:
    row = [*chat("first", "one two"), *chat("second", "three")]
    found, _ = columns(scorer(model, tiny_tokenizer, turns=turns), [row])
    text = (
        f"<|im_start|>user\nfirst<|im_end|>\n{HEADER}one two<|im_end|>\n"
        f"<|im_start|>user\nsecond<|im_end|>\n{HEADER}three<|im_end|>\n"
    )
    spans = ["one two<|im_end|>", "three<|im_end|>"] if turns == "all" else ["three<|im_end|>"]
    conditional, varentropy = slow_scores(model, tiny_tokenizer, text, spans)
    alone, _ = slow_scores(model, tiny_tokenizer, "".join(HEADER + span for span in spans), spans)
    assert found["loss_conditional"][0] == pytest.approx(conditional, rel=1e-5)
    assert found["loss_unconditional"][0] == pytest.approx(alone, rel=1e-5)
    assert found["varentropy"][0] == pytest.approx(varentropy, rel=1e-4)


def test_scores_do_not_depend_on_the_batch(model: Any, tiny_tokenizer: Any) -> None:
    single, _ = columns(scorer(model, tiny_tokenizer, batch_tokens=1), ROWS)
    many, _ = columns(scorer(model, tiny_tokenizer, batch_tokens=1 << 20), ROWS)
    turned, _ = columns(scorer(model, tiny_tokenizer, batch_tokens=300), ROWS[::-1])
    for name in LanguageModelSignal.columns:
        np.testing.assert_allclose(many[name], single[name], rtol=2e-5)
        np.testing.assert_allclose(turned[name][::-1], single[name], rtol=2e-5)


def test_logits_in_small_chunks_give_the_same(model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = columns(scorer(model, tiny_tokenizer), ROWS)
    monkeypatch.setitem(model_pass._LOGITS, "cpu", 3 * model.config.vocab_size)
    chunked, _ = columns(scorer(model, tiny_tokenizer), ROWS)
    for name in LanguageModelSignal.columns:
        np.testing.assert_allclose(chunked[name], whole[name], rtol=1e-6)


def test_values_are_fetched_once_a_pass_whatever_the_blocks(
    model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model_pass._LOGITS, "cpu", 3 * model.config.vocab_size)
    subject = scorer(model, tiny_tokenizer)
    columns(subject, ROWS)  # the first row is tried by itself
    with host_waits(model, monkeypatch) as seen:
        columns(subject, ROWS)
    assert seen == ["pass", "pass", "cpu", "cpu"]


def test_a_batch_goes_to_the_device_in_one_copy(
    model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = scorer(model, tiny_tokenizer)
    columns(subject, ROWS[:1])
    sent: list[int] = []
    own = packed.on_device
    monkeypatch.setattr(packed, "on_device", lambda arrays, device: (sent.append(1), own(arrays, device))[1])
    columns(subject, ROWS)
    assert len(sent) == 2  # a pass in the conversation and one alone


def test_rows_without_a_response_have_no_scores(model: Any, tiny_tokenizer: Any) -> None:
    rows = [chat("a", ""), chat("a", " \n"), [{"role": "user", "content": "alone"}], chat("a", "b")]
    found, stats = columns(scorer(model, tiny_tokenizer), rows)
    for name in LanguageModelSignal.columns:
        assert np.isnan(found[name]).tolist() == [True, True, True, False]
    assert stats["empty_response"] == 3


def test_rows_without_a_prompt_have_losses_but_no_ifd(model: Any, tiny_tokenizer: Any) -> None:
    found, stats = columns(scorer(model, tiny_tokenizer), [[{"role": "assistant", "content": "hello"}], chat("", "b")])
    assert np.isnan(found["ifd"]).all()
    assert np.isfinite(found["varentropy"]).all()
    assert stats["no_prompt"] == 2


def test_truncation_is_counted_and_scores_what_is_left(model: Any, tiny_tokenizer: Any) -> None:
    short = scorer(model, tiny_tokenizer, max_length=40)
    # 16 + 2 + 11 tokens of scaffolding and prompt: the first response is cut, the second row loses its whole response.
    rows = [chat("ab", "c" * 50), chat("x" * 60, "y"), chat("a", "b")]
    found, stats = columns(short, rows)
    assert stats["truncated"] == 2
    assert stats["response_cut_off"] == 1
    assert np.isnan(found["ifd"]).tolist() == [False, True, False]
    text = f"<|im_start|>user\nab<|im_end|>\n{HEADER}" + "c" * 50
    ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"][:40]
    kept = "".join(tiny_tokenizer.convert_ids_to_tokens(ids)).split(HEADER)[1]
    conditional, _ = slow_scores(model, tiny_tokenizer, f"<|im_start|>user\nab<|im_end|>\n{HEADER}{kept}", [kept])
    alone, _ = slow_scores(model, tiny_tokenizer, HEADER + kept, [kept])
    assert found["ifd"][0] == pytest.approx(conditional / alone, rel=1e-5)


def test_control_words_in_content_are_scored_as_text(model: Any, tiny_tokenizer: Any) -> None:
    found, _ = columns(scorer(model, tiny_tokenizer), [chat("end<|im_end|>", "yes<|im_end|>no"), ROWS[0]])
    plain, _ = columns(scorer(model, tiny_tokenizer), [ROWS[0]])
    assert np.isfinite(found["ifd"]).all()
    assert found["ifd"][1] == pytest.approx(plain["ifd"][0], rel=1e-5)


def test_template_with_neither_header_nor_start_token(model: Any, tiny_model_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{{ '<|im_end|>' }}{% endfor %}"
    found, _ = columns(scorer(model, tokenizer), [chat("ask", "answer")])
    response = "answer<|im_end|>"
    conditional, _ = slow_scores(model, tokenizer, "ask<|im_end|>" + response, [response])
    alone, _ = slow_scores(model, tokenizer, "<|bos|>" + response, [response])
    assert found["ifd"][0] == pytest.approx(conditional / alone, rel=1e-5)


def test_refused_rows_are_missing_and_counted(model: Any, tiny_model_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "{{ m.role + m.content + '<|im_end|>' }}{% endfor %}"
    )
    rows = [[{"role": "system", "content": "s"}, *ROWS[0]], ROWS[0]]
    found, stats = columns(scorer(model, tokenizer), rows)
    assert np.isnan(found["varentropy"]).tolist() == [True, False]
    assert stats["refused_by_template"] == 1


def test_rows_of_which_the_template_cuts_something_are_counted_and_told(model: Any, tiny_model_dir: Path) -> None:
    """DeepSeek-R1's templates cut reasoning from contents, that of the last answer, too."""
    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.split('</think>')[-1] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    rows = [chat("add", "<think>\nso\n</think>\n\n5"), chat("add", "5")]
    _, stats = columns(scorer(model, tokenizer), rows)
    assert {name: stats[name] for name in stats if name.endswith("_left_out")} == {
        "tools_left_out": 0,
        "reasoning_left_out": 1,
        "text_left_out": 0,
    }
    signal = SignalReport("lm", "", False, 0.0, 2, 0, {}, stats, {}, 0, 0)
    (said,) = unread_parts(ScoreReport(2, (signal,), {}, 0.0))
    assert said.startswith("1 of 2 rows (50%) hold reasoning that the chat template does not write")


def test_scores_behind_headers_that_not_all_rows_have_are_other_scores(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Earlier versions left such a header out of the response alone; of other templates the key is what it was."""
    own = (
        "{% set ns = namespace(block='') %}{% if '/no_think' in messages[0].content %}{% set ns.block = '()' %}{% endif %}"
        "{% for m in messages %}{{ m.role + ':' + (ns.block if m.role == 'assistant' else '') + m.content + '<|im_end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' + ns.block }}{% endif %}"
    )
    found = {}
    for name, template in (("own", own), ("same", own.replace("/no_think' in", "/no_think' == 'x' +"))):
        file = tmp_path / f"{name}.jinja"
        file.write_text(template)
        inputs = Inputs(None, PassSettings(device="cpu"), {}, tiny_model_dir, chat=ChatOptions(str(file)))
        found[name] = LanguageModelSignal().spec(inputs, {}).params.get("headers")
    assert found == {"own": "of the row", "same": None}


def test_models_that_change_their_logits_are_computed_whole(tiny_tokenizer: Any) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=len(tiny_tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        final_logit_softcapping=0.05,
        initializer_range=0.5,
        pad_token_id=0,
    )
    capped = Gemma2ForCausalLM(config).eval()
    found, stats = columns(scorer(capped, tiny_tokenizer), ROWS[:1])
    response = "It is 5.<|im_end|>"
    text = f"<|im_start|>user\nAdd 2 and 3<|im_end|>\n{HEADER}{response}\n"
    conditional, varentropy = slow_scores(capped, tiny_tokenizer, text, [response])
    assert stats["whole_logits"] == 1
    assert found["loss_conditional"][0] == pytest.approx(conditional, rel=1e-4)
    assert found["varentropy"][0] == pytest.approx(varentropy, rel=1e-3)


def test_varentropy_by_hand() -> None:
    # p = (½, ¼, ¼): H = 1.5 ln 2; (log p + H)² = (½ ln 2)² for every token
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]))
    loss, varentropy = token_scores(logits, torch.tensor([1, 0]))
    assert loss.tolist() == pytest.approx([math.log(4), math.log(3)])
    assert varentropy.tolist() == pytest.approx([(0.5 * math.log(2)) ** 2, 0.0], abs=1e-7)
    ruled_out = torch.tensor([[0.0, 0.0, -math.inf]])
    assert token_scores(ruled_out, torch.tensor([0]))[1].tolist() == pytest.approx([0.0], abs=1e-7)


class Arrays(TorchDispatchMode):
    """The most bytes that results of operators held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._held: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                self._held[StorageWeakRef(storage)] = storage.nbytes()
        self._held = {held: size for held, size in self._held.items() if not held.expired()}
        self.most = max(self.most, sum(self._held.values()))
        return found


def test_a_block_of_logits_on_a_gpu_takes_a_gibibyte_with_all_that_is_made_of_it() -> None:
    rows, vocabulary = 64, 4096
    targets = torch.zeros(rows, dtype=torch.long)
    signal = LanguageModelSignal(LanguageModelOptions())
    for values in (*signal.token_values, *signal.token_values_alone):
        with Arrays() as held, torch.no_grad():
            values(torch.randn(rows, vocabulary).float(), targets)
        most = held.most / (4 * rows * vocabulary)  # in blocks of float32
        assert most * 4 * model_pass._LOGITS["cuda"] < 1.01 * 2**30


def test_ranks_by_hand() -> None:
    # Logits 3 2 2 −1: one token is first, two share the second place, the last is fourth; −∞ is behind all others.
    logits = torch.tensor([[2.0, 3.0, -1.0, 2.0], [0.0, -math.inf, 0.0, -math.inf]])
    for targets, ranks in (([0, 0], [2, 1]), ([1, 1], [1, 3]), ([2, 2], [4, 1]), ([3, 3], [2, 3])):
        assert token_ranks(logits, torch.tensor(targets)).tolist() == ranks


@settings(max_examples=100)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 10_000))
def test_ranks_are_those_of_sorting(rows: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-4, 5, (rows, size)).astype(np.float32)  # many ties
    targets = rng.integers(0, size, rows)
    order = [sorted(row.tolist(), reverse=True) for row in logits]
    expected = [ranked.index(row[target]) + 1 for ranked, row, target in zip(order, logits, targets, strict=True)]
    assert token_ranks(torch.from_numpy(logits), torch.from_numpy(targets)).tolist() == expected


@pytest.mark.parametrize("limit", [None, 100, 20, 1])
def test_rsr_is_that_of_sorting_the_whole_distribution(model: Any, tiny_tokenizer: Any, limit: int | None) -> None:
    subject = scorer(model, tiny_tokenizer, batch_tokens=200)
    found, _ = columns(subject, [*ROWS, [*ROWS[0], *ROWS[3]]], max_rank=limit)
    for i, row in enumerate([*ROWS, [*ROWS[0], *ROWS[3]]]):
        encoded = subject.encoder.encode(row)
        with torch.no_grad():
            probabilities = model(input_ids=torch.tensor([encoded.input_ids])).logits[0].double().softmax(-1)
        ranks, losses = [], []
        for place in np.flatnonzero(encoded.response).tolist():
            before, token = probabilities[place - 1].tolist(), encoded.input_ids[place]
            rank = sorted(before, reverse=True).index(before[token]) + 1
            ranks.append(min(rank, limit or rank))
            losses.append(-math.log(before[token]))
        assert max(ranks) > 20 or limit in (20, 1)
        assert found["rsr"][i] == pytest.approx(np.mean(ranks) / np.mean(losses), rel=1e-5)


def test_a_response_without_any_surprise_has_no_rsr(tiny_tokenizer: Any) -> None:
    model = bigrams(tiny_tokenizer, {("\n", "b"): 1 - 1e-12, ("b", "<|im_end|>"): 1 - 1e-12})
    found, _ = columns(scorer(model, tiny_tokenizer), [chat("a", "b")])
    assert found["loss_conditional"].tolist() == [0.0]
    assert np.isnan(found["rsr"]).all() and np.isnan(found["ifd"]).all()


@settings(max_examples=50)
@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_batches_cover_all_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


class Bigrams(torch.nn.Module):
    """A language model whose next-token distribution is a table's row for the last token: scores can be had by hand."""

    def __init__(self, probabilities: torch.Tensor) -> None:
        super().__init__()
        from types import SimpleNamespace

        self.head = torch.nn.Linear(*probabilities.shape[::-1], bias=False)
        self.head.weight.data = torch.log(probabilities).T.contiguous()
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=probabilities.shape[1]))
        self.device, self.base_model = torch.device("cpu"), self._trunk

    def _trunk(self, *, input_ids: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        return (torch.nn.functional.one_hot(input_ids, self.head.in_features).float(),)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.head(self._trunk(input_ids=input_ids)[0]))


def bigrams(tokenizer: Any, special: dict[tuple[str, str], float]) -> Bigrams:
    """Uniform but for rows of the table that give ``p(second | first)``; the rest of such a row is shared evenly."""
    size = len(tokenizer)
    table = torch.full((size, size), 1.0 / size)
    for (first, second), p in special.items():
        row, column = tokenizer.convert_tokens_to_ids([first, second])
        table[row] = (1 - p) / (size - 1)
        table[row, column] = p
    return Bigrams(table).eval()


def test_golden_scores_of_a_bigram_model(tiny_tokenizer: Any) -> None:
    # Prompt "a", response "bc": p(b | \n) = 1/2 after the header's line feed, p(c | b) = 1/4, p(<|im_end|> | c) = 1/8.
    end, size = "<|im_end|>", len(tiny_tokenizer)
    model = bigrams(tiny_tokenizer, {("\n", "b"): 1 / 2, ("b", "c"): 1 / 4, ("c", end): 1 / 8})
    rows = [chat("a", "bc"), chat("a", "c"), chat("a", ""), [*chat("a", "bc"), *chat("d", "c")]]
    found, stats = columns(scorer(model, tiny_tokenizer), rows)
    loss = (math.log(2) + math.log(4) + math.log(8)) / 3
    rest = math.log(2 * (size - 1))  # of a token that follows the line feed by chance
    losses = [loss, (rest + math.log(8)) / 2, math.nan, (3 * loss + rest + math.log(8)) / 5]
    np.testing.assert_allclose(found["loss_conditional"], losses, rtol=1e-6)

    # A token with probability p, the others sharing 1 − p: log p + H = (1 − p) x and log q + H = −p x, with
    # x = log(p / q), so varentropy is p (1 − p) x².
    def spread(p: float) -> float:
        return p * (1 - p) * math.log(p * (size - 1) / (1 - p)) ** 2

    three = (spread(1 / 2) + spread(1 / 4) + spread(1 / 8)) / 3
    two = (spread(1 / 2) + spread(1 / 8)) / 2
    np.testing.assert_allclose(found["varentropy"], [three, two, math.nan, (3 * three + 2 * two) / 5], rtol=1e-5)
    # The model sees one token back, and the header stands before the response in both passes: prompts do not help.
    np.testing.assert_allclose(found["ifd"], [1, 1, math.nan, 1], rtol=1e-6)
    assert stats["empty_response"] == 1
    # A token named in the table is the likeliest; one that follows the line feed by chance shares the second place.
    ranks = np.array([1, 1.5, math.nan, (3 + 2 + 1) / 5])
    np.testing.assert_allclose(found["rsr"], ranks / losses, rtol=1e-6)
    last, _ = columns(scorer(model, tiny_tokenizer, turns="last"), rows[3:])
    np.testing.assert_allclose(last["loss_conditional"], [losses[1]], rtol=1e-6)


def test_golden_ifd_where_the_prompt_helps(tiny_model_dir: Path) -> None:
    # Without header: "ab." rendered as prompt, response and end mark; the model knows b after a, not at the start.
    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% if loop.last %}.{% endif %}{% endfor %}"
    model = bigrams(tokenizer, {("a", "b"): 1 / 2, ("<|bos|>", "b"): 1 / 16, ("b", "."): 1 / 2})
    found, _ = columns(scorer(model, tokenizer), [chat("a", "b")])  # a response of one token and its end mark
    assert found["loss_conditional"][0] == pytest.approx(math.log(2))
    assert found["loss_unconditional"][0] == pytest.approx((math.log(16) + math.log(2)) / 2)
    assert found["ifd"][0] == pytest.approx(1 / 2.5)


def test_golden_rows_longer_than_the_context(tiny_tokenizer: Any) -> None:
    # The context ends behind "bc", before its end mark; and then before "b".
    model = bigrams(tiny_tokenizer, {("\n", "b"): 1 / 2, ("b", "c"): 1 / 4})
    text = tiny_tokenizer.apply_chat_template(chat("a", "bc"), tokenize=False)
    ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
    place = tiny_tokenizer.convert_ids_to_tokens(ids).index("b", 10)
    found, stats = columns(scorer(model, tiny_tokenizer, max_length=place + 2), [chat("a", "bc")])
    assert found["loss_conditional"][0] == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert (stats["truncated"], stats["response_cut_off"]) == (1, 0)
    found, stats = columns(scorer(model, tiny_tokenizer, max_length=place), [chat("a", "bc")])
    assert np.isnan(found["loss_conditional"][0])
    assert (stats["truncated"], stats["response_cut_off"]) == (1, 1)


def test_models_that_look_ahead_are_masked(model: Any, tiny_tokenizer: Any) -> None:
    subject = scorer(model, tiny_tokenizer)
    columns(subject, ROWS)
    assert not subject.masked
    attention = [layer.self_attn for layer in model.model.layers]
    forwards = [module.forward for module in attention]

    def looking_ahead(plain: Any) -> Any:
        def forward(hidden_states: Any, **options: Any) -> Any:
            mask = options.get("attention_mask")
            if mask is None:
                ahead = hidden_states.mean(1, keepdim=True)
            else:
                real = mask[:, 0].any(1)[..., None].to(hidden_states.dtype)
                ahead = (hidden_states * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
            return plain(hidden_states=hidden_states + ahead, **options)

        return forward

    try:
        for module, plain in zip(attention, forwards, strict=True):
            module.forward = looking_ahead(plain)
        subject = scorer(model, tiny_tokenizer)
        columns(subject, ROWS)
        assert subject.masked
    finally:
        for module in attention:
            del module.forward


def test_batches_pad_little() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.8, 2000).astype(int) + 1
    batches = token_batches(lengths.tolist(), 4096)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.08 * lengths.sum()
