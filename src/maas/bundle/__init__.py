"""From the lock of components to a directory of programs, images and packages that hosts need no network for."""

from __future__ import annotations

from maas.bundle.build import Row, build, plan
from maas.bundle.images import base
from maas.bundle.manifest import Bundle, Item, Manifest

__all__ = ["Bundle", "Item", "Manifest", "Row", "base", "build", "plan"]
