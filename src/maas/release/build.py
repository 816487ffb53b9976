"""The build of a release. Everything it makes can be built again with the same bytes."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from cyclonedx.model.component import ComponentType
from packageurl import PackageURL

from maas import components, console, process
from maas.bundle import cache
from maas.errors import ReleaseError
from maas.release import app_image, changelog, charts, checksums, images, provenance, repository, sbom, wheel
from maas.release.checkout import Checkout, clone, current

if TYPE_CHECKING:
    from pathlib import Path

NOTES = "NOTES.md"


def expected(source: Checkout) -> list[str]:
    """Return the names of all files of a release before it is signed, sorted."""
    version = source.version
    made = [f"{name}-{version}.tgz" for name in charts.names(source.root)]
    described = [app_image.name(source), wheel.names(source)[0], made[0]]
    named = [f"{name}{sbom.SUFFIX}" for name in described]
    others = [images.FILE, NOTES, provenance.FILE, checksums.FILE, repository.METADATA]
    return sorted([*made, *wheel.names(source), app_image.name(source), *named, *others])


def commit(directory: Path | None, *, yes: bool) -> Path:
    """Build the commit of this checkout in a clone, which contains no uncommitted changes.

    Args:
        directory: An empty directory for the files. Without one, dist/VERSION of the checkout.
        yes: Do not ask before installing or starting a container engine.

    Raises:
        UsageError: The tool does not run from a checkout.
        ReleaseError: The directory is not empty, or the build gave other files than expected.
    """
    source = current()
    output = directory if directory is not None else source.root / "dist" / str(source.version)
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise ReleaseError(f"{output} is not empty", command=f"rm -r {output}")
    with clone(source) as tree:
        # The clone's own code builds it, so uncommitted changes to the tool have no effect either.
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            "maas",
            "package",
            "--in-place",
            "--directory",
            output.resolve(),
        ]
        environment = {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        status = process.foreground(argv + (["--yes"] if yes else []), env=environment)
    if status != 0:
        raise ReleaseError(f"building {source.commit[:12]} failed", hint="the error is in the output above")
    made = sorted(file.name for file in output.iterdir())
    if made != (wanted := expected(source)):
        raise ReleaseError(
            "the build gave other files than a release has",
            context=[
                *(f"missing: {name}" for name in sorted(set(wanted) - set(made))),
                *(f"unexpected: {name}" for name in sorted(set(made) - set(wanted))),
            ],
        )
    return output


def in_place(output: Path, *, yes: bool) -> None:
    """Build the files of this checkout, which `commit` has cloned for it.

    Raises:
        MaasError: A part cannot be built.
    """
    source = current()
    with console.phase("Images of the charts") as step:
        references = images.references()
        step.note(str(len(references)))
    if untested := images.untested():
        console.warn(f"no profile in ci/ starts {', '.join(untested)}")
    with console.phase("Image of the restaurant application, reproducible") as step:
        image = app_image.build(source, output, yes=yes)
        step.note(image.digest)
    listed = images.lines(references, {image.reference: image.digest})
    (output / images.FILE).write_text(listed, encoding="utf-8")
    with console.phase("Charts") as step:
        archives = charts.package(source, output, listed=listed.splitlines())
        step.note(", ".join(archive.name for archive in archives))
    with console.phase("Wheel and source distribution") as step:
        wheel.build(source, output)
        step.note(", ".join(wheel.names(source)))
    with console.phase("SBOMs") as step:
        step.note(", ".join(file.name for file in _sboms(source, output, image, archives, references)))
    (output / NOTES).write_text(changelog.notes(source.root, source.version), encoding="utf-8")
    shutil.copyfile(source.root / "release" / repository.METADATA, output / repository.METADATA)
    with console.phase("Provenance and checksums") as step:
        subjects = {file.name: cache.sha256(file) for file in output.iterdir()}
        subjects[image.reference] = image.digest.removeprefix("sha256:")
        provenance.write(source, output, subjects, _materials())
        sums = checksums.write(output, [file.name for file in output.iterdir()])
        step.note(f"{checksums.FILE} {cache.sha256(sums)}")


def _sboms(
    source: Checkout, output: Path, image: app_image.Archive, archives: list[Path], references: list[str]
) -> list[Path]:
    version, listed = str(source.version), (output / images.FILE).read_text(encoding="utf-8").splitlines()
    *subcharts, umbrella = archives
    licenses = {reference: images.license_of(reference) for reference in references}
    chart = [*sbom.charts(subcharts, version), *sbom.images(listed, licenses)]
    package = output / wheel.names(source)[0]
    repository_name = image.reference.rpartition(":")[0]
    container = PackageURL("oci", None, "restaurant", image.digest, {"repository_url": repository_name, "tag": version})
    return [
        sbom.write(source, image.path, ComponentType.CONTAINER, container, sbom.inside(image.packages)),
        sbom.write(
            source,
            package,
            ComponentType.APPLICATION,
            PackageURL("pypi", None, "maas", source.version.python),
            sbom.pinned(source.root / "requirements" / "maas.txt"),
        ),
        sbom.write(source, umbrella, ComponentType.APPLICATION, PackageURL("helm", None, "maas", version), chart),
    ]


def _materials() -> dict[str, str]:
    """Return the digests of the build tools' archives that the component lockfile has, by URL."""
    return {
        item.download.url: item.download.sha256
        for component, item in components.load().items()
        if component.name in {"helm", "crane"} and isinstance(item, components.Tool) and item.download
    }
