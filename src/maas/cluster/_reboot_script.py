"""Runs on a host, with the standard library only: report whether it needs a reboot, install security updates, reboot."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time
from typing import Any

MARK = "maas-reboot:"
ROOT = pathlib.Path("/")
APT = ("apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=120")
RELEASE = re.compile(r"(?P<version>[0-9].*?)-(?P<flavor>[a-z].*)")
UPDATE = re.compile(r"^Inst (?P<name>\S+) (?:\[\S+\] )?\((?P<version>\S+) (?P<origin>[^\[]*)", re.MULTILINE)


def boot() -> tuple[str, float]:
    """Return an identifier of the time since the last boot, and when that was, in seconds since 1970.

    The kernel's identifier is that of the machine. A container has the same one after a restart, but another first process.
    """
    identifier = (ROOT / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # The second field is the name of the program, which can contain blanks.
    ticks = int((ROOT / "proc/1/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
    uptime = float((ROOT / "proc/uptime").read_text(encoding="ascii").split()[0])
    return f"{identifier}/{ticks}", time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def newer_kernel(running: str) -> str:
    """Return the newest installed kernel of the running flavor, if it is newer than the running one; empty otherwise."""
    own = RELEASE.fullmatch(running)
    if own is None:
        return ""

    def order(version: str) -> list[int]:
        return [int(number) for number in re.findall(r"[0-9]+", version)]

    names = [path.name.partition("-")[2] for path in (ROOT / "boot").glob("vmlinuz-*")]
    same = [(one, name) for name in names if (one := RELEASE.fullmatch(name)) and one["flavor"] == own["flavor"]]
    newer = [(order(one["version"]), name) for one, name in same if order(one["version"]) > order(own["version"])]
    return max(newer, default=([], ""))[1]


def apt(*words: str) -> str:
    """Run apt-get and return its output; a failure ends the program with apt's last words."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C"}
    done = subprocess.run(
        [*APT, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        sys.exit(f"apt-get {words[0]}: {' '.join(lines[-2:])}")
    return done.stdout


def security_updates(text: str) -> dict[str, str]:
    """Return the packages with a security update and their new versions, from what apt says that it would install."""
    return {one["name"]: one["version"] for one in UPDATE.finditer(text) if "-security" in one["origin"].lower()}


def pending(*, refresh: bool) -> dict[str, str]:
    """Return the security updates that are not installed yet.

    Args:
        refresh: Update apt's lists first.
    """
    if refresh:
        apt("update")
    return security_updates(apt("--simulate", "--option", "Debug::NoLocking=true", "dist-upgrade"))


def inspect(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the state of the host."""
    identifier, since = boot()
    container = (ROOT / "run/systemd/container").exists()
    required = [path for path in (ROOT / "run/reboot-required", ROOT / "var/run/reboot-required") if path.exists()]
    packages: set[str] = set()
    for path in required:
        listed = path.with_name("reboot-required.pkgs")
        packages.update(listed.read_text(encoding="utf-8").split() if listed.exists() else ())
    return {
        "boot": identifier,
        "since": since,
        "kernel": platform.release(),
        # A container runs with the kernel of its machine.
        "newer": "" if container else newer_kernel(platform.release()),
        "required": bool(required),
        "packages": sorted(packages),
        "updates": sorted(pending(refresh=parameters["refresh"])) if parameters["updates"] else [],
    }


def upgrade() -> dict[str, Any]:
    """Install the security updates, and keep changed configuration files."""
    updates = pending(refresh=True)
    if updates:
        keep = ("--option", "Dpkg::Options::=--force-confdef", "--option", "Dpkg::Options::=--force-confold")
        apt("--yes", *keep, "install", *(f"{name}={version}" for name, version in updates.items()))
    return {"installed": sorted(updates)}


def reboot() -> dict[str, Any]:
    """Begin to reboot, some moments later, so that this answer arrives."""
    identifier, _ = boot()
    subprocess.run(["sync"], check=True)
    words = ["systemd-run", "--quiet", "--collect", "--on-active=1", "--timer-property=AccuracySec=100ms"]
    subprocess.run([*words, "systemctl", "reboot"], check=True, stdout=subprocess.DEVNULL)
    return {"boot": identifier}


def main(parameters: dict[str, Any]) -> None:
    """Carry out an action and print its answer."""
    match parameters["action"]:
        case "inspect":
            answer = inspect(parameters)
        case "upgrade":
            answer = upgrade()
        case _:
            answer = reboot()
    sys.stdout.write(f"{MARK}{json.dumps(answer)}\n")
