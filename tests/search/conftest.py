"""Pools small enough for a whole search to take a second."""

from __future__ import annotations

import pytest
from synthetic_pool import KnownPool, make_pool


@pytest.fixture(scope="session")
def small() -> KnownPool:
    return make_pool(0, n=400)
