"""The dry run and the tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autoselection.statistics.compare import p_text

_COLOURS = {"found": "green", "missing": "red", "optional": "yellow", "hub": "yellow"}


def print_dry_run(document: Mapping[str, Any], console: Console) -> None:
    """Print what is there, how many trainings it takes, and the estimates with their assumptions."""
    for model in document["models"]:
        table = _table(f"{model['name']}: what is needed", ("what", "where", "state", "note"))
        for check in model["checks"]:
            state = f"[{_COLOURS[check['state']]}]{check['state']}[/]"
            table.add_row(escape(check["what"]), escape(check["where"]), state, escape(check["note"]))
        console.print(table)
        found = model["estimate"]
        table = _table(f"{model['name']}: estimates", ("section", "trainings (at most)", "device hours"))
        for section, hours in found["hours"].items():
            trainings = found["trainings"].get(section, {})
            listed = ", ".join(f"{count:,} {purpose}" for purpose, count in trainings.items() if count)
            table.add_row(section, escape(listed), f"{hours:,.2f}")
        table.add_row(
            "total", f"{sum(sum(t.values()) for t in found['trainings'].values()):,}", f"{found['total_hours']:,.1f}"
        )
        console.print(table)
        disk = ", ".join(f"{name.replace('_', ' ')} {size:,.2f}" for name, size in found["disk_gb"].items())
        console.print(f"Disk (GB): {disk}.", highlight=False, soft_wrap=True)
        for name, size in found["sizes"].items():
            assumed = f"; assumed: {', '.join(size['assumed'])}" if size["assumed"] else ""
            console.print(
                f"{name}: {size['parameters'] / 1e6:,.1f}M parameters, pool of {size['rows']:,} rows of about "
                f"{size['row_tokens']:.0f} tokens{assumed}.",
                highlight=False,
                soft_wrap=True,
            )
    assumed = document["assumptions"]
    console.print(
        f"Assumed: {assumed['peak_tflops']:g} TFLOP/s a device, {assumed['training']:.0%} of it in training, "
        f"{assumed['generation']:.0%} in generation; subsets of {assumed['share']:.0%} of the pool; "
        f"{assumed['item_tokens']:g} tokens an item, {assumed['generated_tokens']:g} a generated answer. "
        "'ood' is scored with main and costs no training.",
        highlight=False,
        soft_wrap=True,
    )


def print_paper(document: Mapping[str, Any], console: Console) -> None:
    """Print the averages of every table of scores, and what is missing."""
    for model in document["models"]:
        for found in model["tables"]:
            if found["metric"] != "score":
                continue
            heads = ("method", "replicates", "rows", "dev", "average on test", "AutoSelection minus it", "p (Holm)")
            table = _table(f"{model['name']}: {found['title']} (score, higher is better)", heads)
            for row in found["rows"]:
                table.add_row(*_cells(row))
            console.print(table)
        for sentence in model["missing"]:
            console.print(f"[yellow]Missing[/]: {sentence}", highlight=False, soft_wrap=True)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    average, versus = row["average"], row["autoselection_minus"]
    return (
        escape(row["method"]),
        str(len(row["replicates"])),
        f"{row['size']:,.0f}",
        "" if row["dev"] is None else f"{row['dev']:.4f}",
        "" if average is None else f"{average['value']:.4f} \\[{average['ci95'][0]:.4f}, {average['ci95'][1]:.4f}]",
        "" if versus is None else f"{versus['difference']['estimate']:+.4f}",
        "" if versus is None else p_text(versus["p_adjusted"])[2:].strip(),
    )


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
