"""Roles and short-lived credentials on a real API server: the documented rights and no others."""

from __future__ import annotations

import base64
import http
import json
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.support.charts import helm
from yaml import safe_load

from maas.bundle import tools
from maas.cluster import credentials
from maas.cluster.credentials import Grant
from maas.codegen import roles
from maas.codegen.roles import Permission
from maas.commands import credentials as command
from maas.errors import ClusterError
from maas.helm import render
from maas.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.cluster.client import Cluster

pytestmark = [
    pytest.mark.xdist_group("api"),
    # Clients that are closed with the process of a command; the tests create many.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
BEYOND = {
    Permission("rbac.authorization.k8s.io", "clusterroles", "escalate"),
    Permission("rbac.authorization.k8s.io", "clusterroles", "bind"),
    Permission("", "users", "impersonate"),
    Permission("", "groups", "impersonate"),
    Permission("", "serviceaccounts", "impersonate"),
    Permission("certificates.k8s.io", "signers", "approve"),
    Permission("*", "*", "*"),
}
"""Rights that can be used to get any other right."""

EVERYBODYS = {"clustertrustbundles", "selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"}


OPEN: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close every client after its test; otherwise warnings about its connections appear in another test."""
    yield
    while OPEN:
        OPEN.pop().close()


class Client:
    """The API server, with a token."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        config = safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
        # The Kubernetes client has written the CA to a file.
        context = ssl.create_default_context(cafile=cluster.client.configuration.ssl_ca_cert)
        self._http = httpx.Client(
            base_url=config["clusters"][0]["cluster"]["server"],
            headers={"Authorization": f"Bearer {token}"},
            verify=context,
        )
        OPEN.append(self._http)

    def get(self, path: str) -> Any:
        answer = self._http.get(path)
        answer.raise_for_status()
        return answer.json()

    def status(self, path: str) -> int:
        return self._http.get(path).status_code

    def may(self, permission: Permission, namespace: str = "") -> bool:
        resource, _, subresource = permission.resource.partition("/")
        attributes = {"group": permission.group, "resource": resource, "subresource": subresource}
        body = {"spec": {"resourceAttributes": {**attributes, "verb": permission.verb, "namespace": namespace}}}
        answer = self._http.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body)
        return bool(answer.raise_for_status().json()["status"]["allowed"])


@pytest.fixture(scope="module")
def released(api: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Install the roles of the dashboard chart in a cluster."""
    target = tmp_path_factory.mktemp("charts") / "dashboard"
    chart = render.copy_with_libraries(render.umbrella() / "charts" / "dashboard", target)
    helm(api, "4", "install", "maas", chart, "--namespace", "maas", "--create-namespace", "--set", "engine=none")
    yield api
    helm(api, "4", "uninstall", "maas", "--namespace", "maas")


def everything(client: Client) -> set[Permission]:
    """Return each verb on each resource, of the API server and of the API groups of the documented rights."""
    found = {(item.group, item.resource) for item in roles.permissions()["admin"]}
    groups = [("", "/api/v1")]
    groups += [
        (group["name"], f"/apis/{group['preferredVersion']['groupVersion']}") for group in client.get("/apis")["groups"]
    ]
    for group, path in groups:
        found |= {(group, resource["name"]) for resource in client.get(path)["resources"]}
    return {Permission(*of, verb) for of in found for verb in VERBS} | BEYOND


def test_each_role_has_the_documented_rights_and_no_others(released: Cluster) -> None:
    admin = Client(released, safe_load(released.kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]["token"])
    permissions = everything(admin)
    assert len(permissions) > 800
    released.core.create_namespaced_service_account("maas", {"metadata": {"name": "nobody"}})
    request = {"spec": {"expirationSeconds": 600}}
    answer = released.core.create_namespaced_service_account_token("nobody", "maas", request)
    nobody = Client(released, answer.status.token)
    everybodys = {permission for permission in permissions if nobody.may(permission)}
    # Every account can query its own rights, and the CAs that the cluster trusts.
    assert {item.resource for item in everybodys} <= EVERYBODYS
    for role, written in roles.permissions().items():
        client = Client(released, credentials.issue(released, Grant(role), seconds=600).value)
        may = {permission for permission in permissions if client.may(permission)} - everybodys
        assert sorted(may - written) == [], f"{role} has rights that are not documented"
        assert sorted(written & permissions - may) == [], f"{role} does not have rights that are documented"
        assert not may & BEYOND


def test_a_role_in_one_namespace_has_no_rights_in_another(released: Cluster) -> None:
    client = Client(released, credentials.issue(released, Grant("admin", "kube-public"), seconds=600).value)
    secrets = Permission("", "secrets", "get")
    assert client.may(secrets, "kube-public")
    assert not client.may(secrets, "kube-system")
    assert not client.may(secrets)
    assert not client.may(Permission("", "nodes", "get"))
    assert client.status("/api/v1/namespaces/kube-public/secrets") == http.HTTPStatus.OK
    assert client.status("/api/v1/namespaces/kube-system/secrets") == http.HTTPStatus.FORBIDDEN


def test_a_token_has_an_expiry_and_is_invalid_after_it_was_revoked(released: Cluster) -> None:
    token = credentials.issue(released, Grant("viewer"), seconds=600).value
    other = credentials.issue(released, Grant("operator", "kube-public"), seconds=600).value
    claims = json.loads(_decoded(token))
    assert 590 <= claims["exp"] - claims["iat"] <= 610
    unused = credentials.issue(released, Grant("viewer"), seconds=600).value
    client = Client(released, token)
    assert client.status("/api/v1/pods") == http.HTTPStatus.OK
    assert credentials.revoke(released, Grant("viewer")) == ["maas-viewer"]
    # The API server caches the account of a token for ten seconds, but the account has no rights.
    assert client.status("/api/v1/pods") in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.UNAUTHORIZED)
    client = Client(released, unused)
    assert client.status("/api/v1/pods") == http.HTTPStatus.UNAUTHORIZED
    assert Client(released, other).status("/api/v1/namespaces/kube-public/pods") == http.HTTPStatus.OK
    assert "maas-operator-kube-public" in credentials.revoke(released, None)
    assert credentials.revoke(released, None) == []
    # The same role issued again is another account: the revoked tokens stay invalid.
    credentials.issue(released, Grant("viewer"), seconds=600)
    assert client.status("/api/v1/pods") == http.HTTPStatus.UNAUTHORIZED


def test_an_expired_token_is_invalid(released: Cluster) -> None:
    # The API server issues no token for less than ten minutes, so this one has older claims, signed with the same key.
    # tests/acceptance/test_tokens.py waits.
    token = credentials.issue(released, Grant("viewer"), seconds=600).value
    claims = json.loads(_decoded(token))

    def aged(seconds: int) -> Client:
        times = {name: claims[name] - seconds for name in ("iat", "nbf", "exp")}
        return Client(released, _signed(token, {**claims, **times}, released.kubeconfig.parent / "sa.key"))

    assert aged(0).status("/api/v1/pods") == http.HTTPStatus.OK
    assert aged(590).status("/api/v1/pods") == http.HTTPStatus.OK
    # The server tolerates a minute of clock skew.
    assert aged(665).status("/api/v1/pods") == http.HTTPStatus.UNAUTHORIZED


def _signed(token: str, claims: dict[str, Any], key: Path) -> str:
    """Return a token with other claims, signed as by the API server."""
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    assert isinstance(private, rsa.RSAPrivateKey)
    body = f"{token.split('.', maxsplit=1)[0]}.{_encoded(json.dumps(claims).encode())}"
    return f"{body}.{_encoded(private.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    body = token.split(".")[1]
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def test_the_kubeconfig_is_private_and_works_with_kubectl(released: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "viewer"
    command.credentials("shop", Grant("viewer"), ttl="10m", kubeconfig=file, token=False, admin=released.kubeconfig)
    assert file.stat().st_mode & 0o777 == 0o600
    kubectl = tools.tool("kubectl")
    seen = run([kubectl, "--kubeconfig", file, "get", "namespaces", "--output", "name"], timeout=60).stdout
    assert "namespace/kube-system" in seen.split()
    whoami = run([kubectl, "--kubeconfig", file, "auth", "whoami", "--output", "json"], timeout=60).stdout
    assert json.loads(whoami)["status"]["userInfo"]["username"] == "system:serviceaccount:maas:maas-viewer"
    # The login page of version 2.7 accepts a kubeconfig whose user has only a token.
    assert list(safe_load(file.read_text(encoding="utf-8"))["users"][0]["user"]) == ["token"]


def test_the_token_is_printed_only_if_requested(released: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    command.credentials("shop", Grant("viewer"), ttl="10m", kubeconfig=None, token=False, admin=released.kubeconfig)
    assert "eyJ" not in "".join(capsys.readouterr())
    command.credentials("shop", Grant("viewer"), ttl="10m", kubeconfig=None, token=True, admin=released.kubeconfig)
    assert capsys.readouterr().out.strip().count(".") == 2


def test_a_binding_to_another_role_is_replaced(released: Cluster) -> None:
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    bindings = client.RbacAuthorizationV1Api(released.client)
    credentials.revoke(released, None)
    binding = {
        "metadata": {"name": "maas-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [],
    }
    bindings.create_cluster_role_binding(binding)
    credentials.issue(released, Grant("operator"), seconds=600)
    assert bindings.read_cluster_role_binding("maas-operator").role_ref.name == "maas-operator"


def test_without_the_roles_of_a_release_no_credentials_are_issued(released: Cluster) -> None:
    with pytest.raises(ClusterError, match="other-viewer") as refused:
        credentials.issue(released, Grant("viewer"), seconds=600, release="other")
    assert "dashboard.enabled" in str(refused.value.hint)


def test_a_token_is_of_the_release_with_any_name_and_namespace(
    released: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("charts") / "dashboard"
    chart = render.copy_with_libraries(render.umbrella() / "charts" / "dashboard", target)
    helm(
        released, "4", "install", "shop", chart, "--namespace", "platform", "--create-namespace", "--set", "engine=none"
    )
    try:
        with pytest.raises(ClusterError) as several:
            credentials.issue(released, Grant("viewer"), seconds=600)
        assert several.value.context == ("maas in namespace maas", "shop in namespace platform")
        client = Client(released, credentials.issue(released, Grant("viewer"), seconds=600, release="shop").value)
        assert client.may(Permission("", "pods", "list"))
        assert not client.may(Permission("", "secrets", "get"))
        assert credentials.revoke(released, None, release="shop") == ["shop-viewer"]
    finally:
        helm(released, "4", "uninstall", "shop", "--namespace", "platform")
