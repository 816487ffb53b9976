"""OCI image layouts, in a directory or in a tar file: the same content always gives the same bytes.

Layers are compressed with Zstandard, which containerd unpacks about three times as fast as gzip. `crane append` writes gzip
only, and neither it nor oras-py gives the same bytes for the same content, so the three JSON documents are written here.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import zstandard

from maas.bundle import cache
from maas.components import ARCHITECTURE
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WRITER = 1
"""Part of every key in the cache. Increase it when the same recipe gives other bytes."""

_LEVEL = 12
EPOCH = 1577836800
"""Modification time of every file, in seconds since 1970: the start of 2020, which zip archives can store too."""

Descriptor = dict[str, Any]
"""An OCI descriptor: media type, digest and size of a blob."""

_CREATED = "2020-01-01T00:00:00Z"
_PLATFORM = {"architecture": ARCHITECTURE, "os": "linux"}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True)
class Entry:
    """A file of a layer.

    Attributes:
        path: Absolute path.
        kind: Tar type: `tarfile.REGTYPE`, `DIRTYPE`, `SYMTYPE` or `LNKTYPE`.
        content: Content of a regular file, or the file to copy.
        target: Target of a link.
        xattrs: Extended attributes.
    """

    path: str
    kind: bytes = tarfile.REGTYPE
    content: bytes | Path = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str = ""
    xattrs: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Blob:
    """A compressed layer on disk.

    Attributes:
        digest: SHA-256 of the compressed bytes, in hexadecimal.
        diff_id: SHA-256 of the tar file inside.
    """

    path: Path
    digest: str
    size: int
    diff_id: str


@dataclass(frozen=True)
class ImageConfig:
    """How containers of an image run."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = ""
    workdir: str = ""


@dataclass(frozen=True)
class Layout:
    """An OCI image layout of one manifest.

    Attributes:
        digest: Digest of the manifest, `sha256:...`.
        index: Content of index.json.
        blobs: Content of every blob, or the file to copy, by its SHA-256.
    """

    digest: str
    index: bytes
    blobs: dict[str, bytes | Path]

    def write(self, directory: Path) -> None:
        """Write the layout to a new directory."""
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for digest, content in self.blobs.items():
            if isinstance(content, Path):
                shutil.copyfile(content, blobs / digest)
            else:
                (blobs / digest).write_bytes(content)
        (directory / "oci-layout").write_bytes(_VERSION)
        (directory / "index.json").write_bytes(self.index)

    def archive(self, target: Path, *, extra: dict[str, bytes] | None = None) -> None:
        """Write the layout to a tar file, with extra files beside its own."""
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in {"oci-layout": _VERSION, "index.json": self.index, **(extra or {})}.items():
                _add(tar, Entry(name, content=content))
            for digest, blob in sorted(self.blobs.items()):
                _add(tar, Entry(f"blobs/sha256/{digest}", content=blob))


def layout(
    config_type: str,
    config: bytes,
    layers: Sequence[tuple[Descriptor, bytes | Path]],
    *,
    artifact_type: str = "",
    annotations: Mapping[str, str] | None = None,
    in_index: Mapping[str, Any] | None = None,
) -> Layout:
    """Return the layout of an image or another artifact.

    Args:
        config_type: Media type of the configuration.
        config: The configuration.
        layers: Descriptor of each layer, with its content or the file to copy.
        artifact_type: Type of an artifact that is not an image.
        annotations: Annotations of the manifest.
        in_index: Further fields of the manifest's descriptor in the index.
    """
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": descriptor(config_type, sha256(config), len(config)),
        "layers": [described for described, _ in layers],
    }
    manifest |= {"artifactType": artifact_type} if artifact_type else {}
    manifest |= {"annotations": dict(annotations)} if annotations else {}
    content = document(manifest)
    listed = descriptor(_MANIFEST, sha256(content), len(content))
    blobs = {str(described["digest"]).removeprefix("sha256:"): blob for described, blob in layers}
    blobs |= {sha256(config): config, sha256(content): content}
    return Layout(str(listed["digest"]), _index({**listed, **(in_index or {})}), blobs)


def descriptor(media_type: str, digest: str, size: int) -> Descriptor:
    """Return the descriptor of a blob with this SHA-256 in hexadecimal."""
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def document(value: object) -> bytes:
    """Return a JSON document that is always the same bytes for the same value."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class _Hashing(io.RawIOBase):
    """Passes bytes on and computes their digest."""

    def __init__(self, sink: IO[bytes]) -> None:
        self.sink = sink
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.sink.write(data)


def write_layer(entries: Iterable[Entry], directory: Path) -> Blob:
    """Write files as a compressed layer.

    Of two entries with the same path, the later one counts. Missing parent directories are added.

    Raises:
        BundleError: The parent of a file is not a directory.
    """
    files = {entry.path: entry for entry in entries}
    for path in list(files):
        for parent in PurePosixPath(path).parents:
            directory_above = files.setdefault(str(parent), Entry(str(parent), kind=tarfile.DIRTYPE, mode=0o755))
            if directory_above.kind != tarfile.DIRTYPE:
                raise BundleError(f"{path} conflicts with {parent}, which is not a directory in this layer")
    files.pop("/", None)
    # A hard link comes after its target.
    ordered = sorted(files.values(), key=lambda entry: (entry.kind == tarfile.LNKTYPE, entry.path))
    layer = directory / "layer.tar.zst"
    with layer.open("wb") as raw, zstandard.ZstdCompressor(level=_LEVEL).stream_writer(raw) as compressed:
        plain = _Hashing(compressed)
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for entry in ordered:
                _add(tar, entry)
    blob = Blob(layer, cache.sha256(layer), layer.stat().st_size, plain.digest.hexdigest())
    (directory / "layer.json").write_text(json.dumps({"digest": blob.digest, "diff_id": blob.diff_id}))
    return blob


def read_layer(directory: Path) -> Blob:
    """Return the layer that `write_layer` wrote to this directory."""
    path = directory / "layer.tar.zst"
    facts = json.loads((directory / "layer.json").read_text())
    return Blob(path, facts["digest"], path.stat().st_size, facts["diff_id"])


def write_image(target: Path, layers: Sequence[Blob], config: ImageConfig, *, reference: str) -> None:
    """Write an image archive that `ctr images import` and other OCI tools read, under its reference."""
    blobs = [(descriptor(f"{_LAYER}+zstd", layer.digest, layer.size), layer.path) for layer in layers]
    _image(document(_configuration(layers, config)), blobs, reference=reference).archive(target)


def write_docker_image(target: Path, layers: Sequence[Blob], config: ImageConfig, *, reference: str) -> None:
    """Write an image archive for every version of `docker load`: uncompressed layers, and Docker's manifest.json."""
    configuration = document(_configuration(layers, config))
    with cache.scratch() as scratch:
        blobs = []
        for layer in layers:
            plain = scratch / layer.diff_id
            with layer.path.open("rb") as source, plain.open("wb") as unpacked:
                zstandard.ZstdDecompressor().copy_stream(source, unpacked)
            blobs.append((descriptor(_LAYER, layer.diff_id, plain.stat().st_size), plain))
        listed = {
            "Config": f"blobs/sha256/{sha256(configuration)}",
            "RepoTags": [reference],
            "Layers": [f"blobs/sha256/{layer.diff_id}" for layer in layers],
        }
        image = _image(configuration, blobs, reference=reference)
        image.archive(target, extra={"manifest.json": document([listed])})


def convert(archive: Path, target: Path, *, reference: str) -> None:
    """Rewrite an archive of `docker save`, or an OCI archive, in this module's form and under a reference.

    Raises:
        BundleError: The archive has another format.
    """
    with cache.scratch() as scratch:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise BundleError(f"{archive} is not an image archive", context=[str(error)]) from error
        if (scratch / "index.json").exists():
            pack(scratch, target, reference=reference)
        elif (scratch / "manifest.json").exists():
            _convert(scratch, target, reference=reference)
        else:
            raise BundleError(
                f"{archive} is not an image archive", context=["it has no index.json and no manifest.json"]
            )


def pack(directory: Path, target: Path, *, reference: str) -> None:
    """Write an OCI layout of one image to an archive, under a reference.

    Raises:
        BundleError: The layout does not contain exactly one image.
    """
    manifests = json.loads((directory / "index.json").read_text())["manifests"]
    if len(manifests) != 1:
        raise BundleError(f"{reference}: expected one image, found {len(manifests)}")
    manifest = {**manifests[0], "annotations": _names(reference)}
    blobs: dict[str, bytes | Path] = {path.name: path for path in (directory / "blobs" / "sha256").iterdir()}
    Layout(manifest["digest"], _index(manifest), blobs).archive(target)


def _convert(unpacked: Path, target: Path, *, reference: str) -> None:
    image = json.loads((unpacked / "manifest.json").read_text())[0]
    blobs = []
    for number, name in enumerate(image["Layers"]):
        path = unpacked / f"layer-{number}"
        with (unpacked / name).open("rb") as source, path.open("wb") as raw:
            zstandard.ZstdCompressor(level=_LEVEL).copy_stream(source, raw)
        blobs.append((descriptor(f"{_LAYER}+zstd", cache.sha256(path), path.stat().st_size), path))
    _image((unpacked / image["Config"]).read_bytes(), blobs, reference=reference).archive(target)


def _image(config: bytes, layers: Sequence[tuple[Descriptor, bytes | Path]], *, reference: str) -> Layout:
    return layout(_CONFIG, config, layers, in_index={"platform": _PLATFORM, "annotations": _names(reference)})


def _index(manifest: Descriptor) -> bytes:
    return document({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [manifest]})


def _configuration(layers: Sequence[Blob], config: ImageConfig) -> dict[str, object]:
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    fields: dict[str, object] = {"Env": [f"{name}={value}" for name, value in {**path, **config.environment}.items()]}
    fields |= {"Entrypoint": list(config.entrypoint)} if config.entrypoint else {}
    fields |= {"Cmd": list(config.command)} if config.command else {}
    fields |= {"User": config.user} if config.user else {}
    fields |= {"WorkingDir": config.workdir} if config.workdir else {}
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]}
    return {**_PLATFORM, "created": _CREATED, "config": fields, "rootfs": rootfs}


def _names(reference: str) -> dict[str, str]:
    return {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.path.lstrip("/"))
    info.type, info.mode, info.uid, info.gid, info.mtime = entry.kind, entry.mode, entry.uid, entry.gid, EPOCH
    info.linkname = entry.target.lstrip("/") if entry.kind == tarfile.LNKTYPE else entry.target
    info.pax_headers = {f"SCHILY.xattr.{name}": value.decode("latin-1") for name, value in entry.xattrs.items()}
    if entry.kind != tarfile.REGTYPE:
        tar.addfile(info)
    elif isinstance(entry.content, Path):
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as content:
            tar.addfile(info, content)
    else:
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
