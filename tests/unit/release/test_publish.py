from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.support import loopback
from tests.support.control_plane import free_port

from maas import process
from maas.bundle import tools
from maas.commands.verify import verify
from maas.errors import ReleaseError, UsageError, VerificationError
from maas.release import checksums, oci, pipeline, publish, repository, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.release.conftest import Keys, Maker

    Made = Callable[..., Path]


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def whole(root: Path) -> set[str]:
    """Return the versions of the index after verifying the digests of their files, as a client sees them."""
    if not (root / repository.FILE).exists():
        return set()
    seen = set()
    for listed in repository.read((root / repository.FILE).read_text()).values():
        for entry in listed:
            directory = root / entry.version
            assert repository.entries(directory, entry.version)[entry.name] == entry
            assert {path.name for path in directory.iterdir()} >= {*checksums.read(directory), checksums.FILE}
            seen.add(entry.version)
    return seen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


def test_a_second_version_does_not_change_the_first(made: Made, root: Path, tmp_path: Path) -> None:
    publish.publish(made(tmp_path / "one"), str(root))
    first, before = everything(root / "0.1.0"), repository.read((root / repository.FILE).read_text())
    publish.publish(made(tmp_path / "two", "0.2.0"), str(root))
    assert everything(root / "0.1.0") == first
    after = repository.read((root / repository.FILE).read_text())
    for chart, (entry,) in before.items():
        assert [other.version for other in after[chart]] == ["0.2.0", "0.1.0"]
        assert after[chart][1] == entry
    assert whole(root) == {"0.1.0", "0.2.0"}


def test_publishing_again_changes_nothing(made: Made, root: Path, tmp_path: Path) -> None:
    release = made(tmp_path / "one")
    publish.publish(release, str(root))
    before = everything(root)
    publish.publish(release, str(root))
    assert everything(root) == before


def test_the_index_depends_only_on_the_archives(made: Made, tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two", "0.2.0")
    for name, order in (("a", (one, two)), ("b", (two, one))):
        for release in order:
            publish.publish(release, str(tmp_path / name))
    assert (tmp_path / "a" / repository.FILE).read_bytes() == (tmp_path / "b" / repository.FILE).read_bytes()


@pytest.mark.parametrize("lost_index", [False, True])
def test_a_published_version_never_changes(
    made: Made, maker: Maker, root: Path, tmp_path: Path, *, lost_index: bool
) -> None:
    publish.publish(made(tmp_path / "one"), str(root))
    before = everything(root)
    if lost_index:
        (root / repository.FILE).unlink()
    other = maker.release(tmp_path / "other", note="other bytes")
    with pytest.raises(ReleaseError, match=r"has another maas|contains another release") as raised:
        publish.publish(other, str(root))
    assert "never changes" in str(raised.value.hint)
    assert {**everything(root), repository.FILE: before[repository.FILE]} == before


def test_an_index_that_lost_a_version_is_not_extended(made: Made, root: Path, tmp_path: Path) -> None:
    publish.publish(made(tmp_path / "one"), str(root))
    older = (root / repository.FILE).read_text()
    publish.publish(made(tmp_path / "two", "0.2.0"), str(root))
    (root / repository.FILE).write_text(older)
    with pytest.raises(ReleaseError, match=r"lacks 0\.2\.0, whose directory exists"):
        publish.publish(made(tmp_path / "three", "0.3.0"), str(root))
    publish.publish(tmp_path / "two", str(root))
    publish.publish(tmp_path / "three", str(root))
    assert whole(root) == {"0.1.0", "0.2.0", "0.3.0"}


def test_an_index_that_lists_a_missing_version_is_not_extended(made: Made, root: Path, tmp_path: Path) -> None:
    publish.publish(made(tmp_path / "one"), str(root))
    shutil.rmtree(root / "0.1.0")
    with pytest.raises(ReleaseError, match=r"lists 0\.1\.0, whose directory is missing"):
        publish.publish(made(tmp_path / "two", "0.2.0"), str(root))


class Interrupted(BaseException):
    """Simulates a crash."""


def test_an_interrupted_publication_shows_only_complete_versions_and_can_be_completed(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two", "0.2.0")
    places = ((shutil, "copyfile"), (type(tmp_path), "rename"), (type(tmp_path), "replace"), (type(tmp_path), "mkdir"))
    stops = 0
    for step in range(100):
        root = tmp_path / f"at-{step}"
        publish.publish(one, str(root))
        left = step
        with monkeypatch.context() as patch:
            for owner, name in places:
                real = getattr(owner, name)

                def stopping(*arguments: object, real: Callable[..., object] = real, **options: object) -> object:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        raise Interrupted
                    return real(*arguments, **options)

                patch.setattr(owner, name, stopping)
            try:
                publish.publish(two, str(root))
            except Interrupted:
                stops += 1
            else:
                break
        assert whole(root) == {"0.1.0"}
        publish.publish(two, str(root))
        assert whole(root) == {"0.1.0", "0.2.0"}
        assert not list(root.glob("*.part"))
    assert stops > len(checksums.read(two))


def test_a_damaged_or_unsigned_release_is_not_published(made: Made, maker: Maker, root: Path, tmp_path: Path) -> None:
    damaged = made(tmp_path / "damaged")
    (damaged / "images.txt").write_text("else\n")
    for release in (damaged, maker.unsigned(tmp_path / "unsigned", "0.1.0")):
        with pytest.raises(ReleaseError, match="is incomplete"):
            publish.publish(release, str(root))
    assert not root.exists()
    with pytest.raises(ReleaseError, match="is not a release"):
        publish.publish(tmp_path, str(root))


def test_a_chart_with_a_path_outside_its_directory_is_not_published(maker: Maker, root: Path, tmp_path: Path) -> None:
    release = maker.release(tmp_path / "release", extra={"../evil": b"evil"})
    with pytest.raises(VerificationError, match="has a path outside its directory"):
        publish.publish(release, str(root))
    assert not (root / repository.FILE).exists()
    assert not (root / "0.1.0").exists()


def test_helm_reads_the_index_and_artifact_hub_finds_its_file(made: Made, root: Path, tmp_path: Path) -> None:
    publish.publish(made(tmp_path / "one"), str(root))
    index = yaml.safe_load((root / repository.FILE).read_text())
    assert index["apiVersion"] == "v1"
    entry = index["entries"]["maas"][0]
    assert (root / entry["urls"][0]).is_file()
    assert entry["created"] == index["generated"] == "2026-09-21T14:13:20Z"
    assert (root / repository.METADATA).is_file()
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in root.rglob("*") if not path.name.startswith("."))


def test_a_directory_that_is_not_a_repository_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a chart repository"):
        serve.server(tmp_path, 0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry, on loopback."""
    with loopback.registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def digest(reference: str) -> str:
    return process.run([tools.tool("crane"), "digest", reference]).stdout.strip()


def test_a_release_is_published_to_a_registry_and_verified_there(
    made: Made, keys: Keys, server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    release, target = made(tmp_path / "one"), f"oci://{server}/whole"
    pipeline.sign_all(release, [keys.gpg])
    publish.publish(release, target)
    before = digest(f"{server}/whole/charts/maas:0.1.0")
    again = publish.publish(release, target)
    assert [line.endswith("already exists") for line in again] == [True] * 6
    for reference in (f"{target}/charts/maas:0.1.0", f"{target}/charts/maas@{before}"):
        verify(reference, keys=keys.public, identity=None, issuer=None, version=None)
    assert "complete and signed" in capfd.readouterr().err
    assert before == oci.chart_layout(release / "maas-0.1.0.tgz", tmp_path / "layout")
    assert publish.conflicts(target, "0.1.0") == [f"{target} already has 0.1.0; a published version never changes"]
    assert publish.conflicts(target, "0.2.0") == []


def test_a_version_in_a_registry_never_changes(made: Made, maker: Maker, server: str, tmp_path: Path) -> None:
    target = f"oci://{server}/bytes"
    publish.publish(made(tmp_path / "one"), target)
    before = digest(f"{server}/bytes/charts/maas:0.1.0")
    with pytest.raises(ReleaseError, match="the registry has another"):
        publish.publish(maker.release(tmp_path / "other", note="other bytes"), target)
    assert digest(f"{server}/bytes/charts/maas:0.1.0") == before


def test_the_umbrella_is_pushed_last_so_an_interrupted_push_is_not_visible(
    made: Made, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, target = made(tmp_path / "one"), f"oci://{server}/interrupted"
    real, left = oci.push_layout, 4

    def stopping(*arguments: Path | str, **options: bool) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(oci, "push_layout", stopping)
    with pytest.raises(Interrupted):
        publish.publish(release, target)
    assert publish.conflicts(target, "0.1.0") == []  # the umbrella is not pushed yet, so the version does not exist
    left = 100
    publish.publish(release, target)
    assert digest(f"{server}/interrupted/charts/maas:0.1.0")


def test_an_image_that_was_replaced_in_the_registry_is_found(
    made: Made, maker: Maker, keys: Keys, server: str, tmp_path: Path
) -> None:
    target = f"oci://{server}/exchanged"
    publish.publish(made(tmp_path / "one"), target)
    publish.publish(maker.release(tmp_path / "other", note="other bytes"), f"oci://{server}/other")
    process.run(
        [tools.tool("crane"), "copy", f"{server}/other/restaurant:0.1.0", f"{server}/exchanged/restaurant:0.1.0"]
    )
    with pytest.raises(VerificationError, match="the image of the restaurant application differs"):
        verify(f"{target}/charts/maas:0.1.0", keys=keys.public, identity=None, issuer=None, version=None)


def test_an_invalid_address_and_an_unreachable_registry_are_reported() -> None:
    with pytest.raises(UsageError, match="is not the address of a registry"):
        oci.location("oci://registry")
    port = free_port()
    (said,) = publish.conflicts(f"oci://127.0.0.1:{port}/maas", "0.1.0")
    assert "cannot read 127.0.0.1" in said
