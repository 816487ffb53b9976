from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from maas.hosts import ssh
from maas.hosts.inventory import Host

if TYPE_CHECKING:
    from pathlib import Path


def host(**changes: object) -> Host:
    return Host.model_validate({"name": "master", "address": "203.0.113.10", "role": "control-plane", **changes})


def test_ssh_trusts_only_the_pinned_keys_never_prompts_and_shares_connections(tmp_path: Path) -> None:
    known = tmp_path / "a % b" / "known_hosts"
    words = ssh.options(host(key=tmp_path / "id"), known_hosts=known, control_path=tmp_path / "control")
    options = set(words)
    assert "StrictHostKeyChecking=yes" in options
    assert f'UserKnownHostsFile="{tmp_path}/a %% b/known_hosts"' in options
    assert {"GlobalKnownHostsFile=/dev/null", "BatchMode=yes", "ControlMaster=auto", "IdentitiesOnly=yes"} <= options
    assert words[-2:] == ["-i", str(tmp_path / "id")]
    assert shlex.split(shlex.join(words)) == words


def test_without_a_control_path_no_connection_is_left_open(tmp_path: Path) -> None:
    options = set(ssh.options(host(), known_hosts=tmp_path / "k"))
    assert "ControlPath=none" in options
    assert not any(option.startswith(("ControlMaster", "ControlPersist")) for option in options)


def test_without_a_key_ssh_finds_its_own(tmp_path: Path) -> None:
    words = ssh.options(host(), known_hosts=tmp_path / "k")
    assert "-i" not in words
    assert "IdentitiesOnly=yes" not in words


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "203.0.113.10"),
        ({"port": 2222}, "[203.0.113.10]:2222"),
        ({"ssh": {"proxyJump": "a,me@b:22"}}, "203.0.113.10/a+me@b:22"),
    ],
)
def test_the_name_in_known_hosts_tells_hosts_apart(changes: dict[str, object], name: str) -> None:
    assert ssh.known_as(host(**changes)) == name


def test_the_sockets_of_each_cluster_have_a_short_private_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("long" * 30)))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    one, other = ssh.control_path("shop", host()), ssh.control_path("other", host())
    paths = {one, other, ssh.control_path("shop", host(port=23)), ssh.control_path("shop", host(user="admin"))}
    paths.add(ssh.control_path("shop", host(ssh={"proxyJump": "gate"})))
    assert len(paths) == 5
    assert one == ssh.control_path("shop", host())
    assert one.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    # A temporary suffix has 17 characters; a socket's path at most 104 bytes.
    short = ssh.control_path("shop", host())
    short.parent.rmdir()
    assert len(str(short)) + 17 < 104
