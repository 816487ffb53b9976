"""Calls of the etcd on this host, for programs of the control plane."""

from __future__ import annotations

import http.client
import json
import ssl

PKI = "/etc/kubernetes/pki/etcd"
CLIENT, PEER = 2379, 2380


class RefusedError(Exception):
    """etcd rejects a call."""


def call(path, body):
    """Call the JSON gateway of the etcd on this host.

    Raises:
        OSError: It does not answer.
        RefusedError: It rejects the call.
    """
    context = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
    context.load_cert_chain(f"{PKI}/healthcheck-client.crt", f"{PKI}/healthcheck-client.key")
    connection = http.client.HTTPSConnection("127.0.0.1", CLIENT, timeout=20, context=context)
    try:
        connection.request("POST", f"/v3/{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise RefusedError(f"etcd rejects {path}: {text.strip()}")
    return json.loads(text)
