"""A cluster with one control plane becomes one with three by the ordinary bootstrap, while it is used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML
from tests.support import faults, labs
from tests.support.labs import Lab, maas

from maas import lab
from maas.commands import bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "grow"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Path]:
    """The hosts of a lab with three control planes, and the inventory of all of them."""
    if not labs.KEEP:
        maas("down", "--name", NAME, status=None)
    directory = bundle.prepare(None, source="auto", yes=True, values={}).directory
    names = lab.names(control_planes=3, workers=2)
    try:
        yield lab.up(NAME, bundle=directory, hosts=names, control_planes=3, assume_yes=True).inventory
    finally:
        if not labs.KEEP:
            maas("down", "--name", NAME)


def pods(one: Lab) -> set[tuple[str, str, str, int]]:
    """Return the namespace, name, ID and restarts of the pods on workers, but for those of smoke tests, which end."""
    items = json.loads(one.kubectl("get", "pods", "--all-namespaces", "--output", "json"))["items"]
    return {
        (
            *(item["metadata"][key] for key in ("namespace", "name", "uid")),
            sum(status["restartCount"] for status in item["status"].get("containerStatuses", ())),
        )
        for item in items
        if item["spec"].get("nodeName") in faults.WORKERS
        and item["status"]["phase"] == "Running"
        and not item["metadata"]["namespace"].startswith("maas-verify")
    }


def test_one_control_plane_becomes_three_in_place(hosts: Path, tmp_path: Path) -> None:
    yaml = YAML()
    content: dict[str, Any] = yaml.load(hosts)
    short = tmp_path / "hosts.yaml"
    few = [host for host in content["hosts"] if host["name"] not in faults.PLANES[1:]]
    yaml.dump(content | {"hosts": few}, short)
    maas("bootstrap", "--inventory", str(short), "--yes")
    world = faults.World(Lab(NAME))
    addresses = {name: str(host.vpn_address) for name, host in world.plan.hosts.items()}
    api = world.api
    running = pods(world.lab)
    with world.traffic("one control plane becomes three", 420):
        maas("bootstrap", "--inventory", str(hosts), "--yes")
    assert world.api == api
    assert addresses.items() <= {name: str(host.vpn_address) for name, host in world.plan.hosts.items()}.items()
    assert running - pods(world.lab) == set(), "pods of workers restarted or were moved"
    assert "0 changed tasks on the hosts" in maas("bootstrap", "--inventory", str(hosts), "--yes").stderr
