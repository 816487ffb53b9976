"""Every dashboard in the viewer of a lab, after a load and the loss of a node, and how fast the viewer is there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support import dashboards, labs
from tests.support.labs import Lab, maas

from maas.dashboards import probe

pytestmark = pytest.mark.timeout(3600)

NAME = "dashboards"
VALUES = Path(__file__).parents[1] / "e2e" / "values.yaml"
FIRST_PAINT = 2.0
"""Seconds until the home page shows its heading to a user who is logged in."""


def test_every_dashboard_shows_data_without_an_error(tmp_path: Path) -> None:
    with labs.running(NAME, "--values", str(VALUES)) as lab:
        happen(lab)
        with dashboards.viewer(lab) as viewer:
            seconds = dashboards.first_paint(viewer)
            print(f"first paint of the viewer after {seconds:.2f} s, pictures in {tmp_path}")
            every = probe.dashboards()
            assert dashboards.faults(lab, viewer, every, tmp_path) == []
        assert seconds <= FIRST_PAINT


def happen(lab: Lab) -> None:
    """Lose a node until it is back and was scraped, and then send requests to the restaurant, whose panels show five minutes."""
    lab.on("node2", "systemctl", "stop", "kubelet")
    time.sleep(60)
    lab.on("node2", "systemctl", "start", "kubelet")
    lab.kubectl("wait", "--for=condition=Ready", "node/node2", "--timeout=120s")
    time.sleep(90)
    maas("load", "--name", lab.name, "--seconds", "90", timeout=400)
