"""What prevents access to an API server, on sockets of the loopback address: one error each, with a next step."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from maas import cli
from maas.cluster import access, credentials, doctor
from maas.cluster.client import Cluster
from maas.cluster.credentials import Grant
from maas.errors import ClusterError, MaasError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Answer = tuple[int, str, str]
VERSION = (200, "application/json", json.dumps({"gitVersion": "v1.37.2", "major": "1", "minor": "37"}))
HTML = "text/html; charset=utf-8"
PAGE = "<html><title>Sign in</title><body>Welcome</body></html>"


def status(code: int, reason: str, message: str) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return code, "application/json", json.dumps(body | {"code": code})


@contextlib.contextmanager
def serve(answer: Callable[[str, str | None], Answer], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answer GET requests by their path and Authorization header; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, kind, body = answer(self.path.partition("?")[0], self.headers.get("Authorization"))
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if code in range(300, 400):
                self.send_header("Location", "/login")
            self.end_headers()
            self.wfile.write(body.encode())

        do_CONNECT = do_GET  # noqa: N815 - the name of the base class's protocol

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Stay silent about clients that end a TLS handshake."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def config(
    directory: Path, server: str, *, user: Mapping[str, Any] | None = None, cluster: Mapping[str, Any] | None = None
) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "shop", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "anna", "user": dict(user or {})}],
        "contexts": [{"name": "anna@shop", "context": {"cluster": "shop", "user": "anna"}}],
        "current-context": "anna@shop",
    }
    file = directory / "kubeconfig"
    file.write_text(json.dumps(document))
    return file


def failure(file: Path) -> MaasError:
    """Return the error of the doctor, which is that of credentials and of revoking too."""
    calls: list[Callable[[], object]] = [
        lambda: doctor.check(Cluster(file)),
        lambda: credentials.issue(Cluster(file), Grant("viewer"), seconds=600),
        lambda: credentials.revoke(Cluster(file), None),
    ]
    errors: list[MaasError] = []
    for call in calls:
        with pytest.raises(MaasError) as caught:
            call()
        errors.append(caught.value)
    assert {error.code for error in errors} == {errors[0].code}
    assert {error.message for error in errors} == {errors[0].message}
    assert errors[0].hint
    return errors[0]


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_closed_port(scheme: str, tmp_path: Path) -> None:
    server = f"{scheme}://127.0.0.1:{closed_port()}"
    error = failure(config(tmp_path, server))
    assert (error.code, error.message) == ("ClusterUnreachable", f"{server} does not answer: Connection refused")


def test_a_password_in_the_server_is_not_shown(tmp_path: Path) -> None:
    port = closed_port()
    error = failure(config(tmp_path, f"https://anna:hidden@127.0.0.1:{port}"))
    assert error.message == f"https://127.0.0.1:{port} does not answer: Connection refused"


def test_an_unknown_host_name(tmp_path: Path) -> None:
    error = failure(config(tmp_path, "https://shop.invalid:6443"))
    assert error.code == "ClusterUnreachable"
    assert error.message == "https://shop.invalid:6443 does not answer: the name of the host cannot be resolved"


def test_a_server_that_accepts_and_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_PROBE_TIMEOUT", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error = failure(config(tmp_path, server))
    assert (error.code, error.message) == ("ClusterTimeout", f"{server} does not answer: timed out")


def test_a_server_that_speaks_another_protocol(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            for _ in range(3):
                with other.accept()[0] as connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                    connection.recv(65536)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        error = failure(config(tmp_path, f"http://127.0.0.1:{other.getsockname()[1]}"))
        thread.join(5)
    assert error.code == "ClusterUnreachable"


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (status(401, "Unauthorized", "Unauthorized"), "Unauthorized", "rejects the credentials"),
        ((401, "text/plain", "Unauthorized"), "Unauthorized", "rejects the credentials"),
        (status(403, "Forbidden", 'User "eve" cannot get path "/version"'), "Forbidden", "permissions"),
        (status(403, "Forbidden", 'User "system:anonymous" cannot get'), "Unauthorized", "rejects the credentials"),
        (status(503, "ServiceUnavailable", "starting"), "ClusterUnavailable", "is not available: starting"),
        (status(429, "TooManyRequests", "slow down"), "ClusterUnavailable", "is not available: slow down"),
        ((502, HTML, PAGE), "ClusterUnavailable", "HTTP status 502"),
        ((200, HTML, PAGE), "NotKubernetes", "is not a Kubernetes API server"),
        ((200, "application/json", "[]"), "NotKubernetes", "is not a Kubernetes API server"),
        ((200, "application/json", '{"version": 1}'), "NotKubernetes", "is not a Kubernetes API server"),
        ((200, "application/json", ""), "NotKubernetes", "is not a Kubernetes API server"),
        ((404, HTML, PAGE), "NotKubernetes", "is not a Kubernetes API server"),
        ((302, HTML, PAGE), "NotKubernetes", "is not a Kubernetes API server"),
        ((400, "text/plain", "Client sent an HTTP request to an HTTPS server."), "NotKubernetes", "is not a"),
    ],
)
def test_a_response_that_is_no_version(answer: Answer, code: str, text: str, tmp_path: Path) -> None:
    with serve(lambda *_: answer) as port:
        error = failure(config(tmp_path, f"http://127.0.0.1:{port}"))
    assert error.code == code
    assert text in error.message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (status(401, "Unauthorized", "Unauthorized"), "Unauthorized"),
        (status(403, "Forbidden", 'clusterroles is forbidden: User "eve" cannot list'), "Forbidden"),
        (status(404, "NotFound", "the server could not find the requested resource"), "RequestRejected"),
        ((404, HTML, PAGE), "NotKubernetes"),
        ((200, HTML, PAGE), "NotKubernetes"),
        ((200, "application/json", "{"), "NotKubernetes"),
        ((200, "application/octet-stream", "x"), "NotKubernetes"),
    ],
)
def test_a_response_after_the_version(answer: Answer, code: str, tmp_path: Path) -> None:
    with serve(lambda path, _: VERSION if path == "/version" else answer) as port:
        assert failure(config(tmp_path, f"http://127.0.0.1:{port}")).code == code


def test_an_expired_token_is_sent_and_rejected(tmp_path: Path) -> None:
    seen: set[str | None] = set()

    def answer(_: str, authorization: str | None) -> Answer:
        seen.add(authorization)
        return status(401, "Unauthorized", "token has expired")

    with serve(answer) as port:
        error = failure(config(tmp_path, f"http://127.0.0.1:{port}", user={"token": "old"}))
    assert seen == {"Bearer old"}
    assert error.context == ("token has expired",)


# TLS


def certificate(directory: Path, name: str, *, days: int = 1, start: int = -10) -> Path:
    """Write a self-signed certificate of a DNS name with its key, and return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=start))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = directory / f"{name}.pem"
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return file


def tls(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_a_certificate_of_another_ca(tmp_path: Path) -> None:
    own, other = certificate(tmp_path, "localhost"), certificate(tmp_path, "other")
    with serve(lambda *_: VERSION, tls(own)) as port:
        url = f"https://localhost:{port}"
        assert failure(config(tmp_path, url)).code == "CertificateNotTrusted"
        error = failure(config(tmp_path, url, cluster={"certificate-authority": other.name}))
    assert error.code == "CertificateNotTrusted"
    assert error.message.startswith(f"the certificate of {url} is not trusted: ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_of_another_host_name(host: str, tmp_path: Path) -> None:
    own = certificate(tmp_path, "api.shop.example")
    with serve(lambda *_: VERSION, tls(own)) as port:
        url = f"https://{host}:{port}"
        error = failure(config(tmp_path, url, cluster={"certificate-authority": str(own)}))
        with access.explained(
            Cluster(
                config(
                    tmp_path, url, cluster={"certificate-authority": str(own), "tls-server-name": "api.shop.example"}
                )
            )
        ):
            pass  # the next step that the error names
    assert (error.code, error.message) == (
        "CertificateHostMismatch",
        f"the certificate of {url} is not valid for {host}",
    )


@pytest.mark.parametrize(("start", "days"), [(-10, -1), (1, 10)])
def test_a_certificate_that_is_not_valid_now(start: int, days: int, tmp_path: Path) -> None:
    own = certificate(tmp_path, "localhost", start=start, days=days)
    with serve(lambda *_: VERSION, tls(own)) as port:
        error = failure(config(tmp_path, f"https://localhost:{port}", cluster={"certificate-authority": str(own)}))
    assert error.code == "CertificateExpired"


def test_https_to_a_server_without_tls(tmp_path: Path) -> None:
    with serve(lambda *_: VERSION) as port:
        assert failure(config(tmp_path, f"https://127.0.0.1:{port}")).code == "TLSFailed"


# Proxies


@pytest.mark.parametrize("status_code", [403, 407, 502])
def test_a_proxy_that_refuses(status_code: int, tmp_path: Path) -> None:
    with serve(lambda *_: (status_code, HTML, PAGE)) as port:
        proxy = f"http://anna:hidden@127.0.0.1:{port}"
        error = failure(config(tmp_path, "https://10.90.0.1:6443", cluster={"proxy-url": proxy}))
    assert error.code == "ProxyFailed"
    assert error.message.startswith(f"the proxy http://127.0.0.1:{port} does not connect to https://10.90.0.1:6443: ")
    assert str(status_code) in error.message
    assert "hidden" not in str(error.data())


def test_a_proxy_of_the_environment_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = failure(config(tmp_path, "https://10.90.0.1:6443"))
    assert error.code == "ProxyFailed"
    assert error.message.startswith(f"the proxy {proxy} does not connect")


# The kubeconfig itself


def changed(directory: Path, **changes: object) -> Path:
    file = config(directory, "https://10.90.0.1:6443")
    document = json.loads(file.read_text()) | {key.replace("_", "-"): value for key, value in changes.items()}
    file.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))
    return file


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"current_context": None}, "current-context is not set"),
        ({"current_context": ""}, "current-context is not set"),
        ({"current_context": "bob"}, 'current-context names the context "bob", which is not in the file'),
        ({"contexts": None}, 'current-context names the context "anna@shop", which is not in the file'),
        ({"clusters": []}, 'context anna@shop names the cluster "shop", which is not in the file'),
        ({"users": None}, 'context anna@shop names the user "anna", which is not in the file'),
        ({"contexts": [{"name": "anna@shop", "context": {}}]}, "context anna@shop names no cluster"),
        ({"contexts": {"anna@shop": {}}}, "contexts is not a list"),
        ({"clusters": [{"cluster": {}}]}, "clusters[0] has no name or no cluster"),
        ({"clusters": ["shop"]}, "clusters[0] has no name or no cluster"),
        ({"clusters": [{"name": "shop", "cluster": {}}]}, "the cluster has no server"),
        ({"clusters": [{"name": "shop"}]}, "the cluster has no server"),
        ({"kind": "Secret"}, "its kind is Secret, not Config"),
    ],
)
def test_a_kubeconfig_with_a_gap(changes: dict[str, object], text: str, tmp_path: Path) -> None:
    file = changed(tmp_path, **changes)
    error = failure(file)
    assert isinstance(error, UsageError)
    assert (error.code, error.message) == ("InvalidKubeconfig", f"invalid kubeconfig {file}: {text}")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the file is empty"),
        (b"# nothing\n", "the file is empty"),
        (b"just words", "not a mapping of clusters, users and contexts"),
        (b"clusters: [\nusers: }", "not valid YAML in line 2"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML in line 2"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"a: \x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_kubeconfig(content: bytes, text: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_bytes(content)
    error = failure(file)
    assert error.code == "InvalidKubeconfig"
    assert error.message.startswith(f"invalid kubeconfig {file}: {text}")


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert failure(tmp_path / "nothing").code == "FileNotFound"
    assert failure(tmp_path).message == f"invalid kubeconfig {tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize(
    "server",
    ["10.90.0.1:6443", "ftp://10.90.0.1", "https://", "https://x:port", "https://[::1", "https://a b", "https://a..b"],
)
def test_a_server_that_is_no_url(server: str, tmp_path: Path) -> None:
    assert failure(config(tmp_path, server)).message.endswith(f'server "{server}" is not an HTTP URL')


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://127.0.0.1:1080"])
def test_a_proxy_that_is_no_url_or_not_of_http(proxy: str, tmp_path: Path) -> None:
    file = config(tmp_path, "https://10.90.0.1:6443", cluster={"proxy-url": proxy})
    assert failure(file).message.endswith(f'proxy-url "{proxy}" is not an HTTP URL')


@pytest.mark.parametrize("key", ["certificate-authority", "client-certificate", "client-key", "tokenFile"])
def test_a_missing_file_of_the_kubeconfig(key: str, tmp_path: Path) -> None:
    entry = {key: "gone.pem"}
    ca = key == "certificate-authority"
    file = config(tmp_path, "https://10.90.0.1:6443", user=None if ca else entry, cluster=entry if ca else None)
    error = failure(file)
    assert error.code == "InvalidKubeconfig"
    assert error.message.endswith(f"{key} {tmp_path / 'gone.pem'}: No such file or directory")


def test_certificates_that_are_damaged_or_have_no_key(tmp_path: Path) -> None:
    own, other = certificate(tmp_path, "anna"), certificate(tmp_path, "eve")
    key = other.read_text().partition("-----BEGIN PRIVATE")
    (tmp_path / "key.pem").write_text(key[1] + key[2])
    words = base64.b64encode(b"no certificate").decode()
    url = "https://10.90.0.1:6443"
    damaged = "a certificate or key in it cannot be used"
    cases: list[tuple[dict[str, str], dict[str, str], str]] = [
        ({"certificate-authority-data": "?"}, {}, "certificate-authority-data is not base64"),
        ({"certificate-authority-data": words}, {}, damaged),
        ({}, {"client-certificate": str(own)}, "the user has no client-key"),
        ({}, {"client-certificate": str(own), "client-key": "key.pem"}, damaged),
    ]
    for cluster, user, text in cases:
        error = failure(config(tmp_path, url, cluster=cluster, user=user))
        assert error.code == "InvalidKubeconfig"
        assert error.message.endswith(text)


@pytest.mark.parametrize("token", ["a\nb", "a b", "\u20ac"])
def test_a_token_that_no_header_can_contain(token: str, tmp_path: Path) -> None:
    error = failure(config(tmp_path, "https://10.90.0.1:6443", user={"token": token}))
    assert error.message.endswith("the user's token has characters that no token has")


@pytest.mark.parametrize("provider", [{"name": "gcp"}, {"name": "azure", "config": {"access-token": "x"}}, ["gcp"], {}])
def test_an_auth_provider_of_former_times(provider: object, tmp_path: Path) -> None:
    error = failure(config(tmp_path, f"https://127.0.0.1:{closed_port()}", user={"auth-provider": provider}))
    assert error.code == ("InvalidKubeconfig" if provider else "ClusterUnreachable")


def test_a_token_file_with_a_newline_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fresh\n")

    def answer(_: str, authorization: str | None) -> Answer:
        return VERSION if authorization == "Bearer fresh" else status(401, "Unauthorized", "Unauthorized")

    with serve(answer) as port:
        file = config(tmp_path, f"http://127.0.0.1:{port}", user={"tokenFile": "token"})
        with access.explained(Cluster(file)):
            pass


# Exec plugins


def plugin(command: str, *arguments: str) -> dict[str, Any]:
    api = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": api, "command": command, "args": list(arguments), "interactiveMode": "Never"}}


def credential(fields: dict[str, str]) -> str:
    api = "client.authentication.k8s.io/v1"
    return json.dumps({"apiVersion": api, "kind": "ExecCredential", "status": fields})


@pytest.mark.parametrize("command", ["no-such-plugin", "./no-such-plugin", "/no/such/plugin"])
def test_an_exec_plugin_that_is_missing(command: str, tmp_path: Path) -> None:
    user = plugin(command)
    user["exec"]["installHint"] = "see the manual"
    error = failure(config(tmp_path, "https://10.90.0.1:6443", user=user))
    assert error.code == "CredentialPluginNotFound"
    assert command in error.message
    assert error.context == ("see the manual",)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo log in first >&2; exit 3", "process returned 3. log in first"),
        ("exit 1", "process returned 1"),
        ("echo hello", "failed to decode process output"),
        ("echo '{}'", "malformed response"),
        (f"echo '{credential({})}'", "returned no 'clientCertificateData'"),
        (f"echo '{credential({'clientCertificateData': 'x'})}'", "returned no 'clientKeyData'"),
        ("echo '[]'", "malformed response"),
    ],
)
def test_an_exec_plugin_that_fails(script: str, text: str, tmp_path: Path) -> None:
    error = failure(
        config(tmp_path, "https://10.90.0.1:6443", user=plugin("sh", "-c", script, "--client-secret=hidden"))
    )
    assert isinstance(error, ClusterError)
    assert error.code == "CredentialPluginFailed"
    assert "hidden" not in str(error.data())
    assert text in error.message


def test_the_token_of_an_exec_plugin_next_to_the_kubeconfig_is_used(tmp_path: Path) -> None:
    script = tmp_path / "log-in"
    script.write_text(f"#!/bin/sh\necho '{credential({'token': 'fresh'})}'\n")
    script.chmod(0o755)

    def answer(_: str, authorization: str | None) -> Answer:
        return VERSION if authorization == "Bearer fresh" else status(401, "Unauthorized", "Unauthorized")

    with (
        serve(answer) as port,
        access.explained(Cluster(config(tmp_path, f"http://127.0.0.1:{port}", user=plugin("./log-in")))),
    ):
        pass


@pytest.mark.parametrize("words", [("doctor", "--kubeconfig"), ("credentials", "--token", "--from")])
def test_the_commands_never_report_a_defect(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, f"https://127.0.0.1:{closed_port()}")
    monkeypatch.setattr("sys.argv", ["maas", *words, str(file)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Connection refused" in shown
    assert "hint:" in shown
    assert "defect" not in shown
