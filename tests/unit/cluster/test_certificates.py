from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.support.hosts import facts_of, inventory_of

from maas import paths, process
from maas.cluster import _certificates_script, certificates, tunnel
from maas.commands import revoke as command
from maas.errors import PkiError, ProcessError
from maas.hosts import network_plan, pki

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = """\
# TYPE kubernetes_certificate_not_after_seconds gauge
kubernetes_certificate_not_after_seconds{name="pki/apiserver",kind="leaf"} 1826954251
kubernetes_certificate_not_after_seconds{name="pki/etcd/peer",kind="leaf"} 1826954000
kubernetes_certificate_not_after_seconds{name="pki/ca",kind="ca"} 1000
"""


class Hub:
    """A control-plane host that answers SSH commands, and another hub that may be away or fail."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.answer = SAMPLES
        self.status = 0
        self.others: dict[str, int] = {}

    def run(self, argv: list[str], *, check: bool = True, **_: str) -> process.Completed:
        self.commands.append(argv[-1])
        status = self.others.get(argv[1], self.status)
        if status and check:
            raise ProcessError(argv, returncode=status)
        said = {0: "", 255: "ssh: connect to host: timed out\n"}.get(status, "node2 is still connected\n")
        return process.Completed(tuple(argv), status, "" if status else self.answer, said, 0.0)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(process, "run", made.run)
    monkeypatch.setattr(tunnel, "ssh", lambda _: ["ssh", "hub"])
    return made


@pytest.fixture
def state(hub: Hub) -> Path:
    assert not hub.commands
    inventory = inventory_of("node1", "node2")
    directory = paths.state("shop")
    (directory / "access.json").write_text(json.dumps({"ssh": ["ssh", "hub"], "api": "10.90.0.1:6443"}))
    made = network_plan.compute(inventory, {host.name: facts_of() for host in inventory.hosts})
    (directory / "plan.json").write_text(made.to_json())
    pki.ensure(directory / "pki", "shop", ["master", "node1", "node2"], hubs=["master"])
    return directory


@pytest.mark.usefixtures("state")
def test_of_each_kind_the_certificate_that_expires_first_is_returned() -> None:
    found = certificates.expiring("shop")
    assert [item.name for item in found[:1]] == ["CA of the VPN"]
    assert found[1].name.startswith("VPN certificate of ")
    assert found[2].name == "control plane, pki/etcd/peer"
    assert found[2].expires == datetime.fromtimestamp(1826954000, UTC)


@pytest.mark.usefixtures("state")
def test_without_the_control_plane_host_the_local_certificates_are_returned(hub: Hub) -> None:
    hub.status = 255
    assert len(certificates.expiring("shop")) == 2


def test_a_revoked_node_is_rejected_by_the_vpn_server_and_its_keys_are_deleted(state: Path, hub: Hub) -> None:
    command.revoke("shop", "node2", yes=True)
    (serial,) = (path.name for path in (state / "pki" / "revoked").iterdir())
    assert (state / "pki" / "revoked" / serial).read_text() == "node2"
    assert f"exec /usr/local/lib/maas/revoke node2 {serial} 10.90.0.3" in hub.commands[-1]
    assert not (state / "pki" / "nodes" / "node2.crt").exists()
    assert (state / "pki" / "nodes" / "node1.crt").exists()


@pytest.mark.usefixtures("state")
def test_a_node_that_is_still_connected_is_an_error(hub: Hub) -> None:
    hub.status = 1
    with pytest.raises(PkiError) as caught:
        command.revoke("shop", "node2", yes=True)
    assert caught.value.code == "RevocationFailed"
    assert "hub: node2 is still connected" in caught.value.context


def several(state: Path, hub: Hub, **statuses: int) -> None:
    """Let the cluster have several hubs, whose commands exit with these statuses."""
    access = json.loads((state / "access.json").read_text())
    access["hubs"] = {name: ["ssh", name] for name in statuses}
    (state / "access.json").write_text(json.dumps(access))
    hub.others = statuses


def test_a_revocation_reaches_every_hub_at_once(state: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    several(state, hub, master=0, master2=0, master3=0)
    command.revoke("shop", "node2", yes=True)
    assert len([words for words in hub.commands if "/usr/local/lib/maas/revoke node2 " in words]) == 3
    assert "does not answer, and learns" not in capsys.readouterr().err


def test_a_hub_that_is_away_learns_of_a_revocation_from_the_others(
    state: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    several(state, hub, master=0, master2=255)
    command.revoke("shop", "node2", yes=True)
    said = capsys.readouterr().err
    assert "master2 does not answer, and learns of the revocation from the other hubs before its OpenVPN server" in said


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ({"master": 0, "master2": 1}, "master2: node2 is still connected"),
        ({"master": 255, "master2": 255}, "master: ssh: connect to host: timed out"),
    ],
)
def test_a_revocation_that_a_hub_refuses_or_none_gets_is_an_error(
    state: Path, hub: Hub, statuses: dict[str, int], reason: str
) -> None:
    several(state, hub, **statuses)
    with pytest.raises(PkiError) as caught:
        command.revoke("shop", "node2", yes=True)
    assert caught.value.code == "RevocationFailed"
    assert reason in caught.value.context


def test_the_vpn_server_is_not_revoked(state: Path, hub: Hub) -> None:
    with pytest.raises(PkiError, match="VPN server"):
        command.revoke("shop", "master", yes=True)
    assert hub.commands == []
    assert not list((state / "pki" / "revoked").iterdir())


@pytest.mark.usefixtures("state")
def test_an_unknown_node_is_not_revoked() -> None:
    with pytest.raises(PkiError, match="node9 has no certificate"):
        command.revoke("shop", "node9", yes=True)


NOW = datetime(2026, 11, 29, tzinfo=UTC)


def certificate(name: str, days: float, *, authority: bool = False) -> str:
    """Return a certificate that expires so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = subject if authority else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def test_the_script_reports_certificates_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = base64.b64encode(certificate("admin", 20).encode()).decode()
    contents = {
        "etc/kubernetes/pki/ca.crt": certificate("kubernetes", 3000, authority=True),
        "etc/kubernetes/pki/etcd/peer.crt": certificate("peer", 10),
        "etc/kubernetes/admin.conf": f"users:\n- user:\n    client-certificate-data: {admin}\n    client-key-data: abc\n",
        "var/lib/kubelet/pki/kubelet-client-current.pem": f"{certificate('node', 300)}PRIVATE",
        "etc/openvpn/client/maas.conf": f"<ca>\n{certificate('CA', 3000)}</ca>\n<cert>\n{certificate('node1', 900)}</cert>\n",
    }
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(_certificates_script, "ROOT", tmp_path)
    parameters = {"patterns": list(certificates.PATTERNS), "restarting": certificates.RESTARTING}
    _certificates_script.main(parameters)
    output = capsys.readouterr().out
    assert "PRIVATE" not in output
    answer = json.loads(output.removeprefix(_certificates_script.MARK))
    for one in answer["certificates"]:
        one["path"] = one["path"].removeprefix(str(tmp_path))
    found = certificates.parse(answer, control_plane=True)
    assert {path: (expires - NOW).days for path, (expires, _) in found.control_plane.items()} == {
        "/etc/kubernetes/pki/etcd/peer.crt": 10,
        "/etc/kubernetes/admin.conf": 20,
    }
    assert found.kubelet == NOW + timedelta(days=300)
    assert found.vpn == {NOW + timedelta(days=3000), NOW + timedelta(days=900)}
    assert certificates.parse(answer, control_plane=False).control_plane == {}
    assert not found.restarting
    mark = tmp_path / certificates.RESTARTING.lstrip("/")
    mark.parent.mkdir(parents=True)
    mark.touch()
    _certificates_script.main(parameters)
    assert json.loads(capsys.readouterr().out.removeprefix(_certificates_script.MARK))["restarting"]


def found_on(state: Path, name: str, *, plane: float | None = None, kubelet: float = 300) -> certificates.Found:
    """Return what a host has that is set up with the keys of this controller, and its days."""
    issued = datetime.now(UTC) - timedelta(days=10)
    own = {} if plane is None else {"/etc/kubernetes/pki/apiserver.crt": (in_days(plane), issued)}
    vpn = (pki.issued(state / "pki", name), pki.issued(state / "pki"))
    return certificates.Found(own, in_days(kubelet), frozenset(one.not_valid_after_utc for one in vpn))


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_nothing_is_due_while_everything_renews_itself(state: Path) -> None:
    found = {"master": found_on(state, "master", plane=100), "node1": found_on(state, "node1")}
    assert not certificates.due(state, found)


def test_what_expires_soon_is_due_on_the_host_that_has_it(state: Path) -> None:
    found = {
        "master": found_on(state, "master", plane=80),
        "node1": found_on(state, "node1", kubelet=-3),
        "node2": certificates.Found({}, None, frozenset({in_days(5)})),
    }
    due = certificates.due(state, found)
    assert due.names == ["the VPN certificate of node2", "the control plane master", "the kubelet of node1"]
    assert due.control_planes["master"][0] == "pki/apiserver.crt"
    assert due.authority is None


def test_a_control_plane_whose_components_were_not_restarted_is_due(state: Path) -> None:
    left = replace(found_on(state, "master", plane=365), restarting=True)
    assert certificates.due(state, {"master": left}).names == ["the control plane master"]


def test_the_certificates_of_the_vpn_are_due_in_their_last_year_and_the_ca_in_its_last_three(state: Path) -> None:
    found = {"node1": found_on(state, "node1")}
    later = datetime.now(UTC) + pki.NODE_VALIDITY - pki.NODE_RENEWAL
    # The certificate of the kubelet is not the subject here.
    assert "the VPN certificate of node1" not in certificates.due(state, found, now=later - timedelta(days=1)).names
    assert "the VPN certificate of node1" in certificates.due(state, found, now=later + timedelta(days=1)).names
    last = datetime.now(UTC) + pki.CA_VALIDITY - pki.CA_RENEWAL + timedelta(days=1)
    assert "the CA of the VPN" in certificates.due(state, found, now=last).names


def test_a_renewal_of_everything_continues_where_it_was_interrupted(state: Path) -> None:
    began = certificates.begin(state, datetime.now(UTC) + timedelta(seconds=60))
    assert certificates.begin(state) == began
    assert certificates.unfinished(state) == began
    found = {"node1": found_on(state, "node1")}
    assert certificates.due(state, found, before=began).names == ["the VPN certificate of node1"]
    later = began + timedelta(seconds=5)
    pki.ensure(state / "pki", "shop", ["node1"], hubs=["master"], now=later, before=began)
    assert not certificates.due(state, {"node1": found_on(state, "node1")}, before=began)
    certificates.end(state)
    assert certificates.unfinished(state) is None


@pytest.mark.usefixtures("state")
def test_the_kubeconfig_of_this_machine_is_listed_if_there_is_one(state: Path) -> None:
    data = base64.b64encode(certificate("admin", 30).encode()).decode()
    (state / "kubeconfig").write_text(json.dumps({"users": [{"user": {"client-certificate-data": data}}]}))
    last = certificates.expiring("shop")[-1]
    assert (last.name, last.expires) == ("kubeconfig on this machine", NOW + timedelta(days=30))
