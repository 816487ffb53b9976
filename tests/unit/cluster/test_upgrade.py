from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import inventory_of

from maas.cluster import upgrade
from maas.cluster.host_programs import Hosts
from maas.errors import ClusterError
from maas.process import Completed

if TYPE_CHECKING:
    from pathlib import Path

METRICS = """\
# HELP apiserver_requested_deprecated_apis [STABLE] Gauge of deprecated APIs
apiserver_requested_deprecated_apis{group="flowcontrol",removed_release="1.40",resource="schemas",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="",removed_release="1.41",resource="endpoints",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",version="v1"} 1
apiserver_requested_deprecated_apis{group="old",removed_release="1.39",resource="things",version="v1alpha1"} 0
"""
HEALTHY = '[{"endpoint":"https://10.90.0.1:2379","health":true,"took":"9ms"}]'


@pytest.mark.parametrize(
    ("running", "target", "reason"),
    [
        (["v1.39.4"], "v1.40.2", ""),
        (["v1.40.1"], "v1.40.2", ""),
        (["v1.40.2", "v1.39.4"], "v1.40.2", ""),
        (["v1.38.9"], "v1.40.2", "from v1.38.9 to v1.40.2 is more than one minor version"),
        (["v1.39.4", "v1.38.9"], "v1.40.2", "from v1.38.9 to v1.40.2 is more than one minor version"),
        (["v1.41.0", "v1.40.2"], "v1.40.2", "v1.41.0 is newer than v1.40.2"),
        (["v1.40.10"], "v1.40.9", "v1.40.10 is newer than v1.40.9"),
        (["v1.9.0"], "v1.10.0", ""),
        (["v1.40.2"], "v2.0.0", "more than one minor version"),
    ],
)
def test_only_a_later_version_within_one_minor_version_is_allowed(running: list[str], target: str, reason: str) -> None:
    found = upgrade.skips(running, target)
    assert found == "" if reason == "" else reason in found


def test_apis_that_are_removed_and_were_requested_are_named() -> None:
    assert upgrade.removed_apis(METRICS, "1.40") == ["schemas of flowcontrol/v1beta3, removed in 1.40"]
    assert upgrade.removed_apis(METRICS, "1.39") == []
    assert upgrade.removed_apis(METRICS, "1.41")[0] == "endpoints of v1, removed in 1.41"


def hosts(state: Path, monkeypatch: pytest.MonkeyPatch, output: str, status: int = 0) -> Hosts:
    def run(_: Hosts, host: Any, command: str, **__: Any) -> Completed:
        assert host.name == "master"
        assert "ADDRESS" not in command
        return Completed(("ssh",), status, output, "no route to host", 0.0)

    monkeypatch.setattr(Hosts, "run", run)
    return Hosts(inventory_of("node1"), state)


@pytest.mark.parametrize(
    ("output", "problems"),
    [
        (HEALTHY, []),
        (HEALTHY.replace("true", "false"), ["etcd at https://10.90.0.1:2379 is not healthy"]),
        (f"{HEALTHY}\n\nmemberID:1 alarm:NOSPACE\n", ["etcd has an alarm: memberID:1 alarm:NOSPACE"]),
        ("[]", ["etcd has 0 members, and there are 1 control planes"]),
        ("", ["etcd does not report the health of its members"]),
    ],
)
def test_members_that_are_not_healthy_and_alarms_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, problems: list[str]
) -> None:
    assert upgrade.etcd_problems(hosts(tmp_path, monkeypatch, output), {"master": "10.90.0.1"}) == problems


def test_the_apis_in_use_are_those_of_the_control_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = upgrade.removed_in_use(hosts(tmp_path, monkeypatch, METRICS), {"master": "10.90.0.1"}, "1.40")
    assert found == ["schemas of flowcontrol/v1beta3, removed in 1.40"]


def test_a_control_plane_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match="cannot read the state of master") as caught:
        upgrade.etcd_problems(hosts(tmp_path, monkeypatch, "", 255), {"master": "10.90.0.1"})
    assert caught.value.context == ("master: no route to host",)


def test_an_upgrade_is_continued_until_its_end(tmp_path: Path) -> None:
    assert upgrade.unfinished(tmp_path) is None
    made = upgrade.begin(tmp_path, before="v1.39.4", to="v1.40.2")
    later = made.model_copy(update={"done": ("staged",), "cordoned": "node1"}).save(tmp_path)
    assert upgrade.begin(tmp_path, before="v1.40.2", to="v1.40.2") == later
    assert (tmp_path / upgrade.FILE).stat().st_mode & 0o777 == 0o600
    upgrade.end(tmp_path)
    upgrade.end(tmp_path)
    assert upgrade.unfinished(tmp_path) is None
