"""Statistics of Data-Juicer's filters as signals: in a process of another environment, cached, wrong ones in a sentence."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autoselection.errors import SignalError
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, load_table, score_pool

#: What the program uses of Data-Juicer's package, with one batched filter and one that is not.
STUB = """
class Fields: stats = "__dj__stats__"
class _Filter:
    text_key = "text"
    def __init__(self, factor=1): self.factor = factor
    def compute_stats(self): pass
class Batched(_Filter):
    def is_batched_op(self): return True
    def compute_stats_batched(self, samples):
        print("noise on standard output")
        for text, stat in zip(samples["text"], samples[Fields.stats]):
            stat["text_len"] = len(text) * self.factor
            stat["lang"] = "en"
        return samples
class Single(_Filter):
    def is_batched_op(self): return False
    def compute_stats_single(self, sample):
        if sample["text"]: sample[Fields.stats]["oddness"] = len(sample["text"]) % 2
        return sample
def load_ops(process):
    ((name, params),) = process[0].items()
    if name == "lacking_filter": import package_of_the_filter.part
    return [{"text_length_filter": Batched, "odd_filter": Single}[name](**params)]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has the stub in place of Data-Juicer."""
    folder = tmp_path_factory.mktemp("dj")
    package = folder / "data_juicer"
    for name in ("ops", "utils"):
        (package / name).mkdir(parents=True)
    (package / "stub.py").write_text(STUB)
    (package / "__init__.py").write_text("__version__ = 'stub'\n")
    (package / "ops" / "__init__.py").write_text("from data_juicer.stub import load_ops\n")
    (package / "utils" / "__init__.py").touch()
    (package / "utils" / "constant.py").write_text("from data_juicer.stub import Fields\n")
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    rows = [{"prompt": f"q{n}", "response": "x" * n} for n in (1, 2, 30)]
    return ingest(rows, tmp_path / "pool").pool


def config(python: str, *filters: dict[str, Any]) -> SignalsConfig:
    return SignalsConfig(options={"data_juicer": {"python": python, "filters": list(filters)}})


def test_statistics_become_columns(pool: Pool, python: str) -> None:
    asked = (
        {"filter": "text_length_filter", "part": "response"},
        {"filter": "text_length_filter", "name": "doubled", "params": {"factor": 2}},
        {"filter": "odd_filter", "stats": ["oddness"]},
    )
    report = score_pool(pool, config(python, *asked), signals=["data_juicer"])
    table = load_table(pool)
    assert table["dj/text_length.response/text_len"].tolist() == [1.0, 2.0, 30.0]
    assert table["dj/doubled/text_len"].tolist() == [2 * len(text) for text in pool.texts()]
    assert set(table["dj/odd/oddness"].tolist()) <= {0.0, 1.0}
    again = score_pool(pool, config(python, *asked), signals=["data_juicer"])
    assert again.keys == report.keys and all(signal.cached for signal in again.signals)


def test_nothing_is_computed_where_no_filter_is_named(pool: Pool) -> None:
    assert set(score_pool(pool, SignalsConfig(), signals=["data_juicer", "lengths"]).keys) == {"lengths"}


def test_another_parameter_is_another_signal(pool: Pool, python: str) -> None:
    one = score_pool(pool, config(python, {"filter": "text_length_filter"}), signals=["data_juicer"])
    two = score_pool(
        pool, config(python, {"filter": "text_length_filter", "params": {"factor": 3}}), signals=["data_juicer"]
    )
    assert one.keys["data_juicer/text_length"] != two.keys["data_juicer/text_length"]
    assert load_table(pool)["dj/text_length/text_len"][0] == 3 * len(pool.texts()[0])


def test_another_version_of_data_juicer_is_another_signal(pool: Pool, python: str) -> None:
    """Also for the rows that are there when some are appended: no column holds numbers of two versions."""
    package = Path(python).parent / "data_juicer"
    former = {path: path.read_text() for path in (package / "__init__.py", package / "stub.py")}
    asked = config(python, {"filter": "text_length_filter"})
    one = score_pool(pool, asked, signals=["data_juicer"])
    try:
        (package / "__init__.py").write_text("__version__ = 'stub, upgraded'\n")
        (package / "stub.py").write_text(STUB.replace("len(text) * self.factor", "len(text) * self.factor + 1000"))
        grown = ingest([{"prompt": "new", "response": "row"}], pool.path, append=True).pool
        two = score_pool(grown, asked, signals=["data_juicer"])
    finally:
        for path, text in former.items():
            path.write_text(text)
    assert load_table(grown)["dj/text_length/text_len"].tolist() == [len(text) + 1000 for text in grown.texts()]
    assert one.keys["data_juicer/text_length"] != two.keys["data_juicer/text_length"]
    again = score_pool(pool, asked, signals=["data_juicer"])
    assert again.keys == one.keys and all(signal.cached for signal in again.signals)


def test_what_is_wrong_is_one_sentence(pool: Pool, python: str) -> None:
    with pytest.raises(ValidationError, match="name them with 'stats'"):
        config(python, {"filter": "image_shape_filter"})
    with pytest.raises(ValidationError, match="two filters are called 'text_length'"):
        config(python, *[{"filter": "text_length_filter"}] * 2)
    with pytest.raises(SignalError, match=r"text_length_filter could not be computed with .*factr"):
        score_pool(
            pool, config(python, {"filter": "text_length_filter", "params": {"factr": 1}}), signals=["data_juicer"]
        )
    with pytest.raises(SignalError, match=r"data_juicer\.python: /nowhere cannot be run"):
        score_pool(pool, config("/nowhere", {"filter": "text_length_filter"}), signals=["data_juicer"])
    with pytest.raises(
        SignalError, match=r"lacking_filter needs the package 'package_of_the_filter', which .*-m pip install"
    ):
        score_pool(pool, config(python, {"filter": "lacking_filter", "stats": ["a"]}), signals=["data_juicer"])
    if find_spec("data_juicer") is None:
        with pytest.raises(
            SignalError, match=r"need the package 'py-data-juicer', which .* does not have: install it into an"
        ):
            score_pool(pool, config(sys.executable, {"filter": "text_length_filter"}), signals=["data_juicer"])


@pytest.mark.slow
@pytest.mark.skipif(
    "DATA_JUICER_PYTHON" not in os.environ, reason="DATA_JUICER_PYTHON names no Python with py-data-juicer"
)
def test_the_real_filters_compute_what_they_are_for(pool: Pool) -> None:
    asked = ({"filter": "text_length_filter"}, {"filter": "alphanumeric_filter"}, {"filter": "words_num_filter"})
    score_pool(pool, config(os.environ["DATA_JUICER_PYTHON"], *asked), signals=["data_juicer"])
    table = load_table(pool)
    assert table["dj/text_length/text_len"].tolist() == [len(text) for text in pool.texts()]
    for text, share in zip(pool.texts(), table["dj/alphanumeric/alnum_ratio"], strict=True):
        assert share == pytest.approx(sum(map(str.isalnum, text)) / len(text))
    assert table["dj/words_num/num_words"].tolist() == [2.0, 2.0, 2.0]
