"""A private PostgreSQL for one test run: its own data directory and a socket that only it uses."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from sqlalchemy import URL


class Cluster:
    """A running server and the databases made on it."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._made = 0

    def url(self, database: str) -> str:
        """The address of one database."""
        return str(URL.create("postgresql", username="postgres", database=database, query={"host": str(self.socket)}))

    def create(self) -> str:
        """Make an empty database and return its name."""
        self._made += 1
        name = f"restaurant_{self._made}"
        with psycopg.connect(host=str(self.socket), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name


class Rows:
    """A database whose rows are kept by name and brought back, many times faster than it is made and filled.

    It is one connection, which knows all tables: to look them up takes most of the time otherwise.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._back: dict[str, bytes] = {}
        self._connection = psycopg.connect(url, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def keep(self, name: str) -> None:
        """Copy every row to a schema of that name."""
        execute = self._connection.execute
        tables = execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchall()
        numbered = execute(
            "SELECT table_name, column_name, pg_get_serial_sequence(quote_ident(table_name), column_name)"
            " FROM information_schema.columns WHERE table_schema = 'public' AND column_default LIKE 'nextval%'"
        ).fetchall()
        execute(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}".encode())
        # As a replica's, these statements fire no trigger and check no foreign key.
        back = ["SET session_replication_role = replica"]
        for (table,) in tables:
            count = execute(f'CREATE TABLE {name}."{table}" AS TABLE "{table}"'.encode()).rowcount
            back.append(f'DELETE FROM "{table}"')
            if count:
                # By name: a migration that is undone and done again leaves columns in another order.
                described = execute(f'TABLE "{table}" LIMIT 0'.encode()).description
                columns = ", ".join(f'"{column.name}"' for column in described or ())
                back.append(f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM {name}."{table}"')
        for table, column, sequence in numbered:
            last = execute(f'SELECT coalesce(max("{column}"), 0) FROM "{table}"'.encode()).fetchone()
            assert last is not None
            back.append(f"SELECT setval('{sequence}', {last[0] + 1}, false)")
        self._back[name] = "; ".join(back).encode()

    def bring_back(self, name: str) -> None:
        """Have only the rows that were kept under that name."""
        self._connection.execute(self._back[name])


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise RuntimeError("these tests need PostgreSQL's server programs: apt-get install postgresql")
    return Path(on_path).parent


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a server without durability (it lives as long as the tests) and stop it at the end."""
    # A socket's path may have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        home = Path(directory)
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        data = home / "data"
        _run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", home=home)
        options = (
            f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off -c full_page_writes=off "
            "-c synchronous_commit=off -c max_connections=120 -c shared_buffers=64MB"
        )
        _run("pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", options, "start", home=home)
        try:
            yield Cluster(home)
        finally:
            _run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop", home=home)


class Pair:
    """A server, and a replica that has every commit before it is acknowledged; both on loopback."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._primary, self._replica = home / "primary", home / "replica"
        self._ports = [_free_port(), _free_port()]

    @property
    def url(self) -> str:
        """The address of the database on either server."""
        hosts = "&".join(f"host=127.0.0.1:{port}" for port in self._ports)
        return f"postgresql://postgres@/postgres?{hosts}"

    def url_of_primary(self) -> str:
        """The address of the database on the server that accepts writes at first."""
        return f"postgresql://postgres@127.0.0.1:{self._ports[0]}/postgres"

    def url_of_replica(self) -> str:
        """The address of the database on the server that can take over."""
        return f"postgresql://postgres@127.0.0.1:{self._ports[1]}/postgres"

    def start(self) -> None:
        """Start both, the replica from a copy of the other one."""
        _run("initdb", "-D", self._primary, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", home=self._home)
        self._serve(self._primary, self._ports[0])
        source = f"host=127.0.0.1 port={self._ports[0]} user=postgres application_name=replica"
        _run("pg_basebackup", "-D", self._replica, "-R", "-X", "stream", "-c", "fast", "-d", source, home=self._home)
        self._serve(self._replica, self._ports[1])
        with psycopg.connect(self.url_of_primary(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (replica)'")
            connection.execute("SELECT pg_reload_conf()")

    def kill_primary(self) -> None:
        """Kill all processes of the first server at once: none can complete what it does."""
        parent = (self._primary / "postmaster.pid").read_text().split()[0]
        children = subprocess.run(["ps", "--ppid", parent, "-o", "pid="], capture_output=True, text=True, check=True)
        for process in [parent, *children.stdout.split()]:
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)

    def promote(self) -> None:
        """Let the replica accept writes."""
        _run("pg_ctl", "-D", self._replica, "-w", "promote", home=self._home)
        with psycopg.connect(self.url_of_replica(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """Stop what runs."""
        for data in (self._primary, self._replica):
            if (data / "postmaster.pid").exists():
                _run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop", home=self._home, check=False)

    def _serve(self, data: Path, port: int) -> None:
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off "
            "-c shared_buffers=16MB -c synchronous_commit=on"
        )
        _run("pg_ctl", "-D", data, "-w", "-l", self._home / "log", "-o", options, "start", home=self._home)


@contextmanager
def pair() -> Iterator[Pair]:
    """A server with a replica, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        home = Path(directory)
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        servers = Pair(home)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


def _run(program: str, *words: str | Path, home: Path, check: bool = True) -> None:
    command: list[Any] = [*_as_postgres(), _programs() / program, *words]
    subprocess.run(command, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=home)
