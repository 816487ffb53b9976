"""The rules that other firewalls of a host need for the cluster.

The rules of MaaS itself come first in the tables of iptables, which ufw and netfilter-persistent also use. But a chain of
another table decides for itself: a packet that one chain accepts is dropped by the next. So such a chain needs rules of
its own. `bootstrap` adds them to the chains of nftables.service, and asks for them in all others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maas.hosts.network_plan import VPN_DEVICES

if TYPE_CHECKING:
    from maas.hosts.facts import Filter, HostFacts
    from maas.hosts.inventory import Host, Inventory

COMMENT = "maas"
"""The comment of rules that a user adds."""
_ZONE = "maas"


def handled(facts: HostFacts) -> list[Filter]:
    """Return the chains in which bootstrap adds the rules: those of nftables.service, which it can add again."""
    return [one for one in _closed(facts) if one.program == "nft"] if "nftables" in facts.firewalls else []


def refused(facts: HostFacts) -> list[Filter]:
    """Return the chains that need rules which bootstrap does not add."""
    added = handled(facts)
    return [one for one in _closed(facts) if one not in added]


def _closed(facts: HostFacts) -> list[Filter]:
    # firewalld has commands of its own; nothing else may change its tables.
    return [one for one in facts.filters if one.table != "firewalld" and not one.opened]


def additions(facts: HostFacts, inventory: Inventory, host: Host) -> list[dict[str, str]]:
    """Return chain and match of each rule that bootstrap adds."""
    return [
        {"chain": f"{one.family} {one.table} {one.chain}", "match": match}
        for one in handled(facts)
        for match in matches(one, inventory, host)
    ]


def matches(one: Filter, inventory: Inventory, host: Host) -> list[str]:
    """Return what a chain must accept, in the language of nft."""
    vpn, networks = f'"{VPN_DEVICES}*"', inventory.networks
    listening = _listening(inventory, host)
    if one.hook == "input":
        tunnels = [f"iifname {vpn} ip saddr {network}" for network in (networks.vpn, networks.transit)]
        return [*tunnels, 'iifname "cali*"', 'iifname "vxlan.calico"', *(f"udp dport {port}" for port in listening)]
    if one.hook == "forward":
        return [f"iifname {vpn} oifname {vpn}", 'iifname "cali*"', 'oifname "cali*"']
    found = [f"oifname {vpn}", 'oifname "cali*"', 'oifname "vxlan.calico"']
    servers = sorted(
        {hub.port + link for hub in inventory.servers_for(host).values() for link in range(len(listening) or 1)}
    )
    return [*found, *(f"udp sport {port}" for port in listening), *(f"udp dport {port}" for port in servers)]


def _listening(inventory: Inventory, host: Host) -> list[int]:
    """Return the UDP ports of a hub: of its OpenVPN server, and of its links to the other hubs."""
    if host not in inventory.hubs:
        return []
    first = inventory.server_of(host).listening_port
    return list(range(first, first + len(inventory.hubs)))


def lines(one: Filter, inventory: Inventory, host: Host) -> list[str]:
    """Return the commands that open a chain."""
    found = matches(one, inventory, host)
    if one.program == "nft":
        chain = f"{one.family} {one.table} {one.chain}"
        quoted = [re.sub(r'"[^"]*"', r"'\g<0>'", match) for match in found]  # for nft, inside those for the shell
        return [f"nft insert rule {chain} {match} accept comment '\"{COMMENT}\"'" for match in quoted]
    words = {
        "iifname": "-i",
        "oifname": "-o",
        "ip saddr": "-s",
        "udp dport": "-p udp --dport",
        "udp sport": "-p udp --sport",
    }
    options = []
    for match in found:
        text = match.replace('"', "").replace("*", "+")
        for word, option in words.items():
            text = text.replace(word, option)
        options.append(text)
    return [f"iptables-legacy -I {one.chain} {text} -m comment --comment {COMMENT} -j ACCEPT" for text in options]


def firewalld(inventory: Inventory, host: Host) -> list[str]:
    """Return the commands that open firewalld: a zone for the devices of the cluster, and the port of the hub."""
    zone = f"firewall-cmd --permanent --zone={_ZONE}"
    devices = (f"{VPN_DEVICES}+", "vxlan.calico", "cali+")
    ports = [f"firewall-cmd --permanent --add-port={port}/udp" for port in _listening(inventory, host)]
    return [
        f"firewall-cmd --permanent --new-zone={_ZONE}",
        f"{zone} --set-target=ACCEPT",
        *(f"{zone} --add-interface={device}" for device in devices),
        *ports,
        "firewall-cmd --reload",
    ]
