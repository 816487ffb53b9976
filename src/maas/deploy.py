"""Brings the umbrella chart onto a cluster, by Helm, through pyhelm3."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas import paths, process
from maas.charts import render
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maas.cluster import Cluster

RELEASE = "maas"
NAMESPACE = "maas"


@dataclass(frozen=True)
class Deployed:
    """A release on a cluster.

    Attributes:
        revision: Its number, counted by Helm.
        changed: Whether this call made it.
        notes: What the chart says to its user.
    """

    revision: int
    changed: bool
    notes: str


def merge(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Values merged as Helm merges several files: maps key by key, anything else replaced, null removes."""
    merged: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            known = merged.get(key)
            merged[key] = merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def mark(chart: Path, values: Mapping[str, Any]) -> str:
    """What a release is recognised by: a digest of the chart's files and of the values."""
    given = json.dumps(values, sort_keys=True)
    return f"chart and values {hashlib.sha256((render.digest(chart) + given).encode()).hexdigest()[:16]}"


def deploy(cluster: Cluster, *, helm: Path, kubectl: Path, values: Mapping[str, Any]) -> Deployed:
    """Install the chart or upgrade it; a release of the same chart with the same values is left alone.

    Nothing is waited for here: a cluster without a network becomes Ready only through what this installs.

    Args:
        cluster: The cluster.
        helm: The pinned helm.
        kubectl: The pinned kubectl.
        values: Values that differ from the chart's own.

    Raises:
        ClusterError: Helm refused; its message is the chart's own explanation where there is one.
    """
    chart = paths.content()
    return asyncio.run(_deploy(cluster, helm=helm, kubectl=kubectl, chart=chart, values=dict(values)))


async def _deploy(cluster: Cluster, *, helm: Path, kubectl: Path, chart: Path, values: dict[str, Any]) -> Deployed:
    import pyhelm3  # noqa: PLC0415 - a quarter of a second that most commands do not need

    # It logs each refusal as an error; whether that is one is decided here.
    logging.getLogger("pyhelm3").setLevel(logging.CRITICAL)

    # pyhelm3 has no argument for it; without these, helm would read and write its user's own directories.
    own = paths.cache() / "helm"
    os.environ |= {f"HELM_{what}_HOME": str(own / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
    wanted = mark(chart, values)
    client = pyhelm3.Client(executable=str(helm), kubeconfig=cluster.kubeconfig)
    try:
        try:
            present = await client.get_current_revision(RELEASE, namespace=NAMESPACE)
        except pyhelm3.ReleaseNotFoundError:
            present = None
        if present is not None:
            if present.status == pyhelm3.ReleaseRevisionStatus.DEPLOYED and present.description == wanted:
                return Deployed(present.revision, changed=False, notes=present.notes or "")
            # Helm applies crds/ at the first installation only.
            _apply_definitions(cluster, kubectl, chart)
        revision = await client.install_or_upgrade_release(
            RELEASE,
            await client.get_chart(str(chart)),
            values,
            namespace=NAMESPACE,
            description=wanted,
            reset_values=True,
        )
    except pyhelm3.Error as error:
        raise ClusterError(
            "Helm did not install the chart",
            context=[line for line in str(error.stderr.decode(errors="replace")).splitlines() if line.strip()][-12:],
            command="helm template maas . --debug",
        ) from error
    return Deployed(revision.revision, changed=True, notes=revision.notes or "")


def _apply_definitions(cluster: Cluster, kubectl: Path, chart: Path) -> None:
    for directory in sorted(chart.glob("charts/*/crds")):
        words = ["apply", "--server-side", "--force-conflicts", "--field-manager=maas", f"--filename={directory}"]
        process.run([kubectl, f"--kubeconfig={cluster.kubeconfig}", *words])
