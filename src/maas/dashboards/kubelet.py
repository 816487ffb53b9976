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
    description="Do the kubelets start pods quickly, and does the container runtime respond?",
    variables=(NODE,),
    content=(
        Row("Now"),
        number(
            "Kubelets",
            "Kubelets that Prometheus scrapes successfully.",
            "short",
            Query(f"sum(up{{{_KUBELET}}})"),
            steps=Steps("red", ((1, "green"),)),
        ),
        number("Pods", "Running pods.", "short", Query(f"sum(kubelet_running_pods{{{_KUBELET}}})")),
        number(
            "Containers",
            "Running containers.",
            "short",
            Query(f'sum(kubelet_running_containers{{{_KUBELET}, container_state="running"}})'),
        ),
        number(
            "Volumes",
            "Mounted volumes.",
            "short",
            Query(f'sum(volume_manager_total_volumes{{{_KUBELET}, state="actual_state_of_world"}})'),
        ),
        number(
            "Volumes missing",
            "Volumes that pods need and that are not mounted.",
            "short",
            Query(
                f'sum(volume_manager_total_volumes{{{_KUBELET}, state="desired_state_of_world"}})'
                f' - sum(volume_manager_total_volumes{{{_KUBELET}, state="actual_state_of_world"}})'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Evictions",
            "Pods evicted in the last hour because their node ran out of a resource.",
            "short",
            Query(f"sum(increase(kubelet_evictions{{{_KUBELET}}}[1h])) or vector(0)"),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        Row("Pods", width=8),
        lines(
            "Pods",
            "Running pods, by node.",
            "short",
            Query(f"sum by (node) (kubelet_running_pods{{{_KUBELET}}})", "{{node}}"),
            stairs=True,
        ),
        shared_panels.percentile(
            "Pod start duration",
            "Seconds from the kubelet seeing a pod to its running containers, image pulls included.",
            "kubelet_pod_start_duration_seconds_bucket",
            _KUBELET,
            "node",
            steps=latency(30, 60),
        ),
        shared_panels.percentile(
            "Pod worker duration",
            "Seconds that the kubelet takes to sync a pod, by operation.",
            "kubelet_pod_worker_duration_seconds_bucket",
            _KUBELET,
            "operation_type",
        ),
        Row("Container runtime", width=8),
        shared_panels.rates(
            "Operations",
            "Container runtime operations per second, by type.",
            "kubelet_runtime_operations_total",
            _KUBELET,
            "operation_type",
            unit="ops",
        ),
        shared_panels.rates(
            "Failed operations",
            "Failed container runtime operations per second, by type.",
            "kubelet_runtime_operations_errors_total",
            _KUBELET,
            "operation_type",
            unit="ops",
        ),
        shared_panels.percentile(
            "Operation duration",
            "Duration of container runtime operations in seconds, by type.",
            "kubelet_runtime_operations_duration_seconds_bucket",
            _KUBELET,
            "operation_type",
        ),
        lines(
            "PLEG relist duration, 99th percentile",
            "Seconds that the kubelet takes to list its containers; above 3 minutes the node becomes NotReady.",
            "s",
            Query(
                "max by (node) (node_quantile:kubelet_pleg_relist_duration_seconds:histogram_quantile"
                '{cluster=~"$cluster", node=~"$node", quantile="0.99"})',
                "{{node}}",
            ),
            steps=latency(1, 10),
        ),
        shared_panels.percentile(
            "PLEG relist interval",
            "Seconds between two listings of the containers; normally one second.",
            "kubelet_pleg_relist_interval_seconds_bucket",
            _KUBELET,
            "node",
        ),
        shared_panels.percentile(
            "Cgroup manager duration",
            "Duration of cgroup changes in seconds, by type.",
            "kubelet_cgroup_manager_duration_seconds_bucket",
            _KUBELET,
            "operation_type",
        ),
        Row("Volumes"),
        shared_panels.rates(
            "Volume operations",
            "Mounts, unmounts and other volume operations per second, by status.",
            "storage_operation_duration_seconds_count",
            _KUBELET,
            "operation_name, status",
            unit="ops",
        ),
        shared_panels.percentile(
            "Volume operation duration",
            "Duration of volume operations in seconds, by type.",
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
    description="How fast does kube-proxy program changes of Services on the nodes?",
    variables=(NODE,),
    content=(
        Row("Now"),
        *shared_panels.up_and_down("kube-proxy", what="kube-proxy"),
        number(
            "Oldest sync",
            "Time since the last sync of the rules on the node that is furthest behind; it also grows while nothing changes.",
            "s",
            Query(f"time() - min(kubeproxy_sync_proxy_rules_last_timestamp_seconds{{{_PROXY}}})"),
        ),
        number(
            "Pending changes",
            "Endpoint changes that are not in the rules yet.",
            "short",
            Query(f"sum(kubeproxy_sync_proxy_rules_endpoint_changes_pending{{{_PROXY}}})"),
            steps=Steps("green", ((10, "orange"), (100, "red"))),
        ),
        Row("Rules", width=8),
        shared_panels.rates(
            "Rule syncs",
            "Syncs of the rules per second, by node.",
            "kubeproxy_sync_proxy_rules_duration_seconds_count",
            _PROXY,
            "node",
            unit="ops",
        ),
        shared_panels.percentile(
            "Rule sync duration",
            "Duration of a sync of the rules in seconds.",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket",
            _PROXY,
            "node",
            steps=latency(1, 5),
        ),
        shared_panels.percentile(
            "Network programming duration",
            "Seconds from an endpoint change to updated rules on the node.",
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
            "PersistentVolumeClaims that a pod has mounted.",
            "short",
            Query(f"count(kubelet_volume_stats_capacity_bytes{{{_CLAIM}}})"),
        ),
        shared_panels.share(
            "Fullest volume",
            "Share of space used on the fullest volume.",
            f"max(1 - kubelet_volume_stats_available_bytes{{{_CLAIM}}} / kubelet_volume_stats_capacity_bytes{{{_CLAIM}}})",
        ),
        shared_panels.share(
            "Most inodes used",
            "Share of inodes used on the volume with the fewest free inodes.",
            f"max(kubelet_volume_stats_inodes_used{{{_CLAIM}}} / kubelet_volume_stats_inodes{{{_CLAIM}}})",
        ),
        number(
            "Claims without a volume",
            "Claims in the phase Pending or Lost.",
            "short",
            Query(
                'sum(kube_persistentvolumeclaim_status_phase{cluster=~"$cluster", namespace=~"$namespace", phase!="Bound"})'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Failed volumes",
            "PersistentVolumes in the phase Failed.",
            "short",
            Query('sum(kube_persistentvolume_status_phase{cluster=~"$cluster", phase="Failed"})'),
            steps=ANY_IS_BAD,
        ),
        Row("Volumes"),
        table(
            "Volumes",
            "All mounted claims: size, usage, and the predicted usage in a day from the last six hours.",
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
