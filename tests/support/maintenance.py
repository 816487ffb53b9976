"""A lab that is maintained while it is used: requests to its API, and what they cost."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import steady_traffic

from maas.hosts.network_plan import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

HOME = "/run/steady"
LABEL = "steady"


@dataclass
class Cost:
    """What an operation took and cost.

    Attributes:
        what: The operation.
        seconds: How long it took.
        found: What the requests met, see `steady_traffic`.
        lost: Number of acknowledged writes that are not there.
    """

    what: str
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    lost: int = 0

    def __str__(self) -> str:
        own = self.found
        return f"| {self.what} | {self.seconds:.0f} s | {own['requests']} | {own['failed']} | {own['longest']:.1f} s | {self.lost} |"


HEADER = """\
| operation | time | requests | failed | longest time without a success | writes lost |
|---|---|---|---|---|---|"""


def write_credentials(lab: Lab, plane: str, client: str) -> None:
    """Write an administrator's credentials to the memory of a host. No key is in an argument."""
    script = "set -e; umask 077; mkdir -p {home}; base64 -d > {home}/{name}.new; mv {home}/{name}.new {home}/{name}"
    for name, key in (
        ("ca.crt", "clusters[0].cluster.certificate-authority-data"),
        ("client.key", "users[0].user.client-key-data"),
        ("client.crt", "users[0].user.client-certificate-data"),
    ):
        view = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "config", "view", "--raw", "-o")
        encoded = lab.on(plane, *view, f"jsonpath={{.{key}}}")
        lab.on(client, "sh", "-c", script.format(home=HOME, name=name), stdin=encoded)


@contextmanager
def traffic(lab: Lab, what: str, *, plane: str, client: str) -> Iterator[Cost]:
    """Send requests to the address of the API while the block runs, and print what it cost.

    Args:
        lab: The lab.
        what: The operation.
        plane: A control plane that runs now, for the credentials.
        client: The host that sends the requests, which must not restart.
    """
    plan = Plan.from_json((lab.state / "plan.json").read_text(encoding="utf-8"))
    cost, since = Cost(what), time.time()
    lab.on(client, "sh", "-c", f"mkdir -p {HOME}; rm -f {HOME}/stop {HOME}/started")
    write_credentials(lab, plane, client)
    source = Path(steady_traffic.__file__).read_text(encoding="utf-8")
    lab.on(client, "sh", "-c", f"cat > {HOME}/traffic.py", stdin=source)
    with ThreadPoolExecutor(1) as pool:
        words = ("python3", f"{HOME}/traffic.py", str(plan.api_address), HOME, LABEL)
        measured = pool.submit(lab.on, client, *words, timeout=3600)
        try:
            deadline = time.monotonic() + 60
            while lab.run(client, "test", "-e", f"{HOME}/started").returncode:
                assert time.monotonic() < deadline, "no request succeeded"
                assert not measured.done(), measured.result()
                time.sleep(0.5)
            began = time.monotonic()
            yield cost
            cost.seconds = time.monotonic() - began
        finally:
            lab.on(client, "touch", f"{HOME}/stop")
            cost.found = json.loads(measured.result())
    kept = set(lab.kubectl("get", "configmap", "-n", "default", "-l", f"maas.test={LABEL}", "-o", "name").split())
    cost.lost = sum(f"configmap/{LABEL}-{number}" not in kept for number in cost.found["acknowledged"])
    lab.kubectl("delete", "configmap", "-n", "default", "-l", f"maas.test={LABEL}", "--wait=false")
    print(f"\n{HEADER}\n{cost}", flush=True)
    if cost.found["failed"]:
        print("\n".join([*cost.found["errors"], *events(lab, plan, since)]), flush=True)


def events(lab: Lab, plan: Plan, since: float) -> list[str]:
    """Return what control planes did about the address of the API and their API servers since a time."""
    found = []
    for host in plan.announcers():
        log = ("journalctl", "--unit", "maas-api-address", "--unit", "kubelet", "--since", f"@{int(since)}")
        lines = lab.run(host, *log, "--output", "short-unix", "--no-pager", "--quiet").stdout.splitlines()
        chosen = [
            line for line in lines if "api-address[" in line or "Kubernetes API" in line or "kube-apiserver" in line
        ]
        found += [f"{host}: {line[:200]}" for line in chosen]
    return sorted(found, key=lambda line: line.split()[1])
