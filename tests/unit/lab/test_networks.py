"""The lab's networks never cover an address that the machine already knows a way to."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maas.errors import LabError
from maas.lab.networks import pick, routed

NETWORKS = st.builds(
    lambda base, prefix: IPv4Network((base, prefix), strict=False),
    st.integers(int(IPv4Network("172.28.0.0/14")[0]), int(IPv4Network("172.28.0.0/14")[-1])),
    st.integers(16, 30),
)


@given(taken=st.lists(NETWORKS, max_size=20), count=st.integers(0, 6))
def test_picked_networks_overlap_neither_each_other_nor_what_is_taken(taken: list[IPv4Network], count: int) -> None:
    picked = pick(taken, count=count)
    assert len(picked) == count
    for place, network in enumerate(picked):
        assert not any(network.overlaps(other) for other in [*taken, *picked[:place]])


def test_a_free_machine_gets_the_first_networks() -> None:
    assert [str(network) for network in pick([], count=3)] == ["172.28.0.0/24", "172.28.1.0/24", "172.28.2.0/24"]


def test_a_vpn_that_takes_all_of_172_16_moves_the_lab_elsewhere() -> None:
    assert str(pick([IPv4Network("172.16.0.0/12")], count=1)[0]) == "10.200.0.0/24"


def test_no_free_network_is_an_error_that_shows_where_to_look() -> None:
    with pytest.raises(LabError, match="fewer than 1 networks are free") as caught:
        pick([IPv4Network("172.16.0.0/12"), IPv4Network("10.0.0.0/8")], count=1)
    assert caught.value.command == "ip route show table all"


def test_routes_of_every_table_count_except_the_default_route() -> None:
    routes = json.dumps(
        [
            {"dst": "default", "gateway": "192.0.2.1"},
            {"dst": "192.0.2.0/24", "dev": "eth0"},
            {"type": "broadcast", "dst": "192.0.2.255", "dev": "eth0", "table": "local"},
            {"dst": "172.28.0.0/16", "dev": "wg0", "table": "51820"},
        ]
    )
    assert {str(network) for network in routed(routes)} == {"192.0.2.0/24", "192.0.2.255/32", "172.28.0.0/16"}
    assert routed("") == set()
