"""Every alert fires when it should and only then, every record has the right value, and every text is usable."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support import promql
from tests.support.rule_tests import ALONE, CHART, FILES, HERE, RUNBOOKS, cases, groups, parsed, run

from maas.codegen import rules
from maas.errors import ChartError
from maas.helm import alerting_rules, render
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = rules.load(CHART)
HEADINGS = ["Confirm", "Fix", "Silence"]
PAGES = sorted(set(RUNBOOKS.glob("*.md")) - {RUNBOOKS / "README.md"})
VALUES = re.findall(r"^\| `([^`]+)`", (RUNBOOKS.parent / "values.md").read_text(encoding="utf-8"), flags=re.MULTILINE)


def rendered(kind: str) -> Iterator[dict[str, Any]]:
    """Yield the chart's rules of a kind, `alert` or `record`."""
    for found in groups().values():
        for group in found:
            yield from (rule for rule in group["rules"] if kind in rule)


def names(file: str) -> set[str]:
    return set((HERE / file).read_text(encoding="utf-8").split())


def test_rules_behave_as_their_tests_say(file: Path, tmp_path: Path) -> None:
    said = run(file, tmp_path)
    assert not said, said


def test_promtool_accepts_the_rules() -> None:
    assert list(alerting_rules.broken({name: {"groups": found} for name, found in groups().items()})) == []


def test_every_file_of_rules_has_tests() -> None:
    assert {name.removesuffix(".yaml") for file in FILES for name in parsed(file)["rule_files"]} == groups().keys()


def test_the_names_of_the_community_are_kept() -> None:
    assert names("alert-names.txt") <= {rule["alert"] for rule in rendered("alert")}
    assert names("record-names.txt") <= {rule["record"] for rule in rendered("record")}


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    wanted = {(rule["alert"], rule["labels"]["severity"]) for rule in rendered("alert")}
    fired = {(case.alert, labels.get("severity")) for case in cases() for labels in case.fires}
    assert wanted - fired == set(), "no case in which it fires"
    # A case in which one severity fires and another does not counts as a quiet case of the other.
    quiet = {
        (name, severity)
        for case in cases()
        for name, severity in wanted
        if name == case.alert and severity not in {labels.get("severity") for labels in case.fires}
    }
    assert wanted - quiet == {("Watchdog", "none")}, "no case in which it does not fire"
    assert {case.alert for case in cases()} <= {name for name, _ in wanted}, "cases for alerts that do not exist"


def test_every_record_has_a_case() -> None:
    asked = " ".join(
        question["expr"]
        for file in FILES
        for test in parsed(file)["tests"]
        for question in test.get("promql_expr_test", [])
        if question.get("exp_samples")
    )
    checked = set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", asked))
    assert {rule["record"] for rule in rendered("record")} - checked == set()


def test_no_rule_fails_while_an_exporter_is_replaced() -> None:
    found = [rule for kind in ("alert", "record") for rule in rendered(kind) if promql.ambiguous(rule["expr"])]
    assert found == []


def test_records_are_evaluated_before_the_rules_that_read_them(file: Path) -> None:
    """promtool evaluates groups in any order without `group_eval_order`, which makes cases near a threshold flaky."""
    tested = parsed(file)
    order = tested.get("group_eval_order", [])
    found = [group for name in tested["rule_files"] for group in groups()[name.removesuffix(".yaml")]]
    recorded = {rule["record"]: group["name"] for group in found for rule in group["rules"] if "record" in rule}
    for group in found:
        read = {recorded.get(name) for rule in group["rules"] for name in promql.metrics(rule["expr"])}
        before = read - {None, group["name"]}
        assert not before or before <= set(order[: order.index(group["name"])])


def test_texts_use_only_labels_of_their_alert() -> None:
    labels: dict[str, list[set[str]]] = {}
    for case in cases():
        labels.setdefault(case.alert, []).extend(set(fired) for fired in case.fires)
    for rule in rendered("alert"):
        texts = rule["annotations"]["summary"] + rule["annotations"]["description"]
        # A label tested by `with`, or for which `or` gives another, may be missing.
        certain = set(re.findall(r"\$labels\.(\w+)", texts)) - set(re.findall(r"(?:with|or) \$labels\.(\w+)", texts))
        # Prometheus adds the rule's own labels only after it has expanded the texts.
        for of_case in labels[rule["alert"]]:
            having = of_case - rule["labels"].keys()
            assert certain <= having, f"{rule['alert']}: {certain - having}"


def test_every_alert_has_a_summary_a_description_and_a_runbook() -> None:
    for rule in rendered("alert"):
        annotations = rule["annotations"]
        assert annotations["summary"].endswith("."), rule["alert"]
        assert "$" not in annotations["summary"], rule["alert"]
        assert annotations["description"].rstrip().endswith("."), rule["alert"]
        assert annotations["runbook_url"].endswith(f"/docs/runbooks/{rule['alert']}.md")
        assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}


def test_durations_in_descriptions_are_those_of_the_rules() -> None:
    """A description that says "for more than 15 minutes" belongs to a rule with `for: 15m`."""
    for rule in rendered("alert"):
        for number, unit in re.findall(r"more than (\d+) (minute|hour|day)s?\b", rule["annotations"]["description"]):
            assert f"{number}{unit[0]}" == rule.get("for"), rule["alert"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {page.stem for page in PAGES} == {rule["alert"] for rule in rendered("alert")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_runbook_says_how_to_confirm_to_fix_and_to_silence(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# {page.stem}"
    assert lines[2], "the first paragraph describes the alert"
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS
    assert len(" ".join(lines).split()) >= 50
    assert max(map(len, lines)) <= 120


def test_the_index_of_runbooks_lists_the_alerts_of_every_file_of_rules() -> None:
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### .*\(`(\S+)\.yaml`\)\n((?:(?!^#).*\n)*)", index, flags=re.MULTILINE)
    listed = {name: re.findall(r"\[(\w+)\]\(\1\.md\)", links) for name, links in sections}
    alerts_of = {
        file.name: list(dict.fromkeys(alert.alert for group in file.groups for alert in group.alerts))
        for file in SOURCES
    }
    assert listed == {name: found for name, found in alerts_of.items() if found}


def test_a_runbook_names_the_thresholds_of_its_alert() -> None:
    for alert in (alert for source in SOURCES for group in source.groups for alert in group.alerts):
        page = (RUNBOOKS / f"{alert.alert}.md").read_text(encoding="utf-8")
        thresholds = set(re.findall(r"\$\{(\w+)\}", alert.expr))
        assert {name for name in thresholds if not re.search(rf"\b{name}\b", page)} == set(), alert.alert


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_runbook_names_only_alerts_and_values_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {rule["alert"] for rule in rendered("alert")}
    assert set(re.findall(r"\]\((\w+)\.md\)", text)) | set(re.findall(r"rules\.alerts\.(\w+)", text)) <= known
    for path in re.findall(r"`((?:calico|global|kube-prometheus|restaurant)\.[\w.]+)", text):
        # A path in a value that is free-form, such as rules.alerts.NAME.for, is longer than the value's.
        assert any(f"{path}.".startswith(f"{value}.") or value.startswith(f"{path}.") for value in VALUES), path


def test_the_condition_of_a_group_is_a_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for when in {one.when for source in SOURCES for group in source.groups for one in (group, *group.rules)}:
        at = values
        for key in filter(None, when.partition("=")[0].split(".")):
            assert key in at, when
            at = at[key]


def alerts(**settings: str) -> dict[str, dict[str, Any]]:
    """Return the alerts that the chart renders with some values, by name."""
    pairs = dict(ALONE) | {path.replace("__", "."): value for path, value in settings.items()}
    found = rules.rendered(render.objects(Request(CHART, settings=tuple(pairs.items()))))
    return {
        rule["alert"]: rule for file in found.values() for group in file for rule in group["rules"] if "alert" in rule
    }


def test_an_alert_can_be_disabled_alone() -> None:
    found = alerts(rules__alerts="""{"KubeJobFailed": {"enabled": false}}""")
    assert "KubeJobFailed" not in found
    assert "KubeJobNotCompleted" in found


def test_an_alert_can_have_another_duration_severity_and_labels() -> None:
    changed = """{"KubeJobFailed": {"for": "1h", "severity": "critical", "labels": {"team": "shop"}}}"""
    rule = alerts(rules__alerts=changed)["KubeJobFailed"]
    assert rule["for"] == "1h"
    assert rule["labels"] == {"severity": "critical", "team": "shop"}


def test_a_group_can_be_disabled() -> None:
    found = alerts(rules__groups='{"kubernetes-apps": false}')
    assert "KubeJobFailed" not in found
    assert "KubeCPUOvercommit" in found


def test_alerts_on_absent_targets_need_the_scrape() -> None:
    assert "KubeletDown" not in alerts(scrapes__kubelet__enabled="false")
    assert "KubeSchedulerDown" not in alerts(scrapes__kubeScheduler="false")


def test_a_threshold_reaches_the_expression_and_the_text() -> None:
    rule = alerts(rules__thresholds='{"jobDuration": "30m"}')["KubeJobNotCompleted"]
    assert rule["expr"].rstrip().endswith("> 30m")
    many = alerts(rules__thresholds='{"etcdFragmentationFrom": 2000000000}')["etcdDatabaseHighFragmentationRatio"]
    assert "2000000000" in many["expr"]


def test_runbooks_can_be_hosted_elsewhere() -> None:
    found = alerts(rules__runbookUrl='"https://wiki.example.org/{alert}?from=alert"')
    assert found["KubeJobFailed"]["annotations"]["runbook_url"] == "https://wiki.example.org/KubeJobFailed?from=alert"


def test_the_syntax_of_the_sources_is_not_rendered() -> None:
    assert not re.search(r"\$\{|\bwhen: |thresholds:", yaml.safe_dump(groups()))


OWN = '{"shop": {"groups": [{"name": "shop", "rules": [%s]}]}}'


def test_rules_of_the_user_are_added() -> None:
    own = OWN % '{"alert": "ShopClosed", "expr": "absent(up{job=\\"shop\\"})"}'
    assert "ShopClosed" in alerts(rules__additional=own)


def test_an_invalid_expression_of_the_user_is_rejected_by_name() -> None:
    own = yaml.safe_load(OWN % '{"alert": "ShopClosed", "expr": "sum(by"}')
    with pytest.raises(ChartError) as refused:
        alerting_rules.refuse_broken({"kube-prometheus": {"rules": {"additional": own}}})
    (complaint,) = refused.value.context
    assert complaint.startswith("shop: ")
    assert "ShopClosed" in complaint
    assert "parse error" in complaint


@pytest.mark.parametrize("values", [{}, {"kube-prometheus": None}, {"kube-prometheus": {"rules": {"additional": [1]}}}])
def test_values_without_valid_rules_of_the_user_are_left_to_the_schema(values: dict[str, Any]) -> None:
    alerting_rules.refuse_broken(values)


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
def test_an_invalid_value_is_rejected_by_name(path: str, value: str, complaint: str) -> None:
    with pytest.raises(ChartError) as refused:
        render.render(Request(CHART, settings=((path, value),)))
    assert complaint in "\n".join(refused.value.context)


def test_a_file_of_rules_with_an_unknown_key_or_threshold_is_rejected(tmp_path: Path) -> None:
    directory = tmp_path / "files" / "rules"
    directory.mkdir(parents=True)
    (directory / "a.yaml").write_text("groups: [{name: a, rules: [{record: b, expr: 'c > ${d}'}]}]", encoding="utf-8")
    with pytest.raises(ChartError, match="must be both declared and used: d"):
        rules.load(tmp_path)
    (directory / "a.yaml").write_text("groups: [{name: a, rules: [{record: b, expression: c}]}]", encoding="utf-8")
    with pytest.raises(ChartError, match="is not a valid file of rules"):
        rules.load(tmp_path)
