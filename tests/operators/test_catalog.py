from __future__ import annotations

from pathlib import Path

from autoselection.operators import builtin_operators, document

DOCS = Path(__file__).parents[2] / "docs" / "operators.md"
COMMAND = """python -c 'from autoselection.operators import document; print(document(), end="")' > docs/operators.md"""


def test_the_operator_reference_is_current():
    assert DOCS.read_text(encoding="utf-8") == document(), COMMAND


def test_the_reference_names_every_operator_and_parameter():
    text = document()
    for operator in builtin_operators():
        assert f"## {operator.name}\n" in text
        assert all(f"| `{param.name}` |" in text for param in operator.params)
