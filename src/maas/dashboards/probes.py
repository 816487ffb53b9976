"""What is outside of the cluster, as blackbox-exporter finds it."""

from __future__ import annotations

from maas.dashboards.model import Dashboard
from maas.dashboards.panels import ANY_IS_BAD, Column, Query, Row, latency, lines, number, states, table

_PROBES = 'cluster=~"$cluster", job="probe"'
_STEPS = latency(1, 3)

PROBES = Dashboard(
    folder="platform",
    name="probes",
    title="Probes",
    description="Do the websites, name servers, ports and hosts outside of the cluster answer as expected?",
    content=(
        Row("Now"),
        number("Probes", "Targets that are probed.", "short", Query(f"count(probe_success{{{_PROBES}}})")),
        number(
            "Failing",
            "Targets that do not answer as expected.",
            "short",
            Query(f"count(probe_success{{{_PROBES}}} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        table(
            "Targets",
            "Every target: whether it answers, how long it takes, and the remaining validity of its certificate.",
            {"probe": "Probe", "type": "Type", "instance": "Target"},
            Column("Answers", f"max by (probe, type, instance) (probe_success{{{_PROBES}}})"),
            Column(
                "Duration",
                f"max by (probe, type, instance) (probe_duration_seconds{{{_PROBES}}})",
                "s",
                steps=_STEPS,
            ),
            Column("Status", f"max by (probe, type, instance) (probe_http_status_code{{{_PROBES}}})"),
            Column(
                "Certificate",
                f"min by (probe, type, instance) (probe_ssl_earliest_cert_expiry{{{_PROBES}}}) - time()",
                "s",
            ),
        ),
        Row("Over time", width=24),
        states(
            "Answers",
            "Whether each target answers as expected.",
            Query(f"max by (probe) (probe_success{{{_PROBES}}})", "{{probe}}"),
            words={0: ("fails", "red"), 1: ("answers", "green")},
        ),
        lines(
            "Duration",
            "Seconds of each probe.",
            "s",
            Query(f"max by (probe) (probe_duration_seconds{{{_PROBES}}})", "{{probe}}"),
            steps=_STEPS,
        ),
        lines(
            "Phases of HTTP probes",
            "Seconds of each phase: resolve, connect, tls, processing, transfer.",
            "s",
            Query(f"max by (probe, phase) (probe_http_duration_seconds{{{_PROBES}}})", "{{probe}} {{phase}}"),
        ),
    ),
)

DASHBOARDS = (PROBES,)
