from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas.errors import UsageError
from maas.helm import values_files

if TYPE_CHECKING:
    from pathlib import Path


def test_values_merge_as_helm_merges_files() -> None:
    first = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    second = {"a": {"y": [3], "z": None}, "b": {"c": 2}}
    assert values_files.merge(first, second) == {"a": {"x": 1, "y": [3], "z": None}, "b": {"c": 2}}
    assert first == {"a": {"x": 1, "y": [1, 2]}, "b": 1}, "the layers themselves stay as they were"


def test_values_files_are_merged_in_their_order(tmp_path: Path) -> None:
    first, second, empty = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"
    first.write_text("restaurant: {replicas: 1, seed: bistro}\n")
    second.write_text("restaurant: {replicas: 2}\n")
    empty.write_text("# nothing\n")
    assert values_files.read([first, empty, second]) == {"restaurant": {"replicas": 2, "seed": "bistro"}}


@pytest.mark.parametrize("content", [b"a: [1", b"- 1\n", b"words", b"\xff\xfe\x00", b"a: 1\na: 2\n"])
def test_an_invalid_values_file_is_rejected_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "values.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"values\.yaml") as caught:
        values_files.read([file])
    assert caught.value.code == "InvalidValuesFile"


def test_a_missing_values_file_is_rejected_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        values_files.read([tmp_path / "none.yaml"])
