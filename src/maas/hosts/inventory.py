"""The inventory: which hosts become a cluster, and the private networks it gets.

`load` reads a hosts.yaml, checks its form against schemas/inventory.schema.json and then its meaning, and reports
everything that is wrong at once, each with its place in the file. No host is contacted.
"""

from __future__ import annotations

import difflib
import json
import os
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from itertools import combinations
from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import TYPE_CHECKING, Any, Literal, cast

from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict

from maas import paths
from maas.errors import InventoryError
from maas.hosts._located_yaml import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

    from maas.hosts._located_yaml import Place

# kube-controller-manager cuts a /24 for each node out of the pods' network, at most 2^16 of them.
_PODS_PER_NODE_PREFIX = 24
_PODS_SHORTEST_PREFIX = 8
# kube-apiserver refuses more than 2^20 service addresses; a platform with monitoring needs some dozens.
_SERVICES_PREFIXES = range(12, 27)
_VXLAN_PORT = 4789  # Calico's own UDP port on every host
_DNS_LABEL = 63
_DNS_NAME = 253
# Ansible gives these names a meaning of their own.
_RESERVED_NAMES = frozenset({"all", "localhost", "ungrouped"})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hub(_Model):
    """Where the OpenVPN server is reached: host name or address, and UDP port."""

    endpoint: str
    port: int = 1194


class Networks(_Model):
    """The private networks of the cluster; they overlap neither each other nor the hosts' own."""

    vpn: IPv4Network = IPv4Network("10.90.0.0/24")
    pods: IPv4Network = IPv4Network("10.91.0.0/16")
    services: IPv4Network = IPv4Network("10.92.0.0/16")


class Host(_Model):
    """One host.

    Attributes:
        name: Name of the Kubernetes node.
        address: Host name or address at which ssh reaches it.
        port: Port of its ssh server.
        user: User to log in as.
        key: Private ssh key, absolute; None for what ssh finds itself.
        role: What it does in the cluster.
        fingerprint: What its ssh host key must have as fingerprint, when it is known beforehand.
        labels: Labels of the Kubernetes node.
        hub: How this host reaches the hub, when not as the others.
        bundle: Directory on the host to which the bundle was carried already.
    """

    name: str
    address: str
    role: Literal["control-plane", "worker"]
    port: int = 22
    user: str = "root"
    key: Path | None = None
    fingerprint: str | None = None
    labels: dict[str, str] = {}
    hub: Hub | None = None
    bundle: Path | None = None


class Inventory(_Model):
    """A checked inventory.

    Attributes:
        file: The file it came from, absolute.
        cluster: Name of the cluster.
        hub: Where the hosts reach the OpenVPN server.
        networks: The private networks.
        hosts: Every host, in the order of the file.
    """

    file: Path
    cluster: str
    hub: Hub
    hosts: tuple[Host, ...]
    networks: Networks = Networks()

    @property
    def control_plane(self) -> Host:
        """The host that runs the control plane and the OpenVPN hub."""
        return next(host for host in self.hosts if host.role == "control-plane")

    @property
    def workers(self) -> tuple[Host, ...]:
        """Every other host, in the order of the file."""
        return tuple(host for host in self.hosts if host.role == "worker")

    def hub_of(self, host: Host) -> Hub:
        """How a host reaches the hub."""
        return host.hub or self.hub


def load(path: Path) -> Inventory:
    """Read and check an inventory.

    Raises:
        InventoryError: With every problem of the file, in the order of the file.
    """
    document = Document(str(path))
    document.read(path)
    if document.data is not None:
        _check_form(document)
        _Meaning(document, path.absolute().parent).check()
    elif not document.problems:
        document.add((), "the file is empty")
    if document.problems:
        raise InventoryError(str(path), sorted(set(document.problems)))
    data = cast("dict[str, Any]", document.data)
    hosts = [
        {**host, "key": _key_path(host["key"], path.absolute().parent)} if "key" in host else host
        for host in data["hosts"]
    ]
    return Inventory.model_validate({**data, "hosts": hosts, "file": path.absolute()})


@cache
def _schema() -> dict[str, Any]:
    text = (paths.content() / "schemas" / "inventory.schema.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


def _check_form(document: Document) -> None:
    """Add a problem for everything that the JSON Schema refuses."""
    for error in Draft202012Validator(_schema()).iter_errors(document.data):
        place: Place = tuple(error.absolute_path)
        if error.validator == "additionalProperties" and error.validator_value is False:
            known = list(error.schema["properties"])
            for key in error.instance:
                if key not in known:
                    document.add((*place, key), f"unknown key{_suggestion(key, known)}", key=True)
        elif error.validator == "required":
            for key in cast("list[str]", error.validator_value):
                if key not in error.instance:
                    document.add(place, f"the key {key} is missing")
        elif "propertyNames" in error.absolute_schema_path:
            document.add((*place, error.instance), f"this is not {error.schema['title']}", key=True)
        else:
            document.add(place, _explain(error))


def _explain(error: ValidationError) -> str:
    wanted = cast("dict[str, Any]", error.schema)["title"]
    value = error.instance
    if error.validator == "minItems":
        return "the list is empty"
    if value is None:
        return f"there is no value here, expected {wanted}"
    if isinstance(value, dict | list):
        return f"expected {wanted}, not a {'mapping' if isinstance(value, dict) else 'list'}"
    shown = json.dumps(value, ensure_ascii=False)
    shown = shown if len(shown) <= _DNS_LABEL else f"{shown[:_DNS_LABEL]}..."
    if error.validator == "type" and error.validator_value == "string":
        return f"{shown} is not text; write it in quotes (expected {wanted})"
    if error.validator == "enum":
        return f"{shown} is not {wanted}{_suggestion(str(value), cast('list[str]', error.validator_value))}"
    return f"{shown} is not {wanted}"


def _suggestion(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f", did you mean {close[0]}?" if close else f" (known: {', '.join(known)})"


def _key_path(value: str, directory: Path) -> Path:
    return directory / os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises where there is no home


def _address(value: str) -> IPv4Address | IPv6Address | str | None:
    """An address, or a host name in lower case; None when it is neither."""
    try:
        return ip_address(value)
    except ValueError:
        pass
    labels = value.lower().removesuffix(".").split(".")
    wrong = (
        len(value) > _DNS_NAME
        or labels[-1].isdigit()  # so is no name, but an address with a slip
        or not all(
            0 < len(label) <= _DNS_LABEL
            and label.isascii()
            and label.replace("-", "").isalnum()
            and label[0] != "-" != label[-1]
            for label in labels
        )
    )
    return None if wrong else ".".join(labels)


class _Meaning:
    """The checks that a schema cannot express, over whatever parts of the document have the right form."""

    def __init__(self, document: Document, directory: Path) -> None:
        self._document = document
        self._directory = directory
        self._add = document.add
        data = document.data if isinstance(document.data, dict) else {}
        self._data: dict[str, Any] = data
        entries = data.get("hosts")
        self._hosts: list[tuple[int, dict[str, Any]]] = [
            (index, entry)
            for index, entry in enumerate(entries if isinstance(entries, list) else [])
            if isinstance(entry, dict)
        ]

    def check(self) -> None:
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
                self._add(("hosts",), "no host has the role control-plane; exactly one must", key=True)
        elif len(planes) > 1:
            parity = ", an even number, which etcd has no use for" if len(planes) % 2 == 0 else ""
            for index in planes[1:]:
                self._add(
                    ("hosts", index, "role"),
                    f"{len(planes)} hosts have the role control-plane{parity}; this version supports exactly one",
                )

    def _check_names(self) -> None:
        seen: dict[str, int] = {}
        for index, host in self._hosts:
            name = self._text(host, "name")
            if name is None:
                continue
            place: Place = ("hosts", index, "name")
            if name in seen:
                self._add(place, f"the name {name} is taken by hosts[{seen[name]}]")
            if name in _RESERVED_NAMES:
                self._add(place, f"the name {name} has a meaning of its own for Ansible; take another")
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
            # Hosts behind one forwarding address differ in the port.
            pair = (address, host.get("port", 22))
            if pair in seen:
                self._add(place, f"the address {text} with port {pair[1]} is taken by hosts[{seen[pair]}]")
            seen.setdefault(pair, index)

    def _reachable(self, place: Place, text: str) -> IPv4Address | IPv6Address | str | None:
        """The parsed address when a connection can be made to it at all, otherwise None and a problem."""
        address = _address(text)
        if address is None:
            port = " (the port is a key of its own)" if text.count(":") == 1 else ""
            self._add(place, f'"{text}" is neither a host name nor an IP address{port}')
        elif not isinstance(address, str) and (address.is_unspecified or address.is_multicast):
            self._add(place, f"{text} is not an address of one host")
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
                self._add(place, "the control plane is the hub itself and needs no way to it", key=True)
            elif "hub" in host:
                self._check_hub(place, host["hub"], used=True)

    def _check_hub(self, place: Place, hub: Any, *, used: bool) -> None:
        if isinstance(hub, dict) and hub.get("port") == _VXLAN_PORT:
            self._add((*place, "port"), f"UDP port {_VXLAN_PORT} belongs to the pods' network on every host")
        text = self._text(hub, "endpoint")
        if text is None:
            return
        place = (*place, "endpoint")
        endpoint = self._reachable(place, text)
        if endpoint is None or not used:
            return
        loopback = endpoint == "localhost" if isinstance(endpoint, str) else endpoint.is_loopback
        if loopback:
            self._add(place, f"{text} leads each host to itself, never to the hub")
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
            path = _key_path(value, self._directory)
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
        for name, default in Networks():
            if name not in given:
                yield name, default
                continue
            text = given[name]
            if not isinstance(text, str) or text.count("/") != 1:
                continue
            place: Place = ("networks", name)
            try:
                network = IPv4Network(text, strict=False)
            except ValueError:
                if text.replace(".", "").replace("/", "").isdigit():
                    self._add(place, f'"{text}" is not an IPv4 network')
                continue
            if str(network.network_address) != text.split("/")[0]:
                self._add(place, f"{text} is an address inside the network {network}; write {network}")
            yield name, network

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
                # The complaint stands at a network that the user wrote, and names a default as such.
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
                return f"{network} is too small: each of the {hosts} hosts takes a /{_PODS_PER_NODE_PREFIX} of it"
            if network.prefixlen < _PODS_SHORTEST_PREFIX:
                return f"{network} is too large, at most a /{_PODS_SHORTEST_PREFIX}"
        if name == "services" and network.prefixlen not in _SERVICES_PREFIXES:
            small = network.prefixlen > _SERVICES_PREFIXES[0]
            limit = f"at least a /{_SERVICES_PREFIXES[-1]}" if small else f"at most a /{_SERVICES_PREFIXES[0]}"
            return f"{network} is too {'small' if small else 'large'}, {limit}"
        return None

    def _check_inside(self, networks: dict[str, IPv4Network]) -> None:
        """Nothing that must be reached before the VPN exists may lie inside the cluster's own networks."""
        places: list[tuple[Place, str | None]] = [(("hub", "endpoint"), self._text(self._data.get("hub"), "endpoint"))]
        for index, host in self._hosts:
            places.append((("hosts", index, "address"), self._text(host, "address")))
            places.append((("hosts", index, "hub", "endpoint"), self._text(host.get("hub"), "endpoint")))
        for place, text in places:
            address = _address(text) if text else None
            for name, network in networks.items():
                if isinstance(address, IPv4Address) and address in network:
                    self._add(place, f"{text} lies inside networks.{name} {network}, which exists only in the cluster")


def _key_problem(path: Path) -> str | None:
    """What is wrong with a private key file, or None."""
    try:
        status = path.stat()
        if not path.is_file():
            return f"{path} is not a file"
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        return f"the key file {path} cannot be read: {reason}"
    if start.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return f"{path} is a public key; name the private one" + (
            f" ({path.with_suffix('').name})" if path.suffix == ".pub" else ""
        )
    if status.st_mode & 0o077:
        return f"others may read the key file {path}, so ssh refuses it; run: chmod 600 {path}"
    return None
