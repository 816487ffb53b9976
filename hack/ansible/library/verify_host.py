#!/usr/bin/python
"""Prove that a host of the cluster is what it shall be."""

from __future__ import annotations

DOCUMENTATION = """
module: verify_host
short_description: Proves a host's listening sockets, its VPN and its services
description:
  - Changes nothing. Fails with everything that is wrong at once.
  - Programs of the cluster may listen on the host's VPN address and on loopback only.
  - Packets as large as the tunnel takes must reach each peer unfragmented, and come back.
  - Services must run now and start at boot; one that is starting is waited for.
options:
  address:
    description: The host's VPN address.
    type: str
    required: true
  peers:
    description: VPN addresses that must answer.
    type: list
    elements: str
    default: []
  packet:
    description: Size in bytes of the packets, IP header included.
    type: int
    required: true
  services:
    description: Units that must be active and enabled.
    type: list
    elements: str
    default: []
author: MaaS maintainers (@maas)
"""

EXAMPLES = """
- name: Look at the finished host
  verify_host:
    address: 10.90.0.2
    peers: [10.90.0.1]
    packet: 1400
"""

RETURN = """
listening:
  description: Programs of the cluster and the addresses that they listen on.
  returned: always
  type: dict
"""

import ipaddress
import re
import time

from ansible.module_utils.basic import AnsibleModule

PROGRAMS = ("kube", "etcd", "containerd", "calico", "node_exporter")
HEADERS = 28  # of IPv4 and ICMP
TRIES = 5
STARTING = 180  # seconds; the images of ordinary pods may still be on their way


def sockets(listing):
    """Programs and the addresses they listen on, from `ss -H -lntup`; names are cut to 15 characters there."""
    found = {}
    for line in listing.splitlines():
        fields = line.split()
        address = fields[4].rpartition(":")[0].partition("%")[0].strip("[]")
        for program in re.findall(r'\("([^"]+)"', line):
            if program.startswith(PROGRAMS):
                found.setdefault(program, set()).add(address)
    return {program: sorted(addresses) for program, addresses in sorted(found.items())}


def exposed(listening, address):
    """What listens where it must not."""
    return [
        f"{program} listens on {place}"
        for program, places in listening.items()
        for place in places
        if place == "*" or (place != address and not ipaddress.ip_address(place).is_loopback)
    ]


def passes(module, peer, packet):
    """Whether a packet of the given size that may not be fragmented comes back; one that is lost proves nothing."""
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "2", "-M", "do", "-s", str(packet - HEADERS), peer]
    return any(module.run_command(ping)[0] == 0 for _ in range(TRIES))


def stopped(module, names):
    """Services that do not run or will not at the next boot; one that is starting is waited for."""
    deadline = time.monotonic() + STARTING
    while True:
        _, states, _ = module.run_command(["systemctl", "is-active", *names])
        if "activating" not in states.split() or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    _, enabled, _ = module.run_command(["systemctl", "is-enabled", *names])
    pairs = [*zip(names, states.split(), strict=True), *zip(names, enabled.split(), strict=True)]
    return [f"{name} is {state}" for name, state in pairs if state not in ("active", "enabled")]


def main():
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "peers": {"type": "list", "elements": "str", "default": []},
            "packet": {"type": "int", "required": True},
            "services": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        module.exit_json(changed=False, listening={})  # there is nothing to prove about a host that was not changed
    _, listing, _ = module.run_command(["ss", "-H", "-l", "-n", "-t", "-u", "-p"], check_rc=True)
    listening = sockets(listing)
    wrong = exposed(listening, given["address"])
    wrong += [
        f"packets of {given['packet']} bytes do not come back from {peer}"
        for peer in given["peers"]
        if not passes(module, peer, given["packet"])
    ]
    wrong += stopped(module, given["services"])
    if wrong:
        module.fail_json(msg="; ".join(wrong), listening=listening)
    module.exit_json(changed=False, listening=listening)


if __name__ == "__main__":
    main()
