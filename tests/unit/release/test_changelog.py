from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from maas import paths, process
from maas.errors import ReleaseError
from maas.release import changelog
from maas.release.changelog import Change
from maas.release.version import Version

if TYPE_CHECKING:
    from pathlib import Path

VERSION = Version.parse("0.2.0")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a changelog, towncrier's configuration and two fragments."""
    root = paths.content()
    for file in ("pyproject.toml", "release/changelog.md.jinja"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / file, tmp_path / file)
    start = (root / changelog.FILE).read_text().partition("## [")[0]
    (tmp_path / changelog.FILE).write_text(f"{start}\n## [0.1.0] - 2026-01-01\n\n### Added\n\n- The first.\n")
    fragments = tmp_path / changelog.FRAGMENTS
    fragments.mkdir(parents=True)
    (fragments / "charts.fixed.md").write_text("A chart renders again.\nIt did not before.\n")
    (fragments / "keys.security.md").write_text("Keys are `longer`.\n")
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all"],
    ):
        process.run(["git", "-C", tmp_path, *words])
    return tmp_path


def test_fragments_are_moved_to_a_section_above_the_older_ones(tree: Path) -> None:
    changelog.write(tree, VERSION, draft=False)
    text = (tree / changelog.FILE).read_text()
    assert text.index("## [0.2.0]") < text.index("## [0.1.0]")
    assert changelog.fragments(tree) == []
    assert changelog.read(tree, VERSION) == [
        Change("fixed", "A chart renders again. It did not before."),
        Change("security", "Keys are `longer`."),
    ]
    assert changelog.read(tree, Version.parse("0.1.0")) == [Change("added", "The first.")]


def test_a_draft_changes_nothing(tree: Path) -> None:
    before = (tree / changelog.FILE).read_text()
    assert "Keys are `longer`." in changelog.write(tree, VERSION, draft=True)
    assert (tree / changelog.FILE).read_text() == before
    assert len(changelog.fragments(tree)) == 2


def test_release_notes_contain_only_the_section_of_the_version(tree: Path) -> None:
    changelog.write(tree, VERSION, draft=False)
    notes = changelog.notes(tree, VERSION)
    assert notes.startswith("## [0.2.0]")
    assert "The first." not in notes


def test_an_unknown_version_does_not_match_a_longer_one(tree: Path) -> None:
    assert changelog.changes("## [0.2.0-rc.1] - 2026-01-01\n- It.\n", VERSION) is None
    with pytest.raises(ReleaseError, match=r"lists no changes in 0\.2\.0"):
        changelog.read(tree, VERSION)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("it.improved.md", "It is better.", "the name must be NAME.KIND.md"),
        ("it.added.md", "no period", "that end with a period"),
        ("it.added.md", "One.\n\nTwo.", "write one paragraph"),
    ],
)
def test_an_invalid_fragment_is_reported(tree: Path, name: str, text: str, fault: str) -> None:
    (tree / changelog.FRAGMENTS / name).write_text(text)
    with pytest.raises(ReleaseError) as raised:
        changelog.write(tree, VERSION, draft=True)
    assert fault in str(raised.value.context)
    assert name in str(raised.value.context)


def test_the_fragments_of_this_repository_are_valid() -> None:
    assert changelog.faults(paths.content()) == []


def test_the_kinds_of_changes_are_those_of_artifact_hub() -> None:
    assert set(changelog.KINDS) == {"added", "changed", "deprecated", "removed", "fixed", "security"}
