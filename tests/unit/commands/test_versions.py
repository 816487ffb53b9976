from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.hosts import facts_of

from maas import bundle, components
from maas.commands import _versions
from maas.errors import UsageError

FILE = Path("hosts.yaml")
NEWEST = f"v{components.kubernetes_version()}"
EARLIER = next(iter(components.load().earlier))
OLD = f"v{components.for_minor(EARLIER).kubernetes}"


def test_hosts_of_another_version_than_that_of_the_bundle_are_one_error() -> None:
    facts = {
        "master": facts_of(joined=True, kubelet=OLD, api_server=OLD),
        "node1": facts_of(joined=True, kubelet=OLD),
        "new": facts_of(),
    }
    [problem] = _versions.problems(facts, directory=None, inventory=FILE)
    assert problem.severity == "error"
    assert problem.host == "master, node1"
    assert problem.message == f"runs Kubernetes {OLD}, and the bundle has {NEWEST}"
    assert "upgrade -- --inventory hosts.yaml" in problem.fix
    assert f"--kubernetes {EARLIER} --directory DIRECTORY" in problem.fix


def test_an_api_server_with_another_version_than_its_kubelet_is_an_error() -> None:
    facts = {
        "master": facts_of(joined=True, kubelet=OLD, api_server=NEWEST),
        "node1": facts_of(joined=True, kubelet=OLD),
    }
    assert [problem.host for problem in _versions.problems(facts, directory=None, inventory=FILE)] == ["master, node1"]


def test_hosts_with_the_version_of_the_bundle_and_new_hosts_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"master": facts_of(joined=True, kubelet=NEWEST, api_server=NEWEST), "new": facts_of(kubelet=OLD)}
    assert _versions.problems(facts, directory=None, inventory=FILE) == []
    monkeypatch.setattr(bundle, "minor", lambda _: EARLIER)
    facts = {"master": facts_of(joined=True, kubelet=OLD, api_server=OLD)}
    assert _versions.problems(facts, directory=tmp_path, inventory=FILE) == []
    assert len(_versions.problems(facts, directory=None, inventory=FILE)) == 1


def test_a_bundle_for_a_version_without_components_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "minor", lambda _: "1.12")
    with pytest.raises(UsageError, match=r"no components for Kubernetes 1\.12"):
        _versions.problems({}, directory=tmp_path, inventory=FILE)
