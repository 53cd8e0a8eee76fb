"""Methods that choose a mixture, replayed on a table of real runs; see :mod:`benchmarks.mixtures.__main__`."""
