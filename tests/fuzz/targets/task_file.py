from tests.fuzz.harness import Target, as_file

from autoselection.tasks import TaskConfig, items_fingerprint, load_items


def read(data: bytes) -> None:
    """A task file; what it gives can be shown, and hashed."""
    items = load_items(TaskConfig(name="t", dev=as_file(data, "dev.jsonl")), "dev")
    assert items
    for item in items:
        assert item.question() and item.reference()
        f"{item.question()}{item.accepted()}".encode()
    items_fingerprint(items)


TARGET = Target(
    "task_file",
    read,
    (
        b'{"id": "1", "prompt": "p", "answer": "a", "aliases": ["b", "c"], "rationale": "r"}\n',
        b'{"id": "1", "prompt": "p", "answer": "B", "choices": ["x", "y"], "subtask": "s", "options_in_prompt": true}\n\n'
        b'{"id": "2", "prompt": "q", "answer": "yes"}',
    ),
    (b'"id": ', b'"answer": ', b'"aliases": [', b'"choices": [', b'"prompt": ', b'"B"', b"\xe9"),
)
