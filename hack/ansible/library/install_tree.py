#!/usr/bin/python
"""Install many small files at once."""

from __future__ import annotations

DOCUMENTATION = """
module: install_tree
short_description: Installs a set of configuration files and runs what reads them, in one step
description:
  - Writes each file that differs in content or mode, owned by root, in place of one task per file.
  - A file that was there before MaaS is kept aside and put back by a reset.
options:
  files:
    description: The files that shall be there.
    type: list
    elements: dict
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: The whole content., type: str, required: true}
      mode: {description: Permission bits, as octal digits., type: str, default: "0644"}
  directories:
    description: Directories and the whole of what they hold, as name -> content. Other files in them are removed.
    type: dict
    default: {}
  units:
    description:
      - Groups of systemd units to bring into their state once the files are there, one group after the other.
      - Each group has the options of the module services.
    type: list
    elements: dict
    default: []
author: MaaS maintainers (@maas)
"""

EXAMPLES = """
- name: Write the configuration
  install_tree:
    files:
      - path: /etc/maas/cluster
        content: shop
"""

RETURN = """
changes:
  description: What was done, or would be done, to which path or unit.
  returned: always
  type: list
  elements: str
  sample: ["change /etc/maas/cluster"]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_record import Record, write
from ansible.module_utils.maas_units import OPTIONS, keep


def compare(path, content, mode):
    """Say what is to be done to a file, and what its text is now."""
    try:
        now = path.read_bytes()
    except FileNotFoundError:
        return "create", ""
    text = now.decode("utf-8", "replace")
    if now != content:
        return "change", text
    return ("mode of" if path.stat().st_mode & 0o7777 != mode else None), text


def inside(directories):
    """The files of whole directories, in the form of the option `files`."""
    return [
        {"path": f"{directory}/{name}", "content": content, "mode": "0644"}
        for directory, members in directories.items()
        for name, content in members.items()
    ]


def surplus(directories, wanted):
    """Files in whole directories that nobody wants."""
    present = (path for name in directories if Path(name).is_dir() for path in Path(name).iterdir())
    return sorted(path for path in present if path.is_file() and path not in wanted)


def apply(files, directories, record, check_mode):
    """Bring the files into place; return the changes and their differences."""
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


def main():
    module = AnsibleModule(
        argument_spec={
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
    record = Record()
    try:
        changes, diffs = apply(module.params["files"], module.params["directories"], record, module.check_mode)
    finally:
        # What was done before a failure is ours too.
        if not module.check_mode:
            record.save()
    if module.params["units"]:
        changes += keep(module, module.params["units"])
    module.exit_json(changed=bool(changes), changes=changes, diff=diffs)


if __name__ == "__main__":
    main()
