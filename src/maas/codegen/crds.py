"""CustomResourceDefinitions, generated from the Go types of the component that is shipped.

controller-gen reads the very modules that the component is built from, so a definition cannot be of another version
than the program that uses it. Descriptions are left out: they are nine tenths of the size, and `kubectl explain` is
served by the projects' own reference pages.
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
"""What Calico's types Port and Protocol are in JSON."""

_PORT = {"maxPort", "minPort", "portName"}
_PROTOCOL = {"numVal", "strVal", "type"}
"""The Go fields of those types; they write themselves as a number or a text, which controller-gen cannot know."""

_APPROVED = {"policy.networking.k8s.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/30"}
"""Groups below k8s.io, which the API server takes only with the review that approved them."""

_VERSIONED = {"monitoring.coreos.com": ("operator.prometheus.io/version", "prometheus-operator")}
"""Groups whose project writes its version on them, by which others see whether they are older than theirs."""


@dataclass(frozen=True)
class Source:
    """Where a chart's definitions come from.

    Attributes:
        chart: The subchart whose crds/ they are.
        module: The build module under hack/build whose pins apply.
        packages: The Go packages with the types.
        groups: The API groups that are this source's, where the chart has definitions of several; empty is all of them.
    """

    chart: str
    module: str
    packages: tuple[str, ...]
    groups: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        """Where the definitions are committed."""
        return paths.content() / "charts" / self.chart / "crds"

    def owns(self, name: str) -> bool:
        """Whether a file of that directory is this source's."""
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
        # Without v1beta1 of AlertmanagerConfig, which is for clusters with the operator's conversion webhook.
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
"""What controller-gen takes for a kind and is a Go type of the component's own."""


def generate(source: Source) -> dict[str, str]:
    """The definitions of a source: the text of each file by its name.

    Raises:
        BundleError: controller-gen cannot be had.
        ProcessError: The modules cannot be fetched or read.
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
    """Generate a source's definitions into its chart, and return the files that changed or went.

    Raises:
        BundleError: controller-gen cannot be had.
        ProcessError: The modules cannot be fetched or read.
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
    """The files of a chart's crds/ that are not as generated: changed, missing, or too many."""
    files = [file for file in source.directory.glob("*.yaml") if source.owns(file.name)]
    committed = {file.name: file.read_text(encoding="utf-8") for file in files}
    names = sorted(committed.keys() | generated.keys())
    return [source.directory / name for name in names if committed.get(name) != generated.get(name)]


def correct(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition with what controller-gen cannot read out of the Go types put right."""
    fixed: dict[str, Any] = _corrected(definition)
    spec, metadata = fixed["spec"], fixed["metadata"]
    if stamp := _VERSIONED.get(spec["group"]):
        annotation, component = stamp
        metadata["annotations"][annotation] = components.load().find(component)[0].version.removeprefix("v")
    if link := _APPROVED.get(spec["group"]):
        metadata["annotations"]["api-approved.kubernetes.io"] = link
    if spec["names"]["kind"] == "IPAMBlock":
        # A free address is null; see the type's Allocations, a list of pointers.
        block = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        block["properties"]["allocations"]["items"]["nullable"] = True
    if spec["names"]["kind"] == "ScaledJob":
        # A whole Job is in it, half of the size of all of the chart's definitions; the API server checks the Job itself.
        job = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        job["properties"]["jobTargetRef"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return fixed


def _corrected(node: Any) -> Any:
    if isinstance(node, list):
        return [_corrected(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    properties = node.get("properties")
    if isinstance(properties, dict) and set(properties) in (_PORT, _PROTOCOL):
        return dict(_INTEGER_OR_STRING)
    return {key: _corrected(value) for key, value in node.items()}


class _Loader(yaml.CSafeLoader):
    """Takes a bare `=` for text: YAML 1.1 has another meaning for it that nobody implements."""


def _text_of(loader: _Loader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


_Loader.add_constructor("tag:yaml.org,2002:value", _text_of)


class _Dumper(yaml.SafeDumper):
    # The shared piece above would come out as an anchor and aliases, which a reader of a definition does not expect.
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class asks for it
        return True


def _text(definition: dict[str, Any]) -> str:
    body = yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=120)
    return f"# generated by `maas generate` with controller-gen from the module's Go types; do not edit\n{body}"
