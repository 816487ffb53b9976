"""The monitoring of a fresh lab: everything is collected, nothing is wrong, and whoever must not connect does not."""

from __future__ import annotations

import base64
import json
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.support.monitoring import NAMESPACE, POD, Monitoring

from maas.bundle import tools

if TYPE_CHECKING:
    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]

NODES = 3
JOBS = {
    "alertmanager": 1,
    "apiserver": 1,
    "calico-kube-controllers": 1,
    "calico-node": NODES,
    "config-reloader": 2,
    "coredns": 2,
    "etcd": 1,
    "kube-controller-manager": 1,
    "kube-proxy": NODES,
    "kube-scheduler": 1,
    "kube-state-metrics": 2,
    "kubelet": 3 * NODES,
    "metrics-server": 1,
    "node-exporter": NODES,
    "postgresql": 1,
    "prometheus": 1,
    "prometheus-operator": 1,
    "restaurant": 1,
}
"""The targets of each job; the restaurant has one for each of its pods, and so at least one."""

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
    "postgresql": 2_000,
    "prometheus": 2_500,
    "prometheus-operator": 700,
    "restaurant": 2_000,
}
"""Series that a job may have in a lab of three nodes. What grows past it is a metric that somebody must want."""

OF_OTHERS = {"apiserver"}
"""Jobs whose targets are not pods and not nodes' own programs, and so carry no node."""

SECURE = {"apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "metrics-server"}
"""Jobs whose targets ask who comes."""


STRANGER = """
import ssl, sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10, context=ssl._create_unverified_context()).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
"""Asks without a token, and prints the status."""


@pytest.fixture(scope="module")
def monitoring(lab: Lab) -> Monitoring:
    found = Monitoring(lab.cluster)
    found.wait("Prometheus", lambda: not found.targets(), seconds=240)
    return found


def test_every_target_is_there_and_up(monitoring: Monitoring) -> None:
    def missing() -> list[str]:
        targets = monitoring.targets()
        found = Counter(target["labels"]["job"] for target in targets)
        down = [f"{t['labels']['job']} {t['scrapeUrl']}: {t['lastError']}" for t in targets if t["health"] != "up"]
        return down + [f"{job}: {found[job]} of {wanted}" for job, wanted in JOBS.items() if found[job] < wanted]

    print(f"all targets up after {monitoring.wait('all targets', missing, seconds=240):.0f} s")
    assert {target["labels"]["job"] for target in monitoring.targets()} == set(JOBS), "a target that nobody asked for"


def test_targets_carry_the_name_of_their_node(monitoring: Monitoring) -> None:
    for target in monitoring.targets():
        # kube-state-metrics tells about objects: they must not look as if they were on its own node.
        about_objects = target["labels"]["job"] == "kube-state-metrics" and target["scrapePool"].endswith("/0")
        if target["labels"]["job"] not in OF_OTHERS and not about_objects:
            assert target["labels"]["node"] in {"master", "node1", "node2"}, target["labels"]


def test_who_asks_is_checked_and_so_is_who_answers(lab: Lab, monitoring: Monitoring) -> None:
    secure = [target for target in monitoring.targets() if target["scrapeUrl"].startswith("https://")]
    assert {target["labels"]["job"] for target in secure} == SECURE
    for target in secure:
        # From a host, which policies let in.
        assert lab.on("master", "python3", "-c", STRANGER, target["scrapeUrl"]).strip() in {"401", "403"}, target
    configuration = monitoring.prometheus.get("status/config")["yaml"]
    assert configuration.count("insecure_skip_verify: true") == 1, "metrics-server's alone"


def test_only_the_watchdog_fires_and_alertmanager_knows(monitoring: Monitoring) -> None:
    monitoring.wait("the Watchdog in Alertmanager", lambda: not monitoring.told(), seconds=120)
    assert {alert["labels"]["alertname"] for alert in monitoring.told()} == {"Watchdog"}
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


def reach(lab: Lab, address: str) -> str:
    """What Prometheus' pod, which may connect to everything, finds at an address: `answers` or `silence`."""
    words = [str(tools.tool("kubectl")), f"--kubeconfig={lab.cluster.kubeconfig}", "-n", NAMESPACE, "exec", POD]
    words += ["-c", "prometheus", "--", "/bin/promtool", "check", "healthy", f"--url=http://{address}"]
    try:
        subprocess.run(words, capture_output=True, text=True, timeout=8, check=False)
    except subprocess.TimeoutExpired:
        return "silence"
    return "answers"


def address_of(lab: Lab, namespace: str, name: str) -> str:
    pods = lab.cluster.core.list_namespaced_pod(namespace, label_selector=f"app.kubernetes.io/name={name}").items
    address: str = pods[0].status.pod_ip
    return address


def test_what_the_table_of_flows_has_passes_and_the_rest_is_dropped(lab: Lab) -> None:
    alertmanager = address_of(lab, NAMESPACE, "alertmanager")
    assert reach(lab, f"{alertmanager}:9093") == "answers"
    assert reach(lab, f"{alertmanager}:9094") == "silence", "the mesh is among Alertmanagers"
    assert reach(lab, f"{address_of(lab, 'restaurant', 'restaurant-database')}:5432") == "silence"


def test_the_release_fits_its_secret_four_times_over(lab: Lab) -> None:
    # Helm keeps a release in one Secret, and the API server takes no more than 1,048,576 bytes.
    found = lab.cluster.core.list_namespaced_secret("maas", label_selector="owner=helm,name=maas").items
    size = max(len(base64.b64decode(secret.data["release"])) for secret in found)
    print(f"release secret: {size} bytes")
    assert size < 250_000


def test_the_monitoring_takes_little_at_rest(monitoring: Monitoring) -> None:
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
    # Three nodes with all that watches them.
    assert sum(memory.values()) < 1500
