from __future__ import annotations

import base64
import json
import os
import pwd
from typing import TYPE_CHECKING

import pytest
from tests.support.hosts import facts_of

from maas import console, lab, paths
from maas.commands import bootstrap as bootstrap_command
from maas.commands import lab as lab_command
from maas.commands import reset as reset_command
from maas.errors import MaasError, PreflightError
from maas.lab import engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A program in place of ssh: it has no configuration, and every host shows the same key and reports the same facts.
SSH = f"""\
#!/bin/sh
case "$*" in
*-G*) printf 'port 22\\nuser {pwd.getpwuid(os.getuid()).pw_name}\\n' ;;
*PreferredAuthentications=none*)
    for word; do
        case "$word" in UserKnownHostsFile=*) file=$(echo "${{word#*=}}" | tr -d '"') ;; esac
    done
    echo "host ssh-ed25519 {base64.b64encode(b"a key").decode()}" > "$file"
    exit 255 ;;
*)
    cat > /dev/null
    now=$(date +%s)
    sed "s/NOW/$now/" "${{0%/*}}/facts" ;;
esac
"""
INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory whose hosts pass every preflight check, in a home directory of its own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(SSH)
    (programs / "ssh").chmod(0o755)
    facts = facts_of().model_dump(mode="json", exclude={"clock_offset", "login_seconds"})
    (programs / "facts").write_text("maas-facts:" + json.dumps(facts)[:-1] + ', "seconds": 0, "time": NOW}\n')
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    for variable in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        directory = tmp_path / variable.lower()
        directory.mkdir()
        monkeypatch.setenv(variable, str(directory))
    file = tmp_path / "hosts.yaml"
    file.write_text(INVENTORY)
    return file


def tree(root: Path) -> dict[Path, tuple[int, int]]:
    """Every file and directory below a directory, with its inode and the time of its last change."""
    return {path: ((status := path.lstat()).st_ino, status.st_mtime_ns) for path in [root, *root.rglob("*")]}


def install(inventory: Path, *, dry_run: bool) -> None:
    bootstrap_command.bootstrap(
        inventory, directory=None, source="auto", values=[], without=[], dry_run=dry_run, yes=False
    )


def reset(inventory: Path, *, dry_run: bool) -> None:
    reset_command.reset(inventory, dry_run=dry_run, yes=False)


def create_lab(_: Path, *, dry_run: bool) -> None:
    lab_command.up("lab", directory=None, source="auto", values=[], dry_run=dry_run, yes=False)


@pytest.mark.parametrize("command", [install, reset, create_lab])
def test_a_dry_run_writes_nothing_on_the_controller(
    inventory: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "plan_engine", lambda: engine.Plan((), engine.Start.RUNNING, None))
    before = tree(inventory.parent)
    command(inventory, dry_run=True)
    assert tree(inventory.parent) == before
    assert "nothing was changed" in capsys.readouterr().err


def test_the_plan_in_json(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console.set_output("json")
    try:
        install(inventory, dry_run=True)
    finally:
        console.set_output("text")
    document = json.loads(capsys.readouterr().out)
    assert document["cluster"] == "shop"
    assert [key["host"] for key in document["hostKeys"]] == ["master", "node1"]
    assert all(key["new"] and key["fingerprint"].startswith("SHA256:") for key in document["hostKeys"])
    assert set(document["plan"]["hosts"]) == {"master", "node1"}


@pytest.mark.parametrize("command", [install, reset])
def test_a_run_that_was_not_confirmed_pins_no_key_and_stores_no_facts(
    inventory: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "confirm", lambda *_, **__: False)
    command(inventory, dry_run=False)
    assert {path.name for path in paths.state("shop").iterdir()} == {"lock.json"}


@pytest.mark.parametrize("use", ["PreferredAuthentications=none", "sudo"])
def test_the_hint_for_a_worker_that_is_down_is_an_option_that_works(inventory: Path, use: str) -> None:
    real = inventory.parent / "bin" / "ssh"
    text = real.read_text().removeprefix("#!/bin/sh\n")
    real.write_text(f'#!/bin/sh\ncase "$*" in *{use}*) case "$*" in *203.0.113.11*) exit 1;; esac ;; esac\n{text}')

    def run(without: list[str]) -> None:
        bootstrap_command.bootstrap(
            inventory, directory=None, source="auto", values=[], without=without, dry_run=True, yes=False
        )

    with pytest.raises(MaasError) as new:
        run([])
    assert "--without" not in (new.value.hint or "")
    facts = facts_of().model_dump(mode="json")
    (paths.state("shop") / "facts.json").write_text(json.dumps({"master": facts, "node1": facts}))
    with pytest.raises(MaasError) as known:
        run([])
    assert (known.value.hint or "").endswith(". To continue while this host is down: --without node1")
    run(["node1"])


def test_packages_that_hosts_cannot_get_are_reported_before_the_question(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_of(codename="trixie", os_name="Debian GNU/Linux 13 (trixie)", packages_missing=("socat",))
    text = json.dumps(facts.model_dump(mode="json", exclude={"clock_offset", "login_seconds"}))
    (inventory.parent / "bin" / "facts").write_text(f'maas-facts:{text[:-1]}, "seconds": 0, "time": NOW}}\n')
    apt = inventory.parent / "apt.conf"
    apt.write_text('Dir::Etc::sourcelist "-";\nDir::Etc::sourceparts "-";\n')
    monkeypatch.setenv("APT_CONFIG", str(apt))
    before = tree(inventory.parent)
    with pytest.raises(PreflightError) as caught:
        install(inventory, dry_run=True)
    [problem] = caught.value.context
    assert problem.startswith("master, node1: Debian 13 needs packages that are neither in the bundle nor available")
    assert "apt-get install socat" in problem
    assert tree(inventory.parent) == before
