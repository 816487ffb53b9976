"""Manifests of the charts, as text and as objects, from a cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
import zstandard

from maas import components, files, paths
from maas.bundle import cache
from maas.helm import NAMESPACE, RELEASE
from maas.helm.client import Helm, Major

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
"""The parts of a chart's directory that decide its manifests."""


@dataclass(frozen=True)
class Request:
    """A chart with everything that decides its manifests.

    Attributes:
        chart: The chart's directory.
        values: Values files; later ones override earlier ones.
        settings: Single values by path, as JSON text; they override the files.
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
        """Return a digest of everything that decides the manifests."""
        files = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.values]
        # The name of the directory contains the version of Helm and of Go, and a digest of the build.
        helm = Helm.pinned(self.helm).executable.parts[-2:]
        parts = [digest(self.chart), files, self.settings, self.kubernetes, helm, RELEASE, NAMESPACE, yaml.__version__]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def digest(chart: Path) -> str:
    """Return a digest of a chart's archive, or of all files of its directory that templates can read."""
    if chart.is_file():
        return hashlib.sha256(chart.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for part in PARTS:
        root = chart / part
        for file in sorted([root] if root.is_file() else root.rglob("*")):
            if file.is_file():
                total.update(str(file.relative_to(chart)).encode() + b"\0" + file.read_bytes() + b"\0")
    for library in libraries(chart):
        total.update(digest(library).encode())
    return total.hexdigest()


def umbrella() -> Path:
    """Return the directory of the umbrella chart."""
    return paths.content()


def subcharts(root: Path | None = None) -> list[Path]:
    """Return the directories of the umbrella's subcharts, without library charts.

    Args:
        root: The umbrella's directory, if it is not this one.
    """
    found = sorted(file.parent for file in ((root or umbrella()) / "charts").glob("*/Chart.yaml"))
    return [chart for chart in found if _described(chart).get("type") != "library"]


def library() -> Path:
    """Return the directory of the library chart that all charts use."""
    return umbrella() / "charts" / "common"


def libraries(chart: Path) -> list[Path]:
    """Return the library charts that a chart depends on by `repository: file://DIRECTORY`."""
    repositories = [entry.get("repository", "") for entry in _described(chart).get("dependencies", ())]
    return [
        (chart / repository.removeprefix("file://")).resolve()
        for repository in repositories
        if repository.startswith("file://")
    ]


def copy_with_libraries(chart: Path, target: Path) -> Path:
    """Copy a chart as `helm dependency build` leaves it, with its library charts, and return the copy.

    Helm itself would write a lock file with the current time into the chart.
    """
    target.mkdir(parents=True)
    vendored = {"charts", "Chart.lock"} if libraries(chart) else set()
    for name in (*PARTS, "README.md"):
        source = chart / name
        if name in vendored or not source.exists():
            continue
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target / name)
    for library in libraries(chart):
        shutil.copytree(library, target / "charts" / library.name)
    return target


@contextlib.contextmanager
def installable(chart: Path) -> Iterator[Path]:
    """Yield a chart with its library charts: itself, or a temporary copy."""
    if chart.is_file() or not libraries(chart):
        yield chart
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield copy_with_libraries(chart, Path(scratch) / chart.name)


def _described(chart: Path) -> Mapping[str, Any]:
    (described,) = parse((chart / "Chart.yaml").read_text(encoding="utf-8"))
    return described


def profiles() -> list[Path]:
    """Return the values files that every check runs with; each describes a useful installation."""
    return sorted((umbrella() / "ci").glob("*-values.yaml"))


def cache_dir() -> Path:
    """Return the directory of the cache."""
    return paths.cache() / "renders"


def render(request: Request) -> str:
    """Return the manifests as YAML text, from the cache if nothing that decides them has changed.

    Raises:
        ChartError: The chart rejects the values, or does not render.
    """
    return _cached(request, "yaml", render_uncached)


def render_uncached(request: Request) -> str:
    """Return the manifests as YAML text, from Helm and not from the cache.

    Raises:
        ChartError: The chart rejects the values, or does not render.
    """
    with installable(request.chart) as chart:
        return Helm.pinned(request.helm).template(
            chart,
            release=RELEASE,
            namespace=NAMESPACE,
            values=request.values,
            settings=dict(request.settings),
            kubernetes=request.kubernetes,
        )


@lru_cache(maxsize=256)
def objects(request: Request) -> tuple[Mapping[str, Any], ...]:
    """Return the manifests as objects, with hooks and tests, from the cache like `render`.

    Raises:
        ChartError: The chart rejects the values, or does not render.
    """
    # JSON is what the API server receives, and is read ten times as fast as YAML.
    return tuple(json.loads(_cached(request, "json", lambda wanted: json.dumps(parse(render(wanted))))))


def parse(text: str) -> list[Mapping[str, Any]]:
    """Return the objects of a YAML stream, without empty documents."""
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document]


def _cached(request: Request, form: str, make: Callable[[Request], str]) -> str:
    directory = cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    entry = directory / f"{request.key}.{form}.zst"
    if entry.is_file():
        entry.touch()
        return zstandard.decompress(entry.read_bytes()).decode()
    text = make(request)
    files.write(entry, zstandard.compress(text.encode()))
    cache.forget_old(directory)
    return text
