"""The comparison of values with templates finds unused and unknown values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas.codegen import lint, values_lint
from maas.codegen.values import Branch, Chart, Leaf
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = """\
{{- with .Values.server }}
port: {{ .port }}
{{- include "maas.image" (dict "context" $ "image" .image) }}
{{- end }}
name: {{ $.Values.name }}
other: {{ .Values.labels.team }}
{{- /* .Values.comment is only spoken of */}}
"""


def chart(directory: Path, *paths: str) -> Chart:
    (directory / "templates").mkdir(exist_ok=True)
    (directory / "templates" / "x.yaml").write_text(TEMPLATE, encoding="utf-8")
    leaves = tuple(Leaf(tuple(path.split(".")), "Something.", "") for path in paths)
    return Chart(directory, Branch((), "", leaves), {}, {})


USED = ("server.port", "server.image", "name", "labels")


def test_a_value_that_a_template_reads_is_used(tmp_path: Path) -> None:
    assert list(values_lint.unused(chart(tmp_path, *USED))) == []
    assert list(values_lint.unknown(chart(tmp_path, *USED))) == []


def test_a_value_that_no_template_reads_is_found(tmp_path: Path) -> None:
    found = list(values_lint.unused(chart(tmp_path, *USED, "server.color", "comment", "nothing")))
    assert found == ["server.color", "comment", "nothing"]


def test_a_path_that_is_not_a_value_is_found(tmp_path: Path) -> None:
    assert list(values_lint.unknown(chart(tmp_path, "server.port", "labels"))) == ["name"]


def test_an_exception_has_a_reason_and_covers_its_path(tmp_path: Path) -> None:
    (tmp_path / values_lint.EXCEPTIONS).write_text("# why\nserver.*  # by another way\n", encoding="utf-8")
    assert values_lint.exceptions(tmp_path) == {"server.*": "by another way"}
    assert list(values_lint.unused(chart(tmp_path, *USED, "server.color", "nothing"))) == ["nothing"]


def test_every_value_of_the_charts_is_used_and_every_exception_has_a_reason() -> None:
    assert list(lint.used_values()) == []
    for each in render.subcharts():
        assert all(values_lint.exceptions(each).values())
