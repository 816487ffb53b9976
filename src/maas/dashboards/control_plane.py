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
        number(
            f"{kind}: availability, 30 days",
            f"Share of {kind.lower()} in 30 days that were answered without an error and in time.",
            "percentunit",
            Query(f'apiserver_request:availability30d{{cluster=~"$cluster", verb="{verb}"}}'),
            steps=AVAILABILITY,
            decimals=3,
        ),
        lines(
            f"{kind} by code",
            f"{kind} per second, by the answer's HTTP code.",
            "reqps",
            Query(f"sum by (code) ({rate}}})", "{{code}}"),
            stack=True,
            width=7,
        ),
        lines(
            f"Failed {kind.lower()}",
            f"Share of {kind.lower()} answered with a server error, by resource.",
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
            f"{kind}: time to answer, 99th percentile",
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
    description="Does the API server answer, in time, and how much of its error budget is left?",
    variables=(instances("apiserver"),),
    content=(
        Row("Objectives"),
        shared_panels.up("apiserver", what="the API server"),
        number(
            "Availability, 30 days",
            "Share of all requests in 30 days that were answered without an error and in time.",
            "percentunit",
            Query('apiserver_request:availability30d{cluster=~"$cluster", verb="all"}'),
            steps=AVAILABILITY,
            decimals=3,
        ),
        number(
            "Error budget left",
            "What is left of the 1 % of requests in 30 days that may fail or be slow.",
            "percentunit",
            Query('(apiserver_request:availability30d{cluster=~"$cluster", verb="all"} - 0.99) / 0.01'),
            steps=Steps("red", ((0.1, "orange"), (0.5, "green"))),
            decimals=1,
        ),
        number(
            "Requests",
            "Requests per second, watches left out.",
            "reqps",
            Query('sum(code_resource:apiserver_request_total:rate5m{cluster=~"$cluster"})'),
        ),
        number(
            "Client certificates",
            "Time until the first client certificate that is still used expires, among the requests of five minutes.",
            "s",
            Query(
                "histogram_quantile(0.01, sum by (le) "
                '(rate(apiserver_client_certificate_expiration_seconds_bucket{cluster=~"$cluster", job="apiserver"}[5m])))'
            ),
            steps=Steps("red", ((86400, "orange"), (604800, "green"))),
        ),
        number(
            "Objects",
            "Objects of all kinds in the store.",
            "short",
            Query('sum(max by (group, resource) (apiserver_resource_objects{cluster=~"$cluster", job="apiserver"}))'),
        ),
        lines(
            "Error budget burn",
            "How many times faster than allowed the error budget is used up, in windows of 5 minutes to 6 hours.",
            "short",
            Query('sum(apiserver_request:burnrate5m{cluster=~"$cluster"}) / 0.01', "5 minutes"),
            Query('sum(apiserver_request:burnrate30m{cluster=~"$cluster"}) / 0.01', "30 minutes"),
            Query('sum(apiserver_request:burnrate1h{cluster=~"$cluster"}) / 0.01', "1 hour"),
            Query('sum(apiserver_request:burnrate6h{cluster=~"$cluster"}) / 0.01', "6 hours"),
            steps=Steps("green", ((1, "orange"), (14.4, "red"))),
        ),
        lines(
            "Requests in flight",
            "Requests that are being answered now, by kind.",
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
            "Requests that wait for a seat, by priority level; waiting for long means that clients are throttled.",
            "short",
            Query(
                "sum by (priority_level) (apiserver_flowcontrol_current_inqueue_requests"
                '{cluster=~"$cluster", job="apiserver", instance=~"$instance"})',
                "{{priority_level}}",
            ),
        ),
        lines(
            "Seats in use",
            "Share of a priority level's seats that are taken.",
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
            "Long-running requests that are open, by resource: the ten with the most.",
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
    description="Do the controllers keep up with what changes in the cluster?",
    variables=(instances("kube-controller-manager"),),
    content=(
        Row("Now"),
        shared_panels.up("kube-controller-manager", what="the controller manager"),
        shared_panels.down("kube-controller-manager", what="the controller manager"),
        number(
            "Work done",
            "Objects per second that the controllers take out of their queues.",
            "ops",
            Query(
                "sum(rate(workqueue_work_duration_seconds_count"
                '{cluster=~"$cluster", job="kube-controller-manager", instance=~"$instance"}[$__rate_interval]))'
            ),
        ),
        number(
            "Waiting",
            "Objects in all queues.",
            "short",
            Query('sum(workqueue_depth{cluster=~"$cluster", job="kube-controller-manager", instance=~"$instance"})'),
            steps=Steps("green", ((100, "orange"), (1000, "red"))),
        ),
        number(
            "Retries",
            "Objects per second that a controller puts back because it failed.",
            "ops",
            Query(
                "sum(rate(workqueue_retries_total"
                '{cluster=~"$cluster", job="kube-controller-manager", instance=~"$instance"}[$__rate_interval]))'
            ),
            steps=Steps("green", ((1, "orange"), (10, "red"))),
        ),
        number(
            "Unhealthy nodes",
            "Nodes that the node controller counts as not ready; beyond a share of them it stops evicting.",
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
    description="Do pods get a node, and how long do they wait for it?",
    variables=(instances("kube-scheduler"),),
    content=(
        Row("Now"),
        shared_panels.up("kube-scheduler", what="the scheduler"),
        shared_panels.down("kube-scheduler", what="the scheduler"),
        number(
            "Scheduled",
            "Pods per second that got a node.",
            "ops",
            Query(
                "sum(rate(scheduler_schedule_attempts_total"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance", result="scheduled"}[$__rate_interval]))'
            ),
        ),
        number(
            "Unschedulable",
            "Pods that no node can take now.",
            "short",
            Query(
                "sum(scheduler_pending_pods"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance", queue="unschedulable"})'
            ),
            steps=ANY_IS_BAD,
        ),
        number(
            "Waiting",
            "Pods in all queues of the scheduler.",
            "short",
            Query('sum(scheduler_pending_pods{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance"})'),
            steps=Steps("green", ((10, "orange"), (50, "red"))),
        ),
        number(
            "Preempted",
            "Pods in the last hour that had to go for ones of a higher priority.",
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
            "Tries per second to find a node: scheduled, unschedulable (no node fits) or error.",
            "ops",
            Query(
                "sum by (result) (rate(scheduler_schedule_attempts_total"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance"}[$__rate_interval]))',
                "{{result}}",
            ),
        ),
        lines(
            "Pods by queue",
            "Active: next in turn; backoff: after a failed try; unschedulable: until the cluster changes; gated: held back.",
            "short",
            Query(
                "sum by (queue) (scheduler_pending_pods"
                '{cluster=~"$cluster", job="kube-scheduler", instance=~"$instance"})',
                "{{queue}}",
            ),
            stack=True,
        ),
        lines(
            "Time of an attempt",
            "Seconds within which the scheduler decides about a pod: the median, and 90 and 99 of 100.",
            "s",
            Query(
                "cluster_quantile:scheduler_scheduling_attempt_duration_seconds:histogram_quantile"
                '{cluster=~"$cluster"}',
                "{{quantile}}",
            ),
            steps=latency(0.5, 1),
        ),
        lines(
            "Time until a pod has a node",
            "Seconds from a pod's arrival to its node, failed tries included: the median, and 90 and 99 of 100.",
            "s",
            Query(
                "cluster_quantile:scheduler_pod_scheduling_sli_duration_seconds:histogram_quantile"
                '{cluster=~"$cluster"}',
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
    description="Has the store of the cluster a leader, a fast disk, and room?",
    content=(
        Row("Now"),
        shared_panels.up("etcd", what="etcd", title="Members"),
        number(
            "Members with a leader",
            "Members that know a leader; without one nothing can be written.",
            "short",
            Query('sum(etcd_server_has_leader{cluster=~"$cluster", job="etcd"})'),
            steps=NONE_IS_BAD,
        ),
        number(
            "Leader changes",
            "Elections in the last hour; slow disks or networks cause them.",
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
        number(
            "Quota used",
            "Size of the database as a share of its quota; at 100 % etcd takes no more writes.",
            "percentunit",
            Query(
                'max(etcd_mvcc_db_total_size_in_bytes{cluster=~"$cluster", job="etcd"}'
                ' / etcd_server_quota_backend_bytes{cluster=~"$cluster", job="etcd"})'
            ),
            steps=UTILIZATION,
        ),
        number(
            "Failed proposals",
            "Writes in the last hour that found no majority.",
            "short",
            Query('sum(increase(etcd_server_proposals_failed_total{cluster=~"$cluster", job="etcd"}[1h]))'),
            steps=Steps("green", ((1, "orange"), (5, "red"))),
            decimals=0,
        ),
        Row("Requests", width=8),
        lines(
            "Requests",
            "gRPC requests per second, by member; watches are counted when they begin.",
            "reqps",
            Query(
                'sum by (instance) (rate(grpc_server_started_total{cluster=~"$cluster", job="etcd"}[$__rate_interval]))',
                "{{instance}}",
            ),
        ),
        lines(
            "Failed requests",
            "Share of requests that ended with an error of the server.",
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
            "Streams of the API servers that wait for changes, by member.",
            "short",
            Query(
                'sum by (instance) (etcd_debugging_mvcc_watcher_total{cluster=~"$cluster", job="etcd"})', "{{instance}}"
            ),
        ),
        Row("Disk", width=8),
        shared_panels.percentile(
            "Write-ahead log",
            "Seconds within which 99 of 100 writes to the log are on disk; above 10 ms the disk is too slow for etcd.",
            "etcd_disk_wal_fsync_duration_seconds_bucket",
            _ETCD,
            "instance",
            steps=latency(0.1, 0.5),
        ),
        shared_panels.percentile(
            "Commit",
            "Seconds within which 99 of 100 commits of the database are on disk.",
            "etcd_disk_backend_commit_duration_seconds_bucket",
            _ETCD,
            "instance",
            steps=latency(0.1, 0.25),
        ),
        lines(
            "Database",
            "The file, what of it is in use, and the quota; what is not in use is given back by defragmentation.",
            "bytes",
            Query('etcd_mvcc_db_total_size_in_bytes{cluster=~"$cluster", job="etcd"}', "file {{instance}}"),
            Query('etcd_mvcc_db_total_size_in_use_in_bytes{cluster=~"$cluster", job="etcd"}', "in use {{instance}}"),
        ),
        Row("Agreement", width=8),
        lines(
            "Proposals",
            "Writes per second that were agreed on and carried out, and those that wait.",
            "short",
            Query(
                'sum by (instance) (rate(etcd_server_proposals_applied_total{cluster=~"$cluster", job="etcd"}[$__rate_interval]))',
                "applied {{instance}}",
            ),
            Query(
                'sum by (instance) (etcd_server_proposals_pending{cluster=~"$cluster", job="etcd"})',
                "waiting {{instance}}",
            ),
        ),
        lines(
            "Traffic with clients",
            "Bytes per second from and to the API servers.",
            "Bps",
            Query(_rate("etcd_network_client_grpc_received_bytes_total"), "in {{instance}}"),
            Query(_rate("etcd_network_client_grpc_sent_bytes_total"), "out {{instance}}"),
        ),
        shared_panels.percentile(
            "Round trip between members",
            "Seconds that 99 of 100 messages between two members take; nothing with a single member.",
            "etcd_network_peer_round_trip_time_seconds_bucket",
            _ETCD,
            "instance",
            steps=latency(0.05, 0.15),
        ),
        *shared_panels.process('job="etcd"'),
    ),
)

DASHBOARDS = (API_SERVER, CONTROLLER_MANAGER, SCHEDULER, ETCD)
