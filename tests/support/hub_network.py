"""Hosts of a VPN as network namespaces, with the OpenVPN, BIRD and firewall that the roles configure.

The configuration is rendered from the templates of the roles with the variables of the tool, so that what is tested is
what is installed. The programs are Debian's, unpacked into a directory. It needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import jinja2
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support import debian_programs
from tests.support.ansible_content import CONTENT
from tests.support.hosts import facts_of

from maas.hosts import network_plan, pki
from maas.hosts.ansible_inventory import ansible_inventory
from maas.hosts.inventory import Host, Hub, Inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

UNDERLAY = IPv4Network("10.199.0.0/24")
"""The network between the hosts, which stands for the Internet."""

_SWITCH = "switch"
_TRAFFIC = Path(__file__).with_name("hub_traffic.py")


def unpack(directory: Path) -> None:
    """Unpack OpenVPN, BIRD and ping with the libraries that they need, and libfaketime for clocks that are wrong."""
    debian_programs.unpack(directory, "openvpn", "bird2", "iputils-ping", "libfaketime")


def _certificate(address: str) -> bytes:
    """Return a self-signed certificate for an address, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)


def render(role: str, template: str, **variables: Any) -> str:
    """Render a template as Ansible does; a variable that does not exist is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CONTENT / "roles" / role / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - these are no web pages
    )
    return environment.get_template(template).render(**variables)


@dataclass
class Network:
    """The hosts.

    Attributes:
        directory: Their files; readable by everybody, because OpenVPN and BIRD drop their privileges.
        programs: A directory that `unpack` filled.
        content: The variables of the roles, as Ansible receives them.
    """

    directory: Path
    programs: Path
    content: dict[str, Any] = field(default_factory=dict)
    underlay: dict[str, IPv4Address] = field(default_factory=dict)
    _prefix: str = f"maas{os.getpid()}"
    _running: dict[tuple[str, str], subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def of(
        cls,
        directory: Path,
        programs: Path,
        *,
        hubs: tuple[str, ...],
        nodes: tuple[str, ...],
        planes: tuple[str, ...] = (),
    ) -> Iterator[Network]:
        """Create the hosts and start their programs; remove them at the end.

        Args:
            directory: The files of the hosts.
            programs: A directory that `unpack` filled.
            hubs: The hubs: control planes, or small hosts if there are other control planes.
            nodes: The workers.
            planes: Control planes that are not hubs.
        """
        network = cls(directory, programs, _prefix=f"maas{os.getpid()}{'s' if planes else ''}")
        try:
            network._create(hubs, nodes, planes)
            yield network
        finally:
            network._remove()

    def _create(self, hubs: tuple[str, ...], nodes: tuple[str, ...], planes: tuple[str, ...]) -> None:
        self.underlay = dict(zip((*hubs, *planes, *nodes), UNDERLAY.hosts(), strict=False))
        inventory = Inventory(
            file=Path("/hosts.yaml"),
            cluster="shop",
            hosts=(
                *(
                    Host(
                        name=name,
                        address=str(self.underlay[name]),
                        role="hub" if planes else "control-plane",
                        hub=Hub(endpoint=str(self.underlay[name])),
                    )
                    for name in hubs
                ),
                *(Host(name=name, address=str(self.underlay[name]), role="control-plane") for name in planes),
                *(Host(name=name, address=str(self.underlay[name]), role="worker") for name in nodes),
            ),
        )
        facts = {host.name: facts_of() for host in inventory.hosts}
        plan = network_plan.compute(inventory, facts)
        keys = pki.ensure(self.directory / "pki", "shop", list(plan.hosts), hubs=list(plan.hubs))
        made = ansible_inventory(
            inventory, plan=plan, facts=facts, pki=keys, known_hosts=self.directory / "known_hosts"
        )
        self.content = json.loads(json.dumps(made))
        self._ip("netns", "add", self._name(_SWITCH))
        self._switch("link", "add", "bridge", "type", "bridge")
        self._switch("link", "set", "bridge", "up")
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._host, self.underlay))
        for name in self.underlay:
            self.start(name)

    def _host(self, name: str) -> None:
        self._ip("netns", "add", self._name(name))
        self._switch("link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", self._name(name))
        self._switch("link", "set", f"to-{name}", "master", "bridge", "up")
        run = self.run
        run(name, "ip", "address", "add", f"{self.underlay[name]}/{UNDERLAY.prefixlen}", "dev", "eth0")
        for device in ("lo", "eth0"):
            run(name, "ip", "link", "set", device, "up")
        settings = self._sysctls().items()
        run(name, "sh", "-c", ";".join(f"echo {value} > /proc/sys/{key.replace('.', '/')}" for key, value in settings))
        home = self.home(name)
        for folder in (home, home / "nodes", home / "revoked", home / "run"):
            folder.mkdir(mode=0o755)
        for file, text in self.files(name).items():
            (home / file).write_text(text)
        run(name, "sh", str(home / "firewall"), "up")

    @staticmethod
    def _sysctls() -> dict[str, int]:
        found = yaml.safe_load((CONTENT / "roles" / "base" / "vars" / "main.yml").read_text())
        return dict(found["base_sysctl_network"])

    def variables(self, name: str) -> dict[str, Any]:
        """Return the variables of a host."""
        for group in self.content["all"]["children"].values():
            if name in group["hosts"]:
                return {"cluster": self.content["all"]["vars"]["cluster"], **group["hosts"][name]}
        raise KeyError(name)

    def home(self, name: str) -> Path:
        """Return the directory of a host."""
        return self.directory / name

    def files(self, name: str) -> dict[str, str]:
        """Return the files of a host by their names, as the roles install them."""
        variables, home = self.variables(name), self.home(name)
        node = variables["node"]
        made = {
            "firewall": render("base", "firewall.sh.j2", **variables),
            "bird.conf": render("routing", "bird.conf.j2", **variables),
        }
        if node["server"]:
            revoke = (CONTENT / "roles" / "openvpn_server" / "files" / "revoke.py").read_text()
            made["revoke.py"] = revoke.replace('"/etc/openvpn/server/maas"', f'"{home}"')
            made["server.conf"] = render("openvpn_server", "server.conf.j2", **variables)
            made |= {f"nodes/{client}": text for client, text in node["server"]["clients"].items()}
        for link in node["links"]:
            made[f"{link['device']}.conf"] = render("openvpn_server", "link.conf.j2", link=link, **variables)
        for tunnel in node["tunnels"]:
            made[f"{tunnel['device']}.conf"] = render("openvpn_client", "client.conf.j2", tunnel=tunnel, **variables)
        places = {
            "/etc/openvpn/server/maas/": f"{home}/",
            "/run/openvpn-server/": f"{home}/run/",
            "/usr/local/lib/maas/tunnel-up": str(CONTENT / "roles" / "base" / "files" / "tunnel-up.sh"),
        }
        for place, here in places.items():
            made = {file: text.replace(place, here) for file, text in made.items()}
        return made

    def start(self, name: str, *, without: str = "", clock: int = 0) -> None:
        """Start the programs of a host that do not run, all of them by default.

        Args:
            name: The host.
            without: The program to leave out.
            clock: How many seconds its clock is ahead.
        """
        home = self.home(name)
        for path in sorted(home.glob("*.conf")):
            if (name, path.stem) in self._running or path.stem == without:
                continue
            if path.name == "bird.conf":
                words = ["bird", "-f", "-c", str(path), "-s", str(home / "run" / "bird.ctl")]
            else:
                words = ["openvpn", "--config", str(path)]
            self._running[name, path.stem] = self._spawn(name, words, home / f"{path.stem}.log", clock=clock)

    def serve_revocations(self, name: str) -> None:
        """Let a hub print its revoked certificates to other hubs, as maas-revocations.socket does."""
        for link in self.variables(name)["node"]["links"]:
            words = ["inetd", str(link["address"]), sys.executable, str(self.home(name) / "revoke.py"), "--list"]
            program = f"revocations-{link['device']}"
            log = self.home(name) / f"{program}.log"
            self._running[name, program] = self._spawn(name, [sys.executable, str(_TRAFFIC), *words], log)

    def fetch_revocations(self, name: str) -> str:
        """Let a hub learn what was revoked, as its drop-in for the OpenVPN server does; return what it reports."""
        peers = [str(link["peer_address"]) for link in self.variables(name)["node"]["links"]]
        return self.run(name, sys.executable, str(self.home(name) / "revoke.py"), "--fetch", *peers)

    def revoke(self, name: str, node: str) -> None:
        """Revoke the certificate of a node on a hub, as `maas revoke` does on all hubs that answer."""
        number = str(pki.serial(self.directory / "pki", node))
        home = self.home(name)
        # Of Debian 13, and of Debian 12.
        program = next(path for folder in ("usr/bin", "bin") if (path := self.programs / folder / "ping").exists())
        ping = home / "bin" / "ping"
        ping.parent.mkdir(exist_ok=True)
        ping.write_text(f'#!/bin/sh\nexec env {" ".join(self._environment())} {program} "$@"\n')
        ping.chmod(0o755)
        search = f"PATH={ping.parent}:{os.environ['PATH']}"
        words = [sys.executable, str(home / "revoke.py"), node, number, self.address(node)]
        self.run(name, "env", search, *words, seconds=60)

    def clients(self, name: str) -> set[str]:
        """Return the nodes that are connected to a hub."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.home(name) / "run" / "maas.management"))
            connection.sendall(b"status 3\n")
            text = ""
            while "END" not in text:
                text += connection.recv(65536).decode()
            rows = [line.split("\t") for line in text.splitlines()]
            return {row[1] for row in rows if row[0] == "CLIENT_LIST"}
        return set()

    def start_api(self, name: str) -> None:
        """Start a stand-in for the API server of a hub, and the program that announces the address of the API."""
        own, home = self.address(name), self.home(name)
        certificate = home / "api.pem"
        certificate.write_bytes(_certificate(own))
        script = (CONTENT / "roles" / "routing" / "files" / "api_address.py").read_text()
        (home / "api_address.py").write_text(script.replace("/etc/kubernetes/pki/ca.crt", str(certificate)))
        programs = {
            "api": [str(_TRAFFIC), "api", own, str(certificate)],
            "api-address": [str(home / "api_address.py"), own, self.api, "6"],
        }
        for program, words in programs.items():
            if (name, program) not in self._running:
                self._running[name, program] = self._spawn(name, [sys.executable, *words], home / f"{program}.log")

    def source(self, name: str, to: str, *, own: str) -> str:
        """Connect from an address of a host to another host, and return the address that the other host sees."""
        listen = self._spawn(to, [sys.executable, str(_TRAFFIC), "whoami", self.address(to)], self.home(to) / "whoami")
        try:
            return self.run(name, sys.executable, str(_TRAFFIC), "ask", self.address(to), own)
        finally:
            listen.kill()
            listen.wait()

    @property
    def api(self) -> str:
        """The address of the API."""
        return str(self.content["all"]["vars"]["cluster"]["api_address"])

    def poll_api(self, name: str, *, seconds: float) -> subprocess.Popen[bytes]:
        """Start to send requests to the API from a host."""
        words = [sys.executable, str(_TRAFFIC), "poll", self.api, str(seconds)]
        return self._spawn(name, words, self.home(name) / "poll.json", own=True)

    def kill(self, name: str, *programs: str) -> None:
        """Kill programs of a host, all of them by default, without a chance to say goodbye."""
        for host, program in list(self._running):
            if host == name and (program in programs or not programs):
                process = self._running.pop((host, program))
                process.send_signal(signal.SIGKILL)
                process.wait()

    def cut(self, name: str, other: str) -> None:
        """Drop every packet between two hosts in the underlay."""
        for chain, word in (("INPUT", "-s"), ("OUTPUT", "-d")):
            self.run(name, "iptables", "-w", "-I", chain, "1", word, str(self.underlay[other]), "-j", "DROP")

    def reconnect(self, name: str, other: str) -> None:
        """End a `cut`."""
        for chain, word in (("INPUT", "-s"), ("OUTPUT", "-d")):
            self.run(name, "iptables", "-w", "-D", chain, word, str(self.underlay[other]), "-j", "DROP")

    def unplug(self, name: str, *, plugged: bool = False) -> None:
        """Take a host off the underlay, or put it back."""
        self._switch("link", "set", f"to-{name}", "up" if plugged else "down")

    def run(self, name: str, *words: str, seconds: float = 20) -> str:
        """Run a program on a host and return what it prints."""
        argv = ["ip", "netns", "exec", self._name(name), *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise AssertionError(f"{name}: {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def bird(self, name: str, *words: str) -> str:
        """Ask BIRD of a host."""
        return self.run(
            name, "env", *self._environment(), str(self.programs / "usr" / "sbin" / "birdc"),
            "-s", str(self.home(name) / "run" / "bird.ctl"), *words,
        )  # fmt: skip

    def address(self, name: str) -> str:
        """Return the address of a host in the VPN."""
        return str(self.variables(name)["node"]["vpn_address"])

    def path(self, name: str, to: str) -> str:
        """Return the device through which a host sends to an address, empty if there is no route."""
        with contextlib.suppress(AssertionError):
            words = self.run(name, "ip", "route", "get", to).split()
            return words[words.index("dev") + 1]
        return ""

    def wait(self, what: str, done: Callable[[], bool], *, seconds: float = 120) -> float:
        """Wait until something is the case, and return how long that took."""
        start = time.monotonic()
        while not done():
            if time.monotonic() - start > seconds:
                raise AssertionError(f"timed out after {seconds} s waiting for {what}")
            time.sleep(0.1)
        return time.monotonic() - start

    def established(self) -> bool:
        """Return whether every host has a session to all of its neighbors."""
        for name in self.underlay:
            try:
                shown = self.bird(name, "show", "protocols")
            except AssertionError:
                return False
            wanted = self.variables(name)["node"]["neighbors"]
            if sum("Established" in line for line in shown.splitlines()) < len(wanted):
                return False
        return True

    @contextlib.contextmanager
    def traffic(self, source: str, to: str, *, seconds: float) -> Iterator[dict[str, Any]]:
        """Send from a host to another while the block runs; the result is filled in at the end.

        The result has the longest time without a reply of the UDP packets, which have the size of the tunnel's MTU, and
        of a single TCP connection.
        """
        size = str(self.variables(source)["cluster"]["tun_mtu"])
        logs = self.home(to) / "echo.log", self.home(source) / "traffic.json"
        echo = self._spawn(to, [sys.executable, str(_TRAFFIC), "echo", self.address(to)], logs[0])
        send = self._spawn(
            source, [sys.executable, str(_TRAFFIC), "send", self.address(to), size, str(seconds)], logs[1], own=True
        )
        result: dict[str, Any] = {}
        try:
            time.sleep(1)
            yield result
            send.wait(seconds + 10)
            result.update(json.loads(logs[1].read_text()))
        finally:
            for process in (send, echo):
                process.kill()
                process.wait()

    def _environment(self, clock: int = 0) -> list[str]:
        found = debian_programs.environment(self.programs)
        if clock:
            library = self.programs / debian_programs.LIBRARIES / "faketime" / "libfaketime.so.1"
            found |= {"LD_PRELOAD": str(library), "FAKETIME": f"{clock:+d}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return [f"{name}={value}" for name, value in found.items()]

    def _spawn(
        self, name: str, words: list[str], log: Path, *, own: bool = False, clock: int = 0
    ) -> subprocess.Popen[bytes]:
        program = str(self.programs / "usr" / "sbin" / words[0])
        ours = words[0] in {"openvpn", "bird"}
        argv = ["env", *self._environment(clock), program, *words[1:]] if ours else words
        file: IO[bytes]
        with log.open("wb") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self._name(name), *argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL if own else subprocess.STDOUT,
            )

    def _name(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _switch(self, *words: str) -> None:
        self._ip("-netns", self._name(_SWITCH), *words)

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, timeout=20)

    def _remove(self) -> None:
        for name in self.underlay:
            self.kill(name)
        for name in (*self.underlay, _SWITCH):
            with contextlib.suppress(subprocess.CalledProcessError):
                self._ip("netns", "del", self._name(name))


def shown(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return results as a table."""
    rows = [
        f"  {event:44} " + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in result.items())
        for event, result in results.items()
    ]
    return "\n".join(rows)
