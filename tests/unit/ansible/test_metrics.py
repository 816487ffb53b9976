from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.support.ansible_content import CONTENT, load_file

from maas.hosts import pki

if TYPE_CHECKING:
    from pathlib import Path

certificates = load_file(CONTENT / "roles" / "base" / "files" / "maas_certificates.py", "maas_certificates")
metrics = load_file(CONTENT / "roles" / "base" / "files" / "metrics.py", "maas_metrics")
containers = load_file(CONTENT / "roles" / "control_plane" / "files" / "maas_containers.py", "maas_containers")

NOW = datetime(2026, 11, 23, 7, 8, 30, tzinfo=UTC)
# As OpenVPN 2.6 writes it on the hub of a lab.
STATUS = """\
TITLE\tOpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [LZ4] [EPOLL] [PKCS11] [MH/PKTINFO] [AEAD] [DCO]
TIME\t2026-11-23 07:08:26\t1795417706
HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tVirtual IPv6 Address\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\tUsername\tClient ID\tPeer ID\tData Channel Cipher
CLIENT_LIST\tnode1\t172.28.0.1:34615\t10.90.0.2\t\t1096275\t4980785\t2026-11-23 07:04:14\t1795417454\tUNDEF\t1\t1\tAES-256-GCM
CLIENT_LIST\tUNDEF\t172.28.0.1:40001\t\t\t0\t0\t2026-11-23 07:08:20\t1795417700\tUNDEF\t2\t2\t
HEADER\tROUTING_TABLE\tVirtual Address\tCommon Name\tReal Address\tLast Ref\tLast Ref (time_t)
ROUTING_TABLE\t10.90.0.2\tnode1\t172.28.0.1:34615\t2026-11-23 07:08:25\t1795417705
GLOBAL_STATS\tMax bcast/mcast queue length\t0
GLOBAL_STATS\tdco_enabled\t0
END
"""
# As BIRD 2.0.12 writes it on a node with two hubs, one of which is gone.
PROTOCOLS = """\
BIRD 2.0.12 ready.
Access restricted
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     2026-11-23 07:04:10
kernel1    Kernel     master4    up     2026-11-23 07:04:10
bfd1       BFD        ---        up     2026-11-23 07:04:10
master     BGP        ---        up     2026-11-23 07:04:16  Established
master2    BGP        ---        start  2026-11-23 07:08:16  Connect       Socket: Connection closed
"""
BFD = """\
BIRD 2.0.12 ready.
Access restricted
bfd1:
IP address                Interface  State      Since         Interval  Timeout
10.93.0.1                 maas0      Up         2026-11-23 07:04:15    0.300    0.900
10.93.0.65                maas1      Down       2026-11-23 07:08:16    0.300    0.000
"""
ROUTES = [
    {"dst": "10.90.0.0/24", "gateway": "10.93.0.1", "dev": "maas0"},
    {"dst": "10.90.0.1", "gateway": "10.93.0.1", "dev": "maas0"},
    {"dst": "10.90.0.3", "gateway": "10.93.0.1", "dev": "maas0"},
]


def certificate(name: str, end: datetime, *, authority: bool = False) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(end - timedelta(days=365))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize("end", [NOW, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2051, 1, 1, tzinfo=UTC)])
def test_name_end_and_kind_of_a_certificate_are_read(end: datetime) -> None:
    text = certificate("node1", end) + "words between\n" + certificate("shop VPN CA", end, authority=True)
    assert certificates.certificates(text) == [
        ("node1", end.timestamp(), False),
        ("shop VPN CA", end.timestamp(), True),
    ]


def test_the_vpns_own_certificates_are_read(tmp_path: Path) -> None:
    made = pki.ensure(tmp_path, "shop", ["master", "node1"], hubs=["master"])
    (node,) = certificates.certificates(made.files_for("node1")["node.crt"].decode())
    assert node == ("node1", made.certificates["node1"].not_after.timestamp(), False)
    (authority,) = certificates.certificates(made.files_for("node1")["ca.crt"].decode())
    assert authority[2] is True


@pytest.mark.parametrize("cut", [10, 40, 200])
def test_a_certificate_that_is_cut_short_is_an_error_and_not_a_guess(cut: int) -> None:
    body = "".join(certificate("node1", NOW).splitlines()[1:-1])
    broken = base64.b64encode(base64.b64decode(body)[:-cut]).decode()
    with pytest.raises(ValueError, match="certificate"):
        certificates.certificates(f"-----BEGIN CERTIFICATE-----\n{broken}\n-----END CERTIFICATE-----\n")


def test_the_hub_lists_who_is_connected_and_nobody_who_is_only_trying() -> None:
    found = metrics.clients(STATUS, 1795417710)
    assert list(found) == ["node1"]
    assert found["node1"]["Bytes Sent"] == "4980785"


@pytest.mark.parametrize(("status", "now"), [(STATUS, 1795417706 + 61), ("", 1795417706), ("TITLE\tx\n", 1)])
def test_a_list_that_is_old_or_missing_says_that_nobody_is_connected(status: str, now: float) -> None:
    assert metrics.clients(status, now) == {}


def test_a_connection_is_counted_once_and_a_new_one_again() -> None:
    connected = metrics.clients(STATUS, 1795417706)
    seen = metrics.count({}, connected)
    seen = metrics.count(seen, connected)
    assert seen["node1"]["count"] == 1
    seen = metrics.count(seen, {})
    assert seen["node1"]["count"] == 1
    connected["node1"]["Connected Since (time_t)"] = "1795417999"
    assert metrics.count(seen, connected)["node1"] == {"count": 2, "since": 1795417999}


class World:
    """A host on which the programs that `metrics` asks are answered here."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
        self.target = home / "metrics" / "openvpn.prom"
        self.silent: set[str] = set()
        self.largest = 1444
        self.outputs = {
            ("birdc", "protocols"): PROTOCOLS,
            ("birdc", "sessions"): BFD,
            ("ip", "bird"): json.dumps(ROUTES),
            ("ip", "10.90.0.254/32"): "1: lo    inet 10.90.0.254/32 scope global lo",
        }
        peers = (
            {"node1": {"address": "10.90.0.2", "device": ""}, "node2": {"address": "10.90.0.3", "device": ""}}
            if role == "hub"
            else {
                "master": {"address": "10.93.0.1", "device": "maas0"},
                "master2": {"address": "10.93.0.65", "device": "maas1"},
            }
        )
        own = {
            "name": "master" if role == "hub" else "node1",
            "role": role,
            "address": "10.90.0.1",
            "units": ["x"],
            "device": "maas0",
            "control_plane": role == "hub",
            "api_address": "10.90.0.254" if role == "hub" else "",
            "bfd": role == "node",
        }
        (home / "host.json").write_text(json.dumps(own | {"peers": peers, "tun_mtu": 1444, "pod_mtu": 1394}))
        (home / "maas.conf").write_text(f"<cert>\n{certificate('self', NOW)}</cert>\n")
        (home / "status").write_text(STATUS)
        (home / "revoked").mkdir()
        (home / "revoked" / "123").touch()
        for device, mtu in (("maas0", 1444), ("vxlan.calico", 1394)):
            (home / "net" / device / "statistics").mkdir(parents=True)
            (home / "net" / device / "mtu").write_text(f"{mtu}\n")
        (home / "net" / "maas0" / "statistics" / "rx_bytes").write_text("42\n")
        (home / "kubernetes" / "pki" / "etcd").mkdir(parents=True)
        (home / "kubernetes" / "pki" / "etcd" / "server.crt").write_text(certificate("etcd", NOW))
        inside = base64.b64encode(certificate("admin", NOW).encode()).decode()
        (home / "kubernetes" / "admin.conf").write_text(f"    client-certificate-data: {inside}\n")
        places = {
            "HOST": home / "host.json",
            "TARGET": self.target,
            "PATHS": home / "paths.json",
            "SEEN": home / "connections.json",
            "CONFIGURATION": dict.fromkeys(("hub", "node"), home / "maas.conf"),
            "STATUS": home / "status",
            "REVOKED": home / "revoked",
            "DEVICES": home / "net",
            "KUBERNETES": home / "kubernetes",
            "MEMBER": home / "initialised",
            "ETCD": home / "member",
            "ping": self.ping,
            "is_up": lambda _: 1,
            "output": lambda *words: self.outputs[words[0], words[-1]],
        }
        for name, value in places.items():
            monkeypatch.setattr(metrics, name, value)
        monkeypatch.setattr("time.time", lambda: 1795417710.0)

    def ping(self, address: str, size: int) -> float | None:
        return None if address in self.silent or size > self.largest else 0.004

    def samples(self) -> dict[str, float]:
        metrics.main()
        lines = [line for line in self.target.read_text().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_hub_exports_metrics_of_every_planned_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, "hub")
    world.silent = {"10.90.0.3"}
    found = world.samples()
    assert found['openvpn_peer_connected{peer="node1"}'] == 1
    assert found['openvpn_peer_connected{peer="node2"}'] == 0
    assert found['openvpn_peer_connections_total{peer="node1"}'] == 1
    assert found['openvpn_path_mtu_ok{peer="node1"}'] == 1
    assert 'openvpn_path_mtu_ok{peer="node2"}' not in found, "the result for a disconnected peer is unknown"
    assert found["openvpn_revoked_certificates"] == 1
    assert found['openvpn_certificate_not_after_seconds{name="self",kind="node"}'] == NOW.timestamp()
    assert found['kubernetes_certificate_not_after_seconds{name="pki/etcd/server",kind="leaf"}'] == NOW.timestamp()
    assert found['kubernetes_certificate_not_after_seconds{name="admin.conf",kind="leaf"}'] == NOW.timestamp()
    assert found["openvpn_tun_mtu_bytes"] - found["openvpn_pod_mtu_bytes"] == 50
    assert world.target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in world.target.parent.iterdir()] == ["openvpn.prom"], "nothing is left beside it"


def test_a_node_exports_metrics_of_its_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, "node")
    world.largest = 1400
    found = world.samples()
    assert found['openvpn_peer_connected{peer="master"}'] == 1
    assert found['openvpn_path_mtu_ok{peer="master"}'] == 0
    assert found['openvpn_peer_received_bytes_total{peer="master"}'] == 42
    assert not [name for name in found if name.startswith(("openvpn_revoked", "kubernetes_"))]


def test_a_host_exports_its_sessions_and_through_which_hub_its_packets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, "node")
    found = {name: value for name, value in world.samples().items() if name.startswith("vpn_")}
    assert found == {
        'vpn_bgp_session_up{peer="master"}': 1,
        'vpn_bgp_session_up{peer="master2"}': 0,
        'vpn_bgp_session_since_seconds{peer="master"}': datetime(2026, 11, 23, 7, 4, 16).timestamp(),  # noqa: DTZ001 - local time
        'vpn_bfd_session_up{peer="master"}': 1,
        'vpn_bfd_session_up{peer="master2"}': 0,
        'vpn_routes{peer="master"}': 2,
        'vpn_routes{peer="master2"}': 0,
        "vpn_path_changes_total": 0,
    }


def test_a_check_that_finds_other_paths_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, "node")
    moved = json.dumps([route | {"gateway": "10.93.0.65"} for route in ROUTES])
    changes = []
    for routes in (json.dumps(ROUTES), moved, moved, "[]", moved, json.dumps(ROUTES)):
        world.outputs["ip", "bird"] = routes
        changes.append(world.samples()["vpn_path_changes_total"])
    assert changes == [0, 1, 1, 1, 1, 2], "a path that is gone and returns is the same path"


def test_a_control_plane_exports_whether_it_announces_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, "hub")
    assert world.samples()["vpn_api_address_announced"] == 1
    world.outputs["ip", "10.90.0.254/32"] = ""
    assert world.samples()["vpn_api_address_announced"] == 0


def test_without_an_answer_of_bird_no_session_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, "node")
    world.outputs = dict.fromkeys(world.outputs, "")
    found = world.samples()
    assert [found[f'vpn_{kind}_session_up{{peer="master"}}'] for kind in ("bgp", "bfd")] == [0, 0]


def test_a_session_is_up_also_before_bird_writes_dates() -> None:
    assert metrics.bgp_sessions("master     BGP        ---        up     07:04:16.123  Established\n") == {
        "master": None
    }


@pytest.mark.parametrize("words", [("false",), ("/no/such/program",), ("sleep", "60")])
def test_a_program_that_fails_or_hangs_has_no_output(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.2)
    assert metrics.output(*words) == ""


def test_the_outcome_of_backups_is_exported_if_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, "hub")
    settings, outcome = tmp_path / "settings.json", tmp_path / "outcome.json"
    monkeypatch.setattr(metrics, "ETCD_BACKUP", settings)
    monkeypatch.setattr(metrics, "ETCD_BACKUP_OUTCOME", outcome)
    assert not [name for name in world.samples() if name.startswith("etcd_backup")]
    settings.write_text("{}")
    found = world.samples()
    assert found["etcd_backup_last_success_timestamp_seconds"] == settings.stat().st_mtime
    assert found["etcd_backup_last_run_failed"] == 0
    outcome.write_text(json.dumps({"failed": True, "succeeded": 42, "size": 7, "seconds": 1.5, "count": 3}))
    assert {name: value for name, value in world.samples().items() if name.startswith("etcd_backup")} == {
        "etcd_backup_last_success_timestamp_seconds": 42,
        "etcd_backup_last_run_failed": 1,
        "etcd_backup_size_bytes": 7,
        "etcd_backup_duration_seconds": 1.5,
        "etcd_backup_files": 3,
    }


def test_a_control_plane_exports_whether_its_data_of_etcd_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, "hub")
    assert "etcd_data_lost" not in world.samples(), "it is no member yet"
    (tmp_path / "initialised").touch()
    assert world.samples()["etcd_data_lost"] == 1
    (tmp_path / "member").mkdir()
    assert world.samples()["etcd_data_lost"] == 0


def test_every_metric_has_its_help_and_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, "hub")
    (tmp_path / "initialised").touch()
    names = {name.split("{")[0] for name in world.samples()}
    text = world.target.read_text()
    assert names == {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert all(f"# HELP {name} " in text for name in names)
