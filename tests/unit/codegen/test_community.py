"""Our rules beside the community's: what is different is reported, unless there is a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from maas.codegen import community, lint, rules
from maas.codegen.series import Labels, Series
from maas.errors import ChartError

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0" * 40
RULES = """
thresholds:
  busyPercent: {description: Busy., unit: percent, default: 90}
groups:
  - name: g
    rules:
      - record: node:busy:ratio
        expr: sum by (cluster, node) (label_replace(busy{job="exporter"}, "node", "$1", "instance", "(.*)"))
        labels: {kind: cpu}
      - alert: Busy
        expr: node:busy:ratio > ${busyPercent} / 100 and on (cluster) up{job="agent"} == 1
        for: 5m
        labels: {severity: warning}
        annotations: {summary: S., description: D.}
"""


def files(tmp_path: Path) -> list[rules.RuleFile]:
    directory = tmp_path / "files" / "rules"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "a.yaml").write_text(RULES, encoding="utf-8")
    return rules.load(tmp_path)


def drifts(tmp_path: Path, fact: dict[str, Any], differences: dict[str, Any] | None = None) -> list[str]:
    whole = {
        "alert": "Busy",
        "severity": "warning",
        "for": "5m",
        "threshold": 0.9,
        "labels": ["cluster", "node", "kind"],
    }
    mixin = {"repository": "a/b", "file": "c", "commit": COMMIT, "alerts": [whole | fact]}
    facts = community.Community.model_validate({"mixins": [mixin], "differences": differences or {}})
    return [f"{one.name}: {one.what}" for one in community.drift(files(tmp_path), facts)]


def test_nothing_is_reported_of_a_rule_that_is_the_same(tmp_path: Path) -> None:
    assert drifts(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ({"alert": "Idle"}, "Idle: a/b has it, we do not"),
        ({"severity": "critical"}, "Busy: the severity is warning, the community's critical"),
        ({"for": "10m"}, "Busy: `for` is 5m, the community's 10m"),
        ({"threshold": 0.8}, "Busy: no comparison with 0.8, as the community's has"),
        ({"labels": ["job", "node", "instance"]}, "Busy: lacks the labels job, instance, which the community's has"),
    ],
)
def test_a_difference_is_reported_unless_there_is_a_reason(tmp_path: Path, fact: dict[str, Any], told: str) -> None:
    assert drifts(tmp_path, fact) == [told]
    aspect = next(iter(fact))
    if aspect != "alert":
        assert drifts(tmp_path, fact, {"Busy": {aspect: "because"}}) == []


def test_a_reason_without_a_difference_is_reported(tmp_path: Path) -> None:
    assert drifts(tmp_path, {}, {"Busy": {"for": "because", "meaning": "because"}, "Idle": {"for": "because"}}) == [
        "Busy: community.yaml gives a reason for `for`, which is not different",
        "Idle: community.yaml gives a reason for a rule that does not exist",
        "Idle: community.yaml gives a reason for `for`, which is not different",
    ]


def test_labels_jobs_and_thresholds_are_found_also_by_recorded_series(tmp_path: Path) -> None:
    series = Series.of(files(tmp_path))
    (alert,) = (rule for rule, _ in series.rules if isinstance(rule, rules.Alert))
    assert series.labels(alert) == Labels(frozenset({"cluster", "node", "kind"}))
    assert series.jobs(alert) == {"exporter", "agent"}
    assert series.thresholds(alert) == {0.9, 1}


@pytest.mark.parametrize(
    ("expr", "has", "lacks"),
    [
        ("x", {"job", "a"}, set()),
        ("sum without (a) (x)", {"job"}, {"a"}),
        ("sum(x)", set(), {"job"}),
        ("topk by (a) (1, x)", {"job"}, set()),
        ('count_values by (a) ("v", x)', {"a", "v"}, {"job"}),
        ("histogram_quantile(0.9, rate(x[5m]))", {"job"}, {"le"}),
        ('absent(x{a="1", b=~"2"})', {"a"}, {"b", "job"}),
        ("x / on (a) y", {"a"}, {"job"}),
        ("x / ignoring (a) y", {"job"}, {"a"}),
        ("sum by (a) (x) * on (a) group_left (n) y", {"a", "n"}, {"job"}),
        ("x * on (a) group_right (n) sum by (a, b) (y)", {"a", "b", "n"}, {"job"}),
        ("sum by (a) (x) or sum by (b) (x)", {"a", "b"}, {"job"}),
        ("sum by (a) (x) unless y", {"a"}, {"job"}),
        ("1 - sum by (a) (x)", {"a"}, {"job"}),
        ("time() - x", {"job"}, set()),
    ],
)
def test_the_labels_of_an_expression(tmp_path: Path, expr: str, has: set[str], lacks: set[str]) -> None:
    directory = tmp_path / "files" / "rules"
    directory.mkdir(parents=True)
    content = {"groups": [{"name": "g", "rules": [{"record": "r:x:y", "expr": expr}]}]}
    (directory / "a.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    series = Series.of(rules.load(tmp_path))
    labels = series.labels(series.rules[0][0])
    assert {name for name in has | lacks if name in labels} == has


def test_the_page_shows_labels_jobs_and_reasons(tmp_path: Path) -> None:
    mixin = {"repository": "a/b", "file": "c", "commit": COMMIT}
    facts = community.Community.model_validate({"mixins": [mixin], "differences": {"Busy": {"for": "because"}}})
    page = community.document(files(tmp_path), facts)
    assert "| `Busy` | `cluster`, `kind`, `node` | `agent`, `exporter` | for: because |" in page
    assert "| a/b | c | 000000000000 |" in page


def test_lint_reports_drift_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(lint.community_rules()) == []
    facts = community.load()
    monkeypatch.setattr(community, "load", lambda: facts.model_copy(update={"differences": {}}))
    assert "KubeNodeNotReady" in {fault.where for fault in lint.community_rules()}


def test_facts_that_are_not_valid_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "facts.yaml").write_text("mixins: [{repository: a}]\ndifferences: {}\n", encoding="utf-8")
    with pytest.raises(ChartError, match=r"facts\.yaml is not valid"):
        community.load(tmp_path / "facts.yaml")
