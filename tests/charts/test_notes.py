"""What Helm shows after an installation: its commands work, whatever the name and the namespace of the release."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from maas import cli, process
from maas.commands import credentials
from maas.helm import render
from maas.helm.client import Helm

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("release", "namespace"), [("shop", "platform"), ("my.shop", "default")])
def test_the_commands_of_the_notes_are_about_this_release(
    release: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Helm 3 shows the notes in a cluster only.
    options = ("--dry-run=client", "--kubeconfig=/dev/null", "--output=json", f"--namespace={namespace}")
    smaller = ("--set=kube-prometheus.dashboards.enabled=false", "--set=kube-prometheus.rules.enabled=false")
    argv: list[str | Path] = [Helm.pinned("4").executable, "install", release, render.umbrella(), *options, *smaller]
    shown = json.loads(process.run(argv, timeout=120).stdout)
    objects = [(one["kind"].lower(), one["metadata"]["name"]) for one in render.parse(shown["manifest"])]
    commands = [line.split() for line in shown["info"]["notes"].splitlines() if line.startswith("    ")]

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(credentials, "credentials", lambda _, grant, **more: calls.append({"grant": grant, **more}))
    (own,) = [words for words in commands if words[0] == "maas"]
    monkeypatch.setattr("sys.argv", own)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, shlex.join(own)
    (call,) = calls
    assert call["release"] == release
    assert ("clusterrole", f"{release}-{call['grant'].role}") in objects
    assert f"the role {release}-{call['grant'].role};" in shown["info"]["notes"]

    forwarded = [words[words.index("port-forward") + 1] for words in commands if "port-forward" in words]
    assert len(forwarded) == 4
    for kind, _, name in (one.partition("/") for one in forwarded):
        # The operator makes a StatefulSet of each Prometheus.
        assert (kind, name) in objects or ("prometheus", name.removeprefix("prometheus-")) in objects
    assert ["helm", "test", release, "--namespace", namespace, "--logs"] in commands
