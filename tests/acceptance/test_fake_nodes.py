"""Whole profiles on nodes that nobody runs: everything is scheduled, counted and Ready, with both Helms, and goes again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.acceptance.test_chart_testing import chart_testing, releases
from tests.charts.helpers import HELMS, PROFILES, helm
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
def test_every_workload_of_a_profile_is_ready_and_its_tests_are_run(cluster: Cluster, major: Major) -> None:
    # The profile with Calico: nobody runs it, so it is in no other network's way.
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
def test_chart_testing_installs_each_profile_and_takes_it_away(cluster: Cluster, tmp_path: Path, major: Major) -> None:
    said = chart_testing(cluster, tmp_path, major)
    assert said.count("Succeeded") >= 2
    assert releases(cluster) == set()
