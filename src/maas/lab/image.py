"""The image of a throw-away host: made once from the distribution's packages, kept under its content's digest."""

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
    "ENV container=docker",  # what systemd takes as the sign that it is in a container
]
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def _source() -> Path:
    return paths.content() / "hack" / "lab"


def _lists(*, minimal: bool) -> list[str]:
    return ["packages"] if minimal else ["packages", "packages-carried"]


def packages(*, minimal: bool) -> list[str]:
    """The Debian packages of the image, by name.

    Args:
        minimal: Leave out what bootstrap brings from the bundle.
    """
    lines = [
        line.strip()
        for name in _lists(minimal=minimal)
        for line in (_source() / name).read_text(encoding="utf-8").splitlines()
    ]
    return sorted(line for line in lines if line and not line.startswith("#"))


def digest(*, minimal: bool) -> str:
    """What the image is made from, as a sha256: its files, package names, suite and settings, not the mirror."""
    source = _source()
    parts = hashlib.sha256(repr((SUITE, packages(minimal=minimal), _CHANGES, _LEFT_OUT)).encode())
    for path in sorted(p for p in (source / "setup", *(source / "root").rglob("*")) if p.is_file()):
        parts.update(f"{path.relative_to(source)} {path.stat().st_mode & 0o111:o} ".encode())
        parts.update(hashlib.sha256(path.read_bytes()).digest())
    return parts.hexdigest()


def archive(*, minimal: bool) -> Path:
    """Where the finished root file system lies, whether it is there or not."""
    return paths.cache() / "lab" / f"{digest(minimal=minimal)}.tar"


def sources(targets: str) -> list[str]:
    """The lines of sources.list for the image, on the mirrors that this machine itself uses.

    Args:
        targets: Lines of `release component uri`, as apt-get indextargets gives them.

    Returns:
        Lines for `mmdebstrap`; none where the machine has no Debian mirror, which leaves the choice to mmdebstrap.
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


def _make(target: Path, *, minimal: bool, note: Callable[[str], None]) -> None:
    source = _source()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        made = Path(directory) / "root.tar"
        command = [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(packages(minimal=minimal))}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            *(
                f"--customize-hook=copy-in {shlex.quote(os.fspath(path))} /"
                for path in sorted((source / "root").iterdir())
            ),
            f"--customize-hook={source / 'setup'}",
            SUITE,
            str(made),
            *_mirror_lines(),
        ]
        for line in process.lines(command, log=target.with_suffix(".log")):
            if line.startswith("I: "):
                note(line.removeprefix("I: "))
        made.replace(target)


def ensure(client: DockerClient, *, minimal: bool, note: Callable[[str], None]) -> str:
    """Have the image in the engine: made when it was never made, imported when the engine has not got it.

    Args:
        client: The engine.
        minimal: Leave out what bootstrap brings from the bundle.
        note: Is told what is being done.

    Returns:
        The image's reference.

    Raises:
        ProcessError: A package could not be fetched or installed; the log lies beside the archive.
    """
    tag = digest(minimal=minimal)[:12]
    reference = f"{REPOSITORY}:{tag}"
    if client.images.list(name=reference):
        return reference
    path = archive(minimal=minimal)
    if not path.exists():
        _make(path, minimal=minimal, note=note)
    note("importing it into the engine")
    client.api.import_image(src=os.fspath(path), repository=REPOSITORY, tag=tag, changes=_CHANGES)
    return reference
