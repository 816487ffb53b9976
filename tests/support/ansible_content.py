"""hack/ansible, which is not a package: its directory, and its files as modules."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from maas import paths

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

CONTENT = paths.content() / "hack" / "ansible"


def load_file(path: Path, name: str) -> ModuleType:
    """Load a file that is not part of a package as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    writes = sys.dont_write_bytecode
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = writes  # what a host's script wants for its host is not for the tests that follow
    return module
