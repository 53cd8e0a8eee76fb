"""The three roles, as the search calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from autoselection.errors import ConfigError
from autoselection.llm.answers import (
    MAX_SUMMARY,
    AnswerError,
    ProposedRecipes,
    ProposerAnswer,
    RankerAnswer,
    SummariserAnswer,
    WeighingProposerAnswer,
    printable,
    read_answer,
)
from autoselection.llm.endpoint import Endpoint
from autoselection.llm.exchanges import ExchangeLog
from autoselection.llm.prompts import load_prompt
from autoselection.llm.recipes import Suggestions, read_suggestions, searched_params
from autoselection.llm.role_conversation import RoleConversation, RoleFailed
from autoselection.llm.source_names import SourceNames
from autoselection.llm.view import View, document
from autoselection.search.llm_config import RANKED, LLMConfig
from autoselection.search.roles import Briefing, Choice, Option, RoleReply, Roles, Suggestion
from autoselection.search.space import RecipeSpace
from autoselection.signals import SignalTable


def build_roles(config: LLMConfig | None, signals: SignalTable, log: Path | None = None) -> Roles | None:
    """The configured roles, or None without a language model.

    Args:
        signals: the pool's signals.
        log: file of the exchanges; what stands in it is replayed, not asked. None: they are kept in memory.

    Raises:
        ConfigError: no model or key is named, or examples are wanted and the texts are missing.
        MissingExtraError: the package ``openai`` is not installed.
        StudyError: the log is damaged.
    """
    if config is None:
        return None
    if config.include_examples and signals.texts is None:
        raise ConfigError("search.llm.include_examples: the rows' texts are not at hand here; set it to 0.")
    conversation = RoleConversation(Endpoint(config), ExchangeLog(log))
    names = SourceNames(signals.source_names, config.source_names)
    view = View(config, names)
    return Roles(
        propose=ModelProposer(conversation, view) if "proposer" in config.roles else None,
        summarise=ModelSummariser(conversation, view) if "summariser" in config.roles else None,
        rank=ModelRanker(conversation, view) if "ranker" in config.roles else None,
        top=RANKED,
    )


class ModelProposer:
    """Proposes recipes; see :class:`autoselection.search.roles.Roles`."""

    def __init__(self, conversation: RoleConversation, view: View) -> None:
        self.conversation = conversation
        self.view = view

    def __call__(self, briefing: Briefing) -> RoleReply[tuple[Suggestion, ...]]:
        config = self.conversation.endpoint.config
        prompt = load_prompt("proposer")
        told = self.view.history(briefing)
        data = {
            "operators": self.view.operators(briefing.space, trials=bool(told["evaluated"])),
            **told,
            "being_evaluated": self.view.pending(briefing.pending, briefing),
            "summary": briefing.summary,
        }
        system = prompt.fill(proposals=config.proposals, max_steps=briefing.config.max_steps)

        def read(text: str) -> Suggestions:
            answer = read_answer(ProposedRecipes, text)
            return read_suggestions(answer, briefing, self.view.names, config.proposals)

        try:
            found, repaired = self.conversation.consult(
                briefing.number,
                "proposer",
                prompt,
                _messages(system, document(data) + self.view.examples(briefing)),
                _form(briefing.space),
                read,
            )
        except RoleFailed as failure:
            return RoleReply(None, {"llm proposer": f"fell back to the rules: {failure}"})
        said = f"{len(found.kept)} recipes joined the rules' proposals"
        if found.adjusted:
            said += f", {found.adjusted} parameters moved into the space"
        if found.refused:
            said += f", {len(found.refused)} refused ({found.refused[0].rstrip('.')})"
        return RoleReply(found.kept, {"llm proposer": said + _mended(repaired)})


def _form(space: RecipeSpace) -> type[BaseModel]:
    """What a proposer's answer is asked to be."""
    weighs = any(param.kind == "weights" for name in space.names for param in searched_params(space, name))
    return WeighingProposerAnswer if weighs else ProposerAnswer


class ModelSummariser:
    """Sums the trials up for the proposer."""

    def __init__(self, conversation: RoleConversation, view: View) -> None:
        self.conversation = conversation
        self.view = view

    def __call__(self, briefing: Briefing) -> RoleReply[str]:
        prompt = load_prompt("summariser")

        def read(text: str) -> str:
            summary = printable(read_answer(SummariserAnswer, text).summary, MAX_SUMMARY)
            if not summary:
                raise AnswerError("the summary is empty.")
            return summary

        try:
            summary, repaired = self.conversation.consult(
                briefing.number,
                "summariser",
                prompt,
                _messages(prompt.fill(), document(self.view.history(briefing))),
                SummariserAnswer,
                read,
            )
        except RoleFailed as failure:
            return RoleReply(None, {"llm summariser": f"fell back to the rules: {failure}"})
        return RoleReply(summary, {"llm summariser": summary + _mended(repaired)})


class ModelRanker:
    """Orders the leading proposals."""

    def __init__(self, conversation: RoleConversation, view: View) -> None:
        self.conversation = conversation
        self.view = view

    def __call__(self, briefing: Briefing, options: Sequence[Option]) -> RoleReply[tuple[Choice, ...]]:
        prompt = load_prompt("ranker")
        told = self.view.history(briefing)
        data = {
            **{name: told[name] for name in ("pool_rows", "evaluations", "evaluated", "findings")},
            "parent": briefing.parent.id,
            "options": [self.view.option(place, option, briefing) for place, option in enumerate(options, 1)],
        }

        def read(text: str) -> tuple[Choice, ...]:
            places = read_answer(RankerAnswer, text).ranking
            known = [place for place in places if 1 <= place.option <= len(options)]
            if not known:
                raise AnswerError(f"it names no option; the options are 1 to {len(options)}.")
            return tuple(Choice(p.option - 1, printable(p.reason) or "no reason given") for p in known)

        try:
            choices, repaired = self.conversation.consult(
                briefing.number, "ranker", prompt, _messages(prompt.fill(), document(data)), RankerAnswer, read
            )
        except RoleFailed as failure:
            return RoleReply(None, {"llm ranker": f"fell back to the rules: {failure}"})
        return RoleReply(choices, {"llm ranker": f"ordered {len(options)} proposals" + _mended(repaired)})


def _messages(system: str, data: str) -> list[Mapping[str, str]]:
    # The form of the answer once more, behind the data: weak models have forgotten it by then.
    form = system.rsplit("\n", 1)[-1]
    data += f"\n\nThat was the data. Answer now with one JSON object of this form and nothing else:\n{form}"
    return [{"role": "system", "content": system}, {"role": "user", "content": data}]


def _mended(repaired: bool) -> str:
    return " (after one repair)" if repaired else ""
