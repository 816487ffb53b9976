"""The monitoring itself: Prometheus, its remote write, Alertmanager, Grafana."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import Dashboard, Variable
from maas.dashboards.panels import ANY_IS_BAD, ERRORS, Column, Query, Row, Steps, latency, lines, number, table
from maas.dashboards.promql import quantile, rate

_PROMETHEUS = 'cluster=~"$cluster", job="prometheus", instance=~"$instance"'


def _rate(metric: str, by: str = "", more: str = "") -> str:
    return rate(metric, f"{_PROMETHEUS}{more}", by)


_INSTANCE = Variable(
    "instance",
    "Instance",
    'label_values(prometheus_build_info{cluster=~"$cluster", job="prometheus"}, instance)',
    several=True,
)

PROMETHEUS = Dashboard(
    folder="platform",
    name="prometheus",
    title="Prometheus / Overview",
    description="Does Prometheus scrape, store and evaluate in time, and which resources does it use?",
    variables=(_INSTANCE,),
    content=(
        Row("Now"),
        number(
            "Targets up",
            "Targets that Prometheus scrapes successfully.",
            "short",
            Query('sum(up{cluster=~"$cluster"})'),
        ),
        number(
            "Targets down",
            "Targets that Prometheus cannot scrape.",
            "short",
            Query('count(up{cluster=~"$cluster"} == 0) or vector(0)'),
            steps=ANY_IS_BAD,
        ),
        number(
            "Series",
            "Active series in the head block.",
            "short",
            Query(f"sum(prometheus_tsdb_head_series{{{_PROMETHEUS}}})"),
        ),
        number(
            "Samples",
            "Samples appended per second.",
            "short",
            Query(_rate("prometheus_tsdb_head_samples_appended_total")),
        ),
        number(
            "Blocks on disk",
            "Size of the persistent blocks.",
            "bytes",
            Query(f"sum(prometheus_tsdb_storage_blocks_bytes{{{_PROMETHEUS}}})"),
        ),
        number(
            "Failed evaluations",
            "Failed rule evaluations per second.",
            "ops",
            Query(_rate("prometheus_rule_evaluation_failures_total")),
            steps=Steps("green", ((0.001, "red"),)),
        ),
        Row("Scraping", width=8),
        lines(
            "Targets",
            "Discovered targets, by scrape job.",
            "short",
            Query(f"max by (scrape_job) (prometheus_target_scrape_pool_targets{{{_PROMETHEUS}}})", "{{scrape_job}}"),
            stack=True,
            stairs=True,
        ),
        lines(
            "Slowest scrapes",
            "Scrape duration of the slowest target in seconds, by job.",
            "s",
            Query('max by (job) (scrape_duration_seconds{cluster=~"$cluster"})', "{{job}}"),
            steps=latency(5, 10),
        ),
        lines(
            "Samples by job",
            "Samples per scrape after metric relabeling, by job.",
            "short",
            Query('sum by (job) (scrape_samples_post_metric_relabeling{cluster=~"$cluster"})', "{{job}}"),
            stack=True,
        ),
        lines(
            "Rejected scrapes",
            "Scrapes and samples rejected per second, by reason.",
            "ops",
            Query(_rate("prometheus_target_scrapes_exceeded_sample_limit_total"), "too many samples"),
            Query(_rate("prometheus_target_scrapes_exceeded_body_size_limit_total"), "too large"),
            Query(_rate("prometheus_target_scrapes_sample_duplicate_timestamp_total"), "duplicate timestamp"),
            Query(_rate("prometheus_target_scrapes_sample_out_of_order_total"), "out of order"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Scrape interval, 99th percentile",
            "Actual seconds between two scrapes of a target, by configured interval.",
            "s",
            Query(
                f'max by (interval) (prometheus_target_interval_length_seconds{{{_PROMETHEUS}, quantile="0.99"}})',
                "every {{interval}}",
            ),
        ),
        lines(
            "Service discovery",
            "Duration of a target sync in seconds, by scrape job.",
            "s",
            Query(
                f"{_rate('prometheus_target_sync_length_seconds_sum', 'scrape_job')} / sum by (scrape_job) (rate(prometheus_target_sync_length_seconds_count{{{_PROMETHEUS}}}[$__rate_interval]) > 0)",
                "{{scrape_job}}",
            ),
        ),
        table(
            "Jobs",
            "All jobs: their targets, availability, samples and scrape duration.",
            {"job": "Job"},
            Column("Targets", 'count by (job) (up{cluster=~"$cluster"})'),
            Column("Up", 'sum by (job) (up{cluster=~"$cluster"})'),
            Column(
                "Availability",
                'avg by (job) (up{cluster=~"$cluster"})',
                "percentunit",
                Steps("red", ((0.5, "orange"), (1, "green"))),
            ),
            Column("Samples", 'sum by (job) (scrape_samples_post_metric_relabeling{cluster=~"$cluster"})'),
            Column("New series", 'sum by (job) (scrape_series_added{cluster=~"$cluster"})'),
            Column("Slowest", 'max by (job) (scrape_duration_seconds{cluster=~"$cluster"})', "s", latency(5, 10)),
            height=10,
        ),
        Row("Storage", width=8),
        lines(
            "Series",
            "Series and chunks in memory.",
            "short",
            Query(f"sum by (instance) (prometheus_tsdb_head_series{{{_PROMETHEUS}}})", "series {{instance}}"),
            Query(f"sum by (instance) (prometheus_tsdb_head_chunks{{{_PROMETHEUS}}})", "chunks {{instance}}"),
        ),
        lines(
            "Series churn",
            "Series created and removed per second; restarting pods increase it.",
            "ops",
            Query(_rate("prometheus_tsdb_head_series_created_total"), "created"),
            Query(_rate("prometheus_tsdb_head_series_removed_total"), "removed"),
        ),
        lines(
            "Bytes on disk",
            "Size of the persistent blocks and the write-ahead log.",
            "bytes",
            Query(f"sum by (instance) (prometheus_tsdb_storage_blocks_bytes{{{_PROMETHEUS}}})", "blocks {{instance}}"),
            Query(f"sum by (instance) (prometheus_tsdb_wal_storage_size_bytes{{{_PROMETHEUS}}})", "log {{instance}}"),
        ),
        Row("Queries and rules", width=8),
        lines(
            "Queries",
            "Evaluated queries per second, rules included.",
            "ops",
            Query(
                _rate("prometheus_engine_query_duration_seconds_count", "slice", ', slice="inner_eval"'), "evaluated"
            ),
        ),
        lines(
            "Query duration, 90th percentile",
            "Query duration in seconds, by phase.",
            "s",
            Query(
                f'max by (slice) (prometheus_engine_query_duration_seconds{{{_PROMETHEUS}, quantile="0.9"}})',
                "{{slice}}",
            ),
            steps=latency(1, 5),
        ),
        lines(
            "Rule group duration",
            "Evaluation time in seconds of the ten slowest rule groups.",
            "s",
            Query(
                f"topk(10, max by (rule_group) (prometheus_rule_group_last_duration_seconds{{{_PROMETHEUS}}}))",
                "{{rule_group}}",
            ),
        ),
        lines(
            "Alerts sent",
            "Alerts sent to Alertmanager and dropped, per second.",
            "ops",
            Query(_rate("prometheus_notifications_sent_total"), "sent"),
            Query(_rate("prometheus_notifications_dropped_total"), "dropped"),
        ),
        lines(
            "Missed evaluations",
            "Rule group evaluations per second that were skipped because the previous one was still running.",
            "ops",
            Query(_rate("prometheus_rule_group_iterations_missed_total"), "missed"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Configuration",
            "1 if the last reload of the configuration succeeded.",
            "bool",
            Query(f"min by (instance) (prometheus_config_last_reload_successful{{{_PROMETHEUS}}})", "{{instance}}"),
            stairs=True,
            most=1,
        ),
        *shared_panels.process('job="prometheus", instance=~"$instance"'),
    ),
)

_QUEUE = f'{_PROMETHEUS}, url=~"$url"'


def _remote(metric: str) -> str:
    return rate(f"prometheus_remote_storage_{metric}", _QUEUE, "remote_name, url")


_REMOTE = "{{remote_name}} {{url}}"

REMOTE_WRITE = Dashboard(
    folder="platform",
    name="prometheus-remote-write",
    title="Prometheus / Remote write",
    description="Does the remote storage receive all samples in time? Empty if no remote write is configured.",
    variables=(
        _INSTANCE,
        Variable(
            "url",
            "URL",
            'label_values(prometheus_remote_storage_shards{cluster=~"$cluster", instance=~"$instance"}, url)',
            several=True,
        ),
    ),
    content=(
        Row("Lag"),
        lines(
            "Lag",
            "Seconds between the newest local sample and the newest sample sent.",
            "s",
            Query(
                f"max by (instance) (prometheus_remote_storage_highest_timestamp_in_seconds{{{_PROMETHEUS}}})"
                f" - on (instance) group_right () max by (instance, remote_name, url) (prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{_QUEUE}}})",
                _REMOTE,
            ),
            steps=latency(60, 120),
        ),
        lines(
            "Lag growth",
            "Seconds by which the lag grows per second; while it is above zero, the queue cannot catch up.",
            "s",
            Query(
                f"clamp_min(rate(prometheus_remote_storage_highest_timestamp_in_seconds{{{_PROMETHEUS}}}[$__rate_interval]) - ignoring (remote_name, url) group_right (instance) rate(prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{_QUEUE}}}[$__rate_interval]), 0)",
                _REMOTE,
            ),
        ),
        Row("Samples", width=8),
        lines(
            "Sent",
            "Samples sent per second.",
            "short",
            Query(_remote("samples_total"), _REMOTE),
        ),
        lines(
            "Failed and dropped",
            "Samples per second that failed permanently or were dropped before sending.",
            "short",
            Query(_remote("samples_failed_total"), f"failed {_REMOTE}"),
            Query(_remote("samples_dropped_total"), f"dropped {_REMOTE}"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Retried",
            "Samples retried per second after a recoverable error.",
            "short",
            Query(_remote("samples_retried_total"), _REMOTE),
        ),
        lines(
            "Depth",
            "Samples pending in memory.",
            "short",
            Query(f"sum by (remote_name, url) (prometheus_remote_storage_samples_pending{{{_QUEUE}}})", _REMOTE),
        ),
        lines(
            "Bytes",
            "Bytes sent per second.",
            "Bps",
            Query(_remote("bytes_total"), _REMOTE),
        ),
        lines(
            "Request duration, 99th percentile",
            "Duration of sending a batch in seconds.",
            "s",
            Query(
                quantile(
                    0.99, "prometheus_remote_storage_sent_batch_duration_seconds_bucket", _QUEUE, "remote_name, url"
                ),
                _REMOTE,
            ),
            steps=latency(1, 10),
        ),
        Row("Shards"),
        lines(
            "Shards",
            "Current, desired and maximum shards.",
            "short",
            Query(f"sum by (remote_name, url) (prometheus_remote_storage_shards{{{_QUEUE}}})", f"current {_REMOTE}"),
            Query(
                f"sum by (remote_name, url) (prometheus_remote_storage_shards_desired{{{_QUEUE}}})",
                f"desired {_REMOTE}",
            ),
            Query(
                f"sum by (remote_name, url) (prometheus_remote_storage_shards_max{{{_QUEUE}}})", f"maximum {_REMOTE}"
            ),
            stairs=True,
        ),
        lines(
            "Shard capacity",
            "Maximum number of samples queued in a shard.",
            "short",
            Query(f"max by (remote_name, url) (prometheus_remote_storage_shard_capacity{{{_QUEUE}}})", _REMOTE),
            stairs=True,
        ),
    ),
)

_ALERTS = 'cluster=~"$cluster", job="alertmanager"'
_RECEIVERS = f'{_ALERTS}, integration=~"$integration"'

ALERTMANAGER = Dashboard(
    folder="platform",
    name="alertmanager",
    title="Alertmanager / Overview",
    description="Does Alertmanager receive alerts and send notifications?",
    variables=(
        Variable(
            "integration",
            "Receiver",
            f"label_values(alertmanager_notifications_total{{{_ALERTS}}}, integration)",
            several=True,
        ),
    ),
    content=(
        Row("Now"),
        *shared_panels.up_and_down("alertmanager", what="Alertmanager"),
        number(
            "Alerts",
            "Active alerts in Alertmanager.",
            "short",
            Query(f'max(sum by (instance) (alertmanager_alerts{{{_ALERTS}, state="active"}}))'),
        ),
        number(
            "Suppressed",
            "Alerts suppressed by a silence or an inhibition.",
            "short",
            Query(f'max(sum by (instance) (alertmanager_alerts{{{_ALERTS}, state="suppressed"}}))'),
        ),
        number(
            "Silences",
            "Active silences.",
            "short",
            Query(f'max(alertmanager_silences{{{_ALERTS}, state="active"}})'),
        ),
        number(
            "Failed notifications",
            "Notifications in the last hour that failed after all retries.",
            "short",
            Query(f"sum(increase(alertmanager_notifications_failed_total{{{_RECEIVERS}}}[1h]))"),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        Row("Alerts"),
        table(
            "Firing",
            "Firing alerts in Prometheus. Watchdog always fires: it shows that alerting works.",
            {"alertname": "Alert", "severity": "Severity", "namespace": "Namespace"},
            Column(
                "Alerts", 'count by (alertname, severity, namespace) (ALERTS{cluster=~"$cluster", alertstate="firing"})'
            ),
            Column(
                "For",
                'time() - max by (alertname, severity, namespace) (ALERTS_FOR_STATE{cluster=~"$cluster"} and ignoring (alertstate) ALERTS{cluster=~"$cluster", alertstate="firing"})',
                "s",
            ),
        ),
        lines(
            "Alerts by state",
            "Alerts in Alertmanager, by state.",
            "short",
            Query(f"max by (state) (sum by (instance, state) (alertmanager_alerts{{{_ALERTS}}}))", "{{state}}"),
            stairs=True,
        ),
        lines(
            "Received",
            "Alerts received per second; Prometheus sends firing alerts repeatedly.",
            "ops",
            Query(
                rate("alertmanager_alerts_received_total", _ALERTS, "status"),
                "{{status}}",
            ),
            Query(rate("alertmanager_alerts_invalid_total", _ALERTS), "invalid"),
        ),
        Row("Notifications", width=8),
        shared_panels.rates(
            "Sent",
            "Notifications per second, by integration.",
            "alertmanager_notifications_total",
            _RECEIVERS,
            "integration",
            unit="ops",
        ),
        lines(
            "Failed",
            "Share of failed notifications, by integration.",
            "percentunit",
            Query(
                f"{rate('alertmanager_notifications_failed_total', _RECEIVERS, 'integration')}"
                f" / ({rate('alertmanager_notifications_total', _RECEIVERS, 'integration')} > 0)",
                "{{integration}}",
            ),
            steps=ERRORS,
        ),
        shared_panels.percentile(
            "Notification duration",
            "Duration of sending a notification in seconds.",
            "alertmanager_notification_latency_seconds_bucket",
            _RECEIVERS,
            "integration",
            steps=latency(5, 20),
        ),
        *shared_panels.process('job="alertmanager"'),
    ),
)

_GRAFANA = 'cluster=~"$cluster", job="grafana"'
_GRAFANA_RATE = "namespace_job_handler_statuscode:grafana_http_request_duration_seconds_count:rate5m"
_GRAFANA_REQUESTS = f'sum({_GRAFANA_RATE}{{cluster=~"$cluster"}})'

GRAFANA = Dashboard(
    folder="platform",
    name="grafana",
    title="Grafana / Overview",
    description="Is Grafana available, and do its data sources respond?",
    content=(
        Row("Now"),
        *shared_panels.up_and_down("grafana", what="Grafana"),
        number(
            "Dashboards",
            "Dashboards in Grafana.",
            "short",
            Query(f"max(grafana_stat_totals_dashboard{{{_GRAFANA}}})"),
        ),
        number(
            "Users",
            "Users active in the last 30 days.",
            "short",
            Query(f"max(grafana_stat_active_users{{{_GRAFANA}}})"),
        ),
        number(
            "Requests",
            "Requests per second.",
            "reqps",
            Query(_GRAFANA_REQUESTS),
        ),
        shared_panels.share(
            "Failed requests",
            "Share of requests that failed with a server error.",
            f'(sum({_GRAFANA_RATE}{{cluster=~"$cluster", status_code=~"5.."}}) or vector(0)) / {_GRAFANA_REQUESTS}',
            steps=ERRORS,
        ),
        Row("Requests", width=8),
        lines(
            "Requests by code",
            "Requests per second, by HTTP status code.",
            "reqps",
            Query(
                f'sum by (status_code) ({_GRAFANA_RATE}{{cluster=~"$cluster"}})',
                "{{status_code}}",
            ),
            stack=True,
        ),
        lines(
            "Request duration, 99th percentile",
            "Request duration in seconds of the ten slowest handlers.",
            "s",
            Query(
                f"topk(10, {quantile(0.99, 'grafana_http_request_duration_seconds_bucket', _GRAFANA, 'handler')})",
                "{{handler}}",
            ),
            steps=latency(1, 5),
        ),
        shared_panels.rates(
            "Data source requests",
            "Requests per second to data sources, by HTTP status code.",
            "grafana_datasource_request_total",
            _GRAFANA,
            "code",
            unit="reqps",
        ),
        *shared_panels.process('job="grafana"'),
    ),
)

DASHBOARDS = (PROMETHEUS, REMOTE_WRITE, ALERTMANAGER, GRAFANA)
