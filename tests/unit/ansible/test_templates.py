from __future__ import annotations

import json
import tomllib
from typing import Any

import jinja2
import pytest
import yaml
from tests.support.ansible_content import CONTENT

MACHINE: dict[str, Any] = {
    "name": "node1",
    "role": "worker",
    "vpn_address": "10.90.0.2",
    "vpn_unit": "openvpn-client@maas.service",
    "hub_endpoint": "vpn.example.org",
    "hub_port": 1194,
    "cgroup_driver": "systemd",
    "cgroup_version": 2,
    "container": False,
    "lacks_sys_resource": False,
    "resolv_conf": "/etc/resolv.conf",
    "nameservers": [],
    "ignore_preflight": [],
}
CONTAINER = MACHINE | {
    "cgroup_driver": "cgroupfs",
    "cgroup_version": 1,
    "container": True,
    "lacks_sys_resource": True,
    "ignore_preflight": ["SystemVerification"],
}
CLUSTER: dict[str, Any] = {
    "name": "shop",
    "control_plane": "master",
    "hub_port": 1194,
    "networks": {"vpn": "10.90.0.0/24", "pods": "10.91.0.0/16", "services": "10.92.0.0/16"},
    "tun_mtu": 1444,
    "keepalive": {"interval": 3, "timeout": 9},
    "connect_retry": {"first": 1, "longest": 5},
    "etcd": {"heartbeat_ms": 100, "election_ms": 1000},
    "timers": {
        "http2_read_idle": 6,
        "http2_ping": 4,
        "node_lease": 16,
        "node_status_update": 10,
        "node_monitor_grace": 30,
        "toleration": 15,
    },
    "containers": False,
    "kubernetes_version": "v1.37.2",
    "images": {"pause": "pause:1", "kube_proxy": "kube-proxy:1", "local_path": "local-path:1", "helper": "busybox:1"},
}
KEYS = {"ca": "CA\n", "certificate": "CERT\n", "key": "KEY\n", "tls_crypt": "CRYPT\n"}
HUB = KEYS | {"network": "10.90.0.0", "netmask": "255.255.255.0"}


def render(role: str, template: str, *, node: dict[str, Any] = MACHINE, **cluster: Any) -> str:
    """A template as Ansible renders it; a variable that does not exist is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CONTENT / "roles" / role / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - these are no web pages
    )
    environment.filters["to_json"] = json.dumps
    vpn = HUB if role == "openvpn_server" else KEYS
    return environment.get_template(template).render(node=node, cluster=CLUSTER | cluster, vpn=vpn)


def documents(text: str) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def extra(component: dict[str, Any]) -> dict[str, str]:
    return {argument["name"]: argument["value"] for argument in component["extraArgs"]}


def directives(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and line[0] not in "#<"]
    return dict(line.partition(" ")[::2] for line in lines)


def test_a_machine_has_the_kubelets_own_limits() -> None:
    config = yaml.safe_load(render("kubernetes", "kubelet.conf.j2"))
    assert config["address"] == "10.90.0.2"
    assert config["cgroupDriver"] == "systemd"
    assert not {"failSwapOn", "failCgroupV1", "evictionHard", "oomScoreAdj"} & set(config)


def test_a_container_leaves_the_machines_disk_and_swap_to_the_machine() -> None:
    config = yaml.safe_load(render("kubernetes", "kubelet.conf.j2", node=CONTAINER))
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["failCgroupV1"] is False
    assert config["failSwapOn"] is False
    assert config["oomScoreAdj"] == 0
    assert set(config["evictionHard"].values()) == {"0%"}


def test_the_kubelet_waits_for_its_address_before_it_starts() -> None:
    unit = render("kubernetes", "kubelet.service.j2")
    assert "ExecStartPre=/usr/local/lib/maas/wait-address 10.90.0.2 300\n" in unit
    assert "After=network-online.target containerd.service openvpn-client@maas.service\n" in unit
    assert "--node-ip=10.90.0.2 " in unit


@pytest.mark.parametrize(("node", "limited"), [(MACHINE, False), (CONTAINER, True)])
def test_containerd_raises_no_limits_where_it_may_not(node: dict[str, Any], limited: bool) -> None:
    plugins = tomllib.loads(render("containerd", "config.toml.j2", node=node))["plugins"]
    runtime = plugins["io.containerd.cri.v1.runtime"]
    runc = runtime["containerd"]["runtimes"]["runc"]
    assert ("restrict_oom_score_adj" in runtime) is limited
    assert ("base_runtime_spec" in runc) is limited
    assert runc["options"]["SystemdCgroup"] is not limited
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == "pause:1"
    spec = json.loads((CONTENT / "roles" / "containerd" / "files" / "base-runtime-spec.json").read_text())
    assert "rlimits" not in spec["process"]


def test_every_server_of_the_control_plane_is_bound_to_the_vpn() -> None:
    made = documents(render("control_plane", "kubeadm.yaml.j2"))
    cluster = made["ClusterConfiguration"]
    assert made["InitConfiguration"]["localAPIEndpoint"]["advertiseAddress"] == "10.90.0.2"
    assert cluster["controlPlaneEndpoint"] == "10.90.0.2:6443"
    for component in ("apiServer", "controllerManager", "scheduler"):
        assert extra(cluster[component])["bind-address"] == "10.90.0.2"
    # The tool's end of its ssh tunnel to the API.
    assert "127.0.0.1" in cluster["apiServer"]["certSANs"]


def test_metrics_of_the_control_plane_can_be_verified_and_open_no_data() -> None:
    cluster = documents(render("control_plane", "kubeadm.yaml.j2"))["ClusterConfiguration"]
    for component in ("controllerManager", "scheduler"):
        # Of the cluster's CA and for the address in the VPN, unlike one that the program makes up.
        assert extra(cluster[component])["tls-cert-file"] == "/etc/kubernetes/pki/apiserver.crt"
    mounted = [volume["mountPath"] for volume in cluster["scheduler"]["extraVolumes"]]
    assert mounted == ["/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/apiserver.key"]
    urls = extra(cluster["etcd"]["local"])["listen-metrics-urls"].split(",")
    # kubeadm asks the first one whether etcd is well.
    assert urls == ["http://127.0.0.1:2381", "http://10.90.0.2:2381"]


def test_a_machine_that_is_shut_down_ends_its_pods_first() -> None:
    machine = yaml.safe_load(render("kubernetes", "kubelet.conf.j2"))
    assert (machine["shutdownGracePeriod"], machine["shutdownGracePeriodCriticalPods"]) == ("60s", "20s")
    assert "shutdownGracePeriod" not in yaml.safe_load(render("kubernetes", "kubelet.conf.j2", node=CONTAINER))


def test_kubelets_are_verified_by_the_api_server() -> None:
    made = documents(render("control_plane", "kubeadm.yaml.j2"))
    assert extra(made["ClusterConfiguration"]["apiServer"])["kubelet-certificate-authority"] == (
        "/etc/kubernetes/pki/ca.crt"
    )
    assert made["KubeletConfiguration"]["serverTLSBootstrap"] is True


def test_the_timers_of_the_plan_reach_kubernetes() -> None:
    cluster = documents(render("control_plane", "kubeadm.yaml.j2"))["ClusterConfiguration"]
    assert extra(cluster["controllerManager"])["node-monitor-grace-period"] == "30s"
    server = extra(cluster["apiServer"])
    assert server["default-unreachable-toleration-seconds"] == server["default-not-ready-toleration-seconds"] == "15"
    assert extra(cluster["etcd"]["local"])["election-timeout"] == "1000"
    kubelet = yaml.safe_load(render("kubernetes", "kubelet.conf.j2"))
    assert (kubelet["nodeLeaseDurationSeconds"], kubelet["nodeStatusUpdateFrequency"]) == (16, "10s")
    assert "HTTP2_READ_IDLE_TIMEOUT_SECONDS=6\n" in render("kubernetes", "kubelet.service.j2")


def test_kube_proxy_answers_on_each_nodes_own_address() -> None:
    made = documents(render("control_plane", "kube-proxy.yaml.j2"))
    (container,) = made["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    flags = dict(word.removeprefix("--").split("=", 1) for word in container["command"][1:])
    assert flags["metrics-bind-address"] == "$(NODE_IP):10249"
    assert flags["healthz-bind-address"] == "$(NODE_IP):10256"
    assert flags["nodeport-addresses"] == "10.90.0.0/24"
    assert flags["cluster-cidr"] == "10.91.0.0/16"
    assert "conntrack-max-per-core" not in flags
    lab = documents(render("control_plane", "kube-proxy.yaml.j2", containers=True))
    (container,) = lab["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert "--conntrack-max-per-core=0" in container["command"]


def test_a_node_joins_with_the_pinned_authority() -> None:
    template = (CONTENT / "roles" / "worker" / "templates" / "join.yaml.j2").read_text()
    said = "kubeadm join 10.90.0.1:6443 --token ab.cd --discovery-token-ca-cert-hash sha256:ef \n"
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters["to_json"] = json.dumps
    text = environment.from_string(template).render(worker_token={"stdout": said}, node=MACHINE)
    token = yaml.safe_load(text)["discovery"]["bootstrapToken"]
    assert token == {"apiServerEndpoint": "10.90.0.1:6443", "token": "ab.cd", "caCertHashes": ["sha256:ef"]}


def test_only_known_nodes_reach_the_hub() -> None:
    text = render("openvpn_server", "server.conf.j2")
    server = directives(text)
    assert server["server"] == "10.90.0.0 255.255.255.0 nopool"
    assert server["crl-verify"] == "/etc/openvpn/server/maas/revoked dir"
    assert {"ccd-exclusive", "topology"} <= set(server)
    assert "client-to-client" not in server
    assert server["remote-cert-tls"] == "client"


def test_both_ends_of_the_tunnel_agree() -> None:
    server = directives(render("openvpn_server", "server.conf.j2"))
    client = directives(render("openvpn_client", "client.conf.j2"))
    for name in ("tun-mtu", "data-ciphers", "tls-version-min", "proto"):
        assert server[name] == client[name]
    assert client["remote"] == "vpn.example.org 1194"
    assert client["verify-x509-name"] == "master name"
    assert client["connect-retry"] == "1 5"


def test_the_storage_class_is_the_default_one() -> None:
    made = documents(render("storage", "local-path.yaml.j2"))
    annotations = made["StorageClass"]["metadata"]["annotations"]
    assert annotations["storageclass.kubernetes.io/is-default-class"] == "true"
    assert made["StorageClass"]["volumeBindingMode"] == "WaitForFirstConsumer"
    helper = yaml.safe_load(made["ConfigMap"]["data"]["helperPod.yaml"])
    assert helper["spec"]["containers"][0]["image"] == "busybox:1"


def test_the_hub_alone_opens_the_vpns_port() -> None:
    hub = render("base", "firewall.sh.j2", node=MACHINE | {"name": "master"})
    assert "--dport 1194 -j ACCEPT" in hub
    assert "--dport" not in render("base", "firewall.sh.j2")


def test_what_is_for_the_private_networks_leaves_by_no_other_way() -> None:
    script = render("base", "firewall.sh.j2")
    assert 'PRIVATE="10.90.0.0/24 10.91.0.0/16"' in script
    assert "ip route add unreachable" in script
