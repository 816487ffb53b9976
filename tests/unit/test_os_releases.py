from __future__ import annotations

import pytest

from maas import os_releases
from maas.errors import UsageError


def test_releases_are_named_as_people_and_bundles_name_them() -> None:
    [trixie, noble] = os_releases.parse("debian-13, ubuntu-24.04,debian-13")
    assert [str(trixie), trixie.directory] == ["Debian 13", "debian-trixie"]
    assert [str(noble), noble.directory] == ["Ubuntu 24.04", "ubuntu-noble"]
    assert os_releases.find("debian", "trixie") == trixie
    assert os_releases.find("debian", "noble") is None


@pytest.mark.parametrize("text", ["debian-11", "", "debian-13,", "trixie"])
def test_an_unknown_release_is_refused_with_those_that_are_known(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        os_releases.parse(text)
    assert caught.value.message == f"hosts cannot run {text.removeprefix('debian-13,') or '(empty)'}"
    assert caught.value.hint == "the supported releases are debian-12, debian-13, ubuntu-22.04, ubuntu-24.04"
