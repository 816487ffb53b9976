from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas import paths
from maas.cluster import credentials, tunnel
from maas.cluster.credentials import Grant
from maas.commands import credentials as command
from maas.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("ttl", "expected"), [("10m", 600), ("8h", 28800), ("7d", 604800)])
def test_durations_become_seconds(ttl: str, expected: int) -> None:
    assert credentials.parse_ttl(ttl) == expected


@pytest.mark.parametrize("ttl", ["", "8", "h", "9m", "8d", "-1h", "1.5h", "8 h", "8h\n", "\uff19h", "99999999999999h"])
def test_an_invalid_lifetime_is_rejected(ttl: str) -> None:
    with pytest.raises(UsageError, match="between 10m and 7d"):
        credentials.parse_ttl(ttl)


def refused(**changes: object) -> str:
    given: dict[str, object] = {"ttl": "8h", "kubeconfig": None, "token": False} | changes
    role = str(given.pop("role", "viewer"))
    with pytest.raises(UsageError) as caught:
        command.credentials("shop", Grant(role), **given)  # type: ignore[arg-type]
    return caught.value.code


def test_invalid_requests_are_rejected_before_a_cluster_is_contacted(tmp_path: Path) -> None:
    present = tmp_path / "config"
    present.write_text("mine")
    assert refused(role="root") == "InvalidUsage"
    assert refused(token=True, kubeconfig=tmp_path / "new") == "InvalidUsage"
    assert refused(kubeconfig=present) == "FileExists"
    assert present.read_text() == "mine"


def test_the_error_for_an_unknown_cluster_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (paths.state("shop") / "access.json").write_text("{}")
    with pytest.raises(UsageError) as caught:
        tunnel.state_dir("shopp")
    assert caught.value.code == "ClusterNotFound"
    assert "shop " in str(caught.value.hint)
