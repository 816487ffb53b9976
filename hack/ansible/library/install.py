#!/usr/bin/python
"""Install files and run what reads them."""

from __future__ import annotations

DOCUMENTATION = """
module: install
short_description: Installs programs of the bundle and configuration files, and runs what reads them, in one step
description:
  - In this order, each only where something differs - programs of the bundle, files, systemd units. One call in place
    of one for each file and unit, since each call costs a host and the controller a third of a second.
  - Of the bundle the module trusts the manifest that has the digest which the controller expects, and the sha256 that
    it gives for every file, and nothing else.
  - A file that was there before MaaS is kept aside and put back by a reset.
options:
  bundle:
    description:
      - Programs to bring into place. The action plugin of the same name carries files that the host's bundle directory
        lacks over from the controller.
    type: dict
    suboptions:
      directory: {description: The bundle's directory on the host., type: path, required: true}
      digest: {description: The sha256 that manifest.json must have., type: str, required: true}
      files:
        description: What to install.
        type: list
        elements: dict
        default: []
        suboptions:
          path: {description: Path inside the bundle., type: str, required: true}
          dest: {description: Where it goes., type: path, required: true}
      need:
        description: Paths inside the bundle that must be in the directory though they are not installed.
        type: list
        elements: str
        default: []
      source:
        description: The bundle's directory on the controller; without it, the bundle must be on the host already.
        type: path
      received:
        description: Set by the action plugin. Path inside the bundle and the temporary file that carries it.
        type: dict
        default: {}
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
- name: Install and configure the kubelet
  install:
    bundle:
      directory: /mnt/bundle
      digest: "{{ cluster.bundle.digest }}"
      files:
        - path: bin/kubelet
          dest: /usr/local/bin/kubelet
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
missing:
  description: Paths that the host's bundle directory lacks; nothing is installed while there are any.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_bundle import RefusedError, bring
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
            changes, missing = bring(given["bundle"], record, module.check_mode)
        if not missing:
            written, diffs = apply(given["files"], given["directories"], record, module.check_mode)
            changes += written
    except RefusedError as refusal:
        module.fail_json(msg=str(refusal))
    finally:
        # What was done before a failure is ours too.
        if not module.check_mode:
            record.save()
    if given["units"] and not missing:
        changes += keep(module, given["units"])
    module.exit_json(changed=bool(changes), changes=changes, diff=diffs, missing=missing)


if __name__ == "__main__":
    main()
