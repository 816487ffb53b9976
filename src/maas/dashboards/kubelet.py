"""What runs on every node for Kubernetes: the kubelet, kube-proxy, volumes."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import NODE, Dashboard, Variable, namespaces
from maas.dashboards.panels import ANY_IS_BAD, UTILIZATION, Column, Query, Row, Steps, latency, lines, number, table

_KUBELET = 'cluster=~"$cluster", job="kubelet", metrics_path="/metrics", node=~"$node"'


KUBELET = Dashboard(
    folder="kubernetes",
    name="kubelet",
    title="Kubelet",
    description="Do the nodes' agents start pods in time, and does the container runtime answer them?",
    variables=(NODE,),
    content=(
        Row("Now"),
        number(
            "Kubelets",
            "Kubelets that answer Prometheus.",
            "short",
            Query(f"sum(up{{{_KUBELET}}})"),
            steps=Steps("red", ((1, "green"),)),
        ),
        number("Pods", "Pods that run.", "short", Query(f"sum(kubelet_running_pods{{{_KUBELET}}})")),
        number(
            "Containers",
            "Containers that run.",
            "short",
            Query(f'sum(kubelet_running_containers{{{_KUBELET}, container_state="running"}})'),
        ),
        number(
            "Volumes",
            "Volumes that are mounted.",
            "short",
            Query(f'sum(volume_manager_total_volumes{{{_KUBELET}, state="actual_state_of_world"}})'),
        ),
        number(
            "Volumes missing",
            "Volumes that pods want and that are not mounted.",
            "short",
            Query(
                f'sum(volume_manager_total_volumes{{{_KUBELET}, state="desired_state_of_world"}})'
                f' - sum(volume_manager_total_volumes{{{_KUBELET}, state="actual_state_of_world"}})'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Evictions",
            "Pods in the last hour that had to go because their node ran out of something.",
            "short",
            Query(f"sum(increase(kubelet_evictions{{{_KUBELET}}}[1h])) or vector(0)"),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        Row("Pods", width=8),
        lines(
            "Pods",
            "Pods that run on each node.",
            "short",
            Query(f"sum by (node) (kubelet_running_pods{{{_KUBELET}}})", "{{node}}"),
            stairs=True,
        ),
        shared_panels.percentile(
            "Start of a pod",
            "Seconds from the first sight of a pod to its running containers, for 99 of 100 pods, images included.",
            "kubelet_pod_start_duration_seconds_bucket",
            _KUBELET,
            "node",
            steps=latency(30, 60),
        ),
        shared_panels.percentile(
            "Look at a pod",
            "Seconds that 99 of 100 rounds of the kubelet over one pod take, by what it does.",
            "kubelet_pod_worker_duration_seconds_bucket",
            _KUBELET,
            "operation_type",
        ),
        Row("Container runtime", width=8),
        shared_panels.rates(
            "Calls",
            "Calls per second to the container runtime, by kind.",
            "kubelet_runtime_operations_total",
            _KUBELET,
            "operation_type",
            unit="ops",
        ),
        shared_panels.rates(
            "Failed calls",
            "Calls per second that the container runtime refused, by kind.",
            "kubelet_runtime_operations_errors_total",
            _KUBELET,
            "operation_type",
            unit="ops",
        ),
        shared_panels.percentile(
            "Time of a call",
            "Seconds within which the container runtime answers 99 of 100 calls, by kind.",
            "kubelet_runtime_operations_duration_seconds_bucket",
            _KUBELET,
            "operation_type",
        ),
        lines(
            "Listing containers, 99th percentile",
            "Seconds within which a kubelet has listed its containers in 99 of 100 rounds; above 3 minutes the node "
            "becomes NotReady.",
            "s",
            Query(
                "max by (node) (node_quantile:kubelet_pleg_relist_duration_seconds:histogram_quantile"
                '{cluster=~"$cluster", node=~"$node", quantile="0.99"})',
                "{{node}}",
            ),
            steps=latency(1, 10),
        ),
        shared_panels.percentile(
            "Time between two lists",
            "Seconds between two lists of a kubelet's containers; normally one.",
            "kubelet_pleg_relist_interval_seconds_bucket",
            _KUBELET,
            "node",
        ),
        shared_panels.percentile(
            "Control groups",
            "Seconds that 99 of 100 changes of control groups take, by kind.",
            "kubelet_cgroup_manager_duration_seconds_bucket",
            _KUBELET,
            "operation_type",
        ),
        Row("Volumes"),
        shared_panels.rates(
            "Operations on volumes",
            "Mounts, unmounts and their like per second, by outcome.",
            "storage_operation_duration_seconds_count",
            _KUBELET,
            "operation_name, status",
            unit="ops",
        ),
        shared_panels.percentile(
            "Time of an operation",
            "Seconds that 99 of 100 operations on volumes take, by kind.",
            "storage_operation_duration_seconds_bucket",
            _KUBELET,
            "operation_name",
        ),
        *shared_panels.client('job="kubelet", metrics_path="/metrics", node=~"$node"'),
        *shared_panels.process('job="kubelet", metrics_path="/metrics", node=~"$node"'),
    ),
)

_PROXY = 'cluster=~"$cluster", job="kube-proxy", node=~"$node"'

PROXY = Dashboard(
    folder="kubernetes",
    name="proxy",
    title="Proxy",
    description="How soon do nodes know the addresses behind a Service?",
    variables=(NODE,),
    content=(
        Row("Now"),
        shared_panels.up("kube-proxy", what="kube-proxy"),
        shared_panels.down("kube-proxy", what="kube-proxy"),
        number(
            "Oldest rules",
            "Time since the node that is furthest behind last wrote its rules; it grows while nothing changes, too.",
            "s",
            Query(f"time() - min(kubeproxy_sync_proxy_rules_last_timestamp_seconds{{{_PROXY}}})"),
        ),
        number(
            "Changes waiting",
            "Changes of endpoints that are not in the rules yet.",
            "short",
            Query(f"sum(kubeproxy_sync_proxy_rules_endpoint_changes_pending{{{_PROXY}}})"),
            steps=Steps("green", ((10, "orange"), (100, "red"))),
        ),
        Row("Rules", width=8),
        shared_panels.rates(
            "Writes of the rules",
            "How often per second each node writes its rules.",
            "kubeproxy_sync_proxy_rules_duration_seconds_count",
            _PROXY,
            "node",
            unit="ops",
        ),
        shared_panels.percentile(
            "Time of a write",
            "Seconds that 99 of 100 writes of the rules take.",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket",
            _PROXY,
            "node",
            steps=latency(1, 5),
        ),
        shared_panels.percentile(
            "Time to know a change",
            "Seconds from a change of an endpoint until 99 of 100 such changes are in a node's rules.",
            "kubeproxy_network_programming_duration_seconds_bucket",
            _PROXY,
            "node",
            steps=latency(5, 30),
        ),
        *shared_panels.client('job="kube-proxy", node=~"$node"'),
        *shared_panels.process('job="kube-proxy", node=~"$node"'),
    ),
)

_CLAIM = 'cluster=~"$cluster", job="kubelet", namespace=~"$namespace", persistentvolumeclaim=~"$volume"'

PERSISTENT_VOLUMES = Dashboard(
    folder="kubernetes",
    name="persistent-volumes",
    title="Persistent volumes",
    description="Which volumes fill up, and when will they be full?",
    since="now-24h",
    variables=(
        namespaces("kubelet_volume_stats_capacity_bytes"),
        Variable(
            "volume",
            "Claim",
            'label_values(kubelet_volume_stats_capacity_bytes{cluster=~"$cluster", namespace=~"$namespace"}, '
            "persistentvolumeclaim)",
            several=True,
        ),
    ),
    content=(
        Row("Now"),
        number(
            "Claims",
            "Claims that are mounted by a pod.",
            "short",
            Query(f"count(kubelet_volume_stats_capacity_bytes{{{_CLAIM}}})"),
        ),
        number(
            "Fullest",
            "Share of space used on the fullest volume.",
            "percentunit",
            Query(
                f"max(1 - kubelet_volume_stats_available_bytes{{{_CLAIM}}} / kubelet_volume_stats_capacity_bytes{{{_CLAIM}}})"
            ),
            steps=UTILIZATION,
        ),
        number(
            "Fewest inodes left",
            "Share of inodes used on the volume with the fewest left.",
            "percentunit",
            Query(f"max(kubelet_volume_stats_inodes_used{{{_CLAIM}}} / kubelet_volume_stats_inodes{{{_CLAIM}}})"),
            steps=UTILIZATION,
        ),
        number(
            "Claims without a volume",
            "Claims that are pending or have lost their volume.",
            "short",
            Query(
                'sum(kube_persistentvolumeclaim_status_phase{cluster=~"$cluster", namespace=~"$namespace", phase!="Bound"})'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Failed volumes",
            "Volumes of the cluster in the phase Failed.",
            "short",
            Query('sum(kube_persistentvolume_status_phase{cluster=~"$cluster", phase="Failed"})'),
            steps=ANY_IS_BAD,
        ),
        Row("Volumes"),
        table(
            "Volumes",
            "Every mounted claim: its size, what is used, and where it will be in a day if it goes on like the last six hours.",
            {"namespace": "Namespace", "persistentvolumeclaim": "Claim", "node": "Node"},
            Column(
                "Size",
                f"max by (namespace, persistentvolumeclaim, node) (kubelet_volume_stats_capacity_bytes{{{_CLAIM}}})",
                "bytes",
            ),
            Column(
                "Used",
                "max by (namespace, persistentvolumeclaim, node) "
                f"(1 - kubelet_volume_stats_available_bytes{{{_CLAIM}}} / kubelet_volume_stats_capacity_bytes{{{_CLAIM}}})",
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "Used in a day",
                "max by (namespace, persistentvolumeclaim, node) (clamp_min("
                f"1 - predict_linear(kubelet_volume_stats_available_bytes{{{_CLAIM}}}[6h], 86400) "
                f"/ kubelet_volume_stats_capacity_bytes{{{_CLAIM}}}, 0))",
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "Inodes used",
                "max by (namespace, persistentvolumeclaim, node) "
                f"(kubelet_volume_stats_inodes_used{{{_CLAIM}}} / kubelet_volume_stats_inodes{{{_CLAIM}}})",
                "percentunit",
                UTILIZATION,
            ),
        ),
        lines(
            "Space used",
            "Share of each volume's space that is used.",
            "percentunit",
            Query(
                "max by (namespace, persistentvolumeclaim) "
                f"(1 - kubelet_volume_stats_available_bytes{{{_CLAIM}}} / kubelet_volume_stats_capacity_bytes{{{_CLAIM}}})",
                "{{namespace}}/{{persistentvolumeclaim}}",
            ),
            steps=UTILIZATION,
            most=1,
        ),
        lines(
            "Inodes used",
            "Share of each volume's inodes that are used.",
            "percentunit",
            Query(
                "max by (namespace, persistentvolumeclaim) "
                f"(kubelet_volume_stats_inodes_used{{{_CLAIM}}} / kubelet_volume_stats_inodes{{{_CLAIM}}})",
                "{{namespace}}/{{persistentvolumeclaim}}",
            ),
            steps=UTILIZATION,
            most=1,
        ),
    ),
)

DASHBOARDS = (KUBELET, PROXY, PERSISTENT_VOLUMES)
