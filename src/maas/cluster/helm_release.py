"""The Helm release of the umbrella chart on a cluster, through pyhelm3."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from maas import paths, process
from maas.errors import ClusterError
from maas.helm import NAMESPACE, RELEASE, render, values_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from maas.cluster.client import Cluster

_NETWORK = "calico"
_POD_NETWORK_ONLY = "the pod network"
"""The description of a revision that contains the pod network and nothing else."""


@dataclass(frozen=True)
class Revision:
    """A revision of the release.

    Attributes:
        number: Counted by Helm.
        description: Its fingerprint, or `the pod network`.
        deployed: Whether Helm's status of it is `deployed`.
        unfinished: Whether Helm ended before it had created or updated all objects, and has no complete revision.
        crds_applied: Whether this process has applied the charts' CRDs since.
    """

    number: int
    description: str
    deployed: bool = True
    unfinished: bool = False
    crds_applied: bool = False


def fingerprint(chart: Path, values: Mapping[str, Any]) -> str:
    """Return what identifies a deployed chart: a digest of its files and of the values."""
    given = json.dumps(values, sort_keys=True)
    return f"chart and values {hashlib.sha256((render.digest(chart) + given).encode()).hexdigest()[:16]}"


@dataclass
class HelmRelease:
    """The release of the umbrella chart on one cluster.

    Attributes:
        cluster: The cluster.
        helm: The pinned helm.
        kubectl: The pinned kubectl.
        values: Values that differ from the chart's own.
    """

    cluster: Cluster
    helm: Path
    kubectl: Path
    values: dict[str, Any]

    def current(self) -> Revision | None:
        """Return the current revision; None where there is no release. The answer contains every manifest: ask once.

        A revision that an interrupted run left unfinished is deleted first, because Helm refuses to continue from it. Its
        objects stay, and the next revision adopts them. The caller holds the lock of the cluster.

        Raises:
            ClusterError: Helm failed.
        """
        found = asyncio.run(self._current())
        if found is not None and found.unfinished:
            record = f"sh.helm.release.v1.{RELEASE}.v{found.number}"
            self._kubectl("delete", "secret", record, f"--namespace={NAMESPACE}")
            found = asyncio.run(self._current())
        return found

    def install_pod_network(self) -> Revision:
        """Install the release with the pod network alone, which every other pod waits for. Does not wait.

        Raises:
            ClusterError: Helm failed.
        """
        others = [chart.name for chart in render.subcharts(paths.content()) if chart.name != _NETWORK]
        off = {name: {"enabled": False} for name in others}
        revision = asyncio.run(self._install(values_files.merge(self.values, off), _POD_NETWORK_ONLY))
        self._apply_crds(without=_NETWORK)  # Helm has installed those of the pod network
        return replace(revision, crds_applied=True)

    def deploy(self, current: Revision | None) -> Revision:
        """Install or upgrade the chart. A release of the same chart with the same values is left alone. Does not wait.

        Args:
            current: The current revision; None where there is no release.

        Raises:
            ClusterError: Helm failed, with the chart's own message where there is one; or the API server does not serve
                the chart's CRDs within a minute.
        """
        wanted = fingerprint(paths.content(), self.values)
        if current is not None:
            if current.description == wanted and current.deployed:
                return current
            # Helm installs CRDs with a release's first revision only, and waits for those alone.
            if not current.crds_applied:
                self._apply_crds()
            self.cluster.wait_established(crd_names())
        return asyncio.run(self._install(self.values, wanted))

    @cached_property
    def _client(self) -> Any:
        import pyhelm3  # a quarter of a second that most commands do not need

        # It logs every failure as an error; whether it is one is decided here.
        logging.getLogger("pyhelm3").setLevel(logging.CRITICAL)
        # pyhelm3 has no argument for them; without them, helm would use the directories of its user.
        own = paths.cache() / "helm"
        os.environ |= {f"HELM_{what}_HOME": str(own / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
        return pyhelm3.Client(executable=str(self.helm), kubeconfig=self.cluster.kubeconfig)

    async def _current(self) -> Revision | None:
        import pyhelm3

        with _helm_errors():
            try:
                found = await self._client.get_current_revision(RELEASE, namespace=NAMESPACE)
            except pyhelm3.ReleaseNotFoundError:
                return None
        status = found.status.value
        unfinished = status.startswith("pending-") or (status == "failed" and found.revision == 1)
        return Revision(found.revision, found.description, deployed=status == "deployed", unfinished=unfinished)

    async def _install(self, values: Mapping[str, Any], description: str) -> Revision:
        with _helm_errors():
            made = await self._client.install_or_upgrade_release(
                RELEASE,
                await self._client.get_chart(str(paths.content())),
                values,
                namespace=NAMESPACE,
                description=description,
                reset_values=True,
            )
        return Revision(made.revision, description)

    def _apply_crds(self, *, without: str = "") -> None:
        for directory in sorted(paths.content().glob("charts/*/crds")):
            if directory.parent.name != without:
                words = ["apply", "--server-side", "--force-conflicts", "--field-manager=maas"]
                self._kubectl(*words, f"--filename={directory}")

    def _kubectl(self, *words: str) -> None:
        process.run([self.kubectl, f"--kubeconfig={self.cluster.kubeconfig}", *words])


def crd_names() -> list[str]:
    """Return the names of the CRDs that the charts ship; their files are named GROUP_PLURAL.yaml."""
    files = paths.content().glob("charts/*/crds/*.yaml")
    return sorted(".".join(reversed(file.stem.split("_"))) for file in files)


@contextlib.contextmanager
def _helm_errors() -> Iterator[None]:
    """Turn an error of Helm into one of MaaS."""
    import pyhelm3

    try:
        yield
    except pyhelm3.ReleaseNotFoundError:
        raise
    except pyhelm3.Error as error:
        raise ClusterError(
            "Helm did not install the chart",
            context=[line for line in str(error.stderr.decode(errors="replace")).splitlines() if line.strip()][-12:],
            command="helm template maas . --debug",
            code="HelmFailed",
        ) from error
