"""A private PostgreSQL for one test run: its own data directory and a socket that only it uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    programs = _programs()
    # PostgreSQL refuses to run as root, and a socket's path may have at most 107 bytes.
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        home = Path(directory)
        if as_postgres:
            shutil.chown(home, "postgres", "postgres")
        data = home / "data"
        run = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": home}
        subprocess.run(
            [*as_postgres, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            **run,
        )
        options = (
            f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off -c full_page_writes=off "
            "-c synchronous_commit=off -c max_connections=120 -c shared_buffers=64MB"
        )
        control = [*as_postgres, programs / "pg_ctl", "-D", data, "-w", "-l", home / "log"]
        subprocess.run([*control, "-o", options, "start"], **run)
        try:
            yield Cluster(home)
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)
