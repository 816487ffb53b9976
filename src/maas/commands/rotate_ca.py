"""`maas rotate-ca`: replace a CA that all hosts trust, or the key that signs tokens, without an interruption."""

from __future__ import annotations

import contextlib
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import authorities, certificates, hubs, operation
from maas.commands import _gates, _hosts
from maas.errors import ClusterError, UsageError
from maas.hosts import ansible, journal, pki, rotations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.commands._gates import Gates
    from maas.commands._hosts import Members
    from maas.hosts.rotations import Kind, Phase, Rotation

_GATE_SECONDS = 600
_TUNNEL_SECONDS = 180
"""Time limit for hosts to report their tunnels."""

_NAMES: dict[Kind, str] = {
    "vpn": "the CA of the VPN",
    "service-accounts": "the key that signs the tokens of ServiceAccounts",
    "front-proxy": "the CA of the front proxy",
    "etcd": "the CA of etcd",
}
_TITLES: dict[Phase, str] = {
    "trusted": "Trust both",
    "issued": "Issue by the new one",
    "dropped": "Trust the new one only",
}
_EFFECTS: dict[Kind, dict[Phase, str]] = {
    "vpn": {
        "trusted": "hubs and then nodes trust both CAs; their tunnels restart",
        "issued": "every host gets a certificate of the new CA; their tunnels restart",
        "dropped": "hubs and then nodes trust the new CA only; their tunnels restart",
    },
    "service-accounts": {
        "trusted": "API servers verify tokens of both keys; they restart one at a time",
        "issued": "API servers sign with the new key; all kubelets and the pods of calico-node restart and get new tokens",
        "dropped": "API servers reject tokens of the old key, also those of `maas credentials`; they restart one at a time",
    },
    "front-proxy": {
        "trusted": "API servers, also those behind the aggregator, trust both CAs; they restart one at a time",
        "issued": "API servers get a client certificate of the new CA; they restart one at a time",
        "dropped": "API servers trust the new CA only; they restart one at a time",
    },
    "etcd": {
        "trusted": "members of etcd and API servers trust both CAs; they restart one host at a time",
        "issued": "members and API servers get certificates of the new CA; they restart one host at a time",
        "dropped": "members and API servers trust the new CA only; they restart one host at a time",
    },
}


def known(text: str) -> Kind:
    """Return the kind that a text names.

    Raises:
        UsageError: There is no such kind.
    """
    for kind in _NAMES:
        if kind == text:
            return kind
    raise UsageError(f"{text} cannot be replaced", hint=f"choose one of {', '.join(_NAMES)}")


def rotate(
    kind: Kind, name: str, file: Path | None, *, dry_run: bool, yes: bool, become_password: str | None = None
) -> None:
    """Replace what hosts trust, in phases, or continue an interrupted replacement.

    Args:
        kind: What is replaced.
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        dry_run: Show the phases and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such cluster, or another rotation is not completed.
        ClusterError: A host is away, or a phase failed. The same command continues.
    """
    members = _hosts.connect(name, file, become_password=become_password)
    cluster, state = members.hosts.inventory.cluster, members.hosts.state
    with nullcontext() if dry_run else operation.hold(state, command=f"rotation of {_NAMES[kind]} of {cluster}"):
        _refuse(members, kind)
        gates = _gates.Gates(members, unsettled=frozenset(_gates.workloads(members)), alerts=False)
        gates.refuse(before="the rotation")
        rotation = rotations.load(state, kind)
        _show(kind, rotation)
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Replace {_NAMES[kind]} of {cluster}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        if rotation is None:
            rotation = _begin(members, kind)
        while rotation is not None:
            with _journal(members, rotation):
                if kind == "vpn":
                    _vpn(members, rotation.phase)
                else:
                    _planes(members, gates, rotation)
            with console.phase("Verify") as step:
                gates.wait(
                    before="the next phase",
                    done=f"the phase {rotation.phase} is repeated",
                    step=step,
                    seconds=_GATE_SECONDS * members.hosts.factor,
                )
                _verify(members, rotation)
            if kind == "vpn":
                _turn(members, rotation.phase)
            rotation = rotations.advance(state, rotation)
    console.line(f"{_NAMES[kind]} of {cluster} is replaced")


def _refuse(members: Members, kind: Kind) -> None:
    """Refuse a second rotation at the same time, and hosts that are away or unknown."""
    file = members.hosts.inventory.file
    if others := [other for other in rotations.unfinished(members.hosts.state) if other != kind]:
        raise UsageError(
            f"the rotation of {_NAMES[others[0]]} is not completed",
            hint="nothing was changed; complete it first",
            command=paths.command("rotate-ca", others[0], "--inventory", file),
        )
    # A host that has a certificate of the VPN and is no node would be locked out.
    _hosts.certified(members.hosts, members.plan)
    certified = {path.stem for path in (members.hosts.state / "pki" / "nodes").glob("*.crt")}
    if away := sorted((certified & members.plan.hosts.keys()) - members.addresses.keys()):
        raise ClusterError(
            f"{', '.join(away)} is away: every host must take part in a rotation",
            hint="nothing was changed; start the host and run bootstrap, or remove it",
            command=paths.command("bootstrap", "--inventory", file),
            code="NotReady",
        )


def _show(kind: Kind, rotation: Rotation | None) -> None:
    reached = rotations.PHASES.index(rotation.phase) if rotation else 0
    rows = [
        (_TITLES[phase], _EFFECTS[kind][phase], "completed" if number < reached else "")
        for number, phase in enumerate(rotations.PHASES)
    ]
    console.table(f"rotation of {_NAMES[kind]}", ("phase", "what happens", ""), rows)
    if rotation is not None:
        console.line(f"this continues the rotation of {rotation.began:%F %T} UTC")


def _begin(members: Members, kind: Kind) -> Rotation:
    state, plan = members.hosts.state, members.plan
    if kind == "vpn":
        pki.prepare_authority(state / "pki", plan.cluster)
        began = datetime.now(UTC).replace(microsecond=0)
        rotation = rotations.Rotation(kind=kind, phase="trusted", began=began)
    else:
        rotation = authorities.begin(members.hosts, kind)
    rotations.save(state, rotation)
    return rotation


@contextlib.contextmanager
def _journal(members: Members, rotation: Rotation) -> Iterator[None]:
    """Record the outcome of a phase for every host that takes part in it."""
    began, since = datetime.now(UTC), time.monotonic()
    names = members.addresses if rotation.kind == "vpn" else members.hosts.control_planes
    outcome: journal.Outcome = "failed"
    try:
        yield
        outcome = "changed"
    finally:
        seconds = round(time.monotonic() - since, 2)
        journal.record(
            members.hosts.state / ansible.JOURNAL,
            [
                journal.Entry(
                    time=began + timedelta(seconds=seconds),
                    playbook=f"rotate-ca {rotation.kind}",
                    phase=_TITLES[rotation.phase],
                    host=name,
                    outcome=outcome,
                    changed=int(outcome == "changed"),
                    seconds=seconds,
                    inputs="",
                    began=began,
                )
                for name in sorted(names)
            ],
        )


def _vpn(members: Members, phase: Phase) -> None:
    """Bring the CAs and the certificates of this controller to all hosts."""
    hosts, plan = members.hosts, members.plan
    console.line(_TITLES[phase])
    keys = pki.ensure(hosts.state / "pki", plan.cluster, list(members.addresses), hubs=list(plan.hubs))
    ansible.run(
        "vpn",
        inventory=_hosts.variables(hosts.inventory, plan, hosts.state, pki=keys),
        state=hosts.state,
        retry=paths.same_command(),
        become_password=hosts.become_password,
    )


def _planes(members: Members, gates: Gates, rotation: Rotation) -> None:
    """Carry out a phase on the control planes, one at a time."""
    planes = [host for host in members.hosts.inventory.hosts if host.name in members.hosts.control_planes]
    for number, host in enumerate(planes):
        with console.phase(f"{_TITLES[rotation.phase]}: {host.name}") as step:
            if number:
                gates.wait(
                    before=host.name,
                    done="the same command continues",
                    step=step,
                    seconds=_GATE_SECONDS * members.hosts.factor,
                )
            restarted = authorities.apply(members.hosts, host, rotation)
            step.note(f"{', '.join(restarted)} restarted" if restarted else "unchanged")
    if rotation.kind == "service-accounts" and rotation.phase == "issued":
        with console.phase("Tokens") as step:
            authorities.replace_tokens(members.hosts, members.cluster, rotation, step)


def _verify(members: Members, rotation: Rotation) -> None:
    """Verify that every host has what the next phase requires.

    Raises:
        ClusterError: A host does not.
    """
    if rotation.kind == "vpn":
        hosts, _ = _hosts.certified(members.hosts, members.plan)
        if late := certificates.due(hosts.state, certificates.read(hosts)).vpn:
            raise ClusterError(
                f"{', '.join(late)} does not have what this controller has issued",
                hint="run the same command again; the log of Ansible says what it did",
                command=f"ls -t {hosts.state / 'log'}",
            )
        members.cluster.wait(
            lambda: [
                f"no tunnel to {hub.name}: {', '.join(hub.missing)}"
                for hub in hubs.gather(members.plan.cluster)
                if hub.missing
            ],
            what="the tunnels of all hosts to all hubs",
            timeout=_TUNNEL_SECONDS,
        )
    elif rotation.kind == "front-proxy":
        authorities.publish_headers(members.cluster, rotation)


def _turn(members: Members, phase: Phase) -> None:
    """Change the CAs of the VPN on this controller for the next phase."""
    directory = members.hosts.state / "pki"
    if phase == "trusted":
        pki.promote_authority(directory)
    elif phase == "issued":
        pki.drop_authority(directory)
