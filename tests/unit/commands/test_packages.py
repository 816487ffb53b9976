from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.hosts import facts_of

from maas import bundle, console, os_releases
from maas.commands import _packages
from maas.commands import bundle as bundle_command
from maas.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

BOOKWORM, TRIXIE, _, NOBLE = os_releases.SUPPORTED

FACTS = {
    "master": facts_of(codename="trixie", packages_missing=("socat",)),
    "node1": facts_of(codename="trixie", packages_missing=("runc", "socat")),
    "node2": facts_of(),
    "old": facts_of(codename="stretch", packages_missing=("socat",)),
    "arm": facts_of(os="ubuntu", codename="noble", architecture="aarch64", packages_missing=("socat",)),
}


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(releases: list[os_releases.OsRelease], **_: object) -> dict[os_releases.OsRelease, BundleError]:
        return {release: BundleError("no mirror", context=["  a", "  b", "  c"]) for release in releases}

    monkeypatch.setattr(bundle, "packages_missing", missing)


def test_packages_are_needed_for_the_releases_of_supported_hosts_that_lack_some() -> None:
    assert _packages.needed(FACTS) == {TRIXIE: ["master", "node1"]}


@pytest.mark.usefixtures("no_mirror")
def test_a_release_without_packages_is_one_error_for_all_its_hosts() -> None:
    with console.phase("test") as step:
        [problem] = _packages.problems(FACTS, directory=None, source="auto", dry_run=True, phase=step)
    assert problem.severity == "error"
    assert str(problem) == (
        "master, node1: Debian 13 needs packages that are neither in the bundle nor available here: no mirror; b; c "
        "(on master and node1 run: apt-get install runc socat; or build the bundle where they are available: "
        "./nox -s bundle -- --for debian-13 --directory DIRECTORY)"
    )


@pytest.mark.usefixtures("no_mirror")
def test_a_bundle_is_not_built_if_packages_that_were_asked_for_are_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        bundle_command.bundle(
            tmp_path / "bundle", images=None, source="auto", values=[], releases=[TRIXIE, NOBLE], yes=True
        )
    assert caught.value.message == "the packages of Debian 13, Ubuntu 24.04 are not available here"
    assert caught.value.context == ("Debian 13: no mirror; b; c", "Ubuntu 24.04: no mirror; b; c")
    assert caught.value.command == "./nox -s bundle -- --for debian-13,ubuntu-24.04 --directory DIRECTORY"
    assert not (tmp_path / "bundle").exists()
