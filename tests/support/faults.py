"""A lab with three control planes, on which faults are caused and measured."""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import fault_traffic

from maas.hosts.network_plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.labs import Lab

PLANES = ("master", "master2", "master3")
WORKERS = ("node1", "node2")

CREDENTIALS = "/run/fault"
PROGRAM = "/run/fault/traffic.py"
SECONDS = 40
"""How long a fault is measured, at least."""
TARGETS = {"packets": 1.5, "reads": 3.0, "writes": 10.0}
"""Seconds without a packet between two workers, a read and a write that the end of one host may cost."""
SLACK = 3
"""How many times its target a figure may be before a test fails: the processors are shared with all hosts and with others."""
WHOLE = 600.0
"""Seconds until everything must be as before."""
HEADER = """\
| fault | packets | API reads | API writes | writes lost | whole again |
|---|---|---|---|---|---|"""

_LEADER = re.compile(r'"ts":"([^"]+)".*((?:elected|lost|changed) leader)')


@dataclass
class Row:
    """What a fault cost: seconds without a packet, a read and a write, and until everything was as before.

    Attributes:
        began: When the fault began, in seconds since 1970.
        notes: What missed a target or failed.
    """

    fault: str
    packets: float | None = None
    reads: float | None = None
    writes: float | None = None
    whole: float | None = None
    lost: int = 0
    began: float = field(default_factory=time.time)
    notes: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Note each figure that misses its target, and fail if writes were lost or a figure misses it by far."""
        found = {name: seconds for name in TARGETS if (seconds := getattr(self, name)) is not None}
        self.notes += [
            f"{name} took {seconds:.1f} s, the target is {TARGETS[name]} s"
            for name, seconds in found.items()
            if seconds > TARGETS[name]
        ]
        assert self.lost == 0, f"{self.lost} acknowledged writes are lost"
        far = [name for name, seconds in found.items() if seconds > SLACK * TARGETS[name]]
        assert not far, f"more than {SLACK} times the target: {', '.join(far)}"

    def __str__(self) -> str:
        shown = ("" if seconds is None else f"{seconds:.1f}" for seconds in (self.packets, self.reads, self.writes))
        return f"| {self.fault} | {' | '.join(shown)} | {self.lost} | {'' if self.whole is None else f'{self.whole:.1f}'} |"


@dataclass
class World:
    """The lab, and what was measured."""

    lab: Lab
    rows: list[Row] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        return Plan.from_json((self.lab.state / "plan.json").read_text(encoding="utf-8"))

    def address(self, host: str) -> str:
        return str(self.plan.hosts[host].vpn_address)

    @property
    def api(self) -> str:
        return str(self.plan.api_address)

    @contextmanager
    def row(self, fault: str) -> Iterator[Row]:
        """Add a row to the table, check it at the end, and print it at once with its reasons, whatever happens."""
        row = Row(fault)
        self.rows.append(row)
        try:
            yield row
            row.check()
        except Exception as error:
            row.notes.append(f"FAILED: {type(error).__name__}: {error}")
            raise
        finally:
            lines = [HEADER, str(row), *row.notes, *self.events(row.began)]
            print("\n" + "\n".join(lines) + "\n", flush=True)

    @contextmanager
    def traffic(self, fault: str, seconds: int = SECONDS) -> Iterator[Row]:
        """Measure while the block runs, for at least some seconds, and until everything is as before."""
        with self.row(fault) as row:
            self.prepare()
            words = ("python3", PROGRAM, self.api, CREDENTIALS, self.address(WORKERS[1]), str(seconds))
            with ThreadPoolExecutor(1) as pool:
                measured = pool.submit(self.lab.on, WORKERS[0], *words, timeout=seconds + 120)
                started = ("test", "-e", f"{CREDENTIALS}/started")
                self.wait("reads and writes", lambda: self.run(WORKERS[0], *started).returncode == 0 or measured.done())
                row.began = time.time()
                try:
                    yield row
                finally:
                    found: dict[str, Any] = json.loads(measured.result())
                    row.reads, row.writes, row.packets = found["reads"], found["writes"], found["packets"]
            self.wait_whole()
            kept = set(self.kubectl("get", "configmap", "--selector", "maas.test=fault", "--output", "name").split())
            row.lost = sum(f"configmap/fault-{number}" not in kept for number in found["acknowledged"])
            self.kubectl("delete", "configmap", "--selector", "maas.test=fault")

    def prepare(self) -> None:
        """Write the program and an administrator's credentials to the memory of the worker."""
        source = Path(fault_traffic.__file__).read_text(encoding="utf-8")
        script = "set -e; umask 077; mkdir -p /run/fault; cat > "
        self.lab.on(WORKERS[0], "rm", "-f", f"{CREDENTIALS}/started")
        self.lab.on(WORKERS[0], "sh", "-c", f"{script}{PROGRAM}", stdin=source)
        for name, key in (
            ("ca.crt", "clusters[0].cluster.certificate-authority-data"),
            ("client.crt", "users[0].user.client-certificate-data"),
            ("client.key", "users[0].user.client-key-data"),
        ):
            # The key is not in any argument.
            host = next(host for host in PLANES if self.run(host, "true").returncode == 0)
            path = f"{{.{key}}}"
            view = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "config", "view", "--raw", "-o")
            encoded = self.lab.on(host, *view, f"jsonpath={path}")
            self.lab.on(WORKERS[0], "sh", "-c", f"{script}{CREDENTIALS}/{name}.b64", stdin=encoded)
            decode = f"umask 077; base64 -d {CREDENTIALS}/{name}.b64 > {CREDENTIALS}/{name}"
            self.lab.on(WORKERS[0], "sh", "-c", decode)

    def run(self, host: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a host. One that does not end has failed: the host may be about to stop."""
        try:
            return self.lab.run(host, *command)
        except subprocess.TimeoutExpired as error:
            return subprocess.CompletedProcess(command, 124, "", str(error))

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl on a control plane that runs, against the address of the API.

        Raises:
            ValueError: It failed on every control plane.
        """
        failures = []
        for host in PLANES:
            words = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "--request-timeout", "20s", *arguments)
            done = self.run(host, *words)
            if done.returncode == 0:
                return done.stdout
            failures.append(f"{host}: {done.stderr.strip()}")
        raise ValueError(f"kubectl {' '.join(arguments)}: {'; '.join(failures)}")

    def members(self) -> dict[str, bool]:
        """Return the health of the member of etcd on each control plane."""
        show = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())"
        found = {}
        for host in PLANES:
            done = self.run(host, "python3", "-c", show, "http://127.0.0.1:2381/health")
            found[host] = '"health":"true"' in done.stdout.replace(" ", "")
        return found

    def missing(self) -> list[str]:
        """Return what is not as before.

        Every node must be Ready, every member of etcd healthy, and each control plane must announce the API.
        """
        found = [f"etcd on {host} is not healthy" for host, healthy in self.members().items() if not healthy]
        found += [f"{host} does not announce the address of the API" for host in PLANES if not self.announces(host)]
        try:
            nodes = json.loads(self.kubectl("get", "nodes", "--output", "json"))["items"]
        except ValueError as error:
            return [*found, str(error)]
        for node in nodes:
            (ready,) = (c for c in node["status"]["conditions"] if c["type"] == "Ready")
            if ready["status"] != "True":
                found.append(f"node {node['metadata']['name']} is not Ready: {ready.get('message')}")
        gone = {*PLANES, *WORKERS} - {node["metadata"]["name"] for node in nodes}
        return [*found, *(f"there is no node {name}" for name in sorted(gone))]

    def announces(self, host: str) -> bool:
        return f" {self.api}/32 " in self.run(host, "ip", "-4", "-o", "address", "show", "dev", "lo").stdout

    def events(self, since: float) -> list[str]:
        """Return what control planes did about the address of the API and the leader of etcd, with seconds since a time."""
        found = []
        for host in PLANES:
            log = ("journalctl", "--unit", "maas-api-address", "--since", f"@{int(since)}")
            for line in self.run(host, *log, "--output", "short-unix", "--no-pager", "--quiet").stdout.splitlines():
                stamp, _, text = line.partition(" ")
                if text.endswith(("announced", "withdrawn")):
                    found.append((float(stamp), host, f"address of the API {text.rpartition(' ')[2]}"))
            logs = self.run(host, "sh", "-c", "cat /var/log/pods/kube-system_etcd-*/etcd/*.log").stdout
            for stamp, text in _LEADER.findall(logs):
                found.append((datetime.fromisoformat(stamp).timestamp(), host, f"etcd {text}"))
        return [f"{at - since:+6.1f} s  {host}: {text}" for at, host, text in sorted(found) if at >= since]

    def wait(self, what: str, done: Callable[[], bool], *, seconds: float = WHOLE) -> float:
        """Wait until something is the case, and return how long that took."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < seconds, f"timed out after {seconds:.0f} s waiting for {what}"
            time.sleep(1)
        return time.monotonic() - began

    def wait_whole(self) -> float:
        """Wait until nothing is missing, and return how long that took."""
        began = time.monotonic()
        while missing := self.missing():
            assert time.monotonic() - began < WHOLE, f"not as before after {WHOLE:.0f} s: {'; '.join(missing)}"
            time.sleep(1)
        return time.monotonic() - began

    def table(self) -> str:
        return "\n".join([HEADER, *map(str, self.rows)])
