"""The pinned Helm for what needs no cluster: rendering, locking, packaging.

Releases go through pyhelm3 (maas.deploy), which has none of these.
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
    """One pinned Helm, with directories of its own and no cluster in sight."""

    executable: Path

    @classmethod
    def pinned(cls, major: Major = "4") -> Helm:
        """The Helm of a major version, made when it is not in the cache.

        Raises:
            BundleError: It cannot be had.
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
        """The manifests of a chart, as YAML text.

        Args:
            chart: The chart's directory.
            release: The name of the release.
            namespace: Its namespace.
            values: Files of values, the later ones over the earlier.
            settings: Single values by path, as JSON text, over the files.
            kubernetes: The Kubernetes version to render for.

        Raises:
            ChartError: The chart refuses, or is broken; the message is Helm's.
        """
        options = [word for file in values for word in ("--values", str(file))]
        options += [word for path, value in (settings or {}).items() for word in ("--set-json", f"{path}={value}")]
        return self._run(
            "template", release, str(chart), "--namespace", namespace, "--kube-version", kubernetes, *options
        )

    def lock(self, chart: Path) -> None:
        """Write Chart.lock anew from Chart.yaml.

        Raises:
            ChartError: A dependency is missing or has another version.
        """
        self._run("dependency", "update", str(chart))

    def package(self, chart: Path, directory: Path, *, epoch: int | None = None) -> Path:
        """Put a chart's archive into an empty directory and return its path.

        Args:
            chart: The chart's directory.
            directory: Where the archive goes.
            epoch: The time of every file in it, in seconds since 1970; the same one gives the same bytes. Helm 4.3 or newer.

        Raises:
            ChartError: The chart is not one.
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
            said = [line for line in (error.stderr or error.stdout).splitlines() if line.strip()]
            raise ChartError(f"helm {words[0]} does not accept the chart", context=said) from error


@lru_cache
def _executable(major: Major) -> Path:
    return tools.tool(_TOOLS[major])
