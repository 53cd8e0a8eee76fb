"""What the user names, as files to read: files, dataset folders, and descriptions of data beside it.

LLaMA-Factory's ``dataset_info.json`` and Axolotl's YAML say which files there are and what their fields mean; both become
an ``Input`` a file, with a dialect that rewrites its rows.
"""

from autoselection.pool.inputs.base import Input
from autoselection.pool.inputs.expand import expand, is_description

__all__ = ["Input", "expand", "is_description"]
