"""The program that revokes certificates on a hub, and learns what other hubs have revoked."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

revoke = load_file(CONTENT / "roles" / "openvpn_server" / "files" / "revoke.py", "maas_revoke")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "revoked").mkdir()
    (tmp_path / "nodes").mkdir()
    places = {"HOME": tmp_path, "MANAGEMENT": str(tmp_path / "management"), "FIRST": 0.3, "OTHERS": 0.1}
    for name, value in places.items():
        monkeypatch.setattr(revoke, name, value)
    return tmp_path


class Hub:
    """Another hub, which prints a list to anyone who connects."""

    def __init__(self) -> None:
        self.text = ""
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(self.text.encode())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    monkeypatch.setattr(revoke, "PORT", made.port)
    yield made
    made.server.shutdown(socket.SHUT_RDWR)
    made.server.close()


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["revoke", *words])
    revoke.main()


def test_what_one_hub_lists_is_what_another_one_learns(
    home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    revoke.add("255", "node2")
    (home / "revoked" / "7").touch()  # by version 0.1, which wrote no names
    run(monkeypatch, "--list")
    hub.text = capsys.readouterr().out
    for path in (home / "revoked").iterdir():
        path.unlink()
    run(monkeypatch, "--fetch", "127.0.0.1")
    assert {path.name: path.read_text() for path in (home / "revoked").iterdir()} == {"255": "node2", "7": ""}
    assert (home / "revoked" / "255").stat().st_mode & 0o777 == 0o644, "OpenVPN reads it without privileges"
    assert "certificate ff of node2 is revoked" in capsys.readouterr().out
    run(monkeypatch, "--fetch", "127.0.0.1")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["", "255 node2\n", "255 node2\nEN"])
def test_a_list_that_is_cut_off_is_not_used(
    home: Path, hub: Hub, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.text = text
    run(monkeypatch, "--fetch", "127.0.0.1")
    assert list((home / "revoked").iterdir()) == []
    assert "no list of revoked certificates from 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["../../etc/passwd x", "12a node", "1 ../node", "1 node; rm", "-1 node", ""])
def test_a_line_that_is_no_serial_number_and_name_is_ignored(
    home: Path, hub: Hub, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.text = f"{line}\n9 node9\nEND\n"
    run(monkeypatch, "--fetch", "127.0.0.1")
    assert [path.name for path in (home / "revoked").iterdir()] == ["9"]


def test_without_another_hub_a_hub_starts_with_what_it_knows(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(revoke, "PORT", 9)
    run(monkeypatch, "--fetch", "127.0.0.1", "127.0.0.2")
    assert "no list of revoked certificates from 127.0.0.1, 127.0.0.2" in capsys.readouterr().err
    assert list((home / "revoked").iterdir()) == []


@pytest.mark.usefixtures("home")
def test_a_hub_that_runs_closes_the_connection_of_a_node_that_another_one_revoked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def manage(command: str) -> list[str]:
        said.append(command)
        return ["CLIENT_LIST\tnode2\t...", "CLIENT_LIST\tnode1\t...", "END"]

    monkeypatch.setattr(revoke, "manage", manage)
    hub.text = "255 node2\n256 node3\nEND\n"
    run(monkeypatch, "--fetch", "127.0.0.1")
    assert [command for command in said if command.startswith("kill")] == ["kill node2"]
