#!/usr/bin/python3
"""Export metrics of this host's VPN, certificates and backups of etcd for node-exporter's textfile collector. Run by a timer.

/etc/maas/host.json has the host's part of the network plan. On the hub, the status file of OpenVPN says which peers are
connected; for a node's hubs and for links between hubs, a ping does. BIRD reports its sessions, and the kernel has the
routes that BIRD chose. The file is replaced atomically.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_certificates import certificates, control_plane

HOST = Path("/etc/maas/host.json")
TARGET = Path("/var/lib/maas/metrics/openvpn.prom")
SEEN = Path("/var/lib/maas/connections.json")
"""Number of connections of each peer, and the start of the current one."""

PATHS = Path("/var/lib/maas/paths.json")
"""Number of runs that found another next hop than the run before, and the last next hop to each address."""

CONFIGURATION = {"hub": Path("/etc/openvpn/server/maas.conf"), "node": Path("/etc/openvpn/client/maas.conf")}
STATUS = Path("/run/openvpn-server/maas.status")
REVOKED = Path("/etc/openvpn/server/maas/revoked")
DEVICES = Path("/sys/class/net")
KUBERNETES = Path("/etc/kubernetes")
ETCD_BACKUP = Path("/etc/maas/etcd-backup/settings.json")
"""Its settings; it does not exist without recipients."""
ETCD_BACKUP_OUTCOME = Path("/var/lib/maas/etcd-backup.json")
MEMBER, ETCD = Path("/var/lib/maas/initialised"), Path("/var/lib/etcd/member/wal")
"""Exists once the host is a member of etcd, and the data of that member; an etcd that fails to start does not create it."""
STALE = 60
"""Seconds after which a status file is outdated; OpenVPN writes it every ten."""

PATIENCE = 5
"""Seconds to wait for BIRD, which answers at once."""

HEADERS = 28  # bytes of the IPv4 and ICMP headers

HELP = {
    "openvpn_up": ("gauge", "Whether the services of OpenVPN and BIRD are running and the host has its address."),
    "openvpn_peer_connected": (
        "gauge",
        "Whether the peer is connected: on the hub by its status file, on a node by a ping.",
    ),
    "openvpn_peer_connected_since_seconds": ("gauge", "Start of the peer's current connection, Unix time."),
    "openvpn_peer_received_bytes_total": ("counter", "Bytes received from the peer in its current connection."),
    "openvpn_peer_sent_bytes_total": ("counter", "Bytes sent to the peer in its current connection."),
    "openvpn_peer_connections_total": ("counter", "Number of connections of the peer."),
    "openvpn_peer_round_trip_seconds": ("gauge", "Round-trip time of a small packet through the tunnel."),
    "openvpn_path_mtu_ok": ("gauge", "Whether a packet of the tunnel's MTU returns unfragmented."),
    "openvpn_certificate_not_after_seconds": ("gauge", "Expiry of a certificate of the VPN, Unix time."),
    "openvpn_revoked_certificates": ("gauge", "Number of revoked certificates."),
    "openvpn_tun_mtu_bytes": ("gauge", "MTU of the tunnel device."),
    "openvpn_pod_mtu_bytes": ("gauge", "MTU of the pod network."),
    "openvpn_pod_mtu_wanted_bytes": ("gauge", "Planned MTU of the pod network."),
    "vpn_bgp_session_up": ("gauge", "Whether the BGP session with the peer is established."),
    "vpn_bgp_session_since_seconds": ("gauge", "Start of the BGP session with the peer, Unix time."),
    "vpn_bfd_session_up": ("gauge", "Whether the BFD session with the peer is up; without several hubs there is none."),
    "vpn_routes": ("gauge", "Number of addresses in the VPN whose packets this host sends through the peer."),
    "vpn_path_changes_total": (
        "counter",
        "Number of checks that found another path to an address in the VPN than before.",
    ),
    "vpn_api_address_announced": ("gauge", "Whether this control plane announces the address of the Kubernetes API."),
    "etcd_data_lost": ("gauge", "Whether this control plane was a member of etcd and its data directory is gone."),
    "kubernetes_certificate_not_after_seconds": ("gauge", "Expiry of a certificate of the control plane, Unix time."),
    "etcd_backup_last_success_timestamp_seconds": (
        "gauge",
        "Last successful backup of etcd, or the start of backups if there was none, Unix time.",
    ),
    "etcd_backup_last_run_failed": ("gauge", "Whether the last backup of etcd failed."),
    "etcd_backup_size_bytes": ("gauge", "Size of the last successful backup of etcd."),
    "etcd_backup_duration_seconds": ("gauge", "Duration of the last successful backup of etcd."),
    "etcd_backup_files": ("gauge", "Number of backups of etcd on the host."),
}


class Samples:
    """Collects samples by metric, in the order of `HELP`."""

    def __init__(self):
        self.lines = {name: [] for name in HELP}

    def add(self, metric, value, **labels):
        """Add a sample, unless its value is None."""
        if value is not None:
            text = ",".join(f"{key}={json.dumps(str(label), ensure_ascii=False)}" for key, label in labels.items())
            self.lines[metric].append(f"{metric}{f'{{{text}}}' if text else ''} {float(value):.17g}\n")

    def text(self):
        """Return the exposition format of the metrics that have samples."""
        return "".join(
            f"# HELP {name} {description}\n# TYPE {name} {kind}\n{''.join(self.lines[name])}"
            for name, (kind, description) in HELP.items()
            if self.lines[name]
        )


def number(path):
    """Return the number in a file of the kernel, or None if it does not exist."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def clients(status, now):
    """Return the hub's clients by name from OpenVPN's status file (version 3), none if the file is outdated."""
    rows = [line.split("\t") for line in status.splitlines()]
    written = next((int(row[2]) for row in rows if row[0] == "TIME"), 0)
    header = next((row[2:] for row in rows if row[:2] == ["HEADER", "CLIENT_LIST"]), [])
    if now - written > STALE:
        return {}
    found = [dict(zip(header, row[1:], strict=False)) for row in rows if row[0] == "CLIENT_LIST"]
    return {client["Common Name"]: client for client in found if client["Common Name"] != "UNDEF"}


def count(seen, connected):
    """Count the connections since the last run; `seen` maps a peer to its count and the start of its connection."""
    for peer, client in connected.items():
        since = int(client["Connected Since (time_t)"])
        entry = seen.setdefault(peer, {"count": 0, "since": None})
        if entry["since"] != since:
            entry.update(count=entry["count"] + 1, since=since)
    return seen


def ping(address, size):
    """Return the round-trip time in seconds of an unfragmented packet of `size` bytes, or None without a reply."""
    command = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", str(size - HEADERS), address]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    found = re.search(r"time=([\d.]+) ms", answer.stdout)
    return float(found[1]) / 1000 if found else None


def probe(address, size):
    """Return the round-trip time to a peer, and whether a packet of a size returns. Retries a lost packet once."""
    trip = ping(address, 84) or ping(address, 84)
    if trip is None:
        return None, None
    return trip, int(any(ping(address, size) is not None for _ in range(2)))


def output(*words):
    """Return the output of a program, empty if it fails or does not answer in time."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode() if done.returncode == 0 else ""


def bgp_sessions(shown):
    """Return the start of each established BGP session as Unix time by its name, from BIRD's list of protocols.

    The start is None if BIRD has not read the format of times in its configuration yet.
    """
    sessions = {}
    for words in map(str.split, shown.splitlines()):
        if words[1:2] == ["BGP"] and "Established" in words:
            try:  # BIRD writes local time
                sessions[words[0]] = time.mktime(time.strptime(" ".join(words[4:6]), "%Y-%m-%d %H:%M:%S"))
            except ValueError:
                sessions[words[0]] = None
    return sessions


def bfd_sessions(shown):
    """Return the addresses to which BIRD's BFD sessions are up."""
    return {words[0] for words in map(str.split, shown.splitlines()) if words[2:3] == ["Up"]}


def next_hops(shown):
    """Return the next hop to each address from the kernel's routes in JSON; networks are left out."""
    routes = json.loads(shown or "[]")
    return {route["dst"]: route["gateway"] for route in routes if "/" not in route["dst"] and "gateway" in route}


def routing(samples, host):
    """Add the metrics of BIRD: its sessions with the peers, and through which of them packets go."""
    established = bgp_sessions(output("birdc", "-r", "show", "protocols"))
    alive = bfd_sessions(output("birdc", "-r", "show", "bfd", "sessions"))
    hops = next_hops(output("ip", "-json", "-4", "route", "show", "proto", "bird"))
    for peer, at in host["peers"].items():
        samples.add("vpn_bgp_session_up", int(peer in established), peer=peer)
        samples.add("vpn_bgp_session_since_seconds", established.get(peer), peer=peer)
        if host["bfd"]:
            samples.add("vpn_bfd_session_up", int(at["address"] in alive), peer=peer)
        samples.add("vpn_routes", list(hops.values()).count(at["address"]), peer=peer)
    last = json.loads(PATHS.read_text(encoding="utf-8")) if PATHS.is_file() else {"changes": 0, "hops": {}}
    changed = any(last["hops"].get(address, hop) != hop for address, hop in hops.items())
    # An address without a path keeps its last one, so that a path that returns is no change.
    last = {"changes": last["changes"] + changed, "hops": {**last["hops"], **hops}}
    replace(PATHS, json.dumps(last), 0o600)
    samples.add("vpn_path_changes_total", last["changes"])
    if host["api_address"]:
        shown = output("ip", "-4", "-o", "address", "show", "dev", "lo", "to", f"{host['api_address']}/32")
        samples.add("vpn_api_address_announced", int(bool(shown.strip())))


def is_up(host):
    """Return whether all services of the VPN are active and a device has the host's VPN address."""
    active = all(
        subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0
        for unit in host["units"]
    )
    shown = output("ip", "-4", "-o", "address", "show", "to", f"{host['address']}/32")
    return int(active and bool(shown.strip()))


def tunnel(samples, host):
    """Add the metrics of every host."""
    samples.add("openvpn_up", is_up(host), name=host["name"], role=host["role"])
    samples.add("openvpn_tun_mtu_bytes", number(DEVICES / host["device"] / "mtu"))
    samples.add("openvpn_pod_mtu_bytes", number(DEVICES / "vxlan.calico" / "mtu"))
    samples.add("openvpn_pod_mtu_wanted_bytes", host["pod_mtu"])
    for name, end, authority in certificates(CONFIGURATION[host["role"]].read_text(encoding="utf-8")):
        samples.add("openvpn_certificate_not_after_seconds", end, name=name, kind="ca" if authority else "node")
    with ThreadPoolExecutor(len(host["peers"]) or 1) as executor:
        probes = {peer: executor.submit(probe, at["address"], host["tun_mtu"]) for peer, at in host["peers"].items()}
    for peer, answer in probes.items():
        trip, whole = answer.result()
        samples.add("openvpn_peer_round_trip_seconds", trip, peer=peer)
        samples.add("openvpn_path_mtu_ok", whole, peer=peer)
        if device := host["peers"][peer]["device"]:
            samples.add("openvpn_peer_connected", int(trip is not None), peer=peer)
            statistics = DEVICES / device / "statistics"
            samples.add("openvpn_peer_received_bytes_total", number(statistics / "rx_bytes"), peer=peer)
            samples.add("openvpn_peer_sent_bytes_total", number(statistics / "tx_bytes"), peer=peer)


def hub(samples, host):
    """Add the metrics of the hub: connections and revoked certificates."""
    status = STATUS.read_text(encoding="utf-8") if STATUS.is_file() else ""
    connected = clients(status, time.time())
    seen = count(json.loads(SEEN.read_text(encoding="utf-8")) if SEEN.is_file() else {}, connected)
    replace(SEEN, json.dumps(seen), 0o600)
    for peer in (name for name, found in host["peers"].items() if not found["device"]):
        client = connected.get(peer, {})
        samples.add("openvpn_peer_connected", int(bool(client)), peer=peer)
        samples.add("openvpn_peer_connected_since_seconds", client.get("Connected Since (time_t)"), peer=peer)
        samples.add("openvpn_peer_received_bytes_total", client.get("Bytes Received"), peer=peer)
        samples.add("openvpn_peer_sent_bytes_total", client.get("Bytes Sent"), peer=peer)
        samples.add("openvpn_peer_connections_total", seen.get(peer, {}).get("count"), peer=peer)
    samples.add("openvpn_revoked_certificates", len(list(REVOKED.iterdir())))


def kubernetes(samples):
    """Add the expiry of the certificates of the control plane."""
    for path, end, authority in control_plane(KUBERNETES):
        name = str(path.relative_to(KUBERNETES)).removesuffix(".crt")
        samples.add("kubernetes_certificate_not_after_seconds", end, name=name, kind="ca" if authority else "leaf")


def etcd_backup(samples):
    """Add the outcome of the backups of etcd, if the host makes any."""
    if not ETCD_BACKUP.is_file():
        return
    text = ETCD_BACKUP_OUTCOME.read_text(encoding="utf-8") if ETCD_BACKUP_OUTCOME.is_file() else "{}"
    outcome = json.loads(text)
    succeeded = outcome.get("succeeded", ETCD_BACKUP.stat().st_mtime)
    samples.add("etcd_backup_last_success_timestamp_seconds", succeeded)
    samples.add("etcd_backup_last_run_failed", int(outcome.get("failed", False)))
    samples.add("etcd_backup_size_bytes", outcome.get("size"))
    samples.add("etcd_backup_duration_seconds", outcome.get("seconds"))
    samples.add("etcd_backup_files", outcome.get("count"))


def replace(path, text, mode):
    """Replace a file atomically."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def main():
    host = json.loads(HOST.read_text(encoding="utf-8"))
    samples = Samples()
    tunnel(samples, host)
    if host["role"] == "hub":
        hub(samples, host)
    routing(samples, host)
    if host["control_plane"]:
        kubernetes(samples)
    etcd_backup(samples)
    if MEMBER.exists():
        samples.add("etcd_data_lost", int(not ETCD.is_dir()))
    TARGET.parent.mkdir(mode=0o755, exist_ok=True)
    replace(TARGET, samples.text(), 0o644)


if __name__ == "__main__":
    main()
