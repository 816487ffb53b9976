"""Charts, the image and the papers of a release as OCI artifacts, in any registry.

The manifests are made here and not by `helm push`, whose digest depends on the archive's time and this machine's time zone
(https://github.com/helm/helm/issues/12884): ours are known before anything is sent, so pushing again changes nothing and a
resumed run has nothing to remember. crane carries them; it signs in with what `crane auth login` or `docker login` keeps.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas import process
from maas.bundle import cache, tools
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
_PAPERS = "application/vnd.maas.release.v1"
_EMPTY = "application/vnd.oci.empty.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_TITLE = "org.opencontainers.image.title"
_TIMEOUT = 900.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Part:
    """A layer of an artifact.

    Attributes:
        kind: Its media type.
        title: The name of the file, kept beside the layer.
    """

    kind: str
    content: bytes
    title: str = ""


def location(target: str) -> str:
    """The registry and path of `oci://REGISTRY/PATH`.

    Raises:
        UsageError: It is no such address.
    """
    place = target.removeprefix(SCHEME).strip("/")
    if not target.startswith(SCHEME) or "/" not in place:
        raise UsageError(f"{target} names no place in a registry", hint="give oci://REGISTRY/PATH")
    return place


def papers(version: str) -> str:
    """The tag of the artifact with the papers of a release; no version of a chart, so Helm does not see it."""
    return f"release-{version}"


def chart_layout(archive: Path, layout: Path) -> str:
    """Write the OCI layout of a chart as Helm reads it, with its provenance when there is one, and return its digest."""
    packed = repository.chart(archive)
    parts = [Part(_CHART, archive.read_bytes())]
    signed = archive.with_name(f"{archive.name}.prov")
    if signed.is_file():
        parts.append(Part(_PROVENANCE, signed.read_bytes()))
    described = packed.described
    notes = {
        "org.opencontainers.image.title": str(described["name"]),
        "org.opencontainers.image.version": str(described["version"]),
        "org.opencontainers.image.description": str(described.get("description", "")),
        "org.opencontainers.image.url": str(described.get("home", "")),
    }
    return _layout(layout, _CHART_CONFIG, charts.metadata(described), parts, notes=notes)


def refusals(target: str, version: str) -> list[str]:
    """Why a version cannot be published anew to a registry, one sentence each."""
    place = location(target)
    try:
        there = _digest(f"{place}/charts/{render.UMBRELLA}:{version}")
    except ReleaseError as error:
        return [error.message]
    return [f"{target} has {version} already; a published version never changes"] if there else []


def publish(release: Path, target: str, version: str, *, image: Path, metadata: Path) -> list[str]:
    """Push a release: the image, the subcharts, the papers, and the umbrella chart last; return what was pushed or was there.

    Args:
        release: The directory of the release.
        target: `oci://REGISTRY/PATH`: charts go below PATH/charts, the image beside them.
        version: The version of the release.
        image: The archive of the image of the restaurant.
        metadata: artifacthub-repo.yml of the project.

    Raises:
        ReleaseError: The registry has other bytes under a name, does not answer, or does not let us in.
    """
    place = location(target)
    said = []
    with cache.scratch() as scratch:
        said.append(_push_image(image, f"{place}/restaurant:{version}", scratch / "image"))
        archives = sorted(release.glob("*.tgz"), key=lambda file: file.name.startswith(f"{render.UMBRELLA}-"))
        wanted = []
        for archive in archives:
            name = repository.chart(archive).described["name"]
            layout = scratch / str(name)
            wanted.append((layout, f"{place}/charts/{name}:{version}", chart_layout(archive, layout)))
        layout = scratch / "papers"
        reference = f"{place}/charts/{render.UMBRELLA}:{papers(version)}"
        wanted.insert(-1, (layout, reference, _papers_layout(release, layout, {image.name})))
        for layout, reference, digest in wanted:
            said.append(push_layout(layout, reference, digest))
        layout = scratch / "hub"
        digest = _layout(layout, _HUB_CONFIG, b"{}", [Part(_HUB, metadata.read_bytes(), metadata.name)])
        # The one name that moves: Artifact Hub looks there for who owns the repository.
        said.append(push_layout(layout, f"{place}/charts/{render.UMBRELLA}:{_HUB_TAG}", digest, moves=True))
    return said


def fetch(reference: str, directory: Path) -> tuple[str, str]:
    """Bring a release back from a registry: every chart, and the papers; return its version and its place.

    Args:
        reference: `oci://REGISTRY/PATH/charts/maas:VERSION`, or with the digest instead of the version.
        directory: Where the files go.

    Raises:
        VerificationError: It is not there, or is something else.
    """
    address = reference.removeprefix(SCHEME)
    repository_name = address.partition("@")[0] if "@" in address else address.rpartition(":")[0]
    with cache.scratch() as scratch:
        manifest = _pull(address, scratch / "chart")
        version = str(_config(scratch / "chart", manifest)["version"])
        for layer, name in _files(_pull(f"{repository_name}:{papers(version)}", scratch / "papers")):
            shutil.copyfile(_blob(scratch / "papers", layer), directory / name)
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


def image_digest(place: str, version: str) -> str | None:
    """The digest of the restaurant's image of a version, as the registry says it now.

    Raises:
        VerificationError: The registry does not answer.
    """
    try:
        return _digest(f"{place}/restaurant:{version}")
    except ReleaseError as error:
        raise VerificationError(error.message, context=error.context) from error


def _papers_layout(release: Path, layout: Path, without: set[str]) -> str:
    files = [
        file
        for file in sorted(release.iterdir())
        if file.name not in without and not file.name.endswith((".tgz", ".tgz.prov"))
    ]
    parts = [Part("application/octet-stream", file.read_bytes(), file.name) for file in files]
    return _layout(layout, _EMPTY, b"{}", parts, kind=_PAPERS)


def _layout(
    layout: Path,
    config_type: str,
    config: bytes,
    parts: Sequence[Part],
    *,
    kind: str = "",
    notes: dict[str, str] | None = None,
) -> str:
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(blobs, config_type, config),
        "layers": [
            _descriptor(blobs, part.kind, part.content) | ({"annotations": {_TITLE: part.title}} if part.title else {})
            for part in parts
        ],
    }
    manifest |= {"artifactType": kind} if kind else {}
    manifest |= {"annotations": notes} if notes else {}
    listed = _descriptor(blobs, _MANIFEST, json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode())
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [listed]}
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return str(listed["digest"])


def _descriptor(blobs: Path, media_type: str, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _push_image(archive: Path, reference: str, layout: Path) -> str:
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    return push_layout(layout, reference, json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])


def push_layout(layout: Path, reference: str, digest: str, *, moves: bool = False) -> str:
    """Push an OCI layout unless the registry has it, and return what was done."""
    there = _digest(reference)
    if there == digest:
        return f"{reference} is there already"
    if there is not None and not moves:
        raise ReleaseError(
            f"the registry has another {reference}",
            context=[f"published: {there}", f"here: {digest}"],
            hint="a published version never changes; give the release a new version",
        )
    try:
        process.run([tools.tool("crane"), "push", layout, reference], timeout=_TIMEOUT)
    except ProcessError as error:
        raise ReleaseError(
            f"{reference} could not be pushed",
            context=error.stderr.strip().splitlines()[-3:],
            hint="signed in? crane auth login REGISTRY; then publish again, it goes on where it stopped",
        ) from error
    if (found := _digest(reference)) != digest:
        raise ReleaseError(f"the registry says {found} of {reference}, and it was {digest} that was pushed")
    return f"{reference}@{digest}"


def _digest(reference: str) -> str | None:
    """The digest that a registry has under a name; None when it has none.

    Raises:
        ReleaseError: It does not answer, or not to us.
    """
    done = process.run([tools.tool("crane"), "digest", reference], check=False, timeout=60)
    if done.returncode == 0:
        return done.stdout.strip()
    if any(word in done.stderr for word in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "404")):
        return None
    said = done.stderr.strip().splitlines()
    raise ReleaseError(f"the registry of {reference} does not say what it has", context=said[-2:])


def _pull(reference: str, layout: Path) -> dict[str, Any]:
    try:
        process.run([tools.tool("crane"), "pull", "--format=oci", reference, layout], timeout=_TIMEOUT)
    except ProcessError as error:
        raise VerificationError(f"{reference} cannot be had", context=error.stderr.strip().splitlines()[-2:]) from error
    listed = json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"][0]["digest"]
    if "@" in reference and listed != reference.partition("@")[2]:
        raise VerificationError(f"the registry gave {listed} for {reference}")
    manifest: dict[str, Any] = json.loads(_blob(layout, listed).read_text(encoding="utf-8"))
    return manifest


def _config(layout: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    if manifest["config"]["mediaType"] != _CHART_CONFIG:
        raise VerificationError("the reference names no chart", context=[str(manifest["config"]["mediaType"])])
    config: dict[str, Any] = json.loads(_blob(layout, manifest["config"]["digest"]).read_text(encoding="utf-8"))
    return config


def _files(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for layer in manifest["layers"]:
        name = layer.get("annotations", {}).get(_TITLE, "")
        if not _NAME.fullmatch(name):
            raise VerificationError("the papers of the release name a file that is none", context=[name])
        yield layer["digest"], name


def _blob(layout: Path, digest: str) -> Path:
    file = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    if cache.sha256(file) != digest.removeprefix("sha256:"):
        raise VerificationError(f"the registry gave other bytes for {digest}")
    return file
