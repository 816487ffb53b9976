"""The hosts of a lab, as `bootstrap` needs them, and the machine after they are removed: unchanged."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest
from ruamel.yaml import YAML
from tests.support import lab_power

from maas import lab
from maas.errors import LabError
from maas.lab import container_options, docker_host, isolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.lab import Host, LabState

pytestmark = pytest.mark.e2e

NAME = "t-hosts"
BESIDE = "t-beside"
TWO = ("master", "node1")
LEFT = (NAME, BESIDE)


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def rules(program: str) -> list[str]:
    """Return the rules of the machine's firewall, without times and counters."""
    if shutil.which(program) is None:
        return []
    lines = [line for line in output(program).splitlines() if not line.startswith("#")]
    return [line.rsplit(" [", 1)[0] if line.startswith(":") else line for line in lines]


def containers() -> list[str]:
    """Return all containers of the engine; none where no engine runs."""
    done = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.ID}} {{.Names}} {{.Image}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return sorted(done.stdout.splitlines())


def machine() -> dict[str, object]:
    """Return what a lab could change on the machine."""
    return {
        "docker ps -a": containers(),
        "ip link": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "iptables-save": rules("iptables-save"),
        "ip6tables-save": rules("ip6tables-save"),
        "ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii"),
        "inotify": Path("/proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii"),
    }


def clear() -> None:
    for name in LEFT:
        try:
            lab.down(name)
        except LabError:
            continue


@pytest.fixture(scope="module")
def before() -> Iterator[dict[str, object]]:
    # An interrupted run may have left hosts.
    clear()
    yield machine()
    clear()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle")
    (directory / "manifest.json").write_text("{}", encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def one(before: dict[str, object], bundle: Path) -> LabState:  # noqa: ARG001 - the machine is recorded first
    return lab.up(NAME, bundle=bundle, hosts=TWO, assume_yes=True)


@pytest.fixture(scope="module")
def beside(one: LabState, bundle: Path) -> LabState:  # noqa: ARG001 - beside a running lab
    return lab.up(BESIDE, bundle=bundle, hosts=TWO, assume_yes=True)


def on(host: Host, *command: str) -> tuple[int, str]:
    words = ["docker", "exec", host.container, *command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def inventory(state: LabState) -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe").load(state.inventory)
    return read


def ssh(state: LabState, host: Host, known: Path, *command: str) -> subprocess.CompletedProcess[str]:
    strict = ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]
    words = ["ssh", *strict, "-i", str(state.key), f"root@{host.address}", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def known_hosts(host: Host, directory: Path) -> Path:
    file = directory / f"known-{host.name}"
    file.write_text(output("ssh-keyscan", "-t", "ed25519", host.address), encoding="ascii")
    return file


def answering(host: Host, addresses: list[str]) -> set[str]:
    """Return the addresses that answer a host, to a ping or at the ssh port."""
    question = (
        'for a in "$@"; do ('
        "ping -c1 -W1 $a >/dev/null && echo $a;"
        "timeout 2 python3 -c \"import socket; socket.create_connection(('$a', 22))\" 2>/dev/null && echo $a"
        ") & done; wait"
    )
    return set(on(host, "bash", "-c", question, "bash", *addresses)[1].split())


def relayed(state: LabState) -> bool:
    """Whether datagrams of every worker reach the hub and come back, at the address in the inventory."""
    endpoints = [entry["hub"]["endpoint"] for entry in inventory(state)["hosts"][1:]]
    with contextlib.closing(docker.from_env()) as client:
        hub, *workers = [client.containers.get(host.container) for host in state.hosts]
        nodes = [
            isolation.Node(host.name, one, to)
            for host, one, to in zip(state.hosts[1:], workers, endpoints, strict=True)
        ]
        return isolation.check_hub_reachable(hub, nodes, port=docker_host.HUB_PORT)


def identities(state: LabState) -> list[str]:
    return output("docker", "inspect", "--format", "{{.Id}}", *(host.container for host in state.hosts)).split()


def volumes() -> set[str]:
    return set(output("docker", "volume", "ls", "--quiet").split())


def test_hosts_boot_until_systemd_is_running(one: LabState) -> None:
    assert [(host.name, host.role, host.state, host.system) for host in one.hosts] == [
        ("master", "control-plane", "running", "running"),
        ("node1", "worker", "running", "running"),
    ]


def test_the_options_for_this_machine_have_reasons() -> None:
    reasons = container_options.choose(container_options.gather()).reasons
    assert any(reason.startswith("hosts run") for reason in reasons)
    assert any(reason.startswith("control groups are") for reason in reasons)


def test_each_host_has_an_identity_a_key_and_a_network_of_its_own(one: LabState, beside: LabState) -> None:
    every = [*one.hosts, *beside.hosts]
    assert len({on(host, "cat", "/etc/machine-id")[1] for host in every}) == len(every)
    assert len({host.fingerprint for host in every}) == len(every)
    assert len({host.gateway for host in every}) == len(every)


def test_a_host_has_what_containers_and_a_vpn_need(one: LabState) -> None:
    for host in one.hosts:
        status, text = on(
            host,
            "sh",
            "-euc",
            "for group in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); do mkdir $group/t; rmdir $group/t; done;"
            "ip tuntap add tun9 mode tun; ip link delete tun9;"
            "sysctl -qw net.ipv4.ip_forward=1; iptables -t nat -S >/dev/null; head -c0 /dev/kmsg;"
            "mkdir /var/lib/l /var/lib/u /var/lib/w /var/lib/m;"
            "mount -t overlay -o lowerdir=/var/lib/l,upperdir=/var/lib/u,workdir=/var/lib/w none /var/lib/m;"
            "umount /var/lib/m; findmnt -no PROPAGATION / | grep -q shared",
        )
        assert (status, text) == (0, "")


def test_a_host_has_only_name_servers_that_its_pods_can_reach(one: LabState) -> None:
    _, text = on(one.hosts[0], "cat", "/etc/resolv.conf")
    assert "nameserver" in text
    assert "nameserver 127." not in text


def test_the_bundle_is_mounted_read_only(one: LabState) -> None:
    assert on(one.hosts[1], "cat", "/mnt/bundle/manifest.json") == (0, "{}")
    status, text = on(one.hosts[1], "touch", "/mnt/bundle/other")
    assert status != 0
    assert "Read-only file system" in text


def test_ssh_logs_in_with_the_labs_key_and_the_pinned_host_key(one: LabState, tmp_path: Path) -> None:
    for host, entry in zip(one.hosts, inventory(one)["hosts"], strict=True):
        known = known_hosts(host, tmp_path)
        assert entry["fingerprint"] in output("ssh-keygen", "-lf", str(known))
        assert ssh(one, host, known, "hostname").stdout.strip() == host.name
    assert one.key.stat().st_mode & 0o777 == 0o600


def test_the_key_of_another_lab_is_refused(one: LabState, beside: LabState, tmp_path: Path) -> None:
    known = known_hosts(one.hosts[0], tmp_path)
    assert "Permission denied" in ssh(beside, one.hosts[0], known, "true").stderr


def test_no_host_reaches_another_of_its_own_or_of_another_lab(one: LabState, beside: LabState) -> None:
    every = [*one.hosts, *beside.hosts]
    addresses = [host.address for host in every]
    with ThreadPoolExecutor() as pool:
        reached = list(pool.map(lambda host: answering(host, addresses), every))
    # That its own address answers shows that the search works.
    assert reached == [{host.address} for host in every]


def test_the_hubs_port_is_relayed_and_published_on_the_gateways_of_workers_alone(
    one: LabState, beside: LabState
) -> None:
    assert relayed(one)
    assert relayed(beside)
    listening = {line.split()[3] for line in output("ss", "-Huln", f"sport = :{docker_host.HUB_PORT}").splitlines()}
    workers = {
        f"{host.gateway}:{docker_host.HUB_PORT}" for host in [*one.hosts, *beside.hosts] if host.role == "worker"
    }
    assert workers <= listening
    assert not {address for address in listening if address.startswith(("0.0.0.0", "*", "[::]"))}


def test_an_engine_that_forwards_between_its_networks_is_detected_and_blocked(one: LabState) -> None:
    with contextlib.closing(docker.from_env()) as client:
        pair = {host.name: (client.containers.get(host.container), host.address) for host in one.hosts}
        bridges = [docker_host.bridge_of(container) for container, _ in pair.values()]
        ways = [["FORWARD", "-i", i, "-o", o, "-j", "ACCEPT"] for i, o in (bridges, reversed(bridges))]
        for way in ways:
            output("iptables", "-I", *way)
        try:
            assert set(isolation.leaks(pair)) == {("master", "node1"), ("node1", "master")}
            isolation.block(NAME, bridges)
            assert isolation.leaks(pair) == []
            assert isolation.unblock(NAME) == 2
            assert isolation.leaks(pair) != []
        finally:
            for way in ways:
                output("iptables", "-D", *way)
    assert isolation.unblock(NAME) == 0


def test_a_second_up_finds_the_same_hosts_and_starts_stopped_ones(one: LabState, bundle: Path) -> None:
    ids = identities(one)
    written = one.inventory.read_bytes()
    output("docker", "stop", one.hosts[1].container)
    again = lab.up(NAME, bundle=bundle, hosts=TWO, assume_yes=True)
    assert identities(again) == ids
    assert [host.system for host in again.hosts] == ["running", "running"]
    assert again.inventory.read_bytes() == written


def test_other_hosts_or_another_bundle_are_refused_before_anything_changes(one: LabState, tmp_path: Path) -> None:
    before = identities(one)
    with pytest.raises(LabError) as caught:
        lab.up(NAME, bundle=tmp_path, hosts=TWO, assume_yes=True)
    assert caught.value.code == "LabExists"
    with pytest.raises(LabError) as caught:
        lab.up(NAME, bundle=tmp_path, hosts=("master",), assume_yes=True)
    assert caught.value.code == "LabExists"
    assert identities(one) == before


@pytest.mark.parametrize("place", [0, 1])
def test_a_killed_host_restarts_with_the_same_identity(one: LabState, tmp_path: Path, place: int) -> None:
    host = one.hosts[place]
    known = known_hosts(host, tmp_path)
    on(host, "sh", "-c", "echo kept >/var/lib/kept; sync")
    _, identity = on(host, "cat", "/etc/machine-id")
    lab_power.kill(NAME, host.name)
    states = {other.name: other.state for other in lab.status(NAME).hosts}
    assert states == {other.name: "exited" if other.name == host.name else "running" for other in one.hosts}
    with pytest.raises(OSError, match=r"No route to host|timed out"):
        socket.create_connection((host.address, 22), timeout=1)
    lab_power.start(NAME, host.name)
    assert ssh(one, host, known, "cat", "/var/lib/kept").stdout == "kept\n"
    assert on(host, "cat", "/etc/machine-id")[1] == identity
    assert (
        on(host, "mkdir", "/sys/fs/cgroup/memory/t" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup/t")[
            0
        ]
        == 0
    )
    assert relayed(one)


def test_an_unknown_lab_is_an_error_that_names_the_existing_ones(one: LabState, beside: LabState) -> None:
    assert {one.name, beside.name} <= set(lab.labs())
    for act in (lab.status, lab.down):
        with pytest.raises(LabError) as caught:
            act("t-nowhere")
        assert caught.value.code == "LabNotFound"
        assert BESIDE in caught.value.context[0]


def test_the_state_of_a_real_cluster_is_never_used_as_a_labs(one: LabState, bundle: Path) -> None:
    directory = one.directory.parent / "t-real"
    directory.mkdir()
    try:
        (directory / "ca.key").write_text("precious", encoding="utf-8")
        with pytest.raises(LabError) as caught:
            lab.up("t-real", bundle=bundle, hosts=TWO, assume_yes=True)
        assert caught.value.code == "NotALab"
        assert [path.name for path in directory.iterdir()] == ["ca.key"]
    finally:
        shutil.rmtree(directory)


# The last tests remove the labs, in the order in which a user would.


def test_down_removes_one_lab_and_keeps_the_other(one: LabState, beside: LabState) -> None:
    kept = volumes()
    removed = lab.down(BESIDE)
    for host in beside.hosts:
        assert f"removed container {host.container} with its volumes" in removed
        assert f"removed network {host.container}" in removed
    assert f"removed state directory {beside.directory}" in removed
    assert not beside.directory.exists()
    assert len(kept - volumes()) == len(beside.hosts)
    assert [host.system for host in lab.status(one.name).hosts] == ["running", "running"]
    assert relayed(one)


def test_after_the_last_down_the_machine_is_unchanged(one: LabState, before: dict[str, object]) -> None:
    assert lab.down(one.name)
    assert machine() == before
    with pytest.raises(LabError):
        lab.status(one.name)
