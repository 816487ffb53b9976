"""Chart archives: annotated for Artifact Hub, and the same bytes wherever they are built."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import yaml

from maas.bundle import cache
from maas.helm import render
from maas.helm.client import Helm
from maas.release import changelog, images, signers, trust

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.release.checkout import Checkout

_SKIPPED = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".nox", "dist")


def names(root: Path) -> list[str]:
    """Return the names of a release's charts: the umbrella first, then its subcharts."""
    return [render.UMBRELLA, *(chart.name for chart in render.subcharts(root))]


def package(source: Checkout, directory: Path, *, listed: Sequence[str]) -> list[Path]:
    """Package every chart.

    Args:
        source: The checkout.
        directory: Directory for the archives.
        listed: The lines of images.txt.

    Returns:
        The archives, the umbrella chart last.

    Raises:
        ReleaseError: The changelog has no section for this version.
        ChartError: Helm cannot package a chart.
    """
    made = []
    with cache.scratch() as scratch:
        umbrella = scratch / render.UMBRELLA
        shutil.copytree(source.root, umbrella, ignore=_SKIPPED)
        for chart in [*render.subcharts(umbrella), umbrella]:
            of_chart = listed if chart == umbrella else images_of(chart, listed)
            annotate(source, chart, of_chart)
            output = scratch / f"{chart.name}.out"
            output.mkdir()
            # A subchart needs the library chart inside its archive. The umbrella has it once, in charts/.
            whole = render.copy_with_libraries(chart, output / chart.name) if render.libraries(chart) else chart
            archive = Helm.pinned().package(whole, output, epoch=source.epoch)
            made.append(directory / archive.name)
            sort_members(archive, made[-1], epoch=source.epoch)
            os.utime(made[-1], (source.epoch, source.epoch))
    return made


def sort_members(archive: Path, target: Path, *, epoch: int) -> None:
    """Rewrite an archive with its files sorted by name.

    Helm iterates over a Go map of subcharts while it packages them, so their order changes.
    """
    with tarfile.open(archive) as tar, target.open("wb") as file:
        # The chart's own Chart.yaml stays first, because some tools read only the beginning of the archive.
        members = sorted(tar.getmembers(), key=lambda member: (member.name != tar.getnames()[0], member.name))
        with (
            gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
            tarfile.open(fileobj=packed, mode="w") as fresh,
        ):
            for member in members:
                fresh.addfile(member, tar.extractfile(member))


def images_of(chart: Path, listed: Sequence[str]) -> list[str]:
    """Return those of the listed images that are in the values of a chart."""
    own = {reference.partition("/")[2] for reference in images.of_values(chart)}
    return [line for line in listed if line.partition("@")[0].partition("/")[2] in own]


def annotate(source: Checkout, chart: Path, listed: Sequence[str]) -> None:
    """Add annotations for Artifact Hub to a copy of a chart: https://artifacthub.io/docs/topics/annotations/helm/."""
    file = chart / "Chart.yaml"
    described = yaml.safe_load(file.read_text(encoding="utf-8"))
    changes = changelog.read(source.root, source.version)
    annotations: dict[str, object] = {
        "changes": [{"kind": change.kind, "description": change.description} for change in changes],
        "images": [{"name": _name(line), "image": line} for line in listed],
        "crds": [entry for crd in sorted(chart.rglob("crds/*.yaml")) for entry in _crds(crd)],
        "license": "Apache-2.0",
        "links": [
            {"name": "source", "url": f"{source.home}/tree/v{source.version}"},
            {"name": "how to verify", "url": f"{source.home}/blob/v{source.version}/docs/verifying.md"},
        ],
        "prerelease": str(source.version.prerelease).lower(),
        "containsSecurityUpdates": str(any(change.kind == "security" for change in changes)).lower(),
    }
    key = source.root / signers.PUBLIC / signers.OPENPGP
    if key.is_file():
        url = f"{source.home}/raw/v{source.version}/{signers.PUBLIC}/{signers.OPENPGP}"
        annotations["signKey"] = {"fingerprint": trust.fingerprints(key)[0], "url": url}
    described["annotations"] = {
        **(described.get("annotations") or {}),
        **{f"artifacthub.io/{name}": _text(value) for name, value in annotations.items() if value},
        "org.opencontainers.image.revision": source.commit,
    }
    file.write_text(yaml.safe_dump(described, allow_unicode=True, width=1000), encoding="utf-8")


def _text(value: object) -> str:
    return value if isinstance(value, str) else yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=1000)


def _name(reference: str) -> str:
    return reference.partition("@")[0].rpartition(":")[0].rpartition("/")[2]


def _crds(file: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for document in render.parse(file.read_text(encoding="utf-8")):
        spec: dict[str, Any] = document["spec"]
        stored = next(version for version in spec["versions"] if version["storage"])
        kind = spec["names"]["kind"]
        description = stored["schema"]["openAPIV3Schema"].get("description", f"{kind} of {spec['group']}")
        entry = {"kind": kind, "version": stored["name"], "name": document["metadata"]["name"]}
        found.append({**entry, "displayName": kind, "description": description.split("\n")[0]})
    return found


def metadata(described: dict[str, Any]) -> bytes:
    """Return Chart.yaml as the configuration of an OCI artifact: JSON with always the same bytes."""
    return json.dumps(described, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
