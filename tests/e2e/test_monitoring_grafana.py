"""Grafana's manifests on the lab, with a stand-in for the program: its configuration is complete and its data sources answer."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.monitoring import NAMESPACE, Monitoring

from maas import components, console, process
from maas.bundle import images, tools
from maas.helm import NAMESPACE as RELEASE_NAMESPACE
from maas.helm import RELEASE, render
from maas.helm.client import Helm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]

STAND_IN = Path(__file__).parent / "stand_ins" / "grafana"


def make_image(directory: Path) -> Path:
    """Build the stand-in's image under Grafana's reference, and return it as an archive."""
    for file in STAND_IN.iterdir():
        shutil.copy(file, directory)
    # The base image has no packages; this one works without its compiled part.
    shutil.copytree(
        Path(yaml.__file__).parent, directory / "yaml", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    with console.phase("Stand-in for Grafana") as step:
        base = images.base("python", phase=step)
    process.run(["docker", "load", "--input", base])
    reference = components.load().image("grafana").reference
    process.run(["docker", "build", "--tag", reference, directory], timeout=300)
    archive = directory / "image.tar"
    process.run(["docker", "save", "--output", archive, reference])
    process.run(["docker", "rmi", reference])
    return archive


@pytest.fixture(scope="module")
def report(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Install the stand-in by the chart's own manifests, and return its report; the objects are deleted at the end."""
    directory = tmp_path_factory.mktemp("grafana")
    archive = make_image(directory)
    for host in ("master", "node1", "node2"):
        with archive.open("rb") as content:
            words = ["docker", "exec", "-i", f"maas-{lab.name}-{host}", "ctr", "-n", "k8s.io", "images", "import", "-"]
            subprocess.run(words, stdin=content, check=True, capture_output=True, timeout=120)
    kubectl: list[str | Path] = [tools.tool("kubectl"), f"--kubeconfig={lab.cluster.kubeconfig}"]
    objects = render.parse(
        Helm.pinned("4").template(
            render.umbrella(),
            release=RELEASE,
            namespace=RELEASE_NAMESPACE,
            values=(),
            settings={},
            kubernetes=render.KUBERNETES[-1],
        )
    )
    # The dashboards are installed: they are part of a release without Grafana, too.
    ours = [entry for entry in objects if entry["metadata"]["name"] == "grafana"]
    manifests = yaml.safe_dump_all(ours)
    try:
        process.run([*kubectl, "apply", "--server-side", "--filename=-"], input=manifests)
        process.run(
            [*kubectl, "-n", NAMESPACE, "rollout", "status", "deployment/grafana", "--timeout=120s"], timeout=130
        )
        path = f"/api/v1/namespaces/{NAMESPACE}/services/grafana:http/proxy/report"
        yield json.loads(process.run([*kubectl, "get", "--raw", path], timeout=60).stdout)
    finally:
        process.run([*kubectl, "delete", "--ignore-not-found", "--filename=-"], input=manifests, timeout=120)


def test_grafana_finds_no_fault_in_its_configuration(report: dict[str, Any]) -> None:
    assert report["faults"] == []


def test_its_data_sources_answer_through_the_network_policies(report: dict[str, Any]) -> None:
    assert report["datasources"] == {"Prometheus": 200, "Alertmanager": 200}


def test_it_has_every_dashboard_of_the_chart(report: dict[str, Any]) -> None:
    files = (render.umbrella() / "charts" / "kube-prometheus" / "files" / "dashboards").rglob("*.json")
    # The lab installs neither of these parts.
    installed = [file for file in files if file.stem not in {"probes", "snmp"}]
    assert len(report["dashboards"]) == len(installed) > 30


def test_its_administrator_has_the_password_of_the_secret(lab: Lab, report: dict[str, Any]) -> None:
    data = lab.cluster.core.read_namespaced_secret("grafana", NAMESPACE).data
    user, password = (base64.b64decode(data[key]).decode() for key in ("user", "password"))
    assert report["admin"] == hashlib.sha256(f"{user}:{password}".encode()).hexdigest()


@pytest.mark.usefixtures("report")
def test_prometheus_scrapes_it(lab: Lab) -> None:
    monitoring = Monitoring(lab.cluster)
    monitoring.wait("Grafana's metrics", lambda: not monitoring.query("grafana_stand_in == 1"), seconds=120)
