"""The controls as data: what must hold, how it is checked, what to do, and which findings are accepted and why."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import Field, TypeAdapter, model_validator

from maas.components import Model

if TYPE_CHECKING:
    from typing import Self

Program = Literal["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kubelet", "kube-proxy"]

EVERYWHERE = ("kubelet", "kube-proxy")
"""The programs that run on every host; the others run on control planes."""


class Waiver(Model):
    """A finding that is accepted."""

    match: str
    """A regular expression that is searched in the finding. `{address}` is the VPN address of the host."""
    reason: str
    """Why the finding is no risk, or which function needs it."""

    def accepts(self, text: str, address: str) -> bool:
        """Return whether the waiver applies to a finding on a host with an address."""
        return re.search(self.match.replace("{address}", re.escape(address)), text) is not None


class FileCheck(Model):
    """Mode or owner of files. Each path must match a file."""

    hosts: Literal["control-plane", "all"]
    """The hosts that have the files."""
    paths: tuple[str, ...]
    """Absolute paths, also with wildcards."""
    mode: str | None = None
    """The most that the mode may allow, in octal digits."""
    owner: str | None = None
    """The required owner, as user:group."""


class Test(Model):
    """A test of a setting of a program: one of `set`, `equals`, `includes`, `excludes` and `minimum`."""

    flag: str
    """Name of the flag."""
    field: str | None = None
    """The path of the setting in the configuration file of the kubelet; the flag overrides it."""
    default: str | None = None
    """The value of a setting that is not set."""
    set: bool | None = None
    """Whether it must be set."""
    equals: str | None = None
    """The required value."""
    includes: str | None = None
    """What the list must contain."""
    excludes: str | None = None
    """What the list must not contain."""
    minimum: int | None = None
    """The least value."""


class SettingsCheck(Model):
    """Flags of a program that runs, and the configuration file of the kubelet."""

    program: Program
    tests: tuple[Test, ...]


class AccessCheck(Model):
    """Permissions that nothing but Kubernetes itself has in the whole cluster."""

    resources: tuple[str, ...]
    verbs: tuple[str, ...]


class Control(Model):
    """A control of the benchmark, with one check."""

    id: str
    """Its number in the benchmark."""
    title: str
    """What must hold."""
    file: FileCheck | None = None
    settings: SettingsCheck | None = None
    providers: tuple[str, ...] | None = None
    """The providers of which one encrypts Secrets on every control plane."""
    access: AccessCheck | None = None
    api: Literal["administrators", "wildcards", "default_accounts", "idle_tokens", "pod_security"] | None = None
    """The function of `maas.cluster.cis.api`."""
    remediation: str = Field(default="")
    """What to do. By default, it follows from the check."""
    waivers: tuple[Waiver, ...] = ()

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        checks = (self.file, self.settings, self.providers, self.access, self.api)
        if sum(check is not None for check in checks) != 1:
            raise ValueError(f"{self.id} must have one check")
        return self

    @property
    def advice(self) -> str:
        """What to do if the control fails."""
        if self.remediation:
            return self.remediation
        if self.file is not None:
            paths = " ".join(self.file.paths)
            command = f"chmod {self.file.mode}" if self.file.mode else f"chown {self.file.owner}"
            return f"on the host: {command} {paths}"
        if self.settings is not None:
            return _how_to_set(self.settings)
        return "remove the permission from the role, or delete the binding"


def _how_to_set(check: SettingsCheck) -> str:
    if check.program == "kubelet":
        where = "/var/lib/kubelet/config.yaml, then systemctl restart kubelet"
    elif check.program == "kube-proxy":
        where = "the DaemonSet kube-system/kube-proxy"
    else:
        where = f"/etc/kubernetes/manifests/{check.program}.yaml; the kubelet restarts the pod"
    return f"on the host, set {', '.join(_wanted(test) for test in check.tests)} in {where}"


def _wanted(test: Test) -> str:
    name = test.field or f"--{test.flag}"
    if test.set is not None:
        return name if test.set else f"no {name}"
    if test.equals is not None:
        return f"{name}={test.equals}"
    if test.includes is not None:
        return f"{name} with {test.includes}"
    if test.excludes is not None:
        return f"{name} without {test.excludes}"
    return f"{name} to {test.minimum} or more"


@cache
def load() -> tuple[Control, ...]:
    """Return the controls, in the order of the benchmark."""
    text = resources.files("maas.cluster.cis").joinpath("controls.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[Control, ...]).validate_python(yaml.safe_load(text))
