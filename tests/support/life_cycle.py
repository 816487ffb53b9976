"""The life of a release on a real API server: installation, upgrade, rollback, removal and another installation.

data/charts/maas-0.1.0.tgz is the chart before it had monitoring and a dashboard; a release replaces it when there is
one. There are no nodes, so nothing here waits for pods.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from tests.support.charts import copied_umbrella, helm
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

PREVIOUS = Path(__file__).parents[1] / "data" / "charts" / "maas-0.1.0.tgz"
IN_MAAS = ("--namespace", "maas", "--create-namespace")
WORKLOADS = "deployments,daemonsets,statefulsets"


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Run a cluster of its own: an API server serves deleted CRDs for another minute."""
    with control_plane(directory) as kubeconfig:
        running = Cluster(kubeconfig)
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        metadata = {"name": "local-path", "annotations": default}
        client.StorageV1Api(running.client).create_storage_class(
            {"metadata": metadata, "provisioner": "example.org/none"}
        )
        yield running


def kubectl(cluster: Cluster, *words: str | Path) -> str:
    return run([tools.tool("kubectl"), "--kubeconfig", cluster.kubeconfig, *words], timeout=120).stdout


def objects(cluster: Cluster, kinds: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl(cluster, "get", kinds, "--output=json", *options))["items"]
    return found


def released(cluster: Cluster, kinds: str) -> list[dict[str, Any]]:
    return objects(cluster, kinds, "--all-namespaces", "--selector=app.kubernetes.io/part-of=maas")


def pod_templates(cluster: Cluster) -> dict[str, str]:
    """Return a digest of each workload's pod template: when it changes, its pods are restarted."""
    return {
        f"{entry['kind']}/{entry['metadata']['name']}": hashlib.sha256(
            json.dumps(entry["spec"]["template"], sort_keys=True).encode()
        ).hexdigest()
        for entry in released(cluster, WORKLOADS)
    }


def secrets(cluster: Cluster) -> dict[str, Any]:
    return {entry["metadata"]["name"]: entry.get("data") for entry in released(cluster, "secrets")}


def definitions(cluster: Cluster) -> None:
    """Do the step of docs/installing.md before an upgrade: Helm itself never updates CRDs."""
    for chart in render.subcharts():
        if (chart / "crds").is_dir():
            kubectl(cluster, "apply", "--server-side", "--force-conflicts", f"--filename={chart / 'crds'}")
    cluster.wait_established(helm_release.crd_names())


def newer(directory: Path) -> Path:
    """Copy the charts, with the next version."""
    chart = copied_umbrella(directory)
    for file in chart.rglob("Chart.yaml"):
        file.write_text(re.sub(r"(?<!app)(?<!App)\bversion: \d+\.\d+\.\d+", "version: 9.9.9", file.read_text()))
    (chart / "Chart.lock").unlink()
    return chart


def left(cluster: Cluster) -> set[str]:
    """Return what an uninstalled release leaves; every CRD of the cluster is one of its own."""
    kinds = "namespaces,secrets,configmaps,services,serviceaccounts,persistentvolumeclaims,deployments,daemonsets"
    kinds += ",statefulsets,jobs,roles,rolebindings,clusterroles,clusterrolebindings,networkpolicies,apiservices"
    found = {f"{entry['kind']} {entry['metadata']['name']}" for entry in released(cluster, kinds)}
    return found | {
        f"CustomResourceDefinition *.{entry['spec']['group']}"
        for entry in objects(cluster, "customresourcedefinitions")
    }


def documented() -> set[str]:
    """Return what docs/installing.md says is left."""
    text = (render.umbrella() / "docs" / "installing.md").read_text(encoding="utf-8")
    table = text.split("<!-- left: begin -->")[1].split("<!-- left: end -->")[0]
    return {f"{kind} {name}" for kind, name in re.findall(r"^\| (\w+) \| `([^`]+)` \|", table, re.MULTILINE)}


def live(api: Cluster, directory: Path, *, major: Major, options: tuple[str, ...] = ()) -> None:
    """Take a release from the previous chart to its removal, and assert what is kept, restarted and left at each step.

    Args:
        api: A cluster without a release.
        directory: Where a copy of the chart is written.
        major: The Helm that does it.
        options: Options of every installation and upgrade of today's chart.
    """
    helm(api, major, "install", "maas", PREVIOUS, *IN_MAAS)
    before = secrets(api)
    assert before.keys() == {"restaurant-key", "restaurant-database"}
    database = kubectl(
        api, "get", "statefulset", "restaurant-database", "-n", "restaurant", "-o", "jsonpath={.metadata.uid}"
    )

    # From the previous chart to this one: data, secrets and volumes are kept.
    definitions(api)
    helm(api, major, "upgrade", "maas", render.umbrella(), *IN_MAAS, *options)
    # The previous chart had no key for the signatures of the journal.
    before["restaurant-key"] |= {"journal-key": secrets(api)["restaurant-key"]["journal-key"]}
    assert {name: data for name, data in secrets(api).items() if name in before} == before
    uid = kubectl(
        api, "get", "statefulset", "restaurant-database", "-n", "restaurant", "-o", "jsonpath={.metadata.uid}"
    )
    assert uid == database, "a StatefulSet that is re-created leaves its volume behind"

    # The next version of the same charts restarts nothing, and applied once more changes nothing.
    templates = pod_templates(api)
    assert len(templates) > 5
    helm(api, major, "upgrade", "maas", newer(directory), *IN_MAAS, *options)
    assert pod_templates(api) == templates
    assert {name: data for name, data in secrets(api).items() if name in before} == before

    # Rolled back: the same pods and the same secrets.
    helm(api, major, "rollback", "maas", "2", "--namespace", "maas")
    assert pod_templates(api) == templates
    assert {name: data for name, data in secrets(api).items() if name in before} == before

    # A second release in the same cluster is refused with the reason: first the operator, then the namespaces.
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
    assert "already has a prometheus-operator, monitoring/prometheus-operator" in refused.value.stderr
    with pytest.raises(ProcessError) as refused:
        helm(api, major, *second, "--set", "kube-prometheus.prometheusOperator.enabled=false")
    assert "belongs to the release maas" in refused.value.stderr

    # Uninstalling leaves what is documented, and the next installation uses it.
    helm(api, major, "uninstall", "maas", "--namespace", "maas")
    assert left(api) == documented()
    helm(api, major, "install", "maas", render.umbrella(), *IN_MAAS, *options)
    assert {name: data for name, data in secrets(api).items() if name in before} == before
    helm(api, major, "uninstall", "maas", "--namespace", "maas")
