"""The SSH host keys of a cluster's hosts: scan, compare and pin them in a known_hosts file.

ssh then connects with StrictHostKeyChecking=yes and only that file.
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
from maas.hosts import ssh

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from maas.hosts.inventory import Host, Inventory

_SSH_PORT = 22
_SCAN_SECONDS = 10
# In the order of preference.
_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


@dataclass(frozen=True)
class HostKey:
    """A public SSH host key.

    Attributes:
        kind: Type of the key, such as ssh-ed25519.
        data: The key in base64, as in known_hosts.
    """

    kind: str
    data: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint SHA256:... as ``ssh-keygen -l`` prints it."""
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
    """Return the name of a host in known_hosts: its address, with the port if it is not 22."""
    return host.address if host.port == _SSH_PORT else f"[{host.address}]:{host.port}"


def scan(inventory: Inventory, *, known_hosts: Path, optional: Collection[str] = ()) -> tuple[Trusted, ...]:
    """Scan the keys of all hosts in parallel and compare them with the pinned and the given ones. Writes nothing.

    A fingerprint in the inventory decides: it must be among the host's keys, and it replaces an earlier pin.
    Without one, the host must still offer the pinned key. Of a new host, the preferred key is trusted.

    Args:
        inventory: The hosts.
        known_hosts: The pinned keys.
        optional: Names of the hosts that `--without` can leave out, for the hint.

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
            f"no SSH server answers on {', '.join(host.name for host in silent)}",
            context=[f"{host.name}: {host.address} port {host.port}" for host in silent],
            hint="check that address and port in the inventory are right, that the host is up, and that no firewall blocks SSH"
            + ssh.without_hint([host.name for host in silent], optional=optional),
            command=f"ssh-keyscan -p {silent[0].port} {shlex.quote(silent[0].address)}",
            code="HostUnreachable",
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
            f"the SSH host key of {', '.join(host.name for host, _ in refused)} has changed or is not the expected one",
            context=[f"{host.name}: {text}" for host, text in refused],
            hint="the host was reinstalled, or this is a man-in-the-middle attack. Compare the key with the output of "
            "`ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub` on the console of the host. If it is right, "
            + ("correct the fingerprint in the inventory" if given else "remove the pinned key, then run again"),
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
    """Return the key to trust, or why none of the offered ones is trusted."""
    offered = ", ".join(f"{key.fingerprint} ({key.kind})" for key in offer)
    if host.fingerprint is not None:
        for key in offer:
            if key.fingerprint == host.fingerprint:
                return Trusted(host.name, key, key != pinned, "fingerprint in the inventory")
        return f"expected {host.fingerprint} (inventory), the host offers {offered}"
    if pinned is None:
        return Trusted(host.name, offer[0], new=True, reason="first seen")
    if pinned in offer:
        return Trusted(host.name, pinned, new=False, reason="pinned")
    return f"expected {pinned.fingerprint} ({pinned.kind}, pinned), the host offers {offered}"


def _scan(host: Host) -> tuple[HostKey, ...]:
    """Return the keys that a host offers, the preferred one first; empty if it does not answer."""
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
