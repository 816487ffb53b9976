"""Two releases from a clone of this project, 0.1.0 and 0.2.0, and their users: Helm, cosign, pip and a lab.

A registry and a web server run on loopback, with keys of their own; a release is built again in another environment, and
the wheel is installed. Figures are printed, and the documented limits asserted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.support.control_plane import control_plane
from tests.support.loopback import registry

from maas import lab, paths
from maas.bundle import cache, oci, restaurant_image, tools
from maas.cluster import tunnel
from maas.helm.client import Helm
from maas.release import app_image, checksums, pipeline, repository, serve, signers, trust
from maas.release.checkout import Checkout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maas.helm.client import Major

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

RELEASE_LIMIT, VERIFY_LIMIT = 180.0, 20.0
"""Seconds of processor time for a whole release with a built image, and for verifying one: the wall clock is printed too, and
depends on what else this machine does."""

HELMS: tuple[Major, ...] = ("4", "3")


def run(
    *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done


@dataclass
class World:
    """A clone of the project with keys, a chart repository on a web server, and a registry."""

    directory: Path
    tree: Path
    fingerprint: str
    repository: Path
    address: str = ""
    registry: str = ""
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Record the time of a step, and the CPU time of the programs that it started."""
        began, before = time.monotonic(), os.times()
        yield
        used = os.times().children_user + os.times().children_system - before.children_user - before.children_system
        self.seconds[step] = (time.monotonic() - began, used)

    def maas(self, *words: str | Path, status: int = 0, env: Mapping[str, str] | None = None) -> str:
        """Run the clone's own tool in the clone, and return its output."""
        environment = {"PYTHONPATH": str(self.tree / "src"), **(env or {})}
        return run(sys.executable, "-m", "maas", *words, cwd=self.tree, env=environment, status=status).stderr

    def git(self, *words: str) -> str:
        return run("git", "-C", self.tree, *words).stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def release(self, version: str, *targets: str | Path) -> Path:
        """Prepare, commit and release a version as in docs/releasing.md."""
        fragment = self.tree / "release" / "changes" / f"of-{version.replace('.', '-')}.changed.md"
        fragment.write_text(f"What {version} changes.\n")
        self.maas("version", version)
        self.maas("changelog", version)
        tested = pipeline.tested(self.commit(f"Release {version}"))
        tested.parent.mkdir(parents=True, exist_ok=True)
        tested.touch()  # the tests that a release requires are not run here
        signers = ["--sign", f"gpg:{self.fingerprint}", "--sign", f"key:{self.directory / 'keys' / 'maas.key'}"]
        signers += ["--passphrase-file", str(self.directory / "keys" / "passphrase")]
        published = [word for target in targets for word in ("--publish", str(target))]
        try:
            with self.timed(f"release {version}"):
                transcript = self.maas("release", version, *signers, *published, "--yes")
        finally:
            tested.unlink()
        print(transcript)
        self.git("tag", f"v{version}")
        return self.tree / "dist" / version

    def helm(self, major: Major, *words: str | Path, kubeconfig: Path | None = None) -> str:
        own = self.directory / f"helm-{major}"
        environment = {f"HELM_{what}_HOME": str(own / what) for what in ("CACHE", "CONFIG", "DATA")}
        environment["KUBECONFIG"] = str(kubeconfig or "/dev/null")
        return run(Helm.pinned(major).executable, *words, env=environment).stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    tree, keys = directory / "tree", directory / "keys"
    run("git", "clone", "--quiet", paths.content(), tree)
    home = tempfile.mkdtemp(prefix="gpg-")
    (directory / "registry").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", home)
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        run(
            "gpg",
            "--batch",
            "--passphrase",
            "",
            "--quick-generate-key",
            "MaaS <maas@example.org>",
            "ed25519",
            "sign",
            "never",
        )
        keys.mkdir(mode=0o700)
        (keys / "passphrase").write_text(secrets.token_hex(16))
        (keys / "passphrase").chmod(0o600)
        _, public = signers.generate(keys, passphrase=keys / "passphrase")
        armored = tree / signers.PUBLIC / signers.OPENPGP
        armored.write_text(run("gpg", "--batch", "--armor", "--export").stdout)
        shutil.copy(public, tree / signers.PUBLIC / public.name)
        run("gpg", "--batch", "--output", keys / "ring.gpg", "--export")
        made = World(directory, tree, trust.fingerprints(armored)[0], directory / "repository")
        made.git("switch", "--quiet", "--force-create", "main")
        for name, value in (("user.name", "t"), ("user.email", "t@example.org"), ("commit.gpgsign", "false")):
            made.git("config", name, value)
        made.commit("Public keys")
        with contextlib.ExitStack() as stack:
            made.registry = stack.enter_context(registry(directory / "registry"))
            made.release("0.1.0", made.repository, f"oci://{made.registry}/maas")
            http = stack.enter_context(serve.server(made.repository, 0))
            stack.callback(http.shutdown)
            threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
            made.address = f"http://127.0.0.1:{http.server_port}"
            made.release("0.2.0", made.repository, f"oci://{made.registry}/maas")
            yield made
        run("gpgconf", "--kill", "all")
    shutil.rmtree(home, ignore_errors=True)
    for step, (seconds, used) in made.seconds.items():
        print(f"{step}: {seconds:.1f} s, of which {used:.1f} s of processor time")


def test_a_release_takes_less_than_three_minutes_and_verifying_it_less_than_twenty_seconds(world: World) -> None:
    assert world.seconds["release 0.2.0"][1] < RELEASE_LIMIT
    places = {
        "directory": str(world.tree / "dist" / "0.2.0"),
        "repository": world.address,
        "registry": f"oci://{world.registry}/maas/charts/maas:0.2.0",
    }
    for place, where in places.items():
        with world.timed(f"verify {place}"):
            transcript = world.maas("verify", where)  # with the keys that are part of the tool
        assert "release 0.2.0 is complete and signed" in transcript
        assert world.seconds[f"verify {place}"][1] < VERIFY_LIMIT
    print(transcript)


def test_verify_fails_with_the_next_step(world: World, tmp_path: Path) -> None:
    release = tmp_path / "release"
    shutil.copytree(world.tree / "dist" / "0.1.0", release)
    chart = release / "maas-0.1.0.tgz"
    chart.write_bytes(chart.read_bytes() + b"\0")
    transcript = world.maas("verify", str(release), status=1)
    assert "maas-0.1.0.tgz differs" in transcript
    assert f"do not use {release}" in transcript
    assert "hint: fetch it again" in transcript
    assert "Traceback" not in transcript


def test_the_same_bytes_come_from_another_folder_time_zone_locale_umask_cache_and_clock(
    world: World, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "a folder with spaces" / "clone"
    run("git", "clone", "--quiet", "--branch", "v0.2.0", world.tree, elsewhere)
    own = tmp_path / "cache" / "maas"
    own.mkdir(parents=True)
    for kept in ("components", "debian", "wheels", "partial"):  # what is pinned by digest; the image is built again
        (paths.cache() / kept).mkdir(exist_ok=True)
        (own / kept).symlink_to(paths.cache() / kept)
    environment = {
        "PYTHONPATH": str(elsewhere / "src"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "42",
        "SOURCE_DATE_EPOCH": "1",
    }
    # A month later, except for programs in Go, which read the kernel's clock.
    script = 'umask 077 && exec faketime -f +30d "$0" -m maas package --directory "$1" --yes'
    with world.timed("rebuild with the image"):
        run("sh", "-c", script, sys.executable, tmp_path / "rebuilt", cwd=elsewhere, env=environment)
    first, second = (checksums.read(directory) for directory in (world.tree / "dist" / "0.2.0", tmp_path / "rebuilt"))
    assert second == first
    for name in (*first, checksums.FILE):
        assert (tmp_path / "rebuilt" / name).read_bytes() == (world.tree / "dist" / "0.2.0" / name).read_bytes(), name


def test_the_image_has_one_digest_when_nothing_of_the_first_build_is_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = lab.prepare(assume_yes=True)
    build = client.images.build
    digests = []
    with cache.scratch() as scratch:
        for number in range(2):
            kept = scratch / f"{number}.tar"
            collection = type(client.images)
            monkeypatch.setattr(collection, "build", lambda _, **options: build(**options, nocache=True))
            from maas.console import Phase  # noqa: PLC0415

            restaurant_image.build_image(client, kept, Phase("image"))
            plain, packed = scratch / f"{number}.plain", scratch / f"{number}.oci"
            app_image.normalize(kept, plain, labels={}, created=Checkout.read(world.tree).created)
            oci.convert(plain, packed, reference=restaurant_image.reference())
            digests.append(app_image.digest(packed))
    assert digests[0] == digests[1]
    print(f"image: {digests[0]} from two builds without a cache")


@pytest.mark.parametrize("major", HELMS)
def test_helm_finds_pulls_and_verifies_both_versions_in_the_repository(
    world: World, major: Major, tmp_path: Path
) -> None:
    world.helm(major, "repo", "add", "maas", world.address)
    world.helm(major, "repo", "update")
    found = json.loads(world.helm(major, "search", "repo", "maas/maas", "--versions", "--output", "json"))
    assert [entry["version"] for entry in found] == ["0.2.0", "0.1.0"]
    every = json.loads(world.helm(major, "search", "repo", "maas/", "--output", "json"))
    assert {entry["name"] for entry in every} == {
        f"maas/{name}" for name in repository.entries(world.repository / "0.2.0", "0.2.0")
    }
    ring = world.directory / "keys" / "ring.gpg"
    for version in ("0.1.0", "0.2.0"):
        for chart in ("maas", "restaurant", "calico", "kube-prometheus"):
            words = (
                "pull",
                f"maas/{chart}",
                "--version",
                version,
                "--verify",
                "--keyring",
                ring,
                "--destination",
                tmp_path,
            )
            assert "Chart Hash Verified" in world.helm(major, *words)
            archive = tmp_path / f"{chart}-{version}.tgz"
            assert archive.read_bytes() == (world.repository / version / archive.name).read_bytes()
    annotations = yaml.safe_load(world.helm(major, "show", "chart", "maas/maas"))["annotations"]
    assert yaml.safe_load(annotations["artifacthub.io/changes"])[0]["description"] == "What 0.2.0 changes."
    assert yaml.safe_load(annotations["artifacthub.io/signKey"])["fingerprint"] == world.fingerprint


@pytest.mark.parametrize("major", HELMS)
def test_helm_pulls_and_verifies_from_the_registry(world: World, major: Major, tmp_path: Path) -> None:
    ring, place = world.directory / "keys" / "ring.gpg", f"oci://{world.registry}/maas/charts"
    for chart in ("maas", "restaurant"):
        words = ("pull", f"{place}/{chart}", "--version", "0.2.0", "--plain-http", "--verify", "--keyring", ring)
        world.helm(major, *words, "--destination", tmp_path)
        assert (tmp_path / f"{chart}-0.2.0.tgz").read_bytes() == (
            world.repository / "0.2.0" / f"{chart}-0.2.0.tgz"
        ).read_bytes()


@pytest.fixture
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a cluster for each Helm, so that neither finds what the other left."""
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
    }
    directory = tmp_path_factory.mktemp("control-plane")
    (directory / "storage.json").write_text(json.dumps(storage))
    with control_plane(directory) as found:
        run(tools.tool("kubectl"), "--kubeconfig", found, "apply", "--filename", directory / "storage.json")
        yield found


@pytest.mark.parametrize("major", HELMS)
def test_helm_installs_from_the_repository_upgrades_rolls_back_and_installs_by_digest(
    world: World, kubeconfig: Path, major: Major
) -> None:
    def helm(*words: str | Path) -> str:
        return world.helm(major, *words, kubeconfig=kubeconfig)

    values = ("--namespace", "maas", "--create-namespace", "--set", "kube-prometheus.metricsServer.enabled=true")
    world.helm(major, "repo", "add", "--force-update", "maas", world.address)
    helm("install", "maas", "maas/maas", "--version", "0.1.0", *values)
    helm("upgrade", "maas", "maas/maas", "--version", "0.2.0", *values)
    helm("rollback", "maas", "1", "--namespace", "maas")
    history = json.loads(helm("history", "maas", "--namespace", "maas", "--output", "json"))
    assert [entry["chart"] for entry in history] == ["maas-0.1.0", "maas-0.2.0", "maas-0.1.0"]
    assert history[-1]["status"] == "deployed"
    helm("uninstall", "maas", "--namespace", "maas")
    reference = f"{world.registry}/maas/charts/maas"
    digest = run(tools.tool("crane"), "digest", f"{reference}:0.2.0").stdout.strip()
    helm("install", "maas", f"oci://{reference}@{digest}", "--plain-http", *values)
    (installed,) = json.loads(helm("list", "--namespace", "maas", "--output", "json"))
    assert installed["chart"] == "maas-0.2.0"
    helm("uninstall", "maas", "--namespace", "maas")
    helm("install", "maas", world.tree / "dist" / "0.2.0" / "maas-0.2.0.tgz", *values)
    helm("uninstall", "maas", "--namespace", "maas")


@pytest.fixture(scope="module")
def laboratory(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Run a lab whose hosts have the images of both releases; return its kubeconfig, and the values of its release."""
    name = "released"

    def maas(*words: str) -> None:
        run(sys.executable, "-m", "maas", *words, cwd=paths.content())

    maas("up", "--name", name, "--yes")
    try:
        for host, archive in product(("master", "node1", "node2"), world.tree.glob("dist/*/restaurant-*.oci.tar")):
            load = ["docker", "exec", "-i", f"maas-{name}-{host}", "ctr", "-n", "k8s.io", "images", "import", "-"]
            with archive.open("rb") as content:
                subprocess.run(load, stdin=content, check=True, capture_output=True, timeout=120)
        kubeconfig = tunnel.connect(name).kubeconfig
        values = tmp_path_factory.mktemp("values") / "values.yaml"
        words = ("get", "values", "maas", "--namespace", "maas", "--output", "yaml")
        values.write_text(world.helm("4", *words, kubeconfig=kubeconfig))
        yield kubeconfig, values
    finally:
        maas("down", "--name", name)


@pytest.mark.parametrize("major", HELMS)
def test_on_real_nodes_a_release_is_installed_upgraded_and_rolled_back(
    world: World, laboratory: tuple[Path, Path], major: Major
) -> None:
    kubeconfig, values = laboratory

    def helm(*words: str | Path) -> str:
        return world.helm(major, *words, kubeconfig=kubeconfig)

    def image() -> str:
        path = "jsonpath={.spec.template.spec.containers[0].image}"
        words = ("-n", "restaurant", "get", "deployment", "restaurant", "--output", path)
        return run(tools.tool("kubectl"), "--kubeconfig", kubeconfig, *words).stdout.rpartition(":")[2]

    ready = ("--namespace", "maas", "--wait", "--timeout", "5m")
    given = (*ready, "--create-namespace", "--values", values)
    world.helm(major, "repo", "add", "--force-update", "maas", world.address)
    helm("uninstall", "maas", *ready)
    helm("install", "maas", "maas/maas", "--version", "0.1.0", *given)
    assert image() == "0.1.0"
    helm("upgrade", "maas", "maas/maas", "--version", "0.2.0", *given)
    assert image() == "0.2.0"
    assert "Succeeded" in helm("test", "maas", "--namespace", "maas", "--timeout", "3m")
    helm("rollback", "maas", "1", *ready)
    assert image() == "0.1.0"
    helm("uninstall", "maas", *ready)
    reference = f"{world.registry}/maas/charts/maas"
    digest = run(tools.tool("crane"), "digest", f"{reference}:0.2.0").stdout.strip()
    helm("install", "maas", f"oci://{reference}@{digest}", "--plain-http", *given)
    assert image() == "0.2.0"
    assert "Succeeded" in helm("test", "maas", "--namespace", "maas", "--timeout", "3m")


def test_a_killed_publication_is_invisible_and_the_next_one_completes_it(world: World, tmp_path: Path) -> None:
    target, release = tmp_path / "repository", world.tree / "dist"
    world.maas("publish", str(release / "0.1.0"), "--to", str(target))
    words = [sys.executable, "-m", "maas", "publish", str(release / "0.2.0"), "--to", str(target)]
    killed = 0
    for _ in range(40):
        running = subprocess.Popen(
            words,
            cwd=world.tree,
            env={**os.environ, "PYTHONPATH": str(world.tree / "src")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while running.poll() is None and not list(target.glob("0.2.0*")):
            time.sleep(0.0005)
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
        seen = repository.versions(target)
        for version in seen:
            assert set(checksums.read(target / version)) <= {file.name for file in (target / version).iterdir()}
        if killed and not (target / "0.2.0").exists():
            break
        if "0.2.0" in seen:
            shutil.rmtree(target)
            world.maas("publish", str(release / "0.1.0"), "--to", str(target))
    assert killed
    world.maas("publish", str(release / "0.2.0"), "--to", str(target))
    assert repository.versions(target) == {"0.1.0", "0.2.0"}
    assert (target / "index.yaml").read_bytes() == (world.repository / "index.yaml").read_bytes()


def test_the_wheel_works_in_an_environment_of_its_own_without_a_checkout(world: World, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    pins = world.tree / "requirements" / "maas.txt"
    run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--requirement", pins)
    wheel = next((world.tree / "dist" / "0.2.0").glob("*.whl"))
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", wheel)
    environment = {"PYTHONPATH": "", "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": os.environ["PATH"]}

    def maas(*words: str) -> str:
        done = run(tmp_path / "venv" / "bin" / "maas", *words, cwd=tmp_path, env=environment)
        return done.stdout + done.stderr

    assert maas("--version").strip() == "0.2.0"
    assert "calico-node" in maas("bundle", "--list")
    assert "Traceback" not in maas("up", "--dry-run", "--name", "released")
    assert "release 0.2.0 is complete and signed" in maas("verify", world.address)
    assert "kind: Deployment" in maas("render")
    assert "ghcr.io/maas/restaurant:0.2.0" in maas("images")


def test_cosign_accepts_what_the_key_pair_signed(world: World) -> None:
    cosign, release = tools.tool("cosign"), world.tree / "dist" / "0.2.0"
    public = world.directory / "keys" / "maas.pub"
    common = ("--key", public, "--insecure-ignore-tlog", "--bundle")
    for name in (checksums.FILE, "maas-0.2.0.tgz.cdx.json"):
        run(cosign, "verify-blob", *common, release / f"{name}.sigstore.json", release / name)
    statement = release / "provenance.intoto.json.sigstore.json"
    words = ("verify-blob-attestation", *common, statement, "--type", "slsaprovenance1")
    run(cosign, *words, release / "maas-0.2.0.tgz")
    run(cosign, *words, release / "images.txt")
    run(cosign, *words, world.repository / "0.1.0" / "maas-0.1.0.tgz", status=1)


def test_a_version_is_released_only_once(world: World) -> None:
    transcript = world.maas(
        "release", "0.2.0", "--sign", f"gpg:{world.fingerprint}", "--publish", str(world.repository), status=1
    )
    for wanted in (
        "the tag v0.2.0 exists",
        "dist/0.2.0 contains files",
        "already has 0.2.0",
        "the tests have not passed",
    ):
        assert wanted in transcript
    assert re.search(r"cannot release 0\.2\.0: \d preconditions are not met", transcript)


def test_no_secret_is_in_the_tree_or_in_what_was_released(world: World) -> None:
    secret = (world.directory / "keys" / "passphrase").read_text().strip().encode()
    for file in (path for path in world.tree.rglob("*") if path.is_file() and path.stat().st_size < 5_000_000):
        content = file.read_bytes()
        assert secret not in content
        assert b"BEGIN ENCRYPTED SIGSTORE PRIVATE" not in content or file.suffix in {".py", ".pyc"}
