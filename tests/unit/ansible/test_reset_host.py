from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.ansible.conftest import ExitError

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import Host

RULES = """\
*filter
:INPUT DROP [5:300]
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:cali-FORWARD - [0:0]
:ufw-user-input - [0:0]
[9:540] -A INPUT -m comment --comment "cali:Cz_u1IQiXIMmKD4c" -j cali-INPUT
[7:420] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
[0:0] -A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
[1:60] -A INPUT -j ufw-user-input
[0:0] -A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m comment --comment "Policy accept" -j ACCEPT
[0:0] -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
[0:0] -A cali-FORWARD -i cali+ -j cali-from-wl-dispatch
COMMIT
"""
KEPT = """\
*filter
:INPUT DROP [5:300]
:FORWARD ACCEPT [0:0]
:ufw-user-input - [0:0]
[7:420] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
[1:60] -A INPUT -j ufw-user-input
COMMIT
"""


@pytest.fixture
def module(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, on a host with the name of the cluster in the test's directory."""
    loaded = host.module("reset_host")
    mark = tmp_path / "cluster"
    mark.write_text("shop\n")
    monkeypatch.setattr(loaded, "CLUSTER", mark)
    monkeypatch.setattr(loaded, "DATA", ())
    monkeypatch.setattr(loaded, "PLUGINS", ())
    monkeypatch.setattr(loaded, "PARENTS", ())
    monkeypatch.setattr(loaded, "mounted", list)
    monkeypatch.setattr(loaded, "containers", list)
    return loaded


def test_rules_of_others_stay_with_their_order_and_counters(host: Host) -> None:
    assert host.module("reset_host").without_cluster(RULES) == KEPT


def test_rules_without_any_of_the_cluster_stay_unchanged(host: Host) -> None:
    assert host.module("reset_host").without_cluster(KEPT) == KEPT


def test_files_go_and_those_that_were_there_before_come_back(host: Host, module: Any, tmp_path: Path) -> None:
    own, taken = tmp_path / "deep" / "own", tmp_path / "taken"
    taken.write_text("the host's own")
    files = [{"path": str(path), "content": "shop", "mode": "0644"} for path in (own, taken, module.CLUSTER)]
    host.run("install", files=files)
    answer = host.run(module, cluster="shop")
    assert answer["changed"]
    assert taken.read_text() == "the host's own"
    assert not own.parent.exists()
    assert not host.home.exists()


def test_the_name_of_the_cluster_is_removed_last(host: Host, module: Any, tmp_path: Path) -> None:
    files = [{"path": str(path), "content": "shop", "mode": "0644"} for path in (module.CLUSTER, tmp_path / "z")]
    host.run("install", files=files)
    changes = host.run(module, check_mode=True, cluster="shop")["changes"]
    assert changes[-1] == f"remove {module.CLUSTER}"


def test_units_stop_before_the_vpn_and_the_vpn_before_the_firewall(host: Host, module: Any) -> None:
    order = ["maas-firewall.service", "openvpn-client@maas.service", "kubelet.service"]
    (host.home / "units.json").write_text(json.dumps({name: [] for name in order}))
    host.run(module, cluster="shop")
    stop = next(command for command in host.commands if command[:2] == ["systemctl", "disable"] and len(command) > 5)
    assert stop[4:] == order[::-1]


def test_a_host_of_another_cluster_is_left_alone(host: Host, module: Any) -> None:
    with pytest.raises(ExitError, match="belongs to another cluster, 'shop'"):
        host.run(module, cluster="other")
    assert host.commands == []


def test_a_host_of_no_cluster_has_nothing_to_reset(host: Host, module: Any) -> None:
    module.CLUSTER.unlink()
    assert host.run(module, cluster="shop") == {"changed": False, "changes": []}
    assert host.commands == []


def test_check_mode_changes_nothing(host: Host, module: Any, tmp_path: Path) -> None:
    host.run("install", files=[{"path": str(tmp_path / "own"), "content": "", "mode": "0644"}])
    assert host.run(module, check_mode=True, cluster="shop")["changed"]
    assert (tmp_path / "own").exists()
    assert (host.home / "record.json").exists()
    assert not [command for command in host.commands if command[0] == "systemctl"]


def test_nothing_is_removed_below_what_cannot_be_unmounted(
    host: Host, module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tmp_path / "kubelet" / "volume"
    volume.mkdir(parents=True)
    monkeypatch.setattr(module, "DATA", (str(tmp_path / "kubelet"),))
    monkeypatch.setattr(module, "mounted", lambda: [str(volume)])
    with pytest.raises(ExitError, match="still mounted"):
        host.run(module, cluster="shop")
    assert volume.is_dir()


def test_containers_are_found_by_their_shims(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = host.module("reset_host")
    shim = tmp_path / "containerd-shim-runc-v2"
    # A shell under the shim's name, with a child of its own; the shell waits for it.
    shim.symlink_to("/bin/sh")
    monkeypatch.setattr(module, "SHIM", str(shim))
    process = subprocess.Popen([shim, "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            while not Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"sleep"):
                time.sleep(0.01)  # until then the child goes by its parent's name
            assert module.containers() == [child, process.pid]
        finally:
            os.kill(child, signal.SIGKILL)


def test_there_are_no_containers_without_a_shim(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = host.module("reset_host")
    monkeypatch.setattr(module, "SHIM", str(tmp_path / "no-such-shim"))
    assert module.containers() == []
