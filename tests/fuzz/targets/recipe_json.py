from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets.recipe_yaml import read_recipe

TARGET = Target(
    "recipe_json",
    lambda data: read_recipe(as_file(data, "recipe.json")),
    (
        b'{"version": 1, "name": "low", "steps": [{"operator": "ifd_filter", "params": {"fraction": 6.5e-1}}]}',
        b'{"steps": [{"operator": "union", "params": {"source_recipe": "s"}}], "recipes": {"s": {"steps": []}}}',
        b'{"steps": [{"operator": "source_filter", "params": {"mode": "keep", "sources": ["\\ud83d\\ude00"]}}]}',
    ),
    (b'"operator": "', b'"params": {', b'"steps": [', b'"recipes": {', b'"fraction": 1E400', b'"sources": [""]'),
    share=0.7,
)
