"""Alerting and recording rules: the files they are written in, and the values that come from them.

A file of charts/kube-prometheus/files/rules holds Prometheus' rule groups. `${name}` in it stands for a threshold, which
the file declares beside the groups and which users change as `rules.thresholds.name`. The chart's template fills them in.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from maas import process
from maas.bundle import tools
from maas.errors import ChartError
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Unit = Literal["count", "number", "percent", "ratio", "bytes", "duration", "regex"]

_UNITS: Mapping[Unit, Mapping[str, Any]] = {
    "count": {"type": "integer", "minimum": 0},
    "number": {"type": "number", "minimum": 0},
    # From 1 on, so that a ratio given for a percentage is an error and not an alarm that never ends.
    "percent": {"type": "number", "minimum": 1, "maximum": 100},
    "ratio": {"type": "number", "minimum": 0, "maximum": 1},
    "bytes": {"type": "integer", "minimum": 1},
    "duration": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$"},
    # It is put between the quotes of a selector.
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
    """A number, time or expression in a file's rules that users can change."""

    description: str
    unit: Unit
    default: int | float | str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def schema_node(self) -> dict[str, Any]:
        """The node of the values' schema for it."""
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
    """The texts of an alert; the template adds the address of its runbook."""

    summary: str
    description: str


class AlertLabels(BaseModel):
    """The labels of an alert; others than the severity are free."""

    model_config = ConfigDict(extra="allow", frozen=True)
    severity: Literal["critical", "warning", "info", "none"]


class Alert(_Rule):
    """An alerting rule. Several may have one name, when they differ in severity."""

    alert: str
    duration: Annotated[str | None, Field(alias="for")] = None
    keep_firing_for: str | None = None
    labels: AlertLabels
    annotations: Annotations


class Group(_Strict):
    """A group of rules.

    Attributes:
        name: Its name, which is the community's where there is one.
        when: A path in the chart's values; without a true value there the group is left out. A rule may have one, too.
        interval: How often it is evaluated, if not as often as Prometheus' default.
        rules: The rules, in the order of evaluation.
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
    """One file of rules, with its name as `name`."""

    name: str
    thresholds: dict[str, Threshold] = {}
    groups: list[Group]


def load(chart: Path) -> list[RuleFile]:
    """The rule files of a chart, in the order of their names.

    Raises:
        ChartError: A file is not of the form that is described here, or uses a threshold that it does not declare.
    """
    return [_read(path) for path in sorted((chart / "files" / "rules").glob("*.yaml"))]


def _read(path: Path) -> RuleFile:
    text = path.read_text(encoding="utf-8")
    try:
        (content,) = render.parse(text)
        file = RuleFile.model_validate({"name": path.stem, **content})
    except (ValueError, yaml.YAMLError, TypeError) as error:
        raise ChartError(f"{path.name} is no file of rules", context=str(error).splitlines()) from error
    used = set(_PLACEHOLDER.findall(text))
    if used != set(file.thresholds):
        differing = sorted(used ^ set(file.thresholds))
        raise ChartError(f"{path.name}: thresholds that are not both declared and used: {', '.join(differing)}")
    return file


def value_properties(chart: Path) -> dict[str, dict[str, Any]]:
    """The nodes `thresholds`, `groups` and `alerts` of a chart's values, in the form of values.schema.yaml.

    Raises:
        ChartError: A file is malformed, or two declare the same threshold or group.
    """
    thresholds: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {}
    severities: dict[str, set[str]] = {}
    for file in load(chart):
        for name, threshold in file.thresholds.items():
            _once(name, thresholds, file=file)
            thresholds[name] = threshold.schema_node
        for group in file.groups:
            _once(group.name, groups, file=file)
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
        "groups": {"description": "Which groups of rules there are.", "properties": groups},
        "thresholds": {"description": "From which numbers and times on alerts fire.", "properties": thresholds},
        "alerts": {
            "description": "Changes to single alerts, by their name.",
            "type": "object",
            "properties": overrides,
            "additionalProperties": False,
            "default": {},
        },
    }


def _once(name: str, known: Mapping[str, Any], *, file: RuleFile) -> None:
    if name in known:
        raise ChartError(f"{file.name}.yaml declares {name}, and so does another file of rules")


def rendered(objects: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rule groups among rendered objects, by the name of their PrometheusRule."""
    return {
        entry["metadata"]["name"]: entry["spec"]["groups"] for entry in objects if entry["kind"] == "PrometheusRule"
    }


def broken(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What promtool has against some rules, by the name of what holds them.

    Args:
        files: The contents of files of rules (maps with `groups`), by a name for them.

    Raises:
        BundleError: promtool cannot be had.
    """
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch) / f"{number}.yaml" for number, name in enumerate(files)}
        for name, path in paths.items():
            path.write_text(yaml.safe_dump(files[name]), encoding="utf-8")
        if not paths or not _complaints(*paths.values()):
            return
        for name, path in paths.items():
            if said := _complaints(path):
                yield name, "; ".join(said).replace(f"{path}: ", "")


def refuse_broken(values: Mapping[str, Any]) -> None:
    """Refuse rules of the user that are none, where promtool is at hand to tell.

    Where it is not, the operator refuses them in the cluster, and the alert PrometheusOperatorRejectedResources says so.

    Args:
        values: The umbrella's values.

    Raises:
        ChartError: promtool has something against them.
    """
    found: Any = values
    for key in ("kube-prometheus", "rules", "additional"):
        found = found.get(key) if isinstance(found, dict) else None
    # What is no map at all is left to the schema.
    if not isinstance(found, dict) or not found or tools.at_hand("promtool") is None:
        return
    if faults := [f"{name}: {complaint}" for name, complaint in broken(found)]:
        raise ChartError(
            "rules of your values cannot be evaluated",
            context=faults,
            hint="correct the expression below kube-prometheus.rules.additional",
        )


def _complaints(*files: Path) -> list[str]:
    argv: list[str | Path] = [tools.tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *files]
    done = process.run(argv, check=False, timeout=60)
    if done.returncode == 0:
        return []
    said = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    return [line for line in said if line and not line.startswith(("Checking ", "FAILED", "SUCCESS"))] or ["is refused"]
