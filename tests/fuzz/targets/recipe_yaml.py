from pathlib import Path

from tests.fuzz.harness import Target, as_file

from autoselection.recipes import Recipe


def read_recipe(path: Path) -> None:
    """A recipe that is read can be described, hashed, and written and read again as the same one."""
    recipe = Recipe.load(path)
    recipe.describe()
    recipe.dump(path.with_suffix(".again.yaml"))
    assert Recipe.load(path.with_suffix(".again.yaml")).hash == recipe.hash


WORDS = (
    b"*a", b"&a ", b"<<: *a", b"!!int ", b"!!python/object:x ", b"!!binary ", b".inf", b".nan", b"2001-99-99", b"1:59",
    b"- {operator: ", b"params: {", b"ifd_filter", b"union", b"source_recipe: ", b"fraction: 0.5", b"top_k: 9", b"---\n",
    b"recipes:\n", b"  ", b"? ", b"|-\n", b">\n", b"%YAML 1.2\n", b"weights: {a: 1}", b"sources: [a]",
)  # fmt: skip

TARGET = Target(
    "recipe_yaml",
    lambda data: read_recipe(as_file(data, "recipe.yaml")),
    (
        b"version: 1\nname: low\nsteps:\n  - operator: ifd_filter\n    params: {fraction: 0.65, direction: low}\n",
        b"steps:\n- {operator: source_filter, params: {sources: [&a chatter, b]}}\n- operator: semantic_dedup\n",
        b"steps:\n  - {operator: union, params: {source_recipe: s}}\nrecipes:\n  s: [{operator: truncate_samples}]\n",
        b"steps: [{operator: source_mix, params: {weights: {a: 2, b: 0.5}, other: 1, fraction: 0.25}}]\nfor: x\n",
        b"steps: [{operator: blend_filter, params: {weights: {ifd: -2, mona/a: 1e-3}, scope: source}}]\n",
        b"steps: [{operator: source_mix, params: {temperature: 3, groups: {column: topic}}}]\n",
        b"name: &x [a]\nsteps: [*x, {<<: {operator: length_filter}, params: {min: 10}}]\n",
    ),
    WORDS,
    share=0.5,
)
