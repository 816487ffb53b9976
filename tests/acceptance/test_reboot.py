"""Every host of a lab restarts, one at a time, while the API and the restaurant are used."""

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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

NAME = "rotate"
PLANES = ("master", "master2", "master3")
VALUES = str(Path(__file__).with_name("maintenance-values.yaml"))
START = "cat /proc/1/stat | sed 's/.*) //' | cut -d' ' -f20"
"""Prints when the first process of a host has started."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.running(NAME, "--control-planes", "3", "--workers", "2", "--values", VALUES) as running:
        yield running


def started(lab: Lab) -> dict[str, str]:
    """Return when each host has started."""
    return {host: lab.on(host, "sh", "-c", START).strip() for host in (*PLANES, "node1", "node2")}


def cordoned(lab: Lab) -> list[str]:
    nodes = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    return [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")]


def reboot(*words: str, status: int | None = 0) -> str:
    # On two cores that others use too, alerts on latencies can fire.
    alerts = ("KubeAPIErrorBudgetBurn", "SloErrorBudgetBurn")
    ignored = [word for name in alerts for word in ("--ignore-alert", name)]
    return maas("reboot", *words, "--name", NAME, *ignored, "--yes", status=status).stderr


def test_no_host_restarts_without_a_reason(lab: Lab) -> None:
    before = started(lab)
    assert "no host of rotate needs a reboot" in reboot()
    lab.on("node1", "sh", "-c", "touch /run/reboot-required; echo linux-image-amd64 > /run/reboot-required.pkgs")
    shown = maas("reboot", "--name", NAME, "--dry-run").stderr
    assert "reboot required by linux-image-amd64" in shown
    assert "nothing was changed" in shown
    lab.on("node1", "rm", "/run/reboot-required", "/run/reboot-required.pkgs")
    assert started(lab) == before
    assert cordoned(lab) == []


def test_hosts_restart_while_the_api_and_the_restaurant_are_used(lab: Lab) -> None:
    (database,) = restaurant.pods(lab, restaurant.DATABASE)
    staying = database.node
    leaving = next(iter({"node1", "node2"} - {staying}))
    before = started(lab)
    with (
        maintenance.traffic(lab, "reboot of a worker and three control planes", plane="master", client=staying) as cost,
        restaurant.guests(lab.cluster, rate=4, orders=0.25, seconds=240, node=staying) as guests,
    ):
        reboot(leaving, *PLANES)
        result = guests.result()
    print(
        f"restaurant: {result.report['answered']} answers, {result.report['failed']} failed: {result.report['failures']}"
    )
    after = started(lab)
    assert {host for host in after if after[host] != before[host]} == {leaving, *PLANES}
    assert cordoned(lab) == []
    assert cost.lost == 0
    assert cost.found["failed"] == 0, cost.found["errors"]
    assert result.report["failed"] == 0, result.report["failures"]
    assert set(result.orders) <= restaurant.orders(lab)


def test_a_run_that_was_killed_is_continued_and_leaves_no_node_cordoned(lab: Lab) -> None:
    before = started(lab)
    command = [sys.executable, "-m", "maas", "reboot", "node1", "--name", NAME, "--yes"]
    with subprocess.Popen(command, cwd=paths.content(), stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not cordoned(lab):
            assert process.poll() is None, "it ended early"
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    assert cordoned(lab) == ["node1"]
    # Nodes that somebody else has cordoned stay so.
    lab.kubectl("cordon", "master3")
    text = reboot("node1")
    assert "node1 accepts pods again" in text
    assert cordoned(lab) == ["master3"]
    lab.kubectl("uncordon", "master3")
    after = started(lab)
    assert {host for host in after if after[host] != before[host]} == {"node1"}


def test_a_budget_that_blocks_ends_the_run_with_the_node_schedulable(lab: Lab) -> None:
    before = started(lab)
    labels = {"app": "alone"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alone", "namespace": "default", "labels": labels},
        "spec": {
            "nodeName": "node1",
            "containers": [
                {
                    "name": "alone",
                    "image": restaurant_image(lab),
                    "command": ["python3", "-c", "import time; time.sleep(9999)"],
                }
            ],
        },
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "alone", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
    }
    lab.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, budget]}))
    lab.kubectl("wait", "pod/alone", "--for=condition=Ready", "--timeout=90s")
    try:
        text = reboot("node1", "--drain-timeout", "10", status=1)
        assert "disruption budget" in text
        assert cordoned(lab) == []
        assert started(lab) == before
    finally:
        lab.kubectl("delete", "pod/alone", "poddisruptionbudget/alone", "--grace-period=1")


def restaurant_image(lab: Lab) -> str:
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    return lab.kubectl("get", "deployment", "restaurant", "-n", "restaurant", "-o", path)
