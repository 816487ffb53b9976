"""Compute resources of namespaces, workloads and pods."""

from __future__ import annotations

from maas.dashboards.model import NAMESPACE, PREFIX, Dashboard, Variable
from maas.dashboards.panels import ANY_IS_BAD, UTILIZATION, Column, Link, Panel, Query, Row, Steps, lines, number, table
from maas.dashboards.resource_panels import (
    CADVISOR,
    IN_NAMESPACE,
    NAME,
    OF_REQUEST,
    OWNER,
    UNIT,
    by_workload,
    columns,
    committed,
    disk_io,
    over_time,
    ratio,
    usage,
)


def _against(kind: str, resource: str) -> Panel:
    """Return the usage of a namespace as a share of its requests or limits."""
    name, share = NAME[resource], "requests" if kind == "requests" else "limits"
    return ratio(
        f"{name} of {share}",
        f"{name} usage as a share of the {share} of all pods of the namespace.",
        f"sum({usage(resource, IN_NAMESPACE)})",
        f"sum({committed(kind, resource, IN_NAMESPACE)})",
        steps=OF_REQUEST if kind == "requests" else UTILIZATION,
    )


def _quotas() -> Panel:
    return table(
        "Quotas",
        "Quota and usage of each resource; empty without a ResourceQuota.",
        {"resourcequota": "Quota", "resource": "Resource"},
        Column(
            "Used",
            'max by (resourcequota, resource) (kube_resourcequota{cluster=~"$cluster", namespace="$namespace", type="used"})',
        ),
        Column(
            "Hard limit",
            'max by (resourcequota, resource) (kube_resourcequota{cluster=~"$cluster", namespace="$namespace", type="hard"})',
        ),
        height=6,
    )


NAMESPACE_PODS = Dashboard(
    folder="resources",
    name="namespace-pods",
    title="Resources / Namespace (pods)",
    description="Which pods of a namespace use less than their requests, and which use more?",
    variables=(NAMESPACE,),
    content=(
        Row("Now"),
        *(_against(kind, resource) for resource in ("cpu", "memory") for kind in ("requests", "limits")),
        number(
            "Pods",
            "Running pods of the namespace.",
            "short",
            Query('sum(kube_pod_status_phase{cluster=~"$cluster", namespace="$namespace", phase="Running"})'),
        ),
        number(
            "Restarts",
            "Container restarts in the last hour.",
            "short",
            Query(
                'sum(increase(kube_pod_container_status_restarts_total{cluster=~"$cluster", namespace="$namespace"}[1h])) or vector(0)'
            ),
            steps=Steps("green", ((1, "orange"), (5, "red"))),
            decimals=0,
        ),
        Row("Pods"),
        *over_time("pod", IN_NAMESPACE),
        table(
            "Pods",
            "Usage, requests and limits of each pod.",
            {"pod": "Pod"},
            *columns("pod", IN_NAMESPACE),
            links={"Pod": Link(f"{PREFIX}pod", {"namespace": "$namespace", "pod": "Pod"})},
            height=10,
        ),
        _quotas(),
        *disk_io("pod", IN_NAMESPACE, "{{pod}}"),
    ),
)

_TYPE = Variable(
    "type",
    "Type",
    f'label_values({OWNER}{{cluster=~"$cluster", namespace="$namespace"}}, workload_type)',
    several=True,
)
_WORKLOAD = Variable(
    "workload",
    "Workload",
    f'label_values({OWNER}{{cluster=~"$cluster", namespace="$namespace", workload_type=~"$type"}}, workload)',
)

_OF_TYPE = ', workload_type=~"$type"'
_OF_WORKLOAD = ', workload="$workload", workload_type=~"$type"'

NAMESPACE_WORKLOADS = Dashboard(
    folder="resources",
    name="namespace-workloads",
    title="Resources / Namespace (workloads)",
    description="How do the workloads of a namespace use their requests?",
    variables=(NAMESPACE, _TYPE),
    content=(
        Row("Now"),
        *(_against(kind, resource) for resource in ("cpu", "memory") for kind in ("requests", "limits")),
        number(
            "Workloads",
            "Workloads of the namespace with pods.",
            "short",
            Query(
                f'count(count by (workload, workload_type) ({OWNER}{{cluster=~"$cluster"{IN_NAMESPACE}{_OF_TYPE}}}))'
            ),
        ),
        number(
            "Replicas missing",
            "Replicas of Deployments and StatefulSets that are not ready.",
            "short",
            Query(
                '(sum(kube_deployment_spec_replicas{cluster=~"$cluster", namespace="$namespace"} - kube_deployment_status_replicas_ready{cluster=~"$cluster", namespace="$namespace"}) or vector(0)) + (sum(kube_statefulset_replicas{cluster=~"$cluster", namespace="$namespace"} - kube_statefulset_status_replicas_ready{cluster=~"$cluster", namespace="$namespace"}) or vector(0))'
            ),
            steps=ANY_IS_BAD,
        ),
        Row("Workloads"),
        *over_time("workload", IN_NAMESPACE, by_workload(_OF_TYPE)),
        table(
            "Workloads",
            "Usage, requests and limits of the pods of each workload.",
            {"workload": "Workload", "workload_type": "Type"},
            Column(
                "Pods", f'count by (workload, workload_type) ({OWNER}{{cluster=~"$cluster"{IN_NAMESPACE}{_OF_TYPE}}})'
            ),
            *columns("workload, workload_type", IN_NAMESPACE, by_workload(_OF_TYPE)),
            links={
                "Workload": Link(
                    f"{PREFIX}workload", {"namespace": "$namespace", "type": "Type", "workload": "Workload"}
                )
            },
            height=10,
        ),
        _quotas(),
    ),
)

WORKLOAD = Dashboard(
    folder="resources",
    name="workload",
    title="Resources / Workload",
    description="How do the pods of one workload compare?",
    variables=(NAMESPACE, _TYPE, _WORKLOAD),
    content=(
        Row("Now"),
        number(
            "Pods",
            "Pods of the workload.",
            "short",
            Query(f'count({OWNER}{{cluster=~"$cluster"{IN_NAMESPACE}{_OF_WORKLOAD}}})'),
        ),
        *(
            number(
                f"{NAME[resource]} used",
                f"{NAME[resource]} usage of all pods.",
                UNIT[resource],
                Query(f"sum({usage(resource, IN_NAMESPACE)}{by_workload(_OF_WORKLOAD)})"),
            )
            for resource in ("cpu", "memory")
        ),
        *(
            ratio(
                f"{NAME[resource]} of requests",
                f"{NAME[resource]} usage as a share of the pods' requests.",
                f"sum({usage(resource, IN_NAMESPACE)}{by_workload(_OF_WORKLOAD)})",
                f"sum({committed('requests', resource, IN_NAMESPACE)}{by_workload(_OF_WORKLOAD)})",
                steps=OF_REQUEST,
            )
            for resource in ("cpu", "memory")
        ),
        number(
            "Nodes",
            "Nodes that run the pods; with one node, a single failure stops the workload.",
            "short",
            Query(
                f'count(count by (node) (kube_pod_info{{cluster=~"$cluster"{IN_NAMESPACE}}}{by_workload(_OF_WORKLOAD)}))'
            ),
            steps=Steps("orange", ((2, "green"),)),
        ),
        Row("Pods"),
        *over_time("pod", IN_NAMESPACE, by_workload(_OF_WORKLOAD)),
        table(
            "Pods",
            "Usage, requests and limits of each pod.",
            {"pod": "Pod"},
            *columns("pod", IN_NAMESPACE, by_workload(_OF_WORKLOAD)),
            links={"Pod": Link(f"{PREFIX}pod", {"namespace": "$namespace", "pod": "Pod"})},
            height=10,
        ),
    ),
)

_IN_POD = ', namespace="$namespace", pod="$pod"'


def _bounded(resource: str) -> Panel:
    """Return the usage of a pod's containers, with their requests and limits."""
    name, unit = NAME[resource], UNIT[resource]
    return lines(
        f"{name} used, requested, limit",
        f"{name} usage of each container, with the requests and limits of the pod.",
        unit,
        Query(f"sum by (container) ({usage(resource, _IN_POD)})", "{{container}}"),
        Query(f"sum({committed('requests', resource, _IN_POD)})", "requested"),
        Query(f"sum({committed('limits', resource, _IN_POD)})", "limit"),
    )


POD = Dashboard(
    folder="resources",
    name="pod",
    title="Resources / Pod",
    description="What do the containers of one pod use, and are they throttled?",
    variables=(
        NAMESPACE,
        Variable("pod", "Pod", 'label_values(kube_pod_info{cluster=~"$cluster", namespace="$namespace"}, pod)'),
    ),
    content=(
        Row("Now"),
        number(
            "Ready",
            "Containers that are ready.",
            "short",
            Query('sum(kube_pod_container_status_ready{cluster=~"$cluster", namespace="$namespace", pod="$pod"})'),
            steps=Steps("red", ((1, "green"),)),
        ),
        number(
            "Age",
            "Time since the pod started.",
            "s",
            Query('time() - max(kube_pod_start_time{cluster=~"$cluster", namespace="$namespace", pod="$pod"})'),
        ),
        number(
            "Restarts",
            "Container restarts since the pod was created.",
            "short",
            Query(
                'sum(kube_pod_container_status_restarts_total{cluster=~"$cluster", namespace="$namespace", pod="$pod"})'
            ),
            steps=Steps("green", ((1, "orange"), (5, "red"))),
        ),
        ratio(
            "CPU of requests",
            "CPU usage as a share of the pod's requests.",
            f"sum({usage('cpu', _IN_POD)})",
            f"sum({committed('requests', 'cpu', _IN_POD)})",
            steps=OF_REQUEST,
        ),
        ratio(
            "Memory of requests",
            "Memory usage as a share of the pod's requests.",
            f"sum({usage('memory', _IN_POD)})",
            f"sum({committed('requests', 'memory', _IN_POD)})",
            steps=OF_REQUEST,
        ),
        ratio(
            "Memory of limits",
            "Memory usage as a share of the limits; at 100 % the kernel kills the container.",
            f"sum({usage('memory', _IN_POD)})",
            f"sum({committed('limits', 'memory', _IN_POD)})",
        ),
        Row("Containers"),
        _bounded("cpu"),
        _bounded("memory"),
        lines(
            "CPU throttling",
            "Share of periods in which the CPU limit throttled the container; empty without a limit.",
            "percentunit",
            Query(
                f'sum by (container) (rate(container_cpu_cfs_throttled_periods_total{{{CADVISOR}{_IN_POD}, container!=""}}[$__rate_interval]))'
                f' / sum by (container) (rate(container_cpu_cfs_periods_total{{{CADVISOR}{_IN_POD}, container!=""}}[$__rate_interval]))',
                "{{container}}",
            ),
            steps=Steps("green", ((0.25, "orange"), (0.5, "red"))),
        ),
        lines(
            "Memory by type",
            "Memory of processes (rss), of files (cache, reclaimed under pressure), and in swap.",
            "bytes",
            *(
                Query(
                    f'sum(node_namespace_pod_container:container_memory_{kind}{{cluster=~"$cluster"{_IN_POD}, container!=""}})',
                    kind,
                )
                for kind in ("rss", "cache", "swap")
            ),
            stack=True,
        ),
        table(
            "Containers",
            "Usage, requests and limits of each container.",
            {"container": "Container"},
            *columns("container", _IN_POD),
            height=6,
        ),
        *disk_io("container", _IN_POD, "{{container}}"),
    ),
)

DASHBOARDS = (NAMESPACE_PODS, NAMESPACE_WORKLOADS, WORKLOAD, POD)
