"""The archive and the release: their contents and sizes."""

from __future__ import annotations

import base64
import gzip
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.support.charts import HELMS, PROFILES, copied_umbrella, without_secrets

from maas import __version__, process
from maas.codegen import lint, outputs
from maas.errors import ChartError
from maas.helm import NAMESPACE, RELEASE, render
from maas.helm.client import Helm
from maas.helm.render import Request
from maas.release import charts
from maas.release.checkout import Checkout
from maas.release.version import Version

if TYPE_CHECKING:
    from pathlib import Path

    from maas.helm.client import Major

# The files of the root that belong to a chart; everything else there must be in .helmignore.
ROOT = {"Chart.yaml", "Chart.lock", "LICENSE", "README.md", "values.yaml", "values.schema.json"}
DIRECTORIES = {"templates", "files"}
SUBCHART = {"README.md", "Chart.yaml", "values.yaml", "values.schema.json", ".helmignore", "templates", "crds", "files"}
RELEASE_LIMIT = 300_000
"""Bytes; a Secret can hold 1 048 576."""
"""Bytes of the release's Secret; the API server accepts four times as many."""


@pytest.fixture(params=HELMS)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    major: Major = request.param
    return Helm.pinned(major).package(render.umbrella(), tmp_path)


def test_the_archive_contains_the_chart_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = [name.split("/")[1:] for name in opened.getnames()]
    charts = {render.library().name, *(chart.name for chart in render.subcharts())}
    for parts in names:
        if len(parts) == 1:
            assert parts[0] in ROOT
        elif parts[0] == "charts":
            assert parts[1] in charts
            assert parts[2] in SUBCHART
        else:
            assert parts[0] in DIRECTORIES


def test_the_archive_contains_every_crd(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        packed = {name.rpartition("/")[2] for name in opened.getnames() if "/crds/" in name}
    assert packed == {file.name for file in render.umbrella().glob("charts/*/crds/*.yaml")}


def test_an_archive_renders_what_its_directory_does(archive: Path) -> None:
    packed, unpacked = (
        render.parse(render.render_uncached(Request(chart, values=(PROFILES["airgap"],))))
        for chart in (archive, render.umbrella())
    )
    assert packed == unpacked


def test_every_chart_has_one_version_and_none_is_fetched() -> None:
    chart = yaml.safe_load((render.umbrella() / "Chart.yaml").read_text(encoding="utf-8"))
    listed = {entry["name"]: entry for entry in chart["dependencies"]}
    library = render.library()
    assert listed.keys() == {library.name, *(subchart.name for subchart in render.subcharts())}
    for part in (library, *render.subcharts()):
        described = yaml.safe_load((part / "Chart.yaml").read_text(encoding="utf-8"))
        assert described["version"] == listed[part.name]["version"] == chart["version"]
        assert described["kubeVersion"] == chart["kubeVersion"] == ">=1.35.0-0"
        assert "repository" not in listed[part.name]
        if part == library:
            assert described["type"] == "library"
            assert "condition" not in listed[part.name]
        else:
            assert listed[part.name]["condition"] == f"{part.name}.enabled"
            (dependency,) = described["dependencies"]
            assert dependency == {"name": "common", "version": chart["version"], "repository": "file://../common"}


def built(charts: Path, name: str, helm: Major) -> Path:
    """A subchart of a checkout after the documented `helm dependency build`."""
    process.run([Helm.pinned(helm).executable, "dependency", "build", charts / name], timeout=60)
    return charts / name


@pytest.mark.parametrize("name", [chart.name for chart in render.subcharts()])
@pytest.mark.parametrize("helm", HELMS)
def test_a_subchart_installs_alone_from_a_checkout_and_from_its_archive(name: str, helm: Major, tmp_path: Path) -> None:
    charts = copied_umbrella(tmp_path) / "charts"
    with pytest.raises(ChartError) as refused:
        Helm.pinned(helm).template(charts / name, release="x", namespace="x", kubernetes=render.KUBERNETES[-1])
    assert "missing in charts/ directory: common" in " ".join(refused.value.context)
    directory = built(charts, name, helm)
    packages = tmp_path / "packages"
    packages.mkdir()
    archive = Helm.pinned(helm).package(directory, packages)
    wanted = without_secrets(render.objects(Request(render.umbrella() / "charts" / name, helm=helm)))
    for chart in (directory, archive):
        text = Helm.pinned(helm).template(chart, release=RELEASE, namespace=NAMESPACE, kubernetes=render.KUBERNETES[-1])
        assert without_secrets(render.parse(text)) == wanted


@pytest.mark.parametrize("helm", HELMS)
def test_a_built_subchart_does_not_change_the_umbrella(helm: Major, tmp_path: Path) -> None:
    # The checkout then has the library twice, and the subchart's values have its key.
    umbrella = copied_umbrella(tmp_path)
    built(umbrella / "charts", "restaurant", helm)
    values = (PROFILES["airgap"],)
    text = render.render_uncached(Request(umbrella, values=values, helm=helm))
    assert render.parse(text) == list(render.objects(Request(render.umbrella(), values=values, helm=helm)))


def test_each_archive_of_a_release_has_the_library_once_and_installs(tmp_path: Path) -> None:
    root = copied_umbrella(tmp_path)
    (root / "CHANGELOG.md").write_text(f"## [{__version__}] - 2026-01-01\n### Added\n- Charts.\n", encoding="utf-8")
    checkout = Checkout(root, "c0ffee", 1_790_000_000, Version.parse(__version__), "https://maas.example/maas")
    target = tmp_path / "archives"
    target.mkdir()
    archives = charts.package(checkout, target, listed=[])
    assert {archive.name.rpartition("-")[0] for archive in archives} == set(charts.names(root))
    for archive in archives:
        with tarfile.open(archive) as opened:
            names = opened.getnames()
        assert len([name for name in names if name.endswith("/charts/common/Chart.yaml")]) == 1
        assert not [name for name in names if name.endswith(("values.schema.yaml", "values.exceptions"))]
        assert render.parse(render.render_uncached(Request(archive)))


def test_the_lock_belongs_to_the_chart() -> None:
    assert list(lint.lock()) == []


def test_generated_files_are_up_to_date() -> None:
    assert outputs.drift() == []


def test_images_are_those_of_the_component_lockfile() -> None:
    assert list(lint.images()) == []


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_release_takes_less_than_a_third_of_what_a_secret_can_hold(name: str) -> None:
    # As Helm stores it: the umbrella's own files and the manifest, as JSON, compressed, in base64.
    root = render.umbrella()
    own = [root / file for file in sorted(ROOT) if (root / file).is_file()]
    own += sorted(file for name in DIRECTORIES for file in (root / name).iterdir())
    release = {
        "chart": {str(file): base64.b64encode(file.read_bytes()).decode() for file in own},
        "manifest": render.render(Request(root, values=(PROFILES[name],))),
    }
    stored = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode(), 9)))
    assert len(stored) < RELEASE_LIMIT


def test_no_object_is_too_large_for_the_annotation_of_kubectl_apply() -> None:
    for file in render.umbrella().glob("charts/*/crds/*.yaml"):
        assert len(json.dumps(render.parse(file.read_text(encoding="utf-8"))[0])) < 262_144
    for profile in PROFILES.values():
        for entry in render.objects(Request(render.umbrella(), values=(profile,))):
            assert len(json.dumps(entry)) < 262_144
