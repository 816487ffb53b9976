"""Bad inventories, each with every line of its error message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.hosts import bundle_of, facts_of, inventory_of

from maas.errors import InventoryError
from maas.hosts import network_plan
from maas.hosts.ansible_inventory import ansible_inventory
from maas.hosts.inventory import load

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
cluster: shop
hub: {endpoint: vpn.example.org}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
"""
PRIVATE = "is not a private network; use a part of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10"
USER = "is not a user name (letters, digits and any of . _ - + @ \\ with at least one letter, starts with none of . - + @ \\)"
IPV4 = "but the VPN uses IPv4; write an IPv4 address, or a name with one"
SERVER = "the IPv4 address of a name server, which pods can reach"
NODE = "is not a node name (lower-case letters, digits, '-' and '.', at most 63 characters)"
ANSIBLE = "1:1: this looks like an Ansible inventory; write the keys cluster, hub and hosts (docs/inventory.md)"

# (replaced text of the good inventory, its replacement, the problems)
EDITED: list[tuple[str, str, list[str]]] = [
    # The hub: P6
    ("vpn.example.org", '"2001:db8::10"', [f"2:17: hub.endpoint: 2001:db8::10 is an IPv6 address, {IPV4}"]),
    ("vpn.example.org", '"[2001:db8::10]"', [f"2:17: hub.endpoint: [2001:db8::10] is an IPv6 address, {IPV4}"]),
    (
        "vpn.example.org",
        '"[2001:db8::10]:1194"',
        [f"2:17: hub.endpoint: [2001:db8::10]:1194 is an IPv6 address, {IPV4}"],
    ),
    ("vpn.example.org", '"fe80::1%eth0"', [f"2:17: hub.endpoint: fe80::1%eth0 is an IPv6 address, {IPV4}"]),
    ("vpn.example.org", '"::ffff:192.0.2.1"', [f"2:17: hub.endpoint: ::ffff:192.0.2.1 is an IPv6 address, {IPV4}"]),
    ("vpn.example.org", '"::1"', [f"2:17: hub.endpoint: ::1 is an IPv6 address, {IPV4}"]),
    (
        "role: worker",
        'role: worker, hub: {endpoint: "2001:db8::10"}',
        [f"5:72: hosts[1].hub.endpoint: 2001:db8::10 is an IPv6 address, {IPV4}"],
    ),
    # The public port of the hub and the one that it listens on: P19
    (
        "vpn.example.org",
        "vpn.example.org, port: 41194, listen: 4789",
        ["2:55: hub.listen: UDP port 4789 is used by the pod network on every host"],
    ),
    (
        "role: worker",
        "role: worker, hub: {endpoint: 192.0.2.9, listen: 1194}",
        ["5:83: hosts[1].hub.listen: the hub has one listening port; write it in hub.listen"],
    ),
    # Name servers of pods: P10
    (
        "hosts:",
        'nameservers: ["2001:db8::53", 127.0.0.53, dns.example.org, 10.92.0.10]\nhosts:',
        [
            f'3:15: nameservers[0]: "2001:db8::53" is not {SERVER}',
            f'3:31: nameservers[1]: "127.0.0.53" is not {SERVER}',
            f'3:43: nameservers[2]: "dns.example.org" is not {SERVER}',
            "3:60: nameservers[3]: 10.92.0.10 is in networks.services 10.92.0.0/16, which exists only inside the cluster",
            "3:60: nameservers[3]: at most 3 name servers are used; remove the others",
        ],
    ),
    (
        "vpn.example.org",
        "vpn.example.org:1194",
        [
            (
                '2:17: hub.endpoint: "vpn.example.org:1194" is neither a host name nor an IP address '
                "(set the port with the key port)"
            )
        ],
    ),
    (
        "vpn.example.org",
        "203.0.113.11",
        ["2:17: hub.endpoint: 203.0.113.11 is the address of the worker node1, which is not a hub"],
    ),
    # Connections
    ("role: worker", "role: worker, ssh: {}", ["5:61: hosts[1].ssh: the key proxyJump is missing"]),
    (
        "role: worker",
        "role: worker, ssh: {proxyJump: -oProxyCommand=x}",
        [
            (
                '5:73: hosts[1].ssh.proxyJump: "-oProxyCommand=x" is not a jump host '
                "([user@]host[:port], several separated by commas)"
            )
        ],
    ),
    (
        "role: worker",
        "role: worker, ssh: {proxyjump: gate}",
        [
            "5:61: hosts[1].ssh: the key proxyJump is missing",
            "5:62: hosts[1].ssh.proxyjump: unknown key, did you mean proxyJump?",
        ],
    ),
    # Addresses
    (
        "203.0.113.11",
        '"[2001:db8::11]:22"',
        [
            (
                '5:28: hosts[1].address: "[2001:db8::11]:22" is not an address; write it without brackets '
                "and set the port with the key port"
            )
        ],
    ),
    (
        "203.0.113.11",
        '"[2001:db8::11]"',
        ['5:28: hosts[1].address: "[2001:db8::11]" is not an address; write it without brackets'],
    ),
    (
        "203.0.113.11",
        "10.90.0.7",
        ["5:28: hosts[1].address: 10.90.0.7 is in networks.vpn 10.90.0.0/24, which exists only inside the cluster"],
    ),
    (
        "203.0.113.11",
        "203.0.113.411",
        ['5:28: hosts[1].address: "203.0.113.411" is neither a host name nor an IP address'],
    ),
    # The VPN's network : P7
    (
        "hosts:",
        "networks: {vpn: 10.90.0.0/30}\nhosts:",
        ["3:17: networks.vpn: 10.90.0.0/30 is too small for OpenVPN, at least a /29"],
    ),
    (
        "hosts:",
        "networks: {vpn: 10.90.0.0/31}\nhosts:",
        ["3:17: networks.vpn: 10.90.0.0/31 is too small for OpenVPN, at least a /29"],
    ),
    (
        "hosts:",
        "networks: {vpn: 10.90.0.1/32}\nhosts:",
        ["3:17: networks.vpn: 10.90.0.1/32 is too small for OpenVPN, at least a /29"],
    ),
    (
        "hosts:",
        "networks: {vpn: 172.16.0.0/15}\nhosts:",
        ["3:17: networks.vpn: 172.16.0.0/15 is too large for OpenVPN, at most a /16"],
    ),
    # Networks outside private address space : P13
    ("hosts:", "networks: {vpn: 8.8.8.0/24}\nhosts:", [f"3:17: networks.vpn: 8.8.8.0/24 {PRIVATE}"]),
    ("hosts:", "networks: {pods: 172.0.0.0/8}\nhosts:", [f"3:18: networks.pods: 172.0.0.0/8 {PRIVATE}"]),
    ("hosts:", "networks: {services: 100.128.0.0/16}\nhosts:", [f"3:22: networks.services: 100.128.0.0/16 {PRIVATE}"]),
    ("hosts:", "networks: {vpn: 192.0.2.0/24}\nhosts:", [f"3:17: networks.vpn: 192.0.2.0/24 {PRIVATE}"]),
    ("hosts:", "networks: {vpn: 169.254.1.0/24}\nhosts:", [f"3:17: networks.vpn: 169.254.1.0/24 {PRIVATE}"]),
    ("hosts:", "networks: {vpn: 127.1.0.0/24}\nhosts:", [f"3:17: networks.vpn: 127.1.0.0/24 {PRIVATE}"]),
    (
        "hosts:",
        'networks: {vpn: "fd00:90::/64"}\nhosts:',
        ['3:17: networks.vpn: "fd00:90::/64" is not an IPv4 network such as 10.90.0.0/24'],
    ),
    (
        "hosts:",
        "networks: {vpn: 10.90.0.5/24}\nhosts:",
        ["3:17: networks.vpn: 10.90.0.5/24 is an address inside the network 10.90.0.0/24; write 10.90.0.0/24"],
    ),
    # Names that Ansible uses, P8
    ("node1", "workers", ["5:12: hosts[1].name: Ansible reserves the name workers; choose another one"]),
    ("node1", "all", ["5:12: hosts[1].name: Ansible reserves the name all; choose another one"]),
    ("node1", "ungrouped", ["5:12: hosts[1].name: Ansible reserves the name ungrouped; choose another one"]),
    ("node1", "localhost", ["5:12: hosts[1].name: Ansible reserves the name localhost; choose another one"]),
    ("node1", "127.0.0.1", ["5:12: hosts[1].name: Ansible reserves the name 127.0.0.1; choose another one"]),
    ("master", "workers", ["4:12: hosts[0].name: Ansible reserves the name workers; choose another one"]),
    ("node1", "Node1", [f'5:12: hosts[1].name: "Node1" {NODE}']),
    # Labels of Kubernetes itself, P14
    (
        "role: worker",
        "role: worker, labels: {kubernetes.io/os: windows}",
        ["5:65: hosts[1].labels.kubernetes.io/os: the kubelet sets this label on every node; remove it"],
    ),
    (
        "role: worker",
        "role: worker, labels: {kubernetes.io/hostname: other}",
        ["5:65: hosts[1].labels.kubernetes.io/hostname: the kubelet sets this label on every node; remove it"],
    ),
    (
        "role: worker",
        "role: worker, labels: {beta.kubernetes.io/arch: arm64}",
        ["5:65: hosts[1].labels.beta.kubernetes.io/arch: the kubelet sets this label on every node; remove it"],
    ),
    (
        "role: worker",
        'role: worker, labels: {node-role.kubernetes.io/control-plane: ""}',
        [
            "5:65: hosts[1].labels.node-role.kubernetes.io/control-plane: kubeadm sets this label on the control plane; remove it"
        ],
    ),
    (
        "role: control-plane",
        'role: control-plane, labels: {node.kubernetes.io/exclude-from-external-load-balancers: "false"}',
        [
            (
                "4:73: hosts[0].labels.node.kubernetes.io/exclude-from-external-load-balancers: "
                "kubeadm sets this label on the control plane; remove it"
            )
        ],
    ),
    # Names of users, P15
    ("role: worker", "role: worker, user: anna meier", [f'5:62: hosts[1].user: "anna meier" {USER}']),
    ("role: worker", "role: worker, user: -anna", [f'5:62: hosts[1].user: "-anna" {USER}']),
    ("role: worker", "role: worker, user: 'anna;id'", [f'5:62: hosts[1].user: "anna;id" {USER}']),
    ("role: worker", "role: worker, user: '1000'", [f'5:62: hosts[1].user: "1000" {USER}']),
    ("role: worker", "role: worker, user: ''", [f'5:62: hosts[1].user: "" {USER}']),
    # Types and keys: P18
    (
        "role: worker",
        'role: worker, port: "39003"',
        ['5:62: hosts[1].port: "39003" is text; write it without quotes: 39003'],
    ),
    (
        "vpn.example.org",
        "vpn.example.org, port: '1194'",
        ['2:40: hub.port: "1194" is text; write it without quotes: 1194'],
    ),
    ("role: worker", 'role: worker, port: "99999"', ['5:62: hosts[1].port: "99999" is not a port number (1 to 65535)']),
    ("role: worker", "role: worker, port: ssh", ['5:62: hosts[1].port: "ssh" is not a port number (1 to 65535)']),
    (
        "hosts:",
        "defaults: &d {user: admin}\nhosts:",
        ["3:1: defaults: unknown key; write the anchor at the first host that has these values"],
    ),
    ("role: worker", "role: workr", ['5:48: hosts[1].role: "workr" is not a role, did you mean worker?']),
    ("role: worker", "port: 22", ["5:5: hosts[1]: the key role is missing"]),
    (
        "role: control-plane",
        "role: control-plane, user: -x, labels: {kubernetes.io/os: linux}",
        [
            f'4:70: hosts[0].user: "-x" {USER}',
            "4:83: hosts[0].labels.kubernetes.io/os: the kubelet sets this label on every node; remove it",
        ],
    ),
]
# (first control planes of three, the problems): several control planes and hubs
PLANES = """\
cluster: shop
hosts:
  - {name: a, address: 203.0.113.1, role: control-plane, hub: {endpoint: 203.0.113.1}}
  - {name: b, address: 203.0.113.2, role: control-plane, hub: {endpoint: 203.0.113.2}}
  - {name: c, address: 203.0.113.3, role: control-plane, hub: {endpoint: 203.0.113.3}}
  - {name: node1, address: 203.0.113.4, role: worker}
"""
SEVERAL: list[tuple[str, str, list[str]]] = [
    (
        "role: control-plane, hub: {endpoint: 203.0.113.3}",
        "role: worker",
        [
            (
                "4:43: hosts[1].role: 2 hosts have the role control-plane; use 1, 3 or 5, because etcd with 2 members "
                "survives no more failures than with 1"
            )
        ],
    ),
    (
        "role: worker",
        "role: control-plane",
        [
            (
                "6:47: hosts[3].role: 4 hosts have the role control-plane; use 1, 3 or 5, because etcd with 4 members "
                "survives no more failures than with 3"
            )
        ],
    ),
    (
        "  - {name: node1, address: 203.0.113.4, role: worker}",
        "\n".join(f"  - {{name: n{n}, address: 203.0.113.{n}, role: control-plane}}" for n in range(4, 8)),
        [
            (
                "9:44: hosts[6].role: 7 hosts have the role control-plane; use 1, 3 or 5, because more than 5 members make "
                "etcd slow"
            )
        ],
    ),
    (
        "hub: {endpoint: 203.0.113.2}",
        "hub: {endpoint: 203.0.113.1}",
        [
            "4:74: hosts[1].hub.endpoint: 203.0.113.1 is the address of a, not of b",
            (
                "4:74: hosts[1].hub.endpoint: hosts[0].hub has the ports 1194 to 1196 of 203.0.113.1; use other ones, or "
                "another endpoint"
            ),
        ],
    ),
    (
        "hub: {endpoint: 203.0.113.3}",
        "hub: {endpoint: 203.0.113.4}",
        ["5:74: hosts[2].hub.endpoint: 203.0.113.4 is the address of the worker node1, which is not a hub"],
    ),
    (
        "hosts:",
        "hub: {endpoint: vpn.example.org}\nhosts:",
        ["4:58: hosts[0].hub: the key hub of the file is the address of this host already; remove one of them"],
    ),
    (
        "role: worker",
        "role: worker, hub: {endpoint: 192.0.2.1}",
        [
            (
                "6:55: hosts[3].hub: there are several hubs, and this key does not say which one it is for; remove it, and "
                "give a hub that has another address here a name that this host resolves to it"
            )
        ],
    ),
    (
        "hub: {endpoint: 203.0.113.3}",
        "hub: {endpoint: 203.0.113.3, port: 4787}",
        ["5:93: hosts[2].hub.port: UDP port 4789 is used by the pod network on every host"],
    ),
    (
        "hub: {endpoint: 203.0.113.3}",
        "hub: {endpoint: 203.0.113.3, port: 65534}",
        ["5:93: hosts[2].hub.port: a hub uses 3 ports, and 65534 leaves too few up to 65535"],
    ),
    (
        "hub: {endpoint: 203.0.113.3}",
        "hub: {endpoint: 127.0.0.1}",
        ["5:74: hosts[2].hub.endpoint: 127.0.0.1 is the loopback address of each host, not the address of the hub"],
    ),
    (
        "hub: {endpoint: 203.0.113.3}",
        "hub: {endpoint: 10.93.1.1}",
        [
            "5:74: hosts[2].hub.endpoint: 10.93.1.1 is in networks.transit 10.93.0.0/21, which exists only inside the cluster"
        ],
    ),
    (
        "hosts:",
        "networks: {transit: 10.93.0.0/24}\nhosts:",
        [
            (
                "2:21: networks.transit: 10.93.0.0/24 is too small: an eighth of it must have an address for each of the 4 "
                "hosts, at least a /26"
            )
        ],
    ),
]
# The same with the role `hub`
SMALL = """\
cluster: shop
hosts:
  - {name: a, address: 203.0.113.1, role: control-plane}
  - {name: h, address: 203.0.113.2, role: hub, hub: {endpoint: 203.0.113.2}}
  - {name: node1, address: 203.0.113.4, role: worker}
"""
SMALL_HUBS: list[tuple[str, str, list[str]]] = [
    (
        "role: hub, hub: {endpoint: 203.0.113.2}",
        "role: hub",
        [
            "1:1: the key hub is missing",
            "4:5: hosts[1]: the key hub is missing: it is the address at which the other hosts reach this hub",
        ],
    ),
    (
        "role: hub,",
        "role: hub, labels: {site: paris},",
        ["4:48: hosts[1].labels: a hub is not a node of Kubernetes, and has no labels"],
    ),
    (
        "  - {name: node1",
        (
            "  - {name: b, address: 203.0.113.5, role: control-plane}\n"
            "  - {name: c, address: 203.0.113.6, role: control-plane}\n  - {name: node1"
        ),
        [
            (
                "3:43: hosts[0].role: no control plane is a hub, and with several of them only a hub can announce the address "
                "of the API; give control planes the key hub"
            )
        ],
    ),
    (
        "  - {name: node1",
        "".join(
            f"  - {{name: h{n}, address: 203.0.113.1{n}, role: hub, hub: {{endpoint: 203.0.113.1{n}}}}}\n"
            for n in range(7)
        )
        + "  - {name: node1",
        ["11:50: hosts[8].hub: there are 8 hubs; 7 are supported"],
    ),
    ("role: control-plane", "role: worker", ["2:1: hosts: no host has the role control-plane; 1, 3 or 5 are required"]),
    (
        "endpoint: 203.0.113.2",
        "endpoint: 203.0.113.1",
        ["4:64: hosts[1].hub.endpoint: 203.0.113.1 is the address of a, not of h"],
    ),
]
# (text, the problems)
WHOLE: list[tuple[str, list[str]]] = [
    # More than one document
    (
        f"{GOOD}---\n{GOOD}",
        ["6:1: invalid YAML: the file contains more than one YAML document; keep one, without lines `---` and `...`"],
    ),
    (
        "a: 1\n...\nb: 2\n",
        ["3:1: invalid YAML: the file contains more than one YAML document; keep one, without lines `---` and `...`"],
    ),
    # Other formats
    ("[masters]\nmaster ansible_host=203.0.113.10\n\n[workers]\nnode1\n", [ANSIBLE]),
    ("[workers:vars]\nx=1\n", [ANSIBLE]),
    ("master ansible_host=203.0.113.10\n", [ANSIBLE]),
    ("# ours\n\n[all]\nmaster\n", [ANSIBLE]),
    ("all:\n  hosts:\n    master:\n      ansible_host: 203.0.113.10\n", [ANSIBLE]),
    ("masters:\n  hosts:\n    master: {}\nnodes:\n  children: {workers: {}}\n", [ANSIBLE]),
    ('{"_meta": {"hostvars": {}}, "workers": ["node1"]}\n', [ANSIBLE]),
    (
        "apiVersion: v1\nkind: Config\nclusters: []\n",
        ["1:1: this looks like a Kubernetes object; write the keys cluster, hub and hosts (docs/inventory.md)"],
    ),
    ("workers:\n  node1:\n    ansible_host: 203.0.113.10\n", [ANSIBLE]),
    # Syntax errors
    (
        "cluster: shop\nhub:{endpoint: x}\n",
        [
            "1:1: the key hosts is missing",
            "1:1: the key hub is missing",
            "2:1: hub:{endpoint: unknown key; write a space after the colon",
        ],
    ),
    (
        "cluster: 'my' shop\n",
        ["1:15: invalid YAML: there is text after the end of a value; write the whole value in quotes"],
    ),
    (
        "{cluster: shop}}\n",
        ["1:16: invalid YAML: there is text after the end of the content; check brackets and indentation"],
    ),
    ("cluster: >shop\n", ["1:11: invalid YAML: text after | or > starts on the next line"]),
    ("cluster: shop\nhub: \x07\n", ["2:6: invalid YAML: the control character #x07 is not allowed"]),
    (
        "cluster: shop\nhub:\n\tendpoint: x\n",
        ["3:1: invalid YAML: YAML does not allow tabs for indentation; use spaces"],
    ),
    (
        "cluster: shop\ncluster: shop\n",
        ["2:1: invalid YAML: the key cluster occurs twice in the same mapping; keep one of them"],
    ),
    ("cluster: @shop\n", ["1:10: invalid YAML: a value cannot start with @; write it in quotes"]),
    ("hub: {endpoint: *x}\n", ["1:17: invalid YAML: the alias *x has no anchor &x before it"]),
    ("cluster: shop\nhosts: [1, 2\n", ["3:1: invalid YAML: a comma or the closing ] is missing"]),
    (
        "cluster: shop\n  hub: x\n",
        [
            (
                "2:6: invalid YAML: the colon is not allowed here; check the indentation and the line before, "
                "and write text that contains a colon in quotes"
            )
        ],
    ),
    ("hub:\n  port: 1\n endpoint: 2\n", ["3:2: invalid YAML: the indentation does not match that of the lines before"]),
    ("cluster: 'shop\n", ["2:1: invalid YAML: the closing quote is missing"]),
    (
        'cluster: "\\q"\n',
        ["1:12: invalid YAML: the escape \\q does not exist; use single quotes for text with backslashes"],
    ),
    ("cluster: shop\n<<: 5\n", ["2:5: invalid YAML: only a mapping can be merged with <<; write <<: *NAME"]),
    # Values shared by an alias or a merge key: one problem, at the value itself
    (
        (
            "cluster: shop\n"
            "hub: {endpoint: vpn.example.org}\n"
            "hosts:\n"
            '  - &d {name: master, address: 203.0.113.10, role: control-plane, port: "22"}\n'
            "  - {<<: *d, name: node1, address: 203.0.113.11, role: worker}\n"
            "  - {<<: *d, name: node2, address: 203.0.113.12, role: worker}\n"
        ),
        ['4:73: hosts[0].port: "22" is text; write it without quotes: 22'],
    ),
    ("", ["1:1: the file is empty"]),
]


def message(directory: Path, text: str) -> tuple[str, list[str], str | None]:
    """Return message, context and hint of the error for an inventory, without the path of the file."""
    path = directory / "hosts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InventoryError) as caught:
        load(path)
    error = caught.value
    assert all(line.startswith(f"{path}:") for line in error.context)
    return error.message.replace(str(path), "F"), [line.removeprefix(f"{path}:") for line in error.context], error.hint


def expected(problems: list[str]) -> tuple[str, list[str], str]:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    hint = "no host was changed; correct the file, then run the same command again"
    return f"invalid inventory F: {count}", problems, hint


def test_three_control_planes_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "hosts.yaml").write_text(PLANES)
    assert [hub.name for hub in load(tmp_path / "hosts.yaml").hubs] == ["a", "b", "c"]


@pytest.mark.parametrize(("old", "new", "problems"), SEVERAL)
def test_control_planes_that_cannot_work_together_are_refused(
    tmp_path: Path, old: str, new: str, problems: list[str]
) -> None:
    assert message(tmp_path, PLANES.replace(old, new, 1)) == expected(problems)


def test_a_small_host_can_be_the_hub_of_a_control_plane(tmp_path: Path) -> None:
    (tmp_path / "hosts.yaml").write_text(SMALL)
    read = load(tmp_path / "hosts.yaml")
    assert [host.name for host in read.hubs] == ["h"]
    assert [host.name for host in read.nodes] == ["a", "node1"]
    assert {name: list(read.servers_for(host)) for name, host in zip("ahn", read.hosts, strict=True)} == {
        "a": ["h"],
        "h": [],
        "n": ["h"],
    }


@pytest.mark.parametrize(("old", "new", "problems"), SMALL_HUBS)
def test_a_hub_that_cannot_work_is_refused(tmp_path: Path, old: str, new: str, problems: list[str]) -> None:
    assert message(tmp_path, SMALL.replace(old, new, 1)) == expected(problems)


@pytest.mark.parametrize(("old", "new", "problems"), EDITED)
def test_a_bad_value_is_reported_with_place_rule_and_remedy(
    tmp_path: Path, old: str, new: str, problems: list[str]
) -> None:
    assert old in GOOD
    assert message(tmp_path, GOOD.replace(old, new, 1)) == expected(problems)


@pytest.mark.parametrize(("text", "problems"), WHOLE)
def test_a_bad_file_is_reported_with_place_rule_and_remedy(tmp_path: Path, text: str, problems: list[str]) -> None:
    assert message(tmp_path, text) == expected(problems)


@pytest.mark.parametrize(
    "change",
    [
        "user: anna.meier",
        "user: Anna",
        "user: anna@example.org",
        "user: 'EXAMPLE\\anna'",
        "user: svc-deploy$",
        "user: 4711anna",
        "user: _apt",
        "user: müller",
        "labels: {topology.kubernetes.io/zone: paris, node-role.kubernetes.io/db: ''}",
        "labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}",
        "hub: {endpoint: 192.0.2.1}",
    ],
)
def test_a_good_host_is_accepted(tmp_path: Path, change: str) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(GOOD.replace("role: worker", f"role: worker, {change}"), encoding="utf-8")
    assert load(path).hosts[1].role == "worker"


@pytest.mark.parametrize("vpn", ["10.0.0.0/16", "192.168.7.0/29", "100.64.0.0/24", "172.31.0.0/28"])
def test_a_private_network_that_openvpn_serves_is_accepted(tmp_path: Path, vpn: str) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(f"{GOOD}networks: {{vpn: {vpn}}}\n")
    assert str(load(path).networks.vpn) == vpn


def test_merge_keys_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(
        "cluster: shop\n"
        "hub: {endpoint: vpn.example.org}\n"
        "hosts:\n"
        "  - &d {name: master, address: 203.0.113.10, role: control-plane, user: admin, port: 2222}\n"
        "  - {<<: *d, name: node1, address: 203.0.113.11, role: worker, port: 22}\n"
    )
    assert [(host.name, host.user, host.port) for host in load(path).hosts] == [
        ("master", "admin", 2222),
        ("node1", "admin", 22),
    ]


def test_no_host_can_have_the_name_of_a_group(tmp_path: Path) -> None:
    inventory = inventory_of("node1")
    facts = {host.name: facts_of() for host in inventory.hosts}
    plan = network_plan.compute(inventory, facts)
    made = ansible_inventory(
        inventory, plan=plan, facts=facts, bundle=bundle_of(tmp_path), known_hosts=tmp_path / "known_hosts"
    )
    groups = made["all"]["children"]
    assert groups
    for name in ("all", *groups):
        _, problems, _ = message(tmp_path, GOOD.replace("node1", name))
        assert len(problems) >= 1
        assert all(problem.startswith("5:12: hosts[1].name: ") for problem in problems)
