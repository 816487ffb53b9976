"""From bare hosts to a running platform, in the order of a user's day."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import lab_power, restaurant
from tests.support.labs import maas
from tests.support.restaurant import guests, load, orders, pods

from maas.bundle import tools
from maas.cluster import status as cluster_status
from maas.cluster import tunnel
from maas.hosts import lock
from maas.loadtest import runner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.labs import Lab

# The first test waits for the lab, which on a machine with empty caches builds every component.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]

VPN = "10.90.0."
TRANSIT = "10.93."
HOSTS = ("master", "node1", "node2")


def test_up_shows_every_phase_and_ends_with_how_to_reach_everything(lab: Lab) -> None:
    for phase in ("Host keys", "Preflight", "Pod network", "Nodes ready", "Verify", "Chart", "Ready"):
        assert re.search(rf"✓ {phase}  ", lab.transcript), f"{phase} is not among the phases"
    assert re.search(r"^restaurant +http://127\.0\.0\.1:\d+ *$", lab.transcript, re.MULTILINE)
    assert str(lab.state / "kubeconfig") in lab.transcript
    assert "PRIVATE KEY" not in lab.transcript


def test_nodes_are_ready_with_their_vpn_addresses(lab: Lab) -> None:
    nodes = {node.name: node for node in lab.cluster.nodes()}
    assert set(nodes) == set(HOSTS)
    assert all(node.ready for node in nodes.values())
    assert all(node.address.startswith(VPN) for node in nodes.values())
    assert nodes["master"].control_plane


def test_hosts_reach_each_other_only_through_the_vpn(lab: Lab) -> None:
    (outside,) = (a for a in lab.on("node2", "hostname", "--all-ip-addresses").split() if a.startswith("172."))
    (inside,) = (word for word in lab.on("node2", "ip", "address", "show", "lo").split() if word.startswith(VPN))
    assert lab.on("node1", "ping", "-c1", "-W2", inside.removesuffix("/32"))
    with pytest.raises(subprocess.CalledProcessError):
        lab.on("node1", "ping", "-c1", "-W1", outside)


def test_a_node_without_its_network_configuration_becomes_ready_again(lab: Lab) -> None:
    path = "/etc/cni/net.d/10-calico.conflist"
    before = lab.on("node2", "cat", path)
    lab.on("node2", "rm", path)
    began = time.monotonic()
    while lab.run("node2", "cat", path).stdout != before:
        assert time.monotonic() - began < 180, "calico-node did not restore the configuration"
        time.sleep(1)
    while not all(node.ready for node in lab.cluster.nodes()):
        assert time.monotonic() - began < 180, "the node is not Ready again"
        time.sleep(1)
    print(f"network configuration restored and all nodes Ready after {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_of_kubernetes_listens_on_a_public_address(lab: Lab, host: str) -> None:
    listening = lab.on(host, "ss", "-Hlntup").splitlines()
    public = []
    for line in listening:
        protocol, _, _, _, local, *_, process = line.split()
        address = local.rsplit(":", 1)[0].strip("[]").split("%")[0]
        inside = address.startswith((VPN, TRANSIT, "127.", "10.91.")) or address == "::1"
        if not inside and "sshd" not in process and "openvpn" not in process and ":4789" not in local:
            public.append(f"{protocol} {local} {process}")
    assert any("kubelet" in line for line in listening), "without the names of programs an empty list means nothing"
    assert public == []


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_exports_the_state_of_its_vpn_connection(lab: Lab, host: str) -> None:
    lab.on(host, "systemctl", "start", "maas-metrics.service")
    lines = lab.on(host, "cat", "/var/lib/maas/metrics/openvpn.prom").splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert found[f'openvpn_up{{name="{host}",role="{"hub" if host == "master" else "node"}"}}'] == "1"
    peers = [f'{{peer="{name}"}}' for name in HOSTS if name != host] if host == "master" else ['{peer="master"}']
    for peer in peers:
        assert found[f"openvpn_peer_connected{peer}"] == "1"
        assert found[f"openvpn_path_mtu_ok{peer}"] == "1"
        assert found[f"vpn_bgp_session_up{peer}"] == "1"
        assert float(found[f"vpn_routes{peer}"]) >= 1
    assert found.get("vpn_api_address_announced") == ("1" if host == "master" else None)
    assert float(found["openvpn_tun_mtu_bytes"]) - float(found["openvpn_pod_mtu_bytes"]) == 50
    assert lab.on(host, "systemctl", "is-active", "maas-metrics.timer").strip() == "active"


def test_the_control_plane_exports_metrics_on_the_vpn_to_clients_with_a_token(lab: Lab) -> None:
    script = (
        "import ssl, sys, urllib.request, urllib.error\n"
        "context = ssl.create_default_context(cafile='/etc/kubernetes/pki/ca.crt')\n"
        "for url in sys.argv[1:]:\n"
        "    try:\n"
        "        print(urllib.request.urlopen(url, context=context, timeout=10).status)\n"
        "    except urllib.error.HTTPError as refusal:\n"
        "        print(refusal.code)\n"
    )
    urls = ["https://10.90.0.1:10257/metrics", "https://10.90.0.1:10259/metrics"]
    plain = ["http://10.90.0.1:2381/metrics", "http://10.90.0.1:10249/metrics"]
    refused = lab.on("master", "python3", "-c", script, *urls)
    assert refused.split() == ["403", "403"], "the certificate is verified, and a request without a token is refused"
    assert lab.on("master", "python3", "-c", script, *plain).split() == ["200", "200"]


def test_the_state_directory_is_private_and_no_host_has_the_private_key_of_the_ca(lab: Lab) -> None:
    assert lab.state.stat().st_mode & 0o777 == 0o700
    for name in ("kubeconfig", "pki/ca.key"):
        assert (lab.state / name).stat().st_mode & 0o777 == 0o600
    for host in HOSTS:
        # The certificate, which is on every host, shows that the search works.
        assert found_on(lab, host, lab.state / "pki" / "ca.crt")
        assert not found_on(lab, host, lab.state / "pki" / "ca.key"), f"the private key of the CA is on {host}"


def found_on(lab: Lab, host: str, file: Path) -> bool:
    """Whether a line of a PEM file that only this file has is in a file of a host."""
    line = file.read_text(encoding="ascii").splitlines()[2]
    done = lab.run(host, "grep", "-rqF", "-e", line, "/etc", "/root", "/var/lib/maas")
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def on_controller(lab: Lab) -> dict[str, tuple[int, str]]:
    """Return the time and digest of each file of the state directory."""
    return {
        str(path): (path.stat().st_mtime_ns, sha256(path.read_bytes()).hexdigest())
        for path in lab.state.rglob("*")
        if path.is_file()
    }


def on_hosts(lab: Lab) -> dict[str, list[str]]:
    """Return the digests of all that `bootstrap` writes on each host, without what programs write there themselves."""
    own = "-path /var/lib/maas/metrics -o -path /var/lib/maas/volumes -o -path /etc/cni/net.d"
    digests = (
        f"find /etc /usr/local /var/lib/maas \\( {own} \\) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum"
    )
    return {host: lab.on(host, "sh", "-c", digests).splitlines() for host in HOSTS}


def test_a_dry_run_shows_the_plan_and_changes_nothing(lab: Lab) -> None:
    controller, hosts = on_controller(lab), on_hosts(lab)
    done = maas("bootstrap", "--inventory", str(lab.state / "hosts.yaml"), "--dry-run")
    assert "nothing was changed" in done.stderr
    assert on_controller(lab) == controller
    assert on_hosts(lab) == hosts
    assert all(len(digests) > 100 for digests in hosts.values())


def running(lab: Lab) -> set[str]:
    """Return the pods that a controller keeps running, without those that `up` creates to test the cluster.

    The restaurant's autoscaler adds and removes pods at any time, so of those only the ReplicaSet counts: another one
    would mean that they were replaced.
    """
    found = json.loads(lab.kubectl("get", "pods", "-A", "--field-selector=status.phase=Running", "-o", "json"))
    owned = [
        pod["metadata"]
        for pod in found["items"]
        if "ownerReferences" in pod["metadata"] and "deletionTimestamp" not in pod["metadata"]
    ]
    return {
        f"{pod['namespace']}/{pod['ownerReferences'][0]['name'] if autoscaled(pod) else pod['uid']}"
        for pod in owned
        # Pods without an owner, which create and delete volumes, and those of a Job complete.
        if not pod["namespace"].startswith("maas-verify") and pod["ownerReferences"][0]["kind"] != "Job"
    }


def autoscaled(pod: dict[str, Any]) -> bool:
    return (pod["namespace"], pod["labels"].get("app.kubernetes.io/name")) == ("restaurant", "restaurant")


def test_a_second_run_changes_nothing(lab: Lab, values: Path) -> None:
    pods = running(lab)
    done = maas("up", "--name", lab.name, "--values", str(values), "--yes")
    assert "0 changed tasks on the hosts" in done.stderr
    assert "unchanged" in done.stderr
    assert not pods - running(lab), "pods were replaced"


def test_a_second_run_on_the_same_cluster_is_refused_and_names_the_first(lab: Lab) -> None:
    with lock.hold(lab.state, command="a test"):
        done = maas("bootstrap", "--inventory", str(lab.state / "hosts.yaml"), "--yes", status=1)
    assert "a test" in done.stderr


def test_a_changed_host_key_is_refused(lab: Lab) -> None:
    lab.on("node2", "sh", "-c", "cp -a /etc/ssh /etc/ssh.kept && rm /etc/ssh/ssh_host_*")
    try:
        lab.on("node2", "sh", "-c", "ssh-keygen -A && systemctl restart ssh")
        done = maas("bootstrap", "--inventory", str(lab.state / "hosts.yaml"), "--yes", status=1)
        assert "host key of node2" in done.stderr
    finally:
        lab.on("node2", "sh", "-c", "rm -r /etc/ssh && mv /etc/ssh.kept /etc/ssh && systemctl restart ssh")


def test_the_restaurant_answers_at_the_address_that_up_prints(lab: Lab) -> None:
    url = cluster_status.restaurant_url(lab.name, lab.cluster)
    assert url is not None
    with urllib.request.urlopen(f"{url}/", timeout=20) as answer:
        assert answer.status == 200
        assert "<html" in answer.read().decode()


def test_helm_test_places_an_order_and_reads_it_back(lab: Lab) -> None:
    words = [str(tools.tool("helm")), "test", "maas", "-n", "maas", "--timeout", "3m"]
    environment = {"KUBECONFIG": str(lab.cluster.kubeconfig), "HOME": str(lab.state)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Succeeded" in done.stdout


def test_the_token_of_a_viewer_can_read_but_neither_delete_nor_see_secrets(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "viewer"
    maas("credentials", "--name", lab.name, "--role", "viewer", "--kubeconfig", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    words = [str(tools.tool("kubectl")), f"--kubeconfig={file}", "auth", "can-i"]

    def may(*what: str) -> str:
        # The exit status of "no" is 1, and so is that of an error, which says neither.
        return subprocess.run([*words, *what], capture_output=True, text=True, check=False).stdout.strip()

    assert may("list", "pods", "-n", "restaurant") == "yes"
    assert may("delete", "pods", "-n", "restaurant") == "no"
    assert may("get", "secrets", "-n", "restaurant") == "no"


def states(transcript: str) -> dict[str, str]:
    """Return the state of each node in the table that `status` prints."""
    rows = re.findall(
        rf"^(\S+) +{re.escape(VPN)}\d+ +(?:control plane|worker) +v\S+ +(.+?) *$", transcript, re.MULTILINE
    )
    return dict(rows)


def test_status_shows_every_node_as_ready(lab: Lab) -> None:
    assert states(maas("status", "--name", lab.name).stderr) == dict.fromkeys(HOSTS, "Ready")


def test_under_load_the_restaurant_scales_to_four_pods_or_more_and_down_again(lab: Lab) -> None:
    result = load(lab.cluster, rate=160, orders=0.5, seconds=100, node="node1")
    print([(s.second, s.ready, s.desired, s.utilization) for s in result.samples[::5]], result.report.get("failures"))
    assert result.most >= 4, f"{result.most} pods at most"
    # A saturated pod may answer after a guest's timeout; more than one in a hundred would be a defect.
    assert result.report["failed"] <= result.report["sent"] / 100, result.report["failures"]
    assert len(result.orders) > 1000, f"{len(result.orders)} orders were accepted"
    assert set(result.orders) <= orders(lab), "an accepted order is not in the database"
    began = time.monotonic()
    while runner.scale(lab.cluster, since=began).replicas > 1:
        assert time.monotonic() - began < 180, "it does not scale down to one pod"
        time.sleep(1)


def test_pods_of_a_dead_node_are_ready_elsewhere_in_90_seconds_and_no_order_is_lost(lab: Lab) -> None:
    lab.kubectl("-n", "restaurant", "patch", "hpa", "restaurant", "--patch", '{"spec":{"minReplicas":3}}')
    lab.kubectl("-n", "restaurant", "rollout", "status", "deployment/restaurant", "--timeout=120s")
    deadline = time.monotonic() + 120
    while sum(pod.ready for pod in pods(lab, "restaurant")) < 3:
        assert time.monotonic() < deadline
        time.sleep(1)
    (database,) = pods(lab, restaurant.DATABASE)
    home = database.node
    victim = next(node for node in ("node1", "node2") if node != home)
    assert any(pod.node == victim for pod in pods(lab, "restaurant")), "the node that dies has no pod to lose"
    try:
        with guests(lab.cluster, rate=10, orders=0.5, seconds=110, node=home) as running:
            time.sleep(10)
            died = time.monotonic()
            lab_power.kill(lab.name, victim)
            healed = None
            while time.monotonic() - died < 150:
                if sum(pod.ready for pod in pods(lab, "restaurant") if pod.node == home) >= 3:
                    healed = time.monotonic() - died
                    break
                time.sleep(0.5)
            result = running.result()
        print(
            f"node lost: pods Ready elsewhere after {healed} s; {result.report.get('failures')}, {result.report.get('retries')} retries"
        )
        assert healed is not None
        assert healed <= 90
        assert len(result.orders) > 100, f"{len(result.orders)} orders were accepted"
        assert set(result.orders) <= orders(lab), "an accepted order is not in the database"
        assert len(result.orders) == len(set(result.orders))

        assert not next(node for node in lab.cluster.nodes() if node.name == victim).ready
        shown = states(maas("status", "--name", lab.name, status=1).stderr)
        assert shown.pop(victim).startswith("not Ready: ")
        assert set(shown.values()) == {"Ready"}
    finally:
        back = time.monotonic()
        lab_power.start(lab.name, victim)

    while not next(node for node in lab.cluster.nodes() if node.name == victim).ready:
        assert time.monotonic() - back < 120, "the node is not Ready again"
        time.sleep(0.5)
    print(f"node back: Ready after {time.monotonic() - back:.0f} s")
    while behind := [str(workload) for workload in lab.cluster.workloads() if not workload.settled]:
        assert time.monotonic() - back < 180, f"not Ready again: {behind}"
        time.sleep(1)
    print(f"node back: everything Ready after {time.monotonic() - back:.0f} s")


def test_the_tunnel_to_the_api_server_opens_again_after_it_was_closed(lab: Lab) -> None:
    tunnel.close(lab.state)
    # The restaurant may just be scaling, and is not Ready then.
    assert states(maas("status", "--name", lab.name, status=None).stderr) == dict.fromkeys(HOSTS, "Ready")
