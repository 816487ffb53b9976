from __future__ import annotations

from typing import TYPE_CHECKING

from maas import deploy

if TYPE_CHECKING:
    from pathlib import Path


def test_values_merge_as_helm_merges_files() -> None:
    first = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    second = {"a": {"y": [3], "z": None}, "b": {"c": 2}}
    assert deploy.merge(first, second) == {"a": {"x": 1, "y": [3], "z": None}, "b": {"c": 2}}
    assert first == {"a": {"x": 1, "y": [1, 2]}, "b": 1}, "the layers themselves stay as they were"


def test_the_mark_of_a_release_changes_with_a_template_a_values_file_and_the_given_values(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("name: maas\n")
    template = tmp_path / "templates" / "namespace.yaml"
    template.write_text("kind: Namespace\n")
    marks = {deploy.mark(tmp_path, {}), deploy.mark(tmp_path, {"a": 1})}
    template.write_text("kind: Namespace\nmetadata: {}\n")
    marks.add(deploy.mark(tmp_path, {}))
    template.rename(tmp_path / "templates" / "other.yaml")
    marks.add(deploy.mark(tmp_path, {}))
    assert len(marks) == 4


def test_files_beside_the_chart_do_not_change_the_mark(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: maas\n")
    before = deploy.mark(tmp_path, {})
    (tmp_path / "README.md").write_text("words")
    assert deploy.mark(tmp_path, {}) == before
