"""The replicated database of the restaurant's chart with real servers: from one server to three, and when one is lost."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from tests.support import patroni_servers
from tests.support.control_plane import control_plane
from tests.support.patroni_servers import PASSWORDS, PROGRAMS, Server, address, members, wait

from maas.cluster.client import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.charts import Rendered

pytestmark = pytest.mark.timeout(3600)
REPLICATED = {"database__postgresql__replicas": "3"}


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def servers(home: Path, tmp_path: Path, rendered: Rendered) -> Iterator[list[Server]]:
    with control_plane(tmp_path) as kubeconfig:
        cluster = Cluster(kubeconfig)
        with patroni_servers.servers(home, cluster, rendered("restaurant", **REPLICATED)) as made:
            yield made
        cluster.client.rest_client.pool_manager.clear()


class Writer:
    """A client that writes numbers, each again until it is acknowledged, as the application does with its keys."""

    def __init__(self, servers: list[Server]) -> None:
        self.acknowledged: list[int] = []
        self.gap = 0.0
        self._address = address(servers)
        self._server = servers[0]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join(180)

    def _write(self) -> None:
        last = time.monotonic()
        number = 0
        while not self._stopped.is_set():
            number += 1
            words = f"INSERT INTO written VALUES ({number}) ON CONFLICT DO NOTHING"  # noqa: S608 - a number
            while self._server.run(
                "timeout", "10", "psql", "-X", "-q", "-d", self._address, "-c", words, check=False,
                PGPASSWORD=PASSWORDS["password"],
            ).returncode:  # fmt: skip
                if self._stopped.is_set():
                    return
                time.sleep(0.2)
            self.acknowledged.append(number)
            self.gap, last = max(self.gap, time.monotonic() - last), time.monotonic()
            time.sleep(0.02)


def query(servers: list[Server], sql: str) -> list[str]:
    words = ("psql", "-X", "-A", "-t", "-d", address(servers, seconds=30), "-c", sql)
    return servers[0].run(*words, PGPASSWORD=PASSWORDS["password"]).stdout.split()


def streaming(servers: list[Server], asked: Server) -> bool:
    found = members(asked)
    states = [member["state"] for member in found.values()]
    roles = [member["role"] for member in found.values()]
    return len(found) == len(servers) and roles.count("quorum_standby") == 2 and states.count("streaming") == 2


def a_single_server(server: Server, rendered: Rendered) -> None:
    """Make the database of a release with one server, whose node then loses its power."""
    objects = rendered("restaurant", database__postgresql__replicas="1")
    (files,) = [e["data"] for e in objects if e["kind"] == "ConfigMap" and e["metadata"]["name"].endswith("-database")]
    single = server.home / "files"
    for name, text in files.items():
        adapted = server.adapt(text).replace("listen_addresses = '*'", "listen_addresses = '127.0.0.1'")
        (single / name).write_text(adapted.replace("port = 5432", f"port = {server.port}"))
    server.run("sh", single / "initialize.sh")
    server.start(PROGRAMS / "postgres", "-c", f"config_file={single}/postgresql.conf")
    wait(
        "the single server",
        lambda: server.run("pg_isready", "-q", "-h", server.home / "run", check=False).returncode == 0,
    )
    query([server], "CREATE TABLE written (number integer PRIMARY KEY)")
    query([server], "INSERT INTO written SELECT -number FROM generate_series(1, 1000) AS number")
    server.kill()


def report(what: str, seconds: float) -> None:
    """Show a figure with `--log-cli-level=INFO`. It is not judged: the processors are shared."""
    logging.getLogger(__name__).info("%s: %.1f s", what, seconds)


def test_one_server_becomes_three_and_no_acknowledged_write_is_lost(servers: list[Server], rendered: Rendered) -> None:
    first, second, third = servers
    a_single_server(first, rendered)

    # A StatefulSet creates the new pods first. They must not make an empty database of their own.
    for server in (second, third):
        server.start()
    wait("the new pods to be ready", lambda: second.is_ready() and third.is_ready())
    time.sleep(8)
    assert not [
        server.name for server in (second, third) if (server.home / "volume" / "pgdata" / "PG_VERSION").exists()
    ]

    first.start()
    report("three servers", wait("all servers to stream", lambda: streaming(servers, first), seconds=600))
    assert members(first)[first.name]["role"] == "leader"
    wait("all servers to be ready", lambda: all(server.is_ready() for server in servers))
    assert query(servers, "SELECT count(*) FROM written") == ["1000"]

    with Writer(servers) as writer:
        wait("writes", lambda: len(writer.acknowledged) > 10)
        first.kill()
        rest = [second, third]
        wait(
            "another primary",
            lambda: any(one["role"] == "leader" for name, one in members(second).items() if name != first.name),
        )
        before = len(writer.acknowledged)
        wait("writes to the new primary", lambda: len(writer.acknowledged) > before + 10)
    report("write gap when the primary is killed", writer.gap)
    found = {int(number) for number in query(rest, "SELECT number FROM written WHERE number > 0")}
    assert set(writer.acknowledged) <= found
    assert query(rest, "SELECT count(*) FROM written WHERE number < 0") == ["1000"]

    first.start()
    wait("the former primary to follow", lambda: streaming(servers, second), seconds=600)

    # As `maas database switchover` does.
    now = members(second)
    leader = next(name for name, one in now.items() if one["role"] == "leader")
    by_name = {server.name: server for server in servers}
    scope = leader.rpartition("-")[0]
    words = ("switchover", scope, "--leader", leader, "--candidate", first.name, "--force")
    by_name[leader].run("patronictl", "-c", by_name[leader].home / "tmp" / "patroni", *words)
    wait("the switchover", lambda: members(second).get(first.name, {}).get("role") == "leader")
    wait("all servers to follow", lambda: streaming(servers, first), seconds=600)

    # The pod of the primary is deleted: it hands over before it ends.
    with Writer(servers) as writer:
        wait("writes", lambda: len(writer.acknowledged) > 5)
        first.stop()
        before = len(writer.acknowledged)
        wait("writes to the next primary", lambda: len(writer.acknowledged) > before + 5)

    report("write gap when the primary ends in order", writer.gap)

    # A volume of the set is not run alone: another server may have newer data.
    refused = first.run("sh", first.home / "files" / "initialize.sh", check=False)
    assert refused.returncode == 1
    assert "replicas to 3" in refused.stderr
