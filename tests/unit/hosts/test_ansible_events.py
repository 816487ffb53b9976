from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.ansible_content import CONTENT, load_file


class Callback:
    """The callback plugin and the events that it wrote."""

    def __init__(self, file: Path) -> None:
        module = load_file(CONTENT / "plugins" / "callback" / "maas_events.py", "maas_events")
        self.file = file
        self.plugin: Any = module.CallbackModule()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def result(self, kind: str, answer: dict[str, Any], **options: Any) -> dict[str, Any]:
        result = SimpleNamespace(
            host=SimpleNamespace(get_name=lambda: "node1"),
            task=SimpleNamespace(get_name=lambda: "base : Set the kernel up"),
            result=answer,
        )
        getattr(self.plugin, f"v2_runner_on_{kind}")(result, **options)
        return self.events()[-1]


@pytest.fixture
def callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callback:
    file = tmp_path / "events.jsonl"
    monkeypatch.setenv("MAAS_EVENTS", str(file))
    return Callback(file)


def test_phases_and_tasks_are_reported_when_they_start(callback: Callback) -> None:
    callback.plugin.v2_playbook_on_play_start(SimpleNamespace(get_name=lambda: "Verify the hosts"))
    callback.plugin.v2_playbook_on_task_start(SimpleNamespace(get_name=lambda: "Run the hub"), is_conditional=False)
    assert [(event["event"], event["name"]) for event in callback.events()] == [
        ("phase", "Verify the hosts"),
        ("task", "Run the hub"),
    ]


@pytest.mark.parametrize(
    ("kind", "answer", "result"),
    [
        ("ok", {"changed": False}, "ok"),
        ("ok", {"changed": True, "changes": ["set a to 1"]}, "changed"),
        ("skipped", {"skipped": True}, "skipped"),
        ("failed", {"msg": "no such thing"}, "failed"),
        ("unreachable", {"msg": "ssh: no route to host"}, "unreachable"),
    ],
)
def test_each_outcome_has_its_name(callback: Callback, kind: str, answer: dict[str, Any], result: str) -> None:
    event = callback.result(kind, answer)
    assert (event["host"], event["task"], event["result"]) == ("node1", "base : Set the kernel up", result)


def test_a_failure_that_is_ignored_is_none(callback: Callback) -> None:
    assert callback.result("failed", {"msg": "so what"}, ignore_errors=True)["result"] == "ok"


def test_a_failed_command_is_reported_with_its_output(callback: Callback) -> None:
    answer = {
        "msg": "non-zero return code",
        "rc": 1,
        "stderr": "\x1b[0;31mport 6443\x1b[0m is in use",
        "stdout": "[init]",
    }
    assert callback.result("failed", answer)["message"] == "port 6443 is in use"
    assert callback.result("failed", answer | {"stderr": ""})["message"] == "[init]"


def test_a_failed_module_is_reported_with_its_message_first(callback: Callback) -> None:
    answer = {"msg": "modprobe failed", "stderr": "not found in /lib/modules"}
    assert callback.result("failed", answer)["message"] == "modprobe failed\nnot found in /lib/modules"


def test_only_the_end_of_a_long_message_is_reported(callback: Callback) -> None:
    message = callback.result("failed", {"msg": "\n".join(f"line {n}" for n in range(100))})["message"]
    assert message.splitlines()[0] == "line 80"
    assert message.splitlines()[-1] == "line 99"


@pytest.mark.parametrize("mark", ["_ansible_no_log", "censored"])
def test_nothing_of_a_secret_task_is_reported(callback: Callback, mark: str) -> None:
    answer = {mark: True, "msg": "token abc.def", "changed": True, "changes": ["token abc.def"]}
    for kind in ("ok", "failed", "unreachable"):
        assert "abc.def" not in json.dumps(callback.result(kind, answer))


def test_without_a_file_the_plugin_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAAS_EVENTS", raising=False)
    assert Callback(Path("/nonexistent")).plugin.disabled
