"""The chart by plain Helm; the last of all, because it leaves another release than `maas up` makes."""

from __future__ import annotations

import subprocess

import pytest

from maas import console
from maas.bundle import tools
from maas.hosts import network_plan

from .conftest import ROOT, Lab, maas
from .test_platform import orders

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]


def test_plain_helm_uninstalls_and_installs_the_chart_by_hand(lab: Lab) -> None:
    planned = network_plan.Plan.from_json((lab.state / "plan.json").read_text())
    environment = {"KUBECONFIG": str(lab.cluster.kubeconfig), "HOME": str(lab.state)}
    helm = str(tools.tool("helm"))

    def run(*words: str) -> str:
        done = subprocess.run(
            [helm, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = orders(lab)
    run("uninstall", "maas", "-n", "maas", "--wait")
    settings = ["calico.enabled=true", f"calico.mtu={planned.pod_mtu}", "calico.ipPool.cidr=10.91.0.0/16"]
    # Their images are the ones that nothing here can give.
    settings += ["kube-prometheus.grafana.enabled=false", "dashboard.engine=none"]
    options = [word for setting in settings for word in ("--set", setting)]
    run("install", "maas", ".", "-n", "maas", "--create-namespace", *options, "--wait", "--timeout", "4m")
    with console.phase("Ready") as step:
        # Helm does not know of what the operator makes of its objects.
        lab.cluster.wait_ready(nodes=3, step=step)
    assert maas("status", "--name", lab.name).returncode == 0
    assert before <= orders(lab), "data outlive an uninstallation"
