#!/usr/bin/python3
"""Approve the kubelets' serving certificates, label the nodes, spread CoreDNS: nodes [--wait SECONDS NODE...].

A kubelet requests its serving certificate at its first start and before the certificate expires. Kubernetes signs such
a request only after an approval, and does not check which names and addresses a node may claim. /etc/maas/nodes.json
has them. A request is approved if the node itself made it for its own name and VPN address and nothing else. So the API
server, metrics-server and Prometheus can verify every kubelet against the cluster's CA.

In a new cluster all CoreDNS pods start on the node that is Ready first, and after the loss of a node on one of the
others. Kubernetes does not move running pods, so this deletes one of several that share a node if another node is able
to run it.

Prints one line per change.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

PLAN = Path("/etc/maas/nodes.json")
AUTHORITY = "/etc/kubernetes/pki/ca.crt"
KUBELET = 10250
LEASE = "kube-controller-manager"
SIGNER = "kubernetes.io/kubelet-serving"
USAGES = {"digital signature", "key encipherment", "server auth"}

# Tags and object identifiers of a certificate request (RFC 2986, RFC 5280).
SEQUENCE, SET, IDENTIFIER, OCTETS, ATTRIBUTES = 0x30, 0x31, 0x06, 0x04, 0xA0
DNS, ADDRESS = 0x82, 0x87
COMMON_NAME, ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
EXTENSION_REQUEST, ALTERNATIVE_NAMES = bytes.fromhex("2a864886f70d01090e"), bytes.fromhex("551d11")


class RefusedError(Exception):
    """A request is malformed or claims more than the node may have."""


def elements(data):
    """Yield the DER elements in `data` as pairs of tag and content."""
    position = 0
    while position < len(data):
        tag, length, position = data[position], data[position + 1], position + 2
        if length & 0x80:
            count = length & 0x7F
            length, position = int.from_bytes(data[position : position + count], "big"), position + count
        if position + length > len(data):
            raise RefusedError("the request is truncated")
        yield tag, data[position : position + length]
        position += length


def inside(data, tag):
    """Return the elements within the only element, which must have a tag."""
    found = list(elements(data))
    if len(found) != 1 or found[0][0] != tag:
        raise RefusedError("it is not a certificate request")
    return list(elements(found[0][1]))


def claims(pem):
    """Return the claims of a certificate request as pairs of a type (CN, O, DNS, IP) and a value.

    Rejects every field that it does not know, so that no claim is missed.
    """
    body = "".join(line for line in pem.strip().splitlines() if not line.startswith("-----"))
    (_, information), *_ = inside(base64.b64decode(body), SEQUENCE)
    _version, (_, subject), _key, *rest = elements(information)
    found = []
    for _, relative in elements(subject):
        for _, pair in elements(relative):
            (_, kind), (_, value) = elements(pair)
            names = {COMMON_NAME: "CN", ORGANIZATION: "O"}
            if kind not in names:
                raise RefusedError(f"its subject has the unknown attribute {kind.hex()}")
            found.append((names[kind], value.decode()))
    for tag, attributes in rest:
        if tag != ATTRIBUTES:
            raise RefusedError("it has an unknown field")
        for _, attribute in elements(attributes):
            (_, kind), (_, values) = elements(attribute)
            if kind != EXTENSION_REQUEST:
                raise RefusedError(f"it has the unknown attribute {kind.hex()}")
            for extension in inside(values, SEQUENCE):
                found += extension_claims(extension[1])
    return found


def extension_claims(extension):
    """Return the claims of a requested extension."""
    parts = list(elements(extension))
    kind, content = parts[0][1], parts[-1][1]
    if kind != ALTERNATIVE_NAMES:
        raise RefusedError(f"it requests the unknown extension {kind.hex()}")
    found = []
    for tag, value in inside(content, SEQUENCE):
        if tag == DNS:
            found.append(("DNS", value.decode("ascii")))
        elif tag == ADDRESS:
            found.append(("IP", str(ipaddress.ip_address(value))))
        else:
            raise RefusedError(f"it claims a name of the unknown type {tag & 0x1F}")
    return found


def examine(request, plan):
    """Return the node of a CertificateSigningRequest that may be approved.

    Raises:
        RefusedError: The request must not be approved automatically.
    """
    spec = request["spec"]
    name = spec["username"].removeprefix("system:node:")
    if not spec["username"].startswith("system:node:") or name not in plan or "system:nodes" not in spec["groups"]:
        raise RefusedError(f"{spec['username']} is not a node of this cluster")
    if not {"server auth"} <= set(spec["usages"]) <= USAGES:
        raise RefusedError(f"it is for other usages: {', '.join(spec['usages'])}")
    try:
        found = claims(base64.b64decode(spec["request"]).decode("ascii"))
    except (ValueError, IndexError) as error:
        raise RefusedError(f"it is malformed: {error}") from error
    identity = {("CN", f"system:node:{name}"), ("O", "system:nodes")}
    names = {("DNS", name), ("IP", plan[name]["vpn_address"])}
    if surplus := set(found) - identity - names:
        raise RefusedError(f"it claims {', '.join(sorted(f'{kind} {value}' for kind, value in surplus))}")
    if not identity <= set(found) or not names & set(found):
        raise RefusedError("it does not claim the node's name")
    return name


def kubectl(*arguments):
    """Run kubectl as the administrator and return its output."""
    environment = {**os.environ, "KUBECONFIG": "/etc/kubernetes/admin.conf", "KUBECACHEDIR": "/run/maas/kubectl"}
    command = ["/usr/local/bin/kubectl", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def approve(plan):
    """Approve pending requests, and report the others on standard error."""
    for request in json.loads(kubectl("get", "csr", "--output", "json"))["items"]:
        if request["spec"]["signerName"] != SIGNER or request.get("status", {}).get("conditions"):
            continue
        try:
            node = examine(request, plan)
        except RefusedError as refusal:
            sys.stderr.write(f"{request['metadata']['name']} is not approved: {refusal}\n")
        else:
            kubectl("certificate", "approve", request["metadata"]["name"])
            sys.stdout.write(f"approved the serving certificate of {node}\n")


def label(plan):
    """Set the labels of the inventory on each node, and leave other labels unchanged."""
    for node in json.loads(kubectl("get", "nodes", "--output", "json"))["items"]:
        name, has = node["metadata"]["name"], node["metadata"].get("labels", {})
        wanted = plan.get(name, {}).get("labels", {})
        missing = [f"{key}={value}" for key, value in wanted.items() if has.get(key) != value]
        if missing:
            kubectl("label", "--overwrite", "node", name, *missing)
            sys.stdout.write(f"labeled {name} {' '.join(missing)}\n")


def elsewhere():
    """Return whether another control plane does this: the one whose kube-controller-manager is the leader."""
    lease = kubectl("get", "lease", "--namespace", "kube-system", "--ignore-not-found", "--output=json", LEASE)
    holder = json.loads(lease)["spec"].get("holderIdentity") if lease.strip() else None
    return bool(holder) and not holder.startswith(f"{socket.gethostname()}_")


def ready(resource):
    """Return whether a node or a pod is Ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in resource["status"].get("conditions", ()))


def to_move(pods, nodes):
    """Return a pod to move if all pods share a node and another node is able to run it; None while pods are starting."""
    able = {
        node["metadata"]["name"]
        for node in nodes
        if ready(node)
        and not node["spec"].get("unschedulable")
        and not any(taint["effect"] != "PreferNoSchedule" for taint in node["spec"].get("taints", ()))
    }
    places = [pod["spec"].get("nodeName") for pod in pods]
    moving = any("deletionTimestamp" in pod["metadata"] or not ready(pod) for pod in pods)
    if moving or len(places) < 2 or len(set(places)) > 1 or not able - set(places):
        return None
    return pods[-1]["metadata"]["name"]


def spread():
    """Delete one CoreDNS pod if all of them are on one node; the scheduler prefers another node for the new one."""
    selector = ("--namespace", "kube-system", "--selector", "k8s-app=kube-dns")
    pods = json.loads(kubectl("get", "pods", *selector, "--output", "json"))["items"]
    name = to_move(pods, json.loads(kubectl("get", "nodes", "--output", "json"))["items"])
    if name:
        kubectl("delete", "pod", "--namespace", "kube-system", "--wait=false", name)
        sys.stdout.write(f"moved {name} to another node\n")


def serves(address):
    """Return whether the kubelet at an address has a valid serving certificate of the cluster."""
    context = ssl.create_default_context(cafile=AUTHORITY)
    try:
        with socket.create_connection((address, KUBELET), timeout=2) as plain:
            context.wrap_socket(plain, server_hostname=address).close()
    except OSError:
        return False
    return True


def main():
    plan = json.loads(PLAN.read_text(encoding="utf-8"))
    if sys.argv[1:2] != ["--wait"]:
        if elsewhere():
            return
        approve(plan)
        label(plan)
        spread()
        return
    deadline = time.monotonic() + float(sys.argv[2])
    waiting = [name for name in sys.argv[3:] if not serves(plan[name]["vpn_address"])]
    while waiting and time.monotonic() < deadline:
        approve(plan)
        time.sleep(0.5)
        waiting = [name for name in waiting if not serves(plan[name]["vpn_address"])]
    label(plan)
    if waiting:
        sys.exit(
            f"timed out after {sys.argv[2]} s waiting for the serving certificate of the kubelet on {', '.join(waiting)}"
        )


if __name__ == "__main__":
    main()
