"""An SSH tunnel to a cluster whose API server listens inside the VPN only: one connection to its control-plane host.

The tunnel forwards the API and whatever else is needed (the restaurant's page). It is an ssh master process that
outlives the command, so that kubectl and a browser can use it; every command that needs it opens it again when it has
ended. `maas down` and `maas reset` close it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from maas import files, paths, process
from maas.cluster import kubeconfig
from maas.cluster.client import Cluster
from maas.errors import ClusterError, ProcessError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FILE = "access.json"
_OPEN_SECONDS = 20
AS_ROOT = '$(test "$(id -u)" = 0 || echo sudo -n)'
"""A prefix for commands in a host's shell: the user of the inventory need not be root."""
_ALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ExitOnForwardFailure=yes")


@dataclass
class TunnelConfig:
    """How a cluster is reached; a file of its state directory.

    Attributes:
        ssh: The words of an ssh command to the control-plane host, the destination last.
        api: The target of the API server.
        forwards: The local port of each target (`address:port` as the control-plane host reaches it).
    """

    ssh: list[str]
    api: str
    forwards: dict[str, int] = field(default_factory=dict)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _socket(state: Path) -> Path:
    # The path of a Unix socket has at most 104 bytes; that of a state directory can be longer.
    return paths.runtime("tunnels") / f"{hashlib.sha256(str(state).encode()).hexdigest()[:16]}.access"


def _load(state: Path) -> TunnelConfig:
    return TunnelConfig(**json.loads((state / _FILE).read_text(encoding="utf-8")))


def _save(state: Path, config: TunnelConfig) -> None:
    files.write_private(state / _FILE, json.dumps(asdict(config), indent=1).encode())


def _ensure_open(state: Path, config: TunnelConfig) -> None:
    """Start the ssh master process with all its forwards, unless it runs already."""
    control = ["ssh", "-S", str(_socket(state))]
    if process.run([*control, "-O", "check", config.ssh[-1]], check=False).returncode == 0:
        return
    _socket(state).unlink(missing_ok=True)
    forwards: list[str] = []
    for target, port in config.forwards.items():
        forwards += ["-L", f"127.0.0.1:{port}:{target}"]
    options, destination = config.ssh[1:-1], config.ssh[-1]
    log = state / "access.log"
    # -f: ssh returns when the connection is established and every port is forwarded, and continues in the background.
    words = [*control, "-M", "-N", "-f", *_ALIVE, "-o", "ControlPersist=no", *options, *forwards, destination]
    started = process.start(words, log=log)
    try:
        status = started.wait(timeout=_OPEN_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()
        status = None
    if status != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
        raise ClusterError(
            "cannot reach the control-plane host over SSH, so the cluster's API is unavailable",
            context=tail,
            hint="check that the host is up and that its SSH host key is the pinned one",
            code="TunnelFailed",
        )


def ssh(state: Path) -> list[str]:
    """Return the words of an ssh command to the control-plane host, the destination last.

    Raises:
        ClusterError: The host cannot be reached.
    """
    config = _load(state)
    _ensure_open(state, config)
    return ["ssh", "-S", str(_socket(state)), *config.ssh[1:]]


def forward(state: Path, target: str) -> int:
    """Return the local port on 127.0.0.1 that is forwarded to a target behind the control-plane host.

    Args:
        state: The cluster's state directory.
        target: `address:port` as the control-plane host reaches it.

    Raises:
        ClusterError: The host cannot be reached.
    """
    config = _load(state)
    _ensure_open(state, config)
    if target in config.forwards:
        return config.forwards[target]
    port = _free_port()
    control = ["ssh", "-S", str(_socket(state)), "-O", "forward"]
    process.run([*control, "-L", f"127.0.0.1:{port}:{target}", config.ssh[-1]])
    config.forwards[target] = port
    _save(state, config)
    return port


def open_tunnel(state: Path, *, ssh: Sequence[str], api: str, admin: str) -> Cluster:
    """Open the tunnel to a cluster, and save how it is reached and the kubeconfig that goes through the tunnel.

    Args:
        state: The cluster's state directory.
        ssh: The words of an ssh command to the control-plane host, the destination last.
        api: `address:port` of the API server inside the VPN.
        admin: The administrator's kubeconfig as kubeadm wrote it.

    Raises:
        ClusterError: The host cannot be reached.
    """
    config = _load(state) if (state / _FILE).exists() else None
    if config is None or config.ssh != list(ssh) or config.api != api:
        if config is not None:
            close(state)
        config = TunnelConfig(ssh=list(ssh), api=api, forwards={api: _free_port()})
        _save(state, config)
    _ensure_open(state, config)
    file = state / "kubeconfig"
    kubeconfig.write(file, kubeconfig.through_tunnel(admin, port=config.forwards[api], api=api))
    return Cluster(file)


def state_dir(name: str) -> Path:
    """Return the state directory of a cluster that exists.

    Raises:
        UsageError: There is no cluster of that name; the hint lists the clusters that there are.
    """
    if (paths.states() / name / _FILE).exists():
        return paths.state(name)
    known = sorted(path.parent.name for path in paths.states().glob(f"*/{_FILE}"))
    raise UsageError(
        f'no cluster "{name}" on this machine',
        hint=f"choose one of {', '.join(known)} with --name" if known else "create a lab cluster first",
        command=None if known else paths.command("up"),
        code="ClusterNotFound",
    )


def connect(name: str) -> Cluster:
    """Return a cluster by its name, with the tunnel to it open.

    Raises:
        UsageError: There is no cluster of that name.
        ClusterError: Its control-plane host cannot be reached.
    """
    state = state_dir(name)
    _ensure_open(state, _load(state))
    return Cluster(state / "kubeconfig")


def close(state: Path) -> None:
    """Close the tunnel; one that is closed already is left alone."""
    if (state / _FILE).exists():
        words = ["ssh", "-S", str(_socket(state)), "-O", "exit", _load(state).ssh[-1]]
        with contextlib.suppress(ProcessError):
            process.run(words, check=True)
        _socket(state).unlink(missing_ok=True)


def kubectl(name: str, arguments: Sequence[str]) -> int:
    """Run the pinned kubectl on a cluster, in the foreground, and return its exit status."""
    from maas.bundle import tools  # only this command needs it

    cluster = connect(name)
    return process.foreground([tools.tool("kubectl"), *arguments], env={"KUBECONFIG": str(cluster.kubeconfig)})
