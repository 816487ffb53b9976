"""The programs that the tool itself uses, at the versions of the lock: helm, kubectl, crane and their like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import components, console
from maas.bundle import cache, sources
from maas.components import Binary, Component, Tool
from maas.errors import MaasError

if TYPE_CHECKING:
    from pathlib import Path


def at_hand(name: str) -> Path | None:
    """The executable of a pinned tool or host program when the cache has it; nothing is fetched or built for it.

    Raises:
        MaasError: The lock has no program of that name.
    """
    component, item = _program(name)
    found = sources.cached(component, item, policy="auto")
    return None if found is None else found.path


def tool(name: str) -> Path:
    """The executable of a pinned tool or host program, fetched or built when the cache does not have it.

    Raises:
        BundleError: No source gives it.
        MaasError: The lock has no program of that name.
    """
    if found := at_hand(name):
        return found
    component, item = _program(name)
    with cache.lock("bundle"), console.phase(f"{name} {component.version}") as phase:
        return sources.obtain(component, item, policy="auto", phase=phase).path


def _program(name: str) -> tuple[Component, Binary | Tool]:
    component, item = components.load().find(name)
    if not isinstance(item, Binary | Tool):
        raise MaasError(f"{name} is no program but of the kind {item.kind}")
    return component, item
