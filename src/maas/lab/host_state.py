"""The state of this machine's network and kernel before the lab, and how to restore it.

A Docker daemon enables IP forwarding, adds firewall rules and creates a bridge, and leaves all of them when it stops.
The lab stops a daemon that it started itself and then compares the machine with a snapshot that it took before the
start. What others changed in between stays.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from maas import process

IPTABLES = {"iptables": "ip", "ip6tables": "ip6"}
"""Program and the name of its address family in nft."""
_SYSCTL = Path("/proc/sys")
_FORWARDING = ("net/ipv4/ip_forward",)

RUN = Path("/run/maas")
"""State until the next boot: snapshots, the log of Docker, and the lock of all labs."""
_BOOT = (_SYSCTL / "kernel/random/boot_id").read_text(encoding="ascii")[:8]
ENGINE_SNAPSHOT = RUN / f"engine-before-{_BOOT}.json"
_SYSCTLS = RUN / f"settings-before-{_BOOT}.json"
_KUBELET = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""Kernel settings that a kubelet changes at its start and that all containers share with the machine."""

_ENGINES = re.compile(r"\bDOCKER\b|\bdocker0\b|\bbr-[0-9a-f]{12}\b")
"""Names of the chains, bridges and networks of Docker."""

Table = dict[str, list[str]]


def parse(saved: str) -> Table:
    """Return the lines of `iptables-save` by table: chains (`:NAME POLICY`) and rules (`-A ...`), without counters."""
    tables: Table = {}
    current: list[str] = []
    for raw in saved.splitlines():
        line = raw.strip()
        if line.startswith("*"):
            current = tables.setdefault(line[1:], [])
        elif line.startswith(":"):
            current.append(line.rsplit(" [", 1)[0])
        elif line.startswith("-A"):
            current.append(line)
    return tables


def cleanup_script(before: str, after: str) -> str:
    """Return the input of `iptables-restore --noflush` that removes what Docker added.

    It deletes Docker's new rules, then its chains, and restores the policies of built-in chains. Rules that others
    added stay, and rules that others removed stay removed.

    Args:
        before: Output of `iptables-save` before Docker started.
        after: Output of `iptables-save` now.
    """
    old = parse(before)
    script: list[str] = []
    for table, lines in parse(after).items():
        had = old.get(table, [])
        policies = dict(line[1:].split(" ", 1) for line in had if line.startswith(":"))
        chains: list[str] = []
        body: list[str] = []
        left = list(had)
        for line in lines:
            if line in left:
                left.remove(line)
            elif line.startswith(":") and not line.endswith(" -"):
                chain, policy = line[1:].split(" ", 1)
                if (wanted := policies.get(chain, "ACCEPT")) != policy:
                    body.append(f"-P {chain} {wanted}")
            elif _ENGINES.search(line):
                if line.startswith(":"):
                    chains.append(line[1:].removesuffix(" -"))
                else:
                    body.append(f"-D{line[2:]}")
        body += [f"-X {chain}" for chain in chains]
        if body:
            script += [f"*{table}", *body, "COMMIT"]
    return "\n".join(script) + "\n" if script else ""


def empty_tables(before: str, after: str) -> list[str]:
    """Return the new tables that contain only built-in chains whose policy is ACCEPT."""
    old = parse(before)
    return [
        table
        for table, lines in parse(after).items()
        if table not in old and all(line.startswith(":") and line.endswith(" ACCEPT") for line in lines)
    ]


@dataclass(frozen=True)
class Snapshot:
    """The parts of a machine that Docker changes.

    Attributes:
        links: Names of the network interfaces.
        rules: Output of `iptables-save` and `ip6tables-save` by the name of the program, of those that are installed.
        sysctls: Values of kernel settings by their path under /proc/sys.
    """

    links: tuple[str, ...]
    rules: dict[str, str] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)

    def dump(self) -> str:
        """Return the snapshot as JSON."""
        return json.dumps({"links": self.links, "rules": self.rules, "sysctls": self.sysctls}, indent=1)

    @classmethod
    def load(cls, text: str) -> Snapshot:
        """Return the snapshot that `dump` wrote."""
        data = json.loads(text)
        return cls(links=tuple(data["links"]), rules=data["rules"], sysctls=data["sysctls"])


def read_sysctl(name: str) -> str:
    """Return the value of a kernel setting by its path under /proc/sys."""
    return (_SYSCTL / name).read_text(encoding="ascii").strip()


def write_sysctl(name: str, value: str) -> None:
    """Set a kernel setting by its path under /proc/sys."""
    (_SYSCTL / name).write_text(value, encoding="ascii")


def take_snapshot() -> Snapshot:
    """Take a snapshot of the machine."""
    rules = {
        name: process.run([f"{name}-save"]).stdout for name in IPTABLES if shutil.which(f"{name}-save") is not None
    }
    return Snapshot(
        links=tuple(sorted(path.name for path in Path("/sys/class/net").iterdir())),
        rules=rules,
        sysctls={name: read_sysctl(name) for name in _FORWARDING},
    )


def restore(before: Snapshot) -> list[str]:
    """Remove what Docker left on the machine when it stopped.

    Returns:
        What was removed or restored, one line each.
    """
    now = take_snapshot()
    done: list[str] = []
    if "docker0" in now.links and "docker0" not in before.links:
        process.run(["ip", "link", "delete", "docker0"])
        done.append("removed network interface docker0")
    for name, after in now.rules.items():
        script = cleanup_script(before.rules.get(name, ""), after)
        if script:
            process.run([f"{name}-restore", "--noflush"], input=script)
            done.append(f"removed firewall rules of Docker ({name})")
        _drop_tables(name, before.rules.get(name, ""))
    for name, value in before.sysctls.items():
        if now.sysctls.get(name) != value:
            write_sysctl(name, value)
            done.append(f"restored {name.replace('/', '.')} to {value}")
    return done


def _drop_tables(name: str, before: str) -> None:
    """Remove tables that iptables created on first use. Only nft can remove them."""
    version = process.run([name, "--version"]).stdout
    if "nf_tables" not in version or shutil.which("nft") is None:
        return
    for table in empty_tables(before, process.run([f"{name}-save"]).stdout):
        process.run(["nft", "delete", "table", IPTABLES[name], table])


def apply_sysctls(wanted: dict[str, int]) -> None:
    """Set kernel settings that all hosts share; store their former values and those of settings that a kubelet changes.

    Args:
        wanted: Values by path under /proc/sys.
    """
    noted: dict[str, str] = json.loads(_SYSCTLS.read_text(encoding="utf-8")) if _SYSCTLS.exists() else {}
    for name in (*_KUBELET, *wanted):
        noted.setdefault(name, read_sysctl(name))
    _SYSCTLS.parent.mkdir(parents=True, exist_ok=True)
    _SYSCTLS.write_text(json.dumps(noted), encoding="utf-8")
    for name, value in wanted.items():
        write_sysctl(name, str(value))


def restore_sysctls() -> list[str]:
    """Restore the stored values of kernel settings and return what was changed, one line each."""
    if not _SYSCTLS.exists():
        return []
    noted: dict[str, str] = json.loads(_SYSCTLS.read_text(encoding="utf-8"))
    changed = {name: value for name, value in noted.items() if read_sysctl(name) != value}
    for name, value in changed.items():
        write_sysctl(name, value)
    _SYSCTLS.unlink()
    return [f"restored {name.replace('/', '.')} to {value}" for name, value in changed.items()]
