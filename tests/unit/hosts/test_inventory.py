from __future__ import annotations

import contextlib
import json
import re
import textwrap
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from maas import paths
from maas.errors import InventoryError
from maas.hosts.inventory import load

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
cluster: shop
hub: {endpoint: vpn.example.org}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
  - {name: node2, address: 203.0.113.12, role: worker}
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "hosts.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def problems(directory: Path, text: str) -> list[str]:
    """Every problem as line:column: message."""
    path = written(directory, text)
    with pytest.raises(InventoryError) as caught:
        load(path)
    lines = [str(problem) for problem in caught.value.problems]
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def edited(directory: Path, old: str, new: str) -> list[str]:
    assert old in GOOD
    return problems(directory, GOOD.replace(old, new, 1))


def test_the_defaults_need_not_be_written(tmp_path: Path) -> None:
    inventory = load(written(tmp_path, GOOD))
    assert inventory.server_of(inventory.control_plane).port == 1194
    assert inventory.networks.vpn == IPv4Network("10.90.0.0/24")
    assert [(host.name, host.user, host.port, host.key) for host in inventory.hosts] == [
        ("master", "root", 22, None),
        ("node1", "root", 22, None),
        ("node2", "root", 22, None),
    ]
    assert inventory.control_plane.name == "master"
    assert [host.name for host in inventory.workers] == ["node1", "node2"]


def test_everything_that_can_be_written_is_read(tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    inventory = load(
        written(
            tmp_path,
            f"""\
            cluster: shop
            hub: {{endpoint: 198.51.100.1, port: 443}}
            networks: {{vpn: 172.20.0.0/28, pods: 172.21.0.0/18, services: 172.22.0.0/20}}
            hosts:
              - name: master
                address: 2001:db8::10
                port: 2222
                user: admin
                key: id
                role: control-plane
                fingerprint: SHA256:{"a" * 43}
                labels: {{topology.kubernetes.io/zone: "1", empty: ""}}
                bundle: /mnt/bundle
              - {{name: node1.example.org, address: one.example.org, role: worker, hub: {{endpoint: 10.0.0.1}}}}
            """,
        )
    )
    master, node = inventory.hosts
    assert master.key == key
    assert master.labels == {"topology.kubernetes.io/zone": "1", "empty": ""}
    assert str(master.bundle) == "/mnt/bundle"
    assert inventory.server_of(master).port == 443
    server = inventory.servers_for(node)["master"]
    assert (server.endpoint, server.port) == ("10.0.0.1", 1194)
    assert inventory.servers_for(master) == {}


# As age-keygen printed it.
RECIPIENT = "age1mnu7qzkfe6cfwchgzf66hrnd449u4vfp3jsv5zypuvcd03hv6gxq8f6hhz"
PRIVATE = "AGE-SECRET-KEY-1QQPQ8L8J3U4Q0N4S9M6A2T0J8V3U7K5X6Y2Z9W4C8D7E3F5G6H"


def test_backups_have_recipients_and_a_number(tmp_path: Path) -> None:
    found = load(
        written(tmp_path, GOOD.replace("hosts:", f"backup: {{recipients: [{RECIPIENT}], keep: 10}}\nhosts:", 1))
    )
    assert found.backup is not None
    assert (found.backup.recipients, found.backup.keep) == ((RECIPIENT,), 10)
    assert load(written(tmp_path, GOOD)).backup is None


@pytest.mark.parametrize(
    ("backup", "expected"),
    [
        ("{}", "backup: the key recipients is missing"),
        ("{recipients: []}", "backup.recipients: the list is empty"),
        (f"{{recipients: [{RECIPIENT[:-1]}]}}", "is not a public key of age (age1 and 58 characters)"),
        (f"{{recipients: [{RECIPIENT[:-1]}q]}}", f"{RECIPIENT[:-1]}q is mistyped: its checksum is wrong"),
        ("{recipients: [ssh-ed25519 AAAA]}", "is not a public key of age"),
        ("{recipients: [7]}", "7 is not text; write it in quotes"),
        (f"{{recipients: [{RECIPIENT}], keep: 1}}", "1 is not a number of backups (2 to 1000)"),
        (f"{{recipient: [{RECIPIENT}]}}", "unknown key, did you mean recipients?"),
    ],
)
def test_backups_that_nobody_could_read_are_refused(tmp_path: Path, backup: str, expected: str) -> None:
    found = edited(tmp_path, "hosts:", f"backup: {backup}\nhosts:")
    assert any(expected in line for line in found), found


def test_a_private_key_in_the_place_of_a_public_one_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (found,) = edited(tmp_path, "hosts:", f"backup: {{recipients: [{PRIVATE}]}}\nhosts:")
    assert "this is a private key" in found
    assert PRIVATE not in found


@pytest.mark.parametrize(
    ("old", "new", "valid"),
    [
        ("shop", "shop", True),
        ("hosts:", f"backup: {{recipients: [{RECIPIENT}]}}\nhosts:", True),
        ("hosts:", "backup: {recipients: []}\nhosts:", False),
        ("hosts:", "backup: {recipients: [age1]}\nhosts:", False),
        ("role: worker}", "role: worker, hub: {endpoint: 10.0.0.1}, labels: {zone: a}}", True),
        ("role: worker}", "role: worker, key: null}", False),
        ("role: worker}", "role: worker, bundle: /mnt/../bundle}", False),
        ("role: worker}", "role: boss}", False),
        ("hosts:", "networks: {vpn: 10.0.0.0}\nhosts:", False),
        ("shop", "Shop", False),
    ],
)
def test_the_published_schema_agrees_with_the_models(tmp_path: Path, old: str, new: str, *, valid: bool) -> None:
    schema = json.loads((paths.content() / "schemas" / "inventory.schema.json").read_text())
    text = GOOD.replace(old, new, 1)
    assert Draft202012Validator(schema).is_valid(yaml.safe_load(text)) is valid
    with contextlib.nullcontext() if valid else pytest.raises(InventoryError):
        load(written(tmp_path, text))


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """\
        cluster: Shop
        hub: {endpoint: "vpn.example.org:1194"}
        networkz: {}
        hosts:
          - {name: master, address: 203.0.113.10, role: control-plane, size: big}
          - {name: node1, addres_: 203.0.113.11, role: workr}
          - {name: node1, address: 203.0.113.10, role: worker}
        """,
    )
    assert [re.sub(r" \(.*", "", line) for line in found] == [
        '1:10: cluster: "Shop" is not a cluster name',
        '2:17: hub.endpoint: "vpn.example.org:1194" is neither a host name nor an IP address',
        "3:1: networkz: unknown key, did you mean networks?",
        "5:64: hosts[0].size: unknown key",
        "6:5: hosts[1]: the key address is missing",
        "6:19: hosts[1].addres_: unknown key, did you mean address?",
        '6:48: hosts[1].role: "workr" is not a role, did you mean worker?',
        "7:12: hosts[2].name: hosts[1] has the name node1 already",
        "7:28: hosts[2].address: hosts[0] has the address 203.0.113.10 and port 22 already",
    ]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ("{pods: 10.90.0.0/16}", "networks.pods: 10.90.0.0/16 overlaps networks.vpn 10.90.0.0/24 (its default)"),
        ("{vpn: 10.1.0.0/24, services: 10.0.0.0/12}", "networks.services: 10.0.0.0/12 overlaps networks.vpn"),
        ("{vpn: 10.1.0.0/30}", "networks.vpn: 10.1.0.0/30 is too small for OpenVPN, at least a /29"),
        ("{pods: 10.1.0.0/23}", "networks.pods: 10.1.0.0/23 is too small: each of the 3 nodes needs a /24"),
        ("{services: 10.1.0.0/28}", "networks.services: 10.1.0.0/28 is too small, at least a /26"),
        ("{services: 10.0.0.0/8}", "networks.services: 10.0.0.0/8 is too large, at most a /12"),
        (
            "{vpn: 10.1.0.7/24}",
            "networks.vpn: 10.1.0.7/24 is an address inside the network 10.1.0.0/24; write 10.1.0.0/24",
        ),
        ("{vpn: 10.1.0.300/24}", 'networks.vpn: "10.1.0.300/24" is not an IPv4 network'),
        ("{vpn: 10.1.0.0/33}", 'networks.vpn: "10.1.0.0/33" is not an IPv4 network'),
        ("{vpn: 10.1.0.0}", 'networks.vpn: "10.1.0.0" is not an IPv4 network'),
        ("{vpn: 224.1.0.0/24}", "networks.vpn: 224.1.0.0/24 is not a private network"),
        ("{pods: 203.0.112.0/20}", "networks.pods: 203.0.112.0/20 is not a private network"),
    ],
)
def test_networks_that_cannot_work_are_refused(tmp_path: Path, networks: str, expected: str) -> None:
    found = problems(tmp_path, GOOD + f"networks: {networks}\n")
    assert any(expected in line for line in found), found


@pytest.mark.parametrize("hub", ["127.0.0.1", "localhost"])
def test_a_hub_that_leads_each_host_to_itself_is_refused(tmp_path: Path, hub: str) -> None:
    assert edited(tmp_path, "vpn.example.org", hub) == [
        f"2:17: hub.endpoint: {hub} is the loopback address of each host, not the address of the hub"
    ]


def test_a_loopback_hub_is_fine_when_every_worker_has_its_own_way(tmp_path: Path) -> None:
    text = GOOD.replace("vpn.example.org", "127.0.0.1").replace("worker}", "worker, hub: {endpoint: 10.0.0.1}}")
    assert load(written(tmp_path, text)).workers[0].hub is not None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("vpn.example.org", "203.0.113.12", "203.0.113.12 is the address of the worker node2"),
        ("vpn.example.org", "10.90.0.1", "10.90.0.1 is in networks.vpn 10.90.0.0/24"),
        ("vpn.example.org", "0.0.0.0", "0.0.0.0 is not the address of a single host"),
        ("{endpoint: vpn.example.org}", "{endpoint: vpn.example.org, port: 4789}", "is used by the pod network"),
        ("{endpoint: vpn.example.org}", "{endpoint: vpn.example.org, port: 0}", "0 is not a port number"),
        ("{endpoint: vpn.example.org}", "{port: 1194}", "the key endpoint is missing"),
        (
            "role: control-plane",
            "role: control-plane, hub: {endpoint: 10.0.0.1}",
            "hosts[0].hub: the key hub of the file is the address of this host already; remove one of them",
        ),
    ],
)
def test_a_hub_that_cannot_be_reached_is_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert [expected in line for line in edited(tmp_path, old, new)] == [True]


def test_a_cluster_without_control_plane_is_refused(tmp_path: Path) -> None:
    assert edited(tmp_path, "control-plane", "worker") == [
        "3:1: hosts: no host has the role control-plane; 1, 3 or 5 are required"
    ]


def several(count: int, *, hubs: int) -> str:
    """Return an inventory with control planes, of which the first ones are hubs, and a worker."""
    hosts = [
        f"  - {{name: m{n}, address: 203.0.113.{n}, role: control-plane"
        + (f", hub: {{endpoint: vpn{n}.example.org}}" if n <= hubs else "")
        + "}"
        for n in range(1, count + 1)
    ]
    return "\n".join(["cluster: shop", "hosts:", *hosts, "  - {name: node1, address: 203.0.113.99, role: worker}", ""])


@pytest.mark.parametrize(("count", "hubs"), [(1, 1), (3, 3), (3, 1), (5, 2)])
def test_the_control_planes_with_an_endpoint_are_the_hubs(tmp_path: Path, count: int, hubs: int) -> None:
    read = load(written(tmp_path, several(count, hubs=hubs)))
    assert [host.name for host in read.control_planes] == [f"m{n}" for n in range(1, count + 1)]
    assert [host.name for host in read.hubs] == [f"m{n}" for n in range(1, hubs + 1)]
    assert {name: hub.endpoint for name, hub in read.servers_for(read.workers[0]).items()} == {
        f"m{n}": f"vpn{n}.example.org" for n in range(1, hubs + 1)
    }


def test_the_hub_of_the_file_stays_that_of_the_first_control_plane_when_it_is_left_out(tmp_path: Path) -> None:
    text = several(3, hubs=3).replace(", hub: {endpoint: vpn1.example.org}", "")
    read = load(written(tmp_path, text.replace("hosts:", "hub: {endpoint: old.example.org}\nhosts:", 1)))
    assert [read.server_of(hub).endpoint for hub in read.hubs] == [
        "old.example.org",
        "vpn2.example.org",
        "vpn3.example.org",
    ]
    rest = read.model_copy(update={"hosts": read.hosts[1:]})
    assert [rest.server_of(hub).endpoint for hub in rest.hubs] == ["vpn2.example.org", "vpn3.example.org"]


@pytest.mark.parametrize("name", ["Node1", "node_1", "-node", "node-", "a..b", "n" * 64, "localhost", "all", "12"])
def test_a_name_that_is_no_node_name_is_refused(tmp_path: Path, name: str) -> None:
    found = edited(tmp_path, "name: node1", f"name: {name}")
    assert len(found) == 1
    assert "hosts[1].name" in found[0]


def test_hosts_behind_one_address_differ_in_the_port(tmp_path: Path) -> None:
    text = GOOD.replace("203.0.113.12", "203.0.113.11, port: 2222")
    assert load(written(tmp_path, text)).hosts[2].port == 2222


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("{zone: 1}", "1 is not text; write it in quotes"),
        ("{zone: true}", "true is not text; write it in quotes"),
        ('{"a b": x}', "this is not a label name"),
        ("{/x: y}", "this is not a label name"),
        (f"{{{'n' * 64}: y}}", "this is not a label name"),
        ("{zone: -a}", "is not a label value"),
        ("[zone]", "expected a mapping, not a list"),
    ],
)
def test_labels_that_kubernetes_would_refuse_are_refused(tmp_path: Path, labels: str, expected: str) -> None:
    found = edited(tmp_path, "role: control-plane", f"role: control-plane, labels: {labels}")
    assert len(found) == 1
    assert expected in found[0]


def test_a_missing_key_file_is_reported_once_for_all_hosts(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("role:", "key: /nowhere/id, role:"))
    assert found == ["4:48: hosts[0].key: cannot read the key file /nowhere/id: No such file or directory"]


def test_a_key_that_others_may_read_is_refused_as_ssh_would(tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o644)
    found = edited(tmp_path, "role: control-plane", "role: control-plane, key: id")
    assert found == [
        f"4:69: hosts[0].key: other users can read the key file {key}, so ssh rejects it; run: chmod 600 {key}"
    ]


def test_a_public_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAA me\n")
    found = edited(tmp_path, "role: control-plane", "role: control-plane, key: id.pub")
    assert found[0].endswith("is a public key; use the private key (id)")


@pytest.mark.parametrize("path", ["bundle", "./bundle", "~/bundle", "/mnt/../bundle"])
def test_a_bundle_on_a_host_is_named_by_an_absolute_path(tmp_path: Path, path: str) -> None:
    found = edited(tmp_path, "role: control-plane", f"role: control-plane, bundle: {path}")
    assert "is not an absolute path" in found[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("hosts: [\n", "invalid YAML"),
        ("a: 1\n---\nb: 2\n", "2:1: invalid YAML: the file contains more than one YAML document"),
        (
            "- a\n",
            "1:1: expected a mapping with the keys cluster, hub, networks, nameservers, backup and hosts, not a list",
        ),
        ("cluster: shop\ncluster: shop\n", "2:1: invalid YAML: the key cluster occurs twice in the same mapping"),
        ("cluster: &c [*c]\n", "expected a cluster name"),
        ('cluster: "shop\\n"\n', "1:10: cluster: the text contains a line break or another control character"),
        ("cluster: !secret shop\n", "1:10: cluster: the tag !secret is not supported"),
        ("{[a]: b}\n", "1:2: a key must be text"),
        ("hosts:\n", "1:1: hosts: there is no value here"),
        ("hosts: []\n", "1:8: hosts: the list is empty"),
        ("[" * 1000, "nested too deeply"),
        ("[" * 30 + "]" * 30, "nested too deeply"),
    ],
)
def test_yaml_that_is_not_an_inventory_is_reported_with_its_position(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("port: abc", '"abc" is not a port number'),
        ('port: "22"', '"22" is text; write it without quotes: 22'),
        ("port: true", "true is not a port number"),
        ("user: 7", "7 is not text; write it in quotes (expected a user name"),
        ("key: null", "there is no value here"),
        ("hub: 10.0.0.1", '"10.0.0.1" is not a mapping with the keys endpoint, port and listen'),
        ("labels: {zone: 2026-01-01}", None),
    ],
)
def test_a_value_of_the_wrong_type_is_reported_with_the_expected_one(
    tmp_path: Path, line: str, expected: str | None
) -> None:
    text = GOOD.replace("{name: node2,", f"{{{line}, name: node2,")
    if expected is None:
        assert load(written(tmp_path, text)).hosts[2].labels == {"zone": "2026-01-01"}
    else:
        (found,) = problems(tmp_path, text)
        assert found.startswith(("6:6: ", "6:"))
        assert expected in found


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r": 1 problem"):
        load(tmp_path / "none.yaml")


def test_bytes_that_are_not_text_are_reported_with_their_position(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_bytes(b"cluster: shop\nhub: \xff\n")
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert [(p.line, p.column, p.message) for p in caught.value.problems] == [(2, 6, "the file is not UTF-8 text")]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
words = st.sampled_from(
    "cluster hub hosts networks name address role worker control-plane port labels vpn pods services endpoint key "
    f"bundle 10.0.0.0/8 10.90.0.1 ::1 / {'a' * 300}".split()
)
trees = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused_or_read(path: Path) -> None:
    try:
        load(path)
    except InventoryError as error:
        problems = error.problems
    else:
        return
    assert problems
    assert list(problems) == sorted(problems)


@fuzz
@given(tree=trees)
def test_no_tree_of_values_ends_in_a_traceback(tmp_path: Path, tree: object) -> None:
    # repr gives JSON-like flow YAML with its own quoting, which is what a fuzzer wants of a document.
    path = tmp_path / "hosts.yaml"
    path.write_text(f"cluster: shop\nhosts: {tree!r}\nhub: {tree!r}\nnetworks: {tree!r}\n", "utf-8", "replace")
    refused_or_read(path)


@fuzz
@given(
    text=st.text(st.sampled_from("abc01:- \n\t[]{},&*!|>'\"%@`#?.~<=\\\x00é"), max_size=60)
    | st.sampled_from(["%YAML 9.9\n---\na", "%TAG ! x\n--- !<", "!!binary x", "!!set {a}", '"\\U99999999"', "? a"])
)
def test_no_text_ends_in_a_traceback(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(text, encoding="utf-8")
    refused_or_read(path)


@fuzz
@given(content=st.binary(max_size=80))
def test_no_bytes_end_in_a_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_bytes(content)
    refused_or_read(path)
