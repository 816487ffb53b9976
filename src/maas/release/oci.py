"""A release as OCI artifacts in a registry: charts, the image, and the release metadata.

`helm push` gives other digests on another machine, because its manifest contains the archive's time in the local time zone
(https://github.com/helm/helm/issues/12884). The manifests written here depend on the content only, so their digests are
known before the first push, and pushing again changes nothing. crane pushes them, with the credentials of
`crane auth login` or `docker login`.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas import process
from maas.bundle import cache, oci, tools
from maas.errors import ProcessError, ReleaseError, UsageError, VerificationError
from maas.helm import render
from maas.release import charts, checksums, repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCHEME = "oci://"
_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
_HUB = "application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml"
_HUB_CONFIG = "application/vnd.cncf.artifacthub.config.v1+yaml"
_HUB_TAG = "artifacthub.io"
_METADATA = "application/vnd.maas.release.v1"
_EMPTY = "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"
_TIMEOUT = 900.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class ArtifactLayer:
    """A layer of an artifact.

    Attributes:
        media_type: Its media type.
        title: File name, as an annotation.
    """

    media_type: str
    content: bytes
    title: str = ""


def location(target: str) -> str:
    """Return the registry and path of `oci://REGISTRY/PATH`.

    Raises:
        UsageError: The target has another form.
    """
    path = target.removeprefix(SCHEME).strip("/")
    if not target.startswith(SCHEME) or "/" not in path:
        raise UsageError(f"{target} is not the address of a registry", hint="use oci://REGISTRY/PATH")
    return path


def metadata_tag(version: str) -> str:
    """Return the tag of the artifact with the release metadata. It is not a version, so Helm ignores it."""
    return f"release-{version}"


def chart_layout(archive: Path, layout: Path) -> str:
    """Write the OCI layout of a chart, with its provenance file if there is one, and return its digest."""
    layers = [ArtifactLayer(_CHART, archive.read_bytes())]
    signed = archive.with_name(f"{archive.name}.prov")
    if signed.is_file():
        layers.append(ArtifactLayer(_PROVENANCE, signed.read_bytes()))
    described = repository.chart(archive).described
    annotations = {
        "org.opencontainers.image.title": str(described["name"]),
        "org.opencontainers.image.version": str(described["version"]),
        "org.opencontainers.image.description": str(described.get("description", "")),
        "org.opencontainers.image.url": str(described.get("home", "")),
    }
    return _write(layout, _CHART_CONFIG, charts.metadata(described), layers, annotations=annotations)


def conflicts(target: str, version: str) -> list[str]:
    """Return why a new version cannot be published to a registry, one sentence each."""
    try:
        published = _digest(f"{location(target)}/charts/{render.UMBRELLA}:{version}")
    except ReleaseError as error:
        return [error.message]
    return [f"{target} already has {version}; a published version never changes"] if published else []


def publish(release: Path, target: str, version: str, *, image: Path, metadata: Path) -> list[str]:
    """Push a release: the image, the subcharts, the release metadata, and the umbrella chart last.

    Args:
        release: The directory of the release.
        target: `oci://REGISTRY/PATH`. Charts are pushed to PATH/charts, the image to PATH/restaurant.
        version: The version of the release.
        image: The image archive of the restaurant application.
        metadata: artifacthub-repo.yml of the project.

    Returns:
        What was pushed or already there, one line each.

    Raises:
        ReleaseError: The registry has another artifact under a name, does not answer, or denies access.
    """
    path = location(target)
    pushed = []
    with cache.scratch() as scratch:
        pushed.append(_push_image(image, f"{path}/restaurant:{version}", scratch / "image"))
        archives = sorted(release.glob("*.tgz"), key=lambda file: file.name.startswith(f"{render.UMBRELLA}-"))
        layouts = []
        for archive in archives:
            name = repository.chart(archive).described["name"]
            layout = scratch / str(name)
            layouts.append((layout, f"{path}/charts/{name}:{version}", chart_layout(archive, layout)))
        layout = scratch / "metadata"
        reference = f"{path}/charts/{render.UMBRELLA}:{metadata_tag(version)}"
        layouts.insert(-1, (layout, reference, _metadata_layout(release, layout, {image.name})))
        pushed += [push_layout(layout, reference, digest) for layout, reference, digest in layouts]
        layout = scratch / "artifacthub"
        digest = _write(layout, _HUB_CONFIG, b"{}", [ArtifactLayer(_HUB, metadata.read_bytes(), metadata.name)])
        # The only tag that moves. Artifact Hub reads the owners of the repository from it.
        pushed.append(push_layout(layout, f"{path}/charts/{render.UMBRELLA}:{_HUB_TAG}", digest, moves=True))
    return pushed


def fetch(reference: str, directory: Path) -> tuple[str, str]:
    """Pull a release from a registry: its charts and the release metadata.

    Args:
        reference: `oci://REGISTRY/PATH/charts/maas:VERSION`, or with a digest instead of the version.
        directory: Directory for the files.

    Returns:
        The version, and the registry and path.

    Raises:
        VerificationError: The registry does not have the release, or gives something else.
    """
    address = reference.removeprefix(SCHEME)
    repository_name = address.partition("@")[0] if "@" in address else address.rpartition(":")[0]
    with cache.scratch() as scratch:
        manifest = _pull(address, scratch / "chart")
        version = str(_config(scratch / "chart", manifest)["version"])
        for layer, name in _files(_pull(f"{repository_name}:{metadata_tag(version)}", scratch / "metadata")):
            shutil.copyfile(_blob(scratch / "metadata", layer), directory / name)
        for listed in sorted(checksums.read(directory)):
            if not listed.endswith(".tgz"):
                continue
            chart = listed.removesuffix(f"-{version}.tgz")
            layout = scratch / f"chart-{chart}"
            at = address if chart == render.UMBRELLA else f"{repository_name.rpartition('/')[0]}/{chart}:{version}"
            for layer in _pull(at, layout)["layers"]:
                suffix = {_CHART: "", _PROVENANCE: ".prov"}.get(layer["mediaType"])
                if suffix is not None:
                    shutil.copyfile(_blob(layout, layer["digest"]), directory / f"{listed}{suffix}")
    return version, repository_name.rpartition("/")[0].rpartition("/")[0]


def image_digest(path: str, version: str) -> str | None:
    """Return the digest that the registry currently has for the restaurant application's image.

    Args:
        path: Registry and path.
        version: Tag of the image.

    Raises:
        VerificationError: The registry does not answer.
    """
    try:
        return _digest(f"{path}/restaurant:{version}")
    except ReleaseError as error:
        raise VerificationError(error.message, context=error.context) from error


def _metadata_layout(release: Path, layout: Path, without: set[str]) -> str:
    files = [
        file
        for file in sorted(release.iterdir())
        if file.name not in without and not file.name.endswith((".tgz", ".tgz.prov"))
    ]
    layers = [ArtifactLayer("application/octet-stream", file.read_bytes(), file.name) for file in files]
    return _write(layout, _EMPTY, b"{}", layers, artifact_type=_METADATA)


def _write(
    directory: Path,
    config_type: str,
    config: bytes,
    layers: Sequence[ArtifactLayer],
    *,
    artifact_type: str = "",
    annotations: dict[str, str] | None = None,
) -> str:
    blobs = []
    for layer in layers:
        described = oci.descriptor(layer.media_type, oci.sha256(layer.content), len(layer.content))
        described |= {"annotations": {_TITLE: layer.title}} if layer.title else {}
        blobs.append((described, layer.content))
    made = oci.layout(config_type, config, blobs, artifact_type=artifact_type, annotations=annotations)
    made.write(directory)
    return made.digest


def _push_image(archive: Path, reference: str, layout: Path) -> str:
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    return push_layout(layout, reference, json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])


def push_layout(layout: Path, reference: str, digest: str, *, moves: bool = False) -> str:
    """Push an OCI layout unless the registry has it, and return what was done."""
    there = _digest(reference)
    if there == digest:
        return f"{reference} already exists"
    if there is not None and not moves:
        raise ReleaseError(
            f"the registry has another {reference}",
            context=[f"published: {there}", f"local: {digest}"],
            hint="a published version never changes; make a release with a new version",
        )
    try:
        process.run([tools.tool("crane"), "push", layout, reference], timeout=_TIMEOUT)
    except ProcessError as error:
        raise ReleaseError(
            f"cannot push {reference}",
            context=error.stderr.strip().splitlines()[-3:],
            hint="log in with `crane auth login REGISTRY`, then publish again; it continues where it stopped",
        ) from error
    if (found := _digest(reference)) != digest:
        raise ReleaseError(f"the registry has {found} for {reference} after {digest} was pushed")
    return f"{reference}@{digest}"


def _digest(reference: str) -> str | None:
    """Return the digest that a registry has for a reference; None if it has none.

    Raises:
        ReleaseError: The registry does not answer, or denies access.
    """
    done = process.run([tools.tool("crane"), "digest", reference], check=False, timeout=60)
    if done.returncode == 0:
        return done.stdout.strip()
    if any(word in done.stderr for word in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "404")):
        return None
    raise ReleaseError(f"cannot read {reference} from the registry", context=done.stderr.strip().splitlines()[-2:])


def _pull(reference: str, layout: Path) -> dict[str, Any]:
    try:
        process.run([tools.tool("crane"), "pull", "--format=oci", reference, layout], timeout=_TIMEOUT)
    except ProcessError as error:
        raise VerificationError(f"cannot pull {reference}", context=error.stderr.strip().splitlines()[-2:]) from error
    listed = json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"][0]["digest"]
    if "@" in reference and listed != reference.partition("@")[2]:
        raise VerificationError(f"the registry returned {listed} for {reference}")
    manifest: dict[str, Any] = json.loads(_blob(layout, listed).read_text(encoding="utf-8"))
    return manifest


def _config(layout: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    if manifest["config"]["mediaType"] != _CHART_CONFIG:
        raise VerificationError("the artifact is not a chart", context=[str(manifest["config"]["mediaType"])])
    config: dict[str, Any] = json.loads(_blob(layout, manifest["config"]["digest"]).read_text(encoding="utf-8"))
    return config


def _files(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for layer in manifest["layers"]:
        name = layer.get("annotations", {}).get(_TITLE, "")
        if not _NAME.fullmatch(name):
            raise VerificationError("the release metadata contains an invalid file name", context=[name])
        yield layer["digest"], name


def _blob(layout: Path, digest: str) -> Path:
    file = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    if cache.sha256(file) != digest.removeprefix("sha256:"):
        raise VerificationError(f"the registry returned other content for {digest}")
    return file
