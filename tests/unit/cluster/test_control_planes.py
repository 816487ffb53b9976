from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from maas.cluster import _control_plane_script as script
from maas.cluster import control_planes
from maas.cluster.control_planes import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Callable

VOTERS = {"1": "master", "2": "master2", "3": "master3"}
PLANES = tuple(VOTERS.values())


def whole() -> dict[str, ControlPlane]:
    return {name: ControlPlane(announces=True, own=own, leader="1", voters=VOTERS) for own, name in VOTERS.items()}


def test_a_whole_control_plane_can_miss_one_host() -> None:
    assert control_planes.problems(whole(), announcers=PLANES) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (ControlPlane(announces=True, error="refused"), "etcd on master2 does not answer: refused"),
        (
            ControlPlane(announces=False, own="2", leader="1", voters=VOTERS),
            "master2 does not announce the address of the API",
        ),
        (ControlPlane(announces=True, own="2", leader="0", voters=VOTERS), "etcd on master2 has no leader"),
        (
            ControlPlane(announces=True, own="2", leader="1", voters=VOTERS, alarms=("NOSPACE",)),
            "etcd on master2 has the alarm NOSPACE",
        ),
        (
            ControlPlane(announces=True, own="2", leader="1", voters=VOTERS, learners=("",)),
            "a new member does not vote in etcd yet",
        ),
        (
            ControlPlane(announces=True, own="2", leader="1", voters=VOTERS | {"4": "old"}),
            "etcd has the member old, which is no control plane",
        ),
    ],
)
def test_what_is_missing_is_named(changed: ControlPlane, said: str) -> None:
    assert control_planes.problems(whole() | {"master2": changed}, announcers=PLANES) == [said]


def test_a_control_plane_that_is_no_member_is_named() -> None:
    voters = {"1": "master", "3": "master3"}
    found = {name: ControlPlane(announces=True, own="1", leader="1", voters=voters) for name in PLANES}
    assert control_planes.problems(found, announcers=PLANES) == ["master2 is no member of etcd"]


def test_a_cluster_of_an_earlier_release_announces_no_address() -> None:
    found = {"master": ControlPlane(announces=False, own="1", leader="1", voters={"1": "master"})}
    assert control_planes.problems(found, announcers=()) == []


class Etcd:
    """The JSON gateway of etcd on a host, and the programs that it runs."""

    def __init__(self, leader: str = "1", voters: dict[str, str] | None = None) -> None:
        self.leader, self.voters = leader, VOTERS if voters is None else voters
        self.steps: list[str] = []

    def call(self, path: str, body: dict[str, Any], seconds: float = 5) -> dict[str, Any]:
        assert seconds > 0
        match path:
            case "maintenance/status":
                return {"header": {"member_id": "1"}, "leader": self.leader}
            case "cluster/member/list":
                learner = {"ID": "9", "isLearner": True}
                return {"members": [*({"ID": one, "name": name} for one, name in self.voters.items()), learner]}
            case "maintenance/alarm":
                return {}
            case _:
                self.steps.append(f"{path} {body['targetID']}")
                self.leader = body["targetID"]
                return {}


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Etcd]:
    def made(**options: Any) -> Etcd:
        one = Etcd(**options)
        monkeypatch.setattr(script, "call", one.call)
        monkeypatch.setattr(script, "announces", lambda _: True)
        monkeypatch.setattr("time.sleep", lambda seconds: one.steps.append(f"wait {seconds:.0f} s"))
        monkeypatch.setattr("subprocess.run", lambda words, **_: one.steps.append(" ".join(words)))
        return one

    return made


def test_a_control_plane_reports_its_etcd(etcd: Callable[..., Etcd]) -> None:
    etcd()
    found = control_planes.parse(script.inspect({"api": "10.90.0.254"}))
    assert found == ControlPlane(announces=True, own="1", leader="1", voters=VOTERS, learners=("",))


def test_an_etcd_that_does_not_answer_is_reported(etcd: Callable[..., Etcd], monkeypatch: pytest.MonkeyPatch) -> None:
    etcd()

    def refused(*_: object) -> None:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(script, "call", refused)
    assert control_planes.parse(script.inspect({"api": "10.90.0.254"})).error == "refused"


def test_a_leader_leaves_after_clients_have_gone_and_another_member_leads(etcd: Callable[..., Etcd]) -> None:
    one = etcd()
    assert script.leave({"api": "10.90.0.254"}) == {"moved": "master2"}
    assert one.steps == [
        "systemctl stop maas-api-address.service",
        "wait 2 s",
        "maintenance/transfer-leadership 2",
    ]


@pytest.mark.parametrize("options", [{"leader": "3"}, {"voters": {"1": "master"}}])
def test_nothing_is_transferred_without_need_or_without_others(
    etcd: Callable[..., Etcd], options: dict[str, Any]
) -> None:
    one = etcd(**options)
    assert script.leave({"api": "10.90.0.254"}) == {"moved": ""}
    assert one.steps[-1] == "wait 2 s"
