"""The study's own experiment, with the chart's own values: the restaurant grows from one pod to at least four, and shrinks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.e2e.conftest import load
from tests.proof import labs

from maas.demo import load as guests

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "proof" / "scaling.md"
NAME = "scaling"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def test_with_the_default_values_the_restaurant_grows_to_four_pods_and_comes_back() -> None:
    with labs.lab(NAME) as cluster:
        result = load(cluster, rate=200, orders=0.5, seconds=180, node="node1")
        rows = [f"| {s.second} | {s.ready} | {s.desired} | {s.utilization} |" for s in result.samples[::10]]
        assert result.most >= 4, "\n".join(rows)
        began = time.monotonic()
        while guests.scale(cluster, since=began).replicas > 1:
            # Five minutes without need before it shrinks, then half of the pods every minute.
            assert time.monotonic() - began < 900, "it does not come back to one pod"
            time.sleep(5)
        back = time.monotonic() - began
    text = [
        "# The restaurant grows",
        "",
        f"Default values, 200 guests a second for 180 s: {result.most} pods at most, back to one after {back:.0f} s.",
        "",
        "| second | Ready | desired | CPU, % of the request |",
        "|---|---|---|---|",
        *rows,
    ]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(text) + "\n", encoding="utf-8")
