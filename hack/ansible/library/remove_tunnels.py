#!/usr/bin/python
"""Remove the tunnels of OpenVPN to hubs that are gone."""

from __future__ import annotations

DOCUMENTATION = """
module: remove_tunnels
short_description: Removes the tunnels of the VPN that a host no longer has
description:
  - Stops their units, and removes the files that MaaS installed for them. Does not change other tunnels of OpenVPN.
options:
  keep: {description: 'The units of the tunnels that stay.', type: list, elements: str, required: true}
author: MaaS maintainers (@maas)
"""

import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_record import Record
from ansible.module_utils.maas_units import Units

OPENVPN, SYSTEMD = "/etc/openvpn", "/etc/systemd/system"
CONFIGURATION = re.compile(r"/(client|server)/(maas[0-9-]*)\.conf")


def tunnels(record):
    """Return the units of the tunnels that MaaS installed, each with its files."""
    found = {}
    for name in record.data["files"]:
        if name.startswith(OPENVPN) and (match := CONFIGURATION.fullmatch(name, len(OPENVPN))):
            unit = f"openvpn-{match[1]}@{match[2]}.service"
            found[unit] = [Path(name), Path(f"{SYSTEMD}/{unit}.d/maas.conf")]
    return found


def main():
    module = AnsibleModule(
        argument_spec={"keep": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    record = Record()
    gone = {unit: files for unit, files in tunnels(record).items() if unit not in module.params["keep"]}
    if gone and not module.check_mode:
        units = Units(module, list(gone))
        for unit in gone:
            units.systemctl("disable", "--quiet", "--now", unit)
            units.seen.pop(unit, None)
        # An interruption before the end leaves the files in the record, and the next run finds the units again.
        for path in (path for files in gone.values() for path in files):
            record.disown(path)
        units.remember()
        record.save()
        units.systemctl("daemon-reload")
    changes = [f"remove {unit}" for unit in gone]
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
