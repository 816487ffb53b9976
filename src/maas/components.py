"""The lock of components: hack/build/components.yaml as typed values.

It names every upstream release that MaaS brings to a host, ships as an image or uses as a tool, and where each can be
had. The file is validated against schemas/components.schema.json by the tests, and by these models whenever it is read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from maas import paths
from maas.errors import MaasError

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURE = "amd64"
"""The one architecture that components are locked for, in the names that Go and Debian share."""

Kind = Literal["binary", "image", "packages", "tool"]
On = Literal["control-plane", "node", "workload"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
AbsolutePath = Annotated[str, Field(pattern=r"^/")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class User(_Model):
    """A line of an image's /etc/passwd and /etc/group."""

    name: str
    id: int
    home: AbsolutePath


class Tree(_Model):
    """A directory of a Go module that is copied into an image.

    Attributes:
        module: The module's path.
        source: The directory in it.
        to: Where its files go.
        executable: Patterns of file names that get mode 0755; module archives carry no modes.
    """

    module: str
    source: str = Field(alias="from")
    to: AbsolutePath
    executable: tuple[str, ...] = ()


class Layer(_Model):
    """What an image or a base adds to the base it stands on.

    Attributes:
        base: The base below; without one it stands on nothing.
        packages: Debian packages, with what they depend on.
        without: Packages that are taken for installed, and so are left out with what only they need.
        drop: Patterns of paths that are left out of those packages.
        applets: Whether busybox gets a link for each of its applets.
        certificates: Whether the certificates of ca-certificates are put together into one file.
        links: Symbolic links, path to target.
        directories: Empty directories, path to the numeric owner.
        users: The accounts, which replace those of the base.
    """

    base: str | None = None
    packages: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    applets: bool = False
    certificates: bool = False
    links: dict[AbsolutePath, str] = {}
    directories: dict[AbsolutePath, int] = {}
    users: tuple[User, ...] = ()
    environment: dict[str, str] = {}
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""


class Base(Layer):
    """Layers that several images share.

    Attributes:
        archive: A reference under which the base is also offered as an archive for `docker load`.
    """

    archive: str | None = None


class ImageBuild(Layer):
    """How an image is put together.

    Attributes:
        programs: Path in the image to the Go package whose program goes there.
        hard_links: Second names of programs, path to path.
        capabilities: Path of a program to the Linux capabilities that its file carries.
    """

    programs: dict[AbsolutePath, str] = {}
    hard_links: dict[AbsolutePath, AbsolutePath] = {}
    capabilities: dict[AbsolutePath, tuple[Literal["net_bind_service"], ...]] = {}
    trees: tuple[Tree, ...] = ()


class GoBuild(_Model):
    """A program, by its Go package."""

    package: str


class PackageSet(_Model):
    """Debian packages with what they depend on, less what every Debian has."""

    packages: tuple[str, ...]


class Download(_Model):
    """A published file.

    Attributes:
        member: The path inside, when the file is a .tar.gz archive.
    """

    url: str
    sha256: Sha256
    member: str | None = None


class Pull(_Model):
    """An image in a registry, under the item's reference.

    Attributes:
        digest: The digest of its manifest or index; without one the tag is believed.
    """

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None


class _Item(_Model):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Binary(_Item):
    """A program for hosts; `path` is its place in the bundle."""

    kind: Literal["binary"]
    on: On
    path: str
    download: Download | None = None
    build: GoBuild | None = None


class Tool(_Item):
    """A program for the controller; it goes into the cache and not into the bundle."""

    kind: Literal["tool"]
    download: Download | None = None
    build: GoBuild | None = None


class Image(_Item):
    """A container image.

    Attributes:
        reference: Upstream's, whatever the source.
        when: The path of the chart's value without which nothing wants the image; without one it is always wanted.
    """

    kind: Literal["image"]
    on: On
    reference: str
    when: str | None = None
    pull: Pull | None = None
    build: ImageBuild | None = None


class Packages(_Item):
    """Debian packages for hosts; `path` is the directory in the bundle above one per distribution."""

    kind: Literal["packages"]
    on: On
    path: str
    build: PackageSet


Item = Annotated[Binary | Tool | Image | Packages, Field(discriminator="kind")]


class Go(_Model):
    """How the programs of a component are built.

    Attributes:
        tags: Build tags.
        link: Variables that are set while linking.
    """

    tags: tuple[str, ...] = ()
    link: dict[str, str] = {}


class Component(_Model):
    """An upstream release and what it gives. Its Go build module is hack/build/<name>."""

    name: str
    version: str
    licence: str
    home: str
    go: Go | None = None
    items: tuple[Item, ...]

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: dict[str, object]) -> dict[str, object]:
        version = str(data["version"])
        return {key: _filled(value, version) for key, value in data.items()}


class Lock(_Model):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    bases: dict[str, Base]
    components: tuple[Component, ...]

    @model_validator(mode="before")
    @classmethod
    def _name(cls, data: dict[str, object]) -> dict[str, object]:
        components = data.get("components")
        if isinstance(components, dict):
            data = {**data, "components": [{"name": name, **entry} for name, entry in components.items()]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [item.name for component in self.components for item in component.items]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"items named twice: {', '.join(sorted(twice))}")
        layers: list[Layer] = [*self.bases.values()]
        layers += [item.build for _, item in self.items() if isinstance(item, Image) and item.build]
        if unknown := {layer.base for layer in layers if layer.base} - self.bases.keys():
            raise ValueError(f"no such base: {', '.join(sorted(unknown))}")
        return self

    def items(self) -> list[tuple[Component, Binary | Tool | Image | Packages]]:
        """Every item with its component, in the order of the file."""
        return [(component, item) for component in self.components for item in component.items]

    def find(self, name: str) -> tuple[Component, Binary | Tool | Image | Packages]:
        """One item with its component.

        Raises:
            MaasError: There is none of that name.
        """
        for component, item in self.items():
            if item.name == name:
                return component, item
        known = ", ".join(sorted(item.name for _, item in self.items()))
        raise MaasError(f"no component item is named {name}", hint=f"the lock has {known}")

    def image(self, name: str) -> Image:
        """One image.

        Raises:
            MaasError: There is none of that name.
        """
        _, item = self.find(name)
        if not isinstance(item, Image):
            raise MaasError(f"{name} is a {item.kind} and not an image")
        return item


def _filled(value: object, version: str) -> object:
    match value:
        case str():
            return value.replace("{version}", version).replace("{number}", version.removeprefix("v"))
        case dict():
            return {key: _filled(entry, version) for key, entry in value.items()}
        case list():
            return [_filled(entry, version) for entry in value]
        case _:
            return value


@lru_cache
def load(path: Path | None = None) -> Lock:
    """Read a lock of components; without a path, the one that belongs to this tool.

    Raises:
        MaasError: The file says something that is not understood.
    """
    path = path or paths.content() / "hack" / "build" / "components.yaml"
    try:
        return Lock.model_validate(YAML(typ="safe").load(path))
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise MaasError(f"the lock of components {path} cannot be used", context=problems) from error
