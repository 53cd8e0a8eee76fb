from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

spacy = pytest.importorskip("spacy")

from autoselection.errors import SignalError  # noqa: E402
from autoselection.signals.families.syntax import (  # noqa: E402
    ActionObjectBranching,
    BranchingOptions,
    action_object_branching,
    branching,
    find_parser,
    load_parser,
)
from autoselection.signals.inputs import Inputs  # noqa: E402
from autoselection.signals.settings import PassSettings  # noqa: E402


def made_by_hand(words: list[str], pos: list[str], heads: list[int]) -> object:
    from spacy.tokens import Doc
    from spacy.vocab import Vocab

    return Doc(Vocab(), words=words, pos=pos, heads=heads, deps=["dep"] * len(words))


def test_branching_by_hand() -> None:
    # "Write short poems and sing": write → {poems → short, sing → and}
    doc = made_by_hand(
        ["Write", "short", "poems", "and", "sing"], ["VERB", "ADJ", "NOUN", "CCONJ", "VERB"], [0, 2, 0, 4, 0]
    )
    assert branching(doc) == 0.5 * 2 + 0.5 * (5 + 2) / 2


def test_no_verb_is_zero_and_auxiliaries_do_not_count() -> None:
    assert branching(made_by_hand(["a", "cat"], ["DET", "NOUN"], [1, 1])) == 0.0
    assert branching(made_by_hand(["It", "is", "red"], ["PRON", "AUX", "ADJ"], [1, 1, 1])) == 0.0


def test_parsed_texts_agree_with_spacys_own_subtrees() -> None:
    nlp = load_parser(*find_parser("en_core_web_sm"))
    texts = [
        "Write a short story about a dragon who learns to read, then translate it into French.",
        "",
        "The capital of France.",
        "  \n",
        "Compute 2 + 3.\nExplain why the answer that you gave is right.",
        "x" * 500,
    ]
    scores, stats = action_object_branching(texts, nlp, max_characters=200, batch_size=2)
    assert np.isnan(scores[[1, 3, 5]]).all()
    assert stats == {"empty": 2, "too_long": 1, "failed": 0}
    for i in (0, 2, 4):
        verbs = [token for token in nlp(texts[i]) if token.pos_ == "VERB"]
        sizes = [len(list(verb.subtree)) for verb in verbs]
        assert scores[i] == pytest.approx(0.5 * len(verbs) + 0.5 * np.mean(sizes) if verbs else 0.0)
    assert scores[0] > 0


def test_a_text_that_fails_is_missing_and_counted() -> None:
    nlp = load_parser(*find_parser("en_core_web_sm"))
    tokenizer = nlp.tokenizer

    def picky(text: str) -> object:
        if "poison" in text:
            raise ValueError("refused")
        return tokenizer(text)

    nlp.tokenizer = picky
    try:
        scores, stats = action_object_branching(["Run home.", "poison", "Sing a song."], nlp)
    finally:
        nlp.tokenizer = tokenizer
    assert np.isnan(scores).tolist() == [False, True, False]
    assert stats["failed"] == 1


def test_missing_model_is_refused() -> None:
    with pytest.raises(SignalError, match="'xx_no_such_model' is not installed"):
        find_parser("xx_no_such_model")


def test_model_without_a_parser_is_refused(tmp_path: Path) -> None:
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(SignalError, match="no dependency parser"):
        load_parser(*find_parser(str(tmp_path / "blank")))


def test_a_model_in_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    """spaCy calls every model that it trains version 0.0.0."""
    spacy.blank("en").to_disk(tmp_path / "trained")
    (tmp_path / "trained" / "parser").mkdir()
    (tmp_path / "trained" / "parser" / "model").write_bytes(b"weights")
    shutil.copytree(tmp_path / "trained", tmp_path / "moved")

    def key(folder: str) -> str:
        signal = ActionObjectBranching(BranchingOptions(parser=str(tmp_path / folder)))
        return signal.spec(Inputs(None, PassSettings()), {}).key("pool")

    assert key("trained") == key("moved")
    (tmp_path / "moved" / "parser" / "model").write_bytes(b"Weights")
    assert key("trained") != key("moved")
