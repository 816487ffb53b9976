"""Compute resources, from all clusters down to one pod."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import NAMESPACE, NODE, PREFIX, Dashboard, Variable
from maas.dashboards.panels import ANY_IS_BAD, UTILIZATION, Column, Link, Panel, Query, Row, Steps, lines, number, table

_CPU = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m"
_MEMORY = "node_namespace_pod_container:container_memory_working_set_bytes"
_OWNER = "namespace_workload_pod:kube_pod_owner:relabel"

_COMMITTED = Steps("green", ((1, "orange"), (1.5, "red")))
"""Requests or limits as a share of what there is: above 100 % not everything can run at once."""

_OF_REQUEST = Steps("green", ((1, "orange"), (2, "red")))
"""Use as a share of the request: above it a pod lives on what others leave."""


def _active(kind: str, resource: str) -> str:
    """Recorded requests or limits of the containers of pods that are not finished."""
    return f"cluster:namespace:pod_{resource}:active:kube_pod_container_resource_{kind}"


_UNIT = {"cpu": "short", "memory": "bytes"}
_NAME = {"cpu": "CPU", "memory": "Memory"}
_USED = {"cpu": _CPU, "memory": _MEMORY}


def _used(resource: str, where: str) -> str:
    """What containers use now; the pods' own groups, which have no container's name, would count everything twice."""
    return f'{_USED[resource]}{{cluster=~"$cluster", container!=""{where}}}'


def _asked(kind: str, resource: str, where: str) -> str:
    return f'{_active(kind, resource)}{{cluster=~"$cluster"{where}}}'


def _columns(by: str, where: str, joined: str = "") -> tuple[Column, ...]:
    """Columns of CPU and memory by some labels: used, requested, limited, and use as a share of both."""
    columns: list[Column] = []
    for resource in ("cpu", "memory"):
        name, unit = _NAME[resource], _UNIT[resource]
        used = f"sum by ({by}) ({_used(resource, where)}{joined})"
        requests, limits = (
            f"sum by ({by}) ({_asked(kind, resource, where)}{joined})" for kind in ("requests", "limits")
        )
        columns += [
            Column(f"{name} used", used, unit),
            Column(f"{name} requested", requests, unit),
            Column(f"{name} of request", f"{used} / {requests}", "percentunit", _OF_REQUEST),
            Column(f"{name} limit", limits, unit),
            Column(f"{name} of limit", f"{used} / {limits}", "percentunit", UTILIZATION),
        ]
    return tuple(columns)


def _over_time(by: str, where: str, joined: str = "") -> tuple[Panel, Panel]:
    """CPU and memory that are used, as stacks by some labels."""
    legend = "/".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    cpu, memory = (
        lines(
            f"{_NAME[resource]} used",
            f"{what} in use, by {by.replace(', ', ' and ')}.",
            _UNIT[resource],
            Query(f"sum by ({by}) ({_used(resource, where)}{joined})", legend),
            stack=True,
        )
        for resource, what in (("cpu", "Cores"), ("memory", "Bytes of memory"))
    )
    return cpu, memory


def _share(title: str, description: str, part: str, whole: str, *, steps: Steps = UTILIZATION) -> Panel:
    return shared_panels.share(title, description, f"{part} / {whole}", steps=steps, decimals=1)


def _allocatable(resource: str, where: str = "") -> str:
    return f'sum(kube_node_status_allocatable{{cluster=~"$cluster", job="kube-state-metrics", resource="{resource}"{where}}})'


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
        _share(
            "CPU requested",
            "CPU requests as a share of the allocatable CPU.",
            f"sum({_active('requests', 'cpu')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="cpu"})',
            steps=_COMMITTED,
        ),
        _share(
            "CPU limits",
            "CPU limits as a share of the allocatable CPU.",
            f"sum({_active('limits', 'cpu')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="cpu"})',
            steps=_COMMITTED,
        ),
        _share(
            "Memory used",
            "Share of all memory that is in use.",
            '(sum(node_memory_MemTotal_bytes{job="node-exporter"}) - sum(:node_memory_MemAvailable_bytes:sum))',
            'sum(node_memory_MemTotal_bytes{job="node-exporter"})',
        ),
        _share(
            "Memory requested",
            "Memory requests as a share of the allocatable memory.",
            f"sum({_active('requests', 'memory')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="memory"})',
            steps=_COMMITTED,
        ),
        _share(
            "Memory limits",
            "Memory limits as a share of the allocatable memory.",
            f"sum({_active('limits', 'memory')})",
            'sum(kube_node_status_allocatable{job="kube-state-metrics", resource="memory"})',
            steps=_COMMITTED,
        ),
        Row("Clusters"),
        table(
            "Clusters",
            "All clusters, by their label `cluster`; a single cluster has no label.",
            {"cluster": "Cluster"},
            Column("Nodes", "count by (cluster) (kube_node_info)"),
            Column("Pods", 'sum by (cluster) (kubelet_running_pods{job="kubelet"})'),
            Column("CPU used", f'sum by (cluster) ({_CPU}{{container!=""}})'),
            Column("CPU requested", f"sum by (cluster) ({_active('requests', 'cpu')})"),
            Column(
                "CPU total",
                'sum by (cluster) (kube_node_status_allocatable{job="kube-state-metrics", resource="cpu"})',
            ),
            Column("Memory used", f'sum by (cluster) ({_MEMORY}{{container!=""}})', "bytes"),
            Column("Memory requested", f"sum by (cluster) ({_active('requests', 'memory')})", "bytes"),
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
            Query(f'sum by (cluster) ({_CPU}{{container!=""}})', "{{cluster}}"),
            stack=True,
        ),
        lines(
            "Memory used",
            "Memory usage in bytes, by cluster.",
            "bytes",
            Query(f'sum by (cluster) ({_MEMORY}{{container!=""}})', "{{cluster}}"),
            stack=True,
        ),
    ),
)

_CADVISOR = 'cluster=~"$cluster", job="kubelet", metrics_path="/metrics/cadvisor"'


def _io(by: str, where: str, legend: str) -> tuple[Row | Panel, ...]:
    """What containers read from and write to disks, by some labels."""

    def rate(metric: str) -> str:
        return (
            f'sum by ({by}) (rate(container_fs_{metric}_total{{{_CADVISOR}, container!=""{where}}}[$__rate_interval]))'
        )

    return (
        Row("Disks"),
        lines(
            "Operations", "Reads and writes per second.", "iops", Query(f"{rate('reads')} + {rate('writes')}", legend)
        ),
        lines(
            "Bytes",
            "Bytes per second read and written.",
            "Bps",
            Query(f"{rate('reads_bytes')} + {rate('writes_bytes')}", legend),
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
        _share(
            "CPU requested",
            "CPU requests as a share of the allocatable CPU.",
            f"sum({_asked('requests', 'cpu', '')})",
            _allocatable("cpu"),
            steps=_COMMITTED,
        ),
        _share(
            "CPU limits",
            "CPU limits as a share of the allocatable CPU.",
            f"sum({_asked('limits', 'cpu', '')})",
            _allocatable("cpu"),
            steps=_COMMITTED,
        ),
        _share(
            "Memory used",
            "Share of all memory that is in use.",
            '(sum(node_memory_MemTotal_bytes{cluster=~"$cluster", job="node-exporter"}) - sum(:node_memory_MemAvailable_bytes:sum{cluster=~"$cluster"}))',
            'sum(node_memory_MemTotal_bytes{cluster=~"$cluster", job="node-exporter"})',
        ),
        _share(
            "Memory requested",
            "Memory requests as a share of the allocatable memory.",
            f"sum({_asked('requests', 'memory', '')})",
            _allocatable("memory"),
            steps=_COMMITTED,
        ),
        _share(
            "Memory limits",
            "Memory limits as a share of the allocatable memory.",
            f"sum({_asked('limits', 'memory', '')})",
            _allocatable("memory"),
            steps=_COMMITTED,
        ),
        Row("Namespaces"),
        *_over_time("namespace", ""),
        table(
            "Namespaces",
            "Usage, requests and limits of the pods of each namespace.",
            {"namespace": "Namespace"},
            Column("Pods", f'count by (namespace) (max by (namespace, pod) ({_OWNER}{{cluster=~"$cluster"}}))'),
            *_columns("namespace", ""),
            links={
                "Namespace": Link(f"{PREFIX}namespace-pods", {"namespace": "Namespace"}),
                "Pods": Link(f"{PREFIX}namespace-workloads", {"namespace": "Namespace"}),
            },
            height=10,
        ),
        *_io("namespace", "", "{{namespace}}"),
    ),
)

_IN_NAMESPACE = ', namespace="$namespace"'


def _against(kind: str, resource: str) -> Panel:
    """What a namespace uses as a share of its requests or limits."""
    name, share = _NAME[resource], "requests" if kind == "requests" else "limits"
    return _share(
        f"{name} of {share}",
        f"{name} usage as a share of the {share} of all pods of the namespace.",
        f"sum({_used(resource, _IN_NAMESPACE)})",
        f"sum({_asked(kind, resource, _IN_NAMESPACE)})",
        steps=_OF_REQUEST if kind == "requests" else UTILIZATION,
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
        *_over_time("pod", _IN_NAMESPACE),
        table(
            "Pods",
            "Usage, requests and limits of each pod.",
            {"pod": "Pod"},
            *_columns("pod", _IN_NAMESPACE),
            links={"Pod": Link(f"{PREFIX}pod", {"namespace": "$namespace", "pod": "Pod"})},
            height=10,
        ),
        _quotas(),
        *_io("pod", _IN_NAMESPACE, "{{pod}}"),
    ),
)

_TYPE = Variable(
    "type",
    "Type",
    f'label_values({_OWNER}{{cluster=~"$cluster", namespace="$namespace"}}, workload_type)',
    several=True,
)
_WORKLOAD = Variable(
    "workload",
    "Workload",
    f'label_values({_OWNER}{{cluster=~"$cluster", namespace="$namespace", workload_type=~"$type"}}, workload)',
)


def _owned(where: str) -> str:
    """Give every pod's value the workload that owns it."""
    return (
        " * on (cluster, namespace, pod) group_left (workload, workload_type) "
        f'max by (cluster, namespace, pod, workload, workload_type) ({_OWNER}{{cluster=~"$cluster"{_IN_NAMESPACE}{where}}})'
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
                f'count(count by (workload, workload_type) ({_OWNER}{{cluster=~"$cluster"{_IN_NAMESPACE}{_OF_TYPE}}}))'
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
        *_over_time("workload", _IN_NAMESPACE, _owned(_OF_TYPE)),
        table(
            "Workloads",
            "Usage, requests and limits of the pods of each workload.",
            {"workload": "Workload", "workload_type": "Type"},
            Column(
                "Pods", f'count by (workload, workload_type) ({_OWNER}{{cluster=~"$cluster"{_IN_NAMESPACE}{_OF_TYPE}}})'
            ),
            *_columns("workload, workload_type", _IN_NAMESPACE, _owned(_OF_TYPE)),
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
            Query(f'count({_OWNER}{{cluster=~"$cluster"{_IN_NAMESPACE}{_OF_WORKLOAD}}})'),
        ),
        *(
            number(
                f"{_NAME[resource]} used",
                f"{_NAME[resource]} usage of all pods.",
                _UNIT[resource],
                Query(f"sum({_used(resource, _IN_NAMESPACE)}{_owned(_OF_WORKLOAD)})"),
            )
            for resource in ("cpu", "memory")
        ),
        *(
            _share(
                f"{_NAME[resource]} of requests",
                f"{_NAME[resource]} usage as a share of the pods' requests.",
                f"sum({_used(resource, _IN_NAMESPACE)}{_owned(_OF_WORKLOAD)})",
                f"sum({_asked('requests', resource, _IN_NAMESPACE)}{_owned(_OF_WORKLOAD)})",
                steps=_OF_REQUEST,
            )
            for resource in ("cpu", "memory")
        ),
        number(
            "Nodes",
            "Nodes that run the pods; with one node, a single failure stops the workload.",
            "short",
            Query(
                f'count(count by (node) (kube_pod_info{{cluster=~"$cluster"{_IN_NAMESPACE}}}{_owned(_OF_WORKLOAD)}))'
            ),
            steps=Steps("orange", ((2, "green"),)),
        ),
        Row("Pods"),
        *_over_time("pod", _IN_NAMESPACE, _owned(_OF_WORKLOAD)),
        table(
            "Pods",
            "Usage, requests and limits of each pod.",
            {"pod": "Pod"},
            *_columns("pod", _IN_NAMESPACE, _owned(_OF_WORKLOAD)),
            links={"Pod": Link(f"{PREFIX}pod", {"namespace": "$namespace", "pod": "Pod"})},
            height=10,
        ),
    ),
)

_IN_POD = ', namespace="$namespace", pod="$pod"'


def _bounded(resource: str) -> Panel:
    """What a pod's containers use, between their requests and limits."""
    name, unit = _NAME[resource], _UNIT[resource]
    return lines(
        f"{name} used, requested, limit",
        f"{name} usage of each container, with the requests and limits of the pod.",
        unit,
        Query(f"sum by (container) ({_used(resource, _IN_POD)})", "{{container}}"),
        Query(f"sum({_asked('requests', resource, _IN_POD)})", "requested"),
        Query(f"sum({_asked('limits', resource, _IN_POD)})", "limit"),
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
        _share(
            "CPU of requests",
            "CPU usage as a share of the pod's requests.",
            f"sum({_used('cpu', _IN_POD)})",
            f"sum({_asked('requests', 'cpu', _IN_POD)})",
            steps=_OF_REQUEST,
        ),
        _share(
            "Memory of requests",
            "Memory usage as a share of the pod's requests.",
            f"sum({_used('memory', _IN_POD)})",
            f"sum({_asked('requests', 'memory', _IN_POD)})",
            steps=_OF_REQUEST,
        ),
        _share(
            "Memory of limits",
            "Memory usage as a share of the limits; at 100 % the kernel kills the container.",
            f"sum({_used('memory', _IN_POD)})",
            f"sum({_asked('limits', 'memory', _IN_POD)})",
        ),
        Row("Containers"),
        _bounded("cpu"),
        _bounded("memory"),
        lines(
            "CPU throttling",
            "Share of periods in which the CPU limit throttled the container; empty without a limit.",
            "percentunit",
            Query(
                f'sum by (container) (rate(container_cpu_cfs_throttled_periods_total{{{_CADVISOR}{_IN_POD}, container!=""}}[$__rate_interval]))'
                f' / sum by (container) (rate(container_cpu_cfs_periods_total{{{_CADVISOR}{_IN_POD}, container!=""}}[$__rate_interval]))',
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
            *_columns("container", _IN_POD),
            height=6,
        ),
        *_io("container", _IN_POD, "{{container}}"),
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
            _share(
                f"{_NAME[resource]} requested",
                f"Requests as a share of the {_NAME[resource]} that is allocatable.",
                f"sum({_asked('requests', resource, _ON_NODE)})",
                _allocatable(resource, _ON_NODE),
                steps=UTILIZATION,
            )
            for resource in ("cpu", "memory")
        ),
        *(
            _share(
                f"{_NAME[resource]} used by pods",
                f"Use as a share of the {_NAME[resource]} that is allocatable.",
                f"sum({_used(resource, _ON_NODE)})",
                _allocatable(resource, _ON_NODE),
            )
            for resource in ("cpu", "memory")
        ),
        _share(
            "Pod capacity used",
            "Running pods as a share of the allocatable pods of the nodes.",
            'sum(kubelet_running_pods{cluster=~"$cluster", job="kubelet", node=~"$node"})',
            _allocatable("pods", _ON_NODE),
        ),
        Row("Pods"),
        *_over_time("namespace, pod", _ON_NODE),
        table(
            "Pods",
            "Usage, requests and limits of each pod on the nodes.",
            {"namespace": "Namespace", "pod": "Pod"},
            *_columns("namespace, pod", _ON_NODE),
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
                f'{_allocatable("pods", _PER_NODE)} - sum(kubelet_running_pods{{cluster=~"$cluster", job="kubelet", node=~"$node"}})'
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
                f"sum by (node) ({_asked('requests', 'cpu', _PER_NODE)}) / {_of_node('cpu')}",
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
                f"sum by (node) ({_asked('requests', 'memory', _PER_NODE)}) / {_of_node('memory')}",
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "Memory used",
                f"sum by (node) ({_used('memory', _PER_NODE)}) / {_of_node('memory')}",
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
            Query(f"sum by (node) ({_used('memory', _PER_NODE)}) / {_of_node('memory')}", "{{node}}"),
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
            Query(f"sum by (node) ({_asked('requests', 'cpu', _PER_NODE)}) / {_of_node('cpu')}", "{{node}}"),
            steps=UTILIZATION,
        ),
    ),
)

DASHBOARDS = (
    MULTI_CLUSTER,
    CLUSTER,
    NAMESPACE_PODS,
    NAMESPACE_WORKLOADS,
    WORKLOAD,
    POD,
    NODE_PODS,
    NODES_OVERVIEW,
)
