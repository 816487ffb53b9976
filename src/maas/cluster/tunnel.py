"""An SSH tunnel to a cluster whose API server listens inside the VPN only: one connection to a control-plane host.

The tunnel forwards the API and whatever else is needed (the restaurant's page). It is an ssh master process that
outlives the command, so that kubectl and a browser can use it, and a keeper that starts it again when the host or the
network was away, through another control plane if there is one: the kubeconfig keeps its address. Every command that needs the tunnel starts both when they have ended,
as after a reboot. `maas down` and `maas reset` close it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import signal
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maas import files, paths, process
from maas.cluster import kubeconfig
from maas.cluster.client import Cluster
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KUBECONFIG = "kubeconfig"
"""The kubeconfig that goes through the tunnel, in the state directory. It exists since the API answered for the first time."""

_FILE = "access.json"
_OPEN_SECONDS = 20
_TUNNEL = ("-o", "ExitOnForwardFailure=yes", "-o", "ClearAllForwardings=no", "-o", "ControlPersist=no")
"""Before the options of other connections, as ssh takes the first value of an option."""
_KEEPER = """\
file=$1 socket=$2
rm -f "$file.up"
echo $$ > "$file.new" && mv "$file.new" "$file"
exec >&2
while [ "$(cat "$file" 2>/dev/null)" = $$ ]; do
    while read -r words <&3 && [ "$(cat "$file" 2>/dev/null)" = $$ ]; do
        rm -f "$socket"
        eval "ssh $(cat "$file.forwards") $words" 3<&-
    done 3<"$file.hosts"
    [ -e "$file.up" ] || { rm -f "$file"; exit 1; }
    sleep 1
done
"""
"""Runs ssh again whenever it ends, to one host after the other, until the file with its process ID is gone; but once only
if it never connected."""
_LAUNCH = 'keeper=$1; shift; : "$(setsid sh -c "$keeper" maas-tunnel "$@" &)"'
"""Ends when the keeper has written its process ID: it then leaves the standard output of the substitution."""


@dataclass
class TunnelConfig:
    """How a cluster is reached; a file of its state directory.

    Attributes:
        ssh: The words of an ssh command to the control-plane host, the destination last.
        api: The target of the API server.
        forwards: The local port of each target (`address:port` as the control-plane host reaches it).
        others: The words of the ssh commands to the other control planes, for when that host is away.
        hubs: The words of the ssh command to each hub of the VPN, by its name.
    """

    ssh: list[str]
    api: str
    forwards: dict[str, int] = field(default_factory=dict)
    others: list[list[str]] = field(default_factory=list)
    hubs: dict[str, list[str]] = field(default_factory=dict)


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


def _keep_file(state: Path) -> Path:
    return _socket(state).with_suffix(".keep")


def _write_forwards(state: Path, config: TunnelConfig) -> None:
    words = [f"-L 127.0.0.1:{port}:{target}" for target, port in config.forwards.items()]
    files.write_private(Path(f"{_keep_file(state)}.forwards"), " ".join(words))


def _keeper(state: Path) -> int | None:
    """Return the process ID of the keeper, or None if it does not run."""
    file = _keep_file(state)
    with contextlib.suppress(OSError, ValueError):
        number = int(file.read_text(encoding="ascii"))
        if str(file) in Path(f"/proc/{number}/cmdline").read_text(encoding="utf-8", errors="replace"):
            return number
    return None


def _is_open(state: Path, config: TunnelConfig) -> bool:
    words = ["ssh", "-F", "none", "-S", str(_socket(state)), "-O", "check", config.ssh[-1]]
    return process.run(words, check=False).returncode == 0


def _ensure_open(state: Path, config: TunnelConfig) -> None:
    """Start the keeper with an ssh master process, unless it runs already, and wait until the tunnel is open."""
    if _is_open(state, config):
        return
    with _lock(state):
        _open(state, config)


def _lock(state: Path) -> contextlib.AbstractContextManager[files.Owner]:
    """One command at a time opens or changes the tunnel: the local ports of a second one would be in use."""
    return files.lock(state / "access.lock", command="open the tunnel", on_wait=lambda _: None, inherit=False)


def _open(state: Path, config: TunnelConfig) -> None:
    log = state / "access.log"
    if not _is_open(state, config) and _keeper(state) is None:
        file = _keep_file(state)
        _write_forwards(state, config)
        connected = ["-o", "PermitLocalCommand=yes", "-o", f"LocalCommand=touch '{file}.up'"]
        options = ["-S", str(_socket(state)), "-M", "-N", *connected, *_TUNNEL]
        hosts = [shlex.join([*options, *words[1:]]) + "\n" for words in (config.ssh, *config.others)]
        files.write_private(Path(f"{file}.hosts"), "".join(hosts))
        words = ["sh", "-c", _LAUNCH, "maas-tunnel", _KEEPER, str(file), str(_socket(state))]
        process.start(words, log=log).wait()
    deadline = time.monotonic() + _OPEN_SECONDS * (1 + len(config.others))
    while not _is_open(state, config):
        if time.monotonic() > deadline or _keeper(state) is None:
            tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
            raise ClusterError(
                "cannot reach the control-plane host over SSH, so the cluster's API is unavailable",
                context=tail,
                hint="check that the host is up and that its SSH host key is the pinned one",
                code="TunnelFailed",
            )
        time.sleep(0.05)


def ssh(state: Path) -> list[str]:
    """Return the words of an ssh command to the control-plane host, the destination last.

    Raises:
        ClusterError: The host cannot be reached.
    """
    config = _load(state)
    _ensure_open(state, config)
    return ["ssh", "-S", str(_socket(state)), *config.ssh[1:]]


def others(state: Path) -> list[list[str]]:
    """Return the words of an ssh command to each other control plane, the destination last. They do not use the tunnel."""
    return _load(state).others


def hubs(state: Path) -> dict[str, list[str]]:
    """Return the words of an ssh command to each hub of the VPN, by its name. They do not use the tunnel."""
    config = _load(state)
    # That of version 0.1 is the control plane.
    return config.hubs or {config.ssh[-1]: config.ssh}


def forward(state: Path, target: str) -> int:
    """Return the local port on 127.0.0.1 that is forwarded to a target behind the control-plane host.

    Args:
        state: The cluster's state directory.
        target: `address:port` as the control-plane host reaches it.

    Raises:
        ClusterError: The host cannot be reached.
    """
    with _lock(state):
        config = _load(state)
        _open(state, config)
        if target not in config.forwards:
            port = _free_port()
            control = ["ssh", "-F", "none", "-S", str(_socket(state)), "-O", "forward"]
            process.run([*control, "-L", f"127.0.0.1:{port}:{target}", config.ssh[-1]])
            config.forwards[target] = port
            _save(state, config)
            _write_forwards(state, config)
        return config.forwards[target]


def open_tunnel(
    state: Path,
    *,
    ssh: Sequence[str],
    others: Sequence[Sequence[str]] = (),
    hubs: Mapping[str, Sequence[str]],
    api: str,
    admin: str,
) -> Cluster:
    """Open the tunnel to a cluster, and save how it is reached and the kubeconfig that goes through the tunnel.

    Args:
        state: The cluster's state directory.
        ssh: The words of an ssh command to the control-plane host, the destination last.
        others: Those to the other control planes.
        hubs: Those to the hubs of the VPN.
        api: `address:port` of the API server inside the VPN.
        admin: The administrator's kubeconfig as kubeadm wrote it.

    Raises:
        ClusterError: The host cannot be reached.
    """
    config = _load(state) if (state / _FILE).exists() else None
    rest, servers = [list(words) for words in others], {name: list(words) for name, words in hubs.items()}
    if config is None or (config.ssh, config.others, config.api) != (list(ssh), rest, api):
        if config is not None:
            close(state)
        config = TunnelConfig(ssh=list(ssh), others=rest, hubs=servers, api=api, forwards={api: _free_port()})
        _save(state, config)
    elif config.hubs != servers:
        config.hubs = servers
        _save(state, config)
    return renew_kubeconfig(state, admin)


def renew_kubeconfig(state: Path, admin: str) -> Cluster:
    """Replace the kubeconfig that goes through the tunnel.

    Args:
        state: The cluster's state directory.
        admin: The administrator's kubeconfig as kubeadm wrote it.

    Raises:
        ClusterError: The host cannot be reached.
    """
    config = _load(state)
    _ensure_open(state, config)
    file = state / KUBECONFIG
    kubeconfig.write(file, kubeconfig.through_tunnel(admin, port=config.forwards[config.api], api=config.api))
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
    return reopen(state_dir(name))


def reopen(state: Path) -> Cluster:
    """Return a cluster by its state directory, with the tunnel to it open.

    Raises:
        ClusterError: Its control-plane host cannot be reached.
    """
    _ensure_open(state, _load(state))
    return Cluster(state / KUBECONFIG)


def close(state: Path) -> None:
    """Close the tunnel; one that is closed already is left alone."""
    number = _keeper(state)
    if number is not None:
        with contextlib.suppress(OSError):
            os.killpg(number, signal.SIGTERM)
    for path in _keep_file(state).parent.glob(f"{_keep_file(state).name}*"):
        path.unlink(missing_ok=True)
    _socket(state).unlink(missing_ok=True)


def run(program: str, name: str, arguments: Sequence[str]) -> int:
    """Run the pinned kubectl or k9s on a cluster, in the foreground, and return its exit status."""
    from maas.bundle import tools  # only these commands need it

    cluster = connect(name)
    return process.foreground([tools.tool(program), *arguments], env={"KUBECONFIG": str(cluster.kubeconfig)})
