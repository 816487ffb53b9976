"""A release from its installation to its end with all its rules and dashboards, by both Helms; otherwise as in tests/charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.charts.helpers import HELMS
from tests.charts.test_life_cycle import api, test_a_release_lives_from_the_previous_chart_to_its_end

if TYPE_CHECKING:
    from maas.helm.client import Major

__all__ = ["api", "test_a_release_lives_from_the_previous_chart_to_its_end"]


@pytest.fixture(params=HELMS)
def major(request: pytest.FixtureRequest) -> Major:
    helm: Major = request.param
    return helm


@pytest.fixture
def options() -> tuple[str, ...]:
    return ()
