#!/usr/bin/python
"""Keep systemd units enabled, running, and running with the files that are there now."""

from __future__ import annotations

DOCUMENTATION = """
module: services
short_description: Enables and starts systemd units, and restarts those whose files changed
description:
  - Each unit is enabled and started. A unit whose files differ from those it was last started with is restarted.
  - This takes the place of handlers, whose restart is lost for ever when a run is interrupted between the change of
    a file and the handler.
options:
  names:
    description: Full names of the units, started in this order.
    type: list
    elements: str
    required: true
  files:
    description: Files that the units read when they start. Without any, a running unit is left alone.
    type: list
    elements: path
    default: []
  enabled:
    description: Whether they start at boot.
    type: bool
    default: true
  started:
    description: Whether they are started here. A unit that others start is only restarted when its files changed.
    type: bool
    default: true
  wait:
    description: Whether to wait until they have started.
    type: bool
    default: true
  until:
    description: A command that ends well once the units do their work, and waits until they do.
    type: list
    elements: str
    default: []
author: MaaS maintainers (@maas)
"""

EXAMPLES = """
- name: Run containerd
  services:
    names: [containerd.service]
    files: [/etc/containerd/config.toml]
"""

RETURN = """
changes:
  description: What was done, or would be done, to which unit.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_units import OPTIONS, keep


def main():
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    changes = keep(module, [module.params])
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
