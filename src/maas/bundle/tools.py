"""Programs that the tool itself uses, in the versions of the component lockfile, such as helm, kubectl and crane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import components, console
from maas.bundle import cache, sources
from maas.components import Binary, Component, Tool
from maas.errors import MaasError

if TYPE_CHECKING:
    from pathlib import Path


def cached(name: str) -> Path | None:
    """Return the executable of a program if it is in the cache; downloads and builds nothing.

    Raises:
        MaasError: The component lockfile has no program of that name.
    """
    component, item = _program(name)
    found = sources.from_cache(component, item, policy="auto")
    return None if found is None else found.path


def tool(name: str) -> Path:
    """Return the executable of a program, downloaded or built if it is not in the cache.

    Raises:
        BundleError: No source provides it.
        MaasError: The component lockfile has no program of that name.
    """
    if found := cached(name):
        return found
    component, item = _program(name)
    with cache.lock("bundle"), console.phase(f"{name} {component.version}") as phase:
        return sources.fetch(component, item, policy="auto", phase=phase).path


def _program(name: str) -> tuple[Component, Binary | Tool]:
    component, item = components.load().find(name)
    if not isinstance(item, Binary | Tool):
        raise MaasError(f"{name} is not a program but of kind {item.kind}")
    return component, item
