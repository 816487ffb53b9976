"""How the tool and Ansible connect to hosts: by ssh, with the user's own configuration, agents and jump hosts."""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from maas import paths, process
from maas.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from maas.hosts.inventory import Host, Inventory

PORT = 22
FAILED = 255
"""The exit status of ssh itself where the host does not answer."""
BECOME_FAILED = 94
"""The exit status of `as_root` where sudo rejects the password."""

# What decides whether a host is the right one, and what would disturb programs, whatever ~/.ssh/config says.
_ALWAYS = {
    "BatchMode": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "KnownHostsCommand": "none",
    "VerifyHostKeyDNS": "no",
    "UpdateHostKeys": "no",
    "HashKnownHosts": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "ClearAllForwardings": "yes",
    "ServerAliveInterval": "5",
    "LogLevel": "ERROR",
}
_CONNECT_SECONDS = 10
_ALIVE_COUNT = 3
_PERSIST_SECONDS = 60


def resolve(inventory: Inventory) -> Inventory:
    """Return an inventory with the port and the user that ssh's configuration gives to hosts that have none.

    Raises:
        PreflightError: ssh rejects its configuration, or an address.
    """
    with ThreadPoolExecutor(max_workers=len(inventory.hosts)) as pool:
        return inventory.model_copy(update={"hosts": tuple(pool.map(_resolved, inventory.hosts))})


def _resolved(host: Host) -> Host:
    given = host.model_fields_set
    if {"port", "user"} <= given:
        return host
    done = process.run(["ssh", "-G", *_jump(host), *_target(host, given)], check=False)
    if done.returncode != 0:
        raise PreflightError(
            f"ssh does not accept its configuration for {host.name}",
            context=done.stderr.strip().splitlines(),
            hint="correct the line in the configuration of ssh on this machine",
            command=shlex.join(["ssh", "-G", host.address]),
        )
    settings = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    found: dict[str, object] = {}
    if "port" not in given:
        found["port"] = int(settings["port"])
    # ssh's own default is the name of the local user, which need not exist on the host.
    if "user" not in given and settings["user"] != pwd.getpwuid(os.getuid()).pw_name:
        found["user"] = settings["user"]
    return host.model_copy(update=found)


def known_as(host: Host) -> str:
    """Return the name of a host in known_hosts: its address, with the port if it is not 22, and its jump host.

    Hosts in different private networks can have the same address.
    """
    name = host.address if host.port == PORT else f"[{host.address}]:{host.port}"
    return name if host.ssh is None else f"{name}/{host.ssh.proxyJump.replace(',', '+')}"


def options(host: Host, *, known_hosts: Path, control_path: Path | None = None, factor: int = 1) -> list[str]:
    """Return the options of an ssh connection to a host: it must show its pinned key, and ssh never prompts.

    Args:
        host: The host.
        known_hosts: The pinned host keys.
        control_path: Socket through which connections to the host are shared; None for a connection of its own.
        factor: How many times as long as by default to wait for the host.
    """
    settings = {
        "StrictHostKeyChecking": "yes",
        **_file(known_hosts),
        **_control(control_path),
        "ConnectTimeout": str(_CONNECT_SECONDS * factor),
        "ServerAliveCountMax": str(_ALIVE_COUNT * factor),
    }
    words = _words(host, settings)
    return words if host.key is None else [*words, "-o", "IdentitiesOnly=yes", "-i", str(host.key)]


def command(host: Host, *, known_hosts: Path, control_path: Path | None = None, factor: int = 1) -> list[str]:
    """Return the words of an ssh command to a host, the destination last; see `options`."""
    chosen = options(host, known_hosts=known_hosts, control_path=control_path, factor=factor)
    return ["ssh", *chosen, *_target(host)]


def scan_command(host: Host, *, known_hosts: Path, algorithms: Sequence[str], seconds: int) -> list[str]:
    """Return the words of an ssh command that writes the key of a host to a file and does not log in.

    Args:
        host: The host.
        known_hosts: The file for its key.
        algorithms: Algorithms of host keys, in the order of preference.
        seconds: How long to wait for the host.
    """
    settings = {
        "StrictHostKeyChecking": "accept-new",
        **_file(known_hosts),
        **_control(None),
        "HostKeyAlgorithms": ",".join(algorithms),
        "PreferredAuthentications": "none",
        "ConnectTimeout": str(seconds),
        "LogLevel": "INFO",  # says also which keys the host has, if it has none of these
    }
    return ["ssh", *_words(host, settings), *_target(host), "true"]


def plain_command(host: Host) -> str:
    """Return the command with which a person connects to a host, for hints."""
    key = [] if host.key is None else ["-i", str(host.key)]
    port = [] if host.port == PORT else ["-p", str(host.port)]
    return shlex.join(["ssh", *_jump(host), *port, *key, f"{host.user}@{host.address}"])


def as_root(remote: str) -> str:
    """Return a command for a host's shell that runs a program as root, if the user is root or may become it.

    The first line of its standard input is the password for sudo, which can be empty; the rest is the program's.
    sudo gets a wrong password only once, as several attempts can lock the user. Without any way to become root, the
    program runs as the user.
    """
    script = f"""\
IFS= read -r password
if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then exec sudo -n {remote}; fi
    if [ -n "$password" ]; then
        printf '%s\\n' "$password" | sudo -k -S -p '' true 2>/dev/null || exit {BECOME_FAILED}
        {{ printf '%s\\n' "$password"; exec cat; }} | sudo -k -S -p '' {remote}
        exit
    fi
fi
exec {remote}"""
    return f"sh -c {shlex.quote(script)}"


def _words(host: Host, settings: dict[str, str]) -> list[str]:
    chosen = {**_ALWAYS, "HostKeyAlias": known_as(host)} | settings
    if host.ssh is not None:
        chosen["ProxyJump"] = host.ssh.proxyJump
    return [word for name, value in chosen.items() for word in ("-o", f"{name}={value}")]


def _jump(host: Host) -> list[str]:
    return [] if host.ssh is None else ["-J", host.ssh.proxyJump]


def _target(host: Host, given: Collection[str] = ("port", "user")) -> list[str]:
    port = ["-p", str(host.port)] if "port" in given else []
    user = ["-l", host.user] if "user" in given else []
    return [*port, *user, host.address]


def _file(known_hosts: Path) -> dict[str, str]:
    # In the value of an option, ssh expands % and splits at blanks.
    return {"UserKnownHostsFile": f'"{str(known_hosts).replace("%", "%%")}"'}


def _control(path: Path | None) -> dict[str, str]:
    if path is None:
        return {"ControlPath": "none"}
    return {"ControlMaster": "auto", "ControlPersist": str(_PERSIST_SECONDS), "ControlPath": f'"{path}"'}


def without_hint(failed: Sequence[str], *, optional: Collection[str]) -> str:
    """Return how to continue without the hosts that failed, as a further sentence of a hint.

    It is empty if `--without` would not be accepted for one of them: for the only control plane, and for a new host.
    """
    if not set(failed) <= set(optional):
        return ""
    one = "this host is" if len(failed) == 1 else "these hosts are"
    return f". To continue while {one} down: {' '.join(f'--without {name}' for name in failed)}"


def control_path(cluster: str, host: Host) -> Path:
    """Return the socket of the connections to a host of a cluster.

    A socket's path has at most 104 bytes, of which ssh needs 17 for a temporary suffix. A state directory may be longer
    than the rest, so the sockets are in the runtime directory. ssh's own pattern %C does not tell hosts apart that have
    the same address behind different jump hosts.
    """
    state = hashlib.sha256(os.fsencode(paths.state_path(cluster))).hexdigest()[:8]
    login = hashlib.sha256(f"{known_as(host)} {host.user} {host.key}".encode()).hexdigest()[:16]
    return paths.runtime(state) / login
