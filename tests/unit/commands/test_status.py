from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from maas import console
from maas.cluster.hubs import Hub
from maas.cluster.objects import Node
from maas.cluster.status import Status
from maas.commands import status

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.client import Cluster


class OneNode:
    """A cluster as far as the summary reads it."""

    kubeconfig = "admin.conf"

    def nodes(self) -> list[Any]:
        return []


@pytest.mark.parametrize("name", ["lab", "shop"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:40001", None])
def test_the_summary_has_the_address_of_the_dashboards_and_the_command_that_logs_in(
    name: str, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(console, "table", lambda _title, _heads, rows: shown.extend(rows))
    status.summarize(name, cast("Cluster", OneNode()), pages={"restaurant": None, "dashboards": url})
    found = dict(shown)
    assert found.get("dashboards") == url
    command = "./nox -s credentials -- " + ("" if name == "lab" else "--name shop ") + "--role viewer --token"
    assert found.get("token to log in") == (None if url is None else command)
    assert "restaurant" not in found


def test_a_hub_that_does_not_answer_is_a_problem_unless_it_is_a_node_that_is_not_ready(tmp_path: Path) -> None:
    def node(name: str, *, ready: bool) -> Node:
        return Node(name, "10.90.0.1", ready=ready, reason="", control_plane=True, version="v1")

    found = Status(
        name="shop",
        nodes=[node("a", ready=True), node("b", ready=False)],
        hubs=[
            Hub("a", {"node1": True}, announces_api=True),
            Hub("b", {}, announces_api=False, answers=False),
            Hub("h", {}, announces_api=False, answers=False),
        ],
        workloads=[],
        certificates=[],
        restaurant=None,
        dashboards=None,
        kubeconfig=tmp_path,
    )
    assert found.problems == ["b", "hub h"]
