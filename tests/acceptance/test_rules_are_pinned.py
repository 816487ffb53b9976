"""Mutation of the rules: each threshold and each duration is changed a little, and a test must fail."""

from __future__ import annotations

import copy
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.rule_tests import CHART, FILES, parsed

from maas import process
from maas.bundle import tools
from maas.codegen import rules
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# Changed thresholds for which no test fails, with the reason.
UNDETECTED: dict[str, str] = {}


@dataclass(frozen=True)
class Mutant:
    """A rule file with one change."""

    file: str
    change: str
    content: dict[str, Any]


def seconds(duration: str) -> float:
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h|d|w)", duration))


def moved(duration: str, factor: float) -> str:
    """Return a duration a tenth longer or shorter, and at least a minute if it has two or more."""
    total = seconds(duration)
    step = max(total * abs(factor - 1), 60 if total >= 120 else 0)
    return f"{round(1000 * (total + (step if factor > 1 else -step)))}ms"


def expanded(source: rules.RuleFile, values: dict[str, Any]) -> dict[str, Any]:
    """Return a rule file as the chart renders it, without annotations."""
    text = (CHART / "files" / "rules" / f"{source.name}.yaml").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("${" + name + "}", str(value))
    groups = render.parse(text)[0]["groups"]
    for group in groups:
        group.pop("when", None)
        for rule in group["rules"]:
            rule.pop("when", None)
            rule.pop("annotations", None)
    return {"groups": groups}


def other_values(threshold: rules.Threshold) -> list[Any]:
    """Return values a little above and below the default of a threshold."""
    default = threshold.default
    if threshold.unit == "regex":
        return [".*", "nothing-is-called-that"]
    if threshold.unit == "duration":
        return [moved(str(default), factor) for factor in (0.9, 1.1)]
    if threshold.unit == "count":
        return [max(int(default) - 1, 0), int(default) + 1]
    return [float(default) * 0.9, float(default) * 1.1]


def mutants() -> Iterator[Mutant]:
    for source in rules.load(CHART):
        defaults = {name: threshold.default for name, threshold in source.thresholds.items()}
        for name, threshold in source.thresholds.items():
            for value in other_values(threshold):
                if value != threshold.default:
                    yield Mutant(source.name, f"{name} = {value}", expanded(source, defaults | {name: value}))
        whole = expanded(source, defaults)
        for at, group in enumerate(whole["groups"]):
            for number, rule in enumerate(group["rules"]):
                for factor in (0.9, 1.1) if "for" in rule else ():
                    content = copy.deepcopy(whole)
                    duration = moved(rule["for"], factor)
                    content["groups"][at]["rules"][number]["for"] = duration
                    yield Mutant(source.name, f"{rule['alert']} {rule['labels']}: for {duration}", content)


@lru_cache
def by_default(file: str) -> dict[str, Any]:
    """Return a rule file with the defaults of its thresholds."""
    (source,) = (source for source in rules.load(CHART) if source.name == file)
    return expanded(source, {name: threshold.default for name, threshold in source.thresholds.items()})


def changed(mutant: Mutant) -> set[str]:
    """Return the alerts that differ from the defaults."""
    pairs = zip(mutant.content["groups"], by_default(mutant.file)["groups"], strict=True)
    rules_of_both = (pair for new, old in pairs for pair in zip(new["rules"], old["rules"], strict=True))
    return {new["alert"] for new, old in rules_of_both if new != old and "alert" in new}


def about(file: Path, alerts: set[str]) -> str:
    """Return a test file without the tests of other alerts, and otherwise unchanged."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    document = yaml.compose(text, Loader=yaml.CSafeLoader)
    assert isinstance(document, yaml.MappingNode)
    nodes = next(value.value for key, value in document.value if key.value == "tests")
    starts = [node.start_mark.line for node in nodes]
    kept = lines[: starts[0]]
    for test, start, end in zip(parsed(file)["tests"], starts, [*starts[1:], len(lines)], strict=True):
        if alerts & {ask["alertname"] for ask in test.get("alert_rule_test", [])}:
            kept += lines[start:end]
    return "".join(kept)


def detected(mutant: Mutant, scratch: Path) -> bool:
    """Whether a test fails for a changed rule file."""
    scratch.mkdir()
    alerts = changed(mutant)
    for test in FILES:
        names = [name.removesuffix(".yaml") for name in parsed(test)["rule_files"]]
        if mutant.file not in names:
            continue
        for name in names:
            content = mutant.content if name == mutant.file else by_default(name)
            # JSON is YAML, and faster to write.
            (scratch / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
        file = scratch / test.name
        # The tests of the changed alerts fail for nearly every change, in a fraction of the time.
        for text in (about(test, alerts), test.read_text(encoding="utf-8")):
            file.write_text(text, encoding="utf-8")
            done = process.run([tools.tool("promtool"), "test", "rules", file], check=False, timeout=300)
            if done.returncode != 0:
                return True
    return False


@pytest.mark.timeout(3600)
def test_a_test_fails_for_every_changed_threshold_and_duration(tmp_path: Path) -> None:
    found = list(mutants())
    same = [Mutant(source.name, "nothing", by_default(source.name)) for source in rules.load(CHART)]
    with ThreadPoolExecutor(2) as pool:
        complaints = list(pool.map(lambda mutant: detected(mutant, tmp_path / mutant.file), same))
        assert complaints == [False] * len(same), "the tests fail without a change"
        results = list(pool.map(lambda entry: detected(entry[1], tmp_path / str(entry[0])), enumerate(found)))
    survivors = [f"{mutant.file}: {mutant.change}" for mutant, seen in zip(found, results, strict=True) if not seen]
    print(f"{len(found)} changes of thresholds and durations, {len(found) - len(survivors)} detected")
    print(*survivors, sep="\n")
    assert [line for line in survivors if not any(name in line for name in UNDETECTED)] == []
