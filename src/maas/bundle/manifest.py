"""A bundle: a directory of programs, image archives and Debian packages, with a manifest of its files.

The models are the only description of the manifest: schemas/bundle.schema.json and the tables of docs/components.md are
made from them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from maas import files, paths
from maas.bundle import cache, oci
from maas.components import Model, On, Reference, Sha256, Text
from maas.errors import BundleError

FILE = "manifest.json"


class Origin(Model):
    """Where a file comes from."""

    model_config = ConfigDict(populate_by_name=True)

    source: Literal["download", "pull", "build", "debian", "added"]
    """Kind of the source."""
    location: Text = Field(alias="from")
    """URL, reference, Go packages with the Go version, or Debian packages."""


class Item(Model):
    """A file of a bundle."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"kind": {"const": "image"}}},
            "then": {"required": ["reference"], "properties": {"path": {"pattern": "^images/"}}},
            "else": {"not": {"required": ["reference"]}},
        }
    )

    name: Text
    """Name of the item in the component lockfile, or of the Debian package."""
    version: Text
    """Upstream's version."""
    license: Text
    """SPDX expression, or `various`."""
    kind: Literal["binary", "image", "packages"]
    """Kind of the file."""
    path: Annotated[str, Field(pattern=r"^(bin|cni|images|packages)(/[^/.][^/]*)+$")]
    """Path in the bundle's directory."""
    sha256: Sha256
    """SHA-256 of the file."""
    size: Annotated[int, Field(ge=0)]
    """Size in bytes."""
    origin: Origin
    """Where the file comes from."""
    reference: Reference | None = None
    """Reference to import the image archive under. Only for images."""
    on: On
    """Hosts that need it: the control plane, every node, or nodes that run ordinary pods."""
    key: Text
    """Digest of everything that determines the content. As long as it stays the same, the file is not built again."""

    @property
    def release(self) -> str | None:
        """The release that a package is for, such as `debian-bookworm`; None for other files."""
        return self.path.split("/")[1] if self.kind == "packages" else None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.kind == "image") != (self.reference is not None):
            raise ValueError("exactly the items of kind image have a reference")
        return self


class Unavailable(Model):
    """A component that no source provides."""

    name: Text
    """Name of the item in the component lockfile."""
    version: Text
    """Upstream's version."""
    reason: Text
    """Why each source failed."""


class Manifest(Model):
    """The content of manifest.json."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    """Version of this format."""
    arch: Literal["amd64"] = "amd64"
    """Architecture of all programs and images, as Go and Debian name it."""
    items: tuple[Item, ...] = ()
    """All files of the bundle except manifest.json."""
    unavailable: tuple[Unavailable, ...] = ()
    """Components that are not in the bundle."""

    def text(self) -> str:
        """Return the content of the file."""
        return json.dumps(self.model_dump(by_alias=True, exclude_none=True), indent=1) + "\n"


class Bundle:
    """A bundle on disk.

    Attributes:
        directory: Its directory.
        manifest: Its manifest.
        digest: SHA-256 of manifest.json, which identifies every file of the bundle.
    """

    def __init__(self, directory: Path, manifest: Manifest, digest: str) -> None:
        self.directory = directory
        self.manifest = manifest
        self.digest = digest

    @classmethod
    def load(cls, directory: Path) -> Bundle:
        """Read the manifest of a bundle; `verify` checks its files.

        Raises:
            BundleError: The directory has no manifest, or it is not valid.
        """
        try:
            content = (directory / FILE).read_bytes()
            return cls(directory, Manifest.model_validate_json(content), hashlib.sha256(content).hexdigest())
        except OSError as error:
            raise BundleError(
                f"{directory} is not a bundle",
                context=[str(error)],
                command=paths.command("bundle", "--directory", str(directory)),
            ) from error
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:6]]
            raise BundleError(
                f"the manifest of the bundle {directory} is not valid",
                context=problems,
                hint="another version of maas built it; build it again",
                command=paths.command("bundle", "--directory", str(directory)),
            ) from error

    @property
    def items(self) -> tuple[Item, ...]:
        """All files."""
        return self.manifest.items

    @property
    def images(self) -> list[Item]:
        """All image archives."""
        return [item for item in self.items if item.kind == "image"]

    @property
    def size(self) -> int:
        """Size of all files in bytes."""
        return sum(item.size for item in self.items)

    def verify(self) -> None:
        """Compare every file with the manifest.

        Raises:
            BundleError: A file is missing, differs, or is not in the manifest.
        """
        problems = []
        for item in self.items:
            path = self.directory / item.path
            if not path.is_file():
                problems.append(f"{item.path} is missing")
            elif path.stat().st_size != item.size:
                problems.append(f"{item.path}: expected {item.size} bytes, found {path.stat().st_size}")
            elif (digest := cache.sha256(path)) != item.sha256:
                problems.append(f"{item.path}: expected SHA-256 {item.sha256}, found {digest}")
        named = {FILE, *(item.path for item in self.items)}
        problems += [f"{path} is not in the manifest" for path in sorted(self.files() - named)]
        if problems:
            raise BundleError(
                f"the files of the bundle {self.directory} do not match its manifest",
                context=problems,
                hint="build the bundle again, or copy it again",
                command=paths.command("bundle", "--directory", str(self.directory)),
            )

    def files(self) -> set[str]:
        """Return the paths of all files in the directory, relative to it."""
        found = set()
        for directory, _, names in os.walk(self.directory):
            found |= {str((Path(directory) / name).relative_to(self.directory)) for name in names}
        return found

    def add_image(self, archive: Path, reference: str, *, version: str, on: On) -> Bundle:
        """Add an image to the bundle, or replace the one with the same reference.

        Args:
            archive: An archive of `docker save`, or an OCI archive.
            reference: The reference in the chart.
            version: Version of the image's content.
            on: Which hosts need it.

        Raises:
            BundleError: The archive has another format.
        """
        name = reference.rsplit(":", 1)[0].rsplit("/", 1)[-1]
        determinants = cache.key(archive=cache.sha256(archive), reference=reference, writer=oci.WRITER)
        for item in self.items:
            if item.key == determinants and (self.directory / item.path).is_file():
                return self
        path = f"images/{name}.tar"
        with cache.scratch() as scratch:
            oci.convert(archive, scratch / "image.tar", reference=reference)
            files.copy(scratch / "image.tar", self.directory / path)
        item = describe(
            self.directory / path,
            name=name,
            version=version,
            license="Apache-2.0",
            kind="image",
            path=path,
            origin=Origin(source="added", location=archive.name),
            reference=reference,
            on=on,
            key=determinants,
        )
        kept = [other for other in self.items if other.path != path and other.reference != reference]
        return write(self.directory, self.manifest.model_copy(update={"items": (*kept, item)}))


def write(directory: Path, manifest: Manifest) -> Bundle:
    """Write the manifest of a directory if it has changed, and delete files that are not in it."""
    path = directory / FILE
    content = manifest.text().encode()
    if not path.exists() or path.read_bytes() != content:
        files.write(path, content)
    bundle = Bundle(directory, manifest, hashlib.sha256(content).hexdigest())
    for extra in bundle.files() - {FILE, *(item.path for item in manifest.items)}:
        (directory / extra).unlink()
    return bundle


def describe(file: Path, **fields: object) -> Item:
    """Return the manifest's item for a file of the bundle."""
    return Item.model_validate({**fields, "sha256": cache.sha256(file), "size": file.stat().st_size})
