"""Proves that a cluster works before anybody is told that it does.

A node can be Ready while pods on two nodes cannot exchange a full packet (a wrong MTU drops only the large ones), while
`kubectl logs` hangs (a wrong node address) or while a NetworkPolicy is silently ignored. Each of these is tried here with
real pods in a namespace of its own, which is removed afterwards.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas.cluster.client import listed
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maas.cluster.client import Cluster
    from maas.console import Phase

_ICMP_AND_IP = 28
"""Bytes of an ICMP echo header (8) and an IPv4 header (20), which a ping's payload does not count."""

_OPEN, _CLOSED = 8080, 8081
_HELLO = "maas-verify"
_TIMEOUT = 90.0
_LEARNT = 30
"""Seconds within which every node must have learnt of what is Ready on another."""
_FOUNDATION = {"calico-node", "kube-proxy", "coredns", "local-path-provisioner"}
"""The workloads that what is tried here rests on."""


@dataclass(frozen=True)
class Proof:
    """One thing that was tried and held.

    Attributes:
        what: What was proven.
        how: What was done for it, with figures.
    """

    what: str
    how: str


def verify(
    cluster: Cluster,
    *,
    addresses: dict[str, str],
    pod_mtu: int,
    image: str,
    step: Phase,
    meanwhile: Callable[[], None],
) -> list[Proof]:
    """Try the cluster with real pods on every node.

    Args:
        cluster: The cluster.
        addresses: The VPN address that each node must have, by node name.
        pod_mtu: The largest IP packet in bytes that must pass between two pods without being fragmented.
        image: A busybox image that every node has.
        step: The phase that says what is being tried.
        meanwhile: Called once there are pods to try with: from then on there is more waiting than work.

    Raises:
        ClusterError: Something did not hold; its message says what and between whom.
    """
    proofs = [_nodes(cluster, addresses)]
    with _playground(cluster, image) as namespace:
        pods = _pods(cluster, namespace, len(addresses), step)
        meanwhile()

        def network() -> list[Proof]:
            # One after the other: the policy would stop the packets.
            return [_packets(cluster, namespace, pods, pod_mtu), _policy(cluster, namespace, pods)]

        trials = {
            "packets, network policy": network,
            "DNS": lambda: [_dns(cluster, namespace, pods)],
            "logs and exec": lambda: [_logs(cluster, namespace, pods)],
            "storage": lambda: [_storage(cluster, namespace)],
        }
        step.note(", ".join(trials))
        with ThreadPoolExecutor(len(trials)) as side_by_side:
            running = [side_by_side.submit(trial) for trial in trials.values()]
            proofs += [proof for trial in running for proof in trial.result()]
    step.note(f"{len(proofs)} proofs on {len(addresses)} nodes")
    return proofs


def _nodes(cluster: Cluster, addresses: dict[str, str]) -> Proof:
    present = {node.name: node for node in cluster.nodes()}
    for name, address in addresses.items():
        node = present.get(name)
        if node is None:
            raise ClusterError(f"node {name} is not in the cluster", context=sorted(present))
        if not node.ready:
            raise ClusterError(f"node {name} is not Ready", context=[node.reason])
        if node.address != address:
            raise ClusterError(
                f"node {name} has the address {node.address}, not its VPN address {address}",
                hint="its kubelet was started with another --node-ip; logs and exec would not reach it",
            )
    return Proof("nodes", f"{len(addresses)} Ready, each with its VPN address")


@contextlib.contextmanager
def _playground(cluster: Cluster, image: str) -> Iterator[str]:
    """A namespace with one pod per node, one pod with a volume, and nothing left of it afterwards."""
    namespace = f"{_HELLO}-{secrets.token_hex(3)}"
    security = {"pod-security.kubernetes.io/enforce": "baseline"}
    cluster.core.create_namespace({"metadata": {"name": namespace, "labels": security}})
    try:
        cluster.apps.create_namespaced_daemon_set(namespace, _daemon_set(image))
        cluster.core.create_namespaced_persistent_volume_claim(namespace, _CLAIM)
        cluster.core.create_namespaced_pod(namespace, _writer(image))
        yield namespace
    finally:
        cluster.core.delete_namespace(namespace, propagation_policy="Background")


_RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# busybox sends a ping through a raw socket, which takes root and a capability that every runtime gives by default and
# that Pod Security `baseline` lets nobody add.
_PINGING: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CLAIM: dict[str, Any] = {
    "metadata": {"name": "volume"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}


def _daemon_set(image: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": _HELLO}
    # Two servers in one pod: the policy will leave one port open and close the other.
    script = f"echo {_HELLO}; httpd -p {_OPEN} -h /bin && exec httpd -f -p {_CLOSED} -h /bin"
    return {
        "metadata": {"name": _HELLO, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 0,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [
                        {
                            "name": _HELLO,
                            "image": image,
                            "command": ["sh", "-c", script],
                            "securityContext": _PINGING,
                            "readinessProbe": {"tcpSocket": {"port": _CLOSED}, "periodSeconds": 1},
                        }
                    ],
                },
            },
        },
    }


def _writer(image: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "writer"},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "securityContext": {"fsGroup": 65532},
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": "volume"}}],
            "containers": [
                {
                    "name": "writer",
                    "image": image,
                    "command": ["sh", "-c", f"echo {_HELLO} >/volume/file && sync && cat /volume/file"],
                    "securityContext": _RESTRICTED,
                    "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
                }
            ],
        },
    }


@dataclass(frozen=True)
class _Pod:
    name: str
    node: str
    address: str


def _pods(cluster: Cluster, namespace: str, count: int, step: Phase) -> list[_Pod]:
    """The pods that trials run in, once they and all that they rest on are Ready."""
    found: list[_Pod] = []

    def missing() -> list[str]:
        behind = [str(one) for one in cluster.workloads() if one.name in _FOUNDATION and not one.settled]
        items = listed(cluster.core.list_namespaced_pod, namespace, label_selector=f"app.kubernetes.io/name={_HELLO}")
        ready = [pod for pod in items if [s for s in pod["status"].get("containerStatuses", ()) if s["ready"]]]
        found[:] = [_Pod(pod["metadata"]["name"], pod["spec"]["nodeName"], pod["status"]["podIP"]) for pod in ready]
        behind += [f"{len(ready)} of {count} pods are Ready"] if len(ready) < count else []
        step.note(f"waiting: {', '.join(behind)}")
        return behind

    cluster.wait(missing, what="a pod on each node", timeout=_TIMEOUT)
    return found


def _packets(cluster: Cluster, namespace: str, pods: list[_Pod], pod_mtu: int) -> Proof:
    # A packet of exactly the pods' MTU leaves with the don't-fragment bit set (Linux sets it for every packet that fits
    # the interface); it arrives only when the tunnel below can carry it whole. A single lost one proves nothing.
    ping = f"ping -c 1 -W 2 -s {pod_mtu - _ICMP_AND_IP}"
    script = f'for a; do (for t in 1 2 3 4 5; do {ping} "$a" >/dev/null && exit; done; echo "$a") & done; wait'

    def silent(source: _Pod) -> list[str]:
        targets = {target.address: target.node for target in pods if target is not source}
        status, output = cluster.exec(namespace, source.name, "sh", "-c", script, "sh", *targets)
        if status != 0:
            raise ClusterError(f"packets cannot be sent from a pod on {source.node}", context=output.splitlines()[-4:])
        return [f"from a pod on {source.node} to a pod on {targets[address]}" for address in output.split()]

    with ThreadPoolExecutor(len(pods)) as side_by_side:
        lost = [way for ways in side_by_side.map(silent, pods) for way in ways]
    if lost:
        raise ClusterError(
            f"a packet of {pod_mtu} bytes does not pass between pods",
            context=lost,
            hint="the MTU of the pods is too large for the tunnel, or pod traffic does not go through it",
        )
    ways = len(pods) * (len(pods) - 1)
    return Proof("pod to pod", f"{pod_mtu}-byte packets, not to be fragmented, {ways} directions")


def _dns(cluster: Cluster, namespace: str, pods: list[_Pod]) -> Proof:
    name = "kubernetes.default.svc.cluster.local"
    # A node's kube-proxy learns of the DNS pods a moment after they are Ready, and refuses connections until then.
    script = f"end=$(($(date +%s) + {_LEARNT})); until nslookup {name}; do [ $(date +%s) -lt $end ] || exit 1; sleep 0.3; done"

    def lookup(pod: _Pod) -> None:
        status, output = cluster.exec(namespace, pod.name, "sh", "-c", script)
        if status != 0:
            raise ClusterError(f"{name} is not resolved on node {pod.node}", context=output.strip().splitlines()[-4:])

    with ThreadPoolExecutor(len(pods)) as side_by_side:
        list(side_by_side.map(lookup, pods))
    return Proof("DNS", f"{name} resolved on {len(pods)} nodes")


def _logs(cluster: Cluster, namespace: str, pods: list[_Pod]) -> Proof:
    def read(pod: _Pod) -> None:
        log = cluster.core.read_namespaced_pod_log(pod.name, namespace, _request_timeout=_TIMEOUT)
        status, output = cluster.exec(namespace, pod.name, "hostname")
        if _HELLO not in log or status != 0 or output.strip() != pod.name:
            raise ClusterError(f"logs or exec do not work on node {pod.node}", context=[log[:200], output[:200]])

    with ThreadPoolExecutor(len(pods)) as side_by_side:
        list(side_by_side.map(read, pods))
    return Proof("logs and exec", f"on {len(pods)} nodes")


def _storage(cluster: Cluster, namespace: str) -> Proof:
    def missing() -> list[str]:
        phase = cluster.core.read_namespaced_pod("writer", namespace).status.phase
        claim = cluster.core.read_namespaced_persistent_volume_claim("volume", namespace).status.phase
        return [] if phase == "Succeeded" else [f"the volume claim is {claim}, the pod that writes is {phase}"]

    cluster.wait(missing, what="the default StorageClass to bind a volume and a pod to write to it", timeout=_TIMEOUT)
    return Proof("storage", "the default StorageClass bound a volume; a file was written and read")


def _policy(cluster: Cluster, namespace: str, pods: list[_Pod]) -> Proof:
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    source, target = pods[0], pods[-1]

    def reaches(port: int) -> bool:
        # The answer is a 404 page: any answer shows that the connection was let through. By nc, since wget of a static
        # busybox with glibc crashes when it looks a name up, even that of an address.
        request = f"printf 'GET /none HTTP/1.0\\r\\n\\r\\n' | nc -w 1 {target.address} {port}"
        _, output = cluster.exec(namespace, source.name, "sh", "-c", request)
        return "404" in output

    began = time.monotonic()
    while not reaches(_CLOSED):  # each try waits for an answer or a second
        if time.monotonic() - began > _LEARNT:
            raise ClusterError(f"port {_CLOSED} of a pod on {target.node} does not answer a pod on {source.node}")
    rule = {"ports": [{"port": _OPEN, "protocol": "TCP"}]}
    policy = {
        "metadata": {"name": "only-one-port"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]},
    }
    client.NetworkingV1Api(cluster.client).create_namespaced_network_policy(namespace, policy)
    began, deadline = time.monotonic(), time.monotonic() + _TIMEOUT
    while reaches(_CLOSED):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"a NetworkPolicy is not enforced on node {target.node}",
                hint="the network plugin of this cluster does not enforce policies, or its agent does not run there",
            )
    seconds = time.monotonic() - began
    if not reaches(_OPEN):
        raise ClusterError(f"a NetworkPolicy closes more on node {target.node} than it says")
    return Proof("network policy", f"a closed port stopped answering after {seconds:.1f} s, the open one still does")
