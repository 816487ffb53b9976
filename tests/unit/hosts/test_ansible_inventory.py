from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml
from tests.support.ansible_content import CONTENT
from tests.support.hosts import INVENTORY, bundle_of, facts_of

from maas.errors import BundleError
from maas.hosts import network_plan, pki
from maas.hosts.ansible_inventory import ansible_inventory
from maas.hosts.inventory import Backup, Host, Hub, Inventory

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def make(inventory: Inventory = INVENTORY, *, without: str = "", **changes: Any) -> dict[str, Any]:
        facts = {host.name: facts_of(**changes) for host in inventory.hosts}
        planned = network_plan.compute(inventory, facts)
        keys = pki.ensure(tmp_path / "pki", "shop", list(planned.hosts), hubs=list(planned.hubs))
        content = ansible_inventory(
            inventory,
            plan=planned,
            facts=facts,
            bundle=bundle_of(tmp_path, without=without),
            pki=keys,
            encryption="KEYS",
            known_hosts=tmp_path / "known hosts",
        )
        # What Ansible gets is what survives JSON.
        return cast("dict[str, Any]", json.loads(json.dumps(content)))

    return make


def host_of(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    for group in content["all"]["children"].values():
        if name in group["hosts"]:
            return cast("dict[str, Any]", group["hosts"][name])
    raise AssertionError(name)


def test_the_variables_are_those_that_the_roles_describe(made: Any) -> None:
    specs = yaml.safe_load((CONTENT / "roles" / "base" / "meta" / "argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    content = made()
    assert set(content["all"]["vars"]["cluster"]) == set(options["cluster"]["options"])
    for name in ("master", "node1"):
        assert set(host_of(content, name)["node"]) == set(options["node"]["options"])


@pytest.mark.parametrize(("role", "name"), [("openvpn_server", "master"), ("openvpn_client", "node1")])
def test_the_keys_are_those_that_the_roles_describe(made: Any, role: str, name: str) -> None:
    specs = yaml.safe_load((CONTENT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    described = specs["argument_specs"]["main"]["options"]["vpn"]["options"]
    assert set(host_of(made(), name)["vpn"]) == set(described)


def test_no_host_gets_the_key_of_another_or_of_the_authority(made: Any, tmp_path: Path) -> None:
    content = made()
    authority = (tmp_path / "pki" / "ca.key").read_text()
    assert authority not in json.dumps(content)
    keys = {name: host_of(content, name)["vpn"]["key"] for name in ("master", "node1")}
    assert len(set(keys.values())) == 2
    assert keys["node1"] not in json.dumps(host_of(content, "master"))


def test_the_keys_for_secrets_are_on_control_planes_alone(made: Any) -> None:
    content = made()
    assert host_of(content, "master")["encryption"] == "KEYS"
    assert "KEYS" not in json.dumps(host_of(content, "node1"))


def test_a_revoked_certificate_reaches_the_hub(made: Any, tmp_path: Path) -> None:
    made()
    serial = pki.revoke(tmp_path / "pki", "node1")
    assert host_of(made(), "master")["vpn"]["revoked"] == {str(serial): "node1"}


def planes(states: Mapping[str, dict[str, Any]], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the content for three control planes with facts."""
    hosts = tuple(
        Host(name=name, address=f"203.0.113.{n}", role="control-plane", hub=Hub(endpoint=f"203.0.113.{n}"))
        for n, name in enumerate(states, start=1)
    )
    inventory = Inventory(file=Path("/hosts.yaml"), cluster="shop", hosts=hosts)
    facts = {name: facts_of(**state) for name, state in states.items()}
    plan = network_plan.compute(inventory, facts)
    made = ansible_inventory(inventory, plan=plan, facts=facts, without=without, known_hosts=Path("/known_hosts"))
    content: dict[str, Any] = made["all"]
    return content


MEMBER = {"cluster": "shop", "joined": True, "etcd": "member"}
HALF = {"cluster": "shop", "joined": True}
LOST = {"cluster": "shop", "joined": True, "etcd": "lost"}


def test_further_control_planes_join_the_first_one() -> None:
    made = planes({"a": {}, "b": {}, "c": {}})
    assert made["vars"]["cluster"]["control_plane"] == "a"
    groups = {name: list(group["hosts"]) for name, group in made["children"].items()}
    assert groups == {
        "control_plane": ["a", "b", "c"],
        "further_control_planes": ["b", "c"],
        "guarded_control_planes": ["a", "b", "c"],
        "hubs": [],
        "workers": [],
    }


@pytest.mark.parametrize(
    ("states", "without", "first", "joined"),
    [
        # A new control plane before the one of the cluster.
        ({"a": {}, "b": MEMBER, "c": {}}, (), "b", {"b"}),
        # The first control plane is continued, a further one starts again.
        ({"a": HALF, "b": {}, "c": {}}, (), "a", {"a"}),
        ({"a": MEMBER, "b": HALF, "c": {}}, (), "a", {"a"}),
        ({"a": LOST, "b": MEMBER, "c": MEMBER}, (), "b", {"b", "c"}),
        ({"a": MEMBER, "b": MEMBER, "c": MEMBER}, ("a",), "b", {"a", "b", "c"}),
    ],
)
def test_control_planes_join_one_that_is_a_member(
    states: dict[str, dict[str, Any]], without: tuple[str, ...], first: str, joined: set[str]
) -> None:
    made = planes(states, without=without)
    assert made["vars"]["cluster"]["control_plane"] == first
    assert first not in made["children"]["further_control_planes"]["hosts"]
    hosts = made["children"]["control_plane"]["hosts"]
    assert {name for name, host in hosts.items() if host["node"]["joined"]} == joined
    # While one is down, none is restarted.
    assert list(made["children"]["guarded_control_planes"]["hosts"]) == ([] if without else list(states))


def test_a_single_control_plane_is_neither_joined_nor_restarted(made: Any) -> None:
    groups = made()["all"]["children"]
    assert groups["further_control_planes"]["hosts"] == groups["guarded_control_planes"]["hosts"] == {}


def test_ssh_is_held_to_the_pinned_keys(made: Any) -> None:
    host = host_of(made(), "node1")
    assert "StrictHostKeyChecking=yes" in host["ansible_ssh_args"]
    assert "known hosts" in host["ansible_ssh_args"]
    assert (host["ansible_port"], host["ansible_user"], host["ansible_become"]) == (2222, "admin", True)
    assert not host_of(made(), "master")["ansible_become"]


def test_images_come_in_the_order_of_need(made: Any) -> None:
    content = made()
    assert host_of(content, "master")["node"]["images"] == {
        "control-plane": ["images/pause.tar", "images/kube-apiserver.tar"],
        "node": ["images/pause.tar", "images/kube-proxy.tar"],
        "workload": ["images/busybox.tar"],
    }
    worker = host_of(content, "node1")["node"]["images"]
    assert list(worker) == ["node", "workload"]
    # Those that the cluster is verified with come before the others.
    names = ("coredns", "busybox", "local-path-provisioner", "restaurant")
    assert worker["workload"] == [f"images/{name}.tar" for name in names]


def test_kubectl_is_on_the_control_plane_alone(made: Any) -> None:
    content = made()
    programs = {
        name: [entry["dest"] for entry in host_of(content, name)["node"]["programs"]["kubernetes"]]
        for name in ("master", "node1")
    }
    assert "/usr/local/bin/kubectl" in programs["master"]
    assert "/usr/local/bin/kubectl" not in programs["node1"]


def test_only_control_planes_back_etcd_up_and_only_with_recipients(made: Any) -> None:
    without = made()
    assert without["all"]["vars"]["cluster"]["backup"] == {}
    assert "etcd_backup" not in host_of(without, "node1")["node"]["programs"]
    backup = Backup(recipients=("age1mnu7qzkfe6cfwchgzf66hrnd449u4vfp3jsv5zypuvcd03hv6gxq8f6hhz",))
    content = made(INVENTORY.model_copy(update={"backup": backup}))
    assert content["all"]["vars"]["cluster"]["backup"] == {
        "recipients": [*backup.recipients],
        "keep": 48,
        "minutes": {"master": 0},
    }
    programs = [entry["dest"] for entry in host_of(content, "master")["node"]["programs"]["etcd_backup"]]
    assert programs == [f"/usr/local/bin/{name}" for name in ("age", "etcdctl", "etcdutl")]


def test_a_bundle_is_carried_unless_the_host_has_it(made: Any, tmp_path: Path) -> None:
    carried = Host(name="node1", address="203.0.113.11", role="worker", bundle=Path("/mnt/bundle"))
    content = made(INVENTORY.model_copy(update={"hosts": (INVENTORY.hosts[0], carried)}))
    assert host_of(content, "node1")["node"]["bundle"] == "/mnt/bundle"
    assert host_of(content, "node1")["node"]["bundle_source"] is None
    assert host_of(content, "master")["node"]["bundle_source"] == str(tmp_path)


@pytest.mark.parametrize(
    ("facts", "ignored"),
    [
        ({}, []),
        ({"cgroup_version": 1}, ["SystemVerification"]),
        ({"container": "docker"}, ["SystemVerification"]),
    ],
)
def test_kubeadm_looks_at_everything_on_an_ordinary_machine(
    made: Any, facts: dict[str, Any], ignored: list[str]
) -> None:
    assert host_of(made(**facts), "master")["node"]["ignore_preflight"] == ignored


def test_a_bundle_without_a_program_is_refused(made: Any) -> None:
    with pytest.raises(BundleError) as caught:
        made(without="ctr")
    assert caught.value.code == "BundleIncomplete"


def test_a_host_that_lacks_packages_needs_those_of_its_release(made: Any) -> None:
    content = made(packages_missing=("socat",))
    assert host_of(content, "node1")["node"]["packages"] == ["packages/debian-bookworm/socat_1_amd64.deb"]
    with pytest.raises(BundleError) as caught:
        made(packages_missing=("socat",), codename="trixie")
    assert caught.value.code == "BundleIncomplete"


def test_a_small_hub_gets_the_vpn_and_no_kubernetes(tmp_path: Path) -> None:
    hosts = (
        Host(name="a", address="203.0.113.1", role="control-plane"),
        Host(name="h", address="203.0.113.2", role="hub", hub=Hub(endpoint="203.0.113.2")),
        Host(name="node1", address="203.0.113.4", role="worker"),
    )
    inventory = Inventory(file=Path("/hosts.yaml"), cluster="shop", hosts=hosts)
    facts = {host.name: facts_of() for host in hosts}
    plan = network_plan.compute(inventory, facts)
    keys = pki.ensure(tmp_path / "pki", "shop", list(plan.hosts), hubs=list(plan.hubs))
    content = ansible_inventory(
        inventory, plan=plan, facts=facts, bundle=bundle_of(tmp_path), pki=keys, known_hosts=Path("/known_hosts")
    )
    groups = {name: list(group["hosts"]) for name, group in content["all"]["children"].items()}
    assert (groups["control_plane"], groups["workers"], groups["hubs"]) == (["a"], ["node1"], ["h"])
    assert list(content["all"]["vars"]["cluster"]["nodes"]) == ["a", "node1"]
    node = content["all"]["children"]["hubs"]["hosts"]["h"]["node"]
    assert (node["programs"], node["images"]) == ({}, {})
    assert node["server"]["clients"]["a"] == (
        "ifconfig-push 10.93.0.1 255.255.255.0\niroute 10.90.0.1 255.255.255.255\niroute 10.90.0.254 255.255.255.255\n"
    )
    assert "10.90.0.254" not in node["server"]["clients"]["node1"]
    assert {one["name"]: one["announces_api"] for one in node["neighbors"]} == {"a": True, "node1": False}
    assert host_of(content, "a")["node"]["announces_api"]
