"""`maas status`: nodes, workloads, certificates and addresses of a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from maas import console, paths
from maas.cluster import status as cluster_status
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maas.cluster.certificates import Certificate
    from maas.cluster.client import Cluster
    from maas.cluster.objects import Node
    from maas.cluster.status import Status


def status(name: str) -> None:
    """Show the state of a cluster.

    Raises:
        UsageError: There is no cluster of that name.
        ClusterError: It does not answer, or a node or workload is not Ready.
    """
    found = cluster_status.gather(name)
    if console.json_requested():
        console.document(_data(found))
    else:
        _show(found)
    if found.problems:
        raise ClusterError(f"{name} is not Ready", context=found.problems, code="NotReady")


def _show(found: Status) -> None:
    console.table(
        f"nodes of {found.name}",
        ("node", "address", "role", "kubelet", "state"),
        [
            (
                node.name,
                node.address,
                _role(node),
                node.version,
                "Ready" if node.ready else f"not Ready: {node.reason}",
            )
            for node in found.nodes
        ],
    )
    console.table(
        "hubs of the VPN",
        ("hub", "tunnels", "without a tunnel", "API"),
        [
            (
                hub.name,
                f"{len(hub.tunnels) - len(hub.missing)}/{len(hub.tunnels)}" if hub.answers else "does not answer",
                ", ".join(hub.missing),
                "announced" if hub.announces_api else "",
            )
            for hub in found.hubs
        ],
    )
    console.table(
        "workloads",
        ("namespace", "kind", "name", "ready"),
        [(item.namespace, item.kind, item.name, f"{item.ready}/{item.wanted}") for item in found.workloads],
    )
    show_certificates(found.certificates)
    pages = {"restaurant": found.restaurant, "dashboards": found.dashboards}
    _summary(found.name, nodes=found.nodes, pages=pages, kubeconfig=str(found.kubeconfig))


def _data(found: Status) -> dict[str, Any]:
    return {
        "cluster": found.name,
        "ready": not found.problems,
        "nodes": [
            {
                "name": node.name,
                "address": node.address,
                "role": _role(node),
                "kubelet": node.version,
                "ready": node.ready,
                "reason": node.reason,
            }
            for node in found.nodes
        ],
        "hubs": [
            {"name": hub.name, "answers": hub.answers, "tunnels": hub.tunnels, "announces_api": hub.announces_api}
            for hub in found.hubs
        ],
        "workloads": [
            {
                "namespace": item.namespace,
                "kind": item.kind,
                "name": item.name,
                "ready": item.ready,
                "wanted": item.wanted,
            }
            for item in found.workloads
        ],
        "certificates": certificates_data(found.certificates),
        "restaurant": found.restaurant,
        "dashboards": found.dashboards,
        "kubeconfig": str(found.kubeconfig),
    }


def show_certificates(certificates: Sequence[Certificate]) -> None:
    """Show when certificates expire, and what renews them."""
    now = datetime.now(UTC)
    console.table(
        "certificates",
        ("expires first", "on", "days", "renewed by"),
        [(item.name, f"{item.expires:%Y-%m-%d}", (item.expires - now).days, item.renewal) for item in certificates],
    )


def certificates_data(certificates: Sequence[Certificate]) -> list[dict[str, str]]:
    """Return certificates for `--output json`."""
    return [{"name": item.name, "expires": item.expires.isoformat(), "renewal": item.renewal} for item in certificates]


def _role(node: Node) -> str:
    return "control plane" if node.control_plane else "worker"


def summarize(name: str, cluster: Cluster, *, pages: Mapping[str, str | None]) -> None:
    """Show how to reach a cluster and what runs on it; pages that are not installed have no address."""
    _summary(name, nodes=cluster.nodes(), pages=pages, kubeconfig=str(cluster.kubeconfig))


def _summary(name: str, *, nodes: list[Node], pages: Mapping[str, str | None], kubeconfig: str) -> None:
    rows = [("nodes", ", ".join(f"{node.name} {node.address}" for node in nodes))]
    rows += [(title, address) for title, address in pages.items() if address is not None]
    of = [] if name == "lab" else ["--name", name]
    if pages["dashboards"] is not None:
        rows.append(("token to log in", paths.command("credentials", *of, "--role", "viewer", "--token")))
    rows += [
        ("kubeconfig", kubeconfig),
        ("kubectl", paths.command("kubectl", *of, "get", "nodes")),
        ("status", paths.command("status", *of)),
    ]
    console.table(f"cluster {name}", ("", ""), rows)
