"""The checks of the charts in `maas lint`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.support.charts import CHART, write_chart

from maas.codegen import lint, schemas
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return write_chart(tmp_path / "small")


def test_an_image_is_known_from_any_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = {"kind": "Pod", "spec": {"containers": [{"image": "mirror.example.org/calico/node:v0.0.1@sha256:aa"}]}}
    monkeypatch.setattr(render, "objects", lambda _request: (pod,))
    faults = {fault.what for fault in lint.images()}
    assert faults == {"mirror.example.org/calico/node:v0.0.1@sha256:aa is not in the component lockfile"}


def test_kubeconform_names_the_profile_the_version_and_the_field(
    chart: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(render, "umbrella", lambda: chart)
    monkeypatch.setattr(render, "cache_dir", lambda: tmp_path / "renders")
    monkeypatch.setattr(schemas, "custom", dict)
    (chart / "ci").mkdir()
    for name, word in (("good", "hello"), ("bad", "[hello]")):
        (chart / "ci" / f"{name}-values.yaml").write_text(f"word: {word}\n", encoding="utf-8")
    faults = list(lint.kubeconform())
    assert [fault.where for fault in faults] == [
        f"ci/bad-values.yaml on {version}, ConfigMap/small" for version in render.KUBERNETES
    ]
    assert all("/data/word" in fault.what for fault in faults)


def test_chart_testing_checks_descriptions_style_and_every_profile(
    chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "umbrella", lambda: chart)
    (chart / "charts").mkdir()
    (chart / "ci").mkdir()

    def said() -> str:
        return "; ".join(fault.what for fault in lint.chart_testing())

    assert "description: Required field missing" in said()
    described = f"{CHART.strip()}\ndescription: A chart for this test alone.\ntype: application\n"
    described += "kubeVersion: '>=1.35.0-0'\nhome: https://example.org\nkeywords: [test]\n"
    (chart / "Chart.yaml").write_text(described, encoding="utf-8")
    profile = chart / "ci" / "broken-values.yaml"
    profile.write_text("word:  {a: 1}\n", encoding="utf-8")
    assert "too many spaces after colon" in said()
    # A map where the template needs a string.
    profile.write_text("word: {a: 1}\n", encoding="utf-8")
    assert "templates/configmap.yaml: unable to parse YAML" in said()
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
    gone = "Pod/other is no longer found: The container is privileged"
    assert list(lint.kube_score()) == [lint.Fault("ci/kube-score.yaml", gone)]


def test_every_accepted_finding_of_kube_score_has_a_reason() -> None:
    for entry in yaml.safe_load(lint.accepted_in().read_text(encoding="utf-8")):
        assert entry.keys() == {"finding", "of", "why"}
        assert entry["why"].endswith(".")


def test_a_template_that_reads_a_missing_file_is_reported(chart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "umbrella", lambda: chart)
    text = 'a: {{ .Files.Get "files/a.yaml" }}\nb: {{ (.Files.Glob "files/rules/*.yaml").AsConfig }}\n'
    (chart / "templates" / "reads.yaml").write_text(text, encoding="utf-8")
    (chart / "files" / "rules").mkdir(parents=True)
    (chart / "files" / "rules" / "x.yaml").touch()
    assert list(lint.missing_files()) == [
        lint.Fault("templates/reads.yaml", "reads files/a.yaml, which does not exist")
    ]
