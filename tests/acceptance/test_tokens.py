"""A kubeconfig of `maas credentials` until it expires, by the API server's own clock: ten minutes of waiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.charts import helm
from tests.support.control_plane import control_plane

from maas.bundle import tools
from maas.cluster.client import Cluster
from maas.cluster.credentials import Grant
from maas.commands import credentials as command
from maas.helm import render
from maas.process import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(1200)

LASTING = 600
"""Seconds; the shortest validity that the API server issues."""

LENIENCY = 60 + 10
"""Seconds: the API server tolerates a minute of clock skew, and caches the verdict on a token for ten seconds."""


def test_a_kubeconfig_works_for_ten_minutes_and_no_longer(tmp_path: Path) -> None:
    with control_plane(tmp_path) as administrator:
        cluster = Cluster(administrator)
        chart = render.copy_with_libraries(render.umbrella() / "charts" / "dashboard", tmp_path / "dashboard")
        helm(cluster, "4", "install", "maas", chart, "--namespace=maas", "--create-namespace", "--set=engine=none")
        file = tmp_path / "viewer"
        began = time.time()
        command.credentials("shop", Grant("viewer"), ttl="10m", kubeconfig=file, token=False, admin=administrator)

        def refusal() -> str:
            """Return the error of kubectl; empty while the kubeconfig works."""
            argv: list[str | Path] = [tools.tool("kubectl"), "--kubeconfig", file, "get", "pods", "--all-namespaces"]
            done = run(argv, check=False, timeout=60)
            return done.stderr if done.returncode else ""

        print()
        while not (error := refusal()):
            lived = time.time() - began
            assert lived < LASTING + LENIENCY + 15, "it still works"
            time.sleep(60 if lived < LASTING - 70 else 5)
        lived = time.time() - began
        print(
            f"the kubeconfig worked for {lived - 5:.0f} s at least and was refused after {lived:.0f} s: {error.strip()}"
        )
        assert lived >= LASTING
        assert "Unauthorized" in error or "must be logged in" in error
