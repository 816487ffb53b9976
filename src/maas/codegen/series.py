"""What the rules read and what comes out of them: labels, scrape jobs and thresholds, found in their PromQL.

Only development and tests need the parser; the commands for clusters do not.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import promql_parser as promql

from maas.codegen.rules import Alert, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from maas.codegen.rules import RuleFile, Threshold

_SETS = ("and", "unless")
"""Operators that return series of the left side unchanged."""
_COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_CHOOSING = ("topk", "bottomk")
"""Aggregations that return series unchanged."""
_SCALARS = ("time", "vector", "scalar", "pi")
"""Functions without labels."""
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Labels:
    """The labels of a result.

    Attributes:
        names: Those it can have; None for all of its series.
        without: Those it does not have although the series may.
        added: Those it has besides those of its series.
        series: The metric whose labels it has, where `names` is None.
    """

    names: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    series: str = ""

    def __contains__(self, name: object) -> bool:
        if self.names is not None:
            return name in self.names
        return name in self.added or name not in self.without

    def keep(self, names: Iterable[str]) -> Labels:
        """Return those of some labels that it has."""
        return Labels(frozenset(name for name in names if name in self))

    def drop(self, names: Iterable[str]) -> Labels:
        """Return all but some labels."""
        gone = frozenset(names)
        if self.names is not None:
            return Labels(self.names - gone)
        return replace(self, without=self.without | gone, added=self.added - gone)

    def add(self, names: Iterable[str]) -> Labels:
        """Return them and some more."""
        more = frozenset(names)
        if self.names is not None:
            return Labels(self.names | more)
        return replace(self, without=self.without - more, added=self.added | more)

    def union(self, other: Labels) -> Labels:
        """Return the labels that the series of either have."""
        if self.names is None:
            return self
        return other if other.names is None else self.add(other.names)


NONE = Labels(frozenset())


@dataclass
class Series:
    """The rules of a chart, with what their expressions read and return.

    Attributes:
        rules: Every rule, with the thresholds of its file.
    """

    rules: list[tuple[Alert | Record, Mapping[str, Threshold]]]
    _records: dict[str, Labels] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[RuleFile]) -> Series:
        """Read the rules of some files."""
        return cls([(rule, file.thresholds) for file in files for group in file.groups for rule in group.rules])

    def parse(self, rule: Alert | Record) -> promql.Expr:
        """Return the expression of a rule with the defaults of its thresholds."""
        thresholds = next(found for one, found in self.rules if one is rule)
        return promql.parse(_PLACEHOLDER.sub(lambda match: str(thresholds[match[1]].default), rule.expr))

    def labels(self, rule: Alert | Record) -> Labels:
        """Return the labels of the alerts or series of a rule, without `severity`."""
        own = set(rule.labels) if isinstance(rule, Record) else set(rule.labels.model_extra or ())
        return self._of(self.parse(rule)).add(own)

    def record(self, name: str) -> Labels | None:
        """Return the labels of a recorded series; None if no rule records it."""
        if name not in self._records:
            found = [self.labels(rule) for rule, _ in self.rules if isinstance(rule, Record) and rule.record == name]
            if not found:
                return None
            whole = found[0]
            for other in found[1:]:
                whole = whole.union(other)
            self._records[name] = whole
        return self._records[name]

    def jobs(self, rule: Alert | Record) -> set[str]:
        """Return the scrape jobs, as written in matchers, that a rule reads, also by recorded series; empty for any job."""
        return set(self._jobs(self.parse(rule)))

    def _jobs(self, node: promql.Expr) -> Iterator[str]:
        if isinstance(node, promql.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql.VectorSelector):
            yield from (str(one.value) for one in node.matchers.matchers if one.name == "job" and _wants(one))
            for rule, _ in self.rules:
                if isinstance(rule, Record) and rule.record == node.name:
                    yield from self._jobs(self.parse(rule))
        for child in children(node):
            yield from self._jobs(child)

    def thresholds(self, rule: Alert | Record) -> set[float]:
        """Return the numbers that an expression compares with: ratios instead of percentages, seconds for durations."""
        return {round(number, 9) for number in _compared(self.parse(rule))}

    def _of(self, node: promql.Expr) -> Labels:
        if isinstance(node, promql.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql.VectorSelector):
            known = self.record(node.name) if node.name else None
            return known or Labels(series=node.name or "")
        if isinstance(node, promql.AggregateExpr):
            return self._aggregated(node)
        if isinstance(node, promql.Call):
            return self._called(node)
        if isinstance(node, promql.BinaryExpr):
            return self._combined(node)
        if isinstance(node, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
            return self._of(node.expr)
        return NONE

    def _aggregated(self, node: promql.AggregateExpr) -> Labels:
        inner = self._of(node.expr)
        if str(node.op) in _CHOOSING:
            return inner
        if node.modifier is None:
            return NONE
        grouped = node.modifier.labels
        kept = inner.keep(grouped) if str(node.modifier).startswith("by") else inner.drop(grouped)
        return kept.add([node.param.val]) if isinstance(node.param, promql.StringLiteral) else kept

    def _called(self, node: promql.Call) -> Labels:
        if node.func.name in _SCALARS:
            return NONE
        if node.func.name == "absent":
            selectors = _selectors(node.args[0])
            return Labels(frozenset(m.name for m in selectors[0].matchers.matchers if str(m).startswith(f'{m.name}="')))
        inner = self._of(node.args[1] if node.func.name == "histogram_quantile" else node.args[0])
        if node.func.name == "histogram_quantile":
            return inner.drop(["le"])
        return inner.add([node.args[1].val]) if node.func.name == "label_replace" else inner

    def _combined(self, node: promql.BinaryExpr) -> Labels:
        left, right, op = self._of(node.lhs), self._of(node.rhs), str(node.op)
        if op == "or":
            return left.union(right)
        if op in _SETS or right == NONE:
            return left
        if left == NONE:
            return right
        return _matched(left, right, node.modifier) if node.modifier else _closed(left, right)


def _closed(left: Labels, right: Labels) -> Labels:
    """Return the labels of two sides whose labels are the same: of the one of which they are known."""
    return right if left.names is None and right.names is not None else left


def _matched(left: Labels, right: Labels, modifier: promql.BinModifier) -> Labels:
    """Return the labels of a matching by some labels."""
    if "group_left" in str(modifier):
        return left.add(modifier.group_labels or ())
    if "group_right" in str(modifier):
        return right.add(modifier.group_labels or ())
    matching = modifier.matching
    if matching is None:
        return _closed(left, right)
    return left.keep(matching.labels) if str(matching).startswith("on") else left.drop(matching.labels)


def _wants(matcher: promql.Matcher) -> bool:
    return not str(matcher).startswith(("job!=", "job!~"))


def children(node: promql.Expr) -> list[promql.Expr]:
    """Return the expressions that an expression consists of."""
    if isinstance(node, promql.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql.Call):
        return list(node.args)
    if isinstance(node, promql.AggregateExpr | promql.UnaryExpr | promql.ParenExpr | promql.SubqueryExpr):
        return [node.expr]
    return []


def _selectors(node: promql.Expr) -> list[promql.VectorSelector]:
    if isinstance(node, promql.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql.VectorSelector):
        return [node]
    return [found for child in children(node) for found in _selectors(child)]


def _constant(node: promql.Expr) -> float | None:
    if isinstance(node, promql.NumberLiteral):
        return float(node.val)
    if isinstance(node, promql.ParenExpr):
        return _constant(node.expr)
    if isinstance(node, promql.UnaryExpr):
        inner = _constant(node.expr)
        return None if inner is None else -inner
    if isinstance(node, promql.BinaryExpr) and str(node.op) in _ARITHMETIC:
        sides = (_constant(node.lhs), _constant(node.rhs))
        if sides[0] is not None and sides[1] is not None:
            return _ARITHMETIC[str(node.op)](sides[0], sides[1])
    return None


def _compared(node: promql.Expr) -> Iterator[float]:
    if isinstance(node, promql.BinaryExpr) and str(node.op) in _COMPARISONS:
        number = _constant(node.rhs)
        if number is not None:
            yield number
    for child in children(node):
        yield from _compared(child)
