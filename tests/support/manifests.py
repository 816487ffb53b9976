"""Compare the manifests of two versions of the charts, object by object: `./nox -s manifests -- REVISION`.

Helm renders every chart of both versions with its defaults, and the umbrella chart also with each file of ci/ and with the
settings below, for every supported Kubernetes version, and for the newest with the CRDs of other operators too. Each
difference is printed with its path and the number of renderings that have it.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maas import paths, process
from maas.helm import NAMESPACE, RELEASE, render
from maas.helm.client import Helm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CRDS = ("monitoring.coreos.com/v1/ServiceMonitor", "keda.sh/v1alpha1/ScaledObject", "crd.projectcalico.org/v1/IPPool")

_EXPOSED = (
    "{ingress: {enabled: true, hosts: [a.example.org]}, httpRoute: {enabled: true, parentRefs: [{name: gateway}]}}"
)
_SCRAPED = "{enabled: true, interval: 7s, labels: {team: platform}}"
SETTINGS = {
    "exposed": f"""
        restaurant: {_EXPOSED}
        dashboard: {_EXPOSED}
        kube-prometheus: {{prometheus: {_EXPOSED}, alertmanager: {_EXPOSED}, grafana: {_EXPOSED}}}
    """,
    "scraped": f"""
        calico: {{enabled: true}}
        restaurant: {{serviceMonitor: {_SCRAPED}, autoscaling: {{saturation: {{enabled: true}}}}}}
        dashboard: {{headlamp: {{serviceMonitor: {_SCRAPED}}}, roles: {{create: true}}}}
        kube-prometheus: {{keda: {{enabled: true}}, grafana: {{storage: {{enabled: true, className: fast}}}}}}
    """,
}


def main(revision: str) -> int:
    """Print the differences between the checkout and a revision of it, and return how many there are."""
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "before", Path(scratch) / "after"
        archive = Path(scratch) / "before.tar"
        process.run(["git", "archive", f"--output={archive}", revision], cwd=paths.content())
        with tarfile.open(archive) as opened:
            opened.extractall(before, filter="data")
        render.copy_with_libraries(paths.content(), after)
        shutil.copytree(paths.content() / "ci", after / "ci")
        renderings = list(_renderings(after))
        with ThreadPoolExecutor(2) as pool:
            old, new = (list(pool.map(partial(_objects, tree), renderings)) for tree in (before, after))
    found: Counter[str] = Counter()
    for one, other in zip(old, new, strict=True):
        found.update(set(_differences(one, other)))
    for difference, count in sorted(found.items()):
        print(f"{count:4} x {difference}")
    objects = sum(map(len, new))
    print(f"{len(renderings)} renderings, {objects} objects, {len(found)} differences")
    return len(found)


def _renderings(tree: Path) -> Iterator[tuple[str, str, str, bool]]:
    """Chart, values file or name of settings, Kubernetes version, whether the CRDs exist."""
    profiles = ["", *sorted(str(file.relative_to(tree)) for file in tree.glob("ci/*-values.yaml")), *SETTINGS]
    charts = [(".", profile) for profile in profiles]
    charts += [(str(chart.relative_to(tree)), "") for chart in render.subcharts(tree)]
    newest = render.KUBERNETES[-1]
    for chart, values in charts:
        yield from ((chart, values, version, False) for version in render.KUBERNETES)
        yield chart, values, newest, True


def _objects(tree: Path, rendering: tuple[str, str, str, bool]) -> dict[str, Any]:
    chart, values, version, crds = rendering
    argv: list[str | Path] = [Helm.pinned().executable, "template", RELEASE]
    argv += ["--namespace", NAMESPACE, "--kube-version", version]
    argv += [f"--api-versions={crd}" for crd in CRDS if crds]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "values.yaml"
        file.write_text(SETTINGS.get(values, ""), encoding="utf-8")
        given = tree / values if values and values not in SETTINGS else file
        directory = tree / chart
        if chart != "." and render.libraries(directory):
            directory = render.copy_with_libraries(directory, Path(scratch) / "charts" / directory.name)
        text = process.run([*argv, directory, "--values", given], timeout=120).stdout
    return {_name(entry): _comparable(entry) for entry in render.parse(text)}


def _name(entry: Mapping[str, Any]) -> str:
    metadata = entry["metadata"]
    hook = metadata.get("annotations", {}).get("helm.sh/hook", "")
    return " ".join(filter(None, (entry["kind"], metadata.get("namespace"), metadata["name"], hook)))


def _comparable(entry: Mapping[str, Any]) -> Any:
    """An object without the values of Secrets, which are generated."""
    return {**entry, "data": sorted(entry.get("data", ()))} if entry["kind"] == "Secret" else entry


def _parsed(value: Any) -> Any:
    """The content of a configuration file in an object, other values as they are."""
    if not isinstance(value, str) or "\n" not in value:
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"{name}: is gone"
        elif name not in old:
            yield f"{name}: is new"
        else:
            yield from (f"{name}: {line}" for line in _of(old[name], new[name], ""))


def _of(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                yield f"{path}.{key} is gone: {json.dumps(old[key])}"
            elif key not in old:
                yield f"{path}.{key} is new: {json.dumps(new[key])}"
            else:
                yield from _of(old[key], new[key], f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _of(*pair, f"{path}[{index}]")
    elif old != new:
        parsed = _parsed(old), _parsed(new)
        if parsed[0] != parsed[1]:
            yield f"{path}: {json.dumps(old)} -> {json.dumps(new)}"
        else:
            yield f"{path} differs in comments or layout"


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1]), 1))
