from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas import paths, process
from maas.errors import ReleaseError, UsageError
from maas.release import build, changelog, checkout, pipeline, publish
from maas.release import version as versions
from maas.release.checkout import Checkout, git
from maas.release.signers import Gpg, KeyPair
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.release.conftest import Keys

    from maas.release.signers import Signer

    Made = Callable[..., Path]


def commit(root: Path, message: str = "all") -> None:
    git(root, "add", "--all")
    git(
        root, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--allow-empty", "-m", message
    )


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout that is ready for a release."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree, root = tmp_path / "tree", paths.content()
    names = {mention.where.partition(":")[0] for mention in versions.mentions(root)}
    for name in (*names, "CHANGELOG.md", ".gitignore"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((root / name).read_bytes())
    version = versions.current(tree)
    (tree / changelog.FILE).write_text(f"# Changelog\n\n## [{version}] - 2026-01-01\n\n### Added\n\n- All of it.\n")
    process.run(["git", "init", "--quiet", "--initial-branch", "main", tree])
    commit(tree)
    source = Checkout.read(tree)
    pipeline.tested(source.commit).parent.mkdir(parents=True)
    pipeline.tested(source.commit).touch()
    return source


def test_nothing_blocks_a_release_that_is_ready(ready: Checkout, keys: Keys, tmp_path: Path) -> None:
    assert list(pipeline.blockers(ready, ready.version, [keys.pair, keys.gpg], [str(tmp_path / "repository")])) == []


def test_everything_that_blocks_a_release_is_reported_at_once(ready: Checkout, made: Made, tmp_path: Path) -> None:
    root = ready.root
    made_release = made(tmp_path / "release")
    publish.publish(made_release, str(tmp_path / "repository"))
    git(root, "switch", "--quiet", "--create", "work")
    git(root, "tag", "v0.1.0")
    git(root, "tag", "v7.0.0")
    (root / changelog.FRAGMENTS).mkdir(parents=True)
    (root / changelog.FRAGMENTS / "it.added.md").write_text("It.")
    chart = root / "charts/calico/Chart.yaml"
    chart.write_text(chart.read_text().replace("\nversion: ", "\nversion: 9"))
    (root / "CHANGELOG.md").write_text("# Changelog\n")
    commit(root)
    (root / "values.yaml").write_text("{}\n")
    (root / "dist" / "0.1.0").mkdir(parents=True)
    (root / "dist" / "0.1.0" / "old").touch()
    (tmp_path / "k").write_text("-")
    found = list(pipeline.blockers(Checkout.read(root), Version.parse("0.1.0"), [], [str(tmp_path / "repository")]))
    for wanted in (
        "the working tree is not clean: values.yaml",
        "the checkout is on the branch work",
        "the tag v0.1.0 exists",
        "v7.0.0 is newer and already released",
        "charts/calico/Chart.yaml:5 has 90.1.0",
        "CHANGELOG.md lacks changes",
        "CHANGELOG.md has no section for 0.1.0",
        "the tests have not passed",
        "dist/0.1.0 contains files of another run",
        "no signer",
        "already has 0.1.0",
    ):
        assert sum(wanted in line for line in found) == 1, (wanted, found)
    assert len(found) == 11


def test_a_signer_that_cannot_sign_blocks_a_release(ready: Checkout, keys: Keys, tmp_path: Path) -> None:
    signers: list[Signer] = [Gpg("0123456789"), KeyPair(tmp_path / "missing"), keys.pair]
    found = list(pipeline.blockers(ready, ready.version, signers, []))
    assert len(found) == 2
    assert "GnuPG has no secret key" in found[0]
    assert "cannot read" in found[1]


def test_only_what_is_committed_is_built(ready: Checkout) -> None:
    (ready.root / "Chart.yaml").write_text("changed\n")
    (ready.root / "extra").write_text("extra\n")
    with checkout.clone(ready) as tree:
        assert not (tree / "extra").exists()
        assert (tree / "Chart.yaml").read_text() != "changed\n"
        assert Checkout.read(tree).commit == ready.commit
        assert Checkout.read(tree).epoch == ready.epoch


def test_a_directory_without_a_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a checkout of the project"):
        Checkout.read(tmp_path)


def test_an_installed_package_cannot_be_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "content", lambda: tmp_path)
    with pytest.raises(UsageError, match="is not a checkout of the project") as raised:
        checkout.current()
    assert "from a clone" in str(raised.value.hint)


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(ReleaseError, match="is not empty"):
        build.commit(tmp_path, yes=True)
