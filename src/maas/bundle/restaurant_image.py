"""The image of the restaurant application, and bundles that contain it together with the upstream components."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import docker.errors
from ruamel.yaml import YAML

from maas import bundle as bundles
from maas import components, console, files, lab, paths
from maas.bundle import Bundle, cache, wheels
from maas.errors import BundleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from docker import DockerClient

    from maas.bundle.sources import Policy
    from maas.console import Phase
    from maas.os_releases import OsRelease

_REFERENCE = "ghcr.io/maas/restaurant"
_BASES = {"BUILD_BASE": "python-build", "RUN_BASE": "python"}
"""Build arguments of app/Dockerfile, with the bases in the component lockfile that replace images of a registry."""

_PARTS = ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements.txt", "README.md", "src")
_BUILDER = 1
"""Part of the image's key in the cache. Increase it when the same sources give another image."""


def reference() -> str:
    """Return the reference of the image in the chart."""
    return f"{_REFERENCE}:{_version()}"


def _version() -> str:
    chart = YAML(typ="safe").load(paths.content() / "charts" / "restaurant" / "Chart.yaml")
    return str(chart["appVersion"])


def _sources() -> Iterator[Path]:
    app = paths.content() / "app"
    for part in _PARTS:
        root = app / part
        for file in sorted([root] if root.is_file() else root.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def _key() -> str:
    total = hashlib.sha256(f"{_BUILDER} {wheels.PYTHON} {reference()}".encode())
    for name in _BASES.values():
        total.update(components.load().bases[name].model_dump_json().encode())
    for file in _sources():
        total.update(str(file.relative_to(paths.content())).encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def restaurant(*, yes: bool) -> Path:
    """Return the image as an archive in the cache, built from app/Dockerfile if its sources have changed.

    Raises:
        BundleError: The build failed.
    """
    kept = paths.cache() / "restaurant" / f"{_key()}.tar"
    if kept.exists():
        kept.touch()
        return kept
    client = lab.prepare(assume_yes=yes)
    with cache.lock("restaurant"):
        if kept.exists():
            return kept  # another run has built it meanwhile
        with console.phase("Image of the restaurant application") as step:
            build_image(client, kept, step)
            step.note(f"{reference()}, {kept.stat().st_size / 1e6:.0f} MB")
    return kept


def build_image(client: DockerClient, kept: Path, step: Phase) -> None:
    """Build the image with an engine and save it as an archive."""
    arguments = {}
    for argument, name in _BASES.items():
        step.note(f"base {name}")
        with bundles.base(name, phase=step).open("rb") as archive:
            arguments[argument] = client.images.load(archive)[0].tags[0]
    step.note("wheels")
    archives = wheels.download(paths.content() / "app" / "requirements.txt")
    step.note("building")
    former = {str(image.id) for image in client.images.list(reference())}
    try:
        image, _ = client.images.build(
            fileobj=_context(archives),
            custom_context=True,
            buildargs={**arguments, "WHEELS": "wheels"},
            tag=reference(),
            rm=True,
            forcerm=True,
        )
    except (docker.errors.BuildError, docker.errors.APIError) as error:
        log = [str(line.get("stream", "")).rstrip() for line in getattr(error, "build_log", [])]
        raise BundleError(
            "building the image of the restaurant application failed",
            context=[*[line for line in log if line][-12:], str(error)],
        ) from error
    step.note("saving")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(kept) as fresh, fresh.open("wb") as file:
        file.writelines(image.save(named=reference()))
    cache.forget_old(kept.parent)
    for leftover in former - {str(image.id)}:
        with contextlib.suppress(docker.errors.APIError):  # a container may use it
            client.images.remove(leftover)


def _context(archives: Path) -> io.BytesIO:
    """Return the build context: the sources, and the wheels beside them."""
    app, memory = paths.content() / "app", io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        for file in _sources():
            tar.add(file, arcname=str(file.relative_to(app)), filter=_plain)
        for wheel in sorted(archives.iterdir()):
            tar.add(wheel, arcname=f"wheels/{wheel.name}", filter=_plain)
    memory.seek(0)
    return memory


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def make_bundle(
    directory: Path | None,
    *,
    source: Policy,
    yes: bool,
    values: Mapping[str, Any],
    releases: Sequence[OsRelease] | None = None,
    kubernetes: str | None = None,
) -> Bundle:
    """Build or update a bundle with the upstream components and the application's image.

    Args:
        directory: Directory of the bundle; None for the one in the cache.
        source: `auto`, `download`, `pull` or `build`.
        values: Values for the chart. They decide about images with `when` or `switch` in the component lockfile.
        yes: Do not ask before installing or starting a container engine.
        releases: Releases of hosts to include packages for; without it, this machine's.
        kubernetes: The minor version of Kubernetes; without it, that of a bundle in the directory, or the newest.

    Raises:
        UsageError: This release of the tool has no components for that version.
        BundleError: Building the application's image failed.
    """
    minor = minor_for(directory, kubernetes)
    made = bundles.build(
        target(directory, minor), source=source, only=wanted(values), releases=releases, kubernetes=minor
    )
    archive = restaurant(yes=yes)
    with cache.lock("restaurant"):
        return Bundle.load(made.directory).add_image(archive, reference(), version=_version(), on="workload")


def minor_for(directory: Path | None, kubernetes: str | None = None) -> str:
    """Return the minor version of Kubernetes of a bundle: the given one, that of the bundle in the directory, or the newest."""
    return kubernetes or (bundles.minor(directory) if directory else None) or components.load().minor


def target(directory: Path | None, kubernetes: str | None = None) -> Path:
    """Return the directory of a bundle: the given one, or the one in the cache for a minor version of Kubernetes."""
    if directory is not None:
        return directory
    earlier = kubernetes is not None and kubernetes != components.load().minor
    return paths.cache() / (f"bundle-{kubernetes}" if earlier else "bundle")


def wanted(values: Mapping[str, Any]) -> list[str]:
    """Return the names of a bundle's items for these values.

    All except images whose `when` the values do not enable, and those whose `switch` they disable.
    """
    return [
        item.name
        for _, item in components.load().items()
        if not isinstance(item, components.Image) or _is_selected(item, values)
    ]


def _is_selected(image: components.Image, values: Mapping[str, Any]) -> bool:
    enabling = image.switch.enabled if image.switch else True
    if image.when is not None:
        return bool(_value(values, image.when) == enabling)
    found = _value(values, image.switch.value) if image.switch else None
    return found is None or bool(found == enabling)


def _value(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def make_image_bundle(directory: Path | None, listed: Path, *, source: Policy, yes: bool) -> Bundle:
    """Build a bundle with the images of a list only, for an existing cluster without access to registries.

    Args:
        directory: Directory of the bundle.
        listed: One reference per line, such as a release's images.txt.
        source: `auto`, `download`, `pull` or `build`.
        yes: Do not ask before installing or starting a container engine.

    Raises:
        UsageError: There is no directory or no list, or an image of it is unknown.
        BundleError: Building the application's image failed.
    """
    if directory is None or not listed.is_file():
        raise UsageError(
            "a bundle of listed images needs a directory and a list", hint="use --directory DIRECTORY --images FILE"
        )
    wanted = {line.partition("@")[0] for line in listed.read_text(encoding="utf-8").split()}
    known = {image.reference: image.name for image in components.load().images()}
    if others := sorted(wanted - known.keys() - {reference()}):
        raise UsageError("the list contains images of another version of maas", context=others)
    made = bundles.build(directory, source=source, only=[known[line] for line in wanted & known.keys()])
    if reference() in wanted:
        made = made.add_image(restaurant(yes=yes), reference(), version=_version(), on="workload")
    return made
