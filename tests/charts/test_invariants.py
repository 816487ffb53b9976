"""What holds for every object of every profile. Exceptions are listed here, each with its reason; all are needed."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.support.charts import PROFILES, Object, containers, environment, of_profile, pod_labels, pod_spec, workloads

from maas.cluster.credentials import ROLES
from maas.codegen import flows

if TYPE_CHECKING:
    from collections.abc import Iterator

# Programs that change the kernel and the files of the host.
PRIVILEGED = {("calico-node", name) for name in ("install-cni", "calico-node")}
# An init container, which runs before the container that has the resources of the pod.
WITHOUT_RESOURCES = {("calico-node", "install-cni")}
# Its memory grows with the number of pods and policies, and without it the node has no network.
WITHOUT_MEMORY_LIMIT = {("calico-node", "calico-node")}
# It has no rights of its own, and still reads the address and CA of the API server from its token's volume.
TOKEN_WITHOUT_RIGHTS = {"headlamp"}
# Empty in the release; the operator of KEDA writes the certificates.
FILLED_LATER = {("Secret", "keda-certificates")}
# They export metrics of the host, or are its network.
ON_THE_HOST = {"calico-node", "node-exporter"}
# The ports that prometheus-operator gives to the pods of each kind of object.
OPERATED = {
    "Prometheus": {"web", "reloader-web"},
    "Alertmanager": {"web", "reloader-web", "mesh-tcp", "mesh-udp"},
}
NAME_LIMITS = {"StatefulSet": 52, "Job": 63, "Service": 63, "Deployment": 63, "DaemonSet": 63}


def named(workload: Object, container: Object) -> tuple[str, str]:
    return workload["metadata"]["name"], container["name"]


def operated(objects: tuple[Object, ...]) -> dict[str, set[str]]:
    """Return the components whose pods prometheus-operator creates, with the ports of these pods."""
    return {
        entry["metadata"]["labels"]["app.kubernetes.io/name"]: OPERATED[entry["kind"]]
        for entry in objects
        if entry["kind"] in OPERATED
    }


def bound(objects: tuple[Object, ...]) -> set[tuple[str, str]]:
    """Return namespace and name of every service account that a role is bound to."""
    return {
        (subject["namespace"], subject["name"])
        for entry in objects
        if entry["kind"] in {"RoleBinding", "ClusterRoleBinding"}
        for subject in entry["subjects"]
        if subject["kind"] == "ServiceAccount"
    }


def test_every_object_has_the_labels_of_its_release(objects: tuple[Object, ...]) -> None:
    for entry in objects:
        labels = entry["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "maas"
        assert labels["app.kubernetes.io/part-of"] == "maas"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/name"]
        assert re.fullmatch(r"[a-z-]+-\d+\.\d+\.\d+", labels["helm.sh/chart"])


def test_every_object_has_the_labels_of_its_component_and_version(objects: tuple[Object, ...]) -> None:
    table = flows.load().components
    for entry in objects:
        labels = entry["metadata"]["labels"]
        role = labels["app.kubernetes.io/component"]
        component = table.get(labels["app.kubernetes.io/name"])
        assert role
        assert re.fullmatch(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", labels["app.kubernetes.io/version"])
        if component is not None and entry["kind"] in {"Deployment", "DaemonSet", "StatefulSet", "Job", "Pod"}:
            assert role == component.role
            tags = {container["image"].partition("@")[0].rpartition(":")[2] for container in containers(entry)}
            assert labels["app.kubernetes.io/version"] in tags


def test_pods_have_no_label_that_changes_with_the_chart_version(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        if entry["kind"] != "Pod":
            assert not pod_labels(entry).keys() & {"helm.sh/chart", "app.kubernetes.io/version"}, entry["metadata"]


def test_names_are_valid_and_short_enough(objects: tuple[Object, ...]) -> None:
    for entry in objects:
        name = entry["metadata"]["name"]
        assert len(name) <= NAME_LIMITS.get(entry["kind"], 253)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)


def test_every_namespaced_object_has_an_explicit_namespace(objects: tuple[Object, ...]) -> None:
    cluster_wide = {"Namespace", "ClusterRole", "ClusterRoleBinding", "APIService", "IPPool"}
    cluster_wide |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for entry in objects:
        assert (entry["metadata"].get("namespace") is None) == (entry["kind"] in cluster_wide), entry["metadata"]


def test_selectors_match_the_pods_of_their_workload_and_no_others(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        if entry["kind"] in {"Pod", "Job"}:
            continue
        wanted = entry["spec"]["selector"]["matchLabels"].items()
        found = [other["metadata"]["name"] for other in workloads(objects) if wanted <= pod_labels(other).items()]
        assert found == [entry["metadata"]["name"]]


def test_the_ports_of_services_are_ports_of_their_pods(objects: tuple[Object, ...]) -> None:
    for service in objects:
        if service["kind"] != "Service":
            continue
        wanted = service["spec"]["selector"].items()
        if ports := operated(objects).get(service["spec"]["selector"]["app.kubernetes.io/name"]):
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
            continue
        # Patroni labels the pod of the primary, and Kubernetes each pod of a StatefulSet.
        fixed = {label for label in wanted if label[0] not in {"role", "statefulset.kubernetes.io/pod-name"}}
        targets = [other for other in workloads(objects) if fixed <= pod_labels(other).items()]
        assert len(targets) == 1
        open_ports = {port["name"] for container in containers(targets[0]) for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports


def test_the_ports_of_policies_are_ports_of_their_pods(objects: tuple[Object, ...]) -> None:
    for policy in objects:
        if policy["kind"] != "NetworkPolicy":
            continue
        wanted = policy["spec"]["podSelector"]["matchLabels"].items()
        targets = [other for other in workloads(objects) if wanted <= pod_labels(other).items()]
        of_operator = operated(objects).get(
            policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], set()
        )
        if not targets and policy["metadata"]["name"].endswith("-other-charts"):
            continue  # an optional part that is off; the umbrella cannot know
        assert targets or of_operator
        open_ports = of_operator | {
            port["name"] for one in targets for container in containers(one) for port in container.get("ports", [])
        }
        for rule in policy["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= open_ports


def test_every_long_running_container_has_probes(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        if entry["kind"] in {"Job", "Pod"}:
            continue
        for container in containers(entry, initial=False):
            assert container["livenessProbe"], named(entry, container)
            assert container["readinessProbe"], named(entry, container)


def test_every_container_has_requests_and_a_memory_limit(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        for container in containers(entry):
            if named(entry, container) in WITHOUT_RESOURCES:
                continue
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), named(entry, container)
            if named(entry, container) not in WITHOUT_MEMORY_LIMIT:
                assert "memory" in resources["limits"], named(entry, container)


def test_every_container_meets_the_restricted_pod_security_standard(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        spec = pod_spec(entry)
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(entry):
            context = container["securityContext"]
            if named(entry, container) in PRIVILEGED:
                assert context == {"privileged": True}
                continue
            assert context["allowPrivilegeEscalation"] is False, named(entry, container)
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert spec["securityContext"]["runAsNonRoot"] is True
            # A number, because the kubelet does not know whether a name is root.
            assert spec["securityContext"]["runAsUser"] > 0


def test_only_the_pod_network_and_node_exporter_use_the_host(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        spec = pod_spec(entry)
        if entry["metadata"]["name"] not in ON_THE_HOST:
            assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
            assert not [volume for volume in spec.get("volumes", []) if "hostPath" in volume]


def test_pods_get_a_token_only_where_it_has_rights(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        name, spec = entry["metadata"]["name"], pod_spec(entry)
        account = (entry["metadata"]["namespace"], spec.get("serviceAccountName", "default"))
        wanted = account in bound(objects) or name in TOKEN_WITHOUT_RIGHTS
        assert spec["automountServiceAccountToken"] is wanted, name
    for entry in objects:
        if entry["kind"] == "ServiceAccount":
            assert entry["automountServiceAccountToken"] is False


def test_namespaces_enforce_restricted_except_those_with_host_access(objects: tuple[Object, ...]) -> None:
    for entry in objects:
        if entry["kind"] == "Namespace":
            level = entry["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
            assert level == (
                "privileged" if entry["metadata"]["name"] in {"calico-system", "node-exporter"} else "restricted"
            )
            assert entry["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_no_key_is_repeated_in_a_list_that_is_merged_by_it(objects: tuple[Object, ...]) -> None:
    # Server-side apply, which Helm 4 uses, refuses such lists.
    for entry in workloads(objects):
        spec = pod_spec(entry)
        lists: list[list[Any]] = [[volume["name"] for volume in spec.get("volumes", [])]]
        lists += [[container["name"] for container in containers(entry)]]
        for container in containers(entry):
            lists += [[variable["name"] for variable in container.get("env", [])]]
            lists += [[mount["mountPath"] for mount in container.get("volumeMounts", [])]]
            lists += [[(port["containerPort"], port["protocol"]) for port in container.get("ports", [])]]
        for names in lists:
            assert not [name for name, count in Counter(names).items() if count > 1], entry["metadata"]["name"]


# Secrets that exist before the installation, by the values of the profiles.
GIVEN = {
    ("ConfigMap", "kube-root-ca.crt"),  # Kubernetes creates it in every namespace
    ("Secret", "restaurant-key"),
    ("Secret", "restaurant-database"),
    ("Secret", "restaurant-terminal"),
    ("Secret", "grafana-admin"),
    ("Secret", "grafana-login"),
    ("Secret", "prometheus-certificate"),
    ("Secret", "alertmanager-certificate"),
    ("Secret", "kube-state-metrics-certificate"),
    ("Secret", "node-exporter-certificate"),
    ("Secret", "snmp-switches"),
    ("Secret", "snmp-power"),
}


def referred(workload: Object) -> Iterator[tuple[str, str, str | None]]:
    """Yield what the pods of a workload mount or read: kind, name and key."""
    spec = pod_spec(workload)
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"], None
    for volume in spec.get("volumes", []):
        yield from mounted(volume)
    for container in containers(workload):
        for value in environment(container).values():
            if isinstance(value, dict) and (reference := value.get("configMapKeyRef")):
                yield "ConfigMap", reference["name"], reference["key"]


def mounted(volume: Object) -> Iterator[tuple[str, str, str | None]]:
    if claim := volume.get("persistentVolumeClaim"):
        yield "PersistentVolumeClaim", claim["claimName"], None
    for source in volume.get("projected", {}).get("sources", [volume]):
        if config := source.get("configMap"):
            yield "ConfigMap", config["name"], None
        if secret := source.get("secret"):
            for item in secret.get("items", [{"key": None}]):
                yield "Secret", secret.get("secretName", secret.get("name")), item["key"]


def test_every_secret_and_configmap_of_a_pod_exists(objects: tuple[Object, ...]) -> None:
    have = {(entry["kind"], entry["metadata"]["name"]): entry for entry in objects}
    for entry in workloads(objects):
        for kind, name, key in referred(entry):
            if (kind, name) in GIVEN - have.keys():
                continue
            assert (kind, name) in have, f"{kind} {name} is nowhere"
            assert key is None or (kind, name) in FILLED_LATER or key in have[kind, name]["data"], (
                f"{kind} {name} has no {key}"
            )


def test_every_volume_is_mounted_and_every_mount_has_a_volume(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        mounts = {mount["name"] for container in containers(entry) for mount in container.get("volumeMounts", [])}
        claims = {claim["metadata"]["name"] for claim in entry["spec"].get("volumeClaimTemplates", [])}
        assert mounts == {volume["name"] for volume in pod_spec(entry).get("volumes", [])} | claims


def test_every_role_is_bound_and_every_binding_has_its_role_and_account(objects: tuple[Object, ...]) -> None:
    foreign = {"system:auth-delegator", "extension-apiserver-authentication-reader"}
    roles = {entry["metadata"]["name"] for entry in objects if entry["kind"] in {"Role", "ClusterRole"}}
    aggregated = {
        entry["metadata"]["name"]
        for entry in objects
        if entry["kind"] == "ClusterRole" and any("aggregate-to" in label for label in entry["metadata"]["labels"])
    }
    # Bound to users by the administrator of the cluster.
    aggregated |= {f"maas-{role}" for role in ROLES}
    bindings = [entry for entry in objects if entry["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    assert {binding["roleRef"]["name"] for binding in bindings} - foreign - aggregated == roles - aggregated
    accounts = {
        (entry["metadata"]["namespace"], entry["metadata"]["name"])
        for entry in objects
        if entry["kind"] == "ServiceAccount"
    }
    for binding in bindings:
        for subject in binding["subjects"]:
            # Users and groups are the members of teams.
            if binding["roleRef"]["name"] not in aggregated and subject["kind"] == "ServiceAccount":
                assert (subject["namespace"], subject["name"]) in accounts


def test_no_role_of_the_release_has_a_wildcard(objects: tuple[Object, ...]) -> None:
    for entry in objects:
        for rule in entry.get("rules", []):
            named = [*rule["verbs"], *rule.get("apiGroups", []), *rule.get("resources", [])]
            assert "*" not in [*named, *rule.get("nonResourceURLs", [])], entry["metadata"]["name"]


def test_images_have_a_tag_and_are_pulled_only_if_not_present(objects: tuple[Object, ...]) -> None:
    for entry in workloads(objects):
        for container in containers(entry):
            reference = container["image"]
            assert re.search(r":[A-Za-z0-9_][\w.-]*(@sha256:[0-9a-f]{64})?$", reference), reference
            assert not reference.endswith(":latest")
            assert container["imagePullPolicy"] == "IfNotPresent"


def test_one_mirror_serves_every_image() -> None:
    for entry in workloads(of_profile("airgap")):
        assert pod_spec(entry)["imagePullSecrets"] == [{"name": "mirror"}]
        for container in containers(entry):
            assert container["image"].startswith("mirror.example.org:5000/")


def test_every_exception_is_needed() -> None:
    everything = [(entry, pod_spec(entry)) for name in PROFILES for entry in workloads(of_profile(name))]
    found = [(named(entry, container), container) for entry, _ in everything for container in containers(entry)]
    assert {name for name, container in found if container["securityContext"].get("privileged")} == PRIVILEGED
    assert {name for name, container in found if not container.get("resources")} == WITHOUT_RESOURCES
    limited = {name for name, container in found if "memory" in container.get("resources", {}).get("limits", {})}
    assert {name for name, _ in found} - limited - WITHOUT_RESOURCES == WITHOUT_MEMORY_LIMIT
    on_the_host = {entry["metadata"]["name"] for entry, spec in everything if spec.get("hostNetwork")}
    assert on_the_host == ON_THE_HOST
    assert {entry["metadata"]["name"] for entry, _ in everything} >= TOKEN_WITHOUT_RIGHTS
