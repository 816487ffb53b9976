"""A render that is kept is taken only while everything that decided it is as it was."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from maas.bundle.cache import forget_old
from maas.errors import ChartError
from maas.helm import render
from maas.helm.client import Helm
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHART = {
    "Chart.yaml": "{apiVersion: v2, name: shop, version: 1.0.0}",
    "values.yaml": "word: default",
    "values.schema.json": "{}",
    ".helmignore": "nothing",
    "templates/map.yaml": """\
kind: Map
word: {{ .Values.word }}
helper: {{ include "shop.helper" . }}
file: {{ .Files.Get "files/text" }}
kubernetes: {{ .Capabilities.KubeVersion.Version }}
helm: {{ .Capabilities.HelmVersion.Version }}
""",
    "templates/_helpers.tpl": '{{ define "shop.helper" }}helps{{ end }}',
    "files/text": "text",
    "charts/sub/Chart.yaml": "{apiVersion: v2, name: sub, version: 1.0.0}",
    "charts/sub/templates/map.yaml": "kind: Sub",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing remembered."""
    directory = tmp_path / "renders"
    monkeypatch.setattr(render, "cache_dir", lambda: directory)
    render.objects.cache_clear()
    yield directory
    render.objects.cache_clear()


@pytest.fixture
def shop(tmp_path: Path) -> Request:
    chart = tmp_path / "shop"
    for name, text in CHART.items():
        (chart / name).parent.mkdir(parents=True, exist_ok=True)
        (chart / name).write_text(text, encoding="utf-8")
    values = tmp_path / "given.yaml"
    values.write_text("word: given", encoding="utf-8")
    return Request(chart, values=(values,))


def seen(request: Request) -> list[Any]:
    """What another process would be given."""
    render.objects.cache_clear()
    found = list(render.objects(request))
    assert found == render.parse(render.render(request))
    return found


def edit(file: str, old: str, new: str) -> Callable[[Request], Request]:
    def change(request: Request) -> Request:
        path = request.chart / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return request

    return change


def other_values(request: Request) -> Request:
    request.values[0].write_text("word: taken", encoding="utf-8")
    return request


def without(file: str) -> Callable[[Request], Request]:
    def change(request: Request) -> Request:
        (request.chart / file).unlink()
        return request

    return change


CHANGES: dict[str, Callable[[Request], Request]] = {
    "a template": edit("templates/map.yaml", "kind: Map", "kind: Other"),
    "a helper": edit("templates/_helpers.tpl", "helps", "hinders"),
    "a file that a template reads": edit("files/text", "text", "next"),
    "a subchart": edit("charts/sub/templates/map.yaml", "kind: Sub", "kind: Sup"),
    "a subchart that is gone": without("charts/sub/templates/map.yaml"),
    "what is ignored": edit(".helmignore", "nothing", "text"),
    "given values": other_values,
    "the values that are given": lambda request: dataclasses.replace(request, values=()),
    "a setting": lambda request: dataclasses.replace(request, settings=(("word", '"set"'),)),
    "Kubernetes": lambda request: dataclasses.replace(request, kubernetes=render.KUBERNETES[0]),
    "Helm": lambda request: dataclasses.replace(request, helm="3"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_what_decides_a_render_is_seen(shop: Request, change: Callable[[Request], Request]) -> None:
    before = seen(shop)
    changed = change(shop)
    after = seen(changed)
    assert after != before
    assert after == render.parse(render.render_uncached(changed))


def test_default_values_decide_too(shop: Request) -> None:
    bare = dataclasses.replace(shop, values=())
    before = seen(bare)
    assert seen(edit("values.yaml", "default", "another")(bare)) != before


def test_what_was_rendered_once_is_not_rendered_again(shop: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    first = seen(shop)
    monkeypatch.setattr(render, "render_uncached", lambda request: pytest.fail(f"{request} once more"))
    assert seen(shop) == first


def test_a_chart_that_refuses_its_values_does_so_again_each_time(shop: Request) -> None:
    seen(shop)
    (shop.chart / "values.schema.json").write_text(
        json.dumps({"properties": {"word": {"const": "other"}}}), encoding="utf-8"
    )
    for _ in range(2):
        with pytest.raises(ChartError):
            seen(shop)


def test_what_nobody_has_asked_for_in_a_week_is_forgotten(shop: Request, cache: Path) -> None:
    def kept() -> set[Path]:
        return set(cache.iterdir())

    seen(shop)
    unused = kept()
    other = dataclasses.replace(shop, values=())
    seen(other)
    used = kept() - unused
    week_ago = time.time() - 8 * 24 * 3600
    for file in kept():
        os.utime(file, (week_ago, week_ago))
    seen(other)
    assert kept() == unused | used
    forget_old.cache_clear()  # the next process
    seen(dataclasses.replace(shop, kubernetes=render.KUBERNETES[0]))
    assert used < kept()
    assert not unused & kept()


def test_an_archive_is_known_by_its_content(shop: Request, tmp_path: Path) -> None:
    directory = tmp_path / "packed"
    directory.mkdir()
    archive = dataclasses.replace(shop, chart=Helm.pinned().package(shop.chart, directory))
    before = seen(archive)
    edit("templates/map.yaml", "kind: Map", "kind: Other")(shop)
    Helm.pinned().package(shop.chart, directory)
    assert seen(archive) != before
