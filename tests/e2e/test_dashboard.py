"""The manifests of both dashboards on the lab, with a stand-in for the programs: their configuration and their rights."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from maas import components, console, process
from maas.bundle import images, tools
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]

STAND_IN = Path(__file__).parent / "stand_ins" / "dashboard"
NAMESPACE = "dashboard"
ENGINES = {"headlamp": "headlamp:http", "kubernetes-dashboard": "https:kubernetes-dashboard:https"}
"""Each engine, with its Service as the API server's proxy names it."""


def certificate() -> bytes:
    """Return a self-signed certificate with its key, as the Kubernetes Dashboard creates one when it starts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes-dashboard")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + builder.sign(key, hashes.SHA256()).public_bytes(pem)


def make_image(directory: Path) -> Path:
    """Build the stand-in's image under the references of both engines, and return it as an archive."""
    for file in STAND_IN.iterdir():
        shutil.copy(file, directory)
    (directory / "certificate.pem").write_bytes(certificate())
    (directory / "certificate.pem").chmod(0o644)
    with console.phase("Stand-in for the dashboards") as step:
        base = images.base("python", phase=step)
    process.run(["docker", "load", "--input", base])
    references = [components.load().image(engine).reference for engine in ENGINES]
    tags = [word for reference in references for word in ("--tag", reference)]
    process.run(["docker", "build", *tags, directory], timeout=300)
    archive = directory / "image.tar"
    process.run(["docker", "save", "--output", archive, *references])
    process.run(["docker", "rmi", *references])
    return archive


def rendered(engine: str) -> list[Mapping[str, Any]]:
    """Return the objects of a release with an engine."""
    return list(render.objects(Request(render.umbrella(), settings=(("dashboard.engine", json.dumps(engine)),))))


def manifests(engine: str) -> list[Mapping[str, Any]]:
    """Return the objects of one engine alone; its roles are part of the release, which is installed."""
    return [entry for entry in rendered(engine) if entry["metadata"].get("namespace") == NAMESPACE]


@pytest.fixture(scope="module")
def reports(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Install both engines by the chart's own manifests, and return their reports; the objects are deleted at the end."""
    archive = make_image(tmp_path_factory.mktemp("dashboard"))
    for host in ("master", "node1", "node2"):
        with archive.open("rb") as content:
            words = ["docker", "exec", "-i", f"maas-{lab.name}-{host}", "ctr", "-n", "k8s.io", "images", "import", "-"]
            subprocess.run(words, stdin=content, check=True, capture_output=True, timeout=120)
    kubectl: list[str | Path] = [tools.tool("kubectl"), f"--kubeconfig={lab.cluster.kubeconfig}"]
    text = yaml.safe_dump_all([entry for engine in ENGINES for entry in manifests(engine)])
    try:
        # The namespace enforces `restricted`, and the server checks every field.
        process.run([*kubectl, "apply", "--server-side", "--validate=strict", "--filename=-"], input=text)
        deployments = [f"deployment/{engine}" for engine in ENGINES]
        wait = [*kubectl, "-n", NAMESPACE, "wait", "--for=condition=Available", "--timeout=120s", *deployments]
        process.run(wait, timeout=130)
        found = {}
        for engine, service in ENGINES.items():
            path = f"/api/v1/namespaces/{NAMESPACE}/services/{service}/proxy/report"
            found[engine] = json.loads(process.run([*kubectl, "get", "--raw", path], timeout=60).stdout)
        yield found
    finally:
        gone = ["delete", "--ignore-not-found", "--wait=false", "--filename=-"]
        process.run([*kubectl, *gone], input=text, timeout=120)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_dashboard_finds_no_fault_in_its_mounts_token_and_rights(
    reports: dict[str, dict[str, Any]], engine: str
) -> None:
    assert reports[engine]["faults"] == []
    assert reports[engine]["account"] == f"{NAMESPACE}/{engine}"
    assert reports[engine]["questions"] > 150, "each verb on each resource, in its namespace, in another and in all"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.usefixtures("reports")
def test_the_tests_of_the_release_reach_the_page_and_no_secrets(lab: Lab, engine: str) -> None:
    kubectl: list[str | Path] = [tools.tool("kubectl"), f"--kubeconfig={lab.cluster.kubeconfig}", "-n", "maas"]
    (pod,) = (json.dumps(entry) for entry in rendered(engine) if entry["metadata"]["name"] == "dashboard-test")
    wait = ["wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", "pod/dashboard-test"]
    try:
        process.run([*kubectl, "apply", "--filename=-"], input=pod)
        process.run([*kubectl, *wait], timeout=70)
        log = process.run([*kubectl, "logs", "dashboard-test"]).stdout
    finally:
        process.run(
            [*kubectl, "delete", "--ignore-not-found", "--grace-period=1", "--filename=-"], input=pod, timeout=60
        )
    assert f"{engine} serves its page, and shows no secrets to somebody without a token (40" in log
