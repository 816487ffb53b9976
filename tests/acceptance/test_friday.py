"""A Friday evening in a lab: guests come and go, the restaurant scales up and down, pods are replaced and a node is lost.

No request may fail except those to a node that dies, and every confirmed order is in the database once. What was seen is written to proof/friday.md.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException
from tests.support import lab_power, labs

from maas import console
from maas.loadtest import runner as guests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maas.cluster.client import Cluster

ROOT = Path(__file__).parents[2]
VALUES = Path(__file__).with_name("friday-values.yaml")
REPORT = ROOT / "proof" / "friday.md"
NAME = "friday"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with labs.running(NAME, "--values", str(VALUES)) as running:
        yield running.cluster


@pytest.fixture(scope="module")
def report() -> Iterator[list[str]]:
    lines = ["# A Friday's service", ""]
    yield lines
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sql(query: str) -> list[str]:
    """Return the words of the database's own answer."""
    ask = "kubectl --namespace restaurant exec restaurant-database-0 --container postgresql --"
    command = f'{ask} psql -X -A -t -U postgres -d restaurant -c "{query}"'
    words = [
        "docker",
        "exec",
        "-e",
        "KUBECONFIG=/etc/kubernetes/admin.conf",
        f"maas-{NAME}-master",
        "sh",
        "-c",
        command,
    ]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout.split()


def home_of_the_database(cluster: Cluster) -> str:
    """Return the node whose disk has the orders; it must not be stopped."""
    node: str = cluster.core.read_namespaced_pod("restaurant-database-0", "restaurant").spec.node_name
    return node


def friday(cluster: Cluster, *, rate: float, seconds: float, node: str, seed: int) -> guests.Result:
    with console.phase(f"a Friday: {rate:g} guests a second for {seconds:g} s") as step:
        return guests.run(
            cluster,
            url="http://restaurant.restaurant",
            image=guests.image(cluster),
            profile="friday",
            rate=rate,
            seconds=seconds,
            orders=0,
            seed=seed,
            node=node,
            step=step,
        )


def settled(cluster: Cluster, *, pods: int, timeout: float) -> None:
    """Wait until the restaurant has this many pods, all Ready and none being deleted."""

    def missing() -> list[str]:
        found = cluster.core.list_namespaced_pod("restaurant", label_selector="app.kubernetes.io/name=restaurant").items
        ready = [
            pod
            for pod in found
            if pod.metadata.deletion_timestamp is None
            and any(entry.type == "Ready" and entry.status == "True" for entry in pod.status.conditions or ())
        ]
        return [] if len(found) == len(ready) == pods else [f"{len(ready)} pods Ready of {len(found)}"]

    cluster.wait(missing, what=f"{pods} pods of the restaurant", timeout=timeout)


def assert_no_failures(result: guests.Result) -> None:
    """Assert that every request was answered, and every connection opened at the first attempt."""
    assert result.report["failed"] == 0, result.report["failures"]
    assert result.report["unreached"] == {}


def assert_every_order_once(result: guests.Result) -> None:
    """Assert that every confirmed order is in the database once, and paid once if it was paid."""
    assert len(result.orders) == len(set(result.orders)) > 0
    found = sql("select reference from orders")
    assert len(found) == len(set(found))
    assert set(result.orders) <= set(found), "a confirmed order is not in the database"
    paid = sql("select o.reference from payment p join orders o on o.id = p.order_id")
    assert len(paid) == len(set(paid)), "an order was paid twice"
    assert set(result.report["paid"]) <= set(paid), "a confirmed payment is not in the database"
    booked = sql("select reference from booking")
    assert set(result.report["bookings"]) <= set(booked)


def described(title: str, result: guests.Result, **more: object) -> list[str]:
    account = {key: value for key, value in result.report.items() if key not in {"orders", "paid", "bookings"}}
    rows: dict[str, Any] = {"most pods Ready at once": result.most, **account, "orders": len(result.orders), **more}
    return [f"## {title}", "", *(f"- {key}: {json.dumps(value)}" for key, value in rows.items()), ""]


def complaints(cluster: Cluster, *, seconds: int) -> list[str]:
    """Return the errors that the restaurant's remaining pods logged in the last seconds."""
    found = []
    for pod in cluster.core.list_namespaced_pod("restaurant", label_selector="app.kubernetes.io/name=restaurant").items:
        with contextlib.suppress(ApiException):
            text = cluster.core.read_namespaced_pod_log(pod.metadata.name, "restaurant", since_seconds=seconds)
            found += [f"{pod.spec.node_name}: {line}" for line in text.splitlines() if '"level": "error"' in line]
    return found


def during(seconds: float, act: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_scaling_to_eight_pods_and_back_fails_no_request(cluster: Cluster, report: list[str]) -> None:
    settled(cluster, pods=1, timeout=600)
    known = set(sql("select reference from orders"))
    result = friday(cluster, rate=45, seconds=150, node=home_of_the_database(cluster), seed=1)
    began = time.monotonic()
    settled(cluster, pods=1, timeout=600)
    report += described("1 to 8 or more pods and back to 1", result, back_to_one_s=round(time.monotonic() - began))
    assert_no_failures(result)
    assert result.most >= 8
    assert_every_order_once(result)
    # A request without an answer may have made an order, but no guest has two.
    assert len(set(sql("select reference from orders")) - known) == len(result.orders)


def test_a_rolling_restart_under_load_fails_no_request_and_the_kitchen_screen_reconnects(
    cluster: Cluster, report: list[str]
) -> None:
    def restart() -> None:
        stamp = {"kubectl.kubernetes.io/restartedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        body = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
        cluster.apps.patch_namespaced_deployment("restaurant", "restaurant", body)

    timer = during(35, restart)
    result = friday(cluster, rate=12, seconds=100, node=home_of_the_database(cluster), seed=2)
    timer.join()
    report += described("Rolling restart under load", result)
    assert_no_failures(result)
    assert result.report["screen"]["resumed"] >= 1, "the kitchen screen was not connected to a pod that was replaced"
    assert result.report["screen"]["longest_gap_s"] < 10
    assert_every_order_once(result)


def test_a_node_that_dies_fails_only_the_requests_to_its_pods(cluster: Cluster, report: list[str]) -> None:
    home = home_of_the_database(cluster)
    (other,) = {"node1", "node2"} - {home}
    lost_at: list[float] = []

    def die() -> None:
        lost_at.append(time.time())
        lab_power.kill(NAME, other)

    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(friday, cluster, rate=15, seconds=140, node=home, seed=3)
        timer = during(60, die)
        try:
            result = running.result()
        finally:
            timer.cancel()
            timer.join()
            if lost_at:
                lab_power.start(NAME, other)
    assert lost_at, "the load ended before the node died"
    report += described("A node dies", result, node=other, complaints=complaints(cluster, seconds=200))
    # Requests to pods of the dead node are cut off or time out; all others are answered. A connection that cannot be
    # opened carries no request: it is opened again, as browsers do.
    lost = set(result.report["failures"])
    assert all(kind.rpartition(": ")[2] in {"TimeoutError", "ConnectionResetError", "OSError"} for kind in lost), lost
    # Each guest has two connections, one of them as a member of the staff, and each can be lost once.
    assert result.report["failed"] <= 2 * 48
    assert_every_order_once(result)
