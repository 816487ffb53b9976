"""What all hosts of a lab trust is replaced while its API and the restaurant are used, with an interruption in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import labs, maintenance, restaurant
from tests.support.labs import maas

from maas import paths
from maas.hosts import rotations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

    from maas.hosts.rotations import Kind

NAME = "rotate"
PLANES = ("master", "master2", "master3")
VALUES = str(Path(__file__).with_name("maintenance-values.yaml"))
UP = ("--control-planes", "3", "--workers", "2", "--values", VALUES)
PKI = "/etc/kubernetes/pki"
FILES: dict[Kind, str] = {
    "service-accounts": f"{PKI}/sa.pub",
    "front-proxy": f"{PKI}/front-proxy-ca.crt",
    "etcd": f"{PKI}/etcd/ca.crt",
}
LEAVES = {
    "front-proxy": ("front-proxy-client.crt",),
    "etcd": ("etcd/server.crt", "etcd/peer.crt", "etcd/healthcheck-client.crt", "apiserver-etcd-client.crt"),
}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.running(NAME, *UP) as running:
        yield running


def trusted(lab: Lab, kind: Kind) -> set[str]:
    """Return what hosts trust; one text if all of them agree."""
    if kind == "vpn":
        read = "sed -n '/<ca>/,/<.ca>/p' {}"
        server = {lab.on(host, "sh", "-c", read.format("/etc/openvpn/server/maas.conf")) for host in PLANES}
        clients = {
            lab.on(host, "sh", "-c", read.format(f"/etc/openvpn/client/maas{number}.conf"))
            for host in ("node1", "node2")
            for number in ("", "1", "2")
        }
        return server | clients
    return {lab.on(host, "cat", FILES[kind]) for host in PLANES}


def rotate(lab: Lab, kind: Kind) -> None:
    """Replace something, and assert that all hosts trust one other thing, and that no request failed."""
    before = trusted(lab, kind)
    assert len(before) == 1
    with maintenance.traffic(lab, f"rotate-ca {kind}", plane="master", client="node1") as cost:
        maas("rotate-ca", kind, "--name", NAME, "--yes")
    after = trusted(lab, kind)
    assert len(after) == 1
    assert after != before
    (text,) = after
    assert text.count("-----BEGIN ") == 1
    for leaf in LEAVES.get(kind, ()):
        for host in PLANES:
            lab.on(host, "openssl", "verify", "-no-CApath", "-CAfile", FILES[kind], f"{PKI}/{leaf}")
    assert rotations.unfinished(lab.state) == []
    assert cost.lost == 0
    assert cost.found["failed"] == 0, cost.found["errors"]


def test_the_ca_of_the_vpn_is_replaced_while_guests_order(lab: Lab) -> None:
    (database,) = restaurant.pods(lab, restaurant.DATABASE)
    with restaurant.guests(lab.cluster, rate=4, orders=0.25, seconds=120, node=database.node) as guests:
        rotate(lab, "vpn")
        result = guests.result()
    print(
        f"restaurant: {result.report['answered']} answers, {result.report['failed']} failed: {result.report['failures']}"
    )
    assert result.report["failed"] == 0, result.report["failures"]
    assert "0 changed tasks on the hosts" in maas("up", "--name", NAME, *UP, "--yes").stderr


def test_tokens_of_the_old_key_are_rejected_and_those_of_pods_are_new(lab: Lab) -> None:
    token = lab.kubectl("create", "token", "default", "--duration", "8h").strip()
    assert accepted(lab, token)
    rotate(lab, "service-accounts")
    assert not accepted(lab, token)
    assert accepted(lab, lab.kubectl("create", "token", "default").strip())
    # A new pod needs the token of the CNI plugin.
    image = lab.kubectl(
        *("get", "deployment", "restaurant", "-n", "restaurant", "-o"),
        "jsonpath={.spec.template.spec.containers[0].image}",
    )
    lab.kubectl("run", "fresh", f"--image={image}", "--image-pull-policy=Never", "--", "sleep", "99")
    lab.kubectl("wait", "pod/fresh", "--for=condition=Ready", "--timeout=120s")
    lab.kubectl("delete", "pod/fresh", "--grace-period=1")


def accepted(lab: Lab, token: str) -> bool:
    """Return whether the API server accepts a token."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    found = json.loads(lab.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))
    return bool(found["status"].get("authenticated"))


def test_the_ca_of_the_front_proxy_is_replaced(lab: Lab) -> None:
    rotate(lab, "front-proxy")
    assert lab.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes")


def test_the_ca_of_etcd_is_replaced_although_the_tool_is_killed(lab: Lab) -> None:
    before = trusted(lab, "etcd")
    command = [sys.executable, "-m", "maas", "rotate-ca", "etcd", "--name", NAME, "--yes"]
    with subprocess.Popen(command, cwd=paths.content(), stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while len(trusted(lab, "etcd")) == 1:
            assert process.poll() is None, "it ended early"
            assert time.monotonic() < deadline
            time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert rotations.unfinished(lab.state) == ["etcd"]
    refused = maas("rotate-ca", "vpn", "--name", NAME, "--yes", status=1).stderr
    assert "the rotation of the CA of etcd is not completed" in refused
    with maintenance.traffic(lab, "rotate-ca etcd, continued", plane="master", client="node1") as cost:
        assert "this continues the rotation" in maas("rotate-ca", "etcd", "--name", NAME, "--yes").stderr
    after = trusted(lab, "etcd")
    assert len(after) == 1
    assert not after & before
    for leaf in LEAVES["etcd"]:
        for host in PLANES:
            lab.on(host, "openssl", "verify", "-no-CApath", "-CAfile", FILES["etcd"], f"{PKI}/{leaf}")
    assert cost.lost == 0
    assert cost.found["failed"] == 0, cost.found["errors"]
