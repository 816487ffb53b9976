"""Runs on a control plane, with the standard library only: its members of etcd, and what makes it leave them."""

from __future__ import annotations

import http.client
import json
import pathlib
import ssl
import subprocess
import sys
import time
import urllib.parse
from typing import Any

MARK = "maas-etcd-members:"
PKI = "/etc/kubernetes/pki/etcd"
CLIENT, METRICS = 2379, 2381
MANIFESTS = pathlib.Path("/etc/kubernetes/manifests")
STOPPED = pathlib.Path("/etc/kubernetes/removed")
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
SECONDS = 90
"""Time limit for the static pods to end: the API server lets its requests end first."""


def call(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call the JSON gateway of the etcd on this host."""
    context = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
    context.load_cert_chain(f"{PKI}/healthcheck-client.crt", f"{PKI}/healthcheck-client.key")
    connection = http.client.HTTPSConnection("127.0.0.1", CLIENT, timeout=20, context=context)
    try:
        connection.request("POST", f"/v3/{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        sys.exit(f"etcd rejects {path}: {text.strip()}")
    found: dict[str, Any] = json.loads(text)
    return found


def healthy(address: str) -> bool:
    """Return whether the etcd at an address is healthy."""
    connection = http.client.HTTPConnection(address, METRICS, timeout=3)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status == http.client.OK and json.loads(answer.read())["health"] == "true"
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def members() -> list[dict[str, Any]]:
    """Return the members of etcd."""
    leader = call("maintenance/status", {}).get("leader", "")
    found = []
    for member in call("cluster/member/list", {})["members"]:
        address = urllib.parse.urlsplit(member["peerURLs"][0]).hostname or ""
        found.append(
            {
                "id": member["ID"],
                "name": member.get("name", ""),
                "address": address,
                "learner": bool(member.get("isLearner")),
                "leader": member["ID"] == leader,
                "healthy": healthy(address),
            }
        )
    return found


def running(name: str) -> bool:
    """Return whether a container of the control plane runs on this host."""
    words = ["/usr/local/bin/crictl", "ps", "--quiet", "--state", "running", "--name", f"^{name}$"]
    return bool(subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True).stdout.strip())


def stop() -> None:
    """Withdraw the address of the API from this host, then stop all of the control plane but etcd.

    An API server that ends in order removes itself from the endpoints of the Service `kubernetes` first.
    """
    words = ["systemctl", "disable", "--quiet", "--now", "maas-api-address.service"]
    subprocess.run(words, check=False, stderr=subprocess.DEVNULL)
    STOPPED.mkdir(mode=0o700, exist_ok=True)
    for name in COMPONENTS:
        manifest = MANIFESTS / f"{name}.yaml"
        if manifest.exists():
            manifest.rename(STOPPED / manifest.name)
    deadline = time.monotonic() + SECONDS
    while left := [name for name in COMPONENTS if running(name)]:
        if time.monotonic() > deadline:
            sys.exit(f"timed out after {SECONDS} s waiting for {', '.join(left)} to stop")
        time.sleep(0.5)


def main(parameters: dict[str, str]) -> None:
    """Carry an action out, and print the members afterwards unless it is `stop`."""
    match parameters["action"]:
        case "stop":
            stop()
        case "move":
            call("maintenance/transfer-leadership", {"targetID": parameters["id"]})
        case "remove":
            call("cluster/member/remove", {"ID": parameters["id"]})
    found = [] if parameters["action"] == "stop" else members()
    sys.stdout.write(f"{MARK}{json.dumps({'members': found})}\n")
