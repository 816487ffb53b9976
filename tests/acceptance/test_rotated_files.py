"""What a rotation writes to control planes, with the real kubeadm, OpenSSL, etcd and API server."""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.control_plane import (
    api_server_words,
    etcd_words,
    free_port,
    program,
    start_program,
    wait_answer,
    write_kubeconfig,
)

from maas.bundle import golang
from maas.cluster import _authorities_script, authorities
from maas.cluster.client import Cluster
from maas.components import load
from maas.hosts import rotations
from maas.hosts.rotations import PHASES, Rotation

if TYPE_CHECKING:
    from pathlib import Path

    from maas.hosts.rotations import Kind, Phase

pytestmark = pytest.mark.timeout(900)

PKI = "/etc/kubernetes/pki/"
CONFIGURATION = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: 10.90.0.1
nodeRegistration:
  name: master
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.37.0
encryptionAlgorithm: ECDSA-P256
certificatesDir: {}
"""
LEAVES = {
    "etcd": {
        "etcd-server": "etcd/server.crt",
        "etcd-peer": "etcd/peer.crt",
        "etcd-healthcheck-client": "etcd/healthcheck-client.crt",
        "apiserver-etcd-client": "apiserver-etcd-client.crt",
    },
    "front-proxy": {"front-proxy-client": "front-proxy-client.crt"},
}


def kubeadm() -> Path:
    component, _ = load().find("kubeadm")
    found = golang.find(component, "k8s.io/kubernetes/cmd/kubeadm")
    assert found is not None, "the bundle has it: run `maas bundle`"
    return found


def begun(kind: Kind, old: str) -> Rotation:
    new, key = rotations.new_signer() if kind == "service-accounts" else rotations.new_authority(old)
    return Rotation(kind=kind, phase="trusted", began=datetime.now(UTC), old=old, new=new, key=key)


def write(directory: Path, rotation: Rotation) -> dict[str, Any]:
    """Write what a phase writes to a control plane, and return the phase's parameters."""
    found = authorities.parameters(rotation)
    for name, (text, mode) in found["files"].items():
        _authorities_script.write(directory / name.removeprefix(PKI), text, mode)
    return found


def verified(trusted: Path, leaf: Path) -> bool:
    words = ["openssl", "verify", "-no-CApath", "-CAfile", str(trusted), str(leaf)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("kind", "authority"), [("etcd", "etcd/ca.crt"), ("front-proxy", "front-proxy-ca.crt")])
def test_kubeadm_issues_what_hosts_of_the_same_and_of_the_next_phase_trust(
    tmp_path: Path, kind: Kind, authority: str
) -> None:
    file = tmp_path / "kubeadm.yaml"
    pki = tmp_path / "pki"
    file.write_text(CONFIGURATION.format(pki))
    common = ["--config", str(file)]
    subprocess.run([kubeadm(), "init", "phase", "certs", "all", *common], check=True, stdout=subprocess.DEVNULL)
    rotation = begun(kind, (pki / authority).read_text())
    states: list[tuple[str, dict[str, str]]] = []

    def keep() -> None:
        states.append(
            ((pki / authority).read_text(), {leaf: (pki / leaf).read_text() for leaf in LEAVES[kind].values()})
        )

    keep()
    for phase in PHASES:
        renew = write(pki, rotation.model_copy(update={"phase": phase}))["renew"]
        assert renew == (list(LEAVES[kind]) if phase == "issued" else [])
        for name in renew:
            subprocess.run([kubeadm(), "certs", "renew", name, *common], check=True, stdout=subprocess.DEVNULL)
        keep()
    # Control planes are one phase apart at most: each must accept the certificates of the other.
    leaf, trust = tmp_path / "leaf.crt", tmp_path / "trust.crt"
    for (first, given), (second, other) in [*zip(states, states, strict=True), *itertools.pairwise(states)]:
        for text, certificates in ((first, other), (second, given)):
            for name, certificate in certificates.items():
                leaf.write_text(certificate)
                trust.write_text(text)
                assert verified(trust, leaf), name
    # And the old CA is of no use in the end.
    trust.write_text(states[-1][0])
    for certificate in states[0][1].values():
        leaf.write_text(certificate)
        assert not verified(trust, leaf)


def test_api_servers_accept_tokens_of_the_phases_beside_theirs_and_name_keys_as_expected(tmp_path: Path) -> None:
    admin = secrets.token_hex(16)
    (tmp_path / "tokens.csv").write_text(f"{admin},admin,admin,system:masters\n")
    old, key = rotations.new_signer()
    (tmp_path / "sa.pub").write_text(old)
    (tmp_path / "sa.key").write_text(key)
    rotation = begun("service-accounts", old)
    tokens: dict[str, str] = {}
    accepted: dict[str, list[str]] = {}
    etcd, port = free_port(), free_port()
    with contextlib.ExitStack() as store:
        start_program(store, tmp_path, program("etcd"), etcd_words(tmp_path, etcd))
        phases: tuple[Phase, ...] = PHASES
        for phase in phases:
            write(tmp_path, rotation.model_copy(update={"phase": phase}))
            with contextlib.ExitStack() as running:
                words = api_server_words(tmp_path, etcd=etcd, port=port)
                words = [word for word in words if not word.startswith("--service-account-key-file")]
                words.append(f"--service-account-key-file={tmp_path / 'sa.pub'}")
                start_program(running, tmp_path, program("kube-apiserver"), words)
                address = f"https://127.0.0.1:{port}"
                wait_answer(f"{address}/readyz", admin)
                cluster = Cluster(write_kubeconfig(tmp_path, address, admin))
                if phase == "trusted":
                    cluster.core.create_namespaced_service_account("default", {"metadata": {"name": "guest"}})
                request = {"spec": {"audiences": ["https://kubernetes.default.svc"], "expirationSeconds": 7200}}
                made = cluster.core.create_namespaced_service_account_token("guest", "default", request)
                tokens[phase] = made.status.token
                accepted[phase] = [name for name, token in tokens.items() if authenticated(cluster, token)]
    assert accepted == {"trusted": ["trusted"], "issued": ["trusted", "issued"], "dropped": ["issued", "dropped"]}
    signers = {phase: _authorities_script.signer(token.partition(".")[0]) for phase, token in tokens.items()}
    ids = {phase: rotations.key_id(old if phase == "trusted" else rotation.new) for phase in PHASES}
    assert signers == ids


def authenticated(cluster: Cluster, token: str) -> bool:
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    review = {"spec": {"token": token}}
    found = client.AuthenticationV1Api(cluster.client).create_token_review(review, _preload_content=False)
    return bool(json.loads(found.data)["status"].get("authenticated"))
