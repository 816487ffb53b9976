#!/usr/bin/python3
"""Remove the members of etcd at a host that has no data of it, or did not finish to join: etcd-members ADDRESS.

ADDRESS is the host's address in the VPN. It prints what it removed.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_etcd import PEER, RefusedError, call


def main():
    (address,) = sys.argv[1:]
    for member in call("cluster/member/list", {})["members"]:
        if f"https://{address}:{PEER}" not in member["peerURLs"]:
            continue
        call("cluster/member/remove", {"ID": member["ID"]})
        sys.stdout.write(f"removed {member.get('name') or 'a learner'} at {address} from etcd\n")


if __name__ == "__main__":
    try:
        main()
    except RefusedError as error:
        sys.exit(str(error))
