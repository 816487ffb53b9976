"""What a container engine leaves on the machine, and how to take it away again.

A Docker daemon turns on forwarding, writes firewall rules and makes a bridge, and leaves all of them behind when it
stops. An engine that the lab itself started is stopped with the last lab, so what it left is undone by comparing the
machine with what was noted before the start. What others changed in between stays.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from maas import process

IPTABLES = {"iptables": "ip", "ip6tables": "ip6"}
"""Program and the family that nft calls by another name."""
_SYSCTL = Path("/proc/sys")
_FORWARDING = ("net/ipv4/ip_forward",)

RUN = Path("/run/maas")
"""What holds until the next boot: notes of what was before, an engine's log, and the lock of all labs."""
_BOOT = (_SYSCTL / "kernel/random/boot_id").read_text(encoding="ascii")[:8]
ENGINE_NOTE = RUN / f"engine-before-{_BOOT}.json"
_SHARED = RUN / f"settings-before-{_BOOT}.json"
_KUBELET = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""What a kubelet sets at its start and what no container has of its own, so that it changes the machine."""

_ENGINES = re.compile(r"\bDOCKER\b|\bdocker0\b|\bbr-[0-9a-f]{12}\b")
"""What names a chain, the bridge or a network of Docker."""

Table = dict[str, list[str]]


def parse(saved: str) -> Table:
    """The lines of `iptables-save` by table: chains (`:NAME POLICY`) and rules (`-A ...`), without counters."""
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


def undo(before: str, after: str) -> str:
    """The input of `iptables-restore --noflush` that takes away what an engine added.

    Both are outputs of `iptables-save`. New rules of the engine are deleted as they were written, then its chains, and a
    built-in chain gets its policy back. What somebody else added meanwhile stays, and rules that are gone are not brought
    back: whoever did that meant it.
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


def hollow(before: str, after: str) -> list[str]:
    """Tables that `after` has and `before` had not, and in which nothing is left but chains that let all pass."""
    old = parse(before)
    return [
        table
        for table, lines in parse(after).items()
        if table not in old and all(line.startswith(":") and line.endswith(" ACCEPT") for line in lines)
    ]


@dataclass(frozen=True)
class Traces:
    """What a machine looks like to the tools that a container engine uses.

    Attributes:
        links: Names of the network interfaces.
        rules: Output of `iptables-save` and `ip6tables-save`, by the program's name; empty where it is not installed.
        sysctls: Values of the settings that the engine or the lab changes, by their path under /proc/sys.
    """

    links: tuple[str, ...]
    rules: dict[str, str] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)

    def dump(self) -> str:
        """This as JSON."""
        return json.dumps({"links": self.links, "rules": self.rules, "sysctls": self.sysctls}, indent=1)

    @classmethod
    def load(cls, text: str) -> Traces:
        """The reverse of `dump`."""
        data = json.loads(text)
        return cls(links=tuple(data["links"]), rules=data["rules"], sysctls=data["sysctls"])


def read_sysctl(name: str) -> str:
    """The value of a kernel setting, named by its path under /proc/sys."""
    return (_SYSCTL / name).read_text(encoding="ascii").strip()


def write_sysctl(name: str, value: str) -> None:
    """Give a kernel setting a value."""
    (_SYSCTL / name).write_text(value, encoding="ascii")


def observe() -> Traces:
    """What the machine looks like now."""
    rules = {
        name: process.run([f"{name}-save"]).stdout for name in IPTABLES if shutil.which(f"{name}-save") is not None
    }
    return Traces(
        links=tuple(sorted(path.name for path in Path("/sys/class/net").iterdir())),
        rules=rules,
        sysctls={name: read_sysctl(name) for name in _FORWARDING},
    )


def put_back(before: Traces) -> list[str]:
    """Undo what an engine that has stopped left behind.

    Returns:
        What was taken away, one sentence each.
    """
    now = observe()
    said: list[str] = []
    if "docker0" in now.links and "docker0" not in before.links:
        process.run(["ip", "link", "delete", "docker0"])
        said.append("network interface docker0")
    for name, after in now.rules.items():
        script = undo(before.rules.get(name, ""), after)
        if script:
            process.run([f"{name}-restore", "--noflush"], input=script)
            said.append(f"firewall rules of the engine ({name})")
        _drop_tables(name, before.rules.get(name, ""))
    for name, value in before.sysctls.items():
        if now.sysctls.get(name) != value:
            write_sysctl(name, value)
            said.append(f"{name.replace('/', '.')} back to {value}")
    return said


def _drop_tables(name: str, before: str) -> None:
    """Remove tables that were made on first use; iptables itself has no word for it, and nft only where it is used."""
    version = process.run([name, "--version"]).stdout
    if "nf_tables" not in version or shutil.which("nft") is None:
        return
    for table in hollow(before, process.run([f"{name}-save"]).stdout):
        process.run(["nft", "delete", "table", IPTABLES[name], table])


def note_settings(wanted: dict[str, int]) -> None:
    """Raise settings of the kernel that all hosts share, and note what they and those that a kubelet changes were.

    Args:
        wanted: Values by path under /proc/sys.
    """
    noted: dict[str, str] = json.loads(_SHARED.read_text(encoding="utf-8")) if _SHARED.exists() else {}
    for name in (*_KUBELET, *wanted):
        noted.setdefault(name, read_sysctl(name))
    _SHARED.parent.mkdir(parents=True, exist_ok=True)
    _SHARED.write_text(json.dumps(noted), encoding="utf-8")
    for name, value in wanted.items():
        write_sysctl(name, str(value))


def restore_settings() -> list[str]:
    """Give the noted settings their former values; returns what was changed, one sentence each."""
    if not _SHARED.exists():
        return []
    noted: dict[str, str] = json.loads(_SHARED.read_text(encoding="utf-8"))
    changed = {name: value for name, value in noted.items() if read_sysctl(name) != value}
    for name, value in changed.items():
        write_sysctl(name, value)
    _SHARED.unlink()
    return [f"{name.replace('/', '.')} back to {value}" for name, value in changed.items()]
