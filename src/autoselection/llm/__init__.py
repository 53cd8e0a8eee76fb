"""Language-model roles of the search: proposer, summariser and ranker over any OpenAI-compatible endpoint.

The rules stay in charge: whatever a model answers is checked against the search's space, repaired at most once, and
otherwise left to the rules. See docs/llm.md.
"""

from autoselection.llm.check import check_settings, endpoint_remark
from autoselection.llm.roles import build_roles

__all__ = ["build_roles", "check_settings", "endpoint_remark"]
