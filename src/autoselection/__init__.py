"""AutoSelection: search for the ordered recipe that cuts the best fine-tuning set out of a fixed pool."""

from autoselection._version import __version__

__all__ = ["__version__"]
