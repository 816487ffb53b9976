#!/usr/bin/python3
"""Sign the kubelets' serving certificates, keep the nodes' labels, spread the name servers: nodes [--wait SECONDS NODE...].

A kubelet asks the API for the certificate that it shows to whoever connects to it, at its first start and again
before the certificate ends. Kubernetes signs such a request only when somebody approved it, and leaves to the operator
to know which names and addresses a node may claim. /etc/maas/nodes.json knows: it is the plan of the cluster. So a
request is approved when the node itself made it, and it claims that node's name and VPN address and nothing else.
That lets the API server, metrics-server and Prometheus verify every kubelet against the cluster's own CA.

The name servers of a new cluster all start on the node that is Ready first, and those of a lost node on one that is
left; Kubernetes moves no pod that runs. So one of several that share a node is sent away when another node could have it.

Each change is printed on a line of its own.
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
SIGNER = "kubernetes.io/kubelet-serving"
USAGES = {"digital signature", "key encipherment", "server auth"}

# The tags and object identifiers of a certificate request (RFC 2986, RFC 5280) that are read here.
SEQUENCE, SET, IDENTIFIER, OCTETS, ATTRIBUTES = 0x30, 0x31, 0x06, 0x04, 0xA0
DNS, ADDRESS = 0x82, 0x87
COMMON_NAME, ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
EXTENSION_REQUEST, ALTERNATIVE_NAMES = bytes.fromhex("2a864886f70d01090e"), bytes.fromhex("551d11")


class RefusedError(Exception):
    """A request that claims more than the plan gives the node, or that cannot be read."""


def elements(data):
    """The DER elements that stand one after the other in `data`, as pairs of tag and content."""
    position = 0
    while position < len(data):
        tag, length, position = data[position], data[position + 1], position + 2
        if length & 0x80:
            count = length & 0x7F
            length, position = int.from_bytes(data[position : position + count], "big"), position + count
        if position + length > len(data):
            raise RefusedError("it ends in the middle of an element")
        yield tag, data[position : position + length]
        position += length


def inside(data, tag):
    """The elements within a single element of the given tag."""
    found = list(elements(data))
    if len(found) != 1 or found[0][0] != tag:
        raise RefusedError("it is not built like a certificate request")
    return list(elements(found[0][1]))


def claims(pem):
    """What a certificate request claims: a list of pairs of a kind (CN, O, DNS, IP) and a value.

    Whatever is not read here is refused, so nothing can be signed unseen.
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
                raise RefusedError(f"its subject has an attribute {kind.hex()}")
            found.append((names[kind], value.decode()))
    for tag, attributes in rest:
        if tag != ATTRIBUTES:
            raise RefusedError("it has a part that is unknown")
        for _, attribute in elements(attributes):
            (_, kind), (_, values) = elements(attribute)
            if kind != EXTENSION_REQUEST:
                raise RefusedError(f"it has an attribute {kind.hex()}")
            for extension in inside(values, SEQUENCE):
                found += extension_claims(extension[1])
    return found


def extension_claims(extension):
    """What one requested extension claims."""
    parts = list(elements(extension))
    kind, content = parts[0][1], parts[-1][1]
    if kind != ALTERNATIVE_NAMES:
        raise RefusedError(f"it asks for an extension {kind.hex()}")
    found = []
    for tag, value in inside(content, SEQUENCE):
        if tag == DNS:
            found.append(("DNS", value.decode("ascii")))
        elif tag == ADDRESS:
            found.append(("IP", str(ipaddress.ip_address(value))))
        else:
            raise RefusedError(f"it claims a name of kind {tag & 0x1F}")
    return found


def examine(request, plan):
    """The node that may have what a CertificateSigningRequest asks for.

    Raises:
        RefusedError: With the reason; the request is left for a person to look at.
    """
    spec = request["spec"]
    name = spec["username"].removeprefix("system:node:")
    if not spec["username"].startswith("system:node:") or name not in plan or "system:nodes" not in spec["groups"]:
        raise RefusedError(f"{spec['username']} is not a node of this cluster")
    if not {"server auth"} <= set(spec["usages"]) <= USAGES:
        raise RefusedError(f"it is for {', '.join(spec['usages'])}")
    try:
        found = claims(base64.b64decode(spec["request"]).decode("ascii"))
    except (ValueError, IndexError) as error:
        raise RefusedError(f"it cannot be read: {error}") from error
    identity = {("CN", f"system:node:{name}"), ("O", "system:nodes")}
    names = {("DNS", name), ("IP", plan[name]["vpn_address"])}
    if surplus := set(found) - identity - names:
        raise RefusedError(f"it claims {', '.join(sorted(f'{kind} {value}' for kind, value in surplus))}")
    if not identity <= set(found) or not names & set(found):
        raise RefusedError("it lacks the node's name")
    return name


def kubectl(*arguments):
    """Run kubectl as the administrator and return its output."""
    environment = {**os.environ, "KUBECONFIG": "/etc/kubernetes/admin.conf", "KUBECACHEDIR": "/run/maas/kubectl"}
    command = ["/usr/local/bin/kubectl", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def approve(plan):
    """Approve every pending request that the plan allows; each refusal is told once a run, on standard error."""
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
    """Give each node the labels of the plan; labels that the plan does not name are left alone."""
    for node in json.loads(kubectl("get", "nodes", "--output", "json"))["items"]:
        name, has = node["metadata"]["name"], node["metadata"].get("labels", {})
        wanted = plan.get(name, {}).get("labels", {})
        missing = [f"{key}={value}" for key, value in wanted.items() if has.get(key) != value]
        if missing:
            kubectl("label", "--overwrite", "node", name, *missing)
            sys.stdout.write(f"labelled {name} {' '.join(missing)}\n")


def ready(resource):
    """Whether a node or a pod has the condition Ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in resource["status"].get("conditions", ()))


def crowded(pods, nodes):
    """One of the pods that share a node while another node could have it; None when all is well or something moves."""
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
    """Send one name server away when all of them are on one node; the scheduler prefers another for it."""
    selector = ("--namespace", "kube-system", "--selector", "k8s-app=kube-dns")
    pods = json.loads(kubectl("get", "pods", *selector, "--output", "json"))["items"]
    name = crowded(pods, json.loads(kubectl("get", "nodes", "--output", "json"))["items"])
    if name:
        kubectl("delete", "pod", "--namespace", "kube-system", "--wait=false", name)
        sys.stdout.write(f"moved {name} to another node\n")


def serves(address):
    """Whether the kubelet at an address shows a certificate of the cluster that holds for the address."""
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
        sys.exit(f"the kubelet of {', '.join(waiting)} shows no certificate of the cluster after {sys.argv[2]} s")


if __name__ == "__main__":
    main()
