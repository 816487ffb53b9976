"""Directories: the content of the tool, the cache, the state of each cluster, and runtime files."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
from pathlib import Path

from maas.errors import MaasError

_PRIVATE = 0o700


def content() -> Path:
    """Return the directory that contains Chart.yaml, charts/, hack/, schemas/ and app/.

    In a checkout it is the root; in an installed package it is a directory inside the package.
    """
    packaged = Path(__file__).parent / "content"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def command(name: str, *arguments: object) -> str:
    """Return how to run a command of the tool, for a shell: as a nox session in a checkout, otherwise as `maas`.

    Args:
        name: The command.
        arguments: Its words, one by one: what contains a space, such as the path of an inventory, is quoted.
    """
    words = list(map(str, arguments))
    if (Path(__file__).parent / "content").is_dir():
        return shlex.join(["maas", name, *words])
    return shlex.join(["./nox", "-s", name, *(["--", *words] if words else [])])


def same_command() -> str:
    """Return the command that this process runs, with all of its options, to run it again."""
    return command(*sys.argv[1:])


def _xdg(variable: str, default: str) -> Path:
    # The XDG base directory rules: an unset, empty or relative value means the default.
    value = os.environ.get(variable, "")
    base = Path(value) if value.startswith("/") else Path.home() / default
    return base / "maas"


def cache() -> Path:
    """Return the directory of what can be re-created: components, bundles, tools. All checkouts of a user share it.

    It may not exist yet: who writes creates it, so that a dry run writes nothing.
    """
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_path(cluster: str) -> Path:
    """Return where the state directory of a cluster is, whether it exists or not; creates nothing."""
    return _xdg("XDG_STATE_HOME", ".local/state") / cluster


def runtime(name: str) -> Path:
    """Create a private directory for sockets and locks and return it.

    It is short enough for Unix sockets: in XDG_RUNTIME_DIR, or in /tmp, where others can create files too.

    Args:
        name: Part of its name.

    Raises:
        MaasError: The directory belongs to another user, or others can access it.
    """
    base = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if not (base.is_absolute() and base.is_dir()):
        base = Path("/tmp")  # noqa: S108 - checked below
    path = base / f"maas-{os.getuid()}-{name}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=_PRIVATE)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise MaasError(
            f"{path} is not a private directory of your user",
            hint="its sockets would give other users access to the cluster; check who created it, then remove it",
            command=f"ls -ld {path}",
            code="UnsafeDirectory",
        )
    return path


def states() -> Path:
    """Return the directory of all clusters' state directories; only its owner can read it."""
    path = _xdg("XDG_STATE_HOME", ".local/state")
    path.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
    return path


def state(cluster: str) -> Path:
    """Return the directory of a cluster's keys, host keys, plan, journal and kubeconfig; only its owner can read it."""
    path = states() / cluster
    path.mkdir(exist_ok=True, mode=_PRIVATE)
    path.chmod(_PRIVATE)
    return path
