from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
import tarfile
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from maas import components, console, paths, process
from maas.bundle import download, oci, tools
from maas.components import Lockfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maas.console import Phase

BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}


@pytest.fixture(scope="session")
def crane() -> Path:
    """The pinned crane, from the cache that every run on this machine shares."""
    return tools.tool("crane")


@pytest.fixture(scope="session")
def go_cache() -> str:
    """Go's build cache; its default depends on a variable that the tests set."""
    return process.run(["go", "env", "GOCACHE"]).stdout.strip()


@pytest.fixture
def cache(tmp_path: Path, crane: Path, go_cache: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new cache that contains only crane, without results of earlier requests to servers."""
    entry = crane.parent.relative_to(paths.cache())
    monkeypatch.setenv("GOCACHE", go_cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(crane.parent, paths.cache() / entry)
    monkeypatch.setattr(download, "_answering", set())
    monkeypatch.setattr(download, "_silent", {})
    return paths.cache()


@pytest.fixture
def phase() -> Iterator[Phase]:
    with console.phase("test") as step:
        yield step


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lockfile]:
    """Replace the component lockfile by one with these components and crane."""
    real = components.load().find("crane")[0]

    def replace(bases: dict[str, Any] | None = None, **entries: Any) -> Lockfile:
        filled = {
            name.replace("_", "-"): {"license": "MIT", "home": "https://example.org", **entry}
            for name, entry in entries.items()
        }
        lock = Lockfile.model_validate({"schema": 1, "bases": bases or {}, "components": filled})
        lock = lock.model_copy(update={"components": {**lock.components, real.name: real}})
        monkeypatch.setattr(components, "load", lambda: lock)
        return lock

    return replace


@dataclass
class Web:
    """A server on loopback that serves files, completely or not.

    Attributes:
        requests: Every request so far: method, path, and the Range header.
        cut: Paths whose body ends after that many bytes, once.
        mute: Paths that get no answer.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    cut: dict[str, int] = field(default_factory=dict)
    mute: set[str] = field(default_factory=set)

    def publish(self, path: str, content: bytes) -> dict[str, str]:
        """Serve a file and return its `download` entry for the lockfile."""
        self.files[path] = content
        return {"url": self.url + path, "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            served.requests.append((self.command, self.path, self.headers.get("Range", "")))
            if self.path in served.mute:
                stop.wait(5)
                return
            content = served.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[start : served.cut.pop(self.path, len(content))])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            pass

    stop = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Web(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        stop.set()
        server.shutdown()
        thread.join()


@dataclass
class Registry:
    """A real registry on loopback.

    Attributes:
        host: Its name in references.
        disk: Where it keeps its blobs.
    """

    host: str
    disk: Path
    crane: Path

    def push(self, name: str, content: bytes, scratch: Path) -> str:
        """Push an image with one file and return the digest of its manifest."""
        reference = f"{self.host}/{name}"
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / "layout").mkdir(parents=True)
        blob = oci.write_layer([oci.Entry("/content", content=content)], scratch)
        oci.write_image(scratch / "image.tar", [blob], oci.ImageConfig(), reference=reference)
        with tarfile.open(scratch / "image.tar") as tar:
            tar.extractall(scratch / "layout", filter="data")
        process.run([self.crane, "push", scratch / "layout", reference])
        return process.run([self.crane, "digest", reference]).stdout.strip()


@pytest.fixture(scope="session")
def registry(crane: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (directory / "disk").mkdir()
    argv: list[str | Path] = [crane, "registry", "serve", "--address", address, "--disk", directory / "disk"]
    server = process.start(argv, log=directory / "log")
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.rsplit(":", 1)[1]))) == 0:
                    break
            time.sleep(0.05)
        yield Registry(address, directory / "disk", crane)
    finally:
        server.terminate()
        server.wait(10)


def write_deb(directory: Path, name: str, version: str, files: dict[str, str | bytes], *, depends: str = "") -> str:
    """Build a Debian package and return its entry for an index."""
    root = directory / f"root-{name}"
    for path, text in {
        **files,
        "DEBIAN/control": f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@localhost>\n"
        + (f"Depends: {depends}\n" if depends else "")
        + "Description: for a test\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode() if isinstance(text, str) else text)
    file = directory / f"{name}.deb"
    process.run(["dpkg-deb", "--root-owner-group", "--build", root, file])
    control = (root / "DEBIAN" / "control").read_text()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian mirror in a directory, the only one that apt knows.

    It has `probe`, which depends on `probe-lib`, and packages with the names that recipes know.
    """
    directory = tmp_path / "mirror"
    directory.mkdir()
    paragraphs = [
        write_deb(directory, "probe", "1:2.0-1", {"bin/probe": "#!/bin/sh\n"}, depends="probe-lib (= 1.0)"),
        write_deb(directory, "probe-lib", "1.0", {"usr/lib/probe.so": "lib", "usr/share/man/man1/probe.1": "manual"}),
        write_deb(directory, "busybox-static", "1", {"bin/busybox": "#!/bin/sh\necho sh\necho probe\n"}),
        write_deb(directory, "ca-certificates", "1", {f"usr/share/ca-certificates/{x}.crt": f"{x}\n" for x in "ba"}),
    ]
    (directory / "Packages").write_text("".join(paragraphs))
    (directory / "sources.list").write_text(f"deb [trusted=yes] file:{directory} ./\n")
    (directory / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{directory}/sources.list";\nDir::Etc::sourceparts "-";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(directory / "apt.conf"))
    return directory


@dataclass
class Archive:
    """Debian archives in a directory, signed, of which apt knows only Debian 12.

    Attributes:
        directory: It contains the archive `debian`, and whatever else a test publishes.
        keyring: The public key of the archives.
    """

    directory: Path
    keyring: bytes

    def publish(self, suite: str, *packages: tuple[Any, ...], of: str = "debian", user: str = "archive") -> Path:
        """Publish a suite with these packages (arguments of `write_deb`), signed by a user of GnuPG."""
        root = self.directory / of
        (root / suite).mkdir(parents=True, exist_ok=True)
        entries = [write_deb(root / suite, *package[:3], depends="".join(package[3:])) for package in packages]
        index = root / "dists" / suite / "main" / "binary-amd64" / "Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("".join(entries).replace("Filename: ./", f"Filename: {suite}/"))
        content = index.read_bytes()
        release = root / "dists" / suite / "Release"
        release.write_text(
            f"Origin: {of.capitalize()}\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
            f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S UTC', time.gmtime())}\nSHA256:\n"
            f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/Packages\n"
        )
        signed = release.with_name("InRelease")
        words: list[str | Path] = ["gpg", "--batch", "--yes", "--local-user", user, "--output", signed]
        process.run([*words, "--clearsign", release])
        return index


@pytest.fixture(scope="session")
def gpg_home() -> Iterator[Path]:
    """A directory of GnuPG with the keys of two users; its path is short, because its sockets are in it."""
    directory = Path(tempfile.mkdtemp(prefix="gpg-"))
    environment = {"GNUPGHOME": str(directory)}
    for user in ("archive", "stranger"):
        words = ["gpg", "--batch", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never"]
        process.run(words, env=environment)
    yield directory
    process.run(["gpgconf", "--kill", "all"], env=environment, check=False)
    shutil.rmtree(directory)


@pytest.fixture
def archive(tmp_path: Path, gpg_home: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Archives with Debian 12, whose keyring package has the key of the other releases, and Debian 13.

    The machine's own apt settings would accept any package, and prefer Debian 12.
    """
    monkeypatch.setenv("GNUPGHOME", str(gpg_home))
    public = gpg_home / "archive.gpg"
    process.run(["gpg", "--batch", "--yes", "--output", public, "--export", "archive"])
    directory = tmp_path / "archives"
    made = Archive(directory, public.read_bytes())
    keyring = {"usr/share/keyrings/debian-archive-keyring.gpg": made.keyring}
    made.publish(
        "bookworm",
        ("probe", "2.0", {"bin/probe": "#!/bin/sh\n"}),
        ("probe-lib", "1.0", {"usr/lib/probe.so": "lib"}),
        ("debian-archive-keyring", "2025", keyring),
    )
    made.publish(
        "trixie",
        ("probe", "3.0", {"usr/bin/probe": "#!/bin/sh\n"}, "probe-new (= 3.0)"),
        ("probe-new", "3.0", {"usr/lib/new.so": "lib"}),
        ("probe-lib", "1.0", {"usr/lib/probe.so": "lib"}),
    )
    (directory / "sources.list").write_text(f"deb [signed-by={public}] file:{directory}/debian bookworm main\n")
    (directory / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{directory}/sources.list";\nDir::Etc::sourceparts "-";\n'
        'APT::Default-Release "bookworm";\nAPT::Get::AllowUnauthenticated "true";\n'
        'Acquire::AllowInsecureRepositories "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(directory / "apt.conf"))
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: BOOKWORM)
    return made


@dataclass
class Opened:
    """The content of an image archive whose digests have been verified.

    Attributes:
        entry: Of the index.
        layers: The manifest's descriptors.
        files: The last entry of each path over all layers.
    """

    entry: dict[str, Any]
    config: dict[str, Any]
    layers: list[dict[str, Any]]
    files: dict[str, tarfile.TarInfo]


@pytest.fixture
def opened() -> Callable[[Path], Opened]:
    return _open


def _open(archive: Path) -> Opened:
    files: dict[str, tarfile.TarInfo] = {}
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            stream = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert stream is not None
            content = stream.read()
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
            return content

        index = tar.extractfile("index.json")
        assert index is not None
        entry = json.loads(index.read())["manifests"][0]
        manifest = json.loads(blob(entry["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
            plain = blob(layer["digest"])
            if layer["mediaType"].endswith("+zstd"):
                plain = zstandard.ZstdDecompressor().decompressobj().decompress(plain)
            assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == diff_id
            with tarfile.open(fileobj=io.BytesIO(plain)) as inner:
                files |= {info.name: info for info in inner}
    return Opened(entry, config, manifest["layers"], files)
