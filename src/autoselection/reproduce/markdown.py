"""The document for people: the tables of ``paper.json`` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoselection.ledger.settings import mixed
from autoselection.markup import Markup, bullets, inline, table
from autoselection.reproduce.rows import AUTOSELECTION
from autoselection.statistics.compare import p_cell

_METRICS = {
    "score": "score (each task's search metric, higher is better; losses count negative)",
    "right": "right answers (%; accuracy where options are compared, else exact match)",
}

_VERSUS = ("difference", "95% alone", "p alone", "95% together", "p together")


def paper_markdown(document: Mapping[str, Any]) -> str:
    """The whole document."""
    config = document["config"]
    seeds = len(config["seeds"])
    parts = [
        f"# {inline(document['name'])}: the paper's tables",
        "",
        f"`autoselection reproduce paper {document['name']}`: {seeds} replicate{'s' * (seeds != 1)} (seeds "
        f"{', '.join(map(str, config['seeds']))}), {config['budget']} evaluations a search. A replicate is a seed of the "
        "method and of its trainings. Searches saw dev only; what is scored on test was fixed and journalled before, and is "
        f"trained again with other seeds ({', '.join(f'{seed} + replicate' for seed in config['final_seeds'])}).",
        "",
        "Intervals are 95%: over replicates and items, over items alone with one replicate. "
        f"Differences are {AUTOSELECTION} minus the row, item by item. *Alone*: this comparison by itself. *Together*: for "
        "all comparisons of the table.",
        "",
    ]
    for model in document["models"]:
        parts += _model(model)
    return "\n".join(parts)


def _model(model: Mapping[str, Any]) -> list[str]:
    parts = [f"## Base model {inline(model['name'])}", ""]
    if model["missing"]:
        parts += ["**Missing.** " + " ".join(inline(_capital(sentence)) for sentence in model["missing"]), ""]
    if again := model["test_touched"]:
        said = "; ".join(f"for {entry['what']}: {entry['reason']}" for entry in again)
        parts += [f"Besides these tables, test was scored {inline(said)}.", ""]
    if choice := model["learning_rate"]:
        tried = ", ".join(
            f"{item['rate']:g}: " + ("failed" if item["dev"] is None else f"{item['dev']:.4f}")
            for item in choice["tried"]
        )
        parts += [
            f"**Learning rate {choice['chosen']:g}** in all trainings: the best for full data on dev, mean over replicates, "
            f"chosen before anything else was trained ({tried})."
            + (" It is the last of those tried: a better one may lie beyond." if choice["at_the_end"] else ""),
            "",
        ]
    if floors := model["floors"]:
        named = ", ".join(f"{inline(task)} at least {inline(floor)}" for task, floor in floors.items())
        parts += [
            f"**Floors on dev:** {named}. What a search picks keeps them, or misses them least if nothing that it tried does; only "
            f"{AUTOSELECTION} searches within them.",
            "",
        ]
    for found in model["tables"]:
        parts += _table(found)
    if model["chosen"]:
        parts += ["### Single operators chosen on dev", ""]
        parts += bullets([f"{item['method']}, seed {item['seed']}: {item['recipe']}" for item in model["chosen"]])
        parts.append("")
    parts += _correlation(model["correlation"])
    costs = model["costs"]
    made_on = f" ({inline(', '.join(costs['arithmetics']))})" if costs["arithmetics"] else ""
    parts += [f"{costs['evaluations']:,} evaluations, {costs['seconds'] / 3600:.2f} worker hours{made_on}.", ""]
    if len(costs["arithmetics"]) > 1:
        parts += [f"**{inline(mixed(costs['arithmetics']))}**", ""]
    return parts


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def paper_sheet(found: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    """Title, headings and rows of a table of ``paper.json``, as text."""
    right = found["metric"] == "right"
    headings = ["method", "rows", "dev", *found["tasks"], "average", *_VERSUS]
    if right:
        headings.remove("dev")
    lines = []
    for row in found["rows"]:
        cells = [_noted(row["method"], row), f"{row['size']:,.0f}"]
        if not right:
            cells.append("" if row["dev"] is None else f"{row['dev']:.4f}")
        cells += [_cell(row["tasks"].get(task), right) for task in found["tasks"]]
        cells += [_cell(row["average"], right), *_versus(row["autoselection_minus"], right)]
        lines.append(cells)
    return f"{found['title']}: {_METRICS[found['metric']]}", headings, lines


def _table(found: Mapping[str, Any]) -> list[str]:
    title, headings, lines = paper_sheet(found)
    for row, cells in zip(found["rows"], lines, strict=True):
        if row["method"] == AUTOSELECTION:
            cells[0] = Markup(f"**{inline(cells[0])}**")
    parts = [f"### {inline(title)}", "", *table(headings, lines, numbers=True), ""]
    first = found["first"]
    if first and any(row["autoselection_minus"] for row in found["rows"]):
        parts += [
            f"Named before, and made first, one after the other: {', then '.join(map(inline, first))}. What comes after one that is "
            "not significant, or that could not be made, is not claimed.",
            "",
        ]
    rows = sorted(found["rows"], key=lambda row: first.index(row["method"]) if row["method"] in first else len(first))
    verdicts = [row["autoselection_minus"]["verdict"] for row in rows if row["autoselection_minus"]]
    if found["metric"] != "right" and verdicts:
        parts += bullets([*found["planning"], *verdicts])
        parts.append("")
    return parts


def _noted(name: str, row: Mapping[str, Any]) -> str:
    notes = []
    if row["missing"]:
        notes.append("missing: seed " + ", ".join(map(str, row["missing"])))
    if row["failed"]:
        notes.append("failed: seed " + ", ".join(row["failed"]))
    return name + (f" ({'; '.join(notes)})" if notes else "")


def _cell(found: Mapping[str, Any] | None, right: bool) -> str:
    if found is None:
        return "–"
    scale, digits = (100, 1) if right else (1, 3)
    value = f"{scale * found['value']:.{digits}f}"
    if found["ci95"] is None:
        return value
    low, high = found["ci95"]
    return f"{value} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def _versus(found: Mapping[str, Any] | None, right: bool) -> list[str]:
    if found is None:
        return [""] * len(_VERSUS)
    scale, digits = (100, 1) if right else (1, 3)
    difference = found["difference"]
    alone = found["interval_seeds"] or (difference["low"], difference["high"])
    cells = [f"{scale * difference['estimate']:+.{digits}f}"]
    for (low, high), p in ((alone, found["p"]), (found["interval_all"], found["p_adjusted"])):
        cells += [f"[{scale * low:+.{digits}f}, {scale * high:+.{digits}f}]", p_cell(p)]
    return cells


def _correlation(groups: Mapping[str, Any]) -> list[str]:
    said = {"all": "all subsets scored on both", "fixed": "those that no search chose by dev"}
    lines: list[list[str]] = []
    for group, found in groups.items():
        listed: Sequence[tuple[str, Any]] = [("average", found["average"]), *found["tasks"].items()]
        for task, one in listed:
            cells = [said[group], task, str(one["trials"])]
            if one["reason"]:
                lines.append([*cells, one["reason"], ""])
            else:
                lines.append([*cells, _rank(one["spearman"]), _rank(one["kendall"])])
    return [
        "### Dev against test",
        "",
        "Rank correlation of mean dev and mean test score over subsets (95% interval over subsets). Subsets that "
        "a search chose by dev are alike and flattered by dev, which lowers the first group's.",
        "",
        *table(("subsets", "task", "n", "Spearman", "Kendall"), lines, numbers=True),
        "",
    ]


def _rank(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.3f} [{found['ci95'][0]:.3f}, {found['ci95'][1]:.3f}]"
