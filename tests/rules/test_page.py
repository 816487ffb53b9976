"""docs/alerts.md lists every alert with its meaning, its duration and the values that change it."""

from __future__ import annotations

import re

from tests.support.rule_tests import CHART, RUNBOOKS

from maas.codegen import alerts, rules

PAGE = alerts.document(rules.load(CHART))


def row(name: str) -> list[str]:
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| [{name}]"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_severity_duration_summary_and_thresholds_with_units() -> None:
    link, severity, after, says, thresholds = row("CalicoDataplaneSlow")
    assert link == "[CalicoDataplaneSlow](runbooks/CalicoDataplaneSlow.md)"
    assert (severity, after) == ("warning", "15m")
    assert says == "Calico is slow to program the network of a node."
    assert thresholds == "`calicoApplyTime` (10s)"
    assert row("NodeMemoryHighUtilization")[-1] == "`nodeMemoryPercent` (90 %)"
    assert row("OpenVpnPeerFlapping")[2] == "0s"


def test_every_threshold_of_an_alert_is_on_the_page() -> None:
    recorded_only = {"nodePhysicalInterfaces"}
    declared = {name for file in rules.load(CHART) for name in file.thresholds}
    assert declared - set(re.findall(r"`(\w+)` \(", PAGE)) == recorded_only


def test_every_link_leads_to_a_runbook() -> None:
    linked = set(re.findall(r"\]\((runbooks/\w+\.md)\)", PAGE))
    assert {link for link in linked if not (RUNBOOKS.parent / link).is_file()} == set()


def test_records_are_listed_with_their_group() -> None:
    assert "| `instance:node_num_cpu:sum` | node-exporter.rules |" in PAGE
