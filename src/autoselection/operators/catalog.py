"""The operator reference for people, written from the declarations."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from autoselection.operators.base import Operator, needs_in_words
from autoselection.operators.param import Param
from autoselection.operators.registry import OperatorRegistry

_HEAD = """# Operators

<!-- Written by autoselection.operators.document(); a test keeps it current. Do not edit. -->

A recipe is a list of steps, each an operator with parameters. A step gets the rows of the pool that the steps before it
left, in their order, and returns some of them in the order stated here; only `union` adds rows, and never a second copy.
A step that would leave nothing keeps the single best row; a recipe that a set operation names and of which nothing is left
has no rows for it. Ties are broken by row index.

- Exactly one parameter of a group (fraction, top_k, threshold) decides; giving two is an error.
- `fraction` counts rows that have a score, and is rounded up.
- `scope` says what a cut is made in: the `whole` subset, each `source`, the rows nearest to each `task` (highest MONA
  score, ties to the task first by name), each `cluster` of the pool, or the rows that call the same `tools` (never
  searched). Rows without any MONA score, without an embedding, or without a call, are a group of their own.
- Clusters are always those of the whole pool: spherical k-means of the sentence embeddings (of the SAE
  features if there are none), with a fixed seed and sqrt(N / 10) clusters for a pool of N rows, rounded to a power of
  two from 2 to 1,024.
- Rows without a score are dropped or kept as `missing` says and counted in the lineage; they are never scored 0.
- *Searched* parameters belong to the default search space; on a pool their ranges are narrowed to what makes sense for
  its size (`operator.space(signals)`).
- Random steps draw from the seed of the materialization, the operator's name and the number of earlier steps of the same operator.
"""


def document(registry: OperatorRegistry | None = None) -> str:
    """Markdown reference of all operators of a registry (default: the built-in ones)."""
    operators = (registry or OperatorRegistry()).operators()
    first: dict[tuple[str, ...], str] = {}  # operators by their parameters: equal ones are written out once
    sections = []
    for operator in operators:
        rows = tuple(_row(param, operator) for param in operator.params)
        sections.append(_section(operator, rows, same_as=first.setdefault(rows, operator.name)))
    return "\n".join([_HEAD, *_overview(operators), *sections])


def _overview(operators: Sequence[Operator]) -> list[str]:
    lines = ["| operator | does | family | searched by default |", "| --- | --- | --- | --- |"]
    for operator in operators:
        searched = "yes" if operator.searched else "no"
        lines.append(f"| [{operator.name}](#{operator.name}) | {operator.summary} | {operator.family} | {searched} |")
    return [*lines, ""]


def _section(operator: Operator, rows: Sequence[str], same_as: str) -> str:
    kind = "published" if operator.published else "ours"
    where = "in the default search space" if operator.searched else "outside the default search space"
    needs = ", ".join(needs_in_words(operator, "`")) or "none"
    lines = [
        f"## {operator.name}",
        "",
        f"{operator.summary[:1].upper()}{operator.summary[1:]}.",
        "",
        f"Family {operator.family}; {kind}; {where}{'; random' if operator.randomized else ''}.",
        f"Signals: {needs}{' (with the default parameters)' if _conditional(operator) else ''}.",
        f"Order: {operator.order}.",
        "",
        inspect.getdoc(type(operator)) or "",
        "",
    ]
    if rows and same_as != operator.name:
        return "\n".join([*lines, f"Parameters: those of [{same_as}](#{same_as}).", ""])
    head = ["| parameter | values | default | searched | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *head, *rows, ""])


def _conditional(operator: Operator) -> bool:
    return any(param.when is not None and param.when[1] for param in operator.params)


def _row(param: Param, operator: Operator) -> str:
    meaning = param.help
    if param.when is not None:
        meaning += f"; only with {' '.join([param.when[0], ' or '.join(param.when[1])]).strip()}"
    if param.group is not None:
        others = [f"`{other.name}`" for other in operator.params if other.group == param.group and other is not param]
        meaning += f"; instead of {' or '.join(others)}" if others else ""
    if param.default is not None:
        default = f"{param.default}"
    else:
        default = "unset" if param.group is not None or param.optional else "required"
    return f"| `{param.name}` | {param.domain} | {default} | {'yes' if param.searched else 'no'} | {meaning} |"
