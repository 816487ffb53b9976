"""Runs on a control plane, with the standard library only: report the state of its etcd and of the API's address."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from typing import Any

MARK = "maas-control-plane:"
PKI = "/etc/kubernetes/pki/etcd"
PORT = 2379
ANNOUNCER = "maas-api-address.service"
SECONDS = 5
CONNECTIONS = 2.0
"""Seconds for clients to go to the API server of another host."""


def call(path: str, body: dict[str, Any], seconds: float = SECONDS) -> dict[str, Any]:
    """Call the JSON gateway of the etcd on this host.

    Raises:
        OSError: It does not answer, or refuses.
    """
    context = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
    context.load_cert_chain(f"{PKI}/healthcheck-client.crt", f"{PKI}/healthcheck-client.key")
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, timeout=seconds, context=context)
    try:
        connection.request("POST", f"/v3/{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise OSError(text.strip()[:200])
    found: dict[str, Any] = json.loads(text)
    return found


def etcd() -> dict[str, Any]:
    """Return what the etcd of this host knows. Listing its members requires a majority."""
    status = call("maintenance/status", {})
    members = call("cluster/member/list", {"linearizable": True})["members"]
    own = status["header"]["member_id"]
    return {
        "own": own,
        "leader": status.get("leader", "0"),
        "voters": {one["ID"]: one.get("name", "") for one in members if not one.get("isLearner")},
        "learners": [one.get("name", "") for one in members if one.get("isLearner")],
        "alarms": sorted({one["alarm"] for one in call("maintenance/alarm", {"action": "GET"}).get("alarms", ())}),
    }


def announces(address: str) -> bool:
    """Return whether this host has the address of the API."""
    words = ["ip", "-4", "-oneline", "address", "show", "dev", "lo"]
    return f" {address}/32 " in subprocess.run(words, capture_output=True, text=True, check=False).stdout


def inspect(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the state of this control plane."""
    try:
        found = etcd()
    except OSError as error:
        found = {"error": str(error)}
    return {"etcd": found, "announces": announces(parameters["api"])}


def leave(parameters: dict[str, Any]) -> dict[str, Any]:
    """Withdraw the address of the API from this host, and give the leadership of etcd to another member."""
    if announces(parameters["api"]):
        subprocess.run(["systemctl", "stop", ANNOUNCER], check=True)
        time.sleep(CONNECTIONS)
    found = etcd()
    others = sorted(set(found["voters"]) - {found["own"]})
    moved = ""
    if others and found["leader"] == found["own"]:
        call("maintenance/transfer-leadership", {"targetID": others[0]}, seconds=4 * SECONDS)
        moved = found["voters"][others[0]]
    return {"moved": moved}


def stay() -> dict[str, Any]:
    """Let this host announce the address of the API again."""
    subprocess.run(["systemctl", "start", ANNOUNCER], check=False)
    return {}


def main(parameters: dict[str, Any]) -> None:
    """Carry out an action and print its answer."""
    match parameters["action"]:
        case "inspect":
            answer = inspect(parameters)
        case "leave":
            answer = leave(parameters)
        case _:
            answer = stay()
    sys.stdout.write(f"{MARK}{json.dumps(answer)}\n")
