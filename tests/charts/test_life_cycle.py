from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import life_cycle

if TYPE_CHECKING:
    from pathlib import Path

# Rules and dashboards are nine tenths of what the API server has to read; tests/acceptance has the same with them.
SMALL = ("--set=kube-prometheus.dashboards.enabled=false", "--set=kube-prometheus.rules.enabled=false")


def test_a_release_lives_from_the_previous_chart_to_its_removal(tmp_path: Path) -> None:
    with life_cycle.cluster(tmp_path) as api:
        life_cycle.live(api, tmp_path, major="4", options=SMALL)
