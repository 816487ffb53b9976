from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from maas import process
from maas.errors import HostKeyError
from maas.hosts import ssh
from maas.hosts.inventory import Host, Hub, Inventory
from maas.hosts.known_hosts import HostKey, Trusted, pin, scan

# A program in place of ssh: it writes the first key of a host with one of the algorithms to the file of known hosts. The
# keys of a port are in a file beside it.
SSH = """\
#!/bin/sh
echo "$*" >> "${0%/*}/calls"
for word; do
    case "$word" in
    UserKnownHostsFile=*) file=$(echo "${word#*=}" | tr -d '"') ;;
    HostKeyAlias=*) alias=${word#*=} ;;
    HostKeyAlgorithms=*) algorithms=$(echo "${word#*=}" | sed 's/rsa-sha2-512/ssh-rsa/' | tr , ' ') ;;
    -p) next=port ;;
    *) [ "$next" = port ] && port=$word; next= ;;
    esac
done
keys="${0%/*}/port-$port"
[ -s "$keys" ] || { echo "ssh: connect to host 10.0.0.1 port $port: Connection refused" >&2; exit 255; }
for algorithm in $algorithms; do
    if key=$(grep "^$algorithm " "$keys"); then
        echo "$alias $key" > "$file"
        echo "Permission denied (publickey)." >&2
        exit 255
    fi
done
echo "Unable to negotiate with 10.0.0.1 port $port: no matching host key type found. Their offer: x" >&2
exit 255
"""


def key(kind: str, number: int) -> HostKey:
    return HostKey(kind, base64.b64encode(f"{kind} {number}".encode()).decode())


ED, ED2, RSA = key("ssh-ed25519", 1), key("ssh-ed25519", 2), key("ssh-rsa", 1)


class Network:
    """Hosts and the keys they show."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.known_hosts = directory / "known_hosts"

    def shows(self, **hosts: list[HostKey]) -> None:
        for name, port in (("master", 22), ("node1", 2222)):
            lines = [f"{key.kind} {key.data}\n" for key in hosts.get(name, ())]
            (self._directory / f"port-{port}").write_text("".join(lines))

    def connections(self) -> int:
        """How often ssh was started."""
        return len((self._directory / "calls").read_text().splitlines())


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Network(tmp_path)


def inventory(**fingerprints: str) -> Inventory:
    hosts = (
        Host(name="master", address="10.0.0.1", role="control-plane", fingerprint=fingerprints.get("master")),
        Host(name="node1", address="10.0.0.1", port=2222, role="worker", fingerprint=fingerprints.get("node1")),
    )
    return Inventory(file=Path("/hosts.yaml"), cluster="shop", hub=Hub(endpoint="10.0.0.1"), hosts=hosts)


def accept(inventory: Inventory, known_hosts: Path) -> tuple[Trusted, ...]:
    """Scan and pin, as a run does whose user agreed."""
    keys = scan(inventory, known_hosts=known_hosts)
    pin(inventory, keys, known_hosts=known_hosts)
    return keys


def test_the_fingerprint_is_the_one_that_ssh_prints(tmp_path: Path) -> None:
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"])
    kind, data = (tmp_path / "id.pub").read_text().split()[:2]
    printed = process.run(["ssh-keygen", "-l", "-f", tmp_path / "id.pub"]).stdout
    assert HostKey(kind, data).fingerprint in printed.split()


def test_the_best_key_of_each_host_is_pinned_when_first_seen(network: Network) -> None:
    network.shows(master=[RSA, ED], node1=[ED2])
    pinned = accept(inventory(), network.known_hosts)
    assert [(p.host, p.key, p.new) for p in pinned] == [("master", ED, True), ("node1", ED2, True)]
    assert network.known_hosts.read_text().splitlines() == [
        f"10.0.0.1 {ED.kind} {ED.data}",
        f"[10.0.0.1]:2222 {ED2.kind} {ED2.data}",
    ]
    assert stat.S_IMODE(network.known_hosts.stat().st_mode) == 0o600


def test_a_second_run_finds_the_same_keys_and_writes_nothing(network: Network) -> None:
    network.shows(master=[ED], node1=[ED2])
    accept(inventory(), network.known_hosts)
    before = network.known_hosts.stat()
    pinned = accept(inventory(), network.known_hosts)
    assert [p.new for p in pinned] == [False, False]
    assert network.known_hosts.stat().st_ino == before.st_ino


def test_a_scan_writes_nothing(network: Network) -> None:
    network.shows(master=[ED], node1=[ED2])
    scan(inventory(), known_hosts=network.known_hosts)
    assert not network.known_hosts.exists()


def test_a_changed_key_is_refused_with_both_fingerprints_and_the_way_to_accept_it(network: Network) -> None:
    network.shows(master=[ED], node1=[ED2])
    accept(inventory(), network.known_hosts)
    kept = network.known_hosts.read_text()
    network.shows(master=[ED], node1=[ED, RSA])
    with pytest.raises(HostKeyError) as caught:
        accept(inventory(), network.known_hosts)
    assert caught.value.code == "HostKeyMismatch"
    assert ED2.fingerprint in caught.value.context[0]
    assert ED.fingerprint in caught.value.context[0]
    assert network.known_hosts.read_text() == kept
    assert caught.value.command == f"ssh-keygen -f {network.known_hosts} -R '[10.0.0.1]:2222'"
    process.run(["sh", "-c", caught.value.command])
    assert [p.new for p in accept(inventory(), network.known_hosts)] == [False, True]


def test_the_pinned_key_of_a_host_that_is_replaced_does_not_count(network: Network) -> None:
    network.shows(master=[ED], node1=[ED])
    accept(inventory(), network.known_hosts)
    network.shows(master=[ED], node1=[ED2])
    known = scan(inventory(), known_hosts=network.known_hosts, replaced="node1")
    assert [(one.key, one.new) for one in known] == [(ED, False), (ED2, True)]
    network.shows(master=[ED2], node1=[ED2])
    with pytest.raises(HostKeyError, match="the SSH host key of master has changed"):
        scan(inventory(), known_hosts=network.known_hosts, replaced="node1")


def test_a_pinned_key_stays_when_the_host_gets_a_better_one_beside_it(network: Network) -> None:
    network.shows(master=[RSA], node1=[ED2])
    accept(inventory(), network.known_hosts)
    network.shows(master=[ED, RSA], node1=[ED2])
    assert accept(inventory(), network.known_hosts)[0].key == RSA


def test_a_fingerprint_of_the_inventory_must_match(network: Network) -> None:
    network.shows(master=[ED, RSA], node1=[ED2])
    with pytest.raises(HostKeyError) as caught:
        accept(inventory(node1=ED.fingerprint), network.known_hosts)
    assert caught.value.context == (
        f"node1: expected {ED.fingerprint} (inventory), the host offers {ED2.fingerprint} (ssh-ed25519)",
    )
    assert not network.known_hosts.exists()
    pinned = accept(inventory(master=RSA.fingerprint), network.known_hosts)
    assert pinned[0].key == RSA


def test_a_fingerprint_of_the_inventory_replaces_an_earlier_pin(network: Network) -> None:
    network.shows(master=[ED], node1=[ED2])
    accept(inventory(), network.known_hosts)
    network.shows(master=[RSA], node1=[ED2])
    pinned = accept(inventory(master=RSA.fingerprint), network.known_hosts)
    assert (pinned[0].key, pinned[0].new) == (RSA, True)
    assert ED.data not in network.known_hosts.read_text()


def test_hosts_that_do_not_answer_are_all_named(network: Network) -> None:
    network.shows()
    with pytest.raises(HostKeyError) as caught:
        accept(inventory(), network.known_hosts)
    assert caught.value.code == "HostUnreachable"
    assert caught.value.context == (
        "master: 10.0.0.1 port 22: ssh: connect to host 10.0.0.1 port 22: Connection refused",
        "node1: 10.0.0.1 port 2222: ssh: connect to host 10.0.0.1 port 2222: Connection refused",
    )
    assert caught.value.command == "ssh root@10.0.0.1"


def test_a_host_that_answers_late_is_tried_again(network: Network, tmp_path: Path) -> None:
    network.shows(master=[ED], node1=[ED2])
    program = tmp_path / "ssh"
    first = '[ -e "${0%/*}/late" ] || { touch "${0%/*}/late"; echo "Connection timed out" >&2; exit 255; }'
    program.write_text(SSH.replace("#!/bin/sh\n", f"#!/bin/sh\n{first}\n"))
    assert [one.key for one in accept(inventory(), network.known_hosts)] == [ED, ED2]


def test_a_known_host_takes_one_connection(network: Network) -> None:
    network.shows(master=[RSA], node1=[ED2])
    accept(inventory(), network.known_hosts)
    network.shows(master=[ED, RSA], node1=[ED2])
    accept(inventory(), network.known_hosts)
    assert network.connections() == 4


CHECK = "check that address and port in the inventory are right, that the host is up, and that no firewall blocks SSH"


@pytest.mark.parametrize(
    ("shown", "optional", "hint"),
    [
        ({"master": [ED]}, {"node1"}, f"{CHECK}. To continue while this host is down: --without node1"),
        ({"master": [ED]}, set(), CHECK),  # a new worker cannot be left out
        ({"node1": [ED]}, {"node1"}, CHECK),  # nor can the control plane
        ({}, {"node1"}, CHECK),
    ],
)
def test_the_hint_is_a_command_that_works(
    network: Network, shown: dict[str, list[HostKey]], optional: set[str], hint: str
) -> None:
    network.shows(**shown)
    with pytest.raises(HostKeyError) as caught:
        scan(inventory(), known_hosts=network.known_hosts, optional=optional)
    assert caught.value.hint == hint


def test_the_hint_names_every_worker_that_is_down() -> None:
    assert ssh.without_hint(["node1", "node2"], optional={"node1", "node2", "node3"}) == (
        ". To continue while these hosts are down: --without node1 --without node2"
    )
    assert not ssh.without_hint(["node1", "node4"], optional={"node1"})
