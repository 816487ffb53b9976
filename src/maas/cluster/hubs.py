"""The hubs of a cluster's VPN, and which hosts have a tunnel to them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from maas import process
from maas.cluster import tunnel
from maas.cluster.certificates import METRICS

_SAMPLE = re.compile(r'^(?P<metric>\w+)(\{(?P<label>\w+)="(?P<value>[^"]*)"[^}]*\})? (?P<number>\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Hub:
    """A hub as its own metrics describe it.

    Attributes:
        name: Its name.
        tunnels: By name of each other host, whether it has a tunnel to this hub.
        announces_api: Whether the hub announces the address of the Kubernetes API.
        answers: Whether the hub answers over SSH.
    """

    name: str
    tunnels: dict[str, bool]
    announces_api: bool
    answers: bool = True

    @property
    def missing(self) -> list[str]:
        """Names of the hosts without a tunnel."""
        return [name for name, connected in self.tunnels.items() if not connected]


def gather(name: str) -> list[Hub]:
    """Return the hubs of a cluster, by name."""
    hosts = tunnel.hubs(tunnel.state_dir(name))
    with ThreadPoolExecutor(len(hosts)) as executor:
        texts = executor.map(lambda words: process.run([*words, f"cat {METRICS}"], check=False).stdout, hosts.values())
    found = [
        parse(text) or Hub(host, {}, announces_api=False, answers=False)
        for host, text in zip(hosts, texts, strict=True)
    ]
    return sorted(found, key=lambda hub: hub.name)


def parse(metrics: str) -> Hub | None:
    """Return the hub that wrote metrics, or None if it is none (see hack/ansible/roles/base/files/metrics.py)."""
    samples = {(one["metric"], one["value"]): float(one["number"]) for one in _SAMPLE.finditer(metrics)}
    names = [value for metric, value in samples if metric == "openvpn_up"]
    if not names or 'role="hub"' not in metrics:
        return None
    tunnels = {value: bool(number) for (metric, value), number in samples.items() if metric == "openvpn_peer_connected"}
    return Hub(names[0], tunnels, bool(samples.get(("vpn_api_address_announced", None))))
