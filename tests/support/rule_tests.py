"""The tests of alerting and recording rules: their files, and promtool on one of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from maas import paths, process
from maas.bundle import tools
from maas.codegen import rules
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from pathlib import Path

HERE = paths.content() / "tests" / "rules"
FILES = sorted(HERE.glob("*_test.yaml"))
CHART = render.umbrella() / "charts" / "kube-prometheus"
ALONE = (
    *(("rules.enabled", "true"), ("probes.enabled", "true"), ("snmp.enabled", "true")),
    ("slos.enabled", "true"),
    (
        "slos.objectives",
        '{"shop": {"objective": 99, "good": "shop_requests_total{code!~\\"5..\\"}", "all": "shop_requests_total"}}',
    ),
    *(("dashboards.enabled", "false"), ("dashboards.engine", '"perses"')),
)
"""With every rule, and without the dashboards, which are most of the chart's text and not tested here."""
RUNBOOKS = paths.content() / "docs" / "runbooks"


@lru_cache
def groups() -> dict[str, list[dict[str, Any]]]:
    """Return the rule groups of the chart with everything enabled, by file, as Prometheus loads them."""
    return rules.rendered(render.objects(Request(CHART, settings=ALONE)))


@dataclass(frozen=True)
class Case:
    """A case of a test file: an alert, and the labels of the instances that are expected to fire."""

    alert: str
    fires: tuple[dict[str, str], ...]


@lru_cache
def parsed(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = dict(render.parse(file.read_text(encoding="utf-8"))[0])
    return found


def cases() -> list[Case]:
    """Return the cases of all test files."""
    return [
        Case(question["alertname"], tuple(fired["exp_labels"] for fired in question.get("exp_alerts", [])))
        for file in FILES
        for test in parsed(file)["tests"]
        for question in test.get("alert_rule_test", [])
    ]


def run(file: Path, scratch: Path) -> str:
    """Run promtool on a test file and return its complaints; a run that passed before is not repeated."""
    return run_text(file.read_text(encoding="utf-8"), parsed(file)["rule_files"], scratch)


def run_text(text: str, files: list[str], scratch: Path) -> str:
    """Run promtool on the text of a test file, which names some files of rules."""
    promtool = tools.tool("promtool")
    total = hashlib.sha256(str(promtool.parent.name).encode() + text.encode())
    for name in files:
        # Annotations are tested elsewhere; with them, promtool would require every text again in every case.
        bare = [
            {**group, "rules": [{k: v for k, v in rule.items() if k != "annotations"} for rule in group["rules"]]}
            for group in groups()[name.removesuffix(".yaml")]
        ]
        rendered = yaml.safe_dump({"groups": bare})
        (scratch / name).write_text(rendered, encoding="utf-8")
        total.update(rendered.encode())
    passed = paths.cache() / "rules" / total.hexdigest()
    if passed.is_file():
        return ""
    (scratch / "rules_test.yaml").write_text(text, encoding="utf-8")
    done = process.run([promtool, "test", "rules", scratch / "rules_test.yaml"], check=False, timeout=1500)
    if done.returncode != 0:
        return done.stdout + done.stderr
    passed.parent.mkdir(exist_ok=True)
    passed.touch()
    return ""
