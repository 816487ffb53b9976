"""Every image that the chart can start, found by rendering it and not by a list that somebody keeps.

Two ways are taken together: what the profiles of ci/ start when they are rendered, arguments included, and what the values of
the charts name. An image that only the values know is one that no profile tries.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from maas import components, console, paths
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
"""Keys below which a string may name an image that a controller starts."""


def started() -> list[str]:
    """The references of every image that the umbrella chart can start, as upstream names them, in order.

    Raises:
        ReleaseError: An image is neither in the lock of components nor ours.
        ChartError: A profile cannot be rendered.
    """
    known = {_path(reference): reference for reference in _known()}
    found = {**_valued(), **_rendered()}
    if unknown := sorted(
        f"{reference} ({where})" for reference, where in found.items() if _path(reference) not in known
    ):
        raise ReleaseError(
            "the chart can start images that are neither in the lock of components nor ours", context=unknown
        )
    return sorted({known[_path(reference)] for reference in found})


def untried() -> list[str]:
    """The images that values name and that no profile of ci/ starts: nothing has tried them.

    Raises:
        ChartError: A profile cannot be rendered.
    """
    tried = {_path(reference) for reference in _rendered()}
    return sorted(f"{reference} ({where})" for reference, where in _valued().items() if _path(reference) not in tried)


def of_values(chart: Path) -> list[str]:
    """The references that a chart's own values name, in order."""
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    described = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    return sorted(set(_of_values(values, str(described.get("appVersion", "")))))


def named(entry: Mapping[str, Any]) -> set[str]:
    """The images that an object names: in its fields `image`, and in the arguments of programs that start others."""
    return set(_named(entry, texts=False))


def lines(references: Iterable[str], digests: Mapping[str, str]) -> str:
    """The list as a file: one reference a line, with its digest where that is known.

    Args:
        references: What the chart can start.
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


def show(mirror: str | None) -> None:
    """Write the list to standard output; with a mirror, the commands that fill it.

    Raises:
        ReleaseError: The list cannot be made.
    """
    text = lines(started(), {})
    if mirror is None:
        console.data(text.rstrip("\n"))
        return
    for line in text.splitlines():
        # A tag and a digest at once are more than some tools take: the digest decides, the tag names the copy.
        tagged, _, digest = line.partition("@")
        source = f"{tagged.rpartition(':')[0]}@{digest}" if digest else tagged
        console.data(f"crane copy {source} {mirror.rstrip('/')}/{_path(tagged)}")
    console.line(f"then install with --set global.imageRegistry={mirror.rstrip('/')}")
    console.line(
        f"without a way to registries: {paths.command('bundle', '--images', FILE, '--directory', 'DIRECTORY')}"
    )


def license_of(reference: str) -> str:
    """The license of what is in an image, as the lock of components or we say it."""
    licenses = {
        item.reference: component.license for component, item in components.load().items() if isinstance(item, Image)
    }
    return licenses.get(reference, "Apache-2.0")


def _rendered() -> dict[str, str]:
    """The images of all renders, each with a profile that starts it."""
    return {
        reference: profile.name
        for profile in render.profiles()
        for entry in render.objects(Request(render.umbrella(), values=(profile,)))
        for reference in named(entry)
    }


def _valued() -> dict[str, str]:
    """The images of all values, each with its chart."""
    return {reference: chart.name for chart in render.subcharts() for reference in of_values(chart)}


def _known() -> Iterator[str]:
    yield from (item.reference for item in components.load().images())
    yield restaurant_image.reference()


def _path(reference: str) -> str:
    """A reference without its registry, which a mirror replaces, and without a digest."""
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


def _named(node: Any, *, texts: bool) -> Iterator[str]:
    if isinstance(node, str):
        if texts:
            yield from _REFERENCE.findall(node)
    elif isinstance(node, list):
        for entry in node:
            yield from _named(entry, texts=texts)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from _named(value, texts=texts or key in _TEXTS)
