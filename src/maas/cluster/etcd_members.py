"""The members of etcd, one on each control plane: which there are, and how one leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from maas import paths
from maas.cluster import _etcd_members_script, host_programs
from maas.errors import ClusterError
from maas.hosts.facts import program_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from maas.cluster.host_programs import Hosts
    from maas.hosts.inventory import Host

_SECONDS = 150


@dataclass(frozen=True)
class Member:
    """A member of etcd.

    Attributes:
        id: Its number, as text.
        name: The name of its host; empty if it never started.
        address: The address of its host in the VPN.
        learner: Whether it does not vote yet.
        leader: Whether it is the leader.
        healthy: Whether it answers that it is healthy.
    """

    id: str
    name: str
    address: str
    learner: bool = False
    leader: bool = False
    healthy: bool = True

    @property
    def label(self) -> str:
        """Its name, for messages."""
        return self.name or f"a member at {self.address} that never started"


def majority(count: int) -> int:
    """Return how many of a number of members decide."""
    return count // 2 + 1


def find(hosts: Hosts, *, besides: Collection[str] = ()) -> tuple[Host, tuple[Member, ...]]:
    """Return the members, and the control plane that said it.

    Args:
        hosts: The hosts of the cluster.
        besides: Names of the control planes not to ask.

    Raises:
        ClusterError: No control plane answers.
    """
    reasons: list[str] = []
    for host in hosts.inventory.control_planes:
        if host.name in besides:
            continue
        try:
            return host, _run(hosts, host, "list")
        except ClusterError as error:
            reasons += error.context
    raise ClusterError(
        "no other control plane says which members etcd has",
        context=reasons,
        hint="nothing was changed; etcd needs a majority of its members: start the control planes that are down",
        command=paths.command("status", "--name", hosts.inventory.cluster),
        code="QuorumLost",
    )


def refuse(members: Sequence[Member], leaving: str, *, known: Collection[str]) -> None:
    """Refuse a removal after which etcd could not decide, or of whose members the network plan does not know.

    Args:
        members: The members as etcd lists them.
        leaving: The name of the host that is removed.
        known: The names of the control planes in the network plan.

    Raises:
        ClusterError: The member must not be removed now.
    """
    strangers = [member.label for member in members if member.name not in known]
    if strangers:
        raise ClusterError(
            f"etcd has a member that is no control plane of this cluster: {', '.join(strangers)}",
            context=[_shown(members)],
            hint="nothing was changed; bootstrap finishes an interrupted join and removes what is left of it",
            code="MembersDiffer",
        )
    if leaving not in {member.name for member in members}:
        return  # an earlier run has removed it
    stay = [member for member in members if member.name != leaving and not member.learner]
    healthy = [member for member in stay if member.healthy]
    if len(healthy) < majority(len(stay)):
        sick = ", ".join(member.label for member in stay if not member.healthy) or "nobody"
        raise ClusterError(
            f"without {leaving}, {len(healthy)} of {len(stay)} members of etcd would be healthy, and it needs "
            f"{majority(len(stay))} to decide",
            context=[f"not healthy: {sick}"],
            hint="nothing was changed; start these hosts first, or remove them first if they are lost",
            code="QuorumLost",
        )


def leave(hosts: Hosts, leaving: str, members: Sequence[Member], *, via: Host) -> tuple[Member, ...]:
    """Remove the member of a host from etcd and return the others.

    If it is the leader, it hands its leadership over before.

    Args:
        hosts: The hosts of the cluster.
        leaving: The name of the host.
        members: The members as `find` returned them.
        via: Another control plane.

    Raises:
        ClusterError: etcd refuses, or has other members afterwards than before without this one.
    """
    own = next((member for member in members if member.name == leaving), None)
    if own is None:
        return tuple(members)
    host = next((host for host in hosts.inventory.control_planes if host.name == leaving), None)
    heir = next((one for one in members if one.healthy and not one.learner and one.name != leaving), None)
    if own.leader and own.healthy and heir is not None and host is not None:
        _run(hosts, host, "move", heir.id)
    after = _run(hosts, via, "remove", own.id)
    wanted = {member.id for member in members} - {own.id}
    if {member.id for member in after} != wanted:
        raise ClusterError(
            f"etcd has other members than expected after the removal of {leaving}",
            context=[f"before: {_shown(members)}", f"after: {_shown(after)}"],
            hint="somebody else changes the cluster at the same time; run the same command again once that has ended",
            code="MembersDiffer",
        )
    return after


def stop_control_plane(hosts: Hosts, host: Host) -> None:
    """Withdraw the address of the API from a host, and stop its API server, controller manager and scheduler.

    Raises:
        ClusterError: The host does not answer, or they did not stop.
    """
    _run(hosts, host, "stop")


def _run(hosts: Hosts, host: Host, action: str, number: str = "") -> tuple[Member, ...]:
    source = resources.files("maas.cluster").joinpath("_etcd_members_script.py").read_text(encoding="utf-8")
    program = program_text(source, {"action": action, "id": number})
    answer = host_programs.ask(hosts, host, program, _etcd_members_script.MARK, timeout=_SECONDS)
    if isinstance(answer, str):
        raise ClusterError(
            f"{host.name}: {answer}",
            context=[f"{host.name}: {answer}"],
            hint="run the same command again to continue",
            code="EtcdFailed",
        )
    return tuple(Member(**member) for member in answer["members"])


def _shown(members: Sequence[Member]) -> str:
    return ", ".join(f"{member.label} ({member.address}, {member.id})" for member in members)
