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


def test_values_merge_as_helm_merges_files() -> None:
    first = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    second = {"a": {"y": [3], "z": None}, "b": {"c": 2}}
    assert helm_release.merge(first, second) == {"a": {"x": 1, "y": [3], "z": None}, "b": {"c": 2}}
    assert first == {"a": {"x": 1, "y": [1, 2]}, "b": 1}, "the layers themselves stay as they were"


def test_the_mark_of_a_release_changes_with_a_template_a_values_file_and_the_given_values(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("name: maas\n")
    template = tmp_path / "templates" / "namespace.yaml"
    template.write_text("kind: Namespace\n")
    marks = {helm_release.mark(tmp_path, {}), helm_release.mark(tmp_path, {"a": 1})}
    template.write_text("kind: Namespace\nmetadata: {}\n")
    marks.add(helm_release.mark(tmp_path, {}))
    template.rename(tmp_path / "templates" / "other.yaml")
    marks.add(helm_release.mark(tmp_path, {}))
    assert len(marks) == 4


def test_files_beside_the_chart_do_not_change_the_mark(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: maas\n")
    before = helm_release.mark(tmp_path, {})
    (tmp_path / "README.md").write_text("words")
    assert helm_release.mark(tmp_path, {}) == before


class Helm:
    """Releases as pyhelm3 tells and makes them."""

    def __init__(self) -> None:
        self.revisions: list[tuple[str, dict[str, Any]]] = []
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
        status = pyhelm3.ReleaseRevisionStatus.DEPLOYED
        return SimpleNamespace(revision=len(self.revisions), description=description, status=status, notes="notes")

    async def get_chart(self, place: str) -> str:
        return place

    async def install_or_upgrade_release(self, *given: Any, description: str, **_: Any) -> Any:
        if self.refusal:
            raise self.refusal
        self.revisions.append((description, given[2]))
        return SimpleNamespace(revision=len(self.revisions), notes="notes")

    def run(self, argv: list[Any]) -> None:
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


def deployer(helm: Helm, **values: Any) -> helm_release.Deployer:
    made = helm_release.Deployer(
        Cluster(Path("/kubeconfig")), helm=Path("/helm"), kubectl=Path("/kubectl"), values=values
    )
    vars(made)["_client"] = helm
    return made


def test_a_release_begins_with_the_network_alone_and_goes_on_with_the_rest(helm: Helm) -> None:
    made = deployer(helm, calico={"enabled": True})
    first = made.network()
    assert first is not None
    off = {"enabled": False}
    values = {"calico": {"enabled": True}, "kube-prometheus": off, "restaurant": off}
    assert helm.revisions == [("the pod network", values)]
    assert helm.applied == ["kube-prometheus"], "Helm itself brought the kinds of the network"
    assert made.deploy(definitions=False).revision == 2
    assert helm.revisions[1][1] == {"calico": {"enabled": True}}
    assert helm.applied == ["kube-prometheus"]


def test_a_release_that_is_there_is_never_cut_back_to_the_network(helm: Helm) -> None:
    deployer(helm).deploy()
    made = deployer(helm, restaurant={"replicas": 2})
    assert made.network() is None
    assert len(helm.revisions) == 1
    assert made.deploy().revision == 2
    assert helm.asked == 2, "once by each deployer"


def test_the_same_chart_with_the_same_values_is_left_alone(helm: Helm) -> None:
    assert deployer(helm, a=1).deploy().changed
    again = deployer(helm, a=1).deploy()
    assert (again.changed, again.revision) == (False, 1)
    assert deployer(helm, a=2).deploy().revision == 2


def test_an_upgrade_brings_the_kinds_that_helm_brings_only_once(helm: Helm) -> None:
    deployer(helm, a=1).deploy()
    assert helm.applied == []
    deployer(helm, a=2).deploy()
    assert helm.applied == ["calico", "kube-prometheus"]


def test_a_run_that_was_interrupted_after_the_network_brings_the_kinds(helm: Helm) -> None:
    deployer(helm).network()
    helm.applied.clear()
    deployer(helm).deploy()
    assert helm.applied == ["calico", "kube-prometheus"]


def test_nothing_is_installed_before_its_kinds_are_served(helm: Helm) -> None:
    made = deployer(helm)
    made.network()
    assert helm.awaited == [], "Helm itself waits for those that it brings"
    made.deploy(definitions=False)
    assert helm.awaited == [(["tiers.crd.projectcalico.org"], 1)], "before the second revision"


def test_the_definitions_of_the_charts_are_named_as_their_files_are() -> None:
    files = list(paths.content().glob("charts/*/crds/*.yaml"))
    names = [re.search(r"^  name: (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE) for file in files]
    assert helm_release.definitions() == sorted(name[1] for name in names if name)
    assert len(files) > 30


def test_what_helm_says_when_it_refuses_is_told(helm: Helm) -> None:
    helm.refusal = pyhelm3.Error(1, b"", b"Error: values don't meet the specifications\n\n- at '/calico': no\n")
    with pytest.raises(ClusterError, match="Helm did not install") as caught:
        deployer(helm).deploy()
    assert "- at '/calico': no" in caught.value.context
