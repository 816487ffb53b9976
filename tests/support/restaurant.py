"""The restaurant application of a lab: its pods, its orders, and guests who come to it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kubernetes.client.exceptions import ApiException

from maas import console
from maas.loadtest import runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from tests.support.labs import Lab

    from maas.cluster.client import Cluster

NAMESPACE = "restaurant"
URL = "http://restaurant.restaurant"
DATABASE = "restaurant-database"


@dataclass(frozen=True)
class Pod:
    """A pod of the application or of its database."""

    name: str
    node: str
    ready: bool


def pods(lab: Lab, component: str) -> list[Pod]:
    """Return the pods of a component, without those that are being deleted."""
    selector = f"--selector=app.kubernetes.io/name={component}"
    items: list[dict[str, Any]] = json.loads(lab.kubectl("get", "pods", "-n", NAMESPACE, selector, "-o", "json"))[
        "items"
    ]
    return [
        Pod(
            item["metadata"]["name"],
            item["spec"].get("nodeName", ""),
            ready=any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in item["status"].get("conditions", [])
            ),
        )
        for item in items
        if "deletionTimestamp" not in item["metadata"]
    ]


def query(lab: Lab, sql: str) -> list[str]:
    """Return the words of the database's own answer to a query."""
    command = f'psql -X -A -t -d restaurant -c "{sql}"'
    return lab.kubectl(
        "exec", "-n", NAMESPACE, primary(lab).name, "-c", "postgresql", "--", "sh", "-c", command
    ).split()


def primary(lab: Lab) -> Pod:
    """Return the pod of the database that accepts writes: the only one, or the one that Patroni has labeled."""
    found = pods(lab, DATABASE)
    if len(found) > 1:
        found = pods(lab, f"{DATABASE},role=primary")
    (pod,) = found
    return pod


def orders(lab: Lab) -> set[str]:
    """Return the references of all orders."""
    return set(query(lab, "select reference from orders"))


def load(cluster: Cluster, *, rate: float, orders: float, seconds: float, node: str) -> runner.Result:
    """Send guests who read the menu and order, the same ones each time, for a number of seconds."""
    with console.phase("Load") as step:
        result = runner.run(
            cluster,
            url=URL,
            image=runner.image(cluster),
            rate=rate,
            seconds=seconds,
            orders=orders,
            seed=7,
            node=node,
            step=step,
        )
    assert result.orders, "no order was accepted"
    return result


@contextmanager
def guests(
    cluster: Cluster, *, rate: float, orders: float, seconds: float, node: str
) -> Iterator[Future[runner.Result]]:
    """Run a load beside the block, which starts when its first guests have come."""
    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(load, cluster, rate=rate, orders=orders, seconds=seconds, node=node)
        while not running.done():
            with suppress(ApiException):
                if "{" in cluster.core.read_namespaced_pod_log("load", runner.NAMESPACE):
                    break
            time.sleep(0.5)
        yield running
