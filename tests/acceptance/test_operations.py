"""Operations on clusters while guests order; they print the tables of docs/operations.md.

Each operation is measured, repeated, which must change nothing, and killed in the middle of it and continued. Requests of
guests must not fail, and every confirmed order must be in the database.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from tests.support import age, lab_power, labs, restaurant
from tests.support.labs import maas
from tests.support.operations import Operations, interrupt

from maas.cluster import tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME, PLANES = "ops", "ops3"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def small() -> Iterator[Operations]:
    """One control plane and two workers."""
    with labs.running(NAME) as lab:
        operations = Operations(lab)
        yield operations
        print(f"\n{operations.table()}\n")


class TestOneControlPlane:
    def test_no_request_fails_while_nothing_happens(self, small: Operations) -> None:
        with small.measured("none"):
            time.sleep(20)

    def test_certificates_are_renewed(self, small: Operations) -> None:
        renew = ("certificates", "renew", "--name", NAME, "--yes")
        with small.measured("`certificates renew --all`") as row:
            maas(*renew, "--all")
            assert "nothing to renew" in maas(*renew).stderr
            row.again = "nothing to renew"

    def test_an_interrupted_renewal_is_continued(self, small: Operations) -> None:
        renew = ("certificates", "renew", "--name", NAME, "--yes")
        with small.measured("the same, killed three times") as row:
            interrupt(*renew, "--all", after="VPN keys")
            interrupt(*renew, "--all", after="Renew the VPN certificates of the hubs")
            interrupt(*renew, "--all", after="Renew the VPN certificates of the nodes")
            assert "this continues the renewal of all certificates" in maas(*renew, "--all").stderr
            assert "nothing to renew" in maas(*renew).stderr
            row.again = "nothing to renew"

    def test_another_controller_takes_over(self, small: Operations, tmp_path: Path) -> None:
        exported, identity, state = tmp_path / "state.age", tmp_path / "controller.key", tmp_path / "state"
        recipient = age.key_pair(identity)
        adopt = ("adopt", str(exported), "--identity", str(identity), "--yes")
        inventory = str(state / "maas" / NAME / "inventory.yaml")
        with small.measured("`export-state` and `adopt`") as row:
            maas("export-state", str(exported), "--name", NAME, "--recipient", recipient)
            maas(*adopt, XDG_STATE_HOME=str(state))
            before = {path: path.stat().st_mtime_ns for path in state.rglob("*") if path.is_file()}
            maas(*adopt, XDG_STATE_HOME=str(state))
            changed = {path for path, when in before.items() if path.stat().st_mtime_ns != when}
            row.again = f"{len(changed)} files changed"
            assert {path.name for path in changed} <= {"lock.json", "access.lock", "kubeconfig"}
        with small.measured("`bootstrap` on the other controller") as row:
            maas("status", "--name", NAME, XDG_STATE_HOME=str(state))
            assert "0 changed tasks" in maas("bootstrap", "-i", inventory, "--yes", XDG_STATE_HOME=str(state)).stderr
            row.again = "0 changed tasks"
        tunnel.close(state / "maas" / NAME)  # that of this controller is closed with the lab

    def test_a_worker_is_removed_and_added(self, small: Operations) -> None:
        worker, inventory = leaving(small), str(small.lab.state / "hosts.yaml")
        remove = ("remove", worker, "--inventory", inventory, "--lose-data", "--yes")
        with small.measured("`remove` of a worker") as row:
            maas(*remove)
            gone(small, worker)
            row.again = unchanged(maas(*remove).stderr)
        add = ("add", worker, "--inventory", inventory, "--yes")
        with small.measured("`add` of the same worker") as row:
            maas(*add)
            back(small, worker)
            transcript = maas(*add).stderr
            assert "0 changed tasks" in transcript
            row.again = "0 changed tasks"

    def test_an_interrupted_removal_and_addition_are_continued(self, small: Operations) -> None:
        worker, inventory = leaving(small), str(small.lab.state / "hosts.yaml")
        remove = ("remove", worker, "--inventory", inventory, "--lose-data", "--yes")
        with small.measured("`remove` of a worker, killed three times") as row:
            interrupt(*remove, after="Drain")
            interrupt(*remove, after="Revocation", pause=0)
            interrupt(*remove, after="Node object")
            maas(*remove)
            gone(small, worker)
            row.again = unchanged(maas(*remove).stderr)
        add = ("add", worker, "--inventory", inventory, "--yes")
        with small.measured("`add` of the same worker, killed three times") as row:
            interrupt(*add, after="Preflight")
            interrupt(*add, after="Prepare the hosts")
            interrupt(*add, after="Start the control plane", pause=3)
            maas(*add)
            back(small, worker)
            assert "0 changed tasks" in maas(*add).stderr
            row.again = "0 changed tasks"


def leaving(operations: Operations) -> str:
    """Return the worker that does not have the database."""
    (database,) = restaurant.pods(operations.lab, restaurant.DATABASE)
    (other,) = {"node1", "node2"} - {database.node}
    return other


def unchanged(transcript: str) -> str:
    """Return that a removal changed nothing, as it says."""
    assert "nothing was changed" in transcript
    return "nothing was changed"


def gone(operations: Operations, host: str) -> None:
    """Assert that a host is no longer a node, and that nothing of the cluster is left on it."""
    assert host not in {node.name for node in operations.lab.cluster.nodes()}
    left = operations.lab.run(host, "sh", "-c", "ls -d /etc/kubernetes /etc/openvpn/*/maas* /var/lib/etcd 2>/dev/null")
    assert left.stdout == ""


def back(operations: Operations, host: str) -> None:
    """Assert that a host is a node that is Ready."""
    assert {node.name: node.ready for node in operations.lab.cluster.nodes()}[host]


@pytest.fixture(scope="module")
def planes() -> Iterator[Operations]:
    """Three control planes and two workers."""
    with labs.running(PLANES, "--control-planes", "3", "--workers", "2") as lab:
        operations = Operations(lab)
        yield operations
        print(f"\n{operations.table()}\n")


class TestThreeControlPlanes:
    def test_the_first_control_plane_is_removed_and_joins_again(self, planes: Operations) -> None:
        inventory = str(planes.lab.state / "hosts.yaml")
        remove = ("remove", "master", "--inventory", inventory, "--lose-data", "--yes")
        with planes.measured("`remove` of the first of three control planes") as row:
            maas(*remove)
            gone(planes, "master")
            assert etcd_of(planes) == {"master2", "master3"}
            row.again = unchanged(maas(*remove).stderr)
        assert not tunnels_to(planes, "master")
        with planes.measured("`bootstrap` with the same host again") as row:
            maas("bootstrap", "--inventory", inventory, "--yes")
            back(planes, "master")
            assert etcd_of(planes) == {"master", "master2", "master3"}
            assert "0 changed tasks" in maas("bootstrap", "--inventory", inventory, "--yes").stderr
            row.again = "0 changed tasks"

    def test_a_removal_that_is_killed_is_continued(self, planes: Operations) -> None:
        inventory = str(planes.lab.state / "hosts.yaml")
        remove = ("remove", "master2", "--inventory", inventory, "--lose-data", "--yes")
        with planes.measured("`remove` of a control plane, killed four times") as row:
            interrupt(*remove, after="Drain")
            interrupt(*remove, after="Control plane", pause=3)
            interrupt(*remove, after="Disconnect", pause=3)
            interrupt(*remove, after="Node object")
            maas(*remove)
            gone(planes, "master2")
            assert etcd_of(planes) == {"master", "master3"}
            row.again = unchanged(maas(*remove).stderr)

    def test_a_control_plane_that_etcd_needs_is_not_removed(self, planes: Operations) -> None:
        inventory = str(planes.lab.state / "hosts.yaml")
        lab_power.kill(PLANES, "master3")
        try:
            refused = maas("remove", "master", "--inventory", inventory, "--lose-data", "--yes", status=1).stderr
        finally:
            lab_power.start(PLANES, "master3")
        assert "etcd" in refused
        assert "nothing was changed" in refused


MEMBERS = """
import http.client, ssl
pki = "/etc/kubernetes/pki/etcd"
context = ssl.create_default_context(cafile=f"{pki}/ca.crt")
context.load_cert_chain(f"{pki}/healthcheck-client.crt", f"{pki}/healthcheck-client.key")
connection = http.client.HTTPSConnection("127.0.0.1", 2379, context=context)
connection.request("POST", "/v3/cluster/member/list", "{}", {"Content-Type": "application/json"})
print(connection.getresponse().read().decode())
"""


def etcd_of(operations: Operations) -> set[str]:
    """Return the members of etcd, as that of `master3`, which stays, lists them."""
    listed = operations.lab.on("master3", "python3", "-", stdin=MEMBERS)
    return {member["name"] for member in json.loads(listed)["members"]}


def tunnels_to(operations: Operations, host: str) -> list[str]:
    """Return the hosts that still have a tunnel to a hub."""
    find = ("grep", "-lr", f"verify-x509-name {host} name", "/etc/openvpn")
    names = [node.name for node in operations.lab.cluster.nodes()]
    return [name for name in names if operations.lab.run(name, *find).stdout]
