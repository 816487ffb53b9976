"""The image of the restaurant application in a release: an OCI archive with the same digest wherever it is built.

Docker builds it from app/Dockerfile. This module removes the times and random names that Docker adds, and sets the labels of
the release.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from maas.bundle import cache, oci, restaurant_image
from maas.components import ARCHITECTURE
from maas.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.release.checkout import Checkout

_TIMES = {"atime", "ctime", "mtime"}
_KEPT = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "StopSignal", "User", "WorkingDir")


@dataclass(frozen=True)
class Archive:
    """An OCI archive of one image.

    Attributes:
        digest: Digest of its manifest.
        reference: Its reference in the chart.
        packages: Versions of its Python packages, by name.
    """

    path: Path
    digest: str
    reference: str
    packages: dict[str, str]


def name(source: Checkout) -> str:
    """Return the file name of the archive."""
    return f"restaurant-{source.version}-linux-{ARCHITECTURE}.oci.tar"


def build(source: Checkout, directory: Path, *, yes: bool) -> Archive:
    """Build the archive; the image itself comes from the cache if its sources have not changed.

    Raises:
        BundleError: The image cannot be built.
    """
    reference, target = restaurant_image.reference(), directory / name(source)
    labels = {
        "org.opencontainers.image.title": "restaurant",
        "org.opencontainers.image.description": "Gestion Restaurant, the service of one restaurant",
        "org.opencontainers.image.version": str(source.version),
        "org.opencontainers.image.revision": source.commit,
        "org.opencontainers.image.created": source.created,
        "org.opencontainers.image.source": source.home,
        "org.opencontainers.image.url": source.home,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    with cache.scratch() as scratch:
        plain = scratch / "plain.tar"
        packages = normalize(restaurant_image.restaurant(yes=yes), plain, labels=labels, created=source.created)
        oci.convert(plain, target, reference=reference)
    return Archive(target, digest(target), reference, packages)


def digest(archive: Path) -> str:
    """Return the digest of the only image in an archive, after verifying the digest of every blob.

    Raises:
        ReleaseError: A blob is missing or damaged.
    """
    blobs: dict[str, int] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is None or not member.name.startswith("blobs/sha256/"):
                    continue
                found = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
                if found != member.name.rpartition("/")[2]:
                    raise ReleaseError(f"{archive.name}: {member.name} is damaged")
                blobs[f"sha256:{found}"] = member.size
            listed = json.loads(_content(tar, "index.json"))["manifests"]
            manifest = json.loads(_content(tar, f"blobs/{listed[0]['digest'].replace(':', '/')}"))
    except (OSError, KeyError, ValueError, IndexError, tarfile.TarError) as error:
        raise ReleaseError(f"{archive.name} is not an image archive", context=[repr(error)]) from error
    needed = [listed[0], manifest["config"], *manifest["layers"]]
    if len(listed) != 1 or any(blobs.get(part["digest"]) != part["size"] for part in needed):
        raise ReleaseError(f"{archive.name}: blobs of the image are missing")
    return str(listed[0]["digest"])


def normalize(archive: Path, target: Path, *, labels: dict[str, str], created: str) -> dict[str, str]:
    """Rewrite an archive of `docker save` without what differs between two builds.

    Returns:
        Versions of the image's Python packages, by name.
    """
    packages: dict[str, str] = {}
    with (
        tarfile.open(archive) as tar,
        tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as fresh,
        cache.scratch() as scratch,
    ):
        image = json.loads(_content(tar, "manifest.json"))[0]
        diff_ids = []
        for number, layer in enumerate(image["Layers"]):
            path = scratch / f"{number}.tar"
            content = tar.extractfile(layer)
            assert content is not None  # noqa: S101 - Docker lists files only
            packages |= _rewrite_layer(content, path)
            diff_ids.append(cache.sha256(path))
            fresh.add(path, arcname=f"{number}.tar")
        old = json.loads(_content(tar, image["Config"]))
        config = {key: value for key, value in old["config"].items() if key in _KEPT and value}
        fresh_config = {
            **{key: old[key] for key in ("architecture", "os")},
            "created": created,
            "config": {**config, "Labels": {**(old["config"].get("Labels") or {}), **labels}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}" for diff in diff_ids]},
        }
        _put(fresh, "config.json", fresh_config)
        layers = [f"{number}.tar" for number in range(len(diff_ids))]
        _put(fresh, "manifest.json", [{"Config": "config.json", "RepoTags": image["RepoTags"], "Layers": layers}])
    return packages


def _rewrite_layer(content: IO[bytes], target: Path) -> dict[str, str]:
    packages: dict[str, str] = {}
    with tarfile.open(fileobj=content) as old, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as fresh:
        # A hard link comes after its target; everything else is sorted by name.
        for member in sorted(old.getmembers(), key=lambda entry: (entry.islnk(), entry.name)):
            member.mtime = oci.EPOCH
            member.uname = member.gname = ""
            member.pax_headers = {key: value for key, value in member.pax_headers.items() if key not in _TIMES}
            data = old.extractfile(member) if member.isreg() else None
            if data is not None and member.name.endswith(".dist-info/METADATA"):
                text = data.read()
                packages |= dict(_package(text.decode("utf-8", "replace")))
                data = io.BytesIO(text)
            fresh.addfile(member, data)
    return packages


def _package(metadata: str) -> Iterator[tuple[str, str]]:
    head = dict(line.split(": ", 1) for line in metadata.partition("\n\n")[0].splitlines() if ": " in line[:40])
    yield head["Name"], head["Version"]


def _put(tar: tarfile.TarFile, path: str, value: Any) -> None:
    content = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    info = tarfile.TarInfo(path)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _content(tar: tarfile.TarFile, path: str) -> bytes:
    found = tar.extractfile(path)
    if found is None:
        raise KeyError(path)
    return found.read()
