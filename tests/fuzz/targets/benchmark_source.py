from pathlib import Path

from tests.fuzz.harness import Target, as_file

from autoselection.tasks.convert.convert import _drafts
from autoselection.tasks.convert.formats import BENCHMARKS
from autoselection.tasks.convert.sources import source_files


def _read(path: Path) -> None:
    for kind in BENCHMARKS.values():
        drafts, _, _ = _drafts(kind, source_files([str(path)]))
        for draft, _ in drafts:
            assert draft.prompt and (draft.answer or 0 <= draft.right < len(draft.choices))


def read(data: bytes) -> None:
    """A published file: the first byte says its kind; as every benchmark."""
    suffix = (".jsonl", ".json", ".csv")[data[0] % 3] if data else ".jsonl"
    _read(as_file(data[1:], f"source{suffix}"))


TARGET = Target(
    "benchmark_source",
    read,
    (
        b'3{"question": "q?", "answer": ["a", "b"], "choices": ["a", "b"]}\n{"question": "r?", "answer": {"value": "1,5", "aliases": []}}\n',
        b'4[{"Body": "b", "Question": "q", "Answer": 5.0}, {"question": "q", "answer": "w\\n#### 1,234"}]',
        b'4{"examples": [{"input": "i", "target": "(A)"}], "x": {"question": {"stem": "s", "choices": [{"label": "A", "text": "t"}]}}}',
        b'5question,answer\nq,"[\'a\', \'b\']"\nr,1.234\n',
        b'5"q, q",a,b,c,d,A\n"multi\nline",a,b,c,d,B\n',
    ),
    (b'"answer": ', b'"aliases": [', b'"choices": {', b'"value": ', b'"question": ', b"1,5", b"1.234", b"####", b"['", b"']", b"### Yes", b'"answerKey": '),
    share=0.3,
)  # fmt: skip
