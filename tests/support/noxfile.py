"""The noxfile as a module. It is loaded once: nox refuses a second session of one name."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING

from maas import paths

if TYPE_CHECKING:
    from types import ModuleType


@cache
def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noxfile", paths.content() / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
