"""Choices of settings, in a module of their own so that the configuration needs no model code."""

from typing import Literal

SaeValues = Literal["float16", "uint8", "float32"]
RewardScore = Literal["logit", "probability"]
RewardText = Literal["chat", "both", "pair", "response"]
