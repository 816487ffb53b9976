"""The pinned Helm, for what needs no cluster: rendering, locking dependencies, packaging.

Releases are installed through pyhelm3 (maas.cluster.helm_release), which has none of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from maas import paths, process
from maas.bundle import tools
from maas.errors import ChartError, ProcessError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Major = Literal["3", "4"]
_TOOLS: Mapping[str, str] = {"3": "helm3", "4": "helm"}


@dataclass(frozen=True)
class Helm:
    """A pinned Helm, with its own directories and without access to a cluster."""

    executable: Path

    @classmethod
    def pinned(cls, major: Major = "4") -> Helm:
        """Return the Helm of a major version; it is built if it is not in the cache.

        Raises:
            BundleError: It is not available.
        """
        return cls(_executable(major))

    def template(
        self,
        chart: Path,
        *,
        release: str,
        namespace: str,
        values: Sequence[Path] = (),
        settings: Mapping[str, str] | None = None,
        kubernetes: str,
    ) -> str:
        """Return the manifests of a chart, as YAML text.

        Args:
            chart: The chart's directory.
            release: The name of the release.
            namespace: Its namespace.
            values: Values files; later ones override earlier ones.
            settings: Single values by path, as JSON text; they override the files.
            kubernetes: The Kubernetes version to render for.

        Raises:
            ChartError: The chart rejects the values, or does not render; the context is Helm's message.
        """
        options = [word for file in values for word in ("--values", str(file))]
        options += [word for path, value in (settings or {}).items() for word in ("--set-json", f"{path}={value}")]
        return self._run(
            "template", release, str(chart), "--namespace", namespace, "--kube-version", kubernetes, *options
        )

    def lock(self, chart: Path) -> None:
        """Update Chart.lock from Chart.yaml.

        Raises:
            ChartError: A dependency is missing or has another version.
        """
        self._run("dependency", "update", str(chart))

    def package(self, chart: Path, directory: Path, *, epoch: int | None = None) -> Path:
        """Write a chart's archive to an empty directory, and return its path.

        Args:
            chart: The chart's directory.
            directory: The output directory.
            epoch: The time of all files in it, in seconds since 1970, for reproducible archives. Needs Helm 4.3 or later.

        Raises:
            ChartError: The directory is not a valid chart.
        """
        time = {} if epoch is None else {"SOURCE_DATE_EPOCH": str(epoch)}
        self._run("package", str(chart), "--destination", str(directory), environment=time)
        return next(directory.glob("*.tgz"))

    def _run(self, *words: str, environment: Mapping[str, str] | None = None) -> str:
        own = paths.cache() / "helm"
        settings = {f"HELM_{what}_HOME": str(own / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
        settings |= {"HELM_NO_PLUGINS": "1", "KUBECONFIG": "", "TZ": "UTC", **(environment or {})}
        try:
            return process.run([self.executable, *words], env=settings, timeout=120).stdout
        except ProcessError as error:
            lines = [line for line in (error.stderr or error.stdout).splitlines() if line.strip()]
            raise ChartError(f"helm {words[0]} failed", context=lines) from error


@lru_cache
def _executable(major: Major) -> Path:
    return tools.tool(_TOOLS[major])
