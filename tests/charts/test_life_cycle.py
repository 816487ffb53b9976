"""A release from its installation to its end, on a real API server: what is kept, what restarts, what is left.

previous/maas-0.1.0.tgz is the chart as it was before it had monitoring and a dashboard; a release takes its place when
there is one. There are no nodes, so nothing here waits for pods.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from tests.charts.helpers import copied_umbrella, helm
from tests.support.control_plane import control_plane

from maas.bundle import tools
from maas.cluster import helm_release
from maas.cluster.client import Cluster
from maas.errors import ProcessError
from maas.helm import render
from maas.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.helm.client import Major

PREVIOUS = Path(__file__).parent / "previous" / "maas-0.1.0.tgz"
IN_MAAS = ("--namespace", "maas", "--create-namespace")
WORKLOADS = "deployments,daemonsets,statefulsets"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own: an API server takes a minute to forget deleted definitions."""
    with control_plane(tmp_path) as kubeconfig:
        cluster = Cluster(kubeconfig)
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        metadata = {"name": "local-path", "annotations": default}
        client.StorageV1Api(cluster.client).create_storage_class(
            {"metadata": metadata, "provisioner": "example.org/none"}
        )
        yield cluster


def kubectl(cluster: Cluster, *words: str | Path) -> str:
    return run([tools.tool("kubectl"), "--kubeconfig", cluster.kubeconfig, *words], timeout=120).stdout


def objects(cluster: Cluster, kinds: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl(cluster, "get", kinds, "--output=json", *options))["items"]
    return found


def released(cluster: Cluster, kinds: str) -> list[dict[str, Any]]:
    return objects(cluster, kinds, "--all-namespaces", "--selector=app.kubernetes.io/part-of=maas")


def pod_templates(cluster: Cluster) -> dict[str, str]:
    """A digest of each workload's pods: when it changes, they are restarted."""
    return {
        f"{entry['kind']}/{entry['metadata']['name']}": hashlib.sha256(
            json.dumps(entry["spec"]["template"], sort_keys=True).encode()
        ).hexdigest()
        for entry in released(cluster, WORKLOADS)
    }


def secrets(cluster: Cluster) -> dict[str, Any]:
    return {entry["metadata"]["name"]: entry.get("data") for entry in released(cluster, "secrets")}


def definitions(cluster: Cluster) -> None:
    """The step of docs/installing.md before an upgrade: Helm itself never changes kinds."""
    for chart in render.subcharts():
        if (chart / "crds").is_dir():
            kubectl(cluster, "apply", "--server-side", "--force-conflicts", f"--filename={chart / 'crds'}")
    cluster.wait_established(helm_release.crd_names())


def newer(directory: Path) -> Path:
    """The same charts with the next version on them."""
    chart = copied_umbrella(directory)
    for file in chart.rglob("Chart.yaml"):
        file.write_text(re.sub(r"(?<!app)(?<!App)\bversion: \d+\.\d+\.\d+", "version: 9.9.9", file.read_text()))
    (chart / "Chart.lock").unlink()
    return chart


def left(cluster: Cluster) -> set[str]:
    """What is there of a release that is gone."""
    kinds = "namespaces,secrets,configmaps,services,serviceaccounts,persistentvolumeclaims,deployments,daemonsets"
    kinds += ",statefulsets,jobs,roles,rolebindings,clusterroles,clusterrolebindings,networkpolicies,apiservices"
    found = {f"{entry['kind']} {entry['metadata']['name']}" for entry in released(cluster, kinds)}
    groups = ("monitoring.coreos.com", "crd.projectcalico.org", "policy.networking.k8s.io")
    return found | {
        f"CustomResourceDefinition *.{entry['spec']['group']}"
        for entry in objects(cluster, "customresourcedefinitions")
        if entry["spec"]["group"] in groups
    }


def documented() -> set[str]:
    """What docs/installing.md says is left."""
    text = (render.umbrella() / "docs" / "installing.md").read_text(encoding="utf-8")
    table = text.split("<!-- left: begin -->")[1].split("<!-- left: end -->")[0]
    return {f"{kind} {name}" for kind, name in re.findall(r"^\| (\w+) \| `([^`]+)` \|", table, re.MULTILINE)}


@pytest.fixture
def major() -> Major:
    """The Helm of this one; tests/acceptance has the same with both."""
    return "4"


@pytest.fixture
def options() -> tuple[str, ...]:
    """Rules and dashboards are nine tenths of what the API server has to read; tests/acceptance has the same with them."""
    return ("--set=kube-prometheus.dashboards.enabled=false", "--set=kube-prometheus.rules.enabled=false")


def test_a_release_lives_from_the_previous_chart_to_its_end(
    api: Cluster, tmp_path: Path, major: Major, options: tuple[str, ...]
) -> None:
    helm(api, major, "install", "maas", PREVIOUS, *IN_MAAS)
    before = secrets(api)
    assert before.keys() == {"restaurant-key", "restaurant-database"}
    database = kubectl(
        api, "get", "statefulset", "restaurant-database", "-n", "restaurant", "-o", "jsonpath={.metadata.uid}"
    )

    # From the previous chart to this one: data, secrets and volumes are kept.
    definitions(api)
    helm(api, major, "upgrade", "maas", render.umbrella(), *IN_MAAS, *options)
    assert {name: data for name, data in secrets(api).items() if name in before} == before
    uid = kubectl(
        api, "get", "statefulset", "restaurant-database", "-n", "restaurant", "-o", "jsonpath={.metadata.uid}"
    )
    assert uid == database, "a StatefulSet that is made anew leaves its volume behind"

    # The next version of the same charts restarts nothing, and applied once more changes nothing.
    templates = pod_templates(api)
    assert len(templates) > 5
    helm(api, major, "upgrade", "maas", newer(tmp_path), *IN_MAAS, *options)
    assert pod_templates(api) == templates
    assert {name: data for name, data in secrets(api).items() if name in before} == before

    # Back to the chart before: the same pods and the same secrets.
    helm(api, major, "rollback", "maas", "2", "--namespace", "maas")
    assert pod_templates(api) == templates
    assert {name: data for name, data in secrets(api).items() if name in before} == before

    # A second release in the same cluster is refused, with the reason: first the operator, then the namespaces.
    second: tuple[str | Path, ...] = (
        "install",
        "second",
        render.umbrella(),
        "--namespace",
        "second",
        "--create-namespace",
        *options,
    )
    with pytest.raises(ProcessError) as refused:
        helm(api, major, *second)
    assert "a prometheus-operator already, monitoring/prometheus-operator" in refused.value.stderr
    with pytest.raises(ProcessError) as refused:
        helm(api, major, *second, "--set", "kube-prometheus.prometheusOperator.enabled=false")
    assert "belongs to the release maas" in refused.value.stderr

    # The end leaves what is written down, and a new beginning finds it.
    helm(api, major, "uninstall", "maas", "--namespace", "maas")
    assert left(api) == documented()
    helm(api, major, "install", "maas", render.umbrella(), *IN_MAAS, *options)
    assert {name: data for name, data in secrets(api).items() if name in before} == before
    helm(api, major, "uninstall", "maas", "--namespace", "maas")
