"""Checks of an inventory across its values, such as networks that overlap."""

from __future__ import annotations

import contextlib
import os
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from maas.hosts._located_yaml import Document, Place

# kube-controller-manager assigns a /24 of the pod network to each node, at most 2^16 of them.
_PODS_PER_NODE_PREFIX = 24
_PODS_SHORTEST_PREFIX = 8
# kube-apiserver accepts at most 2^20 service addresses; a platform with monitoring needs some dozens.
_SERVICES_PREFIXES = range(12, 27)
_VXLAN_PORT = 4789  # Calico's UDP port on every host
_DNS_LABEL = 63
_DNS_NAME = 253
# Ansible uses these names itself.
_RESERVED_NAMES = frozenset({"all", "localhost", "ungrouped"})


def key_path(value: str, directory: Path) -> Path:
    """Return the path of a key file: relative to the inventory, or to the home directory if it starts with ~."""
    return directory / os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises where there is no home


def _address(value: str) -> IPv4Address | IPv6Address | str | None:
    """Return an address, or a host name in lower case, or None if it is neither."""
    try:
        return ip_address(value)
    except ValueError:
        pass
    labels = value.lower().removesuffix(".").split(".")
    wrong = (
        len(value) > _DNS_NAME
        or labels[-1].isdigit()  # not a name, but a mistyped address
        or not all(
            0 < len(label) <= _DNS_LABEL
            and label.isascii()
            and label.replace("-", "").isalnum()
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
        self._add = document.add
        data = document.data if isinstance(document.data, dict) else {}
        self._data: dict[str, Any] = data
        entries = data.get("hosts")
        self._hosts: list[tuple[int, dict[str, Any]]] = [
            (index, entry)
            for index, entry in enumerate(entries if isinstance(entries, list) else [])
            if isinstance(entry, dict)
        ]

    def run(self) -> None:
        """Run all checks."""
        self._check_roles()
        self._check_names()
        self._check_addresses()
        self._check_hubs()
        self._check_keys()
        self._check_networks()

    def _text(self, mapping: Any, key: str) -> str | None:
        value = mapping.get(key) if isinstance(mapping, dict) else None
        return value if isinstance(value, str) and value else None

    def _check_roles(self) -> None:
        if not self._hosts:
            return
        planes = [index for index, host in self._hosts if host.get("role") == "control-plane"]
        if not planes:
            if all(host.get("role") == "worker" for _, host in self._hosts):
                self._add(("hosts",), "no host has the role control-plane; exactly one is required", key=True)
        elif len(planes) > 1:
            for index in planes[1:]:
                self._add(
                    ("hosts", index, "role"),
                    f"{len(planes)} hosts have the role control-plane; this version supports exactly one",
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
        seen: dict[tuple[object, object], int] = {}
        for index, host in self._hosts:
            place: Place = ("hosts", index, "address")
            text = self._text(host, "address")
            if text is None:
                continue
            address = self._reachable(place, text)
            if address is None:
                continue
            # Hosts behind one address with port forwarding have different ports.
            pair = (address, host.get("port", 22))
            if pair in seen:
                self._add(place, f"hosts[{seen[pair]}] has the address {text} and port {pair[1]} already")
            seen.setdefault(pair, index)

    def _reachable(self, place: Place, text: str) -> IPv4Address | IPv6Address | str | None:
        """Return the parsed address, or add a problem and return None if nothing can connect to it."""
        address = _address(text)
        if address is None:
            port = " (set the port with the key port)" if text.count(":") == 1 else ""
            self._add(place, f'"{text}" is neither a host name nor an IP address{port}')
        elif not isinstance(address, str) and (address.is_unspecified or address.is_multicast):
            self._add(place, f"{text} is not the address of a single host")
        else:
            return address
        return None

    def _check_hubs(self) -> None:
        workers = [(index, host) for index, host in self._hosts if host.get("role") == "worker"]
        shared = any("hub" not in host for _, host in workers)
        self._check_hub(("hub",), self._data.get("hub"), used=shared)
        for index, host in self._hosts:
            place: Place = ("hosts", index, "hub")
            if "hub" in host and host.get("role") == "control-plane":
                self._add(place, "the control plane runs the hub itself; remove this key", key=True)
            elif "hub" in host:
                self._check_hub(place, host["hub"], used=True)

    def _check_hub(self, place: Place, hub: Any, *, used: bool) -> None:
        if isinstance(hub, dict) and hub.get("port") == _VXLAN_PORT:
            self._add((*place, "port"), f"UDP port {_VXLAN_PORT} is used by the pod network on every host")
        text = self._text(hub, "endpoint")
        if text is None:
            return
        place = (*place, "endpoint")
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
            self._add(place, f"{text} is the address of the worker {name}; the hub runs on the control plane")

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
            if network.is_loopback or network.is_multicast or network.is_link_local or network.is_unspecified:
                self._add(place, f"{network} is not a private network")
            problem = self._size_problem(name, network)
            if problem:
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
        if name == "vpn" and network.num_addresses - 2 < hosts:
            return f"{network} is too small for {hosts} hosts"
        if name == "pods":
            if network.prefixlen > _PODS_PER_NODE_PREFIX or 1 << (_PODS_PER_NODE_PREFIX - network.prefixlen) < hosts:
                return f"{network} is too small: each of the {hosts} hosts needs a /{_PODS_PER_NODE_PREFIX}"
            if network.prefixlen < _PODS_SHORTEST_PREFIX:
                return f"{network} is too large, at most a /{_PODS_SHORTEST_PREFIX}"
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
