"""What must work where nothing but the core is installed; run by ``make core`` in a fresh environment, not by pytest.

    python tests/core_only.py FOLDER

Ingests, scores, materializes and exports through the command line, searches from Python, and checks that what needs an
extra is refused in one sentence that names it. FOLDER is an empty working folder.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

EXTRAS = ("torch", "transformers", "trl", "peft", "datasets", "lm_eval", "sparsify", "spacy", "sentence_transformers")
#: Ready recipes whose signals the core computes, and one that it does not.
CORE_RECIPES = ("longest-responses", "text-only", "clean-traces")
MODEL_RECIPE = "high-ifd"
MISSING_EXTRA, MISSING_SIGNAL = 8, 4


def rows() -> list[dict[str, Any]]:
    """120 rows of two sources, a tenth of them said twice."""
    made = []
    for i in range(120):
        k = i if i % 10 else 1
        words = " ".join(f"word{(k * 7 + j) % 31}" for j in range(12 + k % 9))
        made.append({"prompt": f"Question {k}: {words}?", "completion": f"{words} is {k}.", "source": "ab"[i % 2]})
    return made


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command line as a user would."""
    return subprocess.run([sys.executable, "-m", "autoselection", *arguments], capture_output=True, text=True)


def document(*arguments: str) -> dict[str, Any]:
    """The JSON document that a command prints; the check ends if it fails."""
    done = command(*arguments, "--json")
    if done.returncode:
        sys.exit(f"autoselection {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def expect(condition: bool, what: str) -> None:
    """End with a sentence unless ``condition`` holds."""
    if not condition:
        sys.exit(f"core install, Python {platform.python_version()}: {what}")


def command_line(folder: Path) -> None:
    """From a file to subsets, by commands."""
    raw, pool = folder / "rows.jsonl", folder / "pool"
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    expect(document("ingest", str(raw), "--out", str(pool))["rows"] > 0, "ingest kept no row")
    scored = document("score", str(pool))
    for signal in (
        "tokens",
        "lengths",
        "ngram_entropy",
        "repetition",
        "text_hash",
        "minhash",
        "near_duplicates",
        "trace_faults",
    ):
        expect(signal in scored["signals"], f"the signal {signal} was not computed")
    for name in CORE_RECIPES:
        kept = document("materialize", name, "--pool", str(pool))["rows"]
        expect(0 < kept < len(rows()), f"{name} keeps {kept} rows")
        out = folder / f"{name}.jsonl"
        expect(document("apply", name, "--pool", str(pool), "--out", str(out))["rows"] == kept, f"apply {name}")
        expect(len(out.read_text(encoding="utf-8").splitlines()) == kept, f"{out} has another number of rows")
    for arguments in (("--help",), ("recipes",), ("doctor",), ("pool", "stats", str(pool))):
        done = command(*arguments)
        expect(done.returncode == 0, f"{arguments} ends with {done.returncode}: {done.stderr}")
    config = folder / "study.yaml"
    expect(command("init", str(config)).returncode == 0, "init fails")
    expect(command("config", str(config)).returncode == 0, "the configuration that init writes is refused")


def begun_study(folder: Path) -> Path:
    """A study that has just begun, as a search with the ``train`` extra leaves it."""
    study = folder / "study"
    study.mkdir(exist_ok=True)
    (study / "config.yaml").write_text(command("config", str(folder / "study.yaml")).stdout, encoding="utf-8")
    (study / "journal.jsonl").touch()
    return study


def watching(folder: Path) -> None:
    """A study is watched in the terminal without any extra."""
    done = command("watch", str(begun_study(folder)), "--terminal")
    expect(done.returncode == 0 and "Nothing tells" in done.stdout, f"watch says: {done.stdout} {done.stderr}")


def refusals(folder: Path) -> None:
    """What needs an extra says so in one sentence."""
    pool, model = str(folder / "pool"), folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    study = begun_study(folder)
    for arguments, codes, word in (
        (("score", pool, "--signals", "action_object_branching"), (MISSING_EXTRA,), "autoselection[syntax]"),
        (("score", pool, "--model", str(model)), (MISSING_EXTRA,), "autoselection[train]"),
        (("materialize", MODEL_RECIPE, "--pool", pool), (MISSING_SIGNAL,), "ifd"),
        (("watch", str(study)), (MISSING_EXTRA,), "autoselection[watch]"),
        (("mcp", str(study)), (MISSING_EXTRA,), "autoselection[mcp]"),
    ):
        done = command(*arguments)
        expect(done.returncode in codes, f"{arguments} ends with {done.returncode}: {done.stderr}")
        expect(word in done.stderr and "Traceback" not in done.stderr, f"{arguments} says: {done.stderr}")


def search(folder: Path) -> None:
    """A search with one's own scores."""
    from autoselection.pool import Pool
    from autoselection.search import Observation, SearchConfig, SearchController
    from autoselection.signals import load_table

    table = load_table(Pool.open(folder / "pool"))
    controller = SearchController(table, SearchConfig(evaluations=6, seed=0))
    entropy = table.column("ngram_entropy")
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(Observation(candidate.id, score=float(entropy[candidate.rows].mean())))
    expect(controller.best is not None, "the search has no best recipe")
    expect("torch" not in sys.modules, "torch was imported")


def notebook(folder: Path) -> None:
    """The first lines of docs/python.md, with a data frame of Polars."""
    import autoselection as au

    expect(
        set(sys.modules).isdisjoint(("numpy", "pydantic", "polars")), "import autoselection imports more than itself"
    )
    import polars as pl

    pool = au.ingest(pl.DataFrame(rows()), folder / "notebook").pool
    au.score_pool(pool)
    result = au.materialize(au.load_recipe("text-only"), au.load_table(pool))
    expect(len(result.to_polars()) == len(result.ids) > 0, "the frame has other rows than were selected")
    expect("<table>" in pool._repr_html_() + result._repr_html_(), "a notebook shows nothing")
    try:
        result.to_dataset()
    except au.AutoSelectionError as error:
        expect("autoselection[train]" in str(error), f"to_dataset says: {error}")
    else:
        expect(False, "to_dataset works without datasets")


def main() -> None:
    """Run all checks in the folder that the command line names."""
    folder = Path(sys.argv[1]).resolve()
    there = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
    expect(not there, f"not a core install: {', '.join(there)} are there")
    notebook(folder)
    command_line(folder)
    watching(folder)
    refusals(folder)
    search(folder)
    print(f"core install works on Python {platform.python_version()}")


if __name__ == "__main__":
    main()
