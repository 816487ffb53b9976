from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.ansible.conftest import Host


def one(path: Path, content: str, mode: str = "0644") -> dict[str, Any]:
    return {"path": str(path), "content": content, "mode": mode}


def record(host: Host) -> Any:
    return json.loads((host.home / "record.json").read_text())


def test_files_and_their_directories_are_made(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "etc" / "containerd" / "config.toml"
    answer = host.run("install", files=[one(path, "version = 3\n", "0600")])
    assert answer["changed"]
    assert answer["changes"] == [f"create {path}"]
    assert path.read_text() == "version = 3\n"
    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_second_run_changes_nothing(host: Host, tmp_path: Path) -> None:
    files = [one(tmp_path / "a", "a"), one(tmp_path / "b", "b", "0755")]
    host.run("install", files=files, directories={str(tmp_path / "nodes"): {"node1": "x"}})
    before = (host.home / "record.json").stat().st_mtime_ns, (tmp_path / "a").stat().st_mtime_ns
    answer = host.run("install", files=files, directories={str(tmp_path / "nodes"): {"node1": "x"}})
    assert answer == {"changed": False, "changes": [], "diff": [], "missing": []}
    assert before == ((host.home / "record.json").stat().st_mtime_ns, (tmp_path / "a").stat().st_mtime_ns)


def test_content_and_mode_are_both_kept(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "file"
    host.run("install", files=[one(path, "text")])
    path.chmod(0o666)
    assert host.run("install", files=[one(path, "text")])["changes"] == [f"mode of {path}"]
    assert path.stat().st_mode & 0o7777 == 0o644
    path.write_text("other")
    answer = host.run("install", files=[one(path, "text")])
    assert answer["changes"] == [f"change {path}"]
    assert answer["diff"][0]["before"] == "other"
    assert path.read_text() == "text"


def test_check_mode_reports_and_changes_nothing(host: Host, tmp_path: Path) -> None:
    stale = tmp_path / "nodes" / "gone"
    stale.parent.mkdir()
    stale.touch()
    answer = host.run("install", check_mode=True, files=[one(tmp_path / "a", "a")], directories={str(stale.parent): {}})
    assert answer["changes"] == [f"create {tmp_path / 'a'}", f"remove {stale}"]
    assert not (tmp_path / "a").exists()
    assert stale.exists()
    assert not (host.home / "record.json").exists()


def test_a_whole_directory_loses_files_that_are_not_wanted(host: Host, tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    host.run("install", directories={str(nodes): {"node1": "1", "node2": "2"}})
    answer = host.run("install", directories={str(nodes): {"node1": "1"}})
    assert answer["changes"] == [f"remove {nodes / 'node2'}"]
    assert [path.name for path in nodes.iterdir()] == ["node1"]


def test_an_empty_whole_directory_is_there(host: Host, tmp_path: Path) -> None:
    host.run("install", directories={str(tmp_path / "revoked"): {}})
    assert (tmp_path / "revoked").is_dir()


def test_original_files_are_kept_for_a_reset(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "crictl.yaml"
    path.write_text("the host's own")
    host.run("install", files=[one(path, "ours")])
    host.run("install", files=[one(path, "ours, changed")])
    kept = record(host)["files"][str(path)]["before"]
    assert (host.home / "before" / path.relative_to("/")).read_text() == "the host's own"
    assert kept == str(host.home / "before" / path.relative_to("/"))


def test_directories_that_were_made_are_recorded_and_others_are_not(host: Host, tmp_path: Path) -> None:
    host.run("install", files=[one(tmp_path / "new" / "deep" / "file", "")])
    assert record(host)["made"] == [str(tmp_path / "new"), str(tmp_path / "new" / "deep")]
