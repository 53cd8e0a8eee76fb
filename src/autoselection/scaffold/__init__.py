"""Packages to begin with: an operator, a signal or a trainer of one's own, registered and tested."""

from autoselection.scaffold.plugin import KINDS, PluginKind, write_plugin

__all__ = ["KINDS", "PluginKind", "write_plugin"]
