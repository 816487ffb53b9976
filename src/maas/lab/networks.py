"""Choose the subnets of the lab's networks: none that this machine already has a route to."""

from __future__ import annotations

import ipaddress
import json
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from maas import process
from maas.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docker import DockerClient

# The upper quarter of 172.16.0.0/12, which neither home routers nor the default networks of a cluster use, then a
# corner of 10.0.0.0/8 away from the defaults of inventories (10.90 to 10.92).
POOLS = (IPv4Network("172.28.0.0/14"), IPv4Network("10.200.0.0/14"))
_PREFIX = 24


def pick(taken: Iterable[IPv4Network], *, count: int) -> list[IPv4Network]:
    """Return the first free networks of 254 addresses.

    Args:
        taken: Networks that must not overlap the result.
        count: Number of networks.

    Raises:
        LabError: There are not enough.
    """
    avoid = list(taken)
    free: list[IPv4Network] = []
    for pool in POOLS:
        for candidate in pool.subnets(new_prefix=_PREFIX):
            if len(free) == count:
                return free
            if not any(candidate.overlaps(network) for network in avoid):
                free.append(candidate)
    raise LabError(
        f"fewer than {count} networks are free for the lab's hosts",
        context=(f"searched for /{_PREFIX} in {' and '.join(map(str, POOLS))}",),
        hint="all others overlap a route of this machine or a Docker network; remove one of those",
        command="ip route show table all",
    )


def routed(routes: str) -> set[IPv4Network]:
    """Return the networks in the output of `ip -json -4 route show table all`, without the default route."""
    found = {entry["dst"] for entry in json.loads(routes or "[]")} - {"default"}
    return {ipaddress.IPv4Network(destination, strict=False) for destination in found if ":" not in destination}


def taken(client: DockerClient) -> set[IPv4Network]:
    """Return the networks that this machine has a route to or that Docker has created."""
    known = routed(process.run(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout)
    for network in client.networks.list():
        for pool in network.attrs["IPAM"]["Config"] or ():
            subnet = ipaddress.ip_network(pool["Subnet"])
            if isinstance(subnet, IPv4Network):
                known.add(subnet)
    return known
