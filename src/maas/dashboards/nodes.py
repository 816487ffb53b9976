"""The hosts below the nodes, as node-exporter sees them."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import PREFIX, Dashboard, Variable
from maas.dashboards.panels import ANY_IS_BAD, UTILIZATION, Column, Link, Panel, Query, Row, Steps, lines, number, table

_HOST = Variable("node", "Node", 'label_values(node_uname_info{cluster=~"$cluster", job="node-exporter"}, node)')

_ONE = 'cluster=~"$cluster", job="node-exporter", node="$node"'
_FILES = f'{_ONE}, fstype!="", mountpoint!=""'
_ALL = 'cluster=~"$cluster", job="node-exporter"'

_SATURATED = Steps("green", ((1, "orange"), (2, "red")))
"""Work per core: above one, something waits."""


def _traffic(direction: str, what: str) -> str:
    return f'rate(node_network_{direction}_{what}_total{{{_ONE}, device!="lo"}}[$__rate_interval])'


NODE = Dashboard(
    folder="nodes",
    name="node",
    title="Node exporter / Nodes",
    description="How does one host use its CPU, memory, disks and network?",
    variables=(_HOST,),
    content=(
        Row("Now"),
        shared_panels.share(
            "CPU used",
            "Share of all cores that is in use.",
            f'1 - avg(rate(node_cpu_seconds_total{{{_ONE}, mode="idle"}}[$__rate_interval]))',
            decimals=1,
        ),
        number(
            "Load per core",
            "Load average over one minute, per core.",
            "short",
            Query(f'sum(node_load1{{{_ONE}}}) / count(count by (cpu) (node_cpu_seconds_total{{{_ONE}, mode="idle"}}))'),
            steps=_SATURATED,
            decimals=2,
        ),
        shared_panels.share(
            "Memory used",
            "Share of memory that is not available to new processes.",
            f"1 - sum(node_memory_MemAvailable_bytes{{{_ONE}}}) / sum(node_memory_MemTotal_bytes{{{_ONE}}})",
            decimals=1,
        ),
        shared_panels.share(
            "Fullest file system",
            "Share of space used on the fullest file system.",
            f"max(1 - node_filesystem_avail_bytes{{{_FILES}}} / node_filesystem_size_bytes{{{_FILES}}})",
            decimals=1,
        ),
        number(
            "Uptime",
            "Time since the host booted.",
            "s",
            Query(f"time() - max(node_boot_time_seconds{{{_ONE}}})"),
        ),
        number(
            "Clock offset",
            "Offset of the clock from its reference, as the kernel reports it; certificates and etcd need a small one.",
            "s",
            Query(f"max(abs(node_timex_offset_seconds{{{_ONE}}}))"),
            steps=Steps("green", ((0.05, "orange"), (0.5, "red"))),
        ),
        Row("CPU"),
        lines(
            "CPU by mode",
            "Share of all cores, by mode: user, system, iowait (waiting for disks), steal (taken by the hypervisor) and others.",
            "percentunit",
            Query(
                f'sum by (mode) (rate(node_cpu_seconds_total{{{_ONE}, mode!="idle"}}[$__rate_interval]))'
                f' / ignoring (mode) group_left () count(count by (cpu) (node_cpu_seconds_total{{{_ONE}, mode="idle"}}))',
                "{{mode}}",
            ),
            stack=True,
            most=1,
        ),
        lines(
            "Load",
            "Load averages over 1, 5 and 15 minutes, and the number of cores.",
            "short",
            Query(f"node_load1{{{_ONE}}}", "1 minute"),
            Query(f"node_load5{{{_ONE}}}", "5 minutes"),
            Query(f"node_load15{{{_ONE}}}", "15 minutes"),
            Query(f'count(count by (cpu) (node_cpu_seconds_total{{{_ONE}, mode="idle"}}))', "cores"),
        ),
        Row("Memory"),
        lines(
            "Memory usage",
            "Memory by use: processes, caches (reclaimed when needed), free.",
            "bytes",
            Query(
                f"node_memory_MemTotal_bytes{{{_ONE}}} - node_memory_MemFree_bytes{{{_ONE}}}"
                f" - node_memory_Buffers_bytes{{{_ONE}}} - node_memory_Cached_bytes{{{_ONE}}}",
                "processes",
            ),
            Query(f"node_memory_Buffers_bytes{{{_ONE}}} + node_memory_Cached_bytes{{{_ONE}}}", "caches"),
            Query(f"node_memory_MemFree_bytes{{{_ONE}}}", "free"),
            stack=True,
        ),
        lines(
            "Major page faults",
            "Pages per second read from disk because they were not in memory; many mean too little memory.",
            "ops",
            Query(f"rate(node_vmstat_pgmajfault{{{_ONE}}}[$__rate_interval])", "major faults"),
        ),
        Row("Disks"),
        lines(
            "Bytes",
            "Bytes per second read and written, by disk.",
            "Bps",
            Query(f"rate(node_disk_read_bytes_total{{{_ONE}}}[$__rate_interval])", "{{device}} read"),
            Query(f"rate(node_disk_written_bytes_total{{{_ONE}}}[$__rate_interval])", "{{device}} written"),
        ),
        lines(
            "I/O utilization",
            "Share of time in which the disk was busy.",
            "percentunit",
            Query(f"rate(node_disk_io_time_seconds_total{{{_ONE}}}[$__rate_interval])", "{{device}}"),
            steps=UTILIZATION,
            most=1,
        ),
        table(
            "File systems",
            "All file systems: size, and the shares of space and inodes in use.",
            {"mountpoint": "Mounted on", "fstype": "Type"},
            Column("Size", f"max by (mountpoint, fstype) (node_filesystem_size_bytes{{{_FILES}}})", "bytes"),
            Column(
                "Used",
                "max by (mountpoint, fstype) "
                f"(1 - node_filesystem_avail_bytes{{{_FILES}}} / node_filesystem_size_bytes{{{_FILES}}})",
                "percentunit",
                UTILIZATION,
            ),
            Column(
                "Inodes used",
                "max by (mountpoint, fstype) "
                f"(1 - node_filesystem_files_free{{{_FILES}}} / node_filesystem_files{{{_FILES}}})",
                "percentunit",
                UTILIZATION,
            ),
            height=7,
        ),
        Row("Network"),
        lines(
            "In",
            "Bits received per second, by device.",
            "bps",
            Query(f"{_traffic('receive', 'bytes')} * 8", "{{device}}"),
        ),
        lines(
            "Out",
            "Bits sent per second, by device.",
            "bps",
            Query(f"{_traffic('transmit', 'bytes')} * 8", "{{device}}"),
        ),
        lines(
            "Errors and drops",
            "Packets per second with errors or dropped, by device.",
            "pps",
            Query(f"{_traffic('receive', 'errs')} + {_traffic('transmit', 'errs')}", "{{device}} errors"),
            Query(f"{_traffic('receive', 'drop')} + {_traffic('transmit', 'drop')}", "{{device}} drops"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Tracked connections",
            "Share of the conntrack table that is in use; when it is full, new connections are dropped.",
            "percentunit",
            Query(f"node_nf_conntrack_entries{{{_ONE}}} / node_nf_conntrack_entries_limit{{{_ONE}}}", "connections"),
            steps=UTILIZATION,
            most=1,
        ),
        *shared_panels.process('job="node-exporter", node="$node"'),
    ),
)


def _use(node: str, by: str, legend: str) -> tuple[Row | Panel, ...]:
    """Utilization, saturation and errors of every resource, from the recorded series."""
    where = f"{_ALL}{node}"

    def each(record: str, *, aggregate: str = "sum") -> str:
        return f"{aggregate} by ({by}) ({record}{{{where}}})"

    def share(title: str, description: str, record: str, *, aggregate: str = "avg") -> Panel:
        query = Query(each(record, aggregate=aggregate), legend)
        return lines(f"{title}: utilization", description, "percentunit", query, steps=UTILIZATION, most=1)

    def both_ways(title: str, description: str, unit: str, record: str, *, steps: Steps | None = None) -> Panel:
        queries = (
            Query(each(record.format(direction)), f"{legend} {word}")
            for direction, word in (("receive", "in"), ("transmit", "out"))
        )
        return lines(f"Network: {title}", description, unit, *queries, steps=steps)

    return (
        Row("CPU"),
        share("CPU", "Share of the cores in use.", "instance:node_cpu_utilisation:rate5m"),
        lines(
            "CPU: saturation",
            "Load per core; above one, some processes wait.",
            "short",
            Query(each("instance:node_load1_per_cpu:ratio", aggregate="avg"), legend),
            steps=_SATURATED,
        ),
        Row("Memory"),
        share(
            "Memory",
            "Share of memory that is not available to new processes.",
            "instance:node_memory_utilisation:ratio",
        ),
        lines(
            "Memory: saturation",
            "Pages per second read from disk because they were not in memory.",
            "ops",
            Query(each("instance:node_vmstat_pgmajfault:rate5m"), legend),
        ),
        Row("Network"),
        both_ways(
            "utilization",
            "Bytes per second received and sent, over all devices except the loopback.",
            "Bps",
            "instance:node_network_{}_bytes_excluding_lo:rate5m",
        ),
        both_ways(
            "saturation",
            "Packets per second dropped, received and sent, over all devices except the loopback.",
            "pps",
            "instance:node_network_{}_drop_excluding_lo:rate5m",
            steps=ANY_IS_BAD,
        ),
        Row("Disks"),
        share(
            "Disks",
            "Share of time in which the busiest disk was working.",
            "instance_device:node_disk_io_time_seconds:rate5m",
            aggregate="max",
        ),
        lines(
            "Disks: saturation",
            "Average length of the longest disk queue.",
            "short",
            Query(each("instance_device:node_disk_io_time_weighted_seconds:rate5m", aggregate="max"), legend),
            steps=_SATURATED,
        ),
        lines(
            "File systems: utilization",
            "Share of space used on the fullest file system.",
            "percentunit",
            Query(
                f'max by ({by}) (1 - node_filesystem_avail_bytes{{{where}, fstype!="", mountpoint!=""}}'
                f' / node_filesystem_size_bytes{{{where}, fstype!="", mountpoint!=""}})',
                legend,
            ),
            steps=UTILIZATION,
            most=1,
            width=24,
        ),
    )


USE_NODE = Dashboard(
    folder="nodes",
    name="use-node",
    title="USE method / Node",
    description="Utilization, saturation and errors of the resources of one host: which is the bottleneck?",
    variables=(_HOST,),
    content=_use(', node="$node"', "node", "{{node}}"),
)

USE_CLUSTER = Dashboard(
    folder="nodes",
    name="use-cluster",
    title="USE method / Cluster",
    description="Utilization, saturation and errors of all hosts: which one stands out?",
    content=(
        table(
            "Hosts",
            "All hosts and the utilization of their resources.",
            {"node": "Node"},
            Column("Cores", f"sum by (node) (instance:node_num_cpu:sum{{{_ALL}}})"),
            Column(
                "CPU", f"avg by (node) (instance:node_cpu_utilisation:rate5m{{{_ALL}}})", "percentunit", UTILIZATION
            ),
            Column(
                "Load per core", f"avg by (node) (instance:node_load1_per_cpu:ratio{{{_ALL}}})", "short", _SATURATED
            ),
            Column(
                "Memory",
                f"avg by (node) (instance:node_memory_utilisation:ratio{{{_ALL}}})",
                "percentunit",
                UTILIZATION,
            ),
            Column("Memory total", f"sum by (node) (node_memory_MemTotal_bytes{{{_ALL}}})", "bytes"),
            links={"Node": Link(f"{PREFIX}use-node", {"node": "Node"}), "CPU": Link(f"{PREFIX}node", {"node": "Node"})},
            height=7,
        ),
        *_use("", "node", "{{node}}"),
    ),
)

DASHBOARDS = (NODE, USE_NODE, USE_CLUSTER)
