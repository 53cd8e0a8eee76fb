from pathlib import Path

from tests.fuzz.harness import Target, as_file

from autoselection.config import load_config, parse_config, to_yaml
from autoselection.documents import parse_yaml


def read_config(data: bytes) -> None:
    """A configuration that is read can be written and read again as the same one."""
    config = load_config(as_file(data, "study.yaml"))
    text = to_yaml(config)
    assert parse_config(parse_yaml(text, "again")[0], Path("/")) == config


TARGET = Target(
    "config",
    read_config,
    (
        b"pool: {path: p}\nmodel: {path: m}\ntasks: [{name: t, dev: d.jsonl}]\n",
        b"version: 1\nname: s\npool:\n  files: [a.jsonl]\n  on_contamination: drop\nmodel: {path: m, chat_template: chatml}\n"
        b"tasks:\n- {name: t, target: t.jsonl, dev: d.jsonl, test: e.jsonl, metric: nll}\n",
        b"pool: {path: p}\nmodel: {path: m}\ntasks: &t [{name: t, dev: d}]\nsearch: {evaluations: 9, seed: 3, initial: [r.yaml]}\n"
        b"evaluation: {threads: 1, sft: {max_steps: 6, learning_rate: 1.0e-3}}\nincumbent: {recipe: none}\n",
        b"pool: {path: p}\nmodel: {path: m}\ntasks: [{name: t, dev: d}]\nsignals: {signals: [lengths], spacy_model: x}\n"
        b"executor: {workers: 2}\nfinal: {enabled: false, seeds: [0, 1]}\nexport: {hf_dataset: false}\n",
    ),
    (
        b"*t", b"&t ", b"!!int ", b".inf", b"2001-99-99", b"evaluation: {", b"search: {llm: {model: m, extra: {a: 1}}}",
        b"evaluations: 1.5", b"incumbent: {recipe: full}", b"tasks:\n", b"- ", b"  ", b"null", b"~", b"1e3", b"'", b"sft: {lora: {}}",
    ),
    share=0.3,
)  # fmt: skip
