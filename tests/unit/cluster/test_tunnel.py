"""The tunnel to the API server, with a real SSH server on loopback. The API is the server itself, which says who it is."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support import sshd

from maas import process
from maas.cluster import tunnel
from maas.cluster.tunnel import _keeper, _save, _socket
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Access:
    """A tunnel to an SSH server."""

    def __init__(self, state: Path, server: sshd.Server, key: Path) -> None:
        self.state = state
        self.server = server
        self.key = key
        self.config = tunnel.TunnelConfig(
            ssh=[
                *("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"),
                *("-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=15", "-o", "PermitLocalCommand=no"),
                *("-i", str(key), "-p", str(server.port), "-l", sshd.USER, "127.0.0.1"),
            ],
            api=f"127.0.0.1:{server.port}",
        )
        _save(state, self.config)

    def master(self) -> int:
        """The process ID of the ssh master."""
        words = ["ssh", "-F", "none", "-S", str(_socket(self.state)), "-O", "check", "x"]
        said = process.run(words).stderr
        return int(said.partition("pid=")[2].partition(")")[0])

    def works(self, port: int, *, seconds: float = 0) -> bool:
        """Whether the local port reaches the API within some seconds, without a command of the tool."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                if connection.recv(7) == b"SSH-2.0":
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Access]:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        state = tmp_path / "state"
        state.mkdir()
        key = sshd.keygen(tmp_path / "id")
        with sshd.running(sshd.Server(tmp_path / "host", authorized=key)) as server:
            one = Access(state, server, key)
            yield one
            tunnel.close(state)


def test_access_heals_by_itself_with_the_same_ports(access: Access) -> None:
    first = tunnel.forward(access.state, access.config.api)
    second = tunnel.forward(access.state, f"localhost:{access.server.port}")
    assert access.works(first)
    access.server.stop()
    os.kill(access.master(), signal.SIGKILL)
    assert not access.works(first)
    time.sleep(2)  # the host is away
    access.server.start()
    assert access.works(first, seconds=30)
    assert access.works(second)
    assert tunnel.forward(access.state, access.config.api) == first


def test_access_goes_through_another_control_plane_while_one_is_away(access: Access, tmp_path: Path) -> None:
    with sshd.running(sshd.Server(tmp_path / "other", authorized=access.key)) as other:
        second = [*access.config.ssh]
        second[second.index("-p") + 1] = str(other.port)
        # The API itself stays, whichever host the connection goes through.
        config = tunnel.TunnelConfig(ssh=access.config.ssh, others=[second], api=f"127.0.0.1:{other.port}")
        _save(access.state, config)
        port = tunnel.forward(access.state, config.api)
        assert access.works(port)
        access.server.stop()
        os.kill(access.master(), signal.SIGKILL)
        assert access.works(port, seconds=30)
        # A command that starts while the first host is away finds the other one, too.
        tunnel.close(access.state)
        assert access.works(tunnel.forward(access.state, config.api))


def test_a_closed_tunnel_stays_closed(access: Access) -> None:
    port = tunnel.forward(access.state, access.config.api)
    tunnel.close(access.state)
    time.sleep(2)
    assert not access.works(port)
    assert _keeper(access.state) is None
    assert list(_socket(access.state).parent.iterdir()) == []


def test_commands_that_start_together_share_one_tunnel(access: Access) -> None:
    for _ in range(3):
        tunnel.close(access.state)
        with ThreadPoolExecutor(4) as aside:
            ports = set(aside.map(lambda _: tunnel.forward(access.state, access.config.api), range(4)))
        assert len(ports) == 1
        assert access.works(ports.pop())


def test_a_host_that_is_away_is_an_error_and_leaves_no_keeper(access: Access) -> None:
    access.server.stop()
    with pytest.raises(ClusterError) as caught:
        tunnel.forward(access.state, access.config.api)
    assert caught.value.code == "TunnelFailed"
    assert "Connection refused" in caught.value.context[-1]
    assert _keeper(access.state) is None
