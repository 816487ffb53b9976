"""The flow table on a real network: what it allows is connected, and everything else is not."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from maas.codegen import flows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TABLE = flows.load()
# The lab's database has one server.
FLOWS = [flow for flow in TABLE.flows if flow.when is None or not flow.when.path.endswith("postgresql.replicas")]
STRANGER = "stranger"
SOURCES = (
    ("restaurant", "restaurant"),
    ("restaurant-seed", "restaurant"),
    ("restaurant-database", "restaurant"),
    ("metrics-server", "monitoring"),
    (STRANGER, "restaurant"),
    (STRANGER, "dashboard"),
)
"""The clients, with their namespaces: pods with the labels of a component, and pods of no component."""

TARGETS = {"restaurant": "restaurant", "restaurant-database": "restaurant", "metrics-server": "monitoring"}
"""The servers, with their namespaces: every port of the pods of these components."""

TRY = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def reached(target):
    try:
        socket.create_connection(tuple(target), timeout=3).close()
        return True
    except OSError:
        return False

targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as beside:
    print(json.dumps(list(beside.map(reached, targets))))
"""


@dataclass(frozen=True)
class Port:
    """A port of a component's pod."""

    component: str
    name: str
    address: str
    number: int


def pod(component: str, namespace: str, image: str) -> dict[str, Any]:
    """Return a pod that only runs commands, with the labels that policies select by."""
    labels = {"app.kubernetes.io/name": component, "app.kubernetes.io/instance": "maas", "probe": "policies"}
    quiet = {"exec": {"command": ["false"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"policies-{component}", "namespace": namespace, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": image,
                    "command": ["python3", "-c", "import time; time.sleep(900)"],
                    # Never Ready, so that it is no endpoint of the component's Service.
                    "readinessProbe": quiet,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def ports(lab: Lab) -> list[Port]:
    found = []
    for component, namespace in TARGETS.items():
        selector = f"app.kubernetes.io/name={component},!probe"
        listed = lab.kubectl("get", "pods", "-n", namespace, f"--selector={selector}", "--output=json")
        for item in json.loads(listed)["items"][:1]:
            for container in item["spec"]["containers"]:
                found += [
                    Port(component, port["name"], item["status"]["podIP"], port["containerPort"])
                    for port in container.get("ports", [])
                ]
    return found


@pytest.fixture(scope="module")
def tried(lab: Lab) -> Iterator[dict[tuple[str, str, Port], bool]]:
    """Return whether each source connected to each port."""
    image = lab.kubectl(
        "get", "deployment", "restaurant", "-n", "restaurant",
        "--output=jsonpath={.spec.template.spec.containers[0].image}",
    )  # fmt: skip
    items = [pod(component, namespace, image) for component, namespace in SOURCES]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    lab.kubectl("apply", "--filename=-", stdin=manifest)
    try:
        for _, namespace in SOURCES:
            lab.kubectl(
                "wait", "pod", "-n", namespace, "--selector=probe=policies",
                "--for=jsonpath={.status.phase}=Running", "--timeout=120s",
            )  # fmt: skip
        # A policy is applied on the pod's node a moment after the pod runs.
        time.sleep(3)
        targets = ports(lab)
        addresses = json.dumps([[port.address, port.number] for port in targets])
        found: dict[tuple[str, str, Port], bool] = {}
        for component, namespace in SOURCES:
            name = f"policies-{component}"
            answer = lab.kubectl("exec", "-n", namespace, name, "--", "python3", "-c", TRY, addresses)
            found |= {
                (component, namespace, port): reached for port, reached in zip(targets, json.loads(answer), strict=True)
            }
        yield found
    finally:
        lab.kubectl("delete", "--filename=-", "--ignore-not-found", "--wait=false", stdin=manifest)


def egress_allowed(source: str, port: Port) -> bool:
    """Whether the flow table allows the source to connect to the port."""
    if source not in TABLE.components:
        return True
    return any(
        flow.source == source
        and (
            (flow.target == port.component and flow.port in (None, port.name))
            or (flow.target == "anywhere" and flow.port is None)
            or (flow.target == "nodes" and flow.port == str(port.number))
            or (flow.target == "api-server" and port.number in (443, 6443))
        )
        for flow in FLOWS
    )


def ingress_allowed(source: str, port: Port) -> bool:
    """Whether the flow table allows the port to be connected from the source."""
    return any(
        flow.target == port.component and flow.source in (source, "anyone") and flow.port in (None, port.name)
        for flow in FLOWS
    )


def test_a_connection_succeeds_exactly_if_the_flow_table_allows_it(tried: dict[tuple[str, str, Port], bool]) -> None:
    wrong = [
        f"{source} in {namespace} to {port.component}:{port.name}: {'connected' if reached else 'not connected'}"
        for (source, namespace, port), reached in tried.items()
        if reached != (egress_allowed(source, port) and ingress_allowed(source, port))
    ]
    assert wrong == []
    # Neither all nor none: the network works, and enforces policies.
    assert {True, False} == set(tried.values())
    print(f"{len(tried)} flows: {sum(tried.values())} connected, {len(tried) - sum(tried.values())} not")
