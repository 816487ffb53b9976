"""What PromQL expressions read. Only development and tests need the parser; the commands for clusters do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import promql_parser as promql

from maas.codegen.series import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FILTERS = ("==", "!=", ">", "<", ">=", "<=", "and", "unless")
"""Operators whose result may be empty although both sides have data."""


_SCRAPE = ("job", "metrics_path")
"""Labels of the target of a series; all other labels describe the series itself."""


def metrics(expr: str) -> set[str]:
    """Return the names of all metrics that an expression reads.

    Raises:
        ValueError: It is not valid PromQL.
    """
    return {selector.name for selector in _selectors(expr) if selector.name}


def sources(expr: str) -> set[str]:
    """Return the selectors of an expression, each by itself and without the values of its labels.

    `x{job="a", reason="Crash", node!=""}` reads `x{job="a",reason=~".+"}`: a rare reason has no series while nothing
    has crashed, but a misspelt metric, job or label never has.

    Raises:
        ValueError: It is not valid PromQL.
    """
    found: set[str] = set()
    for selector in _selectors(expr):
        kept: list[str] = []
        for matcher in selector.matchers.matchers:
            if matcher.name in _SCRAPE:
                kept.append(str(matcher))
            elif str(matcher).startswith(f"{matcher.name}="):
                kept.append(f'{matcher.name}=~".+"')
        found.add(f"{selector.name}{{{','.join(kept)}}}")
    return found


def _selectors(expr: str) -> list[promql.VectorSelector]:
    found: list[promql.VectorSelector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)
        elif isinstance(node, promql.MatrixSelector):
            found.append(node.vector_selector)

    promql.walk(promql.parse(expr), visit)
    return found


def operands(expr: str) -> list[str]:
    """Return the parts of an expression that must have data wherever their metrics are scraped.

    A comparison, `and` and `unless` may give nothing because all is well, so their two sides are the parts; whatever
    stands around them would be empty with them and is left out.

    Raises:
        ValueError: It is not valid PromQL.
    """
    return [part.prettify() for part in _parts(promql.parse(expr))]


def ambiguous(expr: str) -> list[str]:
    """Return the sides of a vector matching that must be unique, and are not while their exporter is replaced.

    A function over a range still sees the series of the target that is gone, beside those of the one in its place; they
    differ in `instance` alone, and Prometheus refuses to match two with one. They have to be aggregated, or `instance`
    has to be matched.

    Raises:
        ValueError: It is not valid PromQL.
    """
    found: list[str] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.BinaryExpr):
            found.extend(part.prettify() for part in _matched_once(node) if _over_range(part))

    promql.walk(promql.parse(expr), visit)
    return found


def _matched_once(node: promql.BinaryExpr) -> list[promql.Expr]:
    """Return the sides that must have one matching series, by labels that do not distinguish targets."""
    modifier = node.modifier
    if modifier is None or modifier.matching is None:
        return []
    if ("instance" in modifier.matching.labels) == str(modifier.matching).startswith("on"):
        return []
    card = promql.VectorMatchCardinality
    if modifier.card == card.ManyToMany:
        return []
    return [
        *([node.lhs] if modifier.card != card.ManyToOne else []),
        *([node.rhs] if modifier.card != card.OneToMany else []),
    ]


def _over_range(node: promql.Expr) -> bool:
    """Whether a function returns the series of a range unchanged."""
    if isinstance(node, promql.AggregateExpr):
        return False
    if isinstance(node, promql.MatrixSelector | promql.SubqueryExpr):
        return True
    return any(_over_range(child) for child in children(node))


def _parts(node: promql.Expr) -> Iterator[promql.Expr]:
    if isinstance(node, promql.ParenExpr):
        yield from _parts(node.expr)
    elif _filters(node) or any(_any(child, _filters) for child in children(node)):
        for child in children(node):
            yield from _parts(child)
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector
    elif _any(node, _reads):
        yield node


def _any(node: promql.Expr, test: Callable[[promql.Expr], bool]) -> bool:
    return test(node) or any(_any(child, test) for child in children(node))


def _filters(node: promql.Expr) -> bool:
    if not isinstance(node, promql.BinaryExpr) or str(node.op) not in _FILTERS:
        return False
    return node.modifier is None or not node.modifier.return_bool


def _reads(node: promql.Expr) -> bool:
    return isinstance(node, promql.VectorSelector | promql.MatrixSelector)
