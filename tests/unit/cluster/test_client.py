from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maas.cluster.client import Cluster
from maas.console import Phase
from maas.errors import ClusterError


def node(name: str, *, ready: bool = True) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "message": "" if ready else "no network"}
    status = {
        "conditions": [condition],
        "addresses": [{"type": "InternalIP", "address": "10.90.0.2"}],
        "nodeInfo": {"kubeletVersion": "v1.37.2"},
    }
    return {"metadata": {"name": name}, "status": status}


def daemon_set(*, wanted: int, ready: int, updated: int | None = None) -> dict[str, Any]:
    status = {"desiredNumberScheduled": wanted, "numberReady": ready, "observedGeneration": 1}
    status["updatedNumberScheduled"] = ready if updated is None else updated
    return {"metadata": {"name": "calico-node", "namespace": "calico-system", "generation": 1}, "status": status}


def deployment(*, ready: int, generation: int = 1, **spec: int) -> dict[str, Any]:
    status = {"readyReplicas": ready, "updatedReplicas": ready, "observedGeneration": 1}
    metadata = {"name": "coredns", "namespace": "kube-system", "generation": generation}
    return {"metadata": metadata, "spec": spec, "status": status}


def pod(reason: str) -> dict[str, Any]:
    waiting = {"image": "docker.io/grafana/grafana:13", "state": {"waiting": {"reason": reason}}}
    return {"metadata": {"name": "grafana", "namespace": "monitoring"}, "status": {"containerStatuses": [waiting]}}


class World:
    """The responses of an API server."""

    def __init__(self) -> None:
        self.nodes = [node("master"), node("node1")]
        self.daemon_sets: list[dict[str, Any]] = []
        self.deployments: list[dict[str, Any]] = []
        self.pods: list[dict[str, Any]] = []
        self.now = 0.0

    def cluster(self, monkeypatch: pytest.MonkeyPatch, *absent: str) -> Cluster:
        def answer(items: list[dict[str, Any]]) -> Any:
            return lambda **_: SimpleNamespace(data=json.dumps({"items": items}))

        core = SimpleNamespace(
            list_node=answer(self.nodes),
            list_pod_for_all_namespaces=answer(self.pods),
            list_event_for_all_namespaces=lambda **_: SimpleNamespace(items=[]),
        )
        apps = SimpleNamespace(
            list_daemon_set_for_all_namespaces=answer(self.daemon_sets),
            list_deployment_for_all_namespaces=answer(self.deployments),
            list_stateful_set_for_all_namespaces=answer([]),
        )
        made = Cluster(Path("/kubeconfig"), frozenset(absent))
        vars(made).update(core=core, apps=apps)

        def passes(seconds: float) -> None:
            self.now += seconds

        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr("time.sleep", passes)
        monkeypatch.setattr(Cluster, "_next_change", lambda _, seconds: passes(seconds))
        return made


def test_nodes_say_why_they_are_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.nodes = [node("node1", ready=False), node("master")]
    master, other = world.cluster(monkeypatch).nodes()
    assert (master.name, master.ready, master.address) == ("master", True, "10.90.0.2")
    assert (other.ready, other.reason) == (False, "no network")


@pytest.mark.parametrize(
    ("workload", "settled"),
    [
        (daemon_set(wanted=3, ready=3), True),
        (daemon_set(wanted=3, ready=2), False),
        (daemon_set(wanted=3, ready=3, updated=2), False),
        (daemon_set(wanted=0, ready=0), False),
    ],
)
def test_a_daemon_set_is_settled_when_the_pods_of_its_current_revision_are_ready(
    workload: dict[str, Any], settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.daemon_sets = [workload]
    (found,) = world.cluster(monkeypatch).workloads()
    assert found.settled is settled


def test_pods_of_a_node_that_is_known_to_be_down_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.daemon_sets = [daemon_set(wanted=3, ready=2)]
    cluster = world.cluster(monkeypatch, "node1")
    assert [found.settled for found in cluster.workloads()] == [True]
    assert [found.name for found in cluster.nodes()] == ["master"]


def test_a_deployment_that_the_controller_has_not_observed_is_not_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.deployments = [
        deployment(ready=1, replicas=1, generation=2),
        deployment(ready=1),
        deployment(ready=0, replicas=0),
    ]
    assert [found.settled for found in world.cluster(monkeypatch).workloads()] == [False, True, True]


def test_a_failing_image_pull_ends_the_wait_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.deployments = [deployment(ready=0, replicas=1)]
    world.pods = [pod("ImagePullBackOff")]
    with pytest.raises(ClusterError, match="image pull failed") as caught:
        world.cluster(monkeypatch).wait_ready(nodes=2, step=Phase("Ready"))
    assert caught.value.context == ("docker.io/grafana/grafana:13, for monitoring/grafana",)
    assert world.now < 100


def test_a_pod_that_only_starts_is_waited_for_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.deployments = [deployment(ready=0, replicas=1)]
    world.pods = [pod("ContainerCreating")]
    with pytest.raises(ClusterError, match="timed out after 300 s") as caught:
        world.cluster(monkeypatch).wait_ready(nodes=2, step=Phase("Ready"))
    assert "kube-system/coredns 0/1" in caught.value.context


def test_a_database_waits_for_its_node_and_so_does_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    waiting, other = deployment(ready=0, replicas=1), deployment(ready=1, replicas=1)
    waiting["metadata"].update(name="restaurant", namespace="restaurant")
    world.deployments = [waiting, other]
    metadata = {"name": "database-0", "namespace": "restaurant", "ownerReferences": [{"kind": "StatefulSet"}]}
    world.pods = [{"metadata": metadata, "spec": {"nodeName": "node1"}, "status": {}}]
    later = world.cluster(monkeypatch, "node1").wait_ready(nodes=1, step=Phase("Ready"))
    assert later == ["restaurant/restaurant 0/1"]
    with pytest.raises(ClusterError) as caught:
        world.cluster(monkeypatch).wait_ready(nodes=2, step=Phase("Ready"))
    assert "restaurant/restaurant 0/1" in caught.value.context


def test_nodes_that_have_not_joined_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError) as caught:
        World().cluster(monkeypatch).wait_nodes(3, step=Phase("Nodes ready"))
    assert "1 nodes have not joined" in caught.value.context
