"""An API server with its etcd as two processes on loopback, from the programs of the bundle: no nodes, real objects."""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.loopback import free_port

from maas import components, console
from maas.bundle import golang

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PROGRAMS = {"etcd": "go.etcd.io/etcd/server/v3", "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver"}


@contextlib.contextmanager
def control_plane(directory: Path) -> Iterator[Path]:
    """A kubeconfig for an API server that answers while the block runs."""
    programs = {}
    for name, package in _PROGRAMS.items():
        component, _ = components.load().find(name)
        with console.phase(name) as step:
            programs[name] = golang.build(component, [package], phase=step)[package]
    etcd, peer, port, token = free_port(), free_port(), free_port(), secrets.token_hex(16)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (directory / "sa.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    storage = [f"--data-dir={directory / 'etcd'}", f"--listen-client-urls=http://127.0.0.1:{etcd}", "--unsafe-no-fsync"]
    storage += [f"--advertise-client-urls=http://127.0.0.1:{etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}"]
    server = [f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={port}", "--bind-address=127.0.0.1"]
    server += [f"--cert-dir={directory / 'certificates'}", f"--token-auth-file={directory / 'tokens.csv'}"]
    server += ["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"]
    server += ["--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc"]
    server += [f"--service-account-{use}-file={directory / 'sa.key'}" for use in ("key", "signing-key")]
    with contextlib.ExitStack() as stack:
        for name, words in (("etcd", storage), ("kube-apiserver", server)):
            log = stack.enter_context((directory / f"{name}.log").open("wb"))
            running = subprocess.Popen([str(programs[name]), *words], stdout=log, stderr=log)
            stack.callback(running.wait)
            stack.callback(running.terminate)
        address = f"https://127.0.0.1:{port}"
        _wait(f"{address}/readyz", token)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": address, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        (directory / "kubeconfig").write_text(json.dumps(config))
        (directory / "kubeconfig").chmod(0o600)
        yield directory / "kubeconfig"


def _wait(url: str, token: str) -> None:
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
