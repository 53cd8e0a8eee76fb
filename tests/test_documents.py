"""YAML and JSON that people write: limits before anything is built, and a sentence with the line for all the rest."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from autoselection.config import StudyConfig, read_document
from autoselection.documents import MAX_BYTES, MAX_DEPTH, check_yaml, dump_yaml, parse_json, parse_yaml, read_yaml
from autoselection.errors import ConfigError, RecipeError
from autoselection.recipes import Recipe
from autoselection.validation import problem_at, validate


def bomb(levels: int = 10) -> str:
    """Ten lines that stand for 10^levels values."""
    parts = ["&a0 [x,x,x,x,x,x,x,x,x,x]"]
    parts += [f"&a{level} [{','.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)]
    return f"[{', '.join(parts)}]"


REFUSED = [
    (f"a: 1\nb: {bomb()}", ":2: lists and aliases stand for more than"),
    ("a: &x {" + ", ".join(f"k{i}: 1" for i in range(1000)) + "}\nb: [" + "*x, " * 200 + "]", ":2: lists and aliases"),
    ("a: &x [*x]", ":1: an alias stands inside of what it stands for"),
    ("a: &x\n  b: {c: *x}", ":2: an alias stands inside"),
    ("a: *nobody", ":1: not valid YAML: found undefined alias"),
    ("a: 1\nb:\n  c: 1\n  c: 2", ":4: the key 'c' stands twice"),
    ("a: 1\n'a': 2", ":2: the key 'a' stands twice"),
    ("1: a\n0x1: b", ":2: the key '0x1' stands twice"),
    ("a: 1\non: 5", ":2: the key 'on' is read as true by YAML: put it in quotes"),
    ("a:\n  No: 5", ":2: the key 'No' is read as false by YAML"),
    ("a: {~: 5}", ":1: the key '~' is read as nothing by YAML"),
    ("x: {<<: {a: 1}, <<: {b: 1}}", ":1: the key '<<' stands twice"),
    ("a: 1e999", ":1: infinity and not-a-number"),
    ("%YAML " + "9" * 5000 + ".1\n---\na: 1", ":1: the version of YAML is too long a number"),
    ("%YAML 1." + "9" * 5000 + "\n---\na: 1", ":1: the version of YAML is too long a number"),
    ("a: .inf", ":1: infinity and not-a-number"),
    ("a: -.INF", ":1: infinity and not-a-number"),
    ("a: .nan", ":1: infinity and not-a-number"),
    ("a: 1.0e+999", ":1: infinity and not-a-number"),
    ("a: " + "9" * 5000, ":1: the number '999"),
    ("a: " + "9" * 20, ":1: the number 999"),
    ("a: 1" + ":59" * 50, ":1: the number '1:59"),
    ("a: 1\nb: 017", ":2: '017' is a number in eights or sixties"),
    ("a: 1:30", ":1: '1:30' is a number in eights or sixties"),
    ("a: 1:30.5", ":1: '1:30.5' is a number in eights or sixties"),
    ('a: "\\UFFFFFFFF"', ":1: an escape in quotes stands for no character"),
    ('a: "\\U00110000"', ":1: an escape in quotes stands for no character"),
    ("- a\n" * 200_000, ":100000: it holds more than 100,000 values"),
    ("a: !!int foo", ":1: 'foo' cannot be read as a whole number"),
    ("a: !!int ''", ":1: '' cannot be read as a whole number"),
    ("a: !!bool maybe", ":1: 'maybe' cannot be read as true or false"),
    ("a: !!binary aGFsbG8=", ":1: the tag '!!binary' is not read"),
    ("a: !!set {x}", ":1: the tag '!!set' is not read"),
    ("a: !!timestamp 2001-99-99", ":1: the tag '!!timestamp' is not read"),
    ("a: !!python/object/apply:os.system [x]", ":1: the tag '!!python/object/apply:os.system' is not read"),
    ("\na: " + "[" * 5000, ":2: it is nested deeper than 40 levels"),
    ("- " * 60 + "x", ":1: it is nested deeper than 40 levels"),
    ("? [a]\n: b", ":1: a key must be a word"),
    ("a: \x1b", ":1: not valid YAML: the character U+001B is not allowed"),
    ("a: \ud800", ":1: not valid YAML: the character U+D800 is not allowed"),
    ('a: "\\ud800"', ":1: '\\ud800' holds half a character"),
    ('a: "x\\0y"', ":1: text must not hold the character U+0000"),
    ("a: 1\n---\nb: 2", ":2: not valid YAML"),
    ("a: [1", ":1: not valid YAML"),
    ("a\tb: [\n@", ":1: not valid YAML"),
    (b"a: 1\nb: \xff", ":2: not UTF-8 text (byte 0xff): save the file as UTF-8"),
    ("a: " + "x" * MAX_BYTES, ": larger than 1 MiB"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_refused_is_told_with_the_line_and_at_once(text: str | bytes, message: str) -> None:
    started = time.process_time()
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, "r.yaml", RecipeError)
    assert time.process_time() - started < 10  # seconds, not the age of the universe
    assert f"r.yaml{message}" in str(caught.value)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name: 2001-99-99", {"name": "2001-99-99"}),
        ("name: 2001-01-01", {"name": "2001-01-01"}),
        (
            "a: '017'\nb: \"1:30\"\nc: 10\nd: 0\ne: 0.5\nf: 0x1f",
            {"a": "017", "b": "1:30", "c": 10, "d": 0, "e": 0.5, "f": 31},
        ),
        ("name: =", {"name": "="}),
        (
            "a: 1e-3\nb: -5E-1\nc: 2e5\nd: 1.5e3\ne: .5e+1\nf: 1.e1",
            {"a": 0.001, "b": -0.5, "c": 200000.0, "d": 1500.0, "e": 5.0, "f": 10.0},
        ),
        # Checksums, as files of earlier versions have them without quotes, and other words.
        (
            "a: 123456789012e345\nb: 12345e6789012345\nc: 1e\nd: 1e5f\ne: e5\nf: 1e-3 g",
            {"a": "123456789012e345", "b": "12345e6789012345", "c": "1e", "d": "1e5f", "e": "e5", "f": "1e-3 g"},
        ),
        ("'on': 1\n'~': 2\n3: 4", {"on": 1, "~": 2, 3: 4}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        ("a: &x [1]\nb: [*x, *x]", {"a": [1], "b": [[1], [1]]}),
        ('a: "\\ud83d\\ude00"', {"a": "😀"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1".encode("utf-16"), {"a": 1}),
        ("a: 9007199254740993", {"a": 9007199254740993}),
        ("", None),
    ],
)
def test_what_is_meant_is_read(text: str | bytes, value: Any) -> None:
    assert parse_yaml(text, "x")[0] == value


@pytest.mark.parametrize(
    ("text", "override"),
    [
        ("a: {x: &s [0, 1]}\nb: {x: *s}", "a.x.0=7"),
        ("a: {x: &s [0, 1]}\nb: {x: *s}", "b.x.0=7"),
        ("a: &s {x: [0, 1]}\nb: *s", "a.x.0=7"),
        ("a: &s {x: [0, 1]}\nb: {<<: *s}", "a.x.0=7"),
        ("a: &s {x: [0, 1]}\nb: {<<: [*s]}", "b.x.0=7"),
        ("a: {x: &s [0, 1]}\nb: &t {x: *s}\nc: *t", "b.x.0=7"),
    ],
)
def test_an_override_changes_one_place_of_what_an_alias_repeats(tmp_path: Path, text: str, override: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    document, tree = read_document(tmp_path / "c.yaml", [override])
    changed = override[0]
    assert {name: section["x"] for name, section in document.items()} == {
        name: [7 if name == changed else 0, 1] for name in document
    }
    for name in document:
        where = problem_at((name, "x", 0), "odd", "c.yaml", tree)
        assert where.startswith(f"--set {override.partition('=')[0]}: " if name == changed else "c.yaml:")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
@example("1e-3")
@example({"12e45": [".5e1", "-1E+2", "1.e1", "1e5"]})
def test_what_is_written_is_read_again(document: Any) -> None:
    text = dump_yaml(document)
    read = parse_yaml(text, "x")[0]
    assert read == document and repr(read) == repr(document)  # text as text
    assert yaml.safe_load(text) == document
    assert not any(character in text for character in "\x1b\x07\x9b\u202e\u2066")


@given(PLAIN)
def test_json_is_read_as_json(document: Any) -> None:
    assert parse_json(json.dumps(document), "x") == document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' stands twice"),
        ('{"a": NaN}', "the number NaN is not allowed"),
        ('{"a": -Infinity}', "the number -Infinity is not allowed"),
        ('{"a": 1e999}', "infinity"),
        ('{"a": ' + "9" * 5000 + "}", "is not allowed"),
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH}"),
        ("[" * 60 + "]" * 60, f"nested deeper than {MAX_DEPTH}"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": "\\u0000"}', "U+0000"),
        ('{\n"a": 1,}', ":2: not valid JSON"),
    ],
)
def test_json_is_held_to_the_same(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"r\.json") as caught:
        parse_json(text, "r.json")
    assert message in str(caught.value)


def test_a_recipe_is_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    recipe = {"steps": [{"operator": "source_filter", "params": {"sources": ["数据 😀"]}}]}
    path.write_text(json.dumps(recipe), encoding="utf-8")
    assert Recipe.load(path).steps[0].params == {"sources": ["数据 😀"]}
    as_yaml = tmp_path / "r.yaml"
    as_yaml.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    assert Recipe.load(as_yaml).hash == Recipe.load(path).hash


def test_files_for_other_libraries_are_held_to_the_limits_only(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("task: x\ndoc_to_text: !function utils.text\nn: .inf\n")
    check_yaml(path)
    path.write_text(f"task: {bomb()}")
    with pytest.raises(ConfigError, match=r"task\.yaml:1: lists and aliases"):
        check_yaml(path)


MINIMAL = {"pool": {"path": "p"}, "model": {"path": "m"}, "tasks": [{"name": "t", "dev": "d.jsonl"}]}


def with_override(tmp_path: Path, override: str, text: str | None = None) -> dict[str, Any]:
    path = tmp_path / "c.yaml"
    path.write_text(text or yaml.safe_dump(MINIMAL))
    return read_document(path, [override])[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks.foo.bar=1", "'foo' is not an index of the list (it has 1 entries, counted from 0)"),
        ("tasks.9.name=x", "'9' is not an index of the list"),
        ("tasks.-1.name=x", "'-1' is not an index of the list"),
        ("tasks.1=x", "'1' is not an index of the list"),
        ("tasks.²=x", "'²' is not an index"),
        ("tasks." + "9" * 5000 + "=x", "is not an index of the list"),
        ("tasks.0.name.x=1", "'name' is not a section"),
        ("a..b=1", "is no key"),
        (".=1", "is no key"),
        ("a.=1", "is no key"),
        ("=1", "expected key=value"),
        ("a", "expected key=value"),
        (".".join("a" * 100) + "=1", "is no key"),
        ("name=[1", "not valid YAML"),
        ("name=!!binary x", "the tag '!!binary' is not read"),
        ("name=.inf", "infinity"),
        (f"name={bomb()}", "lists and aliases stand for more than"),
    ],
)
def test_a_wrong_override_is_a_sentence(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match="--set") as caught:
        with_override(tmp_path, override)
    assert message in str(caught.value) and len(str(caught.value)) < 400


def test_overrides_reach_lists_and_empty_sections(tmp_path: Path) -> None:
    assert with_override(tmp_path, "tasks.0.name=y")["tasks"][0]["name"] == "y"
    assert with_override(tmp_path, "tasks=[{name: z, dev: e}]")["tasks"] == [{"name": "z", "dev": "e"}]
    assert with_override(tmp_path, "evaluation.device=cpu", "evaluation:\n")["evaluation"] == {"device": "cpu"}
    assert with_override(tmp_path, "name=2001-99-99")["name"] == "2001-99-99"


@pytest.mark.parametrize("value", ["inf", "nan", "1e999", "-inf"])
def test_no_setting_is_infinite(value: str) -> None:
    document = {**MINIMAL, "pool": {"path": "p", "contamination_limit": value}}
    with pytest.raises(ConfigError, match=r"pool\.contamination_limit"):
        validate(StudyConfig, document, "c.yaml")
    document = {**MINIMAL, "evaluation": {"sft": {"learning_rate": value}}}
    with pytest.raises(ConfigError, match="learning_rate"):
        validate(StudyConfig, document, "c.yaml")


def test_the_reader_takes_the_suffix_as_the_format(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("a: 1")
    with pytest.raises(ConfigError, match="not valid JSON"):
        read_yaml(path)
