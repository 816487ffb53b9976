"""An API server with its etcd and its controllers as processes on loopback, from the programs of the bundle.

There are no nodes and no scheduler: objects are real, and so are admission, roles, tokens and controllers; pods wait. With
`fake_nodes` there are a scheduler, and nodes of kwok's, on which pods are Ready without anybody running them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from maas import components, console
from maas.bundle import cache, golang, tools
from maas.cluster.client import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
}
_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
)


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def control_plane(directory: Path, *, controllers: Sequence[str] = _CONTROLLERS) -> Iterator[Path]:
    """Run an API server while the block runs, and return an administrator's kubeconfig.

    Args:
        directory: Where the programs write.
        controllers: The controllers that run, by the controller manager's own names; `*` is all of them.
    """
    programs = {name: program(name) for name in ("etcd", "kube-apiserver", "kube-controller-manager")}
    token = secrets.token_hex(16)
    account_key(directory / "sa.key")
    (directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    etcd, port = free_port(), free_port()
    with contextlib.ExitStack() as running:
        start_program(running, directory, programs["etcd"], etcd_words(directory, etcd))
        start_program(running, directory, programs["kube-apiserver"], api_server_words(directory, etcd=etcd, port=port))
        address = f"https://127.0.0.1:{port}"
        wait_answer(f"{address}/readyz", token)
        kubeconfig = write_kubeconfig(directory, address, token)
        start_program(
            running, directory, programs["kube-controller-manager"], _controllers(directory, kubeconfig, controllers)
        )
        yield kubeconfig


@contextlib.contextmanager
def fake_nodes(directory: Path, kubeconfig: Path, *, count: int) -> Iterator[None]:
    """Run a scheduler, nodes that kwok reports as Ready, and volumes of the default class, while the block runs.

    Pods that are scheduled are Ready; those of Jobs and of `helm test` succeed.
    """
    component, _ = components.load().find("kwok")
    kwok = tools.tool("kwok")
    stages = golang.module_directory(component, "sigs.k8s.io/kwok") / "kustomize" / "stage"
    kinds = ["node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease"]
    kinds += [f"pod/fast/pod-{what}" for what in ("ready", "complete", "delete")]
    texts = [(stages / f"{kind}.yaml").read_text(encoding="utf-8") for kind in kinds]
    configuration = directory / "kwok.yaml"
    configuration.write_text("\n---\n".join([*texts, json.dumps(_TESTED)]), encoding="utf-8")
    words = [f"--kubeconfig={kubeconfig}", "--manage-all-nodes=true", f"--config={configuration}"]
    with contextlib.ExitStack() as running:
        start_program(running, directory, program("kube-scheduler"), _scheduler(directory, kubeconfig))
        start_program(running, directory, kwok, [*words, f"--server-address=127.0.0.1:{free_port()}"])
        _machines(Cluster(kubeconfig), count)
        yield


_TESTED = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1",
    "kind": "Stage",
    "metadata": {"name": "test-complete"},
    "spec": {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {
            "matchExpressions": [
                {"key": ".status.phase", "operator": "In", "values": ["Running"]},
                {"key": '.metadata.annotations["helm.sh/hook"]', "operator": "In", "values": ["test"]},
            ]
        },
        "next": {"statusTemplate": "phase: Succeeded\n"},
    },
}
"""What kwok does with the pods of `helm test`, as a stage like its own."""


def _machines(cluster: Cluster, count: int) -> None:
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    classes = client.StorageV1Api(cluster.client)
    metadata = {"name": "local", "annotations": default}
    classes.create_storage_class({"metadata": metadata, "provisioner": "kubernetes.io/no-provisioner"})
    room = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    for number in range(count):
        labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": f"fake{number}"}
        node = {"metadata": {"name": f"fake{number}", "labels": labels}}
        cluster.core.create_node({**node, "status": {"allocatable": room, "capacity": room}})
        spec = {"capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local"}
        volume = {"metadata": {"name": f"fake{number}"}, "spec": {**spec, "hostPath": {"path": "/nowhere"}}}
        cluster.core.create_persistent_volume(volume)


def program(name: str) -> Path:
    """Return a program of the control plane, built if it is not in the cache."""
    component, _ = components.load().find(name)
    if found := golang.find(component, _PACKAGES[name]):
        return found
    with cache.lock("bundle"), console.phase(name) as step:
        return golang.build(component, [_PACKAGES[name]], phase=step)[_PACKAGES[name]]


def account_key(file: Path) -> None:
    """Write a key that signs the tokens of ServiceAccounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def etcd_words(directory: Path, port: int) -> list[str]:
    """Return the arguments of etcd."""
    peer = free_port()
    return [
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]


def api_server_words(directory: Path, *, etcd: int, port: int) -> list[str]:
    """Return the arguments of the API server."""
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={directory / 'certificates'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={directory / 'sa.key'}",
        f"--service-account-signing-key-file={directory / 'sa.key'}",
        "--allow-privileged=true",
    ]


def _scheduler(directory: Path, kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_port()}",
        f"--cert-dir={directory / 'scheduler'}",
    ]


def _controllers(directory: Path, kubeconfig: Path, controllers: Sequence[str]) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(controllers)}",
        f"--service-account-private-key-file={directory / 'sa.key'}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_port()}",
        f"--cert-dir={directory / 'controllers'}",
        # A quota that is created before the controller knows the kinds it counts is calculated by the next period only.
        "--resource-quota-sync-period=3s",
    ]


def start_program(running: contextlib.ExitStack, directory: Path, path: Path, words: Sequence[str]) -> None:
    """Start a program, which is stopped with `running`."""
    log = running.enter_context((directory / f"{path.name}.log").open("wb"))
    process = subprocess.Popen([str(path), *words], stdout=log, stderr=log)
    running.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Its data are not kept, and on SIGTERM an API server waits a minute for idle connections.
    process.kill()
    process.wait()


def write_kubeconfig(directory: Path, address: str, token: str) -> Path:
    """Write and return an administrator's kubeconfig."""
    authority = base64.b64encode((directory / "certificates" / "apiserver.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": address, "certificate-authority-data": authority}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    file = directory / "kubeconfig"
    file.write_text(json.dumps(config), encoding="utf-8")
    file.chmod(0o600)
    return file


def wait_answer(url: str, token: str) -> None:
    """Wait until a path of the API server answers."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    for _ in range(240):
        with contextlib.suppress(OSError, urllib.error.URLError):
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, context=unchecked, timeout=5) as answer:
                if answer.status == 200:
                    return
        time.sleep(0.5)
    raise TimeoutError(f"{url} was not ready within 120 s")
