"""Smoke tests of a new cluster, before it is reported as ready.

A node can be Ready while pods on two nodes cannot exchange a packet of full size (a wrong MTU drops only large ones),
while `kubectl logs` hangs (a wrong node address), or while NetworkPolicies are ignored. Each of these is tested with real
pods in a temporary namespace.
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
    from collections.abc import Iterator

    from maas.cluster.client import Cluster
    from maas.console import Phase

_ICMP_AND_IP = 28
"""Bytes of an ICMP echo header (8) and an IPv4 header (20), which a ping's payload does not count."""

_OPEN, _CLOSED = 8080, 8081
_NAME = "maas-verify"
_TIMEOUT = 90.0
_PROPAGATION = 30
"""Seconds within which every node must know of pods that are Ready on another."""
_FOUNDATION = {"calico-node", "kube-proxy", "coredns", "local-path-provisioner"}
"""The workloads that the tests depend on."""


@dataclass(frozen=True)
class Passed:
    """A smoke test that passed.

    Attributes:
        name: What was tested.
        detail: How, with figures.
    """

    name: str
    detail: str


@dataclass(frozen=True)
class Pod:
    """A pod that tests run in: its name, its node and its address."""

    name: str
    node: str
    address: str


@dataclass
class Workspace:
    """A temporary namespace with one pod per node, and one pod with a volume.

    Attributes:
        cluster: The cluster.
        namespace: The namespace.
        addresses: The VPN address that each node must have, by node name.
    """

    cluster: Cluster
    namespace: str
    addresses: dict[str, str]

    def wait_ready(self, step: Phase) -> list[Pod]:
        """Wait until everything that the tests depend on is Ready, and return the pods of the tests.

        Raises:
            ClusterError: A node is missing, is not Ready or has another address, or a pod was not Ready in time.
        """
        _check_nodes(self.cluster, self.addresses)

        def observe() -> tuple[list[Pod], list[str]]:
            missing = [str(item) for item in self.cluster.workloads() if item.name in _FOUNDATION and not item.settled]
            items = listed(
                self.cluster.core.list_namespaced_pod,
                self.namespace,
                label_selector=f"app.kubernetes.io/name={_NAME}",
            )
            ready = [
                Pod(pod["metadata"]["name"], pod["spec"]["nodeName"], pod["status"]["podIP"])
                for pod in items
                if any(status["ready"] for status in pod["status"].get("containerStatuses", ()))
            ]
            if len(ready) < len(self.addresses):
                missing.append(f"{len(ready)} of {len(self.addresses)} pods are Ready")
            step.note(f"waiting: {', '.join(missing)}")
            return ready, missing

        return self.cluster.poll(observe, what="a pod on each node", timeout=_TIMEOUT)

    def run(self, pods: list[Pod], *, pod_mtu: int, step: Phase) -> list[Passed]:
        """Run every test.

        Args:
            pods: The pods of `wait_ready`.
            pod_mtu: The size in bytes of the largest IP packet that must pass between two pods without fragmentation.
            step: The phase that shows progress.

        Raises:
            ClusterError: A test failed; its message says what and between which nodes.
        """
        cluster, namespace = self.cluster, self.namespace

        def network() -> list[Passed]:
            # In this order: the policy would block the packets.
            return [_packets(cluster, namespace, pods, pod_mtu), _policy(cluster, namespace, pods)]

        tests = {
            "packets, network policy": network,
            "DNS": lambda: [_dns(cluster, namespace, pods)],
            "logs and exec": lambda: [_logs(cluster, namespace, pods)],
            "storage": lambda: [_storage(cluster, namespace)],
        }
        step.note(", ".join(tests))
        passed = [Passed("nodes", f"{len(self.addresses)} Ready, each with its VPN address")]
        with ThreadPoolExecutor(len(tests)) as pool:
            for running in [pool.submit(test) for test in tests.values()]:
                passed += running.result()
        step.note(f"{len(passed)} tests on {len(self.addresses)} nodes")
        return passed


@contextlib.contextmanager
def workspace(cluster: Cluster, addresses: dict[str, str], *, image: str) -> Iterator[Workspace]:
    """Create the namespace and pods of the tests, and delete them at the end.

    The nodes need not be there yet: a pod starts as soon as its node is Ready.

    Args:
        cluster: The cluster.
        addresses: The VPN address that each node must have, by node name.
        image: A busybox image that every node has.
    """
    for left in cluster.core.list_namespace().items:
        if left.metadata.name.startswith(f"{_NAME}-"):  # of a run that was killed
            cluster.core.delete_namespace(left.metadata.name, propagation_policy="Background")
    namespace = f"{_NAME}-{secrets.token_hex(3)}"
    security = {"pod-security.kubernetes.io/enforce": "baseline"}
    cluster.core.create_namespace({"metadata": {"name": namespace, "labels": security}})
    try:
        cluster.apps.create_namespaced_daemon_set(namespace, _daemon_set(image))
        cluster.core.create_namespaced_persistent_volume_claim(namespace, _CLAIM)
        cluster.core.create_namespaced_pod(namespace, _writer(image))
        yield Workspace(cluster, namespace, addresses)
    finally:
        cluster.core.delete_namespace(namespace, propagation_policy="Background")


def _check_nodes(cluster: Cluster, addresses: dict[str, str]) -> None:
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
                hint="its kubelet runs with another --node-ip, so logs and exec would not reach it",
            )


_RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# The ping of busybox needs a raw socket, and so root and a capability that every runtime grants by default and that Pod
# Security `baseline` does not allow to add.
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
    labels = {"app.kubernetes.io/name": _NAME}
    # Two servers in one pod: the policy allows one port and denies the other.
    script = f"echo {_NAME}; httpd -p {_OPEN} -h /bin && exec httpd -f -p {_CLOSED} -h /bin"
    return {
        "metadata": {"name": _NAME, "labels": labels},
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
                            "name": _NAME,
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
                    "command": ["sh", "-c", f"echo {_NAME} >/volume/file && sync && cat /volume/file"],
                    "securityContext": _RESTRICTED,
                    "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
                }
            ],
        },
    }


def _packets(cluster: Cluster, namespace: str, pods: list[Pod], pod_mtu: int) -> Passed:
    # A packet of exactly the pods' MTU is sent with the don't-fragment bit set (Linux sets it for every packet that fits
    # the interface); it arrives only when the tunnel below can carry it whole. One may be lost for other reasons.
    ping = f"ping -c 1 -W 2 -s {pod_mtu - _ICMP_AND_IP}"
    script = f'for a; do (for t in 1 2 3 4 5; do {ping} "$a" >/dev/null && exit; done; echo "$a") & done; wait'

    def silent(source: Pod) -> list[str]:
        targets = {target.address: target.node for target in pods if target is not source}
        status, output = cluster.exec(namespace, source.name, "sh", "-c", script, "sh", *targets)
        if status != 0:
            raise ClusterError(f"a pod on {source.node} cannot send packets", context=output.splitlines()[-4:])
        return [f"from a pod on {source.node} to a pod on {targets[address]}" for address in output.split()]

    with ThreadPoolExecutor(len(pods)) as pool:
        lost = [path for paths in pool.map(silent, pods) for path in paths]
    if lost:
        raise ClusterError(
            f"packets of {pod_mtu} bytes do not pass between pods",
            context=lost,
            hint="the MTU of the pods is too large for the tunnel, or pod traffic does not go through it",
        )
    directions = len(pods) * (len(pods) - 1)
    return Passed("pod to pod", f"{pod_mtu}-byte packets without fragmentation, {directions} directions")


def _dns(cluster: Cluster, namespace: str, pods: list[Pod]) -> Passed:
    name = "kubernetes.default.svc.cluster.local"
    # The kube-proxy of a node knows of the DNS pods shortly after they are Ready, and rejects connections until then.
    script = f"end=$(($(date +%s) + {_PROPAGATION})); until nslookup {name}; do [ $(date +%s) -lt $end ] || exit 1; sleep 0.3; done"

    def lookup(pod: Pod) -> None:
        status, output = cluster.exec(namespace, pod.name, "sh", "-c", script)
        if status != 0:
            raise ClusterError(
                f"DNS lookup of {name} failed on node {pod.node}", context=output.strip().splitlines()[-4:]
            )

    with ThreadPoolExecutor(len(pods)) as pool:
        list(pool.map(lookup, pods))
    return Passed("DNS", f"{name} resolved on {len(pods)} nodes")


def _logs(cluster: Cluster, namespace: str, pods: list[Pod]) -> Passed:
    def read(pod: Pod) -> None:
        log = cluster.core.read_namespaced_pod_log(pod.name, namespace, _request_timeout=_TIMEOUT)
        status, output = cluster.exec(namespace, pod.name, "hostname")
        if _NAME not in log or status != 0 or output.strip() != pod.name:
            raise ClusterError(
                f"kubectl logs or exec does not work on node {pod.node}", context=[log[:200], output[:200]]
            )

    with ThreadPoolExecutor(len(pods)) as pool:
        list(pool.map(read, pods))
    return Passed("logs and exec", f"on {len(pods)} nodes")


def _storage(cluster: Cluster, namespace: str) -> Passed:
    def missing() -> list[str]:
        phase = cluster.core.read_namespaced_pod("writer", namespace).status.phase
        claim = cluster.core.read_namespaced_persistent_volume_claim("volume", namespace).status.phase
        return (
            [] if phase == "Succeeded" else [f"the PersistentVolumeClaim is {claim}, the pod that uses it is {phase}"]
        )

    cluster.wait(
        missing, what="the default StorageClass to provision a volume and a pod to write to it", timeout=_TIMEOUT
    )
    return Passed("storage", "the default StorageClass provisioned a volume; a file was written and read")


def _policy(cluster: Cluster, namespace: str, pods: list[Pod]) -> Passed:
    from kubernetes import client

    source, target = pods[0], pods[-1]

    def reaches(port: int) -> bool:
        # A 404 page is expected: any response shows that the connection was allowed. With nc, because wget of a static
        # busybox with glibc crashes when it resolves a name, even that of an address.
        request = f"printf 'GET /none HTTP/1.0\\r\\n\\r\\n' | nc -w 1 {target.address} {port}"
        _, output = cluster.exec(namespace, source.name, "sh", "-c", request)
        return "404" in output

    began = time.monotonic()
    while not reaches(_CLOSED):  # each attempt takes up to a second
        if time.monotonic() - began > _PROPAGATION:
            raise ClusterError(f"a pod on {source.node} cannot connect to port {_CLOSED} of a pod on {target.node}")
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
                hint="the network plugin does not enforce policies, or its agent does not run on that node",
            )
    seconds = time.monotonic() - began
    if not reaches(_OPEN):
        raise ClusterError(f"a NetworkPolicy on node {target.node} also blocks a port that it allows")
    return Passed(
        "network policy", f"the denied port stopped answering after {seconds:.1f} s, the allowed one still answers"
    )
