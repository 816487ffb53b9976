"""The inventory hosts.yaml: the hosts of a cluster and its private networks.

The models describe the file: schemas/inventory.schema.json, docs/inventory.md and the error messages are made from
them. `load` reports every problem of a file at once, each with its line and column. It contacts no host.
"""

from __future__ import annotations

import difflib
import json
import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

from maas.components import Model
from maas.errors import FileProblem, InventoryError
from maas.hosts._inventory_checks import SemanticChecks, key_path
from maas.hosts._located_yaml import Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from maas.hosts._located_yaml import Place

_MAX_SHOWN = 63
# Of Ansible's inventories: a section in an INI file or a variable, and the keys of a group in a YAML file.
_INI = re.compile(r"^\[[\w.:-]+\]\s*([#;].*)?$|\bansible_\w+\s*[=:]", re.MULTILINE)
_GROUP_KEYS = {"hosts", "children", "vars"}


class _Expected:
    """What a value must be, in error messages and as the title in the JSON Schema."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        text, inner = self._text, handler(source)
        error = "text" if inner["type"] == "str" else "value"
        return core_schema.custom_error_schema(inner, custom_error_type=error, custom_error_message=text)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        return {"title": self._text, **handler(schema)}


class _NotNull:
    """Removes null from the JSON Schema of an optional key: a key without a value is an error."""

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        made = handler(schema)
        (other,) = (choice for choice in made.pop("anyOf") if choice != {"type": "null"})
        return {**other, **made}


_NAME_SERVER = "the IPv4 address of a name server, which pods can reach"
_NETWORK = "an IPv4 network such as 10.90.0.0/24"
_RECIPIENT = "a public key of age (age1 and 58 characters)"
_RECIPIENT_LENGTH = 62
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def _network(value: object) -> IPv4Network:
    """Parse a network strictly: the standard library also accepts numbers, and addresses without a prefix length."""
    if isinstance(value, IPv4Network):
        return value
    text = value if isinstance(value, str) and "/" in value else ""
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise PydanticCustomError("value", _NETWORK) from None
    if str(network.network_address) != text.split("/")[0]:
        message = "{value} is an address inside the network {network}; write {network}"
        raise PydanticCustomError("message", message, {"value": value, "network": str(network)})
    return network


def _name_server(text: str) -> str:
    address = IPv4Address(text)
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        raise ValueError(text)
    return text


def _recipient(value: object) -> str:
    """Check a public key of age, with its checksum: a mistyped one would encrypt backups that nobody can decrypt."""
    text = value if isinstance(value, str) else ""
    if text.upper().startswith("AGE-SECRET-KEY-"):
        # Without the value, which must not get into a log.
        message = "this is a private key, which must not be here; write its public key (age-keygen -y FILE)"
        raise PydanticCustomError("message", message)
    known = text.startswith("age1") and len(text) == _RECIPIENT_LENGTH and set(text[4:]) <= set(_BECH32)
    if not known:
        raise PydanticCustomError("text", _RECIPIENT)
    if not _checksum_ok("age", text[4:]):
        raise PydanticCustomError("message", "{value} is mistyped: its checksum is wrong", {"value": text})
    return text


def _checksum_ok(prefix: str, data: str) -> bool:
    """Return whether the last characters of a Bech32 text are the checksum of the others (BIP 173)."""
    values = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    check = 1
    for value in [*values, *(_BECH32.index(letter) for letter in data)]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check == 1


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(path)
    return path


def _beside_file(path: Path, info: ValidationInfo) -> Path:
    directory = (info.context or {}).get("directory")
    return path if directory is None else key_path(str(path), directory)


Role = Literal["control-plane", "worker", "hub"]
_Port = Annotated[int, Field(strict=True, ge=1, le=65535), _Expected("a port number (1 to 65535)")]
_Endpoint = Annotated[str, Field(min_length=1), _Expected("a host name or an IP address")]
_NameServer = Annotated[
    str,
    AfterValidator(_name_server),
    WithJsonSchema({"title": _NAME_SERVER, "type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"}),
    _Expected(_NAME_SERVER),
]
_Network = Annotated[
    IPv4Network,
    BeforeValidator(_network),
    WithJsonSchema({"title": _NETWORK, "type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"}),
]
_ClusterName = Annotated[
    str,
    Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"),
    _Expected("a cluster name (lower-case letters, digits and '-', starts with a letter, at most 40 characters)"),
]
_NodeName = Annotated[
    str,
    Field(max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"),
    _Expected("a node name (lower-case letters, digits, '-' and '.', at most 63 characters)"),
]
# useradd, LDAP and Active Directory accept more than adduser: anna.meier, anna@example.org, EXAMPLE\\anna, host$.
# ssh rejects shell metacharacters and a backslash at the end.
_User = Annotated[
    str,
    Field(max_length=256, pattern=r"^[0-9]*[^\W\d]([\w.@\\+-]*[\w.@+-])?\$?$"),
    _Expected(
        "a user name (letters, digits and any of . _ - + @ \\ with at least one letter, starts with none of . - + @ \\)"
    ),
]
_KeyFile = Annotated[Path, AfterValidator(_beside_file), _Expected("the path of a private SSH key")]
_Fingerprint = Annotated[
    str,
    Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$"),
    _Expected("a fingerprint as printed by ssh-keygen -l (SHA256: and 43 characters)"),
]
_Jump = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_\[][A-Za-z0-9_.@:\[\]/,+-]*$"),
    _Expected("a jump host ([user@]host[:port], several separated by commas)"),
]
_LabelName = Annotated[
    str,
    Field(
        max_length=317,
        pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?"
        r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
    ),
    _Expected("a label name ([prefix/]name; the name has at most 63 letters, digits, '-', '_' and '.')"),
]
_LabelValue = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"),
    _Expected("a label value (text of at most 63 letters, digits, '-', '_' and '.')"),
]
_Recipient = Annotated[
    str,
    BeforeValidator(_recipient),
    WithJsonSchema({"title": _RECIPIENT, "type": "string", "pattern": f"^age1[{_BECH32}]{{58}}$"}),
]
_HostDirectory = Annotated[
    Path,
    AfterValidator(_absolute),
    WithJsonSchema({"type": "string", "pattern": r"^/(?!.*(^|/)\.\.(/|$))"}),
    _Expected("an absolute path without '..'"),
]


class Hub(Model):
    """The address of the OpenVPN server of a hub, which runs on a control plane or on a host of its own."""

    endpoint: _Endpoint
    """Name or address at which the hosts reach the hub. Forwarded UDP ports are sufficient."""
    port: _Port = 1194
    """UDP port at that address. A hub uses as many ports from this one on as there are hubs."""
    listen: Annotated[_Port | None, _NotNull()] = None
    """UDP port that the OpenVPN server listens on, if the port at that address is forwarded to it. Default: `port`."""

    @property
    def listening_port(self) -> int:
        """The UDP port that the OpenVPN server listens on."""
        return self.listen or self.port


class Networks(Model):
    """The private networks of the cluster. They must not overlap each other, nor networks that the hosts use."""

    vpn: _Network = IPv4Network("10.90.0.0/24")
    """Addresses of the hosts in the VPN, and the last one for the Kubernetes API."""
    transit: _Network = IPv4Network("10.93.0.0/21")
    """Addresses of the ends of the tunnels: an eighth for each hub, and one for the links between hubs."""
    pods: _Network = IPv4Network("10.91.0.0/16")
    """Addresses of pods. Each host takes a /24 of it."""
    services: _Network = IPv4Network("10.92.0.0/16")
    """Cluster IPs of Kubernetes services."""

    def containing(self, address: IPv4Address | str) -> str | None:
        """Return the name of the network that contains an address."""
        return next((name for name, network in self if IPv4Address(address) in network), None)


class Backup(Model):
    """Backups of etcd, which every control plane makes every half hour."""

    recipients: Annotated[tuple[_Recipient, ...], Field(min_length=1)]
    """Public keys of age that backups are encrypted to, as `age-keygen` prints them. Keep the private keys off the hosts."""
    keep: Annotated[int, Field(strict=True, ge=2, le=1000), _Expected("a number of backups (2 to 1000)")] = 48
    """Number of backups to keep on each control plane."""


class Ssh(Model):
    """Options of the SSH connection, in the terms of ssh_config. All others are read from the configuration of ssh."""

    proxyJump: _Jump  # noqa: N815 - the key in the file
    """Jump hosts on the way to the host: `[user@]host[:port]`, or an alias. Their keys must be in your known_hosts."""


class Host(Model):
    """A host."""

    name: _NodeName
    """Name of the Kubernetes node."""
    address: _Endpoint
    """Name or address for SSH, or an alias in `~/.ssh/config`."""
    role: Role
    """What the host is for. 1, 3 or 5 hosts are control planes. A `hub` is a small host that only forwards packets in the
    VPN: it is not a node of Kubernetes."""
    port: _Port = 22
    """Port of the SSH server, unless `~/.ssh/config` has another one."""
    user: _User = "root"
    """User to log in as, unless `~/.ssh/config` has another one: root, or a user with sudo."""
    ssh: Annotated[Ssh | None, _NotNull()] = None
    """Options of the SSH connection. By default, those in the configuration of ssh."""
    key: Annotated[_KeyFile | None, _NotNull()] = None
    """Private SSH key, relative to the inventory. By default, SSH chooses a key (agent, ~/.ssh)."""
    fingerprint: Annotated[_Fingerprint | None, _NotNull()] = None
    """Fingerprint of the SSH host key. By default, the first key that the host shows is pinned."""
    labels: dict[_LabelName, _LabelValue] = Field(default_factory=dict)
    """Labels of the Kubernetes node."""
    hub: Annotated[Hub | None, _NotNull()] = None
    """On a control plane, the address of its OpenVPN server, which makes it a hub; required on a host with the role `hub`.
    On a worker, the address of the only hub for this host, if it differs from that for the other hosts (same LAN, split DNS)."""
    bundle: Annotated[_HostDirectory | None, _NotNull()] = None
    """Directory on the host that already contains the bundle. By default, the bundle is copied over SSH."""


class InventoryFile(Model):
    """The hosts of a cluster and its private networks."""

    cluster: _ClusterName
    """Name of the cluster and of its state directory."""
    hub: Annotated[Hub | None, _NotNull()] = None
    """Address of the OpenVPN server of the first control plane, unless that host has a `hub` itself."""
    networks: Networks = Field(default_factory=Networks)
    """Private networks of the cluster."""
    nameservers: tuple[_NameServer, ...] = ()
    """Name servers of pods, at most three. By default, those of each host that pods can reach."""
    backup: Annotated[Backup | None, _NotNull()] = None
    """Backups of etcd. Without recipients, there are none."""
    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    """Hosts of the cluster."""


class Inventory(InventoryFile):
    """A valid inventory.

    Attributes:
        file: The absolute path of the file.
    """

    file: Path
    """Path of the file."""

    @property
    def control_planes(self) -> tuple[Host, ...]:
        """The hosts that run a control plane, in the order of the file."""
        return tuple(host for host in self.hosts if host.role == "control-plane")

    @property
    def control_plane(self) -> Host:
        """The first host that runs a control plane."""
        return self.control_planes[0]

    @property
    def hubs(self) -> tuple[Host, ...]:
        """The hosts that run an OpenVPN server, in the order of the file."""
        first = self.control_plane if self.hub is not None else None
        return tuple(host for host in self.hosts if host is first or (host.role != "worker" and host.hub is not None))

    @property
    def workers(self) -> tuple[Host, ...]:
        """The hosts that only run pods, in the order of the file."""
        return tuple(host for host in self.hosts if host.role == "worker")

    @property
    def nodes(self) -> tuple[Host, ...]:
        """The hosts that are nodes of Kubernetes, in the order of the file."""
        return tuple(host for host in self.hosts if host.role != "hub")

    def server_of(self, hub: Host) -> Hub:
        """Return the address of a hub's OpenVPN server, with the port that it listens on."""
        own = (hub.hub if hub.role != "worker" else None) or self.hub
        if own is None:
            raise ValueError(f"{hub.name} is not a hub")
        return own

    def servers_for(self, host: Host) -> dict[str, Hub]:
        """Return the addresses at which a host reaches the OpenVPN servers of the other hubs, by their names."""
        own = host.hub if host.role == "worker" else None
        return {hub.name: own or self.server_of(hub) for hub in self.hubs if hub.name != host.name}


_MODELS = {model.__name__: model for model in (Hub, Networks, Backup, Ssh, Host, InventoryFile)}


def load(path: Path) -> Inventory:
    """Read and check an inventory.

    Raises:
        InventoryError: With every problem of the file, in the order of the file.
    """
    document = Document(str(path))
    document.read(path)
    if other := _other_format(document):
        raise InventoryError(str(path), [FileProblem(str(path), 1, 1, other)])
    directory = path.absolute().parent
    read: InventoryFile | None = None
    if document.data is not None:
        try:
            read = InventoryFile.model_validate(document.data, context={"directory": directory})
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                _report(document, detail)
        for place in _empty(document.data, ()):
            document.add(place, "there is no value here")
        SemanticChecks(document, directory=directory, networks=dict(Networks())).run()
    elif not document.problems:
        document.add((), "the file is empty")
    if document.problems or read is None:
        raise InventoryError(str(path), sorted(set(document.problems)))
    values = dict(read)
    if read.hub is not None:
        # A copy without this host must not take the address for that of another one.
        first = next(host for host in read.hosts if host.role == "control-plane")
        own = first.model_copy(update={"hub": read.hub})
        values |= {"hub": None, "hosts": tuple(own if host is first else host for host in read.hosts)}
    return Inventory(file=path.absolute(), **values)


def _other_format(document: Document) -> str | None:
    """Return what a file of another kind looks like, and what to write instead; None for an inventory."""
    data = document.data
    ansible = False
    if not isinstance(data, dict):
        ansible = _INI.search(document.text) is not None
    elif not data.keys() & {"cluster", "hub", "networks"}:
        groups = [value for value in data.values() if isinstance(value, dict) and value]
        ansible = (
            "ansible_" in document.text
            or not data.keys().isdisjoint({"all", "_meta"})
            or any(group.keys() <= _GROUP_KEYS for group in groups)
        )
        if "apiVersion" in data:
            return "this looks like a Kubernetes object; write the keys cluster, hub and hosts (docs/inventory.md)"
    if ansible:
        return "this looks like an Ansible inventory; write the keys cluster, hub and hosts (docs/inventory.md)"
    return None


def _empty(value: object, place: Place) -> Iterator[Place]:
    """Yield the places of keys without a value."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _empty(inner, (*place, key))
        case list():
            for index, inner in enumerate(value):
                yield from _empty(inner, (*place, index))
        case None:
            yield place


def _report(document: Document, error: ErrorDetails) -> None:
    """Add a problem for an error of the models."""
    place, value, kind = error["loc"], error["input"], error["type"]
    if kind == "too_short" and value:
        return  # pydantic does not count the items that are not valid, which are reported themselves
    if place[-1:] == ("[key]",):
        document.add(place[:-1], f"this is not {error['msg']}", key=True)
    elif kind == "missing":
        document.add(place[:-1], f"the key {place[-1]} is missing")
    elif kind == "extra_forbidden":
        if len(place) == 1 and document.anchored(place):
            message = "unknown key; write the anchor at the first host that has these values"
        elif ":" in str(place[-1]):
            message = "unknown key; write a space after the colon"
        else:
            message = f"unknown key{_suggestion(str(place[-1]), _known_keys(place[:-1]))}"
        document.add(place, message, key=True)
    elif value is not None:
        document.add(place, _explain(error))


def _explain(error: ErrorDetails) -> str:
    value, kind, context = error["input"], error["type"], error.get("ctx", {})
    if kind in {"message", "too_short"}:
        return error["msg"] if kind == "message" else "the list is empty"
    if kind == "literal_error":
        return f"{_shown(value)} is not a role{_suggestion(str(value), list(get_args(Role)))}"
    if kind == "model_type":
        *keys, last = _MODELS[context["class_name"]].model_fields
        expected = f"a mapping with the keys {', '.join(keys)} and {last}"
    else:
        expected = {"dict_type": "a mapping", "tuple_type": "a list"}.get(kind, error["msg"])
    if isinstance(value, dict | list):
        return f"expected {expected}, not a {'mapping' if isinstance(value, dict) else 'list'}"
    if error["loc"][-1:] == ("port",) and isinstance(value, str) and _is_port(value):
        return f"{_shown(value)} is text; write it without quotes: {int(value)}"
    quotes = "text; write it in quotes (expected {})" if kind == "text" and not isinstance(value, str) else "{}"
    return f"{_shown(value)} is not {quotes.format(expected)}"


def _is_port(text: str) -> bool:
    return text.isascii() and text.strip().isdecimal() and len(text.strip()) <= 5 and 1 <= int(text) <= 65535  # noqa: PLR2004


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _known_keys(place: Place) -> list[str]:
    """Return the keys of the mapping at a place."""
    models: Mapping[object, type[Model]] = {"hub": Hub, "networks": Networks, "backup": Backup, "ssh": Ssh}
    model = InventoryFile if not place else Host if isinstance(place[-1], int) else models[place[-1]]
    return list(model.model_fields)


def _suggestion(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f", did you mean {close[0]}?" if close else f" (known: {', '.join(known)})"
