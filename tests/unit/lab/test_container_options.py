"""The options of a host's container follow from the machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maas.errors import LabError
from maas.lab.container_options import INOTIFY, KMSG, TUN, Cgroup, MachineFacts, cgroup_of, choose, nameservers_of

SERVER = MachineFacts(
    cgroup=Cgroup.V2,
    missing=frozenset(),
    devices=frozenset({TUN, KMSG}),
    modules=True,
    inotify=dict(INOTIFY),
    root=True,
    nameservers=("192.0.2.53",),
)
SMALL_VM = replace(
    SERVER,
    cgroup=Cgroup.HYBRID,
    missing=frozenset({"SYS_RESOURCE"}),
    modules=False,
    inotify=dict.fromkeys(INOTIFY, 128),
)

TABLE = [
    pytest.param(SERVER, {"privileged": True, "cap_add": (), "cap_drop": (), "device_rules": ()}, id="server"),
    pytest.param(replace(SERVER, cgroup=Cgroup.V1), {"privileged": True, "unmask": False}, id="server-cgroup-v1"),
    pytest.param(
        SMALL_VM,
        {
            "privileged": False,
            "cap_add": ("ALL",),
            "cap_drop": ("SYS_RESOURCE",),
            "device_rules": ("a *:* rwm",),
            "devices": (KMSG, TUN),
            "unmask": True,
            "binds": (),
            "sysctls": dict(INOTIFY),
        },
        id="vm-without-sys-resource",
    ),
    pytest.param(
        replace(SERVER, missing=frozenset({"SYS_TIME", "SYS_MODULE"})),
        {"privileged": False, "cap_add": ("ALL",), "cap_drop": ("SYS_MODULE", "SYS_TIME")},
        id="other-capabilities-missing",
    ),
    pytest.param(replace(SMALL_VM, devices=frozenset({TUN})), {"devices": (TUN,)}, id="no-kmsg"),
    pytest.param(replace(SMALL_VM, root=False), {"sysctls": {}}, id="no-right-to-raise-limits"),
    pytest.param(SERVER, {"binds": ("/lib/modules:/lib/modules:ro",), "sysctls": {}}, id="modules-and-high-limits"),
    pytest.param(replace(SERVER, nameservers=()), {"environment": {}}, id="only-a-resolver-on-loopback"),
    pytest.param(SERVER, {"environment": {"LAB_NAMESERVERS": "192.0.2.53"}}, id="a-real-resolver"),
]


@pytest.mark.parametrize(("machine", "expected"), TABLE)
def test_the_machine_decides_how_its_hosts_run(machine: MachineFacts, expected: dict[str, object]) -> None:
    chosen = choose(machine)
    assert {name: getattr(chosen, name) for name in expected} == expected


SENTENCES = [
    (SERVER, "hosts run privileged"),
    (SERVER, "control groups are v2"),
    (SERVER, "kernel modules read-only"),
    (SMALL_VM, "all capabilities except SYS_RESOURCE"),
    (SMALL_VM, "v1 with an empty v2 hierarchy"),
    (SMALL_VM, "cgroupfs"),
    (SMALL_VM, "no loadable modules"),
    (SMALL_VM, "set fs.inotify.max_user_instances to 1024"),
    (replace(SMALL_VM, root=False), "only root can set fs.inotify.max_user_instances"),
    (replace(SMALL_VM, devices=frozenset({TUN})), "has no /dev/kmsg"),
    (replace(SERVER, nameservers=()), "are on loopback"),
]


@pytest.mark.parametrize(("machine", "words"), SENTENCES)
def test_every_choice_is_said_with_its_reason(machine: MachineFacts, words: str) -> None:
    assert [reason for reason in choose(machine).reasons if words in reason]


def test_a_limit_that_is_high_enough_is_left_alone() -> None:
    one = next(iter(INOTIFY))
    machine = replace(SMALL_VM, inotify={**INOTIFY, one: INOTIFY[one] * 2})
    assert choose(machine).sysctls == {}


def test_hosts_have_run_and_tmp_in_memory_whatever_the_machine() -> None:
    assert choose(SERVER).tmpfs == choose(SMALL_VM).tmpfs == {"/run": "exec", "/tmp": "exec", "/run/lock": ""}  # noqa: S108


def test_a_machine_without_tun_is_refused_before_anything_is_made() -> None:
    with pytest.raises(LabError) as caught:
        choose(replace(SMALL_VM, devices=frozenset({KMSG})))
    assert caught.value.code == "TunMissing"
    assert caught.value.command == "modprobe tun"


@pytest.mark.parametrize("capability", ["SYS_ADMIN", "NET_ADMIN"])
def test_a_machine_that_is_itself_confined_is_refused(capability: str) -> None:
    with pytest.raises(LabError, match=capability):
        choose(replace(SERVER, missing=frozenset({capability, "SYS_TIME"})))


V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""
V2_ALONE = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("mountinfo", "kind"),
    [
        (V1, Cgroup.V1),
        (V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n", Cgroup.HYBRID),
        (V2_ALONE, Cgroup.V2),
    ],
)
def test_the_kind_of_control_groups_is_read_from_the_mounts(mountinfo: str, kind: Cgroup) -> None:
    assert cgroup_of(mountinfo) is kind


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["nameserver 192.0.2.1\nnameserver 192.0.2.2\n"], ("192.0.2.1", "192.0.2.2")),
        (["nameserver 127.0.0.53\n", "nameserver 192.0.2.9\n"], ("192.0.2.9",)),
        (["nameserver fe80::1%eth0\nnameserver ::1\noptions edns0\nnameserver\n"], ()),
        (["# nameserver 192.0.2.1\n"], ()),
        ([], ()),
    ],
)
def test_only_name_servers_that_a_pod_could_use_are_taken(files: list[str], found: tuple[str, ...]) -> None:
    assert nameservers_of(*files) == found
