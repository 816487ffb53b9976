from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support import hosts
from tests.support.ansible_content import CONTENT

from maas import paths
from maas.hosts import ansible, network_plan
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maas.hosts.inventory import Inventory


@pytest.fixture(name="inventory_of")
def _inventory_of() -> Any:
    return hosts.inventory_of


@pytest.fixture(name="facts_of")
def _facts_of() -> Any:
    return hosts.facts_of


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ansible.Result]:
    """Runs a playbook by Ansible itself, with the product's settings and plugins, on this machine in place of hosts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    content = tmp_path / "content"
    copied = content / "hack" / "ansible"
    copied.mkdir(parents=True)
    for name in ("ansible.cfg", "library", "module_utils", "plugins"):
        (copied / name).symlink_to(CONTENT / name)
    (content / "hack" / "build").symlink_to(CONTENT.parent / "build")
    monkeypatch.setattr(paths, "content", lambda: content)

    def run(
        tasks: list[dict[str, Any]],
        *,
        connection: str = "local",
        inventory: Inventory = hosts.INVENTORY,
        without: tuple[str, ...] = (),
        become_password: str | None = None,
    ) -> ansible.Result:
        variables = {"ansible_connection": connection, "ansible_python_interpreter": sys.executable}
        play = {"name": "Prepare the hosts", "hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
        (copied / "site.yml").write_text(yaml.safe_dump([play]))
        facts = {one.name: hosts.facts_of() for one in inventory.hosts}
        state = paths.state("shop")
        plan = network_plan.compute(inventory, facts)
        known_hosts, bundle = state / ansible.KNOWN_HOSTS, hosts.bundle_of(tmp_path)
        variables = ansible_inventory(inventory, plan=plan, facts=facts, bundle=bundle, known_hosts=known_hosts)
        return ansible.run(
            "site",
            inventory=variables,
            state=state,
            retry="maas bootstrap",
            without=without,
            become_password=become_password,
        )

    return run
