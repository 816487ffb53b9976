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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import fault_traffic, udp_relay

from maas.hosts import network_plan
from maas.hosts.network_plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tests.support.labs import Lab

PLANES = ("master", "master2", "master3")
WORKERS = ("node1", "node2")

CREDENTIALS = "/run/fault"
PROGRAM = "/run/fault/traffic.py"
RELAY, DELAY, RELAY_UNIT, RELAY_PORT = "/run/fault/relay.py", "/run/fault/delay", "fault-relay.service", 17000
DATABASE = "restaurant-database-0"
SECONDS = 40
"""How long a fault is measured, at least."""
TARGETS = {"packets": 1.5, "reads": 3.0, "writes": 10.0, "guests": 3.0}
"""Seconds without a packet between two hosts, a read, a write and an answer to guests that the end of one host may cost."""
SLACK = 3
"""How many times its target a figure may be before a test fails: the processors are shared with all hosts and with others."""
WHOLE = 600.0
"""Seconds until everything must be as before."""
HEADER = """\
| fault | packets | API reads | API writes | guests | writes lost | orders lost | orders twice | pods moved | whole again |
|---|---|---|---|---|---|---|---|---|---|"""

_LEADER = re.compile(r'"ts":"([^"]+)".*((?:elected|lost|changed) leader)')


@dataclass
class Row:
    """What a fault cost: seconds without a success of each kind, and until everything was as before.

    Attributes:
        guests: Seconds without an answer to guests, who read the menu or order.
        lost: Writes that the API had acknowledged and that do not exist.
        orders: Orders that the restaurant confirmed.
        orders_lost: Those that it does not have.
        doubled: Orders that exist more than once.
        moved: Pods that no longer exist on hosts that were not away.
        affected: Kinds that the fault interrupts by itself, which have no target.
        began: When the fault began, in seconds since 1970.
        notes: What missed a target or failed.
    """

    fault: str
    packets: float | None = None
    reads: float | None = None
    writes: float | None = None
    guests: float | None = None
    whole: float | None = None
    lost: int = 0
    orders: int = 0
    orders_lost: int = 0
    doubled: int = 0
    moved: list[str] = field(default_factory=list)
    affected: tuple[str, ...] = ()
    began: float = field(default_factory=time.time)
    notes: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Note each figure that misses its target, and fail if something was lost or moved, or a figure misses it by far."""
        found = {
            name: seconds
            for name in TARGETS
            if name not in self.affected and (seconds := getattr(self, name)) is not None
        }
        self.notes += [
            f"{name} took {seconds:.1f} s, the target is {TARGETS[name]} s"
            for name, seconds in found.items()
            if seconds > TARGETS[name]
        ]
        assert self.lost == 0, f"{self.lost} acknowledged writes are lost"
        assert self.orders_lost == 0, f"{self.orders_lost} confirmed orders are lost"
        assert self.doubled == 0, f"{self.doubled} orders exist twice"
        assert not self.moved, f"moved for no reason: {', '.join(self.moved)}"
        far = [name for name, seconds in found.items() if seconds > SLACK * TARGETS[name]]
        assert not far, f"more than {SLACK} times the target: {', '.join(far)}"

    def __str__(self) -> str:
        times = ["" if one is None else f"{one:.1f}" for one in (self.packets, self.reads, self.writes, self.guests)]
        counts = ["" if self.reads is None else str(one) for one in (self.lost, self.orders_lost, self.doubled)]
        moved = "" if self.reads is None else str(len(self.moved))
        whole = "" if self.whole is None else f"{self.whole:.1f}"
        return f"| {' | '.join([self.fault, *times, *counts, moved, whole])} |"


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
    def traffic(
        self,
        fault: str,
        seconds: int = SECONDS,
        *,
        source: str = "",
        to: str = "",
        away: Collection[str] = (),
        affected: tuple[str, ...] = (),
    ) -> Iterator[Row]:
        """Measure while the block runs, for at least some seconds, and until everything is as before.

        Args:
            fault: What happens, for the table.
            seconds: How long to measure at least.
            source: The host that sends; by default the worker without the restaurant.
            to: The host that it sends packets to; by default the worker with the restaurant.
            away: The hosts that lose their pods or containers.
            affected: Kinds of traffic that have no target, because the fault interrupts them by itself.
        """
        source, to = source or self.other, to or self.home
        with self.row(fault) as row:
            row.affected = affected
            self.prepare(source)
            run = str(int(time.time()))
            program = (
                "python3",
                PROGRAM,
                self.api,
                CREDENTIALS,
                self.address(to),
                str(seconds),
                self.restaurant(),
                run,
            )
            before = self.pods(away)
            with ThreadPoolExecutor(1) as pool:
                measured = pool.submit(self.lab.on, source, *program, timeout=seconds + 240)
                started = ("test", "-e", f"{CREDENTIALS}/started")
                self.wait("traffic", lambda: self.run(source, *started).returncode == 0 or measured.done())
                row.began = time.time()
                try:
                    yield row
                finally:
                    found: dict[str, Any] = json.loads(measured.result())
                    row.reads, row.writes, row.packets = found["reads"], found["writes"], found["packets"]
                    row.guests = max(found["menu"], found["orders"])
            self.wait_whole()
            kept = set(self.kubectl("get", "configmap", "--selector", "maas.test=fault", "--output", "name").split())
            row.lost = sum(f"configmap/fault-{number}" not in kept for number in found["acknowledged"])
            words = ("delete", "configmap", "--selector", "maas.test=fault", "--wait=false")
            self.wait("the writes to be deleted", lambda: self.tries(*words))
            self.count_orders(row, run, found["confirmed"])
            after = self.pods(away)
            row.moved = [name for uid, (name, _) in before.items() if uid not in after]
            again = [name for uid, (name, count) in before.items() if uid in after and after[uid][1] > count]
            row.notes += [f"{row.orders} orders were confirmed"]
            row.notes += [f"containers restarted in {', '.join(again)}"] if again else []

    def count_orders(self, row: Row, run: str, confirmed: dict[str, str]) -> None:
        """Compare the orders that guests got a confirmation of with those in the database."""
        sql = f"select guest, reference from orders where guest like 'fault-{run}-%'"  # noqa: S608 - a number
        psql = ("psql", "-X", "-A", "-t", "-F", " ", "-U", "postgres", "-d", "restaurant", "-c", sql)
        shown = self.kubectl("exec", "--namespace", "restaurant", DATABASE, "--container", "postgresql", "--", *psql)
        found = [tuple(line.split()) for line in shown.splitlines() if line]
        row.orders = len(confirmed)
        row.orders_lost = len({*confirmed.items()} - {*found})
        row.doubled = len(found) - len({guest for guest, _ in found})

    def pods(self, away: Collection[str]) -> dict[str, tuple[str, int]]:
        """Return name and restarts by UID of the pods of workloads on hosts that are not away."""
        items = json.loads(self.kubectl("get", "pods", "--all-namespaces", "--output", "json"))["items"]
        return {
            item["metadata"]["uid"]: (
                f"{item['metadata']['namespace']}/{item['metadata']['name']}",
                sum(status["restartCount"] for status in item["status"].get("containerStatuses", ())),
            )
            for item in items
            # Not mirror pods, which the kubelet creates again, and not those that end by themselves.
            if "kubernetes.io/config.mirror" not in item["metadata"].get("annotations", {})
            and not any(owner["kind"] == "Job" for owner in item["metadata"].get("ownerReferences", ()))
            and not item["metadata"]["namespace"].startswith("maas-verify")
            and "deletionTimestamp" not in item["metadata"]
            and item["spec"].get("nodeName") not in away
        }

    @cached_property
    def home(self) -> str:
        """The worker with the database of the restaurant, which cannot be moved."""
        words = ("get", "pod", DATABASE, "--namespace", "restaurant", "--output", "jsonpath={.spec.nodeName}")
        return self.kubectl(*words).strip()

    @property
    def other(self) -> str:
        """The other worker."""
        (found,) = {*WORKERS} - {self.home}
        return found

    def restaurant(self) -> str:
        """Return the address of the Service of the restaurant."""
        words = ("get", "service", "restaurant", "--namespace", "restaurant", "--output")
        return self.kubectl(*words, "jsonpath={.spec.clusterIP}").strip()

    def gather(self) -> None:
        """Move the restaurant to the host of its database, so that the other worker can be lost without it.

        Also wait until maas-nodes.timer has spread CoreDNS, which would count as a pod that moved.
        """
        dns = ("get", "pods", "--namespace", "kube-system", "--selector", "k8s-app=kube-dns", "--output")
        hosts = "jsonpath={.items[*].spec.nodeName}"
        self.wait("CoreDNS on two hosts", lambda: len(set(self.kubectl(*dns, hosts).split())) > 1)
        pods = ("pods", "--namespace", "restaurant", "--selector", "app.kubernetes.io/name=restaurant")
        shown = self.kubectl("get", *pods, "--output", "jsonpath={.items[*].spec.nodeName}")
        if set(shown.split()) == {self.home}:
            return
        self.kubectl("cordon", self.other)
        try:
            self.kubectl("delete", *pods, "--wait=false")
            words = ("rollout", "status", "deployment/restaurant", "--namespace", "restaurant", "--timeout", "15s")
            self.wait("the restaurant", lambda: self.tries(*words))
        finally:
            self.kubectl("uncordon", self.other)

    def tries(self, *arguments: str) -> bool:
        """Run kubectl, and return whether it succeeded."""
        try:
            self.kubectl(*arguments)
        except ValueError:
            return False
        return True

    def tunnels(self, one: str, other: str) -> list[tuple[str, str, int]]:
        """Return the tunnels between two hosts: the host that connects, and the address and port that it connects to."""
        plan, found = self.plan, []
        for host, hub in ((one, other), (other, one)):
            if hub in plan.hubs and host not in plan.hubs:
                found.append((host, plan.hosts[host].servers[hub].endpoint, plan.hosts[host].servers[hub].port))
        for link in plan.links():
            if {link.listens, link.connects} == {one, other}:
                server = plan.hosts[link.connects].servers[link.listens]
                port = server.port + link.port - plan.hubs[link.listens].port
                found.append((link.connects, server.endpoint, port))
        return found

    @contextmanager
    def cut(self, *pairs: tuple[str, str]) -> Iterator[None]:
        """Drop every packet between pairs of hosts, at the end that connects: hubs see the address of a gateway."""
        rules = [
            (host, (chain, "-p", "udp", way, address, port_of, str(port), "-j", "DROP"))
            for one, other in pairs
            for host, address, port in self.tunnels(one, other)
            for chain, way, port_of in (("OUTPUT", "-d", "--dport"), ("INPUT", "-s", "--sport"))
        ]
        try:
            for host, rule in rules:
                self.lab.on(host, "iptables", "-w", "-I", *rule)
            yield
        finally:
            for host, rule in rules:
                self.run(host, "iptables", "-w", "-D", *rule)

    @contextmanager
    def unplugged(self, host: str) -> Iterator[None]:
        """Cut the network of a host."""
        device = self.lab.on(host, "ip", "route", "show", "default").split()[4]
        rules = (("INPUT", "-i", device, "-j", "DROP"), ("OUTPUT", "-o", device, "-j", "DROP"))
        try:
            for rule in rules:
                self.lab.on(host, "iptables", "-w", "-I", *rule)
            yield
        finally:
            for rule in rules:
                self.run(host, "iptables", "-w", "-D", *rule)

    @contextmanager
    def long_paths(self) -> Iterator[None]:
        """Send all tunnels through relays, which delay nothing at first, see `round_trips`."""
        hosts = (*PLANES, *WORKERS)
        found: dict[str, list[tuple[str, int]]] = {host: [] for host in hosts}
        for number, one in enumerate(hosts):
            for other in hosts[number + 1 :]:
                for host, address, port in self.tunnels(one, other):
                    found[host].append((address, port))
        source = Path(udp_relay.__file__).read_text(encoding="utf-8")
        rules = [
            (host, ("OUTPUT", "-p", "udp", "-d", address, "--dport", str(port), "-m", "mark", "!", "--mark",
                    hex(udp_relay.MARK), "-j", "REDIRECT", "--to-ports", str(RELAY_PORT + number)))
            for host, targets in found.items()
            for number, (address, port) in enumerate(targets)
        ]  # fmt: skip
        try:
            for host, targets in found.items():
                if targets:
                    self.lab.on(host, "sh", "-c", f"mkdir -p /run/fault; echo 0 > {DELAY}; cat > {RELAY}", stdin=source)
                    to = [f"{address}:{port}" for address, port in targets]
                    start = ("systemd-run", "--quiet", "--collect", "--unit", RELAY_UNIT)
                    self.lab.on(host, *start, "python3", RELAY, DELAY, str(RELAY_PORT), *to)
            for host, rule in rules:
                self.lab.on(host, "iptables", "-w", "-t", "nat", "-I", *rule)
            self._reconnect(found)
            yield
        finally:
            for host, rule in rules:
                self.run(host, "iptables", "-w", "-t", "nat", "-D", *rule)
            self._reconnect(found)
            for host in hosts:
                self.run(host, "systemctl", "stop", RELAY_UNIT)

    def _reconnect(self, hosts: Collection[str]) -> None:
        """Start the clients of all tunnels again: connections that exist do not follow a rule for their addresses."""
        for host in hosts:
            self.run(host, "sh", "-c", "systemctl restart 'openvpn-client@*'")
        self.wait_whole()

    def round_trips(self, milliseconds: int) -> None:
        """Delay all tunnels, and set the timers of etcd that the plan has for such paths."""
        # The slowest way between two members is that through the third one.
        timers = network_plan.etcd_timers(2.0 * milliseconds)
        flags = {"heartbeat-interval": str(timers.heartbeat_ms), "election-timeout": str(timers.election_ms)}
        edit = (
            "import json, pathlib; path = pathlib.Path('/etc/maas/etcd.json'); content = json.loads(path.read_text());"
            f"content['flags'].update({flags!r}); path.write_text(json.dumps(content))"
        )
        for host in PLANES:
            self.lab.on(host, "python3", "-c", edit)
            self.lab.on(host, "/usr/local/lib/maas/etcd-guard", timeout=300)
        for host in (*PLANES, *WORKERS):
            self.run(host, "sh", "-c", f"[ ! -e {DELAY} ] || echo {milliseconds / 2000} > {DELAY}")
        self.wait_whole()

    def prepare(self, worker: str) -> None:
        """Write the program and an administrator's credentials to the memory of a worker."""
        source = Path(fault_traffic.__file__).read_text(encoding="utf-8")
        script = "set -e; umask 077; mkdir -p /run/fault; cat > "
        self.lab.on(worker, "rm", "-f", f"{CREDENTIALS}/started")
        self.lab.on(worker, "sh", "-c", f"{script}{PROGRAM}", stdin=source)
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
            self.lab.on(worker, "sh", "-c", f"{script}{CREDENTIALS}/{name}.b64", stdin=encoded)
            decode = f"umask 077; base64 -d {CREDENTIALS}/{name}.b64 > {CREDENTIALS}/{name}"
            self.lab.on(worker, "sh", "-c", decode)

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
