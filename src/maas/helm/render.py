"""Manifests of the charts, as text and as objects; each render is made once and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml
import zstandard

from maas import components, files, paths
from maas.bundle import cache
from maas.helm import NAMESPACE, RELEASE
from maas.helm.client import Helm, Major

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _kubernetes() -> tuple[str, ...]:
    chart = yaml.safe_load((paths.content() / "Chart.yaml").read_text(encoding="utf-8"))
    newest = components.kubernetes_version()
    oldest_minor, newest_minor = (int(version.split(".")[1]) for version in (chart["kubeVersion"], newest))
    return (*(f"1.{minor}.0" for minor in range(oldest_minor, newest_minor)), newest)


KUBERNETES = _kubernetes()
"""The Kubernetes versions that the charts support: from Chart.yaml's oldest to the one that `bootstrap` installs."""

UMBRELLA = "maas"
"""The name of the umbrella chart."""

_DESCRIPTION = ("Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json", ".helmignore")
PARTS = (*_DESCRIPTION, "templates", "charts", "files", "crds")
"""What of a chart's directory goes into its manifests."""


@dataclass(frozen=True)
class Request:
    """What is rendered.

    Attributes:
        chart: The chart's directory.
        values: Files of values, the later ones over the earlier.
        settings: Single values by path, as JSON text, over the files.
        kubernetes: The Kubernetes version to render for.
        helm: Helm's major version.
    """

    chart: Path
    values: tuple[Path, ...] = ()
    settings: tuple[tuple[str, str], ...] = field(default=())
    kubernetes: str = KUBERNETES[-1]
    helm: Major = "4"

    @property
    def key(self) -> str:
        """A digest of all that decides the manifests."""
        files = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.values]
        # The directory of a Helm says its version, the Go that made it and how.
        helm = Helm.pinned(self.helm).executable.parts[-2:]
        parts = [digest(self.chart), files, self.settings, self.kubernetes, helm, RELEASE, NAMESPACE, yaml.__version__]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def digest(chart: Path) -> str:
    """A digest of a chart's archive, or of every file of its directory that templates come to see or may read."""
    if chart.is_file():
        return hashlib.sha256(chart.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for part in PARTS:
        root = chart / part
        for file in sorted([root] if root.is_file() else root.rglob("*")):
            if file.is_file():
                total.update(str(file.relative_to(chart)).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def umbrella() -> Path:
    """The directory of the umbrella chart."""
    return paths.content()


def subcharts() -> list[Path]:
    """The directories of its subcharts."""
    return sorted(file.parent for file in (umbrella() / "charts").glob("*/Chart.yaml"))


def profiles() -> list[Path]:
    """The values files that every check runs with; each is an installation that makes sense."""
    return sorted((umbrella() / "ci").glob("*-values.yaml"))


def kept_in() -> Path:
    """The directory of the renders that were made."""
    return paths.cache() / "renders"


def render(request: Request) -> str:
    """The manifests as YAML text, from the cache when nothing that decides them has changed.

    Raises:
        ChartError: The chart refuses the values, or is broken.
    """
    return _kept(request, "yaml", render_anew)


def render_anew(request: Request) -> str:
    """The manifests as YAML text, by Helm and not from the cache.

    Raises:
        ChartError: The chart refuses the values, or is broken.
    """
    return Helm.pinned(request.helm).template(
        request.chart,
        release=RELEASE,
        namespace=NAMESPACE,
        values=request.values,
        settings=dict(request.settings),
        kubernetes=request.kubernetes,
    )


@lru_cache(maxsize=256)
def objects(request: Request) -> tuple[Mapping[str, Any], ...]:
    """The manifests as objects, hooks and tests included, from the cache as `render` has them.

    Raises:
        ChartError: The chart refuses the values, or is broken.
    """
    # Kept as JSON too, which is what the API server gets, and is read ten times as fast as YAML.
    return tuple(json.loads(_kept(request, "json", lambda wanted: json.dumps(parse(render(wanted))))))


def parse(text: str) -> list[Mapping[str, Any]]:
    """The objects of a YAML stream, without its empty documents."""
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document]


def _kept(request: Request, form: str, make: Callable[[Request], str]) -> str:
    directory = kept_in()
    directory.mkdir(exist_ok=True)
    kept = directory / f"{request.key}.{form}.zst"
    if kept.is_file():
        kept.touch()
        return zstandard.decompress(kept.read_bytes()).decode()
    text = make(request)
    files.write(kept, zstandard.compress(text.encode()))
    cache.forget_old(directory)
    return text
