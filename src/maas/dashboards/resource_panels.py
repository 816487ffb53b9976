"""Columns, panels and expressions of the dashboards for compute resources."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.panels import UTILIZATION, Column, Panel, Query, Row, Steps, lines

CPU = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m"
MEMORY = "node_namespace_pod_container:container_memory_working_set_bytes"
OWNER = "namespace_workload_pod:kube_pod_owner:relabel"

COMMITTED = Steps("green", ((1, "orange"), (1.5, "red")))
"""For requests or limits as a share of a resource: above 100 %, not all pods can use theirs at the same time."""

OF_REQUEST = Steps("green", ((1, "orange"), (2, "red")))
"""For usage as a share of the request: above 100 %, a pod uses what others leave."""


def active(kind: str, resource: str) -> str:
    """Return the series of requests or limits of containers, of pods that are not finished."""
    return f"cluster:namespace:pod_{resource}:active:kube_pod_container_resource_{kind}"


UNIT = {"cpu": "short", "memory": "bytes"}
NAME = {"cpu": "CPU", "memory": "Memory"}
USED = {"cpu": CPU, "memory": MEMORY}


def usage(resource: str, where: str) -> str:
    """Return the usage of containers. The pods' own cgroups, which have no container name, would count everything twice."""
    return f'{USED[resource]}{{cluster=~"$cluster", container!=""{where}}}'


def committed(kind: str, resource: str, where: str) -> str:
    """Return the requests or limits of containers."""
    return f'{active(kind, resource)}{{cluster=~"$cluster"{where}}}'


def columns(by: str, where: str, joined: str = "") -> tuple[Column, ...]:
    """Return columns of CPU and memory by some labels: usage, requests, limits, and usage as a share of both."""
    columns: list[Column] = []
    for resource in ("cpu", "memory"):
        name, unit = NAME[resource], UNIT[resource]
        used = f"sum by ({by}) ({usage(resource, where)}{joined})"
        requests, limits = (
            f"sum by ({by}) ({committed(kind, resource, where)}{joined})" for kind in ("requests", "limits")
        )
        columns += [
            Column(f"{name} used", used, unit),
            Column(f"{name} requested", requests, unit),
            Column(f"{name} of request", f"{used} / {requests}", "percentunit", OF_REQUEST),
            Column(f"{name} limit", limits, unit),
            Column(f"{name} of limit", f"{used} / {limits}", "percentunit", UTILIZATION),
        ]
    return tuple(columns)


def over_time(by: str, where: str, joined: str = "") -> tuple[Panel, Panel]:
    """Return stacked lines of the usage of CPU and memory by some labels."""
    legend = "/".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    cpu, memory = (
        lines(
            f"{NAME[resource]} used",
            f"{what} in use, by {by.replace(', ', ' and ')}.",
            UNIT[resource],
            Query(f"sum by ({by}) ({usage(resource, where)}{joined})", legend),
            stack=True,
        )
        for resource, what in (("cpu", "Cores"), ("memory", "Bytes of memory"))
    )
    return cpu, memory


def ratio(title: str, description: str, part: str, whole: str, *, steps: Steps = UTILIZATION) -> Panel:
    """Return a number that is a ratio of two expressions."""
    return shared_panels.share(title, description, f"{part} / {whole}", steps=steps, decimals=1)


def allocatable(resource: str, where: str = "") -> str:
    """Return what nodes can give to pods."""
    return f'sum(kube_node_status_allocatable{{cluster=~"$cluster", job="kube-state-metrics", resource="{resource}"{where}}})'


IN_NAMESPACE = ', namespace="$namespace"'

CADVISOR = 'cluster=~"$cluster", job="kubelet", metrics_path="/metrics/cadvisor"'


def disk_io(by: str, where: str, legend: str) -> tuple[Row | Panel, ...]:
    """Return the row of the disk operations of containers, by some labels."""

    def rate(metric: str) -> str:
        return (
            f'sum by ({by}) (rate(container_fs_{metric}_total{{{CADVISOR}, container!=""{where}}}[$__rate_interval]))'
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


def by_workload(where: str) -> str:
    """Return the operator that adds the workload to the series of its pods."""
    return (
        " * on (cluster, namespace, pod) group_left (workload, workload_type) "
        f'max by (cluster, namespace, pod, workload, workload_type) ({OWNER}{{cluster=~"$cluster"{IN_NAMESPACE}{where}}})'
    )
