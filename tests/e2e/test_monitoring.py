"""The monitoring of a fresh lab: every target is scraped, no alert fires, and only allowed connections succeed."""

from __future__ import annotations

import base64
import json
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.support.monitoring import NAMESPACE, POD, Monitoring
from tests.support.scrape_jobs import Endpoint, Objects

from maas.bundle import tools

if TYPE_CHECKING:
    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]

NODES = 3
BUDGET = {
    "alertmanager": 700,
    "apiserver": 20_000,
    "calico-kube-controllers": 150,
    "calico-node": 500 * NODES,
    "config-reloader": 500,
    "coredns": 900,
    "etcd": 2_500,
    "kube-controller-manager": 5_000,
    "kube-proxy": 1_000 * NODES,
    "kube-scheduler": 4_000,
    "kube-state-metrics": 4_000,
    "kubelet": 5_000 * NODES,
    "metrics-server": 1_500,
    "node-exporter": 1_500 * NODES,
    "outside": 1_500,
    "perses": 300,
    "postgresql": 2_500,
    "prometheus": 2_500,
    "prometheus-operator": 700,
    "restaurant": 2_000,
}
"""The number of series that each job may have in a lab of three nodes. To exceed it, a new metric needs a reason."""

ANONYMOUS = """
import ssl, sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10, context=ssl._create_unverified_context()).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
"""Sends a request without a token and prints the status of the response."""


@pytest.fixture(scope="module")
def monitoring(lab: Lab) -> Monitoring:
    found = Monitoring(lab.cluster)
    found.wait("Prometheus", lambda: not found.targets(), seconds=240)
    return found


@pytest.fixture(scope="module")
def endpoints(lab: Lab) -> list[Endpoint]:
    """What every monitor of the cluster selects."""
    return list(Objects.of(lab).endpoints())


def test_every_target_of_every_monitor_is_scraped(lab: Lab, monitoring: Monitoring) -> None:
    def missing() -> list[str]:
        targets = monitoring.targets()
        found = Counter(target["labels"]["job"] for target in targets)
        wanted: Counter[str] = Counter()
        for endpoint in Objects.of(lab).endpoints():
            wanted[endpoint.job] += endpoint.targets
        down = [f"{t['labels']['job']} {t['scrapeUrl']}: {t['lastError']}" for t in targets if t["health"] != "up"]
        jobs = sorted(wanted.keys() | found.keys())
        return down + [f"{job}: {found[job]} of {wanted[job]}" for job in jobs if found[job] != wanted[job]]

    print(f"all targets up after {monitoring.wait('all targets', missing, seconds=240):.0f} s")


def test_targets_have_the_name_of_their_node(monitoring: Monitoring, endpoints: list[Endpoint]) -> None:
    on_nodes = {endpoint.job for endpoint in endpoints if endpoint.on_nodes}
    for target in monitoring.targets():
        # The metrics of kube-state-metrics are about objects, which are not on its own node.
        about_objects = target["labels"]["job"] == "kube-state-metrics" and target["scrapePool"].endswith("/0")
        wanted = target["labels"]["job"] in on_nodes and not about_objects
        assert (target["labels"].get("node") in {"master", "node1", "node2"}) is wanted, target["labels"]


def test_client_and_server_of_a_scrape_by_https_verify_each_other(
    lab: Lab, monitoring: Monitoring, endpoints: list[Endpoint]
) -> None:
    secure = [target for target in monitoring.targets() if target["scrapeUrl"].startswith("https://")]
    assert {target["labels"]["job"] for target in secure} == {entry.job for entry in endpoints if entry.https}
    # The control plane and the kubelets serve nothing without a token.
    assert {target["labels"]["job"] for target in secure} >= {"apiserver", "kube-scheduler", "kubelet"}
    for target in secure:
        # From a host, which the policies allow.
        assert lab.on("master", "python3", "-c", ANONYMOUS, target["scrapeUrl"]).strip() in {"401", "403"}, target
    configuration = monitoring.prometheus.get("status/config")["yaml"]
    assert configuration.count("insecure_skip_verify: true") == 1, "of metrics-server alone"


def test_only_the_watchdog_fires_and_reaches_alertmanager(monitoring: Monitoring) -> None:
    monitoring.wait("the Watchdog in Alertmanager", lambda: not monitoring.received(), seconds=120)
    assert {alert["labels"]["alertname"] for alert in monitoring.received()} == {"Watchdog"}
    assert monitoring.names() == {"Watchdog"}


def test_every_rule_is_evaluated_without_an_error(monitoring: Monitoring) -> None:
    def unhealthy() -> list[str]:
        rules = monitoring.prometheus.rules()
        return [
            f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"
        ]

    monitoring.wait("all rules", unhealthy, seconds=120)
    assert len(monitoring.prometheus.rules()) > 200


def test_no_job_has_more_series_than_its_budget(monitoring: Monitoring) -> None:
    found = {
        labels["job"]: int(count) for labels, count in monitoring.query('count by (job) ({job!=""} unless ALERTS)')
    }
    took = monitoring.query("max by (job) (scrape_duration_seconds)")
    seconds = {labels["job"]: value for labels, value in took}
    for job, count in sorted(found.items()):
        print(f"{job:26} {count:6} series of {BUDGET.get(job, 0):6}  slowest scrape {seconds.get(job, 0):.2f} s")
    assert {job: count for job, count in found.items() if count > BUDGET.get(job, 0)} == {}
    assert BUDGET.keys() == found.keys(), "a job without a budget, or a budget without a job"


def connect(lab: Lab, address: str) -> str:
    """Connect from Prometheus' pod, whose own policy allows every address.

    Returns:
        `connected`, `dropped` when nothing answers for eight seconds, or what went wrong.
    """
    words = [str(tools.tool("kubectl")), f"--kubeconfig={lab.cluster.kubeconfig}", "-n", NAMESPACE, "exec", POD]
    words += ["-c", "prometheus", "--", "/bin/promtool", "check", "healthy", f"--url=http://{address}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=8, check=False)
    except subprocess.TimeoutExpired:
        return "dropped"
    return "connected" if done.returncode == 0 else done.stderr


def address_of(lab: Lab, namespace: str, name: str) -> str:
    pods = lab.cluster.core.list_namespaced_pod(namespace, label_selector=f"app.kubernetes.io/name={name}").items
    address: str = pods[0].status.pod_ip
    return address


def test_a_connection_of_the_flow_table_is_allowed_and_any_other_is_dropped(lab: Lab) -> None:
    alertmanager = address_of(lab, NAMESPACE, "alertmanager")
    assert connect(lab, f"{alertmanager}:9093") == "connected"
    assert connect(lab, f"{alertmanager}:9094") == "dropped", "the mesh is between peers of Alertmanager"
    assert connect(lab, f"{address_of(lab, 'restaurant', 'restaurant-database')}:5432") == "dropped"
    # So it was the policies that dropped them, and not a pod that can no longer connect.
    assert connect(lab, f"{alertmanager}:9093") == "connected"


def test_the_release_takes_less_than_a_quarter_of_what_a_secret_can_hold(lab: Lab) -> None:
    # Helm stores a release in one Secret, and the API server accepts no more than 1,048,576 bytes.
    found = lab.cluster.core.list_namespaced_secret("maas", label_selector="owner=helm,name=maas").items
    size = max(len(base64.b64decode(secret.data["release"])) for secret in found)
    print(f"release secret: {size} bytes")
    assert size < 250_000


def test_the_monitoring_of_an_idle_lab_fits_in_1500_mib(monitoring: Monitoring) -> None:
    stack = f'namespace=~"{NAMESPACE}|node-exporter",container!=""'
    memory = {
        (labels["pod"], labels["container"]): value / 2**20
        for labels, value in monitoring.query(
            f"sum by (pod, container) (container_memory_working_set_bytes{{{stack}}})"
        )
    }
    for (pod, container), used in sorted(memory.items()):
        print(f"{pod:44} {container:28} {used:6.0f} MiB")
    print(json.dumps({"memory, MiB": round(sum(memory.values()))}))
    assert sum(memory.values()) < 1500
