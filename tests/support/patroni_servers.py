"""The servers of the chart's replicated database as processes on loopback: Patroni with a real API server, and PostgreSQL.

They run with the files, the roles and the users of the chart; only addresses and paths are other ones. There is no pod network,
and what the kubelet does, such as starting a server again, is done by the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.control_plane import free_port

from maas import components, paths
from maas.bundle import wheels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from maas.cluster.client import Cluster

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
PASSWORDS = {"password": "it's a password", "replication-password": "another 'password'"}
DATABASE, USER = "restaurant", "restaurant"
_PATHS = {
    "/etc/restaurant-database": "files",
    "/run/secrets/restaurant-database": "secrets",
    "/var/lib/postgresql/data": "volume",
    "/var/run/postgresql": "run",
    "/tmp": "tmp",  # noqa: S108 - the directory in the container
}


class Server:
    """One server: its directories and its process."""

    def __init__(self, home: Path, name: str, files: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.home = home / name
        self.port, self.api = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for directory in _PATHS.values():
            (self.home / directory).mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (self.home / "files" / file).write_text(self.adapt(text))
        for key, password in PASSWORDS.items():
            (self.home / "secrets" / key).write_text(password + "\n")
        self.environment = {
            **environment,
            "PGDATA": f"{self.home}/volume/pgdata",
            "DATABASE_NAME": DATABASE,
            "DATABASE_USER": USER,
            # Clients inside the container connect to the default port.
            "PGPORT": str(self.port),
            "PATRONI_NAME": name,
            "PATRONI_KUBERNETES_POD_IP": "127.0.0.1",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"127.0.0.1:{self.port}",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"127.0.0.1:{self.api}",
        }
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "postgres:postgres", self.home], check=True)

    def adapt(self, text: str) -> str:
        """Return a file of the chart with this server's own paths and addresses."""
        text = re.sub("|".join(_PATHS), lambda found: f"{self.home}/{_PATHS[found[0]]}", text)
        text = text.replace("0.0.0.0:5432", f"127.0.0.1:{self.port}").replace("0.0.0.0:8008", f"127.0.0.1:{self.api}")
        text = text.replace("127.0.0.1:8008", f"127.0.0.1:{self.api}")
        # The API server of a test listens on loopback only, and publishes no address.
        text = text.replace("bypass_api_service: true", "bypass_api_service: false")
        return text if os.geteuid() == 0 else text.replace("local all postgres peer", "local all postgres trust")

    def run(self, *words: str | Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the container would."""
        environment = {**self.environment, **extra}
        words = (*_as_postgres(), *words)
        done = subprocess.run(
            words, env=environment, cwd=self.home, capture_output=True, text=True, timeout=600, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self, *words: str | Path) -> None:
        """Start the server: Patroni, unless it is another program."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_postgres(), *(words or ("sh", self.home / "files" / "start.sh"))],
                env=self.environment, cwd=self.home, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """Kill the server with all that it has started, as the loss of its node does."""
        if self._process is None:
            return
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End the server in order, as the deletion of its pod does."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=60)
        self._process = None

    def is_ready(self) -> bool:
        """Whether the readiness probe of the chart succeeds."""
        return self.run("sh", self.home / "files" / "ready.sh", check=False).returncode == 0

    def log(self) -> str:
        """Return the end of its log."""
        return (self.home / "log").read_text(errors="replace")[-6000:]

    def _processes(self) -> list[int]:
        """The processes with this server's data directory in their environment: each may have a session of its own."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"PGDATA={self.environment['PGDATA']}\0".encode() in (directory / "environ").read_bytes():
                    found.append(int(directory.name))
        return found


def members(server: Server) -> dict[str, dict[str, Any]]:
    """Return what Patroni of a server says about all servers, by name; nothing while it does not answer."""
    done = server.run("wget", "-q", "-T", "3", "-O", "-", f"http://127.0.0.1:{server.api}/cluster", check=False)
    return {member["name"]: member for member in json.loads(done.stdout)["members"]} if done.returncode == 0 else {}


def address(servers: Sequence[Server], *, seconds: int = 2) -> str:
    """Return where clients connect to, as the chart tells the application, and how long they wait for each server."""
    hosts, ports = ",".join("127.0.0.1" for _ in servers), ",".join(str(server.port) for server in servers)
    return f"host={hosts} port={ports} dbname={DATABASE} user={USER} target_session_attrs=read-write connect_timeout={seconds}"


def wait(what: str, condition: Any, *, seconds: float = 300) -> float:
    """Wait until a condition is true, and return for how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"timed out after {seconds:.0f} s waiting for {what}"
        time.sleep(0.2)
    return time.monotonic() - began


@contextlib.contextmanager
def servers(home: Path, cluster: Cluster, objects: Sequence[Mapping[str, Any]]) -> Iterator[list[Server]]:
    """Yield the servers of a rendered chart, which do not run yet.

    Args:
        home: A directory that PostgreSQL's user can enter.
        cluster: The API server.
        objects: The rendered objects: those that Patroni needs are created.
    """
    found = {(entry["kind"], entry["metadata"]["name"]): entry for entry in objects}
    statefulset = next(entry for (kind, _), entry in found.items() if kind == "StatefulSet")
    namespace, name = statefulset["metadata"]["namespace"], statefulset["metadata"]["name"]
    _create(cluster, namespace, name, objects, statefulset)
    kubeconfig = _kubeconfig(home, cluster, namespace, name)
    environment = {**_python(home), "KUBECONFIG": str(kubeconfig), "LANG": "C.UTF-8"}
    files = found["ConfigMap", name]["data"]
    made = [Server(home, f"{name}-{number}", files, environment) for number in range(statefulset["spec"]["replicas"])]
    try:
        yield made
    finally:
        for server in made:
            server.kill()


def _create(
    cluster: Cluster, namespace: str, name: str, objects: Sequence[Mapping[str, Any]], statefulset: Mapping[str, Any]
) -> None:
    from kubernetes import utils  # noqa: PLC0415 - see maas.cluster

    cluster.core.create_namespace({"metadata": {"name": namespace}})
    for entry in objects:
        if entry["kind"] in {"ServiceAccount", "Role", "RoleBinding"} and name in entry["metadata"]["name"]:
            utils.create_from_dict(cluster.client, dict(entry))
    template = statefulset["spec"]["template"]
    for number in range(statefulset["spec"]["replicas"]):
        pod = {
            "metadata": {"name": f"{name}-{number}", "labels": template["metadata"]["labels"]},
            "spec": {"containers": [{"name": "postgresql", "image": "none"}]},
        }
        cluster.core.create_namespaced_pod(namespace, pod)


def _kubeconfig(home: Path, cluster: Cluster, namespace: str, name: str) -> Path:
    """Write a kubeconfig of the servers' ServiceAccount, so that its roles are what is tested."""
    asked = {"spec": {"expirationSeconds": 3600}}
    token = cluster.core.create_namespaced_service_account_token(name, namespace, asked).status.token
    config = json.loads(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["name"] = "kind-kind"  # Patroni's default outside of a cluster
    file = home / "kubeconfig"
    file.write_text(json.dumps(config))
    file.chmod(0o644)
    return file


def _python(home: Path) -> dict[str, str]:
    """Unpack Patroni's wheels as in its image, and return the environment that finds them."""
    component, _ = components.load().find("postgresql-patroni")
    directory = home / "patroni"
    for entry in wheels.read(paths.content() / "hack" / "build" / component.name / "requirements.txt", str(directory)):
        file = Path(entry.path)
        file.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(entry.content, bytes)
        file.write_bytes(entry.content)
        file.chmod(entry.mode)
    # The wheels are for the Python of the image.
    python = shutil.which(f"python{wheels.PYTHON}", path="/usr/bin:/usr/local/bin") or sys.executable
    programs = home / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(python)
    scripts = directory / "bin"
    for script in scripts.iterdir():
        script.write_text(script.read_text().replace("#!/usr/bin/python3", f"#!{python}"))
    return {"PATH": f"{scripts}:{programs}:{PROGRAMS}:/usr/bin:/bin", "PYTHONPATH": str(directory)}


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
