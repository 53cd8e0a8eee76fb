"""The signals of this package, each with what it computes."""
