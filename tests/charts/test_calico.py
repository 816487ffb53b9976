"""The pod network: it works over a VPN, and before any other pod runs."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.charts import Object, containers, environment, of_profile, one, pod_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.charts import Rendered

FILES = ("calico-kubeconfig", "10-calico.conflist")


@pytest.fixture
def bootstrapped() -> tuple[Object, ...]:
    return of_profile("bootstrap")


def node(objects: tuple[Object, ...]) -> Object:
    return one(objects, "DaemonSet", "calico-node")


def variables(objects: tuple[Object, ...]) -> dict[str, Any]:
    (container,) = containers(node(objects), initial=False)
    return environment(container)


def network_configuration(objects: tuple[Object, ...]) -> dict[str, Any]:
    text = one(objects, "ConfigMap", "calico-cni")["data"]["network-config"]
    configuration: dict[str, Any] = json.loads(text)
    return configuration


def test_tunnels_use_the_kubelets_address_and_not_the_first_interface(bootstrapped: tuple[Object, ...]) -> None:
    # Otherwise Calico uses eth0, and the nodes are Ready although no packet reaches another node.
    assert variables(bootstrapped)["IP_AUTODETECTION_METHOD"] == "kubernetes-internal-ip"


def test_packets_between_nodes_are_always_sent_by_vxlan(bootstrapped: tuple[Object, ...]) -> None:
    # All nodes are in the VPN's subnet, where CrossSubnet sends packets without VXLAN, and the hub drops them.
    pool = one(bootstrapped, "IPPool", "default-ipv4-ippool")["spec"]
    assert (pool["vxlanMode"], pool["ipipMode"], pool["cidr"]) == ("Always", "Never", "10.91.0.0/16")
    assert pool["natOutgoing"] is True
    assert variables(bootstrapped)["CALICO_NETWORKING_BACKEND"] == "vxlan"
    # The only pool is that of the release.
    assert variables(bootstrapped)["NO_DEFAULT_POOLS"] == "true"
    assert not [name for name in variables(bootstrapped) if name.startswith("CALICO_IPV4POOL")]


def test_pods_and_vxlan_have_the_planned_mtu(bootstrapped: tuple[Object, ...]) -> None:
    assert variables(bootstrapped)["FELIX_VXLANMTU"] == "1350"
    calico, portmap = network_configuration(bootstrapped)["plugins"]
    assert calico["mtu"] == 1350
    assert (calico["type"], portmap["type"]) == ("calico", "portmap")


def test_an_unset_mtu_is_left_to_calico(rendered: Rendered) -> None:
    objects = rendered("calico")
    assert "FELIX_VXLANMTU" not in variables(objects)
    assert network_configuration(objects)["plugins"][0]["mtu"] == 0


def test_the_network_starts_on_a_node_without_a_network(bootstrapped: tuple[Object, ...]) -> None:
    spec = pod_spec(node(bootstrapped))
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "Default"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["priorityClassName"] == "system-node-critical"


def test_a_node_gets_its_network_configuration_once_the_network_works(bootstrapped: tuple[Object, ...]) -> None:
    # It makes the node Ready; pods that start before the network works fail, or hang for half a minute.
    installer, felix = containers(node(bootstrapped))
    places = {mount["mountPath"]: mount["name"] for mount in installer["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_spec(node(bootstrapped))["volumes"]}
    assert "emptyDir" in volumes[places["/host/etc/cni/net.d"]]
    script = felix["lifecycle"]["postStart"]["exec"]["command"][-1]
    assert script.index("-felix-ready") < script.index("/host/etc/cni/net.d")
    kept = {mount["mountPath"]: mount["name"] for mount in felix["volumeMounts"]}
    assert volumes[kept["/host/etc/cni/net.d"]]["hostPath"]["path"] == "/etc/cni/net.d"


def test_the_readiness_probe_restores_the_network_configuration(
    bootstrapped: tuple[Object, ...], tmp_path: Path
) -> None:
    # A kubelet that restarts during postStart does not repeat it, and the node would stay NotReady.
    (_, felix) = containers(node(bootstrapped))
    prepared, host, program = (tmp_path / name for name in ("prepared", "host", "calico-node"))
    places = {"/host/etc/cni/net.d": host, "/prepared": prepared, "/bin/calico-node": program}
    words = felix["readinessProbe"]["exec"]["command"]
    for place, here in places.items():
        words = [word.replace(place, str(here)) for word in words]
    for directory in (prepared, host):
        directory.mkdir()
    for name in FILES:
        (prepared / name).write_text(f"prepared {name}")
        os.utime(prepared / name, (1000, 1000))

    def probe(*, ready: bool = True) -> dict[str, str]:
        program.write_text(f'#!/bin/sh\n[ "$*" = -felix-ready ] && exit {int(not ready)}\n')
        program.chmod(0o755)
        assert (subprocess.run(words, check=False).returncode == 0) is ready
        return {path.name: path.read_text() for path in host.iterdir()}

    assert probe(ready=False) == {}
    installed = {name: f"prepared {name}" for name in FILES}
    assert probe() == installed
    (host / "10-calico.conflist").unlink()
    # calico-node has renewed the credentials since.
    (host / "calico-kubeconfig").write_text("renewed")
    assert probe() == installed | {"calico-kubeconfig": "renewed"}
    # What an earlier pod left.
    for name in FILES:
        os.utime(host / name, (900, 900))
    assert probe() == installed


def test_the_cni_plugin_has_the_address_of_the_api_server(bootstrapped: tuple[Object, ...]) -> None:
    # The installer's own kubeconfig has brackets around the address, which Go does not parse.
    (plugin, *_) = network_configuration(bootstrapped)["plugins"]
    root = "https://__KUBERNETES_SERVICE_HOST__:__KUBERNETES_SERVICE_PORT__"
    assert plugin["kubernetes"]["k8s_api_root"] == root


def test_nothing_of_the_release_runs_before_the_network(bootstrapped: tuple[Object, ...]) -> None:
    # The pod of a hook would wait for a network that is installed after it.
    early = [
        entry["metadata"]["name"]
        for entry in bootstrapped
        if entry["metadata"].get("annotations", {}).get("helm.sh/hook", "test") != "test"
    ]
    assert early == []
    assert not [entry for entry in bootstrapped if "WebhookConfiguration" in entry["kind"]]


def test_the_programs_are_started_as_in_the_upstream_manifests(bootstrapped: tuple[Object, ...]) -> None:
    installer, felix = containers(node(bootstrapped))
    assert installer["command"] == ["/opt/cni/bin/install"]
    assert environment(installer)["SLEEP"] == "false"
    assert "command" not in felix, "the entry point of the image starts its services"
    assert felix["livenessProbe"]["exec"]["command"] == ["/bin/calico-node", "-felix-live"]
    assert felix["readinessProbe"]["exec"]["command"][-1].startswith("/bin/calico-node -felix-ready\n")
    # There is no BGP daemon.
    assert "-bird-ready" not in json.dumps(felix)


def test_the_address_of_the_api_server_can_be_set_for_every_pod_that_needs_it() -> None:
    objects = of_profile("network-only")
    for workload in (node(objects), one(objects, "Deployment", "calico-kube-controllers")):
        for container in containers(workload):
            assert environment(container)["KUBERNETES_SERVICE_HOST"] == "10.90.0.1"
            assert environment(container)["KUBERNETES_SERVICE_PORT"] == "6443"


def test_metrics_are_on_the_nodes_internal_address_alone_and_can_be_disabled(rendered: Rendered) -> None:
    on = variables(rendered("calico"))
    assert on["FELIX_PROMETHEUSMETRICSENABLED"] == "true"
    # Any other address may be public.
    assert on["FELIX_PROMETHEUSMETRICSHOST"] == {"fieldRef": {"fieldPath": "status.hostIP"}}
    off = variables(rendered("calico", node__metrics__enabled="false"))
    assert not [name for name in off if "PROMETHEUS" in name]


def test_no_node_reports_its_usage_to_the_vendor(bootstrapped: tuple[Object, ...]) -> None:
    assert variables(bootstrapped)["FELIX_USAGEREPORTINGENABLED"] == "false"


def test_only_a_changed_network_configuration_restarts_the_pods_of_the_nodes(rendered: Rendered) -> None:
    def template(**settings: str) -> Any:
        return node(rendered("calico", **settings))["spec"]["template"]

    assert template(mtu="1400")["metadata"] != template(mtu="1390")["metadata"]
    assert template(kubeControllers__resources="{}") == template()


def test_the_cni_plugin_can_only_request_its_own_token(bootstrapped: tuple[Object, ...]) -> None:
    token = one(bootstrapped, "Role", "calico-cni-token")
    assert token["metadata"]["namespace"] == "calico-system"
    (rule,) = token["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (
        ["serviceaccounts/token"],
        ["calico-cni-plugin"],
        ["create"],
    )
