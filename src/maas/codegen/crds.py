"""Generates the CRDs of the charts from the Go types of the components that use them.

controller-gen reads the same modules that the component is built from, so a CRD always has the version of its program.
Descriptions are left out: they are 90 % of the size, and the projects have reference pages.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maas import components, paths, process
from maas.bundle import tools

_CONTROLLER_GEN = "crd:crdVersions=v1,allowDangerousTypes=true,maxDescLen=0"

_INTEGER_OR_STRING: dict[str, Any] = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": "^.*",
    "x-kubernetes-int-or-string": True,
}
"""The schema of Calico's types Port and Protocol in JSON."""

_PORT = {"maxPort", "minPort", "portName"}
_PROTOCOL = {"numVal", "strVal", "type"}
"""The Go fields of these types. They serialize to a number or a string, which controller-gen cannot see."""

_APPROVED = {"policy.networking.k8s.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/30"}
"""By group below k8s.io, the review that approved it; the API server rejects CRDs without it."""

_VERSIONED = {"monitoring.coreos.com": ("operator.prometheus.io/version", "prometheus-operator")}
"""By group, the annotation for the version, and the component that it is the version of."""


@dataclass(frozen=True)
class Source:
    """The source of CRDs of a chart.

    Attributes:
        chart: The subchart, whose directory crds/ they are in.
        module: The build module below hack/build that pins the version.
        packages: The Go packages with the types.
        groups: The API groups of this source, if the chart has several sources; empty for all groups.
    """

    chart: str
    module: str
    packages: tuple[str, ...]
    groups: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        """The directory of the generated files."""
        return paths.content() / "charts" / self.chart / "crds"

    def owns(self, name: str) -> bool:
        """Return whether a file of the directory comes from this source."""
        return not self.groups or name.partition("_")[0] in self.groups


SOURCES = (
    Source(
        chart="calico",
        module="calico",
        packages=(
            "github.com/projectcalico/calico/libcalico-go/lib/apis/crd.projectcalico.org/v1",
            "sigs.k8s.io/network-policy-api/apis/v1alpha1",
        ),
    ),
    Source(
        chart="kube-prometheus",
        module="prometheus-operator",
        # Without v1beta1 of AlertmanagerConfig, which needs the conversion webhook of the operator.
        packages=(
            "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1",
            "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1",
        ),
        groups=("monitoring.coreos.com",),
    ),
    Source(
        chart="kube-prometheus",
        module="keda",
        packages=(
            "github.com/kedacore/keda/v2/apis/eventing/v1alpha1",
            "github.com/kedacore/keda/v2/apis/keda/v1alpha1",
        ),
        groups=("eventing.keda.sh", "keda.sh"),
    ),
)

_NOT_SERVED = {"keda.sh_withtriggers.yaml"}
"""Go types that controller-gen mistakes for API types."""


def generate(source: Source) -> dict[str, str]:
    """Generate the CRDs of a source: the text of each file by its name.

    Raises:
        BundleError: controller-gen is not available.
        ProcessError: The modules cannot be downloaded or parsed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        process.run(
            [
                tools.tool("controller-gen"),
                _CONTROLLER_GEN,
                *(f"paths={package}" for package in source.packages),
                f"output:crd:dir={scratch}",
            ],
            cwd=paths.content() / "hack" / "build" / source.module,
            env={"GOFLAGS": "-mod=readonly", "GOWORK": "off"},
            timeout=600,
        )
        return {
            file.name: _text(correct(yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)))  # noqa: S506 - a safe one
            for file in sorted(Path(scratch).glob("*.yaml"))
            if file.name not in _NOT_SERVED
        }


def write(source: Source) -> list[Path]:
    """Generate the CRDs of a source into its chart, and return the files that were changed or deleted.

    Raises:
        BundleError: controller-gen is not available.
        ProcessError: The modules cannot be downloaded or parsed.
    """
    generated = generate(source)
    changed = drift(source, generated)
    source.directory.mkdir(exist_ok=True)
    for file in changed:
        if file.name in generated:
            file.write_text(generated[file.name], encoding="utf-8")
        else:
            file.unlink()
    return changed


def drift(source: Source, generated: dict[str, str]) -> list[Path]:
    """Return the files that differ from the generated text, are missing, or are no longer generated."""
    files = [file for file in source.directory.glob("*.yaml") if source.owns(file.name)]
    committed = {file.name: file.read_text(encoding="utf-8") for file in files}
    names = sorted(committed.keys() | generated.keys())
    return [source.directory / name for name in names if committed.get(name) != generated.get(name)]


def correct(definition: dict[str, Any]) -> dict[str, Any]:
    """Correct a CRD where controller-gen cannot derive the schema from the Go types."""
    fixed: dict[str, Any] = _with_integers_or_strings(definition)
    spec, metadata = fixed["spec"], fixed["metadata"]
    if stamp := _VERSIONED.get(spec["group"]):
        annotation, component = stamp
        metadata["annotations"][annotation] = components.load().find(component)[0].version.removeprefix("v")
    if link := _APPROVED.get(spec["group"]):
        metadata["annotations"]["api-approved.kubernetes.io"] = link
    if spec["names"]["kind"] == "IPAMBlock":
        # An unallocated address is null: Allocations is a list of pointers.
        block = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        block["properties"]["allocations"]["items"]["nullable"] = True
    if spec["names"]["kind"] == "ScaledJob":
        # It contains the schema of a Job, which is half the size of all CRDs of the chart. The API server validates the Job.
        job = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        job["properties"]["jobTargetRef"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return fixed


def _with_integers_or_strings(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_integers_or_strings(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    properties = node.get("properties")
    if isinstance(properties, dict) and set(properties) in (_PORT, _PROTOCOL):
        return dict(_INTEGER_OR_STRING)
    return {key: _with_integers_or_strings(value) for key, value in node.items()}


class _Loader(yaml.CSafeLoader):
    """Reads a plain `=` as a string; YAML 1.1 has a type for it that no program uses."""


def _text_of(loader: _Loader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


_Loader.add_constructor("tag:yaml.org,2002:value", _text_of)


class _Dumper(yaml.SafeDumper):
    # Without anchors and aliases for the shared schema above: readers of a CRD do not expect them.
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature of the base class
        return True


def _text(definition: dict[str, Any]) -> str:
    body = yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=120)
    return f"# generated by `maas generate` with controller-gen from the module's Go types; do not edit\n{body}"
