"""Published benchmark files into task files: ``autoselection benchmark NAME --source FILE --out DIR``. Never online."""

from __future__ import annotations

from autoselection.tasks.convert.convert import ConversionReport, convert
from autoselection.tasks.convert.formats import BENCHMARKS, BenchmarkFormat
from autoselection.tasks.convert.sources import ReadingOptions

__all__ = ["BENCHMARKS", "BenchmarkFormat", "ConversionReport", "ReadingOptions", "convert"]
