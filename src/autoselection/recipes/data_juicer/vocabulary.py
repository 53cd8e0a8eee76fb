"""What Data-Juicer calls things: its filters with their ranges and parameters, and what is said of what has no counterpart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoselection.errors import RecipeError

_WORDS = ("lang", "tokenization", "use_words_aug", "words_aug_group_sizes", "words_aug_join_char")
#: Data-Juicer's range of each filter: names and defaults of its ends; None leaves one open.
ENDS: Mapping[str, tuple[tuple[str, float] | None, tuple[str, float] | None]] = {
    "alphanumeric_filter": (("min_ratio", 0.25), ("max_ratio", math.inf)),
    "average_line_length_filter": (("min_len", 10), ("max_len", math.inf)),
    "character_repetition_filter": (("min_ratio", 0.0), ("max_ratio", 0.5)),
    "flagged_words_filter": (("min_ratio", 0.0), ("max_ratio", 0.045)),
    "language_id_score_filter": (("min_score", 0.8), None),
    "llm_perplexity_filter": (("min_score", 1.0), ("max_score", 100.0)),
    "maximum_line_length_filter": (("min_len", 10), ("max_len", math.inf)),
    "perplexity_filter": (("min_ppl", 0), ("max_ppl", 1500)),
    "special_characters_filter": (("min_ratio", 0.0), ("max_ratio", 0.25)),
    "stopwords_filter": (("min_ratio", 0.3), ("max_ratio", 1.0)),
    "text_action_filter": (("min_action_num", 1), None),
    "text_length_filter": (("min_len", 10), ("max_len", math.inf)),
    "token_num_filter": (("min_num", 10), ("max_num", math.inf)),
    "word_repetition_filter": (("min_ratio", 0.0), ("max_ratio", 0.5)),
    "words_num_filter": (("min_num", 10), ("max_num", math.inf)),
}
#: Other parameters that Data-Juicer 1.6.1 knows of these filters: they change the statistic.
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "alphanumeric_filter": ("tokenization",),
    "character_repetition_filter": ("rep_len",),
    "flagged_words_filter": (*_WORDS, "flagged_words_dir"),
    "language_id_score_filter": ("lang",),
    "llm_perplexity_filter": ("hf_model", "model_params", "query_template", "response_template"),
    "perplexity_filter": ("lang",),
    "stopwords_filter": (*_WORDS, "stopwords_dir"),
    "text_action_filter": ("lang",),
    "token_num_filter": ("hf_tokenizer",),
    "word_repetition_filter": ("lang", "tokenization", "rep_len"),
    "words_num_filter": ("lang", "tokenization"),
}
#: Statistics that cannot be below this: a lower end there cuts nothing.
LOWEST = 0.0
#: What a text key of Data-Juicer means here.
PARTS = {
    **dict.fromkeys(("text", "messages", "conversations"), "row"),
    **dict.fromkeys(("query", "instruction", "prompt", "input", "question"), "prompt"),
    **dict.fromkeys(("response", "output", "completion", "answer"), "response"),
}
KEYS = {"row": "text", "prompt": "query", "response": "response"}
#: Parameters of every operator there that decide nothing about which rows stay.
TECHNICAL = frozenset(
    [
        "accelerator",
        "num_proc",
        "cpu_required",
        "gpu_required",
        "mem_required",
        "turbo",
        "batch_size",
        "skip_op_error",
        "work_dir",
        "ray_execution_mode",
        "stats_export_path",
        "show_num",
        "num_cpus",
        "num_gpus",
        "memory",
        "runtime_env",
        "auto_op_parallelism",
        "index_key",
        "history_key",
        "system_key",
    ]
)
STATS = "__dj__stats__."
GROUPS = {
    "mapper": "it changes texts, and a recipe only selects rows",
    "aggregator": "it joins rows, and a recipe only selects them",
    "grouper": "it joins rows, and a recipe only selects them",
    "formatter": "it makes rows, and a recipe only selects them",
    "pipeline": "it makes or changes rows, and a recipe only selects them",
}


@dataclass(frozen=True)
class Unmapped:
    """What has no counterpart.

    Attributes:
        place: number of the operator or step, from 1.
        name: of the operator.
        why: in a clause.
    """

    place: int
    name: str
    why: str

    def sentence(self) -> str:
        """For people."""
        return f"{self.place}. {self.name}: {self.why}."


class NoCounterpart(Exception):
    """Why an operator cannot be said in the other's words."""


def refuse(where: str, what: str, unmapped: Sequence[Unmapped], partial: bool) -> None:
    if unmapped and not partial:
        told = " ".join(each.sentence() for each in unmapped)
        raise RecipeError(f"{where}: {what.format(len(unmapped))} (--partial leaves out what has none): {told}")
