"""The SSH host keys of a cluster's hosts: scan, compare and pin them in a known_hosts file.

The keys come from ssh itself, so every host that ssh reaches by the user's configuration can be scanned. ssh then
connects with StrictHostKeyChecking=yes and only that file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maas import process
from maas.errors import HostKeyError, ProcessTimeoutError
from maas.files import write_private
from maas.hosts import ssh

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from maas.hosts.inventory import Host, Inventory

_ATTEMPTS = (5, 15)
"""Seconds for each attempt to connect: a slow host, or one far away, gets a second one."""
_KEY_EXCHANGE_SECONDS = 30
_ECDSA = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
# Types of keys in the order of preference, with their algorithms.
_ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    **{kind: (kind,) for kind in _ECDSA},
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
# A server has one key of each of these groups.
_GROUPS = (("ssh-ed25519",), _ECDSA, ("ssh-rsa",))
# What ssh says after the message of a jump host's ssh.
_EFFECT = re.compile("kex_exchange_identification: |Connection closed by UNKNOWN")


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


@dataclass(frozen=True)
class _Silent:
    """No key was obtained from a host: what ssh says."""

    reason: str


@dataclass(frozen=True)
class _Refused:
    """No key of a host is the expected one."""

    reason: str


def scan(
    inventory: Inventory, *, known_hosts: Path, optional: Collection[str] = (), replaced: str | None = None
) -> tuple[Trusted, ...]:
    """Scan the keys of all hosts in parallel and compare them with the pinned and the given ones. Writes nothing.

    A fingerprint in the inventory decides: it must be among the host's keys, and it replaces an earlier pin.
    Without one, the host must still offer the pinned key. Of a new host, the preferred key is trusted.

    Args:
        inventory: The hosts.
        known_hosts: The pinned keys.
        optional: Names of the hosts that `--without` can leave out, for the hint.
        replaced: Name of the host that is another machine than before, so that its pinned key does not count.

    Returns:
        The key to trust of each host, in the order of the inventory.

    Raises:
        HostKeyError: A host does not answer or shows another key; all of them are listed.
    """
    pinned = _read(known_hosts)
    with ThreadPoolExecutor(max_workers=len(inventory.hosts)) as pool:
        verdicts = list(
            pool.map(
                lambda host: _scan(host, None if host.name == replaced else pinned.get(ssh.known_as(host))),
                inventory.hosts,
            )
        )
    pairs = list(zip(inventory.hosts, verdicts, strict=True))
    silent = [(host, verdict.reason) for host, verdict in pairs if isinstance(verdict, _Silent)]
    if silent:
        raise _unreachable(silent, optional)
    refused = [(host, verdict.reason) for host, verdict in pairs if isinstance(verdict, _Refused)]
    if refused:
        host = refused[0][0]
        given = host.fingerprint is not None
        raise HostKeyError(
            f"the SSH host key of {', '.join(host.name for host, _ in refused)} has changed or is not the expected one",
            context=[f"{host.name}: {text}" for host, text in refused],
            hint="the host was reinstalled, or this is a man-in-the-middle attack. Compare the key with the output of "
            "`ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub` on the console of the host. If it is right, "
            + ("correct the fingerprint in the inventory" if given else "remove the pinned key, then run again"),
            command=None
            if given
            else f"ssh-keygen -f {shlex.quote(str(known_hosts))} -R {shlex.quote(ssh.known_as(host))}",
        )
    return tuple(verdict for verdict in verdicts if isinstance(verdict, Trusted))


def _unreachable(silent: list[tuple[Host, str]], optional: Collection[str]) -> HostKeyError:
    names = [host.name for host, _ in silent]
    # ssh accepts every key of the host itself here, so this is about a jump host.
    jump = any("Host key verification failed" in reason for _, reason in silent)
    check = (
        "a jump host shows a key that is not in your known_hosts; connect once by hand and compare its fingerprint"
        if jump
        else "check that address and port in the inventory are right, that the host is up, and that no firewall blocks SSH"
    )
    return HostKeyError(
        f"no SSH server answers on {', '.join(names)}",
        context=[f"{host.name}: {host.address} port {host.port}: {reason}" for host, reason in silent],
        hint=check + ssh.without_hint(names, optional=optional),
        command=ssh.plain_command(silent[0][0]),
        code="HostUnreachable",
    )


def pin(inventory: Inventory, keys: Iterable[Trusted], *, known_hosts: Path) -> None:
    """Write the trusted keys to a known_hosts file, beside those of other hosts."""
    hosts = {host.name: host for host in inventory.hosts}
    pinned = _read(known_hosts)
    entries = pinned | {ssh.known_as(hosts[trusted.host]): trusted.key for trusted in keys}
    if entries != pinned:
        _write(known_hosts, entries)


def _scan(host: Host, pinned: HostKey | None) -> Trusted | _Silent | _Refused:
    """Return the key to trust of a host. Each key takes a connection, so no more are asked for than needed."""
    if host.fingerprint is None and pinned is None:
        found = _key(host, list(_ALGORITHMS))
        return Trusted(host.name, found, new=True, reason="first seen") if isinstance(found, HostKey) else found
    expected = host.fingerprint or (pinned.fingerprint if pinned is not None else "")
    groups = list(_GROUPS)
    if pinned is not None:
        groups.sort(key=lambda group: pinned.kind not in group)
    offered: list[HostKey] = []
    for group in groups:
        found = _key(host, group)
        if isinstance(found, _Silent):
            return found
        if isinstance(found, _Refused):  # the host has no key of these types
            continue
        if found.fingerprint == expected:
            reason = "pinned" if host.fingerprint is None else "fingerprint in the inventory"
            return Trusted(host.name, found, found != pinned, reason)
        offered.append(found)
    shown = ", ".join(f"{key.fingerprint} ({key.kind})" for key in offered) or "no key of a known type"
    source = f"{pinned.kind}, pinned" if host.fingerprint is None and pinned is not None else "inventory"
    return _Refused(f"expected {expected} ({source}), the host offers {shown}")


def _key(host: Host, kinds: Collection[str]) -> HostKey | _Silent | _Refused:
    """Return the key of the first of some types that a host has, from the start of a connection without a login."""
    algorithms = [name for kind in kinds for name in _ALGORITHMS[kind]]
    reason = ""
    for seconds in _ATTEMPTS:
        with tempfile.TemporaryDirectory(prefix="maas-") as scratch:
            file = Path(scratch) / "known_hosts"
            argv = ssh.scan_command(host, known_hosts=file, algorithms=algorithms, seconds=seconds)
            try:
                done = process.run(argv, timeout=seconds + _KEY_EXCHANGE_SECONDS, check=False)
            except ProcessTimeoutError as error:
                reason = f"no answer within {error.seconds:g} s"
                continue
            found = _read(file)
        if found:
            return next(iter(found.values()))
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and not _EFFECT.match(line)]
        reason = lines[-1] if lines else f"ssh exited with status {done.returncode} without a message"
        if "no matching host key type" in reason:
            return _Refused(reason)
        if "timed out" not in reason:
            break
    return _Silent(reason)


def _parse(text: str) -> list[tuple[str, HostKey]]:
    entries = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or words[1] not in _ALGORITHMS:  # noqa: PLR2004 - host, type, key
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
