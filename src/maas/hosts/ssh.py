"""How the tool and Ansible connect to hosts over SSH."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from maas import paths

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
}
_PERSIST_SECONDS = 60


def options(*, known_hosts: Path, control_path: Path | None = None, key: Path | None = None) -> list[str]:
    """Return the options of an ssh connection to a host: it must show its pinned key, and ssh never prompts.

    Args:
        known_hosts: The pinned host keys.
        control_path: Socket through which connections to one host are shared; None for a connection of its own.
        key: Private key to log in with; None for the keys that ssh finds itself.
    """
    # In the value of an option, ssh expands % and splits at blanks.
    chosen = _OPTIONS | {"UserKnownHostsFile": f'"{str(known_hosts).replace("%", "%%")}"'}
    if control_path is None:
        chosen["ControlPath"] = "none"
    else:
        chosen |= {
            "ControlMaster": "auto",
            "ControlPersist": str(_PERSIST_SECONDS),
            "ControlPath": f'"{control_path}"',
        }
    if key is not None:
        chosen["IdentitiesOnly"] = "yes"
    words = [word for name, value in chosen.items() for word in ("-o", f"{name}={value}")]
    return words if key is None else [*words, "-i", str(key)]


def without_hint(failed: Sequence[str], *, optional: Collection[str]) -> str:
    """Return how to continue without the hosts that failed, as a further sentence of a hint.

    It is empty if `--without` would not be accepted for one of them: for the control plane, and for a new worker.
    """
    if not set(failed) <= set(optional):
        return ""
    one = "this worker is" if len(failed) == 1 else "these workers are"
    return f". To continue while {one} down: {' '.join(f'--without {name}' for name in failed)}"


def control_path(cluster: str) -> Path:
    """Return ssh's pattern for the sockets of a cluster's shared connections.

    A socket's path has at most 104 bytes, of which ssh needs 57 for its hash and a temporary suffix. A state directory
    may be longer than the rest, so the sockets are in the runtime directory.

    Raises:
        MaasError: The directory belongs to another user.
    """
    state = hashlib.sha256(os.fsencode(paths.state_path(cluster))).hexdigest()[:8]
    return paths.runtime(state) / "%C"
