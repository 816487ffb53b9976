from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from maas import process
from maas.errors import ChartError
from maas.helm import render
from maas.helm.client import Helm
from maas.helm.render import Request

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.client import Cluster
    from maas.helm.client import Major

Object = Mapping[str, Any]
Values = Mapping[str, str]
Rendered = Callable[..., tuple[Object, ...]]

PROFILES = {file.name.removesuffix("-values.yaml"): file for file in render.profiles()}
HELMS: tuple[Major, ...] = ("4", "3")
CHART = """
apiVersion: v2
name: small
version: 1.0.0
"""
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet", "Job", "Pod")


def of_profile(name: str, *, kubernetes: str = render.KUBERNETES[-1], helm: Major = "4") -> tuple[Object, ...]:
    """Render the umbrella with one of the values files of ci/."""
    return render.objects(Request(render.umbrella(), values=(PROFILES[name],), kubernetes=kubernetes, helm=helm))


def one(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    """Return the only object of a kind and name."""
    found = [entry for entry in objects if entry["kind"] == kind and entry["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]


def pod_spec(workload: Object) -> Object:
    """Return the pod spec of a workload of any kind."""
    spec: Object = workload["spec"]
    return spec if workload["kind"] == "Pod" else spec["template"]["spec"]


def pod_labels(workload: Object) -> Object:
    """Return the labels of a workload's pods."""
    metadata = workload["metadata"] if workload["kind"] == "Pod" else workload["spec"]["template"]["metadata"]
    labels: Object = metadata["labels"]
    return labels


def containers(workload: Object, *, initial: bool = True) -> Iterator[Object]:
    """Yield the containers of a workload's pod, init containers first."""
    spec = pod_spec(workload)
    if initial:
        yield from spec.get("initContainers", [])
    yield from spec["containers"]


def workloads(objects: tuple[Object, ...]) -> list[Object]:
    """Return the workloads among some objects."""
    return [entry for entry in objects if entry["kind"] in WORKLOADS]


def environment(container: Object) -> dict[str, Any]:
    """Return the environment of a container: each value, or its source."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container.get("env", [])}


def helm(cluster: Cluster, major: Major, *words: str | Path) -> str:
    """Run Helm on a real cluster and return its output.

    Raises:
        ProcessError: It failed; `stderr` has the reason.
    """
    own = cluster.kubeconfig.parent / f"helm-{major}"
    environment = {f"HELM_{what}_HOME": str(own / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
    environment |= {"KUBECONFIG": str(cluster.kubeconfig), "TZ": "UTC"}
    return process.run([Helm.pinned(major).executable, *words], env=environment, timeout=300).stdout


def refusal(helm: Major, chart: Path | None = None, **settings: Any) -> str:
    """Return Helm's error for values that the charts refuse; `__` stands for a dot in a path."""
    pairs = tuple((path.replace("__", "."), json.dumps(value)) for path, value in settings.items())
    try:
        render.render_uncached(Request(chart or render.umbrella(), settings=pairs, helm=helm))
    except ChartError as refused:
        return "\n".join(refused.context)
    raise AssertionError(f"the charts accept {settings}")


def copied_umbrella(directory: Path) -> Path:
    """Copy the charts, without ci/, to change them."""
    return render.copy_with_libraries(render.umbrella(), directory / "maas")


def without_secrets(objects: Iterable[Object]) -> list[Object]:
    """Return objects without the values of Secrets, which are generated."""
    return [{**entry, "data": "generated"} if entry["kind"] == "Secret" else entry for entry in objects]


def write_chart(directory: Path) -> Path:
    """Write a chart with one ConfigMap and one value."""
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text(CHART, encoding="utf-8")
    (directory / "values.yaml").write_text("word: hello\n", encoding="utf-8")
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: small}\ndata: {word: {{ .Values.word }}}\n"
    (directory / "templates" / "configmap.yaml").write_text(template, encoding="utf-8")
    return directory
