"""The life of a release with all of its rules and dashboards, with each Helm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import life_cycle
from tests.support.charts import HELMS

if TYPE_CHECKING:
    from pathlib import Path

    from maas.helm.client import Major


@pytest.mark.parametrize("major", HELMS)
def test_a_release_lives_from_the_previous_chart_to_its_removal(tmp_path: Path, major: Major) -> None:
    with life_cycle.cluster(tmp_path) as api:
        life_cycle.live(api, tmp_path, major=major)
