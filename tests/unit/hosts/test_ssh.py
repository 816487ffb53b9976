from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from maas.hosts import ssh

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_ssh_trusts_only_the_pinned_keys_never_prompts_and_shares_connections(tmp_path: Path) -> None:
    known = tmp_path / "a % b" / "known_hosts"
    words = ssh.options(known_hosts=known, control_path=tmp_path / "%C", key=tmp_path / "id")
    options = set(words)
    assert "StrictHostKeyChecking=yes" in options
    assert f'UserKnownHostsFile="{tmp_path}/a %% b/known_hosts"' in options
    assert {"GlobalKnownHostsFile=/dev/null", "BatchMode=yes", "ControlMaster=auto", "IdentitiesOnly=yes"} <= options
    assert words[-2:] == ["-i", str(tmp_path / "id")]
    assert shlex.split(shlex.join(words)) == words


def test_without_a_control_path_no_connection_is_left_open(tmp_path: Path) -> None:
    options = set(ssh.options(known_hosts=tmp_path / "k"))
    assert "ControlPath=none" in options
    assert not any(option.startswith(("ControlMaster", "ControlPersist")) for option in options)


def test_without_a_key_ssh_finds_its_own(tmp_path: Path) -> None:
    words = ssh.options(known_hosts=tmp_path / "k")
    assert "-i" not in words
    assert "IdentitiesOnly=yes" not in words


def test_the_sockets_of_each_cluster_have_a_short_private_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("long" * 30)))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    one, other = ssh.control_path("shop"), ssh.control_path("other")
    assert one != other
    assert one == ssh.control_path("shop")
    assert one.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    # The hash has 40 characters, a temporary suffix 17; a socket's path at most 104 bytes.
    short = ssh.control_path("shop")
    short.parent.rmdir()
    assert len(str(short)) - len("%C") + 40 + 17 < 104
