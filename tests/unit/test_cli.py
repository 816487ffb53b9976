"""The command line itself: its start-up, its completion, and the JSON documents of its commands."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maas import cli, console, paths
from maas.cluster import credentials, doctor, status, tunnel
from maas.cluster.certificates import Certificate
from maas.cluster.client import Cluster
from maas.cluster.credentials import Token
from maas.cluster.doctor import Finding
from maas.cluster.hubs import Hub
from maas.cluster.objects import Node, Workload
from maas.cluster.status import Status
from maas.errors import MaasError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def text_again() -> Iterator[None]:
    yield
    console.set_output("text")


def run(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in this process, and return its exit status."""
    monkeypatch.setattr("sys.argv", ["maas", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def imported(*words: str) -> set[str]:
    """Return the packages that a command imports."""
    code = "import sys\nfrom maas.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    return {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}


def test_help_imports_nothing_that_takes_long() -> None:
    slow = {
        "ansible",
        "cryptography",
        "docker",
        "httpx",
        "jsonschema",
        "kubernetes",
        "pydantic",
        "rich",
        "ruamel",
        "yaml",
    }
    assert "typer" in imported("--help")
    assert not imported("--help") & slow


def test_status_imports_the_kubernetes_client_only_for_a_cluster_that_exists() -> None:
    slow = {"ansible", "cryptography", "docker", "httpx", "jsonschema", "kubernetes", "ruamel", "yaml"}
    assert not imported("status", "--name", "there-is-no-such-cluster") & slow


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_are_completed(shell: str) -> None:
    words = {"COMP_WORDS": "maas doc", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "maas doc"}
    environment = {
        **os.environ,
        **words,
        "_MAAS_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-m", "maas"], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "doctor" in done.stdout
    assert "status" not in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_that_of_the_command(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maas"],
        env={**os.environ, "_MAAS_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_MAAS_COMPLETE=complete_{shell}" in done.stdout


def test_an_error_has_a_code_in_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--name", "nowhere", "--output", "json", monkeypatch=monkeypatch) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert json.loads(shown.err)["error"]["code"] == "ClusterNotFound"


def error_classes() -> list[type[MaasError]]:
    classes: list[type[MaasError]] = [MaasError]
    for one in classes:
        classes += one.__subclasses__()
    return classes


def test_every_class_of_errors_has_a_code_of_its_own() -> None:
    codes = [one.code for one in error_classes()]
    assert sorted(codes) == sorted(set(codes))


def codes_in_the_source() -> set[str]:
    """Return the codes of all errors: of their classes, and those that a call gives."""
    found = set()
    for file in (paths.content() / "src" / "maas").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found |= {
                    word.value.value
                    for word in node.keywords
                    if word.arg == "code" and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str)
                }
    return found | {one.code for one in error_classes()}


def test_the_documentation_lists_every_code() -> None:
    page = (paths.content() / "docs" / "cli.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page.partition("<!-- codes: begin -->")[2], re.MULTILINE)
    assert listed == sorted(codes_in_the_source())


def cluster_with(*, ready: bool) -> Status:
    return Status(
        name="shop",
        nodes=[Node("master", "10.90.0.1", ready=ready, reason="", control_plane=True, version="v1.37.2")],
        hubs=[Hub("master", {"node1": True, "node2": False}, announces_api=True)],
        workloads=[Workload("Deployment", "restaurant", "restaurant", 2, 2)],
        certificates=[Certificate("CA of the VPN", NOON, "the next bootstrap")],
        restaurant="http://127.0.0.1:40001",
        dashboards="http://127.0.0.1:40002",
        kubeconfig=Path("/state/kubeconfig"),
    )


@pytest.mark.parametrize(("ready", "exit_status"), [(True, 0), (False, 1)])
def test_status_in_json(
    ready: bool, exit_status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "gather", lambda _: cluster_with(ready=ready))
    assert run("status", "-o", "json", monkeypatch=monkeypatch) == exit_status
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["ready"] is ready
    assert document["nodes"][0] == {
        "name": "master",
        "address": "10.90.0.1",
        "role": "control plane",
        "kubelet": "v1.37.2",
        "ready": ready,
        "reason": "",
    }
    assert document["hubs"] == [
        {"name": "master", "answers": True, "tunnels": {"node1": True, "node2": False}, "announces_api": True}
    ]
    assert document["workloads"][0]["wanted"] == 2
    assert document["certificates"][0]["expires"] == "2026-11-28T12:00:00+00:00"
    assert document["restaurant"] == "http://127.0.0.1:40001"
    assert ("NotReady" in shown.err) is not ready


def test_status_in_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(status, "gather", lambda _: cluster_with(ready=True))
    assert run("status", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    for text in (
        "master",
        "1/2",
        "node2",
        "announced",
        "restaurant",
        "2/2",
        "CA of the VPN",
        "2026-11-28",
        "http://127.0.0.1:40001",
    ):
        assert text in shown.err


@pytest.mark.parametrize(("state", "exit_status"), [("ok", 0), ("failed", 1)])
def test_doctor_in_json(
    state: Any,
    exit_status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "config").touch()
    finding = Finding("StorageClass", state, "no default", "set one")
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [finding])
    words = ("doctor", "--kubeconfig", str(tmp_path / "config"), "--output", "json")
    assert run(*words, monkeypatch=monkeypatch) == exit_status
    shown = capsys.readouterr()
    expected = {"about": "StorageClass", "state": state, "found": "no default", "advice": "set one"}
    assert json.loads(shown.out)["findings"] == [expected]
    if exit_status:
        assert json.loads(shown.err)["error"]["code"] == "ClusterConflict"


def test_credentials_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "config"
    own.write_text(
        "clusters: [{name: shop, cluster: {server: https://127.0.0.1:1}}]\n"
        "contexts: [{name: shop, context: {cluster: shop}}]\n"
        "current-context: shop\n"
    )
    monkeypatch.setattr(tunnel, "connect", lambda _: Cluster(own))
    monkeypatch.setattr(credentials, "issue", lambda *_, **__: Token("eyJ.secret.token", NOON))
    assert run("credentials", "--token", "--role", "operator", "-o", "json", monkeypatch=monkeypatch) == 0
    granted = {"role": "operator", "namespace": None, "expires": "2026-11-28T12:00:00+00:00"}
    assert json.loads(capsys.readouterr().out) == {**granted, "token": "eyJ.secret.token"}
    file = tmp_path / "viewer"
    words = ("credentials", "--kubeconfig", str(file), "--role", "operator", "-o", "json")
    assert run(*words, monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {**granted, "kubeconfig": str(file)}
    assert "secret" not in shown.out + shown.err
    assert "eyJ.secret.token" in file.read_text()


def test_the_document_of_bootstrap_is_the_plan_and_needs_a_dry_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bootstrap", "--output", "json", monkeypatch=monkeypatch) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "InvalidUsage"
