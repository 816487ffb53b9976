"""Which settings a container needs to be a host, decided from what the machine has."""

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
"""Names by number, as linux/capability.h has them."""
_NEEDED = frozenset({"SYS_ADMIN", "NET_ADMIN"})
"""Without these there is neither systemd nor a VPN in a container."""

TUN = "/dev/net/tun"
KMSG = "/dev/kmsg"

INOTIFY = {"fs/inotify/max_user_instances": 1024, "fs/inotify/max_user_watches": 524288}
"""What three hosts need of the limits that all containers of a user share; a kubelet that meets them fails oddly."""


class Cgroup(Enum):
    """How control groups are mounted."""

    V1 = "v1"
    HYBRID = "v1 with an empty v2 beside it"
    V2 = "v2"


@dataclass(frozen=True)
class Machine:
    """What was seen on the machine.

    Attributes:
        cgroup: How its control groups are mounted.
        missing: Capabilities that the kernel knows and that are not in the bounding set, so that no container has them.
        devices: Those of TUN and KMSG that exist.
        modules: /lib/modules exists.
        inotify: The values of the settings in INOTIFY.
        root: This process may change them.
        nameservers: Servers that answer from inside a container: those of the machine that are not on loopback.
    """

    cgroup: Cgroup
    missing: frozenset[str]
    devices: frozenset[str]
    modules: bool
    inotify: dict[str, int]
    root: bool
    nameservers: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """How a host's container is run.

    Attributes:
        privileged: Run with --privileged; then capabilities, devices, rules and security options are all implied.
        cap_add: Capabilities to add.
        cap_drop: Capabilities to take away.
        security_opt: Security options.
        device_rules: Rules of the device control group.
        devices: Devices of the machine to show.
        unmask: Show all of /proc and /sys (the CLI's `systempaths=unconfined`).
        tmpfs: Mount point to options.
        binds: Mounts of the machine's directories, `source:target:mode`.
        sysctls: Settings of the machine to raise.
        environment: Variables for the entry point.
        reasons: What was chosen and why, one sentence each.
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


def _refuse(machine: Machine) -> None:
    if lacking := sorted(machine.missing & _NEEDED):
        raise LabError(
            f"no container of this machine can be a host: it may not have {' and '.join(lacking)}",
            hint="the machine is a restricted container itself; take a virtual machine",
        )
    if TUN not in machine.devices and machine.missing:
        raise LabError(
            f"this machine has no {TUN}, so its hosts could have no VPN",
            hint="the kernel needs TUN (CONFIG_TUN); where it is a module, load it",
            command="modprobe tun",
        )


def decide(machine: Machine) -> Settings:
    """From what the machine has to how a host runs on it.

    Raises:
        LabError: The machine cannot run hosts at all.
    """
    _refuse(machine)
    privileged = not machine.missing
    reasons: list[str] = []
    if privileged:
        reasons.append("hosts run privileged: every capability is in the bounding set")
    else:
        reasons.append(
            f"hosts run with all capabilities but {', '.join(sorted(machine.missing))} and without confinement: "
            "what is not in the bounding set makes --privileged fail"
        )
    if machine.cgroup is Cgroup.V2:
        reasons.append(
            "control groups are v2: each host has its own name space of them, and systemd is the cgroup driver"
        )
    else:
        reasons.append(
            f"control groups are {machine.cgroup.value}: each host remounts its own writable, and cgroupfs is the driver"
        )
    if KMSG not in machine.devices:
        reasons.append(f"this machine has no {KMSG}: the kubelet will not report the kernel's out-of-memory kills")
    if machine.modules:
        reasons.append("hosts see the machine's kernel modules, read-only")
    else:
        reasons.append("the kernel has no loadable modules (/lib/modules is missing): what it has must be built in")
    raised = {name: wanted for name, wanted in INOTIFY.items() if machine.inotify.get(name, wanted) < wanted}
    if raised:
        pairs = ", ".join(f"{name.replace('/', '.')} to {wanted}" for name, wanted in raised.items())
        if machine.root:
            reasons.append(f"raise {pairs}, as all hosts share these limits; the last `down` puts them back")
        else:
            reasons.append(f"pods may fail to watch files: only root could raise {pairs}, which all hosts share")
    if not machine.nameservers:
        reasons.append("the machine names no server for DNS that is not on loopback: hosts get the engine's resolver")
    return Settings(
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
    """How control groups are mounted, from the text of /proc/self/mountinfo."""
    kinds = {line.split(" - ", 1)[1].split()[0] for line in mountinfo.splitlines() if " - cgroup" in line}
    if kinds == {"cgroup2"}:
        return Cgroup.V2
    return Cgroup.HYBRID if "cgroup2" in kinds else Cgroup.V1


def nameservers_of(*files: str) -> tuple[str, ...]:
    """The name servers of the first resolv.conf that names one which is not on loopback."""
    for text in files:
        words = [line.split() for line in text.splitlines()]
        found = tuple(pair[1] for pair in words if len(pair) > 1 and pair[0] == "nameserver" and _is_usable(pair[1]))
        if found:
            return found
    return ()


def _is_usable(address: str) -> bool:
    # A scoped IPv6 address means nothing outside its link, and hosts have no IPv6.
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.version == 4 and not parsed.is_loopback  # noqa: PLR2004 - the name of the protocol


def observe() -> Machine:
    """Look at the machine; nothing is changed."""
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        if line.startswith("CapBnd")
    )
    bounding = int(status["CapBnd"], 16)
    known = _CAPABILITIES[: int(host_state.read_sysctl("kernel/cap_last_cap")) + 1]
    resolvers = [Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")]
    return Machine(
        cgroup=cgroup_of(Path("/proc/self/mountinfo").read_text(encoding="utf-8")),
        missing=frozenset(name for number, name in enumerate(known) if not bounding >> number & 1),
        devices=frozenset(device for device in (TUN, KMSG) if Path(device).exists()),
        modules=Path("/lib/modules").is_dir(),
        inotify={name: int(host_state.read_sysctl(name)) for name in INOTIFY},
        root=os.geteuid() == 0,
        nameservers=nameservers_of(*(path.read_text(encoding="utf-8") for path in resolvers if path.exists())),
    )
