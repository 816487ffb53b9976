"""Hosts for the CIS benchmark: the files and programs that kubeadm and our roles leave on a host, in a directory."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jinja2
import yaml
from tests.support.ansible_content import CONTENT
from tests.support.hosts import INVENTORY, bundle_of, facts_of

from maas.bundle import tools
from maas.cluster.cis import _host_script
from maas.cluster.cis.hosts import HostState
from maas.hosts import encryption, network_plan
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    import pytest

_PHASES = ("certs all", "kubeconfig all", "etcd local", "control-plane all", "kubelet-start")
_MANIFESTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")


@dataclass
class FixtureHost:
    """A host whose root directory is `root`. Its files belong to root, unless `owners` has another owner."""

    name: str
    address: str
    control_plane: bool
    root: Path
    owners: dict[str, str] = field(default_factory=dict)

    def copy(self, root: Path) -> FixtureHost:
        """Return a copy that a test may break."""
        shutil.copytree(self.root, root, symlinks=True)
        return FixtureHost(self.name, self.address, self.control_plane, root)

    def path(self, pattern: str) -> Path:
        """Return the first file that a pattern matches."""
        return min(self.root.glob(pattern.lstrip("/")))

    def command(self, program: str) -> Path:
        """Return the file in /proc with the command line of a program."""
        return next(
            file
            for file in sorted(self.root.glob("proc/*/cmdline"))
            if Path(file.read_text(encoding="utf-8").split("\0")[0]).name == program
        )

    def set_flag(self, program: str, flag: str, value: str | None) -> None:
        """Set a flag of a program, or remove it."""
        file = self.command(program)
        words = file.read_text(encoding="utf-8").rstrip("\0").split("\0")
        words = [word for word in words if word.partition("=")[0] != f"--{flag}"]
        file.write_text("\0".join([*words, *([] if value is None else [f"--{flag}={value}"])]) + "\0", encoding="utf-8")

    def set_field(self, path: str, value: str | None) -> None:
        """Set a setting of the kubelet's configuration in its last file, or remove it from all."""
        *parents, last = path.split(".")
        files = [self.root / "var/lib/kubelet/config.yaml", *sorted(self.root.glob("etc/kubernetes/kubelet.conf.d/*"))]
        for file in files:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            inner = content
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner.pop(last, None)
            if value is not None and file is files[-1]:
                inner[last] = yaml.safe_load(value)
            file.write_text(yaml.safe_dump(content), encoding="utf-8")

    def state(self, parameters: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> HostState:
        """Return what the script reports on this host."""
        monkeypatch.setattr(_host_script, "ROOT", self.root)
        files = _host_script.files(parameters["files"])
        for found in files.values():
            for file in found:
                file["path"] = "/" + str(Path(file["path"]).relative_to(self.root))
                file["owner"] = self.owners.get(file["path"], "root:root")
        report = {
            "files": files,
            "programs": _host_script.programs(parameters["programs"]),
            "providers": _host_script.providers(encryption.CONFIGURATION),
            "kubelet": _host_script.texts(["/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf.d/*.conf"]),
        }
        return HostState(json.loads(json.dumps(report)), control_plane=self.control_plane, address=self.address)


def make(directory: Path) -> tuple[FixtureHost, FixtureHost]:
    """Return a control plane and a worker, made with the roles' templates and kubeadm's dry run."""
    (directory / "bundle").mkdir()
    facts = {host.name: facts_of() for host in INVENTORY.hosts}
    plan = network_plan.compute(INVENTORY, facts)
    made = ansible_inventory(
        INVENTORY, plan=plan, facts=facts, bundle=bundle_of(directory / "bundle"), known_hosts=directory / "known"
    )
    content = cast("dict[str, Any]", json.loads(json.dumps(made)))["all"]
    nodes = {name: own["node"] for group in content["children"].values() for name, own in group["hosts"].items()}
    cluster = content["vars"]["cluster"]
    written = _dry_run(directory, nodes["master"], cluster)
    hosts = []
    for name, node in nodes.items():
        host = FixtureHost(name, node["vpn_address"], node["role"] == "control-plane", directory / name)
        _install(host, node, cluster, written)
        hosts.append(host)
    first, second = hosts
    return first, second


def _render(role: str, template: str, node: dict[str, Any], cluster: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CONTENT / "roles" / role / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - these are no web pages
    )
    environment.filters["to_json"] = json.dumps
    return environment.get_template(template).render(node=node, cluster=cluster)


def _dry_run(directory: Path, node: dict[str, Any], cluster: dict[str, Any]) -> Path:
    """Return a directory with what `kubeadm init` would write with the template of the role."""
    written, patches = directory / "kubeadm", directory / "patches"
    written.mkdir()
    patches.mkdir()
    configuration = directory / "kubeadm.yaml"
    text = _render("control_plane", "kubeadm.yaml.j2", node, cluster)
    configuration.write_text(text.replace("/etc/maas/kubernetes/patches", str(patches)), encoding="utf-8")
    kubeadm = tools.tool("kubeadm")
    for phase in _PHASES:
        words = [str(kubeadm), "init", "phase", *phase.split(), "--config", str(configuration), "--dry-run"]
        environment = {**os.environ, "KUBEADM_INIT_DRYRUN_DIR": str(written)}
        subprocess.run(words, check=True, capture_output=True, env=environment, timeout=240)
    return written


def _install(host: FixtureHost, node: dict[str, Any], cluster: dict[str, Any], written: Path) -> None:
    kubernetes = host.root / "etc/kubernetes"
    for name in ("etc/kubernetes/manifests", "etc/kubernetes/pki", "var/lib/kubelet", "proc"):
        (host.root / name).mkdir(parents=True)
    commands: list[list[str]] = []
    if host.control_plane:
        shutil.copytree(
            written, kubernetes / "pki", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.yaml", "*.conf")
        )
        for file in written.glob("*.conf"):
            shutil.copy(file, kubernetes)
        for name in _MANIFESTS:
            file = written / f"{name}.yaml"
            shutil.copy(file, kubernetes / "manifests")
            pod = yaml.safe_load(file.read_text(encoding="utf-8"))
            commands.append(pod["spec"]["containers"][0]["command"])
        (host.root / "var/lib/etcd").mkdir(mode=0o700)
        secrets = host.root / encryption.CONFIGURATION.lstrip("/")
        secrets.parent.mkdir()
        secrets.write_text(encryption.Keys(keys=(encryption.new_key(),)).configuration(), encoding="utf-8")
    else:
        # What the kubelet and kubeadm write on a worker is a part of what they write on a control plane.
        shutil.copy(written / "ca.crt", kubernetes / "pki")
        shutil.copy(written / "kubelet.conf", kubernetes)
    shutil.copy(written / "config.yaml", host.root / "var/lib/kubelet")
    tasks = yaml.safe_load((CONTENT / "roles/kubernetes/tasks/main.yml").read_text(encoding="utf-8"))
    for entry in tasks[0]["install"]["files"]:
        file = host.root / entry["path"].lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        template = entry["content"].split("'")[3]
        file.write_text(_render("kubernetes", template, node, cluster), encoding="utf-8")
        file.chmod(int(entry.get("mode", "0644"), 8))
    commands.append(_start(host))
    proxy = yaml.safe_load_all(_render("control_plane", "kube-proxy.yaml.j2", node, cluster))
    (daemon,) = (one for one in proxy if one["kind"] == "DaemonSet")
    words = daemon["spec"]["template"]["spec"]["containers"][0]["command"]
    commands.append([word.replace("$(NODE_IP)", host.address) for word in words])
    for number, words in enumerate(commands, start=100):
        file = host.root / f"proc/{number}/cmdline"
        file.parent.mkdir()
        file.write_text("\0".join(words) + "\0", encoding="utf-8")


def _start(host: FixtureHost) -> list[str]:
    """Do what the kubelet's unit does before the kubelet starts, and return its command line."""
    unit = (host.root / "etc/systemd/system/kubelet.service").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.partition("=")[2] for line in unit.splitlines() if line.startswith(("ExecStartPre=", "ExecStart="))]
    for line in lines:
        words = shlex.split(line.lstrip("-"))
        if words[0] == "/bin/chmod":
            (host.root / words[2].lstrip("/")).chmod(int(words[1], 8))
    return [word for word in shlex.split(lines[-1]) if not word.startswith("$")]
