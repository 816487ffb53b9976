"""Where things lie: the content that travels with the tool, the cache, and the state of each cluster."""

from __future__ import annotations

import os
from pathlib import Path

_PRIVATE = 0o700


def content() -> Path:
    """The directory that holds Chart.yaml, charts/, hack/, schemas/ and app/.

    In a checkout that is its root; in an installed package the same tree lies inside the package.
    """
    packaged = Path(__file__).parent / "content"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def command(name: str, *arguments: str) -> str:
    """How this user calls a command of the tool: as a nox session in a checkout, else as `maas`."""
    if (Path(__file__).parent / "content").is_dir():
        return " ".join(("maas", name, *arguments))
    return " ".join(("./nox", "-s", name, *(("--", *arguments) if arguments else ())))


def _xdg(variable: str, default: str) -> Path:
    # The XDG base directory rules: an unset, empty or relative value means the default.
    value = os.environ.get(variable, "")
    base = Path(value) if value.startswith("/") else Path.home() / default
    return base / "maas"


def cache() -> Path:
    """What can be made again: built components, bundles, tools. Shared by every checkout of this user."""
    path = _xdg("XDG_CACHE_HOME", ".cache")
    path.mkdir(parents=True, exist_ok=True)
    return path


def states() -> Path:
    """The directory of all clusters' state directories; readable by its owner only."""
    path = _xdg("XDG_STATE_HOME", ".local/state")
    path.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
    return path


def state(cluster: str) -> Path:
    """What must not be lost of one cluster: keys, host keys, plan, journal, kubeconfig. Readable by its owner only."""
    path = states() / cluster
    path.mkdir(exist_ok=True, mode=_PRIVATE)
    path.chmod(_PRIVATE)
    return path
