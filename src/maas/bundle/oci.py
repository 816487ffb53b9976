"""Image archives: OCI layouts in one tar file, byte for byte the same whenever the same things go in.

Layers are compressed with Zstandard, which containerd unpacks about three times as fast as gzip. No library writes such
archives without a daemon and without a shell, and the format is three small JSON documents beside the blobs.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import zstandard

from maas.bundle import cache
from maas.components import ARCHITECTURE
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WRITER = 1
"""Part of every key in the cache; to be raised when the same recipe gives other bytes."""

_LEVEL = 12
EPOCH = 1577836800
"""Every file's time, in seconds since 1970: the start of 2020, which zip archives can hold too."""

_CREATED = "2020-01-01T00:00:00Z"
_PLATFORM = {"architecture": ARCHITECTURE, "os": "linux"}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Entry:
    """A file of a layer.

    Attributes:
        path: Where it goes, absolute.
        kind: A tar type: `tarfile.REGTYPE`, `DIRTYPE`, `SYMTYPE` or `LNKTYPE`.
        content: What a regular file holds, or the file to copy it from.
        target: What a link points to.
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
class Settings:
    """What an image says about how it is run."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = ""
    workdir: str = ""


class _Hashing(io.RawIOBase):
    """Passes bytes on and digests them."""

    def __init__(self, sink: IO[bytes]) -> None:
        self.sink = sink
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.sink.write(data)


def write_layer(entries: Iterable[Entry], directory: Path) -> Blob:
    """Write files as a compressed layer.

    Of two entries with one path the later one is taken. Directories above a file are made when none is given.

    Raises:
        BundleError: A file is to go below something that is no directory.
    """
    files = {entry.path: entry for entry in entries}
    for path in list(files):
        for parent in PurePosixPath(path).parents:
            directory_above = files.setdefault(str(parent), Entry(str(parent), kind=tarfile.DIRTYPE, mode=0o755))
            if directory_above.kind != tarfile.DIRTYPE:
                raise BundleError(f"{path} cannot go below {parent}, which is no directory in the same layer")
    files.pop("/", None)
    # A hard link comes after what it names.
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
    """A layer that `write_layer` wrote to this directory."""
    path = directory / "layer.tar.zst"
    facts = json.loads((directory / "layer.json").read_text())
    return Blob(path, facts["digest"], path.stat().st_size, facts["diff_id"])


def write_image(target: Path, layers: Sequence[Blob], settings: Settings, *, reference: str) -> None:
    """Write an image archive that `ctr images import` and every OCI tool read, under its reference."""
    config = _document(_configuration(layers, settings))
    descriptors = [_descriptor(f"{_LAYER}+zstd", layer.digest, layer.size) for layer in layers]
    blobs: dict[str, bytes | Path] = {layer.digest: layer.path for layer in layers}
    _write(target, config, descriptors, blobs, reference=reference)


def write_docker_image(target: Path, layers: Sequence[Blob], settings: Settings, *, reference: str) -> None:
    """Write an image archive that `docker load` of any age reads: plain layers, with Docker's list beside the OCI one."""
    config = _document(_configuration(layers, settings))
    with cache.scratch() as scratch:
        blobs: dict[str, bytes | Path] = {}
        for layer in layers:
            with layer.path.open("rb") as source, (scratch / layer.diff_id).open("wb") as plain:
                zstandard.ZstdDecompressor().copy_stream(source, plain)
            blobs[layer.diff_id] = scratch / layer.diff_id
        descriptors = [_descriptor(_LAYER, name, path.stat().st_size) for name, path in _files(blobs)]
        _write(target, config, descriptors, blobs, reference=reference, docker=True)


def convert(archive: Path, target: Path, *, reference: str) -> None:
    """Rewrite an archive of `docker save`, or an OCI archive, as one of ours under a reference.

    Raises:
        BundleError: It is neither.
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
            raise BundleError(f"{archive} is not an image archive", context=["no index.json, no manifest.json"])


def pack(layout: Path, target: Path, *, reference: str) -> None:
    """Put an OCI layout of one image into an archive, under a reference.

    Raises:
        BundleError: It holds another number of images than one.
    """
    manifests = json.loads((layout / "index.json").read_text())["manifests"]
    if len(manifests) != 1:
        raise BundleError(f"{reference}: one image is wanted, and the layout has {len(manifests)}")
    manifest = {**manifests[0], "annotations": _names(reference)}
    blobs: dict[str, bytes | Path] = {path.name: path for path in (layout / "blobs" / "sha256").iterdir()}
    _archive(target, _document({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [manifest]}), blobs)


def _convert(unpacked: Path, target: Path, *, reference: str) -> None:
    image = json.loads((unpacked / "manifest.json").read_text())[0]
    blobs: dict[str, bytes | Path] = {}
    descriptors = []
    for number, name in enumerate(image["Layers"]):
        path = unpacked / f"layer-{number}"
        with (unpacked / name).open("rb") as source, path.open("wb") as raw:
            zstandard.ZstdCompressor(level=_LEVEL).copy_stream(source, raw)
        digest = cache.sha256(path)
        blobs[digest] = path
        descriptors.append(_descriptor(f"{_LAYER}+zstd", digest, path.stat().st_size))
    _write(target, (unpacked / image["Config"]).read_bytes(), descriptors, blobs, reference=reference)


def _write(
    target: Path,
    config: bytes,
    layers: Sequence[dict[str, object]],
    blobs: dict[str, bytes | Path],
    *,
    reference: str,
    docker: bool = False,
) -> None:
    configuration = _descriptor(_CONFIG, _sha256(config), len(config))
    manifest = _document(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": configuration, "layers": list(layers)},
    )
    listed = {**_descriptor(_MANIFEST, _sha256(manifest), len(manifest)), "platform": _PLATFORM}
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [{**listed, "annotations": _names(reference)}]}
    blobs = {**blobs, _sha256(config): config, _sha256(manifest): manifest}
    extra = {}
    if docker:
        names = [f"blobs/sha256/{str(layer['digest']).removeprefix('sha256:')}" for layer in layers]
        image = {"Config": f"blobs/sha256/{_sha256(config)}", "RepoTags": [reference], "Layers": names}
        extra["manifest.json"] = _document([image])
    _archive(target, _document(index), blobs, extra)


def _archive(target: Path, index: bytes, blobs: dict[str, bytes | Path], extra: dict[str, bytes] | None = None) -> None:
    layout = _document({"imageLayoutVersion": "1.0.0"})
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in {"oci-layout": layout, "index.json": index, **(extra or {})}.items():
            _add(tar, Entry(name, content=content))
        for digest, blob in sorted(blobs.items()):
            _add(tar, Entry(f"blobs/sha256/{digest}", content=blob))


def _configuration(layers: Sequence[Blob], settings: Settings) -> dict[str, object]:
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    config: dict[str, object] = {"Env": [f"{name}={value}" for name, value in {**path, **settings.environment}.items()]}
    config |= {"Entrypoint": list(settings.entrypoint)} if settings.entrypoint else {}
    config |= {"Cmd": list(settings.command)} if settings.command else {}
    config |= {"User": settings.user} if settings.user else {}
    config |= {"WorkingDir": settings.workdir} if settings.workdir else {}
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]}
    return {**_PLATFORM, "created": _CREATED, "config": config, "rootfs": rootfs}


def _names(reference: str) -> dict[str, str]:
    return {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _document(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _files(blobs: dict[str, bytes | Path]) -> list[tuple[str, Path]]:
    return [(name, blob) for name, blob in blobs.items() if isinstance(blob, Path)]


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
