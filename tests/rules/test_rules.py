"""Every alert fires when it should and keeps still when it should; every recorded number is right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.rules.conftest import ALONE, CHART, FILES, HERE, RUNBOOKS, cases, groups, parsed, run
from tests.support import promql

from maas.codegen import rules
from maas.errors import ChartError
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = rules.load(CHART)
HEADINGS = ["Confirm", "Fix", "Silence"]


def rendered(kind: str) -> Iterator[dict[str, Any]]:
    """The rules of a kind, `alert` or `record`, of the whole chart."""
    for found in groups().values():
        for group in found:
            yield from (rule for rule in group["rules"] if kind in rule)


def names(file: str) -> set[str]:
    return set((HERE / file).read_text(encoding="utf-8").split())


def test_rules_behave_as_their_tests_say(file: Path, tmp_path: Path) -> None:
    said = run(file, tmp_path)
    assert not said, said


def test_promtool_has_nothing_against_the_rules() -> None:
    assert list(rules.broken({name: {"groups": found} for name, found in groups().items()})) == []


def test_every_file_of_rules_has_tests() -> None:
    assert {name.removesuffix(".yaml") for file in FILES for name in parsed(file)["rule_files"]} == groups().keys()


def test_names_are_those_that_runbooks_and_dashboards_elsewhere_know() -> None:
    assert names("alert-names.txt") <= {rule["alert"] for rule in rendered("alert")}
    assert names("record-names.txt") <= {rule["record"] for rule in rendered("record")}


def test_every_alert_is_seen_firing_and_keeping_still() -> None:
    wanted = {(rule["alert"], rule["labels"]["severity"]) for rule in rendered("alert")}
    fired = {(case.alert, labels.get("severity")) for case in cases() for labels in case.fires}
    assert wanted - fired == set(), "never seen firing"
    # A case in which one severity fires and the other does not shows the other keeping still.
    still = {
        (name, severity)
        for case in cases()
        for name, severity in wanted
        if name == case.alert and severity not in {labels.get("severity") for labels in case.fires}
    }
    # What always fires is never still.
    assert wanted - still == {("Watchdog", "none")}
    assert {case.alert for case in cases()} <= {name for name, _ in wanted}, "tests of alerts that there are not"


def test_every_recorded_number_is_checked() -> None:
    asked = " ".join(
        question["expr"]
        for file in FILES
        for test in parsed(file)["tests"]
        for question in test.get("promql_expr_test", [])
        if question.get("exp_samples")
    )
    checked = set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", asked))
    assert {rule["record"] for rule in rendered("record")} - checked == set()


def test_no_rule_breaks_when_an_exporter_is_replaced() -> None:
    found = [rule for kind in ("alert", "record") for rule in rendered(kind) if promql.ambiguous(rule["expr"])]
    assert found == []


def test_what_is_recorded_is_evaluated_before_who_reads_it(file: Path) -> None:
    """promtool takes groups in any order unless it is told one, and a test near its limit then fails now and then."""
    tested = parsed(file)
    order = tested.get("group_eval_order", [])
    found = [group for name in tested["rule_files"] for group in groups()[name.removesuffix(".yaml")]]
    recorded = {rule["record"]: group["name"] for group in found for rule in group["rules"] if "record" in rule}
    for group in found:
        read = {recorded.get(name) for rule in group["rules"] for name in promql.metrics(rule["expr"])}
        before = read - {None, group["name"]}
        assert not before or before <= set(order[: order.index(group["name"])])


def test_texts_use_labels_that_the_alert_has() -> None:
    labels: dict[str, list[set[str]]] = {}
    for case in cases():
        labels.setdefault(case.alert, []).extend(set(fired) for fired in case.fires)
    for rule in rendered("alert"):
        texts = rule["annotations"]["summary"] + rule["annotations"]["description"]
        # What stands behind `with` may be missing.
        certain = set(re.findall(r"\$labels\.(\w+)", texts)) - set(re.findall(r"with \$labels\.(\w+)", texts))
        for of_case in labels[rule["alert"]]:
            assert certain <= of_case, f"{rule['alert']}: {certain - of_case}"


def test_every_alert_says_what_happened_and_where_help_is() -> None:
    for rule in rendered("alert"):
        annotations = rule["annotations"]
        assert annotations["summary"].endswith("."), rule["alert"]
        assert "$" not in annotations["summary"], rule["alert"]
        assert annotations["description"].rstrip().endswith("."), rule["alert"]
        assert annotations["runbook_url"].endswith(f"/docs/runbooks/{rule['alert']}.md")
        assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {file.stem for file in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in rendered("alert")}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("[!R]*.md")), ids=lambda page: str(page.stem))
def test_a_runbook_says_how_to_confirm_to_fix_and_to_silence(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# {page.stem}"
    assert lines[2], "the first paragraph says what it means"
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS
    assert len(" ".join(lines).split()) >= 50
    assert max(map(len, lines)) <= 120


def test_what_switches_a_group_is_a_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for when in {one.when for source in SOURCES for group in source.groups for one in (group, *group.rules)}:
        at = values
        for key in filter(None, when.split(".")):
            assert key in at, when
            at = at[key]


def alerts(**settings: str) -> dict[str, dict[str, Any]]:
    """The alerts with some values, by name."""
    pairs = dict(ALONE) | {path.replace("__", "."): value for path, value in settings.items()}
    found = rules.rendered(render.objects(Request(CHART, settings=tuple(pairs.items()))))
    return {
        rule["alert"]: rule for file in found.values() for group in file for rule in group["rules"] if "alert" in rule
    }


def test_an_alert_can_be_switched_off_and_its_neighbours_stay() -> None:
    found = alerts(rules__alerts="""{"KubeJobFailed": {"enabled": false}}""")
    assert "KubeJobFailed" not in found
    assert "KubeJobNotCompleted" in found


def test_an_alert_can_have_another_duration_severity_and_labels() -> None:
    changed = """{"KubeJobFailed": {"for": "1h", "severity": "critical", "labels": {"team": "shop"}}}"""
    rule = alerts(rules__alerts=changed)["KubeJobFailed"]
    assert rule["for"] == "1h"
    assert rule["labels"] == {"severity": "critical", "team": "shop"}


def test_a_group_can_be_switched_off() -> None:
    found = alerts(rules__groups='{"kubernetes-apps": false}')
    assert "KubeJobFailed" not in found
    assert "KubeCPUOvercommit" in found


def test_nothing_is_missed_that_is_not_collected() -> None:
    assert "KubeletDown" not in alerts(scrapes__kubelet__enabled="false")
    assert "KubeSchedulerDown" not in alerts(scrapes__kubeScheduler="false")


def test_a_threshold_reaches_the_expression_and_the_text() -> None:
    rule = alerts(rules__thresholds='{"jobDuration": "30m"}')["KubeJobNotCompleted"]
    assert rule["expr"].rstrip().endswith("> 30m")
    many = alerts(rules__thresholds='{"etcdFragmentationFrom": 2000000000}')["etcdDatabaseHighFragmentationRatio"]
    assert "2000000000" in many["expr"]


def test_runbooks_may_be_elsewhere() -> None:
    found = alerts(rules__runbookUrl='"https://wiki.example.org/{alert}?from=alert"')
    assert found["KubeJobFailed"]["annotations"]["runbook_url"] == "https://wiki.example.org/KubeJobFailed?from=alert"


def test_nothing_is_left_of_the_sources_own_words() -> None:
    assert not re.search(r"\$\{|\bwhen: |thresholds:", yaml.safe_dump(groups()))


OWN = '{"shop": {"groups": [{"name": "shop", "rules": [%s]}]}}'


def test_rules_of_the_user_come_beside_ours() -> None:
    own = OWN % '{"alert": "ShopClosed", "expr": "absent(up{job=\\"shop\\"})"}'
    assert "ShopClosed" in alerts(rules__additional=own)


def test_a_broken_expression_of_the_user_is_refused_and_named() -> None:
    own = yaml.safe_load(OWN % '{"alert": "ShopClosed", "expr": "sum(by"}')
    with pytest.raises(ChartError) as refused:
        rules.refuse_broken({"kube-prometheus": {"rules": {"additional": own}}})
    (complaint,) = refused.value.context
    assert complaint.startswith("shop: ")
    assert "ShopClosed" in complaint
    assert "parse error" in complaint


@pytest.mark.parametrize("values", [{}, {"kube-prometheus": None}, {"kube-prometheus": {"rules": {"additional": [1]}}}])
def test_values_without_rules_of_the_user_are_left_to_the_schema(values: dict[str, Any]) -> None:
    rules.refuse_broken(values)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("rules.thresholds.jobDuratoin", '"1h"', "jobDuratoin"),
        ("rules.thresholds.jobDuration", "12", "jobDuration"),
        ("rules.thresholds.jobDuration", '"12 hours"', "jobDuration"),
        ("rules.thresholds.cpuThrottling", "0.25", "cpuThrottling"),
        ("rules.thresholds.cpuThrottling", '"25%"', "cpuThrottling"),
        ("rules.thresholds.nodeReadinessChanges", "2.5", "nodeReadinessChanges"),
        ("rules.alerts.KubeJobFaild", "{}", "KubeJobFaild"),
        ("rules.alerts.KubeJobFailed", '{"for": 900}', "KubeJobFailed/for"),
        ("rules.alerts.KubeAPIErrorBudgetBurn", '{"severity": "info"}', "severity"),
        ("rules.groups.kubernetes-app", "false", "kubernetes-app"),
        ("rules.additional", OWN % '{"alert": "ShopClosed"}', "expr"),
        ("rules.additional", OWN % '{"alert": "ShopClosed", "record": "a:b:c", "expr": "1"}', "oneOf"),
        ("rules.runbookUrl", '"https://wiki.example.org/"', "runbookUrl"),
    ],
)
def test_a_value_that_means_nothing_is_refused_and_named(path: str, value: str, complaint: str) -> None:
    with pytest.raises(ChartError) as refused:
        render.render(Request(CHART, settings=((path, value),)))
    assert complaint in "\n".join(refused.value.context)


def test_a_file_of_rules_with_an_unknown_word_or_threshold_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "files" / "rules"
    directory.mkdir(parents=True)
    (directory / "a.yaml").write_text("groups: [{name: a, rules: [{record: b, expr: 'c > ${d}'}]}]", encoding="utf-8")
    with pytest.raises(ChartError, match="not both declared and used: d"):
        rules.load(tmp_path)
    (directory / "a.yaml").write_text("groups: [{name: a, rules: [{record: b, expression: c}]}]", encoding="utf-8")
    with pytest.raises(ChartError, match="is no file of rules"):
        rules.load(tmp_path)
