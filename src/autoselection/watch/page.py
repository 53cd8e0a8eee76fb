"""The page: one document with its own script and styles, which may ask the server that it came from and nobody else."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files as resources

from autoselection.terminal import visible


def _read(package: str, name: str) -> str:
    return resources(package).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_SCRIPT = _read("autoselection.watch", "watch.js")
_STYLE = _read("autoselection.report", "page.css") + _read("autoselection.watch", "watch.css")

#: What the browser may do with the page; see also :data:`HEADERS`.
POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: Of every answer.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def page_html(title: str, path: str) -> str:
    """The page before the first look; its script fills it in."""
    name = html.escape(visible(title))

    def section(key: str, heading: str, inside: str) -> str:
        return f'<section id="{key}" aria-labelledby="{key}-heading" hidden><h2 id="{key}-heading">{heading}</h2>{inside}</section>'

    def table(key: str, label: str) -> str:
        return (
            f'<div class="table" role="region" tabindex="0" aria-label="{label}"><table id="{key}-table">'
            "<thead></thead><tbody></tbody></table></div>"
        )

    sections = (
        section("best", "Best so far", '<dl class="facts" id="best-facts"></dl><p id="verdict"></p>')
        + section("scores", "Scores of full evaluations (dev, higher is better)", '<div id="scores-plot"></div>')
        + section("workers", "Workers", table("workers", "Workers"))
        + section("losses", "Losses of trainings", '<div class="curves" id="losses-plots"></div>')
        + section("trials", "Trials", '<p id="trials-title"></p>' + table("trials", "Trials"))
        + section("tests", "Final table (test)", table("tests", "Final table"))
        + section("notes", "Notes", '<ul id="notes-list"></ul>')
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header><button class="theme" type="button"></button><h1>{name}</h1>
<p class="state"><span id="state" class="lamp"></span> <span id="headline" role="status">Looking…</span></p></header>
<main id="main">
<p id="problem" class="problem" role="alert" hidden></p>
<noscript><p class="problem">This page needs JavaScript; without it: autoselection watch STUDY --terminal</p></noscript>
<dl class="facts" id="facts"></dl>
<div id="bars"></div>
{sections}</main>
<footer><p><code>{html.escape(visible(path))}</code> · Looking takes no lock and changes nothing.</p></footer>
<script>{_SCRIPT}</script>
</body>
</html>
"""
