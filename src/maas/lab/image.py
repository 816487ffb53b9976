"""The image of a disposable host: built once from Debian packages and cached under the digest of its content."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maas import paths, process

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient

SUITE = "bookworm"
REPOSITORY = "maas-lab-host"
_SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
_DEBIAN = frozenset({"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"})
_CHANGES = [
    'ENTRYPOINT ["/usr/local/sbin/lab-host"]',
    "ENV container=docker",  # tells systemd that it runs in a container
]
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def _source() -> Path:
    return paths.content() / "hack" / "lab"


def packages() -> list[str]:
    """Return the names of the Debian packages of the image."""
    lines = [line.strip() for line in (_source() / "packages").read_text(encoding="utf-8").splitlines()]
    return sorted(line for line in lines if line and not line.startswith("#"))


def digest() -> str:
    """Return the sha256 of the image's inputs: its files, package names, suite and settings, but not the mirror."""
    source = _source()
    parts = hashlib.sha256(repr((SUITE, packages(), _CHANGES, _LEFT_OUT)).encode())
    for path in sorted(p for p in (source / "setup", *(source / "root").rglob("*")) if p.is_file()):
        parts.update(f"{path.relative_to(source)} {path.stat().st_mode & 0o111:o} ".encode())
        parts.update(hashlib.sha256(path.read_bytes()).digest())
    return parts.hexdigest()


def archive() -> Path:
    """Return the path of the built root file system, whether it exists or not."""
    return paths.cache() / "lab" / f"{digest()}.tar"


def sources(targets: str) -> list[str]:
    """Return the lines of sources.list for the image, with the mirrors that this machine uses.

    Args:
        targets: Lines of `release component uri`, as apt-get indextargets prints them.

    Returns:
        Lines for `mmdebstrap`; none if the machine has no Debian mirror, so that mmdebstrap uses its default.
    """
    mirrors: dict[bool, str] = {}
    for line in targets.splitlines():
        release, component, uri = line.split()[:3]
        suite, _, pocket = release.partition("-")
        if suite in _DEBIAN and component == "main" and pocket in {"", "security"}:
            mirrors.setdefault(pocket == "security", uri)
    if False not in mirrors:
        return []
    return [
        f"deb {mirrors[suite.endswith('-security')]} {suite} main"
        for suite in _SUITES
        if suite.endswith("-security") in mirrors
    ]


def _mirror_lines() -> list[str]:
    listed = process.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        check=False,
    )
    return sources(listed.stdout) if listed.returncode == 0 else []


def _build(target: Path, *, note: Callable[[str], None]) -> None:
    source = _source()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        built = Path(directory) / "root.tar"
        command = [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(packages())}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            *(
                f"--customize-hook=copy-in {shlex.quote(os.fspath(path))} /"
                for path in sorted((source / "root").iterdir())
            ),
            f"--customize-hook={source / 'setup'}",
            SUITE,
            str(built),
            *_mirror_lines(),
        ]
        for line in process.lines(command, log=target.with_suffix(".log")):
            if line.startswith("I: "):
                note(line.removeprefix("I: "))
        built.replace(target)


def ensure(client: DockerClient, *, note: Callable[[str], None]) -> str:
    """Import the image into the Docker engine if it lacks it; build it first if it is not in the cache.

    Args:
        client: The Docker engine.
        note: Called with the current step.

    Returns:
        The image's reference.

    Raises:
        ProcessError: A package was not downloaded or installed; the log is beside the archive.
    """
    tag = digest()[:12]
    reference = f"{REPOSITORY}:{tag}"
    if client.images.list(name=reference):
        return reference
    path = archive()
    if not path.exists():
        _build(path, note=note)
    note("importing the image into Docker")
    client.api.import_image(src=os.fspath(path), repository=REPOSITORY, tag=tag, changes=_CHANGES)
    return reference
