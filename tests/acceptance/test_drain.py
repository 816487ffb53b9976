"""What a node holds, and its drain and deletion, on a real API server with fake nodes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.control_plane import control_plane, fake_nodes

from maas import console
from maas.cluster import drain
from maas.cluster.client import Cluster, listed
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(600)

LABELS = {"app": "shop"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    with control_plane(directory, controllers=("*",)) as kubeconfig, fake_nodes(directory, kubeconfig, count=2):
        running = Cluster(kubeconfig)
        running.wait(lambda: [node.name for node in running.nodes() if not node.ready], what="fake nodes", timeout=60)
        yield running


def pod_spec(**extra: Any) -> dict[str, Any]:
    return {"containers": [{"name": "shop", "image": "example.org/shop:1"}], **extra}


def deployment(replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": LABELS}, "spec": pod_spec()}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    return {"metadata": {"name": "shop"}, "spec": spec}


def nodes_of_pods(cluster: Cluster, namespace: str) -> list[str]:
    pods = listed(cluster.core.list_namespaced_pod, namespace)
    return sorted(pod["spec"].get("nodeName", "") for pod in pods if "deletionTimestamp" not in pod["metadata"])


def namespace(cluster: Cluster, name: str) -> str:
    cluster.core.create_namespace({"metadata": {"name": name}})
    cluster.wait(
        lambda: [] if listed(cluster.core.list_namespaced_service_account, name) else ["default"],
        what="the service account",
        timeout=30,
    )
    return name


def test_a_node_that_does_not_exist_holds_nothing(cluster: Cluster) -> None:
    assert drain.contents(cluster, "fake9") is None


def test_a_drain_that_a_budget_blocks_ends_with_its_reason_and_a_schedulable_node(cluster: Cluster) -> None:
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    where = namespace(cluster, "blocked")
    cluster.core.create_namespaced_pod(
        where, {"metadata": {"name": "shop", "labels": LABELS}, "spec": pod_spec(nodeName="fake0")}
    )
    budgets = client.PolicyV1Api(cluster.client)
    budget = {"metadata": {"name": "shop"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}}
    budgets.create_namespaced_pod_disruption_budget(where, budget)

    def blocked() -> list[str]:
        held = drain.contents(cluster, "fake0")
        assert held is not None
        return [] if held.blocked else ["the budget has not counted its pods"]

    cluster.wait(blocked, what="the budget", timeout=60)
    held = drain.contents(cluster, "fake0")
    assert held is not None
    assert held.ready
    assert held.deleted == ("blocked/shop",)
    assert held.blocked == ("blocked/shop: The disruption budget shop needs 1 healthy pods and has 1 currently",)
    with pytest.raises(ClusterError) as caught, console.phase("drain") as step:
        drain.drain(cluster, "fake0", moved=(), timeout=3, step=step)
    assert caught.value.code == "DrainFailed"
    assert any("disruption budget" in line for line in caught.value.context)
    assert not cluster.core.read_node("fake0").spec.unschedulable
    budgets.delete_namespaced_pod_disruption_budget("shop", where)
    cluster.core.delete_namespaced_pod("shop", where)


def test_volumes_of_one_node_are_found_and_deleted_with_their_claims(cluster: Cluster) -> None:
    where = namespace(cluster, "data")
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["fake1"]}
    volume = {
        "metadata": {"name": "books"},
        "spec": {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "own",
            "local": {"path": "/nowhere"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
    }
    claim = {
        "metadata": {"name": "books"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "own",
            "volumeName": "books",
            "resources": {"requests": {"storage": "5Gi"}},
        },
    }
    cluster.core.create_persistent_volume(volume)
    cluster.core.create_namespaced_persistent_volume_claim(where, claim)
    mounted = [{"name": "books", "persistentVolumeClaim": {"claimName": "books"}}]
    cluster.core.create_namespaced_pod(
        where, {"metadata": {"name": "shop", "labels": LABELS}, "spec": pod_spec(volumes=mounted)}
    )

    def bound() -> list[str]:
        held = drain.contents(cluster, "fake1")
        assert held is not None
        return [] if held.volumes else ["the claim is not bound"]

    cluster.wait(bound, what="the claim to be bound", timeout=60)
    other, own = drain.contents(cluster, "fake0"), drain.contents(cluster, "fake1")
    assert own is not None
    assert other is not None
    assert [str(volume) for volume in own.volumes] == ["data/books (5Gi)"]
    assert other.volumes == ()
    drain.delete_volumes(cluster, own.volumes)

    def left() -> list[str]:
        claims = listed(cluster.core.list_namespaced_persistent_volume_claim, where)
        volumes = [v for v in listed(cluster.core.list_persistent_volume) if v["metadata"]["name"] == "books"]
        pods = listed(cluster.core.list_namespaced_pod, where)
        return [item["metadata"]["name"] for item in (*claims, *volumes, *pods)]

    cluster.wait(left, what="volume, claim and pod to be gone", timeout=60)


def test_pods_of_a_drained_node_are_created_on_the_other(cluster: Cluster) -> None:
    where = namespace(cluster, "shop")
    cluster.apps.create_namespaced_deployment(where, deployment(4))
    cluster.wait(
        lambda: [] if nodes_of_pods(cluster, where).count("fake1") else ["no pod on fake1"],
        what="pods on fake1",
        timeout=60,
    )
    held = drain.contents(cluster, "fake1")
    assert held is not None
    count = nodes_of_pods(cluster, where).count("fake1")
    assert len([name for name in held.evicted if name.startswith("shop/")]) == count
    assert held.blocked == ()
    assert held.moved == (("shop/shop",) if count == 4 else ())
    began = time.monotonic()
    with console.phase("drain") as step:
        drain.drain(cluster, "fake1", moved=held.moved, timeout=60, step=step)
    print(f"\n{count} pods evicted after {time.monotonic() - began:.1f} s")
    drain.delete_node(cluster, "fake1")
    drain.delete_node(cluster, "fake1")  # again, as after an interruption
    assert drain.contents(cluster, "fake1") is None
    cluster.wait(
        lambda: [] if nodes_of_pods(cluster, where) == ["fake0"] * 4 else ["pods are not on fake0"],
        what="four pods on fake0",
        timeout=60,
    )


def test_a_deployment_on_one_node_starts_elsewhere_before_its_pod_ends(cluster: Cluster) -> None:
    where = namespace(cluster, "single")
    cluster.core.patch_node("fake0", {"spec": {"unschedulable": False}})
    room = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    cluster.core.create_node({"metadata": {"name": "fake2"}, "status": {"allocatable": room, "capacity": room}})
    cluster.apps.create_namespaced_deployment(where, deployment(1))
    cluster.wait(
        lambda: [] if all(nodes_of_pods(cluster, where)) and nodes_of_pods(cluster, where) else ["no pod"],
        what="the pod",
        timeout=60,
    )
    (node,) = nodes_of_pods(cluster, where)
    held = drain.contents(cluster, node)
    assert held is not None
    assert "single/shop" in held.moved
    with console.phase("drain") as step:
        drain.drain(cluster, node, moved=("single/shop",), timeout=60, step=step)
    (after,) = nodes_of_pods(cluster, where)
    assert after not in {node, ""}
    names = [entry.reason for entry in cluster.core.list_namespaced_event(where).items if entry.reason == "Evicted"]
    assert names == []
