from __future__ import annotations

from typing import Any

import pytest
from tests.support import hosts


@pytest.fixture(name="inventory_of")
def _inventory_of() -> Any:
    return hosts.inventory_of


@pytest.fixture(name="facts_of")
def _facts_of() -> Any:
    return hosts.facts_of
