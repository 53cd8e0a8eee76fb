"""A selected subset in the forms that trainers read."""

from __future__ import annotations

from autoselection.export.card import DatasetCard, render_card
from autoselection.export.dropped import export_dropped
from autoselection.export.export import (
    ExportReport,
    export_hf_dataset,
    export_messages,
    export_rows,
    export_sharegpt,
    export_subset,
)
from autoselection.export.inputs import check_not_read
from autoselection.export.layouts import LAYOUTS, Layout, LayoutName
from autoselection.export.target import FormatName, Target, export_target

__all__ = [
    "LAYOUTS",
    "DatasetCard",
    "ExportReport",
    "FormatName",
    "Layout",
    "LayoutName",
    "Target",
    "check_not_read",
    "export_dropped",
    "export_hf_dataset",
    "export_messages",
    "export_rows",
    "export_sharegpt",
    "export_subset",
    "export_target",
    "render_card",
]
