#!/usr/bin/python3
"""Remove the members of etcd at a host that has no data of it, or did not finish to join: etcd-members ADDRESS.

ADDRESS is the host's address in the VPN. It prints what it removed.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys

PKI = "/etc/kubernetes/pki/etcd"
CLIENT, PEER = 2379, 2380


def call(path, body):
    """Call the JSON gateway of the etcd on this host."""
    context = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
    context.load_cert_chain(f"{PKI}/healthcheck-client.crt", f"{PKI}/healthcheck-client.key")
    connection = http.client.HTTPSConnection("127.0.0.1", CLIENT, timeout=20, context=context)
    try:
        connection.request("POST", f"/v3/cluster/member/{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        sys.exit(f"etcd rejects {path}: {text.strip()}")
    return json.loads(text)


def main():
    (address,) = sys.argv[1:]
    for member in call("list", {})["members"]:
        if f"https://{address}:{PEER}" not in member["peerURLs"]:
            continue
        call("remove", {"ID": member["ID"]})
        sys.stdout.write(f"removed {member.get('name') or 'a learner'} at {address} from etcd\n")


if __name__ == "__main__":
    main()
