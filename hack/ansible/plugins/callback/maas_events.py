"""Write the events of a run as JSON lines to the file that MAAS_EVENTS names: one object per event, with its time.

    {"event": "phase", "name": ...}                                   a play started
    {"event": "task", "name": ...}                                    a task started
    {"event": "host", "host": ..., "task": ..., "result": "ok" | "changed" | "skipped" | "failed" | "unreachable",
     "message": ...}                                                  a task ended on a host

Of a task with no_log, only the result is written.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: maas_events
type: aggregate
short_description: writes events as JSON lines
description:
  - Writes one JSON object per line to the file that the environment variable MAAS_EVENTS names. The tool that started
    the run reads it.
requirements:
  - MAAS_EVENTS in the environment
"""

MESSAGE_LINES = 20
COLORS = re.compile(r"\x1b\[[0-9;]*m")


def message(result):
    """Return the message of a failed result and the end of the program's output."""
    said = next((str(result[key]) for key in ("stderr", "module_stderr", "stdout") if result.get(key)), "")
    parts = [str(result.get("msg", "")), said]
    if said and parts[0] == "non-zero return code":
        del parts[0]
    lines = [line for part in parts for line in COLORS.sub("", part).strip().splitlines()]
    return "\n".join(lines[-MESSAGE_LINES:])


def reason(result, outcome):
    """Return why a task failed, without the output of a task that may contain secrets."""
    if outcome not in ("failed", "unreachable"):
        return ""
    if result.get("_ansible_no_log") or "censored" in result:
        return "the output is hidden because it can contain secrets" if outcome == "failed" else ""
    return message(result)


def end_with_workers():
    """Make SIGTERM end the run as Ctrl-C does: Ansible's main process stops its workers, which stop what they started.

    Workers have sessions of their own, so no signal to the group of the main process reaches them. Ansible itself signals
    a worker alone, and twice: a worker that the second signal ends leaves its programs running.
    """
    main = os.getpid()

    def terminated(number, _):
        if os.getpid() == main:
            for worker in multiprocessing.active_children():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid, number)
            raise KeyboardInterrupt
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, terminated)


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
        end_with_workers()

    def _write(self, **event):
        # Opened for each event, because every worker process would inherit a file that stays open.
        with Path(self._path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")
        # The tool reads the file whenever Ansible prints a line, and Ansible printed its line before it called us.
        self._display.display("")

    def _ended(self, result, outcome):
        self._write(
            event="host",
            host=result.host.get_name(),
            task=result.task.get_name(),
            result=outcome,
            message=reason(result.result, outcome),
        )

    def v2_playbook_on_play_start(self, play):
        """Write that a play started."""
        self._write(event="phase", name=play.get_name())

    def v2_playbook_on_task_start(self, task, is_conditional):
        """Write that a task started."""
        self._write(event="task", name=task.get_name())

    def v2_runner_on_ok(self, result):
        """Write that a task succeeded on a host."""
        self._ended(result, "changed" if result.result.get("changed") else "ok")

    def v2_runner_on_skipped(self, result):
        """Write that a task was skipped on a host."""
        self._ended(result, "skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Write that a task failed on a host."""
        self._ended(result, "ok" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result):
        """Write that a host is unreachable."""
        self._ended(result, "unreachable")
