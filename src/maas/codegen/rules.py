"""Alerting and recording rules: their files, and the chart values that are derived from them.

A file of charts/kube-prometheus/files/rules contains rule groups of Prometheus. `${name}` in an expression is a threshold
that the file declares and that users change with `rules.thresholds.name`. The chart's template replaces it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from maas.errors import ChartError
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Unit = Literal["count", "number", "percent", "ratio", "bytes", "duration", "regex"]

_UNITS: Mapping[Unit, Mapping[str, Any]] = {
    "count": {"type": "integer", "minimum": 0},
    "number": {"type": "number", "minimum": 0},
    # At least 1, so that a ratio instead of a percentage is an error and not an alert that always fires.
    "percent": {"type": "number", "minimum": 1, "maximum": 100},
    "ratio": {"type": "number", "minimum": 0, "maximum": 1},
    "bytes": {"type": "integer", "minimum": 1},
    "duration": {"$ref": "#/$defs/duration"},
    # It is inserted between the quotes of a matcher.
    "regex": {"type": "string", "pattern": '^[^"\\\\\\n]*$'},
}
_MEANING: Mapping[Unit, str] = {
    "count": "a whole number",
    "number": "a number",
    "percent": "percent",
    "ratio": "a ratio from 0 to 1",
    "bytes": "bytes",
    "duration": "a duration",
    "regex": "a regular expression",
}

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Threshold(_Strict):
    """A number, duration or regular expression of a rule that users can change."""

    description: str
    unit: Unit
    default: int | float | str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def schema_node(self) -> dict[str, Any]:
        """Its node in the schema of the chart values."""
        node: dict[str, Any] = {
            "description": f"{self.description.rstrip('.')}; {_MEANING[self.unit]}.",
            **_UNITS[self.unit],
            "default": self.default,
        }
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        return node | {key: limit for key, limit in limits.items() if limit is not None}


class _Rule(_Strict):
    expr: str
    when: str = ""


class Record(_Rule):
    """A recording rule."""

    record: str
    labels: dict[str, str] = {}


class Annotations(_Strict):
    """The texts of an alert; the template adds the URL of its runbook."""

    summary: str
    description: str


class AlertLabels(BaseModel):
    """The labels of an alert; any labels besides the severity are allowed."""

    model_config = ConfigDict(extra="allow", frozen=True)
    severity: Literal["critical", "warning", "info", "none"]


class Alert(_Rule):
    """An alerting rule. Several rules may share a name if their severities differ."""

    alert: str
    duration: Annotated[str | None, Field(alias="for")] = None
    keep_firing_for: str | None = None
    labels: AlertLabels
    annotations: Annotations


class Group(_Strict):
    """A group of rules.

    Attributes:
        name: Its name, the upstream one if it exists.
        when: A path in the chart values, or PATH=TEXT; unless the value is true, or this text, the group is not rendered.
            Rules may have it, too.
        interval: Evaluation interval; None for the default of Prometheus.
        rules: The rules, in order of evaluation.
    """

    name: str
    when: str = ""
    interval: str | None = None
    rules: list[Alert | Record]

    @property
    def alerts(self) -> list[Alert]:
        """Its alerting rules."""
        return [rule for rule in self.rules if isinstance(rule, Alert)]

    @property
    def records(self) -> list[Record]:
        """Its recording rules."""
        return [rule for rule in self.rules if isinstance(rule, Record)]


class RuleFile(_Strict):
    """A file of rules; `name` is its name without suffix."""

    name: str
    thresholds: dict[str, Threshold] = {}
    groups: list[Group]


def load(chart: Path) -> list[RuleFile]:
    """Read the rule files of a chart, in order of their names.

    Raises:
        ChartError: A file is not valid, or the thresholds that it declares and uses differ.
    """
    return [_read(path) for path in sorted((chart / "files" / "rules").glob("*.yaml"))]


def _read(path: Path) -> RuleFile:
    text = path.read_text(encoding="utf-8")
    try:
        (content,) = render.parse(text)
        file = RuleFile.model_validate({"name": path.stem, **content})
    except (ValueError, yaml.YAMLError, TypeError) as error:
        raise ChartError(f"{path.name} is not a valid file of rules", context=str(error).splitlines()) from error
    used = set(_PLACEHOLDER.findall(text))
    if used != set(file.thresholds):
        differing = sorted(used ^ set(file.thresholds))
        raise ChartError(f"{path.name}: thresholds must be both declared and used: {', '.join(differing)}")
    return file


def value_properties(chart: Path) -> dict[str, dict[str, Any]]:
    """Return the nodes `thresholds`, `groups` and `alerts` of a chart's values, in the format of values.schema.yaml.

    Raises:
        ChartError: A file is not valid, or two files declare the same threshold or group.
    """
    thresholds: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {}
    severities: dict[str, set[str]] = {}
    for file in load(chart):
        for name, threshold in file.thresholds.items():
            _require_unique(name, thresholds, file=file)
            thresholds[name] = threshold.schema_node
        for group in file.groups:
            _require_unique(group.name, groups, file=file)
            counts = [(len(group.alerts), "alert"), (len(group.records), "recording rule")]
            content = " and ".join(f"{count} {noun}{'s' * (count > 1)}" for count, noun in counts if count)
            groups[group.name] = {
                "description": f"{content[:1].upper()}{content[1:]}.",
                "type": "boolean",
                "default": True,
            }
            for alert in group.alerts:
                severities.setdefault(alert.alert, set()).add(alert.labels.severity)
    overrides = {
        name: {"$ref": f"#/$defs/{'alert' if len(several) == 1 else 'alertOfSeveralSeverities'}"}
        for name, several in sorted(severities.items())
    }
    return {
        "groups": {"description": "Groups of rules to install.", "properties": groups},
        "thresholds": {"description": "Thresholds of alerts.", "properties": thresholds},
        "alerts": {
            "description": "Changes to single alerts, by name.",
            "type": "object",
            "properties": overrides,
            "additionalProperties": False,
            "default": {},
        },
    }


def _require_unique(name: str, known: Mapping[str, Any], *, file: RuleFile) -> None:
    if name in known:
        raise ChartError(f"{file.name}.yaml declares {name}, which another file of rules declares, too")


def rendered(objects: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rule groups of rendered objects, by name of the PrometheusRule."""
    return {
        entry["metadata"]["name"]: entry["spec"]["groups"] for entry in objects if entry["kind"] == "PrometheusRule"
    }
