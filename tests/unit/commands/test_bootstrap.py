from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.hosts import facts_of, inventory_of

from maas.commands import _preflight
from maas.errors import PreflightError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_worker_that_is_down_is_planned_with_its_last_facts(tmp_path: Path) -> None:
    inventory = inventory_of("node1", "node2")
    (tmp_path / "facts.json").write_text(json.dumps({"node2": facts_of(kernel="6.1").model_dump(mode="json")}))
    assert _preflight.facts_of_absent(inventory, tmp_path, ["node2"]) == {"node2": facts_of(kernel="6.1")}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("master", "master is not a worker of the inventory"),
        ("node9", "node9 is not a worker of the inventory"),
        ("node1", "node1 has no facts from an earlier run"),
    ],
)
def test_only_a_worker_with_facts_can_be_left_out(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "facts.json").write_text(json.dumps({"master": {}}))
    with pytest.raises(PreflightError) as caught:
        _preflight.facts_of_absent(inventory_of("node1"), tmp_path, [name])
    assert caught.value.context == (why,)
