"""Choose the options with which a container can run as a host on this machine."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from maas.errors import LabError
from maas.lab import host_state

_CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]
"""Names by number, as in linux/capability.h."""
_NEEDED = frozenset({"SYS_ADMIN", "NET_ADMIN"})
"""Without these, a container can run neither systemd nor a VPN."""

TUN = "/dev/net/tun"
KMSG = "/dev/kmsg"

INOTIFY = {"fs/inotify/max_user_instances": 1024, "fs/inotify/max_user_watches": 524288}
"""Limits for three hosts. All containers of a user share them, and a kubelet that reaches them fails without saying why."""


class Cgroup(Enum):
    """The mounted version of control groups."""

    V1 = "v1"
    HYBRID = "v1 with an empty v2 hierarchy"
    V2 = "v2"


@dataclass(frozen=True)
class MachineFacts:
    """The facts of this machine that decide on the options.

    Attributes:
        cgroup: The version of control groups.
        missing: Capabilities that the kernel supports but that are not in the bounding set, so that no container can
            have them.
        devices: Those of TUN and KMSG that exist.
        modules: Whether /lib/modules exists.
        inotify: The values of the settings in INOTIFY.
        root: Whether this process can change them.
        nameservers: The machine's name servers that are not on loopback, so that containers can query them.
    """

    cgroup: Cgroup
    missing: frozenset[str]
    devices: frozenset[str]
    modules: bool
    inotify: dict[str, int]
    root: bool
    nameservers: tuple[str, ...]


@dataclass(frozen=True)
class ContainerOptions:
    """The options of a host's container.

    Attributes:
        privileged: Run with --privileged, which implies capabilities, devices, device rules and security options.
        cap_add: Capabilities to add.
        cap_drop: Capabilities to drop.
        security_opt: Security options.
        device_rules: Rules of the device control group.
        devices: Devices of the machine to add.
        unmask: Do not mask parts of /proc and /sys (`systempaths=unconfined` of the Docker CLI).
        tmpfs: Options by mount point.
        binds: Bind mounts, `source:target:mode`.
        sysctls: Kernel settings of the machine to change.
        environment: Environment variables of the entry point.
        reasons: The choices and their reasons, one sentence each.
    """

    privileged: bool
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    security_opt: tuple[str, ...]
    device_rules: tuple[str, ...]
    devices: tuple[str, ...]
    unmask: bool
    tmpfs: dict[str, str]
    binds: tuple[str, ...]
    sysctls: dict[str, int]
    environment: dict[str, str]
    reasons: tuple[str, ...]


def _refuse(machine: MachineFacts) -> None:
    if lacking := sorted(machine.missing & _NEEDED):
        raise LabError(
            f"containers on this machine cannot run as hosts: the capabilities {' and '.join(lacking)} are missing",
            hint="this machine is a restricted container itself; use a virtual machine",
            code="CapabilitiesMissing",
        )
    if TUN not in machine.devices and machine.missing:
        raise LabError(
            f"this machine has no {TUN}, which the hosts need for the VPN",
            hint="the kernel needs TUN (CONFIG_TUN); if it is a module, load it",
            command="modprobe tun",
            code="TunMissing",
        )


def choose(machine: MachineFacts) -> ContainerOptions:
    """Choose the options of the hosts' containers.

    Raises:
        LabError: Containers on this machine cannot run as hosts.
    """
    _refuse(machine)
    privileged = not machine.missing
    reasons: list[str] = []
    if privileged:
        reasons.append("hosts run privileged, because all capabilities are available")
    else:
        reasons.append(
            f"hosts run unconfined with all capabilities except {', '.join(sorted(machine.missing))}: "
            "--privileged fails if a capability is not in the bounding set"
        )
    if machine.cgroup is Cgroup.V2:
        reasons.append(
            "control groups are v2: each host has its own cgroup namespace, and the cgroup driver is systemd"
        )
    else:
        reasons.append(
            f"control groups are {machine.cgroup.value}: each host remounts its own, and the cgroup driver is cgroupfs"
        )
    if KMSG not in machine.devices:
        reasons.append(f"this machine has no {KMSG}: the kubelet cannot report out-of-memory kills")
    if machine.modules:
        reasons.append("hosts mount the machine's kernel modules read-only")
    else:
        reasons.append(
            "the kernel has no loadable modules (/lib/modules is missing): everything it needs must be built in"
        )
    raised = {name: wanted for name, wanted in INOTIFY.items() if machine.inotify.get(name, wanted) < wanted}
    if raised:
        pairs = ", ".join(f"{name.replace('/', '.')} to {wanted}" for name, wanted in raised.items())
        if machine.root:
            reasons.append(f"set {pairs}, because all hosts share these limits; `down` of the last lab restores them")
        else:
            reasons.append(f"pods may fail to watch files: only root can set {pairs}, which all hosts share")
    if not machine.nameservers:
        reasons.append("all name servers of this machine are on loopback: hosts use Docker's resolver")
    return ContainerOptions(
        privileged=privileged,
        cap_add=() if privileged else ("ALL",),
        cap_drop=tuple(sorted(machine.missing)),
        security_opt=("seccomp=unconfined", "apparmor=unconfined"),
        device_rules=() if privileged else ("a *:* rwm",),
        devices=() if privileged else tuple(sorted(machine.devices)),
        unmask=not privileged,
        tmpfs={"/run": "exec", "/tmp": "exec", "/run/lock": ""},  # noqa: S108 - mount points inside the host
        binds=("/lib/modules:/lib/modules:ro",) if machine.modules else (),
        sysctls=raised if machine.root else {},
        environment={"LAB_NAMESERVERS": " ".join(machine.nameservers)} if machine.nameservers else {},
        reasons=tuple(reasons),
    )


def cgroup_of(mountinfo: str) -> Cgroup:
    """Return the version of control groups from the text of /proc/self/mountinfo."""
    kinds = {line.split(" - ", 1)[1].split()[0] for line in mountinfo.splitlines() if " - cgroup" in line}
    if kinds == {"cgroup2"}:
        return Cgroup.V2
    return Cgroup.HYBRID if "cgroup2" in kinds else Cgroup.V1


def nameservers_of(*files: str) -> tuple[str, ...]:
    """Return the usable name servers of the first resolv.conf that has any; loopback addresses are not usable."""
    for text in files:
        words = [line.split() for line in text.splitlines()]
        found = tuple(pair[1] for pair in words if len(pair) > 1 and pair[0] == "nameserver" and _is_usable(pair[1]))
        if found:
            return found
    return ()


def _is_usable(address: str) -> bool:
    # A scoped IPv6 address is not valid outside its link, and hosts have no IPv6.
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.version == 4 and not parsed.is_loopback  # noqa: PLR2004 - the name of the protocol


def gather() -> MachineFacts:
    """Gather the facts of this machine. Makes no changes."""
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        if line.startswith("CapBnd")
    )
    bounding = int(status["CapBnd"], 16)
    known = _CAPABILITIES[: int(host_state.read_sysctl("kernel/cap_last_cap")) + 1]
    resolvers = [Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")]
    return MachineFacts(
        cgroup=cgroup_of(Path("/proc/self/mountinfo").read_text(encoding="utf-8")),
        missing=frozenset(name for number, name in enumerate(known) if not bounding >> number & 1),
        devices=frozenset(device for device in (TUN, KMSG) if Path(device).exists()),
        modules=Path("/lib/modules").is_dir(),
        inotify={name: int(host_state.read_sysctl(name)) for name in INOTIFY},
        root=os.geteuid() == 0,
        nameservers=nameservers_of(*(path.read_text(encoding="utf-8") for path in resolvers if path.exists())),
    )
