"""The component lockfile hack/build/components.yaml as typed values.

It lists every upstream release that MaaS installs on hosts, ships as an image or uses as a tool, with its sources.
These models are the only description of the file: schemas/components.schema.json, the tables of docs/components.md and
the error messages are made from them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema  # noqa: TC002 - pydantic evaluates the annotation

from maas import paths
from maas.errors import MaasError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURE = "amd64"
"""The only supported architecture, by the name that Go and Debian share."""

CONTROL_PLANE = ("kubernetes", "etcd", "coredns")
"""The components whose version follows the minor version of Kubernetes, because kubeadm requires one."""

Kind = Literal["binary", "image", "packages", "tool"]
On = Literal["control-plane", "node", "workload"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Text = Annotated[str, Field(min_length=1)]
Minor = Annotated[str, Field(pattern=r"^1\.[0-9]+$")]
Url = Annotated[str, Field(pattern=r"^(https://|http://127\.0\.0\.1:)")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
AbsolutePath = Annotated[str, Field(pattern=r"^/")]
Reference = Annotated[str, Field(pattern=r"^[a-z0-9.:-]+/[a-z0-9._/-]+:[A-Za-z0-9_{}][A-Za-z0-9_{}.-]*$")]
ValuePath = Annotated[str, Field(pattern=r"^[a-zA-Z-]+(\.[a-zA-Z]+)+$")]
_ID = Annotated[int, Field(ge=0)]


class Model(BaseModel):
    """A part of a file: frozen, without unknown keys, its fields described by the docstrings below them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class User(Model):
    """A line of an image's /etc/passwd and /etc/group."""

    name: Name
    """Name of the user and of its group."""
    id: _ID
    """Numeric ID of both."""
    home: AbsolutePath
    """Home directory."""


class Tree(Model):
    """A directory of a Go module that is copied into an image."""

    module: str
    """Path of the module."""
    source: str = Field(alias="from")
    """Directory in the module."""
    to: AbsolutePath
    """Directory in the image."""
    executable: tuple[Text, ...] = ()
    """Patterns of the file names that get mode 0755. Module archives contain no modes."""


class Layer(Model):
    """What an image or a base adds to its base."""

    base: Name | None = None
    """The base below this one."""
    packages: tuple[Text, ...] = ()
    """Debian packages. Their dependencies are added."""
    without: tuple[Text, ...] = ()
    """Packages to leave out, together with what only they depend on."""
    drop: tuple[AbsolutePath, ...] = ()
    """Patterns of paths to leave out of the packages."""
    applets: bool = False
    """Link every BusyBox applet to busybox."""
    certificates: bool = False
    """Concatenate the certificates of ca-certificates into one file."""
    links: dict[AbsolutePath, str] = {}
    """Symbolic links: path to target."""
    directories: dict[AbsolutePath, _ID] = {}
    """Empty directories: path to numeric owner."""
    users: tuple[User, ...] = ()
    """Users. They replace those of the base."""
    environment: dict[str, str] = {}
    """Environment variables."""
    entrypoint: tuple[str, ...] = ()
    """Entrypoint of the image."""
    command: tuple[str, ...] = ()
    """Arguments of the entrypoint."""
    user: str = ""
    """User, or user and group, that the container runs as."""
    workdir: str = ""
    """Working directory."""


class Base(Layer):
    """Layers that several images share."""

    archive: str | None = None
    """Reference under which the base is also available as an archive for `docker load`."""


class ImageBuild(Layer):
    """How to build an image from Go packages, Debian packages, Python wheels and npm packages."""

    programs: dict[AbsolutePath, str] = {}
    """Go programs: path in the image to Go package."""
    hard_links: dict[AbsolutePath, AbsolutePath] = {}
    """Second names of programs: path to path."""
    capabilities: dict[AbsolutePath, tuple[Literal["net_bind_service"], ...]] = {}
    """Linux capabilities of program files: path to names."""
    trees: tuple[Tree, ...] = ()
    """Directories of Go modules to copy."""
    wheels: dict[AbsolutePath, str] = {}
    """Python wheels that are pinned by hash: directory in the image to requirements file in hack/build/NAME."""
    web: dict[AbsolutePath, str] = {}
    """Web pages built with npm: directory in the image to directory in hack/build/NAME."""


class GoBuild(Model):
    """How to build a program."""

    package: Text
    """The Go package of the program."""


class PackageSet(Model):
    """Debian packages for hosts."""

    packages: tuple[Text, ...]
    """Names. Their dependencies are added, except packages that every Debian system has."""


class Download(Model):
    """A published file."""

    url: Url
    """Where it is published."""
    sha256: Sha256
    """Its SHA-256, as upstream published it."""
    member: str | None = None
    """Path of the program in the archive, if the file is a .tar.gz archive."""


class Pull(Model):
    """An image in a registry, under the item's reference."""

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    """Digest of its manifest or index. Without it, the tag is trusted."""


def _needs_source(schema: dict[str, Any]) -> None:
    sources = [name for name in ("download", "pull", "build") if name in schema["properties"]]
    schema["anyOf"] = [{"required": [name]} for name in sources]


class _Item(Model):
    name: Name
    """Unique name of the item."""


class _Sourced(_Item):
    model_config = ConfigDict(json_schema_extra=_needs_source)

    @model_validator(mode="after")
    def _has_source(self) -> Self:
        sources = [name for name in ("download", "pull", "build") if name in type(self).model_fields]
        if all(getattr(self, name) is None for name in sources):
            raise ValueError(f"no source; give {' or '.join(sources)}")
        return self


class Binary(_Sourced):
    """A program for hosts."""

    kind: Literal["binary"]
    """Kind of the item."""
    on: On
    """Hosts that need it: the control plane, every node, or nodes that run ordinary pods."""
    path: Annotated[str, Field(pattern=r"^(bin|cni)/[^/]+$")]
    """Path in the bundle."""
    download: Download | None = None
    """Published file, tried first."""
    build: GoBuild | None = None
    """Go package, tried last."""


class Tool(_Sourced):
    """A program for the controller. It is stored in the cache, not in the bundle."""

    kind: Literal["tool"]
    """Kind of the item."""
    download: Download | None = None
    """Published file, tried first."""
    build: GoBuild | None = None
    """Go package, tried last."""


class Switch(Model):
    """The value of the umbrella chart that enables or disables an optional component."""

    value: ValuePath
    """Path of the value."""
    enabled: bool | int | str = True
    """The value that enables the component."""
    disabled: bool | int | str = False
    """The value that disables the component. It is set if the bundle does not contain the image."""

    def __str__(self) -> str:
        return f"{self.value}: {str(self.enabled).lower()}"

    @property
    def values_off(self) -> dict[str, Any]:
        """Values that disable the component."""
        values: Any = self.disabled
        for key in reversed(self.value.split(".")):
            values = {key: values}
        return dict(values)


class Image(_Sourced):
    """A container image."""

    kind: Literal["image"]
    """Kind of the item."""
    on: On
    """Hosts that need it: the control plane, every node, or nodes that run ordinary pods."""
    reference: Reference
    """Upstream's reference, whatever the source."""
    when: ValuePath | None = None
    """Path of a value of the chart. The bundle contains the image only if that value is true, or enables `switch`."""
    switch: Switch | None = None
    """How to disable the component. Without it, the platform does not work without the image."""
    fallback: Name | None = None
    """The image that the bundle contains if this one is not available: of the component that `disabled` selects."""
    volume: ValuePath | None = None
    """Path in the chart's values of the component whose `storage` describes the volume."""
    tolerates: Literal["control-plane"] | None = None
    """`control-plane` if its pods tolerate the control plane's taint, so that the control plane imports it too."""
    early: bool = False
    """Import it before other images, because the checks at the end of `bootstrap` need it."""
    pull: Pull | None = None
    """Registry, tried first."""
    build: ImageBuild | None = None
    """Recipe, tried last."""


class Packages(_Item):
    """Debian packages for hosts."""

    kind: Literal["packages"]
    """Kind of the item."""
    on: On
    """Hosts that need them."""
    path: Literal["packages"]
    """Directory in the bundle, with one directory per distribution."""
    build: PackageSet
    """Which packages."""


Item = Annotated[Binary | Tool | Image | Packages, Field(discriminator="kind")]


class Go(Model):
    """How to build the Go programs of a component."""

    tags: tuple[Text, ...] = ()
    """Build tags."""
    link: dict[str, str] = {}
    """Variables to set with the linker."""


class Component(Model):
    """An upstream release and what MaaS takes from it. Its Go build module is hack/build/NAME."""

    name: SkipJsonSchema[Name]
    """Its key in the file."""
    module: SkipJsonSchema[Text]
    """Directory of its Go build module below hack/build."""
    version: Text
    """Upstream's version. In strings below, {version}, {number} (without the `v`) and {minor} stand for it."""
    license: Text
    """SPDX expression, or `various`."""
    home: Annotated[str, Field(pattern=r"^https://")]
    """Upstream's address."""
    go: Go | None = None
    """How to build its Go programs. Without it, no item has a Go build."""
    items: Annotated[tuple[Item, ...], Field(min_length=1)]
    """What MaaS takes from it."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if not (isinstance(data, dict) and isinstance(version := data.get("version"), str)):
            return data
        number = version.removeprefix("v")
        minor = number.split(".")[1] if "." in number else ""
        return _filled(data, {"{version}": version, "{number}": number, "{minor}": minor})


class Lockfile(Model):
    """Every upstream program that MaaS installs on hosts, ships as an image or uses as a tool."""

    schema_: Literal[1] = Field(alias="schema")
    """Version of this format."""
    bases: dict[Name, Base]
    """Layers that images share, by name."""
    earlier: dict[Minor, dict[Name, Text]] = {}
    """Earlier minor versions of Kubernetes, with the versions of the components that differ. Their Go build modules are
    hack/build/NAME-MINOR."""
    components: dict[Name, Component]
    """Upstream releases, by name."""

    @model_validator(mode="before")
    @classmethod
    def _name(cls, data: Any) -> Any:
        components = data.get("components") if isinstance(data, dict) else None
        if not isinstance(components, dict):
            return data
        named = {
            name: {"name": name, "module": name, **entry} if isinstance(entry, dict) else entry
            for name, entry in components.items()
        }
        return {**data, "components": named}

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [item.name for _, item in self.items()]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"duplicate items: {', '.join(sorted(duplicates))}")
        layers: list[Layer] = [*self.bases.values()]
        layers += [image.build for image in self.images() if image.build]
        if unknown := {layer.base for layer in layers if layer.base} - self.bases.keys():
            raise ValueError(f"unknown bases: {', '.join(sorted(unknown))}")
        images = {image.name for image in self.images()}
        if unknown := {image.fallback for image in self.images() if image.fallback} - images:
            raise ValueError(f"unknown fallbacks: {', '.join(sorted(unknown))}")
        for minor, versions in self.earlier.items():
            if wrong := sorted(versions.keys() ^ set(CONTROL_PLANE)):
                raise ValueError(f"earlier.{minor} must have {', '.join(CONTROL_PLANE)} only, see {', '.join(wrong)}")
        return self

    @property
    def kubernetes(self) -> str:
        """The Kubernetes version, without its `v`."""
        return self.components["kubernetes"].version.removeprefix("v")

    @property
    def minor(self) -> str:
        """The minor version of Kubernetes, such as `1.40`."""
        return minor_of(self.kubernetes)

    def items(self) -> list[tuple[Component, Binary | Tool | Image | Packages]]:
        """Return every item with its component, in the order of the file."""
        return [(component, item) for component in self.components.values() for item in component.items]

    def images(self) -> list[Image]:
        """Return every image, in the order of the file."""
        return [item for _, item in self.items() if isinstance(item, Image)]

    def find(self, name: str) -> tuple[Component, Binary | Tool | Image | Packages]:
        """Return an item with its component.

        Raises:
            MaasError: The lockfile has no item of that name.
        """
        for component, item in self.items():
            if item.name == name:
                return component, item
        known = ", ".join(sorted(item.name for _, item in self.items()))
        raise MaasError(f"the component lockfile has no item {name}", hint=f"it has {known}")

    def image(self, name: str) -> Image:
        """Return an image.

        Raises:
            MaasError: The lockfile has no image of that name.
        """
        _, item = self.find(name)
        if not isinstance(item, Image):
            raise MaasError(f"{name} is not an image but of kind {item.kind}")
        return item


def _filled(value: Any, placeholders: dict[str, str]) -> Any:
    match value:
        case str():
            for name, text in placeholders.items():
                value = value.replace(name, text)
            return value
        case dict():
            return {key: _filled(entry, placeholders) for key, entry in value.items()}
        case list():
            return [_filled(entry, placeholders) for entry in value]
        case _:
            return value


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's C parser, without YAML 1.1's other words for booleans: `on` is a key here."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, words) for tag, words in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


@lru_cache
def load(path: Path | None = None) -> Lockfile:
    """Read a component lockfile; without a path, the one of this tool.

    Raises:
        MaasError: The file is not valid.
    """
    path = path or _path()
    return _validated(path, _read(path))


def for_minor(minor: str | None) -> Lockfile:
    """Return the component lockfile with the versions for a minor version of Kubernetes; without one, for the newest.

    Raises:
        UsageError: This release of the tool has no components for it.
    """
    newest = load()
    if minor is None or minor == newest.minor:
        return newest
    if minor not in newest.earlier:
        raise UsageError(
            f"this release of maas has no components for Kubernetes {minor}",
            hint=f"it has them for {' and '.join([*newest.earlier, newest.minor])}",
            code="KubernetesVersionUnknown",
        )
    return _earlier(minor)


@lru_cache
def _earlier(minor: str) -> Lockfile:
    content = _read(_path())
    for name, version in content["earlier"][minor].items():
        content["components"][name] |= {"version": version, "module": f"{name}-{minor}"}
    return _validated(_path(), content)


def _path() -> Path:
    return paths.content() / "hack" / "build" / "components.yaml"


def _read(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one


def _validated(path: Path, content: Any) -> Lockfile:
    try:
        return Lockfile.model_validate(content)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise MaasError(f"the component lockfile {path} is not valid", context=problems) from error


def minor_of(version: str) -> str:
    """Return the minor version of a Kubernetes version: `1.40` of `v1.40.2`."""
    return ".".join(version.removeprefix("v").split(".")[:2])


def kubernetes_version() -> str:
    """Return the Kubernetes version that `bootstrap` installs, without its `v`."""
    return load().kubernetes
