"""Enable and start systemd units, and restart them when their files change."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.maas_record import HOME, write

OPTIONS = {
    "names": {"type": "list", "elements": "str", "required": True},
    "files": {"type": "list", "elements": "path", "default": []},
    "reload": {"type": "list", "elements": "path", "default": []},
    "enabled": {"type": "bool", "default": True},
    "started": {"type": "bool", "default": True},
    "wait": {"type": "bool", "default": True},
    "until": {"type": "list", "elements": "str", "default": []},
}
"""The options of a group of units; the module `services` documents them."""

SEEN = HOME / "units.json"


def signature(files):
    """Return size and modification time of each file; a missing file counts too."""
    marks = []
    for name in sorted(files):
        try:
            status = Path(name).stat()
        except FileNotFoundError:
            marks.append([name, None, None])
        else:
            marks.append([name, status.st_size, status.st_mtime_ns])
    return marks


class Units:
    """Brings units into the wanted state and notes each change."""

    def __init__(self, module, names):
        self.module = module
        self.names = names
        self.seen = json.loads(SEEN.read_text(encoding="utf-8")) if SEEN.is_file() else {}
        self.before = dict(self.seen)
        self.changes = []
        self.states = self.show()

    def show(self):
        """Return the state of all units, with a single call of systemctl."""
        properties = "ActiveState,UnitFileState,NeedDaemonReload,LoadState"
        _, out, _ = self.module.run_command(["systemctl", "show", "--property", properties, *self.names], check_rc=True)
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]
        return dict(zip(self.names, blocks, strict=True))

    def systemctl(self, *arguments):
        """Run systemctl, except in check mode."""
        if self.module.check_mode:
            return
        self.must(["systemctl", *arguments], arguments[-1])

    def must(self, command, unit):
        """Run a command; if it fails, report the end of the unit's journal."""
        status, _, err = self.module.run_command(command)
        if status != 0:
            journal = ["journalctl", "--no-pager", "--output", "cat", "--lines", "15", "--unit", unit]
            _, lines, _ = self.module.run_command(journal)
            self.module.fail_json(msg=f"{' '.join(command)}: {err.strip()}\n{lines.strip()}")

    def reload(self, groups):
        """Reload systemd if unit files are new or have changed."""
        states = self.states.values()
        stale = any(state["LoadState"] == "not-found" or state["NeedDaemonReload"] == "yes" for state in states)
        # NeedDaemonReload ignores the first drop-in of a loaded unit: systemd notices new directories at a reload only.
        for group in groups:
            for mark in signature(name for name in group["files"] if ".service.d/" in name):
                stale |= any(mark not in self.seen.get(name, []) for name in group["names"])
        if stale:
            self.systemctl("daemon-reload")
            self.states = self.show()

    def ensure(self, group):
        """Bring a group of units into the wanted state; `group` has the options of the module `services`."""
        if group["enabled"]:
            self.enable(group["names"])
        for name in group["names"]:
            self.run(name, group)
        if group["until"] and not self.module.check_mode:
            self.must(group["until"], group["names"][-1])

    def enable(self, names):
        """Enable units."""
        missing = [name for name in names if not self.states[name]["UnitFileState"].startswith("enabled")]
        if missing:
            self.changes += [f"enable {name}" for name in missing]
            self.systemctl("enable", "--quiet", *missing)

    def run(self, name, options):
        """Start a unit, or restart or reload it if its files differ from those that it was started with."""
        state = self.states[name]["ActiveState"]
        marks = signature(options["files"] + options["reload"])
        running = state in ("active", "activating", "reloading")
        if running and (not marks or self.seen.get(name) == marks):
            if state == "activating" and options["wait"]:
                self.systemctl("start", name)  # waits for the start in progress
            return
        if running or options["started"]:
            changed = [mark[0] for mark in marks if mark not in self.seen.get(name, [])]
            reload = state == "active" and name in self.seen and set(changed) <= set(options["reload"])
            self.changes.append(f"{'reload' if reload else 'restart' if running else 'start'} {name}")
            self.systemctl("reload" if reload else "restart", *([] if options["wait"] else ["--no-block"]), name)
        if marks:
            self.seen[name] = marks

    def remember(self):
        """Store the state of the files that the units were started with."""
        if self.seen != self.before and not self.module.check_mode:
            HOME.mkdir(parents=True, exist_ok=True)
            write(SEEN, json.dumps(self.seen, sort_keys=True).encode(), 0o600)


def ensure(module, groups):
    """Bring groups of units into the wanted state, one after the other; return the changes."""
    units = Units(module, [name for group in groups for name in group["names"]])
    units.reload(groups)
    for group in groups:
        units.ensure(group)
        units.remember()
    return units.changes
