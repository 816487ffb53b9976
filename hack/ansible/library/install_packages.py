#!/usr/bin/python
"""Install Debian packages from a bundle."""

from __future__ import annotations

DOCUMENTATION = """
module: install_packages
short_description: Installs those packages of a bundle that the host lacks
description:
  - Each package is verified against the bundle's manifest. One that is installed is left alone, whatever its version,
    so that nothing of the host's own system is replaced.
options:
  directory:
    description: The bundle's directory on the host.
    type: path
    required: true
  digest:
    description: The sha256 that manifest.json must have.
    type: str
    required: true
  packages:
    description: Paths of the package files inside the bundle, with all that they depend on.
    type: list
    elements: str
    required: true
author: MaaS maintainers (@maas)
"""

EXAMPLES = """
- name: Install host packages
  install_packages:
    directory: /mnt/bundle
    digest: "{{ cluster.bundle.digest }}"
    packages: [packages/debian-bookworm/socat_1.7.4.4-2_amd64.deb]
"""

RETURN = """
changes:
  description: What was installed, or would be.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_bundle import RefusedError, verified
from ansible.module_utils.maas_record import Record


def installed(module):
    """The names of all installed packages."""
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
