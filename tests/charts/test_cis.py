"""The CIS benchmark: our own clusters pass it, and each control fails when what it checks is broken.

Hosts are directories with what kubeadm and the roles leave on a host; the objects are in a real API server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, utils
from tests.support import cis_hosts

from maas.cluster import cis
from maas.cluster.cis import api as objects_of
from maas.cluster.cis import catalog
from maas.cluster.cis.api import Objects
from maas.helm import render
from maas.helm.render import Request
from maas.hosts import encryption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cis_hosts import FixtureHost

    from maas.cluster.cis.catalog import Control, Test
    from maas.cluster.client import Cluster

pytestmark = [
    pytest.mark.xdist_group("cis"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CONTROLS = {control.id: control for control in catalog.load()}
FILES = [
    (number, position)
    for number, control in CONTROLS.items()
    if control.file is not None
    for position in range(len(control.file.paths))
]
SETTINGS = [
    (number, position)
    for number, control in CONTROLS.items()
    if control.settings is not None
    for position in range(len(control.settings.tests))
]
NOTHING = Objects((), (), (), (), (), (), ())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[FixtureHost, FixtureHost]:
    return cis_hosts.make(tmp_path_factory.mktemp("cis"))


@pytest.fixture
def hosts(made: tuple[FixtureHost, FixtureHost], tmp_path: Path) -> dict[str, FixtureHost]:
    return {host.name: host.copy(tmp_path / host.name) for host in made}


def checked(
    control: Control, hosts: dict[str, FixtureHost], monkeypatch: pytest.MonkeyPatch, objects: Objects = NOTHING
) -> cis.Result:
    found = re.search(r"json\.loads\('(.*)'\)", cis.program()[0])
    assert found is not None
    parameters = json.loads(found[1])
    states = {name: host.state(parameters, monkeypatch) for name, host in hosts.items()}
    (result,) = cis.evaluate([control], states, objects)
    return result


def concerned(control: Control, hosts: dict[str, FixtureHost]) -> list[FixtureHost]:
    everywhere = (control.file is not None and control.file.hosts == "all") or (
        control.settings is not None and control.settings.program in catalog.EVERYWHERE
    )
    return [host for host in hosts.values() if everywhere or host.control_plane]


@pytest.mark.parametrize(
    "number", [number for number, one in CONTROLS.items() if one.file or one.settings or one.providers]
)
def test_our_own_hosts_pass_or_have_a_waiver(
    number: str, hosts: dict[str, FixtureHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = checked(CONTROLS[number], hosts, monkeypatch)
    assert result.outcome == ("waiver" if CONTROLS[number].waivers else "pass"), result


@pytest.mark.parametrize(("number", "position"), FILES)
def test_a_file_that_others_may_use_fails_its_control_on_each_host(
    number: str, position: int, hosts: dict[str, FixtureHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    control = CONTROLS[number]
    assert control.file is not None
    for host in concerned(control, hosts):
        path = host.path(control.file.paths[position])
        shown = f"/{path.relative_to(host.root)}"
        if control.file.mode is not None:
            before = path.stat().st_mode
            path.chmod(before | 0o022)
            result = checked(control, hosts, monkeypatch)
            path.chmod(before)
        else:
            host.owners[shown] = "nobody:nogroup"
            result = checked(control, hosts, monkeypatch)
            host.owners.clear()
        assert result.outcome == "fail"
        assert [text for text in result.findings if text.startswith(f"{host.name}: {shown} ")]
        assert result.remediation.startswith(("on the host: chmod 0", "on the host: chown "))


def broken(test: Test) -> tuple[str | None, ...]:
    """Return values of a setting that contradict a test; None removes the setting."""
    if test.set is not None:
        return (None,) if test.set else ("something",)
    unset = () if test.default is not None and test.default == test.equals else (None,)
    if test.equals is not None:
        return ({"true": "false", "false": "true", "0": "10255"}.get(test.equals, "0.0.0.0"), *unset)
    if test.includes is not None:
        return ("Other", None)
    if test.excludes is not None:
        return (test.excludes, f"Other,{test.excludes}")
    assert test.minimum is not None
    return (str(test.minimum - 1), None)


@pytest.mark.parametrize(("number", "position"), SETTINGS)
def test_a_weak_setting_fails_its_control_on_each_host(
    number: str, position: int, hosts: dict[str, FixtureHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    control = CONTROLS[number]
    assert control.settings is not None
    test = control.settings.tests[position]
    for host in concerned(control, hosts):
        for value in broken(test):
            if value is None and test.default is not None and not (test.equals or test.excludes):
                continue
            other = host.copy(host.root.parent / f"{host.name}-{value}")
            if test.field is None or value is not None:
                other.set_flag(control.settings.program, test.flag, value)
            if test.field is not None:
                other.set_field(test.field, value)
            result = checked(control, {**hosts, host.name: other}, monkeypatch)
            assert result.outcome == "fail", value
            assert [text for text in result.findings if text.startswith(f"{host.name}: {control.settings.program}: ")]
            assert result.remediation.startswith("on the host, set ")


def test_a_program_that_does_not_run_fails_its_controls(
    hosts: dict[str, FixtureHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts["node1"].command("kubelet").unlink()
    result = checked(CONTROLS["4.2.1"], hosts, monkeypatch)
    assert result.findings == ("node1: kubelet does not run",)
    hosts["node1"].path("/etc/kubernetes/kubelet.conf").unlink()
    result = checked(CONTROLS["4.1.5"], hosts, monkeypatch)
    assert result.findings == ("node1: /etc/kubernetes/kubelet.conf does not exist",)


def test_a_flag_of_the_kubelet_overrides_its_configuration(
    hosts: dict[str, FixtureHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts["node1"].set_flag("kubelet", "anonymous-auth", "true")
    assert checked(CONTROLS["4.2.1"], hosts, monkeypatch).outcome == "fail"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kind: EncryptionConfiguration\n",
        '{"resources": [{"resources": ["secrets"], "providers": [{"identity": {}}]}]}',
    ],
)
def test_secrets_in_clear_text_fail_their_control(
    text: str, hosts: dict[str, FixtureHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts["master"].path(encryption.CONFIGURATION).write_text(text, encoding="utf-8")
    result = checked(CONTROLS["1.2.28"], hosts, monkeypatch)
    assert result.findings == (
        "master: new Secrets are stored with the provider identity, must be one of secretbox, aescbc, kms",
    )


def binding(role: str, *, kind: str = "ServiceAccount", name: str = "app", namespace: str = "cis") -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    subject = {"kind": kind, "name": name} | (
        {"namespace": namespace} if kind == "ServiceAccount" else {"apiGroup": group}
    )
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cis"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def role(resource: str, verb: str, group: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "cis"},
        "rules": [{"apiGroups": [group], "resources": [resource], "verbs": [verb]}],
    }


def account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "cis"}}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "cis"}
    containers = [{"name": "main", "image": "registry.example.org/app:1"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


APP = "ServiceAccount cis/app"
BREAKS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "5.1.1": ([binding("cluster-admin", kind="User", name="eve")], "User eve has cluster-admin in the whole cluster"),
    "5.1.2": ([role("secrets", "list"), binding("cis")], f"{APP} may list secrets through ClusterRole cis"),
    "5.1.3": ([role("pods", "*")], "ClusterRole cis has a wildcard in verbs"),
    "5.1.4": ([role("pods", "create"), binding("cis")], f"{APP} may create pods through ClusterRole cis"),
    "5.1.5": ([pod("idle")], "pod cis/idle has a token of ServiceAccount cis/default"),
    "5.1.6": (
        [account("app"), pod("idle", serviceAccountName="app")],
        f"pod cis/idle has a token of {APP}, which has no role",
    ),
    "5.1.8": (
        [role("clusterroles", "escalate", "rbac.authorization.k8s.io"), binding("cis")],
        f"{APP} may escalate clusterroles through ClusterRole cis",
    ),
    "5.1.9": (
        [role("persistentvolumes", "create"), binding("cis")],
        f"{APP} may create persistentvolumes through ClusterRole cis",
    ),
    "5.1.10": ([role("nodes/proxy", "get"), binding("cis")], f"{APP} may get nodes/proxy through ClusterRole cis"),
    "5.1.11": (
        [role("certificatesigningrequests/approval", "update", "certificates.k8s.io"), binding("cis")],
        f"{APP} may update certificatesigningrequests/approval through ClusterRole cis",
    ),
    "5.1.12": (
        [role("mutatingwebhookconfigurations", "patch", "admissionregistration.k8s.io"), binding("cis")],
        f"{APP} may patch mutatingwebhookconfigurations through ClusterRole cis",
    ),
    "5.1.13": (
        [role("serviceaccounts/token", "create"), binding("cis")],
        f"{APP} may create serviceaccounts/token through ClusterRole cis",
    ),
    "5.2.1": ([pod("idle")], "namespace cis enforces no level"),
}


@contextlib.contextmanager
def existing(cluster: Cluster, objects: list[dict[str, Any]]) -> Iterator[None]:
    for one in objects:
        utils.create_from_dict(cluster.client, one)
    try:
        yield
    finally:
        roles = client.RbacAuthorizationV1Api(cluster.client)
        for one in objects:
            name = one["metadata"]["name"]
            if one["kind"] == "ClusterRole":
                roles.delete_cluster_role(name)
            elif one["kind"] == "ClusterRoleBinding":
                roles.delete_cluster_role_binding(name)
            elif one["kind"] == "Pod":
                cluster.core.delete_namespaced_pod(name, "cis", grace_period_seconds=0)
            else:
                cluster.core.delete_namespaced_service_account(name, "cis")


@pytest.fixture(scope="session")
def namespace(api: Cluster) -> Cluster:
    api.core.create_namespace({"metadata": {"name": "cis"}})
    # The controller creates it; pods are rejected before.
    if "default" not in {one.metadata.name for one in api.core.list_namespaced_service_account("cis").items}:
        with contextlib.suppress(client.ApiException):
            api.core.create_namespaced_service_account("cis", account("default"))
    return api


def test_each_control_of_objects_is_broken_once() -> None:
    assert set(BREAKS) == {number for number, one in CONTROLS.items() if one.access or one.api}


@pytest.mark.parametrize("number", BREAKS)
def test_an_object_that_contradicts_a_control_fails_it(number: str, namespace: Cluster) -> None:
    objects, finding = BREAKS[number]
    (before,) = cis.evaluate([CONTROLS[number]], {}, objects_of.read(namespace))
    assert finding not in before.findings
    with existing(namespace, objects):
        (result,) = cis.evaluate([CONTROLS[number]], {}, objects_of.read(namespace))
    assert result.outcome == "fail"
    assert finding in result.findings
    assert result.remediation


def of_charts() -> Objects:
    """Return the objects of the charts, with a pod for each template of one."""
    made = render.objects(Request(render.umbrella(), settings=(("calico.enabled", "true"),)))
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in made:
        kinds.setdefault(one["kind"], []).append(dict(one))
        template = one.get("spec", {}).get("template", {}) if one["kind"] != "Pod" else {}
        if "spec" in template:
            kinds.setdefault("Pod", []).append({"metadata": one["metadata"], "spec": template["spec"]})
    names = ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding", "ServiceAccount", "Pod", "Namespace")
    return Objects(*(kinds[name] for name in names))


@pytest.mark.parametrize("number", BREAKS)
def test_the_charts_pass_or_have_a_waiver(number: str) -> None:
    charts = of_charts()
    assert len(charts.pods) > 5
    (result,) = cis.evaluate([CONTROLS[number]], {}, charts)
    assert result.outcome != "fail", result.findings


def test_a_waiver_does_not_cover_other_findings() -> None:
    charts = of_charts()
    evil = {"metadata": {"name": "other"}, **{key: binding("cluster-admin")[key] for key in ("roleRef", "subjects")}}
    more = dataclasses.replace(charts, cluster_bindings=[*charts.cluster_bindings, evil])
    (result,) = cis.evaluate([CONTROLS["5.1.1"]], {}, more)
    assert result.findings == (f"{APP} has cluster-admin in the whole cluster",)


def test_every_waiver_and_title_is_a_sentence() -> None:
    for control in CONTROLS.values():
        assert control.title.endswith("."), control.id
        assert all(len(waiver.reason.split()) > 5 for waiver in control.waivers), control.id
