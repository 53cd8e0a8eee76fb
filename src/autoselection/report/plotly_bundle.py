"""Plotly's drawing code, taken from the installed package and compressed: 4.8 MB become 2.0 MB of a page.

Nothing of Plotly is kept in this package. The bundle in the user's own ``plotly`` (MIT licence; its notice stands at the top
of the file, and so in every page) is packed with gzip and base64, and unpacked in the page by the browser's
``DecompressionStream``.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Bundle:
    """Plotly for a page.

    Attributes:
        packed: gzip, as base64.
        sha256: of the unpacked text, as base64, for the page's Content Security Policy.
    """

    packed: str
    sha256: str


@lru_cache(maxsize=1)
def plotly_bundle() -> Bundle | None:
    """The installed Plotly's bundle; None without Plotly."""
    found = find_spec("plotly")
    if found is None or found.origin is None:
        return None
    script = (Path(found.origin).parent / "package_data" / "plotly.min.js").read_bytes()
    packed = gzip.compress(script, 9, mtime=0)
    digest = hashlib.sha256(script).digest()
    return Bundle(base64.b64encode(packed).decode(), base64.b64encode(digest).decode())
