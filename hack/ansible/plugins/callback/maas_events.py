"""What happens in a run, as JSON lines in the file that MAAS_EVENTS names: one object an event, each with its time.

    {"event": "phase", "name": ...}                                   a play begins
    {"event": "task", "name": ...}                                    a task begins
    {"event": "host", "host": ..., "task": ..., "result": "ok" | "changed" | "skipped" | "failed" | "unreachable",
     "changes": [...], "message": ...}                                a task has ended on a host

Results are never changed, and of a task with no_log nothing is told but how it ended.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: maas_events
type: aggregate
short_description: writes events as JSON lines
description:
  - Writes one JSON object a line into the file that the environment variable MAAS_EVENTS names, for the tool that
    started the run.
requirements:
  - MAAS_EVENTS in the environment
"""

MESSAGE_LINES = 20
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def message(result):
    """What a person should know of a failed result: its message, and the end of what the program said."""
    said = next((str(result[key]) for key in ("stderr", "module_stderr", "stdout") if result.get(key)), "")
    parts = [str(result.get("msg", "")), said]
    if said and parts[0] == "non-zero return code":
        del parts[0]
    lines = [line for part in parts for line in COLOURS.sub("", part).strip().splitlines()]
    return "\n".join(lines[-MESSAGE_LINES:])


def summary(result, outcome):
    """The parts of a result that may be told."""
    if result.get("_ansible_no_log") or "censored" in result:
        return {"changes": [], "message": "the output is hidden, it may hold secrets" if outcome == "failed" else ""}
    failed = outcome in ("failed", "unreachable")
    return {"changes": list(result.get("changes", [])), "message": message(result) if failed else ""}


class CallbackModule(CallbackBase):
    """Writes the events."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "maas_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._path = os.environ.get("MAAS_EVENTS")
        self.disabled = not self._path

    def _write(self, **event):
        # Opened anew each time: a file that stays open would be inherited by every worker process.
        with Path(self._path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")
        # The tool looks into the file whenever Ansible says something, and Ansible has spoken before it called us.
        self._display.display("")

    def _ended(self, result, outcome):
        self._write(
            event="host",
            host=result.host.get_name(),
            task=result.task.get_name(),
            result=outcome,
            **summary(result.result, outcome),
        )

    def v2_playbook_on_play_start(self, play):
        """Tell that a play begins."""
        self._write(event="phase", name=play.get_name())

    def v2_playbook_on_task_start(self, task, is_conditional):
        """Tell that a task begins."""
        self._write(event="task", name=task.get_name())

    def v2_runner_on_ok(self, result):
        """Tell that a task has ended well on a host."""
        self._ended(result, "changed" if result.result.get("changed") else "ok")

    def v2_runner_on_skipped(self, result):
        """Tell that a host had nothing to do."""
        self._ended(result, "skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Tell that a task failed on a host."""
        self._ended(result, "ok" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result):
        """Tell that a host cannot be reached."""
        self._ended(result, "unreachable")
