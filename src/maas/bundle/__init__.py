"""Bundles: directories of programs, images and packages, with which hosts need no network."""

from __future__ import annotations

from maas.bundle.build import PlannedItem, build, minor, packages_missing, plan
from maas.bundle.images import base
from maas.bundle.manifest import Bundle, Item, Manifest

__all__ = ["Bundle", "Item", "Manifest", "PlannedItem", "base", "build", "minor", "packages_missing", "plan"]
