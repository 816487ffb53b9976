"""The hosts' ssh host keys: scanned once, shown, pinned in a known_hosts file of the cluster, a change refused.

ssh itself then connects with StrictHostKeyChecking=yes and that file alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas import process
from maas.errors import HostKeyError, ProcessTimeoutError
from maas.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from maas.hosts.inventory import Host, Inventory

_SSH_PORT = 22
_SCAN_SECONDS = 10
# The order of preference when a host offers several.
_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


@dataclass(frozen=True)
class HostKey:
    """A public ssh host key.

    Attributes:
        kind: Type of the key, such as ssh-ed25519.
        data: The key in base64, as known_hosts holds it.
    """

    kind: str
    data: str

    @property
    def fingerprint(self) -> str:
        """SHA256:..., as ``ssh-keygen -l`` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class Trusted:
    """The key that a host must show.

    Attributes:
        host: Name of the host.
        key: The key.
        new: Whether it is not pinned yet.
        reason: Why it is trusted, for the person who reviews it.
    """

    host: str
    key: HostKey
    new: bool
    reason: str


def pattern(host: Host) -> str:
    """How known_hosts names a host: the address, with the port when it is not 22."""
    return host.address if host.port == _SSH_PORT else f"[{host.address}]:{host.port}"


def scan(inventory: Inventory, *, known_hosts: Path) -> tuple[Trusted, ...]:
    """Scan the keys of all hosts in parallel and compare them with the pinned and the given ones. Writes nothing.

    A fingerprint in the inventory decides: it must be among the host's keys, and it replaces an earlier pin.
    Without one, the host must still offer the pinned key. Of a new host, the preferred key is trusted.

    Returns:
        The key to trust of each host, in the order of the inventory.

    Raises:
        HostKeyError: A host does not answer or shows another key; all of them are listed.
    """
    pinned = _read(known_hosts)
    with ThreadPoolExecutor(max_workers=len(inventory.hosts)) as pool:
        offers = list(pool.map(_scan, inventory.hosts))
    silent = [host for host, offer in zip(inventory.hosts, offers, strict=True) if not offer]
    if silent:
        raise HostKeyError(
            f"no ssh server answers on {', '.join(host.name for host in silent)}",
            context=[f"{host.name}: {host.address} port {host.port}" for host in silent],
            hint="check address and port in the inventory, that the host is up, and that a firewall lets ssh in; "
            f"to go on while a worker is down: --without {silent[0].name}",
            command=f"ssh-keyscan -p {silent[0].port} {shlex.quote(silent[0].address)}",
        )
    result: list[Trusted] = []
    refused: list[tuple[Host, str]] = []
    for host, offer in zip(inventory.hosts, offers, strict=True):
        verdict = _judge(host, offer, pinned.get(pattern(host)))
        if isinstance(verdict, Trusted):
            result.append(verdict)
        else:
            refused.append((host, verdict))
    if refused:
        host = refused[0][0]
        given = host.fingerprint is not None
        raise HostKeyError(
            f"the ssh host key of {', '.join(host.name for host, _ in refused)} is not the expected one",
            context=[f"{host.name}: {text}" for host, text in refused],
            hint="someone may stand between you and the host, or it was installed anew. Compare with what "
            "`ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub` prints on its console; when it is right, "
            + ("correct the fingerprint in the inventory" if given else "forget the old key and run again"),
            command=None if given else f"ssh-keygen -f {shlex.quote(str(known_hosts))} -R {shlex.quote(pattern(host))}",
        )
    return tuple(result)


def pin(inventory: Inventory, keys: Iterable[Trusted], *, known_hosts: Path) -> None:
    """Write the trusted keys to a known_hosts file, beside those of other hosts."""
    hosts = {host.name: host for host in inventory.hosts}
    pinned = _read(known_hosts)
    entries = pinned | {pattern(hosts[trusted.host]): trusted.key for trusted in keys}
    if entries != pinned:
        _write(known_hosts, entries)


def _judge(host: Host, offer: tuple[HostKey, ...], pinned: HostKey | None) -> Trusted | str:
    """The key to hold a host to, or why none of those it offers will do."""
    offered = ", ".join(f"{key.fingerprint} ({key.kind})" for key in offer)
    if host.fingerprint is not None:
        for key in offer:
            if key.fingerprint == host.fingerprint:
                return Trusted(host.name, key, key != pinned, "the inventory gives this fingerprint")
        return f"the inventory gives {host.fingerprint}, the host shows {offered}"
    if pinned is None:
        return Trusted(host.name, offer[0], new=True, reason="seen for the first time")
    if pinned in offer:
        return Trusted(host.name, pinned, new=False, reason="the same as before")
    return f"pinned was {pinned.fingerprint} ({pinned.kind}), the host now shows {offered}"


def _scan(host: Host) -> tuple[HostKey, ...]:
    """The keys that a host offers, the preferred one first; empty when it does not answer."""
    argv = ["ssh-keyscan", "-T", str(_SCAN_SECONDS // 2), "-p", str(host.port), "-t", "ed25519,ecdsa,rsa"]
    try:
        done = process.run([*argv, host.address], timeout=_SCAN_SECONDS, check=False)
    except ProcessTimeoutError:
        return ()
    keys = [key for _, key in _parse(done.stdout)]
    return tuple(sorted(set(keys), key=lambda key: _TYPES.index(key.kind)))


def _parse(text: str) -> list[tuple[str, HostKey]]:
    entries = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or words[1] not in _TYPES:  # noqa: PLR2004 - host, type, key
            continue
        try:
            base64.b64decode(words[2], validate=True)
        except binascii.Error:
            continue
        entries.append((words[0], HostKey(words[1], words[2])))
    return entries


def _read(known_hosts: Path) -> dict[str, HostKey]:
    try:
        return dict(_parse(known_hosts.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _write(known_hosts: Path, entries: Mapping[str, HostKey]) -> None:
    text = "".join(f"{name} {key.kind} {key.data}\n" for name, key in sorted(entries.items()))
    write_private(known_hosts, text.encode())
