from __future__ import annotations

import base64
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.ansible_content import CONTENT, load_file

nodes = load_file(CONTENT / "roles" / "control_plane" / "files" / "nodes.py", "maas_nodes")

PLAN = {"node1": {"vpn_address": "10.90.0.2", "labels": {}}, "node2": {"vpn_address": "10.90.0.3", "labels": {}}}
USAGES = ["digital signature", "server auth"]


def request(
    *,
    user: str = "system:node:node1",
    name: str = "system:node:node1",
    organization: str = "system:nodes",
    names: tuple[x509.GeneralName, ...] = (x509.DNSName("node1"), x509.IPAddress(ip_address("10.90.0.2"))),
    groups: tuple[str, ...] = ("system:nodes", "system:authenticated"),
    usages: list[str] = USAGES,
    subject: tuple[x509.NameAttribute[str], ...] = (),
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> dict[str, Any]:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
        *subject,
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    return {
        "spec": {
            "username": user,
            "groups": list(groups),
            "usages": usages,
            "request": base64.b64encode(pem).decode(),
        }
    }


def test_what_a_kubelet_asks_for_itself_is_approved() -> None:
    assert nodes.examine(request(), PLAN) == "node1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": "system:node:node3", "name": "system:node:node3"}, "not a node of this cluster"),
        ({"user": "system:admin"}, "not a node of this cluster"),
        ({"groups": ("system:authenticated",)}, "not a node of this cluster"),
        ({"user": "system:node:node2"}, "claims CN system:node:node1"),
        ({"names": (x509.DNSName("node2"),)}, "claims DNS node2"),
        ({"names": (x509.IPAddress(ip_address("10.90.0.1")),)}, "claims IP 10.90.0.1"),
        ({"names": (x509.IPAddress(ip_address("fd00::1")),)}, "claims IP fd00::1"),
        ({"names": (x509.DNSName("node1"), x509.DNSName("kubernetes.default.svc"))}, "claims DNS kubernetes"),
        ({"names": (x509.UniformResourceIdentifier("spiffe://shop"),)}, "a name of the unknown type 6"),
        ({"names": ()}, "does not claim the node's name"),
        ({"organization": "system:masters"}, "claims O system:masters"),
        ({"subject": (x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),)}, "claims O system:masters"),
        ({"subject": (x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),)}, "the unknown attribute 550406"),
        ({"usages": [*USAGES, "client auth"]}, "it is for other usages"),
        ({"usages": ["digital signature"]}, "it is for other usages"),
        ({"extensions": (x509.BasicConstraints(ca=True, path_length=None),)}, "the unknown extension 551d13"),
    ],
)
def test_a_request_for_more_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(nodes.RefusedError, match=reason):
        nodes.examine(request(**change), PLAN)


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x82\xff\xff\x00", b"no certificate request", b"\x30\x00"])
def test_what_cannot_be_read_is_refused(data: bytes) -> None:
    body = base64.b64encode(data).decode()
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"
    broken = request()
    broken["spec"]["request"] = base64.b64encode(pem.encode()).decode()
    with pytest.raises(nodes.RefusedError):
        nodes.examine(broken, PLAN)


def test_a_request_that_was_cut_short_is_refused_wherever_it_ends() -> None:
    whole = base64.b64decode(request()["spec"]["request"]).decode().split("-----")[2]
    data = base64.b64decode(whole)
    for length in range(len(data)):
        broken = request()
        pem = f"-----BEGIN-----\n{base64.b64encode(data[:length]).decode()}\n-----END-----\n"
        broken["spec"]["request"] = base64.b64encode(pem.encode()).decode()
        with pytest.raises(nodes.RefusedError):
            nodes.examine(broken, PLAN)


def node(name: str, *, ready: bool = True, taint: str = "", unschedulable: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = {"unschedulable": unschedulable}
    if taint:
        spec["taints"] = [{"effect": taint}]
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}


def pod(name: str, place: str, *, ready: bool = True, **metadata: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name, **metadata}, "spec": {"nodeName": place}, "status": {"conditions": conditions}}


def test_one_of_two_name_servers_on_one_node_is_sent_to_another() -> None:
    pods = [pod("dns-1", "node1"), pod("dns-2", "node1")]
    assert nodes.to_move(pods, [node("master", taint="NoSchedule"), node("node1"), node("node2")]) == "dns-2"


@pytest.mark.parametrize(
    ("pods", "others"),
    [
        ([pod("dns-1", "node1"), pod("dns-2", "node2")], [node("node2")]),
        ([pod("dns-1", "node1")], [node("node2")]),
        ([pod("dns-1", "node1"), pod("dns-2", "node1")], [node("node2", ready=False)]),
        ([pod("dns-1", "node1"), pod("dns-2", "node1")], [node("node2", taint="NoExecute")]),
        ([pod("dns-1", "node1"), pod("dns-2", "node1")], [node("node2", unschedulable=True)]),
        ([pod("dns-1", "node1"), pod("dns-2", "node1", ready=False)], [node("node2")]),
        ([pod("dns-1", "node1"), pod("dns-2", "node1", deletionTimestamp="now")], [node("node2")]),
    ],
)
def test_name_servers_stay_where_they_are_well_or_move_already(pods: list[Any], others: list[Any]) -> None:
    assert nodes.to_move(pods, [node("node1"), *others]) is None
