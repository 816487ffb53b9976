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
            (tmp_path / directory).mkdir(parents=True)
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
