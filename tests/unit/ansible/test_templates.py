from __future__ import annotations

import json
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
import yaml
from tests.support.ansible_content import CONTENT

from maas.hosts import encryption

if TYPE_CHECKING:
    from pathlib import Path

MACHINE: dict[str, Any] = {
    "name": "node1",
    "role": "worker",
    "vpn_address": "10.90.0.2",
    "vpn_units": ["openvpn-client@maas.service"],
    "server": None,
    "links": [],
    "tunnels": [],
    "neighbors": [],
    "announces_api": False,
    "cgroup_driver": "systemd",
    "cgroup_version": 2,
    "container": False,
    "lacks_sys_resource": False,
    "resolv_conf": "/etc/resolv.conf",
    "nameservers": [],
    "firewall_rules": [],
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
    "control_planes": ["master"],
    "api_address": "10.90.0.254",
    "networks": {"vpn": "10.90.0.0/24", "transit": "10.93.0.0/21", "pods": "10.91.0.0/16", "services": "10.92.0.0/16"},
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
    "timeouts": {"factor": 1, "kubeadm": {}},
    "containers": False,
    "kubernetes_version": "v1.37.2",
    "images": {"pause": "pause:1", "kube_proxy": "kube-proxy:1", "local_path": "local-path:1", "helper": "busybox:1"},
}
KEYS = {
    "ca": "CA\n",
    "certificate": "CERT\n",
    "key": "KEY\n",
    "tls_crypt": {"master": "CRYPT\n"},
    "tls_crypt_server": "SERVER\n",
}
HUB = MACHINE | {
    "name": "master",
    "role": "control-plane",
    "vpn_address": "10.90.0.1",
    "server": {"device": "maas0", "port": 1194, "address": "10.93.0.1", "netmask": "255.255.255.0"},
    "announces_api": True,
}
TUNNEL = {"hub": "master", "device": "maas0", "endpoint": "vpn.example.org", "port": 1194}


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
    return environment.get_template(template).render(node=node, cluster=CLUSTER | cluster, vpn=KEYS, tunnel=TUNNEL)


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
    assert config["failSwapOn"] is False
    assert not {"failCgroupV1", "evictionHard", "oomScoreAdj"} & set(config)


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
    assert "After=network-online.target containerd.service bird.service openvpn-client@maas.service\n" in unit
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
    assert cluster["controlPlaneEndpoint"] == "10.90.0.254:6443"
    assert "10.90.0.254" in cluster["apiServer"]["certSANs"]
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


def test_the_api_server_encrypts_secrets_and_keeps_an_audit_log() -> None:
    server = documents(render("control_plane", "kubeadm.yaml.j2"))["ClusterConfiguration"]["apiServer"]
    flags, tasks = extra(server), yaml.safe_load((CONTENT / "roles/control_plane/tasks/main.yml").read_text())
    written = {entry["path"]: task for task in tasks for entry in task.get("install", {}).get("files", ())}
    assert written[flags["encryption-provider-config"]]["no_log"], "the task has the keys"
    assert flags["encryption-provider-config"] == encryption.CONFIGURATION
    assert flags["audit-policy-file"] in written
    mounted = {volume["mountPath"]: volume for volume in server["extraVolumes"]}
    for flag, writes in (("encryption-provider-config", False), ("audit-policy-file", False), ("audit-log-path", True)):
        volume = mounted[flags[flag].rpartition("/")[0]]
        assert volume["hostPath"] == volume["mountPath"]
        assert volume.get("readOnly", False) is not writes


def test_the_audit_log_has_no_content_of_secrets_and_no_noise() -> None:
    policy = yaml.safe_load((CONTENT / "roles/control_plane/files/audit-policy.yaml").read_text())

    def level(group: str, resource: str, verb: str, *groups: str) -> str:
        for rule in policy["rules"]:
            resources = rule.get("resources")
            matches = resources is None or any(
                one["group"] == group and resource in one.get("resources", [resource]) for one in resources
            )
            own = set(rule.get("userGroups", groups)) & set(groups) or "userGroups" not in rule
            if "nonResourceURLs" in rule or "users" in rule or not own:
                continue
            if matches and verb in rule.get("verbs", [verb]):
                return str(rule["level"])
        return "None"

    assert level("", "secrets", "get", "system:nodes") == "Metadata"
    assert level("", "secrets", "create", "system:masters") == "Metadata"
    assert level("rbac.authorization.k8s.io", "clusterroles", "patch") == "RequestResponse"
    assert level("", "pods", "delete", "people") == "Metadata"
    assert level("", "pods", "watch", "system:serviceaccounts") == "None"
    assert level("coordination.k8s.io", "leases", "update", "system:nodes") == "None"


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


def test_a_single_control_plane_elects_no_leader() -> None:
    cluster = documents(render("control_plane", "kubeadm.yaml.j2"))["ClusterConfiguration"]
    for component in ("controllerManager", "scheduler"):
        assert extra(cluster[component])["leader-elect"] == "false"


def test_several_control_planes_elect_a_leader_and_the_api_server_keeps_its_settings() -> None:
    text = render("control_plane", "kubeadm.yaml.j2", control_planes=["m1", "m2", "m3"])
    cluster = documents(text)["ClusterConfiguration"]
    for component in ("controllerManager", "scheduler"):
        assert extra(cluster[component])["leader-elect"] == "true"
    # Or it would restart, and the API would be away, when one control plane becomes three.
    assert (
        cluster["apiServer"]
        == documents(render("control_plane", "kubeadm.yaml.j2"))["ClusterConfiguration"]["apiServer"]
    )


def test_a_control_plane_joins_with_its_own_address() -> None:
    assert "controlPlane" not in join()
    made = join(MACHINE | {"name": "m2", "role": "control-plane"})
    assert made["controlPlane"]["localAPIEndpoint"] == {"advertiseAddress": "10.90.0.2", "bindPort": 6443}


def test_an_etcd_without_data_is_guarded_before_the_kubelet_starts() -> None:
    guard = "ExecStartPre=-/usr/local/lib/maas/etcd-guard --boot\n"
    assert guard in render("kubernetes", "kubelet.service.j2", node=MACHINE | {"role": "control-plane"})
    assert guard not in render("kubernetes", "kubelet.service.j2")


def test_kubeadm_waits_longer_for_slow_hosts_only() -> None:
    assert "timeouts" not in documents(render("control_plane", "kubeadm.yaml.j2"))["InitConfiguration"]
    slow = {"factor": 2, "kubeadm": {"tlsBootstrap": "600s", "discovery": "600s"}}
    made = documents(render("control_plane", "kubeadm.yaml.j2", timeouts=slow))["InitConfiguration"]
    assert made["timeouts"] == slow["kubeadm"]
    assert join(timeouts=slow)["timeouts"] == slow["kubeadm"]


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


def join(node: dict[str, Any] = MACHINE, **cluster: Any) -> dict[str, Any]:
    template = (CONTENT / "roles" / "worker" / "templates" / "join.yaml.j2").read_text()
    said = "kubeadm join 10.90.0.1:6443 --token ab.cd --discovery-token-ca-cert-hash sha256:ef \n"
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters["to_json"] = json.dumps
    variables = {
        "worker_token": {"stdout": said},
        "control_plane_join_token": {"stdout": said},
        "node": node,
        "cluster": CLUSTER | cluster,
    }
    made: dict[str, Any] = yaml.safe_load(environment.from_string(template).render(variables))
    return made


def test_a_node_joins_with_the_pinned_authority() -> None:
    made = join()
    token = made["discovery"]["bootstrapToken"]
    assert token == {"apiServerEndpoint": "10.90.0.1:6443", "token": "ab.cd", "caCertHashes": ["sha256:ef"]}
    assert "timeouts" not in made


def test_only_known_nodes_reach_the_hub() -> None:
    text = render("openvpn_server", "server.conf.j2", node=HUB)
    server = directives(text)
    assert (server["mode"], server["ifconfig"]) == ("server", "10.93.0.1 255.255.255.0")
    assert server["crl-verify"] == "/etc/openvpn/server/maas/revoked dir"
    assert {"ccd-exclusive", "topology"} <= set(server)
    assert "client-to-client" not in server
    assert server["remote-cert-tls"] == "client"


def test_both_ends_of_the_tunnel_agree() -> None:
    server = directives(render("openvpn_server", "server.conf.j2", node=HUB))
    client = directives(render("openvpn_client", "client.conf.j2"))
    for name in ("dev", "tun-mtu", "data-ciphers", "tls-version-min", "proto"):
        assert server[name] == client[name]
    assert client["remote"] == "vpn.example.org 1194"
    assert client["verify-x509-name"] == "master name"
    assert client["connect-retry"] == "1 5"


def test_nothing_of_the_cluster_uses_a_proxy_of_the_host() -> None:
    names = {f"{name}_proxy" for name in ("http", "https", "ftp", "all", "no")}
    names |= {name.upper() for name in names}
    books = (yaml.safe_load((CONTENT / name).read_text(encoding="utf-8")) for name in ("site.yml", "certificates.yml"))
    for play in (play for plays in books for play in plays):
        if play["name"] != "Prepare the hosts" and "VPN" not in play["name"]:
            assert play["environment"] == dict.fromkeys(names, ""), play["name"]
    units = [
        render("kubernetes", "kubelet.service.j2"),
        render("containerd", "containerd.service.j2"),
        *(
            (CONTENT / "roles" / "control_plane" / "files" / f"maas-{name}.service").read_text(encoding="utf-8")
            for name in ("nodes", "renew")
        ),
    ]
    for unit in units:
        (unset,) = (line for line in unit.splitlines() if line.startswith("UnsetEnvironment="))
        assert set(unset.partition("=")[2].split()) == names


@pytest.mark.parametrize("role", ["openvpn_server", "openvpn_client"])
def test_only_the_task_that_writes_keys_is_hidden(role: str) -> None:
    tasks = yaml.safe_load((CONTENT / "roles" / role / "tasks" / "main.yml").read_text(encoding="utf-8"))
    for task in tasks:
        secret = ".conf.j2" in str(task["install"])
        assert task.get("no_log", False) is secret, task["name"]
        # A tunnel that fails is the task that starts the unit: its error has the log of OpenVPN.
        assert ("units" in task["install"]) is not secret, task["name"]


def test_the_storage_class_is_the_default_one() -> None:
    made = documents(render("storage", "local-path.yaml.j2"))
    annotations = made["StorageClass"]["metadata"]["annotations"]
    assert annotations["storageclass.kubernetes.io/is-default-class"] == "true"
    assert made["StorageClass"]["volumeBindingMode"] == "WaitForFirstConsumer"
    helper = yaml.safe_load(made["ConfigMap"]["data"]["helperPod.yaml"])
    assert helper["spec"]["containers"][0]["image"] == "busybox:1"


def test_the_hub_alone_opens_the_vpns_port() -> None:
    hub = render("base", "firewall.sh.j2", node=HUB)
    assert "--dport 1194 -j ACCEPT" in hub
    assert "--dport" not in render("base", "firewall.sh.j2")


def test_new_firewall_rules_leave_the_address_of_the_host() -> None:
    # Without its source address, the kernel deletes all routes of BIRD, and a hub forwards nothing for seconds.
    role = CONTENT / "roles" / "base"
    tasks = yaml.safe_load((role / "tasks" / "firewall.yml").read_text())
    units = [unit for task in tasks for unit in task.get("install", {}).get("units", [])]
    (firewall,) = (unit for unit in units if unit["names"] == ["maas-firewall.service"])
    assert firewall["reload"] == ["/usr/local/lib/maas/firewall"]
    assert "ExecReload=/usr/local/lib/maas/firewall up\n" in (role / "files" / "maas-firewall.service").read_text()
    up = next(line for line in render("base", "firewall.sh.j2").splitlines() if line.startswith("    up)"))
    assert up == "    up) clear && rules ;;"
    clear = render("base", "firewall.sh.j2").partition("clear() {")[2].partition("\n}")[0]
    assert "ip address del" not in clear


def test_the_rules_in_the_chains_of_nftables_are_added_once_and_removed() -> None:
    rules = [{"chain": "inet filter input", "match": 'iifname "maas*"'}]
    script = render("base", "firewall.sh.j2", node=MACHINE | {"firewall_rules": rules})
    assert "insert 'inet filter input' 'iifname \"maas*\"'" in script
    assert script.index("\n    remove\n") > script.index("\nclear() {")
    assert "clear && rules" in script
    assert "nft" not in render("base", "firewall.sh.j2")


def test_the_address_of_the_api_leads_to_a_ready_server_alone() -> None:
    hub = render("base", "firewall.sh.j2", node=HUB)
    (rule,) = (line for line in hub.splitlines() if "DNAT" in line)
    assert "-d 10.90.0.254 -p tcp --dport 6443" in rule
    assert "--dst-type LOCAL" in rule, "without the address, packets go on to another control plane"
    assert rule.endswith("--to-destination 10.90.0.1")


def test_the_address_of_the_api_stays_longer_than_an_election_takes() -> None:
    # A follower waits for one to two election timeouts, and then asks the other members for their votes.
    text = render("routing", "maas-api-address.service.j2", node=HUB, etcd={"heartbeat_ms": 100, "election_ms": 2000})
    assert "ExecStart=/usr/local/lib/maas/api-address 10.90.0.1 10.90.0.254 6.0\n" in text


def test_what_is_for_the_private_networks_leaves_by_no_other_way() -> None:
    script = render("base", "firewall.sh.j2")
    assert 'PRIVATE="10.90.0.0/24 10.93.0.0/21 10.91.0.0/16"' in script
    assert "ip route add unreachable" in script


@pytest.mark.parametrize(
    ("backup", "calendar"),
    [({}, "*:00/30"), ({"minutes": {"master": 0}}, "*:00/30"), ({"minutes": {"a": 0, "master": 10}}, "*:10/30")],
)
def test_each_control_plane_backs_etcd_up_at_its_own_minutes(backup: dict[str, Any], calendar: str) -> None:
    timer = render("etcd_backup", "maas-etcd-backup.timer.j2", node=HUB, backup=backup)
    assert f"OnCalendar={calendar}\n" in timer


def test_the_keys_of_the_cluster_are_copied_without_a_trace() -> None:
    """They are neither in a Secret of the cluster, nor in arguments of a program, nor in the log of Ansible."""
    tasks = yaml.safe_load((CONTENT / "roles/control_plane_join/tasks/main.yml").read_text())
    inner = [task for outer in tasks for task in outer.get("block", [outer])]
    for task in inner:
        if "ansible.builtin.command" in task:
            command = json.dumps(task["ansible.builtin.command"])
            assert "control_plane_join_pki" not in command
            assert "upload-certs" not in command
    assert [task["name"] for task in inner if task.get("no_log")] == [
        "Read the CAs of the cluster",
        "Write the CAs of the cluster",
        "Create a bootstrap token",
        "Write the kubeadm join configuration",
    ]


def test_a_hub_learns_of_revocations_from_the_hubs_that_it_has_links_to() -> None:
    hub = HUB | {
        "links": [
            {"address": "10.93.7.0", "peer_address": "10.93.7.1", "device": "maas0-1"},
            {"address": "10.93.7.2", "peer_address": "10.93.7.3", "device": "maas0-2"},
        ]
    }
    before = render("openvpn_server", "revocations.j2", node=hub)
    assert "ExecStartPre=+-/usr/local/lib/maas/revoke --fetch 10.93.7.1 10.93.7.3\n" in before
    later = render("openvpn_server", "maas-revocations.service.j2", node=hub)
    assert "ExecStart=/usr/local/lib/maas/revoke --fetch 10.93.7.1 10.93.7.3\n" in later
    listen = render("openvpn_server", "maas-revocations.socket.j2", node=hub)
    assert re.findall("^ListenStream=(.+)$", listen, re.MULTILINE) == ["10.93.7.0:7194", "10.93.7.2:7194"]


def test_a_hub_answers_requests_for_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "hub.prom").write_text("openvpn_up 1\n")
    script = CONTENT / "roles" / "base" / "files" / "serve-metrics.sh"
    request = "GET /metrics HTTP/1.1\r\nHost: hub\r\n\r\nthe rest is not read\n"
    words = ["sh", str(script), str(tmp_path / "hub.prom")]
    done = subprocess.run(words, input=request.encode(), capture_output=True, timeout=20, check=True)
    head, _, body = done.stdout.decode().partition("\r\n\r\n")
    assert head.splitlines() == ["HTTP/1.0 200 OK", "Content-Type: text/plain; version=0.0.4"]
    assert body == "openvpn_up 1\n"
    socket = render("base", "maas-metrics-http.socket.j2", node=HUB)
    assert f"ListenStream={HUB['vpn_address']}:9100\n" in socket
