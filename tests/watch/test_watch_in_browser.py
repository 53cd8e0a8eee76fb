"""The page in a real Chromium, from a server of its own: it follows the study, keeps text text, and asks nobody else."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from accessibility import faults
from tests.study.journals import write_unchecked
from told_activities import tell, telling
from watch_server import look, serving, wait_for

from autoselection.ledger import Journal, read_events

pytest.importorskip("starlette", reason="The extra 'watch' is not installed.")
pytest.importorskip("uvicorn", reason="The extra 'watch' is not installed.")

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>\u202e"\'&amp;'


def searching(study: Path) -> AbstractContextManager[None]:
    """Let the study's process say that it searches, as long as the block lasts."""
    now = time.time()
    counted = [{"what": "Search", "total": 4, "done": 2, "found": 0, "since": now - 20, "latest": now}]
    return telling(study, "", process=40, stage="searching", counted=counted)


@pytest.fixture
def unfinished(copied: Path) -> Path:
    """The study as it was after two trials, and searching."""
    events = read_events(copied / "journal.jsonl")
    third = next(place for place, event in enumerate(events) if event["event"] == "evaluation" and place > 6)
    kept = events[:third]
    trials = [event["trial"] for event in kept if event["event"] == "evaluation"]
    assert len(trials) >= 1
    write_unchecked(copied / "journal.jsonl", kept)
    return copied


def test_the_page_follows_the_study_and_asks_only_its_own_server(unfinished: Path, chromium: Any) -> None:
    with searching(unfinished), telling(unfinished, "t001-seed0"), serving(unfinished) as server:
        opened = look(chromium, server.url)
        page = opened.page
        assert page.title().endswith("· small") and "searching" in page.inner_text("#headline")
        assert "6 a minute" in page.inner_text("#bars") and page.locator("progress").count() == 1
        assert "t001, seed 0" in page.inner_text("#workers") and "4 of 8" in page.inner_text("#workers")
        assert page.locator("#losses svg path.line").count() == 1
        before = page.locator("#trials-table tbody tr").count()
        events = read_events(unfinished / "journal.jsonl")
        trial = next(event["trial"] for event in events if event["event"] == "trial")
        with Journal(unfinished / "journal.jsonl") as journal:  # a study goes on while it is looked at
            journal.append("trial", trial={**trial, "id": "t099", "edit": "brand new", "subset_hash": "x"})
            tell(unfinished, "t099-seed0", process=43, losses={"every": 2, "points": [9.0, 8.0]})
            wait_for(page, "#trials", "brand new", timeout=20_000)
            result = next(event["result"] for event in events if event["event"] == "evaluation")
            journal.append("evaluation", trial="t099", seed=0, fidelity=1.0, result={**result, "score": 77.5})
            wait_for(page, "#best", "77.5000", timeout=20_000)
        assert page.locator("#trials-table tbody tr").count() == before + 1
        assert (
            page.locator("#scores svg circle").count()
            == sum(1 for event in events if event["event"] == "evaluation") + 1
        )
        assert page.locator("#losses figure").count() == 2
        assert all(asked.startswith(server.url) for asked in opened.requests), opened.requests
        assert opened.problems == []
        page.context.close()
        code, said = server.interrupt()
        assert (code, said) == (0, "")


def test_a_strangers_text_stays_text(unfinished: Path, chromium: Any) -> None:
    events = read_events(unfinished / "journal.jsonl")
    for event in events:
        if event["event"] == "trial":
            event["trial"]["edit"] = HOSTILE
        if event["event"] == "evaluation":
            event["result"]["remarks"] = [HOSTILE]
    write_unchecked(unfinished / "journal.jsonl", events)
    counted = [{"what": HOSTILE, "total": 4, "done": 2, "found": 0, "since": 0, "latest": 1}]
    worker = telling(unfinished, "<b onmouseover=x>&-seed0", process=43, stage=HOSTILE, counted=counted)
    with worker, telling(unfinished, "", process=40, stage=HOSTILE), serving(unfinished) as server:
        opened = look(chromium, server.url)
        page = opened.page
        assert HOSTILE.partition("\u202e")[0] in page.inner_text("#trials-table")
        assert "<script>" in page.inner_text("#headline")
        assert "<b onmouseover=x>&, seed 0" in page.inner_text("#workers-table")
        assert page.locator("img, body script:not(:last-of-type), b[onmouseover]").count() == 0
        assert not page.title().endswith(("1", "2")) and opened.problems == []
        for forced in ("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))",
                       "Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'})",
                       "fetch('http://127.0.0.1:9/').catch(() => 0)"):  # fmt: skip
            page.evaluate(forced)
        page.wait_for_timeout(500)
        assert page.evaluate("window.ran") is None
        assert any("Content Security Policy" in problem for problem in opened.problems)  # a second wall


@pytest.mark.parametrize(
    "scores",
    [
        (0.1 + 0.2, 0.3),  # the same but for the last bit
        (-1.23450, -1.23460),
        (0.0, 0.0),
        (-1e-7, 250000.0),
    ],
)
def test_scores_near_each_other_are_drawn_with_ticks_that_differ(
    scores: tuple[float, float], copied: Path, chromium: Any
) -> None:
    events = read_events(copied / "journal.jsonl")
    told = [event for event in events if event["event"] == "evaluation"]
    for place, event in enumerate(told):
        event["result"]["score"] = scores[place % 2]
    write_unchecked(copied / "journal.jsonl", events)
    with serving(copied) as server:
        opened = look(chromium, server.url)
        marks = opened.page.locator("#scores svg text[text-anchor=end]").all_text_contents()
        assert 3 <= len(set(marks)) == len(marks) <= 8, marks
        assert opened.page.locator("#scores svg circle").count() == len(told) and opened.problems == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_everyone_can_read_it(scheme: str, width: int, copied: Path, chromium: Any) -> None:
    with searching(copied), telling(copied, "t001-seed0"), serving(copied) as server:
        page = look(chromium, server.url, scheme=scheme, width=width).page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert faults(page) == []
        page.click(".theme")
        assert faults(page) == []
        for heading in ("Best so far", "Workers", "Losses of trainings", "Trials", "Final table (test)", "Notes"):
            assert page.get_by_role("heading", name=heading, exact=True).is_visible() or heading == "Notes"


@pytest.mark.slow
def test_server_and_study_may_stop_and_come_back(unfinished: Path, chromium: Any) -> None:
    with serving(unfinished) as server:
        with searching(unfinished):
            page = look(chromium, server.url).page
            wait_for(page, "#headline", "searching")
        tell(unfinished, "", process=40, stage="searching", updated=time.time() - 60)  # killed
        wait_for(page, "#headline", "No sign of life")
        with telling(unfinished, "", process=50, stage="preparing pool and signals"):  # the same command again
            wait_for(page, "#headline", "preparing")
        moved = unfinished.rename(unfinished.with_name("moved"))
        wait_for(page, "#problem", "cannot be read")
        moved.rename(unfinished)
        page.wait_for_selector("#problem", state="hidden", timeout=30_000)
        assert server.interrupt() == (0, "")
        wait_for(page, "#problem", "is lost")
        assert page.locator("#trials-table tbody tr").count() > 0  # what was seen last stays
        with serving(unfinished, port=server.port):
            page.wait_for_selector("#problem", state="hidden", timeout=60_000)


def test_a_server_that_refuses_is_heard_and_tried_again(copied: Path, chromium: Any) -> None:
    first, second = "a token of the first", "a token of the second"
    with serving(copied, "--token", first) as server:
        page = look(chromium, server.url).page
        port = server.port
        assert server.interrupt()[0] == 0
        wait_for(page, "#problem", "is lost")
    with serving(copied, "--token", second, port=port) as server:
        wait_for(page, "#problem", "Open the address that `autoselection watch` printed", timeout=60_000)
        page.context.new_page().goto(server.url, wait_until="commit")  # the cookie of the new token
        page.wait_for_selector("#problem", state="hidden", timeout=60_000)


def test_a_token_is_asked_for_and_leaves_the_address(copied: Path, chromium: Any) -> None:
    with serving(copied, "--token", "new") as server:
        page = look(chromium, server.url).page
        assert "token" in server.url and "token" not in page.url
        other = chromium.new_context().new_page()
        assert other.goto(server.url.partition("?")[0]).status == 401
