"""Dashboards in the viewer of the lab, after the same events as the queries; the acceptance tests open all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import dashboards

from maas.dashboards import probe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

OPENED = {"maas-overview", "maas-node", "maas-slos"}


def test_dashboards_show_data_without_an_error(lab: Lab, tmp_path: Path) -> None:
    some = [dashboard for dashboard in probe.dashboards() if dashboard["uid"] in OPENED]
    assert len(some) == len(OPENED)
    with dashboards.viewer(lab) as viewer:
        print(f"first paint of the viewer after {dashboards.first_paint(viewer):.2f} s")
        assert dashboards.faults(lab, viewer, some, tmp_path) == []
