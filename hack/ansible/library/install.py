#!/usr/bin/python
"""Install files and start the services that read them."""

from __future__ import annotations

DOCUMENTATION = """
module: install
short_description: Installs files of the bundle, configuration files and systemd units
description:
  - One call installs everything of a role, because each call takes a third of a second per host. It changes only what
    differs.
  - Trusts only the manifest with the given digest, and verifies each file of the bundle against it.
  - Keeps a copy of each file that it replaces; `reset` restores it.
options:
  bundle:
    description: Files of the bundle. The action plugin of the same name transfers missing ones from the controller.
    type: dict
    suboptions:
      directory: {description: The bundle's directory on the host., type: path, required: true}
      digest: {description: The sha256 of manifest.json., type: str, required: true}
      files: {description: 'Programs to install, as path in the bundle and dest.', type: list, elements: dict, default: []}
      need: {description: Other paths that must be in the directory., type: list, elements: str, default: []}
      source: {description: The bundle's directory on the controller., type: path}
      received: {description: Set by the action plugin. Temporary file by path in the bundle., type: dict, default: {}}
  files: {description: 'Files to write, as path, content and mode.', type: list, elements: dict, default: []}
  directories: {description: Files by directory. Other files in it are removed., type: dict, default: {}}
  units: {description: 'Groups of units, with the options of the module services.', type: list, elements: dict, default: []}
author: MaaS maintainers (@maas)
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_bundle import RefusedError, install_programs
from ansible.module_utils.maas_record import Record, write
from ansible.module_utils.maas_units import OPTIONS, ensure


def compare(path, content, mode):
    """Return the change that a file needs, if any, and its present text."""
    try:
        now = path.read_bytes()
    except FileNotFoundError:
        return "create", ""
    text = now.decode("utf-8", "replace")
    if now != content:
        return "change", text
    return ("mode of" if path.stat().st_mode & 0o7777 != mode else None), text


def inside(directories):
    """Return the files of directories in the form of the option `files`."""
    return [
        {"path": f"{directory}/{name}", "content": content, "mode": "0644"}
        for directory, members in directories.items()
        for name, content in members.items()
    ]


def surplus(directories, wanted):
    """Return the files in directories that are not wanted."""
    present = (path for name in directories if Path(name).is_dir() for path in Path(name).iterdir())
    return sorted(path for path in present if path.is_file() and path not in wanted)


def apply(files, directories, record, check_mode):
    """Write and remove files; return the changes and their diffs."""
    changes, diffs = [], []
    wanted = {Path(entry["path"]): entry for entry in [*files, *inside(directories)]}
    if not check_mode:
        for name in directories:
            record.directory(Path(name))
    for path, entry in wanted.items():
        content, mode = entry["content"].encode(), int(entry["mode"], 8)
        action, before = compare(path, content, mode)
        if action is not None:
            changes.append(f"{action} {path}")
            diffs.append(
                {"before_header": str(path), "after_header": str(path), "before": before, "after": entry["content"]}
            )
        if check_mode:
            continue
        record.directory(path.parent)
        record.own(path)
        if action is not None:
            write(path, content, mode)
    for path in surplus(directories, wanted):
        changes.append(f"remove {path}")
        if not check_mode:
            record.disown(path)
    return changes, diffs


PROGRAMS = {
    "directory": {"type": "path", "required": True},
    "digest": {"type": "str", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "str", "required": True}, "dest": {"type": "path", "required": True}},
    },
    "need": {"type": "list", "elements": "str", "default": []},
    "source": {"type": "path"},
    "received": {"type": "dict", "default": {}},
}


def main():
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "dict", "options": PROGRAMS},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "directories": {"type": "dict", "default": {}},
            "units": {"type": "list", "elements": "dict", "default": [], "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    given, record = module.params, Record()
    changes, diffs, missing = [], [], []
    try:
        if given["bundle"]:
            changes, missing = install_programs(given["bundle"], record, module.check_mode)
        if not missing:
            written, diffs = apply(given["files"], given["directories"], record, module.check_mode)
            changes += written
    except RefusedError as refusal:
        module.fail_json(msg=str(refusal))
    finally:
        # Also after a failure, so that a reset removes what was installed before it.
        if not module.check_mode:
            record.save()
    if given["units"] and not missing:
        changes += ensure(module, given["units"])
    module.exit_json(changed=bool(changes), changes=changes, diff=diffs, missing=missing)


if __name__ == "__main__":
    main()
