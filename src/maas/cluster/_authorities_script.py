"""Runs on a host, with the standard library only: replace what its control plane trusts, or find what old tokens it has."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

MARK = "maas-authorities:"
ROOT = pathlib.Path("/")
APPLIED = "var/lib/maas/rotations"
ANNOUNCER = "maas-api-address.service"
CONNECTIONS = 2.0
"""Seconds for clients to go to the API server of another host."""
KUBEADM = ("/usr/local/bin/kubeadm", "certs", "renew")
CONFIGURATION = "/etc/maas/kubernetes/kubeadm.yaml"
TOKENS = ("var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/*/*", "etc/cni/net.d/*kubeconfig*")
TOKEN = re.compile(r"\b(eyJ[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def write(path: pathlib.Path, text: str, mode: int) -> None:
    """Replace a file at once: a component may read it at any time."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False, encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    pathlib.Path(file.name).replace(path)


def announced() -> bool:
    """Return whether this host has the unit that announces the address of the API, and it runs."""
    return subprocess.run(["systemctl", "is-active", "--quiet", ANNOUNCER], check=False).returncode == 0


def apply(parameters: dict[str, Any]) -> dict[str, Any]:
    """Write files, issue certificates by the CA in them, and restart components, one after the other.

    The address of the API is withdrawn meanwhile. Once all components have restarted, it is noted, and not done again.
    """
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
    note = ROOT / APPLIED / parameters["kind"]
    if note.exists() and note.read_text(encoding="ascii") == digest:
        return {"restarted": []}
    sys.path.insert(0, str(ROOT / "usr/local/lib/maas"))
    sys.dont_write_bytecode = True  # a reset does not remove bytecode files
    containers = importlib.import_module("maas_containers")  # of the control plane's role
    announces = announced()
    if announces:
        subprocess.run(["systemctl", "stop", ANNOUNCER], check=True)
        time.sleep(CONNECTIONS)
    try:
        for name, (text, mode) in parameters["files"].items():
            write(ROOT / name.lstrip("/"), text, mode)
        for name in parameters["renew"]:
            subprocess.run(
                [*KUBEADM, name, "--config", CONFIGURATION], check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr
            )
        for name in parameters["components"]:
            containers.restart(name)
        containers.wait_ready()
    finally:
        if announces:
            subprocess.run(["systemctl", "start", ANNOUNCER], check=True)
    note.parent.mkdir(parents=True, exist_ok=True)
    write(note, digest, 0o600)
    return {"restarted": parameters["components"]}


def read(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the text of a file."""
    return {"text": (ROOT / parameters["path"].lstrip("/")).read_text(encoding="utf-8")}


def signer(header: str) -> str:
    """Return the name of the key that signed a token, empty if it has none."""
    try:
        return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))).get("kid", ""))
    except ValueError:
        return ""


def tokens(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the files of this host that have a token which a key has signed."""
    found, count = [], 0
    for pattern in TOKENS:
        for path in sorted(ROOT.glob(pattern)):
            try:
                text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            except OSError:  # the pod has just ended
                continue
            signers = {signer(one) for one in TOKEN.findall(text)}
            count += len(signers)
            if parameters["key"] in signers:
                found.append(str(path))
    return {"old": found, "tokens": count}


def restart_kubelet() -> dict[str, Any]:
    """Restart the kubelet, which requests all tokens of its pods again. The pods go on."""
    subprocess.run(["systemctl", "restart", "kubelet.service"], check=True)
    return {}


def main(parameters: dict[str, Any]) -> None:
    """Carry out an action and print its answer."""
    match parameters["action"]:
        case "apply":
            answer = apply(parameters)
        case "read":
            answer = read(parameters)
        case "tokens":
            answer = tokens(parameters)
        case _:
            answer = restart_kubelet()
    sys.stdout.write(f"{MARK}{json.dumps(answer)}\n")
