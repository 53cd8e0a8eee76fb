"""Published benchmark files into task files: ``autoselection benchmark NAME --source FILE --out DIR``. Never online."""

from __future__ import annotations

from autoselection.evaluation.benchmarks.convert import ConversionReport, convert
from autoselection.evaluation.benchmarks.formats import BENCHMARKS, BenchmarkFormat
from autoselection.evaluation.benchmarks.sources import Reading

__all__ = ["BENCHMARKS", "BenchmarkFormat", "ConversionReport", "Reading", "convert"]
