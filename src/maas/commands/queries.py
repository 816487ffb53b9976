"""`maas queries`: check the queries of the dashboards on a cluster."""

from __future__ import annotations

from maas import console
from maas.cluster import tunnel
from maas.dashboards import probe
from maas.errors import ClusterError


def queries(name: str) -> None:
    """Run every query of the dashboards on a cluster, and show which are empty, fail or are slow.

    Args:
        name: The cluster's name.

    Raises:
        UsageError: There is no cluster of that name.
        ClusterError: It has no Prometheus of MaaS, or queries fail or have no data without a known reason.
    """
    prometheus, known = probe.Prometheus.of(tunnel.connect(name)), probe.settings()
    rows, faults, slow = [], [], []
    with console.phase("Queries") as step:
        dashboards = probe.dashboards()
        for number, dashboard in enumerate(dashboards, start=1):
            step.progress(number, len(dashboards), dashboard["title"])
            answers = prometheus.dashboard(dashboard, known.choices)
            empty = [answer for answer in answers if not answer.series]
            faults += [fault for answer in empty if (fault := probe.judge(answer, known))]
            slow += [f"{one.query.where}: {one.seconds:.1f} s" for one in answers if one.seconds > probe.SLOW]
            reasons = {known.reason(answer.query) for answer in empty} - {""}
            seconds = sum(answer.seconds for answer in answers)
            rows.append((dashboard["title"], len(answers), len(empty), f"{seconds:.1f}", "; ".join(sorted(reasons))))
    console.table("", ("dashboard", "queries", "empty", "seconds", "reason"), rows)
    for line in slow:
        console.warn(f"slow: {line}")
    if faults:
        raise ClusterError(f"{len(faults)} queries fail or have no data", context=faults)
