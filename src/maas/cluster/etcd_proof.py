"""Test that a backup of etcd can be restored: restore it into an etcd of its own on this machine, and read what it has.

That etcd listens on loopback only, and requires a client certificate of the cluster, as the control plane's does: the backup
contains both, so the proof covers the PKI too.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from maas import paths, process
from maas.bundle import tools
from maas.cluster import etcd_backups
from maas.errors import ClusterError, ProcessError
from maas.hosts import encryption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.cluster.etcd_backups import Opened
    from maas.console import Phase

_PREFIX = b"/registry/"
_SECRETS = _PREFIX + b"secrets/"
_SEALED = b"k8s:enc:"
_PROTOBUF = b"k8s\0"
_PAGE = 500
_NEWEST = 50
_START_SECONDS = 60
_VARINT, _BYTES = 0, 2
# Fields of runtime.Unknown, of an API object, of ObjectMeta and of Time.
_RAW, _METADATA, _CREATED, _TIME_SECONDS = 2, 1, 8, 1


@dataclass(frozen=True)
class Proof:
    """What a restored backup contains.

    Attributes:
        objects: Number of objects by resource.
        newest: When the newest object was created.
        newest_name: Its key in etcd.
        sealed: Number of Secrets that are encrypted with a key of the backup.
        seconds: How long the restore took, until etcd answered.
    """

    objects: dict[str, int]
    newest: datetime | None
    newest_name: str
    sealed: int
    seconds: float

    @property
    def total(self) -> int:
        """Number of all objects."""
        return sum(self.objects.values())


def prove(opened: Opened, step: Phase) -> Proof:
    """Restore a backup into an etcd on loopback, and return what it contains.

    Raises:
        ClusterError: It cannot be restored, lacks the objects of every cluster, or has Secrets without their key.
    """
    began = time.monotonic()
    data = opened.directory.parent / "data"
    peer = f"http://127.0.0.1:{_free_port()}"
    words = ["snapshot", "restore", opened.directory / etcd_backups.SNAPSHOT, "--data-dir", data, "--name", "proof"]
    words += ["--initial-cluster", f"proof={peer}", "--initial-advertise-peer-urls", peer]
    step.note("restoring the snapshot")
    try:
        process.run([str(word) for word in (tools.tool("etcdutl"), *words)])
    except ProcessError as error:
        raise _not_restorable(opened, error.context[-3:]) from error
    with _etcd(opened, data, peer, step) as etcd:
        seconds = time.monotonic() - began
        step.note("reading the objects")
        objects = Counter(resource(key) for key in etcd.keys(_PREFIX) if key.count(b"/") > _PREFIX.count(b"/"))
        if not objects["namespaces"]:
            raise _not_restorable(opened, ["it has no namespaces"])
        newest, name = max(
            ((created(value), key) for key, value in etcd.newest(_PREFIX) if created(value)), default=(None, b"")
        )
        return Proof(dict(sorted(objects.items())), newest, name.decode(), _sealed(etcd, opened), seconds)


_OWN_NAMES = {"controllers": "replicationcontrollers", "minions": "nodes", "specs": "services"}
"""Resources whose names in etcd are others than in the API."""


def resource(key: bytes) -> str:
    """Return the resource of a key, as kubectl names it."""
    first, second, *_ = key.removeprefix(_PREFIX).decode("utf-8", "replace").split("/")
    if "." in first:
        return f"{second}.{first}"
    name = second if first == "services" else first
    return _OWN_NAMES.get(name, name)


def created(value: bytes) -> datetime | None:
    """Return when an object was created, from its stored form; None if that is encrypted or has no time."""
    seconds: int | None = None
    if value.startswith(_PROTOBUF):
        with contextlib.suppress(ValueError, IndexError, KeyError, TypeError):
            found: Any = value.removeprefix(_PROTOBUF)
            for field in (_RAW, _METADATA, _CREATED, _TIME_SECONDS):
                found = dict(_fields(found))[field]
            seconds = found
    elif value.startswith(b"{"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return datetime.fromisoformat(json.loads(value)["metadata"]["creationTimestamp"])
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and seconds else None


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a protobuf message that are numbers or have a length."""
    position = 0

    def varint() -> int:
        nonlocal position
        value, shift = 0, 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while position < len(data):
        tag = varint()
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            yield field, varint()
        elif kind == _BYTES:
            length = varint()
            yield field, data[position : position + length]
            position += length
        else:
            raise ValueError(kind)


def _sealed(etcd: _Etcd, opened: Opened) -> int:
    """Return how many Secrets are encrypted. All of them must be readable with the keys of the backup."""
    configuration = opened.directory / "kubernetes" / "encryption" / "config.yaml"
    text = configuration.read_text(encoding="utf-8") if configuration.is_file() else ""
    known = {f"k8s:enc:secretbox:v1:{name}:".encode() for name in (encryption.read(text).names if text else ())}
    count = 0
    for key, value in etcd.values(_SECRETS):
        if not value.startswith(_SEALED):
            continue
        if not value.startswith(tuple(known)):
            name = value[:80].rpartition(b":")[0].decode("ascii", "replace")
            raise _not_restorable(opened, [f"{key.decode()} is encrypted with a key that it does not have: {name}"])
        count += 1
    return count


def _not_restorable(opened: Opened, context: list[str] | tuple[str, ...]) -> ClusterError:
    return ClusterError(
        f"{opened.file.name} cannot be restored",
        context=context,
        hint="use an older backup, and find out why this one is damaged",
        command=paths.command("etcd", "list", *opened.same),
        code="BackupDamaged",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _etcd(opened: Opened, data: Path, peer: str, step: Phase) -> Iterator[_Etcd]:
    """Run an etcd with the restored data while the block runs."""
    pki = opened.directory / "kubernetes" / "pki" / "etcd"
    port = _free_port()
    client = f"https://127.0.0.1:{port}"
    words = ["--name=proof", f"--data-dir={data}", f"--listen-peer-urls={peer}", f"--listen-client-urls={client}"]
    words += [f"--advertise-client-urls={client}", "--client-cert-auth", f"--trusted-ca-file={pki / 'ca.crt'}"]
    words += [f"--cert-file={pki / 'server.crt'}", f"--key-file={pki / 'server.key'}", "--unsafe-no-fsync"]
    log = data.parent / "etcd.log"
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "healthcheck-client.crt", pki / "healthcheck-client.key")
    with process.background([tools.tool("etcd-server"), *words], log=log) as child:
        step.note("starting etcd")
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                etcd = _Etcd(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60))
                etcd.range(_PREFIX, limit=1)
                break
            except (OSError, http.client.HTTPException) as error:
                if child.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-2:]
                    raise _not_restorable(opened, [str(error), *(line[:300] for line in tail)]) from error
            time.sleep(0.1)
        yield etcd


@dataclass(frozen=True)
class _Etcd:
    """An etcd, by its JSON gateway: a library for its gRPC API would be one dependency more, for this command alone."""

    connection: http.client.HTTPSConnection

    def range(self, key: bytes, end: bytes | None = None, **options: Any) -> list[tuple[bytes, bytes]]:
        """Return keys with their values, from `key` until `end`, by default all those that start with `key`."""
        end = key[:-1] + bytes([key[-1] + 1]) if end is None else end
        body = {"key": base64.b64encode(key).decode(), "range_end": base64.b64encode(end).decode(), **options}
        self.connection.request("POST", "/v3/kv/range", json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise OSError(f"etcd answers {answer.status}: {text[:200].decode('utf-8', 'replace')}")
        found = json.loads(text).get("kvs", [])
        return [(base64.b64decode(one["key"]), base64.b64decode(one.get("value", ""))) for one in found]

    def values(self, prefix: bytes, **options: Any) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys with a prefix, and their values, page by page."""
        start, end = prefix, prefix[:-1] + bytes([prefix[-1] + 1])
        while page := self.range(start, end, limit=_PAGE, **options):
            yield from page
            start = page[-1][0] + b"\0"

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the keys with a prefix."""
        return (key for key, _ in self.values(prefix, keys_only=True))

    def newest(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return the keys that were created last, with their values."""
        return self.range(prefix, limit=_NEWEST, sort_order="DESCEND", sort_target="CREATE")
