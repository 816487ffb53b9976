"""Whole profiles on fake nodes: every workload is scheduled and Ready, with both Helms, and is removed again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support import chart_testing
from tests.support.charts import HELMS, PROFILES, helm
from tests.support.control_plane import control_plane, fake_nodes

from maas.cluster.client import Cluster
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.helm.client import Major

pytestmark = pytest.mark.timeout(1200)

NODES = 3


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with control_plane(tmp_path, controllers=("*",)) as kubeconfig, fake_nodes(tmp_path, kubeconfig, count=NODES):
        yield Cluster(kubeconfig)


@pytest.mark.parametrize("major", HELMS)
def test_every_workload_of_a_profile_is_ready_and_its_tests_run(cluster: Cluster, major: Major) -> None:
    # The profile with Calico: no program runs here, so it conflicts with no other network.
    where = ("--namespace", "maas", "--create-namespace", "--values", PROFILES["bootstrap"])
    began = time.monotonic()
    helm(cluster, major, "install", "maas", render.umbrella(), *where, "--wait", "--timeout", "5m")
    found = cluster.workloads()
    assert [str(workload) for workload in found if not workload.settled] == []
    (network,) = (workload for workload in found if workload.name == "calico-node")
    assert network.ready == NODES
    print(f"\nHelm {major}: {len(found)} workloads Ready on {NODES} nodes after {time.monotonic() - began:.0f} s")
    assert "Succeeded" in helm(cluster, major, "test", "maas", "--namespace", "maas", "--timeout", "2m")
    helm(cluster, major, "uninstall", "maas", "--namespace", "maas", "--wait")


@pytest.mark.parametrize("major", HELMS)
def test_chart_testing_installs_and_removes_each_profile(cluster: Cluster, tmp_path: Path, major: Major) -> None:
    output = chart_testing.install(cluster, tmp_path, major)
    assert output.count("Succeeded") >= 2
    assert chart_testing.releases(cluster) == set()
