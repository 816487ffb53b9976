"""One lab for all end-to-end tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import labs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

NAME = "e2e"
VALUES = Path(__file__).parent / "values.yaml"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with labs.running(NAME, "--values", str(VALUES)) as running:
        yield running


@pytest.fixture(scope="session")
def values() -> Path:
    """The values that the lab is installed with."""
    return VALUES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Hubs first: they measure how long a failure lasts, to a tenth of a second, before the lab exists. Teams late: the
    # quota of a new team works within five minutes. Last what installs the chart again, with other values.
    order = {"test_hubs.py": -1, "test_monitoring_teams.py": 1, "test_release_by_hand.py": 2, "test_snmp.py": 2}
    items.sort(key=lambda item: order.get(item.path.name, 0))
