"""A lab with three control planes, on which faults are caused and measured."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
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
WRITES = 10.0
"""Seconds without a write that the end of one host may cost."""
PACKETS = 1.5
"""Seconds without a packet between two workers that the end of a hub may cost."""
WHOLE = 300.0
"""Seconds until everything must be as before."""


@dataclass
class Row:
    """What a fault cost: seconds without a packet, a read and a write, and until everything was as before."""

    fault: str
    packets: float | None = None
    reads: float | None = None
    writes: float | None = None
    whole: float | None = None
    lost: int = 0
    note: str = ""


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
    def traffic(self, fault: str, seconds: int = SECONDS) -> Iterator[Row]:
        """Measure while the block runs, for at least some seconds, and until everything is as before."""
        row = Row(fault)
        self.rows.append(row)
        self.prepare()
        words = ("python3", PROGRAM, self.api, CREDENTIALS, self.address(WORKERS[1]), str(seconds))
        with ThreadPoolExecutor(1) as pool:
            measured = pool.submit(self.lab.on, WORKERS[0], *words, timeout=seconds + 60)
            time.sleep(3)  # it works before the fault
            yield row
            found: dict[str, Any] = json.loads(measured.result())
        row.reads, row.writes, row.packets = found["reads"], found["writes"], found["packets"]
        self.wait("everything to be whole again", self.whole)
        kept = set(self.kubectl("get", "configmap", "--selector", "maas.test=fault", "--output", "name").split())
        row.lost = sum(f"configmap/fault-{number}" not in kept for number in found["acknowledged"])
        self.kubectl("delete", "configmap", "--selector", "maas.test=fault", "--wait=false")

    def prepare(self) -> None:
        """Write the program and an administrator's credentials to the memory of the worker."""
        source = Path(fault_traffic.__file__).read_text(encoding="utf-8")
        script = "set -e; umask 077; mkdir -p /run/fault; cat > "
        self.lab.on(WORKERS[0], "sh", "-c", f"{script}{PROGRAM}", stdin=source)
        for name, key in (
            ("ca.crt", "clusters[0].cluster.certificate-authority-data"),
            ("client.crt", "users[0].user.client-certificate-data"),
            ("client.key", "users[0].user.client-key-data"),
        ):
            # The key is not in any argument.
            host = next(host for host in PLANES if self.running(host))
            path = f"{{.{key}}}"
            view = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "config", "view", "--raw", "-o")
            encoded = self.lab.on(host, *view, f"jsonpath={path}")
            self.lab.on(WORKERS[0], "sh", "-c", f"{script}{CREDENTIALS}/{name}.b64", stdin=encoded)
            decode = f"umask 077; base64 -d {CREDENTIALS}/{name}.b64 > {CREDENTIALS}/{name}"
            self.lab.on(WORKERS[0], "sh", "-c", decode)

    def running(self, host: str) -> bool:
        return self.lab.run(host, "true").returncode == 0

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl on a control plane that runs, against the address of the API."""
        for host in PLANES:
            done = self.lab.run(host, "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *arguments, timeout=120)
            if done.returncode == 0:
                return done.stdout
        raise AssertionError(done.stderr)

    def members(self) -> dict[str, bool]:
        """Return the health of the member of etcd on each control plane."""
        show = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())"
        found = {}
        for host in PLANES:
            done = self.lab.run(host, "python3", "-c", show, "http://127.0.0.1:2381/health")
            found[host] = '"health":"true"' in done.stdout.replace(" ", "")
        return found

    def whole(self) -> bool:
        """Return whether every node is Ready and every member of etcd healthy, and each control plane has the address."""
        if not all(self.members().values()) or not all(self.announces(host) for host in PLANES):
            return False
        try:
            nodes = json.loads(self.kubectl("get", "nodes", "--output", "json"))["items"]
        except AssertionError:
            return False
        ready = [c["status"] for node in nodes for c in node["status"]["conditions"] if c["type"] == "Ready"]
        return len(nodes) == len((*PLANES, *WORKERS)) and set(ready) == {"True"}

    def announces(self, host: str) -> bool:
        return f" {self.api}/32 " in self.lab.run(host, "ip", "-4", "-o", "address", "show", "dev", "lo").stdout

    def wait(self, what: str, done: Callable[[], bool], *, seconds: float = WHOLE) -> float:
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < seconds, f"timed out waiting for {what}"
            time.sleep(1)
        return time.monotonic() - began

    def table(self) -> str:
        def shown(value: float | None) -> str:
            return "" if value is None else f"{value:.1f}"

        lines = [
            "| fault | packets | API reads | API writes | writes lost | whole again |",
            "|---|---|---|---|---|---|",
            *(
                f"| {row.fault} | {shown(row.packets)} | {shown(row.reads)} | {shown(row.writes)} | {row.lost} | "
                f"{shown(row.whole)} |"
                for row in self.rows
            ),
        ]
        return "\n".join(lines)
