from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyhelm3
import pytest

from maas import paths, process
from maas.cluster import helm_release
from maas.cluster.client import Cluster
from maas.errors import ClusterError


def test_the_fingerprint_changes_with_a_template_its_name_and_the_values(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("name: maas\n")
    template = tmp_path / "templates" / "namespace.yaml"
    template.write_text("kind: Namespace\n")
    fingerprints = {helm_release.fingerprint(tmp_path, {}), helm_release.fingerprint(tmp_path, {"a": 1})}
    template.write_text("kind: Namespace\nmetadata: {}\n")
    fingerprints.add(helm_release.fingerprint(tmp_path, {}))
    template.rename(tmp_path / "templates" / "other.yaml")
    fingerprints.add(helm_release.fingerprint(tmp_path, {}))
    assert len(fingerprints) == 4


def test_files_beside_the_chart_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: maas\n")
    before = helm_release.fingerprint(tmp_path, {})
    (tmp_path / "README.md").write_text("words")
    assert helm_release.fingerprint(tmp_path, {}) == before


class Helm:
    """Releases as pyhelm3 reports and makes them."""

    def __init__(self) -> None:
        self.revisions: list[tuple[str, dict[str, Any]]] = []
        self.status = "deployed"
        self.applied: list[str] = []
        self.awaited: list[tuple[list[str], int]] = []
        self.asked = 0
        self.refusal: pyhelm3.Error | None = None

    async def get_current_revision(self, name: str, *, namespace: str) -> Any:
        assert (name, namespace) == ("maas", "maas")
        self.asked += 1
        if not self.revisions:
            raise pyhelm3.ReleaseNotFoundError(1, b"", b"not found")
        description = self.revisions[-1][0]
        status = pyhelm3.ReleaseRevisionStatus(self.status)
        return SimpleNamespace(revision=len(self.revisions), description=description, status=status, notes="notes")

    async def get_chart(self, place: str) -> str:
        return place

    async def install_or_upgrade_release(self, *given: Any, description: str, **_: Any) -> Any:
        if self.refusal:
            raise self.refusal
        self.revisions.append((description, given[2]))
        return SimpleNamespace(revision=len(self.revisions), notes="notes")

    def run(self, argv: list[Any]) -> None:
        if "delete" in argv:
            assert argv[-2:] == [f"sh.helm.release.v1.maas.v{len(self.revisions)}", "--namespace=maas"]
            self.revisions.pop()
            self.status = "deployed"
            return
        self.applied.append(Path(argv[-1].removeprefix("--filename=")).parent.name)

    def wait_established(self, definitions: list[str]) -> None:
        self.awaited.append((definitions, len(self.revisions)))


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helm:
    made = Helm()
    (tmp_path / "Chart.yaml").write_text("name: maas\n")
    for name in ("calico", "kube-prometheus", "restaurant"):
        (tmp_path / "charts" / name).mkdir(parents=True)
        (tmp_path / "charts" / name / "Chart.yaml").write_text(f"name: {name}\n")
    for name in ("calico", "kube-prometheus"):
        (tmp_path / "charts" / name / "crds").mkdir()
    monkeypatch.setattr(paths, "content", lambda: tmp_path)
    (tmp_path / "charts" / "calico" / "crds" / "crd.projectcalico.org_tiers.yaml").touch()
    monkeypatch.setattr(process, "run", made.run)
    monkeypatch.setattr(Cluster, "wait_established", made.wait_established)
    return made


def release_of(helm: Helm, **values: Any) -> helm_release.HelmRelease:
    made = helm_release.HelmRelease(
        Cluster(Path("/kubeconfig")), helm=Path("/helm"), kubectl=Path("/kubectl"), values=values
    )
    vars(made)["_client"] = helm
    return made


def deploy(helm: Helm, **values: Any) -> helm_release.Revision:
    release = release_of(helm, **values)
    return release.deploy(release.current())


def test_a_release_begins_with_the_pod_network_and_continues_with_the_rest(helm: Helm) -> None:
    release = release_of(helm, calico={"enabled": True})
    assert release.current() is None
    first = release.install_pod_network()
    off = {"enabled": False}
    values = {"calico": {"enabled": True}, "kube-prometheus": off, "restaurant": off}
    assert helm.revisions == [("the pod network", values)]
    assert helm.applied == ["kube-prometheus"], "Helm itself has installed the CRDs of the network"
    assert release.deploy(first).number == 2
    assert helm.revisions[1][1] == {"calico": {"enabled": True}}
    assert helm.applied == ["kube-prometheus"]


def test_an_existing_release_is_upgraded_and_read_once(helm: Helm) -> None:
    deploy(helm)
    assert deploy(helm, restaurant={"replicas": 2}).number == 2
    assert helm.asked == 2, "once by each run"


def test_the_same_chart_with_the_same_values_is_left_alone(helm: Helm) -> None:
    assert deploy(helm, a=1).number == 1
    assert deploy(helm, a=1).number == 1
    assert deploy(helm, a=2).number == 2


def test_an_upgrade_applies_the_crds_that_helm_installs_only_once(helm: Helm) -> None:
    deploy(helm, a=1)
    assert helm.applied == []
    deploy(helm, a=2)
    assert helm.applied == ["calico", "kube-prometheus"]


def test_a_run_that_was_interrupted_after_the_network_applies_the_crds(helm: Helm) -> None:
    release_of(helm).install_pod_network()
    helm.applied.clear()
    deploy(helm)
    assert helm.applied == ["calico", "kube-prometheus"]


@pytest.mark.parametrize("status", ["pending-install", "failed"])
def test_an_installation_that_did_not_end_is_none(helm: Helm, status: str) -> None:
    release_of(helm).install_pod_network()
    helm.status = status
    assert release_of(helm).current() is None
    assert helm.revisions == []


@pytest.mark.parametrize("status", ["pending-upgrade", "pending-rollback"])
def test_an_upgrade_that_did_not_end_is_repeated_from_the_revision_before(helm: Helm, status: str) -> None:
    deploy(helm, a=1)
    deploy(helm, a=2)
    helm.status = status
    assert deploy(helm, a=2).number == 2


def test_a_failed_upgrade_is_followed_by_the_next_revision(helm: Helm) -> None:
    deploy(helm, a=1)
    deploy(helm, a=2)
    helm.status = "failed"
    assert deploy(helm, a=2).number == 3


def test_nothing_is_installed_before_its_crds_are_established(helm: Helm) -> None:
    release = release_of(helm)
    first = release.install_pod_network()
    assert helm.awaited == [], "Helm itself waits for those that it installs"
    release.deploy(first)
    assert helm.awaited == [(["tiers.crd.projectcalico.org"], 1)], "before the second revision"


def test_the_crds_of_the_charts_are_named_as_their_files_are() -> None:
    files = list(paths.content().glob("charts/*/crds/*.yaml"))
    names = [re.search(r"^  name: (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE) for file in files]
    assert helm_release.crd_names() == sorted(name[1] for name in names if name)
    assert len(files) > 30


def test_the_error_has_the_message_of_helm(helm: Helm) -> None:
    helm.refusal = pyhelm3.Error(1, b"", b"Error: values don't meet the specifications\n\n- at '/calico': no\n")
    with pytest.raises(ClusterError) as caught:
        deploy(helm)
    assert caught.value.code == "HelmFailed"
    assert "- at '/calico': no" in caught.value.context
