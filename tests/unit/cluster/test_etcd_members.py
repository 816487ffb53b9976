from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import inventory_of

from maas import process
from maas.cluster import _etcd_members_script as script
from maas.cluster import etcd_members
from maas.cluster.etcd_members import Member
from maas.cluster.host_programs import Hosts
from maas.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = tuple(
    Member(str(number), name, f"10.90.0.{number}", leader=number == 1)
    for number, name in enumerate(("master", "master2", "master3"), 1)
)
PLANES = {"master", "master2", "master3"}


class Etcd(Hosts):
    """Control planes that carry the actions of the script out on one list of members."""

    def use(self, members: tuple[Member, ...]) -> None:
        self.__dict__.update(members=list(members), done=[], down=set[str](), intruder=None)

    def run(self, host: Any, command: str, *, input: str = "", timeout: float = 60) -> process.Completed:  # noqa: A002, ARG002
        assert command == "python3 -"
        state: Any = self.__dict__
        if host.name in state["down"]:
            return process.Completed(("ssh",), 255, "", f"{host.name}: connection timed out", 0.0)
        (text,) = re.findall(r"json\.loads\('(\{.*\})'\)", input)
        asked = json.loads(text)
        state["done"].append((host.name, asked["action"], asked["id"]))
        if asked["action"] == "remove":
            state["members"] = [one for one in state["members"] if one.id != asked["id"]]
            state["members"] += [state["intruder"]] if state["intruder"] else []
        answer = {"members": [vars(one) for one in state["members"]]}
        return process.Completed(("ssh",), 0, f"{script.MARK}{json.dumps(answer)}\n", "", 0.0)


@pytest.fixture
def etcd(tmp_path: Path) -> Any:
    listed = inventory_of("node1")
    planes = tuple(listed.hosts[0].model_copy(update={"name": name}) for name in ("master", "master2", "master3"))
    made = Etcd(listed.model_copy(update={"hosts": (*planes, listed.hosts[1])}), tmp_path)
    made.use(MEMBERS)
    return made


def test_a_control_plane_that_stays_lists_the_members(etcd: Any) -> None:
    via, found = etcd_members.find(etcd, besides={"master"})
    assert (via.name, found) == ("master2", MEMBERS)
    etcd.down.add("master2")
    assert etcd_members.find(etcd, besides={"master"})[0].name == "master3"
    etcd.down.add("master3")
    with pytest.raises(ClusterError) as caught:
        etcd_members.find(etcd, besides={"master"})
    assert caught.value.code == "QuorumLost"
    assert any("master3: connection timed out" in line for line in caught.value.context)


def test_a_leader_hands_its_leadership_over_and_leaves(etcd: Any) -> None:
    left = etcd_members.leave(etcd, "master", MEMBERS, via=etcd.inventory.control_planes[1])
    assert left == MEMBERS[1:]
    assert etcd.done == [("master", "move", "2"), ("master2", "remove", "1")]


def test_a_member_that_is_down_hands_nothing_over(etcd: Any) -> None:
    members = (*MEMBERS[:2], replace(MEMBERS[2], healthy=False))
    etcd.use(members)
    etcd_members.leave(etcd, "master3", members, via=etcd.inventory.control_planes[0])
    assert etcd.done == [("master", "remove", "3")]


def test_a_member_that_has_left_is_not_removed_again(etcd: Any) -> None:
    assert etcd_members.leave(etcd, "master", MEMBERS[1:], via=etcd.inventory.control_planes[1]) == MEMBERS[1:]
    assert etcd.done == []


def test_other_members_than_expected_afterwards_are_an_error(etcd: Any) -> None:
    etcd.__dict__["intruder"] = Member("9", "master9", "10.90.0.9")
    with pytest.raises(ClusterError) as caught:
        etcd_members.leave(etcd, "master", MEMBERS, via=etcd.inventory.control_planes[1])
    assert caught.value.code == "MembersDiffer"
    assert "master9" in caught.value.context[1]


@pytest.mark.parametrize(
    ("sick", "leaving", "allowed"),
    [
        ((), "master", True),
        (("master3",), "master3", True),
        (("master3",), "master", False),
        (("master2", "master3"), "master3", False),
    ],
)
def test_a_removal_must_leave_a_majority(sick: tuple[str, ...], leaving: str, allowed: bool) -> None:
    members = tuple(replace(one, healthy=one.name not in sick) for one in MEMBERS)
    if allowed:
        etcd_members.refuse(members, leaving, known=PLANES)
        return
    with pytest.raises(ClusterError) as caught:
        etcd_members.refuse(members, leaving, known=PLANES)
    assert caught.value.code == "QuorumLost"


def test_a_learner_counts_for_no_majority() -> None:
    members = (MEMBERS[0], replace(MEMBERS[1], healthy=False), replace(MEMBERS[2], learner=True))
    with pytest.raises(ClusterError, match="0 of 1 members of etcd would be healthy"):
        etcd_members.refuse(members, "master", known=PLANES)


def test_a_member_that_is_no_control_plane_is_refused() -> None:
    with pytest.raises(ClusterError, match="no control plane of this cluster: master3"):
        etcd_members.refuse(MEMBERS, "master", known={"master", "master2"})


def test_the_api_server_is_stopped_after_its_address_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests, steps = tmp_path / "manifests", list[str]()
    manifests.mkdir()
    for name in (*script.COMPONENTS, "etcd"):
        (manifests / f"{name}.yaml").touch()
    monkeypatch.setattr(script, "MANIFESTS", manifests)
    monkeypatch.setattr(script, "STOPPED", tmp_path / "removed")

    def run(words: list[str], **_: Any) -> Any:
        steps.append(f"{words[0]} with {len(list(manifests.iterdir()))} static pods")
        return process.Completed(tuple(words), 0, "", "", 0.0)

    monkeypatch.setattr(subprocess, "run", run)
    script.main({"action": "stop", "id": ""})
    script.main({"action": "stop", "id": ""})
    assert steps[:2] == ["systemctl with 4 static pods", "/usr/local/bin/crictl with 1 static pods"]
    assert [path.name for path in manifests.iterdir()] == ["etcd.yaml"]
    assert len(list((tmp_path / "removed").iterdir())) == 3
    assert f"{script.MARK}" in capsys.readouterr().out
