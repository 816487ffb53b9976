"""The scripts around kubeadm: a step that only took too long is looked at again before it fails."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.support.ansible_content import CONTENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script of a role with other programs in place of those of the host, and with its files in a directory."""

    def start(script: str, **programs: str) -> subprocess.CompletedProcess[str]:
        for name, body in {"sleep": "", "systemctl": "", **programs}.items():
            program = tmp_path / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\ncd {tmp_path}\n{body}\n')
            program.chmod(0o755)
        for directory in ("etc/kubernetes/manifests", "etc/kubernetes/pki", "var/lib/maas", "run/maas"):
            (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        text = (CONTENT / "roles" / script).read_text()
        text = text.replace("/usr/local/lib/maas/static-pods", f"echo static-pods >> {tmp_path}/calls #")
        for top in ("/etc/", "/var/lib/", "/run/"):
            text = re.sub(rf"(?<=[ >]){top}", f"{tmp_path}{top}", text)
        (tmp_path / "script").write_text(text)
        env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run(
            ["sh", str(tmp_path / "script")], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return start


def calls(directory: Path, program: str) -> list[str]:
    return [line for line in (directory / "calls").read_text().splitlines() if line.startswith(f"{program} ")]


LATE = """\
[ -e second ] && exit 0
touch second etc/kubernetes/admin.conf etc/kubernetes/manifests/kube-apiserver.yaml
exit 1
"""


def test_a_control_plane_that_started_late_is_continued(run: Run, tmp_path: Path) -> None:
    done = run("control_plane/files/init.sh", kubeadm=LATE, kubectl="[ -e up ] || { touch up; exit 1; }")
    assert done.returncode == 0, done.stderr
    first, second = calls(tmp_path, "kubeadm")
    assert "--skip-phases" not in first
    assert second.endswith("--skip-phases=preflight")
    # Or the next run would write the static pods again.
    assert "static-pods" in (tmp_path / "calls").read_text().split()
    assert (tmp_path / "var/lib/maas/initialised").exists()


def test_a_control_plane_that_never_starts_fails(run: Run, tmp_path: Path) -> None:
    done = run("control_plane/files/init.sh", kubeadm=LATE, kubectl="exit 1")
    assert done.returncode == 1
    assert len(calls(tmp_path, "kubectl")) == 30
    assert not (tmp_path / "var/lib/maas/initialised").exists()


def test_a_mistake_in_the_configuration_fails_at_once(run: Run, tmp_path: Path) -> None:
    done = run("control_plane/files/init.sh", kubeadm="exit 3", kubectl="")
    assert done.returncode == 1
    assert len(calls(tmp_path, "kubeadm")) == 1
    assert "kubectl" not in (tmp_path / "calls").read_text()


def test_a_node_that_joined_late_has_joined(run: Run, tmp_path: Path) -> None:
    done = run("worker/files/join.sh", kubeadm="exit 1", sleep="touch etc/kubernetes/kubelet.conf")
    assert done.returncode == 0, done.stderr
    assert len(calls(tmp_path, "sleep")) == 1


@pytest.mark.parametrize(("active", "looks"), [("exit 0", 29), ('[ "$2" != is-active ]', 0)])
def test_a_node_that_does_not_join_fails(run: Run, tmp_path: Path, active: str, looks: int) -> None:
    done = run("worker/files/join.sh", kubeadm="exit 1", systemctl=active)
    assert done.returncode == 1
    assert len(calls(tmp_path, "sleep")) == looks


JOIN = "control_plane_join/files/join.sh"
RUNNING = '[ "$1" != ps ] || echo "container-of-$4"'
JOINED = "touch etc/kubernetes/kubelet.conf etc/kubernetes/manifests/etcd.yaml; mkdir -p var/lib/etcd/member"


def files(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_control_plane_joins_and_is_a_member_then(run: Run, tmp_path: Path) -> None:
    done = run(JOIN, kubeadm=JOINED, crictl="")
    assert done.returncode == 0, done.stderr
    (joined,) = calls(tmp_path, "kubeadm")
    assert joined.split()[1] == "join"
    assert (tmp_path / "var/lib/maas/initialised").exists()
    assert "static-pods" in (tmp_path / "calls").read_text().split()


def test_what_an_interrupted_join_left_is_removed_first(run: Run, tmp_path: Path) -> None:
    left = ("etc/kubernetes/kubelet.conf", "etc/kubernetes/manifests/etcd.yaml", "var/lib/etcd/member/wal")
    files(tmp_path, *left, "etc/kubernetes/pki/ca.key", "etc/kubernetes/kubelet.conf.d/10-maas.conf")
    done = run(JOIN, kubeadm=" && ".join(f"[ ! -e {name} ]" for name in left), crictl=RUNNING)
    assert done.returncode == 0, done.stderr
    assert "crictl stop --timeout 20 container-of-^etcd$" in calls(tmp_path, "crictl")
    assert (tmp_path / "etc/kubernetes/pki/ca.key").exists(), "the controller has just written it"
    assert (tmp_path / "etc/kubernetes/kubelet.conf.d/10-maas.conf").exists()


def test_a_member_that_has_its_data_is_left_alone(run: Run, tmp_path: Path) -> None:
    files(tmp_path, "var/lib/maas/initialised", "var/lib/etcd/member/wal")
    done = run(JOIN, kubeadm="exit 1", crictl="exit 1")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "calls").exists()


def test_a_member_whose_data_is_lost_joins_with_etcd_alone(run: Run, tmp_path: Path) -> None:
    files(tmp_path, "var/lib/maas/initialised", "etc/kubernetes/kubelet.conf", "etc/kubernetes/manifests/etcd.yaml")
    files(tmp_path, "etc/kubernetes/manifests/kube-apiserver.yaml")
    (tmp_path / "etc/kubernetes/admin.conf").write_text("    server: https://10.90.0.254:6443\n")
    (tmp_path / "etc/kubernetes/kubelet.conf").write_text("    server: https://10.90.0.2:6443\n  name: shop\n")
    done = run(JOIN, kubeadm="[ ! -e etc/kubernetes/manifests/etcd.yaml ]", crictl=RUNNING)
    assert done.returncode == 0, done.stderr
    (joined,) = calls(tmp_path, "kubeadm")
    assert joined.split()[1:4] == ["join", "phase", "etcd-join"]
    assert calls(tmp_path, "systemctl") == ["systemctl restart kubelet.service"]
    assert (
        tmp_path / "etc/kubernetes/kubelet.conf"
    ).read_text() == "    server: https://10.90.0.254:6443\n  name: shop\n"
    assert (tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml").exists()


def test_a_control_plane_that_joined_late_is_continued(run: Run, tmp_path: Path) -> None:
    late = f"[ -e second ] && exit 0; touch second; {JOINED}; exit 1"
    done = run(JOIN, kubeadm=late, crictl="", kubectl="[ -e up ] || { touch up; exit 1; }")
    assert done.returncode == 0, done.stderr
    assert calls(tmp_path, "kubeadm")[1].split()[1:5] == ["join", "phase", "control-plane-join", "all"]
    assert (tmp_path / "var/lib/maas/initialised").exists()


def test_a_control_plane_that_does_not_join_is_no_member(run: Run, tmp_path: Path) -> None:
    done = run(JOIN, kubeadm="exit 1", crictl="")
    assert done.returncode == 1
    assert not (tmp_path / "var/lib/maas/initialised").exists()
