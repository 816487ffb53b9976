"""What the control planes of a cluster trust, and its replacement: two of kubeadm's CAs, and the key that signs tokens.

The CA of the VPN is another one, see `maas.hosts.pki`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from maas import process
from maas.bundle import tools
from maas.cluster import _authorities_script, host_programs
from maas.cluster.client import connection_errors, listed
from maas.errors import ClusterError, ProcessError
from maas.hosts import rotations
from maas.hosts.facts import program_text

if TYPE_CHECKING:
    from maas.cluster.client import Cluster
    from maas.cluster.host_programs import Hosts
    from maas.console import Phase
    from maas.hosts.inventory import Host
    from maas.hosts.rotations import Kind, Rotation

_PKI = "/etc/kubernetes/pki"
_RESTART_SECONDS = 900
"""Time limit for the components of a host: each has several minutes."""
_TOKEN_SECONDS = 600
"""Time limit for the kubelets to replace the tokens of all pods. They do it a minute or two after they have started."""
_REREAD_SECONDS = 90
"""Seconds in which programs read a new token; client-go does it every minute."""
_TRUST_SECONDS = 120
_TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 - the type of a Secret
_HEADERS = ("extension-apiserver-authentication", "kube-system", "requestheader-client-ca-file")
"""Where API servers behind the aggregator read which CA vouches for it."""
_OK = 200


@dataclass(frozen=True)
class _Files:
    """The files of a kind on each control plane, and what reads them.

    Attributes:
        trusted: What is trusted.
        key: The private key.
        renew: The certificates that kubeadm issues by it.
        components: What reads these files only when it starts.
    """

    trusted: str
    key: str
    renew: tuple[str, ...]
    components: tuple[str, ...]


_KINDS: dict[Kind, _Files] = {
    "service-accounts": _Files("sa.pub", "sa.key", (), ("kube-apiserver", "kube-controller-manager")),
    "front-proxy": _Files(
        "front-proxy-ca.crt",
        "front-proxy-ca.key",
        ("front-proxy-client",),
        ("kube-apiserver", "kube-controller-manager"),
    ),
    "etcd": _Files(
        "etcd/ca.crt",
        "etcd/ca.key",
        ("etcd-server", "etcd-peer", "etcd-healthcheck-client", "apiserver-etcd-client"),
        ("etcd", "kube-apiserver"),
    ),
}


def begin(hosts: Hosts, kind: Kind) -> Rotation:
    """Return a new rotation of a kind, with what the first control plane has, and its successor. Nothing is stored.

    Raises:
        ClusterError: The control planes do not agree, as after an interruption on another controller.
    """
    path = f"{_PKI}/{_KINDS[kind].trusted}"
    planes = tuple(host for host in hosts.inventory.hosts if host.name in hosts.control_planes)
    found = {name: answer["text"] for name, answer in _run(hosts, planes, "read", path=path).items()}
    old = found[planes[0].name]
    if len(set(found.values())) > 1 or old.count("-----BEGIN ") != 1:
        raise ClusterError(
            f"{path} is not the same single one on every control plane",
            context=[f"{name}: {text.count('-----BEGIN ')} of them" for name, text in found.items()],
            hint="a rotation that another controller began must be completed there, or with an export of its state",
            code="OperationUnfinished",
        )
    new, key = rotations.new_signer() if kind == "service-accounts" else rotations.new_authority(old)
    return rotations.Rotation(
        kind=kind, phase="trusted", began=datetime.now(UTC).replace(microsecond=0), old=old, new=new, key=key
    )


def parameters(rotation: Rotation) -> dict[str, Any]:
    """Return what a phase writes to a control plane, issues and restarts there."""
    own = _KINDS[rotation.kind]
    files: dict[str, tuple[str, int]] = {f"{_PKI}/{own.trusted}": (rotation.trusted, 0o644)}
    # In the first phase everything is issued by the old key, which the controller does not have.
    if rotation.phase != "trusted":
        files[f"{_PKI}/{own.key}"] = (rotation.key, 0o600)
    return {
        "kind": rotation.kind,
        "phase": rotation.phase,
        "files": files,
        "renew": list(own.renew) if rotation.phase == "issued" else [],
        "components": list(own.components),
    }


def apply(hosts: Hosts, host: Host, rotation: Rotation) -> list[str]:
    """Carry out a phase on a control plane, unless that has been done, and return what was restarted.

    Raises:
        ClusterError: It failed. It can be repeated.
    """
    answer = _run(hosts, (host,), "apply", timeout=_RESTART_SECONDS, **parameters(rotation))
    restarted: list[str] = answer[host.name]["restarted"]
    return restarted


def replace_tokens(hosts: Hosts, cluster: Cluster, rotation: Rotation, step: Phase) -> None:
    """Let all pods get tokens that the new key has signed, and wait until no host has one of the old key.

    Raises:
        ClusterError: A host still has one in the end.
    """
    renewed = _renew_secrets(cluster)
    for host in hosts.inventory.hosts:
        step.note(f"{host.name}: the kubelet requests the tokens of its pods")
        _run(hosts, (host,), "restart-kubelet")
    _restart_network(cluster, step)
    old = rotations.key_id(rotation.old)
    deadline = time.monotonic() + _TOKEN_SECONDS * hosts.factor
    while True:
        answers = _run(hosts, hosts.inventory.hosts, "tokens", key=old)
        left = [f"{name}: {path}" for name, answer in answers.items() for path in answer["old"]]
        count = sum(answer["tokens"] for answer in answers.values())
        step.note(f"{count - len(left)} of {count} tokens are signed by the new key")
        if not left:
            break
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{len(left)} tokens that the old key has signed are still in use",
                context=left[:10],
                hint="both keys are valid, so nothing is interrupted; look at the kubelet of these hosts, then run the same "
                "command again",
                code="Timeout",
            )
        time.sleep(5)
    step.note(f"{count} tokens, {renewed} of them in Secrets; programs read theirs within {_REREAD_SECONDS} s")
    time.sleep(_REREAD_SECONDS)


def _renew_secrets(cluster: Cluster) -> int:
    """Let kube-controller-manager fill the Secrets with tokens again, and return their number."""
    secrets = listed(cluster.core.list_secret_for_all_namespaces, field_selector=f"type={_TOKEN_TYPE}")
    for secret in secrets:
        metadata = secret["metadata"]
        cluster.core.patch_namespaced_secret(metadata["name"], metadata["namespace"], {"data": {"token": None}})
    return len(secrets)


def _restart_network(cluster: Cluster, step: Phase) -> None:
    """Restart the pods of Calico on the nodes, which write a token for its CNI plugin that is valid for a day."""
    daemons = [
        (item["metadata"]["namespace"], item["metadata"]["name"])
        for item in listed(cluster.apps.list_daemon_set_for_all_namespaces)
        if item["metadata"]["name"] == "calico-node"
    ]
    for namespace, name in daemons:
        step.note(f"{name} restarts on one node after the other")
        where = [f"daemonset/{name}", f"--namespace={namespace}"]
        kubectl = [str(tools.tool("kubectl")), f"--kubeconfig={cluster.kubeconfig}"]
        try:
            process.run([*kubectl, "rollout", "restart", *where])
            process.run([*kubectl, "rollout", "status", *where, f"--timeout={_TOKEN_SECONDS}s"])
        except ProcessError as error:
            raise ClusterError(
                f"{name} has not restarted on every node",
                context=error.context,
                hint="both keys are valid, so nothing is interrupted; run the same command again",
            ) from error


def publish_headers(cluster: Cluster, rotation: Rotation) -> None:
    """Wait until API servers behind the aggregator can read what they are to trust, and answer.

    The API server adds its CAs to what is published, and never removes one, so the old one is removed here.

    Raises:
        ClusterError: One of them does not answer through the aggregator.
    """
    name, namespace, key = _HEADERS
    wanted = set(rotations.certificates(rotation.trusted))

    def missing() -> list[str]:
        published = cluster.core.read_namespaced_config_map(name, namespace).data.get(key, "")
        found = set(rotations.certificates(published)) if published else set()
        if not wanted <= found:
            return [f"{namespace}/{name} does not have the new CA yet"]
        if rotation.phase == "dropped" and found != wanted:
            cluster.core.patch_namespaced_config_map(name, namespace, {"data": {key: rotation.trusted}})
            return [f"{namespace}/{name} still has the old CA"]
        return unreachable_apis(cluster)

    cluster.wait(missing, what="the API servers behind the aggregator", timeout=_TRUST_SECONDS)


def unreachable_apis(cluster: Cluster) -> list[str]:
    """Return the APIs of other API servers that do not answer through the aggregator."""
    status, body = cluster.raw("/apis/apiregistration.k8s.io/v1/apiservices")
    if status != _OK:
        return [f"the list of APIs is not available: HTTP status {status}"]
    found = []
    for item in json.loads(body)["items"]:
        spec = item["spec"]
        if spec.get("service"):
            try:
                status, _ = cluster.raw(f"/apis/{spec['group']}/{spec['version']}")
            except connection_errors() as error:
                status = getattr(error, "status", 0)
            if status != _OK:
                found.append(f"{item['metadata']['name']} does not answer: HTTP status {status}")
    return found


def _run(
    hosts: Hosts, chosen: tuple[Host, ...], action: str, *, timeout: float = 60, **options: Any
) -> dict[str, dict[str, Any]]:
    source = resources.files("maas.cluster").joinpath("_authorities_script.py").read_text(encoding="utf-8")
    program = program_text(source, {"action": action, **options})
    own = replace(hosts, inventory=hosts.inventory.model_copy(update={"hosts": chosen}))
    return host_programs.run(own, program, _authorities_script.MARK, timeout=timeout)
