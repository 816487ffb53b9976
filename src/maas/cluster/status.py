"""The state of a cluster that exists: nodes, hubs, workloads, certificates and addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas.cluster import certificates, hubs, tunnel

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.certificates import Certificate
    from maas.cluster.client import Cluster
    from maas.cluster.hubs import Hub
    from maas.cluster.objects import Node, Workload

_RESTAURANT = ("restaurant", "restaurant")
"""Namespace and name of the application's Service."""

_VIEWER = ("monitoring", "perses")
"""Namespace and name of the Service of the dashboards' viewer."""


@dataclass(frozen=True)
class Status:
    """A cluster as its API server and its control-plane host report it.

    Attributes:
        name: Its name.
        nodes: All nodes, by name.
        hubs: The hubs of the VPN.
        workloads: All Deployments, DaemonSets and StatefulSets.
        certificates: Of each kind of certificate, the one that expires first.
        restaurant: Where a browser on this machine finds the restaurant; None when it is not installed.
        dashboards: The same for the viewer of the dashboards.
        kubeconfig: The administrator's kubeconfig on this machine.
    """

    name: str
    nodes: list[Node]
    hubs: list[Hub]
    workloads: list[Workload]
    certificates: list[Certificate]
    restaurant: str | None
    dashboards: str | None
    kubeconfig: Path

    @property
    def problems(self) -> list[str]:
        """Nodes and workloads that are not Ready, and hubs that do not answer."""
        nodes = [node.name for node in self.nodes if not node.ready]
        return [
            *nodes,
            *(f"hub {hub.name}" for hub in self.hubs if not hub.answers and hub.name not in nodes),
            *(str(workload) for workload in self.workloads if not workload.settled),
        ]


def gather(name: str) -> Status:
    """Return the state of a cluster.

    Raises:
        UsageError: There is no cluster of that name.
        ClusterError: It does not answer.
    """
    cluster = tunnel.connect(name)
    return Status(
        name=name,
        nodes=cluster.nodes(),
        hubs=hubs.gather(name),
        workloads=cluster.workloads(),
        certificates=certificates.expiring(name),
        restaurant=restaurant_url(name, cluster),
        dashboards=dashboards_url(name, cluster),
        kubeconfig=cluster.kubeconfig,
    )


def restaurant_url(name: str, cluster: Cluster) -> str | None:
    """Return where a browser on this machine finds the restaurant; None when it is not installed."""
    return _url(name, cluster, *_RESTAURANT)


def dashboards_url(name: str, cluster: Cluster) -> str | None:
    """Return where a browser on this machine finds the viewer of the dashboards; None when it is not installed."""
    return _url(name, cluster, *_VIEWER)


def _url(name: str, cluster: Cluster, namespace: str, service: str) -> str | None:
    from kubernetes.client.exceptions import ApiException

    try:
        spec = cluster.core.read_namespaced_service(service, namespace).spec
    except ApiException:
        return None
    return f"http://127.0.0.1:{tunnel.forward(tunnel.state_dir(name), f'{spec.cluster_ip}:{spec.ports[0].port}')}"
