"""SBOMs in CycloneDX 1.6: the same bytes for the same release.

There is one for the wheel, one for the restaurant application's image, and one for the umbrella chart with all images that it
can start. The serial number is computed from the content and the time is the commit's, so a rebuild gives the same document.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from maas import components
from maas.bundle import cache
from maas.bundle import images as recipes
from maas.components import ARCHITECTURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cyclonedx.model.license import License

    from maas.release.checkout import Checkout

SUFFIX = ".cdx.json"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)
_RUN_BASE = "python"
"""The base image of the restaurant application, in the component lockfile."""


@dataclass(frozen=True)
class Part:
    """A component of an artifact.

    Attributes:
        kind: CycloneDX's type.
        url: Package URL.
        digest: SHA-256 in hexadecimal, if known.
        license: SPDX expression, if known.
    """

    kind: ComponentType
    name: str
    version: str
    url: PackageURL
    digest: str = ""
    license: str = ""


def pinned(requirements: Path) -> list[Part]:
    """Return the Python packages that a requirements file pins."""
    return [
        _python(found["name"], found["version"]) for found in _PIN.finditer(requirements.read_text(encoding="utf-8"))
    ]


def inside(packages: Mapping[str, str]) -> list[Part]:
    """Return the content of the restaurant application's image: its Python packages, and the Debian packages of its base."""
    base = components.load().bases
    debian = []
    layer: str | None = _RUN_BASE
    while layer is not None:
        debian += recipes.packages_of(base[layer]) or []
        layer = base[layer].base
    found = [_python(name, version) for name, version in packages.items()]
    for package in debian:
        url = PackageURL("deb", "debian", package.name, package.version, {"arch": ARCHITECTURE})
        found.append(Part(ComponentType.LIBRARY, package.name, package.version, url))
    return found


def images(lines: Sequence[str], licenses: Mapping[str, str]) -> list[Part]:
    """Return the images of images.txt."""
    found = []
    for line in lines:
        reference, _, digest = line.partition("@")
        repository, _, tag = reference.rpartition(":")
        name = repository.rpartition("/")[2]
        url = PackageURL("oci", None, name, digest or None, {"repository_url": repository, "tag": tag})
        part = Part(
            ComponentType.CONTAINER, name, tag, url, digest.removeprefix("sha256:"), licenses.get(reference, "")
        )
        found.append(part)
    return found


def charts(archives: Iterable[Path], version: str) -> list[Part]:
    """Return the subcharts."""
    found = []
    for archive in archives:
        name = archive.name.removesuffix(f"-{version}.tgz")
        url = PackageURL("helm", None, name, version)
        found.append(Part(ComponentType.APPLICATION, name, version, url, cache.sha256(archive), "Apache-2.0"))
    return found


def write(source: Checkout, file: Path, kind: ComponentType, url: PackageURL, parts: Sequence[Part]) -> Path:
    """Write the SBOM of an artifact beside it and return its path.

    Args:
        source: The checkout.
        file: The artifact.
        kind: Its CycloneDX type.
        url: Its package URL.
        parts: Its components.
    """
    licenses = LicenseFactory()
    described = Part(kind, url.name, str(source.version), url, cache.sha256(file), "Apache-2.0")
    subject = _component(described, licenses)
    subject.external_references.add(ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(source.home)))
    contents = {part.url.to_string(): _component(part, licenses) for part in parts}
    bom = Bom(
        components=contents.values(),
        metadata=BomMetaData(component=subject, timestamp=source.time),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{source.home}/{file.name}/{described.digest}"),
        dependencies=[
            Dependency(subject.bom_ref, [Dependency(part.bom_ref) for part in contents.values()]),
            *(Dependency(part.bom_ref) for part in contents.values()),
        ],
    )
    target = file.with_name(file.name + SUFFIX)
    target.write_text(JsonV1Dot6(bom).output_as_string(indent=1) + "\n", encoding="utf-8")
    return target


def _python(name: str, version: str) -> Part:
    plain = re.sub(r"[-_.]+", "-", name).lower()
    return Part(ComponentType.LIBRARY, plain, version, PackageURL("pypi", None, plain, version))


def _component(part: Part, factory: LicenseFactory) -> Component:
    licenses: list[License] = []
    if part.license and part.license != "various":
        licenses = [factory.make_from_string(part.license)]
    return Component(
        type=part.kind,
        name=part.name,
        version=part.version,
        purl=part.url,
        bom_ref=part.url.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.digest)] if part.digest else [],
        licenses=licenses,
    )
