"""Values files as every command takes them."""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import validators
from jsonschema.exceptions import best_match

from maas.bundle import tools
from maas.errors import ChartError, UsageError
from maas.files import write_private
from maas.helm import alerting_rules, render, values_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jsonschema.exceptions import ValidationError

_REPLICAS = "restaurant.database.postgresql.replicas"
_LAST = "values.json"
"""The values of the last run, in the state directory."""
_SHOWN = 12
_ABSENT = object()
_HINT = "nothing was changed; correct the values, then run the same command again"


@dataclass(frozen=True)
class Chosen:
    """The values for the chart of a cluster.

    Attributes:
        values: The merged values.
        source: Where they are from.
        changes: The keys whose value differs from that of the last run, without the values: they can be secrets.
    """

    values: dict[str, Any]
    source: str
    changes: tuple[str, ...] = ()

    def row(self) -> tuple[str, str, str] | None:
        """Return what the plan says about them; None if the chart has its defaults, as before."""
        if not self.values and not self.changes:
            return None
        shown = ", ".join(self.changes[:_SHOWN]) + (", ..." if len(self.changes) > _SHOWN else "")
        return "chart values", self.source, f"changes of the last run: {shown}" if shown else "as in the last run"


def choose(files: Sequence[Path], state: Path) -> Chosen:
    """Return the values in files, or without files those of the last run, so that such a run does not take them back.

    Args:
        files: Values files. An empty one returns to the defaults of the chart.
        state: The cluster's state directory, which need not exist yet.

    Raises:
        UsageError: A file cannot be read, or is not a YAML mapping.
        ChartError: The schema rejects the values, or a rule cannot be evaluated.
    """
    file = state / _LAST
    last: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if not files:
        _refuse(
            last or {},
            "the chart's schema rejects the values of the last run",
            f"nothing was changed; they are in {file}: correct a copy of it, and pass that with --values",
        )
        return Chosen(last or {}, "those of the last run, as there is no --values" if last else "the defaults")
    values = load(files)
    changes = () if last is None else tuple(sorted(_changes(last, values)))
    return Chosen(values, ", ".join(map(str, files)), changes)


def remember(state: Path, values: Mapping[str, Any]) -> None:
    """Store the values that the chart gets, for the next run."""
    write_private(state / _LAST, json.dumps(values, indent=1))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the keys of maps that differ."""
    for key in before.keys() | after.keys():
        old, new = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}"


def load(files: Sequence[Path]) -> dict[str, Any]:
    """Read and merge values files, and check them against the chart's schema, and the alerting rules in them.

    Raises:
        UsageError: A file cannot be read, or is not a YAML mapping.
        ChartError: The schema rejects the values, or a rule cannot be evaluated.
    """
    values = values_files.read(files)
    _refuse(values, "the chart's schema rejects the values", _HINT)
    return values


def _refuse(values: Mapping[str, Any], message: str, hint: str) -> None:
    if problems := _problems(values):
        raise ChartError(message, context=problems, hint=hint, code="InvalidValues")
    alerting_rules.refuse_broken(values)


def refuse_early(values: Mapping[str, Any]) -> bool:
    """Render the chart with values if Helm is in the cache. Returns whether it was; downloads and builds nothing.

    Raises:
        ChartError: The chart rejects the values.
    """
    if values and tools.cached("helm") is None:
        return False
    refuse_unrenderable(values)
    return True


def refuse_unrenderable(values: Mapping[str, Any]) -> None:
    """Render the chart with values as `bootstrap` installs it. Without values, it is known to render.

    Raises:
        ChartError: The chart rejects the values.
    """
    if not values:
        return
    with tempfile.TemporaryDirectory(prefix="maas-") as scratch:
        file = Path(scratch) / "values.json"
        file.write_text(json.dumps(values_files.merge({"calico": {"enabled": True}}, values)), encoding="utf-8")
        try:
            render.render_uncached(render.Request(render.umbrella(), values=(file,)))
        except ChartError as error:
            raise ChartError(
                "the chart rejects the values", context=error.context, hint=_HINT, code="InvalidValues"
            ) from error


def refuse_replicas(values: Mapping[str, Any], *, workers: int) -> None:
    """Refuse a database with more servers than nodes: each must be on a node of its own.

    Args:
        values: Values for the chart.
        workers: Number of workers; without any, the pods run on the only control plane.

    Raises:
        UsageError: The nodes are too few.
    """
    found: Any = values
    for key in _REPLICAS.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    nodes = max(1, workers)
    if isinstance(found, int) and found > nodes:
        raise UsageError(
            f"{_REPLICAS} is {found}, but only {nodes} nodes can run its servers, each on a node of its own",
            hint=f"add {found - nodes} more (a lab has --workers), or set it to 1",
        )


def _problems(values: Mapping[str, Any]) -> list[str]:
    """Return every problem that the schema finds in values, merged over the defaults as Helm does."""
    if not values:
        return []
    root = render.umbrella()
    schema = json.loads((root / "values.schema.json").read_text(encoding="utf-8"))
    # Helm adds `global` and `common`, too.
    defaults = {chart.name: {"global": {}} | values_files.read([chart / "values.yaml"]) for chart in render.subcharts()}
    merged = _without_null(
        values_files.merge({"common": {}}, defaults, values_files.read([root / "values.yaml"]), values)
    )
    errors = validators.validator_for(schema)(schema).iter_errors(merged)
    return sorted({line for error in errors for line in _lines(best_match([error]))})


def _lines(error: ValidationError) -> Iterator[str]:
    """Return a problem, or one for each key that the schema does not know."""
    place = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{place}: " if place else ""
    if "then" in error.absolute_schema_path and (found := re.match("'(.+)' is a required property", error.message)):
        yield f"{place}.{found[1]}: null is not a value; remove the key for the default".removeprefix(".")
        return
    if error.validator != "additionalProperties" or error.validator_value is not False:
        # Of alternatives, such as a number or null, each has its own reason.
        yield prefix + " or ".join(dict.fromkeys(one.message for one in error.context or [error]))
        return
    schema: Any = error.schema
    instance: Any = error.instance
    known = list(schema.get("properties", {}))
    for key in instance:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            suggestion = f", did you mean {close[0]}?" if close else f" (known: {', '.join(known)})"
            yield f"{place}.{key}: unknown key{suggestion}".removeprefix(".")


def _without_null(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without the defaults that null removes."""
    return {
        key: _without_null(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
