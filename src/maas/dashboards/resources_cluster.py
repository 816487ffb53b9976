"""Compute resources of clusters and nodes."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import NODE, PREFIX, Dashboard
from maas.dashboards.panels import ANY_IS_BAD, UTILIZATION, Column, Link, Query, Row, Steps, lines, number, table
from maas.dashboards.resource_panels import (
    COMMITTED,
    CPU,
    MEMORY,
    NAME,
    OWNER,
    active,
    allocatable,
    columns,
    committed,
    disk_io,
    over_time,
    ratio,
    usage,
)

MULTI_CLUSTER = Dashboard(
    folder="resources",
    name="multi-cluster",
    title="Resources / Multi-cluster",
    description="How full is each cluster of this data source?",
    content=(
        Row("Now"),
        shared_panels.share(
            "CPU used", "Share of all cores that is in use.", "avg(cluster:node_cpu:ratio_rate5m)", decimals=1
        ),
        ratio(
            "CPU requested",
            "CPU requests as a share of the allocatable CPU.",
            f"sum({active('requests', 'cpu')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="cpu"})',
            steps=COMMITTED,
        ),
        ratio(
            "CPU limits",
            "CPU limits as a share of the allocatable CPU.",
            f"sum({active('limits', 'cpu')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="cpu"})',
            steps=COMMITTED,
        ),
        ratio(
            "Memory used",
            "Share of all memory that is in use.",
            '(sum(node_memory_MemTotal_bytes{job="node-exporter"}) - sum(:node_memory_MemAvailable_bytes:sum))',
            'sum(node_memory_MemTotal_bytes{job="node-exporter"})',
        ),
        ratio(
            "Memory requested",
            "Memory requests as a share of the allocatable memory.",
            f"sum({active('requests', 'memory')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="memory"})',
            steps=COMMITTED,
        ),
        ratio(
            "Memory limits",
            "Memory limits as a share of the allocatable memory.",
            f"sum({active('limits', 'memory')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="memory"})',
            steps=COMMITTED,
        ),
        Row("Clusters"),
        table(
            "Clusters",
            "All clusters, by their label `cluster`; a single cluster has no label.",
            {"cluster": "Cluster"},
            Column("Nodes", "count by (cluster) (kube_node_info)"),
            Column("Pods", 'sum by (cluster) (kubelet_running_pods{job="kubelet"})'),
            Column("CPU used", f'sum by (cluster) ({CPU}{{container!=""}})'),
            Column("CPU requested", f"sum by (cluster) ({active('requests', 'cpu')})"),
            Column(
                "CPU total",
                'sum by (cluster) (kube_node_status_allocatable{job="kube-state-metrics", resource="cpu"})',
            ),
            Column("Memory used", f'sum by (cluster) ({MEMORY}{{container!=""}})', "bytes"),
            Column("Memory requested", f"sum by (cluster) ({active('requests', 'memory')})", "bytes"),
            Column(
                "Memory total",
                'sum by (cluster) (kube_node_status_allocatable{job="kube-state-metrics", resource="memory"})',
                "bytes",
            ),
            links={"Cluster": Link(f"{PREFIX}cluster", {"cluster": "Cluster"})},
        ),
        lines(
            "CPU used",
            "CPU usage in cores, by cluster.",
            "short",
            Query(f'sum by (cluster) ({CPU}{{container!=""}})', "{{cluster}}"),
            stack=True,
        ),
        lines(
            "Memory used",
            "Memory usage in bytes, by cluster.",
            "bytes",
            Query(f'sum by (cluster) ({MEMORY}{{container!=""}})', "{{cluster}}"),
            stack=True,
        ),
    ),
)

CLUSTER = Dashboard(
    folder="resources",
    name="cluster",
    title="Resources / Cluster",
    description="Which namespaces use the cluster, and what do they request?",
    content=(
        Row("Now"),
        shared_panels.share(
            "CPU used",
            "Share of all cores that is in use.",
            'avg(cluster:node_cpu:ratio_rate5m{cluster=~"$cluster"})',
            decimals=1,
        ),
        ratio(
            "CPU requested",
            "CPU requests as a share of the allocatable CPU.",
            f"sum({committed('requests', 'cpu', '')})",
            allocatable("cpu"),
            steps=COMMITTED,
        ),
        ratio(
            "CPU limits",
            "CPU limits as a share of the allocatable CPU.",
            f"sum({committed('limits', 'cpu', '')})",
            allocatable("cpu"),
            steps=COMMITTED,
        ),
        ratio(
            "Memory used",
            "Share of all memory that is in use.",
            '(sum(node_memory_MemTotal_bytes{cluster=~"$cluster", job="node-exporter"}) - sum(:node_memory_MemAvailable_bytes:sum{cluster=~"$cluster"}))',
            'sum(node_memory_MemTotal_bytes{cluster=~"$cluster", job="node-exporter"})',
        ),
        ratio(
            "Memory requested",
            "Memory requests as a share of the allocatable memory.",
            f"sum({committed('requests', 'memory', '')})",
            allocatable("memory"),
            steps=COMMITTED,
        ),
        ratio(
            "Memory limits",
            "Memory limits as a share of the allocatable memory.",
            f"sum({committed('limits', 'memory', '')})",
            allocatable("memory"),
            steps=COMMITTED,
        ),
        Row("Namespaces"),
        *over_time("namespace", ""),
        table(
            "Namespaces",
            "Usage, requests and limits of the pods of each namespace.",
            {"namespace": "Namespace"},
            Column("Pods", f'count by (namespace) (max by (namespace, pod) ({OWNER}{{cluster=~"$cluster"}}))'),
            *columns("namespace", ""),
            links={
                "Namespace": Link(f"{PREFIX}namespace-pods", {"namespace": "Namespace"}),
                "Pods": Link(f"{PREFIX}namespace-workloads", {"namespace": "Namespace"}),
            },
            height=10,
        ),
        *disk_io("namespace", "", "{{namespace}}"),
    ),
)

_ON_NODE = ', node=~"$node"'

NODE_PODS = Dashboard(
    folder="resources",
    name="node-pods",
    title="Resources / Node (pods)",
    description="Which pods use a node?",
    variables=(NODE,),
    content=(
        Row("Now"),
        number(
            "Pods",
            "Running pods on the nodes.",
            "short",
            Query('sum(kubelet_running_pods{cluster=~"$cluster", job="kubelet", node=~"$node"})'),
        ),
        *(
            ratio(
                f"{NAME[resource]} requested",
                f"Requests as a share of the {NAME[resource]} that is allocatable.",
                f"sum({committed('requests', resource, _ON_NODE)})",
                allocatable(resource, _ON_NODE),
                steps=UTILIZATION,
            )
            for resource in ("cpu", "memory")
        ),
        *(
            ratio(
                f"{NAME[resource]} used by pods",
                f"Use as a share of the {NAME[resource]} that is allocatable.",
                f"sum({usage(resource, _ON_NODE)})",
                allocatable(resource, _ON_NODE),
            )
            for resource in ("cpu", "memory")
        ),
        ratio(
            "Pod capacity used",
            "Running pods as a share of the allocatable pods of the nodes.",
            'sum(kubelet_running_pods{cluster=~"$cluster", job="kubelet", node=~"$node"})',
            allocatable("pods", _ON_NODE),
        ),
        Row("Pods"),
        *over_time("namespace, pod", _ON_NODE),
        table(
            "Pods",
            "Usage, requests and limits of each pod on the nodes.",
            {"namespace": "Namespace", "pod": "Pod"},
            *columns("namespace, pod", _ON_NODE),
            links={"Pod": Link(f"{PREFIX}pod", {"namespace": "Namespace", "pod": "Pod"})},
            height=12,
        ),
    ),
)

_PER_NODE = ', node=~"$node"'


def _of_node(resource: str) -> str:
    return f'sum by (node) (kube_node_status_allocatable{{cluster=~"$cluster", job="kube-state-metrics", resource="{resource}"{_PER_NODE}}})'


NODES_OVERVIEW = Dashboard(
    folder="resources",
    name="nodes-overview",
    title="Resources / Nodes overview",
    description="Which nodes are ready, and how full is each?",
    variables=(NODE,),
    content=(
        Row("Now"),
        number(
            "Nodes",
            "Nodes of the cluster.",
            "short",
            Query('count(kube_node_info{cluster=~"$cluster", node=~"$node"})'),
        ),
        number(
            "Not ready",
            "Nodes that are not in the condition Ready.",
            "short",
            Query(
                'count(kube_node_status_condition{cluster=~"$cluster", node=~"$node", condition="Ready", status="true"} == 0) or vector(0)'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Cordoned",
            "Nodes that are cordoned.",
            "short",
            Query('sum(kube_node_spec_unschedulable{cluster=~"$cluster", node=~"$node"})'),
            steps=Steps("green", ((1, "orange"),)),
        ),
        number(
            "Under pressure",
            "Nodes under memory, disk or PID pressure.",
            "short",
            Query(
                'count(kube_node_status_condition{cluster=~"$cluster", node=~"$node", condition=~".+Pressure", status="true"} == 1) or vector(0)'
            ),
            steps=ANY_IS_BAD,
        ),
        shared_panels.share(
            "Highest CPU usage",
            "Share of cores in use on the busiest node.",
            'max(node:node_cpu_utilization:ratio_rate5m{cluster=~"$cluster", node=~"$node"})',
            decimals=1,
        ),
        number(
            "Pod capacity left",
            "Pods that the nodes can still run, by number of pods.",
            "short",
            Query(
                f'{allocatable("pods", _PER_NODE)} - sum(kubelet_running_pods{{cluster=~"$cluster", job="kubelet", node=~"$node"}})'
            ),
            steps=Steps("red", ((10, "orange"), (20, "green"))),
        ),
        Row("Nodes"),
        table(
            "Nodes",
            "All nodes: allocatable resources, requests and usage.",
            {"node": "Node"},
            Column("Pods", 'sum by (node) (kubelet_running_pods{cluster=~"$cluster", job="kubelet", node=~"$node"})'),
            Column("CPU", _of_node("cpu")),
            Column(
                "CPU requested",
                f"sum by (node) ({committed('requests', 'cpu', _PER_NODE)}) / {_of_node('cpu')}",
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "CPU used",
                'max by (node) (node:node_cpu_utilization:ratio_rate5m{cluster=~"$cluster", node=~"$node"})',
                "percentunit",
                UTILIZATION,
            ),
            Column("Memory", _of_node("memory"), "bytes"),
            Column(
                "Memory requested",
                f"sum by (node) ({committed('requests', 'memory', _PER_NODE)}) / {_of_node('memory')}",
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "Memory used",
                f"sum by (node) ({usage('memory', _PER_NODE)}) / {_of_node('memory')}",
                "percentunit",
                UTILIZATION,
            ),
            links={
                "Node": Link(f"{PREFIX}node-pods", {"node": "Node"}),
                "CPU used": Link(f"{PREFIX}node", {"node": "Node"}),
            },
            height=10,
        ),
        lines(
            "CPU used",
            "CPU usage as a share of the node's cores.",
            "percentunit",
            Query(
                'max by (node) (node:node_cpu_utilization:ratio_rate5m{cluster=~"$cluster", node=~"$node"})', "{{node}}"
            ),
            steps=UTILIZATION,
            most=1,
        ),
        lines(
            "Memory used by pods",
            "Memory usage of pods as a share of the node's allocatable memory.",
            "percentunit",
            Query(f"sum by (node) ({usage('memory', _PER_NODE)}) / {_of_node('memory')}", "{{node}}"),
            steps=UTILIZATION,
            most=1,
        ),
        lines(
            "Pods",
            "Running pods, by node.",
            "short",
            Query(
                'sum by (node) (kubelet_running_pods{cluster=~"$cluster", job="kubelet", node=~"$node"})', "{{node}}"
            ),
            stack=True,
            stairs=True,
        ),
        lines(
            "CPU requested",
            "CPU requests as a share of the node's allocatable CPU; at 100 % no pod with a CPU request fits.",
            "percentunit",
            Query(f"sum by (node) ({committed('requests', 'cpu', _PER_NODE)}) / {_of_node('cpu')}", "{{node}}"),
            steps=UTILIZATION,
        ),
    ),
)

DASHBOARDS = (MULTI_CLUSTER, CLUSTER, NODE_PODS, NODES_OVERVIEW)
