"""The network below the pods: DNS (CoreDNS), policies and IP addresses (Calico), the VPN (OpenVPN)."""

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
    description="Does CoreDNS resolve names quickly, and from its cache?",
    variables=(instances("coredns"),),
    content=(
        Row("Now"),
        shared_panels.up("coredns", what="CoreDNS"),
        number("Queries", "DNS queries per second.", "reqps", Query(_coredns("coredns_dns_requests_total"))),
        shared_panels.share(
            "Failed",
            "Share of SERVFAIL responses in the last 30 minutes.",
            f"({_coredns('coredns_dns_responses_total', more=_FAILED, window='30m')} or vector(0))"
            f" / {_coredns('coredns_dns_responses_total', window='30m')}",
            steps=ERRORS,
        ),
        number(
            "From the cache",
            "Share of queries in the last 30 minutes answered from the cache.",
            "percentunit",
            Query(
                f"({_coredns('coredns_cache_hits_total', window='30m')} or vector(0)) / {_coredns('coredns_cache_requests_total', window='30m')}"
            ),
        ),
        number(
            "Panics",
            "Panics of plugins in the last hour.",
            "short",
            Query(f"sum(increase(coredns_panics_total{{{_DNS}}}[1h]))"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Failed reloads",
            "Failed configuration reloads in the last day.",
            "short",
            Query(f"sum(increase(coredns_reload_failed_total{{{_DNS}}}[1d]))"),
            steps=ANY_IS_BAD,
        ),
        Row("Queries and responses", width=8),
        shared_panels.rates(
            "By type",
            "Queries per second, by record type.",
            "coredns_dns_requests_total",
            _DNS,
            "type",
            unit="reqps",
            stack=True,
        ),
        shared_panels.rates(
            "By response code",
            "Responses per second, by code; search domains cause NXDOMAIN.",
            "coredns_dns_responses_total",
            _DNS,
            "rcode",
            unit="reqps",
            stack=True,
        ),
        lines(
            "Request duration",
            "Query duration in seconds.",
            "s",
            *shared_panels.percentiles("coredns_dns_request_duration_seconds_bucket", _DNS),
            steps=latency(0.1, 1),
        ),
        shared_panels.rates(
            "By zone",
            "Queries per second, by zone.",
            "coredns_dns_requests_total",
            _DNS,
            "zone",
            unit="reqps",
        ),
        shared_panels.percentile(
            "Response size",
            "Response size in bytes; responses above 1232 bytes need TCP.",
            "coredns_dns_response_size_bytes_bucket",
            _DNS,
            "proto",
            unit="bytes",
        ),
        lines(
            "Cache",
            "Entries in the cache: found names (success) and missing names (denial).",
            "short",
            Query(f"sum by (type) (coredns_cache_entries{{{_DNS}}})", "{{type}}"),
        ),
        shared_panels.rates(
            "Forwarded",
            "Queries forwarded per second, by upstream server and response code.",
            "coredns_proxy_request_duration_seconds_count",
            _DNS,
            "to, rcode",
            unit="reqps",
            width=12,
        ),
        shared_panels.percentile(
            "Upstream duration",
            "Duration of forwarded queries in seconds, by upstream server.",
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
    description="Are network policies applied on every node, and are IP addresses left for pods?",
    variables=(NODE,),
    content=(
        Row("Now"),
        *shared_panels.up_and_down("calico-node", what="Felix, Calico's agent"),
        number(
            "Endpoints",
            "Pods with an IP address of Calico.",
            "short",
            Query(f"sum(felix_active_local_endpoints{{{_FELIX}}})"),
        ),
        number(
            "Policies",
            "Active network policies on the node with the most.",
            "short",
            Query(f"max(felix_active_local_policies{{{_FELIX}}})"),
        ),
        number(
            "Not in sync",
            "Nodes whose agent is not in sync with the datastore; their rules may be outdated.",
            "short",
            Query(f"count(felix_resync_state{{{_FELIX}}} != 3) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Failures",
            "Failed updates of the data plane in the last hour; Felix retries them.",
            "short",
            Query(f"sum(increase(felix_int_dataplane_failures{{{_FELIX}}}[1h]))"),
            steps=Steps("green", ((1, "orange"), (10, "red"))),
            decimals=0,
        ),
        Row("Data plane", width=8),
        lines(
            "Update duration, 99th percentile",
            "Seconds to update the data plane; new pods have no network for this long.",
            "s",
            Query(f'max by (node) (felix_int_dataplane_apply_time_seconds{{{_FELIX}, quantile="0.99"}})', "{{node}}"),
            steps=latency(1, 5),
        ),
        shared_panels.rates(
            "Failures",
            "Failed updates of the data plane per second; Felix retries them.",
            "felix_int_dataplane_failures",
            _FELIX,
            "node",
            unit="ops",
            steps=ANY_IS_BAD,
        ),
        shared_panels.rates(
            "Messages",
            "Messages per second to the data plane driver.",
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
            "IP sets",
            "IP sets that policies match.",
            "short",
            Query(_felix("felix_ipsets_calico"), "{{node}}"),
        ),
        lines(
            "Failed operations",
            "Failed iptables and ipset calls per second.",
            "ops",
            Query(_felix_rate("felix_iptables_restore_errors"), "iptables {{node}}"),
            Query(_felix_rate("felix_ipset_errors"), "ipset {{node}}"),
            steps=ANY_IS_BAD,
        ),
        lines(
            "Policies and endpoints",
            "Active network policies and endpoints, by node.",
            "short",
            Query(_felix("felix_active_local_policies", "max"), "policies {{node}}"),
            Query(_felix("felix_active_local_endpoints", "max"), "endpoints {{node}}"),
        ),
        lines(
            "Calculation duration, 99th percentile",
            "Seconds to calculate the rules after a change.",
            "s",
            Query(f'max by (node) (felix_calc_graph_update_time_seconds{{{_FELIX}, quantile="0.99"}})', "{{node}}"),
        ),
        Row("IP addresses", width=8),
        table(
            "Pools",
            "IP pools for pods: size and usage.",
            {"ippool": "Pool"},
            Column(
                "Addresses", 'max by (ippool) (ipam_ippool_size{cluster=~"$cluster", job="calico-kube-controllers"})'
            ),
            Column(
                "Used", 'sum by (ippool) (ipam_allocations_in_use{cluster=~"$cluster", job="calico-kube-controllers"})'
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
            "IP addresses in use, by node.",
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
            "Blocks of IP addresses, by node.",
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
    description="Is every host connected to the VPN, through which hubs, and are the certificates valid?",
    content=(
        Row("Now"),
        number(
            "Services up",
            "Hosts with a running OpenVPN and a tunnel.",
            "short",
            Query(f"sum(openvpn_up{{{_VPN}}})"),
            steps=NONE_IS_BAD,
        ),
        number(
            "Services down",
            "Hosts whose OpenVPN is not running or has no tunnel.",
            "short",
            Query(f"count(openvpn_up{{{_VPN}}} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Hosts connected",
            "Connected peers: nodes to the hub, and the hub to nodes.",
            "short",
            Query(f"count(max by (peer) (openvpn_peer_connected{{{_VPN}}}) == 1)"),
            steps=NONE_IS_BAD,
        ),
        number(
            "Hosts missing",
            "Known hosts that are not connected.",
            "short",
            Query(f"count(max by (peer) (openvpn_peer_connected{{{_VPN}}}) == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "First certificate to expire",
            "Time until the first certificate expires; its host then cannot connect.",
            "s",
            Query(f"min(openvpn_certificate_not_after_seconds{{{_VPN}}}) - time()"),
            steps=Steps("red", ((_WEEK, "orange"), (_MONTH, "green"))),
        ),
        number(
            "Path MTU problems",
            "Tunnels that drop full-size packets; large responses then hang.",
            "short",
            Query(f"count(openvpn_path_mtu_ok{{{_VPN}}} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        Row("Peers"),
        states(
            "Connections",
            "Connection of each host to the hub.",
            Query(f"max by (peer) (openvpn_peer_connected{{{_VPN}}})", "{{peer}}"),
            words={0: ("disconnected", "red"), 1: ("connected", "green")},
            height=6,
        ),
        table(
            "Peers",
            "All hosts that the hub knows.",
            {"peer": "Host"},
            Column("Connected for", f"time() - max by (peer) (openvpn_peer_connected_since_seconds{{{_VPN}}})", "s"),
            Column(
                "Connections per hour",
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
            "Time until each certificate of the VPN expires.",
            {"name": "Certificate"},
            Column(
                "Expires in",
                f"min by (name) (openvpn_certificate_not_after_seconds{{{_VPN}}}) - time()",
                "s",
                Steps("red", ((_WEEK, "orange"), (_MONTH, "green"))),
            ),
            width=10,
        ),
        Row("Paths"),
        number(
            "BGP sessions down",
            "Sessions that are not established; packets do not take their tunnel if there is another one.",
            "short",
            Query(f"count(vpn_bgp_session_up{{{_VPN}}} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "BFD sessions down",
            "Paths whose failure is noticed after 9 seconds instead of one.",
            "short",
            Query(f"count(vpn_bfd_session_up{{{_VPN}}} == 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Changes in an hour",
            "Changes of paths on all hosts in the last hour.",
            "short",
            Query(f"sum(increase(vpn_path_changes_total{{{_VPN}}}[1h]))"),
            decimals=0,
        ),
        number(
            "API announced by",
            "Control planes that announce the address of the API.",
            "short",
            Query(f"sum(vpn_api_address_announced{{{_VPN}}})"),
            steps=NONE_IS_BAD,
        ),
        states(
            "Address of the API",
            "Control planes that announce it; each host uses the nearest one.",
            Query(f"max by (node) (vpn_api_address_announced{{{_VPN}}})", "{{node}}"),
            words={0: ("withdrawn", "red"), 1: ("announced", "green")},
            width=8,
            height=4,
        ),
        table(
            "Sessions",
            "Tunnels of each host: whether they are up, and to how many addresses they carry packets.",
            {"node": "Host", "peer": "Peer"},
            Column("Tunnel", f"max by (node, peer) (openvpn_peer_connected{{{_VPN}}})"),
            Column("BGP", f"max by (node, peer) (vpn_bgp_session_up{{{_VPN}}})"),
            Column("BGP for", f"time() - max by (node, peer) (vpn_bgp_session_since_seconds{{{_VPN}}})", "s"),
            Column("BFD", f"max by (node, peer) (vpn_bfd_session_up{{{_VPN}}})"),
            Column("Addresses", f"max by (node, peer) (vpn_routes{{{_VPN}}})"),
        ),
        lines(
            "Addresses by path",
            "Number of addresses in the VPN that each host reaches through each peer.",
            "short",
            Query(f"max by (node, peer) (vpn_routes{{{_VPN}}})", "{{node}} through {{peer}}"),
            stairs=True,
            width=12,
        ),
        lines(
            "Path changes",
            "Changes of paths in the last hour, by host.",
            "short",
            Query(f"sum by (node) (increase(vpn_path_changes_total{{{_VPN}}}[1h]))", "{{node}}"),
            width=12,
        ),
        Row("Traffic", width=8),
        lines(
            "Received from peers",
            "Bits received per second by the hub, by host.",
            "bps",
            Query(
                f"max by (peer) (rate(openvpn_peer_received_bytes_total{{{_VPN}}}[$__rate_interval])) * 8", "{{peer}}"
            ),
        ),
        lines(
            "Sent to peers",
            "Bits sent per second by the hub, by host.",
            "bps",
            Query(f"max by (peer) (rate(openvpn_peer_sent_bytes_total{{{_VPN}}}[$__rate_interval])) * 8", "{{peer}}"),
        ),
        lines(
            "Reconnections",
            "Connections in the last hour, by host; more than a few mean flapping.",
            "short",
            Query(f"max by (peer) (increase(openvpn_peer_connections_total{{{_VPN}}}[1h]))", "{{peer}}"),
            steps=Steps("green", ((3, "orange"), (6, "red"))),
        ),
        lines(
            "MTU",
            "MTU of the tunnel and of pods, by node; that of pods must be at least 50 bytes smaller.",
            "bytes",
            Query(f"max by (node) (openvpn_tun_mtu_bytes{{{_VPN}}})", "tunnel {{node}}"),
            Query(f"max by (node) (openvpn_pod_mtu_bytes{{{_VPN}}})", "pods {{node}}"),
            stairs=True,
        ),
        lines(
            "Round-trip time",
            "Round-trip time through the tunnel in seconds.",
            "s",
            Query(f"max by (node, peer) (openvpn_peer_round_trip_seconds{{{_VPN}}})", "{{node}} to {{peer}}"),
            steps=latency(0.1, 0.5),
        ),
        lines(
            "Tunnel: drops and errors",
            "Packets dropped or failed per second on the tunnel's device.",
            "pps",
            Query(
                f'sum by (node) (rate(node_network_transmit_drop_total{{{_VPN}, device=~"maas[0-9]+"}}[$__rate_interval])) + sum by (node) (rate(node_network_transmit_errs_total{{{_VPN}, device=~"maas[0-9]+"}}[$__rate_interval]))',
                "{{node}}",
            ),
            steps=ANY_IS_BAD,
        ),
    ),
)

DASHBOARDS = (COREDNS, CALICO, OPENVPN)
