"""The control plane: API server, controller manager, scheduler, etcd."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import Dashboard, instances
from maas.dashboards.panels import (
    ANY_IS_BAD,
    AVAILABILITY,
    ERRORS,
    NONE_IS_BAD,
    UTILIZATION,
    Panel,
    Query,
    Row,
    Steps,
    latency,
    lines,
    number,
)
from maas.dashboards.promql import quantile, rate


def _requests(kind: str, verb: str) -> tuple[Row | Panel, ...]:
    """How the API server answers reads or writes."""
    rate = f'code_resource:apiserver_request_total:rate5m{{cluster=~"$cluster", verb="{verb}"'
    return (
        Row(kind),
        shared_panels.share(
            f"{kind}: availability, 30 days",
            f"Share of {kind.lower()} in the last 30 days that succeeded within the latency objective.",
            f'apiserver_request:availability30d{{cluster=~"$cluster", verb="{verb}"}}',
            steps=AVAILABILITY,
            decimals=3,
        ),
        lines(
            f"{kind} by code",
            f"{kind} per second, by HTTP status code.",
            "reqps",
            Query(f"sum by (code) ({rate}}})", "{{code}}"),
            stack=True,
            width=7,
        ),
        lines(
            f"Failed {kind.lower()}",
            f"Share of {kind.lower()} that failed with a server error, by resource.",
            "percentunit",
            Query(
                f'(sum by (resource) ({rate}, code=~"5.."}}) or 0 * sum by (resource) ({rate}}}))'
                f" / sum by (resource) ({rate}}})",
                "{{resource}}",
            ),
            steps=ERRORS,
            width=6,
        ),
        lines(
            f"{kind}: duration, 99th percentile",
            f"Seconds within which 99 of 100 {kind.lower()} are answered, by resource.",
            "s",
            Query(
                "cluster_quantile:apiserver_request_sli_duration_seconds:histogram_quantile"
                f'{{cluster=~"$cluster", verb="{verb}", quantile="0.99"}}',
                "{{resource}} {{scope}}",
            ),
            steps=latency(1, 5),
            width=7,
        ),
    )


API_SERVER = Dashboard(
    folder="kubernetes",
    name="api-server",
    title="API server",
    description="Is the API server available and fast, and how much of its error budget is left?",
    variables=(instances("apiserver"),),
    content=(
        Row("Objectives"),
        shared_panels.up("apiserver", what="the API server"),
        shared_panels.share(
            "Availability, 30 days",
            "Share of all requests in the last 30 days that succeeded within the latency objective.",
            'apiserver_request:availability30d{cluster=~"$cluster", verb="all"}',
            steps=AVAILABILITY,
            decimals=3,
        ),
        shared_panels.share(
            "Error budget left",
            "Share of the error budget that is left: 1 % of requests in 30 days may fail or be slow.",
            '(apiserver_request:availability30d{cluster=~"$cluster", verb="all"} - 0.99) / 0.01',
            steps=Steps("red", ((0.1, "orange"), (0.5, "green"))),
            decimals=1,
        ),
        number(
            "Requests",
            "Requests per second, without watches.",
            "reqps",
            Query('sum(code_resource:apiserver_request_total:rate5m{cluster=~"$cluster"})'),
        ),
        number(
            "Client certificates",
            "Time until the first client certificate in use expires, from the requests of the last 5 minutes.",
            "s",
            Query(
                "histogram_quantile(0.01, sum by (le) "
                '(rate(apiserver_client_certificate_expiration_seconds_bucket{cluster=~"$cluster", job="apiserver"}[5m])))'
            ),
            steps=Steps("red", ((86400, "orange"), (604800, "green"))),
        ),
        number(
            "Objects",
            "Objects of all resources in etcd.",
            "short",
            Query('sum(max by (group, resource) (apiserver_resource_objects{cluster=~"$cluster", job="apiserver"}))'),
        ),
        lines(
            "Error budget burn rate",
            "How many times faster than allowed the error budget is used up, over windows of 5 minutes to 6 hours.",
            "short",
            Query('sum(apiserver_request:burnrate5m{cluster=~"$cluster"}) / 0.01', "5 minutes"),
            Query('sum(apiserver_request:burnrate30m{cluster=~"$cluster"}) / 0.01', "30 minutes"),
            Query('sum(apiserver_request:burnrate1h{cluster=~"$cluster"}) / 0.01', "1 hour"),
            Query('sum(apiserver_request:burnrate6h{cluster=~"$cluster"}) / 0.01', "6 hours"),
            steps=Steps("green", ((1, "orange"), (14.4, "red"))),
        ),
        lines(
            "Requests in flight",
            "Requests in progress, by kind.",
            "short",
            Query(
                "sum by (request_kind) (apiserver_current_inflight_requests"
                '{cluster=~"$cluster", job="apiserver", instance=~"$instance"})',
                "{{request_kind}}",
            ),
        ),
        *_requests("Reads", "read"),
        *_requests("Writes", "write"),
        Row("Fairness and watches", width=8),
        lines(
            "Waiting requests",
            "Queued requests, by priority level; if they stay queued, clients are throttled.",
            "short",
            Query(
                "sum by (priority_level) (apiserver_flowcontrol_current_inqueue_requests"
                '{cluster=~"$cluster", job="apiserver", instance=~"$instance"})',
                "{{priority_level}}",
            ),
        ),
        lines(
            "Seats in use",
            "Share of each priority level's seats that are in use.",
            "percentunit",
            Query(
                "max by (priority_level) (sum by (cluster, instance, priority_level) (apiserver_flowcontrol_current_executing_seats"
                '{cluster=~"$cluster", job="apiserver", instance=~"$instance"}'
                ") / sum by (cluster, instance, priority_level) (apiserver_flowcontrol_current_limit_seats"
                '{cluster=~"$cluster", job="apiserver", instance=~"$instance"}))',
                "{{priority_level}}",
            ),
            steps=UTILIZATION,
        ),
        lines(
            "Open watches",
            "Open long-running requests of the ten resources with the most.",
            "short",
            Query(
                "topk(10, sum by (resource) (apiserver_longrunning_requests"
                '{cluster=~"$cluster", job="apiserver", instance=~"$instance", verb="WATCH"}))',
                "{{resource}}",
            ),
        ),
        *shared_panels.queues('job="apiserver", instance=~"$instance"'),
        *shared_panels.process('job="apiserver", instance=~"$instance"'),
    ),
)

CONTROLLER_MANAGER = Dashboard(
    folder="kubernetes",
    name="controller-manager",
    title="Controller manager",
    description="Do the controllers keep up with changes in the cluster?",
    variables=(instances("kube-controller-manager"),),
    content=(
        Row("Now"),
        *shared_panels.up_and_down("kube-controller-manager", what="the controller manager"),
        number(
            "Processed",
            "Objects per second that the controllers process.",
            "ops",
            Query(
                "sum(rate(workqueue_work_duration_seconds_count"
                '{cluster=~"$cluster", job="kube-controller-manager", instance=~"$instance"}[$__rate_interval]))'
            ),
        ),
        number(
            "Depth",
            "Objects in all work queues.",
            "short",
            Query('sum(workqueue_depth{cluster=~"$cluster", job="kube-controller-manager", instance=~"$instance"})'),
            steps=Steps("green", ((100, "orange"), (1000, "red"))),
        ),
        number(
            "Retries",
            "Objects per second that controllers queue again after a failure.",
            "ops",
            Query(
                "sum(rate(workqueue_retries_total"
                '{cluster=~"$cluster", job="kube-controller-manager", instance=~"$instance"}[$__rate_interval]))'
            ),
            steps=Steps("green", ((1, "orange"), (10, "red"))),
        ),
        number(
            "Unhealthy nodes",
            "Nodes that the node controller sees as not ready; if too many are, it stops evicting pods.",
            "short",
            Query('sum(node_collector_unhealthy_nodes_in_zone{cluster=~"$cluster", job="kube-controller-manager"})'),
            steps=ANY_IS_BAD,
        ),
        *shared_panels.queues('job="kube-controller-manager", instance=~"$instance"'),
        *shared_panels.client('job="kube-controller-manager", instance=~"$instance"'),
        *shared_panels.process('job="kube-controller-manager", instance=~"$instance"'),
    ),
)

SCHEDULER = Dashboard(
    folder="kubernetes",
    name="scheduler",
    title="Scheduler",
    description="Are pods scheduled, and how long do they wait for a node?",
    variables=(instances("kube-scheduler"),),
    content=(
        Row("Now"),
        *shared_panels.up_and_down("kube-scheduler", what="the scheduler"),
        number(
            "Scheduled",
            "Pods scheduled per second.",
            "ops",
            Query(
                "sum(rate(scheduler_schedule_attempts_total"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance", result="scheduled"}[$__rate_interval]))'
            ),
        ),
        number(
            "Unschedulable",
            "Pending pods that fit on no node.",
            "short",
            Query(
                "sum(scheduler_pending_pods"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance", queue="unschedulable"})'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Depth",
            "Pending pods in all queues of the scheduler.",
            "short",
            Query('sum(scheduler_pending_pods{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance"})'),
            steps=Steps("green", ((10, "orange"), (50, "red"))),
        ),
        number(
            "Preempted",
            "Pods evicted in the last hour for pods of a higher priority.",
            "short",
            Query(
                "sum(increase(scheduler_preemption_victims_sum"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance"}[1h])) or vector(0)'
            ),
            steps=ANY_IS_BAD,
        ),
        Row("Scheduling"),
        lines(
            "Attempts by result",
            "Scheduling attempts per second, by result.",
            "ops",
            Query(
                "sum by (result) (rate(scheduler_schedule_attempts_total"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance"}[$__rate_interval]))',
                "{{result}}",
            ),
        ),
        lines(
            "Pods by queue",
            "Pending pods: active (ready to schedule), backoff (after a failure), unschedulable (waiting for a change of the cluster), gated.",
            "short",
            Query(
                "sum by (queue) (scheduler_pending_pods"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance"})',
                "{{queue}}",
            ),
            stack=True,
        ),
        lines(
            "Attempt duration",
            "Duration of scheduling attempts in seconds: median, 90th and 99th percentile.",
            "s",
            Query(
                "max by (quantile) (cluster_quantile:scheduler_scheduling_attempt_duration_seconds:histogram_quantile"
                '{cluster=~"$cluster"})',
                "{{quantile}}",
            ),
            steps=latency(0.5, 1),
        ),
        lines(
            "Time to schedule",
            "Seconds from the first attempt to a scheduled pod, retries included: median, 90th and 99th percentile.",
            "s",
            Query(
                "max by (quantile) (cluster_quantile:scheduler_pod_scheduling_sli_duration_seconds:histogram_quantile"
                '{cluster=~"$cluster"})',
                "{{quantile}}",
            ),
            steps=latency(5, 30),
        ),
        *shared_panels.client('job="kube-scheduler", instance=~"$instance"'),
        *shared_panels.process('job="kube-scheduler", instance=~"$instance"'),
    ),
)


_ETCD = 'cluster=~"$cluster", job="etcd"'


def _percentile_99(buckets: str) -> str:
    return quantile(0.99, buckets, _ETCD, "instance")


def _rate(metric: str) -> str:
    return rate(metric, _ETCD, "instance")


ETCD = Dashboard(
    folder="kubernetes",
    name="etcd",
    title="etcd",
    description="Does etcd have a leader, a fast disk, and enough space?",
    content=(
        Row("Now"),
        shared_panels.up("etcd", what="etcd", title="Members"),
        number(
            "Members with a leader",
            "Members that have a leader; without a leader, nothing can be written.",
            "short",
            Query('sum(etcd_server_has_leader{cluster=~"$cluster", job="etcd"})'),
            steps=NONE_IS_BAD,
        ),
        number(
            "Leader changes",
            "Leader elections in the last hour; slow disks or networks cause them.",
            "short",
            Query('max(increase(etcd_server_leader_changes_seen_total{cluster=~"$cluster", job="etcd"}[1h]))'),
            steps=Steps("green", ((1, "orange"), (3, "red"))),
            decimals=0,
        ),
        number(
            "Database",
            "Size of the database file.",
            "bytes",
            Query('max(etcd_mvcc_db_total_size_in_bytes{cluster=~"$cluster", job="etcd"})'),
        ),
        shared_panels.share(
            "Quota used",
            "Database size as a share of the quota; at 100 % etcd rejects writes.",
            'max(etcd_mvcc_db_total_size_in_bytes{cluster=~"$cluster", job="etcd"}'
            ' / etcd_server_quota_backend_bytes{cluster=~"$cluster", job="etcd"})',
        ),
        number(
            "Failed proposals",
            "Failed Raft proposals in the last hour.",
            "short",
            Query('sum(increase(etcd_server_proposals_failed_total{cluster=~"$cluster", job="etcd"}[1h]))'),
            steps=Steps("green", ((1, "orange"), (5, "red"))),
            decimals=0,
        ),
        Row("Requests", width=8),
        lines(
            "Requests",
            "gRPC requests per second, by member; watches count when they start.",
            "reqps",
            Query(
                'sum by (instance) (rate(grpc_server_started_total{cluster=~"$cluster", job="etcd"}[$__rate_interval]))',
                "{{instance}}",
            ),
        ),
        lines(
            "Failed requests",
            "Share of requests that failed with a server error.",
            "percentunit",
            Query(
                "(sum(rate(grpc_server_handled_total"
                '{cluster=~"$cluster", job="etcd", grpc_code=~"Unknown|ResourceExhausted|Internal|Unavailable|DataLoss|DeadlineExceeded"}'
                '[$__rate_interval])) or vector(0)) / sum(rate(grpc_server_handled_total{cluster=~"$cluster", job="etcd"}[$__rate_interval]))',
                "failed",
            ),
            steps=ERRORS,
        ),
        lines(
            "Open watches",
            "Open watch streams of the API servers, by member.",
            "short",
            Query(
                'sum by (instance) (etcd_debugging_mvcc_watcher_total{cluster=~"$cluster", job="etcd"})', "{{instance}}"
            ),
        ),
        Row("Disk", width=8),
        shared_panels.percentile(
            "Write-ahead log",
            "Seconds to sync the write-ahead log to disk, 99th percentile; above 10 ms the disk is too slow for etcd.",
            "etcd_disk_wal_fsync_duration_seconds_bucket",
            _ETCD,
            "instance",
            steps=latency(0.1, 0.5),
        ),
        shared_panels.percentile(
            "Commit",
            "Seconds to commit to the database on disk, 99th percentile.",
            "etcd_disk_backend_commit_duration_seconds_bucket",
            _ETCD,
            "instance",
            steps=latency(0.1, 0.25),
        ),
        lines(
            "Database",
            "Size of the file, its part in use, and the quota; defragmentation frees the unused part.",
            "bytes",
            Query('etcd_mvcc_db_total_size_in_bytes{cluster=~"$cluster", job="etcd"}', "file {{instance}}"),
            Query('etcd_mvcc_db_total_size_in_use_in_bytes{cluster=~"$cluster", job="etcd"}', "in use {{instance}}"),
        ),
        Row("Raft", width=8),
        lines(
            "Proposals",
            "Applied Raft proposals per second, and pending proposals.",
            "short",
            Query(
                'sum by (instance) (rate(etcd_server_proposals_applied_total{cluster=~"$cluster", job="etcd"}[$__rate_interval]))',
                "applied {{instance}}",
            ),
            Query(
                'sum by (instance) (etcd_server_proposals_pending{cluster=~"$cluster", job="etcd"})',
                "pending {{instance}}",
            ),
        ),
        lines(
            "Traffic with clients",
            "Bytes per second received from and sent to the API servers.",
            "Bps",
            Query(_rate("etcd_network_client_grpc_received_bytes_total"), "in {{instance}}"),
            Query(_rate("etcd_network_client_grpc_sent_bytes_total"), "out {{instance}}"),
        ),
        shared_panels.percentile(
            "Round trip between members",
            "Round-trip time between members in seconds; empty with a single member.",
            "etcd_network_peer_round_trip_time_seconds_bucket",
            _ETCD,
            "instance",
            steps=latency(0.05, 0.15),
        ),
        *shared_panels.process('job="etcd"'),
    ),
)

DASHBOARDS = (API_SERVER, CONTROLLER_MANAGER, SCHEDULER, ETCD)
