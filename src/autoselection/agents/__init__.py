"""Agents: a study's tools for whoever decides what to evaluate from outside, over the Model Context Protocol.

An agent looks at the pool, tries recipes without training, and has a few of them trained and scored on dev. It spends the
study's own budget, its trials stand in the study's journal (origin ``agent``) and in the report, and nothing that it can
call reads the test split (:mod:`autoselection.agents.dev_only`).

- ``session``: a study that an agent works with; what may be proposed, and what is under way;
- ``evaluation``: the program that evaluates what was proposed, apart from the server, so that it outlives it;
- ``tools``: what can be called, with which arguments, and what it answers, as plain data;
- ``server``: the protocol.
"""
