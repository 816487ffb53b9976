from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.ansible.conftest import ExitError

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import Host

LISTING = """\
udp UNCONN 0      0         0.0.0.0:1194  0.0.0.0:* users:(("openvpn",pid=293,fd=5))
udp UNCONN 0      0         0.0.0.0:4789  0.0.0.0:*
tcp LISTEN 0      4096    127.0.0.1:39537 0.0.0.0:* users:(("containerd",pid=194,fd=16))
tcp LISTEN 0      4096    10.90.0.1:10250 0.0.0.0:* users:(("kubelet",pid=871,fd=23))
tcp LISTEN 0      4096    10.90.0.1:10257 0.0.0.0:* users:(("kube-controller",pid=752,fd=5))
tcp LISTEN 0      4096        [::1]:2379     [::]:* users:(("etcd",pid=764,fd=8))
tcp LISTEN 0      128          [::]:22       [::]:* users:(("sshd",pid=58,fd=4))
"""


class Prober:
    """A host on which all commands succeed except those that a test breaks."""

    def __init__(self) -> None:
        self.listing = LISTING
        self.silent: set[str] = set()
        self.lost = self.pings = 0
        self.active = ["active"]

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        match command:
            case ["ss", *_]:
                return 0, self.listing, ""
            case ["ping", *_, peer]:
                self.pings += 1
                return int(peer in self.silent or self.pings <= self.lost), "", ""
            case [_, "is-active", *names]:
                state = self.active.pop(0) if len(self.active) > 1 else self.active[0]
                return 0, f"{state}\n" * len(names), ""
            case [_, "is-enabled", *names]:
                return 0, "enabled\n" * len(names), ""
        raise AssertionError(command)


@pytest.fixture
def prober(host: Host, monkeypatch: pytest.MonkeyPatch) -> Prober:
    host.answer = prober = Prober()
    monkeypatch.setattr("time.sleep", lambda _: None)
    return prober


def verify(host: Host, **changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "address": "10.90.0.1",
        "peers": ["10.90.0.2"],
        "packet": 1444,
        "services": ["kubelet.service"],
    }
    return host.run("verify_host", **(known | changes))


@pytest.mark.usefixtures("prober")
def test_a_good_host_reports_what_listens_where(host: Host) -> None:
    answer = verify(host)
    assert answer["listening"] == {
        "containerd": ["127.0.0.1"],
        "etcd": ["::1"],
        "kube-controller": ["10.90.0.1"],
        "kubelet": ["10.90.0.1"],
    }


@pytest.mark.parametrize("place", ["0.0.0.0", "[::]", "*", "203.0.113.10", "[fe80::1]%eth0"])
def test_a_program_that_listens_elsewhere_is_found(host: Host, prober: Prober, place: str) -> None:
    prober.listing += f'tcp LISTEN 0 4096 {place}:10256 0.0.0.0:* users:(("kube-proxy",pid=991,fd=10))\n'
    with pytest.raises(ExitError, match="kube-proxy listens on"):
        verify(host)


@pytest.mark.usefixtures("prober")
def test_pings_have_the_size_of_the_tunnel_and_may_not_be_fragmented(host: Host) -> None:
    verify(host)
    (ping,) = (command for command in host.commands if command[0] == "ping")
    assert ping[ping.index("-s") + 1] == str(1444 - 20 - 8)
    assert ping[ping.index("-M") + 1] == "do"


def test_all_problems_are_reported_at_once(host: Host, prober: Prober) -> None:
    prober.silent = {"10.90.0.2"}
    prober.active = ["failed"]
    with pytest.raises(
        ExitError, match=r"no reply from 10\.90\.0\.2 to packets of 1444 bytes; kubelet\.service is failed"
    ):
        verify(host)


def test_a_service_that_is_starting_is_waited_for(host: Host, prober: Prober) -> None:
    prober.active = ["activating", "activating", "active"]
    assert not verify(host)["changed"]


def test_a_single_packet_may_be_lost(host: Host, prober: Prober) -> None:
    prober.lost = 2
    host.run("verify_host", address="10.90.0.1", peers=["10.90.0.2"], packet=1444, services=[])
    assert prober.pings == 3
