"""Signals that are made of a pool's other signals when a recipe first asks for them: similar pairs, groups, clusterings."""
