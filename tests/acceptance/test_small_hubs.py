"""A cluster whose hubs are small hosts without Kubernetes, in a lab: set up, seen, lost and left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML
from tests.support import lab_power, labs
from tests.support.labs import Lab, maas
from tests.support.monitoring import Monitoring

from maas import lab
from maas.commands import bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "smallhubs"
HUBS = ("master2", "master3")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The hosts of a lab with three hubs, of which two are small hosts and none is the control plane."""
    if not labs.KEEP:
        maas("down", "--name", NAME, status=None)
    directory = bundle.prepare(None, source="auto", yes=True, values={}).directory
    names = lab.names(control_planes=3, workers=1)
    try:
        made = lab.up(NAME, bundle=directory, hosts=names, control_planes=3, assume_yes=True).inventory
        yaml = YAML()
        content: dict[str, Any] = yaml.load(made)
        for host in content["hosts"]:
            if host["name"] in HUBS:
                host["role"] = "hub"
            else:
                host.pop("hub", None)
        content.pop("hub", None)
        file = tmp_path_factory.mktemp("small") / "hosts.yaml"
        yaml.dump(content, file)
        yield file
    finally:
        if not labs.KEEP:
            maas("down", "--name", NAME)


def status(*, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(maas("status", "--name", NAME, "--output", "json", status=code).stdout)
    return found


def test_a_cluster_has_hubs_that_are_not_nodes(inventory: Path) -> None:
    maas("bootstrap", "--inventory", str(inventory), "--yes")
    assert "0 changed tasks on the hosts" in maas("bootstrap", "--inventory", str(inventory), "--yes").stderr
    found = status()
    assert {node["name"] for node in found["nodes"]} == {"master", "node1"}
    assert {hub["name"]: all(hub["tunnels"].values()) for hub in found["hubs"]} == dict.fromkeys(HUBS, True)


def test_a_hub_has_the_vpn_and_no_kubernetes() -> None:
    one = Lab(NAME)
    for hub in HUBS:
        assert one.run(hub, "systemctl", "is-active", "--quiet", "openvpn-server@maas", "bird").returncode == 0
        for place in ("/usr/local/bin/kubelet", "/usr/local/bin/containerd", "/etc/kubernetes", "/var/lib/containerd"):
            assert one.run(hub, "test", "-e", place).returncode != 0, f"{hub} has {place}"


def test_prometheus_scrapes_a_hub() -> None:
    one = Lab(NAME)
    plan = json.loads((one.state / "plan.json").read_text())
    read = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
    for hub in HUBS:
        url = f"http://{plan['hosts'][hub]['vpn_address']}:9100/metrics"
        assert f'openvpn_up{{name="{hub}",role="hub"}} 1' in one.on("node1", "python3", "-c", read, url)
    monitoring = Monitoring(one.cluster)

    def missing() -> list[str]:
        return [hub for hub in HUBS if not monitoring.query(f'openvpn_up{{job="node-exporter",node="{hub}"}} == 1')]

    monitoring.wait("the metrics of the hubs", missing, seconds=180)


def test_a_hub_that_dies_costs_nothing_but_a_line_in_status(inventory: Path) -> None:
    lab_power.kill(NAME, "master2")
    found = status(code=1)
    assert all(node["ready"] for node in found["nodes"])
    assert {hub["name"]: hub["answers"] for hub in found["hubs"]} == {"master2": False, "master3": True}
    transcript = maas("bootstrap", "--inventory", str(inventory), "--yes", status=1).stderr
    assert "--without master2" in transcript
    maas("bootstrap", "--inventory", str(inventory), "--without", "master2", "--yes")
    lab_power.start(NAME, "master2")


def test_a_reset_removes_the_vpn_from_a_hub(inventory: Path) -> None:
    maas("reset", "--inventory", str(inventory), "--yes")
    assert Lab(NAME).run("master3", "test", "-e", "/etc/openvpn/server/maas.conf").returncode != 0
