"""Looks at a cluster before anything is installed: what the charts would refuse, and what they would adapt to.

It asks what the charts ask, with an administrator's kubeconfig of any cluster, and ends with the charts themselves: Helm
renders them against the cluster without installing anything, so that a refusal has the very words of the real one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import yaml

from maas import components, console, paths, process
from maas.bundle import tools
from maas.cluster.client import Cluster
from maas.cluster.helm_release import NAMESPACE, RELEASE
from maas.errors import ChartError, ClusterError, ProcessError, UsageError
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

OLDEST = (1, 35)
"""The oldest Kubernetes that the charts are made for."""

_WITHOUT_POLICIES = {"flannel", "kindnet"}
"""Pod networks that do not enforce NetworkPolicies, unless something beside them does."""

_RESTRICTIONS = ("privileged", "baseline", "restricted")
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_KEEPERS = ("Alertmanager", "Prometheus")
"""Kinds of prometheus-operator, which makes claims for them."""

_VOLUMES = {
    "alertmanager": "kube-prometheus.alertmanager",
    "grafana": "kube-prometheus.grafana",
    "prometheus": "kube-prometheus.prometheus",
    "restaurant": "restaurant.database.sqlite",
    "restaurant-database": "restaurant.database.postgresql",
}
"""What keeps something, by its name, with its place in the values."""

_OPERATOR_VERSION = "operator.prometheus.io/version"

_NOT_YET = "unable to build kubernetes objects from release manifest"
"""Helm's complaint of a rendering that went through, about kinds that an installation brings before its objects."""

_HELMS_OWN = ("level=", "Error:", "Use --debug")
"""How lines begin in which Helm speaks and not the charts."""

State = Literal["ok", "note", "refused"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        about: What was looked at.
        state: `refused` for what stands against an installation, `note` for what it has to be told or will adapt to.
        found: What is there.
        advice: Which value to set, or what to do; empty for nothing.
    """

    about: str
    state: State
    found: str
    advice: str = ""


def doctor(kubeconfig: Path, *, values: Sequence[Path] = ()) -> None:
    """Show what a cluster has that an installation has to know of.

    Args:
        kubeconfig: An administrator's kubeconfig.
        values: Files of values with which it would be installed.

    Raises:
        UsageError: A file is not there.
        ClusterError: The cluster does not answer, or something stands against an installation.
    """
    if missing := [str(file) for file in (kubeconfig, *values) if not file.is_file()]:
        raise UsageError("a file is missing", context=missing)
    cluster = Cluster(kubeconfig)
    findings = examine(cluster, values=values)
    rows = [(item.about, item.state, item.found, item.advice) for item in findings]
    console.table(str(kubeconfig), ("about", "", "found", "what to set or do"), rows)
    if refused := [item for item in findings if item.state == "refused"]:
        raise ClusterError(
            f"{len(refused)} of {len(findings)} checks stand against an installation",
            context=[f"{item.about}: {item.found}" for item in refused],
            hint="the last column says what to set; give the same values again",
            command=paths.command("doctor", f"--kubeconfig {kubeconfig} --values FILE"),
        )


def examine(cluster: Cluster, *, values: Sequence[Path] = ()) -> list[Finding]:
    """The findings of every check.

    Raises:
        ClusterError: The cluster does not answer.
    """
    checks: tuple[Callable[[Cluster], Iterator[Finding]], ...] = (
        kubernetes,
        network,
        metrics_api,
        monitoring,
        namespaces,
    )
    try:
        found = [finding for check in checks for finding in check(cluster)]
        found.append(storage(cluster, values))
    except OSError as error:
        raise ClusterError(f"the cluster of {cluster.kubeconfig} does not answer", context=[str(error)]) from error
    return [*found, chart(cluster, values)]


def kubernetes(cluster: Cluster) -> Iterator[Finding]:
    """The version of the API server."""
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    version = client.VersionApi(cluster.client).get_code()
    numbers = tuple(int(re.sub(r"\D", "", part)) for part in (version.major, version.minor))
    oldest = ".".join(map(str, OLDEST))
    if numbers < OLDEST:
        yield Finding("Kubernetes", "refused", version.git_version, f"upgrade the cluster to {oldest} or newer")
    else:
        yield Finding("Kubernetes", "ok", version.git_version)


def network(cluster: Cluster) -> Iterator[Finding]:
    """The pod network: a cluster has one, and takes no second."""
    known = _list_of("calico", "calico.knownNetworks")
    sets = cluster.apps.list_daemon_set_for_all_namespaces().items
    found = [
        (entry["name"], f"DaemonSet {item.metadata.namespace}/{item.metadata.name}")
        for item in sets
        for entry in known
        if re.fullmatch(entry["daemonSet"], item.metadata.name) and not _ours(item.metadata)
    ]
    nodes = cluster.core.list_node().items
    found += [
        (entry["name"], f"annotation {entry['annotation']} on node {node.metadata.name}")
        for node in nodes
        for entry in _list_of("calico", "calico.knownAnnotations")
        if entry["annotation"] in (node.metadata.annotations or {})
    ]
    if found:
        name, evidence = found[0]
        weak = name in _WITHOUT_POLICIES
        advice = "it does not enforce NetworkPolicies" if weak else ""
        yield Finding("pod network", "note" if weak else "ok", f"{name}: {evidence}", advice)
    elif any(_ours(item.metadata) and item.metadata.name == "calico-node" for item in sets):
        yield Finding("pod network", "ok", "Calico, of this release")
    else:
        yield Finding("pod network", "note", "none that is known", "calico.enabled: true where there is none")


def metrics_api(cluster: Cluster) -> Iterator[Finding]:
    """The owner of the metrics API, of which a cluster has one."""
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    services = client.ApiregistrationV1Api(cluster.client).list_api_service().items
    found = next((item for item in services if item.metadata.name == "v1beta1.metrics.k8s.io"), None)
    if found is None:
        yield Finding("metrics API", "ok", "nobody serves it", "kube-prometheus brings metrics-server")
    elif _ours(found.metadata):
        yield Finding("metrics API", "ok", "metrics-server, of this release")
    else:
        service = found.spec.service
        where = f"{service.namespace}/{service.name}" if service else "the API server itself"
        yield Finding(
            "metrics API", "ok", f"served by {where}", "it stays; kube-prometheus.metricsServer.enabled: auto"
        )


def monitoring(cluster: Cluster) -> Iterator[Finding]:
    """The kinds of prometheus-operator, and operators that are there already."""
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    own = components.load().find("prometheus-operator")[0].version.removeprefix("v")
    foreign = [
        f"{item.metadata.namespace}/{item.metadata.name}"
        for item in cluster.apps.list_deployment_for_all_namespaces().items
        if (item.metadata.labels or {}).get("app.kubernetes.io/name", "").endswith("prometheus-operator")
        and not _ours(item.metadata)
    ]
    if foreign:
        advice = "kube-prometheus.prometheusOperator.enabled: false, as in ci/existing-monitoring-values.yaml"
        yield Finding("prometheus-operator", "refused", f"{foreign[0]} looks after every namespace", advice)
    definitions = client.ApiextensionsV1Api(cluster.client).list_custom_resource_definition().items
    kinds = [item for item in definitions if item.spec.group == "monitoring.coreos.com"]
    if not kinds:
        yield Finding("monitoring kinds", "ok", "none yet", "Helm brings them at the first installation")
        return
    versions = {(item.metadata.annotations or {}).get(_OPERATOR_VERSION, "unknown") for item in kinds}
    owners = sorted({entry.manager for item in kinds for entry in item.metadata.managed_fields or ()})
    found = f"{len(kinds)} kinds of {', '.join(sorted(versions))}, by {', '.join(owners[:3])}"
    if any(_number(version) < _number(own) for version in versions if version != "unknown"):
        advice = "kubectl apply --server-side --force-conflicts -f charts/kube-prometheus/crds"
        yield Finding("monitoring kinds", "refused", f"{found}: older than {own}", advice)
    else:
        yield Finding("monitoring kinds", "ok", found)


def storage(cluster: Cluster, values: Sequence[Path] = ()) -> Finding:
    """A StorageClass for the volumes that name none, with the values that it would be installed with."""
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    classes = client.StorageV1Api(cluster.client).list_storage_class().items
    default = [item for item in classes if (item.metadata.annotations or {}).get(_DEFAULT_CLASS) == "true"]
    if default:
        return Finding("StorageClass", "ok", f"{default[0].metadata.name} is the default")
    names = ", ".join(item.metadata.name for item in classes) or "none at all"
    try:
        without = _without_class(values)
    except ChartError:
        return Finding("StorageClass", "note", f"no default: {names}")  # the charts' own opinion comes last
    if not without:
        return Finding("StorageClass", "ok", f"no default, and no volume needs it: {names}")
    settings = [f"{path}.storage.className: NAME" for path in without]
    return Finding("StorageClass", "refused", f"no default: {names}", "\n".join([*settings, "or make one the default"]))


def _without_class(values: Sequence[Path]) -> list[str]:
    """The values of the volumes that would take the default StorageClass."""
    found = set()
    for entry in render.objects(render.Request(render.umbrella(), values=tuple(values))):
        spec = entry.get("spec", {})
        if entry["kind"] == "PersistentVolumeClaim":
            claims = [spec]
        elif entry["kind"] == "StatefulSet":
            claims = [template["spec"] for template in spec.get("volumeClaimTemplates", ())]
        else:
            template = spec.get("storage", {}).get("volumeClaimTemplate") if entry["kind"] in _KEEPERS else None
            claims = [template["spec"]] if template else []
        if any("storageClassName" not in claim for claim in claims):
            found.add(_VOLUMES[entry["metadata"]["labels"]["app.kubernetes.io/name"]])
    return sorted(found)


def namespaces(cluster: Cluster) -> Iterator[Finding]:
    """The namespaces that the components go to: whose they are, and what they enforce."""
    present = {item.metadata.name: item.metadata for item in cluster.core.list_namespace().items}
    for name, level in _namespaces():
        metadata = present.get(name)
        if metadata is None:
            continue
        enforced = (metadata.labels or {}).get("pod-security.kubernetes.io/enforce", "privileged")
        if _RESTRICTIONS.index(enforced) > _RESTRICTIONS.index(level):
            advice = f"kubectl label namespace {name} pod-security.kubernetes.io/enforce={level} --overwrite"
            yield Finding(f"namespace {name}", "refused", f"enforces {enforced}, but needs {level}", advice)
        elif not _ours(metadata):
            yield Finding(f"namespace {name}", "refused", "is not this release's", "namespaces.create: false")
        else:
            yield Finding(f"namespace {name}", "ok", f"of this release, enforces {enforced}")


def chart(cluster: Cluster, values: Sequence[Path]) -> Finding:
    """The charts' own opinion, asked by a rendering that looks into the cluster and installs nothing."""
    words: list[str | Path] = [tools.tool("helm"), "template", RELEASE, render.umbrella(), "--namespace", NAMESPACE]
    words += ["--dry-run=server", "--kubeconfig", cluster.kubeconfig]
    words += [word for file in values for word in ("--values", file)]
    try:
        process.run(words, timeout=120)
    except ProcessError as error:
        if _NOT_YET not in error.stderr:
            said = [line.strip() for line in error.stderr.splitlines() if line.strip()]
            said = [line for line in said if not line.startswith(_HELMS_OWN)] or said
            return Finding("the charts themselves", "refused", said[0], "\n".join(said[1:]))
    return Finding("the charts themselves", "ok", "accept the cluster")


def _ours(metadata: Any) -> bool:
    annotations = metadata.annotations or {}
    owner = (annotations.get("meta.helm.sh/release-name"), annotations.get("meta.helm.sh/release-namespace"))
    return owner == (RELEASE, NAMESPACE)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _list_of(subchart: str, name: str) -> list[dict[str, str]]:
    """A list that a chart's validations hold, so that it stands in one place."""
    file = render.umbrella() / "charts" / subchart / "templates" / "_validations.tpl"
    text = file.read_text(encoding="utf-8")
    match = re.search(rf'\{{\{{- define "{re.escape(name)}" -\}}\}}\n(.*?)\{{\{{- end -\}}\}}', text, re.DOTALL)
    assert match is not None, name  # noqa: S101 - a test runs every check
    found: list[dict[str, str]] = yaml.safe_load(match[1])
    return found


def _namespaces() -> list[tuple[str, str]]:
    """The umbrella's namespaces with their Pod Security levels, as its own values make them."""
    objects = render.objects(render.Request(render.umbrella(), settings=(("calico.enabled", "true"),)))
    return [
        (entry["metadata"]["name"], entry["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])
        for entry in objects
        if entry["kind"] == "Namespace"
    ]
