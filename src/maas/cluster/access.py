"""Access to an API server: the client of a kubeconfig, and an error with a next step for everything that prevents it."""

from __future__ import annotations

import contextlib
import copy
import http
import json
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from maas.cluster import kubeconfig
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.cluster.client import Cluster
    from maas.cluster.kubeconfig import Selection
    from maas.errors import MaasError

TIMEOUT = (5.0, 120.0)
"""Seconds for a connection, and for the next bytes of a response; no watch is as long."""

_PROBE_TIMEOUT = (5.0, 15.0)
"""Seconds, as above, for the small response of the first request."""

_HOST_MISMATCH = {62, 64}
"""OpenSSL's verification results for a certificate of another host name or address."""

_NOT_VALID_NOW = {9, 10}
"""OpenSSL's verification results for a certificate that is not valid yet, or no longer."""


def connect(selection: Selection) -> Any:
    """Return an API client. Requests without a timeout of their own get one.

    Raises:
        UsageError: The kubeconfig has certificates or keys that cannot be used.
        ClusterError: The exec plugin failed.
    """
    from kubernetes import client, config

    class Client(client.ApiClient):  # type: ignore[misc]
        def call_api(self, *arguments: Any, _request_timeout: Any = None, **options: Any) -> Any:
            return super().call_api(*arguments, _request_timeout=_request_timeout or TIMEOUT, **options)

        def response_deserialize(self, response_data: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return super().response_deserialize(response_data, *arguments, **options)
            except ValueError as error:
                # Not JSON, or not the expected object: a proxy or login page answers for the API server.
                body = response_data.data.decode(errors="replace")
                raise client.ApiException(
                    status=response_data.status, reason=response_data.reason, body=body
                ) from error

    file = selection.file
    document = selection.document()
    document["users"][0]["user"] = _with_plugin(selection)
    configuration = client.Configuration()
    try:
        config.load_kube_config_from_dict(document, client_configuration=configuration)
        _check_certificates(configuration)
        return Client(configuration)
    except ssl.SSLError as error:
        raise kubeconfig.invalid(
            file,
            "a certificate or key in it cannot be used",
            hint="get the file again: it needs PEM certificates, and the key of the client certificate",
        ) from error
    except Exception as error:
        # The client raises whatever its libraries raise; the file is the only input.
        raise kubeconfig.invalid(
            file, f"{_line(error)}", hint="use a kubeconfig with a token, a client certificate or an exec plugin"
        ) from error


def _with_plugin(selection: Selection) -> dict[str, Any]:
    """Return the user with the credentials of its exec plugin; the client itself ignores a failing plugin."""
    from kubernetes.config.exec_provider import ExecProvider
    from kubernetes.config.kube_config import ConfigNode

    user = dict(selection.user)
    plugin = user.pop("exec", None)
    if plugin is None or user.get("token"):
        return user
    try:
        nodes = ConfigNode("exec", plugin), ConfigNode("cluster", selection.cluster)
        status = ExecProvider(nodes[0], str(selection.file.parent.absolute()), nodes[1]).run()
        if status.get("token"):
            return user | {"token": status["token"]}
        pair = {"client-certificate": status["clientCertificateData"], "client-key": status["clientKeyData"]}
        return user | {f"{key}-data": _encoded(value) for key, value in pair.items()}
    except Exception as error:
        # What a program prints is not predictable: any failure here is one of the plugin.
        reason = f"it returned no {error}" if isinstance(error, KeyError) else _line(error).removeprefix("exec: ")
        raise ClusterError(
            f"the exec plugin of {selection.file} failed: {reason}",
            context=[f"plugin: {plugin['command']}"],  # its arguments may contain a secret
            hint="run the plugin yourself and fix what it reports; most need a login first",
            command=f"kubectl --kubeconfig {selection.file} version",
            code="CredentialPluginFailed",
        ) from error


def _encoded(text: str) -> str:
    import base64

    return base64.b64encode(text.encode()).decode()


def _check_certificates(configuration: Any) -> None:
    context = ssl.create_default_context()
    if configuration.ssl_ca_cert:
        context.load_verify_locations(configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file, password="")


@contextlib.contextmanager
def explained(cluster: Cluster) -> Iterator[None]:
    """Connect to a cluster, run a block, and explain why the API server refuses or does not answer.

    Raises:
        UsageError: The kubeconfig is missing or not valid.
        ClusterError: The API server cannot be reached, is not one, or rejects the credentials.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    own = cluster.client.configuration
    try:
        _probe(cluster)
        yield
    except (ApiException, HTTPError, OSError) as error:
        raise explain(
            error, file=str(cluster.kubeconfig), server=_without_password(own.host), proxy=own.proxy
        ) from error


def once(cluster: Cluster) -> Any:
    """Return a client of its own that repeats no request while the API server does not answer. It is to be closed."""
    from urllib3 import Retry

    configuration = copy.deepcopy(cluster.client.configuration)
    configuration.retries = Retry(total=None, connect=0, read=0, other=0, redirect=0, raise_on_redirect=False)
    return type(cluster.client)(configuration)


def _probe(cluster: Cluster) -> None:
    """Request the version, once, and check that an API server returned it."""
    from kubernetes.client.exceptions import ApiException

    with once(cluster) as api:
        request = api.param_serialize("GET", "/version", auth_settings=["BearerToken"])
        answer = api.call_api(*request, _request_timeout=_PROBE_TIMEOUT)
        body = answer.read()
    if answer.status == http.HTTPStatus.OK:
        with contextlib.suppress(ValueError):
            if "gitVersion" in json.loads(body):
                return
    raise ApiException(status=answer.status, reason=answer.reason, body=body.decode(errors="replace"))


def explain(error: Exception, *, file: str, server: str, proxy: str | None) -> MaasError:
    """Return the error for a failed request.

    Args:
        error: What the client raised.
        file: The kubeconfig.
        server: The URL of the API server.
        proxy: The URL of the proxy, if there is one.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3 import exceptions

    cause = getattr(error, "reason", None) if isinstance(error, exceptions.MaxRetryError) else error
    if isinstance(cause, ApiException):
        return _explain_response(cause, file=file, server=server)
    if isinstance(cause, exceptions.ProxyError):
        return ClusterError(
            f"the proxy {_without_password(proxy)} does not connect to {server}: {_line(cause.original_error)}",
            hint="correct proxy-url in the kubeconfig or HTTPS_PROXY, or add the server to NO_PROXY",
            code="ProxyFailed",
        )
    if isinstance(cause, ssl.SSLError | exceptions.SSLError):
        return _explain_tls(cause, file=file, server=server)
    # NewConnectionError is a subclass of ConnectTimeoutError, although it is not a timeout.
    timed_out = isinstance(cause, exceptions.TimeoutError | TimeoutError)
    if timed_out and not isinstance(cause, exceptions.NewConnectionError):
        return ClusterError(
            f"{server} does not answer: timed out",
            context=[f"kubeconfig: {file}"],
            hint="check that this machine can reach it: VPN, firewall, proxy, address of the server",
            command=f"kubectl --kubeconfig {file} version",
            code="ClusterTimeout",
        )
    reason = _line(cause)
    if isinstance(cause, exceptions.NameResolutionError):
        reason = "the name of the host cannot be resolved"
    return ClusterError(
        f"{server} does not answer: {reason}",
        context=[f"kubeconfig: {file}"],
        hint="check the server in the kubeconfig, and that the cluster runs",
        command=f"kubectl --kubeconfig {file} version",
        code="ClusterUnreachable",
    )


def _explain_tls(cause: BaseException, *, file: str, server: str) -> MaasError:
    host = urlsplit(server).hostname
    found: BaseException | None = cause
    while found is not None and not isinstance(found, ssl.SSLCertVerificationError):
        inner = next((item for item in found.args if isinstance(item, BaseException)), None)
        found = inner or found.__cause__ or found.__context__
    if not isinstance(found, ssl.SSLCertVerificationError):
        return ClusterError(
            f"the TLS connection to {server} failed: {_line(cause)}",
            context=[f"kubeconfig: {file}"],
            hint="check that the port is that of the API server, and that it speaks TLS",
            code="TLSFailed",
        )
    if found.verify_code in _HOST_MISMATCH:
        return ClusterError(
            f"the certificate of {server} is not valid for {host}",
            context=[found.verify_message],
            hint="use a name of the certificate in the server of the kubeconfig, or set tls-server-name to one",
            command=f"openssl s_client -connect {urlsplit(server).netloc}",
            code="CertificateHostMismatch",
        )
    if found.verify_code in _NOT_VALID_NOW:
        return ClusterError(
            f"the certificate of {server} is not valid now: {found.verify_message}",
            hint="renew the certificate on the control plane; check the clock of this machine",
            command="kubeadm certs check-expiration",
            code="CertificateExpired",
        )
    return ClusterError(
        f"the certificate of {server} is not trusted: {found.verify_message}",
        context=[f"kubeconfig: {file}"],
        hint="set certificate-authority-data in the kubeconfig to the CA of this cluster",
        code="CertificateNotTrusted",
    )


def _explain_response(error: Any, *, file: str, server: str) -> MaasError:
    """Return the error for a response with an error, or of something that is not an API server."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    status: Any = None
    with contextlib.suppress(ValueError):
        status = json.loads(body)
    from_api = isinstance(status, dict) and status.get("kind") == "Status"
    message = str(status.get("message") or error.reason) if from_api else f"HTTP status {error.status} {error.reason}"
    anonymous = "system:anonymous" in message
    if error.status == http.HTTPStatus.UNAUTHORIZED or anonymous:
        return ClusterError(
            f"{server} rejects the credentials of {file}",
            context=[message],
            hint="the token or certificate is missing, expired or of another cluster: log in again or get a new file",
            command=f"kubectl --kubeconfig {file} auth whoami",
            code="Unauthorized",
        )
    if error.status == http.HTTPStatus.FORBIDDEN:
        return ClusterError(
            f"the user of {file} has not the permissions of an administrator",
            context=[message],
            hint="use a kubeconfig of a user with the ClusterRole cluster-admin",
            command=f"kubectl --kubeconfig {file} auth can-i --list",
            code="Forbidden",
        )
    if error.status == http.HTTPStatus.TOO_MANY_REQUESTS or error.status in range(500, 600):
        return ClusterError(
            f"{server} is not available: {message}",
            context=[f"kubeconfig: {file}"],
            hint="wait until the API server is ready, then run the same command again",
            command=f"kubectl --kubeconfig {file} get --raw /readyz?verbose",
            code="ClusterUnavailable",
        )
    if from_api:
        return ClusterError(
            f"{server} rejects a request: {message}",
            context=[f"kubeconfig: {file}"],
            hint="check that the API server supports this Kubernetes API",
            code="RequestRejected",
        )
    return ClusterError(
        f"{server} is not a Kubernetes API server",
        context=[f"it returned {message}", *([_text(body)] if body else [])],
        hint="set the server of the kubeconfig to the address of the API server, not of a web page or login page",
        command=f"kubectl config view --minify --kubeconfig {file}",
        code="NotKubernetes",
    )


def _text(body: str) -> str:
    """Return the beginning of a page's text."""
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())[:120]


def _line(error: object) -> str:
    """Return an error in one line, without the representation of the connection object."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(
        r"^(<[^>]*>: |\w*Connection\([^)]*\): |Failed to establish a new connection: |\[Errno \d+\] )*", "", text
    )[:200]


def _without_password(url: str | None) -> str:
    return re.sub(r"//[^@/]*@", "//", url or "")
