"""Pages are looked at in a real browser."""

from browser import chromium, opened

__all__ = ["chromium", "opened"]
