"""Below the pods' traffic: names (CoreDNS), policies and addresses (Calico), the private network (OpenVPN)."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import NODE, Dashboard, instances
from maas.dashboards.panels import (
    ANY_IS_BAD,
    ERRORS,
    NONE_IS_BAD,
    UTILIZATION,
    Column,
    Query,
    Row,
    Steps,
    latency,
    lines,
    number,
    states,
    table,
)
from maas.dashboards.promql import INTERVAL, rate

_FAILED = ', rcode="SERVFAIL"'
_DNS = 'cluster=~"$cluster", job="coredns", instance=~"$instance"'


def _coredns(metric: str, by: str = "", more: str = "", *, window: str = INTERVAL) -> str:
    return rate(metric, f"{_DNS}{more}", by, window=window)


COREDNS = Dashboard(
    folder="network",
    name="coredns",
    title="CoreDNS",
    description="Are names answered, in time, and from the cache?",
    variables=(instances("coredns"),),
    content=(
        Row("Now"),
        shared_panels.up("coredns", what="CoreDNS"),
        number("Questions", "Questions per second.", "reqps", Query(_coredns("coredns_dns_requests_total"))),
        number(
            "Failed",
            "Share of answers in half an hour that say SERVFAIL: somebody asked and CoreDNS could not find out.",
            "percentunit",
            Query(
                f"({_coredns('coredns_dns_responses_total', more=_FAILED, window='30m')} or vector(0))"
                f" / {_coredns('coredns_dns_responses_total', window='30m')}"
            ),
            steps=ERRORS,
        ),
        number(
            "From the cache",
            "Share of questions in half an hour that the cache answered.",
            "percentunit",
            Query(
                f"({_coredns('coredns_cache_hits_total', window='30m')} or vector(0)) / {_coredns('coredns_cache_requests_total', window='30m')}"
            ),
        ),
        number(
            "Panics",
            "Times in the last hour that a plugin fell over.",
            "short",
            Query(f"sum(increase(coredns_panics_total{{{_DNS}}}[1h]))"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Failed reloads",
            "Times in the last day that a new configuration was refused.",
            "short",
            Query(f"sum(increase(coredns_reload_failed_total{{{_DNS}}}[1d]))"),
            steps=ANY_IS_BAD,
        ),
        Row("Questions and answers", width=8),
        shared_panels.rates(
            "By type",
            "Questions per second, by type of record.",
            "coredns_dns_requests_total",
            _DNS,
            "type",
            unit="reqps",
            stack=True,
        ),
        shared_panels.rates(
            "By answer",
            "Answers per second, by code; NXDOMAIN is the price of search domains.",
            "coredns_dns_responses_total",
            _DNS,
            "rcode",
            unit="reqps",
            stack=True,
        ),
        lines(
            "Time to answer",
            "Seconds within which half, 95 and 99 of 100 questions are answered.",
            "s",
            *shared_panels.percentiles("coredns_dns_request_duration_seconds_bucket", _DNS),
            steps=latency(0.1, 1),
        ),
        shared_panels.rates(
            "By zone",
            "Questions per second, by the zone that answers.",
            "coredns_dns_requests_total",
            _DNS,
            "zone",
            unit="reqps",
        ),
        shared_panels.percentile(
            "Size of answers",
            "Bytes of the largest answers; above 1232 they need TCP.",
            "coredns_dns_response_size_bytes_bucket",
            _DNS,
            "proto",
            unit="bytes",
        ),
        lines(
            "Cache",
            "Answers that the cache holds: found names (success) and missing ones (denial).",
            "short",
            Query(f"sum by (type) (coredns_cache_entries{{{_DNS}}})", "{{type}}"),
        ),
        shared_panels.rates(
            "Passed on",
            "Questions per second that go to the servers outside, by their answer.",
            "coredns_proxy_request_duration_seconds_count",
            _DNS,
            "to, rcode",
            unit="reqps",
            width=12,
        ),
        shared_panels.percentile(
            "Time of the servers outside",
            "Seconds within which they answer 99 of 100 questions.",
            "coredns_proxy_request_duration_seconds_bucket",
            _DNS,
            "to",
            steps=latency(0.5, 2),
            width=12,
        ),
        *shared_panels.process('job="coredns", instance=~"$instance"'),
    ),
)

_FELIX = 'cluster=~"$cluster", job="calico-node", node=~"$node"'


def _felix(metric: str, function: str = "sum") -> str:
    return f"{function} by (node) ({metric}{{{_FELIX}}})"


def _felix_rate(metric: str) -> str:
    return rate(metric, _FELIX, "node")


CALICO = Dashboard(
    folder="network",
    name="calico",
    title="Calico",
    description="Does every node carry out the network policies, and are there addresses left for pods?",
    variables=(NODE,),
    content=(
        Row("Now"),
        shared_panels.up("calico-node", what="Felix, Calico's agent"),
        shared_panels.down("calico-node", what="Felix, Calico's agent"),
        number(
            "Endpoints",
            "Pods with an address of Calico.",
            "short",
            Query(f"sum(felix_active_local_endpoints{{{_FELIX}}})"),
        ),
        number(
            "Policies",
            "Network policies that apply to a pod, on the node with the most.",
            "short",
            Query(f"max(felix_active_local_policies{{{_FELIX}}})"),
        ),
        number(
            "Not in step",
            "Nodes whose agent has not read everything yet; their rules may be old.",
            "short",
            Query(f"count(felix_resync_state{{{_FELIX}}} != 3) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Failures",
            "Failed writes of rules and addresses to the kernel in the last hour, tried again.",
            "short",
            Query(f"sum(increase(felix_int_dataplane_failures{{{_FELIX}}}[1h]))"),
            steps=Steps("green", ((1, "orange"), (10, "red"))),
            decimals=0,
        ),
        Row("Data plane", width=8),
        lines(
            "Time to apply changes, 99th percentile",
            "Seconds that 99 of 100 writes of rules to the kernel take; pods start without a network for so long.",
            "s",
            Query(f'max by (node) (felix_int_dataplane_apply_time_seconds{{{_FELIX}, quantile="0.99"}})', "{{node}}"),
            steps=latency(1, 5),
        ),
        shared_panels.rates(
            "Failures",
            "Failed writes per second, tried again at once.",
            "felix_int_dataplane_failures",
            _FELIX,
            "node",
            unit="ops",
            steps=ANY_IS_BAD,
        ),
        shared_panels.rates(
            "Messages",
            "Changes per second that reach the part which writes them to the kernel.",
            "felix_int_dataplane_messages",
            _FELIX,
            "node",
            unit="ops",
        ),
        lines(
            "Rules",
            "iptables rules of Calico in the kernel.",
            "short",
            Query(_felix("felix_iptables_rules"), "{{node}}"),
        ),
        lines(
            "Chains",
            "iptables chains of Calico in the kernel.",
            "short",
            Query(_felix("felix_iptables_chains"), "{{node}}"),
        ),
        lines(
            "Sets of addresses",
            "Sets that policies match against.",
            "short",
            Query(_felix("felix_ipsets_calico"), "{{node}}"),
        ),
        lines(
            "Failed calls",
            "iptables and ipset calls per second that failed.",
            "ops",
            Query(_felix_rate("felix_iptables_restore_errors"), "iptables {{node}}"),
            Query(_felix_rate("felix_ipset_errors"), "ipset {{node}}"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Policies and endpoints",
            "What each node has to carry out.",
            "short",
            Query(_felix("felix_active_local_policies", "max"), "policies {{node}}"),
            Query(_felix("felix_active_local_endpoints", "max"), "endpoints {{node}}"),
        ),
        lines(
            "Time to work out rules",
            "Seconds that the slowest of 100 changes takes until it is rules.",
            "s",
            Query(f'max by (node) (felix_calc_graph_update_time_seconds{{{_FELIX}, quantile="0.99"}})', "{{node}}"),
        ),
        Row("Addresses", width=8),
        table(
            "Pools",
            "Addresses for pods: how many each pool has and how many are taken.",
            {"ippool": "Pool"},
            Column(
                "Addresses", 'max by (ippool) (ipam_ippool_size{cluster=~"$cluster", job="calico-kube-controllers"})'
            ),
            Column(
                "Taken", 'sum by (ippool) (ipam_allocations_in_use{cluster=~"$cluster", job="calico-kube-controllers"})'
            ),
            Column(
                "Share",
                'sum by (ippool) (ipam_allocations_in_use{cluster=~"$cluster", job="calico-kube-controllers"})'
                ' / max by (ippool) (ipam_ippool_size{cluster=~"$cluster", job="calico-kube-controllers"})',
                "percentunit",
                UTILIZATION,
            ),
            width=8,
        ),
        lines(
            "Addresses by node",
            "Addresses that pods of each node have.",
            "short",
            Query(
                'sum by (node) (ipam_allocations_in_use{cluster=~"$cluster", job="calico-kube-controllers", node=~"$node"})',
                "{{node}}",
            ),
            stack=True,
            stairs=True,
        ),
        lines(
            "Blocks by node",
            "Blocks of addresses that belong to each node.",
            "short",
            Query(
                'sum by (node) (ipam_blocks{cluster=~"$cluster", job="calico-kube-controllers", node=~"$node"})',
                "{{node}}",
            ),
            stairs=True,
        ),
        *shared_panels.process('job="calico-node", node=~"$node"'),
    ),
)

_VPN = 'cluster=~"$cluster", job="node-exporter"'
_WEEK, _MONTH = 7 * 86400, 30 * 86400

OPENVPN = Dashboard(
    folder="network",
    name="openvpn",
    title="OpenVPN",
    description="Is every host connected to the private network, for how long already, and are its certificates valid?",
    content=(
        Row("Now"),
        number(
            "Services up",
            "Hosts whose OpenVPN runs and has its tunnel.",
            "short",
            Query(f"sum(openvpn_up{{{_VPN}}})"),
            steps=NONE_IS_BAD,
        ),
        number(
            "Services down",
            "Hosts whose OpenVPN does not run or has no tunnel.",
            "short",
            Query(f"count(openvpn_up{{{_VPN}}} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Hosts connected",
            "Hosts that are connected to another one: nodes to the hub, the hub to nodes.",
            "short",
            Query(f"count(max by (peer) (openvpn_peer_connected{{{_VPN}}}) == 1)"),
            steps=NONE_IS_BAD,
        ),
        number(
            "Hosts missing",
            "Hosts that are known and not connected.",
            "short",
            Query(f"count(max by (peer) (openvpn_peer_connected{{{_VPN}}}) == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "First certificate to expire",
            "Time until it does; then that host cannot connect any more.",
            "s",
            Query(f"min(openvpn_certificate_not_after_seconds{{{_VPN}}}) - time()"),
            steps=Steps("red", ((_WEEK, "orange"), (_MONTH, "green"))),
        ),
        number(
            "Full-size packets",
            "Tunnels through which a packet of full size does not pass; large answers then hang.",
            "short",
            Query(f"count(openvpn_path_mtu_ok{{{_VPN}}} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        Row("Peers"),
        states(
            "Connections",
            "When each host was connected to the hub.",
            Query(f"max by (peer) (openvpn_peer_connected{{{_VPN}}})", "{{peer}}"),
            words={0: ("away", "red"), 1: ("connected", "green")},
            height=6,
        ),
        table(
            "Peers",
            "Every host that the hub knows.",
            {"peer": "Host"},
            Column("Connected for", f"time() - max by (peer) (openvpn_peer_connected_since_seconds{{{_VPN}}})", "s"),
            Column(
                "Connections in an hour",
                f"max by (peer) (increase(openvpn_peer_connections_total{{{_VPN}}}[1h]))",
                "short",
                Steps("green", ((3, "orange"), (6, "red"))),
            ),
            Column("Received", f"max by (peer) (rate(openvpn_peer_received_bytes_total{{{_VPN}}}[5m]))", "Bps"),
            Column("Sent", f"max by (peer) (rate(openvpn_peer_sent_bytes_total{{{_VPN}}}[5m]))", "Bps"),
            width=14,
        ),
        table(
            "Certificates",
            "Time until each certificate of the private network expires.",
            {"name": "Certificate"},
            Column(
                "Expires in",
                f"min by (name) (openvpn_certificate_not_after_seconds{{{_VPN}}}) - time()",
                "s",
                Steps("red", ((_WEEK, "orange"), (_MONTH, "green"))),
            ),
            width=10,
        ),
        Row("Traffic", width=8),
        lines(
            "Received from peers",
            "Bits per second that the hub receives from each host.",
            "bps",
            Query(
                f"max by (peer) (rate(openvpn_peer_received_bytes_total{{{_VPN}}}[$__rate_interval])) * 8", "{{peer}}"
            ),
        ),
        lines(
            "Sent to peers",
            "Bits per second that the hub sends to each host.",
            "bps",
            Query(f"max by (peer) (rate(openvpn_peer_sent_bytes_total{{{_VPN}}}[$__rate_interval])) * 8", "{{peer}}"),
        ),
        lines(
            "Connections made",
            "Connections that each host made in the last hour; more than a few is flapping.",
            "short",
            Query(f"max by (peer) (increase(openvpn_peer_connections_total{{{_VPN}}}[1h]))", "{{peer}}"),
            steps=Steps("green", ((3, "orange"), (6, "red"))),
        ),
        lines(
            "Packet sizes",
            "The largest packet of the tunnel and of pods, by node; pods' must be 50 bytes smaller at least.",
            "bytes",
            Query(f"max by (node) (openvpn_tun_mtu_bytes{{{_VPN}}})", "tunnel {{node}}"),
            Query(f"max by (node) (openvpn_pod_mtu_bytes{{{_VPN}}})", "pods {{node}}"),
            stairs=True,
        ),
        lines(
            "Round trip",
            "Seconds that a small packet takes through the tunnel and back.",
            "s",
            Query(f"max by (node, peer) (openvpn_peer_round_trip_seconds{{{_VPN}}})", "{{node}} to {{peer}}"),
            steps=latency(0.1, 0.5),
        ),
        lines(
            "Tunnel: drops and errors",
            "Packets per second that the tunnel's device dropped or could not send.",
            "pps",
            Query(
                f'sum by (node) (rate(node_network_transmit_drop_total{{{_VPN}, device=~"tun.*"}}[$__rate_interval])) + sum by (node) (rate(node_network_transmit_errs_total{{{_VPN}, device=~"tun.*"}}[$__rate_interval]))',
                "{{node}}",
            ),
            steps=ANY_IS_BAD,
        ),
    ),
)

DASHBOARDS = (COREDNS, CALICO, OPENVPN)
