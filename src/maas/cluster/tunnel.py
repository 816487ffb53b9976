"""The way from this machine to a cluster whose API server listens inside the VPN only: one ssh connection to its hub.

The connection carries the API and whatever else is forwarded (the restaurant's page). It is an ssh master process that
outlives the command, so that kubectl and a browser can use it; every command that needs it opens it again when it has
gone. `maas down` and `maas reset` close it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from maas import files, paths, process
from maas.cluster.client import Cluster
from maas.errors import ClusterError, ProcessError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FILE = "access.json"
_OPEN_SECONDS = 20
AS_ROOT = '$(test "$(id -u)" = 0 || echo sudo -n)'
"""Goes before a command on a host, in its shell: the user of the inventory need not be root."""
_ALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ExitOnForwardFailure=yes")


class Access(BaseModel):
    """How a cluster is reached; a file of its state directory.

    Attributes:
        ssh: The words of an ssh command to the hub's host, the destination last.
        forwards: Targets (`address:port` as the hub's host reaches them) and the local port that leads to each.
        api: The target of the API server.
    """

    ssh: tuple[str, ...]
    api: str
    forwards: dict[str, int] = {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _socket(state: Path) -> Path:
    # The path of a Unix socket has at most 104 bytes; that of a state directory can be longer.
    return paths.runtime("tunnels") / f"{hashlib.sha256(str(state).encode()).hexdigest()[:16]}.access"


def _load(state: Path) -> Access:
    return Access.model_validate_json((state / _FILE).read_text(encoding="utf-8"))


def _save(state: Path, access: Access) -> None:
    files.write_private(state / _FILE, access.model_dump_json(indent=1).encode())


def _lead(state: Path, access: Access) -> None:
    """Make the ssh master process run and forward everything that the file names."""
    control = ["ssh", "-S", str(_socket(state))]
    if process.run([*control, "-O", "check", access.ssh[-1]], check=False).returncode == 0:
        return
    _socket(state).unlink(missing_ok=True)
    options, destination = access.ssh[1:-1], access.ssh[-1]
    local = [word for target, port in access.forwards.items() for word in ("-L", f"127.0.0.1:{port}:{target}")]
    log = state / "access.log"
    # -f: it returns when the connection stands and every port is forwarded, and goes on in the background.
    words = [*control, "-M", "-N", "-f", *_ALIVE, "-o", "ControlPersist=no", *options, *local, destination]
    started = process.start(words, log=log)
    try:
        status = started.wait(timeout=_OPEN_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()
        status = None
    if status != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
        raise ClusterError(
            "the host of the hub cannot be reached by ssh, so the cluster cannot be either",
            context=tail,
            hint="is the host up, and its ssh host key the pinned one?",
        )


def ssh(state: Path) -> list[str]:
    """The words of an ssh command to the hub's host, the destination last.

    Raises:
        ClusterError: The hub's host cannot be reached.
    """
    access = _load(state)
    _lead(state, access)
    return ["ssh", "-S", str(_socket(state)), *access.ssh[1:]]


def forward(state: Path, target: str) -> int:
    """The local port on 127.0.0.1 that leads to a target behind the hub.

    Args:
        state: The cluster's state directory.
        target: `address:port` as the hub's host reaches it.

    Raises:
        ClusterError: The hub's host cannot be reached.
    """
    access = _load(state)
    _lead(state, access)
    if target in access.forwards:
        return access.forwards[target]
    port = _free_port()
    control = ["ssh", "-S", str(_socket(state)), "-O", "forward"]
    process.run([*control, "-L", f"127.0.0.1:{port}:{target}", access.ssh[-1]])
    access.forwards[target] = port
    _save(state, access)
    return port


def establish(state: Path, *, ssh: Sequence[str], api: str, admin: str) -> Cluster:
    """Remember how a cluster is reached, connect, and write the kubeconfig that leads through the connection.

    Args:
        state: The cluster's state directory.
        ssh: The words of an ssh command to the hub's host, the destination last.
        api: `address:port` of the API server inside the VPN.
        admin: The kubeconfig that kubeadm made for the administrator.
    """
    known = _load(state) if (state / _FILE).exists() else None
    if known is None or known.ssh != tuple(ssh) or known.api != api:
        if known is not None:
            close(state)
        known = Access(ssh=tuple(ssh), api=api, forwards={api: _free_port()})
        _save(state, known)
    _lead(state, known)
    config: dict[str, Any] = YAML(typ="safe").load(admin)
    entry = config["clusters"][0]["cluster"]
    # The certificate of the API server is checked for its address in the VPN, wherever the connection ends here.
    entry |= {"server": f"https://127.0.0.1:{known.forwards[api]}", "tls-server-name": api.rsplit(":", 1)[0]}
    file = state / "kubeconfig"
    text = io.BytesIO()
    YAML().dump(config, text)
    files.write_private(file, text.getvalue())
    return Cluster(file)


def state_of(name: str) -> Path:
    """The state directory of a cluster that exists.

    Raises:
        UsageError: There is none of that name; the names that there are follow.
    """
    if (paths.states() / name / _FILE).exists():
        return paths.state(name)
    there = sorted(path.parent.name for path in paths.states().glob(f"*/{_FILE}"))
    raise UsageError(
        f"there is no cluster {name} on this machine",
        hint=f"there is {', '.join(there)}; choose with --name" if there else f"make one: {paths.command('up')}",
    )


def connect(name: str) -> Cluster:
    """The cluster of a name, with the connection to it open.

    Raises:
        UsageError: There is none of that name.
        ClusterError: Its hub cannot be reached.
    """
    state = state_of(name)
    _lead(state, _load(state))
    return Cluster(state / "kubeconfig")


def close(state: Path) -> None:
    """Close the connection; a closed one is left alone."""
    if (state / _FILE).exists():
        words = ["ssh", "-S", str(_socket(state)), "-O", "exit", _load(state).ssh[-1]]
        with contextlib.suppress(ProcessError):
            process.run(words, check=True)
        _socket(state).unlink(missing_ok=True)


def kubectl(name: str, arguments: Sequence[str]) -> int:
    """Run the pinned kubectl on a cluster, in the foreground, and give its exit status."""
    from maas.bundle import tools  # noqa: PLC0415 - only this command needs it

    cluster = connect(name)
    return process.foreground([tools.tool("kubectl"), *arguments], env={"KUBECONFIG": str(cluster.kubeconfig)})
