"""A release from its installation to its end with Helm 3: what tests/charts has with Helm 4, word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.charts.test_life_cycle import api, test_a_release_lives_from_the_previous_chart_to_its_end

if TYPE_CHECKING:
    from maas.charts.helm import Major

__all__ = ["api", "test_a_release_lives_from_the_previous_chart_to_its_end"]


@pytest.fixture
def major() -> Major:
    return "3"
