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
    description="Is everything scraped, stored and evaluated in time, and what does it cost?",
    variables=(_INSTANCE,),
    content=(
        Row("Now"),
        number("Targets up", "Targets that answer.", "short", Query('sum(up{cluster=~"$cluster"})')),
        number(
            "Targets down",
            "Targets that are known and do not answer.",
            "short",
            Query('count(up{cluster=~"$cluster"} == 0) or vector(0)'),
            steps=ANY_IS_BAD,
        ),
        number(
            "Series",
            "Series with a sample in the last two hours.",
            "short",
            Query(f"sum(prometheus_tsdb_head_series{{{_PROMETHEUS}}})"),
        ),
        number(
            "Samples",
            "Samples per second that are stored.",
            "short",
            Query(_rate("prometheus_tsdb_head_samples_appended_total")),
        ),
        number(
            "Blocks on disk",
            "Bytes of finished blocks.",
            "bytes",
            Query(f"sum(prometheus_tsdb_storage_blocks_bytes{{{_PROMETHEUS}}})"),
        ),
        number(
            "Failed evaluations",
            "Rules per second that could not be evaluated.",
            "ops",
            Query(_rate("prometheus_rule_evaluation_failures_total")),
            steps=Steps("green", ((0.001, "red"),)),
        ),
        Row("Scraping", width=8),
        lines(
            "Targets",
            "Targets that service discovery found, by job.",
            "short",
            Query(f"max by (scrape_job) (prometheus_target_scrape_pool_targets{{{_PROMETHEUS}}})", "{{scrape_job}}"),
            stack=True,
            stairs=True,
        ),
        lines(
            "Slowest scrapes",
            "Seconds that the slowest target of each job takes to answer.",
            "s",
            Query('max by (job) (scrape_duration_seconds{cluster=~"$cluster"})', "{{job}}"),
            steps=latency(5, 10),
        ),
        lines(
            "Samples by job",
            "Samples in one scrape of all targets of a job, after relabelling.",
            "short",
            Query('sum by (job) (scrape_samples_post_metric_relabeling{cluster=~"$cluster"})', "{{job}}"),
            stack=True,
        ),
        lines(
            "Refused scrapes",
            "Scrapes per second that were dropped: too large, too many labels, doubled or out of order.",
            "ops",
            Query(_rate("prometheus_target_scrapes_exceeded_sample_limit_total"), "too many samples"),
            Query(_rate("prometheus_target_scrapes_exceeded_body_size_limit_total"), "too large"),
            Query(_rate("prometheus_target_scrapes_sample_duplicate_timestamp_total"), "doubled"),
            Query(_rate("prometheus_target_scrapes_sample_out_of_order_total"), "out of order"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Time between scrapes, 99th percentile",
            "Seconds between two scrapes of a target; it should be the interval.",
            "s",
            Query(
                f'max by (interval) (prometheus_target_interval_length_seconds{{{_PROMETHEUS}, quantile="0.99"}})',
                "every {{interval}}",
            ),
        ),
        lines(
            "Service discovery",
            "Seconds that reading the cluster's targets takes, for each job.",
            "s",
            Query(
                f"{_rate('prometheus_target_sync_length_seconds_sum', 'scrape_job')} / sum by (scrape_job) (rate(prometheus_target_sync_length_seconds_count{{{_PROMETHEUS}}}[$__rate_interval]) > 0)",
                "{{scrape_job}}",
            ),
        ),
        table(
            "Jobs",
            "Every job: its targets, what does not answer, and what it brings.",
            {"job": "Job"},
            Column("Targets", 'count by (job) (up{cluster=~"$cluster"})'),
            Column("Up", 'sum by (job) (up{cluster=~"$cluster"})'),
            Column(
                "Answering",
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
            "Series in memory, and chunks of them.",
            "short",
            Query(f"sum by (instance) (prometheus_tsdb_head_series{{{_PROMETHEUS}}})", "series {{instance}}"),
            Query(f"sum by (instance) (prometheus_tsdb_head_chunks{{{_PROMETHEUS}}})", "chunks {{instance}}"),
        ),
        lines(
            "New and gone series",
            "Series per second that begin and end; pods that restart all the time cost here.",
            "ops",
            Query(_rate("prometheus_tsdb_head_series_created_total"), "new"),
            Query(_rate("prometheus_tsdb_head_series_removed_total"), "gone"),
        ),
        lines(
            "Bytes on disk",
            "Finished blocks and the write-ahead log.",
            "bytes",
            Query(f"sum by (instance) (prometheus_tsdb_storage_blocks_bytes{{{_PROMETHEUS}}})", "blocks {{instance}}"),
            Query(f"sum by (instance) (prometheus_tsdb_wal_storage_size_bytes{{{_PROMETHEUS}}})", "log {{instance}}"),
        ),
        Row("Queries and rules", width=8),
        lines(
            "Queries",
            "Queries and evaluations of rules per second.",
            "ops",
            Query(
                _rate("prometheus_engine_query_duration_seconds_count", "slice", ', slice="inner_eval"'), "evaluated"
            ),
        ),
        lines(
            "Time of a query, 90th percentile",
            "Seconds that 90 of 100 queries spend in each part of their work.",
            "s",
            Query(
                f'max by (slice) (prometheus_engine_query_duration_seconds{{{_PROMETHEUS}, quantile="0.9"}})',
                "{{slice}}",
            ),
            steps=latency(1, 5),
        ),
        lines(
            "Time of rule groups",
            "Seconds that the ten most expensive groups of rules take in a round.",
            "s",
            Query(
                f"topk(10, max by (rule_group) (prometheus_rule_group_last_duration_seconds{{{_PROMETHEUS}}}))",
                "{{rule_group}}",
            ),
        ),
        lines(
            "Alerts sent",
            "Alerts per second handed to Alertmanager, and those that were lost on the way.",
            "ops",
            Query(_rate("prometheus_notifications_sent_total"), "sent"),
            Query(_rate("prometheus_notifications_dropped_total"), "lost"),
        ),
        lines(
            "Missed rounds",
            "Rounds of rules per second that were left out because the one before was not done.",
            "ops",
            Query(_rate("prometheus_rule_group_iterations_missed_total"), "missed"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Configuration",
            "1 while the last change of the configuration was accepted.",
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
    description="Does the storage outside get everything, in time? Empty while no remote write is configured.",
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
        Row("Delay"),
        lines(
            "Behind",
            "Seconds between the newest sample here and the newest that was sent.",
            "s",
            Query(
                f"max by (instance) (prometheus_remote_storage_highest_timestamp_in_seconds{{{_PROMETHEUS}}})"
                f" - on (instance) group_right () max by (instance, remote_name, url) (prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{_QUEUE}}})",
                _REMOTE,
            ),
            steps=latency(60, 120),
        ),
        lines(
            "Growing behind",
            "Seconds by which the delay grows every second; above zero it never catches up.",
            "s",
            Query(
                f"clamp_min(rate(prometheus_remote_storage_highest_timestamp_in_seconds{{{_PROMETHEUS}}}[$__rate_interval]) - ignoring (remote_name, url) group_right (instance) rate(prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{_QUEUE}}}[$__rate_interval]), 0)",
                _REMOTE,
            ),
        ),
        Row("Samples", width=8),
        lines(
            "Sent",
            "Samples per second that were sent.",
            "short",
            Query(_remote("samples_total"), _REMOTE),
        ),
        lines(
            "Failed and lost",
            "Samples per second that were refused for good, and those dropped before sending.",
            "short",
            Query(_remote("samples_failed_total"), f"failed {_REMOTE}"),
            Query(_remote("samples_dropped_total"), f"dropped {_REMOTE}"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Sent again",
            "Samples per second that were sent again after an error that may pass.",
            "short",
            Query(_remote("samples_retried_total"), _REMOTE),
        ),
        lines(
            "Waiting",
            "Samples that wait in memory.",
            "short",
            Query(f"sum by (remote_name, url) (prometheus_remote_storage_samples_pending{{{_QUEUE}}})", _REMOTE),
        ),
        lines(
            "Bytes",
            "Bytes per second on the wire.",
            "Bps",
            Query(_remote("bytes_total"), _REMOTE),
        ),
        lines(
            "Time of a request, 99th percentile",
            "Seconds within which 99 of 100 batches are taken.",
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
            "Connections that send now, how many would be needed, and the most there may be.",
            "short",
            Query(f"sum by (remote_name, url) (prometheus_remote_storage_shards{{{_QUEUE}}})", f"now {_REMOTE}"),
            Query(
                f"sum by (remote_name, url) (prometheus_remote_storage_shards_desired{{{_QUEUE}}})", f"needed {_REMOTE}"
            ),
            Query(f"sum by (remote_name, url) (prometheus_remote_storage_shards_max{{{_QUEUE}}})", f"most {_REMOTE}"),
            stairs=True,
        ),
        lines(
            "Room of a shard",
            "Samples that one connection holds back at most.",
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
    description="Do alerts arrive, and do notifications leave?",
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
        shared_panels.up("alertmanager", what="Alertmanager"),
        shared_panels.down("alertmanager", what="Alertmanager"),
        number(
            "Alerts",
            "Alerts that Alertmanager holds as active.",
            "short",
            Query(f'max(sum by (instance) (alertmanager_alerts{{{_ALERTS}, state="active"}}))'),
        ),
        number(
            "Silenced",
            "Alerts that are held back by a silence or by another alert.",
            "short",
            Query(f'max(sum by (instance) (alertmanager_alerts{{{_ALERTS}, state="suppressed"}}))'),
        ),
        number(
            "Silences",
            "Silences that are in force.",
            "short",
            Query(f'max(alertmanager_silences{{{_ALERTS}, state="active"}})'),
        ),
        number(
            "Failed notifications",
            "Notifications in the last hour that no try could deliver.",
            "short",
            Query(f"sum(increase(alertmanager_notifications_failed_total{{{_RECEIVERS}}}[1h]))"),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        Row("Alerts"),
        table(
            "Firing",
            "What fires now, as Prometheus sees it. Watchdog always does: it shows that alerting works.",
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
            "Alerts that Alertmanager holds.",
            "short",
            Query(f"max by (state) (sum by (instance, state) (alertmanager_alerts{{{_ALERTS}}}))", "{{state}}"),
            stairs=True,
        ),
        lines(
            "Arriving",
            "Alerts per second that Prometheus sends; every alert that fires is sent again and again.",
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
            "Notifications per second, by kind of receiver.",
            "alertmanager_notifications_total",
            _RECEIVERS,
            "integration",
            unit="ops",
        ),
        lines(
            "Failed",
            "Share of notifications that could not be delivered, by kind of receiver.",
            "percentunit",
            Query(
                f"{rate('alertmanager_notifications_failed_total', _RECEIVERS, 'integration')}"
                f" / ({rate('alertmanager_notifications_total', _RECEIVERS, 'integration')} > 0)",
                "{{integration}}",
            ),
            steps=ERRORS,
        ),
        shared_panels.percentile(
            "Time to deliver",
            "Seconds that 99 of 100 notifications take.",
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
    description="Does Grafana answer, and are its data sources well?",
    content=(
        Row("Now"),
        shared_panels.up("grafana", what="Grafana"),
        shared_panels.down("grafana", what="Grafana"),
        number(
            "Dashboards",
            "Dashboards that Grafana holds.",
            "short",
            Query(f"max(grafana_stat_totals_dashboard{{{_GRAFANA}}})"),
        ),
        number(
            "People",
            "People who used it in the last 30 days.",
            "short",
            Query(f"max(grafana_stat_active_users{{{_GRAFANA}}})"),
        ),
        number(
            "Requests",
            "Requests per second.",
            "reqps",
            Query(_GRAFANA_REQUESTS),
        ),
        number(
            "Failed requests",
            "Share of requests answered with a server error.",
            "percentunit",
            Query(
                f'(sum({_GRAFANA_RATE}{{cluster=~"$cluster", status_code=~"5.."}}) or vector(0)) / {_GRAFANA_REQUESTS}'
            ),
            steps=ERRORS,
        ),
        Row("Requests", width=8),
        lines(
            "Requests by code",
            "Requests per second, by HTTP code.",
            "reqps",
            Query(
                f'sum by (status_code) ({_GRAFANA_RATE}{{cluster=~"$cluster"}})',
                "{{status_code}}",
            ),
            stack=True,
        ),
        lines(
            "Time to answer, 99th percentile",
            "Seconds within which 99 of 100 requests are answered: the ten slowest handlers.",
            "s",
            Query(
                f"topk(10, {quantile(0.99, 'grafana_http_request_duration_seconds_bucket', _GRAFANA, 'handler')})",
                "{{handler}}",
            ),
            steps=latency(1, 5),
        ),
        shared_panels.rates(
            "Data source requests",
            "Requests per second that Grafana sends to data sources, by code.",
            "grafana_datasource_request_total",
            _GRAFANA,
            "code",
            unit="reqps",
        ),
        *shared_panels.process('job="grafana"'),
    ),
)

DASHBOARDS = (PROMETHEUS, REMOTE_WRITE, ALERTMANAGER, GRAFANA)
