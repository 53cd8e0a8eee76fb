from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_pass import host_waits, score

from autoselection.errors import SignalError
from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import load_model
from autoselection.signals import SparseRows
from autoselection.signals.families import mona
from autoselection.signals.families.mona import mona_matrix, task_vector
from autoselection.signals.families.sae import (
    SparseEncoder,
    read_sae_info,
    sinks,
    stored_values,
)
from autoselection.signals.model_pass import PassReader

ROWS = [
    [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    for prompt, response in (("Add 2 and 3", "5"), ("Sort b a c d e f g", "a b c d e f g" * 3), ("Hi", ""))
]


def write_sae(
    folder: Path, *, d_in: int = 32, num_latents: int = 64, k: int = 4, seed: int = 0, **changes: Any
) -> Path:
    """A random SAE, written by the sparsify library itself."""
    sparsify = pytest.importorskip("sparsify")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        coder = sparsify.SparseCoder(d_in, sparsify.SparseCoderConfig(num_latents=num_latents, k=k, **changes))
        with torch.no_grad():
            coder.encoder.bias.normal_()
            coder.b_dec.normal_()
    coder.save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Any:
    return load_model(tiny_model_dir, "cpu")


def features(model: Any, tokenizer: Any, sae: SparseEncoder, batch_tokens: int = 4096) -> np.ndarray[Any, Any]:
    encoder = ConversationEncoder(tokenizer, max_length=512)
    _, shard = score(PassReader(model, encoder, batch_tokens=batch_tokens), ROWS, losses=False, sae=sae)
    assert shard is not None
    indptr = np.concatenate([[0], np.cumsum(shard.arrays["counts"])])
    rows = SparseRows(indptr, shard.arrays["indices"], shard.arrays["values"], sae.info.num_latents)
    return np.asarray(rows.to_scipy().toarray())


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
def test_features_are_means_of_the_librarys_activations(
    model: Any, tiny_tokenizer: Any, tmp_path: Path, activation: str
) -> None:
    import sparsify

    folder = write_sae(tmp_path / "layers.1", activation=activation)
    sae = SparseEncoder(read_sae_info(folder), model, max_features=1000)
    assert sae.hookpoint == "layers.1"
    coder = sparsify.SparseCoder.load_from_disk(folder)
    states = {}
    handle = model.model.layers[1].register_forward_hook(lambda _m, _i, out: states.update(last=out))
    expected = []
    for row in ROWS:
        text = tiny_tokenizer.apply_chat_template(row, tokenize=False)
        with torch.no_grad():
            model(**tiny_tokenizer(text, add_special_tokens=False, return_tensors="pt"))
            hidden = states["last"][0] if isinstance(states["last"], tuple) else states["last"]
            output = coder.encode(hidden.reshape(-1, 32))
        dense = torch.zeros(len(output.top_acts), 64).scatter_(1, output.top_indices, output.top_acts)
        expected.append(dense.mean(0).detach().numpy())
    handle.remove()
    for batch_tokens in (1, 4096):  # alone, and padded beside longer rows
        found = features(model, tiny_tokenizer, sae, batch_tokens)
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_attention_sinks_have_no_part_in_the_features(
    tiny_model_dir: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """The first token's state is made enormous, as large models make it: features stay those of the other tokens."""
    import sparsify

    folder = write_sae(tmp_path / "layers.1")
    coder = sparsify.SparseCoder.load_from_disk(folder)
    expected = []
    plain = load_model(tiny_model_dir, "cpu")
    states: list[torch.Tensor] = []
    plain.model.layers[1].register_forward_hook(
        lambda _m, _i, out: states.append(out[0] if isinstance(out, tuple) else out)
    )
    for row in ROWS:
        text = tiny_tokenizer.apply_chat_template(row, tokenize=False)
        with torch.no_grad():
            plain(**tiny_tokenizer(text, add_special_tokens=False, return_tensors="pt"))
            output = coder.encode(states[-1].reshape(-1, 32)[1:])  # all tokens but the first
        dense = torch.zeros(len(output.top_acts), 64).scatter_(1, output.top_indices, output.top_acts)
        expected.append(dense.mean(0).detach().numpy())

    model = load_model(tiny_model_dir, "cpu")
    subject = SparseEncoder(read_sae_info(folder), model, max_features=1000)

    def hook(_module: Any, _inputs: Any, output: Any) -> Any:
        found = output[0] if isinstance(output, tuple) else output
        found = torch.cat([found[:, :1] * 1000, found[:, 1:]], dim=1)
        return (found, *output[1:]) if isinstance(output, tuple) else found

    model.model.layers[1].register_forward_hook(hook)
    for batch_tokens in (1, 4096):  # alone, and padded beside longer rows
        found = features(model, tiny_tokenizer, subject, batch_tokens)
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", [0.0, 0.01, 5.0, 1e4])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_has_no_part_in_what_counts_as_a_sink(padding: float, side: str) -> None:
    """Rows of 3, 5 and 9 tokens, some of which are many times longer than the median of their own row."""
    rows = [[40.0, 1.0, 1.0], [9.0, 1.0, 1.1, 0.9, 1.0], [120.0, 3.0, 3.3, 2.7, 3.0, 29.0, 31.0, 3.0, 3.0]]
    expected = [[0], [], [0, 6]]
    width = 12
    states, mask = torch.full((3, width, 2), padding), torch.zeros(3, width, dtype=torch.bool)
    begins = [0 if side == "right" else width - len(row) for row in rows]
    for i, (row, begin) in enumerate(zip(rows, begins, strict=True)):
        states[i, begin : begin + len(row)] = torch.tensor(row)[:, None] * torch.tensor([0.6, 0.8])
        mask[i, begin : begin + len(row)] = True
    found, median = sinks(states, mask)
    for i, (row, begin) in enumerate(zip(rows, begins, strict=True)):
        assert torch.nonzero(found[i]).reshape(-1).tolist() == [begin + place for place in expected[i]]
        place = int(median[i]) - begin
        assert 0 <= place < len(row) and row[place] == sorted(row)[(len(row) - 1) // 2]


def test_only_the_largest_features_are_kept(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    info = read_sae_info(write_sae(tmp_path / "layers.0"))
    whole = features(model, tiny_tokenizer, SparseEncoder(info, model, max_features=1000))
    kept = features(model, tiny_tokenizer, SparseEncoder(info, model, max_features=3))
    for full, few in zip(whole, kept, strict=True):
        assert set(np.flatnonzero(few)) == set(np.argsort(-full)[:3])
        np.testing.assert_allclose(few[few > 0], full[few > 0], rtol=1e-5)


def test_losses_and_features_come_from_one_conditional_pass(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    sae = SparseEncoder(read_sae_info(write_sae(tmp_path / "layers.0")), model)
    encoder = ConversationEncoder(tiny_tokenizer, max_length=512)
    subject = PassReader(model, encoder, batch_tokens=4096)
    score(subject, ROWS[:1])  # settles how logits are computed
    passes = []
    handle = model.model.register_forward_hook(lambda *_: passes.append(1))
    both = score(subject, ROWS, sae=sae)
    handle.remove()
    assert len(passes) == 2
    np.testing.assert_array_equal(both[0].arrays["ifd"], score(subject, ROWS)[0].arrays["ifd"])


def test_features_are_fetched_when_all_passes_have_been_asked_for(
    model: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = SparseEncoder(read_sae_info(write_sae(tmp_path / "layers.0")), model, max_features=1000)
    encoder = ConversationEncoder(tiny_tokenizer, max_length=512)
    reader = PassReader(model, encoder, batch_tokens=1)  # a row a pass; one of them has no response
    whole = features(model, tiny_tokenizer, subject)
    score(reader, ROWS[:1])  # the first row is tried by itself
    block = 2 * subject.info.num_latents  # two sequences, and two tokens, at once
    monkeypatch.setattr("autoselection.signals.families.sae._BLOCK", block)
    with host_waits(model, monkeypatch) as seen:
        score(reader, ROWS, sae=subject)
    losses, sums = 2 * 2, 3  # of two passes over each row with a response; of every row
    assert seen == ["pass"] * 5 + ["cpu"] * (losses + sums)
    np.testing.assert_allclose(features(model, tiny_tokenizer, subject), whole, rtol=1e-6)


def test_wrong_width_names_both(model: Any, tmp_path: Path) -> None:
    info = read_sae_info(write_sae(tmp_path / "layers.0", d_in=48))
    with pytest.raises(SignalError, match=r"width 48.*has width 32"):
        SparseEncoder(info, model)


@pytest.mark.parametrize(
    ("folder", "layer", "hookpoint"),
    [("layers.0", None, "layers.0"), ("sae", None, "layers.0"), ("layers.0", 1, "layers.1"), ("sae", -1, "layers.1")],
)
def test_layer_from_settings_folder_or_default(
    model: Any, tmp_path: Path, folder: str, layer: int | None, hookpoint: str
) -> None:
    info = read_sae_info(write_sae(tmp_path / folder))
    assert SparseEncoder(info, model, layer=layer).hookpoint == hookpoint


@pytest.mark.parametrize(("folder", "layer"), [("layers.7", None), ("sae", 2), ("sae", -3)])
def test_layers_that_do_not_exist(model: Any, tmp_path: Path, folder: str, layer: int | None) -> None:
    info = read_sae_info(write_sae(tmp_path / folder))
    with pytest.raises(SignalError, match=r"options\.sae\.layer"):
        SparseEncoder(info, model, layer=layer)


def test_folder_of_one_layer_is_found(tmp_path: Path) -> None:
    write_sae(tmp_path / "out" / "layers.0")
    assert read_sae_info(tmp_path / "out").hookpoint == "layers.0"
    write_sae(tmp_path / "out" / "layers.1")
    with pytest.raises(SignalError, match=r"name one of its layers: layers\.0, layers\.1"):
        read_sae_info(tmp_path / "out")


def test_unusable_checkpoints(model: Any, tmp_path: Path) -> None:
    with pytest.raises(SignalError, match="no SAE folder"):
        read_sae_info(tmp_path / "none")
    folder = write_sae(tmp_path / "layers.0")
    config = json.loads((folder / "cfg.json").read_text())
    for change, message in (
        ({"transcode": True}, "transcoder"),
        ({"activation": "jumprelu"}, "jumprelu"),
        ({"k": "many"}, "not a sparsify configuration"),
        ({"k": 100}, "k = 100 of 64"),
        ({"k": 0}, "k must be a whole number above 0, not 0"),
        ({"d_in": None}, "d_in must be a whole number"),
        ({"d_in": [4]}, "d_in must be a whole number"),
        ({"d_in": True}, "d_in must be a whole number"),
        ({"d_in": 1.5}, "d_in must be a whole number"),
        ({"num_latents": 0, "expansion_factor": 0.5}, "expansion_factor must be a whole number"),
        ({"num_latents": -3}, "num_latents must be a whole number"),
        ({"activation": ["topk"]}, "activation"),
        ({"hookpoint": 5}, "hookpoint must be the name of a module"),
        ({"hookpoint": {"a": 1}}, "hookpoint must be the name of a module"),
    ):
        (folder / "cfg.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(SignalError, match=message):
            read_sae_info(folder)
    for text in ("[]", "7", "null", '"topk"', "{", "", "[" * 100_000, "\x00"):
        (folder / "cfg.json").write_text(text)
        with pytest.raises(SignalError, match=r"cfg\.json"):
            read_sae_info(folder)
    (folder / "cfg.json").write_text(json.dumps({**config, "num_latents": 128}))
    with pytest.raises(SignalError, match="shape"):
        SparseEncoder(read_sae_info(folder), model)
    (folder / "sae.safetensors").write_bytes(b"broken")
    with pytest.raises(SignalError, match="cannot be read"):
        SparseEncoder(read_sae_info(folder), model)


def test_mona_by_hand() -> None:
    rows = SparseRows.from_dense(np.array([[1.0, 0, 2.0], [0, 0, 0], [0.5, 1.0, 0]]))
    target = np.array([0.5, 1.0, 1.0])
    scores = mona_matrix(rows, target[None])[0]
    assert scores[0] == pytest.approx((0.5 + 0 + 1) / (1 + 1 + 2))
    assert np.isnan(scores[1])
    assert scores[2] == pytest.approx((0.5 + 1 + 0) / (0.5 + 1 + 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 9))
def test_mona_is_the_dense_formula(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    dense = (rng.random((n, d)) * (rng.random((n, d)) < 0.4)).astype(np.float32)
    targets = (rng.random((3, d)) * (rng.random((3, d)) < 0.6)).astype(np.float32)
    vector = task_vector(SparseRows.from_dense(targets))
    np.testing.assert_allclose(vector, targets.astype(float).mean(0))
    rows = SparseRows.from_dense(dense)
    start = int(rng.integers(0, n))
    found = mona_matrix(rows, vector[None], range(start, n))[0]
    for i in range(start, n):
        low, high = np.minimum(dense[i], vector).sum(), np.maximum(dense[i], vector).sum()
        if dense[i].any():
            assert found[i - start] == pytest.approx(low / high, rel=1e-5)
        else:
            assert np.isnan(found[i - start])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float16", "uint8"]), st.integers(1, 40))
def test_mona_of_all_tasks_in_blocks_is_the_dense_formula(seed: int, kind: Any, block: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 15)), int(rng.integers(1, 12))
    dense = (rng.random((n, d)) * 3 * (rng.random((n, d)) < 0.4)).astype(np.float32)
    targets = rng.random((4, d)) * (rng.random((4, d)) < 0.6)
    plain = SparseRows.from_dense(dense)
    stored, _ = stored_values(plain.values, plain.counts, kind)
    rows = SparseRows(plain.indptr, plain.indices, stored["values"], d, stored.get("scale"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mona, "_ENTRIES", block)  # less than a row, and several rows
        found = mona_matrix(rows, targets)
    as_stored = rows.to_scipy().toarray().astype(np.float64)
    for t, target in enumerate(targets):
        for i in range(n):
            low, high = np.minimum(as_stored[i], target).sum(), np.maximum(as_stored[i], target).sum()
            assert found[t, i] == pytest.approx(low / high, rel=1e-5) if dense[i].any() else np.isnan(found[t, i])


@pytest.mark.parametrize(("kind", "itemsize"), [("float32", 4), ("float16", 2), ("uint8", 1)])
def test_stored_values_are_near_and_stay_active(kind: Any, itemsize: int) -> None:
    rng = np.random.default_rng(0)
    dense = (np.exp(rng.normal(size=(200, 50)) * 2) * (rng.random((200, 50)) < 0.4)).astype(np.float32)
    dense[7] = 0
    plain = SparseRows.from_dense(dense)
    stored, clipped = stored_values(plain.values, plain.counts, kind)
    rows = SparseRows(plain.indptr, plain.indices, stored["values"], 50, stored.get("scale"))
    assert rows.values.dtype.itemsize == itemsize
    assert (rows.values > 0).all()
    found = rows.to_scipy().toarray()
    np.testing.assert_array_equal(found > 0, dense > 0)
    if kind == "float16":
        np.testing.assert_allclose(found, dense, rtol=2**-11)
    if kind == "uint8":
        step = dense.max(1, keepdims=True) / 255
        exact = np.clip(np.rint(dense / np.where(step > 0, step, 1)), dense > 0, 255) * step
        np.testing.assert_allclose(found, exact, rtol=1e-5)
        assert clipped == int(((dense > 0) & (dense < step / 2)).any(1).sum()) > 0
    chosen = np.array([9, 7, 9, 0])
    np.testing.assert_array_equal(rows.take(chosen).to_scipy().toarray(), found[chosen])
    np.testing.assert_array_equal(rows.row(9)[1], found[9][found[9] > 0])


def test_values_outside_float16_are_clipped_and_counted() -> None:
    values = np.array([1e-9, 1.0, 1e6, 2.0], np.float32)
    stored, clipped = stored_values(values, np.array([1, 0, 2, 1]), "float16")
    assert stored["values"].tolist() == [2**-24, 1.0, 65504.0, 2.0]
    assert clipped == 2


def test_mona_golden() -> None:
    # Row features a, task vector v = mean of (2, 0, 4, 0) and (0, 0, 2, 6) = (1, 0, 3, 3).
    # a = (4, 1, 1, 0): min = 1 + 0 + 1 + 0 = 2, max = 4 + 1 + 3 + 3 = 11.  a = v: 1.  a = (0, 5, 0, 0): 0.
    vector = task_vector(SparseRows.from_dense(np.array([[2.0, 0, 4, 0], [0, 0, 2, 6]])))
    assert vector.tolist() == [1, 0, 3, 3]
    rows = SparseRows.from_dense(np.array([[4.0, 1, 1, 0], [1, 0, 3, 3], [0, 5, 0, 0]]))
    np.testing.assert_allclose(mona_matrix(rows, vector[None])[0], [2 / 11, 1.0, 0.0], rtol=1e-6)
    assert task_vector(SparseRows.from_dense(np.zeros((0, 4)))).tolist() == [0, 0, 0, 0]


def test_snar_drift_golden() -> None:
    # Shares of active rows: pool (3/4, 1/4, 2/4), rows 0 and 1 (1, 1/2, 0): difference (1/4, 1/4, −1/2).
    # ||·||₂ / √3 = √(1/16 + 1/16 + 1/4) / √3 = √(3/8 / 3) = √(1/8). Values do not count, only activity.
    from autoselection.recipes.state import state_vector
    from autoselection.signals import SignalTable

    dense = np.array([[0.1, 9, 0], [7, 0, 0], [3, 0, 0.2], [0, 0, 5]])
    table = SignalTable.from_arrays({"n_tokens": [1, 1, 1, 1]}, sae=dense)
    assert state_vector(np.array([0, 1]), table).distribution_drift == pytest.approx((1 / 8) ** 0.5)
    assert state_vector(np.arange(4), table).distribution_drift == pytest.approx(0.0)
    # Rows 0, 1 and 2: (1, 1/3, 1/3) − (3/4, 1/4, 1/2) = (1/4, 1/12, −1/6) = (3, 1, −2) / 12.
    assert state_vector(np.array([2, 0, 1]), table).distribution_drift == pytest.approx((14 / 144 / 3) ** 0.5)
