"""Checks of a cluster before an installation: what the charts would reject, and what they would adapt to.

The checks look at what the charts look at, with an administrator's kubeconfig of any cluster. The last one is the charts'
own: Helm renders them against the cluster without installing anything, so a failure has the message of the real one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import yaml

from maas import components, process
from maas.bundle import tools
from maas.cluster import access, releases
from maas.cluster.releases import Release
from maas.errors import ChartError, ProcessError
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from maas.cluster.client import Cluster

OLDEST = tuple(int(part) for part in render.KUBERNETES[0].split(".")[:2])
"""The oldest Kubernetes minor version that the charts support."""

_WITHOUT_POLICIES = {"flannel", "kindnet"}
"""Pod networks that do not enforce NetworkPolicies by themselves."""

_RESTRICTIONS = ("privileged", "baseline", "restricted")
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_OPERATED = ("Alertmanager", "Prometheus")
"""Kinds for which prometheus-operator creates PersistentVolumeClaims."""

_RESTAURANT_VOLUMES = {
    "restaurant": "restaurant.database.sqlite",
    "restaurant-database": "restaurant.database.postgresql",
}
"""The volumes of the restaurant application, with their path in the values; components.yaml has the others."""

_OPERATOR_VERSION = "operator.prometheus.io/version"

_CRDS_MISSING = "unable to build kubernetes objects from release manifest"
"""Helm's error after a successful rendering, about CRDs that an installation installs before its objects."""

_HELM_LINES = ("level=", "Error:", "Use --debug")
"""How the lines begin that are Helm's and not the charts'."""

State = Literal["ok", "note", "failed"]


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        about: What was checked.
        state: `failed` for what prevents an installation, `note` for what needs a value or attention.
        found: What was found.
        advice: Which value to set, or what to do; empty for nothing.
    """

    about: str
    state: State
    found: str
    advice: str = ""


def check(
    cluster: Cluster, *, values: Sequence[Path] = (), release: str | None = None, namespace: str | None = None
) -> list[Finding]:
    """Run every check and return the findings.

    Args:
        cluster: The cluster.
        values: Values files of the installation.
        release: Name of the release; by default the one in the cluster, or else the tool's own.
        namespace: Its namespace, for a release that is not installed yet.

    Raises:
        UsageError: The kubeconfig is missing or not valid.
        ClusterError: The API server cannot be reached, is not one, or rejects the credentials.
    """
    checks: tuple[Callable[[Cluster, Release], Iterator[Finding]], ...] = (
        kubernetes,
        network,
        metrics_api,
        monitoring,
        namespaces,
    )
    with access.explained(cluster):
        own = None if namespace is not None and release is not None else releases.find(cluster, release)
        if own is None or namespace is not None:
            own = Release(release or (own or Release()).name, namespace or Release().namespace)
        found = [finding for run in checks for finding in run(cluster, own)]
        found.append(storage(cluster, values))
    return [*found, chart(cluster, values, own)]


def kubernetes(cluster: Cluster, _: Release) -> Iterator[Finding]:
    """Check the version of the API server."""
    from kubernetes import client

    version = client.VersionApi(cluster.client).get_code()
    numbers = tuple(int(re.sub(r"\D", "", part)) for part in (version.major, version.minor))
    oldest = ".".join(map(str, OLDEST))
    if numbers < OLDEST:
        yield Finding("Kubernetes", "failed", version.git_version, f"upgrade the cluster to {oldest} or later")
    else:
        yield Finding("Kubernetes", "ok", version.git_version)


def network(cluster: Cluster, release: Release) -> Iterator[Finding]:
    """Check the pod network, of which a cluster has one."""
    known = _known_networks()
    sets = cluster.apps.list_daemon_set_for_all_namespaces().items
    found = [
        (entry["name"], f"DaemonSet {item.metadata.namespace}/{item.metadata.name}")
        for item in sets
        for entry in known["daemonSets"]
        if re.fullmatch(entry["daemonSet"], item.metadata.name) and not release.owns(item.metadata)
    ]
    nodes = cluster.core.list_node().items
    found += [
        (entry["name"], f"annotation {entry['annotation']} on node {node.metadata.name}")
        for node in nodes
        for entry in known["annotations"]
        if entry["annotation"] in (node.metadata.annotations or {})
    ]
    if found:
        name, evidence = found[0]
        weak = name in _WITHOUT_POLICIES
        advice = "it does not enforce NetworkPolicies" if weak else ""
        yield Finding("pod network", "note" if weak else "ok", f"{name}: {evidence}", advice)
    elif any(release.owns(item.metadata) and item.metadata.name == "calico-node" for item in sets):
        yield Finding("pod network", "ok", "Calico, part of this release")
    else:
        yield Finding("pod network", "note", "no known network found", "calico.enabled: true if there is none")


def metrics_api(cluster: Cluster, release: Release) -> Iterator[Finding]:
    """Check what serves the metrics API, of which a cluster has one."""
    from kubernetes import client

    services = client.ApiregistrationV1Api(cluster.client).list_api_service().items
    found = next((item for item in services if item.metadata.name == "v1beta1.metrics.k8s.io"), None)
    if found is None:
        yield Finding("metrics API", "ok", "not served", "kube-prometheus installs metrics-server")
    elif release.owns(found.metadata):
        yield Finding("metrics API", "ok", "metrics-server, part of this release")
    else:
        service = found.spec.service
        where = f"{service.namespace}/{service.name}" if service else "the API server itself"
        yield Finding(
            "metrics API", "ok", f"served by {where}", "it is kept; kube-prometheus.metricsServer.enabled: auto"
        )


def monitoring(cluster: Cluster, release: Release) -> Iterator[Finding]:
    """Check the CRDs of prometheus-operator, and operators that are installed already."""
    from kubernetes import client

    own = components.load().find("prometheus-operator")[0].version.removeprefix("v")
    foreign = [
        f"{item.metadata.namespace}/{item.metadata.name}"
        for item in cluster.apps.list_deployment_for_all_namespaces().items
        if (item.metadata.labels or {}).get("app.kubernetes.io/name", "").endswith("prometheus-operator")
        and not release.owns(item.metadata)
    ]
    if foreign:
        advice = "kube-prometheus.prometheusOperator.enabled: false, as in ci/existing-monitoring-values.yaml"
        yield Finding("prometheus-operator", "failed", f"{foreign[0]} watches every namespace", advice)
    definitions = client.ApiextensionsV1Api(cluster.client).list_custom_resource_definition().items
    crds = [item for item in definitions if item.spec.group == "monitoring.coreos.com"]
    if not crds:
        yield Finding("monitoring CRDs", "ok", "none yet", "Helm installs them with the first installation")
        return
    versions = {(item.metadata.annotations or {}).get(_OPERATOR_VERSION, "unknown") for item in crds}
    owners = sorted({entry.manager for item in crds for entry in item.metadata.managed_fields or ()})
    found = f"{len(crds)} CRDs of version {', '.join(sorted(versions))}, managed by {', '.join(owners[:3])}"
    if any(_number(version) < _number(own) for version in versions if version != "unknown"):
        advice = "kubectl apply --server-side --force-conflicts -f charts/kube-prometheus/crds"
        yield Finding("monitoring CRDs", "failed", f"{found}: older than {own}", advice)
    else:
        yield Finding("monitoring CRDs", "ok", found)


def storage(cluster: Cluster, values: Sequence[Path] = ()) -> Finding:
    """Check that there is a StorageClass for the volumes that name none."""
    from kubernetes import client

    classes = client.StorageV1Api(cluster.client).list_storage_class().items
    default = [item for item in classes if (item.metadata.annotations or {}).get(_DEFAULT_CLASS) == "true"]
    if default:
        return Finding("StorageClass", "ok", f"{default[0].metadata.name} is the default")
    names = ", ".join(item.metadata.name for item in classes) or "none"
    try:
        without = _without_class(values)
    except ChartError:
        return Finding("StorageClass", "note", f"no default: {names}")  # the charts report it themselves, last
    if not without:
        return Finding("StorageClass", "ok", f"no default, and no volume needs one: {names}")
    settings = [f"{path}.storage.className: NAME" for path in without]
    return Finding(
        "StorageClass", "failed", f"no default: {names}", "\n".join([*settings, "or set a default StorageClass"])
    )


def _without_class(values: Sequence[Path]) -> list[str]:
    """Return the values of the volumes that would use the default StorageClass."""
    found = set()
    volumes = {image.name: image.volume for image in components.load().images() if image.volume} | _RESTAURANT_VOLUMES
    for entry in render.objects(render.Request(render.umbrella(), values=tuple(values))):
        spec = entry.get("spec", {})
        if entry["kind"] == "PersistentVolumeClaim":
            claims = [spec]
        elif entry["kind"] == "StatefulSet":
            claims = [template["spec"] for template in spec.get("volumeClaimTemplates", ())]
        else:
            template = spec.get("storage", {}).get("volumeClaimTemplate") if entry["kind"] in _OPERATED else None
            claims = [template["spec"]] if template else []
        if any("storageClassName" not in claim for claim in claims):
            found.add(volumes[entry["metadata"]["labels"]["app.kubernetes.io/name"]])
    return sorted(found)


def namespaces(cluster: Cluster, release: Release) -> Iterator[Finding]:
    """Check the namespaces of the components: what they belong to, and which Pod Security level they enforce."""
    present = {item.metadata.name: item.metadata for item in cluster.core.list_namespace().items}
    for name, level in _namespaces():
        metadata = present.get(name)
        if metadata is None:
            continue
        enforced = (metadata.labels or {}).get("pod-security.kubernetes.io/enforce", "privileged")
        if _RESTRICTIONS.index(enforced) > _RESTRICTIONS.index(level):
            advice = f"kubectl label namespace {name} pod-security.kubernetes.io/enforce={level} --overwrite"
            yield Finding(f"namespace {name}", "failed", f"enforces {enforced}, but needs {level}", advice)
        # Helm creates no release's own namespace: it exists before the release.
        elif name != release.namespace and not release.owns(metadata):
            yield Finding(
                f"namespace {name}", "failed", "exists and is not part of this release", "namespaces.create: false"
            )
        else:
            yield Finding(f"namespace {name}", "ok", f"part of this release, enforces {enforced}")


def chart(cluster: Cluster, values: Sequence[Path], release: Release | None = None) -> Finding:
    """Render the charts against the cluster, without installing anything."""
    own = release or Release()
    words: list[str | Path] = [
        tools.tool("helm"),
        "template",
        own.name,
        render.umbrella(),
        "--namespace",
        own.namespace,
    ]
    words += ["--dry-run=server", "--kubeconfig", cluster.kubeconfig]
    words += [word for file in values for word in ("--values", file)]
    try:
        process.run(words, timeout=120)
    except ProcessError as error:
        if _CRDS_MISSING not in error.stderr:
            lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
            lines = [line for line in lines if not line.startswith(_HELM_LINES)] or lines
            return Finding("chart", "failed", lines[0], "\n".join(lines[1:]))
    return Finding("chart", "ok", "can be installed on this cluster")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _known_networks() -> dict[str, list[dict[str, str]]]:
    """Return the calico chart's table of pod networks."""
    file = render.umbrella() / "charts" / "calico" / "files" / "networks.yaml"
    found: dict[str, list[dict[str, str]]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def _namespaces() -> list[tuple[str, str]]:
    """Return the umbrella chart's namespaces with their Pod Security levels."""
    objects = render.objects(render.Request(render.umbrella(), settings=(("calico.enabled", "true"),)))
    return [
        (entry["metadata"]["name"], entry["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])
        for entry in objects
        if entry["kind"] == "Namespace"
    ]
