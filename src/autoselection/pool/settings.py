"""How messages name the settings of an ingest: by the option of the command and by the key of a configuration."""

from __future__ import annotations


def setting(name: str, value: str | None = None) -> str:
    """``--encoding cp1252 (in a configuration: pool.ingest.encoding)``: who reads it may have given either."""
    given = "" if value is None else f" {value}"
    return f"--{name.replace('_', '-')}{given} (in a configuration: pool.ingest.{name})"
