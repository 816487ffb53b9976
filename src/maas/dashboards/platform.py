"""The platform as a whole: what a person looks at first, how full it is, how it scales, and how it survives."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import NODE, PREFIX, Dashboard, Variable, namespaces
from maas.dashboards.panels import (
    ANY_IS_BAD,
    AVAILABILITY,
    UTILIZATION,
    Column,
    Link,
    Panel,
    Query,
    Row,
    Steps,
    latency,
    lines,
    number,
    states,
    table,
)
from maas.dashboards.promql import quantile, rate, sum_by

_READY = 'kube_node_status_condition{cluster=~"$cluster", condition="Ready", status="true"'
_CPU = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m"
_MEMORY = "node_namespace_pod_container:container_memory_working_set_bytes"


def _allocatable(resource: str, by: str = "") -> str:
    return f'{sum_by(by)}(kube_node_status_allocatable{{cluster=~"$cluster", job="kube-state-metrics", resource="{resource}"}})'


def _requested(resource: str, by: str = "") -> str:
    # Pods that wait for a node have requests, too, and an empty label `node`.
    return f'{sum_by(by)}(cluster:namespace:pod_{resource}:active:kube_pod_container_resource_requests{{cluster=~"$cluster", node!=""}})'


def _used(metric: str, by: str = "") -> str:
    return f'{sum_by(by)}({metric}{{cluster=~"$cluster", container!=""}})'


def _use() -> tuple[Panel, ...]:
    """Return the panels of the cluster's CPU and memory: used, requested and allocatable."""
    return tuple(
        lines(
            title,
            f"{unit_name} that pods use and request, and those that nodes can give to pods.",
            unit,
            Query(_used(metric), "used"),
            Query(_requested(resource), "requested"),
            Query(_allocatable(resource), "allocatable"),
            width=8,
        )
        for title, unit_name, unit, metric, resource in (
            ("CPU", "Cores", "short", _CPU, "cpu"),
            ("Memory", "Bytes", "bytes", _MEMORY, "memory"),
        )
    )


_RESTAURANT = 'cluster=~"$cluster", job="restaurant"'
_REQUESTS = rate("restaurant_http_requests_total", _RESTAURANT)
_FAILED_REQUESTS = rate("restaurant_http_requests_total", f'{_RESTAURANT}, status=~"5.."')
_VPN_HOSTS = 'count(max by (peer) (openvpn_peer_connected{cluster=~"$cluster"}) == 1)'
_NOT_READY = f"count({_READY}}} == 0) or vector(0)"

OVERVIEW = Dashboard(
    folder="platform",
    name="overview",
    title="Overview",
    description="Is the platform healthy? If not, which dashboard has the details?",
    content=(
        Row("Now"),
        number(
            "Nodes ready",
            "Nodes in the condition Ready.",
            "short",
            Query(f"sum({_READY}}})"),
            steps=Steps("red", ((1, "green"),)),
            width=3,
        ),
        number(
            "Nodes not ready",
            "Nodes that are not in the condition Ready.",
            "short",
            Query(_NOT_READY),
            steps=ANY_IS_BAD,
            width=3,
        ),
        number(
            "Alerts",
            "Firing alerts of the severities critical and warning.",
            "short",
            Query('count(ALERTS{cluster=~"$cluster", alertstate="firing", severity=~"critical|warning"}) or vector(0)'),
            steps=ANY_IS_BAD,
            width=3,
        ),
        number(
            "Targets down",
            "Targets that Prometheus cannot scrape.",
            "short",
            Query('count(up{cluster=~"$cluster"} == 0) or vector(0)'),
            steps=ANY_IS_BAD,
            width=3,
        ),
        number(
            "Pods not ready",
            "Pods that are not ready, without finished ones.",
            "short",
            Query(
                'sum(kube_pod_status_ready{cluster=~"$cluster", condition="false"} * on (cluster, namespace, pod) group_left () max by (cluster, namespace, pod) (kube_pod_status_phase{cluster=~"$cluster", phase=~"Pending|Running|Unknown"} == 1)) or vector(0)'
            ),
            steps=Steps("green", ((1, "orange"), (5, "red"))),
            width=3,
        ),
        number(
            "Hosts in the VPN",
            "Hosts that are connected to the VPN.",
            "short",
            Query(_VPN_HOSTS),
            steps=Steps("red", ((1, "green"),)),
            width=3,
        ),
        shared_panels.share(
            "API, 30 days",
            "Share of requests to the API server in the last 30 days that succeeded within the latency objective.",
            'apiserver_request:availability30d{cluster=~"$cluster", verb="all"}',
            steps=AVAILABILITY,
            decimals=2,
            width=3,
        ),
        number(
            "Orders",
            "Orders of the restaurant in the last hour.",
            "short",
            Query('sum(increase(restaurant_orders_total{cluster=~"$cluster", job="restaurant"}[1h]))'),
            decimals=0,
            width=3,
        ),
        Row("Alerts and nodes"),
        table(
            "Firing alerts",
            "Firing alerts; the runbook of each says what to do.",
            {"alertname": "Alert", "severity": "Severity", "namespace": "Namespace"},
            Column(
                "Alerts", 'count by (alertname, severity, namespace) (ALERTS{cluster=~"$cluster", alertstate="firing"})'
            ),
            width=12,
        ),
        table(
            "Nodes",
            "All nodes: readiness, pods and utilization.",
            {"node": "Node"},
            Column("Ready", f"max by (node) ({_READY}}})", "bool_yes_no", Steps("red", ((1, "green"),))),
            Column("Pods", 'sum by (node) (kubelet_running_pods{cluster=~"$cluster", job="kubelet"})'),
            Column(
                "CPU used",
                'max by (node) (node:node_cpu_utilization:ratio_rate5m{cluster=~"$cluster"})',
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "Memory used",
                'avg by (node) (instance:node_memory_utilisation:ratio{cluster=~"$cluster"})',
                "percentunit",
                UTILIZATION,
            ),
            links={
                "Node": Link(f"{PREFIX}node", {"node": "Node"}),
                "Pods": Link(f"{PREFIX}node-pods", {"node": "Node"}),
            },
            width=12,
        ),
        Row("Usage", width=8),
        *_use(),
        lines(
            "Restaurant",
            "Requests per second and pods of the restaurant.",
            "short",
            Query(_REQUESTS, "requests per second"),
            Query('count(up{cluster=~"$cluster", job="restaurant"} == 1)', "pods"),
        ),
    ),
)

_HPA = 'cluster=~"$cluster", job="kube-state-metrics", namespace=~"$namespace", horizontalpodautoscaler=~"$autoscaler"'


def _replicas(metric: str) -> str:
    return f"max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_{metric}{{{_HPA}}})"


AUTOSCALERS = Dashboard(
    folder="platform",
    name="autoscalers",
    title="Autoscalers",
    description="How many replicas do the HorizontalPodAutoscalers want and have, and which are at their maximum?",
    variables=(
        namespaces("kube_horizontalpodautoscaler_info"),
        Variable(
            "autoscaler",
            "Autoscaler",
            'label_values(kube_horizontalpodautoscaler_info{cluster=~"$cluster", namespace=~"$namespace"}, horizontalpodautoscaler)',
            several=True,
        ),
    ),
    content=(
        Row("Now"),
        number(
            "Autoscalers",
            "HorizontalPodAutoscalers in the cluster.",
            "short",
            Query(f"count(kube_horizontalpodautoscaler_info{{{_HPA}}})"),
        ),
        number("Pods", "Pods that autoscalers manage.", "short", Query(f"sum({_replicas('status_current_replicas')})")),
        number(
            "Missing pods",
            "Pods that autoscalers want and that do not exist yet.",
            "short",
            Query(
                f"sum(clamp_min({_replicas('status_desired_replicas')} - {_replicas('status_current_replicas')}, 0))"
            ),
            steps=Steps("green", ((1, "orange"), (10, "red"))),
        ),
        number(
            "At the maximum",
            "Autoscalers at their maximum number of replicas.",
            "short",
            Query(f"count({_replicas('status_current_replicas')} >= {_replicas('spec_max_replicas')}) or vector(0)"),
            steps=Steps("green", ((1, "orange"),)),
        ),
        number(
            "Without metrics",
            "Autoscalers that get no metrics and cannot scale.",
            "short",
            Query(
                f'count(kube_horizontalpodautoscaler_status_condition{{{_HPA}, condition="ScalingActive", status="false"}} == 1) or vector(0)'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Changes",
            "Changes of the desired number of replicas in the last hour.",
            "short",
            Query(f"sum(changes(kube_horizontalpodautoscaler_status_desired_replicas{{{_HPA}}}[1h]))"),
            decimals=0,
        ),
        Row("Autoscalers"),
        table(
            "Autoscalers",
            "All autoscalers: current, desired, minimum and maximum replicas.",
            {"namespace": "Namespace", "horizontalpodautoscaler": "Autoscaler"},
            Column("Pods", _replicas("status_current_replicas")),
            Column("Desired", _replicas("status_desired_replicas")),
            Column("Minimum", _replicas("spec_min_replicas")),
            Column("Maximum", _replicas("spec_max_replicas")),
            Column(
                "Of maximum",
                f"{_replicas('status_current_replicas')} / {_replicas('spec_max_replicas')}",
                "percentunit",
                UTILIZATION,
            ),
            height=6,
        ),
        lines(
            "Pods",
            "Current, desired and maximum replicas.",
            "short",
            Query(_replicas("status_current_replicas"), "{{horizontalpodautoscaler}} current"),
            Query(_replicas("status_desired_replicas"), "{{horizontalpodautoscaler}} desired"),
            Query(_replicas("spec_max_replicas"), "{{horizontalpodautoscaler}} maximum"),
            stairs=True,
        ),
        lines(
            "Metric against target",
            "The autoscaler's metric as a share of its target; it scales when this is more than 10 % away from 100 %.",
            "percentunit",
            Query(
                # One series each, also while kube-state-metrics is replaced and two of it tell the same.
                f"max by (namespace, horizontalpodautoscaler, metric_name) (max by (cluster, namespace, horizontalpodautoscaler, metric_name, metric_target_type) (kube_horizontalpodautoscaler_status_target_metric{{{_HPA}}}) / max by (cluster, namespace, horizontalpodautoscaler, metric_name, metric_target_type) (kube_horizontalpodautoscaler_spec_target_metric{{{_HPA}}}))",
                "{{horizontalpodautoscaler}} {{metric_name}}",
            ),
            steps=Steps("green", ((1.1, "orange"), (2, "red"))),
        ),
    ),
)

_APP = 'cluster=~"$cluster", namespace="$namespace", container="$container"'


def _room(resource: str) -> str:
    """How many more pods of the application each node would take, as far as one resource goes."""
    return (
        f"floor(clamp_min({_allocatable(resource, 'node')} - {_requested(resource, 'node')}, 0)"
        f' / scalar(max(kube_pod_container_resource_requests{{{_APP}, resource="{resource}"}})))'
    )


CAPACITY = Dashboard(
    folder="platform",
    name="capacity",
    title="Capacity",
    description="How full is the cluster, what does a pod of an application use, and how many more pods fit?",
    since="now-6h",
    variables=(
        Variable(
            "namespace",
            "Namespace",
            'label_values(kube_pod_container_resource_requests{cluster=~"$cluster", resource="cpu"}, namespace)',
        ),
        Variable(
            "container",
            "Container",
            'label_values(kube_pod_container_resource_requests{cluster=~"$cluster", resource="cpu", namespace="$namespace"}, container)',
        ),
    ),
    content=(
        Row("Cluster"),
        shared_panels.share(
            "CPU requested",
            "CPU requests as a share of the allocatable CPU.",
            f"{_requested('cpu')} / {_allocatable('cpu')}",
            decimals=1,
        ),
        shared_panels.share(
            "CPU used",
            "CPU usage as a share of the allocatable CPU.",
            f"{_used(_CPU)} / {_allocatable('cpu')}",
            decimals=1,
        ),
        shared_panels.share(
            "Memory requested",
            "Memory requests as a share of the allocatable memory.",
            f"{_requested('memory')} / {_allocatable('memory')}",
            decimals=1,
        ),
        shared_panels.share(
            "Memory used",
            "Memory usage as a share of the allocatable memory.",
            f"{_used(_MEMORY)} / {_allocatable('memory')}",
            decimals=1,
        ),
        shared_panels.share(
            "Pod capacity used",
            "Running pods as a share of the allocatable pods of all nodes.",
            f'sum(kubelet_running_pods{{cluster=~"$cluster", job="kubelet"}}) / {_allocatable("pods")}',
            decimals=1,
        ),
        shared_panels.share(
            "CPU requested, N-1",
            "CPU requests as a share of the allocatable CPU without the largest node; above 100 % some pods cannot run if it fails.",
            f"{_requested('cpu')} / ({_allocatable('cpu')} - max({_allocatable('cpu', 'node')}))",
            steps=Steps("green", ((0.9, "orange"), (1, "red"))),
            decimals=1,
        ),
        *_use(),
        lines(
            "Pods",
            "Running and allocatable pods.",
            "short",
            Query('sum(kubelet_running_pods{cluster=~"$cluster", job="kubelet"})', "running"),
            Query(_allocatable("pods"), "allocatable"),
            stairs=True,
            width=8,
        ),
        lines(
            "CPU requested, by node",
            "CPU requests as a share of the node's allocatable CPU.",
            "percentunit",
            Query(f"{_requested('cpu', 'node')} / {_allocatable('cpu', 'node')}", "{{node}}"),
            steps=UTILIZATION,
        ),
        lines(
            "Memory requested, by node",
            "Memory requests as a share of the node's allocatable memory.",
            "percentunit",
            Query(f"{_requested('memory', 'node')} / {_allocatable('memory', 'node')}", "{{node}}"),
            steps=UTILIZATION,
        ),
        Row("Application", width=8),
        number(
            "Pods",
            "Running pods of the application.",
            "short",
            Query(f"count(kube_pod_container_status_running{{{_APP}}} == 1)"),
        ),
        number(
            "CPU of a pod",
            "Average CPU usage of a pod, in cores.",
            "short",
            Query(f"avg({_CPU}{{{_APP}}})"),
            decimals=3,
        ),
        number("Memory of a pod", "Average memory usage of a pod.", "bytes", Query(f"avg({_MEMORY}{{{_APP}}})")),
        shared_panels.share(
            "CPU usage of request",
            "CPU usage as a share of the requests.",
            f'sum({_CPU}{{{_APP}}}) / sum(kube_pod_container_resource_requests{{{_APP}, resource="cpu"}})',
            steps=Steps("green", ((1, "orange"), (3, "red"))),
            decimals=0,
        ),
        number(
            "More pods by CPU",
            "Pods that still fit into the cluster by CPU requests.",
            "short",
            Query(f"sum({_room('cpu')})"),
            steps=Steps("red", ((1, "orange"), (5, "green"))),
        ),
        number(
            "More pods by memory",
            "Pods that still fit into the cluster by memory requests.",
            "short",
            Query(f"sum({_room('memory')})"),
            steps=Steps("red", ((1, "orange"), (5, "green"))),
        ),
        lines(
            "CPU of each pod",
            "CPU usage of each pod, in cores.",
            "short",
            Query(f"sum by (pod) ({_CPU}{{{_APP}}})", "{{pod}}"),
            stack=True,
        ),
        lines(
            "Memory of each pod",
            "Memory usage of each pod.",
            "bytes",
            Query(f"sum by (pod) ({_MEMORY}{{{_APP}}})", "{{pod}}"),
            stack=True,
        ),
        lines(
            "Pods that fit",
            "Pods that still fit on each node by CPU requests.",
            "short",
            Query(_room("cpu"), "{{node}}"),
            stack=True,
            stairs=True,
        ),
    ),
)

_READINESS: dict[float, tuple[str, str]] = {0: ("not ready", "red"), 1: ("ready", "green")}

NODE_LOSS = Dashboard(
    folder="platform",
    name="node-loss",
    title="Node loss",
    description="After the loss of a node: when was it detected, where did its pods move, how long did it take, and were users affected?",
    variables=(NODE,),
    content=(
        Row("Now"),
        number(
            "Nodes not ready",
            "Nodes that are not in the condition Ready.",
            "short",
            Query(_NOT_READY),
            steps=ANY_IS_BAD,
        ),
        number(
            "Pending pods",
            "Pods in the phase Pending.",
            "short",
            Query('sum(kube_pod_status_phase{cluster=~"$cluster", phase="Pending"})'),
            steps=ANY_IS_BAD,
        ),
        number(
            "Replicas missing",
            "Unavailable replicas of Deployments.",
            "short",
            Query('sum(kube_deployment_status_replicas_unavailable{cluster=~"$cluster"})'),
            steps=ANY_IS_BAD,
        ),
        number(
            "New pods",
            "Pods started in the last 15 minutes.",
            "short",
            Query('count(time() - kube_pod_start_time{cluster=~"$cluster"} < 900) or vector(0)'),
        ),
        number(
            "Slowest pod start",
            "Longest time from start to readiness of the pods started in the last 15 minutes.",
            "s",
            Query(
                'max((min by (cluster, namespace, pod, uid) (min_over_time(kube_pod_status_ready_time{cluster=~"$cluster"}[15m])) - min by (cluster, namespace, pod, uid) (kube_pod_start_time{cluster=~"$cluster"})) and on (cluster, namespace, pod, uid) (time() - kube_pod_start_time{cluster=~"$cluster"} < 900)) or vector(0)'
            ),
            steps=latency(60, 90),
        ),
        number(
            "Hosts in the VPN",
            "Hosts that are connected to the VPN; a node that is not connected is lost, too.",
            "short",
            Query(_VPN_HOSTS),
            steps=Steps("red", ((1, "green"),)),
        ),
        Row("Timeline", width=8),
        states(
            "Nodes",
            "Condition Ready of each node.",
            Query(
                'max by (node) (kube_node_status_condition{cluster=~"$cluster", node=~"$node", condition="Ready", status="true"})',
                "{{node}}",
            ),
            words=_READINESS,
            height=6,
        ),
        states(
            "Connections to the VPN",
            "Connection of each host to the hub.",
            Query('max by (peer) (openvpn_peer_connected{cluster=~"$cluster"})', "{{peer}}"),
            words={0: ("disconnected", "red"), 1: ("connected", "green")},
            height=6,
        ),
        lines(
            "Pods by node",
            "Ready pods, by node; pods of a lost node start on the other nodes.",
            "short",
            Query(
                'sum by (node) (kube_pod_status_ready{cluster=~"$cluster", condition="true"} * on (cluster, namespace, pod) group_left (node) max by (cluster, namespace, pod, node) (kube_pod_info{cluster=~"$cluster", node=~"$node"}))',
                "{{node}}",
            ),
            stack=True,
            stairs=True,
        ),
        lines(
            "Replicas missing",
            "Unavailable replicas, by Deployment.",
            "short",
            Query(
                'sum by (namespace, deployment) (kube_deployment_status_replicas_unavailable{cluster=~"$cluster"}) > 0 or sum(0 * kube_deployment_status_replicas_unavailable{cluster=~"$cluster"})',
                "{{namespace}}/{{deployment}}",
            ),
            stack=True,
            stairs=True,
        ),
        lines(
            "Pods by phase",
            "Pods by phase; Pending: no node or no image yet; Unknown: the node does not respond.",
            "short",
            Query('sum by (phase) (kube_pod_status_phase{cluster=~"$cluster", phase!="Succeeded"})', "{{phase}}"),
            stairs=True,
        ),
        Row("Effect on users", width=8),
        lines(
            "Requests",
            "Requests per second to the restaurant.",
            "reqps",
            Query(_REQUESTS, "requests"),
        ),
        lines(
            "Failed requests",
            "Share of requests to the restaurant that failed with a server error.",
            "percentunit",
            Query(
                f"({_FAILED_REQUESTS} or vector(0)) / {_REQUESTS}",
                "failed",
            ),
            steps=Steps("green", ((0.005, "orange"), (0.05, "red"))),
        ),
        lines(
            "Request duration, 95th percentile",
            "Duration of requests to the restaurant in seconds.",
            "s",
            Query(
                quantile(0.95, "restaurant_http_request_duration_seconds_bucket", _RESTAURANT),
                "95 %",
            ),
            steps=latency(0.5, 1),
        ),
    ),
)

DASHBOARDS = (OVERVIEW, AUTOSCALERS, CAPACITY, NODE_LOSS)
