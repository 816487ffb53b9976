"""The runner, the cache of renders, and the commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from maas.codegen import lint, schemas
from maas.commands import charts
from maas.errors import ChartError, UsageError
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from pathlib import Path

CHART = """
apiVersion: v2
name: small
version: 1.0.0
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    directory = tmp_path / "small"
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text(CHART, encoding="utf-8")
    (directory / "values.yaml").write_text("word: hello\n", encoding="utf-8")
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: small}\ndata: {word: {{ .Values.word }}}\n"
    (directory / "templates" / "configmap.yaml").write_text(template, encoding="utf-8")
    return directory


def test_a_refusal_carries_helms_own_words(chart: Path) -> None:
    (chart / "templates" / "refuse.yaml").write_text('{{ fail "not like this" }}', encoding="utf-8")
    with pytest.raises(ChartError, match="helm template does not accept the chart") as refused:
        render.render_anew(Request(chart))
    assert "not like this" in "\n".join(refused.value.context)


def test_a_render_asks_no_cluster(chart: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Were it to follow this, the render would hang or fail.
    config = tmp_path / "kubeconfig"
    config.write_text("not a kubeconfig", encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(config))
    (chart / "templates" / "look.yaml").write_text('{{ $_ := lookup "v1" "Node" "" "" }}', encoding="utf-8")
    (entry,) = render.parse(render.render_anew(Request(chart)))
    assert entry["data"]["word"] == "hello"


def test_empty_documents_are_no_objects() -> None:
    assert render.parse("---\n---\n# only a comment\n---\nkind: Thing\n") == [{"kind": "Thing"}]


def test_schemas_for_kubeconform_stand_alone(tmp_path: Path) -> None:
    objects = [
        {"apiVersion": "v1", "kind": "Pod"},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"},
        {"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy"},
        {"apiVersion": "example.org/v1", "kind": "Unknown"},
    ]
    schemas.write(tmp_path, kubernetes=render.KUBERNETES[-1], objects=objects)
    names = {file.name for file in tmp_path.glob("*.json")}
    assert names == {"pod-v1.json", "networkpolicy-networking-v1.json", "networkpolicy-crd-v1.json"}
    pod = json.loads((tmp_path / "pod-v1.json").read_text(encoding="utf-8"))
    references = set(_references(pod))
    assert references
    assert {reference.removeprefix("#/definitions/") for reference in references} == pod["definitions"].keys()


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [entry for value in node.values() for entry in _references(value)]
    if isinstance(node, list):
        return [entry for value in node for entry in _references(value)]
    return []


def test_an_image_is_known_whatever_registry_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = {"kind": "Pod", "spec": {"containers": [{"image": "mirror.example.org/calico/node:v0.0.1@sha256:aa"}]}}
    monkeypatch.setattr(render, "objects", lambda _request: (pod,))
    faults = {fault.what for fault in lint.images()}
    assert faults == {"mirror.example.org/calico/node:v0.0.1@sha256:aa is not in the lock of components"}


def test_kubeconform_names_the_profile_the_version_and_the_field(
    chart: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(render, "umbrella", lambda: chart)
    monkeypatch.setattr(render, "kept_in", lambda: tmp_path / "renders")
    monkeypatch.setattr(schemas, "custom", dict)
    (chart / "ci").mkdir()
    for name, word in (("good", "hello"), ("bad", "[hello]")):
        (chart / "ci" / f"{name}-values.yaml").write_text(f"word: {word}\n", encoding="utf-8")
    faults = list(lint.kubeconform())
    assert [fault.where for fault in faults] == [
        f"ci/bad-values.yaml on {version}, ConfigMap/small" for version in render.KUBERNETES
    ]
    assert all("/data/word" in fault.what for fault in faults)


def test_chart_testing_reads_descriptions_style_and_what_each_profile_makes(
    chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "umbrella", lambda: chart)
    (chart / "charts").mkdir()
    (chart / "ci").mkdir()

    def said() -> str:
        return "; ".join(fault.what for fault in lint.chart_testing())

    def says(words: str) -> bool:
        # It waits for a program before it has read all of its output, so that a line is lost now and then.
        return any(words in said() for _ in range(5))

    assert says("description: Required field missing")
    described = f"{CHART.strip()}\ndescription: A chart for this test alone.\ntype: application\n"
    described += "kubeVersion: '>=1.35.0-0'\nhome: https://example.org\nkeywords: [test]\n"
    (chart / "Chart.yaml").write_text(described, encoding="utf-8")
    profile = chart / "ci" / "broken-values.yaml"
    profile.write_text("word:  {a: 1}\n", encoding="utf-8")
    assert says("too many spaces after colon")
    # A map where the template has room for a word.
    profile.write_text("word: {a: 1}\n", encoding="utf-8")
    assert says("templates/configmap.yaml: unable to parse YAML")
    profile.unlink()
    (chart / "Chart.yaml").write_text(described + "icon: https://example.org/icon.svg\n", encoding="utf-8")
    assert said() == ""


SCORED = """
apiVersion: v1
kind: Pod
metadata: {name: small}
spec:
  containers:
    - {name: one, image: example.org/one:latest, securityContext: {privileged: true}}
"""


def test_a_finding_of_kube_score_needs_a_reason_and_a_reason_needs_a_finding(
    chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "umbrella", lambda: chart)
    monkeypatch.setattr(render, "render", lambda _request: SCORED)
    (chart / "ci").mkdir()
    (chart / "ci" / "small-values.yaml").touch()
    privileged = "The container is privileged"
    found = {(what, of) for what, of in lint.findings_of(SCORED) if what != privileged}
    entries: list[dict[str, object]] = [{"finding": what, "of": [of], "why": "Because."} for what, of in found]
    lint.accepted_in().write_text(json.dumps(entries), encoding="utf-8")
    assert list(lint.kube_score()) == [lint.Fault("ci/small-values.yaml, Pod/small:one", privileged)]
    entries.append({"finding": privileged, "of": ["Pod/*:one", "Pod/other"], "why": "Because."})
    lint.accepted_in().write_text(json.dumps(entries), encoding="utf-8")
    gone = "Pod/other is not found any more: The container is privileged"
    assert list(lint.kube_score()) == [lint.Fault("ci/kube-score.yaml", gone)]


def test_what_stays_of_kube_scores_findings_has_a_reason() -> None:
    for entry in yaml.safe_load(lint.accepted_in().read_text(encoding="utf-8")):
        assert entry.keys() == {"finding", "of", "why"}
        assert entry["why"].endswith(".")


def test_lint_reports_every_fault_of_every_check_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "one": lambda: iter([lint.Fault("a.yaml", "is wrong"), lint.Fault("b.yaml", "is wrong too")]),
        "two": lambda: iter([lint.Fault("c.yaml", "as well")]),
        "three": lambda: iter(()),
    }
    monkeypatch.setattr(lint, "CHECKS", found)
    with pytest.raises(ChartError, match="3 faults") as failed:
        charts.lint()
    assert failed.value.context == ("one: a.yaml: is wrong", "one: b.yaml: is wrong too", "two: c.yaml: as well")


def test_rendering_for_people_refuses_what_it_has_not_got(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Helm 5"):
        charts.render([], kubernetes="1.37.0", helm="5")
    with pytest.raises(UsageError, match="no such file") as refused:
        charts.render([tmp_path / "nowhere.yaml"], kubernetes="1.37.0", helm="4")
    assert str(tmp_path / "nowhere.yaml") in refused.value.context
