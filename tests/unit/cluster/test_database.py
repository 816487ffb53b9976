from __future__ import annotations

import json
from typing import Any

import pytest

from maas.cluster import database
from maas.errors import ClusterError, UsageError

NAME = "restaurant-database"


class Phase:
    def note(self, text: str) -> None:
        pass


class Fake:
    """A cluster whose pods and whose Patroni answer as they are told."""

    core = type("Core", (), {"list_pod_for_all_namespaces": None})()

    def __init__(self, *roles: str, state: str = "streaming", pause: bool = False) -> None:
        self.roles = list(roles)
        self.state = state
        self.pause = pause
        self.commands: list[tuple[str, ...]] = []
        self.refuses = 0

    def pods(self, _call: object, **_options: str) -> list[dict[str, Any]]:
        return [pod(number, patroni=len(self.roles) > 1) for number in range(len(self.roles))]

    def exec(self, _namespace: str, _pod: str, *command: str, **_options: object) -> tuple[int, str]:
        self.commands.append(command)
        if command[0] == "patronictl":
            if self.refuses:
                return self.refuses, "Error: candidate name does not exist"
            here = next(number for number, role in enumerate(self.roles) if f"{NAME}-{number}" == command[-2])
            self.roles = ["leader" if number == here else "quorum_standby" for number in range(len(self.roles))]
            return 0, ""
        members = [
            {"name": f"{NAME}-{number}", "role": role, "state": "running" if role == "leader" else self.state, "timeline": 3,
             **({} if role == "leader" else {"lag": number})}
            for number, role in enumerate(self.roles)
        ]  # fmt: skip
        return 0, json.dumps({"members": members, **({"pause": True} if self.pause else {})})

    def poll(self, observe: Any, *, what: str, **_options: float) -> Any:
        found, missing = observe()
        assert not missing, (what, missing)
        return found


def pod(number: int, *, patroni: bool) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": NAME, **({"cluster-name": NAME} if patroni else {})}
    return {
        "metadata": {
            "namespace": "shop", "name": f"{NAME}-{number}", "labels": labels,
            "ownerReferences": [{"kind": "StatefulSet", "name": NAME}],
        },
        "spec": {"nodeName": f"node{number}"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*roles: str, **options: Any) -> Any:
        fake = Fake(*roles, **options)
        monkeypatch.setattr(database, "listed", fake.pods)
        return fake

    return make


def test_servers_have_their_role_their_node_and_their_lag(use: Any) -> None:
    found = database.find(use("quorum_standby", "leader", "replica"))
    assert (found.namespace, found.name, found.replicated) == ("shop", NAME, True)
    assert [(one.name, one.node, one.role, one.lag) for one in found.servers] == [
        ("restaurant-database-0", "node0", "synchronous replica", 0),
        ("restaurant-database-1", "node1", "primary", None),
        ("restaurant-database-2", "node2", "replica", 2),
    ]
    assert found.problems == []


def test_a_single_server_is_the_primary_while_it_is_ready(use: Any) -> None:
    found = database.find(use("leader"))
    assert not found.replicated
    assert found.primary is not None


def test_problems_name_what_is_wrong(use: Any) -> None:
    found = database.find(use("quorum_standby", "replica", state="starting", pause=True))
    assert found.problems == [
        "no server accepts writes",
        "restaurant-database-0 is starting",
        "restaurant-database-1 is starting",
        "Patroni is paused: no server takes over from one that fails",
    ]


def test_a_switchover_goes_to_the_synchronous_replica_with_the_least_lag(use: Any) -> None:
    fake = use("leader", "replica", "quorum_standby")
    primary = database.switch_over(fake, database.find(fake), to=None, step=Phase())  # type: ignore[arg-type]
    assert primary.name == "restaurant-database-2"


@pytest.mark.parametrize(
    ("to", "reason"),
    [("restaurant-database-0", "the primary already"), ("restaurant-database-1", "without losing commits")],
)
def test_a_server_that_cannot_take_over_is_refused(use: Any, to: str, reason: str) -> None:
    fake = use("leader", "replica", "quorum_standby")
    with pytest.raises(UsageError, match=reason):
        database.switch_over(fake, database.find(fake), to=to, step=Phase())  # type: ignore[arg-type]
    assert not [command for command in fake.commands if command[0] == "patronictl"]


def test_a_switchover_that_patroni_refuses_is_an_error(use: Any) -> None:
    fake = use("leader", "quorum_standby", "quorum_standby")
    fake.refuses = 1
    with pytest.raises(ClusterError, match="refused") as error:
        database.switch_over(fake, database.find(fake), to=None, step=Phase())  # type: ignore[arg-type]
    assert "candidate" in "".join(error.value.context)


@pytest.mark.parametrize(("node", "moves"), [("node0", True), ("node1", False)])
def test_the_primary_leaves_a_node_that_is_drained(use: Any, node: str, moves: bool) -> None:
    fake = use("leader", "quorum_standby", "quorum_standby")
    database.leave(fake, node, Phase())  # type: ignore[arg-type]
    assert (fake.roles[0] != "leader") == moves


def test_a_cluster_without_a_database_can_be_drained(use: Any) -> None:
    database.leave(use(), "node0", Phase())  # type: ignore[arg-type]
