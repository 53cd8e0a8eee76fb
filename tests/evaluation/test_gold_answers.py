"""Gold answers of benchmark files: numbers of all spellings, lists of accepted answers, files cut in three, bad input."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import ConfigError
from autoselection.evaluation import evaluate
from autoselection.tasks import TaskConfig, TaskItem, items_fingerprint, load_items
from autoselection.tasks.answers import answers_match, can_be_gold
from autoselection.tasks.convert import convert
from autoselection.tasks.convert.golds import Unusable, accepted, number


def jsonl(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def read(folder: Path, *splits: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for split in splits or ("target", "dev", "test")
        if (folder / f"{split}.jsonl").exists()
        for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["benchmark", *arguments])
    return result.exit_code, result.output if result.exception is None else f"{result.output} {result.exception}"


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted", "form"),
    [
        ("1,5", "1.5", "decimal comma"), ("1.234,50", "1234.5", "decimal comma"), ("1.234.567", "1234567", "decimal comma"),
        ("0,125", "0.125", "decimal comma"), ("12,3456", "12.3456", "decimal comma"), ("1 234,5", "1234.5", "decimal comma"),
        ("1,234", "1234", "ambiguous"), ("1.234", "1.234", "ambiguous"), ("-1,234", "-1234", "ambiguous"),
        ("1,234.50", "1234.5", "clear"), ("1,234,567", "1234567", "clear"), ("12,34,567", "1234567", "clear"),
        ("1 234 567", "1234567", "clear"), ("1'234'567", "1234567", "clear"), ("$70,000", "70000", "ambiguous"),
        ("-3", "-3", "clear"), ("−3", "-3", "clear"), ("18.0", "18", "clear"), (".5", "0.5", "clear"), ("7.", "7", "clear"),
        ("50%", "50%", "clear"), ("3/4", "3/4", "clear"), ("1e3", "1000", "clear"), ("٤٢", "42", "clear"), ("€ 5", "5", "clear"),
        (8.0, "8", "clear"), (1.234, "1.234", "clear"), (1234, "1234", "clear"), (1e-7, "0.0000001", "clear"), ("-0", "0", "clear"),
    ],
)  # fmt: skip
def test_a_gold_number_is_the_number_that_is_written(value, wanted, form):
    assert number(value) == (wanted, form)


@pytest.mark.parametrize(
    "value", ["", "five", "1,2,3", "1,23,4", "12:30", "3-4", "1.2.3", "x12", "5 apples", "1/0", True, None, float("nan"), [5], "9" * 300]
)  # fmt: skip
def test_what_is_no_number_is_refused(value):
    with pytest.raises(Unusable, match="number"):
        number(value)


@pytest.mark.parametrize(
    "value", [r"\frac12", r"90^\circ", "x^2", "(2, 3)", "3, 5, 7", "1,-2", "2x + 3", r"$\frac12$", r"12\text{ cm}", r"\$18.90", "x = 5"]
)  # fmt: skip
def test_mathematics_stays_as_it_is_written_and_is_read(value):
    assert number(value) == (value, "clear")
    assert can_be_gold(value, kind="number") and answers_match(rf"\boxed{{{value}}}", value, kind="number")


def test_two_roots_among_mathematics_are_no_proof_of_decimal_commas(tmp_path):
    for name, others in (("latex", [r"\frac12", "7"]), ("points", ["2.5", "7"]), ("lists", ["3, 5, 7", "7"])):
        texts = ["1,2", "1,234", "70,000", *others]
        records = [{"question": f"{i}?", "answer": text} for i, text in enumerate(texts)]
        report = convert("number", [str(jsonl(tmp_path / f"{name}.jsonl", records))], tmp_path / name, target=0, dev=1)
        assert sorted(item["answer"] for item in read(tmp_path / name)) == sorted(["1234", "70000", *others])
        assert report.unusable == {"the answer could be a number or two (1,2)": 1}
        assert "record 1: '1,2' could be a number or two" in report.refused[0]


@given(st.integers(-(10**9), 10**9))
def test_every_spelling_of_a_whole_number_is_that_number(value):
    for text in (
        str(value),
        f"{value:,}",
        f"${value:,}" if value >= 0 else f"-${-value:,}",
        f"{value}.0",
        f"{value:,}.00",
    ):
        assert number(text)[0] == str(value)


@given(st.decimals(-(10**6), 10**6, places=2, allow_nan=False))
def test_a_decimal_comma_is_a_decimal_point(value):
    plain = number(f"{value:.2f}")[0]
    assert number(f"{value:.2f}".replace(".", ","))[0] == plain
    assert number(f"{value:,.2f}".replace(",", "_").replace(".", ",").replace("_", "."))[0] == plain


def test_ambiguous_numbers_are_kept_in_a_file_of_points_and_refused_with_their_place_in_one_of_commas(tmp_path):
    points = [{"question": f"p{i}?", "answer": text} for i, text in enumerate(["1,234", "2.5", "1.125", "70,000"])]
    convert("number", [str(jsonl(tmp_path / "points.jsonl", points))], tmp_path / "points", target=0, dev=2)
    assert sorted(item["answer"] for item in read(tmp_path / "points")) == ["1.125", "1234", "2.5", "70000"]
    commas = [
        {"question": f"c{i}?", "answer": text} for i, text in enumerate(["1,5", "1.234", "1,234", "7", "1.234,5"])
    ]
    source = jsonl(tmp_path / "commas.jsonl", commas)
    report = convert("number", [str(source)], tmp_path / "commas", target=0, dev=1)
    assert sorted(item["answer"] for item in read(tmp_path / "commas")) == ["1.5", "1234.5", "7"]
    assert [line.split(": ")[0] for line in report.refused] == [f"{source}, record 2", f"{source}, record 3"]
    assert "'1.234'" in report.refused[0] and "'1,234'" in report.refused[1]
    assert sum(report.unusable.values()) == 2
    code, said = run("number", "--source", str(source), "--out", str(tmp_path / "again"), "--target", "0", "--dev", "1")
    assert code == 0 and "record 2" in " ".join(said.split())


# --- accepted answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("Paris", ("Paris",)), (["Paris", "City of Paris"], ("Paris", "City of Paris")), (["Paris", "paris."], ("Paris",)),
        ({"value": "Lima", "aliases": ["Ciudad de los Reyes"]}, ("Lima", "Ciudad de los Reyes")),
        ({"text": ["a", "b"], "answer_start": [1, 2]}, ("a", "b")), ({"aliases": ["x"], "value": "y"}, ("y", "x")),
        ([["a"], {"text": "b"}, None, 5, 2.50, True], ("a", "b", "5", "2.5", "True")),
        ('["Paris", "City of Paris"]', ("Paris", "City of Paris")), ("['Paris', \"Ville d'Paris\"]", ("Paris", "Ville d'Paris")),
        ("[1, 2]", ("[1, 2]",)), ("[unclear]", ("[unclear]",)), (7, ("7",)),
    ],
)  # fmt: skip
def test_lists_and_objects_are_accepted_answers(value, wanted):
    assert accepted(value) == wanted


@pytest.mark.parametrize(
    "value", ["", " ", [], {}, {"start": 3}, [None], [[[[[[["deep"]]]]]]], float("inf"), {"value": ""}]
)
def test_what_names_no_answer_is_refused(value):
    with pytest.raises(Unusable):
        accepted(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "text", "aliases", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_any_answer_is_read_or_refused(value):
    for reader in (accepted, number):
        try:
            found = reader(value)
        except Unusable as reason:
            assert str(reason)
        else:
            assert all(isinstance(text, str) and text for text in found)


QUIZ = [
    {"question": "Capital of France?", "answer": ["Paris", "City of Paris"]},
    {"question": "Capital of Peru?", "answer": {"value": "Lima", "aliases": ["Ciudad de los Reyes"]}},
    {"question": "Capital of Cuba?", "answer": "Havana", "aliases": ["La Habana"]},
    {"question": "Capital of Fiji?", "answer": "Suva", "possible_answers": '["Suva", "Suva City"]'},
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("['a' 'b']", ("a", "b")),  # as NumPy prints an array, and pandas a cell
        ("['a'\n 'b c']", ("a", "b c")),
        ("[\"it's\" 'b']", ("it's", "b")),
        ("array(['a', 'b'], dtype=object)", ("a", "b")),
        ("{'text': array(['a', 'b'], dtype=object), 'answer_start': array([1, 2])}", ("a", "b")),
        ('{"value": "P", "aliases": ["q", "P"], "type": "WikipediaEntity"}', ("P", "q")),
        ("{'aliases': ['x'], 'value': 'y'}", ("y", "x")),
        ("['a\\'b', 'c']", ("a'b", "c")),
        # Answers that are code or mathematics stay what they are.
        ('{"name": "Bob", "label": 3}', ('{"name": "Bob", "label": 3}',)),
        ("{1, 2}", ("{1, 2}",)),
        ("[1, 2]", ("[1, 2]",)),
        ("{'a': 1}", ("{'a': 1}",)),
        ("{x}", ("{x}",)),
    ],
)
def test_lists_and_objects_in_cells_are_accepted_answers(text, wanted):
    assert accepted(text) == wanted


def test_questions_with_two_different_answers_are_left_out_and_counted(tmp_path):
    rows = [{"question": "a", "answer": 5}, {"question": "A ", "answer": 6}, {"question": "b", "answer": 7}]
    rows += [{"question": "b", "answer": "7.0"}, {"question": "c", "answer": 8}]
    report = convert("number", [str(jsonl(tmp_path / "rows.jsonl", rows))], tmp_path / "out", target=0, dev=1)
    assert {item["prompt"]: item["answer"] for item in read(tmp_path / "out")} == {"b": "7", "c": "8"}
    assert report.unusable == {"the same question stands twice, with different answers": 2} and report.duplicates == 1
    choices = [
        {"question": "a", "choices": ["x", "y"], "answer": 0},
        {"question": "a", "choices": ["y", "x"], "answer": 1},
    ]
    choices += [
        {"question": "b", "choices": ["x", "y"], "answer": 0},
        {"question": "b", "choices": ["y", "x"], "answer": 0},
    ]
    choices += [{"question": "c", "choices": ["x", "y"], "answer": 1}]
    convert("multiple_choice", [str(jsonl(tmp_path / "mc.jsonl", choices))], tmp_path / "mc", target=0, dev=1)
    assert sorted(item["prompt"] for item in read(tmp_path / "mc")) == ["a", "c"]
    free = [
        {"question": "a", "answer": "UK"},
        {"question": "a", "answer": "Great Britain"},
        {"question": "b", "answer": "x"},
    ]
    convert("short_answer", [str(jsonl(tmp_path / "free.jsonl", free))], tmp_path / "free", target=0, dev=1)
    assert {item["prompt"]: item["answer"] for item in read(tmp_path / "free")} == {"a": "UK", "b": "x"}


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_benchmark_tables_are_separated_by_what_their_header_is(delimiter, tmp_path):
    rows = [["question", "answer"], ["a, b?", '"1,5"'], ["c; d?", "2"], ["e?", '"0,25"']]
    quoted = [[f'"{cell}"' if delimiter in cell and '"' not in cell else cell for cell in row] for row in rows]
    source = tmp_path / "rows.csv"
    source.write_text("\n".join(map(delimiter.join, quoted)) + "\n")
    code, output = run("number", "--source", str(source), "--out", str(tmp_path / "out"), "--target", "0", "--dev", "1")
    assert code == 0, output
    items = {item["prompt"]: item["answer"] for item in read(tmp_path / "out")}
    assert items == {"a, b?": "1.5", "c; d?": "2", "e?": "0.25"}


@pytest.mark.parametrize(
    ("choices", "answer", "wanted"),
    [
        (["a", "b"], 1.0, "B"), (["a", "b"], "1", "B"), (["7", "8"], "8", "B"), (["0", "1"], "1", "B"),
        (["A", "B", "AB"], "B", "B"), (["A", "B", "AB"], "AB", "C"), (["x", "y"], 0.5, None),
        (["a", "b"], "b", "B"), (["x", "y"], "b", "B"), (["x", "y"], "(B)", "B"), (["x", "y"], "Ｂ", "B"), (["x", "y"], "B.", "B"),
        (["x", "y"], "1.0", "B"), ({"A": "x", "B": "y"}, "(b)", "B"), ({"1": "x", "2": "y"}, "2.0", "B"),
        ({"(a)": "x", "(b)": "y"}, "B", "B"), (["u", "v"], "c", None), (["u", "v"], "AB", None),
        ([10, 20], 20, "B"), ([0, 1], 1, "B"), ([0.5, 1.0], 1.0, "B"), ([0.5, 1.5], 0.5, "A"), (["7.0", "9.0"], 9, "B"),
        (["1", "0"], "0", None), (["B", "A"], "A", None), (["b", "a"], "a", None), ({"A": "b", "B": "a"}, "A", "A"), ({"A": "b", "B": "a"}, "a", None),  # the option's text or its place?
        ([2, 3, 4, 5], 2, None), (["1", "2", "3", "4"], 3, None), ([1.0, 1.5], 1.0, None), (["1.0", "1.5"], "1.0", None),
    ],
)  # fmt: skip
def test_the_right_option_is_its_place_its_letter_or_its_text_and_never_a_guess(choices, answer, wanted, tmp_path):
    fill = [{"question": f"q{number}", "choices": ["yes", "no"], "answer": "yes"} for number in range(3)]
    source = jsonl(tmp_path / "rows.jsonl", [{"question": "x", "choices": choices, "answer": answer}, *fill])
    code, output = run(
        "multiple_choice", "--source", str(source), "--out", str(tmp_path / "out"), "--target", "0", "--dev", "1"
    )
    assert code == 0, output
    items = {item["prompt"]: item["answer"] for item in read(tmp_path / "out")}
    assert items.get("x") == wanted


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("multiple_choice", {"question": "x", "choices": ["w", "w", "y"], "answer": "B"}),
        ("mmlu", {"question": "x", "choices": ["w", "w", "y"], "answer": 2}),
        ("arc", {"question": "x", "choices": {"label": ["A", "B", "C"], "text": ["w", "w ", "y"]}, "answerKey": "C"}),
    ],
)
def test_two_equal_options_are_no_item(name, record, tmp_path):
    options = ["u", "v", "y"]
    good = {**record, "choices": {**record["choices"], "text": options} if name == "arc" else options}
    fill = [{**good, "question": f"q{number}"} for number in range(3)]
    report = convert(name, [str(jsonl(tmp_path / "rows.jsonl", [record, *fill]))], tmp_path / "out", target=0, dev=1)
    assert report.unusable == {"two options are the same": 1} and sum(report.items.values()) == 3


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("yes_no", {"answer": True}),
        ("short_answer", {"answer": {"text": ["blue"], "answer_start": [5]}}),
        ("number", {"answer": 4}),
        ("multiple_choice", {"options": ["x", "y"], "answer": "B"}),
    ],
)
@pytest.mark.parametrize("column", ["passage", "context", "article"])
def test_a_passage_stands_in_front_of_its_question(name, column, record, tmp_path):
    """As of BoolQ, SQuAD and RACE; questions that are equal are not the same where their passages differ."""
    rows = [{"question": "Which title?", column: f"Text {number}.", **record} for number in range(4)]
    rows += [{"question": "Text 9. Which?", column: "Text 9.", **record}, {"question": "Bare?", column: " ", **record}]
    rows.append({"question": "Parts?", column: ["One.", "Two."], **record})
    rows.append({"question": "Cell?", column: '["One.", "Two."]', **record})
    rows.append({"question": "NumPy?", column: "['One.' 'Two.']", **record})
    rows.append({"question": "None?", column: "[]", **record})
    rows.append({"question": "Code?", column: 'x = ["a"]; y = ["b"]', **record})
    rows.append({"question": "Tree?", column: {"sentences": [["One."]]}, **record})
    source = str(jsonl(tmp_path / "rows.jsonl", rows))
    report = convert(name, [source], tmp_path / "out", target=0, dev=1, keep_constant=True)
    wanted = {f"Text {number}.\n\nWhich title?" for number in range(4)}
    assert {item["prompt"] for item in read(tmp_path / "out")} == wanted | {
        "Text 9. Which?",
        "Bare?",
        "One.\nTwo.\n\nParts?",
        "One.\nTwo.\n\nCell?",
        "One.\nTwo.\n\nNumPy?",
        "None?",
        'x = ["a"]; y = ["b"]\n\nCode?',
    }
    assert report.unusable == {f"the {column} is neither text nor a list of texts": 1}


def test_a_passage_of_another_name_is_mapped(tmp_path):
    rows = [{"question": "Which title?", "story": f"Text {number}.", "answer": "Blue"} for number in range(4)]
    source = str(jsonl(tmp_path / "rows.jsonl", rows))
    code, said = run("short_answer", "--source", source, "--out", str(tmp_path / "out"), "--map", "passage=story")
    assert code == 0, said
    assert {item["prompt"] for item in read(tmp_path / "out")} == {f"Text {n}.\n\nWhich title?" for n in range(4)}


def test_a_third_answer_is_neither_yes_nor_no(tmp_path):
    golds = ["True", "False", "Cannot say", "NOT ENOUGH INFO", "Neither"]
    rows = [{"question": f"q{number}", "answer": golds[number % 5]} for number in range(20)]
    report = convert("yes_no", [str(jsonl(tmp_path / "rows.jsonl", rows))], tmp_path / "out", target=0, dev=2)
    assert report.unusable == {"the answer is not yes or no": 12}
    assert sum(report.items.values()) == 8


@pytest.mark.parametrize(
    "golds", [("Yes there is a path.", "No there is none."), ("Ja, das geht.", "Nein, das geht nicht.")]
)
def test_a_sentence_that_opens_with_yes_or_no_is_an_item(golds, tmp_path):
    rows = [{"question": f"q{number}", "answer": golds[number % 2]} for number in range(20)]
    report = convert("yes_no", [str(jsonl(tmp_path / "rows.jsonl", rows))], tmp_path / "out", target=0, dev=2)
    assert report.unusable == {} and sum(report.items.values()) == 20
    assert {item["answer"] for item in read(tmp_path / "out")} == {"yes", "no"}


@pytest.mark.parametrize(
    ("name", "record", "answer"),
    [
        ("yes_no", {}, 1), ("yes_no", {}, "Cannot say"), ("number", {}, "five"), ("multiple_choice", {"choices": ["x", "y"]}, "second"),
        ("arc", {"choices": {"label": ["A", "B"], "text": ["x", "y"]}}, "E"),
    ],
)  # fmt: skip
def test_an_answer_that_no_record_can_have_is_shown(name, record, answer, tmp_path):
    rows = [
        {"question": f"q{number}", **record, "answerKey" if name == "arc" else "answer": answer} for number in range(9)
    ]
    with pytest.raises(ConfigError, match=f"The first such answer is '{answer}': write the answers as") as caught:
        convert(name, [str(jsonl(tmp_path / "rows.jsonl", rows))], tmp_path / "out")
    assert "--map" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "records", "advice"),
    [
        ("multiple_choice", [{"choices": ["1", "2", "3", "4"], "answer": 1}], "'1': name the right option by its letter."),
        ("multiple_choice", [{"choices": ["B", "A"], "answer": "A"}], "'A': give the options labels "),
        ("multiple_choice", [{"choices": "x, y", "answer": "A"}], "Write the choices as a JSON list "),
        ("multiple_choice", [{"choices": ["x", "x"], "answer": "A"}], "This format reads question, choices "),
        ("number", [{"answer": "1,5"}] * 9 + [{"answer": r"90^\circ"}], "Write numbers with a decimal point "),
        ("number", [{}] + [{"answer": "five"}] * 9, "'five': write the answers as this format reads them "),
        ("yes_no", [{"answer": "yes"}] * 20, "one answer for all); dev and test need one item each."),
    ],
)  # fmt: skip
def test_the_advice_is_against_the_most_common_reason_and_new(name, records, advice, tmp_path):
    rows = [{"question": f"q{number}", **record} for number, record in enumerate(records)]
    with pytest.raises(ConfigError) as caught:
        convert(name, [str(jsonl(tmp_path / "rows.jsonl", rows))], tmp_path / "out")
    assert advice in str(caught.value) and "--map" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "record"),
    [("number", {"Frage": "1?", "answer": "1"}), ("number", {"question": "1?"}), ("multiple_choice", {"question": "x", "opts": ["x"], "answer": "A"})],
)  # fmt: skip
def test_where_a_field_is_missing_the_columns_are_named(name, record, tmp_path):
    with pytest.raises(ConfigError, match=f"The first record has the fields '{next(iter(record))}'.*--map question="):
        convert(name, [str(jsonl(tmp_path / "rows.jsonl", [record]))], tmp_path / "out")


def test_any_accepted_answer_of_a_converted_benchmark_is_right(tmp_path, make_job, monkeypatch):
    """Through the engine: whatever alias the model writes, the item counts; what is none does not."""
    report = convert(
        "short_answer", [str(jsonl(tmp_path / "q.jsonl", QUIZ))], tmp_path / "out", target=0, dev=3, task="quiz"
    )
    assert report.aliases == 4
    task = TaskConfig.model_validate({**report.config, "metric": "exact_match"})
    items = {item.prompt: item for item in load_items(task, "dev") + load_items(task, "test")}
    assert items["Capital of Peru?"].accepted() == ("Lima", "Ciudad de los Reyes")
    assert items["Capital of Cuba?"].accepted() == ("Havana", "La Habana")
    assert items["Capital of Fiji?"].accepted() == ("Suva", "Suva City")
    assert items["Capital of France?"].reference() == "Paris"

    from autoselection.evaluation.harness import _exact_match_of

    said: list[str] = []

    def judged(document: Any, results: Any) -> dict[str, float]:
        said.append(document["accepted"][-1])
        right = _exact_match_of(document, [f"The answer is {document['accepted'][-1]}."])
        wrong = _exact_match_of(document, ["The answer is Rome."])
        return {"exact_match": right["exact_match"] - wrong["exact_match"]}

    monkeypatch.setattr("autoselection.evaluation.harness._exact_match_of", judged)
    result = evaluate(make_job(rows=None, tasks=(task,)))
    assert result.score == 1.0
    assert len(said) == 2 and set(said) <= {"City of Paris", "Ciudad de los Reyes", "La Habana", "Suva City"}


def test_the_harness_takes_any_accepted_answer_too(tmp_path, monkeypatch):
    from autoselection.tasks.harness import harness_verdict

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    convert("short_answer", [str(jsonl(tmp_path / "q.jsonl", QUIZ))], tmp_path / "out", target=0, dev=3, task="quiz")
    named = TaskConfig(name="q", lm_eval="autoselection_quiz", lm_eval_path=tmp_path / "out")
    for item in load_items(named, "dev"):
        assert len(item.accepted()) == 2
        for answer in item.accepted():
            assert harness_verdict(named, item.id, f"the answer is {answer}.") == 1.0
        assert harness_verdict(named, item.id, "the answer is Rome.") == 0.0


def test_several_accepted_numbers_and_letters(tmp_path):
    records = [{"question": f"{i}?", "answer": [f"{i}", f"{i},5"]} for i in range(4)]
    convert("number", [str(jsonl(tmp_path / "n.jsonl", records))], tmp_path / "n", target=0, dev=2)
    assert all(item["aliases"] == [item["answer"] + ".5"] for item in read(tmp_path / "n"))
    records = [{"question": f"{i}?", "choices": ["x", "y"], "answer": [1]} for i in range(4)]
    records.append({"question": "two?", "choices": ["x", "y"], "answer": [0, 1]})
    report = convert("multiple_choice", [str(jsonl(tmp_path / "m.jsonl", records))], tmp_path / "m", target=0, dev=2)
    assert {item["answer"] for item in read(tmp_path / "m")} == {"B"}
    assert report.unusable == {"several right options, or none": 1}


def test_aliases_change_what_scores_depend_on():
    plain = TaskItem("1", "p", "a")
    assert items_fingerprint([plain]) != items_fingerprint([TaskItem("1", "p", "a", aliases=("b",))])


# --- one file, and advice that helps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test.jsonl", "train.jsonl", "quiz_dev.jsonl", "quiz.jsonl"])
@pytest.mark.parametrize("count", [2, 3, 4, 50])
def test_a_single_file_is_cut_in_three_whatever_its_name(name, count, tmp_path):
    source = jsonl(tmp_path / name, [{"question": f"{i}?", "answer": str(i)} for i in range(count)])
    code, said = run("number", "--source", str(source), "--name", "my-quiz", "--out", str(tmp_path / "out"), "--json")
    assert code == 0, said
    report = json.loads(said)
    assert report["items"]["dev"] > 0 and report["items"]["test"] > 0
    assert sum(report["items"].values()) + report["unused"] == count
    assert (report["items"]["target"] > 0) == (count > 2)
    assert report["config"]["name"] == "my-quiz"
    assert all(item["id"].startswith("my-quiz-") for item in read(tmp_path / "out"))
    assert (tmp_path / "out" / "autoselection_my-quiz.yaml").exists()


def test_a_folder_of_test_files_alone_is_cut_in_three_and_a_given_split_is_kept(tmp_path):
    for kind in ("a", "b"):
        jsonl(tmp_path / f"{kind}_test.jsonl", [{"question": f"{kind}{i}?", "answer": str(i)} for i in range(20)])
    report = convert("number", [str(tmp_path)], tmp_path / "out", dev=5)
    assert report.items == {"target": 20, "dev": 5, "test": 15}
    free, test = str(tmp_path / "a_test.jsonl"), f"test={tmp_path / 'b_test.jsonl'}"
    code, _ = run("number", "--source", free, "--split", test, "--out", str(tmp_path / "both"))
    assert code == 0
    assert {item["prompt"][0] for item in read(tmp_path / "both", "test")} == {"b"}
    assert {item["prompt"][0] for item in read(tmp_path / "both", "dev", "target")} == {"a"}


def test_the_advice_of_messages_helps(tmp_path):
    source = jsonl(tmp_path / "test.jsonl", [{"question": f"{i}?", "answer": str(i)} for i in range(10)])
    other = jsonl(tmp_path / "more.jsonl", [{"question": f"m{i}?", "answer": str(i)} for i in range(10)])
    code, said = run("number", "--split", f"test={source}", "--out", str(tmp_path / "out"))
    said = " ".join(said.split())
    assert code != 0 and "--split dev=FILE" in said and "a single --source FILE without a split" in said
    assert run("number", "--split", f"test={source}", "--split", f"dev={other}", "--out", str(tmp_path / "a"))[0] == 0
    assert run("number", "--source", str(source), "--out", str(tmp_path / "b"))[0] == 0
    code, said = run("number", "--split", f"dev={source}", "--out", str(tmp_path / "out"))
    assert code != 0 and "--split test=FILE" in " ".join(said.split())
    assert (
        run("number", *shlex.split(f"--split dev={source} --split test={other}"), "--out", str(tmp_path / "c"))[0] == 0
    )
    one = jsonl(tmp_path / "one.jsonl", [{"question": "1?", "answer": "1"}])
    with pytest.raises(ConfigError, match=r"1 usable items leave none for .*need one item each"):
        convert("number", [str(one)], tmp_path / "out")
    assert "--split x: expected SPLIT=PATH" in run("number", "--split", "x")[1]
    with pytest.raises(ConfigError, match=r"--name \.\./x: a task's name"):
        convert("number", [str(source)], tmp_path / "out", task="../x")


def test_a_path_with_an_equals_sign_is_a_path(tmp_path):
    source = jsonl(tmp_path / "k=v.jsonl", [{"question": f"{i}?", "answer": str(i)} for i in range(10)])
    assert convert("number", [str(source)], tmp_path / "out", dev=2).items["dev"] == 2


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = b'{"question": "a?", "answer": "1"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", GOOD + b'{"question": "b?", "ans', r"s\.jsonl:2: not valid JSON"),
        ("s.json", b'[\n {"question": "a?", "answer": "1"},\n {"question": "b', r"s\.json:3: not valid JSON"),
        ("s.jsonl", GOOD + b'{"question": "caf\xe9?", "answer": "1"}\n', r"s\.jsonl:2: not UTF-8 text \(byte 0xe9\)"),
        ("s.json", b"[" * 100_000, r"s\.json:1: not valid JSON \(nested too deeply\)"),
        ("s.jsonl", GOOD + b"[" * 100_000 + b"\n", r"s\.jsonl:2: not valid JSON \(nested too deeply\)"),
        ("s.csv", b'question,answer\na?,1\n"b?,2\nc?,3\nd?,4\ne?,5"\n', r"s\.csv:3: .*stray quote"),
        ("s.csv", b'question,answer\na?,1\n"b?,2\nc?,3\n', r"s\.csv:3: .*stray quote"),
        ("s.csv", b"question,answer\na?,1,2\n", r"s\.csv:2: 3 cells under a header of 2"),
        ("s.parquet", b"PAR1 no", r"s\.parquet: not readable as Parquet"),
        ("s.xlsx", b"PK", r"files end in .*rename or convert"),
    ],
)  # fmt: skip
def test_files_that_are_not_what_they_say_are_refused_with_the_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        convert("number", [str(tmp_path / name)], tmp_path / "out")


def test_utf16_and_a_byte_order_mark_are_read(tmp_path):
    lines = "".join(
        json.dumps({"question": f"Grüße {i}?", "answer": str(i)}, ensure_ascii=False) + "\n" for i in range(6)
    )
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "s.jsonl").write_bytes(lines.encode(encoding))
        convert("number", [str(tmp_path / "s.jsonl")], tmp_path / encoding, dev=2)
        assert len(read(tmp_path / encoding)) == 6
        assert all(item["prompt"].startswith("Grüße") for item in read(tmp_path / encoding))


def test_records_that_cannot_be_items_are_counted_by_reason(tmp_path):
    records = [{"question": f"{i}?", "choices": ["x", "y"], "answer": "x"} for i in range(4)]
    many = {"question": "many?", "choices": [f"c{i}" for i in range(27)], "answer": "c1"}
    lines = [
        *map(json.dumps, [*records, many]),
        '{"question": "half \\ud800?", "choices": ["x", "y"], "answer": "x"}',
        "[1]",
        "null",
    ]
    (tmp_path / "s.jsonl").write_text("\n".join(lines), encoding="utf-8")
    report = convert("multiple_choice", [str(tmp_path / "s.jsonl")], tmp_path / "out", target=0, dev=2)
    assert report.unusable == {
        "more than 26 options": 1,
        "half a character in its text (a lone surrogate)": 1,
        "not an object": 2,
    }


ITEM = '{"id": "1", "prompt": "p", "answer": "a"}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": "2", "prompt": "p", "ans', r"dev\.jsonl:2: not valid JSON"),
        (b'{"id": "2", "prompt": "caf\xe9", "answer": "a"}', r":2: not UTF-8 text \(byte 0xe9\)"),
        (b'{"id": "2", "prompt": "\\ud800", "answer": "a"}', ":2: half a character"),
        (b"[" * 100_000, ":2: nested too deeply"),
        (b'{"id": ' * 100_000, ":2: nested too deeply"),
        (b"7", ":2: expected a JSON object"),
        (b'{"id": "2", "id": "3", "prompt": "p", "answer": "a"}', ":2: .*a key stands twice"),
        (b'{"id": "2", "prompt": "p", "answer": "a", "x": NaN}', ":2: .*NaN is no value"),
        (b'{"id": "2", "prompt": "p", "answer": ["a", "b"]}', ":2: field 'answer'.*'aliases'"),
        (b'{"id": "2", "prompt": "p", "answer": {"value": "a"}}', ":2: field 'answer'.*'aliases'"),
        (b'{"id": "2", "prompt": "p", "answer": " "}', ":2: field 'answer'"),
        (b'{"id": "2", "prompt": "p", "answer": "a", "aliases": "b"}', ":2: field 'aliases'"),
        (b'{"id": "2", "prompt": "p", "answer": "a", "aliases": [1]}', ":2: field 'aliases'"),
        (b'{"id": "2", "prompt": "p", "answer": "A", "aliases": ["b"], "choices": ["x", "y"]}', ":2: .*no 'aliases'"),
        (
            b'{"id": "2", "prompt": "p", "answer": "A", "choices": [' + b", ".join([b'"x"'] * 27) + b"]}",
            ":2: 27 choices",
        ),
        (b'{"id": "2", "prompt": "p", "answer": "AB", "choices": ["x", "y"]}', ":2: .*a letter from A to B"),
        (b'{"id": "2", "prompt": "p", "answer": "a", "rationale": 5}', ":2: field 'rationale'"),
        (b'{"id": "2", "prompt": "p", "answer": "a", "subtask": ["x"]}', ":2: field 'subtask'"),
        (b'{"id": "2", "prompt": "p", "answer": ' + b"9" * 5000 + b"}", ":2: "),
    ],
)
def test_task_files_of_a_wrong_shape_are_a_sentence(line, message, tmp_path):
    path = tmp_path / "dev.jsonl"
    path.write_bytes(ITEM.encode() + b"\n" + line + b"\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_items(TaskConfig(name="t", dev=path), "dev")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_task_file_in_utf16_is_named_and_a_byte_order_mark_is_nothing(tmp_path):
    path = tmp_path / "dev.jsonl"
    path.write_bytes(ITEM.encode("utf-16"))
    with pytest.raises(ConfigError, match="UTF-16 text; save the file as UTF-8"):
        load_items(TaskConfig(name="t", dev=path), "dev")
    path.write_bytes(ITEM.encode("utf-8-sig"))
    assert load_items(TaskConfig(name="t", dev=path), "dev")[0].id == "1"


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_of_a_task_file_is_read_or_a_sentence(tmp_path_factory, line):
    path = tmp_path_factory.mktemp("fuzz") / "dev.jsonl"
    path.write_bytes(line)
    try:
        items = load_items(TaskConfig(name="t", dev=path), "dev")
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert items
