"""The study's own experiment, with the chart's own values: the restaurant grows from one pod to at least four, and shrinks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from maas import access, console
from maas.demo import load as guests

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "proof" / "scaling.md"
NAME = "scaling"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def maas(*arguments: str) -> None:
    words = [sys.executable, "-m", "maas", *arguments]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-3000:]


def test_with_the_default_values_the_restaurant_grows_to_four_pods_and_comes_back() -> None:
    maas("up", "--name", NAME, "--yes")
    try:
        cluster = access.connect(NAME)
        with console.phase("Load") as step:
            result = guests.run(
                cluster,
                url="http://restaurant.restaurant",
                image=guests.image(cluster),
                rate=200,
                seconds=180,
                orders=0.5,
                seed=7,
                node="node1",
                step=step,
            )
        rows = [f"| {s.second} | {s.ready} | {s.desired} | {s.utilization} |" for s in result.samples[::10]]
        assert result.most >= 4, "\n".join(rows)
        began = time.monotonic()
        while guests.scale(cluster, since=began).replicas > 1:
            # Five minutes without need before it shrinks, then half of the pods every minute.
            assert time.monotonic() - began < 900, "it does not come back to one pod"
            time.sleep(5)
        back = time.monotonic() - began
    finally:
        maas("down", "--name", NAME)
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
