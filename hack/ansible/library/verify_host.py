#!/usr/bin/python
"""Verify the sockets, the VPN and the services of a host."""

from __future__ import annotations

DOCUMENTATION = """
module: verify_host
short_description: Verifies the listening sockets, the VPN and the services of a host
description:
  - Makes no changes. Reports all problems at once.
options:
  address: {description: 'VPN address, on which programs of the cluster may listen.', type: str, required: true}
  peers: {description: VPN addresses that must return an unfragmented packet., type: list, elements: str, default: []}
  packet: {description: 'Size of the packet in bytes, with the IP header.', type: int, required: true}
  services: {description: Units that must be active and enabled., type: list, elements: str, default: []}
author: MaaS maintainers (@maas)
"""

import ipaddress
import re
import time

from ansible.module_utils.basic import AnsibleModule

PROGRAMS = ("kube", "etcd", "containerd", "calico", "node_exporter")
HEADERS = 28  # bytes of the IPv4 and ICMP headers
TRIES = 5
STARTING = 180  # seconds; the import of images can take that long


def sockets(listing):
    """Return the addresses that programs listen on, from `ss -H -lntup`, which truncates names to 15 characters."""
    found = {}
    for line in listing.splitlines():
        fields = line.split()
        address = fields[4].rpartition(":")[0].partition("%")[0].strip("[]")
        for program in re.findall(r'\("([^"]+)"', line):
            if program.startswith(PROGRAMS):
                found.setdefault(program, set()).add(address)
    return {program: sorted(addresses) for program, addresses in sorted(found.items())}


def exposed(listening, address):
    """Return the sockets that are reachable outside the VPN."""
    return [
        f"{program} listens on {place}"
        for program, places in listening.items()
        for place in places
        if place == "*" or (place != address and not ipaddress.ip_address(place).is_loopback)
    ]


def passes(module, peer, packet):
    """Return whether an unfragmented packet of a size returns. Repeats lost packets."""
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "2", "-M", "do", "-s", str(packet - HEADERS), peer]
    return any(module.run_command(ping)[0] == 0 for _ in range(TRIES))


def stopped(module, names):
    """Return the services that are not active or not enabled. Waits for those that are starting."""
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
        module.exit_json(changed=False, listening={})  # the host was not changed
    _, listing, _ = module.run_command(["ss", "-H", "-l", "-n", "-t", "-u", "-p"], check_rc=True)
    listening = sockets(listing)
    wrong = exposed(listening, given["address"])
    wrong += [
        f"no reply from {peer} to packets of {given['packet']} bytes"
        for peer in given["peers"]
        if not passes(module, peer, given["packet"])
    ]
    wrong += stopped(module, given["services"])
    if wrong:
        module.fail_json(msg="; ".join(wrong), listening=listening)
    module.exit_json(changed=False, listening=listening)


if __name__ == "__main__":
    main()
