"""Keys of earlier versions: old folders open, fingerprints stay, and who writes such a key today is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoselection import former_keys
from autoselection.config import SEAL, StudyConfig, load_config, parse_config
from autoselection.errors import ConfigError, StudyError
from autoselection.ledger.settings import settings_digest
from autoselection.reproduce.config import ReproductionConfig
from autoselection.reproduce.results import plan_settings
from autoselection.study import Study

#: As a study's folder held it before any key became a constant or was moved: all keys with their defaults.
OLD = Path(__file__).with_name("former_config.yaml")
WRITTEN: dict[str, Any] = {
    "pool": {"path": "/p"},
    "model": {"path": "some/model"},
    "tasks": [{"name": "a", "dev": "/no/dev.jsonl"}],
    "search": {"llm": {"model": "m"}},
}
#: What a study of that time decided by, and says in its folder, where today's default is another.
THEN: dict[str, Any] = {"search": {**WRITTEN["search"], "surrogate": {"acquisition": "ucb"}}}


def config(**changes: Any) -> StudyConfig:
    return parse_config({**WRITTEN, **changes}, Path("/"))


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "journal.jsonl").touch()
    (path / "config.yaml").write_text(text)
    return path


def differing(old: Any, new: Any, key: str = "") -> list[str]:
    """Keys of an old document whose values a new one lacks or has otherwise."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [found for name in old for found in differing(old[name], new.get(name), f"{key}.{name}")]
    return [] if old == new else [key]


def test_an_old_study_opens_as_what_it_is_today(tmp_path: Path) -> None:
    assert Study(folder(tmp_path / "study", OLD.read_text())).config == config(**THEN)


def test_a_setting_that_is_no_more_needs_the_version_that_had_it(tmp_path: Path) -> None:
    text = OLD.read_text().replace("jitter: 0.08", "jitter: 0.2")
    told = r"config\.yaml: search\.zones\.jitter is 0\.2 in this study, but became a constant of 0\.08: go on with"
    with pytest.raises(StudyError, match=told):
        Study(folder(tmp_path / "study", text))


def test_patience_with_a_machine_decides_nothing_so_an_old_study_may_have_had_any(tmp_path: Path) -> None:
    text = OLD.read_text()
    for then, changed in (("give_up_after: 3", "9"), ("retry_pause: 1.0", "5.0")):
        assert then in text
        text = text.replace(then, f"{then.partition(':')[0]}: {changed}")
    assert Study(folder(tmp_path / "study", text)).config == config(**THEN)


def test_moved_settings_of_an_old_study_are_kept(tmp_path: Path) -> None:
    document = yaml.safe_load(OLD.read_text())
    document["search"] |= {"kappa": 1.5, "patience": 7}
    document["search"]["zones"]["zones"] = [{"name": "all", "low": 0.1, "high": 0.9}]
    search = Study(folder(tmp_path / "study", yaml.safe_dump(document))).config.search
    assert (search.surrogate.kappa, search.reseed.patience, search.zones[0].name) == (1.5, 7, "all")


def test_a_configuration_as_it_was_before_is_what_old_folders_hold() -> None:
    before = former_keys.as_before(config(**THEN).model_dump(mode="json"))
    assert differing(yaml.safe_load(OLD.read_text()), before) == []


def test_fingerprints_of_unchanged_settings_are_those_of_earlier_versions() -> None:
    """Figures of the version before; those of plans hold the search's settings, and are of the version that changed them."""
    served = {"engine": "openai", "endpoint": {"base_url": "http://x", "model": "m"}}
    roles = {"llm": {"model": "m", "base_url": "http://x"}}
    plan = ReproductionConfig.model_validate({"name": "r", "models": [{"name": "m", "study": "/s.yaml"}]})
    plain, openai, llm = config(search={}), config(search={}, evaluation=served), config(search=roles)
    assert settings_digest(plain, "p") == settings_digest(llm, "p") == "fc3b585f4957"
    assert settings_digest(openai, "p") == "5ff92eff72bc"
    assert plan_settings(plan, plain, "main", "s") == "983801ae20ec"
    assert plan_settings(plan, llm, "ablation", "s") == "dfecf0ebea7d"


def test_the_copy_in_an_old_study_can_be_given_as_a_configuration(tmp_path: Path) -> None:
    copy = tmp_path / "config.yaml"
    copy.write_text(OLD.read_text() + f"{SEAL}0\n")
    assert load_config(copy) == config(**THEN)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "search.reseed.tries=20",
            r"search\.reseed\.tries: this became a constant \(20\) and is no key any more: leave it out\.",
        ),
        ("search.zones.jitter=0.2", r"search\.zones\.jitter: this became a constant \(0\.08\)"),
        ("search.kappa=2", r"search\.kappa: this key is now 'search\.surrogate\.kappa'\."),
        ("search.zones.zones=[]", r"search\.zones\.zones: this key is now 'search\.zones'\."),
    ],
)
def test_a_former_key_in_a_file_is_refused_with_what_became_of_it(tmp_path: Path, override: str, told: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(WRITTEN))
    with pytest.raises(ConfigError, match=told):
        load_config(path, [override])


def test_the_line_of_a_former_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**WRITTEN, "search": {"evaluations": 3, "patience": 2}}, sort_keys=False))
    with pytest.raises(ConfigError, match=r"study\.yaml:10: search\.patience: this key is now"):
        load_config(path)
