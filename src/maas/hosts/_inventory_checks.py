"""Checks of an inventory across its values, such as networks that overlap."""

from __future__ import annotations

import contextlib
import os
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from maas.hosts._located_yaml import Document, Place

# kube-controller-manager assigns a /24 of the pod network to each node, at most 2^16 of them.
_PODS_PER_NODE_PREFIX = 24
# What OpenVPN's directive `server` accepts for a tun device with topology subnet.
_VPN_PREFIXES = range(16, 30)
# networks.transit is divided into one part for each hub, and the last one for the links between hubs.
TRANSIT_PARTS = 8
_TRANSIT_PREFIX = 23
# An even number of members of etcd survives no more failures than one less, and more than five make each write slow.
CONTROL_PLANES = (1, 3, 5)
# RFC 1918, and the addresses of RFC 6598 for networks between carriers and customers.
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
# kube-apiserver accepts at most 2^20 service addresses; a platform with monitoring needs some dozens.
_SERVICES_PREFIXES = range(12, 27)
_VXLAN_PORT = 4789  # Calico's UDP port on every host
_LAST_PORT = 65535
_HUB_PORT = 1194  # the default of Hub.port
_MAX_NAME_SERVERS = 3  # of resolv.conf and of the kubelet
_DNS_LABEL = 63
_DNS_NAME = 253
# Groups of the inventory that Ansible receives (ansible_inventory.py).
GROUPS = ("control_plane", "further_control_planes", "guarded_control_planes", "workers", "hubs")
_RESERVED_NAMES = frozenset({"all", "localhost", "127.0.0.1", "ungrouped", *GROUPS})
_KUBELET_LABELS = frozenset(
    {
        *(f"{prefix}kubernetes.io/{name}" for prefix in ("", "beta.") for name in ("arch", "os")),
        "kubernetes.io/hostname",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/windows-build",
    }
)
_KUBEADM_LABELS = frozenset({"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"})
# kubeadm sets it on control planes only; on a worker it is a user's choice.
_EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


def key_path(value: str, directory: Path) -> Path:
    """Return the path of a key file: relative to the inventory, or to the home directory if it starts with ~."""
    return directory / os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises where there is no home


def _address(value: str, *, alias: bool = False) -> IPv4Address | IPv6Address | str | None:
    """Return an address, or a host name in lower case, or None if it is neither. Aliases of ssh can contain `_`."""
    try:
        return ip_address(value)
    except ValueError:
        pass
    labels = value.lower().removesuffix(".").split(".")
    spare = str.maketrans("", "", "-_" if alias else "-")
    wrong = (
        len(value) > _DNS_NAME
        or labels[-1].isdigit()  # not a name, but a mistyped address
        or not all(
            0 < len(label) <= _DNS_LABEL
            and label.isascii()
            and label.translate(spare).isalnum()
            and label[0] != "-" != label[-1]
            for label in labels
        )
    )
    return None if wrong else ".".join(labels)


class SemanticChecks:
    """Checks across values. They skip the parts of the document that are not valid by themselves."""

    def __init__(self, document: Document, *, directory: Path, networks: Mapping[str, IPv4Network]) -> None:
        """Prepare the checks.

        Args:
            document: The file. Problems are added to it.
            directory: The directory of the file.
            networks: The default networks by name.
        """
        self._directory = directory
        self._defaults = networks
        self._document = document
        self._add = document.add
        data = document.data if isinstance(document.data, dict) else {}
        self._data: dict[str, Any] = data
        entries = data.get("hosts")
        self._hosts: list[tuple[int, dict[str, Any]]] = [
            (index, entry)
            for index, entry in enumerate(entries if isinstance(entries, list) else [])
            if isinstance(entry, dict)
        ]
        self._planes = [(index, host) for index, host in self._hosts if host.get("role") == "control-plane"]
        self._servers = [(index, host) for index, host in self._hosts if host.get("role") in {"control-plane", "hub"}]

    def run(self) -> None:
        """Run all checks."""
        self._check_roles()
        self._check_names()
        self._check_addresses()
        self._check_hubs()
        self._check_keys()
        self._check_labels()
        self._check_networks()

    def _text(self, mapping: Any, key: str) -> str | None:
        value = mapping.get(key) if isinstance(mapping, dict) else None
        return value if isinstance(value, str) and value else None

    def _check_roles(self) -> None:
        if not self._hosts:
            return
        count, wanted = len(self._planes), "1, 3 or 5"
        if not count:
            if all(host.get("role") in {"worker", "hub"} for _, host in self._hosts):
                self._add(("hosts",), f"no host has the role control-plane; {wanted} are required", key=True)
        elif count not in CONTROL_PLANES:
            reason = (
                f"more than {CONTROL_PLANES[-1]} members make etcd slow"
                if count > CONTROL_PLANES[-1]
                else f"etcd with {count} members survives no more failures than with {count - 1}"
            )
            self._add(
                ("hosts", self._planes[-1][0], "role"),
                f"{count} hosts have the role control-plane; use {wanted}, because {reason}",
            )

    def _check_names(self) -> None:
        seen: dict[str, int] = {}
        for index, host in self._hosts:
            name = self._text(host, "name")
            if name is None:
                continue
            place: Place = ("hosts", index, "name")
            if name in seen:
                self._add(place, f"hosts[{seen[name]}] has the name {name} already")
            if name in _RESERVED_NAMES:
                self._add(place, f"Ansible reserves the name {name}; choose another one")
            seen.setdefault(name, index)

    def _check_addresses(self) -> None:
        seen: dict[tuple[object, object, object], int] = {}
        for index, host in self._hosts:
            place: Place = ("hosts", index, "address")
            text = self._text(host, "address")
            if text is None:
                continue
            address = self._reachable(place, text, alias=True)
            if address is None:
                continue
            # Hosts behind one address with port forwarding have different ports; private networks behind different
            # jump hosts can have the same addresses.
            way = (address, host.get("port", 22), self._text(host.get("ssh"), "proxyJump"))
            if way in seen:
                self._add(place, f"hosts[{seen[way]}] has the address {text} and port {way[1]} already")
            seen.setdefault(way, index)

    def _reachable(self, place: Place, text: str, *, alias: bool = False) -> IPv4Address | IPv6Address | str | None:
        """Return the parsed address, or add a problem and return None if nothing can connect to it."""
        address = _address(text, alias=alias)
        bracketed = re.fullmatch(r"\[([^]]*)\](:[0-9]+)?", text)
        if address is None and bracketed:
            port = " and set the port with the key port" if bracketed[2] else ""
            self._add(place, f'"{text}" is not an address; write it without brackets{port}')
        elif address is None:
            port = " (set the port with the key port)" if text.count(":") == 1 else ""
            self._add(place, f'"{text}" is neither a host name nor an IP address{port}')
        elif not isinstance(address, str) and (address.is_unspecified or address.is_multicast):
            self._add(place, f"{text} is not the address of a single host")
        else:
            return address
        return None

    def _check_hubs(self) -> None:
        if isinstance(self._document.data, dict) and "hub" not in self._data:
            if not any("hub" in host for _, host in self._servers):
                self._add((), "the key hub is missing")
        elif self._planes and "hub" in self._planes[0][1]:
            place: Place = ("hosts", self._planes[0][0], "hub")
            self._add(
                place, "the key hub of the file is the address of this host already; remove one of them", key=True
            )
        places = self._hub_places()
        self._check_servers(places)
        workers = [host for _, host in self._hosts if host.get("role") == "worker"]
        used = len(places) > 1 or any("hub" not in host for host in workers)
        for place, hub, owner in places:
            self._check_hub(place, hub, owner=owner, used=used, count=len(places))
        for index, host in self._hosts:
            if "hub" not in host or host.get("role") in {"control-plane", "hub"}:
                continue
            place = ("hosts", index, "hub")
            if len(places) > 1:
                self._add(
                    place,
                    "there are several hubs, and this key does not say which one it is for; remove it, and give a hub "
                    "that has another address here a name that this host resolves to it",
                    key=True,
                )
                continue
            self._check_hub(place, host["hub"], owner=None, used=True, count=1)
            if isinstance(host["hub"], dict) and "listen" in host["hub"]:
                self._add((*place, "listen"), "the hub has one listening port; write it in hub.listen", key=True)
        self._check_ports(places)

    def _hub_places(self) -> list[tuple[Place, Any, dict[str, Any] | None]]:
        """Return place, value and host of each hub."""
        first = self._planes[0][1] if self._planes else None
        found: list[tuple[Place, Any, dict[str, Any] | None]] = []
        if "hub" in self._data:
            found.append((("hub",), self._data["hub"], first))
        rest = [(index, host) for index, host in self._servers if host is not first or "hub" not in self._data]
        return found + [(("hosts", index, "hub"), host["hub"], host) for index, host in rest if "hub" in host]

    def _check_servers(self, places: list[tuple[Place, Any, dict[str, Any] | None]]) -> None:
        """Check that hosts can be hubs, that some can announce the address of the API, and that there are not too many."""
        for index, host in self._servers:
            if host["role"] == "hub" and "hub" not in host:
                message = "the key hub is missing: it is the address at which the other hosts reach this hub"
                self._add(("hosts", index), message)
        planes = [host for _, host in self._planes]
        if places and len(planes) > 1 and not any(owner is plane for _, _, owner in places for plane in planes):
            self._add(
                ("hosts", self._planes[0][0], "role"),
                "no control plane is a hub, and with several of them only a hub can announce the address of the API; give "
                "control planes the key hub",
            )
        if len(places) >= TRANSIT_PARTS:
            place, _, _ = places[TRANSIT_PARTS - 1]
            self._add(place, f"there are {len(places)} hubs; {TRANSIT_PARTS - 1} are supported", key=True)

    def _check_ports(self, places: list[tuple[Place, Any, dict[str, Any] | None]]) -> None:
        """Check that the ports of no two hubs are the same. Each hub has one more for every link to another hub."""
        seen: list[tuple[object, int, Place]] = []
        for place, hub, _ in places:
            text, port = self._text(hub, "endpoint"), hub.get("port", _HUB_PORT) if isinstance(hub, dict) else None
            address = _address(text) if text else None
            if address is None or not isinstance(port, int):
                continue
            for other, first, at in seen:
                if other != address or abs(first - port) >= len(places):
                    continue
                name = "hub" if at == ("hub",) else f"hosts[{at[1]}].hub"
                ports = f"the ports {first} to {first + len(places) - 1} of {text}"
                self._add((*place, "endpoint"), f"{name} has {ports}; use other ones, or another endpoint")
            seen.append((address, port, place))

    def _check_hub(self, place: Place, hub: Any, *, owner: dict[str, Any] | None, used: bool, count: int) -> None:
        """Check the address of a hub.

        Args:
            place: Where it is.
            hub: Its value.
            owner: The host whose address it is; None if it is that of a hub for one worker.
            used: Whether a host uses it.
            count: The number of hubs.
        """
        listening = "listen" if isinstance(hub, dict) and "listen" in hub else "port"
        port = hub.get(listening) if isinstance(hub, dict) else None
        if isinstance(port, int) and port <= _VXLAN_PORT < port + count:
            self._add((*place, listening), f"UDP port {_VXLAN_PORT} is used by the pod network on every host")
        if isinstance(port, int) and port <= _LAST_PORT < port + count - 1:
            self._add((*place, listening), f"a hub uses {count} ports, and {port} leaves too few up to {_LAST_PORT}")
        text = self._text(hub, "endpoint")
        if text is None:
            return
        place = (*place, "endpoint")
        if isinstance(_address(re.sub(r"^\[(.*)\](:[0-9]+)?$", r"\1", text)), IPv6Address):
            self._add(
                place, f"{text} is an IPv6 address, but the VPN uses IPv4; write an IPv4 address, or a name with one"
            )
            return
        endpoint = self._reachable(place, text)
        if endpoint is None or not used:
            return
        loopback = endpoint == "localhost" if isinstance(endpoint, str) else endpoint.is_loopback
        if loopback:
            self._add(place, f"{text} is the loopback address of each host, not the address of the hub")
            return
        owners = [
            host
            for _, host in self._hosts
            if (address := self._text(host, "address")) is not None and _address(address) == endpoint
        ]
        if owners and all(host.get("role") == "worker" for host in owners):
            name = owners[0].get("name", "a worker")
            self._add(place, f"{text} is the address of the worker {name}, which is not a hub")
        elif owners and owner is not None and owner not in owners:
            own, name = owner.get("name", "this host"), owners[0].get("name", "another host")
            self._add(place, f"{text} is the address of {name}, not of {own}")

    def _check_keys(self) -> None:
        checked: set[Path] = set()
        for index, host in self._hosts:
            value = self._text(host, "key")
            if value is None:
                continue
            path = key_path(value, self._directory)
            if path in checked:
                continue
            checked.add(path)
            problem = _key_problem(path)
            if problem:
                self._add(("hosts", index, "key"), problem)

    def _check_labels(self) -> None:
        for index, host in self._hosts:
            labels = host.get("labels")
            if labels and host.get("role") == "hub":
                self._add(("hosts", index, "labels"), "a hub is not a node of Kubernetes, and has no labels", key=True)
                continue
            for name in labels if isinstance(labels, dict) else ():
                place: Place = ("hosts", index, "labels", name)
                plane = host.get("role") == "control-plane"
                if name in _KUBELET_LABELS:
                    self._add(place, "the kubelet sets this label on every node; remove it", key=True)
                elif name in _KUBEADM_LABELS or (plane and name == _EXCLUDE_LABEL):
                    self._add(place, "kubeadm sets this label on the control plane; remove it", key=True)

    def _networks(self) -> Iterator[tuple[str, IPv4Network]]:
        given = self._data.get("networks", {})
        if not isinstance(given, dict):
            return
        for name, default in self._defaults.items():
            text = given.get(name, default)
            with contextlib.suppress(ValueError):
                yield name, IPv4Network(text if isinstance(text, str | IPv4Network) else "", strict=False)

    def _check_networks(self) -> None:
        networks = dict(self._networks())
        for name, network in networks.items():
            place: Place = ("networks", name)
            if not any(network.subnet_of(private) for private in _PRIVATE):
                *others, last = map(str, _PRIVATE)
                self._add(place, f"{network} is not a private network; use a part of {', '.join(others)} or {last}")
            elif problem := self._size_problem(name, network):
                self._add(place, problem)
        given = self._data.get("networks", {})
        for (first, one), (second, other) in combinations(networks.items(), 2):
            if one.overlaps(other):
                # Report it at a network that the file contains, and name defaults as such.
                at, against = (second, first) if second in given else (first, second)
                default = "" if against in given else " (its default)"
                self._add(("networks", at), f"{networks[at]} overlaps networks.{against} {networks[against]}{default}")
        self._check_inside(networks)

    def _size_problem(self, name: str, network: IPv4Network) -> str | None:
        hosts = len(self._hosts)
        if name == "vpn" and network.prefixlen not in _VPN_PREFIXES:
            small = network.prefixlen > _VPN_PREFIXES[0]
            limit = f"at least a /{_VPN_PREFIXES[-1]}" if small else f"at most a /{_VPN_PREFIXES[0]}"
            return f"{network} is too {'small' if small else 'large'} for OpenVPN, {limit}"
        if name == "transit" and (
            network.prefixlen > _TRANSIT_PREFIX or network.num_addresses // TRANSIT_PARTS - 2 < hosts
        ):
            return f"{network} is too small: an eighth of it must have an address for each of the {hosts} hosts, at least a /26"
        # The network, the broadcast address, and that of the API.
        if name == "vpn" and network.num_addresses - 3 < hosts:
            return f"{network} is too small for {hosts} hosts"
        spare = _PODS_PER_NODE_PREFIX - network.prefixlen
        nodes = sum(host.get("role") != "hub" for _, host in self._hosts)
        if name == "pods" and (spare < 0 or 1 << spare < nodes):
            return f"{network} is too small: each of the {nodes} nodes needs a /{_PODS_PER_NODE_PREFIX}"
        if name == "services" and network.prefixlen not in _SERVICES_PREFIXES:
            small = network.prefixlen > _SERVICES_PREFIXES[0]
            limit = f"at least a /{_SERVICES_PREFIXES[-1]}" if small else f"at most a /{_SERVICES_PREFIXES[0]}"
            return f"{network} is too {'small' if small else 'large'}, {limit}"
        return None

    def _check_inside(self, networks: dict[str, IPv4Network]) -> None:
        """Check that no address that is needed before the VPN exists is in a network of the cluster."""
        places: list[tuple[Place, str | None]] = [(("hub", "endpoint"), self._text(self._data.get("hub"), "endpoint"))]
        for index, host in self._hosts:
            places.append((("hosts", index, "address"), self._text(host, "address")))
            places.append((("hosts", index, "hub", "endpoint"), self._text(host.get("hub"), "endpoint")))
        servers = self._data.get("nameservers")
        for index, server in enumerate(servers if isinstance(servers, list) else []):
            places.append((("nameservers", index), server if isinstance(server, str) else None))
            if index == _MAX_NAME_SERVERS:
                self._add(
                    ("nameservers", index), f"at most {_MAX_NAME_SERVERS} name servers are used; remove the others"
                )
        for place, text in places:
            address = _address(text) if text else None
            for name, network in networks.items():
                if isinstance(address, IPv4Address) and address in network:
                    self._add(place, f"{text} is in networks.{name} {network}, which exists only inside the cluster")


def _key_problem(path: Path) -> str | None:
    """Return what is wrong with a private key file, or None."""
    try:
        status = path.stat()
        if not path.is_file():
            return f"{path} is not a file"
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        return f"cannot read the key file {path}: {reason}"
    if start.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return f"{path} is a public key; use the private key" + (
            f" ({path.with_suffix('').name})" if path.suffix == ".pub" else ""
        )
    if status.st_mode & 0o077:
        return f"other users can read the key file {path}, so ssh rejects it; run: chmod 600 {path}"
    return None
