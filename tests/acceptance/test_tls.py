"""Certificates for the web ports of the monitoring, added to a running lab: clients verify them, and http is refused."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support import labs
from tests.support.monitoring import Monitoring

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.client import Cluster

NAME = "tls"
COMPONENTS = {
    "prometheus": ("monitoring", "prometheus"),
    "alertmanager": ("monitoring", "alertmanager"),
    "kube-state-metrics": ("monitoring", "kubeStateMetrics"),
    "node-exporter": ("node-exporter", "nodeExporter"),
}
"""The namespace of each component, and its name in the values."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def secret(name: str, namespace: str) -> dict[str, object]:
    """Return a Secret as cert-manager creates it, with a CA of its own."""
    now, year = datetime.now(UTC), timedelta(days=365)
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"authority of {name}")])
    host = f"{name}.{namespace}.svc"

    def signed(subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + year)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(authority, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    key = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    content = {
        "ca.crt": signed(issuer, authority.public_key(), ca=True),
        "tls.crt": signed(subject, own.public_key(), ca=False),
        "tls.key": key,
    }
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {"metadata": {"name": f"{name}-certificate"}, "type": "kubernetes.io/tls", "data": data}


def shown(host: str) -> str:
    """Return the certificate of a host's node-exporter, requested over the VPN."""
    command = f"import ssl; print(ssl.get_server_certificate(('{host}', 9100)))"
    words = ["docker", "exec", f"maas-{NAME}-master", "python3", "-c", command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def written(made: dict[str, object]) -> str:
    data = made["data"]
    assert isinstance(data, dict)
    return base64.b64decode(data["tls.crt"]).decode().strip()


def plainly(cluster: Cluster, name: str, namespace: str) -> int:
    """Return the status of a Service's answer to a request by http."""
    return cluster.raw(f"/api/v1/namespaces/{namespace}/services/{name}:web/proxy/metrics")[0]


def test_a_running_platform_uses_certificates_and_renewed_ones(tmp_path: Path) -> None:
    with labs.running(NAME) as lab:
        cluster = lab.cluster
        monitoring = Monitoring(cluster)
        assert plainly(cluster, "prometheus", "monitoring") == 200
        given = {}
        for name, (namespace, _) in COMPONENTS.items():
            given[name] = secret(name, namespace)
            cluster.core.create_namespaced_secret(namespace, given[name])
        values = tmp_path / "values.yaml"
        lines = [f"  {key}: {{tls: {{existingSecret: {name}-certificate}}}}" for name, (_, key) in COMPONENTS.items()]
        values.write_text("\n".join(["kube-prometheus:", *lines]), encoding="utf-8")
        labs.maas("up", "--name", NAME, "--values", str(values), "--yes")

        def wrong() -> set[str]:
            targets = monitoring.targets()
            bad = {f"{t['labels']['job']}: {t['lastError']}" for t in targets if t["health"] != "up"}
            bad |= {
                f"{t['labels']['job']}: {t['scrapeUrl']}"
                for t in targets
                if t["labels"]["job"] in COMPONENTS and not t["scrapeUrl"].startswith("https:")
            }
            return bad | (COMPONENTS.keys() - {t["labels"]["job"] for t in targets})

        took = monitoring.wait("every target by https", wrong, seconds=300)
        print(f"\nevery target answers after {took:.0f} s more")
        monitoring.wait(
            "alerts to arrive at Alertmanager",
            lambda: not monitoring.value('sum(alertmanager_alerts_received_total{status="firing"})'),
            seconds=180,
        )
        assert plainly(cluster, "prometheus", "monitoring") == 400, "it still answers by http"

        assert shown("10.90.0.2") == written(given["node-exporter"])
        renewed = secret("node-exporter", "node-exporter")
        cluster.core.replace_namespaced_secret("node-exporter-certificate", "node-exporter", renewed)
        took = monitoring.wait("the new certificate", lambda: shown("10.90.0.2") != written(renewed), seconds=240)
        print(f"a new certificate was shown after {took:.0f} s")
        took = monitoring.wait("every target with the new authority", wrong, seconds=300)
        print(f"every target answers after {took:.0f} s more")
