"""Choices of settings and names of columns, in a module of their own so that the configuration needs no model code."""

from typing import Literal

SaeValues = Literal["float16", "uint8", "float32"]
RewardScore = Literal["logit", "probability"]
RewardText = Literal["chat", "both", "pair", "response"]

#: What a response may consist of, see ``Encoded.kinds``.
TOKEN_KINDS = ("answer", "reasoning", "call")
#: Columns of the signal ``token_kinds``: those of a response by each kind of its tokens.
KIND_COLUMNS = tuple(f"{column}_{kind}" for kind in TOKEN_KINDS for column in ("ifd", "varentropy", "loss"))
