#!/usr/bin/python
"""Install Debian packages from a bundle."""

from __future__ import annotations

DOCUMENTATION = """
module: install_packages
short_description: Installs missing Debian packages from the bundle
description:
  - Verifies each package against the bundle's manifest. Skips installed packages of any version.
options:
  directory: {description: The bundle's directory on the host., type: path, required: true}
  digest: {description: The sha256 of manifest.json., type: str, required: true}
  packages: {description: 'Package files in the bundle, with their dependencies.', type: list, elements: str, required: true}
author: MaaS maintainers (@maas)
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_bundle import RefusedError, verified
from ansible.module_utils.maas_record import Record


def installed(module):
    """Return the names of the installed packages."""
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\\n"]
    _, out, _ = module.run_command(command, check_rc=True)
    return {name for status, name in (line.split() for line in out.splitlines()) if status == "installed"}


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "digest": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    directory, digest = Path(module.params["directory"]), module.params["digest"]
    present = installed(module)
    # The name of a package's file is NAME_VERSION_ARCHITECTURE.deb.
    missing = {Path(path).name.split("_")[0]: path for path in module.params["packages"]}
    missing = {name: path for name, path in missing.items() if name not in present}
    if missing and not module.check_mode:
        try:
            files = [str(verified(directory, digest, path)) for path in missing.values()]
        except RefusedError as refusal:
            module.fail_json(msg=str(refusal))
        record = Record()
        record.data["packages"] += [name for name in missing if name not in record.data["packages"]]
        record.save()
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        module.run_command(["dpkg", "--install", *files], check_rc=True, environ_update=environment)
    module.exit_json(changed=bool(missing), changes=[f"install {name}" for name in sorted(missing)])


if __name__ == "__main__":
    main()
