"""Values of the chart that follow from the hosts' network plan and from what the bundle contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maas.bundle.manifest import Unavailable
    from maas.hosts.inventory import Inventory
    from maas.hosts.network_plan import Plan


@dataclass(frozen=True)
class Switch:
    """The value that enables or disables an optional component.

    Attributes:
        path: Where it is in the umbrella chart's values.
        off: Its value when the component is disabled.
        on: Its value when the component is enabled.
    """

    path: tuple[str, ...]
    off: object
    on: object

    @property
    def disabled(self) -> dict[str, Any]:
        """Values that disable the component."""
        values: Any = self.off
        for key in reversed(self.path):
            values = {key: values}
        return {**values}

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {str(self.on).lower()}"


OPTIONAL_COMPONENTS = {
    "grafana": Switch(("kube-prometheus", "grafana", "enabled"), off=False, on=True),
    # The dashboard chart stays enabled: its cluster roles are what `maas credentials` grants.
    "headlamp": Switch(("dashboard", "engine"), off="none", on="headlamp"),
}
"""Components that the platform works without, by their name in components.yaml."""


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
    return [Disabled(item, OPTIONAL_COMPONENTS[item.name]) for item in unavailable if item.name in OPTIONAL_COMPONENTS]


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
