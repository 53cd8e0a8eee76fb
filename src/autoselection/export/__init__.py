"""A selected subset in the forms that trainers read."""

from __future__ import annotations

from autoselection.export.card import DatasetCard, render_card
from autoselection.export.export import ExportReport, export_hf_dataset, export_messages, export_sharegpt

__all__ = [
    "DatasetCard",
    "ExportReport",
    "export_hf_dataset",
    "export_messages",
    "export_sharegpt",
    "render_card",
]
