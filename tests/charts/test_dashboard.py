"""The dashboard: a user has only the rights of their role, with either engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.charts import Object, Rendered, containers, environment, of_profile, one, pod_spec

from maas.cluster.credentials import ROLES

ENGINES = {"headlamp": "headlamp", "kubernetes-dashboard": "dashboards"}
"""Each engine, with a profile that enables it."""


def kinds(objects: tuple[Object, ...], kind: str) -> list[Object]:
    return [entry for entry in objects if entry["kind"] == kind]


def subjects(objects: tuple[Object, ...]) -> list[tuple[str, str]]:
    """Return the role bindings of service accounts: account and role."""
    return [
        (subject["name"], binding["roleRef"]["name"])
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for binding in kinds(objects, kind)
        for subject in binding["subjects"]
        if subject["kind"] == "ServiceAccount"
    ]


def test_headlamps_service_account_has_no_rights() -> None:
    # Upstream binds it to cluster-admin, and so gives these rights to every user.
    assert [role for name, role in subjects(of_profile("headlamp")) if name == "headlamp"] == []


def test_the_service_account_of_the_kubernetes_dashboard_has_rights_to_its_own_secrets_alone() -> None:
    objects = of_profile("dashboards")
    assert [role for name, role in subjects(objects) if name == "kubernetes-dashboard"] == ["kubernetes-dashboard"]
    (binding,) = [entry for entry in kinds(objects, "RoleBinding") if entry["metadata"]["namespace"] == "dashboard"]
    assert binding["roleRef"]["kind"] == "Role"
    for rule in one(objects, "Role", "kubernetes-dashboard")["rules"]:
        assert all(name.startswith("kubernetes-dashboard-") for name in rule["resourceNames"])
        assert set(rule["verbs"]) <= {"get", "update", "delete"}


def test_no_binding_is_to_cluster_admin_and_no_role_has_all_rights() -> None:
    for profile in ENGINES.values():
        objects = of_profile(profile)
        for kind in ("ClusterRoleBinding", "RoleBinding"):
            assert [entry for entry in kinds(objects, kind) if entry["roleRef"]["name"] == "cluster-admin"] == []
        for role in kinds(objects, "ClusterRole"):
            if role["metadata"]["labels"]["app.kubernetes.io/name"] != "dashboard":
                continue
            for rule in role.get("rules", []):
                words = [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
                assert not {"*", "escalate", "bind", "impersonate"} & set(words)


def rules(role: str) -> list[Any]:
    found: list[Any] = one(of_profile("default"), "ClusterRole", f"maas-{role}")["rules"]
    return found


def test_a_viewer_reads_no_secret_and_changes_nothing() -> None:
    for rule in rules("viewer"):
        assert set(rule["verbs"]) <= {"get", "list", "watch"}
        assert "secrets" not in rule["resources"]


def test_an_operator_neither_deploys_nor_enters_pods_nor_reads_secrets() -> None:
    for rule in rules("operator"):
        assert not {"secrets", "pods/exec", "pods/attach", "roles", "rolebindings"} & set(rule["resources"])
        if {"deployments", "daemonsets", "statefulsets"} & set(rule["resources"]):
            assert set(rule["verbs"]) <= {"get", "list", "watch", "patch"}


def test_no_role_can_change_cluster_roles_and_crds() -> None:
    own = {"clusterroles", "clusterrolebindings", "customresourcedefinitions", "namespaces", "persistentvolumes"}
    for role in ("viewer", "operator", "admin"):
        for rule in rules(role):
            if own & set(rule["resources"]):
                assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_each_role_has_the_rights_of_the_one_before() -> None:
    viewer, operator, admin = (rules(role) for role in ("viewer", "operator", "admin"))
    assert operator[: len(viewer)] == viewer
    assert admin[: len(operator)] == operator


def test_an_additional_rule_is_added_to_its_role_and_to_those_after_it(rendered: Rendered) -> None:
    own = {"apiGroups": ["example.org"], "resources": ["tables"], "verbs": ["get"]}
    objects = rendered("dashboard", roles__additionalRules__operator=json.dumps([own]))
    given = [role for role in ROLES if own in one(objects, "ClusterRole", f"maas-{role}")["rules"]]
    assert given == ["operator", "admin"]


def test_bindings_are_cluster_wide_or_in_the_listed_namespaces() -> None:
    objects = of_profile("dashboards")
    found = [
        (
            entry["metadata"].get("namespace"),
            entry["roleRef"]["name"],
            [subject["name"] for subject in entry["subjects"]],
        )
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for entry in kinds(objects, kind)
        if entry["metadata"]["labels"]["app.kubernetes.io/name"] == "dashboard"
    ]
    assert found == [
        (None, "maas-viewer", ["staff"]),
        (None, "maas-admin", ["platform"]),
        ("restaurant", "maas-operator", ["marie@example.org", "deployer"]),
        ("monitoring", "maas-operator", ["marie@example.org", "deployer"]),
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_page_is_served_on_the_port_of_the_service_and_the_probes(engine: str) -> None:
    objects = of_profile(ENGINES[engine])
    workload = one(objects, "Deployment", engine)
    (container,) = containers(workload)
    (port,) = container["ports"]
    (served,) = one(objects, "Service", engine)["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    for probe in ("livenessProbe", "readinessProbe"):
        request = container[probe]["httpGet"]
        assert request["port"] == port["name"]
        assert request.get("scheme", "HTTP").lower() == port["name"]
    assert pod_spec(workload)["serviceAccountName"] == engine


def test_the_oidc_client_is_read_from_a_secret() -> None:
    (container,) = containers(one(of_profile("headlamp"), "Deployment", "headlamp"))
    assert container["envFrom"] == [{"secretRef": {"name": "headlamp-oidc"}}]
    assert "-oidc-client-secret=$(OIDC_CLIENT_SECRET)" in container["args"]
    assert not [name for name in environment(container) if "OIDC" in name]


def test_without_an_engine_only_the_roles_are_installed(rendered: Rendered) -> None:
    objects = rendered("dashboard", engine='"none"')
    assert {entry["kind"] for entry in objects} == {"ClusterRole"}


def test_nothing_is_exposed_outside_the_cluster_by_default(rendered: Rendered) -> None:
    for engine in ENGINES:
        objects = rendered("dashboard", engine=f'"{engine}"')
        assert not {"Ingress", "HTTPRoute"} & {entry["kind"] for entry in objects}
        assert one(objects, "Service", engine)["spec"]["type"] == "ClusterIP"


def test_metrics_are_scraped_if_a_service_monitor_is_enabled(rendered: Rendered) -> None:
    assert kinds(rendered("dashboard"), "ServiceMonitor") == []
    (monitor,) = kinds(rendered("dashboard", headlamp__serviceMonitor__enabled="true"), "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
