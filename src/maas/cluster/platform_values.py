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


@dataclass(frozen=True)
class Disabled:
    """A component that is disabled because its image is not in the bundle.

    Attributes:
        component: Its name and version, and why its image is not available.
        switch: The value that disables it.
    """

    component: Unavailable
    switch: Switch

    def __str__(self) -> str:
        gone = self.component
        return f"{gone.name} {gone.version} is disabled: {gone.reason} (enable it with {self.switch})"


def missing_components(unavailable: Iterable[Unavailable]) -> list[Disabled]:
    """Return the optional components among those that a bundle does not contain."""
    switches = {image.name: image.switch for image in components.load().images()}
    return [Disabled(item, switch) for item in unavailable if (switch := switches.get(item.name)) is not None]


def platform_values(plan: Plan, inventory: Inventory) -> dict[str, Any]:
    """Return the values that describe the hosts and their network to the chart."""
    values: dict[str, Any] = {
        "calico": {
            "enabled": True,
            "mtu": plan.pod_mtu,
            "ipPool": {"cidr": str(inventory.networks.pods)},
        },
    }
    if all(host.container for host in plan.hosts.values()):
        # A container shares the clock of the machine below and cannot set it.
        values["kube-prometheus"] = {"rules": {"alerts": {"NodeClockNotSynchronising": {"enabled": False}}}}
    return values
