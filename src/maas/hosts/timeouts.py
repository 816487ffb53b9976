"""Timeouts for slow and distant hosts: how much longer than the defaults, from what preflight measured.

The defaults of ssh, kubeadm and this tool fit a host whose processor and disk do not slow down the start of a control
plane. One factor scales all of them: a timeout that is too long costs nothing unless something fails.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maas.hosts.facts import HostFacts

# What a host may take before its timeouts grow: several times as long as an ordinary virtual machine.
_CPU_MS = 40.0
_SYNC_MS = 20.0  # twice the limit that etcd's documentation names
_LOGIN_SECONDS = 2.0
_LONGEST = 10
# The defaults of kubeadm (v1beta4), in seconds.
_KUBEADM = {
    "controlPlaneComponentHealthCheck": 240,
    "kubeletHealthCheck": 240,
    "kubernetesAPICall": 60,
    "etcdAPICall": 120,
    "tlsBootstrap": 300,
    "discovery": 300,
}


class Timeouts(BaseModel):
    """How many times as long as by default is waited.

    Attributes:
        factor: For ssh, the tool and the scripts on hosts.
        kubeadm: For kubeadm. It stays with the cluster that it created, as it is part of a file on the host.
        why: What was measured, if a factor is not 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: int = 1
    kubeadm: int = 1
    why: str = ""

    def for_kubeadm(self) -> dict[str, str]:
        """Return the timeouts of kubeadm's configuration that differ from its defaults."""
        return {} if self.kubeadm == 1 else {name: f"{self.kubeadm * seconds}s" for name, seconds in _KUBEADM.items()}

    def shown(self) -> str:
        """Return the value for the plan."""
        api = _KUBEADM["controlPlaneComponentHealthCheck"] * self.kubeadm // 60
        return f"{self.factor} times the defaults; kubeadm waits {api} min for the control plane"


def compute(facts: Mapping[str, HostFacts], *, previous: Timeouts | None, control_plane: str) -> Timeouts:
    """Return the timeouts for some hosts.

    Args:
        facts: The facts of the hosts by name.
        previous: Those of the previous plan of this cluster.
        control_plane: Name of the host that runs the control plane.
    """
    measured = [(ratio, f"{name}: {text}") for name, found in facts.items() for ratio, text in _measured(found)]
    ratio, why = max(measured, default=(1.0, ""))
    factor = min(_LONGEST, math.ceil(max(1.0, ratio)))
    kubeadm = factor
    if previous is not None:
        kubeadm = previous.kubeadm if facts[control_plane].joined else max(factor, previous.kubeadm)
    return Timeouts(factor=factor, kubeadm=kubeadm, why=why if factor > 1 else "")


def _measured(facts: HostFacts) -> Iterator[tuple[float, str]]:
    """Yield how many times as long as expected something took, and what it was."""
    if facts.cpu_ms is not None:
        yield facts.cpu_ms / _CPU_MS, f"a small computation takes {facts.cpu_ms:.0f} ms, more than {_CPU_MS:.0f} ms"
    if facts.sync_ms is not None:
        yield facts.sync_ms / _SYNC_MS, f"a synchronous write takes {facts.sync_ms:.0f} ms, more than {_SYNC_MS:.0f} ms"
    if facts.login_seconds is not None:
        seconds = facts.login_seconds
        yield seconds / _LOGIN_SECONDS, f"an SSH login takes {seconds:.1f} s, more than {_LOGIN_SECONDS:.0f} s"
