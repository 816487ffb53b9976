"""Brings the umbrella chart onto a cluster, by Helm, through pyhelm3."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from maas import paths, process
from maas.errors import ClusterError
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from maas.cluster.client import Cluster

RELEASE = "maas"
NAMESPACE = "maas"


_NETWORK = "calico"
_FIRST = "the pod network"
"""What a release is described as that holds nothing else yet."""


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


@dataclass
class Deployer:
    """Brings the chart onto one cluster.

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
    _seen: Any = field(default=None, init=False)

    def network(self) -> Deployed | None:
        """Where there is no release yet, make it with the pod network alone, which everything else waits for.

        Nothing is waited for here. None when there is a release already.

        Raises:
            ClusterError: Helm refused.
        """
        return asyncio.run(self._network())

    def deploy(self, *, definitions: bool = True) -> Deployed:
        """Install the chart or upgrade it; a release of the same chart with the same values is left alone.

        Nothing is waited for here.

        Args:
            definitions: Whether the kinds of the chart have to be brought before; `network` has done it.

        Raises:
            ClusterError: Helm refused; its message is the chart's own explanation where there is one. Or the API server does
                not serve the chart's kinds within a minute.
        """
        return asyncio.run(self._deploy(bring=definitions))

    async def _network(self) -> Deployed | None:
        self._seen = await self._present()
        if self._seen is not None:
            return None
        others = [file.parent.name for file in paths.content().glob("charts/*/Chart.yaml")]
        off = {name: {"enabled": False} for name in others if name != _NETWORK}
        deployed = await self._install(merge(self.values, off), _FIRST)
        self._apply_definitions(without=_NETWORK)  # those were installed with it
        return deployed

    async def _deploy(self, *, bring: bool) -> Deployed:
        wanted = mark(paths.content(), self.values)
        # Asked once a run: the answer holds every manifest of the release.
        present = self._seen or await self._present()
        if present is not None and present.description == wanted and present.status.value == "deployed":
            return Deployed(present.revision, changed=False, notes=present.notes or "")
        # Helm brings them itself, but at a release's first installation only.
        if present is not None and bring:
            self._apply_definitions()
        if present is not None:
            # Helm waits for those alone that it brings itself.
            self.cluster.wait_established(definitions())
        return await self._install(self.values, wanted)

    @cached_property
    def _client(self) -> Any:
        import pyhelm3  # noqa: PLC0415 - a quarter of a second that most commands do not need

        # It logs each refusal as an error; whether that is one is decided here.
        logging.getLogger("pyhelm3").setLevel(logging.CRITICAL)
        # pyhelm3 has no argument for it; without these, helm would read and write its user's own directories.
        own = paths.cache() / "helm"
        os.environ |= {f"HELM_{what}_HOME": str(own / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
        return pyhelm3.Client(executable=str(self.helm), kubeconfig=self.cluster.kubeconfig)

    async def _present(self) -> Any:
        """The release as it is; None where there is none."""
        import pyhelm3  # noqa: PLC0415

        with _explained():
            try:
                return await self._client.get_current_revision(RELEASE, namespace=NAMESPACE)
            except pyhelm3.ReleaseNotFoundError:
                return None

    async def _install(self, values: Mapping[str, Any], description: str) -> Deployed:
        with _explained():
            revision = await self._client.install_or_upgrade_release(
                RELEASE,
                await self._client.get_chart(str(paths.content())),
                values,
                namespace=NAMESPACE,
                description=description,
                reset_values=True,
            )
        return Deployed(revision.revision, changed=True, notes=revision.notes or "")

    def _apply_definitions(self, *, without: str = "") -> None:
        for directory in sorted(paths.content().glob("charts/*/crds")):
            if directory.parent.name != without:
                words = ["apply", "--server-side", "--force-conflicts", "--field-manager=maas"]
                process.run(
                    [self.kubectl, f"--kubeconfig={self.cluster.kubeconfig}", *words, f"--filename={directory}"]
                )


def definitions() -> list[str]:
    """The names of the CustomResourceDefinitions that the charts bring; their files are named GROUP_PLURAL.yaml."""
    files = paths.content().glob("charts/*/crds/*.yaml")
    return sorted(".".join(reversed(file.stem.split("_"))) for file in files)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What Helm says when it refuses, as an error of ours."""
    import pyhelm3  # noqa: PLC0415

    try:
        yield
    except pyhelm3.ReleaseNotFoundError:
        raise
    except pyhelm3.Error as error:
        raise ClusterError(
            "Helm did not install the chart",
            context=[line for line in str(error.stderr.decode(errors="replace")).splitlines() if line.strip()][-12:],
            command="helm template maas . --debug",
        ) from error
