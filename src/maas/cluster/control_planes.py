"""The control planes of a cluster that exists: whether one of them may be away, and how it leaves before that."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from maas.cluster import _control_plane_script, host_programs
from maas.hosts.facts import program_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from maas.cluster.host_programs import Hosts
    from maas.hosts.inventory import Host
    from maas.hosts.network_plan import Plan


@dataclass(frozen=True)
class ControlPlane:
    """A control plane as it reports itself.

    Attributes:
        announces: Whether it announces the address of the API.
        own: The ID of its member of etcd, empty if that does not answer.
        leader: The ID of the leader that this member knows, `0` without one.
        voters: The voting members that it knows, name by ID.
        learners: The members that do not vote yet.
        alarms: The alarms of etcd.
        error: Why its etcd does not answer, empty if it does.
    """

    announces: bool
    own: str = ""
    leader: str = "0"
    voters: Mapping[str, str] = field(default_factory=dict)
    learners: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    error: str = ""


def parse(answer: Mapping[str, Any]) -> ControlPlane:
    """Return a control plane from the answer of its host."""
    etcd = answer["etcd"]
    if "error" in etcd:
        return ControlPlane(answer["announces"], error=etcd["error"])
    return ControlPlane(
        answer["announces"],
        etcd["own"],
        etcd["leader"],
        etcd["voters"],
        tuple(etcd["learners"]),
        tuple(etcd["alarms"]),
    )


def inspect(hosts: Hosts, plan: Plan) -> dict[str, ControlPlane]:
    """Return the state of each control plane.

    Raises:
        ClusterError: A control plane does not answer.
    """
    planes = tuple(host for host in hosts.inventory.hosts if host.name in hosts.control_planes)
    return {name: parse(answer) for name, answer in _run(hosts, planes, plan, "inspect").items()}


def problems(found: Mapping[str, ControlPlane], *, announcers: Collection[str]) -> list[str]:
    """Return why none of the control planes may be away now; empty if one may.

    Args:
        found: The control planes.
        announcers: Those that announce the address of the API when they are healthy.
    """
    wrong = [f"etcd on {name} does not answer: {one.error}" for name, one in found.items() if one.error]
    wrong += [f"etcd on {name} has the alarm {alarm}" for name, one in found.items() for alarm in one.alarms]
    wrong += [f"etcd on {name} has no leader" for name, one in found.items() if not one.error and one.leader == "0"]
    members = {name for one in found.values() for name in one.voters.values()}
    learners = sorted({name or "a new member" for one in found.values() for name in one.learners})
    wrong += [f"{name} does not vote in etcd yet" for name in learners]
    # While nobody answers, nobody lists the members.
    wrong += [f"{name} is no member of etcd" for name in sorted(found.keys() - members) if members]
    wrong += [f"etcd has the member {name}, which is no control plane" for name in sorted(members - found.keys())]
    wrong += [
        f"{name} does not announce the address of the API"
        for name, one in found.items()
        if name in announcers and not one.announces
    ]
    return wrong


def leave(hosts: Hosts, plan: Plan, host: Host) -> str:
    """Withdraw the address of the API from a control plane, and return the member of etcd that leads instead of it.

    Returns:
        The name of the new leader, empty if the host did not lead.

    Raises:
        ClusterError: It does not answer, or etcd refuses.
    """
    moved: str = _run(hosts, (host,), plan, "leave")[host.name]["moved"]
    return moved


def stay(hosts: Hosts, plan: Plan, host: Host) -> None:
    """Let a control plane announce the address of the API again, after `leave`.

    Raises:
        ClusterError: It does not answer.
    """
    _run(hosts, (host,), plan, "stay")


def _run(hosts: Hosts, chosen: tuple[Host, ...], plan: Plan, action: str) -> dict[str, dict[str, Any]]:
    source = resources.files("maas.cluster").joinpath("_control_plane_script.py").read_text(encoding="utf-8")
    program = program_text(source, {"action": action, "api": str(plan.api_address)})
    own = replace(hosts, inventory=hosts.inventory.model_copy(update={"hosts": chosen}))
    return host_programs.run(own, program, _control_plane_script.MARK)
