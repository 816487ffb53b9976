"""PromQL expressions that most dashboards need."""

from __future__ import annotations

INTERVAL = "$__rate_interval"
"""Grafana's variable: the shortest window that always has enough samples for `rate`."""


def rate(metric: str, selector: str, by: str = "", *, window: str = INTERVAL) -> str:
    """Return the sum of a counter's increase per second, by some labels.

    Args:
        metric: The name of the counter.
        selector: The matchers, without braces.
        by: The labels to keep, separated by commas; empty for none.
        window: The range to look at.
    """
    return f"{sum_by(by)}(rate({metric}{{{selector}}}[{window}]))"


def quantile(share: float, buckets: str, selector: str, by: str = "", *, window: str = INTERVAL) -> str:
    """Return the value of a histogram below which a share of the observations are, by some labels.

    Args:
        share: The share, from 0 to 1.
        buckets: The name of the histogram's buckets.
        selector: The matchers, without braces.
        by: The labels to keep, separated by commas; empty for none.
        window: The range to look at.
    """
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, {rate(buckets, selector, labels, window=window)})"


def sum_by(labels: str) -> str:
    """Return `sum`, by some labels if there are any, to be followed by an expression in parentheses."""
    return f"sum by ({labels}) " if labels else "sum"
