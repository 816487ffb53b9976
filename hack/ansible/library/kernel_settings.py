#!/usr/bin/python
"""Load kernel modules and set kernel parameters, now and at every boot."""

from __future__ import annotations

DOCUMENTATION = """
module: kernel_settings
short_description: Loads kernel modules and sets kernel parameters
description:
  - Writes /etc/modules-load.d/maas.conf and /etc/sysctl.d/90-maas.conf and applies them to the running kernel.
  - Records the original value of each parameter; `reset` restores it.
options:
  modules: {description: 'Modules, each with a path that exists if the kernel has it.', type: dict, default: {}}
  sysctl: {description: Values by parameter., type: dict, default: {}}
  swap: {description: 'Whether swap may stay enabled, now and at boot.', type: bool, default: true}
  swap_units: {description: 'Units that enable swap at boot without swap.target.', type: list, elements: str, default: []}
author: MaaS maintainers (@maas)
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_record import Record, write

MODULES = Path("/etc/modules-load.d/maas.conf")
SYSCTL = Path("/etc/sysctl.d/90-maas.conf")
UNITS = Path("/etc/systemd/system")


def parameter(key):
    """Return the file of a kernel parameter."""
    return Path("/proc/sys", *key.split("."))


def install(path, text, record, check_mode):
    """Write a configuration file if it differs; return the changes."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return []
    if not check_mode:
        record.directory(path.parent)
        record.own(path)
        write(path, text.encode(), 0o644)
    return [f"write {path}"]


def swap_off(module, record):
    """Disable swap; masking the units disables it at boot without a change to fstab."""
    changes = []
    if len(Path("/proc/swaps").read_text(encoding="utf-8").splitlines()) > 1:
        changes.append("disable swap")
        if not module.check_mode:
            record.data["swap"] = True
            record.save()
            module.run_command(["swapoff", "--all"], check_rc=True)
    for name in ("swap.target", *module.params["swap_units"]):
        unit = UNITS / name
        if not (unit.is_symlink() and str(unit.readlink()) == "/dev/null"):
            changes.append(f"mask {name}")
            if not module.check_mode:
                record.own(unit)
                unit.unlink(missing_ok=True)
                unit.symlink_to("/dev/null")
    return changes


def main():
    module = AnsibleModule(
        argument_spec={
            "modules": {"type": "dict", "default": {}},
            "sysctl": {"type": "dict", "default": {}},
            "swap": {"type": "bool", "default": True},
            "swap_units": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = {key: str(value) for key, value in sorted(module.params["sysctl"].items())}
    record, changes = Record(), []
    changes += install(MODULES, "".join(f"{name}\n" for name in module.params["modules"]), record, module.check_mode)
    changes += install(
        SYSCTL, "".join(f"{key} = {value}\n" for key, value in wanted.items()), record, module.check_mode
    )

    missing = [name for name, path in module.params["modules"].items() if not Path(path).exists()]
    for name in missing:
        changes.append(f"load {name}")
        if not module.check_mode:
            module.run_command(["modprobe", name], check_rc=True)
    for key, value in wanted.items():
        path = parameter(key)
        if not path.exists():
            if module.check_mode and missing:
                continue  # a module that is not loaded in check mode provides it
            module.fail_json(msg=f"the kernel has no parameter {key}")
        now = " ".join(path.read_text(encoding="ascii").split())
        if now == value:
            continue
        changes.append(f"set {key} from {now} to {value}")
        if not module.check_mode:
            record.data["sysctl"].setdefault(key, now)
            record.save()
            path.write_text(value, encoding="ascii")
    if not module.params["swap"]:
        changes += swap_off(module, record)
    if not module.check_mode:
        record.save()
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
