from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest

from maas import bundle, components, console, os_releases, paths
from maas.bundle import cache as store
from maas.bundle import debian, download, golang, restaurant_image
from maas.bundle.manifest import Bundle
from maas.errors import BundleError, MaasError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.bundle.conftest import Archive, Opened, Registry, Web

    from maas.components import Lockfile
    from maas.console import Phase

BOOKWORM, TRIXIE, _, NOBLE = os_releases.SUPPORTED
PAUSE = "maas.dev/build/pause"


def program(name: str, **sources: Any) -> dict[str, Any]:
    return {"name": name, "kind": "binary", "on": "node", "path": f"bin/{name}", **sources}


def pause(*items: dict[str, Any]) -> dict[str, Any]:
    """A component whose programs hack/build/pause builds in a second."""
    return {"version": "v1", "go": {}, "items": [*items]}


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(console, "warn", lines.append)
    return lines


@pytest.fixture
def small(use: Callable[..., Lockfile], web: Web, registry: Registry, tmp_path: Path, mirror: Path) -> Lockfile:  # noqa: ARG001
    """A lockfile with one item from each kind of source."""
    digest = registry.push("pulled:v1", b"pulled", tmp_path / "push")
    return use(
        web={"version": "v1", "items": [program("fetched", download=web.publish("/fetched", b"fetched"))]},
        hub={
            "version": "v1",
            "items": [
                {
                    "name": "pulled",
                    "kind": "image",
                    "on": "workload",
                    "reference": f"{registry.host}/pulled:v1",
                    "pull": {"digest": digest},
                }
            ],
        },
        pause=pause(
            program("built", build={"package": PAUSE}),
            {
                "name": "packed",
                "kind": "image",
                "on": "node",
                "reference": "registry.example.org/packed:{version}",
                "build": {
                    "packages": ["probe"],
                    "drop": ["/usr/lib/*.so"],
                    "programs": {"/usr/bin/pause": PAUSE},
                    "users": [{"name": "probe", "id": 999, "home": "/"}],
                    "entrypoint": ["/usr/bin/pause"],
                },
            },
        ),
    )


@pytest.mark.usefixtures("cache", "small")
def test_a_bundle_matches_its_manifest_and_the_manifest_is_valid(
    tmp_path: Path, opened: Callable[[Path], Opened]
) -> None:
    made = bundle.build(tmp_path / "bundle")
    made.verify()
    schema = json.loads((paths.content() / "schemas" / "bundle.schema.json").read_text())
    written = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    jsonschema.validate(written, schema)
    assert {item.path: item.origin.source for item in made.items} == {
        "bin/fetched": "download",
        "images/pulled.tar": "pull",
        "bin/built": "build",
        "images/packed.tar": "build",
    }
    assert (tmp_path / "bundle" / "bin" / "built").stat().st_mode & 0o111
    assert Bundle.load(tmp_path / "bundle").digest == made.digest
    packed = opened(tmp_path / "bundle" / "images" / "packed.tar")
    assert packed.entry["annotations"]["io.containerd.image.name"] == "registry.example.org/packed:v1"
    assert {"usr/bin/pause", "usr/bin/probe", "etc/passwd", "bin"} <= {*packed.files}
    assert not {"usr/lib/probe.so", "usr/share/man/man1/probe.1"} & {*packed.files}


@pytest.mark.usefixtures("cache", "small")
def test_a_second_run_builds_nothing_and_sends_no_request(tmp_path: Path, web: Web) -> None:
    first = bundle.build(tmp_path / "bundle")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "bundle").rglob("*")}
    web.requests.clear()
    began = time.monotonic()
    second = bundle.build(tmp_path / "bundle")
    assert time.monotonic() - began < 2
    assert second.digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "bundle").rglob("*")} == before
    assert web.requests == []


@pytest.mark.usefixtures("small")
def test_two_machines_build_the_same_image_from_the_same_lockfile(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bundle.build(tmp_path / "first", only=["packed"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert paths.cache() != cache
    second = bundle.build(tmp_path / "second", only=["packed"])
    assert (tmp_path / "first/images/packed.tar").read_bytes() == (tmp_path / "second/images/packed.tar").read_bytes()
    assert first.digest == second.digest


@pytest.mark.usefixtures("cache", "small")
def test_a_bundle_that_was_tampered_with_is_refused_file_by_file(tmp_path: Path) -> None:
    made = bundle.build(tmp_path / "bundle", only=["fetched", "built", "pulled"])
    (tmp_path / "bundle" / "bin" / "fetched").write_bytes(b"FETCHED")
    (tmp_path / "bundle" / "bin" / "extra").write_bytes(b"not in the manifest")
    (tmp_path / "bundle" / "images" / "pulled.tar").unlink()
    with (tmp_path / "bundle" / "bin" / "built").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleError) as caught:
        made.verify()
    assert [line.split()[0].rstrip(":") for line in caught.value.context] == [
        "bin/fetched",
        "images/pulled.tar",
        "bin/built",
        "bin/extra",
    ]


@pytest.mark.usefixtures("cache", "small")
def test_a_damaged_bundle_does_not_damage_the_cache_and_is_repaired(tmp_path: Path) -> None:
    bundle.build(tmp_path / "bundle", only=["fetched"])
    (tmp_path / "bundle" / "bin" / "fetched").write_bytes(b"")
    bundle.build(tmp_path / "bundle", only=["fetched"]).verify()


@pytest.mark.usefixtures("cache", "small")
def test_a_directory_without_a_manifest_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": 2}')
    with pytest.raises(BundleError, match="is not valid"):
        Bundle.load(tmp_path)


@pytest.mark.usefixtures("cache", "small")
def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(BundleError, match="contains other files"):
        bundle.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["photo.jpg"]


@pytest.mark.parametrize("fault", ["absent", "forged", "cut", "mute"])
@pytest.mark.usefixtures("cache")
def test_if_a_source_fails_the_next_one_is_tried_and_the_reason_is_shown(
    fault: str, use: Callable[..., Lockfile], web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = web.publish("/built", b"published program")
    match fault:
        case "absent":
            del web.files["/built"]
        case "forged":
            web.files["/built"] = b"something else"
        case "cut":
            web.cut["/built"] = 3
        case "mute":
            web.mute.add("/built")
    monkeypatch.setattr(download, "TIMEOUT", httpx.Timeout(0.2))
    notes: list[str] = []
    monkeypatch.setattr(console.Phase, "note", lambda _, text: notes.append(text))
    use(pause=pause(program("built", download=published, build={"package": PAUSE})))
    made = bundle.build(tmp_path / "bundle")
    assert [item.origin.source for item in made.items] == ["build"]
    reason = {
        "absent": "404 Not Found",
        "forged": hashlib.sha256(b"something else").hexdigest(),
        "cut": "peer closed connection",
        "mute": "timed out",
    }[fault]
    assert any(reason in note for note in notes if note.startswith("build, "))


@pytest.mark.usefixtures("cache")
def test_an_item_without_a_working_source_is_unavailable_and_the_others_are_built(
    use: Callable[..., Lockfile], web: Web, tmp_path: Path, warned: list[str]
) -> None:
    use(
        web={
            "version": "v1",
            "items": [
                program("lost", download={"url": f"{web.url}/lost", "sha256": "0" * 64}),
                program("fetched", download=web.publish("/fetched", b"fetched")),
            ],
        }
    )
    made = bundle.build(tmp_path / "bundle")
    assert [item.name for item in made.items] == ["fetched"]
    assert [entry.name for entry in made.manifest.unavailable] == ["lost"]
    assert "404 Not Found" in made.manifest.unavailable[0].reason
    assert len(warned) == 1
    assert "lost v1 is not in the bundle" in warned[0]


@pytest.mark.usefixtures("cache", "warned")
@pytest.mark.parametrize("lost", [True, False])
def test_an_image_that_is_not_available_is_replaced_by_its_fallback(
    use: Callable[..., Lockfile], registry: Registry, tmp_path: Path, lost: bool
) -> None:
    digest = registry.push("screen:v1", b"screen", tmp_path / "push")
    there = f"{registry.host}/screen:v1"
    image = {"kind": "image", "on": "workload", "pull": {"digest": digest}}
    first = {**image, "name": "first", "reference": "127.0.0.1:1/screen:v1" if lost else there, "fallback": "second"}
    use(
        first={"version": "v1", "items": [first]},
        second={"version": "v1", "items": [{**image, "name": "second", "reference": there}]},
    )
    rows = {row.name: row.state for row in bundle.plan(only=["first"])}
    assert rows == ({"first": "unavailable", "second": "to do"} if lost else {"first": "to do"})
    made = bundle.build(tmp_path / "bundle", only=["first"])
    assert [item.name for item in made.items] == ["second" if lost else "first"]
    assert [entry.name for entry in made.manifest.unavailable] == (["first"] if lost else [])
    again = bundle.build(tmp_path / "bundle", only=["first", "second"])
    assert [item.name for item in again.items] == (["second"] if lost else ["first", "second"])


@pytest.mark.usefixtures("cache", "small")
@pytest.mark.parametrize(
    ("source", "expected"),
    [("download", {"fetched"}), ("pull", {"pulled"}), ("build", {"built", "packed"})],
)
def test_only_sources_of_the_chosen_kind_are_used(
    source: Any, expected: set[str], tmp_path: Path, warned: list[str]
) -> None:
    made = bundle.build(tmp_path / "bundle", source=source)
    assert {item.name for item in made.items} == expected
    assert len(warned) == 4 - len(expected)


@pytest.mark.usefixtures("cache", "small")
def test_a_plan_shows_what_is_cached_what_has_to_be_done_and_why_an_item_is_unavailable(
    tmp_path: Path, web: Web
) -> None:
    bundle.build(tmp_path / "bundle", only=["built"])
    web.requests.clear()
    rows = {row.name: row for row in bundle.plan()}
    assert {name: (row.source, row.state) for name, row in rows.items()} == {
        "fetched": ("download", "to do"),
        "pulled": ("pull", "to do"),
        "built": ("build", "cached"),
        "packed": ("build", "to do"),
    }
    assert all(method == "HEAD" for method, *_ in web.requests)
    rows = {row.name: row for row in bundle.plan("download")}
    assert rows["built"].state == "unavailable"
    assert "no download source" in rows["built"].location


@pytest.mark.usefixtures("cache")
def test_a_plan_names_the_server_that_does_not_answer(use: Callable[..., Lockfile]) -> None:
    url = "http://127.0.0.1:1/lost"
    use(web={"version": "v1", "items": [program("lost", download={"url": url, "sha256": "0" * 64})]})
    row = bundle.plan()[0]
    assert row.state == "unavailable"
    assert url in row.location


@pytest.mark.usefixtures("cache", "small")
def test_an_interrupted_run_continues_where_it_stopped(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(golang, "build", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bundle.build(tmp_path / "bundle")
    web.requests.clear()
    bundle.build(tmp_path / "bundle").verify()
    assert web.requests == []


@pytest.mark.usefixtures("cache", "small")
def test_two_runs_at_once_wait_for_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    monkeypatch.setattr(console, "line", lambda _: said.set())
    made: list[Bundle] = []
    second = threading.Thread(target=lambda: made.append(bundle.build(tmp_path / "bundle", only=["fetched"])))
    with store.lock("bundle"):
        second.start()
        assert said.wait(5)
        assert not (tmp_path / "bundle").exists()
    second.join(10)
    assert [item.name for item in made[0].items] == ["fetched"]


@pytest.mark.usefixtures("cache", "small")
def test_an_unknown_item_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(MaasError, match="has no item helmet"):
        bundle.build(tmp_path / "bundle", only=["helmet"])
    assert not (tmp_path / "bundle").exists()


@pytest.mark.usefixtures("cache", "small")
def test_an_image_built_elsewhere_is_added_replaced_and_kept(tmp_path: Path, opened: Callable[[Path], Opened]) -> None:
    made = bundle.build(tmp_path / "bundle", only=["fetched"])
    archive = tmp_path / "bundle.tar"
    other = bundle.build(tmp_path / "other", only=["packed"])
    archive.write_bytes((other.directory / "images/packed.tar").read_bytes())
    reference = "ghcr.io/maas/restaurant:1.0"
    added = made.add_image(archive, reference, version="1.0", on="workload")
    added.verify()
    assert added.digest != made.digest
    assert added.images[0].path == "images/restaurant.tar"
    image = opened(tmp_path / "bundle" / "images" / "restaurant.tar")
    assert image.entry["annotations"]["io.containerd.image.name"] == reference
    assert added.add_image(archive, reference, version="1.0", on="workload").digest == added.digest
    again = bundle.build(tmp_path / "bundle", only=["fetched"])
    assert again.digest == added.digest
    newer = again.add_image(archive, "ghcr.io/maas/restaurant:1.1", version="1.1", on="workload")
    assert [item.reference for item in newer.images] == ["ghcr.io/maas/restaurant:1.1"]
    newer.verify()


@pytest.mark.usefixtures("cache", "mirror")
def test_host_packages_are_sorted_by_distribution_without_those_of_every_system(
    use: Callable[..., Lockfile], tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maas.bundle.debian.EVERYWHERE", ("probe-lib",))
    packages = {"name": "host-packages", "kind": "packages", "on": "node", "path": "packages"}
    use(host={"version": "debian", "items": [{**packages, "build": {"packages": ["probe"]}}]})
    made = bundle.build(tmp_path / "bundle")
    made.verify()
    assert [(item.kind, item.name, item.version) for item in made.items] == [("packages", "probe", "1:2.0-1")]
    assert (made.directory / made.items[0].path).read_bytes() == (mirror / "probe.deb").read_bytes()


@pytest.fixture
def host_packages(use: Callable[..., Lockfile], archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A lockfile with host packages only, and the archives they come from."""
    monkeypatch.setattr("maas.bundle.debian.EVERYWHERE", ("probe-lib",))
    packages = {"name": "host-packages", "kind": "packages", "on": "node", "path": "packages"}
    use(host={"version": "debian", "items": [{**packages, "build": {"packages": ["probe"]}}]})
    return archive


def packed(made: Bundle) -> list[str]:
    made.verify()
    return [item.path.removeprefix("packages/") for item in made.items if item.kind == "packages"]


OURS = ["debian-bookworm/probe_2.0_amd64.deb"]
THEIRS = ["debian-trixie/probe-new_3.0_amd64.deb", "debian-trixie/probe_3.0_amd64.deb"]


@pytest.mark.usefixtures("cache", "host_packages")
def test_a_bundle_has_packages_for_the_releases_that_are_asked_for_and_keeps_the_others(tmp_path: Path) -> None:
    assert packed(bundle.build(tmp_path / "bundle")) == OURS
    assert packed(bundle.build(tmp_path / "bundle", releases=[])) == OURS
    both = bundle.build(tmp_path / "bundle", releases=[TRIXIE])
    assert packed(both) == OURS + THEIRS
    assert bundle.build(tmp_path / "bundle").digest == both.digest
    other = tmp_path / "other"
    assert packed(bundle.build(other, releases=[TRIXIE])) == THEIRS
    assert bundle.build(other, releases=[BOOKWORM, TRIXIE]).digest == both.digest


@pytest.mark.usefixtures("cache")
def test_a_bundle_that_was_made_beforehand_needs_no_mirror(
    host_packages: Archive,
    tmp_path: Path,
    phase: Phase,
    warned: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = bundle.build(tmp_path / "bundle", releases=[TRIXIE])
    monkeypatch.setattr(debian, "_resolved", {})  # another process, later
    shutil.rmtree(paths.cache() / "debian")
    shutil.rmtree(host_packages.directory / "debian")
    assert bundle.packages_missing([TRIXIE], directory=made.directory, phase=phase) == {}
    assert bundle.build(made.directory, releases=[TRIXIE]).digest == made.digest
    assert warned == []
    absent = bundle.packages_missing([TRIXIE, NOBLE], directory=tmp_path / "new", phase=phase)
    assert [*absent] == [TRIXIE, NOBLE]
    assert bundle.build(tmp_path / "new", releases=[TRIXIE]).manifest.unavailable[0].name == "host-packages"


@pytest.mark.usefixtures("host_packages")
def test_the_plan_tells_each_release_and_writes_nothing(cache: Path, tmp_path: Path, phase: Phase) -> None:
    before = sorted(cache.rglob("*"))
    rows = bundle.plan(releases=[BOOKWORM, TRIXIE, NOBLE])
    places = [(row.state, row.location.split(":")[0]) for row in rows]
    assert places[:2] == [("to do", "debian-bookworm"), ("to do", "debian-trixie")]
    assert places[2][0] == "unavailable"
    assert bundle.packages_missing([TRIXIE], directory=tmp_path / "bundle", phase=phase, dry_run=True) == {}
    assert sorted(cache.rglob("*")) == before
    bundle.build(tmp_path / "bundle", releases=[TRIXIE])
    assert [row.state for row in bundle.plan(releases=[TRIXIE])] == ["cached"]
    assert [row.state for row in bundle.plan("pull", releases=[TRIXIE])] == ["unavailable"]


@pytest.mark.usefixtures("cache", "small")
def test_a_machine_without_go_and_apt_uses_published_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str], crane: Path
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(golang, "_version", golang._version.__wrapped__)  # noqa: SLF001 - without its cache
    monkeypatch.setattr("maas.bundle.sources._crane", lambda _: crane)
    made = bundle.build(tmp_path / "bundle")
    assert {item.name for item in made.items} == {"fetched", "pulled"}
    assert [line.split()[0].rstrip(":") for line in warned] == ["built", "packed"]
    assert "Go is not installed" in warned[0]


@pytest.mark.usefixtures("cache")
def test_a_bundle_in_a_directory_keeps_its_minor_version_until_another_one_is_chosen(
    tmp_path: Path, use: Callable[..., Lockfile], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubelet = program("kubelet", download=web.publish("/kubelet", b"kubelet"))
    old = use(kubernetes={"version": "v1.12.3", "items": [kubelet]})
    new = use(kubernetes={"version": "v1.13.0", "items": [kubelet]})
    monkeypatch.setattr(components, "for_minor", lambda minor: old if minor == "1.12" else new)
    assert bundle.minor(tmp_path / "bundle") is None
    made = bundle.build(tmp_path / "bundle", only=["kubelet"], kubernetes="1.12")
    assert restaurant_image.target(None, "1.12").name == "bundle-1.12"
    assert restaurant_image.target(None, "1.13").name == "bundle"
    assert [item.version for item in made.items] == ["v1.12.3"]
    assert bundle.minor(made.directory) == "1.12"
    assert restaurant_image.minor_for(made.directory) == "1.12"
    assert restaurant_image.minor_for(made.directory, "1.13") == restaurant_image.minor_for(None) == "1.13"
    assert restaurant_image.minor_for(tmp_path / "other") == "1.13"
    assert [item.version for item in bundle.build(made.directory, only=["kubelet"], kubernetes="1.13").items] == [
        "v1.13.0"
    ]
    assert bundle.minor(made.directory) == "1.13"
    assert [row.version for row in bundle.plan(only=["kubelet"], kubernetes="1.12")] == ["v1.12.3"]
