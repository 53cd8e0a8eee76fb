"""The final table's statistics, and that test is not scored twice without a reason on record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.study.journals import write_unchecked

from autoselection.config import load_config
from autoselection.errors import ConfigError, StudyError
from autoselection.report import study_markdown
from autoselection.report.answer import study_answer
from autoselection.report.study_page import gain_figure
from autoselection.statistics import crossed_test, sign_flip_test
from autoselection.study import Study, read_events, run_study, summary
from autoselection.study.evidence import final_evidence

pytestmark = pytest.mark.usefixtures("inline_module")


@pytest.fixture(scope="module")
def reseeded(
    finished_study: Study, study_config: Path, tmp_path_factory: pytest.TempPathFactory, inline_module: None
) -> Study:
    """The finished study, its test scored again with a second seed, for a reason."""
    path = tmp_path_factory.mktemp("reseeded") / "study"
    shutil.copytree(finished_study.path, path)
    config = load_config(study_config, ["final.seeds=[0, 1]", "final.single_operators=0"])
    with pytest.raises(StudyError, match=r"final\.seeds, final\.single_operators.*--rescore-test REASON"):
        run_study(config, path)
    assert len(Study(path).journal.events) == len(finished_study.journal.events), "nothing was touched"
    config = load_config(
        study_config, ["final.seeds=[0, 1]", "final.single_operators=0", "final.rescore=a referee asked"]
    )
    return run_study(config, path)


@pytest.mark.parametrize("nothing", ["", "  "])
def test_a_reason_says_something(nothing: str, study_config: Path) -> None:
    with pytest.raises(ConfigError, match=r"final\.rescore"):
        load_config(study_config, [f"final.rescore={json.dumps(nothing)}"])


def test_every_baseline_is_compared_item_by_item(finished_study: Study) -> None:
    found = summary(finished_study)["statistics"]
    json.dumps(found, allow_nan=False)
    results = finished_study.final_results()
    winner, *baselines = results
    assert found["winner"] == winner and [c["baseline"] for c in found["comparisons"]] == baselines
    for comparison in found["comparisons"]:
        ours, theirs = results[winner][0], results[comparison["baseline"]][0]
        differences = [
            -np.array(ours.items[task]["nll"]) + np.array(theirs.items[task]["nll"]) for task in ("addition", "boolean")
        ]
        assert comparison["difference"]["estimate"] == pytest.approx(ours.score - theirs.score, abs=1e-5)
        assert comparison["p_items"] == sign_flip_test(differences, seed=finished_study.config.search.seed)
        assert comparison["p_seeds"] is None and comparison["seeds"] == 1
        assert (
            comparison["difference"]["low"] <= comparison["difference"]["estimate"] <= comparison["difference"]["high"]
        )
        assert comparison["verdict"] in found["sentences"]
    assert any("One training seed" in sentence for sentence in found["sentences"])
    assert found["test_touched"] == [{"what": "final table", "reason": None}]
    assert found["variance"]["addition"]["items"] == 12 and found["variance"]["addition"]["seed"] is None


def test_the_winners_dev_score_is_told_with_what_choosing_it_adds(finished_study: Study) -> None:
    found = summary(finished_study)["statistics"]["shrinkage"]
    best = finished_study.best()
    assert best is not None
    assert found["dev"] == best.score and found["trials"] == 5
    assert found["test"] == next(iter(finished_study.final_results().values()))[0].score
    bias = found["bias"]
    assert bias["candidates"] == 5 and bias["seeds_known"] and bias["expected"] >= 0 and bias["if_equal"] > 0
    said = [s for s in summary(finished_study)["statistics"]["sentences"] if "best of 5 trials" in s]
    assert len(said) == 1 and "one seed everywhere" not in said[0], "the verdict trained two subsets again"


def test_the_report_shows_differences_and_says_plainly_where_there_is_none(finished_study: Study) -> None:
    text = study_markdown(finished_study)
    assert (
        "against each baseline (test, paired by item and seed)" in text
        and "95% together" in text
        and "p together" in text
    )
    found = final_evidence(finished_study)
    assert found is not None
    none = sum(not comparison["significant"] for comparison in found["comparisons"])
    assert text.count("No significant difference between") == none
    assert "Test was touched once" in text and "(test, scored once;" in text


def test_scoring_test_again_is_recorded_and_keeps_what_was_scored(reseeded: Study, finished_study: Study) -> None:
    plans = reseeded.journal.of("final_plan")
    assert len(plans) == 2 and plans[1]["reason"] == "a referee asked" and "reason" not in plans[0]
    names = [entry["name"] for entry in plans[1]["entries"]]
    new = reseeded.journal.of("test")[len(finished_study.journal.of("test")) :]
    trained = [name for name in names if name != "base model"]
    assert sorted((event["name"], event["seed"]) for event in new) == sorted((name, 1) for name in trained)
    results = reseeded.final_results()
    assert list(results) == names, "the row that the new plan leaves out is gone"
    assert all(set(results[name]) == {0, 1} for name in trained) and set(results["base model"]) == {0}
    text = study_markdown(reseeded)
    assert "touched 2 times" in text and "for the final table: a referee asked" in text
    assert summary(reseeded)["statistics"]["test_touched"][1]["reason"] == "a referee asked"


def test_several_seeds_are_paired_and_their_spread_is_told(reseeded: Study) -> None:
    found = summary(reseeded)["statistics"]
    assert [c["seeds"] for c in found["comparisons"]] == [2, 2, 2]
    assert all(c["p_seeds"] is not None and c["p"] == max(c["p_items"], c["p_seeds"]) for c in found["comparisons"])
    assert all(
        c["interval_seeds"][0] <= c["difference"]["estimate"] <= c["interval_seeds"][1] for c in found["comparisons"]
    )
    results = reseeded.final_results()
    winner = next(iter(results.values()))
    for comparison in found["comparisons"]:
        theirs = results[comparison["baseline"]]
        pairs = [(winner[seed], theirs[seed] if seed in theirs else theirs[0]) for seed in (0, 1)]  # base: one seed
        differences = [
            np.array([np.array(b.items[task]["nll"]) - np.array(a.items[task]["nll"]) for a, b in pairs])
            for task in ("addition", "boolean")
        ]
        estimate = np.mean([table.mean() for table in differences])
        assert comparison["difference"]["estimate"] == pytest.approx(estimate, abs=1e-6)
        assert comparison["p_seeds"] == pytest.approx(crossed_test(differences)[2], rel=1e-6)
        for seed, (ours, other) in enumerate(pairs):
            assert ours.score - other.score == pytest.approx(
                np.mean([table[seed].mean() for table in differences]), abs=1e-5
            )
    values = -np.array([winner[seed].items["addition"]["nll"] for seed in (0, 1)])
    part = found["variance"]["addition"]
    assert part["seed_error"] == pytest.approx(values.mean(axis=1).std(ddof=1), rel=1e-6) or part["seed"] == 0
    assert found["shrinkage"]["bias"]["seeds_known"]
    assert "What the winner's test scores vary by" in study_markdown(reseeded)


def test_the_lead_over_a_baseline_that_the_search_had_too(finished_study: Study, tmp_path: Path) -> None:
    """As if a trial, the second by its dev score, had had the rows of the full pool."""
    copy = tmp_path / "copy"
    shutil.copytree(finished_study.path, copy)
    ranked = sorted(finished_study.subsets(), key=lambda trial: trial.score or 0.0)
    events = read_events(copy / "journal.jsonl")
    (plan,) = [event for event in events if event["event"] == "final_plan"]
    full = next(entry for entry in plan["entries"] if entry["name"] == "full pool")
    for event in events:
        if event["event"] == "trial" and event["trial"]["id"] == ranked[-2].id:
            event["trial"]["subset_hash"] = full["subset_hash"]
    write_unchecked(copy / "journal.jsonl", events)
    found = final_evidence(Study(copy))
    assert found is not None
    tests = [next(iter(results.values())).score for results in finished_study.final_results().values()]
    names = list(finished_study.final_results())
    dev = (ranked[-1].score or 0.0) - (ranked[-2].score or 0.0)
    lead = found["shrinkage"]["leads"]["full pool"]
    assert lead["dev"] == pytest.approx(dev) and lead["dev"] >= 0
    assert lead["test"] == pytest.approx(tests[0] - tests[names.index("full pool")])
    said = f"Its lead over full pool is {dev:+.4f} on dev and {lead['test']:+.4f} on test."
    assert said in found["sentences"]


def test_another_study_in_the_same_folder_has_statistics_of_its_own(finished_study: Study, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished_study.path, copy)
    former = Study(copy)
    before = final_evidence(former)
    events = read_events(copy / "journal.jsonl")
    first = next(event for event in events if event["event"] == "test" and "full" in event["name"])
    for metrics in first["result"]["items"].values():
        metrics["nll"] = [score - 1.0 for score in metrics["nll"]]
    write_unchecked(copy / "journal.jsonl", events)
    found = final_evidence(Study(copy))
    assert found is not None and before is not None
    assert found["comparisons"] != before["comparisons"] == final_evidence(former)["comparisons"]  # type: ignore[index]


def test_trainings_for_the_verdict_tell_what_seeds_do_to_a_dev_score(finished_study: Study, tmp_path: Path) -> None:
    """As if the best trial had been trained once more for the verdict, with another seed and a dev score 0.5 lower."""
    copy = tmp_path / "copy"
    shutil.copytree(finished_study.path, copy)
    best = finished_study.best()
    assert best is not None
    events = read_events(copy / "journal.jsonl")
    again = next(iter(best.results.values())).to_dict()
    again |= {"seed": 77, "score": again["score"] - 0.5}
    entry = {"event": "incumbent_evaluation", "label": best.id, "seed": 77, "result": again}
    place = next(number for number, event in enumerate(events) if event["event"] == "final_plan")
    events.insert(place, {**events[place - 1], **entry, "subset_hash": best.record["subset_hash"]})
    write_unchecked(copy / "journal.jsonl", events)
    found, before = final_evidence(Study(copy)), final_evidence(finished_study)
    assert found is not None and before is not None
    bias = found["shrinkage"]["bias"]
    assert bias["seeds_known"] and bias["noise"] > max(0.2, before["shrinkage"]["bias"]["noise"])
    assert not any("one seed everywhere" in sentence for sentence in found["sentences"])


def test_the_same_plan_goes_on_without_a_reason(reseeded: Study, study_config: Path, tmp_path: Path) -> None:
    """Cut off in the middle of the second pass, the study ends it as it was planned, whether the reason is given or not."""
    path = tmp_path / "cut"
    shutil.copytree(reseeded.path, path)
    lines = (path / "journal.jsonl").read_text().splitlines(keepends=True)
    (path / "journal.jsonl").write_text("".join(lines[:-2]))
    config = load_config(study_config, ["final.seeds=[0, 1]", "final.single_operators=0"])
    study = run_study(config, path)
    assert len(study.journal.of("final_plan")) == 2

    def scores(one: Study) -> dict[str, Any]:
        return {name: {s: r.score for s, r in found.items()} for name, found in one.final_results().items()}

    assert scores(study) == scores(reseeded)
    events = len(study.journal.events)
    assert len(run_study(config, path).journal.events) == events


def test_a_final_table_that_is_half_scored_decides_nothing(reseeded: Study, tmp_path: Path) -> None:
    """The verdict says better, and the winner is far ahead on test: still no word of it before the last planned result."""
    path = tmp_path / "cut"
    shutil.copytree(reseeded.path, path)
    events = read_events(path / "journal.jsonl")
    for event in events:
        if event["event"] == "verdict":
            event |= {"outcome": "better", "exported": "found"}
        if event["event"] == "test" and event["name"] == "full pool":
            for items in event["result"]["items"].values():
                items["nll"] = [value + 50.0 for value in items["nll"]]
    planned = max(place for place, event in enumerate(events) if event["event"] == "final_plan")
    last = max(place for place, event in enumerate(events) if event["event"] == "test")
    for end in range(planned + 1, last + 1):
        write_unchecked(path / "journal.jsonl", events[:end])
        study = Study(path)
        answer, found = study_answer(study), final_evidence(study)
        assert answer.belief == "Partly" and "test is being scored (" in answer.reasons[0]
        assert all(gain.significant is None and gain.p is None for gain in answer.gains if gain.split == "test")
        assert found is not None and not found["complete"] and "Test is being scored (" in found["sentences"][0]
        assert {each["significant"] for each in found["comparisons"]} <= {None}
        assert "not all is scored" in gain_figure(answer).told
        text = study_markdown(study)
        assert "not all is scored yet" in text and "(test, being scored: " in text
    write_unchecked(path / "journal.jsonl", events)
    answer = study_answer(Study(path))
    assert answer.belief == "Yes" and all(gain.p is not None for gain in answer.gains)


def test_other_items_than_those_of_the_winner_do_not_pair(reseeded: Study, tmp_path: Path) -> None:
    path = tmp_path / "other"
    shutil.copytree(reseeded.path, path)
    lines = read_events(path / "journal.jsonl")
    last = [event for event in lines if event["event"] == "test"][-1]
    last["result"]["items"]["addition"]["ids"][0] = "another"
    write_unchecked(path / "journal.jsonl", lines)
    with pytest.raises(StudyError, match="other test items of task 'addition'"):
        final_evidence(Study(path))


def test_a_failed_row_is_left_out_and_named(reseeded: Study, tmp_path: Path) -> None:
    path = tmp_path / "failed"
    shutil.copytree(reseeded.path, path)
    lines = read_events(path / "journal.jsonl")
    for event in lines:
        if event["event"] == "test" and event["name"] == "full pool":
            event["result"] |= {"failure": "Training diverged.", "score": None}
    write_unchecked(path / "journal.jsonl", lines)
    found = final_evidence(Study(path))
    assert found is not None and found["not_compared"] == {"full pool": "it failed (Training diverged)"}
    assert "full pool" not in [c["baseline"] for c in found["comparisons"]]
