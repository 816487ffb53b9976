from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from maas import __version__, paths
from maas.errors import ReleaseError, UsageError
from maas.release import version as versions
from maas.release.version import Version

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files that contain the version."""
    root = paths.content()
    for mention in versions.mentions(root):
        file = mention.where.partition(":")[0]
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / file, tmp_path / file)
    return tmp_path


def test_every_file_of_the_checkout_has_the_same_version() -> None:
    assert versions.disagreements(paths.content(), Version.parse(__version__)) == []


def test_a_version_is_set_in_every_file_and_the_lock_file(tree: Path) -> None:
    wanted = Version.parse("3.14.15-rc.9")
    changed = versions.write(tree, wanted)
    assert versions.disagreements(tree, wanted) == []
    assert {file.name for file in changed} >= {"Chart.yaml", "Chart.lock", "__init__.py", "openapi.json"}
    digest = re.compile("^digest: (.*)$", re.MULTILINE)
    old, new = (digest.search((root / "Chart.lock").read_text()) for root in (paths.content(), tree))
    assert old is not None
    assert new is not None
    assert old[1] != new[1]


def test_setting_the_same_version_changes_nothing(tree: Path) -> None:
    assert versions.write(tree, versions.current(tree)) == []


def test_versions_of_upstream_projects_stay(tree: Path) -> None:
    versions.write(tree, Version.parse("9.9.9"))
    calico = (tree / "charts/calico/Chart.yaml").read_text()
    assert "appVersion: v3" in calico
    assert "\nversion: 9.9.9\n" in calico


def test_a_file_without_its_version_is_an_error(tree: Path) -> None:
    (tree / "charts/restaurant/Chart.yaml").write_text("name: restaurant\n")
    with pytest.raises(ReleaseError, match=r"charts/restaurant/Chart.yaml has no version"):
        versions.mentions(tree)


def test_versions_are_ordered_by_semantic_versioning() -> None:
    order = ["0.1.0-alpha.1", "0.1.0-beta.1", "0.1.0-rc.1", "0.1.0-rc.10", "0.1.0", "0.1.1", "0.2.0", "0.10.0", "1.0.0"]
    shuffled = [*order[1::2], *order[::2]]
    assert sorted(shuffled, key=Version.parse) == order


@pytest.mark.parametrize("text", ["1.2", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3-rc", "1.2.3+build", "1.2.3-dev.1", ""])
def test_an_invalid_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a version"):
        Version.parse(text)


def test_the_python_form_of_a_version() -> None:
    assert Version.parse("1.2.3-rc.4").python == "1.2.3rc4"
    assert Version.parse("1.2.3").python == "1.2.3"


def test_a_directory_that_is_not_a_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a checkout of the project"):
        versions.mentions(tmp_path)
