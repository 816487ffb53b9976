#!/usr/bin/python
"""Say how far a host has come."""

from __future__ import annotations

DOCUMENTATION = """
module: host_state
short_description: Says whether a host belongs to a cluster and how far it has come
description:
  - Changes nothing. Refuses a host that belongs to another cluster.
options:
  cluster:
    description: Name of the cluster that the host is to belong to.
    type: str
    required: true
author: MaaS maintainers (@maas)
"""

EXAMPLES = """
- name: Look at the host
  host_state:
    cluster: shop
  register: base_state
"""

RETURN = """
member:
  description: Whether MaaS has put this cluster's mark on the host.
  returned: always
  type: bool
joined:
  description: Whether the kubelet has credentials of a cluster.
  returned: always
  type: bool
authority:
  description: The sha256 of the cluster CA certificate that the host trusts, empty without one.
  returned: always
  type: str
"""

import hashlib
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

MARK = Path("/etc/maas/cluster")
KUBERNETES = Path("/etc/kubernetes")


def main():
    module = AnsibleModule(argument_spec={"cluster": {"type": "str", "required": True}}, supports_check_mode=True)
    wanted = module.params["cluster"]
    mark = MARK.read_text(encoding="utf-8").strip() if MARK.is_file() else ""
    if mark not in ("", wanted):
        module.fail_json(msg=f"this host belongs to the cluster {mark!r}; reset it there before it can join {wanted!r}")
    joined = (KUBERNETES / "kubelet.conf").is_file()
    if joined and not mark:
        module.fail_json(msg="this host is a node of a Kubernetes cluster that MaaS did not make; it is left alone")
    ca = KUBERNETES / "pki" / "ca.crt"
    authority = hashlib.sha256(ca.read_bytes()).hexdigest() if ca.is_file() else ""
    module.exit_json(changed=False, member=bool(mark), joined=joined, authority=authority)


if __name__ == "__main__":
    main()
