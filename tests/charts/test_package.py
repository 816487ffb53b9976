"""The archive and the release: what is in them, and how big they are."""

from __future__ import annotations

import base64
import gzip
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.support.charts import HELMS, PROFILES

from maas.codegen import lint, outputs
from maas.helm import render
from maas.helm.client import Helm
from maas.helm.render import Request

if TYPE_CHECKING:
    from pathlib import Path

    from maas.helm.client import Major

# The files of the root that belong to a chart; whatever else lies there must be in .helmignore.
ROOT = {"Chart.yaml", "Chart.lock", "LICENSE", "README.md", "values.yaml", "values.schema.json"}
SUBCHART = {"README.md", "Chart.yaml", "values.yaml", "values.schema.json", ".helmignore", "templates", "crds", "files"}
RELEASE_LIMIT = 250_000
"""Bytes of the release's Secret, of the 1,048,576 that the API server takes."""


@pytest.fixture(params=HELMS)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    major: Major = request.param
    return Helm.pinned(major).package(render.umbrella(), tmp_path)


def test_the_archive_holds_the_chart_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = [name.split("/")[1:] for name in opened.getnames()]
    charts = {chart.name for chart in render.subcharts()}
    for parts in names:
        if len(parts) == 1:
            assert parts[0] in ROOT
        elif parts[0] == "charts":
            assert parts[1] in charts
            assert parts[2] in SUBCHART
        else:
            assert parts[0] == "templates"


def test_the_archive_holds_every_definition(archive: Path) -> None:
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
    assert listed.keys() == {subchart.name for subchart in render.subcharts()}
    for subchart in render.subcharts():
        described = yaml.safe_load((subchart / "Chart.yaml").read_text(encoding="utf-8"))
        assert described["version"] == listed[subchart.name]["version"] == chart["version"]
        assert described["kubeVersion"] == chart["kubeVersion"] == ">=1.35.0-0"
        assert listed[subchart.name]["condition"] == f"{subchart.name}.enabled"
        assert "repository" not in listed[subchart.name]


def test_the_lock_belongs_to_the_chart() -> None:
    assert list(lint.lock()) == []


def test_subcharts_have_the_umbrellas_helpers() -> None:
    assert outputs.drift() == []


def test_images_are_those_of_the_lock_of_components() -> None:
    assert list(lint.images()) == []


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_release_is_far_from_what_a_secret_can_hold(name: str) -> None:
    # As Helm stores it: the umbrella's own files and the manifest, as JSON, compressed, in base64.
    root = render.umbrella()
    own = [root / file for file in sorted(ROOT) if (root / file).is_file()]
    own += sorted((root / "templates").iterdir())
    release = {
        "chart": {str(file): base64.b64encode(file.read_bytes()).decode() for file in own},
        "manifest": render.render(Request(root, values=(PROFILES[name],))),
    }
    stored = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode(), 9)))
    assert len(stored) < RELEASE_LIMIT


def test_no_object_outgrows_the_annotation_in_which_kubectl_keeps_it() -> None:
    for file in render.umbrella().glob("charts/*/crds/*.yaml"):
        assert len(json.dumps(render.parse(file.read_text(encoding="utf-8"))[0])) < 262_144
    for profile in PROFILES.values():
        for entry in render.objects(Request(render.umbrella(), values=(profile,))):
            assert len(json.dumps(entry)) < 262_144
