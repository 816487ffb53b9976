"""Traffic of pods, from the cluster down to one pod. Pods on the host's network are left out: they see all of it."""

from __future__ import annotations

from maas.dashboards.model import NAMESPACE, PREFIX, Dashboard, Variable
from maas.dashboards.panels import ANY_IS_BAD, Column, Link, Panel, Query, Row, Steps, lines, number, table
from maas.dashboards.resource_panels import IN_NAMESPACE, OWNER, by_workload

_DIRECTIONS = {"receive": "in", "transmit": "out"}


def _rate(metric: str, where: str, joined: str = "", window: str = "$__rate_interval") -> str:
    """Per second and pod, of pods with a network of their own."""
    inside = f'cluster=~"$cluster", job="kubelet", metrics_path="/metrics/cadvisor", namespace!=""{where}'
    return (
        f"rate(container_network_{metric}_total{{{inside}}}[{window}])"
        " * on (cluster, namespace, pod) group_left () "
        f'max by (cluster, namespace, pod) (kube_pod_info{{cluster=~"$cluster", host_network="false"{where}}}){joined}'
    )


def _totals(where: str, joined: str = "") -> tuple[Panel, ...]:
    """The numbers at the top."""
    return (
        number(
            "In",
            "Bytes received per second by the pods.",
            "Bps",
            Query(f"sum({_rate('receive_bytes', where, joined)})"),
        ),
        number(
            "Out",
            "Bytes sent per second by the pods.",
            "Bps",
            Query(f"sum({_rate('transmit_bytes', where, joined)})"),
        ),
        number(
            "Packets in",
            "Packets received per second by the pods.",
            "pps",
            Query(f"sum({_rate('receive_packets', where, joined)})"),
        ),
        number(
            "Packets out",
            "Packets sent per second by the pods.",
            "pps",
            Query(f"sum({_rate('transmit_packets', where, joined)})"),
        ),
        number(
            "Dropped",
            "Packets dropped per second by the pods' interfaces, in both directions.",
            "pps",
            Query(
                f"sum({_rate('receive_packets_dropped', where, joined)})"
                f" + sum({_rate('transmit_packets_dropped', where, joined)})"
            ),
            steps=Steps("green", ((1, "orange"), (100, "red"))),
        ),
        number(
            "Errors",
            "Packet errors per second, in both directions.",
            "pps",
            Query(f"sum({_rate('receive_errors', where, joined)}) + sum({_rate('transmit_errors', where, joined)})"),
            steps=ANY_IS_BAD,
        ),
    )


def _over_time(by: str, where: str, joined: str = "") -> tuple[Row | Panel, ...]:
    """Bytes, packets and drops over time, by a label."""
    legend = f"{{{{{by}}}}}"
    panels: list[Row | Panel] = [Row("Over time")]
    for metric, title, unit, what in (
        ("bytes", "Bytes", "Bps", "Bytes"),
        ("packets", "Packets", "pps", "Packets"),
        ("packets_dropped", "Dropped packets", "pps", "Dropped packets"),
    ):
        panels += [
            lines(
                f"{title} {word}",
                f"{what} per second {word}, by {by}.",
                unit,
                Query(f"sum by ({by}) ({_rate(f'{direction}_{metric}', where, joined)})", legend),
                stack=True,
            )
            for direction, word in _DIRECTIONS.items()
        ]
    return tuple(panels)


def _table(
    title: str, description: str, by: dict[str, str], *, where: str, links: dict[str, Link], joined: str = ""
) -> Panel:
    labels = ", ".join(by)

    def total(metric: str) -> str:
        return f"sum by ({labels}) ({_rate(metric, where, joined)})"

    return table(
        title,
        description,
        by,
        Column("In", total("receive_bytes"), "Bps"),
        Column("Out", total("transmit_bytes"), "Bps"),
        Column("Packets in", total("receive_packets"), "pps"),
        Column("Packets out", total("transmit_packets"), "pps"),
        Column("Dropped in", total("receive_packets_dropped"), "pps", ANY_IS_BAD),
        Column("Dropped out", total("transmit_packets_dropped"), "pps", ANY_IS_BAD),
        links=links,
    )


CLUSTER = Dashboard(
    folder="network",
    name="network-cluster",
    title="Networking / Cluster",
    description="Which namespaces send and receive traffic, and are packets lost?",
    content=(
        Row("Now"),
        *_totals(""),
        _table(
            "Namespaces",
            "Traffic of the pods of each namespace.",
            {"namespace": "Namespace"},
            where="",
            links={"Namespace": Link(f"{PREFIX}network-namespace-pods", {"namespace": "Namespace"})},
        ),
        *_over_time("namespace", ""),
        Row("TCP"),
        lines(
            "TCP retransmissions",
            "Share of TCP segments that were retransmitted, by node; if it stays high, the network loses packets.",
            "percentunit",
            Query(
                'sum by (node) (rate(node_netstat_Tcp_RetransSegs{cluster=~"$cluster", job="node-exporter"}[$__rate_interval]))'
                ' / sum by (node) (rate(node_netstat_Tcp_OutSegs{cluster=~"$cluster", job="node-exporter"}[$__rate_interval]))',
                "{{node}}",
            ),
            steps=Steps("green", ((0.01, "orange"), (0.05, "red"))),
        ),
        lines(
            "TCP SYN retransmissions",
            "Share of retransmissions that are SYN segments: a peer does not respond.",
            "percentunit",
            Query(
                'sum by (node) (rate(node_netstat_TcpExt_TCPSynRetrans{cluster=~"$cluster", job="node-exporter"}[$__rate_interval]))'
                ' / sum by (node) (rate(node_netstat_Tcp_RetransSegs{cluster=~"$cluster", job="node-exporter"}[$__rate_interval]))',
                "{{node}}",
            ),
        ),
    ),
)


NAMESPACE_PODS = Dashboard(
    folder="network",
    name="network-namespace-pods",
    title="Networking / Namespace (pods)",
    description="Which pods of a namespace send and receive traffic?",
    variables=(NAMESPACE,),
    content=(
        Row("Now"),
        *_totals(IN_NAMESPACE),
        _table(
            "Pods",
            "Traffic of each pod.",
            {"pod": "Pod"},
            where=IN_NAMESPACE,
            links={"Pod": Link(f"{PREFIX}network-pod", {"namespace": "$namespace", "pod": "Pod"})},
        ),
        *_over_time("pod", IN_NAMESPACE),
    ),
)


NAMESPACE_WORKLOADS = Dashboard(
    folder="network",
    name="network-namespace-workloads",
    title="Networking / Namespace (workloads)",
    description="Which workloads of a namespace send and receive traffic?",
    variables=(NAMESPACE,),
    content=(
        Row("Now"),
        *_totals(IN_NAMESPACE, by_workload("")),
        _table(
            "Workloads",
            "Traffic of the pods of each workload.",
            {"workload": "Workload", "workload_type": "Type"},
            where=IN_NAMESPACE,
            links={"Workload": Link(f"{PREFIX}network-workload", {"namespace": "$namespace", "workload": "Workload"})},
            joined=by_workload(""),
        ),
        *_over_time("workload", IN_NAMESPACE, by_workload("")),
    ),
)

_OF_WORKLOAD = ', workload="$workload"'

WORKLOAD = Dashboard(
    folder="network",
    name="network-workload",
    title="Networking / Workload",
    description="Is the traffic of a workload spread evenly over its pods?",
    variables=(
        NAMESPACE,
        Variable(
            "workload",
            "Workload",
            f'label_values({OWNER}{{cluster=~"$cluster", namespace="$namespace"}}, workload)',
        ),
    ),
    content=(
        Row("Now"),
        *_totals(IN_NAMESPACE, by_workload(_OF_WORKLOAD)),
        _table(
            "Pods",
            "Traffic of each pod of the workload.",
            {"pod": "Pod"},
            where=IN_NAMESPACE,
            links={"Pod": Link(f"{PREFIX}network-pod", {"namespace": "$namespace", "pod": "Pod"})},
            joined=by_workload(_OF_WORKLOAD),
        ),
        *_over_time("pod", IN_NAMESPACE, by_workload(_OF_WORKLOAD)),
    ),
)

POD = Dashboard(
    folder="network",
    name="network-pod",
    title="Networking / Pod",
    description="What does one pod send and receive, on which interface?",
    variables=(
        NAMESPACE,
        Variable(
            "pod",
            "Pod",
            'label_values(kube_pod_info{cluster=~"$cluster", namespace="$namespace", host_network="false"}, pod)',
        ),
    ),
    content=(
        Row("Now"),
        *_totals(', namespace="$namespace", pod="$pod"'),
        *_over_time("interface", ', namespace="$namespace", pod="$pod"'),
    ),
)

DASHBOARDS = (CLUSTER, NAMESPACE_PODS, NAMESPACE_WORKLOADS, WORKLOAD, POD)
