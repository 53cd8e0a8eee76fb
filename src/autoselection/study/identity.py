"""What a study is about besides its pool and its settings, by content: model, tokenizer, chat template, SAE and task items.

The scores of a study are of one kind only as long as all of these stay the same. So the journal notes their fingerprints,
and a study that goes on compares them; the pool and its signals have fingerprints of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import get_args

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.language.chat import ChatOptions
from autoselection.language.models import model_parts, resolve_model
from autoselection.ledger.journal import Journal
from autoselection.progress import console
from autoselection.search.levels import model_names
from autoselection.signals.families.sae import read_sae_info, sae_fingerprint
from autoselection.tasks import Split, items_fingerprint, load_items

#: Event that adds to the fingerprints of the opening event.
EVENT = "identity"


def study_identity(config: StudyConfig) -> dict[str, str]:
    """Fingerprints of what decides scores, by names for people; a split whose file is not needed yet may be missing.

    Large weight files are sampled, see :func:`autoselection.language.models.model_fingerprint`.

    Raises:
        ConfigError, EvaluationError, SignalError: something is missing or cannot be read.
    """
    found = dict(model_parts(config.model.path, code=config.model.trust_remote_code))
    for name, entry in zip(model_names(config.search.fidelity), config.search.fidelity.models, strict=True):
        parts = model_parts(entry.path, code=config.model.trust_remote_code)
        found |= {f"{part} of {name}": fingerprint for part, fingerprint in parts.items()}
        if entry.chat_template is not None:
            own = ChatOptions(entry.chat_template).text(resolve_model(entry.path))
            found[f"chat template of {name}"] = hashlib.blake2b(str(own).encode(), digest_size=16).hexdigest()
    options = config.model.chat_options()
    text, besides = options.text(resolve_model(config.model.path)), options.besides()
    if text is not None or besides:
        whole = "".join([text or "", *besides])
        found["chat template"] = hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()
    if config.sae is not None:
        found["SAE"] = sae_fingerprint(read_sae_info(config.sae))
    for task in config.tasks:
        for split in get_args(Split):
            if (split == "test" and not config.final.enabled) or (split == "target" and not task.brings(split)):
                continue
            items = load_items(task, split)
            found[f"task {task.name}/{split}"] = items_fingerprint(items)
            if task.fewshot:  # subtasks choose the examples; a part of its own, so that studies begun without it go on
                found[f"subtasks of {task.name}/{split}"] = items_fingerprint(items, subtasks=True)
    return found


def check_identity(journal: Journal, identity: Mapping[str, str]) -> None:
    """Compare what a study is about with what its journal notes, and note what is not there yet.

    Raises:
        StudyError: something changed since it was noted.
    """
    opening = journal.of("study")
    if not opening:
        return
    known: dict[str, str] = dict(opening[0].get("identity", {}))
    for event in journal.of(EVENT):
        known |= event["parts"]
    changed = [name for name, value in identity.items() if name in known and known[name] != value]
    if changed:
        raise StudyError(
            f"{journal.path.parent}: since the study was started, these changed: {', '.join(changed)}. Scores "
            "from before and after cannot be compared: restore the files, or start a new study in another folder."
        )
    new = {name: value for name, value in identity.items() if name not in known}
    if new:
        if not known:
            console.say(
                "The study was started by an older version, which did not record the contents of its model, tokenizer, "
                "SAE and tasks: they are recorded now, and compared from now on."
            )
        journal.append(EVENT, parts=new)
