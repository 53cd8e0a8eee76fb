"""A selected subset in the forms that trainers read."""

from __future__ import annotations

from autoselection.export.axolotl import export_axolotl
from autoselection.export.card import DatasetCard, render_card
from autoselection.export.dataset_folder import export_hf_dataset
from autoselection.export.dropped import export_dropped
from autoselection.export.export import export_messages, export_rows, export_subset
from autoselection.export.inputs import check_not_read
from autoselection.export.layouts import LAYOUTS, CannotHold, Layout, LayoutName
from autoselection.export.llamafactory import export_sharegpt, llamafactory_row
from autoselection.export.push import Pushed, push_dataset
from autoselection.export.target import FormatName, Target, export_target
from autoselection.export.written import ExportReport

__all__ = [
    "LAYOUTS",
    "CannotHold",
    "DatasetCard",
    "ExportReport",
    "FormatName",
    "Layout",
    "LayoutName",
    "Pushed",
    "Target",
    "check_not_read",
    "export_axolotl",
    "export_dropped",
    "export_hf_dataset",
    "export_messages",
    "export_rows",
    "export_sharegpt",
    "export_subset",
    "export_target",
    "llamafactory_row",
    "push_dataset",
    "render_card",
]
