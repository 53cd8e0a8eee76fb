"""Exports: files of rows in several layouts, and what else goes where by name and format.

Rows are written in the order given, a batch at a time. Every file or folder appears at its place when it is whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import count
from pathlib import Path

import pyarrow as pa

from autoselection.export.axolotl import export_axolotl
from autoselection.export.card import DatasetCard
from autoselection.export.containers import has_types, open_container
from autoselection.export.dataset_folder import export_hf_dataset
from autoselection.export.layouts import IDENTITY, LAYOUTS, LayoutName
from autoselection.export.llamafactory import export_sharegpt
from autoselection.export.target import DATASET_NAME, FormatName, export_target
from autoselection.export.written import ExportReport, Written, batches, remarks_on, shape_of
from autoselection.pool.own_columns import own_columns
from autoselection.pool.pool import Pool
from autoselection.pool.table import Rows


def export_subset(
    pool: Pool,
    rows: Rows | None,
    path: Path | str,
    format_name: FormatName | None = None,
    *,
    card: DatasetCard | None = None,
    columns: Collection[str] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write ``rows`` (all if None) in the form that :func:`export_target` tells, with the user's own columns.

    Args:
        card: of a dataset folder; a bare one without it.
        columns: the user's columns to write, and ``_file`` and ``_line``, where the row was read; None for all. Folders for
            LLaMA-Factory and Axolotl have none.
        overwrite: replace what an earlier export wrote there.

    Raises:
        ConfigError: see :func:`export_target`; the rows have no such column, or columns are named for a folder that has none.
        PoolError: a row is not in the pool.
    """
    path = Path(path)
    target = export_target(path, format_name, overwrite=overwrite)
    target.check_columns(columns)
    if target.kind == "file":
        return export_rows(pool, rows, path, target.layout, columns=columns, overwrite=overwrite)
    if target.kind == "hf":
        card = card or DatasetCard(title=path.name, recipe={})
        return export_hf_dataset(pool, rows, path, card, columns=columns, overwrite=overwrite)
    if target.kind == "axolotl":
        return export_axolotl(pool, rows, path)
    return export_sharegpt(pool, rows, path, DATASET_NAME)


def export_rows(
    pool: Pool,
    rows: Rows | None,
    path: Path | str,
    layout: LayoutName = "messages",
    *,
    columns: Collection[str] | None = None,
    marks: Mapping[str, Sequence[str | int | float | None]] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write ``rows`` (all if None) to one file of JSON Lines, JSON, CSV or Parquet, as its suffix says; ingest reads it.

    Arguments of calls are JSON text in files without types, as OpenAI has them, and objects in Parquet, as chat templates
    take them. Cells of CSV files are written as they are: a spreadsheet would run those that begin with ``=``, ``+``, ``-`` or
    ``@``, which the report tells of.

    Args:
        layout: messages, sharegpt, alpaca or prompt-completion.
        columns: the user's columns to write, and ``_file`` and ``_line``; None for all.
        marks: further columns, by name one value a row.
        overwrite: replace a file.

    Raises:
        ConfigError: the suffix is unknown, the file exists, or the rows have no such column.
        PoolError: a row is not in the pool.
    """
    path = Path(path)
    target = export_target(path, layout, overwrite=overwrite, file=True)
    form, wanted, marked = LAYOUTS[layout], pool.check_rows(rows), marks or {}
    own = own_columns(pool, wanted, columns, {*IDENTITY, *form.fields, *form.reserved, *marked})
    shape = shape_of(pool, wanted, form, target.container)
    types = {name: _mark_type(column) for name, column in marked.items()}
    schema = pa.schema([*IDENTITY.items(), *shape.fields().items(), *types.items(), *own.schema()])
    found = Written()
    with open_container(path, target.container, schema) as write:
        places = count()
        for part in batches(wanted):
            extras = own.values(pool, part, typed=has_types(target.container))
            for extra, place in zip(extras, places):  # noqa: B905 - one counts without end
                extra |= {name: column[place] for name, column in marked.items()}
            write(list(found.records(pool, part, shape.convert, extras, target.container)))
    return found.report(path, remarks_on(found, own, target.container, layout))


def _mark_type(values: Sequence[str | int | float | None]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {int, float}:
        return pa.string()
    return pa.float64() if float in kinds else pa.int64()


def export_messages(pool: Pool, rows: Rows | None, path: Path | str) -> ExportReport:
    """Write ``rows`` (all if None) as JSON Lines with ``id``, ``source``, ``messages`` and ``tools``; ingest reads it back.

    A file that is there is replaced.

    Raises:
        PoolError: a row is not in the pool.
    """
    return export_rows(pool, rows, path, columns=(), overwrite=True)
