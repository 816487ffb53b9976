from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from tests.support.hosts import facts_of

from maas import console, paths
from maas.commands import bootstrap as bootstrap_command
from maas.commands import reset as reset_command
from maas.errors import MaasError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A program in place of ssh-keyscan: every host shows the same key.
SCANNER = f"""\
#!/bin/sh
for address; do :; done
echo "$address ssh-ed25519 {base64.b64encode(b"a key").decode()}"
"""
# A program in place of ssh: every host reports the same facts.
SSH = """\
#!/bin/sh
cat > /dev/null
now=$(date +%s)
sed "s/NOW/$now/" "${0%/*}/facts"
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
    for name, text in (("ssh-keyscan", SCANNER), ("ssh", SSH)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    facts = facts_of().model_dump(mode="json", exclude={"clock_offset"})
    (programs / "facts").write_text("maas-facts:" + json.dumps(facts)[:-1] + ', "time": NOW}\n')
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


@pytest.mark.parametrize("command", [install, reset])
def test_a_dry_run_writes_nothing_on_the_controller(
    inventory: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
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


@pytest.mark.parametrize("program", ["ssh-keyscan", "ssh"])
def test_the_hint_for_a_worker_that_is_down_is_an_option_that_works(inventory: Path, program: str) -> None:
    real = inventory.parent / "bin" / program
    text = real.read_text().removeprefix("#!/bin/sh\n")
    real.write_text(f'#!/bin/sh\ncase "$*" in *203.0.113.11*) exit 1;; esac\n{text}')

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
    assert (known.value.hint or "").endswith(". To continue while this worker is down: --without node1")
    run(["node1"])
