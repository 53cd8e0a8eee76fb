"""Synthetic traces of tool calls and reasoning with planted faults: what ``trace_faults`` finds of them."""
