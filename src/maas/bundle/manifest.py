"""A bundle: a directory of programs, image archives and packages, and the manifest that says what they must be."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maas import files
from maas.bundle import cache, oci
from maas.components import ARCHITECTURE, On, Sha256
from maas.errors import BundleError

FILE = "manifest.json"
Source = Literal["download", "pull", "build", "debian", "added"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Origin(_Model):
    """Where a file came from.

    Attributes:
        source: The kind of source.
        place: The URL, the reference, the module with its Go version, or the packages.
    """

    source: Source
    place: str = Field(alias="from")


class Item(_Model):
    """A file of a bundle.

    Attributes:
        path: Relative to the bundle's directory.
        size: In bytes.
        reference: The reference under which an image archive is imported.
        on: Which hosts need it: the control plane alone, every node, or nodes that run ordinary pods.
        key: What determined its content; the same key means that nothing need be made again.
    """

    name: str
    version: str
    licence: str
    kind: Literal["binary", "image", "packages"]
    path: str
    sha256: Sha256
    size: int
    origin: Origin
    reference: str | None = None
    on: On
    key: str


class Unavailable(_Model):
    """A component that no source could give, and why."""

    name: str
    version: str
    reason: str


class Manifest(_Model):
    """The content of manifest.json."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    arch: str = ARCHITECTURE
    items: tuple[Item, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()

    def text(self) -> str:
        """The file as it is written."""
        return json.dumps(self.model_dump(by_alias=True, exclude_none=True), indent=1) + "\n"


class Bundle:
    """A bundle on disk.

    Attributes:
        directory: Where it lies.
        manifest: What it must hold.
        digest: The SHA-256 of manifest.json, which stands for every file of the bundle.
    """

    def __init__(self, directory: Path, manifest: Manifest, digest: str) -> None:
        self.directory = directory
        self.manifest = manifest
        self.digest = digest

    @classmethod
    def load(cls, directory: Path) -> Bundle:
        """Read a bundle's manifest; its files are looked at by `verify`.

        Raises:
            BundleError: There is none, or it is not understood.
        """
        try:
            content = (directory / FILE).read_bytes()
            return cls(directory, Manifest.model_validate_json(content), hashlib.sha256(content).hexdigest())
        except OSError as error:
            raise BundleError(
                f"{directory} is not a bundle", context=[str(error)], command="./nox -s bundle -- --directory DIRECTORY"
            ) from error
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:6]]
            raise BundleError(f"the manifest of the bundle {directory} is not understood", context=problems) from error

    @property
    def items(self) -> tuple[Item, ...]:
        """Every file."""
        return self.manifest.items

    @property
    def images(self) -> list[Item]:
        """The image archives."""
        return [item for item in self.items if item.kind == "image"]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)

    def verify(self) -> None:
        """Read every file and compare it with the manifest.

        Raises:
            BundleError: A file is missing, is another one, or is not in the manifest.
        """
        problems = []
        for item in self.items:
            path = self.directory / item.path
            if not path.is_file():
                problems.append(f"{item.path} is missing")
            elif path.stat().st_size != item.size:
                problems.append(f"{item.path} has {path.stat().st_size} bytes, the manifest says {item.size}")
            elif (digest := cache.sha256(path)) != item.sha256:
                problems.append(f"{item.path} has the SHA-256 {digest}, the manifest says {item.sha256}")
        named = {FILE, *(item.path for item in self.items)}
        problems += [f"{path} is not in the manifest" for path in sorted(self.files() - named)]
        if problems:
            raise BundleError(
                f"the bundle {self.directory} is not what its manifest says",
                context=problems,
                hint="make it again, or carry it again",
                command=f"./nox -s bundle -- --directory {self.directory}",
            )

    def files(self) -> set[str]:
        """Every file that lies in the directory, relative to it."""
        found = set()
        for directory, _, names in os.walk(self.directory):
            found |= {str((Path(directory) / name).relative_to(self.directory)) for name in names}
        return found

    def add_image(self, archive: Path, reference: str, *, version: str, licence: str = "Apache-2.0", on: On) -> Bundle:
        """Put an image that was made elsewhere into the bundle, in place of one of the same reference.

        Args:
            archive: What `docker save` wrote, or an OCI archive.
            reference: The reference that the chart uses.
            version: Of what is in the image.
            licence: Of what is in the image, as an SPDX expression.
            on: Which hosts need it.

        Raises:
            BundleError: The archive is neither.
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
            licence=licence,
            kind="image",
            path=path,
            origin=Origin(source="added", place=archive.name),
            reference=reference,
            on=on,
            key=determinants,
        )
        kept = [other for other in self.items if other.path != path and other.reference != reference]
        return write(self.directory, self.manifest.model_copy(update={"items": (*kept, item)}))


def write(directory: Path, manifest: Manifest) -> Bundle:
    """Write the manifest of a directory, unless it says the same already, and remove files that it does not name."""
    path = directory / FILE
    content = manifest.text().encode()
    if not path.exists() or path.read_bytes() != content:
        files.write(path, content)
    bundle = Bundle(directory, manifest, hashlib.sha256(content).hexdigest())
    for extra in bundle.files() - {FILE, *(item.path for item in manifest.items)}:
        (directory / extra).unlink()
    return bundle


def describe(file: Path, **fields: object) -> Item:
    """The manifest's line for a file that lies in its place."""
    return Item.model_validate({**fields, "sha256": cache.sha256(file), "size": file.stat().st_size})
