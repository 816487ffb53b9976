"""The chart installed by Helm alone; the last test, because the release differs from the one of `maas up`."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.labs import maas
from tests.support.restaurant import orders

from maas import console, paths
from maas.bundle import tools
from maas.hosts import network_plan

if TYPE_CHECKING:
    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]


def test_plain_helm_uninstalls_and_installs_the_chart_by_hand(lab: Lab) -> None:
    planned = network_plan.Plan.from_json((lab.state / "plan.json").read_text())
    environment = {"KUBECONFIG": str(lab.cluster.kubeconfig), "HOME": str(lab.state)}
    helm = str(tools.tool("helm"))

    def run(*words: str) -> str:
        done = subprocess.run(
            [helm, *words],
            cwd=paths.content(),
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = orders(lab)
    run("uninstall", "maas", "-n", "maas", "--wait")
    settings = ["calico.enabled=true", f"calico.mtu={planned.pod_mtu}", "calico.ipPool.cidr=10.91.0.0/16"]
    # The images of Grafana and Headlamp are not in the bundle.
    settings += ["kube-prometheus.dashboards.engine=perses", "dashboard.engine=none"]
    options = [word for setting in settings for word in ("--set", setting)]
    run("install", "maas", ".", "-n", "maas", "--create-namespace", *options, "--wait", "--timeout", "4m")
    with console.phase("Ready") as step:
        # Helm does not wait for what the operator creates.
        lab.cluster.wait_ready(nodes=3, step=step)
    # CoreDNS can miss a probe while the pod network starts again.
    deadline = time.monotonic() + 120
    while maas("status", "--name", lab.name, status=None).returncode:
        assert time.monotonic() < deadline, "not Ready again"
    assert before <= orders(lab), "the data are kept over an uninstallation"
