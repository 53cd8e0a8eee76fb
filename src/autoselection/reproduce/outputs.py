"""The dry run and the tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoselection.statistics.compare import p_cell
from autoselection.terminal import Terminal, styled

_COLOURS = {"found": "green", "missing": "red", "optional": "yellow", "hub": "yellow"}


def print_dry_run(document: Mapping[str, Any], console: Terminal) -> None:
    """Print what exists, how many trainings it takes, and the estimates with their assumptions."""
    for model in document["models"]:
        checks = [
            (check["what"], check["where"], styled(check["state"], _COLOURS[check["state"]]), check["note"])
            for check in model["checks"]
        ]
        console.table(f"{model['name']}: what is needed", ("what", "where", "state", "note"), checks)
        found = model["estimate"]
        if found is None:
            console.say(model["no_estimate"])
            continue
        lines = []
        for section, hours in found["hours"].items():
            trainings = found["trainings"].get(section, {})
            listed = ", ".join(f"{count:,} {purpose}" for purpose, count in trainings.items() if count)
            lines.append((section, listed, f"{hours:,.2f}"))
        trainings_in_all = sum(sum(t.values()) for t in found["trainings"].values())
        lines.append(("total", f"{trainings_in_all:,}", f"{found['total_hours']:,.1f}"))
        console.table(f"{model['name']}: estimates", ("section", "trainings (at most)", "device hours"), lines)
        disk = ", ".join(f"{name.replace('_', ' ')} {size:,.2f}" for name, size in found["disk_gb"].items())
        console.say(f"Disk (GB): {disk}.")
        for name, size in found["sizes"].items():
            assumed = f"; assumed: {', '.join(size['assumed'])}" if size["assumed"] else ""
            console.say(
                f"{name}: {size['parameters'] / 1e6:,.1f}M parameters, pool of {size['rows']:,} rows of about "
                f"{size['row_tokens']:.0f} tokens{assumed}."
            )
    console.say(document["power"])
    assumed = document["assumptions"]
    console.say(
        f"Assumed: {assumed['peak_tflops']:g} TFLOP/s a device, {assumed['training']:.0%} of it in training, "
        f"{assumed['generation']:.0%} in generation; subsets of {assumed['share']:.0%} of the pool; "
        f"{assumed['item_tokens']:g} tokens an item, {assumed['generated_tokens']:g} a generated answer. "
        "'ood' is scored with main and costs no training."
    )


def print_paper(document: Mapping[str, Any], console: Terminal) -> None:
    """Print the averages of every table of scores, and what is missing."""
    for model in document["models"]:
        for found in model["tables"]:
            if found["metric"] != "score":
                continue
            heads = (
                "method",
                "replicates",
                "rows",
                "dev",
                "average on test",
                "AutoSelection minus it",
                "p alone",
                "p together",
            )
            title = f"{model['name']}: {found['title']} (score, higher is better)"
            console.table(title, heads, [_cells(row) for row in found["rows"]])
            for sentence in found["planning"]:
                console.say(sentence)
        for sentence in model["missing"]:
            console.say(styled("Missing", "yellow"), f": {sentence}")


def _interval(found: Mapping[str, Any]) -> str:
    ends = "" if found["ci95"] is None else " [{:.4f}, {:.4f}]".format(*found["ci95"])
    return f"{found['value']:.4f}{ends}"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    average, versus = row["average"], row["autoselection_minus"]
    return (
        row["method"],
        str(len(row["replicates"])),
        f"{row['size']:,.0f}",
        "" if row["dev"] is None else f"{row['dev']:.4f}",
        "" if average is None else _interval(average),
        "" if versus is None else f"{versus['difference']['estimate']:+.4f}",
        *("" if versus is None else p_cell(versus[name]) for name in ("p", "p_adjusted")),
    )
