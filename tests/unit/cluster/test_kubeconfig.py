from __future__ import annotations

from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from maas.cluster import kubeconfig

if TYPE_CHECKING:
    from pathlib import Path

ISSUED = "eyJ"
ADMIN = """\
apiVersion: v1
kind: Config
clusters:
  - name: shop
    cluster: {server: "https://10.90.0.1:6443", certificate-authority-data: Q0E=}
users:
  - name: kubernetes-admin
    user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}
contexts:
  - name: admin@shop
    context: {cluster: shop, user: kubernetes-admin}
current-context: admin@shop
"""


def test_the_kubeconfig_of_a_tunnel_has_its_local_port_and_the_name_in_the_servers_certificate() -> None:
    config = YAML(typ="safe").load(kubeconfig.through_tunnel(ADMIN, port=40001, api="10.90.0.1:6443").decode())
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:40001",
        "tls-server-name": "10.90.0.1",
        "certificate-authority-data": "Q0E=",
    }
    assert config["users"] == YAML(typ="safe").load(ADMIN)["users"]


def test_the_kubeconfig_of_a_token_is_for_the_cluster_of_the_current_context(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    admin = tmp_path / "admin"
    admin.write_text(
        ADMIN.replace(
            "clusters:\n", "clusters:\n  - {name: first, cluster: {server: 'https://10.0.0.1:6443'}}\n"
        ).replace("certificate-authority-data: Q0E=", "certificate-authority: ca.pem")
    )
    config = YAML(typ="safe").load(
        kubeconfig.with_token(admin, token=ISSUED, cluster="shop", user="maas-viewer").decode()
    )
    # Q0E= is "CA" in base64: the file of the CA stays on this machine.
    assert config["clusters"] == [
        {"name": "shop", "cluster": {"server": "https://10.90.0.1:6443", "certificate-authority-data": "Q0E="}}
    ]


def test_the_kubeconfig_of_a_token_has_nothing_of_the_administrator_but_server_and_ca(tmp_path: Path) -> None:
    admin, file = tmp_path / "admin", tmp_path / "viewer"
    admin.write_text(ADMIN)
    kubeconfig.write(file, kubeconfig.with_token(admin, token=ISSUED, cluster="shop", user="maas-viewer"))
    config = YAML(typ="safe").load(file)
    assert config["clusters"][0]["cluster"] == YAML(typ="safe").load(ADMIN)["clusters"][0]["cluster"]
    assert config["users"] == [{"name": "maas-viewer", "user": {"token": ISSUED}}]
    assert (config["current-context"], config["contexts"][0]["context"]["user"]) == ("shop", "maas-viewer")
    assert "S0VZ" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
