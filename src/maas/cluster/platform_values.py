"""Values of the chart that follow from the hosts' network plan and from what the bundle contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas import components

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maas.bundle.manifest import Unavailable
    from maas.components import Switch
    from maas.hosts.inventory import Inventory
    from maas.hosts.network_plan import Plan

_METRICS_PORT = 9100
"""Port of the metrics of a hub that is not a node, see hack/ansible/roles/base."""


@dataclass(frozen=True)
class Disabled:
    """A component that is disabled because its image is not in the bundle.

    Attributes:
        component: Its name and version, and why its image is not available.
        switch: The value that disables it.
        fallback: The component that takes its place; None if there is none.
    """

    component: Unavailable
    switch: Switch
    fallback: str | None

    def __str__(self) -> str:
        gone = self.component
        state = f"replaced by {self.fallback}" if self.fallback else "disabled"
        return f"{gone.name} {gone.version} is {state}: {gone.reason} (enable it with {self.switch})"


def missing_components(unavailable: Iterable[Unavailable]) -> list[Disabled]:
    """Return the optional components among those that a bundle does not contain."""
    entries = list(unavailable)
    names = {entry.name for entry in entries}
    images = {image.name: image for image in components.load().images()}
    return [
        Disabled(entry, image.switch, image.fallback if image.fallback not in names else None)
        for entry in entries
        if (image := images.get(entry.name)) is not None and image.switch is not None
    ]


def platform_values(plan: Plan, inventory: Inventory) -> dict[str, Any]:
    """Return the values that describe the hosts and their network to the chart."""
    host, _, port = plan.control_plane_endpoint.rpartition(":")
    values: dict[str, Any] = {
        "calico": {
            "enabled": True,
            # The Service `kubernetes` answers only once kube-proxy runs: an agent that starts first fails, and Kubernetes
            # waits 10 s before it starts it again.
            "apiServer": {"host": host, "port": int(port)},
            "mtu": plan.pod_mtu,
            "ipPool": {"cidr": str(inventory.networks.pods)},
        },
    }
    monitoring: dict[str, Any] = {}
    if all(host.container for host in plan.hosts.values()):
        # A container shares the clock of the machine below and cannot set it.
        monitoring["rules"] = {"alerts": {"NodeClockNotSynchronising": {"enabled": False}}}
    # On nodes, node-exporter exports the metrics of the VPN; the job is the same, so that all alerts include these hosts.
    targets = {
        f"hub-{name.replace('.', '-')}": {
            "job": "node-exporter",
            "targets": [f"{own.vpn_address}:{_METRICS_PORT}"],
            "labels": {"node": name},
        }
        for name, own in plan.hosts.items()
        if own.role == "hub"
    }
    if targets:
        monitoring["scrapeTargets"] = targets
    return values | ({"kube-prometheus": monitoring} if monitoring else {})
