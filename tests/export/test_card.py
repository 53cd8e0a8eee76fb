from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoselection.export import DatasetCard, export_hf_dataset, render_card
from autoselection.export.card import escape
from autoselection.pool import Pool

FULL = DatasetCard(
    title="Best subset: demo",
    recipe={"version": 1, "steps": [{"operator": "ifd_filter", "params": {"fraction": 0.65, "direction": "low"}}]},
    lineage=[
        {
            "operator": "ifd_filter",
            "params": {"fraction": 0.65, "direction": "low"},
            "rows_in": 5000,
            "rows_out": 3250,
            "dropped": 1750,
            "missing": 3,
            "notes": {},
        }
    ],
    state={"retain_ratio": 0.65, "mean_varentropy": None, "score_per_task": {"addition": 0.123456}},
    scores={"this subset": {"addition": -0.3, "sorting": -0.25}, "full data": {"addition": -0.4, "sorting": None}},
    scores_about="Minus gold NLL per token on test, mean of 3 seeds.",
    base_model="tiny",
    seed=7,
    recipe_hash="ab12",
    subset_hash="cd34",
    license="apache-2.0",
    description="Made for a test.",
)


def render(card: DatasetCard, sources: dict[str, tuple[int, int]] | None = None) -> str:
    columns = {"id": "the id", "a | b": "own"}
    told = sources or {"web": (1, 2)}
    return render_card(card, rows=3250, pool_rows=5000, pool_fingerprint="f" * 32, sources=told, columns=columns)


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    match = re.match(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))", text)  # as the hub reads it
    assert match is not None
    return yaml.safe_load(match.group(2)), text[match.end() :]


def test_card_tells_recipe_lineage_state_and_scores() -> None:
    document, body = front_matter(render(FULL))
    assert document["pretty_name"] == "Best subset: demo"
    assert document["license"] == "apache-2.0"
    assert document["size_categories"] == ["1K<n<10K"]
    assert document["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert "# Best subset\\: demo" in body
    assert "3,250 of the 5,000 rows (65.0%)" in body
    assert "operator: ifd_filter" in body
    assert "| 1 | ifd\\_filter | fraction=0.65, direction=low | 5,000 | 3,250 | 1,750 | 3 |" in body
    assert "| this subset | -0.3 | -0.25 | -0.275 |" in body
    assert "| full data | -0.4 | – | – |" in body
    assert "| score\\_per\\_task/addition | 0.1235 |" in body
    assert "| mean\\_varentropy | – |" in body
    assert "| web | 1 | 2 |" in body
    assert "- Seed: 7" in body


def test_minimal_card_has_no_empty_sections() -> None:
    _, body = front_matter(render(DatasetCard(title="x", recipe={})))
    assert [line for line in body.splitlines() if line.startswith("#")] == [
        "# x",
        "## Recipe",
        "## Sources",
        "## Columns",
    ]
    assert "Base model" not in body


HOSTILE = [
    'x"\n---\nlicense: mit\n',
    "a | b | c",
    "# heading",
    "![i](http://evil/x.png) <script>alert(1)</script> [l](javascript:x)",
    "```\n## out of the fence\n```",
    "www.evil.example @everyone",
    "a\u2028b\u202ec\x00d",
    "- item",
    "1. item",
    "*bold* _it_ ~~no~~ `code`",
    "\ud800",
    "x" * 10_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    card = DatasetCard(
        title=name,
        recipe={name: [name]},
        lineage=[{"operator": name, "params": {name: name}, "rows_in": 1, "rows_out": 1, "dropped": 0, "missing": 0}],
        state={name: 1.0},
        scores={name: {name: 1.0}},
        scores_about=name,
        base_model=name,
        license=name,
        description=name,
    )
    text = render(card, {name: (1, 2)})
    text.encode("utf-8")
    document, body = front_matter(text)
    assert list(document) == ["pretty_name", "license", "task_categories", "tags", "size_categories", "configs"]
    outside = re.sub(r"(?ms)^(`{3,})yaml\n.*?^\1$", "", body)
    assert [line for line in outside.splitlines() if line.startswith("## ")] == [
        "## Recipe",
        "## What each step did",
        "## Scores",
        "## State vector",
        "## Sources",
        "## Columns",
    ]
    assert not re.search(r"(?<!\\)<|(?<!\\)!\[|(?<!\\)\]\(|(?<!\\)://|www\.", outside)
    widths = {"step": 7, "subset": 3, "measure": 2, "source": 3}
    for header, width in widths.items():
        table = outside[outside.index(f"| {header} |") :].split("\n\n")[0]
        for row in table.splitlines():
            assert len(re.findall(r"(?<!\\)\|", row)) == width + 1


@given(st.text())
def test_escaped_text_is_one_line_and_reads_as_before(text: str) -> None:
    escaped = escape(text, limit=10**6)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]<>|]", escaped)


def test_many_sources_are_summed_up() -> None:
    text = render(FULL, {f"s{i:03d}": (200 - i, 300) for i in range(200)})
    assert "| 150 more | 11,325 | 45,000 |" in text


def test_card_is_readable_by_the_hub_library(pool: Pool, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    export_hf_dataset(pool, [0, 2], tmp_path / "hf", FULL)
    card = hub.DatasetCard.load(tmp_path / "hf" / "README.md")
    assert card.data.pretty_name == "Best subset: demo"
    assert card.data.tags == ["autoselection", "data-selection", "instruction-tuning"]
    assert "| web | 1 | 4 |" in card.text
    assert "tools \\| \\# x" in card.text


def test_of_a_state_with_thousands_of_sources_the_largest_are_told() -> None:
    shares = {f"https://x.org/{i}": 1 / 5000 for i in range(5000)}
    text = render(DatasetCard("x", {}, state={"source_share": shares, "source_token_share": shares}))
    assert len(text.splitlines()) < 300 and "| source\\_share/4980 other sources | 0.996 |" in text
