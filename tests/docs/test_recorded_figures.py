"""Sentences on results pages say what the lines beside them hold."""

import json
import re
from collections import defaultdict

from pages import ROOT

from autoselection.reproduce import load_reproduction

RESULTS = ROOT / "docs" / "results"
WORDS = ("none", "one", "two", "three", "four", "five", "six")


def page(name):
    return " ".join((RESULTS / f"{name}.md").read_text(encoding="utf-8").split())


def lines(name):
    return [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_two_machines_differ_by_what_the_page_says():
    by_machine = defaultdict(dict)
    for line in lines("smollm2-power"):
        if line["learning_rate"] == 3e-5 and line["budget"] == "max_tokens=16000" and line["seed"] in (0, 1):
            by_machine[line.get("machine", "")][line["subset"], line["seed"]] = line
    (one, other) = by_machine.values()
    assert one.keys() == other.keys() and len(one) == 4

    def apart(score):
        return [abs(one[key][score] - other[key][score]) for key in one]

    tasks = max(max(apart(task)) for task in ("commonsenseqa", "gsm8k", "mmlu"))
    said = re.search(r"scores differ by ([\d.]+) to ([\d.]+), single tasks by ([\d.]+) at most", page("smollm2-power"))
    assert said
    assert said.groups() == (f"{min(apart('mean')):.4f}", f"{max(apart('mean')):.4f}", f"{tasks:.4f}")


def test_the_plan_of_the_real_run_is_that_of_its_file():
    config = load_reproduction(str(ROOT / "examples" / "smollm2" / "reproduce-real.yaml"))
    said = re.search(r"has (\w+) replicates \([^)]*\), (\w+) fresh trainings a row", page("smollm2-power"))
    assert said and said[1] == WORDS[len(config.seeds)]
    assert said[2] == {10: "ten"}[len(config.seeds) * len(config.final_seeds)]


def test_free_answers_that_are_never_right_are_counted():
    found = defaultdict(list)
    for line in lines("metrics"):
        for task, scores in line["test"].items():
            if "accuracy" not in scores and scores.get("exact_match") is not None:
                found[line["cell"], task].append(scores["exact_match"])
    never = [key for key, values in found.items() if not any(values)]
    assert f"On {WORDS[len(never)]} of {WORDS[len(found)]} tasks nothing was right" in page("metrics")
    assert [value for value in found["oak/wide", "nth"] if value] == [1 / 160], "one item with one subset"
