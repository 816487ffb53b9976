"""All images that the charts can start, found by rendering them.

They are those that the profiles in ci/ start, including images in arguments, and those in the charts' values. An image that is
only in the values is one that no profile tests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from maas import components
from maas.bundle import restaurant_image
from maas.components import Image
from maas.errors import ReleaseError
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FILE = "images.txt"
_REFERENCE = re.compile(
    r"(?<![\w./@-])[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+"
    r":[A-Za-z0-9_][\w.-]{0,127}(?:@sha256:[0-9a-f]{64})?(?![\w/])"
)
_TEXTS = ("args", "command", "env", "annotations")
"""Keys below which a string may be an image that a controller starts."""


def references() -> list[str]:
    """Return the upstream references of all images that the umbrella chart can start, sorted.

    Raises:
        ReleaseError: An image is neither in the component lockfile nor the restaurant application's.
        ChartError: A profile cannot be rendered.
    """
    known = {_path(reference): reference for reference in _known()}
    found = {**_in_values(), **_rendered()}
    if unknown := sorted(
        f"{reference} ({where})" for reference, where in found.items() if _path(reference) not in known
    ):
        raise ReleaseError("the charts can start images that are not in the component lockfile", context=unknown)
    return sorted({known[_path(reference)] for reference in found})


def untested() -> list[str]:
    """Return the images in the values that no profile in ci/ starts.

    Raises:
        ChartError: A profile cannot be rendered.
    """
    tested = {_path(reference) for reference in _rendered()}
    return sorted(
        f"{reference} ({where})" for reference, where in _in_values().items() if _path(reference) not in tested
    )


def of_values(chart: Path) -> list[str]:
    """Return the references in a chart's own values, sorted."""
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    described = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    return sorted(set(_of_values(values, str(described.get("appVersion", "")))))


def of_object(entry: Mapping[str, Any]) -> set[str]:
    """Return the images of an object: in `image` fields, and in the arguments of programs that start containers."""
    return set(_images(entry, texts=False))


def lines(references: Iterable[str], digests: Mapping[str, str]) -> str:
    """Return the content of images.txt: one reference per line, with its digest if it is known.

    Args:
        references: The images.
        digests: Digests of images that were built here, by reference.
    """
    locked = {
        item.reference: item.pull.digest
        for item in components.load().images()
        if item.pull is not None and item.pull.digest
    }
    return "".join(
        reference + (f"@{digest}" if (digest := digests.get(reference) or locked.get(reference)) else "") + "\n"
        for reference in references
    )


def mirror_commands(mirror: str) -> list[str]:
    """Return the commands that copy every image to a registry.

    Raises:
        ReleaseError: An image is not in the component lockfile.
    """
    commands = []
    built = {item.reference: item.name for item in components.load().images() if item.pull is None}
    for line in lines(references(), {}).splitlines():
        # Some tools do not accept a tag together with a digest: copy by digest, and name the copy by its tag.
        tagged, _, digest = line.partition("@")
        source = f"{tagged.rpartition(':')[0]}@{digest}" if digest else tagged
        target = f"{mirror.rstrip('/')}/{_path(tagged)}"
        # An image that no registry has is in a bundle.
        commands.append(
            f"crane push images/{built[tagged]}.tar {target}" if tagged in built else f"crane copy {source} {target}"
        )
    return commands


def license_of(reference: str) -> str:
    """Return the license of an image's content."""
    licenses = {
        item.reference: component.license for component, item in components.load().items() if isinstance(item, Image)
    }
    return licenses.get(reference, "Apache-2.0")


def _rendered() -> dict[str, str]:
    """Return the images that profiles start, each with a profile."""
    return {
        reference: profile.name
        for profile in render.profiles()
        for entry in render.objects(Request(render.umbrella(), values=(profile,)))
        for reference in of_object(entry)
    }


def _in_values() -> dict[str, str]:
    """Return the images in all values, each with its chart."""
    return {reference: chart.name for chart in render.subcharts() for reference in of_values(chart)}


def _known() -> Iterator[str]:
    yield from (item.reference for item in components.load().images())
    yield restaurant_image.reference()


def _path(reference: str) -> str:
    """Return a reference without its registry, which a mirror replaces, and without its digest."""
    return reference.partition("/")[2].partition("@")[0]


def _of_values(node: Any, version: str) -> Iterator[str]:
    if isinstance(node, list):
        for entry in node:
            yield from _of_values(entry, version)
    elif isinstance(node, dict):
        if isinstance(node.get("repository"), str) and {"tag", "digest"} & node.keys():
            yield f"{node.get('registry', 'docker.io')}/{node['repository']}:{node.get('tag') or version}"
        for value in node.values():
            yield from _of_values(value, version)


def _images(node: Any, *, texts: bool) -> Iterator[str]:
    if isinstance(node, str):
        if texts:
            yield from _REFERENCE.findall(node)
    elif isinstance(node, list):
        for entry in node:
            yield from _images(entry, texts=texts)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from _images(value, texts=texts or key in _TEXTS)
