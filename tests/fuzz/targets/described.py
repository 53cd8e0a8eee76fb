"""Descriptions of data sets, LLaMA-Factory's and Axolotl's, and a row read by them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.harness import Target

from autoselection.errors import PoolError
from autoselection.pool import formats
from autoselection.pool.inputs import expand
from autoselection.pool.row_error import RowError
from autoselection.pool.turns import Reading

_ROWS: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "train": 0}], "system": "s"},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "tools": "[]"},
    {"instruction": "q", "input": "", "output": "a", "history": [["q", "a"]]},
    {"messages": [{"role": 3}], "conversations": "[1", "instruction": 5},
)


def _parse(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows.jsonl").write_text("{}\n")
        described = folder / ("dataset_info.json" if data.lstrip()[:1] == b"{" else "axolotl.yaml")
        described.write_bytes(data)
        try:
            inputs = expand(described, None)
        except PoolError as error:
            assert str(error)
            return
        for dialect in (one.dialect for one in inputs if one.dialect is not None):
            for row in _ROWS:
                try:
                    formats.convert(dialect.base, dialect.rewrite(row, Counter()), Reading())
                except RowError as error:
                    assert str(error)


_INFO = {
    "a": {
        "file_name": "rows.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "system": "system", "tools": "tools", "kto_tag": "x", "images": "y"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
}

TARGET = Target(
    "described",
    _parse,
    (
        json.dumps(_INFO).encode(),
        b'{"a": {"file_name": "rows.jsonl", "ranking": true, "columns": {"prompt": "instruction", "chosen": "output"}}}',
        b"datasets:\n- path: rows.jsonl\n  type: chat_template\n  roles: {assistant: [gpt], user: [human]}\n"
        b"  message_property_mappings: {role: from, content: value}\n  field_messages: conversations\n  roles_to_train: [gpt]\n",
        b"datasets:\n- path: json\n  data_files: [rows.jsonl]\n  type: {field_instruction: instruction, field_output: output}\n",
        b"datasets:\n- {path: rows.jsonl, type: chat_template, message_field_training: train, drop_system_message: true}\n",
        b"dataset: a\ndataset_dir: .\n",
    ),
    (b"null", b"[1]", b"{}", b"ranking: true", b"split: train", b"tags", b"columns", b"roles", b"type: "),
    share=0.3,
)
