"""Tokens a second of training, scoring and signals, side by side; see :mod:`benchmarks.throughput.__main__`."""
