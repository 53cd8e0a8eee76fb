"""Statistics of Data-Juicer's filters as signals: in a process of another environment, cached, wrong ones in a sentence."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autoselection.cli import app
from autoselection.cli._outcome import run
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


def test_without_filters_it_is_no_signal_of_the_default_and_refused_by_name(pool: Pool) -> None:
    report = score_pool(pool, SignalsConfig())
    assert "lengths" in report.keys
    assert not any("data_juicer" in name for name in (*report.keys, *report.skipped))
    with pytest.raises(SignalError, match=r"name them in signals\.options\.data_juicer\.filters .*\(--config\)"):
        score_pool(pool, SignalsConfig(), signals=["data_juicer", "lengths"])
    with pytest.raises(
        SignalError, match=r"--config CONFIG` first, where CONFIG names the filters in signals\.options"
    ):
        load_table(pool).column("dj/text_length/text_len")


def test_with_filters_it_is_computed_by_default(pool: Pool, python: str) -> None:
    assert "data_juicer/text_length" in score_pool(pool, config(python, {"filter": "text_length_filter"})).keys


def test_a_recipe_whose_columns_nothing_makes_says_which_setting_makes_them(
    pool: Pool, python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = {"operator": "score_filter", "params": {"signal": "dj/text_length/text_len", "threshold": 3.0}}
    (tmp_path / "back.yaml").write_text(json.dumps({"version": 1, "steps": [step]}))
    filters = {"python": python, "filters": [{"filter": "odd_filter", "stats": ["oddness"]}]}
    task = {"name": "t", "dev": "dev.jsonl"}
    study = {"pool": {"path": str(pool.path)}, "model": {"path": "m"}, "tasks": [task]}
    (tmp_path / "dev.jsonl").write_text("")

    def told(*command: str) -> str:
        given = {"back": tmp_path / "back.yaml", "pool": pool.path, "other": tmp_path / "other.yaml"}
        assert run(app, [str(given.get(word, word)) for word in command]) != 0
        return " ".join(capsys.readouterr().err.split())

    key = "signals.options.data_juicer.filters"
    assert key in (said := told("score", "pool", "--signals", "data_juicer")) and "--config" in said
    assert key in (said := told("score", "pool", "--for", "back")) and "--config" in said
    assert key in (said := told("materialize", "back", "--pool", "pool")) and "--config CONFIG" in said
    # A configuration that names another filter makes another column.
    (tmp_path / "other.yaml").write_text(json.dumps({**study, "signals": {"options": {"data_juicer": filters}}}))
    for command in (("score", "pool", "--for", "back"), ("materialize", "back", "--pool", "pool")):
        said = told(*command, "--config", "other")
        assert "no signal 'dj/text_length/text_len'" in said and f"CONFIG names the filters in {key}" in said
    filters["filters"] = [{"filter": "text_length_filter"}]
    (tmp_path / "right.yaml").write_text(json.dumps({**study, "signals": {"options": {"data_juicer": filters}}}))
    arguments = ["--config", str(tmp_path / "right.yaml")]
    assert run(app, ["score", str(pool.path), "--for", str(tmp_path / "back.yaml"), *arguments]) == 0
    assert run(app, ["materialize", str(tmp_path / "back.yaml"), "--pool", str(pool.path)]) == 0


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
