#!/usr/bin/python
"""Enable and start systemd units, and restart them when their files change."""

from __future__ import annotations

DOCUMENTATION = """
module: services
short_description: Enables and starts systemd units, and restarts those whose files changed
description:
  - Restarts a unit if its files differ from those that it was started with. Unlike a handler, this also happens if the
    run that changed the files was interrupted.
options:
  names: {description: 'Names of the units, in the order of their start.', type: list, elements: str, required: true}
  files: {description: Files that the units read when they start., type: list, elements: path, default: []}
  reload: {description: Files that the units read again when they are reloaded., type: list, elements: path, default: []}
  enabled: {description: Whether to enable the units., type: bool, default: true}
  started: {description: Whether to start units that are not running., type: bool, default: true}
  wait: {description: Whether to wait until the units have started., type: bool, default: true}
  until: {description: A command that waits until the units are ready., type: list, elements: str, default: []}
author: MaaS maintainers (@maas)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_units import OPTIONS, ensure


def main():
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    changes = ensure(module, [module.params])
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
