"""Runs on a host, with the standard library only: report files, flags of programs and the kubelet's configuration."""

from __future__ import annotations

import grp
import json
import pathlib
import pwd
import sys
from typing import Any

MARK = "maas-cis:"
ROOT = pathlib.Path("/")


def name_of(number: int, table: Any) -> str:
    """Return the name of a user or group, or its number if it has none."""
    try:
        return str(table(number)[0])
    except KeyError:
        return str(number)


def matching(pattern: str) -> list[pathlib.Path]:
    """Return the paths that an absolute pattern matches."""
    return sorted(ROOT.glob(pattern.lstrip("/")))


def files(patterns: list[str]) -> dict[str, list[dict[str, str]]]:
    """Return path, mode and owner of the files that each pattern matches."""
    found: dict[str, list[dict[str, str]]] = {}
    for pattern in patterns:
        found[pattern] = []
        for path in matching(pattern):
            state = path.stat()
            owner = f"{name_of(state.st_uid, pwd.getpwuid)}:{name_of(state.st_gid, grp.getgrgid)}"
            found[pattern].append({"path": str(path), "mode": f"{state.st_mode & 0o7777:04o}", "owner": owner})
    return found


def flags(words: list[str]) -> dict[str, str]:
    """Return the flags of a command line: `--name=value`, `--name value` and `--name`, which is true."""
    found: dict[str, str] = {}
    for position, word in enumerate(words):
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            after = words[position + 1] if position + 1 < len(words) else "-"
            found[name] = value if equals else ("true" if after.startswith("-") else after)
    return found


def programs(names: list[str]) -> dict[str, list[dict[str, str]]]:
    """Return the flags of each process of the programs."""
    found: dict[str, list[dict[str, str]]] = {name: [] for name in names}
    for directory in sorted(ROOT.glob("proc/[0-9]*")):
        try:
            words = (directory / "cmdline").read_text(encoding="utf-8", errors="replace").rstrip("\0").split("\0")
        except OSError:
            continue  # it has ended
        name = pathlib.PurePath(words[0]).name
        if name in found:
            found[name].append(flags(words[1:]))
    return found


def texts(patterns: list[str]) -> list[str]:
    """Return the contents of the files that each pattern matches, in the order in which the kubelet reads them."""
    return [path.read_text(encoding="utf-8") for pattern in patterns for path in matching(pattern)]


def providers(path: str) -> list[str]:
    """Return the providers for Secrets in the EncryptionConfiguration of MaaS, which is JSON, the first one encrypts."""
    try:
        resources = json.loads((ROOT / path.lstrip("/")).read_text(encoding="utf-8"))["resources"]
        return [next(iter(own)) for one in resources if "secrets" in one["resources"] for own in one["providers"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def main(parameters: dict[str, list[str]]) -> None:
    """Print what the checks need to know of this host."""
    found = {
        "files": files(parameters["files"]),
        "programs": programs(parameters["programs"]),
        "providers": providers("/etc/kubernetes/encryption/config.yaml"),
        "kubelet": texts(["/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf.d/*.conf"]),
    }
    sys.stdout.write(f"{MARK}{json.dumps(found)}\n")
